"""What a run is called and described by: the same name exactly where the numbers must be the same."""

from dataclasses import replace
from typing import Any

import torch

from pipeline.config.fingerprints import as_json, fingerprint
from pipeline.engine.code import code_fingerprint
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run
from pipeline.schedulers.replay import resolve


def name_of(problem: Problem, run: Run, device: torch.device) -> str:
    """The run's fingerprint: a name for all that its numbers follow from, and for what they are reported as."""
    origin = f"{code_fingerprint()} {problem.fingerprint_of(run.schedule, run.seed)}"
    return run_fingerprint(run, f"{origin} {device}")


def run_fingerprint(run: Run, origin: str) -> str:
    """The name of a run whose numbers follow from ``origin`` and from itself."""
    return fingerprint(origin, run.label, run.variant, run.schedule.key, run.seed, run.epochs, run.stream)


def kept_name(problem: Problem, run: Run, device: torch.device) -> str:
    """The run's name in the store of finished runs: that of its numbers, whatever variant they are reported as."""
    return name_of(problem, replace(run, variant=""), device)


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
