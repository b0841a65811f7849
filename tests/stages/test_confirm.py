"""The stage confirm: the recommended configurations on replicates that no study has seen."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config import files
from pipeline.runs import results
from pipeline.runs.results import CURVE_COLUMNS, RUN_COLUMNS
from pipeline.stages import confirm
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


def test_before_the_search_the_stage_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem()
    with pytest.raises(files.ResultsError, match="`dvc repro tune@tiny` writes it"):
        run_confirm()
