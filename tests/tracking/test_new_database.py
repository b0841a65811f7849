"""A new database is whole or not there, and one that an earlier process left half made is told from all others."""

import contextlib
import logging
import sqlite3
from pathlib import Path

import pytest

from pipeline.tracking.connection import connect
from tests.tracking.helpers import contents, describe, rebuild

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
TABLES = "CREATE TABLE experiments (experiment_id INTEGER); CREATE TABLE alembic_version (version_num TEXT);"
BEGUN = ("CREATE TABLE metrics (run_uuid TEXT)", f"{TABLES} INSERT INTO alembic_version VALUES ('451aebb31d03')")


def execute(path: Path, script: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.mark.parametrize("script", [pytest.param(BEGUN[0], marks=pytest.mark.slow), BEGUN[1]])
def test_one_that_was_begun_is_set_aside_and_made_anew(script: str, written: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As a process leaves it that is killed in the seconds that MLflow takes for its tables."""
    path = written / "mlflow.db"
    path.unlink()
    execute(path, script)
    whole = path.read_bytes()
    rebuild()
    assert len(contents()) == len(describe())
    assert (written / "mlflow.db.broken").read_bytes() == whole
    assert [r.message for r in caplog.records if r.levelno >= logging.WARNING] == [
        f"{path} cannot be read; it is mlflow.db.broken now, and a new one takes its place"
    ]
    assert not (written / "mlflow.db.new").exists()


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE alembic_version SET version_num = 'another'",  # of another MLflow, and in use
        "CREATE TABLE studies (study_id INTEGER)",
    ],
)
def test_one_that_is_in_use_is_left_as_it_is(script: str, written: Path) -> None:
    rebuild()
    execute(written / "mlflow.db", script)
    before = (written / "mlflow.db").read_bytes()
    with contextlib.suppress(Exception):
        connect("digits")
    assert (written / "mlflow.db").read_bytes()[:100] == before[:100]
    assert not (written / "mlflow.db.broken").exists()


def test_another_mlflows_tables_are_told_with_what_to_do(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rebuild()
    (written / "mlflow.db").rename(written / "other.db")  # of a name that this process has not read yet
    execute(written / "other.db", "UPDATE alembic_version SET version_num = 'another'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    with pytest.raises(Exception, match=r"out-of-date database schema.*mlflow db upgrade"):
        connect("digits")


def test_a_killed_process_leaves_nothing_that_counts(written: Path) -> None:
    (written / "mlflow.db").unlink()
    execute(written / "mlflow.db.new", BEGUN[1])
    rebuild()
    assert len(contents()) == len(describe())
    assert not (written / "mlflow.db.new").exists()
