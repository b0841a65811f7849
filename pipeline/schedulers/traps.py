"""Traps: what a schedule does that its user will hardly have meant, read from its trace before anything is trained.

A trap looks at rates, momenta and lengths, never at names, so that it works for a scheduler of the user's own too. A
schedule that reacts to the loss is followed on a loss that never falls, which lowers its rate as early as it can.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from pipeline.params import Schedule
from pipeline.runs import Floats
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import (
    Budget,
    NewOptimizer,
    Replay,
    Resolved,
    ScheduleError,
    Trace,
    momentum_of,
    resolve,
    trace,
)
from pipeline.units import is_length, marks_of

NOTHING = 1e-6
"""Share of the peak below which a rate moves nothing."""
LONG = 0.1
"""Share of the run that is long at that rate."""
AS_THE_SAME = 0.01
"""Relative difference up to which two rates pass for the same."""


@dataclass(frozen=True)
class Finding:
    """One trap in one schedule: the epoch (from 1) at which it shows, why it matters, and the change that removes it."""

    scheduler: str
    trap: str
    epoch: int
    what: str
    why: str
    change: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.scheduler}, epoch {self.epoch}: {self.what}; {self.why}; {self.change}"

    def as_dict(self) -> dict[str, Any]:
        """By name, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Followed:
    """A schedule followed to the end of its run, and the optimizer it was given."""

    label: str
    schedule: Schedule
    resolved: Resolved
    trace: Trace
    budget: Budget
    momentum: float
    """The optimizer's own."""

    @property
    def rates(self) -> Floats:
        """The rate of every optimizer step, (steps,)."""
        return self.trace.lr

    @property
    def peak(self) -> float:
        """The highest rate."""
        return float(self.rates.max())

    @property
    def is_live(self) -> bool:
        """Whether it reacts to the loss."""
        return schedulers[self.schedule.name].live

    def found(self, trap: str, step: int, what: str, why: str, change: str) -> Finding:
        """A finding at an optimizer step (from 0)."""
        return Finding(self.label, trap, step // self.budget.steps_per_epoch + 1, what, why, change)

    def lengths(self) -> Iterator[tuple[str, int]]:
        """Every argument that is a length, in scheduler steps; each entry of a list."""
        for name, field in schedulers[self.schedule.name].arguments.model_fields.items():
            value = self.resolved.args[name]
            if value is not None and any(map(is_length, marks_of(field))):
                for each in value if isinstance(value, list) else [value]:
                    yield name, each


Trap = Callable[[Followed], Iterator[Finding]]


def follow(label: str, schedule: Schedule, new_optimizer: NewOptimizer, lr: float, budget: Budget) -> Followed:
    """Follow ``schedule`` to the end of its run; raises :class:`pipeline.schedulers.replay.ScheduleError` where it fails."""
    resolved = resolve(schedule, lr, budget)
    alive = schedulers[schedule.name].live
    traced = _on_a_constant_loss(schedule, new_optimizer, lr, budget) if alive else trace(schedule, new_optimizer, lr, budget)
    own = momentum_of(new_optimizer([torch.zeros(1, 1)], resolved.lr))
    return Followed(label, schedule, resolved, traced, budget, own)


def findings(followed: Followed, baseline: str) -> list[Finding]:
    """All traps in a schedule; that of the label ``baseline`` may be constant."""
    is_meant = followed.label == baseline and np.ptp(followed.rates) == 0
    traps = [trap for trap in TRAPS if not (is_meant and trap in (_never_changes, _lies_beyond))]
    return [finding for trap in traps for finding in trap(followed)]


def impossible(label: str, error: ScheduleError) -> Finding:
    """The finding of a schedule that cannot be followed."""
    return Finding(label, "impossible", 1, str(error), "nothing can be trained with it", f"change its `{error.key}`")


def _on_a_constant_loss(schedule: Schedule, new_optimizer: NewOptimizer, lr: float, budget: Budget) -> Trace:
    replay = Replay(schedule, new_optimizer, lr, budget)
    rows = []
    for _ in range(budget.epochs):
        rows.append(replay.now)
        replay.step(1.0)
    table = np.repeat(np.array(rows), budget.steps_per_epoch, axis=0)
    return Trace(table[:, 0], table[:, 1])


def _never_changes(s: Followed) -> Iterator[Finding]:
    if not s.is_live and np.ptp(s.rates) == 0 and not schedulers[s.schedule.name].schedule_free:
        why = "it is the constant rate under another name"
        yield s.found(
            "never changes", 0, f"the rate is {s.peak:.3g} from the first step to the last", why, "change its arguments"
        )


def _rises_at_the_end(s: Followed) -> Iterator[Finding]:
    """On the way up when the run ends, after it had been down; a jump is a restart, which is another trap."""
    moves = np.flatnonzero(np.diff(s.rates))
    rising = np.diff(s.rates)[moves] > 0
    if not moves.size or not rising[-1] or rising.all():
        return
    lowest = moves[np.flatnonzero(~rising)[-1]] + 1  # where the last fall ended
    rise = s.rates[-1] - s.rates[lowest]
    if rise > AS_THE_SAME * s.peak and not _restarts(s)[lowest:].any():
        what = f"the rate rises again, from {s.rates[lowest]:.3g} to {s.rates[-1]:.3g} at the end"
        why = "the last epochs undo what the low rate had settled"
        yield s.found("rises at the end", int(lowest), what, why, f"let it end with the run: {_fitting(s)}")


def _lies_beyond(s: Followed) -> Iterator[Finding]:
    if s.is_live:
        return
    steps = s.budget.steps_of(s.schedule).main
    unit = "batches" if s.schedule.interval == "batch" else "epochs"
    for name, length in s.lengths():
        if length > steps:
            what = f"{name} is {length} {unit}, and the schedule has {steps}"
            change = f"write {name} as a share of the run, such as 30%"
            yield s.found("beyond the run", len(s.rates) - 1, what, "what should happen then never does", change)


def _peaks_elsewhere(s: Followed) -> Iterator[Finding]:
    if abs(s.peak / s.resolved.lr - 1) > AS_THE_SAME:
        what = f"the rate peaks at {s.peak:.3g}, and the optimizer's is {s.resolved.lr:.3g}"
        why = "it is compared with the others at a rate of its own"
        is_given = "max_lr" in schedulers[s.schedule.name].arguments.model_fields
        change = "write max_lr: 100%, and the peak as `lr`" if is_given else "give the peak as `lr`"
        yield s.found("another peak", int(s.rates.argmax()), what, why, change)


def _moves_momentum(s: Followed) -> Iterator[Finding]:
    moved = np.flatnonzero(s.trace.momentum != s.momentum)
    if moved.size:
        other = s.trace.momentum[moved]
        ends = f"{other.min():.3g} to {other.max():.3g}" if np.ptp(other) else f"{other[0]:.3g}"
        what = f"the momentum becomes {ends}, and the optimizer's is {s.momentum:.3g}"
        is_known = "cycle_momentum" in schedulers[s.schedule.name].arguments.model_fields
        change = "write cycle_momentum: false" if is_known else "leave the momentum to the optimizer"
        why = "what the rate does and what the momentum does cannot be told apart"
        yield s.found("momentum", int(moved[0]), what, why, change)


def _is_zero_long_before_the_end(s: Followed) -> Iterator[Finding]:
    some = np.flatnonzero(s.rates > NOTHING * s.peak)
    first = int(some[-1]) + 1 if some.size else 0
    idle = 1 - first / len(s.rates)
    if idle > LONG and not s.is_live:
        what = f"the rate is zero, or less than a millionth of its peak, for the last {idle:.0%} of the run"
        change = f"let it fall more slowly: {_fitting(s)}"
        yield s.found("zero before the end", first, what, "nothing is learnt any more", change)


def _idles_at_first(s: Followed) -> Iterator[Finding]:
    first = s.rates[: s.budget.steps_per_epoch]
    if s.budget.epochs > 1 and s.peak > 0 and first.max() <= NOTHING * s.peak:
        why = "an epoch of the budget is lost"
        yield s.found("idle first epoch", 0, "the whole first epoch is trained at rate 0", why, "write interval: batch")


def _cuts_a_restart_off(s: Followed) -> Iterator[Finding]:
    """The rate ends well above the lowest that it had reached before its last restart."""
    restarts = np.flatnonzero(_restarts(s)) + 1
    if not restarts.size:
        return
    last = int(restarts[-1])
    before, end = float(s.rates[:last].min()), float(s.rates[-1])
    if end - before > LONG * s.peak:
        what = f"the restart here is cut off: the run ends at a rate of {end:.3g}, and had been down to {before:.3g}"
        why = "the run ends in the middle of a cycle"
        yield s.found("restart cut off", last, what, why, f"let whole cycles fill the run: {_fitting(s)}")


def _cannot_be_triggered(s: Followed) -> Iterator[Finding]:
    if s.is_live and np.ptp(s.rates) == 0:
        what = f"the rate cannot be lowered within {s.budget.epochs} epochs, not even on a loss that never falls"
        change = "write a shorter patience, such as 10%"
        yield s.found("cannot trigger", len(s.rates) - 1, what, "it is the constant rate under another name", change)


def _restarts(s: Followed) -> Any:
    """Steps (of those between two rates) at which the rate jumps up by more than half of its range; (steps - 1,)."""
    return np.diff(s.rates) > 0.5 * np.ptp(s.rates) if np.ptp(s.rates) else np.zeros(len(s.rates) - 1, dtype=bool)


def _fitting(s: Followed) -> str:
    """The arguments that say when things happen."""
    names = dict.fromkeys(name for name, _ in s.lengths())
    others = [n for n in ("gamma", "cycles", "pct_start") if s.resolved.args.get(n) is not None]
    return f"change {' or '.join([*names, *others]) or 'its arguments'}"


TRAPS: tuple[Trap, ...] = (
    _never_changes,
    _rises_at_the_end,
    _lies_beyond,
    _peaks_elsewhere,
    _moves_momentum,
    _is_zero_long_before_the_end,
    _idles_at_first,
    _cuts_a_restart_off,
    _cannot_be_triggered,
)
"""Each looks for one thing."""
