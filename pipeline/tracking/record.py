"""The runs that a stage reports on: obtained, written into the result files and mirrored; in that order of importance."""

from collections.abc import Callable

import torch

from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run
from pipeline.runs import results
from pipeline.runs.champion import best_of, named
from pipeline.runs.names import describe
from pipeline.runs.obtain import obtain, weights
from pipeline.tracking.mirror import mirror


def record(
    problem: Problem, stage: str, runs: list[Run], device: torch.device, beside: Callable[[], dict[str, bytes]] = dict
) -> History:
    """Obtain ``runs`` with full curves and test figures; write the stage's ``runs.parquet`` and ``curves.parquet``.

    ``weights.safetensors`` are those of the best of them. ``beside`` is asked for the stage's other files, by name, once all is
    trained; all are replaced together.
    """
    described = [describe(problem, run, device) for run in runs]
    with mirror(problem.name, stage, described) as mirrored:
        history = obtain(problem, runs, device, title=f"{stage}@{problem.name}", listen=mirrored.log)
        table = results.run_table(history, described)
        best = best_of(history)
        kept = named(b"", "") if best is None else named(weights(problem, runs[best], device), table["run"].iloc[best])
        content = {"weights.safetensors": kept} | beside()
        results.write_runs(problem.name, stage, table, results.curve_table(history, described), content)
        mirrored.finish(table)
    return history
