"""A study whose best trial lies at an end of its range of peak rates goes on beyond it."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.params import SamplerName
from pipeline.search.importances import importances
from pipeline.search.space import StudySpace
from pipeline.search.study import Round, Study, Trial
from pipeline.search.table import TrialTable, widened_ranges
from pipeline.search.widening import TIMES, widened
from pipeline.tracking.optuna_tracker import write
from tests.repeated import few
from tests.search import helpers
from tests.search.test_study import fresh_study, new_studies, outline

SAMPLERS = get_args(SamplerName)
MANY = ("trials: 12, batch: 4", "trials: 16, batch: 4")
LARGE = ("lr: 0.5", "lr: 0.0001")
"""A problem whose best rate lies far beyond 1000%."""


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> StudySpace:
    """1% to 1000%."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("space"))
        return fresh_study("tpe").space


@pytest.mark.parametrize(
    ("tried", "ends"),
    [
        ([(100, 1.0)], (1, 1000)),  # inside
        ([(600, 1.0)], (1, 10_000)),  # the outer tenth begins at 501
        ([(490, 1.0), (600, 2.0)], (1, 1000)),
        ([(1.9, 1.0)], (0.1, 1000)),
        ([(2.1, 1.0)], (1, 1000)),
        ([(600, 1.0), (700, None)], (1, 1000)),  # beyond it, all diverge
        ([(600, 1.0), (700, None), (800, 2.0)], (1, 1000)),
        ([(600, 1.0), (700, None), (800, 2.0), (900, 2.0)], (1, 10_000)),  # most do not
        ([(600, 1.0), (50, None)], (1, 10_000)),
        ([(1.5, 1.0), (700, None)], (0.1, 1000)),
        ([(700, None)], (0.1, 1000)),  # what does not diverge lies below
    ],
)
def test_where_the_best_lies_the_range_grows(space: StudySpace, tried: list[tuple[float, float | None]], ends: object) -> None:
    assert widened(space, space, tried).rates == ends


def test_a_range_grows_three_times_at_an_end_and_to_no_rate_that_cannot_be_written(space: StudySpace) -> None:
    grown = space
    for times in range(5):
        assert grown.rates == (1, 1000 * 10 ** min(times, TIMES))
        grown = widened(grown, space, [(grown.rates[1], 1.0)])
    high = space.over(1, 200_000)
    assert widened(high, high, [(200_000, 1.0)]).rates == (1, 1_000_000)
    low = space
    for _ in range(5):
        low = widened(low, space, [(low.rates[0], 1.0)])
    assert low.rates == (0.001, 1000)
    assert low.dimensions[1:] == space.dimensions[1:]


@given(st.lists(st.tuples(st.floats(1, 1000), st.none() | st.floats(0, 9)), min_size=1, max_size=12))
def test_a_range_never_shrinks(space: StudySpace, tried: list[tuple[float, float | None]]) -> None:
    (low, high), (before, after) = widened(space, space, tried).rates, space.rates
    assert low <= before < after <= high


# Studies


def told(asked: Round, best: float) -> Round:
    """The nearer the rate to ``best``, the better."""
    trials = tuple(replace(t, value=abs(float(np.log(t.params["lr %"] / best)))) for t in asked.trials)
    return replace(asked, trials=trials)


def searched(study: Study, best: float, count: int = 6) -> Study:
    for _ in range(count):
        study = study.tell(told(study.ask(4), best))
    return study


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("best", [300_000.0, 0.003])
def test_every_sampler_goes_on_in_the_wider_range(sampler: str, best: float, here: Path) -> None:
    study = fresh_study(sampler)
    while study.searched == study.space:
        study = searched(study, best, 1)
        assert len(study.rounds) < 20
    study = searched(study, best, 2)
    rates = [trial.params["lr %"] for trial in study.trials]
    before, after = study.space.rates
    assert min(rates) < before if best < 1 else max(rates) > after
    for trial in study.trials:
        low, high = study.space_of(trial).rates
        assert low <= trial.params["lr %"] <= high
    if sampler in ("qmc", "random"):  # the same shapes are not tried again
        assert len({trial.params["gamma"] for trial in study.trials}) == len(study.trials)


@pytest.mark.parametrize("sampler", few(SAMPLERS, "tpe", "cmaes"))
def test_a_study_begun_anew_after_every_round_grows_the_same(sampler: str, here: Path) -> None:
    fresh = fresh_study(sampler)
    study, count = fresh, 5 if sampler == "gp" else 12
    for _ in range(count):
        study = searched(replace(fresh_study(sampler), rounds=study.rounds), 0.003, 1)
    straight = searched(fresh, 0.003, count)
    assert outline(study) == outline(straight)
    assert study.spaces == straight.spaces
    assert straight.searched != straight.space


def test_what_a_trial_trains_stays_when_the_range_grows(here: Path) -> None:
    """A suggested number is rounded by the width of the range it was suggested in."""
    (study,) = new_studies(("lr: {low: 1%, high: 1000%}", "lr: {low: 99%, high: 101%}"))[:1]
    shape = {"step_size %": 30.0, "gamma": 0.1}
    trials = tuple(Trial(number, {"lr %": rate, **shape}, value=-rate) for number, rate in enumerate((100.0, 100.98765432)))
    before = study.schedule(trials[1])
    after = study.tell(Round(trials, {}))
    assert after.spaces[-1].rates == (99, 1010)
    assert after.schedule(after.trials[1]) == before
    assert str(before.lr) == "100.988%"
    assert str(after.spaces[-1].schedule(trials[1].params).lr) == "101%"


def test_importances_and_the_storage_know_a_range_that_grew(here: Path) -> None:
    study = searched(fresh_study("tpe"), 300_000)
    assert importances([study])["importance"].sum() == pytest.approx(1)
    table = TrialTable(helpers.problem()).of([study])
    ranges = [json.loads(json.loads(text)["lr %"])["attributes"]["high"] for text in table["distributions"]]
    assert ranges == sorted(ranges)
    assert (ranges[0], ranges[-1]) == (1000, 1_000_000)
    write(table.iloc[:8])
    write(table)
    ((_, shown),) = helpers.journal(here).values()
    assert [trial[3]["lr %"] for trial in shown] == [trial.params["lr %"] for trial in study.trials]
    assert [trial[4]["lr %"].high for trial in shown] == ranges
    loaded = optuna.load_study(study_name=study.name, storage=optuna.storages.JournalStorage(journal_file(here)))
    assert loaded.best_trial.number == study.best.number


def journal_file(root: Path) -> optuna.storages.journal.JournalFileBackend:
    return optuna.storages.journal.JournalFileBackend(str(root / "optuna.journal"))


# The stage


def test_the_stage_widens_and_says_what_to_write(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = helpers.run_tune(LARGE, MANY)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "widened" in line]
    assert re.match(r"tune@tiny: the range of the peak rate was widened to 1%…\d+000% in \d of 6 studies; ", line)
    assert trials["lr"].max() > 10 * 0.0001
    written = line.split("write tune: {")[1].split("} in params.yaml, or a larger")[0]
    helpers.params(LARGE, ("tune: {trials: 12, batch: 4, sampler: tpe, lr: {low: 1%, high: 1000%}}", f"tune: {{{written}}}"))


def test_what_the_last_round_leaves_at_an_end_is_told_too(here: Path) -> None:
    fresh = fresh_study("tpe")
    inside, at_end = (fresh.tell(Round((Trial(0, {"lr %": rate}, value=1.0),), {})) for rate in (100.0, 900.0))
    assert widened_ranges([inside, at_end]) == (
        "the best peak rate of 1 of 2 studies lies at an end of what was searched; "
        "write tune: {lr: {low: 1%, high: 10000%}} in params.yaml, or a larger lr of the optimizer, "
        "to search it from the beginning"
    )
    grown = at_end.tell(Round((Trial(1, {"lr %": 3000.0}, value=0.5),), {}))
    assert widened_ranges([inside, grown]) == (
        "the range of the peak rate was widened to 1%…10000% in 1 of 2 studies; "
        "write tune: {lr: {low: 1%, high: 10000%}} in params.yaml, or a larger lr of the optimizer, "
        "to search it from the beginning"
    )


@pytest.mark.slow
def test_a_study_grows_the_same_whatever_is_beside_it(here: Path) -> None:
    """Neither another seed nor another scheduler changes a study; stopped and gone on with, it is the same."""
    two = helpers.run_tune(LARGE, MANY)
    helpers.run_tune(LARGE)
    three = helpers.run_tune(
        LARGE, MANY, ("seeds: 2", "seeds: 3"), ("  ConstantLR:", "  REX: {args: {final: 0%}}\n  ConstantLR:")
    )
    same = (three["seed"] < 2) & (three["scheduler"] != "REX")
    pd.testing.assert_frame_equal(three[same].reset_index(drop=True), two)


def test_where_the_best_lies_inside_nothing_is_widened(here: Path) -> None:
    study = searched(fresh_study("tpe"), 100)
    assert study.searched == study.space
    assert widened_ranges([study]) == ""


def test_trial_0_stays_params_yaml(here: Path) -> None:
    study = searched(fresh_study("tpe"), 300_000)
    assert study.schedule(study.trials[0]) == study.space.base
    assert isinstance(study.trials[0], Trial)
