"""From a schedule and its search space to Optuna's distributions, and from Optuna's suggestions back to a schedule."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
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

from pipeline.params import Schedule
from pipeline.runs import as_json
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Budget, resolve
from pipeline.spaces import Choices, PeakRates, Space
from pipeline.units import LARGEST_PERCENT, LARGEST_RATE, percent, plain_rate

DIGITS = 4
"""Digits of a suggested number, so that a recommended configuration can be read and typed."""


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
    dimensions: tuple[Dimension, ...]

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna is asked for."""
        return {dimension.name: dimension.distribution for dimension in self.dimensions}

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
        lists: dict[str, list[tuple[float, Any]]] = {}
        peak, *rest = self.dimensions
        for dimension in rest:
            value = suggested[dimension.name]
            if dimension.name.startswith(f"{dimension.argument}["):
                lists.setdefault(dimension.argument, []).append((value, dimension.written(value)))
            else:
                args[dimension.argument] = dimension.written(value)
        for argument, values in lists.items():
            args[argument] = [written for _, written in sorted(values)]
        return self.base.model_copy(update={"lr": peak.written(suggested[peak.name]), "args": args})


def study_space(schedule: Schedule, rates: PeakRates, lr: float, budget: Budget) -> StudySpace:
    """The space of ``schedule``'s studies, given the problem's learning rate ``lr`` and the run's length."""
    peak = _percent_of(schedule.lr, lr) if rates.is_percent else plain_rate(schedule.lr, lr)
    dimensions = [_number("lr", "lr", Ends(*rates.ends, log=True, is_percent=rates.is_percent), peak)]
    for argument, values in _searched(schedule).items():
        if isinstance(values, tuple):
            dimensions.append(_choice(argument, values, _as_written(schedule, argument)))
            continue
        per_step = values.per_step(budget.steps_of(schedule).main)
        ends = Ends(*per_step.ends, values.log, values.is_percent)
        given = _given(schedule, argument, values.is_percent, lr, budget)
        if isinstance(given, list):
            parts = zip(ends.parts(len(given)), sorted(given), strict=True)
            dimensions += [_number(f"{argument}[{i}]", argument, *part) for i, part in enumerate(parts)]
        else:
            dimensions.append(_number(argument, argument, ends, given))
    return StudySpace(schedule, tuple(dimensions))


def _searched(schedule: Schedule) -> Space:
    """What is searched: the schedule's own space, or the registered one without what is left to torch."""
    if schedule.search is not None:
        return schedule.search
    entry = schedulers[schedule.name]
    given = entry.complete(schedule.args)
    return {argument: values for argument, values in entry.search.items() if given[argument] is not None}


@dataclass(frozen=True)
class Ends:
    """A range in the unit in which it is searched."""

    low: float
    high: float
    log: bool
    is_percent: bool

    @property
    def are_whole(self) -> bool:
        """Whether whole numbers are searched."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def parts(self, count: int) -> list["Ends"]:
        """``count`` ranges of equal length one after the other, so that a list drawn from them is sorted."""
        space = np.geomspace if self.log else np.linspace
        edges = space(self.low, self.high, count + 1).tolist()
        edges = [self.low, *(round(edge) if self.are_whole else edge for edge in edges[1:-1]), self.high]
        return [Ends(low, high, self.log, self.is_percent) for low, high in pairwise(edges)]


def _number(name: str, argument: str, ends: Ends, given: float | None) -> Dimension:
    """A range that holds ``given`` too, where it can."""
    given = ends.low if given is None or (ends.log and given <= 0) else given
    given = min(given, LARGEST_PERCENT if ends.is_percent else LARGEST_RATE)  # what could be written again
    low, high = min(ends.low, given), max(ends.high, given)
    distribution: BaseDistribution
    if ends.are_whole and isinstance(given, int):
        distribution = IntDistribution(int(low), int(high), log=ends.log)
    else:
        distribution, given = FloatDistribution(low, high, log=ends.log), float(given)
    return Dimension(f"{name} %" if ends.is_percent else name, argument, ends.is_percent, distribution, given)


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


def _given(schedule: Schedule, argument: str, is_percent: bool, lr: float, budget: Budget) -> Any:
    """The argument in params.yaml: in percent or in torch's numbers; a list where it is one, None where it is left to torch."""
    plain = resolve(schedule, lr, budget).args[argument]
    if not is_percent:
        return plain
    all_of_it: Any = ["100%"] if isinstance(plain, list) else "100%"
    all_args = {**schedule.args, argument: all_of_it}
    hundred = resolve(schedule.model_copy(update={"args": all_args}), lr, budget).args[argument]
    if isinstance(plain, list):
        written = schedule.args.get(argument, plain)
        return [_percent_of(value, hundred[0]) for value in written]
    return None if plain is None else _percent_of(schedule.args.get(argument, plain), hundred)


def _percent_of(written: float | str, hundred: float) -> float:
    """A value as written in percent: of ``hundred`` where it is a plain number."""
    share = percent(written) if isinstance(written, str) else None
    return float(written) / hundred * 100 if share is None else float(share)
