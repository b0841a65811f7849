"""``python -m pipeline mirror``: the mirror from the results alone, as often as one likes."""

import logging
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import locks
from pipeline.runs import results
from pipeline.tracking.connection import tracking_uri
from tests.tracking.helpers import contents, describe, rebuild, rows, statuses, train

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_the_same_results_again_change_nothing(written: Path) -> None:
    rebuild()
    before = rows(written)
    rebuild()
    assert rows(written) == before


def test_diverged_runs_are_finished_and_tagged(root: Path) -> None:
    _, runs, curves = train()
    chosen = runs["run"] == "digits-StepLR-1"
    runs.loc[chosen, ["diverged", "train_loss", "test_loss"]] = [True, np.nan, np.nan]
    late = (curves["run"] == "digits-StepLR-1") & (curves["epoch"] > 2)
    curves.loc[late, ["train_loss", "validation_loss"]] = [np.nan, np.inf]
    results.write_runs("digits", "train", runs, curves)
    rebuild()
    shown = contents()
    run = shown["StepLR/default/1"]
    assert (run["status"], run["tags"]["diverged"]) == ("FINISHED", "true")
    for name in ("loss/train", "loss/validation"):
        values = [value for _, value, _ in run["curves"][name]]
        assert np.isfinite(values[:2]).all()
        assert np.isnan(values[2:]).all()
    assert np.isnan(run["metrics"]["loss/test"])
    assert shown["StepLR/default/0"]["tags"]["diverged"] == "false"


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

    own = locks.set_aside

    def set_aside(store: Path) -> None:
        own(store)
        shutil.copy(empty_database, store)  # MLflow would take seconds for its tables

    monkeypatch.setattr(locks, "set_aside", set_aside)
    rebuild()
    assert len(contents()) == len(describe())
    assert statuses(written) == {"FINISHED"}
    assert (written / "mlflow.db.broken").read_bytes() == broken
    assert not (written / "mlflow.db-journal").exists()
    [said] = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert said == f"{written}/mlflow.db cannot be read; it is mlflow.db.broken now, and a new one takes its place"


def test_a_store_that_cannot_be_rebuilt_is_an_error(written: Path) -> None:
    (written / "mlflow.db").unlink()
    (written / "mlflow.db").mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open database file"):
        rebuild()


def test_a_deleted_experiment_is_mirrored_anew(written: Path) -> None:
    from mlflow import MlflowClient

    rebuild()
    client = MlflowClient(tracking_uri=tracking_uri())
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    assert experiment.artifact_location == (written / "mlartifacts/digits").as_uri()
    client.delete_experiment(experiment.experiment_id)
    rebuild()
    assert len(contents()) == len(describe())
