"""Runs around the recommended configurations: how much the peak rate matters, and who wins at which budget.

A schedule depends on its horizon, so every budget is trained in its own right. All runs are on the ``final`` stream; only
their last validation is evaluated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
import torch

from pipeline.engine.rates import can_be_followed
from pipeline.obtain import obtain
from pipeline.params import Schedule, SweepParams
from pipeline.problems.problem import Problem, describe
from pipeline.results import SWEEP_COLUMNS
from pipeline.runs import Run
from pipeline.spaces import PeakRates
from pipeline.units import plain_length

Kind = Literal["rate", "budget"]
Schedules = Mapping[str, Schedule]


@dataclass(frozen=True)
class Probe:
    """One run of a sweep, and the question it belongs to."""

    kind: Kind
    run: Run


def grid(rates: PeakRates, points: int) -> list[float | str]:
    """``points`` peak rates over the range, evenly in the logarithm, as one would write them."""
    values = [float(f"{value:.4g}") for value in np.geomspace(*rates.ends, points)]
    return [f"{value:g}%" for value in values] if rates.is_percent else list(values)


def epochs_of(sweep: SweepParams, epochs: int) -> list[int]:
    """All budgets in epochs, the shortest first, the full one among them."""
    return sorted({max(1, min(plain_length(budget, epochs), epochs)) for budget in sweep.budgets} | {epochs})


def over_rates(best: Schedules, rates: Sequence[float | str], seeds: int, epochs: int) -> Iterator[Probe]:
    """Every recommended shape at every peak rate, for every seed."""
    for (label, schedule), rate in product(best.items(), rates):
        at_rate = schedule.model_copy(update={"lr": rate})
        yield from (Probe("rate", Run(label, at_rate, seed, epochs, variant="tuned")) for seed in range(seeds))


def over_budgets(default: Schedules, best: Schedules, budgets: Sequence[int], seeds: int) -> Iterator[Probe]:
    """The schedules as written and as recommended at every budget, for every seed."""
    for variant, schedules in (("default", default), ("tuned", best)):
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


def trained(problem: Problem, probes: Sequence[Probe], device: torch.device) -> pd.DataFrame:
    """Train all probes, those of one budget side by side; one row each, in order."""
    rows: dict[int, dict[str, object]] = {}
    for epochs in sorted({probe.run.epochs for probe in probes}):
        chosen = [number for number, probe in enumerate(probes) if probe.run.epochs == epochs]
        runs = [probes[number].run for number in chosen]
        history = obtain(problem, runs, device, title=f"sweep@{problem.name}: {epochs} epochs", search=True)
        last = {name: getattr(history.curves, name)[-1] for name in ("train_loss", "validation_loss", "validation_metric")}
        for place, number in enumerate(chosen):
            described = describe(problem, replace(runs[place], variant=f"sweep-{runs[place].variant}"), device)
            figures = {name: values[place] for name, values in last.items()}
            identity = {"kind": probes[number].kind, "variant": runs[place].variant, "diverged": history.diverged[place]}
            rows[number] = described | identity | figures
    table = pd.DataFrame([rows[number] for number in range(len(probes))])
    return table[list(SWEEP_COLUMNS)]
