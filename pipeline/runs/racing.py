"""The confirmation: how many fresh seeds it takes, by looks at a growing number of them."""

import sys
from collections.abc import Mapping

import numpy as np
import torch

from pipeline.config.params import FRESH, Schedule, SeedRange
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run
from pipeline.runs.executor import Workers
from pipeline.runs.obtain import obtain
from pipeline.statistics.components import Losses
from pipeline.statistics.sequential import Plan, Race, race

Best = Mapping[str, Schedule]
"""The recommended configurations by label."""


def confirming(best: Best, seeds: int, epochs: int) -> list[Run]:
    """Every configuration on every stream of so many fresh seeds."""
    first = [Run(*of, seed, epochs, variant="recommended") for of in best.items() for seed in range(FRESH, FRESH + seeds)]
    return [run for each in first for run in each.draws]


def seeds_wanted(
    problem: Problem,
    best: Best,
    asked: SeedRange,
    baseline: str,
    matters: float,
    device: torch.device,
    workers: Workers,
) -> int:
    """With how many fresh seeds the confirmation stops; what it takes to know is trained, and a line at each look says why.

    It follows from the runs alone: asked again, it takes the same looks at what is known by then. Of a plain number of seeds
    there is nothing to ask.
    """
    if asked.least == asked.most:
        return asked.most
    title, plan, seeds = f"confirm@{problem.name}", Plan(asked.least, asked.most), asked.least
    while True:
        history = obtain(problem, confirming(best, seeds, problem.params.epochs), device, title=title, workers=workers)
        state = race(_losses(history, list(best), seeds), baseline, plan, _overlap(problem), matters)
        print(f"{title}: {told(state, plan)}", file=sys.stderr, flush=True)
        if state.following is None:
            return seeds
        seeds = state.following


def told(state: Race, plan: Plan) -> str:
    """Why it goes on, or stops."""
    states = [*state.to_baseline.values(), *state.to_best.values()]
    settled = sum(each not in ("open", "hopeless") for each in states)
    said = f"{state.seeds} seeds: {settled} of {len(states)} comparisons settled"
    if state.following is not None:
        return f"{said}; {state.following - state.seeds} more seeds"
    if settled == len(states):
        return said
    return f"{said}; that is all" if state.seeds == plan.most else f"{said}, the others hardly within {plan.most} seeds"


def _losses(history: History, labels: list[str], seeds: int) -> Losses:
    final = np.where(history.diverged, np.nan, history.curves.validation_loss[-1])
    return dict(zip(labels, final.reshape(len(labels), seeds, -1), strict=True))


def _overlap(problem: Problem) -> float:
    """The share of the validation part that two seeds are expected to have in common."""
    return len(problem.data.split(FRESH).validation) / len(problem.data.y) if problem.params.resample else 0.0
