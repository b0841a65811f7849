"""Drift: each stage reads the parameters that dvc.yaml declares for it, no more and no fewer."""

import importlib
import itertools
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.datasets import made
from pipeline.data.splits import draw_splits
from pipeline.problems.dataset import table_of
from pipeline.tracking import trackers

ROOT = Path(__file__).parents[2]
STAGES = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
# What the stages do with what they read is not asked here.
WORK = {
    "dataset": ("files.write_dataset",),
    "train": ("record",),
    "tune": (
        "search",
        "rerun",
        "rerun_table",
        "recommend",
        "winners",
        "TrialTable",
        "best_yaml",
        "importances",
        "best_file",
        "tables",
        "record",
    ),
    "confirm": ("results.read_schedules", "seeds_wanted", "confirming", "record"),
    "sweep": (
        "results.read_schedules",
        "pd.concat",
        "Sweep",
        "said",
        "results.tables",
        "write_files",
    ),
}


READ: set[str] = set()


def recording(value: Any, path: str = "") -> Any:
    """Parameters of the same types that note the dotted path of all that is read of them."""
    if isinstance(value, dict):
        return {key: recording(entry, f"{path}.{key}") for key, entry in value.items()}
    if not isinstance(value, BaseModel):
        return value
    fields = type(value).model_fields

    class Recorder(type(value)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name in fields:
                READ.add(f"{path}.{name}".lstrip("."))
            return super().__getattribute__(name)

    return Recorder.model_construct(**{name: recording(getattr(value, name), f"{path}.{name}") for name in fields})


def declared(stage: str) -> list[str]:
    """What it depends on; the digest of a problem stands for the problem and its schedules."""
    by_file = {file: names for each in STAGES[stage]["do"]["params"] for file, names in each.items()}
    digest = ["problems.synthetic", "schedulers"] if "problems.${key}" in by_file["data/digests.json"] else []
    return digest + [name.replace("${key}", "synthetic") for name in by_file["data/params.json"]]


def narrowest(path: str) -> str:
    """The path that all that is read at or under ``path`` has in common."""
    under = [read.split(".") for read in deepest() if f"{read}.".startswith(f"{path}.")]
    return ".".join(parts[0] for parts in itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*under, strict=False)))


def deepest() -> set[str]:
    """What is read for itself, and not on the way to something in it."""
    return {path for path in READ if not any(other.startswith(f"{path}.") for other in READ)}


@pytest.mark.parametrize("stage", WORK)
def test_a_stage_reads_what_is_declared(stage: str, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = load_params(CATALOGUE)
    recorder = recording(params)
    for name, problem in params.problems.items():
        data = made(name, problem.dataset)
        splits = draw_splits(name, data, params.replicates, resample=bool(problem.resample))
        files.write_dataset(name, data, table_of(splits))
    module = importlib.import_module(f"pipeline.stages.{stage}")
    for name in WORK[stage]:
        target = f"pipeline.stages.{stage}.{name}"
        monkeypatch.setattr(target, MagicMock())
    monkeypatch.setattr(module, "load_params", lambda *catalogue: recorder)
    monkeypatch.setattr(trackers, "TRACKERS", {})
    READ.clear()
    module.main("synthetic")
    names = declared(stage)
    assert not {read for read in deepest() if not any(f"{read}.".startswith(f"{name}.") for name in names)}
    assert [narrowest(name) for name in names] == names


def test_the_report_prints_all_parameters() -> None:
    """Which is why it depends on the folder that all of them are in."""
    assert "data" in STAGES["report"]["deps"]
    assert "data/params.json" in STAGES["check"]["outs"]
