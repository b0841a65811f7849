"""The mirror in Optuna's own storage: complete, never doubled, and of no consequence where it fails."""

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.pool import NullPool

from pipeline.tracking.messages import TrackerError
from pipeline.tracking.optuna_tracker import OptunaTracker, drop_torn_line, location, write
from tests.repeated import few
from tests.search import helpers
from tests.waiting import until

LABELS = ("StepLR", "ReduceLROnPlateau", "ConstantLR")
STUDIES = [f"tiny/{label}/{seed}" for label in LABELS for seed in range(2)]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the stage ran."""
    root = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("OPTUNA_STORAGE", raising=False)
        helpers.run_tune()
    return root


@pytest.fixture
def trials(tuned: Path) -> pd.DataFrame:
    return pd.read_parquet(tuned / "results/tiny/tune/trials.parquet")


def load(root: Path, name: str = "tiny/StepLR/0") -> optuna.Study:
    """As a user does it."""
    return optuna.load_study(study_name=name, storage=JournalStorage(JournalFileBackend(str(root / "optuna.journal"))))


def rebuild() -> list[str]:
    """What ``make mirror`` does for Optuna's storage."""
    return list(OptunaTracker().rebuild())


def count(root: Path) -> dict[str, int]:
    return {name: len(trials) for name, (_, trials) in helpers.journal(root).items()}


# What is there


@pytest.fixture
def root(tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tuned study, to work in."""
    root = tmp_path / "copy"
    shutil.copytree(tuned, root)
    monkeypatch.chdir(root)
    return root


def test_every_trial_of_the_table_is_there_once(tuned: Path, trials: pd.DataFrame) -> None:
    found = helpers.journal(tuned)
    assert list(found) == STUDIES
    for name, (_, stored) in found.items():
        rows = trials[trials["study"] == name]
        values = [None if np.isnan(value) else value for value in rows["value"]]
        assert [(t[0], t[1], t[2]) for t in stored] == list(zip(rows["number"], rows["state"], values, strict=True))
        assert [t[3] for t in stored] == [json.loads(params) for params in rows["params"]]
        assert [t[5] for t in stored] == [
            {"lr": lr, "args": json.loads(args)} for lr, args in zip(rows["lr"], rows["args"], strict=True)
        ]


def test_a_study_says_what_it_is(tuned: Path, trials: pd.DataFrame) -> None:
    for name, (attributes, _) in helpers.journal(tuned).items():
        _, label, seed = name.split("/")
        fingerprint = trials.loc[trials["study"] == name, "fingerprint"].iloc[0]
        expected = {"problem": "tiny", "scheduler": label, "seed": int(seed), "fingerprint": fingerprint, "sampler": "tpe"}
        assert attributes == expected


def test_optunas_own_tools_work_on_it(tuned: Path, trials: pd.DataFrame) -> None:
    study = load(tuned)
    rows = trials[trials["study"] == "tiny/StepLR/0"]
    assert study.best_value == rows["value"].min()
    assert study.best_trial.number == rows["number"].to_numpy()[rows["value"].argmin()]
    frame = study.trials_dataframe()
    assert frame["params_lr %"].tolist() == [json.loads(p)["lr %"] for p in rows["params"]]
    assert set(frame["state"]) == set(rows["state"])
    importances = optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))
    assert set(importances) == {"lr %", "step_size %", "gamma"}
    assert sum(importances.values()) == pytest.approx(1)


def test_optunas_figures_can_be_drawn_of_it(tuned: Path) -> None:
    study = load(tuned)
    complete = [trial for trial in study.trials if trial.value is not None]
    history = optuna.visualization.plot_optimization_history(study)
    assert len(history.data[0].y) == len(complete)
    assert len(optuna.visualization.plot_slice(study).data) == 3
    assert optuna.visualization.plot_contour(study, params=["lr %", "gamma"]).data


def test_optunas_command_line_lists_it(tuned: Path) -> None:
    command = [str(Path(sys.executable).parent / "optuna"), "--storage", "optuna.journal", "studies", "--format", "json"]
    done = subprocess.run(command, cwd=tuned, capture_output=True, text=True, check=True)
    assert {study["name"]: study["n_trials"] for study in json.loads(done.stdout)} == dict.fromkeys(STUDIES, 12)


def test_whole_rounds_appear_during_the_search(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, int]] = []
    show = OptunaTracker.show_trials

    def watched(self: OptunaTracker, trials: pd.DataFrame, *, is_all: bool) -> None:
        show(self, trials, is_all=is_all)
        seen.append(count(here))

    monkeypatch.setattr(OptunaTracker, "show_trials", watched)
    helpers.run_tune()
    assert seen == [dict.fromkeys(STUDIES, number) for number in (4, 8, 12, 12)]


def test_a_second_run_adds_nothing(root: Path) -> None:
    before = (root / "optuna.journal").read_bytes()
    helpers.run_tune()
    assert (root / "optuna.journal").read_bytes() == before


def test_a_changed_study_is_replaced_and_the_others_are_left(root: Path) -> None:
    before = helpers.journal(root)
    helpers.run_tune(("gamma: 0.1}}", "gamma: 0.2}}"))
    after = helpers.journal(root)
    assert set(after) == set(before)
    for name in STUDIES:
        assert (after[name] == before[name]) == ("StepLR" not in name)
        assert len(after[name][1]) == 12
    helpers.run_tune(("trials: 12, batch: 4", "trials: 4, batch: 4"))
    assert set(count(root).values()) == {4}


def test_what_a_user_adds_to_a_study_stays(tuned: Path, here: Path, trials: pd.DataFrame) -> None:
    write(trials)
    load(here).set_user_attr("note", "the one for the paper")
    write(trials)
    assert load(here).user_attrs["note"] == "the one for the paper"


def report(root: Path, verdict: str) -> None:
    """What a report has of the problem, of which a note is made."""
    answer = {"problem": "tiny", "variant": "tuned", "scheduler": "StepLR", "titled": [("use", f"StepLR, {verdict}")]}
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports/answer.json").write_text(json.dumps({"problems": [answer]}), encoding="utf-8")
    row = {"problem": "tiny", "variant": "tuned", "in_set": True, "regret": 0.01, "regret_bound": 0.0194, "verdict": "better"}
    table = pd.DataFrame([{**row, "scheduler": label} for label in LABELS])
    table.to_csv(root / "reports/comparison.csv", index=False)


def note(study: optuna.Study) -> str:
    """As the dashboard shows it."""
    from optuna_dashboard._note import get_note_from_system_attrs  # type: ignore[import-untyped]

    attributes = study._storage.get_study_system_attrs(study._study_id)
    return str(get_note_from_system_attrs(attributes, None)["body"])


def test_each_study_has_a_note_with_its_verdict_and_the_way_to_the_report(root: Path) -> None:
    before = helpers.journal(root)
    for verdict in ("peak rate 0.1", "peak rate 0.2"):
        report(root, verdict)
        OptunaTracker().publish(Path("reports"), [("tiny", "tune"), ("tiny", "train")], {})
        for name in STUDIES:
            told = note(load(root, name))
            assert f"StepLR, {verdict}" in told
            assert (
                "may be the best; about 1.0% more loss than the lowest mean, 2.0% at the most; against the baseline: better"
                in told
            )
            assert (root / "reports/report.html").as_uri() in told
    assert note(load(root, STUDIES[0])).startswith("**StepLR is what to use for tiny.**")
    assert helpers.journal(root) == before  # of the studies themselves nothing changes
    content = (root / "optuna.journal").read_bytes()
    OptunaTracker().publish(Path("reports"), [("tiny", "tune")], {})
    assert (root / "optuna.journal").read_bytes() == content


def test_a_note_of_somebodys_own_stays(root: Path) -> None:
    from optuna_dashboard import save_note  # type: ignore[import-untyped]

    report(root, "peak rate 0.1")
    save_note(load(root), "the one for the paper")
    OptunaTracker().publish(Path("reports"), [("tiny", "tune")], {})
    assert note(load(root)) == "the one for the paper"
    assert "What to use for tiny is **StepLR**" in note(load(root, "tiny/ConstantLR/1"))


# Rebuilding


def test_a_deleted_storage_is_rebuilt_from_the_results(tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "copy"
    shutil.copytree(tuned, root)
    before = helpers.journal(root)
    (root / "optuna.journal").unlink()
    monkeypatch.chdir(root)
    rebuild()
    assert helpers.journal(root) == before
    content = (root / "optuna.journal").read_bytes()
    rebuild()
    assert (root / "optuna.journal").read_bytes() == content


def not_json(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], b"not JSON\n", *lines[5:]]


def without_meaning(lines: list[bytes]) -> list[bytes]:
    return [*lines[:5], b"{}\n", *lines[5:]]


def spoilt_at_its_end(lines: list[bytes]) -> list[bytes]:
    return [*lines, b"not JSON\n"]


@pytest.mark.parametrize("spoil", [not_json, without_meaning, spoilt_at_its_end])
def test_a_journal_that_cannot_be_read_is_set_aside_and_rebuilt(
    spoil: Callable[[list[bytes]], list[bytes]],
    tuned: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(tuned / "results", here / "results")
    broken = b"".join(spoil((tuned / "optuna.journal").read_bytes().splitlines(keepends=True)))
    (here / "optuna.journal").write_bytes(broken)
    rebuild()
    assert helpers.journal(here) == helpers.journal(tuned)
    assert (here / "optuna.journal.broken").read_bytes() == broken
    [said] = caplog.messages
    assert said.endswith("optuna.journal cannot be read; it is optuna.journal.broken now, and a new one takes its place")


def test_what_is_no_file_is_left_alone(tuned: Path, here: Path) -> None:
    shutil.copytree(tuned / "results", here / "results")
    (here / "optuna.journal").mkdir()
    with pytest.raises(TrackerError, match="IsADirectoryError"):
        rebuild()
    assert (here / "optuna.journal").is_dir()


def test_a_storage_that_cannot_be_rebuilt_is_told_in_a_line(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    monkeypatch.setenv("OPTUNA_STORAGE", "nosuch://user:secret@host/db")
    with pytest.raises(TrackerError) as failed:
        rebuild()
    told = str(failed.value)
    assert told.startswith("nosuch://user:***@host/db: ")
    assert "\n" not in told


def test_sqlite_holds_the_same(tuned: Path, here: Path, trials: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{here}/deep/studies.db"
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    rows = trials[(trials["number"] < 4) & (trials["scheduler"] == "StepLR")]
    for part in (rows[rows["number"] < 2], rows, rows):
        write(part)
    database = RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    found = helpers.shown(database)
    expected = {
        name: (attributes, stored[:4]) for name, (attributes, stored) in helpers.journal(tuned).items() if "StepLR" in name
    }
    assert found == expected


def test_the_journal_lies_at_the_repositorys_root(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert location() == str(here.resolve() / "optuna.journal")
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert location() == "/somewhere/optuna.journal"
    monkeypatch.setenv("OPTUNA_STORAGE", "other.journal")
    assert location() == "/somewhere/other.journal"
    monkeypatch.setenv("OPTUNA_STORAGE", "sqlite:////a/b.db")
    assert location() == "sqlite:////a/b.db"


# Failing


def corrupted(tuned: Path, root: Path) -> str:
    (root / "optuna.journal").write_bytes(b"".join(not_json((tuned / "optuna.journal").read_bytes().splitlines(keepends=True))))
    return ""


def a_folder(tuned: Path, root: Path) -> str:
    (root / "optuna.journal").mkdir()
    return ""


def below_a_file(tuned: Path, root: Path) -> str:
    (root / "file").touch()
    return str(root / "file" / "optuna.journal")


BROKEN: dict[str, Callable[[Path, Path], str]] = {
    "a corrupted journal": corrupted,
    "a folder in its place": a_folder,
    "a directory that cannot be": below_a_file,
    "an unknown database": lambda _, root: "nosuch://host/db",
    "a driver that is not installed": lambda _, root: "postgresql://user:secret@host/db",
    "a database that cannot be created": lambda _, root: f"sqlite:///{root}/params.yaml/x.db",
    "a file that is no database": lambda _, root: f"sqlite:///{root}/params.yaml",
}


@pytest.mark.parametrize("case", few(BROKEN, "a corrupted journal", "a driver that is not installed"))
def test_a_storage_that_fails_is_one_warning_and_no_result(
    case: str, tuned: Path, here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    helpers.problem()
    monkeypatch.setenv("OPTUNA_STORAGE", BROKEN[case](tuned, here))
    helpers.run_tune()
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(told) == 1
    assert told[0].startswith("Optuna's storage was not told everything: ")
    assert "No result depends on it" in told[0]
    assert "`make mirror` rebuilds it" in told[0]
    assert "secret" not in told[0]
    assert len(told[0].splitlines()) == 1
    assert helpers.contents(here) == helpers.contents(tuned)


def test_a_storage_that_fails_midway(
    tuned: Path, here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had stays readable, what it lacks comes with the next writing."""
    calls = iter(range(100))
    append = JournalFileBackend.append_logs

    def full(self: JournalFileBackend, logs: list[dict[str, Any]]) -> None:
        if next(calls) >= 60:
            raise OSError(28, "No space left on device")
        append(self, logs)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFileBackend, "append_logs", full)
        helpers.run_tune()
    assert len(caplog.records) == 1
    assert "OSError: [Errno 28] No space left on device" in caplog.text
    assert helpers.contents(here) == helpers.contents(tuned)
    assert 0 < sum(count(here).values()) < 12 * len(STUDIES)
    rebuild()
    assert helpers.journal(here) == helpers.journal(tuned)


# The journal's file


def test_a_journal_torn_anywhere_is_made_whole(tuned: Path, here: Path, trials: pd.DataFrame) -> None:
    whole = (tuned / "optuna.journal").read_bytes()
    expected = helpers.journal(tuned)
    for cut in [0, 1, len(whole) - 1, *np.random.default_rng(0).integers(2, len(whole), 12).tolist()]:
        (here / "optuna.journal").write_bytes(whole[:cut])
        write(trials)
        assert helpers.journal(here) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"{", b""), (b"{}\n", b"{}\n"), (b"{}\n{", b"{}\n"), (b"{}\n{}", b"{}\n"), (b"{}\n\n{", b"{}\n\n")],
)
def test_only_the_torn_line_is_cut_off(before: bytes, after: bytes, here: Path) -> None:
    (here / "journal").write_bytes(before)
    drop_torn_line(here / "journal")
    assert (here / "journal").read_bytes() == after


def test_the_lock_of_a_killed_writer_is_taken_over(tuned: Path, here: Path, trials: pd.DataFrame) -> None:
    """After the 3 s that Optuna advises at least; also where the journal itself was never begun or was deleted."""
    (here / "optuna.journal.lock").symlink_to(here / "optuna.journal")
    begun = time.monotonic()
    write(trials)
    assert time.monotonic() - begun > 2.5
    assert not (here / "optuna.journal.lock").is_symlink()
    assert helpers.journal(here) == helpers.journal(tuned)


def test_a_failed_write_leaves_the_journal_and_frees_its_lock(here: Path, trials: pd.DataFrame) -> None:
    write(trials[trials["seed"] == 0])
    before = (here / "optuna.journal").read_bytes()
    broken = trials.assign(distributions="{")
    with pytest.raises(json.JSONDecodeError):
        write(broken)
    assert (here / "optuna.journal").read_bytes() == before
    write(trials)
    assert len(helpers.journal(here)) == 6


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# One process, round after round


def add_by_hand(here: Path) -> None:
    load(here).add_trial(optuna.trial.create_trial(value=0.0))


def delete_by_hand(here: Path) -> None:
    optuna.delete_study(study_name="tiny/StepLR/0", storage=JournalStorage(JournalFileBackend(str(here / "optuna.journal"))))


def lose(here: Path) -> None:
    (here / "optuna.journal").unlink()


def tear(here: Path) -> None:
    path = here / "optuna.journal"
    path.write_bytes(path.read_bytes()[:-10])


def begin_anew(here: Path) -> None:
    """The same file, as long as before, of other studies."""
    path = here / "optuna.journal"
    path.write_bytes(path.read_bytes().replace(b"tiny/", b"tidy/"))


@pytest.mark.parametrize("meddle", [add_by_hand, delete_by_hand, lose, tear, begin_anew])
def test_what_others_do_to_the_journal_between_two_rounds_is_seen(
    meddle: Callable[[Path], None], here: Path, trials: pd.DataFrame
) -> None:
    write(trials[trials["number"] < 8])
    meddle(here)
    write(trials)
    found = helpers.journal(here)
    assert set(STUDIES) <= set(found)
    for name in STUDIES:
        rows = trials[trials["study"] == name]
        stored = found[name][1]
        if meddle is not add_by_hand or name != "tiny/StepLR/0":
            assert [trial[0] for trial in stored] == rows["number"].tolist()
            assert [trial[3] for trial in stored] == [json.loads(params) for params in rows["params"]]


# Several processes


def write_by_rounds(rows: pd.DataFrame, together: Any) -> None:
    together.wait()
    for number in range(4, 13, 4):
        write(rows[rows["number"] < number])


@pytest.mark.parametrize("kind", few(["journal", "sqlite"], "journal"))
def test_writers_at_once_each_write_everything_once(
    kind: str, here: Path, trials: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two problems' searches share a storage that neither has seen."""
    where = str(here / "journal") if kind == "journal" else f"sqlite:///{here}/studies.db"
    monkeypatch.setenv("OPTUNA_STORAGE", where)
    rows = trials[(trials["seed"] == 0) & (trials["scheduler"] != "StepLR")]
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(2)
    writers = [processes.Process(target=write_by_rounds, args=(renamed(rows, name), together)) for name in ("p", "q")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    if kind == "journal":
        found = helpers.shown(JournalStorage(JournalFileBackend(where)))
    else:
        found = helpers.shown(RDBStorage(where, engine_kwargs={"poolclass": NullPool}))
    assert {name: [t[0] for t in stored] for name, (_, stored) in found.items()} == {
        f"{problem}/{label}/0": list(range(12)) for problem in ("p", "q") for label in LABELS[1:]
    }


def renamed(rows: pd.DataFrame, problem: str) -> pd.DataFrame:
    return rows.assign(study=rows["study"].str.replace("tiny", problem))


@pytest.fixture
def dashboard(tuned: Path) -> Iterator[str]:
    """optuna-dashboard on the journal, as ``make ui`` starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(sys.executable).parent / "optuna-dashboard"),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "optuna.journal",
    ]
    process = subprocess.Popen(
        command, cwd=tuned, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )  # fmt: skip
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def ask(url: str) -> Any:
    def answer() -> Any:
        with contextlib.suppress(OSError), urllib.request.urlopen(url) as response:
            return json.load(response)

    return until(answer, "the dashboard answers")


@pytest.mark.slow
def test_the_dashboard_shows_every_study_and_trial(dashboard: str, trials: pd.DataFrame) -> None:
    studies = {study["study_name"]: study for study in ask(f"{dashboard}/api/studies")["study_summaries"]}
    assert sorted(studies) == sorted(STUDIES)
    for name, study in studies.items():
        rows = trials[trials["study"] == name]
        detail = ask(f"{dashboard}/api/studies/{study['study_id']}?after=0")
        shown = [(t["number"], t["state"], t.get("values")) for t in detail["trials"]]
        values = [None if np.isnan(value) else [value] for value in rows["value"]]
        told = [(n, s.capitalize(), v) for n, s, v in zip(rows["number"], rows["state"], values, strict=True)]
        assert shown == told
        attributes = {attribute["key"]: attribute["value"] for attribute in study["user_attrs"]}
        assert attributes["scheduler"].strip('"') == name.split("/")[1]
