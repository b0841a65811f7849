"""Trainings spread over worker processes, one thread in each.

Waiting for each other at every small operation, threads lose more than they gain, above all on a machine that has something
else to do.
"""

import atexit
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch

import pipeline.catalogue  # noqa: F401  # a worker process knows every registered name
from pipeline.engine.device import cores
from pipeline.engine.merging import Places, Train, lockstep, merged
from pipeline.problems.run import Run, Training


def spread(train: Train, runs: Sequence[Run], cuts: Sequence[Places], processes: int | None = None) -> Training:
    """Train the runs, those of each cut by themselves, in as many processes as there are cores, or in fewer if asked.

    The number of workers changes no byte, since a run's arithmetic depends on its own cut alone.
    """
    with one_thread(), _workers(min(processes or cores(), len(cuts)) - 1) as workers:
        hands = [list(cuts[number :: len(workers) + 1]) for number in range(len(workers) + 1)]
        for worker, hand in zip(workers, hands[1:], strict=True):
            worker.begin(train, [[runs[i] for i in places] for places in hand])
        own = [train([runs[i] for i in places]) for places in hands[0]]
        places = [place for hand in hands for cut in hand for place in cut]
        return (yield from merged(own, workers, places))


class Worker:
    """A process that trains, block by block; kept for the next training, since starting one takes seconds."""

    def __init__(self) -> None:
        context = get_context("spawn")  # a fork would share what torch's threads hold at that moment
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.is_busy = False

    def begin(self, train: Train, cuts: list[list[Run]]) -> None:
        """Start training; its blocks are read with :meth:`next`."""
        self.is_busy = True
        self._pipe.send_bytes(pickle.dumps((train, cuts)))

    def next(self) -> list[Any]:
        """The next block of each of its cuts; after the last, their outcomes. Raises what training raised there."""
        kind, content = pickle.loads(self._pipe.recv_bytes())
        self.is_busy = kind == "blocks"
        if kind == "error":
            raise content
        found: list[Any] = content
        return found

    def end(self) -> None:
        """End the process: it ends by itself when nobody is left to speak to, unless it is in the middle of a training."""
        self._pipe.close()
        if self.is_busy:
            self._process.kill()
        self._process.join()


_idle: list[Worker] = []


@contextmanager
def _workers(count: int) -> Iterator[list[Worker]]:
    """``count`` workers that no other training has, for two may go on side by side. One left in the middle is not kept."""
    while len(_idle) < count:
        _idle.append(Worker())
    taken = [_idle.pop(0) for _ in range(count)]
    try:
        yield taken
    finally:
        for worker in taken:
            if worker.is_busy:
                worker.end()
            else:
                _idle.append(worker)


@atexit.register
def end_workers() -> None:
    """End all workers; the next training that needs some starts new ones."""
    while _idle:
        _idle.pop().end()


def _serve(pipe: Connection) -> None:
    """A worker's life: one job after the other until the other end is gone."""
    torch.set_num_threads(1)
    while True:
        try:
            _train_all(pipe, *pickle.loads(pipe.recv_bytes()))
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return


def _train_all(pipe: Connection, train: Train, cuts: list[list[Run]]) -> None:
    progress = lockstep([train(runs) for runs in cuts])
    try:
        while True:
            _send(pipe, "blocks", next(progress))
    except StopIteration as end:
        _send(pipe, "outcomes", end.value)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001  # it is raised again at the other end
        _send(pipe, "error", _sendable(error))


def _send(pipe: Connection, kind: str, content: Any) -> None:
    # As plain bytes: torch would hand every tensor over in shared memory, each with a file of its own.
    pipe.send_bytes(pickle.dumps((kind, content)))


def _sendable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent: there are some that can be sent and not be received."""
    try:
        return error if isinstance(pickle.loads(pickle.dumps(error)), Exception) else RuntimeError(str(error))
    except Exception:  # noqa: BLE001  # an error of the user's own may hold anything
        return RuntimeError(f"{type(error).__name__}: {error}")


@contextmanager
def one_thread() -> Iterator[None]:
    """In the block, torch uses one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
