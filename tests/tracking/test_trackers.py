"""A stage tells MLflow while it trains: everything, or one warning."""

import errno
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config import terminal
from pipeline.problems.run import Block
from pipeline.runs import results
from pipeline.tracking import trackers as telling
from pipeline.tracking.recorder import SHOWN_AS
from pipeline.tracking.tracker import Places, Tracker
from pipeline.tracking.trackers import trackers
from tests.tracking.helpers import (
    EPOCHS,
    LABELS,
    contents,
    describe,
    rebuild,
    rows,
    statuses,
    train,
    train_live,
    without_origin,
)
from tests.waiting import until

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def committed() -> str:
    """The revision of a first commit in the working directory."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def test_the_run_of_the_second_stream_has_a_name_of_its_own(root: Path) -> None:
    _, runs, curves = train()
    both, all_curves = (pd.concat([t, t.assign(stream=2, run=t["run"] + "-2")]) for t in (runs, curves))
    results.write_runs("digits", "train", both, all_curves)
    rebuild()
    names = [f"{label}/default/{seed}{stream}" for label in LABELS for seed in range(2) for stream in ("", "/2")]
    assert sorted(contents()) == sorted(names)


def test_live_mirror_shows_everything_and_equals_the_rebuilt_one(
    root: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DVC_EXP_NAME", "longer")
    head = committed()
    train_live()
    live = contents()
    assert sorted(live) == sorted(f"{label}/default/{seed}" for label in LABELS for seed in range(2))
    run = live["StepLR/default/1"]
    assert run["status"] == "FINISHED"
    assert run["params"] == {
        "scheduler": "StepLR", "variant": "default", "seed": "1", "stream": "1", "lr": "0.5", "epochs": "6",
        "name": "StepLR", "interval": "epoch", "warmup": "0", "optimizer": "SGD", "optimizer.lr": "0.5",
        "optimizer.momentum": "0.9", "args.step_size": "30%", "args.gamma": "0.1",
        "resolved.step_size": "2", "resolved.gamma": "0.1",
    }  # fmt: skip
    expected = {"problem": "digits", "stage": "train", "seed": "1", "diverged": "false", "fingerprint": "digits-StepLR-1"}
    assert run["tags"].items() >= expected.items()
    assert set(run["metrics"]) == {*SHOWN_AS.values()} - {"schedule/momentum"}
    assert run["curves"]["loss/test"] == [(EPOCHS, 0.25, 1000 * EPOCHS)]
    losses = np.concatenate([block.train_loss for block in train()[0]])[:, 1].tolist()
    assert run["curves"]["loss/train"] == [(step, loss, 1000 * step) for step, loss in enumerate(losses, 1)]
    assert run["metrics"]["loss/train"] == losses[-1]
    assert run["datasets"] == [("digits", "0123456789abcdef", '{"uri": "data/digits.parquet"}')]
    assert run["tags"]["git"].removesuffix("-dirty") == run["tags"]["mlflow.source.git.commit"] == head
    assert run["tags"]["dvc_experiment"] == "longer"
    assert "rebuilt" not in run["tags"]
    assert not caplog.records

    monkeypatch.setenv("DVC_ROOT", str(root / "elsewhere"))
    (root / "elsewhere").mkdir()
    shutil.copy(empty_database, root / "elsewhere")
    rebuild()
    rebuilt = contents()
    assert without_origin(rebuilt) == without_origin(live)
    for run in rebuilt.values():  # by which code, the results do not say
        assert run["tags"]["rebuilt"] == "true"
        assert not {"git", "mlflow.source.git.commit", "dvc_experiment"} & set(run["tags"])


@pytest.mark.slow
def test_half_logged_runs_are_completed(written: Path, empty_database: Path) -> None:
    rebuild()
    whole = contents()
    shutil.copy(empty_database, written)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_train_until_killed, args=(written,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    until(lambda: statuses(written) == {"KILLED"}, "the mirror's process, which outlives the one it serves, says so")
    assert contents()["StepLR/default/0"]["curves"]["loss/train"] == whole["StepLR/default/0"]["curves"]["loss/train"][:2]
    rebuild()
    assert without_origin(contents()) == without_origin(whole)


def _train_until_killed(root: Path) -> None:
    os.chdir(root)
    with trackers() as told:
        told.begin("digits", "train", describe())
        told.log(list(range(4)), train()[0][0])
        until(lambda: rows(root)[1], "figures are written")
        os.kill(os.getpid(), signal.SIGKILL)


def _end_by(error: type[BaseException]) -> None:
    with trackers() as told:
        told.begin("digits", "train", describe())
        raise error


@pytest.mark.usefixtures("told_here")
def test_runs_of_a_failing_stage_are_marked(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError):
        _end_by(ZeroDivisionError)
    assert statuses(root) == {"FAILED"}
    assert not caplog.records


@pytest.mark.usefixtures("told_here")
def test_an_unreachable_server_costs_one_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{server}")
        train_live()
    [record] = [each for each in caplog.records if each.name.startswith("pipeline.")]
    assert record.levelno == logging.WARNING
    assert record.message.startswith("MLflow was not told everything: ")
    assert f" (MLFLOW_TRACKING_URI is http://me:***@{server}). No result" in record.message
    assert "`make mirror`" in record.message
    assert len(record.message.splitlines()) == 1
    assert len(results.read_runs("digits", "train")[0]) == len(describe())


def test_a_tracker_whose_process_cannot_begin_costs_one_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There may be no shared memory left, or no process to be had."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("multiprocessing.context.BaseContext.SimpleQueue", full)
        train_live()
    [record] = caplog.records
    assert "MLflow was not told everything: " in record.message
    assert "for lack of shared memory" in record.message
    assert len(results.read_runs("digits", "train")[0]) == len(describe())


@pytest.mark.usefixtures("told_here")
def test_an_interrupt_is_no_warning_of_trackers(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is one line, the stage's own: the next call tells them what they lack."""
    monkeypatch.setattr(telling, "made", lambda place: Tracker())
    monkeypatch.setattr(Tracker, "begin", lambda *_: 1 / 0)
    with pytest.raises(KeyboardInterrupt):
        _end_by(KeyboardInterrupt)
    assert not caplog.records


def test_a_mirror_that_hangs_is_given_up(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with trackers(patience=-len(describe()) - 1.0) as told:
        told.begin("digits", "train", describe())
    [record] = caplog.records
    assert "was not done" in record.message


@pytest.mark.usefixtures("told_here")
def test_what_is_done_at_once_is_told_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    class Noting(Tracker):
        def log(self, blocks: Sequence[tuple[Block, Places]]) -> None:
            told.extend(block.first_epoch for block, _ in blocks)

    monkeypatch.setattr(telling, "TRACKERS", {"noting": "noting"})
    monkeypatch.setattr(telling, "made", lambda place: Noting())
    with trackers() as shown:
        for block in train()[0]:
            shown.log([0], block)
    assert told == [1, 3, 5]
    assert not caplog.records


@pytest.mark.usefixtures("told_here")
def test_whoever_is_waited_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(terminal, "doing", said.append)
    monkeypatch.setattr(telling, "TRACKERS", dict.fromkeys(["MLflow", "Optuna's storage"], "any"))
    monkeypatch.setattr(telling, "made", lambda place: Tracker())
    with trackers():
        pass
    monkeypatch.setenv("PIPELINE_TRACKERS", "none")
    with trackers():
        pass
    assert said == ["waiting until MLflow and Optuna's storage know all of it"]
