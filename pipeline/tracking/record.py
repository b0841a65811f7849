"""The runs that a stage reports on: obtained, written into the result files and shown; in that order of importance."""

from collections.abc import Callable, Sequence

import torch

from pipeline.config import terminal
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run
from pipeline.runs import results
from pipeline.runs.champion import best_of, named
from pipeline.runs.executor import Workers
from pipeline.runs.names import describe
from pipeline.runs.obtain import obtain, weights
from pipeline.tracking.trackers import Trackers


def record(
    problem: Problem,
    stage: str,
    runs: Sequence[Run],
    device: torch.device,
    workers: Workers,
    shown: Trackers,
    beside: Callable[[], dict[str, bytes]] = dict,
) -> History:
    """Obtain ``runs`` with full curves and test figures; write the stage's ``runs.parquet`` and ``curves.parquet``.

    ``weights.safetensors`` are those of the best of them. ``beside`` is asked for the stage's other files, by name, once all is
    trained; all are replaced together.
    """
    described = [describe(problem, run, device) for run in runs]
    shown.begin(problem.name, stage, described)
    history = obtain(problem, runs, device, title=f"{stage}@{problem.name}", workers=workers, listen=shown.log)
    terminal.doing(f"{stage}@{problem.name}: trained; writing the results")
    table = results.run_table(history, described)
    best = best_of(history)
    kept = named(b"", "") if best is None else named(weights(problem, runs[best], device), table["run"].iloc[best])
    content = {"weights.safetensors": kept} | beside()
    results.write_runs(problem.name, stage, table, results.curve_table(history, described), content)
    shown.tell("finish", table)
    return history
