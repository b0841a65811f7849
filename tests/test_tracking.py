"""The MLflow mirror, on real SQLite stores."""

import contextlib
import json
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import results, stores, tracking
from pipeline.runs import CURVES, Block, History, Outcome

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

EPOCHS = 6
LABELS = ("StepLR", "CosineAnnealingLR")


def describe(problem: str = "digits") -> list[dict[str, Any]]:
    """Two schedulers on two seeds."""
    args: dict[str, dict[str, Any]] = {
        "StepLR": {"step_size": "30%", "gamma": 0.1},
        "CosineAnnealingLR": {"T_max": "100%"},
    }
    resolved = {"StepLR": {"step_size": 2, "gamma": 0.1}, "CosineAnnealingLR": {"T_max": 6, "eta_min": 0.0}}
    return [
        {
            "run": f"{problem}-{label}-{seed}", "variant": "default", "scheduler": label, "seed": seed, "epochs": EPOCHS,
            "lr": 0.5, "args": json.dumps(args[label]), "resolved": json.dumps(resolved[label]), "name": label,
            "interval": "epoch", "warmup": 0, "optimizer": json.dumps({"name": "SGD", "args": {"lr": 0.5, "momentum": 0.9}}),
            "dataset": "0123456789abcdef", "device": "cpu", "metric": "Accuracy",
        }
        for label in LABELS for seed in range(2)
    ]  # fmt: skip


def train(problem: str = "digits") -> tuple[list[Block], pd.DataFrame, pd.DataFrame]:
    """Blocks of two epochs, and the tables of runs and curves; momentum was not measured."""
    described = describe(problem)
    random = np.random.default_rng(0)
    curves = {name: random.random((EPOCHS, len(described))) for name in CURVES}
    curves["momentum"][:] = np.nan
    ones = np.ones(len(described))
    outcome = Outcome(initial_loss=ones, finite=ones > 0, test_loss=ones / 4, test_metric=ones / 2, weights={})
    history = History((), Block(first_epoch=1, **curves), outcome)
    blocks = [Block(first + 1, **{k: v[first : first + 2] for k, v in curves.items()}) for first in range(0, EPOCHS, 2)]
    return blocks, results.run_table(history, described), results.curve_table(history, described)


def train_live(problem: str = "digits") -> None:
    """What a stage does."""
    blocks, runs, curves = train(problem)
    with tracking.mirror(problem, "train", describe(problem)) as mirror:
        for block in blocks:
            mirror.log(block)
        results.write_runs(problem, "train", runs, curves)
        mirror.finish(runs)


def contents(problem: str = "digits") -> dict[str, dict[str, Any]]:
    """All that MLflow shows of a problem's runs, times and ids apart, by run name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking.tracking_uri())
    experiment = client.get_experiment_by_name(problem)
    assert experiment is not None
    found = list(client.search_runs([experiment.experiment_id]))
    shown = {
        str(run.info.run_name): {
            "status": run.info.status,
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": run.data.metrics,
            "curves": {
                name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
            "datasets": [(d.name, d.digest, d.source) for d in (given.dataset for given in run.inputs.dataset_inputs)],
        }
        for run in found
        if run.inputs is not None
    }
    assert len(shown) == len(found)  # no run twice
    return shown


def without_origin(shown: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The runs without the tags that say where they come from."""
    origin = {"git", "mlflow.source.git.commit", "dvc_experiment", "rebuilt"}
    return {
        name: run | {"tags": {tag: value for tag, value in run["tags"].items() if tag not in origin}}
        for name, run in shown.items()
    }


def committed() -> str:
    """The revision of a first commit in the working directory."""
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def rows(root: Path) -> list[Any]:
    """The database as it is."""
    connection = sqlite3.connect(root / "mlflow.db")
    found = [sorted(map(repr, connection.execute(f"SELECT * FROM {table}")))
             for table in ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets")]  # fmt: skip
    connection.close()
    return found


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for another process to bring something about."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def statuses(root: Path) -> set[str]:
    """What MLflow says of the runs."""
    connection = sqlite3.connect(root / "mlflow.db")
    found = {status for (status,) in connection.execute("SELECT status FROM runs")}
    connection.close()
    return found


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables, to be copied: creating them takes seconds."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_database: Path) -> Path:
    """An empty repository that is the working directory and holds a database without runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    shutil.copy(empty_database, tmp_path)
    return tmp_path


@pytest.fixture
def written(root: Path) -> Path:
    """The same, with the results of a stage."""
    results.write_runs("digits", "train", *train()[1:])
    return root


def test_live_mirror_shows_everything_and_equals_the_rebuilt_one(
    root: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "FLUSH_SECONDS", 0.01)
    monkeypatch.setenv("DVC_EXP_NAME", "longer")
    head = committed()
    train_live()
    live = contents()
    assert sorted(live) == sorted(f"{label}/default/{seed}" for label in LABELS for seed in range(2))
    run = live["StepLR/default/1"]
    assert run["status"] == "FINISHED"
    assert run["params"] == {
        "scheduler": "StepLR", "variant": "default", "seed": "1", "lr": "0.5", "epochs": "6", "name": "StepLR",
        "interval": "epoch", "warmup": "0", "optimizer": "SGD", "optimizer.lr": "0.5", "optimizer.momentum": "0.9",
        "args.step_size": "30%", "args.gamma": "0.1", "resolved.step_size": "2", "resolved.gamma": "0.1",
    }  # fmt: skip
    expected = {"problem": "digits", "stage": "train", "seed": "1", "diverged": "false", "fingerprint": "digits-StepLR-1"}
    assert run["tags"].items() >= expected.items()
    assert set(run["metrics"]) == {*CURVES, *tracking.FIGURES} - {"momentum"}
    assert run["curves"]["test_loss"] == [(EPOCHS, 0.25, 1000 * EPOCHS)]
    losses = np.concatenate([block.train_loss for block in train()[0]])[:, 1].tolist()
    assert run["curves"]["train_loss"] == [(step, loss, 1000 * step) for step, loss in enumerate(losses, 1)]
    assert run["metrics"]["train_loss"] == losses[-1]
    assert run["datasets"] == [("digits", "0123456789abcdef", '{"uri": "data/digits.parquet"}')]
    assert run["tags"]["git"].removesuffix("-dirty") == run["tags"]["mlflow.source.git.commit"] == head
    assert run["tags"]["dvc_experiment"] == "longer"
    assert "rebuilt" not in run["tags"]
    assert not caplog.records

    monkeypatch.setenv("DVC_ROOT", str(root / "elsewhere"))
    (root / "elsewhere").mkdir()
    shutil.copy(empty_database, root / "elsewhere")
    tracking.rebuild()
    rebuilt = contents()
    assert without_origin(rebuilt) == without_origin(live)
    for run in rebuilt.values():  # by which code, the results do not say
        assert run["tags"]["rebuilt"] == "true"
        assert not {"git", "mlflow.source.git.commit", "dvc_experiment"} & set(run["tags"])


def test_the_same_results_again_change_nothing(written: Path) -> None:
    tracking.rebuild()
    before = rows(written)
    tracking.rebuild()
    assert rows(written) == before


def named_rows(database: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows that have to do with runs, with names in place of ids and without what a clock says."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        names = dict(connection.execute("SELECT run_uuid, name FROM runs").fetchall())
        names |= dict(connection.execute("SELECT dataset_uuid, name FROM datasets").fetchall())
        inputs = connection.execute("SELECT input_uuid, destination_id FROM inputs").fetchall()
        names |= {given: f"input of {names[run]}" for given, run in inputs}

        def named(value: Any) -> Any:
            for key, name in names.items():
                value = value.replace(key, name) if isinstance(value, str) else value
            return value

        found = {}
        for table in ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "input_tags", "datasets"):
            cursor = connection.execute(f"SELECT * FROM {table}")
            columns = [column for column, *_ in cursor.description]
            rows = [dict(zip(columns, map(named, row), strict=True)) for row in cursor]
            for row in rows if table == "runs" else []:
                row["start_time"], row["end_time"] = row["start_time"] > 0, row["end_time"] >= row["start_time"]
            found[table] = sorted(rows, key=repr)
        return found


def test_runs_are_written_as_mlflow_writes_them(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows put straight into SQLite are MLflow's own, which a URI that names its driver goes through."""
    runs, curves = results.read_runs("digits", "train")
    runs.loc[runs["seed"] == 1, "diverged"] = True
    results.write_runs("digits", "train", runs, curves)
    shutil.copy(written / "mlflow.db", written / "other.db")
    tracking.rebuild()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite+pysqlite:///{written}/other.db")
    tracking.rebuild()
    inserted, own = named_rows(written / "mlflow.db"), named_rows(written / "other.db")
    assert len(inserted["runs"]) == len(inserted["inputs"]) == 4
    assert inserted == own


def test_points_are_written_as_mlflow_writes_them(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows put straight into SQLite are those of ``log_batch``, which a URI that names its driver goes through."""
    runs, curves = results.read_runs("digits", "train")
    curves.loc[curves["epoch"] == EPOCHS, "train_loss"] = np.nan
    curves.loc[curves["epoch"] == 2, "validation_loss"] = np.inf
    results.write_runs("digits", "train", runs, curves)
    tracking.rebuild()
    shutil.copy(written / "mlflow.db", written / "other.db")
    connection = sqlite3.connect(written / "other.db")
    connection.executescript("UPDATE runs SET status = 'KILLED'; DELETE FROM metrics; DELETE FROM latest_metrics;")
    connection.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite+pysqlite:///{written}/other.db")
    tracking.rebuild()
    inserted = rows(written)
    shutil.copy(written / "other.db", written / "mlflow.db")
    assert rows(written)[1:] == inserted[1:]


def test_half_logged_runs_are_completed(written: Path, empty_database: Path) -> None:
    tracking.rebuild()
    whole = contents()
    shutil.copy(empty_database, written)
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_train_until_killed, args=(written,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    wait_for(lambda: statuses(written) == {"KILLED"})  # the mirror's process outlives the one it serves
    assert contents()["StepLR/default/0"]["curves"]["train_loss"] == whole["StepLR/default/0"]["curves"]["train_loss"][:2]
    tracking.rebuild()
    assert without_origin(contents()) == without_origin(whole)


def _train_until_killed(root: Path) -> None:
    os.chdir(root)
    with tracking.mirror("digits", "train", describe()) as mirror:
        mirror.log(train()[0][0])
        wait_for(lambda: len(rows(root)[1]) > 0)
        os.kill(os.getpid(), signal.SIGKILL)


def test_runs_of_a_failing_stage_are_marked(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ZeroDivisionError), tracking.mirror("digits", "train", describe()):
        _ = 1 / 0
    assert statuses(root) == {"FAILED"}
    assert not caplog.records


def test_diverged_runs_are_finished_and_tagged(root: Path) -> None:
    _, runs, curves = train()
    chosen = runs["run"] == "digits-StepLR-1"
    runs.loc[chosen, ["diverged", "train_loss", "test_loss"]] = [True, np.nan, np.nan]
    late = (curves["run"] == "digits-StepLR-1") & (curves["epoch"] > 2)
    curves.loc[late, ["train_loss", "validation_loss"]] = [np.nan, np.inf]
    results.write_runs("digits", "train", runs, curves)
    tracking.rebuild()
    shown = contents()
    run = shown["StepLR/default/1"]
    assert (run["status"], run["tags"]["diverged"]) == ("FINISHED", "true")
    for name in ("train_loss", "validation_loss"):
        values = [value for _, value, _ in run["curves"][name]]
        assert np.isfinite(values[:2]).all()
        assert np.isnan(values[2:]).all()
    assert np.isnan(run["metrics"]["test_loss"])
    assert shown["StepLR/default/0"]["tags"]["diverged"] == "false"


def test_an_unreachable_server_costs_one_warning(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused.getsockname()[1]}")
        start = time.monotonic()
        train_live()
        assert time.monotonic() - start < 30
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "digits, train" in record.message
    assert "`make mirror`" in record.message
    assert len(record.message.splitlines()) == 1
    assert len(results.read_runs("digits", "train")[0]) == len(describe())


def test_a_mirror_that_hangs_is_given_up(root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", -len(describe()) + 0.2)
    with tracking.mirror("digits", "train", describe()):
        pass
    [record] = caplog.records
    assert "was not done" in record.message


def no_database(path: Path) -> None:
    path.write_text("no database, and long enough to tell")


def a_damaged_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 * 2 : 4096 * 6] = b"?" * 4096 * 4
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [no_database, a_damaged_page])
def test_a_broken_database_is_set_aside_and_rebuilt(
    spoil: Callable[[Path], None],
    written: Path,
    empty_database: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(written / "mlflow.db")
    broken = (written / "mlflow.db").read_bytes()
    (written / "mlflow.db-journal").write_bytes(b"of the old one")

    def set_aside(store: Path) -> None:
        stores.set_aside(store)
        shutil.copy(empty_database, store)  # MLflow would take seconds for its tables

    monkeypatch.setattr(tracking, "set_aside", set_aside)
    monkeypatch.setattr("sys.argv", ["tracking"])
    tracking.main()
    assert len(contents()) == len(describe())
    assert statuses(written) == {"FINISHED"}
    assert (written / "mlflow.db.broken").read_bytes() == broken
    assert not (written / "mlflow.db-journal").exists()
    [said] = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == f"{written}/mlflow.db cannot be read; it is mlflow.db.broken now, and a new one takes its place"


def test_a_store_that_cannot_be_rebuilt_is_told_in_a_line(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (written / "mlflow.db").unlink()
    (written / "mlflow.db").mkdir()
    monkeypatch.setattr("sys.argv", ["tracking"])
    with pytest.raises(SystemExit, match=r"not be rebuilt: OperationalError: unable to open database file$"):
        tracking.main()


def test_a_deleted_experiment_is_mirrored_anew(written: Path) -> None:
    from mlflow import MlflowClient

    tracking.rebuild()
    client = MlflowClient(tracking_uri=tracking.tracking_uri())
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    assert experiment.artifact_location == (written / "mlartifacts/digits").as_uri()
    client.delete_experiment(experiment.experiment_id)
    tracking.rebuild()
    assert len(contents()) == len(describe())


def test_the_report_is_a_run_that_links_its_inputs(written: Path) -> None:
    """Once, however often the same is published; the links lead to runs that MLflow has."""
    from mlflow import MlflowClient

    tracking.rebuild()
    (written / "reports/best").mkdir(parents=True)
    (written / "reports/report.html").write_text("<p>verdict</p>")
    (written / "reports/best/digits.py").write_text("print()")
    for _ in range(2):
        tracking.Publication([("digits", "train"), ("nowhere", "train")]).publish(results.REPORTS)
    client = MlflowClient(tracking_uri=tracking.tracking_uri())
    experiment = client.get_experiment_by_name("report")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert names == {"inputs.json", "report.html", "best"}
    inputs = json.loads(Path(client.download_artifacts(run.info.run_id, "inputs.json")).read_text())
    digits = client.get_experiment_by_name("digits")
    assert digits is not None
    assert set(inputs.values()) == {found.info.run_id for found in client.search_runs([digits.experiment_id])}
    assert set(inputs) == {row["run"] for row in describe()}
    note = run.data.tags["mlflow.note.content"]
    assert f"[digits, train: {len(inputs)} runs](#/experiments/{digits.experiment_id}/runs?" in note
    (written / "reports/report.html").write_text("<p>another verdict</p>")
    tracking.rebuild()
    assert len(client.search_runs([experiment.experiment_id])) == 2


def test_a_report_that_cannot_be_published_is_one_warning(
    written: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (written / "mlflow.db").write_text("no database, and long enough to tell")
    (written / "reports").mkdir()
    tracking.Publication([("digits", "train")]).publish(results.REPORTS)
    (warning,) = caplog.messages
    assert warning.startswith("The report is not in MLflow: ")
    assert "`make mirror` tries again" in warning
    assert len(warning.splitlines()) == 1


def test_two_processes_may_start_on_a_fresh_database(root: Path) -> None:
    (root / "mlflow.db").unlink()
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_rebuild, args=(root, problem)) for problem in ("digits", "synthetic")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(contents("digits")) == len(contents("synthetic")) == len(describe())


def _rebuild(root: Path, problem: str) -> None:
    os.environ["DVC_ROOT"] = str(root)
    (root / problem).mkdir()
    os.chdir(root / problem)
    results.write_runs(problem, "train", *train(problem)[1:])
    tracking.rebuild()


def test_where_the_mirror_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking.tracking_uri() == f"sqlite:///{root}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/repository")  # in the copy that `dvc exp run --temp` works in
    assert tracking.tracking_uri() == "sqlite:////repository/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    assert tracking.tracking_uri() == "sqlite:////repository/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert tracking.tracking_uri() == "http://localhost:5000"
