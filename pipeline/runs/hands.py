"""Processes that lend a stage a hand: what it does beside training is Python, of which one process does one thing at a time.

What they answer follows from what they are given, so that how many there are changes no result.
"""

import contextlib
import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")
FORKS = sys.platform == "linux"
"""Whether a process begins as a copy of this one, with all that is imported; elsewhere that is not safe."""


class Job(Generic[R]):
    """A call that is done elsewhere; :meth:`result` waits for it."""

    def __init__(self, function: Callable[..., R], args: tuple[Any, ...], hand: "_Hand | None" = None) -> None:
        self._call, self._hand = (function, args), hand
        self._answer: tuple[bool, Any] | None = None

    def result(self) -> R:
        """What the call returned; raises what it raised. The call is made here if nobody else made it."""
        if self._hand is not None:
            self._hand.settle()
        if self._answer is None:
            self._answer = _answer(*self._call)
        is_well, found = self._answer
        if not is_well:
            raise found
        returned: R = found
        return returned

    def settle(self, answer: tuple[bool, Any] | None) -> None:
        """Take the answer; None where nobody gives one."""
        self._answer, self._hand = answer, None


class Hands:
    """``count`` processes, which end with the block. Enter it before there are threads: a copy of a process has one alone."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._hands: list[_Hand] = []

    def __enter__(self) -> Self:
        context: Any = get_context("fork" if FORKS else "spawn")
        for _ in range(self._count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._hands.append(_Hand(ours, process))
        return self

    def __exit__(self, *_: object) -> None:
        while self._hands:
            self._hands.pop().end()

    def each(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """The function of each of the items, in their order; this process and all hands that are free do their shares."""
        free = [hand for hand in self._hands if hand.is_free]
        shares = len(free) + 1
        jobs = [hand.begin(_all, function, items[number::shares]) for number, hand in enumerate(free)]
        found: list[Any] = [None] * len(items)
        found[shares - 1 :: shares] = _all(function, items[shares - 1 :: shares])
        for number, job in enumerate(jobs):
            found[number::shares] = job.result()
        return found

    def aside(self, function: Callable[..., R], *args: Any) -> Job[R]:
        """Begin a call and go on. It may overlap with others; with no hands, it is made when its result is asked for."""
        if not self._hands:
            return Job(function, args)
        return next((hand for hand in self._hands if hand.is_free), self._hands[-1]).begin(function, *args)


NOBODY = Hands(0)
"""No process but this one, which does all by itself."""


class _Hand:
    """One process, which does one job at a time."""

    def __init__(self, pipe: "Connection[Any, Any]", process: Any) -> None:
        self._pipe, self._process = pipe, process
        self._job: Job[Any] | None = None

    @property
    def is_free(self) -> bool:
        """Whether it has done what it was asked."""
        return self._job is None or self._pipe.poll()

    def begin(self, function: Callable[..., R], *args: Any) -> Job[R]:
        """Hand over a call, after the one before."""
        self.settle()
        self._job = job = Job(function, args, self)
        try:
            self._pipe.send_bytes(pickle.dumps((function, args)))
        except Exception:  # noqa: BLE001  # it is no more, or what cannot be sent is done here
            self._take(None)
        return job

    def settle(self) -> None:
        """Wait for the job that it is at."""
        if self._job is not None:
            try:
                answer = pickle.loads(self._pipe.recv_bytes())
            except (EOFError, OSError):  # it is no more
                answer = None
            self._take(answer)

    def _take(self, answer: tuple[bool, Any] | None) -> None:
        if self._job is not None:
            self._job.settle(answer)
            self._job = None

    def end(self) -> None:
        """End it, in the middle of a job that nobody asked for any more too."""
        self._pipe.close()
        if self._job is not None:
            self._process.kill()
        self._process.join()


def _serve(pipe: "Connection[Any, Any]") -> None:
    """A hand's life: one call after the other until nobody is left to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the stage, which ends its hands
    if FORKS:
        _let_go_of_all_but(pipe.fileno())
    try:
        while True:
            pipe.send_bytes(_sendable(_answer(*pickle.loads(pipe.recv_bytes()))))
    except (EOFError, OSError):
        return


def _let_go_of_all_but(own: int) -> None:
    """Close what a copy of a process holds open: locks, and pipes whose readers would wait for it beside the original.

    The numbers stay taken, since objects that are left of the original may still close theirs.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for path in list(Path("/proc/self/fd").iterdir()):
        number = int(path.name)
        if number > sys.stderr.fileno() and number not in {own, nothing}:
            with contextlib.suppress(OSError):  # that of the listing itself
                os.fstat(number)
                os.dup2(nothing, number)


def _answer(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
    try:
        return True, function(*args)
    except Exception as error:  # noqa: BLE001  # it is raised where the result is asked for
        return False, error


def _sendable(answer: tuple[bool, Any]) -> bytes:
    """The answer as bytes; that of nobody, so that the call is made again by who asked, where it cannot be sent."""
    try:
        data = pickle.dumps(answer)
        if isinstance(answer[1], Exception):
            pickle.loads(data)  # there are errors that can be sent and not be received
    except Exception:  # noqa: BLE001  # an answer may hold anything
        return pickle.dumps(None)
    return data


def _all(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return [function(item) for item in items]
