"""Stage ``dataset@P``: make the dataset of a problem, and draw every seed's split of it."""

import sys
from typing import cast

import pandas as pd

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import Params, ScriptParams, load_params
from pipeline.data.datasets import made
from pipeline.data.leaks import without_leaks
from pipeline.data.splits import draw_splits
from pipeline.data.tables import described
from pipeline.problems.dataset import table_of
from pipeline.problems.probe import probe

Made = tuple[pd.DataFrame, pd.DataFrame, list[str]]


def main(problem_name: str) -> None:
    """Write ``data/P.parquet`` and ``data/P.splits.parquet``."""
    params = load_params(CATALOGUE)
    problem = params.problem(problem_name)
    make = probed if isinstance(problem, ScriptParams) else drawn
    data, splits, said = make(problem_name, params)
    for line in said:
        print(f"dataset@{problem_name}: {line}", file=sys.stderr, flush=True)
    files.write_dataset(problem_name, data, splits)


def drawn(problem_name: str, params: Params) -> Made:
    """The samples, every seed's split of them, and what is to be told."""
    problem = params.problem(problem_name)
    data, said = without_leaks(problem_name, problem, made(problem_name, problem.dataset))
    splits = draw_splits(problem_name, data, params.replicates, resample=bool(problem.resample))
    return data, table_of(splits), [described(data), *said] if problem.dataset.name == "file" else list(said)


def probed(problem_name: str, params: Params) -> Made:
    """What the problem's script is made of and what it tells when it is tried, the number of every seed's split, and a line."""
    problem = cast(ScriptParams, params.problem(problem_name))
    found = probe(problem_name, problem, params.device)
    seeds = params.replicates
    splits = pd.DataFrame({"seed": seeds, "split": seeds if problem.resample else 0})
    return found.made.table(), splits, [str(found)]


if __name__ == "__main__":
    cli.run(main)
