"""The stage sweep as a user runs it, on the results of a small search."""

from pathlib import Path

import pytest

from pipeline.config import files
from pipeline.runs import results
from pipeline.runs.results import SWEEP_COLUMNS
from pipeline.stages import sweep
from tests.search import helpers


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sweep")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        helpers.run_tune(("trials: 12, batch: 4", "trials: 2, batch: 2"))
    return root


def test_every_shape_at_every_rate_and_budget(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four epochs, 10% and 25% are one, and 50% are two; ten rates are the usual number."""
    monkeypatch.chdir(tuned)
    sweep.main("tiny")
    table = results.read_sweep("tiny")
    assert list(table.columns) == list(SWEEP_COLUMNS)
    counts = table.groupby(["kind", "variant", "epochs"]).size().to_dict()
    assert counts == {
        ("rate", "recommended", 4): 3 * 10 * 2,
        **{("budget", variant, epochs): 3 * 2 for variant in ("default", "recommended") for epochs in (1, 2, 4)},
    }
    rates = table[table["kind"] == "rate"].groupby("scheduler")["lr"].unique()
    assert all(list(found) == list(rates.iloc[0]) for found in rates)
    assert rates.iloc[0].min() == pytest.approx(0.005)  # 1% of 0.5
    assert rates.iloc[0].max() == pytest.approx(5.0)
    runs, _ = results.read_runs("tiny", "tune")
    full = table[(table["kind"] == "budget") & (table["variant"] == "recommended") & (table["epochs"] == 4)]
    shared = full.merge(runs[runs["stream"] == 1], on=["scheduler", "seed", "lr"])
    # Of each scheduler one seed's winner is the recommended one: trained again, it comes to the same number.
    assert (shared["validation_loss_x"] == shared["validation_loss_y"]).groupby(shared["scheduler"]).any().tolist() == [
        True
    ] * 3


def test_a_second_run_writes_the_same_bytes(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    written = []
    for _ in range(2):
        sweep.main("tiny")
        written.append(files.stage_path("tiny", "sweep", "runs.parquet").read_bytes())
    assert written[0] == written[1]


def test_before_the_search_the_stage_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem()
    with pytest.raises(files.ResultsError, match="`dvc repro tune@tiny` writes it"):
        sweep.main("tiny")


def test_a_recommendation_that_is_none(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    path = files.stage_path("tiny", "tune", "best.yaml")
    before = path.read_bytes()
    path.write_text("StepLR: {name: StepLR, args: {step_size: -5%}}\n")
    with pytest.raises(files.ResultsError, match=r"best\.yaml does not hold configurations .*is not a length"):
        results.read_schedules("tiny")
    path.write_bytes(before)
