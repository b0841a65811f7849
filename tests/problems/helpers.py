"""Problems on data in memory, and on what their dataset stage wrote."""

import pandas as pd

from pipeline.config.params import Params
from pipeline.data.splits import draw_splits
from pipeline.problems.dataset import Dataset
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem


def from_frame(params: Params, name: str, data: pd.DataFrame, seeds: int = 20) -> Problem:
    """The problem of that name on the samples in ``data``, with the splits of so many seeds."""
    entry = params.problem(name)
    splits = draw_splits(name, data, range(seeds), resample=bool(entry.resample))
    return Problem.of(Dataset.of(name, data, splits), entry, params.schedules(name))


def from_files(params: Params, name: str) -> Problem:
    """The problem of that name as its dataset stage left it."""
    return load_problem(params, name)
