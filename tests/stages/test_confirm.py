"""The stage confirm: the recommended configurations on replicates that no study has seen."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.statistics import matrices
from pipeline.config import files
from pipeline.runs import racing, results
from pipeline.runs.results import CURVE_COLUMNS, RUN_COLUMNS
from pipeline.stages import confirm, report, train
from pipeline.statistics.sequential import Plan, looks
from tests.search import helpers

FEW = ("trials: 12, batch: 4", "trials: 2, batch: 2")
NAMES = ("runs.parquet", "curves.parquet", "weights.safetensors")


def run_confirm() -> pd.DataFrame:
    with helpers.shown_here():
        confirm.main("tiny")
    return results.read_runs("tiny", "confirm")[0]


def written() -> list[bytes]:
    return [files.stage_path("tiny", "confirm", name).read_bytes() for name in NAMES]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("confirm")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        helpers.run_tune(FEW)
    return root


def test_every_configuration_on_two_streams_of_every_fresh_seed(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    runs, (_, curves) = run_confirm(), results.read_runs("tiny", "confirm")
    assert (list(runs), list(curves)) == (list(RUN_COLUMNS), list(CURVE_COLUMNS))
    assert set(runs["variant"]) == {"recommended"}
    best = results.read_best("tiny")
    expected = [(label, seed, stream) for label in best for seed in (1000, 1001) for stream in (1, 2)]
    assert list(runs[["scheduler", "seed", "stream"]].itertuples(index=False, name=None)) == expected
    assert runs.groupby("scheduler")["lr"].nunique().eq(1).all()
    for label, own in runs.groupby("scheduler"):
        assert own["args"].nunique() == 1
        assert own["name"].iloc[0] == best[str(label)].get("name", label)
    assert results.run_of(files.stage_path("tiny", "confirm", "weights.safetensors").read_bytes()) in set(runs["run"])


def test_no_split_is_one_of_a_study(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    splits = files.read_splits("tiny")
    assert list(splits) == ["part", "0", "1", "1000", "1001"]
    assert len(np.unique(splits.drop(columns="part").to_numpy().T, axis=0)) == 4


def test_a_second_run_writes_the_same_bytes(tuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tuned)
    run_confirm()
    before = written()
    run_confirm()
    assert written() == before


def test_more_seeds_train_only_those(tuned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the same recommendations; those of the studies would follow from all of their seeds."""
    monkeypatch.chdir(tuned)
    few = run_confirm()
    helpers.problem(FEW, ("seeds: 2", "seeds: 3"))
    capsys.readouterr()
    more = run_confirm()
    assert "confirm@tiny: 6 runs, 100% done" in capsys.readouterr().err
    pd.testing.assert_frame_equal(more[more["seed"] < 1002].reset_index(drop=True), few)
    helpers.problem(FEW)


RACED = ("seeds: 2", "seeds: {least: 2, most: 10}")
LOOKS = (2, 6, 10)


@pytest.fixture
def raced(tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same recommendations, to be confirmed on as many seeds as it takes; nothing of that is trained yet."""
    root = shutil.copytree(tuned, tmp_path / "raced", ignore=shutil.ignore_patterns(".state", "confirm"))
    monkeypatch.chdir(root)
    helpers.problem(FEW, RACED)
    return root


def test_a_race_says_why_it_goes_on_and_stops_as_the_report_will_see_it(
    raced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    runs = run_confirm()
    told = [line for line in capsys.readouterr().err.splitlines() if "settled" in line]
    plan, params = Plan(2, 10), helpers.params(FEW, RACED)
    seeds = runs["seed"].nunique()
    assert seeds in LOOKS
    with helpers.shown_here():
        train.main("tiny")
    problem = report.read(params, "tiny")
    assert problem.plan == plan
    of = matrices(problem.runs[problem.runs["variant"] == "recommended"])
    states = list(looks(of, "ConstantLR", plan))
    assert states[-1].seeds == seeds
    assert [state.stop for state in states] == [*[False] * (len(states) - 1), True]
    assert told == [f"confirm@tiny: {racing.told(state, plan)}" for state in states]
    with helpers.shown_here():
        report.main()
    page = (files.REPORTS / "report.html").read_text("utf-8")
    assert f"it settled {states[-1].settled} of {len(states[-1].states)} comparisons on {seeds} fresh seeds" in page


def test_more_seeds_at_most_train_only_those(raced: Path, capsys: pytest.CaptureFixture[str]) -> None:
    helpers.problem(FEW, ("seeds: 2", "seeds: {least: 2, most: 6}"))
    few = run_confirm()
    assert few["seed"].nunique() == 6
    helpers.problem(FEW, RACED)
    capsys.readouterr()
    more = run_confirm()
    new = more["seed"].nunique() - 6
    assert f"{6 * new} runs, 100% done" in capsys.readouterr().err or not new
    pd.testing.assert_frame_equal(more[more["seed"] < 1006].reset_index(drop=True), few)
    from_few = written()
    shutil.rmtree(raced / ".state")
    shutil.rmtree(raced / "results/tiny/confirm")
    run_confirm()
    assert written() == from_few


def test_the_studies_have_the_least_seeds_and_no_split_of_a_race(raced: Path) -> None:
    assert list(files.read_splits("tiny")) == ["part", "0", "1", *map(str, range(1000, 1010))]
    with helpers.shown_here():
        train.main("tiny")
    assert set(results.read_runs("tiny", "train")[0]["seed"]) == {0, 1}


def test_before_the_search_the_stage_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem()
    with pytest.raises(files.ResultsError, match="`dvc repro tune@tiny` writes it"):
        run_confirm()
