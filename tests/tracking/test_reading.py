"""Experiments read out of MLflow: the same verdict as from a file, nothing written, mistakes in a line."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pipeline.commands import verdict
from pipeline.commands.run_tables import TableError
from pipeline.tracking.reading import ExperimentError, experiment
from tests.commands import foreign
from tests.conftest import ROOT

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")
PAGE = (ROOT / "docs/verdict.md").read_text(encoding="utf-8")


@pytest.fixture
def logged(root: Path) -> Path:
    """A database with an experiment of somebody's own, and one run that failed."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}")
    theirs = client.create_experiment("theirs")
    for label, seed, loss in [*foreign.runs(seeds=4), ("cosine", 4, None)]:
        run = client.create_run(theirs, tags={"team": "a"})
        for name, value in (("scheduler", label), ("seed", seed)):
            client.log_param(run.info.run_id, name, value)
        if loss is not None:
            client.log_metric(run.info.run_id, "val_loss", loss + 1, step=0)
            client.log_metric(run.info.run_id, "val_loss", loss, step=1)
        client.set_terminated(run.info.run_id, "FINISHED" if loss is not None else "FAILED")
    return root


def test_an_experiment_is_judged_like_its_file(logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (logged / "mlflow.db").read_bytes()
    (command,) = re.findall(r"^ *python -m pipeline verdict (--mlflow .*)$", PAGE, re.MULTILINE)
    verdict.main([*shlex.split(command), "--missing", "drop", "--json", "-"])
    found = json.loads(capsys.readouterr().out)
    assert found["columns"] == {
        "label": ["params.scheduler"], "seed": ["params.seed"], "fold": [], "value": ["metrics.val_loss"],
    }  # fmt: skip
    verdict.main([str(foreign.plain(tmp_path / "a.csv", foreign.runs(seeds=4))), "--json", "-", "--baseline", "constant"])
    by_label = {row["label"]: row for row in json.loads(capsys.readouterr().out)["labels"]}
    assert {row["label"]: row["mean"] for row in found["labels"]} == pytest.approx(
        {k: row["mean"] for k, row in by_label.items()}
    )
    assert (logged / "mlflow.db").read_bytes() == before


def test_failed_runs_are_asked_about(logged: Path) -> None:
    with pytest.raises(TableError, match=r"status: is failed, or metrics.val_loss empty, in line 2; say what became"):
        verdict.main(["--mlflow", "theirs"])


def test_what_is_not_there_is_told(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExperimentError, match=r"--mlflow their: there is no such experiment at sqlite.*did you mean theirs\?"):
        experiment("their")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///none.db")
    with pytest.raises(ExperimentError, match="there is no such file; set MLFLOW_TRACKING_URI"):
        experiment("theirs")
    assert not Path("none.db").exists()
    Path("broken.db").write_bytes(b"no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///broken.db")
    with pytest.raises(ExperimentError, match="cannot be read") as told:
        experiment("theirs")
    assert "\n" not in str(told.value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(ExperimentError, match="cannot be read"):
        experiment("theirs")
