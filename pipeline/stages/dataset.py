"""Stage ``dataset@P``: make the dataset of a problem, and draw every seed's split of it."""

import sys

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.datasets import made
from pipeline.data.leaks import without_leaks
from pipeline.data.sizes import too_wide_or_long
from pipeline.data.splits import draw_splits
from pipeline.data.tables import described
from pipeline.problems.dataset import Dataset, table_of


def main(problem_name: str) -> None:
    """Write ``data/P.parquet`` and ``data/P.splits.parquet``."""
    params = load_params(CATALOGUE)
    problem = params.problem(problem_name)
    data, said = without_leaks(problem_name, problem, made(problem_name, problem.dataset))
    for line in [described(data), *said] if problem.dataset.name == "file" else said:
        print(f"dataset@{problem_name}: {line}", file=sys.stderr, flush=True)
    splits = draw_splits(problem_name, data, params.replicates, resample=bool(problem.resample))
    if line := too_wide_or_long(params, Dataset.of(problem_name, data, splits)):
        print(f"dataset@{problem_name}: {line}", file=sys.stderr, flush=True)
    files.write_dataset(problem_name, data, table_of(splits))


if __name__ == "__main__":
    cli.run(main)
