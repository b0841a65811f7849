"""What every stage shares at its outside: one at a time, and mistakes told in a line."""

import gc
import inspect
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout

from pipeline.catalogue import CATALOGUE
from pipeline.config import interrupts, terminal
from pipeline.config.errors import PipelineError, of_the_machine
from pipeline.config.files import STATE
from pipeline.config.params import load_params
from pipeline.config.stages import stage_names


class UsageError(PipelineError):
    """A stage was called with the wrong number of words."""

    exit_code = 2


class Terminated(BaseException):
    """The process was asked to end by SIGTERM."""


def run(main: Callable[..., None]) -> None:
    """Run a stage's ``main`` on the command line's words.

    An expected error is told on standard error without a traceback and ends the process with the error's exit code
    (2 for a mistake in params.yaml or in the call); the last results stay.
    """
    gc.freeze()  # what is imported stays for good: nobody looks through it for garbage, nor copies it into processes
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[terminal.Above()])
    stage = Path(sys.argv[0]).stem
    words = sys.argv[1:] or _words_of_dvc(stage)
    name = "@".join([stage, *words])
    signal.signal(signal.SIGTERM, _terminate)
    try:
        interrupts.be_raised()
        _check_usage(stage, main, words)
        with only_one(name), _line_of(name):
            main(*words)
    except PipelineError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenExecutor:
        lost = "a process that helped is gone, killed perhaps for the memory it took; what was trained is kept"
        print(f"{name}: {lost}, so call it again, or with PIPELINE_EXECUTOR=local:1", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{stage}: interrupted; the last results stay", file=sys.stderr)
        sys.exit(130)
    except Terminated:
        print(f"{stage}: terminated; the last results stay, and what was trained is kept", file=sys.stderr)
        sys.exit(128 + signal.SIGTERM)
    except Exception as error:
        if not (line := of_the_machine(error)):
            raise
        print(f"{name}: {line}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def _line_of(name: str) -> Iterator[None]:
    """In the block, a terminal shows what the stage does; where DVC runs it, behind its place among all stages."""
    if os.environ.get("DVC_STAGE") == name:
        names = stage_names(load_params(CATALOGUE).problems)
        terminal.begin(f"[{names.index(name) + 1}/{len(names)}]" if name in names else "")
    terminal.doing(name)
    try:
        yield
    finally:
        terminal.clear()


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _words_of_dvc(stage: str) -> list[str]:
    """The problem that DVC runs the stage for, which it names in the environment as ``stage@problem``.

    A name in a command would be read by the shell, and run if it says so.
    """
    name, _, problem = os.environ.get("DVC_STAGE", "").partition("@")
    return [problem] if problem and name == stage else []


def _check_usage(stage: str, main: Callable[..., None], words: list[str]) -> None:
    expected = list(inspect.signature(main).parameters)
    if len(words) != len(expected):
        raise UsageError(f"usage: python -m pipeline.stages.{stage} {' '.join(expected).upper()}".rstrip())


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock of a stage: one that was left over by a killed ``dvc repro`` may still be writing."""
    STATE.mkdir(exist_ok=True)
    safe = re.sub("[^A-Za-z0-9_@-]", "_", name)[:200]  # it may be any word, and is not checked yet
    lock = FileLock(STATE / f"{safe}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{name}: another process is at it; waiting until it is done", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
