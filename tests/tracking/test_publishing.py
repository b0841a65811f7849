"""The report in MLflow, with the runs it was made of."""

import json
from pathlib import Path

import pytest

from pipeline.config import files
from pipeline.tracking.connection import tracking_uri
from pipeline.tracking.mlflow_tracker import MLflowTracker
from pipeline.tracking.trackers import trackers
from tests.tracking.helpers import describe, rebuild

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")


def test_the_report_is_a_run_that_links_its_inputs(written: Path) -> None:
    """Once, however often the same is published; the links lead to runs that MLflow has."""
    from mlflow import MlflowClient

    rebuild()
    (written / "reports/best").mkdir(parents=True)
    (written / "reports/report.html").write_text("<p>verdict</p>")
    (written / "reports/best/digits.py").write_text("print()")
    for _ in range(2):
        MLflowTracker().publish(files.REPORTS, [("digits", "train"), ("nowhere", "train")], {})
    client = MlflowClient(tracking_uri=tracking_uri())
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
    rebuild()
    assert len(client.search_runs([experiment.experiment_id])) == 2


@pytest.mark.usefixtures("told_here")
def test_a_report_that_cannot_be_published_is_one_warning(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    (written / "mlflow.db").write_text("no database, and long enough to tell")
    (written / "reports").mkdir()
    with trackers() as told:
        told.publish(files.REPORTS, [("digits", "train")])
    (warning,) = caplog.messages
    assert warning.startswith("MLflow was not told everything: ")
    assert "`make mirror` rebuilds it" in warning
    assert len(warning.splitlines()) == 1


def test_a_prefix_stands_before_experiments_and_models(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a server of many, `report` and `digits` are anybody's."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_EXPERIMENT_PREFIX", "team/schedulers/")
    rebuild()
    (written / "reports").mkdir()
    MLflowTracker().publish(files.REPORTS, [("digits", "train")], {})
    client = MlflowClient(tracking_uri=tracking_uri())
    names = {experiment.name for experiment in client.search_experiments()} - {"Default"}
    assert names == {"team/schedulers/digits", "team/schedulers/report"}
    report = client.get_experiment_by_name("team/schedulers/report")
    assert report is not None
    (run,) = client.search_runs([report.experiment_id])
    assert f"[digits, train: {len(describe())} runs]" in run.data.tags["mlflow.note.content"]
