"""The stage train: what it tells before anything is trained, and a user's own models, one of which cannot be stacked."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file

from pipeline.stages import check, dataset, train
from tests.conftest import ROOT
from tests.repeated import few
from tests.search import helpers

TRAPPED = ("step_size: 30%, gamma: 0.1", "step_size: 100%, gamma: 0.1")
CUSTOM = """
from torch import nn

from pipeline.problems.models import register


@register("normed")
def normed(inputs: int, outputs: int, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.BatchNorm1d(width, momentum=None), nn.ReLU(), nn.Linear(width, outputs))


@register("grouped")
def grouped(inputs: int, outputs: int, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, width), nn.GroupNorm(2, width), nn.ReLU(), nn.Linear(width, outputs))
"""
PARAMS = """
device: cpu
seeds: 2
problems:
  looped: &problem
    dataset: {name: synthetic, train: 40, validation: 30, test: 30, features: 3}
    model: {name: normed}
    optimizer: {name: SGD, lr: 0.1}
    epochs: 4
    batch_size: 16
  stacked:
    <<: *problem
    model: {name: grouped}
schedulers:
  StepLR: {args: {step_size: 50%}}
  ReduceLROnPlateau: {args: {patience: 0}}
report: {baseline: StepLR}
"""
STAGES = """
import os
import shutil
from multiprocessing import active_children

from pipeline.tracking import trackers
from pipeline.stages import dataset, train
from pipeline.runs.store import store

trackers.TRACKERS = {}  # MLflow takes seconds to start
for problem in ("looped", "stacked"):
    dataset.main(problem)
    for cores in (1, 2):
        os.environ["PIPELINE_EXECUTOR"] = f"local:{cores}"
        train.main(problem)
        print(len(active_children()))  # all have ended with the stage
        shutil.copytree(f"results/{problem}/train", f"{cores}/{problem}")
        store().shrink(0)  # all is trained again
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of both problems, trained on one core and on two."""
    folder = tmp_path_factory.mktemp("train")
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    with (folder / "pipeline/custom.py").open("a", encoding="utf-8") as file:
        file.write(CUSTOM)
    (folder / "params.yaml").write_text(PARAMS, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", STAGES], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0"] * 4
    (told,) = [line for line in done.stderr.splitlines() if "run by run" in line]
    assert "problem looped: training run by run, which is slower: the model normed" in told
    assert "has BatchNorm of all batches so far, `momentum=None` (1); with a momentum it can be stacked" in told
    return folder


@pytest.mark.slow
def test_what_cannot_be_stacked_writes_the_same_files(trained: Path) -> None:
    """All files, their columns and rows; what differs is the figures, and the statistics among the weights."""
    looped, stacked = (trained / "2" / problem for problem in ("looped", "stacked"))
    assert {path.name for path in looped.iterdir()} == {path.name for path in stacked.iterdir()}
    for name, rows in (("runs", 8), ("curves", 8 * 4)):
        ours, theirs = (pd.read_parquet(folder / f"{name}.parquet") for folder in (looped, stacked))
        assert ours.dtypes.to_dict() == theirs.dtypes.to_dict()
        assert len(ours) == len(theirs) == rows
        keys = ["variant", "scheduler", "seed", "stream", *(["epoch"] if name == "curves" else [])]
        pd.testing.assert_frame_equal(ours[keys], theirs[keys])
        assert ours.select_dtypes("number").notna().all(axis=None)
    weights = [load_file(folder / "weights.safetensors") for folder in (looped, stacked)]
    assert weights[0].keys() - weights[1].keys() == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert weights[1].keys() < weights[0].keys()


@pytest.mark.parametrize("problem", ["looped", "stacked"])
@pytest.mark.slow
def test_the_number_of_processes_changes_no_byte(trained: Path, problem: str) -> None:
    for path in (trained / "1" / problem).iterdir():
        assert path.read_bytes() == (trained / "2" / problem / path.name).read_bytes(), path.name


def test_each_trap_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem(TRAPPED)
    with helpers.shown_here():
        train.main("tiny")
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line.split(", epoch")[0] for line in told] == ["train@tiny: warning: StepLR"]


def test_a_name_of_another_library_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem(("schedulers:\n  ", "schedulers:\n  cosine: {warmup: 10%}\n  "))
    with helpers.shown_here():
        train.main("tiny")
    told = [line for line in capsys.readouterr().err.splitlines() if "cosine" in line]
    assert len(told) == 1
    assert told[0].startswith("train@tiny: schedulers.cosine: Hugging Face's cosine is CosineDecay {final: 0%} here; ")


KINDS = {
    "several": "dataset: {path: t.csv, target: [h, w]}",
    "several of an mlp": "dataset: {path: t.csv, target: [h, w]}, model: {name: mlp, hidden: [4]}",
    "several logarithms": "dataset: {path: t.csv, target: [h, w], target_transform: log}, loss: {name: HuberLoss}",
    "logarithm": "dataset: {path: t.csv, target: h, target_transform: log1p}, metric: {name: MeanAbsoluteError}",
    "weighted": "dataset: {path: t.csv, target: kind, weight: w}",
    "weighted numbers": "dataset: {path: t.csv, target: [h, a], weight: w}",
    "two by one output": "dataset: {path: t.csv, target: label}, loss: {name: BCEWithLogitsLoss}, metric: {name: AUROC}",
    "columns": "dataset: {path: t.csv, target: h}, model: {name: tabular, hidden: [4]}",
    "columns, several": "dataset: {path: t.csv, target: [h, w]}, model: {name: tabular, hidden: [4]}",
    "in order": "dataset: {path: t.csv, target: kind, order: a}",
    "in groups": "dataset: {path: t.csv, target: h, group: who}",
}


@pytest.mark.parametrize("kind", few(KINDS, "columns, several", "weighted numbers", "logarithm", "in groups"))
def test_whatever_a_table_is_taken_for_is_trained(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    a = rng.normal(size=90)
    table = {"a": a, "label": np.where(a + rng.normal(size=90) > 0, "u", "v"), "kind": np.resize(list("xyz"), 90)}
    table |= {"h": np.exp(a / 2), "w": 1 + rng.random(90), "who": np.repeat(np.arange(30), 3)}
    Path("inputs").mkdir()
    pd.DataFrame(table).to_csv("inputs/t.csv", index=False)
    model = "" if "model:" in KINDS[kind] else ", model: {name: linear}"
    problem = f"{{{KINDS[kind]}{model}, optimizer: {{name: SGD, lr: 0.05}}, epochs: 2, batch_size: 16}}"
    params = f"seeds: 2\nproblems: {{p: {problem}}}\nschedulers: {{ConstantLR: {{args: {{factor: 1.0}}}}}}\n"
    Path("params.yaml").write_text(f"{params}report: {{baseline: ConstantLR}}\n", encoding="utf-8")
    with helpers.shown_here():
        check.main()
        dataset.main("p")
        train.main("p")
    runs = pd.read_parquet("results/p/train/runs.parquet")
    assert len(runs) == 4
    assert np.isfinite(runs[["train_loss", "validation_loss", "test_loss", "test_metric"]]).all(axis=None)
