"""A process of a cluster's worker: makes the calls that come in, and tells blocks of epochs.

:mod:`pipeline.runs.cluster.agent` starts it, with the code of whoever asks, and keeps what it prints as its last words.
"""

import functools
import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from pipeline.engine.code import MIXED, is_mixed, kind
from pipeline.problems.run import Block
from pipeline.runs import executor
from pipeline.runs.cluster.agent import ERROR, READY, RESULT, TOLD
from pipeline.runs.executor import ExecutorError, sendable

EVERY = 1.0
"""Seconds between two messages of blocks; the history of a call that has ended holds them all, so its last are not sent."""


class Blocks:
    """Where blocks are told, as :func:`pipeline.runs.executor.tell` asks for it."""

    def __init__(self, connection: "Connection[Any, Any]") -> None:
        self._connection = connection
        self.begin()

    def begin(self) -> None:
        """A call begins: what was not sent of another is dropped."""
        self._blocks: list[tuple[int, Block]] = []
        self._due = time.monotonic() + EVERY

    def put(self, told: tuple[int, Block]) -> None:
        """Keep it, and send all that is kept now and then."""
        self._blocks.append(told)
        if time.monotonic() >= self._due:
            self._connection.send((TOLD, pickle.dumps(self._blocks)))
            self.begin()


def main() -> None:
    """Make one call after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt in the worker's terminal is for the worker
    connection: Connection[Any, Any] = Connection(int(sys.argv[1]))
    requests: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, requests), daemon=True).start()
    torch.set_num_threads(1)
    blocks = Blocks(connection)
    executor.tell_by(blocks)
    connection.send((READY, b""))
    while True:
        path, request = requests.get()
        blocks.begin()
        connection.send(answer(path, request))


def _receive(connection: "Connection[Any, Any]", requests: "queue.SimpleQueue[tuple[str, bytes]]") -> None:
    """Hand requests on; the end of them is that of the worker, and of this process, whatever it is at."""
    try:
        while True:
            requests.put(connection.recv())
    except (EOFError, OSError):
        os._exit(1)


def request(function: Callable[..., bytes], args: tuple[Any, ...]) -> bytes:
    """What :func:`answer` takes, with the kind of machine that it has to be made on."""
    return pickle.dumps(({} if is_mixed() else kind(), pickle.dumps((function, args))))


def answer(path: str, request: bytes) -> tuple[str, bytes]:
    """The call, on a machine of the kind that is asked for; with the content of a file as its first argument."""
    try:
        expected, call = pickle.loads(request)  # noqa: S301  # from whoever started the worker
        _refuse(expected)
        function, args = pickle.loads(call)  # noqa: S301
        return RESULT, function(_content(path), *args)
    except Exception as error:  # noqa: BLE001  # it is raised where the result is asked for
        return ERROR, pickle.dumps(sendable(error))


def _refuse(expected: dict[str, str]) -> None:
    """Raise where this machine would train other numbers than those whose name they are kept under."""
    here = kind()
    if odd := [f"{name} {here[name]} instead of {value}" for name, value in expected.items() if here[name] != value]:
        raise ExecutorError(
            f"a worker on {os.uname().nodename} is of another kind, and may train other numbers: {', '.join(odd)}; "
            f"give all machines the same, or allow several kinds, whose runs are kept by themselves: {MIXED}=yes"
        )


@functools.lru_cache(maxsize=1)
def _content(path: str) -> bytes:
    """What many calls have in common."""
    return Path(path).read_bytes()


if __name__ == "__main__":
    main()
