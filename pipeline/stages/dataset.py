"""Stage ``dataset@P``: generate the dataset of a problem."""

import sys

from pydantic import ValidationError

from pipeline import cli, custom, results
from pipeline.cache import remembered
from pipeline.params import PARAMS_FILE, Params, load_params
from pipeline.problems.datasets import made
from pipeline.problems.leaks import without_leaks
from pipeline.problems.tables import described
from pipeline.runs import fingerprint, package_fingerprint


def main(problem_name: str) -> None:
    """Write ``data/P.parquet``."""
    problem = checked_params().problem(problem_name)
    data, said = without_leaks(problem_name, problem, made(problem_name, problem.dataset))
    for line in [described(data), *said] if problem.dataset.name == "file" else said:
        print(f"dataset@{problem_name}: {line}", file=sys.stderr, flush=True)
    results.write_dataset(problem_name, data)


def checked_params() -> Params:
    """All of params.yaml, checked as every stage does it.

    A file that was found right is not checked again: that alone takes torch here, whose import is longer than all else.
    """
    has_own_code = any(not name.startswith("__") for name in vars(custom))  # which may follow from more than is named below
    if has_own_code:
        return _checked()
    try:
        key = fingerprint("params", PARAMS_FILE.read_bytes().hex(), package_fingerprint())
        return Params.model_validate_json(remembered(key, lambda: _checked().model_dump_json()))
    except (OSError, ValidationError):  # no file that can be read, or a memory that makes no sense
        return _checked()


def _checked() -> Params:
    from pipeline.catalogue import CATALOGUE

    return load_params(CATALOGUE)


if __name__ == "__main__":
    cli.command(main)
