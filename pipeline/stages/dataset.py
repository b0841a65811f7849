"""Stage ``dataset@P``: generate the dataset of a problem."""

import sys

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.datasets import made
from pipeline.data.leaks import without_leaks
from pipeline.data.tables import described


def main(problem_name: str) -> None:
    """Write ``data/P.parquet``."""
    problem = load_params(CATALOGUE).problem(problem_name)
    data, said = without_leaks(problem_name, problem, made(problem_name, problem.dataset))
    for line in [described(data), *said] if problem.dataset.name == "file" else said:
        print(f"dataset@{problem_name}: {line}", file=sys.stderr, flush=True)
    files.write_dataset(problem_name, data)


if __name__ == "__main__":
    cli.run(main)
