"""From nothing to an answer with a script, as docs/own-training.md has it; and the scripts in examples/."""

import difflib
import importlib.util
import json
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from pipeline import trial
from pipeline.catalogue import CATALOGUE
from pipeline.commands import answer
from pipeline.config.params import load_params
from pipeline.problems.loading import load_problem
from pipeline.schedulers.replay import trace
from pipeline.stages import check, dataset, report, train
from pipeline.trial import Trial
from tests.conftest import ROOT
from tests.pages import blocks, commands, text
from tests.search import helpers

PAGE = text("docs/own-training.md")
SMALLER = (
    ("seeds: 10", "seeds: 2"),
    (r"(?s)^schedulers:.*?^tune:", "schedulers:\n  ConstantLR: {args: {factor: 1.0}}\ntune:"),
    ("epochs: 10", "epochs: 2"),
)
EXAMPLES = {
    "train_torch": ("", 0.01),
    "mnist": ("", 1.0),
    "train_lightning": ("pytorch_lightning", 0.01),
    "train_transformers": ("accelerate", 0.01),
}
"""By name, the package that it needs and a peak rate at which it learns."""


@pytest.mark.slow
def test_the_page_goes_from_a_script_to_an_answer(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With one scheduler, fewer seeds and epochs, and of the stages those that come before a search."""
    write, by_hand, *study = commands(PAGE)
    assert study == ["dvc repro", "python -m pipeline"]
    (repository / "inputs").mkdir()
    subprocess.run(["sh", "-ec", write], check=True)
    command = by_hand.replace("PYTHONPATH=.", f"PYTHONPATH={ROOT}").replace("python ", f"{sys.executable} ")
    problems = blocks(PAGE, "yaml")[0]
    default = (repository / "params.yaml").read_text(encoding="utf-8")
    params = re.sub(r"^problems:\n.*?(?=^schedulers:)", lambda _: problems, default, flags=re.DOTALL | re.MULTILINE)
    for old, new in SMALLER:
        params, found = re.subn(old, new, params, flags=re.MULTILINE)
        assert found
    (repository / "params.yaml").write_text(params, encoding="utf-8")
    assert not subprocess.run(["sh", "-ec", command], check=True, capture_output=True).stdout
    with helpers.shown_here():
        check.main()
        dataset.main("moons")
        (told,) = re.findall(r"```\n(dataset@.*?)\n```", PAGE)
        assert told in "".join(capfd.readouterr())
        train.main("moons")
        report.main()
    capfd.readouterr()
    answer.main()
    assert capfd.readouterr().out.startswith("moons\n  use     ConstantLR with SGD (momentum 0.9)")
    runs = pd.read_parquet("results/moons/train/runs.parquet")
    assert runs["validation_loss"].between(0.3, 0.8).all()
    assert json.loads(runs["optimizer"].iloc[0])["args"]["momentum"] == 0.9
    assert runs["train_loss"].nunique() == len(runs) == 4


@pytest.mark.parametrize("block", blocks(PAGE, "yaml"))
def test_what_it_says_of_params_is_right(repository: Path, block: str) -> None:
    """Each block in place of the sections of those names in the default params.yaml."""
    params = (repository / "params.yaml").read_text(encoding="utf-8")
    for name in re.findall(r"^(\w+):", block, re.MULTILINE):
        params = re.sub(rf"^{name}:.*?(?=^\w)", "", params, flags=re.DOTALL | re.MULTILINE)
    (repository / "params.yaml").write_text(f"{block}{params}", encoding="utf-8")
    assert load_params(CATALOGUE).problems


def test_ten_lines_bring_a_foreign_script_in() -> None:
    before, after = (text(f"examples/{name}.py").splitlines()[1:] for name in ("mnist_before", "mnist"))
    new = [line[2:] for line in difflib.ndiff(before, after) if line.startswith("+ ") and line[2:].strip()]
    assert len(new) == 10
    assert sum("trial" in line for line in new) == 7


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains_by_the_rates_that_it_is_handed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In this process, which has torch already: its steps, its figures and its end."""
    package, lr = EXAMPLES[name]
    if package and not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed; `make test` does that")
    lines = tmp_path / "lines.jsonl"
    rates = [lr / (number + 1) for number in range(200)]
    asked = {"seed": 7, "split": 0, "epochs": 2, "lr": lr, "device": "cpu", "args": {}, "label": "It", "rates": rates}
    asked |= {"folder": str(tmp_path), "lines": str(lines)}
    (tmp_path / "run.json").write_text(json.dumps(asked), "utf-8")
    monkeypatch.setenv("PIPELINE_TRIAL", str(tmp_path / "run.json"))
    monkeypatch.setattr(trial, "trial", Trial())
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / f"examples/{name}.py"), run_name="__main__")
    start, *epochs, finish = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    steps = start["start"]["steps_per_epoch"]
    assert [line["lr"] for line in epochs] == [rates[0], rates[steps]]
    assert epochs[1]["train_loss"] < epochs[0]["train_loss"]
    assert 0 <= epochs[1]["validation_metric"] <= 1
    assert finish["finish"].keys() == {"test_loss", "test_metric"}


FRAMEWORKS = {"train_torch": "", "train_lightning": "pytorch_lightning", "train_transformers": "accelerate"}


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAMEWORKS)
def test_an_example_is_trained_by_the_schedules_of_a_study(
    repository: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each run is a process of its own; what comes behind ``train`` is the same of every script (stages/test_scripts.py)."""
    if FRAMEWORKS[name] and not importlib.util.find_spec(FRAMEWORKS[name]):
        pytest.skip(f"{FRAMEWORKS[name]} is not installed; `make test` does that")
    monkeypatch.setenv("PIPELINE_EXECUTOR", "local:2")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # the frameworks have some of their own
    (repository / "inputs").mkdir()
    shutil.copy(ROOT / f"examples/{name}.py", repository / "inputs")
    (repository / "params.yaml").write_text(STUDY.replace("NAME", name), encoding="utf-8")
    with helpers.shown_here():
        check.main()
        for stage in (dataset, train):
            stage.main("it")
    params = load_params(CATALOGUE)
    problem = load_problem(params, "it")
    curves = pd.read_parquet("results/it/train/curves.parquet")
    (schedule,) = problem.schedules.values()
    expected = trace(schedule, problem.optimizers_for(schedule), problem.lr, problem.budget()).lr
    for _, own in curves.groupby("run"):
        assert own["lr"].tolist() == expected[:: problem.budget().steps_per_epoch].tolist()
    runs = pd.read_parquet("results/it/train/runs.parquet")
    assert curves["run"].nunique() == len(runs) == 2 * 2
    assert not runs["diverged"].any()
    assert runs["test_metric"].between(0, 1).all()


STUDY = """
device: cpu
seeds: 2
problems:
  it: {script: NAME.py, optimizer: {lr: 1e-3}, epochs: 2}
schedulers: {LinearDecay: {}}
sweep: none
report: {every: 1, baseline: LinearDecay}
"""
