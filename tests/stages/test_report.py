"""The report stage, on made-up results of realistic shape: seven schedulers, ten seeds, two problems, a hundred epochs."""

import contextlib
import functools
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from optuna.distributions import FloatDistribution, distribution_to_json

from pipeline.analysis.assembled import assemble
from pipeline.analysis.choice import last
from pipeline.analysis.configurations import configuration
from pipeline.analysis.page import Report
from pipeline.analysis.snippet import snippet
from pipeline.analysis.statistics import CRITERION
from pipeline.analysis.tables import recommendations
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.data.splits import draw_splits
from pipeline.problems.dataset import Dataset, splits_of, table_of
from pipeline.runs import results
from pipeline.runs.results import CURVE_COLUMNS, RERUN_COLUMNS, RUN_COLUMNS, SWEEP_COLUMNS, TRIAL_COLUMNS
from pipeline.stages import report
from pipeline.statistics import comparison as judged
from pipeline.tracking import trackers

EPOCHS, SEEDS, DRAWS = 100, 10, 2_500  # a quarter of the draws of the null distribution, which takes a quarter of the time
STAGES = (("train", "default"), ("tune", "tuned"), ("confirm", "recommended"))
PARAMS = """\
seeds: 10
problems:
  synthetic:
    dataset: {name: synthetic}
    model: {name: linear}
    optimizer: {name: SGD, lr: 1.0}
    epochs: 100
    batch_size: 32
  digits:
    dataset: {name: digits}
    model: {name: mlp, hidden: [32]}
    optimizer: {name: SGD, lr: 0.5}
    epochs: 100
    batch_size: 32
schedulers:
  StepLR: {args: {step_size: 30%, gamma: 0.1}}
  MultiStepLR: {args: {milestones: [30%, 80%], gamma: 0.1}}
  ExponentialLR: {args: {gamma: 0.95}}
  CosineAnnealingLR: {args: {T_max: 100%}}
  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}
  CyclicLR: {args: {base_lr: 1%, max_lr: 100%, step_size_up: 10%, cycle_momentum: false}}
  ConstantLR: {args: {factor: 1.0}}
report: {every: 10, baseline: ConstantLR, target: {digits: 0.125}}
"""
PEAK = {"synthetic": 1.0, "digits": 0.5}
LOSS = {"synthetic": (0.69, 0.31), "digits": (2.3, 0.11)}  # at the start, at the end of a good run
ARGS: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 30, "gamma": 0.1},
    "MultiStepLR": {"milestones": [30, 80], "gamma": 0.1},
    "ExponentialLR": {"gamma": 0.95},
    "CosineAnnealingLR": {"T_max": 100, "eta_min": 0.0},
    "ReduceLROnPlateau": {
        "factor": 0.1, "patience": 10, "threshold": 1e-4, "threshold_mode": "rel", "cooldown": 0, "min_lr": 0.0, "eps": 1e-8,
    },
    "CyclicLR": {
        "base_lr": 0.01, "max_lr": 1.0, "step_size_up": 320, "step_size_down": None, "mode": "triangular", "gamma": 1.0,
        "cycle_momentum": False, "base_momentum": 0.8, "max_momentum": 0.9,
    },
    "ConstantLR": {"factor": 1.0, "total_iters": 5},
}  # fmt: skip
SGD = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
FINDINGS = [
    {
        "scheduler": "CyclicLR", "trap": "momentum", "epoch": 1, "what": "the momentum becomes 0.8 to 0.9",
        "why": "two things change at once", "change": "write cycle_momentum: false",
    }
]  # fmt: skip
# The answer's, forest, gain, sensitivity, best so far, importances, training loss; budgets, validation loss and gallery as
# written and as recommended; three profiles.
DRAWINGS = 2 * (7 + 2 * 3) + 3
READABLE = "problem | variant | scheduler | validation loss | ± | at most | like these | verdict | diverged"
COMPARISON = [
    "problem", "variant", "scheduler", "seeds", "runs", "diverged",
    "validation_loss", "validation_loss_low", "validation_loss_high",
    "validation_metric", "validation_metric_low", "validation_metric_high",
    "test_loss", "test_loss_low", "test_loss_high", "test_metric", "test_metric_low", "test_metric_high", "rank",
    "difference", "difference_low", "difference_high", "p", "verdict", "in_set", "regret", "regret_bound",
    "like_these_low", "like_these_high", "like_these_verdict", "like_these_bound",
    "validation_loss_median", "validation_loss_iqm",
    "validation_metric_difference", "validation_metric_difference_low", "validation_metric_difference_high",
    "test_loss_difference", "test_loss_difference_low", "test_loss_difference_high",
    "test_metric_difference", "test_metric_difference_low", "test_metric_difference_high",
    "validation_metric_verdict", "validation_metric_regret", "validation_metric_regret_bound", "metric",
]  # fmt: skip


def shape(label: str, stretch: float, draw: np.random.Generator) -> npt.NDArray[np.floating[Any]]:
    """The learning rate of each epoch as a share of the peak."""
    e = np.arange(EPOCHS)
    drop = draw.integers(35, 60)
    shapes: dict[str, Callable[[], npt.NDArray[np.floating[Any]]]] = {
        "StepLR": lambda: 0.1 ** (e // (30 * stretch)),
        "MultiStepLR": lambda: 0.1 ** ((e >= 30 * stretch).astype(float) + (e >= 80)),
        "ExponentialLR": lambda: 0.95 ** (e * stretch),
        "CosineAnnealingLR": lambda: (1 + np.cos(np.pi * e / EPOCHS)) / 2,
        "ReduceLROnPlateau": lambda: 0.1 ** ((e >= drop).astype(float) + (e >= drop + 22)),
        "CyclicLR": lambda: 0.01 + 0.99 * (1 - np.abs(e % 20 / 10 - 1)),
        "ConstantLR": lambda: np.ones(EPOCHS),
    }
    return shapes[label]()


def run(problem: str, variant: str, label: str, seed: int, stream: int = 1) -> tuple[dict[str, Any], pd.DataFrame]:
    """A row of runs.parquet and the run's rows of curves.parquet."""
    found_on = 4 if variant == "recommended" else seed  # that of seed 4 is recommended
    configured = np.random.default_rng([len(problem), len("tuned"), list(ARGS).index(label), found_on])
    draw = np.random.default_rng([len(problem), len(variant), list(ARGS).index(label), seed, stream])
    luck = np.random.default_rng([len(problem), seed]).normal()  # of the split: all schedulers share it
    tuned = variant != "default"
    factor = round(float(2 ** configured.normal(1, 0.7)), 3) if tuned else 1.0
    lr = factor * PEAK[problem] * shape(label, float(configured.uniform(0.6, 1.2)) if tuned else 1.0, draw)
    start, end = LOSS[problem]
    warmth = lr / (factor * PEAK[problem])
    progress = 1 - np.exp(-np.cumsum(0.55 + 0.45 * warmth) / (11 if tuned else 14))
    noise = np.abs(draw.normal(0, 0.05, EPOCHS)) * warmth + 0.1 * warmth
    train = start + (end * 0.85 - start) * progress + end * noise
    validation = start + (end * (1 + 0.04 * luck) - start) * progress + end * noise * 1.3 + 0.004 * draw.normal()
    diverged = label == "CyclicLR" and problem == "digits" and seed in (3, 7) and not tuned
    if diverged:
        train[60:], validation[60:] = np.nan, np.nan
    name = f"{problem}-{variant}-{label}-{seed}" + ("-2" if stream == 2 else "")
    figures = {"train_loss": train[-1], "validation_loss": validation[-1]}
    figures |= {"test_loss": validation[-1] * 1.02, "validation_metric": np.exp(-validation[-1])}
    row = {
        "run": name, "variant": variant, "scheduler": label, "seed": seed, "stream": stream,
        "epochs": EPOCHS, "lr": factor * PEAK[problem],
        "args": json.dumps(ARGS[label], sort_keys=True), "resolved": json.dumps(ARGS[label], sort_keys=True),
        "diverged": diverged, **figures, "test_metric": figures["validation_metric"] * 0.99,
        "metric": "Accuracy", "name": label, "interval": "batch" if label == "CyclicLR" else "epoch", "warmup": 0,
        "optimizer": json.dumps({"name": "SGD", "args": {"lr": PEAK[problem], **SGD}}), "dataset": digest(problem),
        "device": "cpu",
    }  # fmt: skip
    curves = {"lr": lr, "momentum": 0.0, "train_loss": train, "validation_loss": validation}
    identity = {key: row[key] for key in ("run", "variant", "scheduler", "seed", "stream")}
    frame = pd.DataFrame({**identity, "epoch": np.arange(1, EPOCHS + 1), **curves, "validation_metric": np.exp(-validation)})
    return row, frame[list(CURVE_COLUMNS)]


def write_stage(problem: str, stage: str, variant: str) -> None:
    seeds = range(1000, 1000 + SEEDS) if variant == "recommended" else range(SEEDS)
    made = [run(problem, variant, *of) for of in itertools.product(ARGS, seeds, (1, 2))]
    runs = pd.DataFrame([row for row, _ in made])[list(RUN_COLUMNS)]
    beside = {"findings.json": results.findings_file(problem, FINDINGS)} if variant == "default" else {}
    results.write_runs(problem, stage, runs, pd.concat([curves for _, curves in made], ignore_index=True), beside)
    if variant == "tuned":
        best = [row for row, _ in made if row["seed"] == 4 and row["stream"] == 1]
        lines = [
            f"{r['scheduler']}: {{name: {r['name']}, lr: {100 * r['lr'] / PEAK[problem]:.10g}%, args: {r['args']}}}"
            for r in best
        ]
        searched = {"trials.parquet": trials(problem), "importances.parquet": importances(), "reruns.parquet": reruns()}
        written = {(stage, "best.yaml"): results.best_file(problem, "\n".join(lines))}
        for of, frames in (("tune", searched), ("sweep", {"runs.parquet": sweep(problem)})):
            written |= {(of, name): file for name, file in results.tables(problem, of, frames, digest(problem)).items()}
        files.write_files((files.stage_path(problem, *place), content) for place, content in written.items())


def trials(problem: str) -> pd.DataFrame:
    """Eight trials of every study, each better than the last or diverged."""
    draw = np.random.default_rng(len(problem))
    rows = [
        {
            "scheduler": label,
            "seed": seed,
            "number": number,
            "state": "COMPLETE",
            "value": 0.5 - 0.01 * number + draw.normal(0, 0.01),
            "params": json.dumps({"lr %": 900.0 if label == "StepLR" and problem == "digits" else 100.0}),
            "distributions": json.dumps({"lr %": distribution_to_json(FloatDistribution(1, 1000, log=True))}),
        }
        for label, seed, number in itertools.product(ARGS, range(SEEDS), range(8))
    ]
    table = pd.DataFrame(rows).reindex(columns=list(TRIAL_COLUMNS))
    pruned = table["number"] % 5 == 4
    return table.assign(state=table["state"].mask(pruned, "PRUNED"), value=table["value"].mask(pruned))


def reruns() -> pd.DataFrame:
    """Three trials of every study on three streams, on the second and third by a tenth worse than the search had found."""
    rows = [
        (label, seed, number, stream, (0.4 + 0.01 * number) * (1.1 if stream > 1 else 1))
        for label, seed, number, stream in itertools.product(ARGS, range(SEEDS), range(3), (1, 2, 3))
    ]
    return pd.DataFrame(rows, columns=list(RERUN_COLUMNS))


def importances() -> pd.DataFrame:
    """Nine tenths are the peak rate's."""
    rows = [
        {"scheduler": label, "seed": seed, "parameter": parameter, "importance": importance}
        for label, seed in itertools.product(ARGS, range(SEEDS))
        for parameter, importance in (("lr %", 0.9), ("shape", 0.1))
        if label != "ConstantLR"
    ]
    return pd.DataFrame(rows)


def sweep(problem: str) -> pd.DataFrame:
    """Losses that rise to both sides of a best rate, and fall with the budget."""
    draw = np.random.default_rng(len(problem))
    rates = [("rate", "recommended", lr, EPOCHS) for lr in np.geomspace(0.01, 10, 7)]
    budgets = [("budget", variant, 1.0, epochs) for variant in ("default", "recommended") for epochs in (10, 50)]
    rows = [
        {
            "run": f"{kind}-{variant}-{lr:.3g}-{epochs}-{label}-{seed}", "kind": kind, "variant": variant, "scheduler": label,
            "seed": seed, "stream": 1, "epochs": epochs, "lr": lr, "diverged": bool(lr > 9 and seed > 6), "train_loss": 0.3,
            "validation_loss": 0.3 + 0.05 * np.log10(lr) ** 2 + 1 / epochs + draw.normal(0, 0.002), "validation_metric": 0.9,
        }
        for (kind, variant, lr, epochs), label, seed in itertools.product([*rates, *budgets], ARGS, range(SEEDS))
    ]  # fmt: skip
    return pd.DataFrame(rows)[list(SWEEP_COLUMNS)]


def dataset() -> pd.DataFrame:
    """Parts of the sizes of the synthetic problem, nearly without features."""
    split = np.repeat(["train", "validation", "test", "spare"], [1000, 1000, 1000, 17000])
    return pd.DataFrame({"split": split, "y": np.arange(len(split)) % 2, "x0": np.float32(0.5)})


@functools.cache
def digest(problem: str) -> str:
    """The written dataset's, which is the same wherever it is written."""
    return Dataset.of(problem, files.read_dataset(problem), splits_of(files.read_splits(problem))).digest


@pytest.fixture(scope="module")
def results_of_both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """params.yaml, and what the stages train and tune write; not to be changed."""
    path = tmp_path_factory.mktemp("results")
    (path / "params.yaml").write_text(PARAMS)
    with contextlib.chdir(path):
        for problem in PEAK:
            data = dataset()
            files.write_dataset(
                problem, data, table_of(draw_splits(problem, data, [*range(SEEDS), *range(1000, 1000 + SEEDS)], resample=True))
            )
        for problem, (stage, variant) in itertools.product(PEAK, STAGES):
            write_stage(problem, stage, variant)
    return path


@pytest.fixture(scope="module")
def made(results_of_both: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """A repository with its report, and the report itself."""
    path = shutil.copytree(results_of_both, tmp_path_factory.mktemp("reported"), dirs_exist_ok=True)
    found: list[Report] = []

    def noted(*given: Any) -> Report:
        found.append(assemble(*given))
        return found[0]

    with contextlib.chdir(path), pytest.MonkeyPatch.context() as patch:
        patch.setattr(trackers, "TRACKERS", {})  # MLflow takes seconds
        patch.setattr(report, "assemble", noted)
        patch.setattr(judged, "DRAWS", DRAWS)
        report.main()
    return path, found[0]


@pytest.fixture(scope="module")
def reported(made: tuple[Path, Report]) -> Path:
    """A repository with its report; not to be changed."""
    return made[0]


@pytest.fixture
def tuned_repository(results_of_both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which the stages train and tune are done, as the working directory."""
    monkeypatch.chdir(shutil.copytree(results_of_both, tmp_path, dirs_exist_ok=True))
    monkeypatch.setattr(trackers, "TRACKERS", {})
    return tmp_path


@pytest.fixture
def repository(tuned_repository: Path) -> Path:
    """The same before stage tune."""
    for problem in PEAK:
        for stage in ("tune", "confirm", "sweep"):
            shutil.rmtree(files.stage_path(problem, stage, ""))
    return tuned_repository


@pytest.fixture(scope="module")
def page(reported: Path) -> "Page":
    return Page((reported / "reports" / "report.html").read_text())


def outputs(repository: Path) -> dict[str, bytes]:
    folder = repository / "reports"
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def comparison(repository: Path) -> pd.DataFrame:
    return pd.read_csv(repository / "reports" / "comparison.csv")


class Page(HTMLParser):
    """What a page consists of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.usefixtures("few_draws")
def test_before_tuning_the_report_shows_the_default_variant_alone(repository: Path) -> None:
    """What an earlier report had of a problem that is no more goes."""
    alone = re.sub(r"  digits:\n(    .*\n)+", "", PARAMS).replace(", target: {digits: 0.125}", "")
    (repository / "params.yaml").write_text(alone)
    earlier = repository / "reports/best/digits.py"
    for path in (earlier, repository / "reports/best/digits/StepLR.py", repository / "reports/best/synthetic/Gone.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("print()")
    notes = repository / "reports/notes.txt"
    notes.write_text("the user's own")
    report.main()
    assert notes.read_text() == "the user's own"
    assert sorted(path.name for path in earlier.parent.iterdir()) == ["synthetic", "synthetic.py"]
    assert sorted(path.stem for path in (earlier.parent / "synthetic").iterdir()) == sorted(ARGS)
    table = comparison(repository)
    assert list(table.columns) == COMPARISON
    assert set(table["variant"]) == {"default"}
    assert list(table["scheduler"]) == list(ARGS)
    assert "Tuned " not in (repository / "reports" / "report.html").read_text().partition("How to read")[0]


@pytest.mark.slow
def test_a_second_run_writes_the_same_bytes(tuned_repository: Path, reported: Path) -> None:
    # Another process: nothing may hang on its hash seed.
    script = "from pipeline.tracking import trackers; trackers.TRACKERS = {}; from pipeline.statistics import comparison; "
    script += f"comparison.DRAWS = {DRAWS}; from pipeline.stages import report; report.main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(report.__file__).parents[2]), "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=tuned_repository, env=environment)
    first = outputs(reported)
    assert outputs(tuned_repository) == first
    top = {name for name in first if "/" not in name}
    assert top == {
        "answer.json",
        "comparison.csv",
        "comparison.md",
        "curves.csv",
        "learning_rates.csv",
        "metrics.json",
        "report.html",
    }
    of_each = {f"best/{problem}/{label}.py" for problem in PEAK for label in ARGS}
    assert {name for name in first if name.startswith("best/")} == {"best/digits.py", "best/synthetic.py", *of_each}


def test_with_tuning_every_table_and_figure_has_all_variants(reported: Path, page: Page) -> None:
    table = comparison(reported)
    assert len(table) == 2 * 3 * len(ARGS)
    assert page.text.count("What tuning changed") == 2 * 2
    drawings = [figure for figure in page.all("svg") if figure.get("role") == "img"]
    assert len(drawings) == DRAWINGS
    assert len([name for name in outputs(reported) if name.endswith(".svg")]) == len(drawings)
    assert all(drawing["aria-label"] for drawing in drawings)
    markdown = (reported / "reports" / "comparison.md").read_text().splitlines()
    assert markdown[0] == f"| {READABLE} |"
    assert len(markdown) == 2 + len(table)
    assert max(map(len, markdown)) <= 120


def test_a_scheduler_with_diverged_seeds_is_counted_and_ranked_last(reported: Path, page: Page) -> None:
    table = comparison(reported).query("problem == 'digits' and variant == 'default'")
    cyclic = table[table["scheduler"] == "CyclicLR"]
    assert [cyclic[column].item() for column in ("seeds", "runs", "diverged", "rank")] == [10, 20, 4, 7]
    assert cyclic["validation_loss"].item() < table["validation_loss"].max()  # the mean of the others is not the worst
    assert "4 of 20" in page.text


def test_learning_rates_are_those_of_the_tutorial(reported: Path, page: Page) -> None:
    rates = pd.read_csv(reported / "reports" / "learning_rates.csv")
    assert list(rates.columns) == ["problem", "variant", "scheduler", "epoch", "lr"]
    steps = rates[(rates["problem"] == "synthetic") & (rates["variant"] == "default") & (rates["scheduler"] == "StepLR")]
    assert list(steps["epoch"]) == [1, 11, 21, 31, 41, 51, 61, 71, 81, 91]
    assert list(steps["lr"]) == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01, 0.001])
    plateau = rates[
        (rates["problem"] == "synthetic") & (rates["variant"] == "default") & (rates["scheduler"] == "ReduceLROnPlateau")
    ]
    assert plateau["lr"].between(0.011, 0.99).any()  # the mean over seeds that drop at different epochs


def test_metrics_are_few_and_of_what_is_recommended(reported: Path) -> None:
    metrics = json.loads((reported / "reports" / "metrics.json").read_text())
    chosen = pd.read_csv(reported / "reports/evidence/choices.csv").query("variant == 'recommended'").set_index("problem")
    labels = chosen["scheduler"].to_dict()
    for problem in PEAK:
        assert len(metrics[problem]) <= 8
        assert {type(value) for value in metrics[problem].values()} == {float}
        row = comparison(reported).query("problem == @problem and variant == 'recommended'").set_index("scheduler")
        for name in ("validation_loss", "test_loss", "test_metric", "regret_bound"):
            assert metrics[problem][name] == row.loc[labels[problem], name]


def test_curves_for_dvc_are_in_long_form(reported: Path, page: Page) -> None:
    curves = pd.read_csv(reported / "reports" / "curves.csv")
    assert list(curves.columns) == ["problem", "variant", "scheduler", "epoch", "lr", "train_loss", "validation_loss"]
    assert len(curves) == 2 * 3 * len(ARGS) * EPOCHS
    assert curves.notna().all(axis=None)  # four diverged runs take nothing from the mean of the others


def test_the_page_needs_no_network(reported: Path, page: Page) -> None:
    html = (reported / "reports" / "report.html").read_text()
    assert not page.all("link") + page.all("img") + page.all("iframe")
    assert not re.search(r"url\((?!#)|@import|(?:href|src)=\"(?!#|best/)", html)
    for link in {a["href"] for a in page.all("a") if not str(a["href"]).startswith("#")}:
        assert (reported / "reports" / str(link)).is_file()


def test_ids_are_unique_and_every_reference_finds_its_target(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {a[key] for _, a in page.tags for key in ("href", "xlink:href") if (a.get(key) or "").startswith("#")}
    assert {str(target)[1:] for target in targets} <= set(ids)


def test_tables_say_what_their_headers_head(page: Page) -> None:
    assert page.all("th")
    assert {attributes.get("scope") for attributes in page.all("th")} <= {"col", "row", "colgroup"}


def test_the_recommendation_is_in_torchs_numbers(page: Page) -> None:
    assert "T_max=100" in page.text
    assert "step_size=30" in page.text


def test_a_missing_best_yaml_is_told(tuned_repository: Path) -> None:
    params = load_params(CATALOGUE)
    assert recommendations(report.read(params, "digits"))
    files.stage_path("digits", "tune", "best.yaml").unlink()
    with pytest.raises(files.ResultsError, match=r"best\.yaml is not there; `dvc repro tune@digits` writes it"):
        report.read(params, "digits")


@pytest.mark.parametrize("broken", ["a: [", "a: 1\na: 2\n", "\x00"])
def test_a_broken_best_yaml_names_the_stage_that_writes_it(tuned_repository: Path, broken: str) -> None:
    files.stage_path("digits", "tune", "best.yaml").write_text(broken)
    with pytest.raises(files.ResultsError, match="dvc repro tune@digits"):
        report.main()
    assert not (tuned_repository / "reports").exists()


def test_missing_results_name_the_stage_that_writes_them(repository: Path) -> None:
    files.stage_path("digits", "train", "runs.parquet").unlink()
    with pytest.raises(files.ResultsError, match="dvc repro train@digits"):
        report.main()
    assert not (repository / "reports").exists()


@pytest.mark.parametrize("place", ["train/runs", "tune/trials", "tune/reruns", "sweep/runs"])
def test_results_of_another_dataset_are_not_believed(tuned_repository: Path, place: str) -> None:
    """Of the same problem's name, sizes and columns."""
    path = tuned_repository / f"results/digits/{place}.parquet"
    theirs = pd.read_parquet(path)
    theirs.attrs |= {results.DATASET: "another"}
    if results.DATASET in theirs:
        theirs[results.DATASET] = "another"
    path.write_bytes(files.parquet(theirs, path.relative_to(tuned_repository)))
    told = (
        f"results/digits/{place}.parquet is of another dataset than data/digits.parquet; `dvc repro -f -s {Path(place).parent}@"
    )
    with pytest.raises(files.ResultsError, match=f"^{re.escape(told)}"):
        report.main()


def test_the_first_screen_says_what_its_figures_are_of(page: Page) -> None:
    opening = page.text.partition("How do all schedulers compare?")[0]
    assert "100 epochs, batches of 32, 10 seeds" in opening
    assert "how much more validation loss, after the last epoch, each scheduler has than the best" in opening
    assert "95% confidence" in opening


def test_the_conditions_are_said_where_somebody_asks_how_sure_it_is(page: Page) -> None:
    """And no test's name, and no p, stands before that."""
    opening, _, sure = page.text.partition("How sure is that?")
    assert not re.search(r"\bp (=|below)|adjusted|Friedman|Nemenyi|Student|ANOVA|max-t", opening)
    assert "10 seeds, each with a split of its own" in sure
    assert "100 epochs, batches of 32" in sure


def test_a_script_says_by_itself_what_its_verdict_holds_for(reported: Path) -> None:
    text = " ".join((reported / "reports/best/synthetic.py").read_text().partition('"""\n')[0].split())
    assert "This holds for synthetic under these conditions: 100 epochs, batches of 32, 10 seeds" in text
    assert "synthetic (train 1000," in text


def test_a_winner_at_the_end_of_what_was_searched_is_told_with_what_to_write(reported: Path, page: Page) -> None:
    """In the answer, in the problem's verdict, in its script and in a table; on the problem where it is so."""
    table = pd.read_csv(reported / "reports/evidence/ends.csv").set_index(["problem", "scheduler"])
    assert table.loc[("digits", "StepLR"), "at_high"] == SEEDS
    assert table["at_high"].sum() == SEEDS
    said = (
        "The best peak rate of StepLR lies at an end of the range that was searched, which may decide the order: write tune: "
    )
    assert page.text.count(said + "{lr: {low: 1%, high: 10000%}} in params.yaml, or another lr of the optimizer.") == 2
    assert "Ends of the searched ranges on digits" in (reported / "reports/report.html").read_text()
    assert "Ends of the searched ranges on synthetic" not in (reported / "reports/report.html").read_text()
    assert said in " ".join((reported / "reports/best/digits.py").read_text().split())


def test_every_table_is_a_csv_and_a_markdown_file(reported: Path) -> None:
    """Of the same columns and rows; the page's tables are among them."""
    folder = reported / "reports/evidence"
    tables = {path.stem for path in folder.glob("*.csv")}
    assert {path.stem for path in folder.glob("*.md")} == tables | {"learning_rates"}
    assert {
        "gains",
        "recommended",
        "traps",
        "winners",
        "too_short",
        "targets",
        "widths",
        "ranks",
        "friedman",
        "nemenyi",
        "choices",
        "looks",
        "last_or_best",
    } < tables
    for name in tables:
        table = pd.read_csv(folder / f"{name}.csv")
        lines = (folder / f"{name}.md").read_text().splitlines()
        assert lines[0] == f"| {' | '.join(table.columns)} |"
        assert len(lines) == 2 + len(table)
    selection = pd.read_csv(folder / "selection.csv")
    assert selection["bias"].to_numpy() == pytest.approx(0.1)
    assert (selection["kept"] == SEEDS).all()
    gains = pd.read_csv(folder / "gains.csv")
    assert list(gains["problem"].unique()) == list(PEAK)
    recommended = pd.read_csv(folder / "recommended.csv").set_index(["problem", "scheduler"])
    assert recommended.loc[("digits", "StepLR"), "run"] == "digits-recommended-StepLR-1000"
    assert set(pd.read_csv(folder / "traps.csv")["trap"]) == {"momentum"}


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_what_is_judged_is_the_epoch_that_was_asked_for(tuned_repository: Path, made: tuple[Path, Report]) -> None:
    """Its figures are those of the table of both, and so are its verdicts; the test part is not looked at again."""
    Path("params.yaml").write_text(PARAMS.replace("report: {", "report: {at: best, "))
    params = load_params(CATALOGUE)
    assert (made[1].params.report.at, params.report.at) == ("last", "best")
    found = {"last": made[1], "best": assemble(params, [report.read(params, "digits")])}
    tables = {at: of_digits(each.tables["comparison"]) for at, each in found.items()}
    both = {at: of_digits(each.evidence["last_or_best"]) for at, each in found.items()}
    for at, table in tables.items():
        np.testing.assert_array_equal(table[CRITERION], both[at][at])
        assert list(table["verdict"]) == list(both[at][f"verdict_{at}"])
    last, best = tables["last"], tables["best"]
    assert (best[CRITERION] <= last[CRITERION]).all()
    assert (best[CRITERION] < last[CRITERION]).any()
    assert (best["verdict"] != last["verdict"]).any()
    pd.testing.assert_series_equal(best["test_loss"], last["test_loss"])
    pd.testing.assert_frame_equal(both["last"], both["best"].drop(columns="verdict_test"))


def of_digits(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["problem"] == "digits"].reset_index(drop=True)


@pytest.mark.slow
@pytest.mark.usefixtures("few_draws")
def test_intervals_of_means_take_the_overlap_and_those_of_differences_do_not(
    tuned_repository: Path, made: tuple[Path, Report]
) -> None:
    """Without resampling there is none, and they are narrower by √(1/10 / (1/10 + 1/19)), the overlap being a twentieth."""
    names = {"area": "area", "sensitivity": CRITERION, "budgets": CRITERION, "winners": "behind", "gains": CRITERION}
    highs, of_differences = {"winners": "behind_high", "gains": f"{CRITERION}_high"}, ("winners", "gains")

    def halves(found: Report) -> dict[str, float]:
        first = {name: of_digits(found.evidence[name]).iloc[0] for name in names}
        return {name: row[highs.get(name, "high")] - row[names[name]] for name, row in first.items()}

    Path("params.yaml").write_text(PARAMS.replace("    epochs: 100", "    resample: false\n    epochs: 100"))
    params = load_params(CATALOGUE)
    wide, narrow = halves(made[1]), halves(assemble(params, [report.read(params, "digits")]))
    stretched = {name: wide[name] / narrow[name] for name in names}
    # differences speak of these data
    assert [stretched.pop(name) for name in of_differences] == [1, 1]
    assert stretched == pytest.approx(dict.fromkeys(stretched, np.sqrt(1 + 10 / 19)))


def test_the_target_is_the_baselines_or_what_is_asked_for(reported: Path, page: Page) -> None:
    targets = pd.read_csv(reported / "reports/evidence/targets.csv").groupby("problem")["target"].unique()
    runs = pd.read_parquet(reported / "results/synthetic/train/runs.parquet").query("scheduler == 'ConstantLR'")
    usual = runs.groupby("seed")["validation_loss"].mean().median()
    assert targets["digits"].tolist() == [0.125]
    assert targets["synthetic"].tolist() == [usual]
    assert "0.1250" in page.text
    assert f"{usual:.4f}" in page.text


def test_the_overlap_is_that_of_the_data(tuned_repository: Path) -> None:
    """1000 of 20,000 samples are drawn for validation, and for the test: two seeds share a twentieth of them."""
    read = report.read(load_params(CATALOGUE), "digits")
    assert (read.overlap.validation, read.overlap.test) == (0.05, 0.05)
    assert read.batches == 32  # 1000 samples in batches of 32
    text = PARAMS.replace("    batch_size: 32\nschedulers", "    batch_size: 32\n    resample: false\nschedulers")
    Path("params.yaml").write_text(text)
    assert report.read(load_params(CATALOGUE), "digits").overlap.validation == 0


def test_headline_script_and_verdict_are_of_one_configuration(reported: Path, page: Page) -> None:
    """That the scripts run, and with the reported rates, is tried in tests/test_repro.py."""
    chosen = pd.read_csv(reported / "reports/evidence/choices.csv")
    chosen = chosen[chosen["variant"] == "recommended"].set_index("problem")
    for problem in PEAK:
        label = chosen["scheduler"][problem]
        text = (reported / f"reports/best/{problem}.py").read_text()
        assert text.startswith(f'"""{label} on {problem}')
        assert re.search(rf"As recommended, on fresh seeds: (Take|Keep)\s+{label}:", text)
        compile(text, problem, "exec")
        _, _, own = page.text.partition(f"\n{problem} 100 epochs, batches of 32, 10 seeds\n")
        own = own.partition("How do all schedulers compare?")[0]
        assert re.findall(r"Take (?:for now )?(\w+)", own) == [label]
        table = comparison(reported).query("problem == @problem and variant == 'recommended'").set_index("scheduler")
        assert table.loc[label, "regret_bound"] == pytest.approx(chosen["regret_bound"][problem])


# In a browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium without a window; `.ci/run` installs it."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on the path (Debian: `apt install chromium`)")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=quiet)
        yield opened
        opened.close()


SIZES = {"desktop": (1280, 900), "tablet": (768, 1024), "phone": (390, 844)}


SCREENS = [
    pytest.param((size, scheme), id=f"{name} {scheme}", marks=[] if name in at_once else [pytest.mark.slow])
    for scheme, at_once in (("light", ("desktop",)), ("dark", ()))
    for name, size in SIZES.items()
]


@pytest.fixture(scope="module", params=SCREENS)
def screen(request: pytest.FixtureRequest, browser: Any, reported: Path) -> Iterator[tuple[Any, list[str]]]:
    """The report in a tab of its own, with the network off, and the errors on its console."""
    (width, height), scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, offline=True)
    tab = context.new_page()
    wrong: list[str] = []
    tab.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("requestfailed", lambda asked: wrong.append(asked.url))
    tab.goto((reported / "reports/report.html").as_uri())
    yield tab, wrong
    context.close()


@pytest.fixture
def opened(screen: tuple[Any, list[str]]) -> Iterator[Any]:
    """The tab as it was opened; any error on its console fails the test."""
    tab, wrong = screen
    yield tab
    tab.evaluate("document.querySelectorAll('details').forEach(d => { d.open = false; })")
    assert not wrong


SHOWN = """selectors => selectors.map(selector => {
  const box = document.querySelector(selector).getBoundingClientRect();
  return box.height > 0 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth;
})"""
CUT = """() => [...document.querySelectorAll("main *")].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !e.closest(".scroll, pre, svg");
}).map(e => e.outerHTML.slice(0, 200))"""
UNFOLD = "document.querySelectorAll('details').forEach(d => { d.open = true; })"


def test_the_first_screen_is_the_answer(opened: Any) -> None:
    """What to use, what it may cost, how wrong the rate may be, and the button that copies the code."""
    shown = [".use", ".how", ".answer dl > div:nth-child(1)", ".answer dl > div:nth-child(2)", ".copy"]
    assert opened.evaluate(SHOWN, shown) == [True] * len(shown)
    assert opened.locator("details[open]").count() == 0


def test_nothing_is_cut(opened: Any) -> None:
    """Wide tables and long lines of code scroll by themselves, whatever is unfolded."""
    for _ in range(2):
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert opened.evaluate(CUT) == []
        opened.evaluate(UNFOLD)


def test_the_main_table_needs_no_scrolling(opened: Any) -> None:
    """On a phone each scheduler's name stands above its figures; all six columns are there, and none under another."""
    opened.evaluate(UNFOLD)
    beyond = "[...document.querySelectorAll('.scroll:has(> .main)')].map(s => s.scrollWidth - s.clientWidth)"
    assert opened.evaluate(beyond) == [0] * len(PEAK)
    apart = """() => [...document.querySelectorAll('.main tr')].every(row => [...row.children].every((cell, at, all) =>
      !at || cell.getBoundingClientRect().left >= all[at - 1].getBoundingClientRect().right - 1 || at === 1))"""
    assert opened.evaluate(apart)


def test_every_figure_is_drawn(opened: Any) -> None:
    opened.evaluate(UNFOLD)
    sizes = opened.evaluate("[...document.querySelectorAll('figure svg')].map(s => s.getBoundingClientRect().height)")
    assert len(sizes) == DRAWINGS
    assert min(sizes) > 50
    assert opened.evaluate("[...document.querySelectorAll('figure svg')].every(s => s.getAttribute('aria-label'))")


@pytest.fixture
def desktop(browser: Any, reported: Path) -> Iterator[Any]:
    """The report in a tab at 1280 pixels."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, permissions=["clipboard-read", "clipboard-write"])
    tab = context.new_page()
    tab.goto((reported / "reports/report.html").as_uri())
    yield tab
    context.close()


def test_the_button_copies_the_code(desktop: Any) -> None:
    """With the keyboard."""
    desktop.locator("#digits .copy").focus()
    desktop.keyboard.press("Enter")
    desktop.get_by_text("copied").wait_for()
    copied = desktop.evaluate("navigator.clipboard.readText()")
    assert copied == desktop.locator("#digits-code").text_content()
    assert "optimizer = torch.optim.SGD(" in copied
    compile(copied, "copied", "exec")


def test_a_fold_opens_with_the_keyboard_and_by_its_link(desktop: Any, reported: Path) -> None:
    fold = desktop.locator("#digits-comparison")
    fold.locator("summary").first.focus()
    desktop.keyboard.press("Enter")
    assert fold.get_attribute("open") is not None
    desktop.goto((reported / "reports/report.html").as_uri() + "#made")
    assert desktop.locator("#made").get_attribute("open") is not None


def test_a_few_schedulers_are_in_colour_and_others_can_be_chosen(desktop: Any) -> None:
    """A sixth turns the first grey, in every figure of the problem at once."""
    desktop.evaluate(UNFOLD)
    chooser = desktop.locator("#digits .chooser").first
    first = [button.inner_text() for button in chooser.locator("[aria-pressed=true]").all()]
    assert len(first) == 5
    chosen = chooser.locator("[aria-pressed=false]").first
    name, number = chosen.inner_text(), chosen.get_attribute("data-scheduler")
    colour = f"getComputedStyle(document.querySelector('#digits')).getPropertyValue('--scheduler-{number}')"
    grey = desktop.evaluate(colour)
    chosen.click()
    assert desktop.evaluate(colour) not in ("", grey)
    now = {button.inner_text() for button in desktop.locator("#digits .chooser").last.locator("[aria-pressed=true]").all()}
    assert now == {*first[1:], name} or now == {*first, name} - (set(first) - now)
    assert len(now) == 5


def test_a_table_sorts_by_the_heading_that_is_pressed(desktop: Any) -> None:
    """Also with the keyboard: first up, then down."""
    desktop.evaluate(UNFOLD)
    table = desktop.locator("#digits table").first
    head = table.get_by_role("columnheader", name="Costs at most")
    head.get_by_role("button").focus()
    for key, way in (("Enter", "ascending"), ("Space", "descending")):
        desktop.keyboard.press(key)
        assert head.get_attribute("aria-sort") == way
        shown = table.evaluate("t => [...t.tBodies[0].rows].map(r => Number(r.cells[2].dataset.value))")
        assert shown == sorted(shown, reverse=way == "descending")
        assert len(set(shown)) > 1


SORT = """tables => tables.flatMap(table => {
  const heads = [...table.tHead.rows].at(-1).cells;
  const starts = cells => [...cells].map((cell, n) => [...cells].slice(0, n).reduce((sum, c) => sum + c.colSpan, 0));
  return starts(heads).map((start, n) => {
    heads[n].querySelector("button").click();
    const cells = [...table.tBodies[0].rows].map(row => row.cells[starts(row.cells).indexOf(start)]).filter(Boolean);
    return {way: heads[n].getAttribute("aria-sort"), shown: cells.map(c => c.dataset.value ?? c.textContent.trim())};
  });
})"""


def test_every_heading_of_every_table_sorts_its_own_column(desktop: Any) -> None:
    """By number where there are some, what is none last; else by name."""
    sorted_columns = desktop.locator("table").evaluate_all(SORT)
    assert len(sorted_columns) > 150
    for column in sorted_columns:
        numbers = [float(text) for text in column["shown"] if re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", text)]
        assert column["way"] == "ascending"
        assert numbers == sorted(numbers)
    rates = next(column["shown"] for column in sorted_columns if "91" in column["shown"])
    assert rates == [str(epoch) for epoch in range(1, 92, 10)]


MORE = {"LinearDecay": "CosineAnnealingLR", "REX": "CosineAnnealingLR", "OneCycleLR": "CyclicLR", "CosineWarmup": "StepLR",
        "WarmupStableDecay": "MultiStepLR", "ScheduleFree": "ExponentialLR"}  # fmt: skip


@pytest.fixture
def large(tuned_repository: Path, few_draws: None) -> Path:
    """A report of thirteen schedulers on six problems, copies of those above."""
    for path in tuned_repository.glob("results/*/*/*.parquet"):
        table = pd.read_parquet(path)
        copies = [table[table["scheduler"] == source].assign(scheduler=label) for label, source in MORE.items()]
        as_others = [copy.assign(run=copy["scheduler"] + copy["run"]) if "run" in copy else copy for copy in copies]
        whole = pd.concat([table, *as_others], ignore_index=True)
        path.write_bytes(files.parquet(whole, path.relative_to(tuned_repository)))
    lines = [f"  {label}: {{name: CosineAnnealingLR, args: {{T_max: 100%}}}}\n" for label in MORE]
    problems, schedulers = PARAMS.split("schedulers:\n")
    own = problems.partition("problems:\n")[2]
    renamed = [{"synthetic": f"s{n}", "digits": f"d{n}"} for n in (1, 2)]
    more = "".join(
        own.replace("synthetic:\n", f"{new['synthetic']}:\n").replace("digits:\n", f"{new['digits']}:\n") for new in renamed
    )
    Path("params.yaml").write_text(f"{problems}{more}schedulers:\n{''.join(lines)}{schedulers}")
    for old, new in [pair for names in renamed for pair in names.items()]:
        shutil.copytree(f"results/{old}", f"results/{new}")
        for kind in ("parquet", "splits.parquet"):
            shutil.copy(f"data/{old}.{kind}", f"data/{new}.{kind}")
        for path in [*Path("data").glob(f"{new}.*"), *Path(f"results/{new}").rglob("*.*")]:
            if path.suffix == ".parquet":
                path.write_bytes(files.parquet(pd.read_parquet(path), path))
            elif path.suffix in (".yaml", ".json"):
                path.write_text(path.read_text().replace(f"results/{old}/", f"results/{new}/"))
    report.main()
    return tuned_repository / "reports/report.html"


@pytest.mark.slow
def test_a_report_of_many_problems_is_small_and_short(browser: Any, large: Path) -> None:
    """Four problems fill six screens at most before anything is unfolded."""
    assert len(large.read_bytes()) < 3_000_000
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(large.as_uri())
    assert tab.locator("table").first.locator("tbody tr").count() == 13
    assert tab.locator("main > section").count() == 6 + 1
    ends = tab.evaluate("[...document.querySelectorAll('main > section')].map(s => s.getBoundingClientRect().bottom)")
    assert ends[3] + (ends[-1] - ends[-2]) <= 6 * 900
    tab.set_viewport_size({"width": 375, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.close()


HOVERED = """svg => {
  const point = [...svg.querySelectorAll("use, path")].find(e => /--scheduler-/.test(e.getAttribute("style") ?? "") &&
    (e.matches("use") || /fill: ?none/.test(e.getAttribute("style"))) && !e.closest("defs"));
  const [x, y] = point.matches("use") ? [point.getAttribute("x"), point.getAttribute("y")]
    : point.getAttribute("d").match(/-?[\\d.]+/g);
  const at = new DOMPoint(Number(x), Number(y)).matrixTransform(svg.getScreenCTM());
  return [at.x, at.y];
}"""


def test_a_pointer_on_a_chart_shows_the_scheduler_and_its_figures(desktop: Any, reported: Path) -> None:
    """As the tables have them."""
    desktop.evaluate(UNFOLD)
    sensitivity = desktop.locator("#digits figure svg[aria-label^='Validation loss over peak']").first
    sensitivity.scroll_into_view_if_needed()
    desktop.mouse.move(*sensitivity.evaluate(HOVERED))
    shown = desktop.locator(".tip").inner_text()
    said = re.fullmatch(r"(\w+): ([\d.]+) at peak learning rate ([\d.e-]+)", shown)
    assert said, shown
    table = pd.read_csv(reported / "reports/evidence/sensitivity.csv")
    rows = table[(table["problem"] == "digits") & (table["scheduler"] == said[1])]
    nearest = rows.iloc[(np.log(rows["lr"]) - np.log(float(said[3]))).abs().argmin()]
    assert nearest["lr"] == pytest.approx(float(said[3]), rel=0.02)
    assert nearest["validation_loss"] == pytest.approx(float(said[2]), rel=0.02)
    picture = desktop.locator("#digits .picture svg").first
    picture.scroll_into_view_if_needed()
    desktop.mouse.move(*picture.evaluate(HOVERED))
    assert re.match(r"[\d.]+ at epoch \d+|\w+: [\d.]+", desktop.locator(".tip").inner_text())
    desktop.mouse.move(0, 0)
    assert desktop.locator(".tip").is_hidden()


def test_the_keyboard_reaches_everything_in_order(desktop: Any) -> None:
    """From the top: the problems' links, then the first answer's button, which copies; what has the focus can be seen."""
    for _ in range(12):
        desktop.keyboard.press("Tab")
        if desktop.evaluate("document.activeElement.matches('.copy')"):
            break
    assert desktop.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    desktop.keyboard.press("Enter")
    desktop.get_by_text("copied").wait_for()


def test_it_can_be_printed(desktop: Any) -> None:
    """In print everything is dark on white, the comparison is there, and nothing is cut off by a scroll bar."""
    desktop.emulate_media(media="print", color_scheme="dark")
    paper = desktop.evaluate("getComputedStyle(document.querySelector('main > section')).backgroundColor")
    assert paper in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    assert desktop.evaluate("getComputedStyle(document.body).backgroundColor") == "rgba(0, 0, 0, 0)"
    comparison = desktop.locator("#digits-comparison table").first
    assert not comparison.is_visible()
    desktop.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert comparison.is_visible()
    desktop.evaluate("dispatchEvent(new Event('afterprint'))")
    assert not comparison.is_visible()
    assert desktop.evaluate("getComputedStyle(document.querySelector('.scroll')).overflowX") == "visible"
    ink = desktop.evaluate("getComputedStyle(document.body).color")
    assert [int(part) for part in re.findall(r"\d+", ink)[:3]] < [80, 80, 80]


def test_every_scheduler_has_a_file_and_a_snippet(made: tuple[Path, Report]) -> None:
    """With the numbers of its recommended configuration; the recommended scheduler's is that of the problem, and says so."""
    reported, found = made
    params = found.params
    for problem in found.problems:
        chosen = found.choices[problem.name]
        folder = reported / "reports/best" / problem.name
        for label in problem.labels:
            text = (folder / f"{label}.py").read_text(encoding="utf-8")
            (lr,) = re.findall(r"^LR = (\S+)  # the peak, for batches of", text, re.MULTILINE)
            of_run = configuration(params, problem, chosen, label)
            assert of_run is not None
            lines = snippet(problem.params, of_run.run, problem.batches, of_run.warmup)
            assert f"EPOCHS, LR = 100, {lr}  # for batches of" in lines
            assert of_run.run["variant"] == "recommended"
            assert float(lr) == pytest.approx(of_run.run["lr"], rel=1e-15)
            is_recommended = label == last(chosen).scheduler
            assert (": the recommended one." in text.splitlines()[0]) == is_recommended
            assert (text == (reported / f"reports/best/{problem.name}.py").read_text(encoding="utf-8")) == is_recommended
            assert is_recommended or f"{last(chosen).scheduler}.py beside it is the recommended one" in " ".join(text.split())
