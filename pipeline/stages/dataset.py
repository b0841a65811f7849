"""Stage ``dataset@P``: generate the dataset of a problem."""

from pipeline import cli, results
from pipeline.catalogue import CATALOGUE
from pipeline.params import load_params
from pipeline.problems.datasets import datasets


def main(problem_name: str) -> None:
    """Write ``data/P.parquet``."""
    component = load_params(CATALOGUE).problem(problem_name).dataset
    results.write_dataset(problem_name, datasets[component.name].function(**component.args))


if __name__ == "__main__":
    cli.run(main)
