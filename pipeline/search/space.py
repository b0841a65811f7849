"""From a schedule and its search space to Optuna's distributions, and from Optuna's suggestions back to a schedule."""

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
from pipeline.spaces import Choices, PeakRates
from pipeline.units import percent

DIGITS = 4
"""Significant digits of a suggested number, so that a recommended configuration can be read and typed."""


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
        if isinstance(value, bool) or not isinstance(value, float):
            return value
        rounded = float(f"{value:.{DIGITS}g}")
        return f"{rounded:g}%" if self.is_percent else rounded


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
        lists: dict[str, list[Any]] = {}
        peak, *rest = self.dimensions
        for dimension in rest:
            value = suggested[dimension.name]
            if dimension.name.startswith(f"{dimension.argument}["):
                lists.setdefault(dimension.argument, []).append(value)
            else:
                args[dimension.argument] = dimension.written(value)
        for argument, values in lists.items():
            first = next(dimension for dimension in rest if dimension.argument == argument)
            args[argument] = [first.written(value) for value in sorted(values)]
        return self.base.model_copy(update={"lr": peak.written(suggested[peak.name]), "args": args})


def study_space(schedule: Schedule, rates: PeakRates, lr: float, budget: Budget) -> StudySpace:
    """The space of ``schedule``'s studies, given the problem's learning rate ``lr`` and the run's length."""
    resolved = resolve(schedule, lr, budget)
    low, high, peak = (_percent_of(rate, lr) for rate in (rates.low, rates.high, schedule.lr))
    dimensions = [_number("lr", "lr", Ends(low, high, log=True, is_percent=True), peak)]
    space = schedulers[schedule.name].search if schedule.search is None else schedule.search
    for argument, values in space.items():
        if isinstance(values, tuple):
            dimensions.append(_choice(argument, values, resolved.args[argument]))
            continue
        ends = Ends(*values.ends, values.log, values.is_percent)
        given = _given(schedule, argument, values.is_percent, lr, budget)
        if isinstance(given, list):
            parts = zip(ends.parts(len(given)), sorted(given), strict=True)
            dimensions += [_number(f"{argument}[{i}]", argument, *part) for i, part in enumerate(parts)]
        else:
            dimensions.append(_number(argument, argument, ends, given))
    return StudySpace(schedule, tuple(dimensions))


@dataclass(frozen=True)
class Ends:
    """A range in the unit in which it is searched."""

    low: float
    high: float
    log: bool
    is_percent: bool

    def parts(self, count: int) -> list["Ends"]:
        """``count`` ranges of equal length one after the other, so that a list drawn from them is sorted."""
        space = np.geomspace if self.log else np.linspace
        edges = space(self.low, self.high, count + 1).tolist()
        return [Ends(low, high, self.log, self.is_percent) for low, high in pairwise(edges)]


def _number(name: str, argument: str, ends: Ends, given: float | None) -> Dimension:
    """A range that holds ``given`` too, where it can."""
    given = ends.low if given is None or (ends.log and given <= 0) else given
    low, high = min(ends.low, given), max(ends.high, given)
    whole = not ends.is_percent and all(isinstance(value, int) for value in (ends.low, ends.high, given))
    distribution: BaseDistribution
    if whole:
        distribution = IntDistribution(int(low), int(high), log=ends.log)
    else:
        low, high, given = float(low), float(high), float(given)
        distribution = FloatDistribution(low, high, log=ends.log)
    return Dimension(f"{name} %" if ends.is_percent else name, argument, ends.is_percent, distribution, given)


def _choice(argument: str, choices: Choices, given: Any) -> Dimension:
    all_choices = choices if given in choices else (*choices, given)
    return Dimension(argument, argument, False, CategoricalDistribution(all_choices), given)


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
