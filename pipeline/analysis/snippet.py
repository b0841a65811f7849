"""The lines that matter of a configuration: optimizer, scheduler, and after what to step it.

Lengths are shares of the run's own length and rates shares of the peak, so that the lines serve any number of samples and
epochs; at the study's own sizes they give its very rates. What is torch's is written as torch's own call, what has a formula as
a ``LambdaLR``; any other schedule is the table of its rates, stretched to the run, and any other live one is imported.
"""

import inspect
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler

from pipeline.analysis.formulas import FORMULAS, PEAK, Arguments, Factor, length
from pipeline.analysis.source import ROOM, Code, Part, call, imported, literal, paragraph, prose, template
from pipeline.config.arrays import Floats
from pipeline.config.components import NO_DECAY, Component
from pipeline.config.problem_params import ITS_OWN, ProblemParams
from pipeline.config.registry import Registered
from pipeline.config.schedules import Schedule
from pipeline.problems.optimizers import SCHEDULE_FREE, is_torchs, optimizers
from pipeline.problems.scripts import stand_in
from pipeline.schedulers.registry import Monitor, schedulers
from pipeline.schedulers.replay import Budget, NewOptimizer, Resolved, ScheduleError, idle, monitored, resolve, trace

FREE = frozenset(SCHEDULE_FREE.values())
"""The optimizers of the package schedulefree."""
REST = "rest"
"""The name of what is left of a run behind its warmup."""


@dataclass(frozen=True)
class Table:
    """A schedule step by step, and what it was made of; ``momentum`` is the source of that of a group, where it moves."""

    said: Sequence[str]
    rates: str
    momenta: str = ""
    momentum: str = ""


@dataclass(frozen=True)
class Lines:
    """What builds optimizer and scheduler, after the statements ``before`` it.

    ``count`` is what these call the run's length, ``steps`` or ``epochs``: by those the scheduler is stepped. ``peak`` is the
    peak rate as one would write it; ``studied``, what the run had, may differ in its last digit.
    """

    peak: float
    studied: float
    optimizer: Part
    before: Sequence[str]
    scheduler: Part
    count: str
    watched: Monitor | None = None
    table: Table | None = None
    groups: str = ""
    """A function ``groups(model)`` that makes the optimizer's parameter groups, where there are several."""

    @property
    def is_per_batch(self) -> bool:
        """Whether the scheduler is stepped after every batch."""
        return self.count == "steps"

    def asks_for(self, name: str) -> bool:
        """Whether a name is used."""
        return bool(re.search(rf"\b{name}\b", "\n".join([*self.before, self.scheduler.call])))


def lines_of(run: Mapping[str, Any], batches: int, warmup: int | str | None = None, parameters: str = "parameters") -> Lines:
    """The lines of ``run``, a row of ``runs.parquet`` with ``batches`` optimizer steps in an epoch.

    ``warmup`` is that of the schedule's entry as written, a share of the run perhaps; ``parameters`` are the optimizer's.
    """
    component, spared = _apart(Component(**{key: json.loads(run["optimizer"])[key] for key in ("name", "args")}))
    schedule, budget = _schedule(run), Budget(int(run["epochs"]), batches)
    count = "steps" if schedule.interval == "batch" else "epochs"
    phases, resolved = budget.steps_of(schedule), resolve(schedule, schedule.lr, budget)
    entry, name = schedulers[schedule.name], REST if resolved.warmup else count
    written, known = entry.complete(json.loads(run["args"])), {**entry.given(phases.main), **resolved.args}
    searched = run.get("variant", "default") != "default"
    arguments = Arguments(entry, written, known, resolved.lr, phases.main, name, searched)
    before = _warmup(warmup, resolved.warmup, count, phases.warmup + phases.main)
    new = _stand_in(component)
    made = _scheduler(arguments, before, several=len(idle(new, resolved.lr).param_groups) > 1)
    table = None
    if made is None:
        made = [], Part(f"Recorded(optimizer, {count})")
        table = _table(schedule, arguments, new, resolved, budget)
    own, groups = _optimizer(component, parameters), _groups(spared) if spared else ""
    return Lines(_rounded(resolved.lr), resolved.lr, own, *made, count, monitored(schedule), table, groups)


def snippet(problem: ProblemParams, run: Mapping[str, Any], batches: int, warmup: int | str | None = None) -> str:
    """What to paste into a training loop with a ``model`` and a ``loader``: optimizer, scheduler, and where to step it."""
    is_grouped = NO_DECAY in json.loads(run["optimizer"])["args"]
    found = lines_of(run, batches, warmup, "groups(model)" if is_grouped else "model.parameters()")
    own = sorted({found.optimizer.module, found.scheduler.module} - {""})
    made = "\n".join([*found.before, f"scheduler = {found.scheduler.call}"])
    return template("snippet.py.j2").render(
        modules=[*(["math"] if found.asks_for("math") else []), *own, "torch"],
        lines=found,
        problem=problem,
        epochs=int(run["epochs"]),
        peak_name=PEAK,
        peak=literal(found.peak),
        scheduler=re.sub(r"\bepochs\b", "EPOCHS", made),
        is_free=json.loads(run["optimizer"])["name"] in FREE,
        clip=clipped(problem),
        watched=(found.watched or "").replace("train_", "training_"),
    )


def pasted(title: str, summary: str, lines: str) -> str:
    """The lines as a file of their own, for a training script that is not ours to write."""
    said = "\n".join(paragraph(summary))
    return f'"""{prose(title)}.\n\n{said}\n\nTo be pasted into the training script.\n"""\n\n{lines}'


def clipped(problem: ProblemParams) -> str:
    """The call that clips gradients, where the problem does."""
    if not problem.clip:
        return ""
    norm, value = problem.clip.norm, problem.clip.value
    return f"nn.utils.clip_grad_{'norm' if norm else 'value'}_(model.parameters(), {literal(norm or value)})"


# The schedule


def _schedule(run: Mapping[str, Any]) -> Schedule:
    """The run's schedule, in torch's numbers."""
    lr, warmup = float(run["lr"]), int(run["warmup"])
    return Schedule(name=run["name"], args=json.loads(run["resolved"]), lr=lr, warmup=warmup, interval=run["interval"])


def _warmup(written: int | str | None, steps: int, count: str, total: int) -> list[str]:
    """Statements that say how long the warmup is, and what is left behind it."""
    if not steps:
        return []
    return [f"warmup = {literal(length(written, count, total, steps, 1))}", f"{REST} = max(1, {count} - warmup)"]


def _scheduler(arguments: Arguments, warmup: Sequence[str], *, several: bool) -> tuple[list[str], Part] | None:
    """Statements and the call behind them; None for what only a table can say: an optimizer of several groups, too."""
    entry = arguments.entry
    is_own = (
        is_here(entry, "schedulers.builtin") and hasattr(lr_scheduler, entry.name) and "lr_lambda" not in arguments.resolved
    )
    if entry.live and not is_own:
        return [], imported("scheduler", entry, ["optimizer"], {**entry.given(0), **arguments.sources()})
    if several and not entry.live:
        return None
    if is_own:
        return _torchs(arguments, warmup)
    formula = FORMULAS.get(entry.name) if is_here(entry, "schedulers.composed") else None
    factor = formula(arguments) if formula else None
    return _factor(factor, warmup) if factor else None


SEQUENTIAL = frozenset({"StepLR", "MultiStepLR", "ConstantLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingLR"})
"""Torch's own that begin behind the warmup of a ``SequentialLR`` as they would at the beginning of a run."""


def _torchs(arguments: Arguments, warmup: Sequence[str]) -> tuple[list[str], Part] | None:
    """Torch's own call, with what differs from torch's defaults."""
    entry = arguments.entry
    kind = getattr(lr_scheduler, entry.name)
    given = arguments.sources()
    before = list(warmup)
    if entry.name == "ExponentialLR" and arguments["final"] is not None:
        before += [f"final = {literal(given['final'])}"]
        given["gamma"] = Code(f"(final / {PEAK}) ** (1 / {arguments.name})")
    if arguments.resolved.get("mode", "exp_range") != "exp_range":
        given.pop("gamma", None)  # of CyclicLR, which goes by it in that mode alone
    own = call(f"lr_scheduler.{entry.name}", ["optimizer"], _unusual(kind, given))
    if not warmup:
        return before, Part(own)
    if entry.name not in SEQUENTIAL:
        return None
    before += ["rise = lr_scheduler.LambdaLR(optimizer, lambda step: step / warmup)", f"main = {own}"]
    return _used(before), Part("lr_scheduler.SequentialLR(optimizer, [rise, main], [warmup])")


def _unusual(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """In the order of a class of torch's, the arguments that it has and that are not its defaults."""
    parameters = inspect.signature(kind).parameters
    known = {name: given[name] for name in parameters if given.get(name) is not None}
    return {name: value for name, value in known.items() if isinstance(value, Code) or value != parameters[name].default}


def _factor(factor: Factor, warmup: Sequence[str]) -> tuple[list[str], Part]:
    """A ``LambdaLR``, of a function where it takes more than an expression."""
    rise = ["if step < warmup:", "    return step / warmup", "step -= warmup"] if warmup else []
    inside = [*rise, *factor.inside]
    if warmup and not re.search(r"\bstep\b", "\n".join([factor.value, *factor.inside])):
        inside = rise[:2]
    before = [*warmup, *factor.before]
    if not inside:
        made = call("lr_scheduler.LambdaLR", ["optimizer", f"lambda step: {factor.value}"], {})
        return before, Part(made)
    before += [
        "",
        "def factor(step: int) -> float:",
        *textwrap.indent("\n".join([*inside, f"return {factor.value}"]), "    ").split("\n"),
        "",
    ]
    return _used(before), Part("lr_scheduler.LambdaLR(optimizer, factor)")


def _used(before: list[str]) -> list[str]:
    """The statements without that of a rest which nothing asks for."""
    is_used = any(re.search(rf"\b{REST}\b", line) and not line.startswith(f"{REST} =") for line in before)
    return [line for line in before if is_used or not line.startswith(f"{REST} =")]


def _table(schedule: Schedule, arguments: Arguments, new: NewOptimizer, resolved: Resolved, budget: Budget) -> Table:
    """The schedule's rates, and its momenta where they move."""
    every = 1 if schedule.interval == "batch" else budget.steps_per_epoch
    followed = trace(schedule, new, resolved.lr, budget)
    momenta, group = followed.momentum[::every], idle(new, resolved.lr).param_groups[0]
    asked = ", ".join(f"{key}: {value}" for key, value in resolved.args.items())
    return Table(
        paragraph(f"{arguments.entry.name} in {len(momenta)} steps, {asked}"),
        _column("RATES", followed.lr[::every]),
        _column("MOMENTA", momenta) if (momenta != momenta[0]).any() else "",
        "momentum" if "momentum" in group else "betas",
    )


def _column(name: str, values: Floats) -> str:
    """A list of all values, what stays the same written once; over several lines where it is long."""
    items: list[str] = []
    for value, same in groupby(map(literal, values.tolist())):
        times = len(list(same))
        items += [f"*[{value}] * {times}"] if times > 2 else [value] * times
    if len(items) == 1:
        return f"{name} = {items[0].removeprefix('*')}" if items[0].startswith("*") else f"{name} = [{items[0]}]"
    line = f"{name} = [{', '.join(items)}]"
    if len(line) <= ROOM:
        return line
    filled = textwrap.wrap(", ".join(items) + ",", ROOM, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{name} = [", *(f"    {part}" for part in filled), "]  # fmt: skip"])


# The optimizer


def _apart(component: Component) -> tuple[Component, list[str]]:
    """The optimizer by its own arguments, and the parameters that are spared its weight decay."""
    if NO_DECAY not in component.args or NO_DECAY in optimizers[component.name].arguments.model_fields:
        return component, []
    own = {name: value for name, value in component.args.items() if name != NO_DECAY}
    return Component(component.name, own), component.args[NO_DECAY]


TESTS = {
    "bias": '"bias" in name',
    "norm": '"norm" in type(layer).__name__.lower()',
    "embedding": "isinstance(layer, (torch.nn.Embedding, torch.nn.EmbeddingBag))",
}
"""What :func:`pipeline.problems.optimizers.undecayed` asks of a parameter's ``name`` in its ``layer``."""


def _groups(spared: Sequence[str]) -> str:
    """The function that makes the parameter groups."""
    tests = [TESTS.get(word, f'{literal(word)} in f"{{place}}.{{name}}".lstrip(".")') for word in spared]
    return template("groups.py.j2").render(spared=spared, tests=tests).rstrip()


def _rounded(rate: float) -> float:
    """Without the last digits of a product of two short numbers, which nobody would write."""
    shorter = float(f"{rate:.12g}")
    return shorter if len(repr(shorter)) + 6 <= len(repr(rate)) else rate


def _optimizer(component: Component, parameters: str) -> Part:
    if not _is_known(component):
        name = "" if component.name == ITS_OWN else f" {component.name}"
        return Part(f"...  # your own{name}, with lr={PEAK}")
    entry = optimizers[component.name]
    given = {**component.args, "lr": Code(PEAK)}
    arguments = {name: given[name] for name in entry.arguments.model_fields if name in given}  # in the order of the function
    if not is_torchs(component.name):
        return imported("optimizer", entry, [parameters], arguments)
    # JSON knows no tuples, and torch's optimizers take no lists.
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    module = "schedulefree" if component.name in FREE else "torch.optim"
    unusual = _unusual(getattr(import_module(module), component.name), arguments)
    return Part(call(f"{module}.{component.name}", [parameters], unusual), module if component.name in FREE else "")


def _is_known(component: Component) -> bool:
    """Whether the optimizer is a registered one; a script's may be any."""
    return component.name in {entry.name for entry in optimizers}


def is_here(entry: Registered, module: str) -> bool:
    """Whether it is registered in that module of this package."""
    return bool(entry.function.__module__ == f"pipeline.{module}")


def _stand_in(component: Component) -> NewOptimizer:
    """Builds the optimizer for a replay; one that is not content with tensors of no meaning is left aside."""
    if not _is_known(component):
        return stand_in(component.args)
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
