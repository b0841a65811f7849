"""What a run is called: the same name exactly where the numbers must be the same."""

from dataclasses import replace
from pathlib import Path

import torch

from pipeline.config.files import STATE, store_root
from pipeline.config.fingerprints import fingerprint
from pipeline.engine.code import code_of
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run


def name_of(problem: Problem, run: Run, device: torch.device) -> str:
    """The run's fingerprint: a name for all that its numbers follow from, and for what they are reported as."""
    origin = f"{code_of(problem)} {problem.fingerprint_of(run.schedule, run.seed)}"
    return run_fingerprint(run, f"{origin} {device}")


def run_fingerprint(run: Run, origin: str) -> str:
    """The name of a run whose numbers follow from ``origin`` and from itself."""
    best = [] if run.at == "last" else [run.at]
    return fingerprint(origin, run.label, run.variant, run.schedule.key, run.seed, run.epochs, run.stream, *best)


def kept_name(problem: Problem, run: Run, device: torch.device) -> str:
    """The run's name in the store of finished runs: that of its numbers, whatever variant they are reported as."""
    return name_of(problem, replace(run, variant=""), device)


def folder_of(name: str) -> Path:
    """What a run in progress has on disk, by its name in the store; it is removed once the run is kept."""
    return store_root() / STATE / "progress" / name
