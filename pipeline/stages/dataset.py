"""Stage ``dataset@P``: generate the dataset of a problem."""

import sys

from pipeline import cli, results
from pipeline.catalogue import CATALOGUE
from pipeline.params import load_params, placed_in
from pipeline.problems.datasets import datasets
from pipeline.problems.tables import DatasetError, described


def main(problem_name: str) -> None:
    """Write ``data/P.parquet``."""
    component = load_params(CATALOGUE).problem(problem_name).dataset
    try:
        data = datasets[component.name].function(**component.args)
    except DatasetError as error:
        place = ("problems", problem_name, "dataset", error.key)
        raise placed_in([(place, component.args.get(error.key), error.wrong, error.right)]) from None
    if component.name == "file":
        print(f"dataset@{problem_name}: {described(data)}", file=sys.stderr, flush=True)
    results.write_dataset(problem_name, data)


if __name__ == "__main__":
    cli.run(main)
