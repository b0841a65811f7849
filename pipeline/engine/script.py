"""Runs of a script of the user's own: each is a process of it, read as it trains."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from pipeline.config.protocol import TESTED
from pipeline.engine.names import folder_of, kept_name
from pipeline.problems.process import BESIDE, LINES, LOCK, Line, finished, lines_of, number
from pipeline.problems.run import BEYOND_NOISE, Block, Outcome, Run, Training
from pipeline.problems.scripts import ScriptProblem

RISEN = 0.1
"""Share of its first epoch's training loss by which a run must end above it to have diverged: it is no slow run then."""
LOOK = 1.0
"""Seconds after which whoever waits for a run looks whether somebody is still at it."""


def train(problem: ScriptProblem, run: Run, *, device: torch.device, search: bool = False) -> Training:
    """Train one run in a process of its script; yields one block per epoch and returns the outcome.

    Raises :class:`pipeline.problems.scripts.ScriptError` where it comes to nothing.
    """
    problem.refuse_changes()
    folder, asked = folder_of(kept_name(problem, run, device)), problem.asked(run, device, search=search)
    figures: list[Line] = []
    test: Line = {}
    with _taken(folder, problem.params.script.timeout) as folder:
        lines = finished(folder, asked) or lines_of(problem.name, problem.params.script, asked, folder)
        for line in lines:
            if line.get("epoch") == len(figures) + 1:
                figures.append(line)
                yield _block(len(figures), line)
            test = line.get("finish", test)
    return _outcome(figures, test)


@contextmanager
def _taken(folder: Path, timeout: float) -> Iterator[Path]:
    """In the block, nobody else is at work in a run's folder.

    Whoever is there ends a script that is silent for ``timeout`` seconds. Has it been silent for twice as long, he stands still
    himself, on a machine that is lost perhaps: then it is a folder within that one, which goes with it.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            held = FileLock(folder / LOCK).acquire(timeout=LOOK)
        except Timeout:
            if (folder / LINES).exists() and time.time() - (folder / LINES).stat().st_mtime > 2 * timeout:
                folder = folder / BESIDE
            continue
        with held:
            yield folder
        return


def failed(run: Run) -> Training:
    """The training of a run that came to nothing, for those who want one: it is taken as diverged."""
    yield _block(1, {}, run.epochs)
    return _outcome([{}], {})


def _block(epoch: int, line: Line, epochs: int = 1) -> Block:
    names = ("lr", "momentum", "train_loss", "validation_loss", "validation_metric")
    return Block(epoch, *(np.full((epochs, 1), number(line, name)) for name in names))


def _outcome(figures: list[Line], test: Line) -> Outcome:
    """By the losses that were reported: the training part is evaluated by nobody but the script."""
    losses = np.array([[number(line, name) for name in ("train_loss", "validation_loss")] for line in figures])
    first, last = losses[0, 0], losses[-1, 0]
    values: list[Any] = [first, RISEN * abs(first) / BEYOND_NOISE, last]
    tested = [number(test, name) for name in TESTED]
    initial, noise, final, loss, metric = (np.array([value]) for value in [*values, *tested])
    return Outcome(initial, noise, final, np.array([bool(np.isfinite(losses).all())]), loss, metric, weights={})
