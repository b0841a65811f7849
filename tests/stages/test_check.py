"""Stage check: params.yaml written out in full, and nothing in it that anybody runs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.config.components import Component
from pipeline.config.errors import ParamsError
from pipeline.config.params import Params, load_params
from pipeline.data import sizes
from pipeline.problems.dataset import Dataset
from pipeline.stages import check
from tests.conftest import ROOT

HOSTILE = [
    "$(touch ran)", "`touch ran`", "x; touch ran", "x' ; touch ran; '", 'x" ; touch ran; "', "x | touch ran", "x && touch ran",
    "x\ntouch ran", "x > ran", "${seeds}", "-c touch", "a b", "a.b", "../escaped", "a/b", "é\u202e",
]  # fmt: skip
"""Names of problems that a shell, DVC or a file system would make something of."""


def written() -> dict[str, object]:
    content: dict[str, object] = json.loads(Path("data/params.json").read_bytes())
    return content


def replaced(old: str, new: str) -> None:
    path = Path("params.yaml")
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_it_says_all_that_params_yaml_says(repository: Path) -> None:
    check.main()
    assert Params.model_validate(written()) == load_params(CATALOGUE)


def test_what_is_left_out_has_its_default(repository: Path) -> None:
    """Which DVC could not find in params.yaml itself: it would refuse the report after everything is trained."""
    replaced("keep_model: false", "")
    replaced("device: auto", "")
    check.main()
    assert written()["keep_model"] is False
    assert written()["device"] == "auto"


def test_a_comment_changes_nothing(repository: Path) -> None:
    check.main()
    before = Path("data/params.json").read_bytes()
    replaced("seeds: 10", "seeds: 10 # as many as yesterday")
    check.main()
    assert Path("data/params.json").read_bytes() == before


def digests() -> dict[str, str]:
    check.main()
    found: dict[str, str] = json.loads(Path("data/digests.json").read_bytes())["problems"]
    return found


def test_a_problem_is_another_where_something_is_said_of_it_or_of_its_schedules(repository: Path) -> None:
    """DVC compares its digest in place of all that."""
    before = digests()
    assert list(before) == sorted(load_params(CATALOGUE).problems)
    replaced("epochs: 50", "epochs: 51")
    assert {name for name, digest in digests().items() if digest != before[name]} == {"digits"}
    before = digests()
    replaced("schedulers: {}", "schedulers: {StepLR: {args: {step_size: 10%}}}")
    assert {name for name, digest in digests().items() if digest != before[name]} == {"synthetic"}
    before = digests()
    replaced("{args: {step_size: 30%, gamma: 0.1}}", "{args: {step_size: 20%, gamma: 0.1}}")  # which synthetic has of its own
    assert {name for name, digest in digests().items() if digest != before[name]} == {"digits", "diabetes", "images"}


def test_a_mistake_leaves_the_last_one(repository: Path) -> None:
    check.main()
    before = Path("data/params.json").read_bytes()
    replaced("seeds: 10", "seeds: ten")
    with pytest.raises(ParamsError, match="seeds: is not a whole number"):
        check.main()
    assert Path("data/params.json").read_bytes() == before


def dvc(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(["dvc", *words], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def project(repository: Path) -> Path:
    """The pipeline in a DVC repository of its own, with problems of hostile names."""
    for name in ("pipeline", "inputs", ".dvc"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__", "cache", "tmp"))
    for name in ("dvc.yaml", "requirements.txt", "constraints.txt", ".dvcignore"):
        shutil.copy(ROOT / name, repository)
    subprocess.run(["git", "init", "-q"], check=True)
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(Path("params.yaml"))
    params["problems"] = dict.fromkeys(HOSTILE, params["problems"]["digits"]) | {"fine": params["problems"]["digits"]}
    yaml.dump(params, Path("params.yaml"))
    return repository


@pytest.mark.slow
def test_nothing_in_a_name_runs(project: Path) -> None:
    """Neither in a whole run nor in a stage by itself, which `check` does not stand before."""
    there = {path.name for path in project.iterdir()}
    whole = dvc("repro")
    assert whole.returncode != 0
    assert whole.stderr.count("is not a usable name") == len(HOSTILE) - 1
    assert "holds a right-to-left override" in whole.stderr
    for name in ("$(touch ran)", "x' ; touch ran; '", "x\ntouch ran"):
        alone = dvc("repro", "-s", f"dataset@{name}")
        assert alone.returncode != 0
        assert "Traceback" not in alone.stderr
    assert {path.name for path in project.iterdir()} <= there | {"data", ".state", "dvc.lock", ".gitignore"}
    assert not (project / "data/params.json").exists()


def test_no_command_holds_anything_of_params_yaml() -> None:
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    commands = [stage.get("do", stage)["cmd"] for stage in stages.values()]
    assert commands == [f"python -m pipeline.stages.{name}" for name in stages]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "train: 1000, validation: 1000, test: 4000",
            "train: 10000000, validation: 1000, test: 4000, features: 100000",
            "problems.synthetic.dataset: needs at least 25,",
        ),
        ("trials: 32", "trials: 100000", "tune.trials: needs at least "),
    ],
)
def test_what_no_memory_holds_is_refused_before_any_is_taken(
    repository: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    monkeypatch.setattr(sizes, "memory", lambda: 2**33)
    check.main()
    replaced("features: 10, ", "")
    replaced(old, new)
    told = r"and this machine has 8\.59 GB .*; write fewer|; these are .*; write fewer"
    with pytest.raises(ParamsError, match=told) as error:
        check.main()
    assert said in str(error.value)
    assert str(error.value).startswith("params.yaml:")


def test_a_model_that_no_memory_holds_is_refused_before_it_is_made(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "memory", lambda: 2**34)
    draw = np.zeros((4, 10), dtype=np.float32)
    data = Dataset("synthetic", draw, np.array([0, 1, 0, 1]), {})
    sizes.refuse_too_wide(Component("linear", {}), data)
    with pytest.raises(ParamsError, match=r"problems\.synthetic\.model: has 1,000,014,000,002 parameters, .* 16,000 GB"):
        sizes.refuse_too_wide(Component("mlp", {"hidden": [1000000, 1000000]}), data)
