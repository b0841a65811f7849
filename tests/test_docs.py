"""What the README and the documentation show works as it is written, and what is generated of it is current."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pydantic import BaseModel
from ruamel.yaml import YAML

import scripts.docs
from pipeline.catalogue import CATALOGUE
from pipeline.commands import answer, look
from pipeline.config.errors import ParamsError
from pipeline.config.params import Params, load_params
from pipeline.config.wording import raised
from pipeline.runs import results
from pipeline.runs.champion import Champion
from pipeline.stages import check, confirm, dataset, report, sweep, train, tune
from scripts.offline import loaded
from tests.conftest import ROOT
from tests.pages import DOCS, PAGES, blocks, commands, shown, text
from tests.problems.helpers import from_files

README, DATA, MODELS, OWN = map(text, ("README.md", "docs/data.md", "docs/models.md", "docs/own-code.md"))
FOLLOWED = {
    "docs/data.md",  # below
    "docs/plan.md", "docs/results.md", "docs/tools.md", "docs/reliability.md",  # tests/test_repro.py
    "docs/verdict.md",  # tests/commands/test_verdict.py
    "docs/own-training.md",  # tests/test_own_training.py
}  # fmt: skip
"""Pages whose commands a test runs, every one and in order."""
NOT_RUN = {
    "git clone URL schedulers && cd schedulers": "the network; .ci/run begins with a clone",
    "make repro": "minutes; .ci/run does it, and tests/test_setup.py with stand-ins",
    "source .venv/bin/activate": "the tests' environment is another one",
    "make test": "these tests",
    "make quick TABLE=houses.csv TARGET=price": "half a minute; tests/commands/test_quick.py does less of it",
    "python -m pytest -q tests/schedulers/test_closed_form.py": "tests in tests",
    "export MLFLOW_TRACKING_URI=sqlite:///mlflow.db": "for the server",
    "mlflow models serve -m models:/deliveries@champion -p 5001 --env-manager local": "a server",
    "dask scheduler": "a server; tests/runs/test_cluster.py starts one, and its workers",
    "dask worker": "the same",
    "PIPELINE_EXECUTOR=": "a cluster, and minutes; tests/runs/test_cluster.py does less of it",
    "export PIPELINE_EXECUTOR=": "the same",
    "python -m pipeline.stages.train images": "the same",
    "dvc repro": "minutes; tests/test_repro.py does it",
    "curl http://127.0.0.1:5001/invocations": "asks the server; the model itself is asked the same below",
}
SMALLER = (
    ("seeds: 10", "seeds: 2"),
    ("epochs: 20", "epochs: 2"),
    ("batch_size: 128", "batch_size: 1000"),
    ("trials: 32, batch: 8", "trials: 2, batch: 2"),
    ("points: 10, budgets: [10%, 25%, 50%]", "points: 2, budgets: [50%]"),
)
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
for name, entry in params.problems.items():
    data = made(name, entry.dataset)
    splits = draw_splits(name, data, params.replicates, resample=entry.resample)
    problem = Problem.of(Dataset.of(name, data, splits), entry, params.schedules(name))
    runs = [Run("Trapezoid", problem.schedules["Trapezoid"], 0, 8)]
    history = collect(runs, stacked.train(problem, runs, device=torch.device("cpu")))
    assert not history.diverged.any()
    print(history.curves.lr[:, 0].tolist())
"""


# Commands


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_command_is_run_or_cannot_be(page: Path) -> None:
    if shown(page) not in FOLLOWED:
        found = [command for command in commands(text(shown(page))) if not command.startswith(tuple(NOT_RUN))]
        # The plan in tests/test_repro.py, the others below.
        expected = ["python -m pipeline", "python -m pipeline plan", "python -m pipeline verdict docs/verdict.csv"]
        assert found == (expected if page.name == "README.md" else [])


def test_the_verdict_of_the_readme_is_given() -> None:
    (command,) = [command for command in commands(README) if "verdict" in command]
    words = command.removeprefix("python ").split()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "May be the best" in done.stdout


@pytest.mark.slow
def test_a_table_goes_from_a_file_to_an_answer(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With fewer seeds, epochs and trials; the stages that `dvc repro` runs, one after the other."""
    make, seen, repro, show = commands(DATA)
    (repository / "inputs").mkdir()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    subprocess.run(["sh", "-ec", make], check=True)
    look.main(seen.split()[4:])
    assert "      path: deliveries.csv\n      target: minutes\n" in capfd.readouterr().out
    default = (repository / "params.yaml").read_text(encoding="utf-8")
    (problems,) = [block for block in blocks(DATA, "yaml") if "deliveries:" in block]
    params_yaml = re.sub(r"^problems:\n.*?(?=^schedulers:)", lambda _: problems, default, flags=re.DOTALL | re.MULTILINE)
    for old, new in SMALLER:
        assert old in params_yaml
        params_yaml = params_yaml.replace(old, new)
    (repository / "params.yaml").write_text(params_yaml, encoding="utf-8")
    assert repro == "dvc repro"
    check.main()
    dataset.main("deliveries")
    (told,) = re.findall(r"```\n(dataset@.*?)\n```", DATA, re.DOTALL)
    assert told in "".join(capfd.readouterr())
    for stage in (train, tune, confirm, sweep):
        stage.main("deliveries")
    report.main()
    capfd.readouterr()
    answer.main()
    assert capfd.readouterr().out.startswith("deliveries\n  use ")

    params = load_params(CATALOGUE)
    table = subprocess.run(["sh", "-ec", show], check=True, capture_output=True, text=True).stdout
    assert len(params.schedulers) == 13
    assert all(f"| {label} |" in table for label in params.schedulers)
    page = (repository / "reports/report.html").read_text(encoding="utf-8")
    assert re.search(
        r'id="deliveries-title">deliveries <small>.*</h2>\n<p class="use">[\w ]+,? <strong>\w+</strong>, peak',
        page,
    )
    assert (repository / "reports/best/deliveries.py").exists()

    asked = json.loads(blocks(MODELS, "sh")[-1].split("'")[-2])["dataframe_split"]
    champion = Champion.of(from_files(params, "deliveries"), results.read_weights("deliveries", "train"), 0)
    assert len(champion.predict(pd.DataFrame(asked["data"], columns=asked["columns"]))) == 2


def test_the_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?:`|^)make ([a-z]+)", text(shown(page)), re.MULTILINE)}
    assert {"repro", "test", "ui", "docs"} <= named <= targets


# Code and params


@pytest.mark.slow
def test_a_scheduler_a_dataset_and_models_of_ones_own_train(tmp_path: Path) -> None:
    examples = [block for block in (*blocks(OWN, "python"), *blocks(README, "python")) if "@register" in block]
    assert len(examples) == 7
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "pipeline/custom.py").open("a", encoding="utf-8") as file:
        file.write("\n\n".join(examples))
    (own,) = [block for block in blocks(OWN, "yaml") if "moons" in block]
    for old, new in (("name: moons}", "name: moons, samples: 200}"), ("epochs: 20", "epochs: 8"), ("decay: 20%", "decay: 50%")):
        assert old in own
        own = own.replace(old, new)
    (problem,) = re.findall(r"^  moons:\n.*?(?=^schedulers:)", own, re.DOTALL | re.MULTILINE)
    (model,) = re.findall(r"`(model: {name: mine.*?})`", README)
    again = re.sub(r"model: .*", model, problem.replace("moons:", "mine:", 1))
    again += re.sub(r"model: .*", "model: {name: wide and deep}", problem.replace("moons:", "wide:", 1))
    text_of_params = f"seeds: 2\n{own.replace(problem, problem + again)}\nreport: {{baseline: Trapezoid}}\n"
    (tmp_path / "params.yaml").write_text(text_of_params, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    # Constant for half of the run, then in a straight line towards zero.
    rates = str([0.1, 0.1, 0.1, 0.1, 0.1, 0.1 * 3 / 4, 0.1 * 2 / 4, 0.1 * 1 / 4])
    assert done.stdout.splitlines() == [rates, rates, rates]


FRAGMENTS = [
    (shown(page), block) for page in PAGES for block in blocks(text(shown(page)), "yaml") if shown(page) != "docs/own-code.md"
]


@pytest.mark.parametrize(("page", "block"), FRAGMENTS)
def test_what_is_shown_of_params_is_right(page: str, block: str, tmp_path: Path) -> None:
    """In the default file, in the place of the sections it has; schedulers beside those that are there."""
    yaml = YAML(typ="safe")
    yaml.allow_duplicate_keys = True  # one value and another one
    given, whole = yaml.load(block), yaml.load(text("params.yaml"))
    schedulers = whole["schedulers"] | given.get("schedulers", {})
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(whole | given | {"schedulers": schedulers}, file)
    assert given.keys() <= Params.model_fields.keys(), page
    assert load_params(CATALOGUE, tmp_path / "params.yaml").problems


def test_a_mistake_is_told_as_shown(tmp_path: Path) -> None:
    """`stepsize` for `step_size` in the default file."""
    (told,) = re.findall(r"```\n(params\.yaml:.*?)\n```", text("docs/params.md"), re.DOTALL)
    (tmp_path / "params.yaml").write_text(text("params.yaml").replace("step_size: 30%", "stepsize: 30%", 1), encoding="utf-8")
    with pytest.raises(ParamsError) as error:
        load_params(CATALOGUE, tmp_path / "params.yaml")
    assert str(error.value) == told


# Links and pages


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub and MkDocs make them."""
    lines = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE).splitlines()
    headings = [line.lstrip("#").strip().lower() for line in lines if re.match(r"#+ ", line)]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_link_leads_somewhere(page: Path) -> None:
    """A page of the site to pages of the site alone."""
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        found = (page.parent / file).resolve() if file else page
        assert found.is_file(), target
        assert not anchor or anchor in anchors(found), target
        assert page not in DOCS or found.parent == ROOT / "docs", f"{target} leads out of the site"


def test_every_page_is_in_the_sites_navigation() -> None:
    named = re.findall(r": ([a-z-]+\.md)$", text("mkdocs.yml"), re.MULTILINE)
    assert sorted(named) == [page.name for page in DOCS]


def test_the_pictures_are_there() -> None:
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert pictures
    assert all((ROOT / picture).stat().st_size > 10_000 for picture in pictures)


def test_the_readme_is_short_and_names_what_one_needs() -> None:
    assert len(README.split()) <= 900
    needed = ("make repro", "make test", "make ui", "MLflow UI", "Optuna's dashboard", "dvc.yaml", "params.yaml", "LICENSE")
    assert not [words for words in needed if words not in README]


def test_what_a_page_loads_from_a_network_is_found() -> None:
    page = """<link rel="canonical" href="https://a/"><link rel="stylesheet" href="https://b/c.css"><a href="https://d/">d</a>
    <script src="//e/f.js"></script><img src="g.png"><style>body { background: url("https://h/i.png") }</style>"""
    assert loaded(page) == ["https://b/c.css", "//e/f.js", "https://h/i.png"]


# What is generated


@pytest.mark.parametrize("page", [page for page in DOCS if page.name != "default-study.md"], ids=shown)
def test_generated_parts_are_current(page: Path) -> None:
    found = page.read_text(encoding="utf-8")
    assert found == scripts.docs.written(found), "run `python -m scripts.docs`"


class Silent(BaseModel):
    words: int


def test_a_key_without_a_meaning_is_an_error() -> None:
    with pytest.raises(LookupError, match="Silent: no text below words"):
        scripts.docs.meanings_of(Silent)


def test_a_section_that_was_not_measured_is_an_error() -> None:
    with pytest.raises(LookupError, match="no section 'Wishes'"):
        scripts.docs.written("<!-- measured Wishes -->\n<!-- /measured -->")


def test_the_default_studys_tables_have_its_problems_and_schedulers() -> None:
    """Its figures may have other digits on another processor; those that are in git are the ones it shows."""
    found = text("docs/default-study.md").partition("<!-- study -->")[2]
    params = load_params(CATALOGUE, ROOT / "params.yaml")
    assert re.findall(r"^### (.*)", found, re.MULTILINE) == list(params.problems)
    assert re.findall(r"^\| `(\w+)` \|", found, re.MULTILINE) == list(params.schedules("digits")) * len(params.problems)
    for metrics in json.loads((ROOT / "reports/metrics.json").read_bytes()).values():
        assert f"| {metrics['validation_loss']:.4f} (" in found
        assert f"| {raised(metrics['regret_bound']):.1%} |" in found, "no bound is told lower than it is"
