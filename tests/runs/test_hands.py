"""Hands do what they are asked, in whichever process, and never outlive who asked."""

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from pipeline.runs import hands
from pipeline.runs.hands import Hands
from tests.conftest import begin


@pytest.fixture(autouse=True)
def real_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere but in the other tests."""
    monkeypatch.setattr(Hands, "__enter__", begin)


def square(number: int) -> int:
    return number * number


def process(_: object = None) -> int:
    return os.getpid()


def refuse(what: str) -> None:
    raise ValueError(f"no {what}")


def unsendable() -> Callable[[], int]:
    return lambda: 3


class OddError(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def refuse_oddly() -> None:
    raise OddError("a", "b")


def end(_: object = None) -> int:
    """In a hand, end its process; elsewhere all is well."""
    if multiprocessing.parent_process() is not None:
        os._exit(3)
    return os.getpid()


def napping(path: Path) -> None:
    time.sleep(0.3)
    path.touch()


@pytest.fixture(params=[0, 1, 3])
def some(request: pytest.FixtureRequest) -> Iterator[Hands]:
    with Hands(request.param) as lent:
        yield lent


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_each_item_is_done_in_order(some: Hands, count: int) -> None:
    assert some.each(square, range(count)) == [number * number for number in range(count)]


def test_every_hand_does_its_share_and_so_does_who_asks() -> None:
    with Hands(2) as two:
        found = two.each(process, list(range(9)))
    assert len(set(found)) == 3
    assert [found.count(number) for number in set(found)] == [3, 3, 3]
    assert os.getpid() in found


def test_a_call_goes_on_beside(tmp_path: Path) -> None:
    with Hands(1) as one:
        job = one.aside(napping, tmp_path / "done")
        assert not (tmp_path / "done").exists()
        job.result()
        assert (tmp_path / "done").exists()


def test_jobs_follow_each_other_and_keep_their_results(some: Hands) -> None:
    jobs = [some.aside(square, number) for number in range(4)]
    assert some.each(square, [5, 6, 7]) == [25, 36, 49]
    assert [job.result() for job in reversed(jobs)] == [9, 4, 1, 0]
    assert jobs[0].result() == 0


def test_an_error_is_raised_where_the_result_is_asked_for(some: Hands) -> None:
    job = some.aside(refuse, "way")
    assert some.aside(square, 3).result() == 9
    with pytest.raises(ValueError, match=r"^no way$"):
        job.result()
    with pytest.raises(OddError, match="ab"):  # which cannot be sent
        some.aside(refuse_oddly).result()
    with pytest.raises(ValueError, match="no chance"):
        some.each(refuse, ["chance"] * 5)
    assert some.each(square, [1, 2]) == [1, 4]


def test_what_cannot_be_sent_is_done_here(some: Hands) -> None:
    assert some.each(lambda number: number + 1, [1, 2, 3]) == [2, 3, 4]
    assert some.aside(unsendable).result()() == 3
    assert some.each(square, [1, 2, 3]) == [1, 4, 9]


def test_what_a_lost_hand_was_at_is_done_here() -> None:
    with Hands(2) as two:
        assert two.each(end, list(range(5))) == [os.getpid()] * 5
        assert two.aside(process).result() == os.getpid()
        assert two.each(square, [1, 2, 3]) == [1, 4, 9]


def test_an_unfinished_job_is_not_waited_for(tmp_path: Path) -> None:
    begun = time.monotonic()
    with Hands(1) as one:
        one.aside(time.sleep, 30)
    assert time.monotonic() - begun < 10
    assert not multiprocessing.active_children()


def ask_and_wait(told: "Connection[Any, Any]") -> None:
    with Hands(2) as two:
        told.send(two.each(process, list(range(3))))
        time.sleep(60)


@pytest.mark.skipif(not hands.FORKS, reason="what is inherited by a fork")
def test_hands_end_with_a_killed_search_and_hold_nothing_of_its_own_open() -> None:
    """A pipe that the search holds ends with it, though its hands are copies of it."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    search = context.Process(target=ask_and_wait, args=(theirs,))
    search.start()
    theirs.close()
    asked = set(ours.recv()) - {search.pid}
    assert len(asked) == 2
    os.kill(search.pid or 0, signal.SIGKILL)
    assert ours.poll(10)
    with pytest.raises(EOFError):
        ours.recv()
    search.join()
    until = time.monotonic() + 10
    for number in asked:
        while is_running(number):
            assert time.monotonic() < until
            time.sleep(0.01)


def is_running(number: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
