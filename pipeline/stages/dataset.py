"""Stage ``dataset@P``: make the dataset of a problem, and draw every seed's split of it; or try out its script."""

from collections.abc import Callable

import pandas as pd

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files, terminal
from pipeline.config.params import Params, load_params
from pipeline.config.problem_params import ScriptParams
from pipeline.config.wording import few
from pipeline.data.datasets import made
from pipeline.data.leaks import without_leaks
from pipeline.data.splits import draw_splits
from pipeline.data.tables import described
from pipeline.problems.dataset import Split, table_of
from pipeline.problems.probe import probe


def main(problem_name: str) -> None:
    """Write ``data/P.parquet`` and ``data/P.splits.parquet``."""
    params = load_params(CATALOGUE)
    problem = params.problem(problem_name)
    if isinstance(problem, ScriptParams):
        data, table = probed(params, problem_name, problem)
    else:
        data, splits = drawn(params, problem_name, terminal.tell)
        table = table_of(splits)
    files.write_dataset(problem_name, data, table)


def drawn(params: Params, problem_name: str, tell: Callable[[str], object]) -> tuple[pd.DataFrame, dict[int, Split]]:
    """The problem's samples, and every seed's split of them; what there is to say about them is told."""
    problem = params.problem(problem_name)
    data, said = without_leaks(problem_name, problem, made(problem_name, problem.dataset))
    for line in [described(data), *said] if problem.dataset.name == "file" else said:
        tell(f"dataset@{problem_name}: {line}")
    return data, draw_splits(problem_name, data, params.replicates, resample=bool(problem.resample))


def probed(params: Params, problem_name: str, problem: ScriptParams) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the problem's script is made of and tells when it is tried out, and the number of every seed's split."""
    found = probe(problem_name, problem, params.device)
    terminal.tell(f"dataset@{problem_name}: {found}")
    if found.unnamed:
        terminal.tell(
            f"dataset@{problem_name}: warning: {found.path} reads {few(found.unnamed)}, and a change of it would train nothing "
            f"anew; name it in script.inputs, or a folder it lies in"
        )
    if problem.resample and problem.script.overlap is None:
        terminal.tell(
            f"dataset@{problem_name}: what the splits of two seeds have in common is not known and taken as nothing; if "
            f"{found.path} draws them from one pool, write script.overlap, such as 20% where a validation part is a fifth of it"
        )
    return found.made.table(), pd.DataFrame({"seed": params.replicates, "split": params.replicates if problem.resample else 0})


if __name__ == "__main__":
    cli.run(main)
