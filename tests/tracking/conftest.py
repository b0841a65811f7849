"""Repositories with a database that MLflow can begin with."""

import shutil
from pathlib import Path

import pytest

from pipeline.runs import results
from pipeline.tracking import trackers
from tests.tracking.helpers import train


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
    monkeypatch.setattr(trackers, "TRACKERS", {"MLflow": trackers.TRACKERS["MLflow"]})
    return tmp_path


@pytest.fixture
def written(root: Path) -> Path:
    """The same, with the results of a stage."""
    results.write_runs("digits", "train", *train()[1:])
    return root
