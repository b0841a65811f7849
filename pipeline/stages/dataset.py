"""Stage ``dataset@P``: generate the dataset of a problem."""

import sys

from pipeline import cli, results
from pipeline.catalogue import CATALOGUE
from pipeline.params import load_params
from pipeline.problems.datasets import made
from pipeline.problems.tables import described


def main(problem_name: str) -> None:
    """Write ``data/P.parquet``."""
    component = load_params(CATALOGUE).problem(problem_name).dataset
    data = made(problem_name, component)
    if component.name == "file":
        print(f"dataset@{problem_name}: {described(data)}", file=sys.stderr, flush=True)
    results.write_dataset(problem_name, data)


if __name__ == "__main__":
    cli.command(main)
