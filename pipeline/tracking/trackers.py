"""What a stage tells all trackers, each in a process of its own: training never waits for them, and no result hangs on them."""

import contextlib
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from pipeline.config import terminal
from pipeline.config.callables import imported
from pipeline.config.wording import listing
from pipeline.problems.run import Block
from pipeline.runs import executor
from pipeline.runs.executor import HERE, Here, Processes
from pipeline.tracking.messages import TrackerError, given, one_line
from pipeline.tracking.tracker import Description, Places, Tracker

TRACKERS = {
    "MLflow": "pipeline.tracking.mlflow_tracker:MLflowTracker",
    "Optuna's storage": "pipeline.tracking.optuna_tracker:OptunaTracker",
}
"""Where each tracker's class is."""
PATIENCE = 60.0
"""Seconds that a stage waits for a tracker in the end; only what hangs takes them."""
PATIENCE_A_RUN = 0.1
"""Seconds more for each run, which a server far away takes 15 ms for and a way there and back."""
PATIENCE_INTERRUPTED = 2.0
"""The same where the stage is interrupted: the next call tells what is lacking, and nobody is warned of it."""
PATIENCE_KILLED = 5.0
"""Seconds that a tracker's process takes to mark runs whose stage is gone."""
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def trackers(patience: float | None = None) -> Iterator["Trackers"]:
    """All trackers, in the block. Leaving it waits until they know all, ``patience`` seconds and a little more for each run.

    ``patience`` is :data:`PATIENCE` unless it is given. One that fails is one warning, here. Runs whose stage raised are marked
    FAILED, those whose process was interrupted or killed KILLED.
    """
    told, patience = Trackers(), PATIENCE if patience is None else patience
    try:
        yield told
    except BaseException as error:
        is_failure = isinstance(error, Exception)
        told.abandon("FAILED" if is_failure else "KILLED")
        told.close(patience if is_failure else PATIENCE_INTERRUPTED, is_silent=not is_failure)
        raise
    told.close(patience + PATIENCE_A_RUN * told.runs)


class Trackers:
    """All trackers. No method waits but ``close``, and none raises."""

    def __init__(self) -> None:
        is_quiet = os.environ.get("PIPELINE_TRACKERS") == "none"
        self._all = [] if is_quiet else [_Told(name, place) for name, place in TRACKERS.items()]
        self.runs = 0

    def tell(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call a method of every :class:`pipeline.tracking.tracker.Tracker`."""
        for told in self._all:
            told.tell(method, *args, **kwargs)

    def begin(self, problem: str, stage: str, described: Sequence[Description]) -> None:
        """Runs of a stage are about to be obtained; ``described`` holds one description per run."""
        self.runs += len(described)
        self.tell("begin", problem, stage, described, revision())

    def publish(self, folder: Path, inputs: Sequence[tuple[str, str]]) -> None:
        """The report in ``folder``, on the results of ``inputs``, (problem, stage) each."""
        self.tell("publish", folder, inputs, revision())

    def log(self, places: Places, block: Block) -> None:
        """A block of epochs of the runs at these places."""
        for told in self._all:
            told.log(places, block)

    def abandon(self, status: str) -> None:
        """The runs that were begun end here, if any were."""
        if self.runs:
            self.tell("abandon", status)

    def close(self, patience: float, *, is_silent: bool = False) -> None:
        """Wait until all is told, and warn of what could not be."""
        if self._all:
            terminal.doing(f"waiting until {listing([*TRACKERS])} know all of it")
        for told in self._all:
            told.close(patience, is_silent=is_silent)


class _Told:
    """One tracker, in a process of its own."""

    def __init__(self, name: str, place: str) -> None:
        self._name, self._place = name, place
        self._process: Processes | Here = HERE
        self._absent: Exception | None = None
        """Why there is no such process."""
        try:
            self._process = Processes(1)
            self._process.submit(_call, place, "prepare")
        except Exception as error:  # noqa: BLE001  # whatever keeps it from beginning, no result depends on it
            self._absent = error
        self._pending: list[Future[None]] = []
        self._blocks: list[tuple[Block, Places]] = []
        self._lock = threading.RLock()  # of the two lists: what is done is noticed in another thread

    def tell(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Submit a call; nothing where one before has failed."""
        with self._lock:
            if not self._has_failed():
                self._send_blocks()
                self._submit(method, *args, **kwargs)

    def log(self, places: Places, block: Block) -> None:
        """Submit a block, together with others where some come before the last is told."""
        with self._lock:
            self._blocks.append((block, places))
        self._send_if_free()

    def close(self, patience: float, *, is_silent: bool = False) -> None:
        """Wait, end the process, and warn where something failed."""
        wait(self._pending, timeout=patience)
        error = self._absent or next(filter(None, map(_error_of, self._pending)), None)
        if not all(future.done() for future in self._pending):
            error = TrackerError(f"it was not done {patience:.0f} s after training")
        if error is not None or not self._pending:  # it hangs, or nobody waits for what it prepares
            self._process.kill()
        self._process.shutdown(cancel_futures=True)
        if error is not None and not is_silent:
            gone = TrackerError("its process is gone")
            why = one_line(gone if isinstance(error, BrokenProcessPool) else error) + given(self._name)
            words = "%s was not told everything: %s. No result depends on it; `make mirror` rebuilds it from the results."
            _log.warning(words, self._name, why)

    def _send_if_free(self, _: "Future[None] | None" = None) -> None:
        with self._lock:
            if all(future.done() for future in self._pending) and not self._has_failed():
                self._send_blocks()

    def _send_blocks(self) -> None:
        blocks, self._blocks = self._blocks, []  # before: what is done at once asks for more
        if blocks:
            self._submit("log", blocks)

    def _submit(self, method: str, *args: Any, **kwargs: Any) -> None:
        self._pending = [future for future in self._pending if not future.done() or _error_of(future)]
        with contextlib.suppress(BrokenProcessPool):  # what was pending says so
            future = self._process.submit(_call, self._place, method, *args, **kwargs)
            self._pending.append(future)
            future.add_done_callback(self._send_if_free)

    def _has_failed(self) -> bool:
        return self._absent is not None or any(_error_of(future) is not None for future in self._pending)


def _error_of(future: "Future[None]") -> BaseException | None:
    """What a call has raised; nothing of one that goes on, went well, or that nobody waits for any more."""
    return future.exception() if future.done() and not future.cancelled() else None


def made(place: str) -> Tracker:
    """The tracker whose class is at that place."""
    found: Tracker = imported(place)()
    return found


_trackers: dict[str, Tracker] = {}
"""Those of this process, by the place of their class: one, in a process of its own."""
_one_at_a_time = threading.Lock()


def _call(place: str, method: str, *args: Any, **kwargs: Any) -> None:
    """Call a method of the tracker, in its process."""
    with _one_at_a_time:
        if place not in _trackers:
            _by_itself()
            _trackers[place] = made(place)
        getattr(_trackers[place], method)(*args, **kwargs)


def _by_itself() -> None:
    """Training goes first, what trackers print is for nobody, and runs whose stage is killed are marked."""
    if multiprocessing.parent_process() is not None:
        os.nice(10)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nothing, stream.fileno())
        executor.LAST_ACTS.append(_killed)


def _killed() -> None:
    """What is done when the stage is gone, in a few seconds or not at all."""
    giving_up = threading.Timer(PATIENCE_KILLED, os._exit, (1,))
    giving_up.daemon = True
    giving_up.start()
    with _one_at_a_time:
        for tracker in _trackers.values():
            tracker.abandon("KILLED")


def revision() -> dict[str, str]:
    """The code's git revision (``-dirty`` with changes that are not committed), and DVC's experiment where it is one.

    Elsewhere DVC has no revisions of its own: its files are in git, and ``dvc.lock`` is written only after the stage.
    """
    experiment = {"dvc_experiment": "DVC_EXP_NAME", "dvc_baseline": "DVC_EXP_BASELINE_REV"}
    tags = {tag: os.environ[name] for tag, name in experiment.items() if os.environ.get(name)}
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):  # no git, or no commit yet
        git = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        tags |= {"git": git, "mlflow.source.git.commit": git.removesuffix("-dirty")}
    return tags
