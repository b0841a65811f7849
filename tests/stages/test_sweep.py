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
    """Of four epochs, 10% and 25% are one, and 50% are two; there are ten rates, and more where the best is at an end."""
    monkeypatch.chdir(tuned)
    sweep.main("tiny")
    table = results.read_sweep("tiny")
    assert list(table.columns) == list(SWEEP_COLUMNS)
    rates = table[table["kind"] == "rate"]
    assert set(rates["epochs"]) == {1, 2, 4}
    for _, own in rates.groupby(["scheduler", "epochs"]):
        assert (own.groupby("lr").size() == 2).all()
        assert (own["lr"].nunique() >= 10, own["lr"].min() <= 0.005, own["lr"].max() >= 5) == (
            True,
        ) * 3  # 1% of 0.5, and 1000%


def test_a_shorter_budget_has_a_rate_of_its_own_and_is_judged_on_fresh_seeds(
    tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tuned)
    sweep.main("tiny")
    table = results.read_sweep("tiny")
    spent = table[table["kind"] == "budget"]
    counts = spent.groupby(["variant", "epochs"]).size().to_dict()
    assert counts == {("default", 1): 6, ("default", 2): 6, ("recommended", 1): 12, ("recommended", 2): 12}
    own = spent[spent["variant"] == "recommended"]
    assert own.groupby("seed")["stream"].unique().map(list).to_dict() == {1000: [1, 2], 1001: [1, 2]}
    for (label, epochs), runs in own.groupby(["scheduler", "epochs"]):
        rates = table[(table["kind"] == "rate") & (table["scheduler"] == label) & (table["epochs"] == epochs)]
        finished = rates.groupby("lr").filter(lambda of: not of["diverged"].any())
        assert set(runs["lr"]) == {finished.groupby("lr")["validation_loss"].mean().idxmin()}


def test_without_a_sweep_its_table_is_there_and_empty(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text + "sweep: none\n")
    sweep.main("tiny")
    table = results.read_sweep("tiny")
    assert (list(table.columns), len(table)) == (list(SWEEP_COLUMNS), 0)
    Path("params.yaml").write_text(text)


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
    path.write_bytes(results.best_file("tiny", "StepLR: {name: StepLR, args: {step_size: -5%}}\n"))
    with pytest.raises(files.ResultsError, match=r"best\.yaml does not hold configurations .*is not a length"):
        results.read_schedules("tiny")
    path.write_bytes(before)
