"""Traps: what a schedule does that its user will hardly have meant, read from its trace before anything is trained.

A trap looks at rates, momenta and lengths, never at names, so that it works for a scheduler of the user's own too. A
schedule that reacts to the loss is followed on a loss that never falls, which lowers its rate as early as it can.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pipeline.config.arrays import Floats
from pipeline.config.schedules import Schedule
from pipeline.config.spaces import Range
from pipeline.config.units import is_length, marks_of, percent, plain_length
from pipeline.config.user_code import source_of
from pipeline.config.wording import counted
from pipeline.schedulers.registry import schedulers, searched
from pipeline.schedulers.replay import (
    Budget,
    NewOptimizer,
    Replay,
    Resolved,
    ScheduleError,
    Trace,
    advance,
    idle,
    momentum_of,
    monitored,
    resolve,
    trace,
)

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
    mistakes_progress: bool = False
    """Whether it watches a loss, and lowers its rate where that falls, and not where it rises."""

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

    @property
    def can_go_by_batches(self) -> bool:
        """Whether it could be stepped more often than it is."""
        return self.schedule.interval == "epoch" and not self.is_live and self.budget.steps_per_epoch > 1

    @property
    def unit(self) -> str:
        """What the schedule's own steps are."""
        return "batches" if self.schedule.interval == "batch" else "epochs"

    def lengths(self) -> Iterator[tuple[str, int]]:
        """Every argument that is a length, in scheduler steps; each entry of a list."""
        return self._lengths_in(self.resolved.args)

    def written_lengths(self) -> Iterator[tuple[str, int | str]]:
        """The same as they are written, or would be by default."""
        return self._lengths_in(schedulers[self.schedule.name].complete(self.schedule.args))

    def _lengths_in(self, args: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        for name, field in schedulers[self.schedule.name].arguments.model_fields.items():
            value = args[name]
            if value is not None and any(map(is_length, marks_of(field))):
                for each in _each(value):
                    yield name, each


Found = Iterator[tuple[int, str, str, str]]
"""The optimizer step (from 0) at which a trap shows, what is seen, why it matters, and the change that removes it."""
Trap = Callable[[Followed], Found]


def follow(label: str, schedule: Schedule, new_optimizer: NewOptimizer, lr: float, budget: Budget) -> Followed:
    """Follow ``schedule`` to the end of its run.

    Raises :class:`pipeline.schedulers.replay.ScheduleError` where it fails.
    """
    resolved = resolve(schedule, lr, budget)
    followed = _on_a_loss if schedulers[schedule.name].live else trace
    traced, again = (followed(schedule, new_optimizer, lr, budget) for _ in range(2))
    if not (np.array_equal(traced.lr, again.lr) and np.array_equal(traced.momentum, again.momentum)):
        raise ScheduleError("is another one each time that it is followed: let what it draws at random have a seed of its own")
    own = momentum_of(idle(new_optimizer, resolved.lr))
    mistakes_progress = False
    if monitored(schedule) in ("train_loss", "validation_loss"):
        falling, rising = (_on_a_loss(schedule, new_optimizer, lr, budget, factor).lr for factor in (0.9, 1 / 0.9))
        mistakes_progress = bool(falling[-1] < falling[0] and np.ptp(rising) == 0)
    return Followed(label, schedule, resolved, traced, budget, own, mistakes_progress)


def findings(followed: Followed, baseline: str) -> list[Finding]:
    """All traps in a schedule; that of the label ``baseline`` may be constant, and so may what is written as no schedule."""
    is_none = followed.schedule.name == "ConstantLR" and followed.resolved.args["factor"] == 1
    is_meant = (is_none or followed.label == baseline) and np.ptp(followed.rates) == 0
    traps = [(name, trap) for name, trap in TRAPS if not (is_meant and trap in (_never_changes, _lies_beyond))]
    return [
        Finding(followed.label, name, step // followed.budget.steps_per_epoch + 1, what, why, change)
        for name, trap in traps
        for step, what, why, change in trap(followed)
    ]


def impossible(label: str, error: ScheduleError) -> Finding:
    """The finding of a schedule that cannot be followed."""
    why, change = "nothing can be trained with it", f"change its `{error.key}`"
    return Finding(label, "impossible", error.epoch or 1, str(error), why, change)


def _on_a_loss(schedule: Schedule, new_optimizer: NewOptimizer, lr: float, budget: Budget, factor: float = 1.0) -> Trace:
    """On a loss that begins at 1 and is multiplied by the factor at every epoch."""
    replay = Replay(schedule, new_optimizer, lr, budget)
    rows, loss = [], 1.0
    for epoch in range(1, budget.epochs + 1):
        rows.append(replay.now)
        try:
            advance(replay, schedule.name, loss)
        except ScheduleError as error:
            raise ScheduleError(str(error), error.key, epoch) from error
        loss *= factor
    table = np.repeat(np.array(rows), budget.steps_per_epoch, axis=0)
    return Trace(table[:, 0], table[:, 1])


def _never_changes(s: Followed) -> Found:
    is_meant = schedulers[s.schedule.name].schedule_free or (s.schedule.average and s.schedule.name == "ConstantLR")
    if not s.is_live and np.ptp(s.rates) == 0 and not is_meant:
        what = f"the rate is {s.peak:.3g} from the first step to the last"
        yield 0, what, "it is the constant rate under another name", _change(_given(s))


def _rises_at_the_end(s: Followed) -> Found:
    """On the way up when the run ends; a jump is a restart, which is another trap, and a rise long before it a warmup."""
    steps = np.diff(s.rates)
    moves, falls = np.flatnonzero(steps), np.flatnonzero(steps < 0)
    if not moves.size or steps[moves[-1]] < 0 or (not falls.size and moves[-1] < (1 - LONG) * len(steps)):
        return
    lowest = int(falls[-1]) + 1 if falls.size else 0
    rise = s.rates[-1] - s.rates[lowest]
    if rise > AS_THE_SAME * s.peak and not _restarts(s)[lowest:].any():
        again, why = " again", "the last epochs undo what the low rate had settled"
        if not falls.size:
            again, why = "", "it is never lowered, so that nothing settles"
        what = f"the rate rises{again}, from {s.rates[lowest]:.3g} to {s.rates[-1]:.3g} at the end"
        yield lowest, what, why, f"let it come down by the end of the run: {_fitting(s)}"


def _lies_beyond(s: Followed) -> Found:
    """A length that is longer than the run, or a moment (those in a list are) that is no step of it."""
    if s.is_live:
        return
    steps = s.budget.steps_of(s.schedule).main
    for name, length in s.lengths():
        is_moment = isinstance(s.resolved.args[name], list)
        if length > steps or (is_moment and length == steps):
            what = f"{name} is {length} {s.unit}, and the schedule has {steps}"
            change = f"write {name} as a share of the run, {'below' if is_moment else 'at most'} 100%"
            yield len(s.rates) - 1, what, "what should happen then never does", change


def _searches_beyond(s: Followed) -> Found:
    """Lengths that a study would try and that are longer than the run."""
    entry, steps = schedulers[s.schedule.name], s.budget.steps_of(s.schedule).main
    for name, tried in searched(s.schedule, is_warmed_up=bool(s.resolved.warmup)).items():
        if not any(map(is_length, marks_of(entry.arguments.model_fields[name]))):
            continue
        given: list[Any] = (
            [tried.high] if isinstance(tried, Range) else [each for own in tried for each in _each(own) if each is not None]
        )
        longest = max(given, key=lambda each: plain_length(each, steps))
        if plain_length(longest, steps) > steps:
            what = f"search.{name} goes up to {longest}, and the schedule has {steps} {s.unit}"
            change = f"write search.{name} as shares of the run, at most 100%"
            yield len(s.rates) - 1, what, "trials go to lengths that none reaches", change


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_shorter_than_a_step(s: Followed) -> Found:
    """A share of the run that is less than half a step: rounded, it is none at all, or a whole one where there must be one.

    A warmup is one that is less than a whole step, which is trained at rate 0. A patience that is rounded to none is no phase
    that is lost.
    """
    if s.is_live:
        return
    phases = s.budget.steps_of(s.schedule)
    lengths = [(name, length, phases.main) for name, length in s.written_lengths()]
    for name, length, steps in [("warmup", s.schedule.warmup, phases.warmup + phases.main), *lengths]:
        share = percent(length) if isinstance(length, str) else None
        least, part = (100, "one") if name == "warmup" else (50, "half of one")
        if share and share * steps < least:
            what = f"{name} is {length} of {steps} {s.unit}, which is less than {part}"
            longer = f"write {name} as a larger share" + (", or interval: batch" if s.can_go_by_batches else "")
            yield 0, what, "it is rounded to none, or to a whole one", longer


def _has_phases_shorter_than_a_step(s: Followed) -> Found:
    """Phases that no length tells: as many cycles as leave each a single step, a rise over too small a share of the run."""
    steps, args = s.budget.steps_of(s.schedule).main, s.resolved.args
    longer = ", or interval: batch" if s.can_go_by_batches else ""
    if (cycles := args.get("cycles") or 0) > 1 and 2 * cycles > steps:
        what = f"{cycles} cycles in {steps} {s.unit} have fewer than two each"
        yield 0, what, "a cycle of a single step never falls", f"write cycles: {max(1, steps // 2)} or fewer{longer}"
    if (share := args.get("pct_start")) is not None and 0 < share * steps < 2:  # torch's rise has one step less than its share
        what = f"pct_start is {share:g} of {steps} {s.unit}, which leaves the rise less than a step"
        yield 0, what, "there is no warmup then, and the peak may be passed over", f"write a larger pct_start{longer}"


def _rises_in_one_step(s: Followed) -> Found:
    """A warmup that became a single stair."""
    first, second = s.rates[:: s.budget.steps_per_epoch][:2] if s.can_go_by_batches and s.budget.epochs > 1 else (0.0, 0.0)
    if NOTHING * s.peak < first < (1 - AS_THE_SAME) * s.peak and _are_the_same(second, s.peak):
        what = f"the rate rises from {first:.3g} to its peak of {second:.3g} in a single step"
        yield 0, what, "stepped per epoch, its warmup is no rise but a stair", "write interval: batch"


def _counts_batches_for_epochs(s: Followed) -> Found:
    """A length that was given as a number of epochs, by all appearances, of a rate that goes up and down in so many batches."""
    epochs, size = s.budget.epochs, s.budget.steps_per_epoch
    if s.schedule.interval != "batch" or size == 1:
        return
    written = [(name, each) for name, each in s.written_lengths() if name in s.schedule.args and not isinstance(each, str)]
    short = [(name, length) for name, length in written if length < size or length == epochs]
    moves = np.flatnonzero(np.diff(s.rates))
    falls = np.diff(s.rates)[moves] < 0
    rises = moves[1:][falls[:-1] & ~falls[1:]]
    if short and len(rises) > 1:
        name, length = short[0]
        what = f"{name} is {length} batches, and the run has {len(s.rates)}: the rate goes up again {len(rises)} times"
        yield (
            int(rises[0]),
            what,
            "it is counted in batches, not in epochs",
            f"write {name} as a share of the run, or interval: epoch",
        )


def _peaks_elsewhere(s: Followed) -> Found:
    if _are_the_same(s.peak, s.resolved.lr):
        return
    what = f"the rate peaks at {s.peak:.3g}, and the optimizer's is {s.resolved.lr:.3g}"
    why = "it is compared with the others at a rate of its own"
    max_lr = s.resolved.args.get("max_lr")
    if max_lr is None:
        change = f"give the peak as `lr` alone: {_change(_given(s))}"
    elif _are_the_same(max_lr, s.resolved.lr):
        change = f"let it reach max_lr: {_fitting(s)}"
    else:
        change = "write max_lr: 100%, and the peak as `lr`"
    yield int(s.rates.argmax()), what, why, change


def _are_the_same(rate: float, other: float) -> bool:
    return abs(rate / other - 1) <= AS_THE_SAME


def _moves_momentum(s: Followed) -> Found:
    moved = np.flatnonzero(s.trace.momentum != s.momentum)
    if moved.size:
        other = s.trace.momentum[moved]
        ends = f"{other.min():.3g} to {other.max():.3g}" if np.ptp(other) else f"{other[0]:.3g}"
        what = f"the momentum becomes {ends}, and the optimizer's is {s.momentum:.3g}"
        is_known = "cycle_momentum" in schedulers[s.schedule.name].arguments.model_fields
        change = "write cycle_momentum: false" if is_known else "leave the momentum to the optimizer"
        why = "what the rate does and what the momentum does cannot be told apart"
        yield int(moved[0]), what, why, change


def _is_zero_long_before_the_end(s: Followed) -> Found:
    some = np.flatnonzero(s.rates > NOTHING * s.peak)
    first = int(some[-1]) + 1 if some.size else 0
    idle = 1 - first / len(s.rates)
    if idle > LONG and not s.is_live:
        what = f"the rate is zero, or less than a millionth of its peak, for the last {idle:.0%} of the run"
        change = f"let it fall more slowly: {_fitting(s)}"
        yield first, what, "nothing is learnt any more", change


def _idles_at_first(s: Followed) -> Found:
    first = s.rates[: s.budget.steps_per_epoch]
    if s.budget.epochs > 1 and s.peak > 0 and first.max() <= NOTHING * s.peak:
        change = "write interval: batch" if s.budget.steps_per_epoch > 1 else "leave the warmup out: an epoch is one batch"
        yield 0, "the whole first epoch is trained at rate 0", "an epoch of the budget is lost", change


def _cuts_a_restart_off(s: Followed) -> Found:
    """The rate ends well above where it was before its last restart."""
    restarts = np.flatnonzero(_restarts(s)) + 1
    if not restarts.size:
        return
    last = int(restarts[-1])
    before, end = float(s.rates[last - 1]), float(s.rates[-1])
    if end - before > LONG * s.peak:
        what = f"the restart here is cut off: the run ends at a rate of {end:.3g}, and had been down to {before:.3g}"
        yield last, what, "the run ends in the middle of a cycle", f"let whole cycles fill the run: {_fitting(s)}"


def _cannot_be_triggered(s: Followed) -> Found:
    if s.is_live and np.ptp(s.rates) == 0:
        what = f"the rate cannot be lowered within {counted(s.budget.epochs, 'epoch')}, not even on a loss that never falls"
        yield len(s.rates) - 1, what, "it is the constant rate under another name", _what_holds_it(s)


def _mistakes_progress(s: Followed) -> Found:
    if s.mistakes_progress:
        what = "the rate is lowered while the loss that it watches falls, and kept while that rises"
        change = "write mode: min" if "mode" in s.resolved.args else _change(_given(s))
        yield 0, what, "less of a loss is better", change


def _averages_nothing(s: Followed) -> Found:
    """A plain mean that takes in the weights of one epoch's end at the most."""
    average, epochs = s.schedule.average, s.budget.epochs
    if average is None or (begins_after := average.in_epochs(epochs).swa) is None or epochs - begins_after > 1:
        return
    what = f"the average begins after epoch {begins_after}, and the run has {epochs}"
    change = "write average: {swa: …} as a share below 100%, such as 75%"
    yield len(s.rates) - 1, what, "it is the last weights under another name", change


def _remembers_the_beginning(s: Followed) -> Found:
    """An exponential mean that reaches back beyond the run's first step."""
    steps, decay = len(s.rates), s.schedule.average.ema if s.schedule.average else None
    if decay is None or (reach := 1 / (1 - decay)) <= steps:
        return
    what = f"the average reaches back {reach:.6g} steps, and the run has {steps}"
    why = f"{decay ** (steps - 1):.0%} of it are still the weights of the first step, nearly the initial ones"
    change = f"write an ema of {1 - float(f'{10 / steps:.1g}'):.12g} or less" if steps > 20 else "leave `average` out"
    yield steps - 1, what, why, change


def _is_not_searched(s: Followed) -> Found:
    """Numbers of a scheduler of the user's own that no study tries, where those of the others are searched."""
    entry = schedulers[s.schedule.name]
    tried = entry.search if s.schedule.search is None else s.schedule.search
    numbers = [name for name, value in s.resolved.args.items() if type(value) in (int, float)]
    left = [name for name in numbers if name not in tried]
    if left and s.schedule.search is None and source_of(entry.function):
        what = f"{', '.join(left)} {'are' if len(left) > 1 else 'is'} not searched, and the others' arguments are"
        why = "a study tries " + ("its other arguments" if set(numbers) - set(left) else "its peak rate alone")
        register = f"write search={{{left[0]!r}: Range(low=…, high=…)}} where it is registered"
        change = f"{register}, or `search: {{}}` beside its args to leave it so"
        yield 0, what, why, change


def _what_holds_it(s: Followed) -> str:
    """What must change where a schedule never reacts: a length, a floor, or the least change that torch makes."""
    # The first epoch is the best one; a patience of n is at an end after n + 1 bad ones, and the next has the lower rate.
    if too_long := [name for name, length in s.lengths() if length + 3 > s.budget.epochs]:
        return f"write a shorter {_or(too_long)}, such as 10%"
    if (s.resolved.args.get("min_lr") or 0) >= s.resolved.lr:
        return "write a min_lr below the rate, such as 1%"
    return "write a smaller eps, such as 0" if "eps" in s.resolved.args else _change(_given(s))


def _restarts(s: Followed) -> Any:
    """Steps (of those between two rates) at which a rate that had fallen jumps up by half of its range; (steps - 1,)."""
    has_fallen = s.rates[:-1] < (1 - AS_THE_SAME) * np.maximum.accumulate(s.rates)[:-1]
    return has_fallen & (np.diff(s.rates) > 0.5 * np.ptp(s.rates))


def _fitting(s: Followed) -> str:
    """To change the arguments that say when things happen."""
    lengths = [name for name, _ in s.lengths()]
    others = [name for name in ("gamma", "cycles", "pct_start") if name in s.schedule.args]
    return _change([*lengths, *others] or _given(s))


def _given(s: Followed) -> list[str]:
    """The arguments that are written in params.yaml, or else all that could be; without those of the momentum."""
    names = s.schedule.args or schedulers[s.schedule.name].arguments.model_fields
    return [name for name in names if "momentum" not in name]


def _change(names: Sequence[str]) -> str:
    return f"change {_or(names)}" if names else "change its function, which takes no arguments"


def _or(names: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(names))


TRAPS: Sequence[tuple[str, Trap]] = (
    ("never changes", _never_changes),
    ("rises at the end", _rises_at_the_end),
    ("beyond the run", _lies_beyond),
    ("searched beyond the run", _searches_beyond),
    ("shorter than a step", _is_shorter_than_a_step),
    ("shorter than a step", _has_phases_shorter_than_a_step),
    ("a single stair", _rises_in_one_step),
    ("batches for epochs", _counts_batches_for_epochs),
    ("another peak", _peaks_elsewhere),
    ("momentum", _moves_momentum),
    ("zero before the end", _is_zero_long_before_the_end),
    ("idle first epoch", _idles_at_first),
    ("restart cut off", _cuts_a_restart_off),
    ("cannot trigger", _cannot_be_triggered),
    ("mistakes progress", _mistakes_progress),
    ("no average", _averages_nothing),
    ("average of the beginning", _remembers_the_beginning),
    ("not searched", _is_not_searched),
)
"""Each looks for one thing, by its name in ``findings.json``."""
