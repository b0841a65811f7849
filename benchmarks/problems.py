"""What benchmarks train: the problems of params.yaml, their data in memory, and stacks of runs at a constant rate."""

import statistics
from collections.abc import Iterable, Sequence
from unittest import mock

import torch

from pipeline.config.params import Params
from pipeline.config.schedules import Schedule
from pipeline.data.datasets import datasets
from pipeline.data.splits import draw_splits
from pipeline.engine.lanes import program
from pipeline.engine.training import train
from pipeline.problems.dataset import Dataset
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect

SEEDS, SCHEDULERS = 10, 12
"""A stack grows as a study does: first the twelve schedulers of one seed, then more seeds, then more trials for each."""


def in_memory(params: Params, name: str) -> Problem:
    """The problem of that name with its data made anew; nothing is read from or written to ``data/``."""
    entry = params.problem(name)
    frame = datasets[entry.dataset.name].function(**entry.dataset.args)
    splits = draw_splits(name, frame, params.replicates, resample=bool(entry.resample))
    return Problem.of(Dataset.of(name, frame, splits), entry, params.schedules(name))


def seeds_of(count: int) -> int:
    """Replicates among ``count`` runs."""
    return min(SEEDS, -(-count // SCHEDULERS))


def constant_runs(problem: Problem, count: int, epochs: int | None = None) -> list[Run]:
    """``count`` runs at the optimizer's own rate, dealt out over the replicates; of the problem's epochs where not given."""
    schedule = Schedule(name="ConstantLR", args={"factor": 1.0}, interval="epoch")
    return [
        Run("any", schedule, number % seeds_of(count), epochs or problem.params.epochs, stream="tune")
        for number in range(count)
    ]


def compile_all(problem: Problem, count: int) -> None:
    """Compile what is compiled once: of a few runs, also what a longer training would earn back."""
    with mock.patch.object(program, "PAYS_FROM", 0):
        collect([], train(problem, constant_runs(problem, count, epochs=1), device=torch.device("cpu"), search=True))


def medians(repeats: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """The median of each column of (repeats, figures)."""
    return tuple(statistics.median(column) for column in zip(*repeats, strict=True))
