"""Stage ``dataset@P``: make the dataset of a problem, and draw every seed's split of it; or try out its script."""

from collections.abc import Callable

import pandas as pd

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import files, terminal
from pipeline.config.params import Params, load_params
from pipeline.config.problem_params import ProblemParams, ScriptParams
from pipeline.config.wording import few
from pipeline.data.datasets import made
from pipeline.data.leaks import without_leaks
from pipeline.data.splits import draw_splits
from pipeline.data.tables import described
from pipeline.problems.dataset import table_of
from pipeline.problems.loading import problem_of
from pipeline.problems.probe import probe
from pipeline.problems.problem import Problem

Tell = Callable[[str], object]
Tables = tuple[pd.DataFrame, pd.DataFrame]
"""What ``data/P.parquet`` and ``data/P.splits.parquet`` hold."""


def main(problem_name: str) -> None:
    """Write ``data/P.parquet`` and ``data/P.splits.parquet``."""
    files.write_dataset(problem_name, *tables(load_params(CATALOGUE), problem_name))


def problem_made(params: Params, problem_name: str, tell: Tell = terminal.tell) -> Problem:
    """The problem as it will be once this stage has run."""
    return problem_of(params, problem_name, *tables(params, problem_name, tell))


def tables(params: Params, problem_name: str, tell: Tell = terminal.tell) -> Tables:
    """What is to be written of a problem; what there is to say about it is told."""

    def say(line: str) -> None:
        tell(f"dataset@{problem_name}: {line}")

    problem = params.problem(problem_name)
    if isinstance(problem, ScriptParams):
        return _probed(params, problem_name, problem, say)
    return _drawn(params, problem_name, problem, say)


def _drawn(params: Params, problem_name: str, problem: ProblemParams, say: Tell) -> Tables:
    """The problem's samples, and every seed's split of them."""
    data, said = without_leaks(problem_name, problem, made(problem_name, problem.dataset))
    for line in [described(data), *said] if problem.dataset.name == "file" else said:
        say(line)
    return data, table_of(draw_splits(problem_name, data, params.replicates, resample=bool(problem.resample)))


def _probed(params: Params, problem_name: str, problem: ScriptParams, say: Tell) -> Tables:
    """What the problem's script is made of and tells when it is tried out, and the number of every seed's split."""
    found = probe(problem_name, problem, params.device)
    say(str(found))
    if found.unnamed:
        say(
            f"warning: {found.path} reads {few(found.unnamed)}, and a change of it would train nothing anew; name it in "
            "script.inputs, or a folder it lies in"
        )
    if found.lost:
        say(
            f"warning: a run of {found.path} that is killed begins anew, unless it keeps itself: trial.epochs is not handed "
            f"{few(found.lost)}; hand over all that has a state, trial.epochs(model=model, optimizer=optimizer, …)"
        )
    if found.written:
        say(
            f"warning: {found.path} writes {few(found.written)} under inputs/, where one run overwrites another's, and DVC "
            "sees a change; let it write into trial.folder, or by a plain name: each run works in a folder of its own"
        )
    if problem.resample and problem.script.overlap is None:
        say(
            f"what the splits of two seeds have in common is not known and taken as nothing; if {found.path} draws them from "
            "one pool, write script.overlap, such as 20% where a validation part is a fifth of it"
        )
    return found.made.table(), pd.DataFrame({"seed": params.replicates, "split": params.replicates if problem.resample else 0})


if __name__ == "__main__":
    cli.run(main)
