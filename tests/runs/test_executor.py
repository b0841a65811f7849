"""Processes make the calls that are submitted, in whatever process, tell blocks, and never outlive who began them."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.problems.run import CURVES, Block
from pipeline.runs.executor import ExecutorError, Processes, Workers, executor, tell
from tests.waiting import until


def square(number: int) -> int:
    return number * number


def process(_: object = None) -> int:
    time.sleep(0.02)
    return os.getpid()


def refuse(what: str) -> None:
    raise ValueError(f"no {what}")


class OddError(Exception):
    """It can be sent and not be received."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def refuse_oddly() -> None:
    raise OddError("a", "b")


def end() -> None:
    os._exit(3)


def block(number: int) -> Block:
    return Block(number, **dict.fromkeys(CURVES, np.full((2, 3), float(number))))


def told(number: int) -> int:
    for first in (1, 3):
        tell(number, block(first))
    return torch.get_num_threads()


@pytest.fixture(params=[1, pytest.param(2, marks=pytest.mark.slow)])
def some(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setenv("PIPELINE_EXECUTOR", f"local:{request.param}")
    with executor() as workers:
        assert workers.count == request.param
        yield workers


@pytest.mark.parametrize("count", [0, 1, 7])
def test_each_item_is_done_in_order(some: Workers, count: int) -> None:
    assert list(some.map(square, range(count), chunksize=2)) == [number * number for number in range(count)]


def test_an_error_is_raised_where_the_result_is_asked_for(some: Workers) -> None:
    failed, oddly = some.submit(refuse, "way"), some.submit(refuse_oddly)
    assert some.submit(square, 3).result() == 9
    with pytest.raises(ValueError, match=r"^no way$"):
        failed.result()
    with pytest.raises((OddError, RuntimeError), match="ab"):
        oddly.result()
    assert some.submit(square, 3).result() == 9, "it goes on"


def test_all_processes_do_their_share_with_one_thread_each_and_tell_blocks() -> None:
    with Processes(2, is_copied=True) as two:
        assert len(set(both(two))) == 2
        assert list(two.map(told, [0, 1])) == [1, 1]
        heard = list(two.heard())
        assert sorted((number, each.first_epoch) for number, each in heard) == [(0, 1), (0, 3), (1, 1), (1, 3)]
        assert all((each.lr == each.first_epoch).all() for _, each in heard)
        assert list(two.heard()) == []
    assert not multiprocessing.active_children()


def test_a_lost_process_is_told() -> None:
    with Processes(1) as one, pytest.raises(BrokenProcessPool):
        one.submit(end).result()


def end_with(content: bytes) -> None:
    end()


@pytest.mark.slow
def test_nobody_waits_to_send_to_processes_that_are_gone() -> None:
    """More than a pipe holds is on its way to them."""
    with Processes(2) as workers:
        lost = [workers.submit(end_with, bytes(2**20)) for _ in range(8)]
        for future in lost:
            with pytest.raises(BrokenProcessPool):
                future.result()


def leave_by(error: type[BaseException]) -> None:
    with Processes(1, is_copied=True) as one:
        one.submit(time.sleep, 3600)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_waits_for_nobody(error: type[BaseException]) -> None:
    with pytest.raises(error):
        leave_by(error)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("given", ["local:0", "local:x", "local:-1", "cluster", "dask", "slurm:"])
def test_another_executor_is_told_with_its_remedy(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_EXECUTOR", given)
    with pytest.raises(ExecutorError, match=f"PIPELINE_EXECUTOR is {given}, .*; write local, local:8"):
        executor()


def test_there_is_one_process_for_each_core_where_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIPELINE_EXECUTOR")
    with executor() as workers:
        assert workers.count == len(os.sched_getaffinity(0))


def both(two: Processes) -> list[int]:
    """The processes that answer: one that begins from nothing may be done with all calls before the other has begun."""
    answered: list[int] = []

    def both_have() -> bool:
        answered.extend(two.map(process, range(20)))
        return len(set(answered)) == 2

    until(both_have, "both have answered")
    return answered


def ask_and_wait(said: "Connection[Any, Any]", begin: Callable[[], object]) -> None:
    begin()
    with Processes(2) as two:
        said.send(both(two))
        time.sleep(3600)


def another_thread() -> None:
    """With which processes do not begin as copies."""
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


@pytest.mark.parametrize("begin", [int, another_thread], ids=["copies", "from nothing"])
@pytest.mark.slow
def test_processes_end_with_a_killed_stage(begin: Callable[[], object]) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    stage = context.Process(target=ask_and_wait, args=(theirs, begin))
    stage.start()
    asked = set(ours.recv())
    assert len(asked - {stage.pid}) == 2
    os.kill(stage.pid or 0, signal.SIGKILL)
    stage.join()
    until(lambda: not any(map(is_running, asked)), "they have ended")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are copied where they can be")
def test_a_process_that_is_asked_to_end_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """As by ``timeout``, which asks all processes of a stage; that has a handler, which they would inherit."""

    def terminated(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        with Processes(1, is_copied=True) as workers:
            process_id = workers.submit(os.getpid).result()
            until(lambda: state(process_id) == "S", "it waits for more")  # Python notices late what comes just before a read
            os.kill(process_id, signal.SIGTERM)
            until(lambda: not is_running(process_id), "it has ended")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_processes_that_are_gone_need_not_read_what_they_were_sent() -> None:
    """Those that began later are copies, which hold the pipe open: the thread that sends waited for ever."""
    with Processes(1) as slow:
        slow.submit(time.sleep, 3600)
        sent = [slow.submit(len, bytes(2**20)) for _ in range(3)]
        with Processes(1) as later:
            assert later.submit(square, 3).result() == 9
            slow.kill()
            slow.shutdown()
        assert all(isinstance(call.exception(), BrokenProcessPool) for call in sent)


def is_running(number: int) -> bool:
    return state(number) not in "ZX"


def state(number: int) -> str:
    """Of a process: R as it runs, S as it sleeps, Z or X where it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def test_processes_for_which_there_are_no_threads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second thread of a pool is begun by its first, which ends where it cannot: what was submitted waited for ever."""
    start, begun = threading.Thread.start, list[threading.Thread]()

    def start_one(thread: threading.Thread) -> None:
        if begun:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(ExecutorError, match="for lack of processes or threads; PIPELINE_EXECUTOR=local:1 needs none"):
        Processes(2)
