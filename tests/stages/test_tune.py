"""The stage as a user runs it: what it writes, what it chooses, and that what it recommends can be pasted and trained."""

import contextlib
import itertools
import json
import multiprocessing
import textwrap
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params
from pipeline.engine.training import train
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect
from pipeline.runs import results
from pipeline.runs.names import describe
from pipeline.runs.results import CURVE_COLUMNS, RUN_COLUMNS, TRIAL_COLUMNS
from pipeline.schedulers.replay import resolve
from pipeline.stages import dataset, tune
from pipeline.tracking import optuna_tracker
from tests.search import helpers
from tests.waiting import PATIENCE

CPU = torch.device("cpu")
SCHEDULERS = ["StepLR", "ReduceLROnPlateau", "ConstantLR"]
CONTRACT = ["scheduler", "seed", "number", "state", "value", "lr", "args"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the stage has run."""
    root = tmp_path_factory.mktemp("tune")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("DVC_ROOT", raising=False)
        helpers.run_tune()
    return root


@pytest.fixture
def problem(written: Path, monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.chdir(written)
    return helpers.problem()


@pytest.fixture
def trials(problem: Problem) -> pd.DataFrame:
    return helpers.trials()


def winner(study: pd.DataFrame) -> Any:
    """Of the three rows of the lowest values the one of the lowest mean over three streams."""
    found = results.read_reruns("tiny").merge(study[["scheduler", "seed"]].drop_duplicates())
    means = found.groupby("number")["value"].mean()
    assert set(means.index) == set(study.sort_values(["value", "number"])["number"].iloc[:3])
    return study[study["number"] == means.idxmin()].iloc[0]


def figures(problem: Problem, runs: list[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Final validation loss and whether each run diverged, trained here by themselves."""
    history = collect(runs, train(problem, runs, device=CPU))
    return history.curves.validation_loss[-1], history.diverged


def test_trials_have_the_columns_and_types_of_the_contract(trials: pd.DataFrame) -> None:
    assert list(trials.columns) == list(TRIAL_COLUMNS)
    assert list(trials.columns[: len(CONTRACT)]) == CONTRACT
    kinds = {"seed": "i", "number": "i", "value": "f", "lr": "f"}
    assert {column: trials[column].dtype.kind for column in kinds} == kinds
    assert set(trials["state"]) <= {"COMPLETE", "PRUNED"}
    assert trials["value"].notna().equals(trials["state"] == "COMPLETE")
    assert all(isinstance(json.loads(args), dict) for args in trials["args"])


def test_every_scheduler_and_seed_has_the_same_number_of_trials(trials: pd.DataFrame) -> None:
    numbers = {study: list(rows["number"]) for study, rows in trials.groupby(["scheduler", "seed"], sort=False)}
    assert numbers == {(label, seed): list(range(12)) for label in SCHEDULERS for seed in range(2)}
    assert trials["study"].eq("tiny/" + trials["scheduler"] + "/" + trials["seed"].astype(str)).all()
    assert trials.groupby(["scheduler", "seed"])["fingerprint"].nunique().eq(1).all()
    assert trials["fingerprint"].nunique() == 6


def test_trial_0_is_the_configuration_in_the_file_to_the_letter(trials: pd.DataFrame) -> None:
    first = trials[trials["number"] == 0]
    as_given = {"StepLR": {"step_size": "30%", "gamma": 0.1}, "ReduceLROnPlateau": {"factor": 0.1, "patience": "10%"},
                "ConstantLR": {"factor": 1.0}}  # fmt: skip
    assert [json.loads(args) for args in first["args"]] == [as_given[label] for label in first["scheduler"]]
    assert set(first["lr"]) == {0.5}


def test_seeds_search_apart_from_each_other(trials: pd.DataFrame) -> None:
    lr = trials[trials["number"] > 0].pivot_table(index=["scheduler", "number"], columns="seed", values="lr")
    assert (lr[0] != lr[1]).all()


def test_a_value_is_the_final_validation_loss_on_the_stream_for_tuning(problem: Problem, trials: pd.DataFrame) -> None:
    first = trials[trials["number"] == 0]
    schedules = problem.schedules
    replicates = zip(first["scheduler"], first["seed"], strict=True)
    runs = [Run(label, schedules[label], seed, 4, stream="tune") for label, seed in replicates]
    losses, diverged = figures(problem, runs)
    assert not diverged.any()
    assert first["value"].tolist() == losses.tolist()
    final = [Run(run.label, run.schedule, run.seed, 4) for run in runs]
    assert not np.isclose(figures(problem, final)[0], losses).any()


def test_runs_and_curves_have_the_columns_of_the_contract(problem: Problem) -> None:
    runs, curves = results.read_runs("tiny", "tune")
    assert list(runs.columns) == list(RUN_COLUMNS)
    assert list(curves.columns) == list(CURVE_COLUMNS)
    assert set(runs["variant"]) == set(curves["variant"]) == {"tuned"}
    expected = [(label, seed, stream) for label in SCHEDULERS for seed in range(2) for stream in (1, 2)]
    assert list(runs[["scheduler", "seed", "stream"]].itertuples(index=False, name=None)) == expected
    assert curves.groupby("run", sort=False)["epoch"].agg(list).tolist() == [[1, 2, 3, 4]] * 12
    assert curves["run"].unique().tolist() == runs["run"].tolist()


def test_each_studys_best_trial_reports_on_its_own_seed(problem: Problem, trials: pd.DataFrame) -> None:
    """Trained here from the table alone, on two streams that no choice has seen."""
    runs, _ = results.read_runs("tiny", "tune")
    expected = []
    for _, study in trials.groupby("study", sort=False):
        best = winner(study)
        label, seed, args = best["scheduler"], best["seed"], json.loads(best["args"])
        schedule = problem.schedules[label].model_copy(update={"lr": best["lr"], "args": args})
        expected += Run(label, schedule, seed, 4).draws
        row = runs[(runs["scheduler"] == label) & (runs["seed"] == seed)].iloc[0]
        assert json.loads(row["args"]) == args
        assert row["lr"] == best["lr"]
    losses, _ = figures(problem, expected)
    assert runs["validation_loss"].tolist() == losses.tolist()


def test_the_recommendation_is_the_winner_of_lowest_mean_over_all_seeds(problem: Problem, trials: pd.DataFrame) -> None:
    recommended = pasted(problem)
    for label, rows in trials.groupby("scheduler", sort=False):
        means = []
        winners = [winner(study) for _, study in rows.groupby("seed")]
        for best in winners:
            schedule = problem.schedules[str(label)].model_copy(update={"lr": best["lr"], "args": json.loads(best["args"])})
            losses, diverged = figures(problem, [Run(str(label), schedule, seed, 4, stream="tune") for seed in range(2)])
            means.append(np.where(diverged, np.inf, losses).mean())
        chosen = winners[int(np.argmin(means))]
        assert recommended[str(label)].args == json.loads(chosen["args"])
        assert resolve(recommended[str(label)], problem.lr, problem.budget()).lr == chosen["lr"]


def pasted(problem: Problem, *edits: helpers.Edit) -> Any:
    """The problem's schedules after best.yaml was pasted under ``problems.tiny.schedulers`` as it is."""
    best = (files.RESULTS / "tiny/tune/best.yaml").read_text(encoding="utf-8")
    text = helpers.edited(("    schedulers: {}\n", "    schedulers:\n" + textwrap.indent(best, "      ")), *edits)
    path = Path("pasted.yaml")
    path.write_text(text, encoding="utf-8")
    params = load_params(CATALOGUE, path)
    assert list(params.problems["tiny"].schedulers) == list(problem.schedules)
    return params.schedules("tiny")


RICHER = (
    ("trials: 12, batch: 4", "trials: 4, batch: 2"),
    ("  StepLR: {args: {step_size: 30%, gamma: 0.1}}", "  Warm: {name: CosineAnnealingLR, args: {T_max: 100%}, warmup: 20%}"),
    ("  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}", """\
  MultiStepLR: {args: {milestones: [30%, 80%], gamma: 0.1}}
  CyclicLR: {args: {base_lr: 1%, max_lr: 100%, step_size_up: 10%, cycle_momentum: false}}
  Ema: {name: LinearDecay, average: {ema: 0.5}}
  Swa: {name: SWALR, args: {swa_lr: 5%, anneal_epochs: 1, start: 50%}, average: {swa: 50%}}
  ScheduleFree: {args: {momentum: 0.9}, warmup: 10%}"""),
)  # fmt: skip


def test_the_pasted_recommendation_trains_the_very_same_schedules(problem: Problem) -> None:
    trains_the_same(problem, pasted(problem))


def test_so_does_one_with_warmup_lists_cycles_and_averaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file holds a list, a peak of its own kind, the steps of a warmup, and an optimizer of its own."""
    monkeypatch.chdir(tmp_path)
    helpers.run_tune(*RICHER)
    problem = helpers.problem(*RICHER)
    recommended = pasted(problem, *RICHER)
    assert isinstance(recommended["MultiStepLR"].args["milestones"], list)
    assert recommended["Warm"].warmup
    assert recommended["Ema"].average == problem.schedules["Ema"].average  # no study tries another
    trains_the_same(problem, recommended)


def trains_the_same(problem: Problem, recommended: Any) -> None:
    """One of each scheduler's two winners was trained with it: the same fingerprint, the same numbers."""
    runs, curves = results.read_runs("tiny", "tune")
    replicates = itertools.product(recommended.items(), range(2))
    tuned = [run for (label, s), seed in replicates for run in Run(label, s, seed, 4, variant="tuned").draws]
    names = [describe(problem, run, CPU)["run"] for run in tuned]
    again = [run for run, name in zip(tuned, names, strict=True) if name in set(runs["run"])]
    assert {run.label for run in again} == set(problem.schedules)
    history = collect(again, train(problem, again, device=CPU))
    for i, run in enumerate(again):
        kept = curves[curves["run"] == describe(problem, run, CPU)["run"]]
        assert kept["lr"].tolist() == history.curves.lr[:, i].tolist()
        assert kept["train_loss"].tolist() == history.curves.train_loss[:, i].tolist()


def test_the_same_bytes_in_another_process_and_on_a_second_run(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = helpers.contents(written)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        helpers.run_tune()
        assert helpers.contents(tmp_path) == before
    assert helpers.journal(tmp_path) == helpers.journal(written)


def test_a_round_is_whole_and_all_studies_move_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.run_tune(("trials: 12, batch: 4", "trials: 6, batch: 3"))
    titles = [line.split(":")[1] for line in capsys.readouterr().err.splitlines() if "100% done" in line]
    searched = [" trials 1 to 3", " trials 4 to 6", " best trials again", " best of each seed on all seeds"]
    assert titles == [*searched, " 12 runs, 100% done"]


def test_nothing_is_searched_where_a_schedule_cannot_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cyclic = "CyclicLR: {args: {base_lr: 3.0, max_lr: 1.0, cycle_momentum: false}}"
    with pytest.raises(Exception, match=r"params\.yaml:14:20: schedulers\.CyclicLR\.args: it cannot be built: base_lr"):
        helpers.run_tune(("ConstantLR: {args", cyclic + "\n  ConstantLR: {args"))
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / ".state").exists()


NAMES = ("tiny", "other")


def two_problems(root: Path) -> Path:
    """A directory with the tiny problem under two names, and their data."""
    text = helpers.edited(("trials: 12, batch: 4", "trials: 4, batch: 2"))
    tiny = text[text.index("  tiny:") : text.index("schedulers:\n  StepLR")]
    root.mkdir()
    (root / "params.yaml").write_text(text.replace(tiny, tiny + tiny.replace("tiny", "other")), encoding="utf-8")
    with contextlib.chdir(root):
        for name in NAMES:
            dataset.main(name)
    return root


def tune_in(root: Path, name: str, together: Any) -> None:
    """The stage, whose every writing to Optuna's storage begins when all are at it."""
    write = optuna_tracker.write

    def at_once(trials: pd.DataFrame, *, is_all: bool) -> None:
        together.wait()
        write(trials, is_all=is_all)

    with contextlib.chdir(root), mock.patch.object(optuna_tracker, "write", at_once), helpers.shown_here("Optuna's storage"):
        tune.main(name)


def run_processes(root: Path, *names: str) -> None:
    """A process for each of the names, side by side."""
    processes = multiprocessing.get_context("fork")
    together = processes.Barrier(len(names), timeout=PATIENCE)
    begun = [processes.Process(target=tune_in, args=(root, name, together)) for name in names]
    for process in begun:
        process.start()
    for process in begun:
        process.join()
        assert process.exitcode == 0


@pytest.mark.slow
def test_two_searches_at_once_share_one_storage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Two problems' stages, in processes that write at the same moments: studies and results are as alone."""
    shared, alone = two_problems(tmp_path / "shared"), two_problems(tmp_path / "alone")
    run_processes(shared, *NAMES)
    assert "not told" not in capfd.readouterr().err
    for name in NAMES:
        run_processes(alone, name)
    assert len(helpers.journal(shared)) == len(NAMES) * len(SCHEDULERS) * 2
    assert helpers.journal(shared) == helpers.journal(alone)
    for name in NAMES:
        for file in helpers.FILES:
            path = files.stage_path(name, "tune", file)
            assert (shared / path).read_bytes() == (alone / path).read_bytes()
