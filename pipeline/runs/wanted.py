"""The runs that stages want, and how many of them are still to be trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pipeline.config.params import Epoch
from pipeline.engine.names import kept_name
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run
from pipeline.runs.store import store


def as_written(problem: Problem, seeds: int, at: Epoch = "last") -> list[Run]:
    """Every scheduler as params.yaml has it, on every stream of so many seeds."""
    epochs, labels = problem.params.epochs, problem.schedules.items()
    first = [Run(label, schedule, seed, epochs, at=at) for label, schedule in labels for seed in range(seeds)]
    return [run for each in first for run in each.draws]


@dataclass(frozen=True)
class Work:
    """Runs of one length that a stage wants: how many are to be trained, and how many are in the store.

    What is to be trained may follow from what comes of other runs: then it is ``least`` to ``most``.
    """

    epochs: int
    least: int
    most: int
    there: int = 0
    search: bool = False
    """Whether they are evaluated at their end alone."""


def counted(problem: Problem, runs: Sequence[Run], device: torch.device, *, search: bool = False) -> Work:
    """The runs, which are of one length, as looked up in the store."""
    names = sorted({kept_name(problem, run, device) for run in runs})
    there = store().count(names, whole=not search)
    return Work(runs[0].epochs, len(names) - there, len(names) - there, there, search)


def unknown(epochs: int, least: int, most: int | None = None, *, search: bool = False) -> Work:
    """So many runs of which it is not known yet what they are."""
    return Work(epochs, least, least if most is None else most, search=search)
