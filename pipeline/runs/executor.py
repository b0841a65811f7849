"""Work done elsewhere: an executor of the standard library, which tells blocks of epochs as they are trained there.

What is computed follows from what is submitted, so that neither the kind of executor nor how many processes it has changes a
result. ``PIPELINE_EXECUTOR`` chooses it: this machine's processes, or beside them a cluster that trains (see :mod:`.cluster`).
"""

import errno
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import wait
from typing import Any, Protocol, Self, TypeVar

import torch

from pipeline.config.callables import imported
from pipeline.config.errors import PipelineError, shortage
from pipeline.engine.device import EXECUTOR, LOCAL, cores
from pipeline.problems.problem import Problem
from pipeline.problems.run import Block

T = TypeVar("T")
VARIABLE = EXECUTOR


class ExecutorError(PipelineError):
    """There is no such executor, or it broke; says why and what would help."""


class Trainers(Protocol):
    """Where portions of runs are trained. ``count`` is how many processes of this machine are."""

    count: int

    @property
    def slots(self) -> int:
        """How many portions a cluster can train side by side by now; 0 where it is none, but this machine."""
        ...

    def send(self, title: str, function: Callable[..., bytes], content: bytes, *args: Any) -> "Future[bytes]":
        """Call ``function(content, *args)`` there; ``content`` is the same for many calls, ``title`` is what people see."""
        ...

    def heard(self) -> Iterator[tuple[int, Block]]:
        """The blocks that calls have told by :func:`tell` since the last time, each behind the number it was told with."""
        ...


class Workers(Protocol):
    """What the pipeline needs of an executor. ``count`` is how many calls it makes side by side."""

    count: int

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """As :meth:`concurrent.futures.Executor.submit`."""
        ...

    def map(self, function: Callable[..., T], *iterables: Any, chunksize: int = 1) -> Iterator[T]:
        """As :meth:`concurrent.futures.Executor.map`."""
        ...

    def trainers(self, problem: Problem, way: str, device: torch.device) -> Trainers:
        """Who trains portions of that problem in that way."""
        ...

    def where(self) -> str:
        """Words for who trains by now; none where it is this machine."""
        ...


class _Local(Executor):
    """An executor of this machine, whose own processes train."""

    count: int
    slots = 0

    def trainers(self, problem: Problem, way: str, device: torch.device) -> Trainers:
        """Itself, but compiled code uses all cores of one process, and GPUs are not shared among several."""
        return HERE if way == "compiled" or device.type != "cpu" else self

    def where(self) -> str:
        """Here."""
        return ""

    def send(self, title: str, function: Callable[..., bytes], content: bytes, *args: Any) -> "Future[bytes]":
        """As any other call."""
        return self.submit(function, content, *args)

    def heard(self) -> Iterator[tuple[int, Block]]:
        """Nothing: whoever trains here listens himself."""
        yield from ()


class Here(_Local):
    """This process, which makes each call as it is submitted."""

    count = 1

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """The call, done."""
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it is raised where the result is asked for
            future.set_exception(error)
        return future

    def kill(self) -> None:
        """Nothing: there is nobody else."""


HERE = Here()


class LackingError(PipelineError):
    """Work is wanted that nobody does here; ``lacking`` of the ``wanted`` runs are not in the store."""

    def __init__(self, wanted: int = 0, lacking: int = 0) -> None:
        super().__init__(f"{lacking} of {wanted} runs are not in the store")
        self.wanted, self.lacking = wanted, lacking


class Nobody(Here):
    """Does nothing: for whoever only looks at what is in the store. What is submitted raises :class:`LackingError`."""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Nothing."""
        raise LackingError


NOBODY = Nobody()


class Processes(_Local, ProcessPoolExecutor):
    """``count`` processes of this machine, with one thread each; they end with this one, however it ends.

    They begin as copies of this process, with all that is imported, where it has no other threads than those of executors: they
    would be missing in a copy. Elsewhere they begin from nothing, which takes seconds. Leaving the block by an error
    ends them in the middle of what they do.
    """

    def __init__(self, count: int, *, is_copied: bool = False) -> None:
        is_copied = is_copied or (sys.platform == "linux" and not any(map(_is_foreign, threading.enumerate())))
        context = multiprocessing.get_context("fork" if is_copied else "spawn")
        self.count = count
        try:
            _begin_threads(2)  # where its own second one cannot begin, the first ends, and all that is submitted waits for ever
            self._blocks = context.SimpleQueue()
            super().__init__(count, mp_context=context, initializer=_begin, initargs=(self._blocks,))
        except (OSError, RuntimeError) as error:
            if lacking := shortage(error):
                lacking = "shared memory" if getattr(error, "errno", 0) == errno.ENOSPC else lacking
                raise ExecutorError(f"no process can be begun for lack of {lacking}; {VARIABLE}=local:1 needs none") from error
            raise
        if is_copied:
            self.submit(os.getpid).result()  # all begin now, before there are threads

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """As every executor; an error that cannot be sent from there to here is told all the same."""
        return super().submit(_called, function, *args, **kwargs)

    def heard(self) -> Iterator[tuple[int, Block]]:
        """The blocks that were told since the last time."""
        while not self._blocks.empty():
            yield self._blocks.get()

    def kill(self) -> None:
        """End the processes in the middle of what they do; what was submitted breaks."""
        for process in list((self._processes or {}).values()):  # from Python 3.14 on there is `kill_workers` for it
            process.kill()
        self._stop_sending()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """As every executor."""
        if self._broken:
            self._stop_sending()
        super().shutdown(wait, cancel_futures=cancel_futures)

    def _stop_sending(self) -> None:
        """Read what processes that are gone were sent: Python waits until somebody has (gh-94777).

        To close the pipe, as it does since 3.11.5, is not enough: processes that began later, as copies, hold it open.
        """
        if (calls := vars(self)["_call_queue"]) is not None:
            with suppress(OSError):  # the thread that sends has just closed it
                threading.Thread(target=_read_all, args=(os.dup(calls._reader.fileno()), calls._thread), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.kill()
        self.shutdown(cancel_futures=True)


CLUSTER = "pipeline.runs.cluster.controller:Cluster"
ENGINES = {"dask": "pipeline.runs.cluster.dask:Dask", "slurm": "pipeline.runs.cluster.slurm:Slurm"}
"""By the kind of cluster; each is made with what stands behind the colon in ``PIPELINE_EXECUTOR``."""
WORDS = "local, local:8 for eight processes, dask:tcp://head:8786 or slurm:partition=gpu,time=60"


def executor() -> AbstractContextManager[Workers]:
    """What ``PIPELINE_EXECUTOR`` names: ``local:8`` for eight processes, ``local`` (or nothing) for one on each core.

    ``fork`` is ``local`` by copies of this process whatever threads it has, as a DataLoader's workers are: for a notebook.
    ``dask:…`` and ``slurm:…`` are a cluster that trains, beside a process on each core for all else.
    """
    kind, words = _named()
    count = process_count()
    local = Processes(count, is_copied=kind == "fork") if count > 1 else Here()
    if kind not in ENGINES:
        return local
    # Imported only where it is asked for: it may need packages that others lack.
    found: AbstractContextManager[Workers] = imported(CLUSTER)(imported(ENGINES[kind]), words, local)
    return found


def process_count() -> int:
    """How many processes of this machine it names."""
    kind, words = _named()
    if kind in ENGINES and words:
        return cores()
    if kind not in LOCAL or (words and not (words.isdecimal() and int(words))):
        raise ExecutorError(f"{VARIABLE} is {os.environ[VARIABLE]}, which is no executor; write {WORDS}")
    return int(words) if words else cores()


def _named() -> tuple[str, str]:
    """Kind, and the words behind it, as they are given."""
    kind, _, words = (os.environ.get(VARIABLE) or "local").partition(":")
    return kind, words


def _begin_threads(count: int) -> None:
    """Begin so many threads side by side, and end them; RuntimeError where there is no room for them."""
    is_over = threading.Event()
    begun: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=is_over.wait)
            thread.start()
            begun.append(thread)
    finally:
        is_over.set()
        for thread in begun:
            thread.join()


def _read_all(pipe: int, sender: threading.Thread | None) -> None:
    """Read until nothing more is sent."""
    while sender is not None and sender.is_alive():
        if wait([pipe], timeout=0.1):
            os.read(pipe, 2**16)
    os.close(pipe)


def _is_foreign(thread: threading.Thread) -> bool:
    """Whether it is neither the main thread nor one of an executor, which no copy needs."""
    is_executors = type(thread).__name__ == "_ExecutorManagerThread" or thread.name == "QueueFeederThread"
    return thread is not threading.main_thread() and not is_executors


def _called(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    try:
        return function(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  # it is raised where the result is asked for
        raise sendable(error) from None


def sendable(error: Exception) -> Exception:
    """The error, or what it says: one of the user's own may hold anything, and some can be sent and not be received."""
    try:
        return error if isinstance(pickle.loads(pickle.dumps(error)), type(error)) else RuntimeError(str(error))  # noqa: S301  # our own bytes
    except Exception:  # noqa: BLE001  # whatever is wrong with it
        return RuntimeError(f"{type(error).__name__}: {error}")


LAST_ACTS: list[Callable[[], None]] = []
"""What a process has to do before it ends because the one that began it is gone."""
_told: Any = None


def tell(number: int, block: Block) -> None:
    """Tell whoever submitted this call a block of epochs."""
    _told.put((number, block))


def tell_by(told: Any) -> None:
    """Whose ``put`` is given what :func:`tell` is told in this process."""
    global _told  # noqa: PLW0603  # a process has one executor
    _told = told


def _begin(told: Any) -> None:
    """What each process does first."""
    tell_by(told)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is for the stage, which ends its processes
    signal.signal(signal.SIGTERM, _end)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end(number: int, frame: object) -> None:
    """End what is being done, and the process without a word: it is the stage that tells."""
    sys.exit(128 + number)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        try:
            for act in LAST_ACTS:
                act()
        finally:
            os._exit(1)
