"""The main job, end to end, as its users do it: `dvc repro` in a repository of its own, with small params."""

import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from tests import faults
from tests.analysis.helpers import rates_of
from tests.conftest import ROOT
from tests.pages import commands, text
from tests.problems.helpers import from_files

if TYPE_CHECKING:
    from mlflow.entities import Run

COPIED = ("pipeline", "scripts", "inputs", "dvc.yaml", "params.yaml", "requirements.txt", "constraints.txt", ".dvc/config",
          ".dvc/plots", ".dvc/.gitignore", ".dvcignore", ".gitignore")  # fmt: skip
PROBLEM = "synthetic"
SCHEDULERS = ("StepLR", "CosineAnnealingLR", "ReduceLROnPlateau", "REX", "ScheduleFree", "ConstantLR")
"""By epochs, by batches, live, and with an optimizer of its own: those of params.yaml that are kept."""
OF_CHECK = {"data/digests.json", "data/params.json"}
SMALLER = (
    ("seeds: 10", "seeds: 2"),
    ("train: 1000, validation: 1000, test: 4000", "train: 100, validation: 60, test: 80"),
    ("spare: 24000", "spare: 60"),
    ("epochs: 100", "epochs: 5"),
    ("trials: 32, batch: 8", "trials: 4, batch: 2"),
    ("points: 10, budgets: [10%, 25%, 50%]", "points: 2, budgets: [50%]"),
    # Compiled, as a study of the usual size is.
    ("    model: {name: linear}\n", "    model: {name: mlp, hidden: [4]}\n    engine: compiled\n"),
)
# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]


def run(repository: Path, *command: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONDONTWRITEBYTECODE": "", "OMP_NUM_THREADS": "1"}  # clones take the bytecode along
    environment = os.environ | own
    for name in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "DVC_ROOT", "PYTHONPATH"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository of the project's files, with params that train in seconds; reproduced once."""
    repository = tmp_path_factory.mktemp("project")
    for name in COPIED:
        target = repository / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target)
    params = (repository / "params.yaml").read_text(encoding="utf-8")
    for old, new in SMALLER:
        assert old in params
        params = params.replace(old, new)
    params = re.sub(r"^  digits:.*?(?=^schedulers:)", "\n", params, flags=re.DOTALL | re.MULTILINE)  # one problem will do
    head, between, rest = re.split(r"(^schedulers:.*?(?=^tune:))", params, flags=re.DOTALL | re.MULTILINE)
    kept = [line for line in between.splitlines() if line.startswith(("schedulers:", *(f"  {name}:" for name in SCHEDULERS)))]
    assert len(kept) == 1 + len(SCHEDULERS)
    (repository / "params.yaml").write_text(head + "\n".join([*kept, "", rest]), encoding="utf-8")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    run(repository, "git", "init", "-q")
    run(repository, "git", "add", ".")
    run(repository, *git, "commit", "-qm", "A small study")
    run(repository, "dvc", "repro")
    run(repository, "git", "add", ".")
    run(repository, *git, "commit", "-qm", "Its results")
    return repository


def written(repository: Path) -> dict[str, str]:
    """Every file that the stages hand on, with the hash of its bytes."""
    files = [path for folder in ("data", "results", "reports") for path in (repository / folder).rglob("*") if path.is_file()]
    return {str(p.relative_to(repository)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.name != ".gitignore"}


def rows(repository: Path) -> dict[str, int]:
    """How much MLflow's database holds."""
    with contextlib.closing(sqlite3.connect(repository / "mlflow.db")) as connection:
        tables = ("runs", "metrics", "latest_metrics", "params", "inputs", "datasets")
        return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def runs_in_mlflow(repository: Path, problem: str, having: str = "") -> "list[Run]":
    """The problem's runs, as a user searches for them."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{repository}/mlflow.db")
    experiment = client.get_experiment_by_name(problem)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id], having))


def studies(repository: Path) -> dict[str, list[tuple[int, float | None]]]:
    """Number and value of every trial in Optuna's journal, by study."""
    journal = JournalStorage(JournalFileBackend(str(repository / "optuna.journal")))
    return {
        study.study_name: [(trial.number, trial.value) for trial in journal.get_all_trials(study._study_id)]
        for study in journal.get_all_studies()
    }


def test_every_run_is_in_mlflow(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variants × schedulers × seeds × streams, each with the code and the data that it was trained with."""
    monkeypatch.chdir(project)
    trained = pd.concat([pd.read_parquet(f"results/{PROBLEM}/{stage}/runs.parquet") for stage in ("train", "tune", "confirm")])
    revision = run(project, "git", "rev-parse", "HEAD~1").stdout.strip()
    digest = from_files(load_params(CATALOGUE, project / "params.yaml"), PROBLEM).data.digest
    found = runs_in_mlflow(project, PROBLEM)
    assert len(found) == 3 * len(SCHEDULERS) * 2 * 2
    assert {each.data.tags["fingerprint"] for each in found} == set(trained["run"])
    assert {each.data.tags["git"] for each in found} == {revision}
    assert {each.info.status for each in found} == {"FINISHED"}
    assert {given.dataset.digest for each in found if each.inputs for given in each.inputs.dataset_inputs} == {digest}
    losses = dict(zip(trained["run"], trained["validation_loss"], strict=True))
    for each in found:
        if each.data.tags["diverged"] == "false":
            assert each.data.metrics["loss/validation"] == losses[each.data.tags["fingerprint"]]


def test_every_trial_is_in_optunas_storage(project: Path) -> None:
    expected = {}
    for study, own in pd.read_parquet(project / f"results/{PROBLEM}/tune/trials.parquet").groupby("study"):
        values = [None if pd.isna(value) else value for value in own["value"]]
        expected[str(study)] = list(zip(own["number"], values, strict=True))
    assert len(expected) == len(SCHEDULERS) * 2
    assert studies(project) == expected


def test_the_winners_script_runs_and_has_the_reported_rates(project: Path) -> None:
    """The run of the recommendation had them; a schedule that reacts to the loss begins as it did."""
    chosen = pd.read_csv(project / "reports/evidence/choices.csv").set_index("variant")
    curves = pd.read_parquet(project / f"results/{PROBLEM}/confirm/curves.parquet").set_index("run")
    of_run = curves.loc[[chosen["run"]["recommended"]], "lr"].tolist()
    rates = rates_of((project / f"reports/best/{PROBLEM}.py").read_text(encoding="utf-8"), 4)  # 100 samples in batches of 32
    assert rates == pytest.approx(of_run[: len(rates)], rel=1e-14)  # the peak may be rounded in its last bit
    assert "validation loss" in run(project, sys.executable, f"reports/best/{PROBLEM}.py").stdout


def test_all_results_of_the_contract_are_there(project: Path) -> None:
    per_problem = [
        "data/{}.parquet", "data/{}.splits.parquet",
        "results/{}/train/runs.parquet", "results/{}/train/curves.parquet", "results/{}/train/findings.json",
        "results/{}/tune/trials.parquet", "results/{}/tune/reruns.parquet",
        "results/{}/tune/runs.parquet", "results/{}/tune/curves.parquet", "results/{}/tune/best.yaml",
        "results/{}/tune/importances.parquet", "results/{}/sweep/runs.parquet", "reports/best/{}.py",
        "results/{}/train/weights.safetensors", "results/{}/tune/weights.safetensors",
        "results/{}/confirm/runs.parquet", "results/{}/confirm/curves.parquet", "results/{}/confirm/weights.safetensors",
    ]  # fmt: skip
    reports = [
        "answer.json",
        "comparison.csv",
        "comparison.md",
        "learning_rates.csv",
        "metrics.json",
        "report.html",
        "curves.csv",
    ]
    expected = {name.format(PROBLEM) for name in per_problem}
    found = set(written(project))
    more = {name for name in found if name.startswith(("reports/evidence/", "reports/figures/", f"reports/best/{PROBLEM}/"))}
    assert found - more == expected | {f"reports/{name}" for name in reports} | OF_CHECK
    assert {Path(name).suffix for name in more} == {".csv", ".md", ".py", ".svg"}
    runs = pd.read_parquet(project / "results/synthetic/train/runs.parquet")
    assert len(runs) == runs["run"].nunique() == len(SCHEDULERS) * 2 * 2
    comparison = pd.read_csv(project / "reports/comparison.csv")
    assert len(comparison) == 3 * len(SCHEDULERS)
    kept = comparison[comparison["diverged"] == 0]  # with so few samples and epochs, some do
    assert len(kept) > 7
    assert not kept[["validation_loss", "validation_loss_low", "test_loss", "rank"]].isna().any(axis=None)


def test_git_is_clean_after_a_run(project: Path) -> None:
    assert run(project, "git", "status", "--porcelain").stdout == ""


def test_a_second_run_does_nothing(project: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (project / "results").rglob("*")}
    assert "Data and pipelines are up to date" in run(project, "dvc", "repro").stdout
    assert {path: path.stat().st_mtime_ns for path in (project / "results").rglob("*")} == before


def test_from_scratch_the_same_bytes(project: Path, tmp_path: Path) -> None:
    """With data, results, DVC's cache, the stores and the kept rounds deleted."""
    fresh = tmp_path / "fresh"
    shutil.copytree(project, fresh)
    kept = ("data", "results", "reports", ".dvc/cache", ".dvc/tmp", ".state", "mlflow.db", "optuna.journal", "mlartifacts",
            "tracked.json")  # fmt: skip
    for name in kept:
        path = fresh / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    run(fresh, "dvc", "repro")
    assert written(fresh) == written(project)
    assert rows(fresh) == rows(project)
    assert studies(fresh) == studies(project)


def test_a_typo_costs_nothing(project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(project, broken)
    params = (broken / "params.yaml").read_text(encoding="utf-8")
    (broken / "params.yaml").write_text(params.replace("step_size: 30%", "stepsize: 30%"), encoding="utf-8")
    line = next(i for i, text in enumerate(params.splitlines(), 1) if "step_size: 30%" in text)
    message = run(broken, "dvc", "repro", succeeds=False).stderr
    assert f"params.yaml:{line}:19: schedulers.StepLR.args.stepsize:" in message
    assert "did you mean step_size?" in message
    assert "Traceback" not in message
    assert written(broken).items() >= {k: v for k, v in written(project).items() if k not in OF_CHECK}.items()


def test_there_and_back_trains_what_is_new_and_then_nothing(project: Path, tmp_path: Path) -> None:
    """One more seed and one scheduler less; then the old params.yaml, by DVC's run cache, and without it by the store.

    What is told to MLflow again adds nothing to it.
    """
    again = tmp_path / "again"
    shutil.copytree(project, again)
    params = (again / "params.yaml").read_text(encoding="utf-8")
    changed = params.replace("seeds: 2", "seeds: 3").replace("  REX: {args: {final: 0%}}\n", "")
    assert changed != params
    (again / "params.yaml").write_text(changed, encoding="utf-8")
    told = run(again, "dvc", "repro").stderr
    assert "train@synthetic: 10 runs, 100% done" in told  # of 30
    (again / "params.yaml").write_text(params, encoding="utf-8")
    back = run(again, "dvc", "repro").stdout
    assert re.findall("Running stage '(.*)'", back) == ["track"]
    assert written(again) == written(project)
    shutil.rmtree(again / ".dvc/cache")
    before = rows(again)
    assert "% done" not in run(again, "dvc", "repro", "-f").stderr
    assert written(again) == written(project)
    assert rows(again) == before


def test_damaged_files_are_made_anew_or_told(project: Path, tmp_path: Path) -> None:
    """`make faults` in short: five files at once, as its clone of that number has them, each of another kind."""
    bench = faults.Bench(tmp_path, faults.Clone(project), 0.0, random.Random(0))
    row = faults.damage(bench, 2)
    assert (row.times, row.notes) == (5, [])
    hostile = faults.hostile(bench, 1)
    assert (hostile.times, hostile.notes) == (1, [])


def test_the_commands_of_the_documentation_work_in_order(project: Path, tmp_path: Path) -> None:
    repository = tmp_path / "documented"
    shutil.copytree(project, repository)
    told: dict[str, str] = {}
    for page in ("docs/plan.md", "docs/results.md", "docs/reliability.md", "docs/tools.md"):
        for command in commands(text(page)):
            told[command] = run(repository, "sh", "-c", command).stdout
    expected = {
        "pipeline plan": "plan: nothing to do, all stages are up to date",
        "pipeline schedulers": "synthetic: 5 epochs of",
        "dvc repro": "Data and pipelines are up to date",
        "dvc dag": "train@synthetic",
        "metrics show": "validation_loss",
        "exp run": "Experiment results have been applied to your workspace",
        "optuna": "synthetic/StepLR/0",
    }
    for words, output in expected.items():
        (found,) = (told[command] for command in told if words in command)
        assert output in found
    assert "CosineAnnealingLR" in (repository / "dvc_plots/index.html").read_text(encoding="utf-8")


def test_an_experiment_runs_beside_the_work(project: Path, tmp_path: Path) -> None:
    """In DVC's temporary copy: the results are the experiment's, the stores the repository's own."""
    repository = tmp_path / "experiment"
    shutil.copytree(project, repository)
    before = rows(repository)["runs"]
    stages = ("check", "train@synthetic", "confirm@synthetic", "report", "track")
    change = ("-S", "problems.synthetic.epochs=6", "--single-item")
    run(repository, "dvc", "exp", "run", "--temp", "--name", "longer", *change, *stages)
    table = json.loads(run(repository, "dvc", "exp", "show", "--json").stdout)
    assert "longer" in json.dumps(table)
    assert written(repository) == written(project)
    changed = json.loads(run(repository, "dvc", "metrics", "diff", "--json", "HEAD", "longer").stdout)["reports/metrics.json"]
    assert changed["synthetic.validation_loss"]["diff"] != 0
    assert len(changed) <= 8
    run(repository, "dvc", "plots", "diff", "--out", "plots", "HEAD", "longer")
    page = (repository / "plots/index.html").read_text(encoding="utf-8")
    assert '"rev": "longer"' in page
    assert '"rev": "HEAD"' in page
    found = runs_in_mlflow(repository, "synthetic", "tags.dvc_experiment = 'longer'")
    assert len(found) == 2 * len(SCHEDULERS) * 2 * 2  # as written and as recommended
    assert {each.data.params["epochs"] for each in found} == {"6"}
    assert {each.data.tags["dvc_baseline"] for each in found} == {run(repository, "git", "rev-parse", "HEAD").stdout.strip()}
    assert rows(repository)["runs"] == before + len(found) + 1  # the report of the experiment
