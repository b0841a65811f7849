"""What is known of a run before it is trained."""

from typing import Any

import torch

from pipeline.config.fingerprints import as_json
from pipeline.engine.names import name_of
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run
from pipeline.schedulers.replay import resolve


def describe(problem: Problem, run: Run, device: torch.device) -> dict[str, Any]:
    """What is known of a run before it is trained: the first columns of ``runs.parquet``."""
    resolved = resolve(run.schedule, problem.lr, problem.budget(run.epochs))
    optimizer = problem.optimizer_of(run.schedule)
    average = run.schedule.average
    averaged = {"average": average.in_epochs(run.epochs).model_dump(exclude_none=True)} if average else {}
    return {
        "run": name_of(problem, run, device),
        "variant": run.variant,
        "scheduler": run.label,
        "seed": run.seed,
        "stream": run.draw,
        "epochs": run.epochs,
        "lr": resolved.lr,
        "args": as_json(run.schedule.args),
        "resolved": as_json(resolved.args),
        "name": run.schedule.name,
        "interval": run.schedule.interval,
        "warmup": resolved.warmup,
        "metric": problem.metric_name,
        "optimizer": as_json({"name": optimizer.name, "args": dict(optimizer.args), **averaged}),
        "dataset": problem.data.digest,
        "device": str(device),
    }
