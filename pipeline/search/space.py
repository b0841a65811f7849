"""From a schedule and its search space to Optuna's distributions, and from Optuna's suggestions back to a schedule.

Whatever is suggested can be followed: what is bounded by another argument is searched as a share of that one, a range is
widened to hold what is given only as far as that goes, and where a warmup leads up to the peak, what would let the schedule
begin elsewhere stays as it is.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Context, Decimal
from itertools import pairwise
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from pipeline.config.fingerprints import as_json
from pipeline.config.schedules import Schedule
from pipeline.config.spaces import Choices, PeakRates, Range
from pipeline.config.units import LARGEST_PERCENT, LARGEST_RATE, is_rate, marks_of, percent, plain_rate
from pipeline.schedulers.registry import schedulers, searched
from pipeline.schedulers.replay import Budget, resolve

DIGITS = 4
"""Digits of a suggested number, so that a recommended configuration can be read and typed."""
NEARLY_ALL = 99.99
"""Percent of what another length leaves: of all of it, two halves of a step could be rounded to one more than there are."""


@dataclass(frozen=True)
class Whole:
    """What 100% is, where it is another argument: that rate, or what that length leaves of the run (``is_rest``)."""

    argument: str
    is_rest: bool

    @property
    def words(self) -> str:
        """As it stands behind the percent sign in a dimension's name."""
        return f" after {self.argument}" if self.is_rest else f" of {self.argument}"

    def amount(self, other: float) -> float:
        """How much it is, given the other argument in the same unit; of lengths, that is percent of the run."""
        return 100 - other if self.is_rest else other

    def share(self, written: str, args: Mapping[str, Any], steps: int) -> str | float:
        """A percentage of it, in the unit of the other argument; rounded down, so that it is never more than that.

        ``args`` holds the other argument as written, and ``steps`` is 100% of a length.
        """
        other = args[self.argument]
        is_percent = self.is_rest or isinstance(other, str)
        whole = self.amount(_percent_of(other, steps) if is_percent else other)
        found = float(Context(DIGITS, ROUND_DOWN).multiply(Decimal(written.rstrip("%")) / 100, Decimal(str(whole))))
        return f"{found:.12g}%" if is_percent else found


@dataclass(frozen=True)
class Dimension:
    """One number or choice that a study searches.

    ``given`` is its value in params.yaml, in the dimension's own unit; the distribution is wide enough to hold it.
    """

    name: str
    argument: str
    is_percent: bool
    distribution: BaseDistribution
    given: Any
    whole: Whole | None = None

    def written(self, value: Any) -> Any:
        """A suggested value as one would write it in params.yaml."""
        if isinstance(self.distribution, FloatDistribution):
            rounded = _rounded(value, self.distribution.low, self.distribution.high)
            return f"{rounded:.12g}%" if self.is_percent else rounded
        return json.loads(value) if _is_list(value) else value


@dataclass(frozen=True)
class StudySpace:
    """All dimensions of a scheduler's studies around the configuration in params.yaml; the first is the peak rate."""

    base: Schedule
    steps: int
    """100% of a length: scheduler steps behind the warmup."""
    dimensions: tuple[Dimension, ...]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna is asked for."""
        return {dimension.name: dimension.distribution for dimension in self.dimensions}

    @property
    def peak(self) -> Dimension:
        """The dimension of the peak rate."""
        return self.dimensions[0]

    @property
    def rates(self) -> tuple[float, float]:
        """The ends of the range of peak rates, in the dimension's own unit."""
        distribution = self.peak.distribution
        assert isinstance(distribution, FloatDistribution)
        return distribution.low, distribution.high

    def over(self, low: float, high: float) -> "StudySpace":
        """The same space over another range of peak rates."""
        peak = replace(self.peak, distribution=FloatDistribution(low, high, log=True))
        return replace(self, dimensions=(peak, *self.dimensions[1:]))

    @property
    def key(self) -> str:
        """Canonical text; equal for equal spaces around equal configurations."""
        texts = {dimension.name: distribution_to_json(dimension.distribution) for dimension in self.dimensions}
        return as_json([self.base.key, texts])

    @property
    def given(self) -> dict[str, Any]:
        """Trial 0: the configuration in params.yaml."""
        return {dimension.name: dimension.given for dimension in self.dimensions}

    def schedule(self, suggested: Mapping[str, Any]) -> Schedule:
        """The schedule that a trial trains."""
        args: dict[str, Any] = dict(self.base.args)
        usual = schedulers[self.base.name].complete(args)
        lists: dict[str, list[tuple[float, Any]]] = {}
        peak, *rest = self.dimensions
        for dimension in sorted(rest, key=lambda dimension: dimension.whole is not None):  # a whole before its shares
            value = suggested[dimension.name]
            written = dimension.written(value)
            if dimension.whole is not None:
                written = dimension.whole.share(written, usual | args, self.steps)
            if dimension.name.startswith(f"{dimension.argument}["):
                lists.setdefault(dimension.argument, []).append((value, written))
            else:
                args[dimension.argument] = written
        for argument, values in lists.items():
            args[argument] = [written for _, written in sorted(values)]
        return self.base.model_copy(update={"lr": peak.written(suggested[peak.name]), "args": args})


def study_space(schedule: Schedule, rates: PeakRates, lr: float, budget: Budget) -> StudySpace:
    """The space of ``schedule``'s studies, given the problem's learning rate ``lr`` and the run's length.

    The schedule is one that can be followed, as :func:`pipeline.runs.inspection.inspect` makes sure.
    """
    peak = _percent_of(schedule.lr, lr) if rates.is_percent else plain_rate(schedule.lr, lr)
    dimensions = [_number("lr", "lr", Ends(*rates.ends, log=True, is_percent=rates.is_percent), peak)]
    steps = budget.steps_of(schedule)
    for argument, values in searched(schedule, is_warmed_up=steps.warmup > 0).items():
        if isinstance(values, tuple):
            dimensions.append(_choice(argument, values, _as_written(schedule, argument)))
            continue
        ends = _ends(schedule, argument, values.per_step(steps.main), is_warmed_up=steps.warmup > 0)
        given = _given(schedule, argument, ends, lr, budget)
        if isinstance(given, list):
            parts = zip(ends.parts(len(given)), sorted(given), strict=True)
            dimensions += [_number(f"{argument}[{i}]", argument, *part) for i, part in enumerate(parts)]
        else:
            dimensions.append(_number(argument, argument, ends, given))
    return StudySpace(schedule, steps.main, tuple(dimensions))


@dataclass(frozen=True)
class Ends:
    """A range in the unit in which it is searched, and how far it can be widened."""

    low: float
    high: float
    log: bool
    is_percent: bool
    whole: Whole | None = None
    most: float = LARGEST_PERCENT

    @property
    def are_whole(self) -> bool:
        """Whether whole numbers are searched."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def parts(self, count: int) -> list["Ends"]:
        """``count`` ranges of equal length one after the other, so that a list drawn from them is sorted."""
        space = np.geomspace if self.log else np.linspace
        edges = space(self.low, self.high, count + 1).tolist()
        edges = [self.low, *(round(edge) if self.are_whole else edge for edge in edges[1:-1]), self.high]
        return [replace(self, low=low, high=high) for low, high in pairwise(edges)]


def _ends(schedule: Schedule, argument: str, values: Range, *, is_warmed_up: bool) -> Ends:
    """``values`` with what bounds them: what they are a share of, or the peak that a warmup leads up to."""
    other = values.of or values.after
    whole = Whole(other, is_rest=values.after is not None) if other else None
    marks = marks_of(schedulers[schedule.name].arguments.model_fields[argument])
    most: float = LARGEST_PERCENT if values.is_percent else LARGEST_RATE  # what could be written again
    if whole is not None:
        most = NEARLY_ALL if whole.is_rest else 100
    elif is_warmed_up and values.is_percent and any(map(is_rate, marks)):
        most = 100
    return Ends(*values.ends, values.log, values.is_percent, whole, most)


def _number(name: str, argument: str, ends: Ends, given: float | None) -> Dimension:
    """A range that holds ``given`` too, where it can."""
    given = ends.low if given is None or (ends.log and given <= 0) else given
    given = min(given, ends.most)
    low, high = min(ends.low, given), max(ends.high, given)
    distribution: BaseDistribution
    if ends.are_whole and isinstance(given, int):
        distribution = IntDistribution(int(low), int(high), log=ends.log)
    else:
        distribution, given = FloatDistribution(low, high, log=ends.log), float(given)
    unit = f" %{ends.whole.words if ends.whole else ''}" if ends.is_percent else ""
    return Dimension(f"{name}{unit}", argument, ends.is_percent, distribution, given, ends.whole)


def _rounded(value: float, low: float, high: float) -> float:
    """``value`` to so many digits of itself or of the range's width, whichever are finer; never outside the range.

    The width matters to what lies near 1: of 0.999 to 0.9999, four digits would leave but two values.
    """
    finest = min(abs(value), high - low) or abs(value) or 1.0
    return min(max(round(value, DIGITS - 1 - math.floor(math.log10(finest))), low), high)


def _choice(argument: str, choices: Choices, given: Any) -> Dimension:
    """One of the choices, or what is given; a whole list goes by its text, since Optuna's choices are no lists."""
    all_choices = choices if given in choices else (*choices, given)
    texts = tuple(as_json(choice) if isinstance(choice, list) else choice for choice in all_choices)
    return Dimension(argument, argument, False, CategoricalDistribution(texts), texts[all_choices.index(given)])


def _is_list(choice: Any) -> bool:
    return isinstance(choice, str) and choice.startswith("[")


def _as_written(schedule: Schedule, argument: str) -> Any:
    return schedulers[schedule.name].complete(schedule.args)[argument]


def _given(schedule: Schedule, argument: str, ends: Ends, lr: float, budget: Budget) -> Any:
    """The argument in params.yaml in the unit of ``ends``; a list where it is one, None where it is left to torch."""
    plain = resolve(schedule, lr, budget).args[argument]
    if plain is None or not ends.is_percent:
        return plain
    given = _in_percent(schedule, argument, lr, budget)
    whole = ends.whole.amount(_in_percent(schedule, ends.whole.argument, lr, budget)) if ends.whole else 100
    scale = 100 / whole if whole > 0 else 0
    return [scale * each for each in given] if isinstance(given, list) else scale * given


def _in_percent(schedule: Schedule, argument: str, lr: float, budget: Budget) -> Any:
    """A length in percent of the run, or a rate in percent of the peak; a list where it is one."""
    plain = resolve(schedule, lr, budget).args[argument]
    all_of_it: Any = ["100%"] if isinstance(plain, list) else "100%"
    all_args = {**schedule.args, argument: all_of_it}
    hundred = resolve(schedule.model_copy(update={"args": all_args}), lr, budget).args[argument]
    written = schedule.args.get(argument, plain)
    if isinstance(plain, list):
        return [_percent_of(value, hundred[0]) for value in written]
    return _percent_of(written, hundred)


def _percent_of(written: float | str, hundred: float) -> float:
    """A value as written in percent: of ``hundred`` where it is a plain number."""
    share = percent(written) if isinstance(written, str) else None
    return float(written) / hundred * 100 if share is None else float(share)
