"""The plan: what it says will be trained, against what the stages then train."""

import contextlib
import re
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.catalogue import CATALOGUE
from pipeline.commands import plan, planning, power
from pipeline.config.files import stage_path
from pipeline.config.params import load_params
from pipeline.config.stages import RUNS, stage_names
from pipeline.runs import cost
from tests.stages.study import Config, study

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "ENOUGH", 0.001)


def planned(*stages: str) -> planning.ProblemPlan:
    params = load_params(CATALOGUE)
    (name,) = params.problems
    return planning.planned(params, name, {f"{stage}@{name}" for stage in stages}, CPU, 1)


def trained() -> int:
    with contextlib.closing(sqlite3.connect(".state/runs.sqlite")) as connection:
        (count,) = connection.execute("SELECT COUNT(*) FROM runs").fetchone()
    return int(count)


@pytest.mark.parametrize("seeds", [pytest.param(2, marks=pytest.mark.slow), "{least: 2, most: 4}"])
def test_as_many_runs_are_trained_as_the_plan_says(here: Path, seeds: int | str) -> None:
    config = Config(schedulers=("StepLR", "Free"), seeds=seeds, trials=3)
    config.write()
    before = planned("dataset", *RUNS)
    least, most = before.runs()
    assert before.there == 0
    assert before.seconds()[0] > 0
    study(config)
    # Of what two stages want both find it in the store: the winners may be params.yaml's own.
    assert least - 2 * 3 * 2 <= trained() <= most
    after = planned(*RUNS)
    assert after.runs() == (0, 0)
    assert trained() <= after.there <= most
    assert after.cost is None


def test_one_more_seed_wants_what_is_new(here: Path) -> None:
    config = Config(schedulers=("StepLR",), trials=2)
    study(config)
    Config(schedulers=("StepLR",), trials=2, seeds=3).write()
    more = planned("dataset", "train", "tune")
    assert more.runs(["train"]) == (2 * 2, 2 * 2)  # schedulers x streams
    assert more.work["train"][0].there == 2 * 2 * 2
    assert more.work["tune"][0].most == 2 * 2
    assert more.work["tune"][0].there == 2 * 2 * 2


def test_what_it_prints(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without DVC every stage is ahead."""
    Config(trials=2).write()
    plan.main([])
    first, of_problem, *rest = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"plan: 8 of 8 stages, \d+ to \d+ runs to train, 0 in the store; "
        r"about [\d.]+ (to [\d.]+ )?s with 1 process, [\d.]+ kB of disk",
        first,
    )
    assert re.fullmatch(r"  first   \d+ to \d+ runs: .* s; side by side, as tensors, [\d,]+ epochs a second", of_problem)
    beside, heading, to_tell, not_searched = rest
    assert beside.startswith("  beside  ")
    assert re.fullmatch(
        r"  the smallest difference to \w+ that is found four times in five, before the first runs in standard .*:", heading
    )
    assert re.fullmatch(r"  first   [\d.e+]+ standard deviations with 2 seeds", to_tell)
    assert not_searched.startswith("  not searched, but as written: ")
    assert max(map(len, [beside, heading, to_tell, not_searched])) <= 180


def test_what_a_smaller_study_could_tell_and_costs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In standard deviations of a difference, and once there are runs as a share of the loss: fewer seeds tell less."""
    Config(trials=2, seeds=12).write()
    plan.main([])
    deviations = "([\\d.]+) standard deviations with 12 seeds"
    told = re.search(rf"{deviations}, ([\d.]+) with 6 \(.*?s\), ([\d.]+) with 3 \(.*?s\)", capsys.readouterr().out)
    assert told
    found = [float(each) for each in told.groups()]
    assert found == sorted(found)
    # One comparison of two schedulers, a paired t test: statsmodels' TTestPower at 80% gives 0.89 for 12 seeds.
    assert power.assumed(2, [12])[0] == pytest.approx(0.887, abs=0.005)
    study(Config(trials=2, seeds=4))
    params = load_params(CATALOGUE)
    name = next(iter(params.problems))
    four, eight = power.measured(params, name, [4, 8])
    assert 0 < eight < four
    files, shares = [stage_path(name, "confirm", f"{table}.parquet") for table in ("runs", "curves")], []
    runs, curves = map(pd.read_parquet, files)
    one = runs.index[runs["scheduler"] == params.report.baseline][0]
    for loss in (1.0, 1e9):  # what a run of the baseline ended with that diverged says nothing
        runs.loc[one, "diverged"] = True
        curves.loc[curves["run"] == runs.loc[one, "run"], "validation_loss"] = loss
        runs.to_parquet(files[0])
        curves.to_parquet(files[1])
        shares.append(power.measured(params, name, [4, 8]))
    assert shares[0] == shares[1] != []
    unkept = np.random.default_rng(0).uniform(1, 9, len(runs))  # what last epochs lie above, which nobody keeps
    curves.loc[curves["epoch"] == 3, "validation_loss"] += unkept
    curves.to_parquet(files[1])
    at_best = params.model_copy(update={"report": params.report.model_copy(update={"at": "best"})})
    assert power.measured(at_best, name, [4, 8])[1] < 0.5 < power.measured(params, name, [4, 8])[1]


def test_it_says_why_a_problem_is_trained_run_by_run_and_what_would_make_it_less(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "LONG", 0)
    monkeypatch.setattr(planning, "WORTH_SAYING", 0)
    Config(schedulers=("StepLR",), trials=2, seeds=6).write()
    text = Path("params.yaml").read_text(encoding="utf-8").replace("{name: SGD, lr: 0.5}", "{name: LBFGS, lr: 0.5}")
    Path("params.yaml").write_text(text, encoding="utf-8")
    plan.main([])
    out = capsys.readouterr().out
    assert re.search(r"first is trained run by run, which takes .* of it: the optimizer LBFGS has no stacked form", out)
    for key in ("sweep: none", "tune: {trials: 1}", "seeds: 5"):
        assert f"`{key}` saves" in out


def test_stages_that_take_what_changed_are_ahead_too(here: Path) -> None:
    Config(problems=("first", "second")).write()
    params = load_params(CATALOGUE)
    names = stage_names(params.problems)
    assert planning.following(params, {"tune@first"}, names) == {
        "tune@first",
        "confirm@first",
        "sweep@first",
        "report",
        "track",
    }
    assert planning.following(params, {"dataset@second"}, names) == {
        "dataset@second", *(f"{stage}@second" for stage in RUNS), "report", "track",
    }  # fmt: skip
    assert planning.following(params, {"check"}, names) == {"check"}
    assert planning.following(params, None, names) == set(names)
