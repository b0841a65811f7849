"""The winner as a program of its own: model, optimizer and scheduler in plain PyTorch, and a training loop around them.

Whoever wants the result in their own code copies it from there. What is torch's is written as torch's own call; any other
schedule as the table of its rates, replayed; and any other model, optimizer, loss, metric or live scheduler is imported from
where it lives.
"""

import inspect
import json
import operator
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, pairwise
from typing import Any

import pandas as pd
import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from pipeline.config.arrays import Floats
from pipeline.config.params import Component, ProblemParams, Schedule
from pipeline.config.registry import Registered, asks_for_tuples
from pipeline.problems.losses import losses
from pipeline.problems.metrics import metrics
from pipeline.problems.models import models
from pipeline.problems.optimizers import SCHEDULE_FREE, is_torchs, optimizers
from pipeline.schedulers.registry import Scheduler, schedulers
from pipeline.schedulers.replay import Budget, NewOptimizer, ScheduleError, build, idle, monitored, resolve, trace

WIDTH = 88
ROOM = 100  # for a call, beside the `return` before it; a longer one takes a line per argument
COLUMNS = "the columns split, y, x0, x1 and so on"
KNOWN = ("schedulefree", "torchmetrics")
"""Packages that a script may take beside torch and pandas; any other module is where something of the study's lives."""
TAKEN = frozenset({"__main__", "train", "load", "encoded", "evaluate", "inputs", "outputs", "parameters"})
"""Names of modules that nothing can be imported from: the script has others of them."""
FREE = frozenset(SCHEDULE_FREE.values())
"""The optimizers of the package schedulefree."""


@dataclass(frozen=True)
class Part:
    """A call in the script, the module that it takes, and a definition where there is no such module."""

    call: str
    module: str = ""
    definition: str = ""


@dataclass(frozen=True)
class Table:
    """A schedule step by step, and what it was made of: ``momentum`` is the source of that of a group, where it moves."""

    said: Sequence[str]
    rates: str
    momenta: str = ""
    momentum: str = ""
    peak: str = ""
    """Where there are several parameter groups, each with its share of the schedule's rate."""


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
    classes: int = 2

    @classmethod
    def of(cls, data: pd.DataFrame) -> "Data":
        """What ``data/P.parquet`` holds."""
        is_whole = pd.api.types.is_integer_dtype
        classes, remarks = data.attrs.get("classes", ()), tuple(data.attrs.get("remarks", ()))
        positive = classes[1] if len(classes) == 2 else None
        kinds = not is_whole(data["y"]), "columns" in data.attrs, "shape" in data.attrs, is_whole(data["x0"])
        return cls(*kinds, positive, remarks, 1 if kinds[0] else int(data["y"].max()) + 1)


def script(
    problem_name: str, problem: ProblemParams, run: Mapping[str, Any], batches: int, summary: str, data: Data = Data()
) -> str:
    """The Python source that trains ``problem`` with the configuration of ``run``, a row of ``runs.parquet``.

    ``batches`` is the number of optimizer steps in an epoch. ``summary``, plain text, goes into the module's docstring;
    nothing in it can end that. What stands in no module is to be pasted: the script raises a NotImplementedError that says so.
    """
    component = Component(**{key: json.loads(run["optimizer"])[key] for key in ("name", "args")})
    loss = problem.loss or Component("MSELoss" if data.is_regression else "CrossEntropyLoss", {})
    is_binary, average = losses[loss.name].is_binary, json.loads(run["optimizer"]).get("average", {})
    schedule, budget = _schedule(run), Budget(int(run["epochs"]), batches)
    scheduler = _scheduler(schedule, component, budget)
    label, metric = _metric(problem.metric, data, is_binary=is_binary)
    made, criterion = _optimizer(component, schedule.lr), _loss(loss)
    parts = {"model": _model(problem.model), "optimizer": made, "loss": criterion, "metric": metric}
    if isinstance(scheduler, Part):
        parts["scheduler"] = scheduler
    watched, per_batch = monitored(schedule), schedule.interval == "batch"
    modules = sorted({part.module for part in parts.values()} - {""})
    return _environment().get_template("best.py.j2").render(
        title=_prose(f"{run.get('scheduler', run['name'])} on {problem_name}"),
        summary=_paragraph(summary),
        needed=_paragraph(f"Needs {', '.join(['torch', 'pandas', *modules])} and a parquet file with {COLUMNS}."),
        modules=modules,
        own=[module for module in modules if module not in KNOWN],
        definitions=[part.definition for part in parts.values() if part.definition],
        **{kind: part.call for kind, part in parts.items() if kind != "scheduler"},
        table=scheduler if isinstance(scheduler, Table) else None,
        scheduler=scheduler.call if isinstance(scheduler, Part) else "",
        label=_literal(label),
        data=f"data/{problem_name}.parquet", kind=data, is_binary=is_binary,
        single=".squeeze(1)" if data.is_regression or is_binary else "",
        epochs=budget.epochs, batch_size=problem.batch_size, batches=batches,
        per_batch=per_batch, watched=watched, resample=problem.resample, clip=problem.clip, free=component.name in FREE,
        is_own=not is_torchs(component.name), is_own_model=not _is_here(models[problem.model.name], "problems.models"),
        needs_closure=component.name == "LBFGS" or not is_torchs(component.name),
        ema=average.get("ema"), swa=average.get("swa"),
    )  # fmt: skip


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


# The schedule


def _schedule(run: Mapping[str, Any]) -> Schedule:
    """The run's schedule, in torch's numbers."""
    lr, warmup = float(run["lr"]), int(run["warmup"])
    return Schedule(name=run["name"], args=json.loads(run["resolved"]), lr=lr, warmup=warmup, interval=run["interval"])


def _scheduler(schedule: Schedule, optimizer: Component, budget: Budget) -> Part | Table:
    """Torch's own class where it is exactly that, else the table of the rates; a live one, which has none, is imported."""
    entry, resolved, new = schedulers[schedule.name], resolve(schedule, schedule.lr, budget), _stand_in(optimizer)
    asked = {name: resolved.args[name] for name in entry.arguments.model_fields}
    arguments = {**entry.given(budget.steps_of(schedule).main), **asked}
    groups = idle(new, resolved.lr).param_groups
    if not resolved.warmup and (len(groups) == 1 or entry.live):
        made = build(schedule, idle(new, resolved.lr), resolved, budget)
        if _is_torchs_own(entry, made):
            return Part(_call(f"lr_scheduler.{entry.name}", ["optimizer"], _as_torch_takes_them(made, arguments)))
    if entry.live:
        return _imported("scheduler", entry, ["optimizer"], arguments)
    every = 1 if schedule.interval == "batch" else budget.steps_per_epoch
    followed = trace(schedule, new, resolved.lr, budget)
    momenta = followed.momentum[::every]
    said = _paragraph(f"{entry.name} in {len(momenta)} steps, {', '.join(f'{key}: {value}' for key, value in asked.items())}")
    return Table(
        said,
        _column("RATES", followed.lr[::every]),
        _column("MOMENTA", momenta) if (momenta != momenta[0]).any() else "",
        '"momentum"' if "momentum" in groups[0] else '"betas"',
        _literal(resolved.lr) if len(groups) > 1 else "",
    )


def _stand_in(component: Component) -> NewOptimizer:
    """Builds the optimizer for a replay; one that is not content with tensors of no meaning is left aside."""
    function = optimizers[component.name].function

    def new(parameters: list[Tensor], lr: float) -> Optimizer:
        made: Optimizer = function(parameters, **{**component.args, "lr": lr})
        return made

    if is_torchs(component.name):
        return new
    vars(new)["stand_ins"] = [torch.zeros(1, 1, requires_grad=True), torch.zeros(1, requires_grad=True)]
    try:
        idle(new, 1.0)
    except ScheduleError:
        return partial(_of_two_groups, component.args)  # for there may be several
    return new


def _of_two_groups(arguments: Mapping[str, Any], parameters: list[Tensor], lr: float) -> Optimizer:
    """An optimizer of torch's with what a schedule may move."""
    groups: list[dict[str, Any]] = [{"params": parameters}, {"params": []}]
    if "betas" in arguments:
        return torch.optim.AdamW(groups, lr, betas=(arguments["betas"][0], arguments["betas"][1]))
    return torch.optim.SGD(groups, lr, momentum=arguments.get("momentum", 0.0))


def _is_torchs_own(entry: Scheduler, made: object) -> bool:
    own = _is_here(entry, "schedulers.builtin") and type(made) is getattr(lr_scheduler, entry.name, None)
    return own and "lr_lambda" not in entry.arguments.model_fields


def _as_torch_takes_them(made: object, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that torch's class has; where one is None, what the registered function found in its place."""
    known = [name for name in inspect.signature(type(made)).parameters if name in arguments]
    return {name: getattr(made, name, None) if arguments[name] is None else arguments[name] for name in known}


def _column(name: str, values: Floats) -> str:
    """A list of all values, what stays the same written once; over several lines where it is long."""
    items: list[str] = []
    for value, same in groupby(map(_literal, values.tolist())):
        times = len(list(same))
        items += [f"*[{value}] * {times}"] if times > 2 else [value] * times
    if len(items) == 1:
        return f"{name} = {items[0].removeprefix('*')}" if items[0].startswith("*") else f"{name} = [{items[0]}]"
    line = f"{name} = [{', '.join(items)}]"
    if len(line) <= ROOM:
        return line
    filled = textwrap.wrap(", ".join(items) + ",", ROOM, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{name} = [", *(f"    {part}" for part in filled), "]  # fmt: skip"])


# Model, optimizer, loss, metric


def _is_here(entry: Registered, module: str) -> bool:
    """Whether it is registered in that module of this package."""
    return bool(entry.function.__module__ == f"pipeline.{module}")


def _model(model: Component) -> Part:
    if model.name == "linear":
        return Part("nn.Linear(inputs, outputs)")
    if model.name == "mlp":
        return Part(_group("nn.Sequential(", list(_layers(**model.args)), ")"))
    return _imported("model", models[model.name], ["inputs", "outputs"], model.args)


def _layers(hidden: Sequence[int], activation: str, dropout: float) -> Iterator[str]:
    behind = {"relu": "nn.ReLU()", "gelu": "nn.GELU()", "tanh": "nn.Tanh()"}[activation]
    sizes = ["inputs", *map(str, hidden)]
    for size_in, size_out in pairwise(sizes):
        yield f"nn.Linear({size_in}, {size_out})"
        yield behind
        if dropout:
            yield f"nn.Dropout({_literal(dropout)})"
    yield f"nn.Linear({sizes[-1]}, outputs)"


def _optimizer(component: Component, lr: float) -> Part:
    entry = optimizers[component.name]
    given = {**component.args, "lr": lr}
    arguments = {name: given[name] for name in entry.arguments.model_fields if name in given}  # in the order of the function
    if not is_torchs(component.name):
        return _imported("optimizer", entry, ["parameters"], arguments)
    # JSON knows no tuples, and torch's optimizers take no lists.
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    if component.name in FREE:
        return Part(_call(f"schedulefree.{component.name}", ["parameters"], arguments), "schedulefree")
    return Part(_call(f"torch.optim.{component.name}", ["parameters"], arguments))


def _loss(loss: Component) -> Part:
    entry = losses[loss.name]
    given = {key: value for key, value in loss.args.items() if value is not None}
    if _is_here(entry, "problems.losses"):
        return Part(_call(f"nn.{loss.name}", [], given, tensors=("weight", "pos_weight")))
    return _imported("loss", entry, ['"mean"'], given)


def _metric(metric: Component | None, data: Data, *, is_binary: bool) -> tuple[str, Part]:
    """How people write it, and the statements that set ``measured`` from ``outputs`` and ``y``."""
    metric = metric or Component("R2Score" if data.is_regression else "Accuracy", {})
    entry = metrics[metric.name]
    label = entry.display
    if entry.function(data.classes, **metric.args).power:
        label += " of the standardised target"
    found = "(outputs > 0).long()" if is_binary else "outputs.argmax(dim=1)"
    y = "y.long()" if is_binary else "y"
    if not _is_here(entry, "problems.metrics"):
        part = _imported("metric", entry, [str(data.classes)], metric.args)
        made, value = part.call, f"float(metric.of_runs(outputs.reshape(1, len(y), -1), {y}[None])[0])"
        return label, replace(part, call=f"metric = {made}\nmeasured = {value}")
    if metric.name == "Accuracy":
        return label, Part(f"measured = ({found} == y).double().mean().item()")
    if metric.name == "R2Score":
        return label, Part("measured = (1 - ((outputs - y) ** 2).mean() / y.var(correction=0)).item()")
    name, given, scores = metric.name, dict(metric.args), "outputs"
    if name == "BalancedAccuracy":
        name, scores = "Accuracy", found
        given = {"task": "multiclass", "num_classes": data.classes, "average": "macro"}
    elif not data.is_regression and data.classes == 2:
        given, scores = {"task": "binary"}, "outputs.sigmoid()" if is_binary else "outputs.softmax(dim=1)[:, 1]"
    elif not data.is_regression:
        given, scores = {"task": "multiclass", "num_classes": data.classes, **given}, "outputs.softmax(dim=1)"
    made = _call(f"torchmetrics.{name}", [], given)
    return label, Part(f"metric = {made}\nmeasured = metric({scores}, {y}).item()", "torchmetrics")


def _imported(kind: str, entry: Registered, given: Sequence[str], arguments: Mapping[str, Any]) -> Part:
    """A call of what is registered, where it lives."""
    function = inspect.unwrap(entry.function)
    tuples = asks_for_tuples(function)
    arguments = {key: tuple(value) if key in tuples and isinstance(value, list) else value for key, value in arguments.items()}
    module, place = str(getattr(function, "__module__", "")), str(getattr(function, "__qualname__", ""))
    if _stands_at(module, place, function):
        return Part(_call(f"{module}.{place}", given, arguments), module)
    missing = _literal(f"paste the source of the {kind} {entry.name!r} here")
    stub = f'def own_{kind}(*_: object, **__: object) -> None:\n    """It stands in no module that could be imported."""\n'
    return Part(_call(f"own_{kind}", given, arguments), "", f"{stub}    raise NotImplementedError({missing})")


def _stands_at(module: str, place: str, function: object) -> bool:
    if (
        module.partition(".")[0] in TAKEN
        or module not in sys.modules
        or not all(name.isidentifier() for name in place.split("."))
    ):
        return False
    try:
        return inspect.unwrap(operator.attrgetter(place)(sys.modules[module])) is function
    except AttributeError:
        return False


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
