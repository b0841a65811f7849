"""Where the checkpoints of runs in progress lie, by the runs' names, and how they go."""

import contextlib
import shutil
import time
from pathlib import Path

import torch

from pipeline.config.checkpoints import Checkpoint
from pipeline.engine.names import folder_of, kept_name
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run

UNTOUCHED = 24 * 3600.0
"""Seconds after which nobody is at work on a run of which nothing was written anew."""


def folder() -> Path:
    """Beside the store of finished runs, and no more an out of DVC's than that."""
    return folder_of("")


def checkpoint_of(problem: Problem, run: Run, device: torch.device, *, search: bool) -> Checkpoint:
    """Where a run in progress is kept; one of a search evaluates less, and is another."""
    return Checkpoint(folder_of(kept_name(problem, run, device)) / f"loop{'-search' * search}.pt")


def forget_unfinished() -> None:
    """Drop the runs in progress that nobody is at work on."""
    with contextlib.suppress(OSError):  # no such folder, or none to write in
        for place in folder().iterdir():
            if time.time() - last_written(place) >= UNTOUCHED:
                shutil.rmtree(place, ignore_errors=True)


def last_written(place: Path) -> float:
    """When anything of a run in progress was written last, in seconds since 1970."""
    return max(path.lstat().st_mtime for path in (place, *place.rglob("*")))
