"""The process that mirrors runs in MLflow, begun early: importing MLflow takes it seconds, in which the stage imports its own.

Nothing but the standard library is imported here. What is said to the process, and what it does, is in ``tracking``.
"""

import atexit
import os
import subprocess
import sys
from pathlib import Path

Process = subprocess.Popen[bytes]
_prepared: list[Process] = []
"""Begun, and yet without a master."""


def prepare() -> None:
    """Begin one before there is anything to tell."""
    _prepared.append(_begun())


def taken() -> Process:
    """One that listens to whoever takes it: messages on its standard input, answers on its standard output."""
    return _prepared.pop() if _prepared else _begun()


@atexit.register
def _dismiss() -> None:
    """End what was begun and not needed, since the stage ended in an error."""
    while _prepared:
        with _prepared.pop() as process:
            process.kill()


def _begun() -> Process:
    package = Path(__file__).resolve().parents[1]
    path = os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", "from pipeline.tracking.child import follow; follow()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # MLflow's tracebacks; what went wrong comes as the answer
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # an interrupt from the keyboard is not for the child, which has runs to mark
    )
