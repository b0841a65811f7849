"""The confirmation: how many fresh seeds it takes, by looks at a growing number of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from pipeline.config import terminal
from pipeline.config.params import FRESH, Epoch, SeedRange
from pipeline.config.schedules import Schedule
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run
from pipeline.runs.executor import Workers
from pipeline.runs.obtain import obtain
from pipeline.statistics.components import Losses
from pipeline.statistics.sequential import Plan, Race, race

Best = Mapping[str, Schedule]
"""The recommended configurations by label."""


def confirming(best: Best, seeds: int, epochs: int, at: Epoch = "last") -> list[Run]:
    """Every configuration on every stream of so many fresh seeds."""
    fresh = range(FRESH, FRESH + seeds)
    first = [Run(*of, seed, epochs, variant="recommended", at=at) for of in best.items() for seed in fresh]
    return [run for each in first for run in each.draws]


@dataclass(frozen=True)
class Question:
    """What is to be settled, and on how many seeds: the differences to ``baseline`` and to the best that matter."""

    seeds: SeedRange
    baseline: str
    matters: float
    at: Epoch


def seeds_wanted(
    problem: Problem, best: Best, asked: Question, device: torch.device, workers: Workers,
    tell: Callable[[str], object] = terminal.tell,
) -> int:  # fmt: skip
    """With how many fresh seeds the confirmation stops; what it takes to know is trained, and a line at each look says why.

    It follows from the runs alone: asked again, it takes the same looks at what is known by then. Of a plain number of seeds
    there is nothing to ask.
    """
    if asked.seeds.least == asked.seeds.most:
        return asked.seeds.most
    title, plan, seeds = f"confirm@{problem.name}", Plan(asked.seeds.least, asked.seeds.most), asked.seeds.least
    while True:
        history = obtain(
            problem, confirming(best, seeds, problem.params.epochs, asked.at), device, title=title, workers=workers
        )
        state = race(_losses(history, list(best), seeds, asked.at), asked.baseline, plan, asked.matters)
        tell(f"{title}: {told(state, plan)}")
        if state.following is None:
            return seeds
        seeds = state.following


def told(state: Race, plan: Plan) -> str:
    """Why it goes on, or stops."""
    said = f"{state.seeds} seeds: {state.settled} of {len(state.states)} comparisons settled"
    if state.following is not None:
        return f"{said}; {state.following - state.seeds} more seeds"
    if state.settled == len(state.states):
        return said
    return f"{said}; that is all" if state.seeds == plan.most else f"{said}, the others hardly within {plan.most} seeds"


def _losses(history: History, labels: list[str], seeds: int, at: Epoch) -> Losses:
    curves = history.curves.validation_loss
    final = np.where(history.diverged, np.nan, curves[-1] if at == "last" else curves.min(axis=0))
    return dict(zip(labels, final.reshape(len(labels), seeds, -1), strict=True))
