"""A problem by its name, of whatever kind it is, from what the stage ``dataset`` wrote or who holds it in memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pandas as pd

from pipeline.config import files
from pipeline.config.problem_params import ProblemParams, ScriptParams
from pipeline.config.schedules import Schedule
from pipeline.problems.dataset import Dataset, splits_of
from pipeline.problems.problem import Problem
from pipeline.problems.scripts import Made, ScriptProblem

_held: dict[str, Dataset] = {}
"""Datasets in memory, by their problem's name."""


@contextmanager
def held(data: Dataset) -> Iterator[None]:
    """In the block, the problem of that name has these samples, whatever files there are."""
    _held[data.name] = data
    try:
        yield
    finally:
        del _held[data.name]


def is_in_memory(name: str) -> bool:
    """Whether samples are held for the problem of that name."""
    return name in _held


def load_problem(name: str, params: ProblemParams, schedules: Mapping[str, Schedule]) -> Problem:
    """The problem of that name with its data; :class:`pipeline.config.files.ResultsError` where that is not there yet."""
    if name in _held:
        return Problem.of(_held[name], params, schedules)
    return problem_of(name, params, schedules, files.read_dataset(name), files.read_splits(name))


def problem_of(
    name: str, params: ProblemParams, schedules: Mapping[str, Schedule], data: pd.DataFrame, splits: pd.DataFrame
) -> Problem:
    """The problem with ``data`` and ``splits`` as the stage ``dataset`` makes them."""
    if isinstance(params, ScriptParams):
        return ScriptProblem.of(Made.of(name, data), params, schedules)
    return Problem.of(Dataset.of(name, data, splits_of(splits)), params, schedules)
