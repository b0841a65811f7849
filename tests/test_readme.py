"""What README.md shows works as it is written."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.config.errors import ParamsError
from pipeline.config.params import load_params
from pipeline.runs import results
from pipeline.runs.champion import Champion
from pipeline.stages import dataset, report, sweep, train, tune
from tests.problems.helpers import from_files

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CHECK = """
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine import stacked
from pipeline.data.datasets import made
from pipeline.data.splits import draw_splits
from pipeline.problems.dataset import Dataset
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect
import torch

params = load_params(CATALOGUE)
entry = params.problem("moons")
data = made("moons", entry.dataset)
splits = draw_splits("moons", data, params.replicates, resample=entry.resample)
problem = Problem.of(Dataset.of("moons", data, splits), entry, params.schedules("moons"))
runs = [Run(label, schedule, 0, 8) for label, schedule in problem.schedules.items()]
history = collect(runs, stacked.train(problem, runs, device=torch.device("cpu")))
assert not history.diverged.any()
print(history.curves.lr[:, 0].tolist())
"""
PARAMS = """
seeds: 2
problems:
  moons:
    dataset: {name: moons, samples: 200}
    model: {name: bottleneck, width: 4}
    optimizer: {name: SGD, lr: 0.1}
    epochs: 8
    batch_size: 16
schedulers:
  Trapezoid: {args: {decay: 50%}}
report: {baseline: Trapezoid}
"""


SMALLER = (
    ("seeds: 10", "seeds: 2"),
    ("epochs: 20", "epochs: 2"),
    ("batch_size: 128", "batch_size: 1000"),
    ("trials: 32, batch: 8", "trials: 2, batch: 2"),
    ("points: 10, budgets: [10%, 25%, 50%]", "points: 2, budgets: [50%]"),
)


def test_its_own_scheduler_dataset_and_model_train_together(tmp_path: Path) -> None:
    assert len(EXAMPLES) == 3
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    with (tmp_path / "pipeline/custom.py").open("a", encoding="utf-8") as file:
        file.write("\n\n".join(EXAMPLES))
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Constant for half of the run, then in a straight line towards zero.
    assert done.stdout.strip() == str([0.1, 0.1, 0.1, 0.1, 0.1, 0.1 * 3 / 4, 0.1 * 2 / 4, 0.1 * 1 / 4])


def shown(language: str, holds: str) -> str:
    """The only block of that language that holds the text."""
    (block,) = [block for block in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if holds in block]
    return str(block)


def test_its_table_goes_from_a_file_to_a_verdict(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer seeds, epochs and trials, in the place of the default problems and beside all default schedulers."""
    (repository / "inputs").mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["sh", "-ec", shown("sh", "deliveries.csv")], check=True)
    default = (repository / "params.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^problems:\n.*?(?=^schedulers:)", lambda _: shown("yaml", "deliveries.csv"), default, flags=re.S | re.M)
    for old, new in SMALLER:
        assert old in text
        text = text.replace(old, new)
    (repository / "params.yaml").write_text(text, encoding="utf-8")
    for stage in (dataset, train, tune, sweep):
        stage.main("deliveries")
    report.main()

    params = load_params(CATALOGUE)
    table = (repository / "reports/comparison.md").read_text(encoding="utf-8")
    assert len(params.schedulers) == 13
    assert all(table.count(f"| {label} |") == 2 for label in params.schedulers)  # default and tuned
    page = (repository / "reports/report.html").read_text(encoding="utf-8")
    assert re.search(
        r'id="deliveries-title">deliveries <small>.*</h2>\n<p class="use">(Take|Keep) <strong>\w+</strong>, peak', page
    )

    asked = json.loads(shown("sh", "curl").split("'")[-2])["dataframe_split"]
    champion = Champion.of(from_files(params, "deliveries"), results.read_weights("deliveries", "train"), 0)
    assert len(champion.predict(pd.DataFrame(asked["data"], columns=asked["columns"]))) == 2


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_its_yaml_is_yaml(block: str) -> None:
    assert isinstance(YAML(typ="safe").load(block), dict)


def test_its_mistake_is_told_as_it_says(tmp_path: Path) -> None:
    """`stepsize` for `step_size` in the default file."""
    told = re.search(r"```\n(params\.yaml:.*?)\n```", README, re.DOTALL)
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text.replace("step_size: 30%", "stepsize: 30%", 1), encoding="utf-8")
    with pytest.raises(ParamsError) as error:
        load_params(CATALOGUE, tmp_path / "params.yaml")
    assert told is not None
    assert str(error.value) == told[1]


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)


def test_its_commands_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", README, re.MULTILINE)) <= targets
