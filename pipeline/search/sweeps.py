"""Runs around the recommended configurations: how much the peak rate matters, and who wins at which budget.

A schedule depends on its horizon, and so does its best peak rate: every budget is trained in its own right, with a rate that
is chosen for it on the grid, on a few seeds. What comes of it is told by fresh seeds, so that the choice does not flatter.
Only the last validation of a run is evaluated.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, get_args

import numpy as np
import pandas as pd
import torch

from pipeline.config.params import SweepParams
from pipeline.config.ranges import End, as_params
from pipeline.config.schedules import Schedule
from pipeline.config.spaces import PeakRates
from pipeline.config.units import LARGEST_PERCENT, LARGEST_RATE, plain_length, plain_rate
from pipeline.config.wording import counted
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
CHOSEN_ON = 3
"""Seeds on which the peak rate of a shorter budget is chosen, at the most."""


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


def shorter(sweep: SweepParams, epochs: int) -> list[int]:
    """The budgets below the full one in epochs, the shortest first; the full one is that of the other stages."""
    return sorted({max(1, plain_length(budget, epochs)) for budget in sweep.budgets} & set(range(1, epochs)))


def seeds_by_budget(sweep: SweepParams, epochs: int, seeds: range) -> dict[int, range]:
    """Of each budget in epochs, the full one first, the seeds that its rates are tried on."""
    return {epochs: seeds, **dict.fromkeys(shorter(sweep, epochs), seeds[:CHOSEN_ON])}


def over_rates(best: Schedules, rates: Sequence[float | str], seeds: Iterable[int], epochs: int) -> Iterator[Probe]:
    """Every recommended shape at every peak rate, for every seed."""
    for (label, schedule), rate, seed in product(best.items(), rates, seeds):
        yield Probe("rate", Run(label, at_rate(schedule, rate), seed, epochs, variant="recommended"))


def over_budgets(schedules: Schedules, budgets: Sequence[int], seeds: Iterable[int]) -> Iterator[Probe]:
    """The schedules as written at every budget, for every seed."""
    for epochs, (label, schedule), seed in product(budgets, schedules.items(), seeds):
        yield Probe("budget", Run(label, schedule, seed, epochs))


def at_best_rates(table: pd.DataFrame, best: Schedules, budgets: Sequence[int], seeds: Iterable[int]) -> Iterator[Probe]:
    """Every recommended shape at the best of the peak rates that ``table`` has of the budget, on every stream of every seed.

    Best is the lowest mean loss of those rates at which the fewest runs diverged.
    """
    seeds = list(seeds)
    for epochs, label in product(budgets, best):
        rates = table[(table["kind"] == "rate") & (table["epochs"] == epochs) & (table["scheduler"] == label)]
        if len(rates):
            schedule = at_rate(best[label], _best_rate(rates))
            runs = [Run(label, schedule, seed, epochs, variant="recommended") for seed in seeds]
            yield from (Probe("budget", draw) for run in runs for draw in run.draws)


def at_rate(schedule: Schedule, rate: float | str) -> Schedule:
    """The schedule with another peak rate."""
    return schedule.model_copy(update={"lr": rate})


def _best_rate(rates: pd.DataFrame) -> float:
    losses = rates["validation_loss"].where(~rates["diverged"]).groupby(rates["lr"]).mean()
    diverged = rates.groupby("lr")["diverged"].sum()
    return float(min(losses.index, key=lambda lr: (diverged[lr], np.nan_to_num(losses[lr], nan=np.inf), lr)))


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
        title = f"sweep@{problem.name}: {counted(epochs, 'epoch')}"
        history = obtain(problem, runs, device, title=title, workers=workers, search=True)
        last = {name: getattr(history.curves, name)[-1] for name in ("train_loss", "validation_loss", "validation_metric")}
        for place, number in enumerate(chosen):
            described = describe(problem, replace(runs[place], variant=f"sweep-{runs[place].variant}"), device)
            figures = {name: values[place] for name, values in last.items()}
            identity = {"kind": probes[number].kind, "variant": runs[place].variant, "diverged": history.diverged[place]}
            rows[number] = described | identity | figures
    return pd.DataFrame([rows[number] for number in range(len(probes))], columns=list(SWEEP_COLUMNS))


@dataclass(frozen=True)
class Sweep:
    """A sweep over peak rates at each budget that goes on until each scheduler's best rate lies inside its grid.

    Each scheduler's grid is extended by itself, all on the same ladder of rates, so that no result depends on which others
    there are. Where a seed diverged, a rate is not the best; so the grid ends where training breaks down.
    """

    problem: Problem
    best: Schedules
    rates: PeakRates
    points: int
    seeds: Mapping[int, Iterable[int]]
    """Of each budget in epochs, the seeds that its rates are tried on."""
    device: torch.device
    workers: Workers = HERE

    def over_rates(self) -> pd.DataFrame:
        """A row for each run on the grid as params.yaml has it, and beyond."""
        return self._extended(self.trained(self.begun))

    @property
    def begun(self) -> list[Probe]:
        """The grid as params.yaml has it."""
        rates = grid(self.rates, self.points)
        return [probe for epochs in self.seeds for label in self.best for probe in self._probes(label, epochs, rates)]

    def at_own_rates(self, table: pd.DataFrame) -> list[Probe]:
        """At the full budget, what is recommended just as it is, where its rate lies between two of those that ``table`` has.

        Else a line between two points of the grid would say what it loses, which it need not.
        """
        epochs = next(iter(self.seeds))
        probes: list[Probe] = []
        for label, schedule in self.best.items():
            tried = table.loc[(table["scheduler"] == label) & (table["epochs"] == epochs), "lr"]
            own = plain_rate(schedule.lr, self.problem.lr)
            if len(tried) and tried.min() < own < tried.max() and not np.isclose(tried, own, rtol=1e-6).any():
                probes += self._probes(label, epochs, [schedule.lr])
        return probes

    def over_budgets(self, table: pd.DataFrame, fresh: Iterable[int]) -> list[Probe]:
        """At each shorter budget the schedules as written, and on ``fresh`` seeds at the best rates that ``table`` has."""
        (_, seeds), *others = self.seeds.items()  # the full budget comes first
        budgets = [epochs for epochs, _ in others]
        written = over_budgets(self.problem.schedules, budgets, seeds)
        return [*written, *at_best_rates(table, self.best, budgets, fresh)]

    def trained(self, probes: Iterable[Probe]) -> pd.DataFrame:
        """A row for each of these whose schedule can be followed."""
        return trained(self.problem, possible(self.problem, list(probes)), self.device, self.workers)

    def _extended(self, table: pd.DataFrame) -> pd.DataFrame:
        ends: tuple[End, ...] = get_args(End)
        ahead = {key: beyond(self.rates, self.points, key[2]) for key in product(self.best, self.seeds, ends)}
        while chosen := {key: ahead[key][: self._at_once] for key in _ends(table) if ahead.get(key)}:
            ahead |= {key: ahead[key][self._at_once :] for key in chosen}
            new = [probe for (label, epochs, _), rates in chosen.items() for probe in self._probes(label, epochs, rates)]
            table = pd.concat([table, self.trained(new)], ignore_index=True)
        return table

    @property
    def _at_once(self) -> int:
        """Points in a decade, at least one."""
        low, high = self.rates.ends
        return math.ceil((self.points - 1) / math.log10(high / low) - 1e-9)

    def _probes(self, label: str, epochs: int, rates: Sequence[float | str]) -> Iterator[Probe]:
        return over_rates({label: self.best[label]}, rates, self.seeds[epochs], epochs)


def _ends(table: pd.DataFrame) -> Iterator[tuple[str, int, End]]:
    """The schedulers whose best rate at a budget lies at an end of what was tried, and at which; the lower one if all diverged.

    Rates at which any seed diverged are not the best.
    """
    for (label, epochs), own in table[table["kind"] == "rate"].groupby(["scheduler", "epochs"], sort=False):
        losses = own.groupby("lr")["validation_loss"].mean()
        losses = losses[~own.groupby("lr")["diverged"].any()].dropna()
        best = losses.idxmin() if len(losses) else own["lr"].min()
        if best in (own["lr"].min(), own["lr"].max()):
            yield str(label), int(str(epochs)), "low" if best == own["lr"].min() else "high"


def said(table: pd.DataFrame, rates: PeakRates, lr: float) -> str:
    """What to say of a sweep whose grid was extended at the full budget; empty where it was not."""
    table = table[(table["kind"] == "rate") & (table["epochs"] == table["epochs"].max())]
    tried = table.groupby("scheduler")["lr"].agg(["min", "max"])
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
