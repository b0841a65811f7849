"""Where the mirror is, and who may be there at once."""

import multiprocessing
import os
from pathlib import Path

import pytest

from pipeline.runs import results
from pipeline.tracking.connection import tracking_uri
from tests.tracking.helpers import contents, describe, rebuild, train

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


@pytest.mark.slow
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
    rebuild()


def test_where_the_mirror_is(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri() == f"sqlite:///{root}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/repository")  # in the copy that `dvc exp run --temp` works in
    assert tracking_uri() == "sqlite:////repository/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mine.db")
    assert tracking_uri() == "sqlite:////repository/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert tracking_uri() == "http://localhost:5000"
