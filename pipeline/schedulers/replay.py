"""Replay: step the real torch scheduler on an optimizer over one zero tensor and record its rate and momentum.

Nothing about a scheduler is re-implemented here. Composing with a one-tensor optimizer is exact because a torch scheduler
reads and writes nothing of an optimizer but its parameter groups.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, SequentialLR

from pipeline.params import Schedule
from pipeline.runs import Floats
from pipeline.schedulers.closed_form import ClosedForm
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.spans import goes_by_spans, stretches
from pipeline.units import Scale, plain_length, plain_rate

NewOptimizer = Callable[[list[torch.Tensor], float], Optimizer]
"""Builds the problem's optimizer over some parameters at a learning rate.

An attribute ``stand_ins`` of it, where there is one, are tensors to build it over where nothing is trained: an optimizer of the
user's own may sort them into groups by their shapes.
"""


class ScheduleError(Exception):
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
            raise ScheduleError(f"leaves nothing of the run's {total} steps", "warmup")
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
    return float(_momentum_getter(optimizer)(optimizer.param_groups[0]))


def _momentum_getter(optimizer: Optimizer) -> Callable[[dict[str, Any]], Any]:
    group = optimizer.param_groups[0]
    if "momentum" in group:
        return itemgetter("momentum")
    return (lambda group: group["betas"][0]) if "betas" in group else (lambda group: 0.0)


def rate_of(optimizer: Optimizer) -> float:
    """The learning rate of the first parameter group."""
    return float(optimizer.param_groups[0]["lr"])


def build(schedule: Schedule, optimizer: Optimizer, resolved: Resolved, budget: Budget) -> Any:
    """The real torch scheduler on ``optimizer``, behind a linear warmup where the schedule asks for one.

    The warmup is that of Hugging Face: the first step is trained at rate 0, step ``warmup`` at the peak; the schedule then
    begins as if the run began there and were that much shorter.
    """
    try:
        main = schedulers[schedule.name].function(optimizer, budget.steps_of(schedule).main, **resolved.args)
        if not resolved.warmup:
            return main
        rising = LambdaLR(optimizer, ClosedForm(lambda step: step / resolved.warmup))
        return SequentialLR(optimizer, [rising, main], [resolved.warmup])
    except Exception as error:  # a scheduler of the user's own may raise anything
        raise ScheduleError(f"it cannot be built: {_first_line(error)}") from error


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
        # A new optimizer for each: a used one would hand its `initial_lr` to the next scheduler.
        self._optimizer = idle(new_optimizer, resolved.lr)
        at_one_rate(self._optimizer, resolved.lr)
        self._scheduler = build(schedule, self._optimizer, resolved, budget)
        vars(self._optimizer)["_opt_called"] = True  # nothing is trained here, and torch need not warn of that

    @property
    def now(self) -> tuple[float, float]:
        """Learning rate and momentum of the next optimizer step."""
        return rate_of(self._optimizer), momentum_of(self._optimizer)

    def step(self, loss: float | None = None) -> None:
        """Step the scheduler; with the run's own training loss where it is a live one."""
        if loss is None:
            self._scheduler.step()
        else:
            self._scheduler.step(loss)

    def follow(self, phases: Phases, told: "Told") -> None:
        """Step to the end of the run, and tell what holds at the first step and after each.

        Within its warmup, and behind it, a SequentialLR does no more than step the one of its schedulers whose turn it is.
        """
        told.note(*self.now)
        if phases.warmup:
            rising, main = self._scheduler._schedulers
            self._follow(rising, phases.warmup - 1, told)
            self._scheduler.last_epoch += phases.warmup - 1
            self.step()
            told.note(*self.now)
        else:
            main = self._scheduler
        self._follow(main, phases.main - 1, told)

    def _follow(self, scheduler: Any, steps: int, told: "Told") -> None:
        """Step one scheduler ``steps`` times: all at once where its factors are a formula, in spans where it is torch's own."""
        if goes_by_spans(scheduler):
            for stretch in stretches(scheduler, steps, _momentum_getter(self._optimizer)):
                told.note(*stretch, len(stretch.lr))
        elif type(scheduler) is LambdaLR and isinstance(factor := scheduler.lr_lambdas[0], ClosedForm):
            numbers = np.arange(scheduler.last_epoch + 1, scheduler.last_epoch + 1 + steps, dtype=float)
            told.note(scheduler.base_lrs[0] * factor.over(numbers), momentum_of(self._optimizer), steps)
        else:
            for _ in range(steps):
                scheduler.step()
                told.note(*self.now)


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
