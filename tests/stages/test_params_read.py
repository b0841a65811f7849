"""Drift: each stage reads the parameters that dvc.yaml declares for it, no more and no fewer."""

import importlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline import results
from pipeline.catalogue import CATALOGUE
from pipeline.params import Params, load_params
from pipeline.problems.datasets import datasets

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
SECTIONS = set(Params.model_fields)
# What the stages do with what they read is not asked here.
WORK = {
    "dataset": ("results.write_dataset",),
    "train": ("record",),
    "tune": ("search", "recommend", "winners", "trial_table", "best_yaml", "importances", "parquet", "record"),
    "sweep": ("results.read_best", "over_rates", "over_budgets", "possible", "trained", "parquet", "write_files"),
}


class Recorder(Params):
    """Params that note which of their sections are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in SECTIONS:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()


def declared(stage: str) -> set[str]:
    body = STAGES[stage].get("do", STAGES[stage])
    return {name.split(".")[0] for name in body["params"]}


@pytest.mark.parametrize("stage", WORK)
def test_a_stage_reads_what_is_declared(stage: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(CATALOGUE)
    recorder = Recorder.model_construct(**{name: getattr(params, name) for name in SECTIONS})
    for name, problem in params.problems.items():
        results.write_dataset(name, datasets[problem.dataset.name].function(**problem.dataset.args))
    module = importlib.import_module(f"pipeline.stages.{stage}")
    for name in WORK[stage]:
        target = f"pipeline.stages.{stage}.{name}"
        monkeypatch.setattr(target, lambda *args, **kwargs: {})
    monkeypatch.setattr(module, "load_params", lambda catalogue: recorder)
    READ.clear()
    module.main("synthetic")
    assert declared(stage) == READ


def test_the_report_prints_all_parameters() -> None:
    """Which is why it depends on all of them."""
    assert declared("report") == SECTIONS
