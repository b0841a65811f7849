"""The winner as a program of its own: model, optimizer and scheduler in plain PyTorch, and a training loop around them.

Whoever wants the result in their own code copies it from there. Nothing of this package is imported by it. What torch has
is written as torch's own call; a registered function that torch does not know is carried over as source, with all that it
uses.
"""

import ast
import builtins
import inspect
import json
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from types import FunctionType
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.analysis.formulas import body_of
from pipeline.config.callables import imported
from pipeline.config.params import Component, ProblemParams
from pipeline.config.registry import Registered
from pipeline.problems.losses import losses
from pipeline.problems.models import models
from pipeline.problems.optimizers import SCHEDULE_FREE, optimizers
from pipeline.schedulers.registry import Monitor, schedulers
from pipeline.schedulers.warmup import Warmup

WIDTH = 88
ROOM = 100  # for a call, beside the `return` before it; a longer one takes a line per argument
OWN = __name__.partition(".")[0]
USED = frozenset(
    {"EPOCHS", "BATCH_SIZE", "STEPS_PER_EPOCH", "CRITERION", "new_model", "new_optimizer", "new_scheduler"}
    | {"rates", "load", "encoded", "evaluate", "train", "main", "factor"}
)
"""Names that the script has given away already."""


class NotSelfContainedError(Exception):
    """A function whose source does not run by itself; says why."""


@dataclass(frozen=True, order=True)
class Import:
    """``import module`` where there is no ``name``, else ``from module import name``; ``alias`` where it has another."""

    module: str
    name: str = ""
    alias: str = ""

    @property
    def bound(self) -> str:
        """The name it makes known."""
        return self.alias or self.name or self.module


@dataclass(frozen=True)
class Lifted:
    """Definitions by name, each after those it uses, and what they import."""

    definitions: Mapping[str, str]
    imports: frozenset[Import] = frozenset()


FREE = frozenset(SCHEDULE_FREE.values())
"""The optimizers of the package schedulefree."""
BASE = frozenset(
    {
        Import("argparse"), Import("json"), Import("pandas", alias="pd"), Import("torch"),
        Import("torch", "Tensor"), Import("torch", "nn"),
        Import("torch.optim", "Optimizer"), Import("torch.optim", "lr_scheduler"),
    }
)  # fmt: skip
"""What every script imports."""
TABLES = frozenset(
    {
        Import("sklearn.compose", "ColumnTransformer"), Import("sklearn.impute", "SimpleImputer"),
        Import("sklearn.pipeline", "make_pipeline"), Import("sklearn.preprocessing", "OneHotEncoder"),
        Import("sklearn.preprocessing", "StandardScaler"),
    }
)  # fmt: skip
"""What encoding a raw table takes beside it."""


AVERAGES: Mapping[str, frozenset[Import]] = {
    kind: frozenset(Import("torch.optim.swa_utils", name) for name in ("AveragedModel", "update_bn", *more))
    for kind, more in {"ema": ["get_ema_multi_avg_fn"], "swa": []}.items()
}
"""What keeping a mean of the weights takes beside it."""


@dataclass(frozen=True)
class Part:
    """One of model, optimizer and scheduler: the call that makes it, and what the script must hold for it.

    Where it cannot be written, ``missing`` says what to paste and ``reason`` why.
    """

    call: str
    lifted: Lifted = Lifted({})
    formula: str = ""
    missing: str = ""
    reason: str = ""

    def statement(self, opening: str) -> str:
        """The call behind ``opening`` (an indented ``return`` or assignment), or the error that stands in for it."""
        indent = " " * (len(opening) - len(opening.lstrip()))
        if self.missing:
            return f"{indent}# {self.reason}\n{indent}raise NotImplementedError({_literal(self.missing)})"
        return opening + textwrap.indent(self.call, indent).lstrip()


@dataclass(frozen=True)
class Data:
    """What script and page have to know of the data: is a number predicted, a table encoded, a row reshaped or of tokens?

    ``positive`` is the second of two classes, at which F1Score and its like look; ``remarks`` say what a file was taken for.
    """

    is_regression: bool = False
    is_table: bool = False
    is_shaped: bool = False
    is_of_tokens: bool = False
    positive: str | None = None
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: pd.DataFrame) -> "Data":
        """What ``data/P.parquet`` holds."""
        is_whole = pd.api.types.is_integer_dtype
        classes, remarks = data.attrs.get("classes", ()), tuple(data.attrs.get("remarks", ()))
        positive = classes[1] if len(classes) == 2 else None
        kinds = not is_whole(data["y"]), "columns" in data.attrs, "shape" in data.attrs, is_whole(data["x0"])
        return cls(*kinds, positive, remarks)


def script(
    problem_name: str, problem: ProblemParams, run: Mapping[str, Any], batches: int, summary: str, data: Data = Data()
) -> str:
    """The Python source that trains ``problem`` with the configuration of ``run``, a row of ``runs.parquet``.

    ``batches`` is the number of optimizer steps in an epoch. ``summary``, plain text, goes into the module's docstring;
    nothing in it can end that. A registered function that cannot stand by itself is left out: the script then raises a
    NotImplementedError that says what to paste.
    """
    parts = {"model": _model(problem.model), "optimizer": _optimizer(run), "scheduler": _schedule(problem, run, batches)}
    parts, lifted = _together(parts)
    loss = problem.loss or Component("MSELoss" if data.is_regression else "CrossEntropyLoss", {})
    given = {key: value for key, value in loss.args.items() if value is not None}
    average: dict[str, Any] = json.loads(run["optimizer"]).get("average", {})
    free = json.loads(run["optimizer"])["name"] in FREE
    per_batch, watched = run["interval"] == "batch", _watched(run)
    return _environment().get_template("best.py.j2").render(
        **parts,
        title=_prose(f"{run.get('scheduler', run['name'])} on {problem_name}"),
        summary=_paragraph(summary),
        data=f"data/{problem_name}.parquet", kind=data, is_binary=losses[loss.name].is_binary,
        single=".squeeze(1)" if data.is_regression or losses[loss.name].is_binary else "",
        criterion=_call(f"nn.{loss.name}", [], given, tensors=("weight", "pos_weight")),
        imports=_import_block(
            lifted.imports
            | (TABLES if data.is_table else set())
            | ({Import("schedulefree")} if free else set())
            | {name for kind in average for name in AVERAGES[kind]}
            | _needed(parts["scheduler"], uses_sys=per_batch or bool(watched))
        ),
        definitions=list(lifted.definitions.values()),
        formula=[parts["scheduler"].formula] if parts["scheduler"].formula else [],
        epochs=int(run["epochs"]), batch_size=problem.batch_size, batches=batches,
        warmup=0 if run["name"] == "SWALR" else int(run["warmup"]),  # which is one of its own sequence
        per_batch=per_batch, watched=watched, resample=problem.resample, free=free, clip=problem.clip,
        needs_closure=json.loads(run["optimizer"])["name"] == "LBFGS", ema=average.get("ema"), swa=average.get("swa"),
    )  # fmt: skip


def _schedule(problem: ProblemParams, run: Mapping[str, Any], batches: int) -> Part:
    """The scheduler with what leads up to it; nothing where it watches what the script does not measure."""
    if _unseen(problem, run):
        return Part("", missing="measure the metric that the schedule watches in evaluate()", reason="It is not accuracy.")
    scheduler = _scheduler(run, batches)
    return _behind_a_warmup(scheduler) if run["warmup"] and not scheduler.missing else scheduler


def _environment() -> Environment:
    """Nothing is escaped, for this is no HTML: what comes from the user goes through :func:`_literal` or :func:`_prose`."""
    return Environment(
        loader=PackageLoader("pipeline.analysis"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


# Model, optimizer, scheduler


def _model(model: Component) -> Part:
    if model.name == "linear":
        return Part("nn.Linear(inputs, outputs)")
    if model.name == "mlp":
        return Part(_group("nn.Sequential(", list(_layers(**model.args)), ")"))
    return _carried("model", model.name, models[model.name].function, ["inputs", "outputs"], model.args)


def _layers(hidden: Sequence[int], activation: str, dropout: float) -> Iterator[str]:
    behind = {"relu": "nn.ReLU()", "gelu": "nn.GELU()", "tanh": "nn.Tanh()"}[activation]
    sizes = ["inputs", *map(str, hidden)]
    for size_in, size_out in pairwise(sizes):
        yield f"nn.Linear({size_in}, {size_out})"
        yield behind
        if dropout:
            yield f"nn.Dropout({_literal(dropout)})"
    yield f"nn.Linear({sizes[-1]}, outputs)"


def _optimizer(run: Mapping[str, Any]) -> Part:
    given = json.loads(run["optimizer"])
    name, arguments = given["name"], {**given["args"], "lr": float(run["lr"])}
    function = optimizers[name].function
    if function.__module__ == f"{OWN}.problems.optimizers":
        # JSON knows no tuples, and torch's optimizers take no lists.
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
        package = "schedulefree" if name in FREE else "torch.optim"
        return Part(_call(f"{package}.{name}", ["parameters"], _ordered(optimizers[name], given)))
    return _carried("optimizer", name, function, ["parameters"], arguments)


def _scheduler(run: Mapping[str, Any], batches: int) -> Part:
    name, arguments, lr = run["name"], json.loads(run["resolved"]), float(run["lr"])
    total = int(run["epochs"]) * (batches if run["interval"] == "batch" else 1) - int(run["warmup"])
    function, arguments = schedulers[name].function, _ordered(schedulers[name], arguments)
    if name == "SWALR":
        return _swalr(arguments, int(run["warmup"]))
    if "lr_lambda" in arguments and function.__module__ == f"{OWN}.schedulers.builtin":
        return _of_a_function(name, imported(arguments["lr_lambda"]))
    if function.__module__ == f"{OWN}.schedulers.builtin":
        return Part(_call(f"lr_scheduler.{name}", ["optimizer"], _as_torch_takes_them(name, arguments, lr, total)))
    if schedulers[name].schedule_free:
        return Part("lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)")
    if body := body_of(name, arguments, lr, total, _literal):
        return _closed_form(name, body, total)
    return _carried("scheduler", name, function, ["optimizer"], {**schedulers[name].given(total), **arguments})


def _swalr(arguments: Mapping[str, Any], warmup: int) -> Part:
    """A ``SequentialLR`` of a constant rate and torch's class, behind a warmup where there is one."""
    of_swa = {name: value for name, value in arguments.items() if name != "start"}
    parts = ["lr_scheduler.ConstantLR(optimizer, factor=1.0)", _call("SWALR", ["optimizer"], of_swa)]
    milestones = [warmup + arguments["start"]]
    if warmup:
        parts.insert(0, f"lr_scheduler.LambdaLR(optimizer, lambda step: step / {warmup})")
        milestones.insert(0, warmup)
    given = ["optimizer", _group("[", parts, "]"), f"milestones={milestones}"]
    swalr = Lifted({}, frozenset({Import("torch.optim.swa_utils", "SWALR")}))
    return Part(_group("lr_scheduler.SequentialLR(", given, ")"), swalr)


def _ordered(entry: Registered, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in the order of the function, which JSON has lost; those that it has."""
    return {name: arguments[name] for name in entry.arguments.model_fields if name in arguments}


def _as_torch_takes_them(name: str, arguments: Mapping[str, Any], lr: float, total: int) -> dict[str, Any]:
    """The arguments of torch's class, where ``builtin.py`` adds to them or takes others."""
    match name:
        case "ExponentialLR":
            final = arguments["final"]
            return {"gamma": arguments["gamma"] if final is None else (final / lr) ** (1 / total)}
        case "OneCycleLR":
            return {"max_lr": arguments["max_lr"], "total_steps": total, **arguments}
        case "ReduceLROnPlateau":
            others = {key: value for key, value in arguments.items() if key not in ("mode", "monitor")}
            return {"mode": arguments.get("mode") or "min", **others}
    return dict(arguments)


def _of_a_function(name: str, function: Callable[..., Any]) -> Part:
    """Torch's class on a function that params.yaml names by its place."""
    try:
        lifted = _lifted(function, frozenset())
    except NotSelfContainedError as error:
        missing = f"paste the function that {name} is made of here"
        return Part("", missing=missing, reason=f"Its source does not run by itself: {_prose(str(error))}.")
    return Part(_call(f"lr_scheduler.{name}", ["optimizer", f"lr_lambda={function.__name__}"], {}), lifted)


def _behind_a_warmup(scheduler: Part) -> Part:
    """The scheduler, and the class that leads up to it."""
    try:
        return replace(scheduler, lifted=_merged(_lifted_class(Warmup, frozenset()), scheduler.lifted))
    except NotSelfContainedError as error:
        return Part("", missing="paste the source of the scheduler here", reason=f"Left out: {_prose(str(error))}.")


def _unseen(problem: ProblemParams, run: Mapping[str, Any]) -> bool:
    """Whether the schedule watches a metric that the script does not measure."""
    measured = problem.metric is None or problem.metric.name in ("Accuracy", "R2Score")
    return _watched(run) == "validation_metric" and not measured


def _watched(run: Mapping[str, Any]) -> Monitor | None:
    entry = schedulers[run["name"]]
    found: Monitor = json.loads(run["resolved"]).get("monitor", entry.monitor)
    return found if entry.live else None


def _closed_form(name: str, body: str, total: int) -> Part:
    """A ``LambdaLR`` on a function of the step that is written out."""
    said = f'"""{name}: the share of the peak rate at a step of {total}."""'
    formula = f"def factor(step: int) -> float:\n    {said}\n{textwrap.indent(body, '    ')}"
    return Part("lr_scheduler.LambdaLR(optimizer, factor)", formula=formula)


def _carried(kind: str, name: str, function: Callable[..., Any], given: Sequence[str], arguments: Mapping[str, Any]) -> Part:
    """A call of the registered function, whose own source the script then holds."""
    function = inspect.unwrap(function)
    try:
        lifted = _lifted(function, frozenset(), registered=True)
    except NotSelfContainedError as error:
        missing = f"paste the source of the {kind} registered as {name!r} here"
        return Part("", missing=missing, reason=f"Its source does not run by itself: {_prose(str(error))}.")
    said = f"# The {kind} {_prose(name)} as registered in {function.__module__}, its arguments in torch's numbers."
    called = function.__name__
    noted = Lifted({**lifted.definitions, called: f"{said}\n{lifted.definitions[called]}"}, lifted.imports)
    return Part(_call(called, given, arguments), noted)


def _together(parts: Mapping[str, Part]) -> tuple[dict[str, Part], Lifted]:
    """The parts and all that they carry along; one whose names clash with those of another is left out."""
    kept: dict[str, Part] = {}
    lifted = Lifted({}, BASE)
    for kind, part in parts.items():
        kept[kind] = part
        try:
            lifted = _merged(lifted, part.lifted)
        except NotSelfContainedError as error:
            kept[kind] = Part("", missing=f"paste the source of the {kind} here", reason=f"Left out: {_prose(str(error))}.")
    return kept, lifted


# Python source


def _call(function: str, given: Sequence[str], arguments: Mapping[str, Any], tensors: Sequence[str] = ()) -> str:
    written = {key: _literal(value) for key, value in arguments.items()}
    written |= {key: f"torch.tensor({text})" for key, text in written.items() if key in tensors}
    return _group(f"{function}(", [*given, *(f"{key}={text}" for key, text in written.items())], ")")


def _group(opening: str, items: Sequence[str], closing: str) -> str:
    """On one line where there is room, else one item a line; the last comma makes formatters keep it so."""
    line = f"{opening}{', '.join(items)}{closing}"
    if len(line) <= ROOM and "\n" not in line:
        return line
    return "\n".join([opening, *(f"{textwrap.indent(item, '    ')}," for item in items), closing])


def _literal(value: Any) -> str:
    """``value`` as formatters write it: double quotes, exponents without a plus sign; long lists on several lines."""
    if isinstance(value, list):
        return _group("[", [_literal(item) for item in value], "]")
    if isinstance(value, float):
        return repr(value).replace("e+", "e")
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text and "\\" not in text else text


def _prose(text: str) -> str:
    """``text`` for a docstring or comment, which nothing in it can end and in which every character is visible."""

    def visible(character: str) -> str:
        if character.isprintable() and character != "\\":
            return character
        number = ord(character)
        return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

    return "".join(map(visible, text)).replace('"""', 3 * "\\u0022")


def _paragraph(text: str) -> list[str]:
    """Lines of :func:`_prose`; no word is broken, for it may hold an escape."""
    return textwrap.wrap(_prose(" ".join(text.split())), WIDTH, break_long_words=False, break_on_hyphens=False)


def _import_block(imports: Iterable[Import]) -> str:
    """Import statements as isort orders them: the standard library first, ``import`` before ``from``."""

    def place(item: Import) -> tuple[bool, bool, str]:
        return item.module.partition(".")[0] not in sys.stdlib_module_names, bool(item.name), item.module

    lines: dict[bool, list[str]] = {False: [], True: []}
    for (foreign, named, module), group in groupby(sorted(imports, key=place), key=place):
        names = sorted(group, key=lambda item: (_case(item.name), item.name))
        plain = ", ".join(item.name for item in names if not item.alias)
        lines[foreign] += [f"from {module} import {plain}"] if named and plain else []
        lines[foreign] += [_statement(item) for item in names if item.alias or not named]
    return "\n\n".join("\n".join(section) for section in lines.values() if section)


def _case(name: str) -> int:
    """Constants, then classes, then functions."""
    return 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2


def _statement(item: Import) -> str:
    words = f"from {item.module} import {item.name}" if item.name else f"import {item.module}"
    return f"{words} as {item.alias}" if item.alias else words


def _needed(scheduler: Part, *, uses_sys: bool) -> frozenset[Import]:
    used = {Import(module) for module in ("bisect", "math") if f"{module}." in scheduler.formula}
    return frozenset(used | ({Import("sys")} if uses_sys else set()))


# A function's own source, and all that it uses


def _lifted(function: Callable[..., Any], seen: frozenset[str], *, registered: bool = False) -> Lifted:
    """The source of ``function`` and of what it uses, as far as that is the user's own; the rest is imported.

    A registered function loses its decorator, its annotations and its defaults: they speak of units and percentages, and
    the script passes every argument in torch's numbers. Raises :class:`NotSelfContainedError`.
    """
    if not isinstance(function, FunctionType):
        raise NotSelfContainedError("it is no plain function")
    if function.__closure__:
        raise NotSelfContainedError(f"{function.__name__} uses variables of the function around it")
    if function.__name__ in USED:
        raise NotSelfContainedError(f"this script uses the name {function.__name__} itself")
    return _with_all_it_uses(function, lambda: _bare(function, registered=registered), seen)


def _lifted_class(kind: type, seen: frozenset[str]) -> Lifted:
    """The source of a class and of what it uses."""
    if "<locals>" in kind.__qualname__:
        raise NotSelfContainedError(f"{kind.__name__} is a class inside a function")
    if kind.__name__ in USED:
        raise NotSelfContainedError(f"this script uses the name {kind.__name__} itself")
    return _with_all_it_uses(kind, lambda: inspect.getsource(kind).rstrip(), seen)


def _with_all_it_uses(thing: FunctionType | type, source: Callable[[], str], seen: frozenset[str]) -> Lifted:
    try:
        code, file = source(), ast.parse("".join(inspect.findsource(thing)[0]))
    except (OSError, SyntaxError) as error:
        raise NotSelfContainedError(f"the source of {thing.__name__} cannot be read") from error
    lifted = Lifted({})
    for name in sorted(_free(code) - seen - {thing.__name__}):
        lifted = _merged(lifted, _resolved(name, thing, file, seen | {thing.__name__}))
    return _merged(lifted, Lifted({thing.__name__: code}))


def _bare(function: FunctionType, *, registered: bool) -> str:
    """The function without decorator and annotations; its body as it was written, comments and all."""
    lines = textwrap.dedent(inspect.getsource(function)).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    if not isinstance(node, ast.FunctionDef) or len(node.decorator_list) > (1 if registered else 0):
        raise NotSelfContainedError(f"{function.__name__} is decorated, or no plain function")
    if any(_is_own(inner) for inner in ast.walk(node)):
        raise NotSelfContainedError(f"{function.__name__} imports from {OWN}")
    header = _group(f"def {node.name}(", _parameters(node.args, registered=registered), "):")
    first = node.body[0]
    start = "    " + lines[first.lineno - 1].encode()[first.col_offset :].decode()
    return "\n".join([header, start, *lines[first.lineno : node.end_lineno]])


def _is_own(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or str(node.module).partition(".")[0] == OWN
    return isinstance(node, ast.Import) and any(alias.name.partition(".")[0] == OWN for alias in node.names)


def _parameters(arguments: ast.arguments, *, registered: bool) -> list[str]:
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    if registered:
        arguments.defaults, arguments.kw_defaults = [], [None] * len(arguments.kw_defaults)
        return ast.unparse(arguments).split(", ")
    return [ast.unparse(arguments)]  # a default may hold commas


def _free(code: str) -> set[str]:
    """The names that ``code`` takes from the file around it, or from Python."""
    top = symtable.symtable(code, "<source>", "exec")
    names = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return names


def _resolved(name: str, user: FunctionType | type, file: ast.Module, seen: frozenset[str]) -> Lifted:
    """What makes ``name``, used in ``user``, known: an import, or the source of what it is in ``file``."""
    space = vars(sys.modules[user.__module__]) if isinstance(user, type) else user.__globals__
    value = space.get(name)
    if isinstance(value, FunctionType | type) and value.__module__.partition(".")[0] in (
        OWN,
        user.__module__.partition(".")[0],
    ):
        if value.__name__ != name:
            raise NotSelfContainedError(f"it calls {value.__name__} by another name")
        return _lifted_class(value, seen) if isinstance(value, type) else _lifted(value, seen)
    known = [node for node in file.body if isinstance(node, ast.Import | ast.ImportFrom) and not _is_own(node)]
    if found := frozenset(i for node in known for i in _imports_of(node) if i.bound.partition(".")[0] == name):
        return Lifted({}, found)
    for node in file.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and name not in USED:
            return Lifted({name: f"{name} = {_constant(name, node.value)}"})
    if name not in space and hasattr(builtins, name):
        return Lifted({})
    raise NotSelfContainedError(f"it uses {name}")


def _imports_of(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            yield Import(str(node.module), alias.name, alias.asname or "")
        elif alias.asname and "." in alias.name:  # `import torch.nn as nn` is `from torch import nn`
            module, _, name = alias.name.rpartition(".")
            yield Import(module, name, "" if name == alias.asname else alias.asname)
        else:
            yield Import(alias.name, alias=alias.asname or "")


def _constant(name: str, node: ast.expr) -> str:
    try:
        return _literal(ast.literal_eval(node))
    except ValueError:
        raise NotSelfContainedError(f"it uses {name}") from None


def _merged(one: Lifted, other: Lifted) -> Lifted:
    """Both; raises :class:`NotSelfContainedError` where they mean different things by one name."""
    definitions = {**one.definitions, **other.definitions}
    imports = one.imports | other.imports
    bound = [item.bound for item in imports]
    clashes = [name for name, text in one.definitions.items() if definitions[name] != text]
    clashes += [name for name in bound if bound.count(name) > 1 or name in definitions]
    if clashes:
        raise NotSelfContainedError(f"{clashes[0]} has two meanings")
    return Lifted(definitions, imports)
