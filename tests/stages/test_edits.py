"""Whatever is edited, killed, shared or damaged: the files are those of a study from nothing, and each run is trained once."""

import contextlib
import itertools
import json
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.commands import clean
from tests.stages.study import PROBLEMS, SCHEDULERS, Config, Kill, Studies, study, watched, written

KILLS = 10
CONFIG = Config(problems=("first", "second"), seeds="{least: 2, most: 6}")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "schedulers": st.lists(st.sampled_from(list(SCHEDULERS)), min_size=1, max_size=3, unique=True).map(tuple),
    "seeds": st.sampled_from([2, 3, "{least: 2, most: 3}", "{least: 2, most: 7}"]),
    "trials": st.sampled_from([2, 4, 6]),
    "epochs": st.sampled_from([2, 3]),
    "budgets": st.sampled_from([("50%",), ("100%",), ("50%", "1")]),
    "points": st.sampled_from([2, 3]),
    "problems": st.sampled_from([("first",), ("second",), tuple(PROBLEMS)]),
}
edits = st.sampled_from(list(VALUES)).flatmap(lambda name: VALUES[name].map(lambda value: {name: value}))
"""One thing that is changed, added, taken away or brought back."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("PIPELINE_EXECUTOR", "local:1")


@pytest.fixture(scope="module")
def from_nothing(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Config], dict[str, bytes]]:
    """The files of a study that begins with nothing."""
    known: dict[Config, dict[str, bytes]] = {}

    def find(config: Config) -> dict[str, bytes]:
        if config not in known:
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path_factory.mktemp("from nothing"))
                study(config)
                known[config] = written(Path())
        return known[config]

    return find


FromNothing = Callable[[Config], dict[str, bytes]]


class Noted(Counter[tuple[str, str]]):
    """How often what happened to each run."""

    def __call__(self, event: str, run: str) -> None:
        assert event != "began" or ("kept", f"{run.partition(' ')[0]} whole") not in self, (
            "what is known whole is trained again"
        )
        self[event, run] += 1

    def trained(self) -> int:
        return sum(count for (event, _), count in self.items() if event != "kept")


@settings(max_examples=6)
@given(st.lists(edits, min_size=2, max_size=4))
@pytest.mark.slow
def test_any_edits_end_in_the_bytes_of_a_study_from_nothing_and_train_each_run_once(
    tmp_path_factory: pytest.TempPathFactory, from_nothing: FromNothing, sequence: list[dict[str, Any]]
) -> None:
    config, noted = Config(), Noted()
    with pytest.MonkeyPatch.context() as patch, watched(noted):
        patch.chdir(tmp_path_factory.mktemp("edited"))
        study(config)
        for edit in sequence:
            config = replace(config, **edit)
            study(config)
        clean.main([])
        found = written(Path())
    assert found == from_nothing(config)
    assert set(noted.values()) == {1}


def test_there_and_back_trains_nothing(from_nothing: FromNothing) -> None:
    here, there = Config(), Config(schedulers=("StepLR", "REX"), seeds=3, trials=4)
    expected, noted = [from_nothing(here), from_nothing(there)], Noted()
    with watched(noted):
        study(here)
        study(there)
        trained = noted.trained()
        shutil.rmtree("results")
        shutil.rmtree("data")
        study(here)
        assert written(Path()) == expected[0]
        study(there)
    assert written(Path()) == expected[1]
    assert noted.trained() == trained > 50


def of_another_version(path: Path) -> None:
    """Its tables, as they were before some version."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP TABLE contents")
        connection.execute("ALTER TABLE runs DROP COLUMN origin")
        connection.execute("PRAGMA user_version = 1")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(0).randbytes(50_000))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def deleted(path: Path) -> None:
    path.unlink()


def with_other_numbers(path: Path) -> None:
    """As they are, without their checksums: none of them is believed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE runs SET curves = zeroblob(length(curves)), figures = replace(figures, '0.', '1.')")
        connection.execute("UPDATE contents SET content = CAST(replace(content, '0', '1') AS BLOB)")


def page_by_page(path: Path) -> None:
    """Some bytes in every page but the first are others."""
    content, draw = bytearray(path.read_bytes()), random.Random(1)
    for page in range(4096, len(content), 4096):
        at = draw.randrange(page, page + 4096)
        content[at] ^= 0x55
    path.write_bytes(content)


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study; not to be changed."""
    folder = tmp_path_factory.mktemp("trained once")
    with contextlib.chdir(folder):
        study(Config())
    return folder


@pytest.mark.parametrize(
    ("damage", "is_told"),
    [
        (of_another_version, True),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                (with_other_numbers, False), (cut_off, True), (garbage, True), (empty, False), (deleted, False),
                (page_by_page, False),
            ]
        ),
    ],
)  # fmt: skip
def test_a_store_that_is_damaged_or_of_another_version_changes_no_result(
    damage: Callable[[Path], None],
    is_told: bool,
    from_nothing: FromNothing,
    trained_once: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """What is no store is set aside, and one line says so."""
    config = Config()
    monkeypatch.chdir(shutil.copytree(trained_once, tmp_path_factory.mktemp("damaged") / "copy"))
    damage(Path(".state/runs.sqlite").resolve())
    shutil.rmtree("results")
    noted = Noted()
    with watched(noted):
        study(config)
    assert written(Path()) == from_nothing(config)
    assert noted.trained()
    lines = [record.getMessage() for record in caplog.records if "runs.sqlite" in record.getMessage()]
    assert len(lines) == is_told or damage is page_by_page
    assert Path(".state/runs.sqlite.broken").exists() == bool(lines)
    trained = noted.trained()
    with watched(noted):
        study(config)
    assert noted.trained() == trained


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studies]:
    with Studies(tmp_path_factory.mktemp("studies") / "warm") as running:
        yield running


def events(root: Path) -> list[list[str]]:
    """What happened to which run, in order."""
    return [line.rsplit(" ", 2) for line in (root / "trained.txt").read_text().splitlines()]


@pytest.mark.slow
def test_killed_at_any_moment_no_finished_run_is_trained_again(
    studies: Studies, from_nothing: FromNothing, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    begun = time.monotonic()
    assert studies.run(CONFIG, whole) == [0], (whole / "said.txt").read_text()
    seconds, count = time.monotonic() - begun, len(events(whole))
    distinct = {(name, how) for event, name, how in events(whole) if event == "began"}
    draw, killed = random.Random(0), 0
    for number in itertools.count():
        if killed >= KILLS:
            return
        root = tmp_path / str(number)
        root.mkdir()
        while studies.run(CONFIG, root, kill=moment(draw, seconds, count)) == [-signal.SIGKILL]:
            killed += 1
        assert studies.run(CONFIG, root) == [0], (root / "said.txt").read_text()
        assert written(root) == from_nothing(CONFIG)
        finished: set[tuple[str, str]] = set()
        for event, name, how in events(root):
            assert event != "began" or (name, how) not in finished
            if event == "kept":
                finished.add((name, how))
        assert {(name, how) for event, name, how in events(root) if event == "began"} == distinct


def moment(draw: random.Random, seconds: float, count: int) -> Kill:
    """Some time, or some run that is about to be trained or was kept."""
    return ("after", draw.uniform(0, seconds)) if draw.random() < 0.5 else ("at", draw.randint(1, count))


@pytest.mark.slow
def test_two_at_once_over_one_store_come_to_the_same(studies: Studies, from_nothing: FromNothing, tmp_path: Path) -> None:
    """Neither waits for the other: a run may be trained by both at the same moment, and by none a second time."""
    roots = [tmp_path / name for name in ("one", "other")]
    for root in roots:
        root.mkdir()
    config = Config(seeds="{least: 2, most: 4}")
    assert studies.run(config, *roots, store=tmp_path) == [0, 0], [(root / "said.txt").read_text() for root in roots]
    for root in roots:
        assert written(root) == from_nothing(config)
        assert set(Counter(json.dumps(event) for event in events(root)).values()) == {1}
    late = tmp_path / "late"
    late.mkdir()
    assert studies.run(config, late, store=tmp_path) == [0]
    assert written(late) == from_nothing(config)
    assert not (late / "trained.txt").exists() or not events(late)
