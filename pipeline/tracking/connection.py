"""Where the mirror is, and how one gets there."""

import contextlib
import importlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import locks
from pipeline.config.files import store_root
from pipeline.config.locks import alone, is_broken_database
from pipeline.tracking.databases import is_database, reached
from pipeline.tracking.rows import LOCK_SECONDS, REVISION, SqliteStore, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""A server that is not there should fail in seconds; MLflow's own defaults try for minutes."""


KIND = {"mlflow.experimentKind": "custom_model_development"}
"""What MLflow's pages are to show of an experiment: training runs, not traces of language models."""


def tracking_uri() -> str:
    """``MLFLOW_TRACKING_URI``, or the SQLite file ``mlflow.db`` at the root, where a relative one is looked for too."""
    given = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    scheme, separator, path = given.partition(":///")
    return f"sqlite:///{store_root() / path}" if separator and scheme == "sqlite" else given


def connect(problem: str) -> tuple["MlflowClient", str, "Store"]:
    """A client, the id of the problem's experiment, and the quickest way to write runs there."""
    import_mlflow()
    uri, file = tracking_uri(), database()
    if file is None:
        with reached(uri, "MLflow") if is_database(uri) else contextlib.nullcontext():
            client, experiment = _client_and_experiment(uri, problem)
        return client, experiment, Store(client)
    with alone(file):  # of two processes that create the tables at once, one would crash
        _make(file)
        _check(file)
        client, experiment = _client_and_experiment(uri, problem)
    return client, experiment, SqliteStore(client, file) if _revision(file) == REVISION else Store(client)


def _make(database: Path) -> None:
    """Make a new database beside and rename it when it is whole: a process killed at it leaves one that nobody can use.

    One of that kind that is there already is set aside; it has neither runs nor experiments of anybody's.
    """
    if _is_half_made(database):
        locks.set_aside(database)
    if database.exists() and database.stat().st_size:
        return
    new = Path(f"{database}.new")
    for suffix in locks.BESIDE:
        Path(f"{new}{suffix}").unlink(missing_ok=True)
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=f"sqlite:///{new}").search_experiments(max_results=1)
    new.replace(database)


def _is_half_made(database: Path) -> bool:
    """Whether MLflow's tables were begun and not finished: not of MLflow's own revision, and nothing of anybody's in them."""
    from mlflow.store.db.utils import _get_latest_schema_revision
    from mlflow.store.tracking.dbmodels.initial_models import Base

    if not database.is_file():
        return False
    with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not tables or "studies" in tables:  # an empty file can be used as it is; and one of Optuna's is not ours to judge
            return False
        if "experiments" not in tables:
            return tables < set(Base.metadata.tables)
        latest = _get_latest_schema_revision()  # type: ignore[no-untyped-call]
        (made,) = connection.execute("SELECT COUNT(*) FROM experiments WHERE experiment_id <> 0").fetchone()
        versions = connection.execute("SELECT version_num FROM alembic_version") if "alembic_version" in tables else ()
        return not made and list(versions) != [(latest,)]


def _revision(database: Path) -> str:
    """The version of MLflow's tables in the file."""
    with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(revision)


def import_mlflow() -> None:
    """Import what talks to the store, with our defaults."""
    for name, value in MLFLOW_DEFAULTS.items():
        os.environ.setdefault(name, value)
    importlib.import_module("mlflow.tracking")


def database() -> Path | None:
    """The SQLite file that is the store; None where it is anything else."""
    from sqlalchemy import make_url

    uri = tracking_uri()
    return Path(str(make_url(uri).database)) if uri.startswith("sqlite:///") else None


def named(problem: str) -> str:
    """The experiment and the registered model of a problem, or of the report: behind ``MLFLOW_EXPERIMENT_PREFIX``."""
    return f"{os.environ.get('MLFLOW_EXPERIMENT_PREFIX', '')}{problem}"


def mend() -> None:
    """Make room for a new database where the one there is broken."""
    if file := database():
        locks.mend(file, is_broken_database)


def _check(database: Path) -> None:
    """Raise where the file is no database, read-only or locked; MLflow would retry for 100 s."""
    with contextlib.closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def _client_and_experiment(uri: str, problem: str) -> tuple["MlflowClient", str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(named(problem))
    if experiment is None:
        place = None if uri.startswith("http") else (store_root() / "mlartifacts" / problem).as_uri()
        return client, str(client.create_experiment(named(problem), artifact_location=place, tags=KIND))
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return client, str(experiment.experiment_id)
