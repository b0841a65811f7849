"""What the process that trains does: tell a child process what MLflow is to have."""

import contextlib
import logging
import os
import pickle
import queue
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Self, cast

import pandas as pd

from pipeline.problems.run import Block
from pipeline.tracking import follower
from pipeline.tracking.failure import MirrorError, one_line
from pipeline.tracking.recorder import Description, figures_of
from pipeline.tracking.store import Tags

FLUSH_SECONDS = 0.5
PATIENCE = 60.0
"""Seconds that a stage waits for MLflow after training, and one more for each run; only what hangs takes them."""
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def mirror(problem: str, stage: str, described: list[Description]) -> Iterator["Mirror"]:
    """Mirror a stage's runs in MLflow while they train; ``described`` holds one description per run, in stack order.

    Leaving the block waits until MLflow knows everything. Runs whose training raised are marked FAILED, those whose process
    was killed or interrupted KILLED. A failing mirror is one warning, here at the end.
    """
    told = Mirror(problem, stage, described)
    try:
        yield told
    except Exception:
        told.close("abandon", "FAILED")
        raise
    except BaseException:
        told.hang_up()  # who interrupts does not want to wait: the child sees the pipe end and marks the runs KILLED
        raise
    told.close()


class Mirror:
    """What MLflow is told of a stage. No method waits but ``close``, and none raises."""

    def __init__(self, problem: str, stage: str, described: list[Description]) -> None:
        self._begin = (problem, stage, described)
        self._blocks: queue.SimpleQueue[tuple[Block, list[int]]] = queue.SimpleQueue()
        self._end: tuple[str, Any] | None = None
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._child: _Child | None = None
        self._thread = threading.Thread(target=self._relay, name="mirror", daemon=True)
        self._thread.start()

    def log(self, places: list[int], block: Block) -> None:
        """Log a block of epochs of the runs at these places; returns at once."""
        if self._failure is None:
            self._blocks.put((block, places))

    def finish(self, runs: pd.DataFrame) -> None:
        """Log the final figures in ``runs`` (a ``results.run_table``) and mark the runs FINISHED; returns at once."""
        self._end = ("finish", figures_of(runs))

    def close(self, *end: str) -> None:
        """Tell the rest, wait until it is told, and warn if anything could not be; ``end`` replaces what was to be the end."""
        if end:
            self._end = (end[0], end[1])
        self.hang_up()
        patience = PATIENCE + len(self._begin[2])
        self._thread.join(patience)
        if self._thread.is_alive() and self._child is not None:
            self._child.kill()
            self._failure = MirrorError(f"it was not done {patience:.0f} s after training")
        if self._failure is not None:
            _log.warning(
                "The MLflow mirror of %s, %s, failed: %s. No result depends on it; `make mirror` rebuilds it from the results.",
                *self._begin[:2], one_line(self._failure),
            )  # fmt: skip

    def hang_up(self) -> None:
        """Tell the rest without waiting for it."""
        self._ended.set()

    def _relay(self) -> None:
        """Tell the child everything, in a thread of its own, since a full pipe would make training wait."""
        try:
            with _Child() as self._child:
                self._child.tell("begin", *self._begin, _revision())
                while not self._ended.wait(FLUSH_SECONDS):
                    self._relay_blocks(self._child)
                self._relay_blocks(self._child)
                if self._end is not None:
                    self._child.tell(*self._end)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self._failure = self._failure or error

    def _relay_blocks(self, child: "_Child") -> None:
        blocks = [self._blocks.get() for _ in range(self._blocks.qsize())]
        if blocks:
            child.tell("log", blocks)


class Publication:
    """The report's way to MLflow, where it links the runs of ``inputs``, (problem, stage) each.

    What MLflow lacks of them is brought there from the results, and they are looked up, while the report is made. A failure is
    one warning, in the end.
    """

    def __init__(self, inputs: Sequence[tuple[str, str]]) -> None:
        self._child = _Child()
        self._child.say("link", inputs)

    def publish(self, folder: Path) -> None:
        """Keep the files in ``folder`` as artifacts of a run ``report``. The same files again add nothing."""
        try:
            with self._child:
                self._child.hear()
                self._child.tell("publish", folder, _revision())
        except Exception as error:  # noqa: BLE001 - whatever it is, the report is written
            words = "The report is not in MLflow: %s. No result depends on it; `make mirror` tries again."
            _log.warning(words, one_line(error))


def register(problems: Sequence[str]) -> None:
    """Register each problem's best run, of ``reports/best``, as a model of that name with the alias ``champion``.

    The same model again adds nothing. A failure is one warning.
    """
    for problem in problems:
        try:
            with _Child() as child:
                child.tell("register", problem)
        except Exception as error:  # noqa: BLE001 - whatever it is, the weights are kept
            words = "The champion of %s is not in MLflow: %s. Its weights are kept; `make mirror` tries again."
            _log.warning(words, problem, one_line(error))


class _Child:
    """The process that talks to MLflow."""

    def __init__(self) -> None:
        self._process = follower.taken()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.__exit__(None, None, None)

    def tell(self, *message: Any) -> None:
        """Send one message and wait for the answer; raises where that is not that all is well."""
        self.say(*message)
        self.hear()

    def say(self, *message: Any) -> None:
        """Send one message, whose answer is heard before the next."""
        stdin = cast(IO[bytes], self._process.stdin)
        with contextlib.suppress(BrokenPipeError):  # a child that ended has said why
            pickle.dump(message, stdin)
            stdin.flush()

    def hear(self) -> None:
        """Wait for the answer."""
        answer = cast(IO[bytes], self._process.stdout).readline().decode().strip()
        if answer != "ok":
            raise MirrorError(answer or f"its process ended (exit code {self._process.wait()})")

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()


def _revision() -> Tags:
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
