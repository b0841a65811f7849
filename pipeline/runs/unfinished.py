"""Where the checkpoints of runs in progress lie, by the runs' names, and how they go."""

import contextlib
import time
from pathlib import Path

import torch

from pipeline.config.checkpoints import Checkpoint
from pipeline.config.files import STATE, store_root
from pipeline.engine.names import kept_name
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run

UNTOUCHED = 24 * 3600.0
"""Seconds after which nobody is at work on a run whose checkpoint was not written anew."""


def folder() -> Path:
    """Beside the store of finished runs, and no more an out of DVC's than that."""
    return store_root() / STATE / "checkpoints"


def checkpoint_of(problem: Problem, run: Run, device: torch.device, *, search: bool) -> Checkpoint:
    """Where a run in progress is kept; one of a search evaluates less, and is another."""
    return Checkpoint(folder() / f"{kept_name(problem, run, device)}{'-search' * search}.pt")


def forget_unfinished(untouched: float = UNTOUCHED) -> int:
    """Drop the checkpoints that were not written for so many seconds, and what killed processes left; how many went."""
    dropped = 0
    with contextlib.suppress(OSError):  # no such folder, or none to write in
        for path in folder().iterdir():
            if time.time() - path.stat().st_mtime >= untouched:
                path.unlink(missing_ok=True)
                dropped += 1
    return dropped
