"""Training on all cores: a large stack is cut into shards, and the shards are spread over worker processes.

The cut depends on the number of runs alone and a run's arithmetic on its own shard, so that the number of workers changes no
byte. Each process uses one thread: waiting for each other at every small operation, threads lose more than they gain, above
all on a machine that has something else to do.
"""

import atexit
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

import pipeline.catalogue  # noqa: F401  # a worker process knows every registered name
from pipeline.engine import stacked
from pipeline.engine.stacked import Whole
from pipeline.problems.problem import Problem
from pipeline.runs import CURVES, Block, Floats, Outcome, Run, Training

SMALLEST_CUT = 140
"""Runs up to which a stack stays whole."""
LARGEST_SHARD = 280
"""Runs in a shard at the most."""
SHARDS_AT_ONCE = 4
"""Shards come in multiples of this, so that 2 or 4 workers have equal hands."""

Places = list[int]
Job = tuple[Problem, list[list[Run]], dict[str, Any]]


def train(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train like :func:`pipeline.engine.stacked.train`, on all cores; on a device of its own as one stack."""
    cuts = cut(len(runs)) if device.type == "cpu" else [list(range(len(runs)))]
    how: dict[str, Any] = {"device": device, "dtype": dtype, "search": search, "whole": Whole.of(problem, runs)}
    with _one_thread():
        if len(cuts) == 1:
            return (yield from stacked.train(problem, runs, **how))
        workers = _workers(min(_cores(), len(cuts)) - 1)
        hands = [cuts[number :: len(workers) + 1] for number in range(len(workers) + 1)]
        for worker, hand in zip(workers, hands[1:], strict=True):
            worker.begin((problem, [[runs[i] for i in places] for places in hand], how))
        own = [stacked.train(problem, [runs[i] for i in places], **how) for places in hands[0]]
        order = np.concatenate([places for hand in hands for places in hand])
        return (yield from _merged(own, workers, np.argsort(order).tolist()))


def cut(runs: int) -> list[Places]:
    """The places of the runs in each shard. They are dealt out like cards, so that every shard has some of each kind."""
    shards = 1 if runs <= SMALLEST_CUT else SHARDS_AT_ONCE * -(-runs // (SHARDS_AT_ONCE * LARGEST_SHARD))
    return [list(range(runs))[number::shards] for number in range(shards)]


def _lockstep(trainings: Sequence[Training]) -> Generator[list[Block], None, list[Outcome]]:
    """The blocks of several trainings of one length, then their outcomes."""
    while True:
        blocks, outcomes = [], []
        for training in trainings:
            try:
                blocks.append(next(training))
            except StopIteration as end:
                outcomes.append(end.value)
        if outcomes:
            return outcomes
        yield blocks


def _merged(own: Sequence[Training], workers: Sequence["Worker"], columns: Places) -> Training:
    """The blocks and the outcome of all shards as of one stack; ``columns`` are the runs' in the shards side by side."""
    progress = _lockstep(own)
    while True:
        try:
            blocks = next(progress)
        except StopIteration as end:
            outcomes: list[Outcome] = end.value
            break
        yield _joined([*blocks, *(block for worker in workers for block in worker.next())], columns)
    return _outcome([*outcomes, *(outcome for worker in workers for outcome in worker.next())], columns)


def _outcome(parts: list[Outcome], columns: Places) -> Outcome:
    names = [field.name for field in fields(Outcome) if field.name != "weights"]
    figures: dict[str, Any] = {name: _together([getattr(part, name) for part in parts], columns) for name in names}
    weights = {name: torch.cat([part.weights[name] for part in parts])[columns] for name in parts[0].weights}
    return Outcome(**figures, weights=weights)


def _joined(parts: list[Block], columns: Places) -> Block:
    curves = {name: _together([getattr(part, name) for part in parts], columns) for name in CURVES}
    return Block(parts[0].first_epoch, **curves)


def _together(parts: list[Floats], columns: Places) -> Floats:
    return np.concatenate(parts, axis=-1)[..., columns]


class Worker:
    """A process that trains shards, block by block; kept for the next stack, since starting one takes seconds."""

    def __init__(self) -> None:
        context = get_context("spawn")  # a fork would share what torch's threads hold at that moment
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.is_busy = False

    def begin(self, job: Job) -> None:
        """Start training; its blocks are read with :meth:`next`."""
        self.is_busy = True
        self._pipe.send(job)

    def next(self) -> list[Any]:
        """The next block of each of its shards; after the last, their outcomes. Raises what training raised there."""
        kind, content = self._pipe.recv()
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


_pool: list[Worker] = []


def _workers(count: int) -> list[Worker]:
    """``count`` idle workers. One whose training was left in the middle is replaced."""
    for worker in [worker for worker in _pool if worker.is_busy]:
        worker.end()
        _pool.remove(worker)
    while len(_pool) < count:
        _pool.append(Worker())
    return _pool[:count]


@atexit.register
def end_workers() -> None:
    """End all workers; the next large stack starts new ones."""
    while _pool:
        _pool.pop().end()


def _serve(pipe: Connection) -> None:
    """A worker's life: one job after the other until the other end is gone."""
    torch.set_num_threads(1)
    while True:
        try:
            _train_all(pipe, *pipe.recv())
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return


def _train_all(pipe: Connection, problem: Problem, shards: list[list[Run]], how: dict[str, Any]) -> None:
    progress = _lockstep([stacked.train(problem, runs, **how) for runs in shards])
    try:
        while True:
            pipe.send(("blocks", next(progress)))
    except StopIteration as end:
        pipe.send(("outcomes", end.value))
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001  # it is raised again at the other end
        pipe.send(("error", error))


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
