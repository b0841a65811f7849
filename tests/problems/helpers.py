"""Problems on data in memory, and on what their dataset stage wrote."""

import pandas as pd

from pipeline.config.params import Params
from pipeline.data.splits import draw_splits
from pipeline.problems.dataset import Dataset, Split
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem

_drawn: dict[tuple[str, ...], dict[int, Split]] = {}
"""Splits by what they follow from: most tests have the same samples, and to draw twenty takes longer than much of the rest."""


def from_frame(params: Params, name: str, data: pd.DataFrame, seeds: int = 20) -> Problem:
    """The problem of that name on the samples in ``data``, with the splits of so many seeds."""
    entry = params.problem(name)
    content = pd.util.hash_pandas_object(data, index=False).to_numpy().tobytes().hex()
    key = name, str(seeds), str(entry.resample), str(data.dtypes), str(data.attrs), content
    if key not in _drawn:
        _drawn[key] = draw_splits(name, data, range(seeds), resample=bool(entry.resample))
    return Problem.of(Dataset.of(name, data, dict(_drawn[key])), entry, params.schedules(name))


def from_files(params: Params, name: str) -> Problem:
    """The problem of that name as its dataset stage left it."""
    return load_problem(params, name)
