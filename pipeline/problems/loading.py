"""A problem by its name, of whatever kind it is, from what the stage ``dataset`` wrote or who holds it in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from pipeline.config import files
from pipeline.config.params import Params
from pipeline.config.problem_params import ScriptParams
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


def load_problem(params: Params, name: str) -> Problem:
    """The problem of that name with its data; :class:`pipeline.config.files.ResultsError` where that is not there yet."""
    if name in _held:
        return Problem.of(_held[name], params.problem(name), params.schedules(name))
    return problem_of(params, name, files.read_dataset(name), files.read_splits(name))


def problem_of(params: Params, name: str, data: pd.DataFrame, splits: pd.DataFrame) -> Problem:
    """The problem with ``data`` and ``splits`` as the stage ``dataset`` makes them."""
    entry, schedules = params.problem(name), params.schedules(name)
    if isinstance(entry, ScriptParams):
        return ScriptProblem.of(Made.of(name, data), entry, schedules)
    return Problem.of(Dataset.of(name, data, splits_of(splits)), entry, schedules)
