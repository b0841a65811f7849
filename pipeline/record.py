"""Train runs to report on: to the end, into the result files, and into the mirror; in that order of importance."""

from collections.abc import Callable

import torch

from pipeline import results
from pipeline.champion import weights_of_best
from pipeline.engine.training import train
from pipeline.problems.problem import Problem, describe
from pipeline.progress import progress
from pipeline.runs import History, Run, collect
from pipeline.tracking.mirror import mirror


def record(
    problem: Problem, stage: str, runs: list[Run], device: torch.device, beside: Callable[[], dict[str, bytes]] = dict
) -> History:
    """Train ``runs`` with full curves and test figures; write the stage's ``runs.parquet`` and ``curves.parquet``.

    ``weights.safetensors`` are those of the best of them. ``beside`` is asked for the stage's other files, by name, once all is
    trained; all are replaced together.
    """
    described = [describe(problem, run, device) for run in runs]
    with mirror(problem.name, stage, described) as mirrored:
        show = progress(f"{stage}@{problem.name}", runs[0].epochs, len(runs))
        history = collect(runs, train(problem, runs, device=device), mirrored.log, show)
        table = results.run_table(history, described)
        weights = {"weights.safetensors": weights_of_best(history, table["run"].tolist())}
        results.write_runs(problem.name, stage, table, results.curve_table(history, described), weights | beside())
        mirrored.finish(table)
    return history
