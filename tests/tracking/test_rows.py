"""The rows put straight into SQLite are those that MLflow writes."""

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.runs import results
from pipeline.tracking import connection
from pipeline.tracking.connection import connect
from pipeline.tracking.rows import SqliteStore, Store
from tests.tracking.helpers import EPOCHS, rebuild, rows

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


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


def rebuilt_both_ways(written: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows put straight into SQLite, and MLflow's own, which a URI that names its driver goes through."""
    shutil.copy(written / "mlflow.db", written / "other.db")
    rebuild()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite+pysqlite:///{written}/other.db")
    rebuild()
    return named_rows(written / "mlflow.db"), named_rows(written / "other.db")


def test_runs_are_written_as_mlflow_writes_them(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows put straight into SQLite are MLflow's own, which a URI that names its driver goes through."""
    runs, curves = results.read_runs("digits", "train")
    runs.loc[runs["seed"] == 1, "diverged"] = True
    results.write_runs("digits", "train", runs, curves)
    inserted, own = rebuilt_both_ways(written, monkeypatch)
    assert len(inserted["runs"]) == len(inserted["inputs"]) == 4
    assert inserted == own


def test_arguments_longer_than_mlflow_takes_are_cut(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would refuse the run; results/ has them whole."""
    runs, curves = results.read_runs("digits", "train")
    runs["args"] = json.dumps({"milestones": [f"{share / 100}%" for share in range(2000)], "gamma": 0.1})
    results.write_runs("digits", "train", runs, curves)
    inserted, own = rebuilt_both_ways(written, monkeypatch)
    values = {row["value"] for row in inserted["params"] if row["key"] == "args.milestones"}
    assert {len(value) for value in values} == {6000}
    assert inserted == own


def test_tables_of_another_version_are_left_to_mlflow(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(connect("digits")[2], SqliteStore)
    monkeypatch.setattr(connection, "REVISION", "another")
    assert not isinstance(connect("digits")[2], SqliteStore)


def test_a_column_that_nobody_fills_is_no_point_that_is_there_already(written: Path) -> None:
    """What MLflow's tables ask for and we do not give fails aloud: the curves would be missing without a word."""
    rebuild()
    with contextlib.closing(sqlite3.connect(written / "mlflow.db")) as database, database:
        database.execute("ALTER TABLE metrics RENAME TO old")
        database.execute(
            "CREATE TABLE metrics (key, value, timestamp, run_uuid, step, is_nan, more INTEGER NOT NULL, "
            "PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan))"
        )
    client, experiment, store = connect("digits")
    (run, *_) = client.search_runs([experiment])
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        store.log([(run.info.run_id, [("loss", 1.0, 99)])])


def test_points_are_written_as_mlflow_writes_them(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows put straight into SQLite are those of ``log_batch``, which a URI that names its driver goes through."""
    runs, curves = results.read_runs("digits", "train")
    curves.loc[curves["epoch"] == EPOCHS, "train_loss"] = np.nan
    curves.loc[curves["epoch"] == 2, "validation_loss"] = np.inf
    results.write_runs("digits", "train", runs, curves)
    rebuild()
    shutil.copy(written / "mlflow.db", written / "other.db")
    connection = sqlite3.connect(written / "other.db")
    connection.executescript("UPDATE runs SET status = 'KILLED'; DELETE FROM metrics; DELETE FROM latest_metrics;")
    connection.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite+pysqlite:///{written}/other.db")
    rebuild()
    inserted = rows(written)
    shutil.copy(written / "other.db", written / "mlflow.db")
    assert rows(written)[1:] == inserted[1:]


def test_the_runs_that_are_there_are_those_that_mlflow_finds(written: Path) -> None:
    """Without those that were deleted; of two with the same fingerprint, the finished one."""
    rebuild()
    client, experiment, store = connect("digits")
    one, other, *_ = client.search_runs([experiment], "tags.stage = 'train'")
    client.delete_run(one.info.run_id)
    name = other.data.tags["fingerprint"]
    for status in ("KILLED", "RUNNING"):
        again = client.create_run(experiment, tags={"stage": "train", "fingerprint": name})
        client.set_terminated(again.info.run_id, status)
    known = store.known(experiment, "train")
    assert known == Store(client).known(experiment, "train")
    assert known[name] == (other.info.run_id, True)
    assert len(known) == 3
    assert not store.known(experiment, "tune")
