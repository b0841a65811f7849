"""What the child process does: carry out what it is told."""

import contextlib
import gc
import importlib
import os
import pickle
import sys
from typing import Any

from pipeline.tracking.completing import complete
from pipeline.tracking.connection import database, import_mlflow
from pipeline.tracking.failure import one_line
from pipeline.tracking.publishing import Links, links_of, publish, register
from pipeline.tracking.recorder import Recorder


def follow() -> None:
    """The child process: carry out the messages on standard input, answer each with a line on standard output."""
    os.nice(10)  # training goes first
    answers = sys.stdout
    recorder: Recorder | None = None
    links: Links = ([], {})
    with contextlib.redirect_stdout(sys.stderr):
        with contextlib.suppress(Exception):  # whatever it is, the first message meets it again
            import_mlflow()
            if database() is not None:
                importlib.import_module("mlflow.store.tracking.sqlalchemy_store")  # what takes half of the time to connect
        while message := _next_message():
            name, *arguments = message
            try:
                if name == "begin":
                    recorder = Recorder(*arguments)
                elif name == "link":
                    for problem, stage in arguments[0]:
                        complete(problem, stage)
                    links = links_of(*arguments)
                elif name == "publish":
                    publish(*arguments, links=links)
                elif name == "register":
                    register(*arguments)
                else:
                    getattr(recorder, name)(*arguments)
                answer = "ok"
            except Exception as error:  # noqa: BLE001 - it is reported
                answer, recorder = one_line(error), None
            with contextlib.suppress(BrokenPipeError):  # the parent was killed; the next message says so
                answers.write(f"{answer}\n")
                answers.flush()
        if recorder is not None:
            recorder.abandon("KILLED")
    gc.freeze()  # or Python looks through all that MLflow is once more before it ends, while the stage waits


def _next_message() -> tuple[Any, ...] | None:
    """The next message; None where the parent has no more to say, or is no more."""
    try:
        message: tuple[Any, ...] = pickle.load(sys.stdin.buffer)  # our own parent wrote it
    except (EOFError, pickle.UnpicklingError):
        return None
    return message
