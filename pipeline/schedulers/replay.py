"""Replay: step the real torch scheduler on an optimizer over one zero tensor and record its rate and momentum.

Nothing about a scheduler is re-implemented here. Composing with a one-tensor optimizer is exact because a torch scheduler
reads and writes nothing of an optimizer but its parameter groups.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, ReduceLROnPlateau, SequentialLR

from pipeline.config.arrays import Floats
from pipeline.config.errors import PipelineError
from pipeline.config.schedules import Schedule
from pipeline.config.units import Scale, plain_length, plain_rate
from pipeline.config.wording import counted
from pipeline.schedulers.closed_form import rates_of
from pipeline.schedulers.registry import Monitor, schedulers
from pipeline.schedulers.warmup import Warmup

NewOptimizer = Callable[[list[torch.Tensor], float], Optimizer]
"""Builds the problem's optimizer over some parameters at a learning rate.

An attribute ``stand_ins`` of it, where there is one, are tensors to build it over where nothing is trained: an optimizer of the
user's own may sort them into groups by their shapes.
"""


class ScheduleError(PipelineError):
    """A schedule that cannot be followed to the end of the run.

    ``key`` is the entry in params.yaml that is wrong, ``epoch`` (from 1) the one in which it fails, where it had been built.
    """

    def __init__(self, message: str, key: str = "args", epoch: int | None = None) -> None:
        super().__init__(message)
        self.key, self.epoch = key, epoch


@dataclass(frozen=True)
class Phases:
    """Scheduler steps of a run: of the warmup, and of the schedule itself behind it."""

    warmup: int
    main: int


@dataclass(frozen=True)
class Budget:
    """Length of a run: epochs and optimizer steps in each."""

    epochs: int
    steps_per_epoch: int

    def steps_of(self, schedule: Schedule) -> Phases:
        """How often the schedule is stepped in the run.

        A warmup is a share of the whole run; what is left behind it is 100% of all the schedule's own lengths.
        """
        total = self.epochs * (self.steps_per_epoch if schedule.interval == "batch" else 1)
        warmup = plain_length(schedule.warmup, total)
        if warmup >= total:
            raise ScheduleError(f"leaves nothing of the run's {counted(total, 'step')}", "warmup")
        return Phases(warmup, total - warmup)

    def epoch_of(self, step: int, schedule: Schedule) -> int:
        """The epoch (from 1) of the schedule's own step (from 0)."""
        return step // (self.steps_per_epoch if schedule.interval == "batch" else 1) + 1


@dataclass(frozen=True)
class Trace:
    """Learning rate and momentum (AdamW: beta1) at every optimizer step of a run, each of shape (steps,)."""

    lr: Floats
    momentum: Floats


@dataclass(frozen=True)
class Resolved:
    """A schedule in torch's numbers: the optimizer's learning rate, the scheduler's complete arguments, steps of warmup."""

    lr: float
    args: dict[str, Any]
    warmup: int = 0


def resolve(schedule: Schedule, lr: float, budget: Budget) -> Resolved:
    """``schedule`` in torch's numbers, given the problem's learning rate and the run's length."""
    peak, steps = plain_rate(schedule.lr, lr), budget.steps_of(schedule)
    return Resolved(peak, schedulers[schedule.name].complete(schedule.args, Scale(steps.main, peak)), steps.warmup)


def idle(new_optimizer: NewOptimizer, lr: float) -> Optimizer:
    """A new optimizer whose parameter groups are those of the problem's model, and which trains nothing."""
    parameters = getattr(new_optimizer, "stand_ins", None) or [torch.zeros(1, 1, requires_grad=True)]
    try:
        return new_optimizer(list(parameters), lr)
    except Exception as error:  # an optimizer of the user's own may raise anything
        raise ScheduleError(f"the problem's optimizer cannot be built: {_first_line(error)}") from error


def momentum_of(optimizer: Optimizer) -> float:
    """The momentum a scheduler may cycle: SGD's ``momentum``, else the first beta, else 0."""
    return _momentum_in(optimizer.param_groups[0])


def _momentum_in(group: Mapping[str, Any]) -> float:
    if "momentum" in group:
        return float(group["momentum"])
    return float(group["betas"][0]) if "betas" in group else 0.0


def rate_of(optimizer: Optimizer) -> float:
    """The learning rate of the first parameter group."""
    return float(optimizer.param_groups[0]["lr"])


def monitored(schedule: Schedule) -> Monitor | None:
    """The figure that a live scheduler is told after each epoch; None for one that goes by its steps alone."""
    entry = schedulers[schedule.name]
    if not entry.live:
        return None
    figure = entry.complete(schedule.args).get("monitor", entry.monitor)
    if figure not in get_args(Monitor):
        raise ScheduleError(f"watches {figure!r}, which is not one of {', '.join(get_args(Monitor))}")
    return cast(Monitor, figure)


def build(schedule: Schedule, optimizer: Optimizer, resolved: Resolved, budget: Budget) -> Any:
    """The real torch scheduler on ``optimizer``, behind a :class:`Warmup` where the schedule asks for one."""

    def begin(optimizer: Optimizer) -> Any:
        entry, steps = schedulers[schedule.name], budget.steps_of(schedule).main
        try:
            built = entry.function(optimizer, **entry.given(steps), **resolved.args)
        except Exception as error:  # a scheduler of the user's own may raise anything
            raise ScheduleError(f"it cannot be built: {_first_line(error)}") from error
        _refuse_other_steps(built, live=entry.live)
        return built

    return Warmup(optimizer, resolved.warmup, begin) if resolved.warmup else begin(optimizer)


def _refuse_other_steps(scheduler: Any, *, live: bool) -> None:
    """A scheduler is stepped with a figure exactly where it is registered as ``live``."""
    kind = type(scheduler)
    if not callable(getattr(scheduler, "step", None)):
        raise ScheduleError(f"its function gives a {kind.__name__}, which has no step(); let it return the scheduler")
    takes_none = getattr(kind, "step", None) in (LRScheduler.step, SequentialLR.step, ChainedScheduler.step)
    if live and takes_none:
        raise ScheduleError(f"is registered as live, and the step() of {kind.__name__} takes no figure; leave `live` out there")
    if not live and isinstance(scheduler, ReduceLROnPlateau):
        raise ScheduleError(f"gives a {kind.__name__}, which reacts to a figure; write `live=True` where it is registered")


def advance(scheduler: Any, name: str, *figure: float) -> None:
    """Step the scheduler (or the replay) registered as ``name``, a live one with its figure.

    What it raises is a :class:`ScheduleError`, and so is a rate that nothing can be trained at.
    """
    try:
        scheduler.step(*figure)
    except ScheduleError:
        raise
    except Exception as error:
        raise ScheduleError(f"{name} raises: {_first_line(error)}") from error
    if figure and not 0 <= (rate := rate_of(scheduler.optimizer)) < math.inf:
        raise ScheduleError(f"{name} sets a learning rate of {rate:g}")


class Unread(dict[Any, Any]):
    """The state of an optimizer that trains nothing: whoever would go by it is told that it is not there."""

    def _refuse(self, *_: object) -> Any:
        raise ScheduleError(
            "reads the optimizer's state, which is not there when a schedule is followed before training; "
            "let it go by its steps, or by a figure with `live=True`"
        )

    __getitem__ = __contains__ = __iter__ = __len__ = __bool__ = get = items = keys = values = _refuse


def at_one_rate(optimizer: Optimizer, lr: float) -> list[float]:
    """Give all parameter groups the rate ``lr``, which a schedule goes by, and return the share of it that each had."""
    shares = [float(group["lr"]) / lr for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = lr
    return shares


@contextmanager
def each_at_its_share(optimizer: Optimizer, shares: Sequence[float]) -> Iterator[None]:
    """In the block, which is an optimizer step, each parameter group has its own share of the schedule's rate."""
    if all(share == 1 for share in shares):
        yield
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group, share, rate in zip(optimizer.param_groups, shares, rates, strict=True):
        group["lr"] = share * rate
    yield
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


class Replay:
    """One scheduler on an optimizer that trains nothing, stepped like the original."""

    def __init__(self, schedule: Schedule, new_optimizer: NewOptimizer, lr: float, budget: Budget) -> None:
        resolved = resolve(schedule, lr, budget)
        self.monitor = monitored(schedule)
        # A new optimizer for each: a used one would hand its `initial_lr` to the next scheduler.
        self.optimizer = idle(new_optimizer, resolved.lr)
        at_one_rate(self.optimizer, resolved.lr)
        vars(self.optimizer).update(_opt_called=True, state=Unread())  # nothing is trained here; torch need not warn of that
        self._untouched = _all_else(self.optimizer)
        self._scheduler = build(schedule, self.optimizer, resolved, budget)
        self._refuse_other_changes()

    @property
    def now(self) -> tuple[float, float]:
        """Learning rate and momentum of the next optimizer step."""
        group = self.optimizer.param_groups[0]
        return float(group["lr"]), _momentum_in(group)

    def step(self, *figure: float) -> None:
        """Step the scheduler; a live one with the figure that it watches."""
        self._scheduler.step(*figure)
        self._refuse_other_changes()

    def _refuse_other_changes(self) -> None:
        for name, value in _all_else(self.optimizer).items():
            if value != self._untouched.get(name, value):
                raise ScheduleError(f"changes the optimizer's {name}; a schedule may move the rate and the momentum alone")

    def follow(self, phases: Phases, told: "Told") -> None:
        """Step to the end of the run, and tell what holds at the first step and after each."""
        told.note(*self.now)
        for _ in range(phases.warmup):
            self.step()
            told.note(*self.now)
        main = self._scheduler.main if phases.warmup else self._scheduler
        steps = phases.main - 1
        if (found := rates_of(main, np.arange(1, steps + 1, dtype=float))) is not None:
            told.note(found[0], self.now[1] if found[1] is None else found[1], steps)
            return
        step = _plain_step(main) if _is_stepped_plainly(main) else self.step
        for _ in range(steps):
            step()
            told.note(*self.now)
        self._refuse_other_changes()


def _all_else(optimizer: Optimizer) -> dict[str, Any]:
    """What a parameter group holds beside its parameters, rate and momentum."""
    group = optimizer.param_groups[0]
    others = {name: value for name, value in group.items() if name not in ("params", "lr", "initial_lr", "momentum", "betas")}
    return others | {"betas": tuple(group.get("betas", ()))[1:]}


def _is_stepped_plainly(scheduler: object) -> bool:
    """Whether it is one of torch's own whose ``step`` is the common one."""
    kind = type(scheduler)
    return kind.__module__ == LRScheduler.__module__ and getattr(kind, "step", None) is LRScheduler.step


def _plain_step(scheduler: LRScheduler) -> Callable[[], None]:
    """What torch's common ``step`` does, without its checks of who calls it, which take two thirds of its time."""
    groups = scheduler.optimizer.param_groups
    scheduler._get_lr_called_within_step = True  # torch's advice on that, off

    def step() -> None:
        scheduler._step_count += 1
        scheduler.last_epoch += 1
        for group, lr in zip(groups, scheduler.get_lr(), strict=True):
            group["lr"] = lr

    return step


class Told:
    """Rates and momenta of a run so far, step after step; of ``steps`` in all."""

    def __init__(self, steps: int) -> None:
        self.steps, self._lr, self._momentum = 0, np.empty(steps), np.empty(steps)

    def note(self, lr: Floats | float, momentum: Floats | float, steps: int = 1) -> None:
        """Those of the next ``steps``, (steps,); or what holds at all of them."""
        here = slice(self.steps, self.steps + steps)
        self._lr[here], self._momentum[here] = lr, momentum
        self.steps += steps

    @property
    def columns(self) -> tuple[Floats, Floats]:
        """Rates and momenta, (steps so far,) each."""
        return self._lr[: self.steps], self._momentum[: self.steps]


def trace(schedule: Schedule, new_optimizer: NewOptimizer, lr: float, budget: Budget) -> Trace:
    """Rate and momentum of an open-loop schedule at every optimizer step; raises :class:`ScheduleError`."""
    replay = Replay(schedule, new_optimizer, lr, budget)
    steps = budget.steps_of(schedule)
    total = steps.warmup + steps.main
    told = Told(total)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice on calls that only the replay makes
        try:
            replay.follow(steps, told)
        except Exception as error:
            epoch = budget.epoch_of(told.steps - 1, schedule)
            if isinstance(error, ScheduleError):
                raise ScheduleError(str(error), error.key, epoch) from error
            raise ScheduleError(f"raises at its step {told.steps} of {total}: {_first_line(error)}", epoch=epoch) from error
    rates, momenta = told.columns
    _refuse_impossible(rates, schedule, budget)
    _refuse_meaningless_warmup(rates, steps.warmup)
    if schedule.interval == "batch":
        return Trace(rates, momenta)
    return Trace(np.repeat(rates, budget.steps_per_epoch), np.repeat(momenta, budget.steps_per_epoch))


def _refuse_impossible(rates: Floats, schedule: Schedule, budget: Budget) -> None:
    # What falls to zero step by step may round to a little less, as torch's LinearLR does; nothing is trained by that.
    bad = np.flatnonzero(~np.isfinite(rates) | (rates < -1e-9 * np.abs(rates).max()))
    if bad.size:
        unit = "epoch" if schedule.interval == "epoch" else "step"
        epoch = budget.epoch_of(int(bad[0]), schedule)
        raise ScheduleError(f"its learning rate becomes {rates[bad[0]]:g} at {unit} {bad[0] + 1}", epoch=epoch)


def _refuse_meaningless_warmup(rates: Floats, warmup: int) -> None:
    if warmup and rates[warmup] < (1 - 1e-6) * (highest := rates[warmup:].max()):
        first = rates[warmup]
        raise ScheduleError(f"leads to a schedule that begins at {first / highest:.3g} of its own peak", "warmup")


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0]
    return line if isinstance(error, ValueError) and line else f"{type(error).__name__}: {line}"
