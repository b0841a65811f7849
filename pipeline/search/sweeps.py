"""Runs around the recommended configurations: how much the peak rate matters, and who wins at which budget.

A schedule depends on its horizon, so every budget is trained in its own right. All runs are on the ``final`` stream; only
their last validation is evaluated.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch

from pipeline.config.params import Schedule, SweepParams
from pipeline.config.ranges import End, as_params
from pipeline.config.spaces import PeakRates
from pipeline.config.units import LARGEST_PERCENT, LARGEST_RATE, plain_length, plain_rate
from pipeline.engine.rates import can_be_followed
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run
from pipeline.runs.executor import HERE, Workers
from pipeline.runs.names import describe
from pipeline.runs.obtain import obtain
from pipeline.runs.results import SWEEP_COLUMNS

Kind = Literal["rate", "budget"]
Schedules = Mapping[str, Schedule]
DECADES = 2.0
"""By how much a scheduler's grid of peak rates is extended at an end, at the most."""


@dataclass(frozen=True)
class Probe:
    """One run of a sweep, and the question it belongs to."""

    kind: Kind
    run: Run


def grid(rates: PeakRates, points: int) -> list[float | str]:
    """``points`` peak rates over the range, evenly in the logarithm, as one would write them."""
    values = [float(f"{value:.4g}") for value in np.geomspace(*rates.ends, points)]
    return [f"{value:g}%" for value in values] if rates.is_percent else list(values)


def beyond(rates: PeakRates, points: int, end: End) -> list[float | str]:
    """The grid's points beyond that end of it, outwards, at the same spacing, as one would write them."""
    (low, high), most = rates.ends, LARGEST_PERCENT if rates.is_percent else LARGEST_RATE
    factor = (high / low) ** (1 / (points - 1))
    count = int(DECADES / np.log10(factor) + 1e-9)
    values = [high * factor**i if end == "high" else low / factor**i for i in range(1, count + 1)]
    rounded = [float(f"{value:.4g}") for value in values if value <= most]
    return [f"{value:g}%" for value in rounded] if rates.is_percent else list(rounded)


def epochs_of(sweep: SweepParams, epochs: int) -> list[int]:
    """All budgets in epochs, the shortest first, the full one among them."""
    return sorted({max(1, min(plain_length(budget, epochs), epochs)) for budget in sweep.budgets} | {epochs})


def over_rates(best: Schedules, rates: Sequence[float | str], seeds: int, epochs: int) -> Iterator[Probe]:
    """Every recommended shape at every peak rate, for every seed."""
    for (label, schedule), rate in product(best.items(), rates):
        at_rate = schedule.model_copy(update={"lr": rate})
        yield from (Probe("rate", Run(label, at_rate, seed, epochs, variant="recommended")) for seed in range(seeds))


def over_budgets(default: Schedules, best: Schedules, budgets: Sequence[int], seeds: int) -> Iterator[Probe]:
    """The schedules as written and as recommended at every budget, for every seed."""
    for variant, schedules in (("default", default), ("recommended", best)):
        for epochs, (label, schedule), seed in product(budgets, schedules.items(), range(seeds)):
            yield Probe("budget", Run(label, schedule, seed, epochs, variant=variant))


def possible(problem: Problem, probes: Sequence[Probe]) -> list[Probe]:
    """Those whose schedule can be followed: a few epochs may be too short for what is fine in many."""
    known: dict[tuple[str, int], bool] = {}
    for probe in probes:
        key = (probe.run.schedule.key, probe.run.epochs)
        if key not in known:
            known[key] = can_be_followed(problem, probe.run)
    return [probe for probe in probes if known[probe.run.schedule.key, probe.run.epochs]]


def trained(problem: Problem, probes: Sequence[Probe], device: torch.device, workers: Workers = HERE) -> pd.DataFrame:
    """Train all probes, those of one budget side by side; one row each, in order."""
    rows: dict[int, dict[str, object]] = {}
    for epochs in sorted({probe.run.epochs for probe in probes}):
        chosen = [number for number, probe in enumerate(probes) if probe.run.epochs == epochs]
        runs = [probes[number].run for number in chosen]
        history = obtain(problem, runs, device, title=f"sweep@{problem.name}: {epochs} epochs", workers=workers, search=True)
        last = {name: getattr(history.curves, name)[-1] for name in ("train_loss", "validation_loss", "validation_metric")}
        for place, number in enumerate(chosen):
            described = describe(problem, replace(runs[place], variant=f"sweep-{runs[place].variant}"), device)
            figures = {name: values[place] for name, values in last.items()}
            identity = {"kind": probes[number].kind, "variant": runs[place].variant, "diverged": history.diverged[place]}
            rows[number] = described | identity | figures
    table = pd.DataFrame([rows[number] for number in range(len(probes))])
    return table[list(SWEEP_COLUMNS)]


@dataclass(frozen=True)
class Sweep:
    """A sweep over peak rates that goes on until each scheduler's best rate lies inside its grid.

    Each scheduler's grid is extended by itself, all on the same ladder of rates, so that no result depends on which others
    there are. Where a seed diverged, a rate is not the best; so the grid ends where training breaks down.
    """

    problem: Problem
    best: Schedules
    rates: PeakRates
    points: int
    seeds: int
    device: torch.device
    workers: Workers = HERE

    def extended(self, table: pd.DataFrame) -> pd.DataFrame:
        """``table``, of the grid as params.yaml has it and of whatever else was swept, with a row for each further run."""
        ends: tuple[End, ...] = get_args(End)
        ahead = {(label, end): beyond(self.rates, self.points, end) for label in self.best for end in ends}
        while chosen := {key: ahead[key][: self._at_once] for key in _ends(table) if ahead.get(key)}:
            ahead |= {key: ahead[key][self._at_once :] for key in chosen}
            new = [probe for (label, _), rates in chosen.items() for probe in self._probes(label, rates)]
            if probes := possible(self.problem, new):
                table = pd.concat([table, trained(self.problem, probes, self.device, self.workers)], ignore_index=True)
        return table

    @property
    def _at_once(self) -> int:
        """Points in a decade, at least one."""
        low, high = self.rates.ends
        return math.ceil((self.points - 1) / math.log10(high / low) - 1e-9)

    def _probes(self, label: str, rates: Sequence[float | str]) -> Iterator[Probe]:
        return over_rates({label: self.best[label]}, rates, self.seeds, self.problem.params.epochs)


def _ends(table: pd.DataFrame) -> Iterator[tuple[str, End]]:
    """The schedulers whose best rate lies at an end of what was tried, and at which; the lower one where all rates diverged.

    Rates at which any seed diverged are not the best.
    """
    for label, own in table[table["kind"] == "rate"].groupby("scheduler", sort=False):
        losses = own.groupby("lr")["validation_loss"].mean()
        losses = losses[~own.groupby("lr")["diverged"].any()].dropna()
        best = losses.idxmin() if len(losses) else own["lr"].min()
        if best in (own["lr"].min(), own["lr"].max()):
            yield str(label), "low" if best == own["lr"].min() else "high"


def said(table: pd.DataFrame, rates: PeakRates, lr: float) -> str:
    """What to say of a sweep whose grid was extended; empty where it was not."""
    tried = table[table["kind"] == "rate"].groupby("scheduler")["lr"].agg(["min", "max"])
    low, high = (plain_rate(end, lr) for end in (rates.low, rates.high))
    grown = tried[(tried["min"] < low * (1 - 1e-3)) | (tried["max"] > high * (1 + 1e-3))]  # the grid is rounded
    if grown.empty:
        return ""
    still = len(list(_ends(table)))
    where = f"; for {still} of them it lies at the end even so" if still else ""
    reached = f"{grown['min'].min():.4g}\N{HORIZONTAL ELLIPSIS}{grown['max'].max():.4g}"
    unit = lr / 100 if rates.is_percent else 1
    remedy = as_params(tried["min"].min() / unit, tried["max"].max() / unit, is_percent=rates.is_percent)
    return (
        f"the best peak rate of {len(grown)} of {len(tried)} schedulers lay at an end of the grid, which was extended for "
        f"them, to {reached} at the most{where}; write {remedy} to search and sweep all of it"
    )
