"""Finished runs are kept through everything, and nothing that was damaged is ever believed."""

import logging
import math
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.problems.run import CURVES
from pipeline.runs.store import UNASKED, Finished, Store
from tests.conftest import ROOT

ORIGIN = {"code": "abc", "machine": "here"}


def finished(number: float = 0.5, epochs: int = 3, *, whole: bool = True) -> Finished:
    return Finished(whole, np.full((len(CURVES), epochs), number), {"test_loss": number, "finite": 1.0})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "runs.sqlite"


@pytest.fixture
def store(path: Path) -> Store:
    return Store(path)


@given(st.lists(st.floats(), min_size=5, max_size=5), st.floats())
def test_every_number_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], figure: float
) -> None:
    path = tmp_path_factory.mktemp("store") / "runs.sqlite"
    Store(path).keep({"a": Finished(True, np.array(numbers)[:, None], {"test_loss": figure})}, ORIGIN)
    found = Store(path).known(["a", "b"], whole=True)
    assert found.keys() == {"a"}
    assert found["a"].curves.tobytes() == np.array(numbers).tobytes()
    assert found["a"].figures["test_loss"] == figure or math.isnan(figure)


def test_a_search_is_served_by_whole_runs_and_not_the_other_way_round(store: Store) -> None:
    store.keep({"whole": finished(), "short": finished(epochs=1, whole=False)}, ORIGIN)
    assert store.known(["whole", "short"], whole=False).keys() == {"whole", "short"}
    assert store.known(["whole", "short"], whole=True).keys() == {"whole"}


def test_a_whole_run_is_never_replaced_by_less(store: Store) -> None:
    store.keep({"a": finished(1.0)}, ORIGIN)
    store.keep({"a": finished(2.0, epochs=1, whole=False)}, ORIGIN)
    assert store.known(["a"], whole=True)["a"].figures["test_loss"] == 1.0


def test_more_runs_than_one_statement_takes(store: Store) -> None:
    names = [str(number) for number in range(3000)]
    store.keep({name: finished(float(name), epochs=1) for name in names}, ORIGIN)
    assert {name: each.figures["test_loss"] for name, each in store.known(names, whole=True).items()} == {
        name: float(name) for name in names
    }


@pytest.mark.parametrize("column", ["curves", "figures", "run", "whole"])
def test_a_changed_entry_is_as_good_as_not_there(store: Store, path: Path, column: str) -> None:
    store.keep({"a": finished(), "b": finished()}, ORIGIN)
    new = {"curves": b"\0" * 120, "figures": '{"test_loss": 0.1, "finite": 1.0}', "run": "c", "whole": 2}[column]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE runs SET {column} = ? WHERE run = 'a'", [new])
    assert Store(path).known(["a", "b", "c"], whole=True).keys() == {"b"}


def test_changed_weights_are_as_good_as_not_there(store: Store, path: Path) -> None:
    store.keep_contents({"a": b"numbers"})
    assert store.contents(["a", "b"]) == {"a": b"numbers"}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE contents SET content = ?", [b"others"])
    assert store.contents(["a"]) == {}


@pytest.mark.parametrize("damage", ["garbage", "torn", "version"])
def test_a_file_of_no_use_is_set_aside(store: Store, path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store.keep({str(number): finished() for number in range(500)}, ORIGIN)
    if damage == "version":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        content = path.read_bytes()
        path.write_bytes(b"no database" * 100 if damage == "garbage" else content[: len(content) // 2])
    again = Store(path)
    assert again.known(["1"], whole=True) == {}
    again.keep({"1": finished()}, ORIGIN)
    assert Store(path).known(["1"], whole=True).keys() == {"1"}
    assert "runs.sqlite.broken" in caplog.text


def test_a_file_that_was_deleted_is_made_again(store: Store, path: Path) -> None:
    store.keep({"a": finished()}, ORIGIN)
    for file in path.parent.glob("runs.sqlite*"):
        file.unlink()
    assert store.known(["a"], whole=True) == {}
    store.keep({"a": finished()}, ORIGIN)
    assert store.known(["a"], whole=True).keys() == {"a"}


def test_where_nothing_can_be_kept_one_line_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file where the folder should be", encoding="utf-8")
    store = Store(tmp_path / "state" / "runs.sqlite")
    store.keep({"a": finished()}, ORIGIN)
    store.keep_contents({"a": b"numbers"})
    assert store.known(["a"], whole=True) == {}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "will be trained again" in record.getMessage()


WRITER = """
import sys
import numpy as np
from pathlib import Path
from pipeline.runs.store import Store, Finished
store, who = Store(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
for number in range(int(sys.argv[3])):
    store.keep({f"{who}-{number}-{i}": Finished(True, np.zeros((5, 40)), {"test_loss": 0.0}) for i in range(20)}, {})
    print(number, flush=True)
"""


def writer(path: Path, who: str, times: int) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WRITER, str(path), who, str(times)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_two_processes_write_at_once(path: Path) -> None:
    both = [writer(path, who, 20) for who in "ab"]
    assert [process.communicate() and process.returncode for process in both] == [0, 0]
    names = [f"{who}-{number}-{i}" for who in "ab" for number in range(20) for i in range(20)]
    assert Store(path).known(names, whole=True).keys() == set(names)


@pytest.mark.slow
def test_what_was_kept_before_a_kill_is_there_after_it(path: Path) -> None:
    for attempt in range(3):
        process = writer(path, str(attempt), 10_000)
        assert process.stdout is not None
        while process.stdout.readline().strip() != "5":
            pass
        time.sleep(0.003 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        portions = [[f"{attempt}-{number}-{i}" for i in range(20)] for number in range(300)]
        known = [Store(path).known(names, whole=True).keys() for names in portions]
        assert all(known[number] == set(portions[number]) for number in range(6))
        assert {len(names) for names in known} <= {0, 20}  # a portion is there, or it is not


def test_what_was_not_asked_for_longest_goes_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1e9
    monkeypatch.setattr("pipeline.runs.store.time.time", lambda: now)
    for name in "abcd":
        store.keep({name: finished(epochs=100)}, ORIGIN)
        now += 86_400
    store.known(["a"], whole=True)
    store.keep_contents({"a": bytes(4000)})
    assert store.shrink(3 * 4100) == 2
    assert store.known(list("abcd"), whole=True).keys() == {"a", "d"}
    assert store.contents(["a"])
    assert store.shrink(0) == 3
    assert store.known(list("abcd"), whole=True) == {}


def test_what_nobody_asked_for_since_long_is_forgotten_and_told_before(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.spare(unasked=UNASKED) == (0, 0)
    assert not path.parent.exists()
    now = 1e9
    monkeypatch.setattr("pipeline.runs.store.time.time", lambda: now)
    store.keep({"a": finished(), "b": finished()}, ORIGIN)
    now += UNASKED - 10
    store.known(["a"], whole=True)
    assert store.spare(unasked=UNASKED) == (0, 0)
    now += 20
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    count, size = store.spare(unasked=UNASKED)
    assert count == 1
    assert 100 < size < 1000
    assert store.spare(largest=0) == (2, 2 * size)
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    assert (store.shrink(unasked=UNASKED), store.shrink(unasked=UNASKED)) == (1, 0)
    assert store.known(["a", "b"], whole=True).keys() == {"a"}


@pytest.mark.slow
def test_processes_that_make_the_file_at_once(path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(_keep_one, [(path, str(number)) for number in range(6)])
    assert len(Store(path).known([str(number) for number in range(6)], whole=True)) == 6


def _keep_one(given: tuple[Path, str]) -> None:
    path, name = given
    Store(path).keep({name: finished()}, ORIGIN)
