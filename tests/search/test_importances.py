"""Importances of a study's parameters, on studies whose answer is known."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.config.schedules import Schedule
from pipeline.config.spaces import PeakRates
from pipeline.schedulers.replay import Budget
from pipeline.search.importances import ENOUGH, importances
from pipeline.search.space import study_space
from pipeline.search.study import Study, Trial
from tests.schedulers.examples import schedule

STEP = schedule("StepLR", {"step_size": "30%", "gamma": 0.1})


def study(count: int, base: Schedule = STEP, told: str = "lr %") -> Study:
    """``count`` random trials whose value is the logarithm of the parameter ``told``."""
    space = study_space(base, PeakRates(), 0.1, Budget(20, 3))
    new = Study("p/StepLR/3", "StepLR", 3, "random", space, "")
    asked = new.ask(count)
    trials = tuple(replace(trial, value=float(np.log(trial.params[told]))) for trial in asked.trials)
    return new.tell(replace(asked, trials=trials))


@pytest.mark.parametrize("told", ["lr %", "gamma"])
def test_the_parameter_that_decides_is_the_important_one(told: str) -> None:
    table = importances([study(200, told=told)])
    assert set(table["scheduler"]) == {"StepLR"}
    assert set(table["seed"]) == {3}
    shares = table.set_index("parameter")["importance"]
    assert set(shares.index) == {"lr %", "step_size %", "gamma"}
    assert shares.sum() == pytest.approx(1)
    assert shares.idxmax() == told
    assert shares[told] > 0.8


def test_too_few_trials_say_nothing() -> None:
    assert importances([study(ENOUGH - 1)]).empty
    pruned = study(20)
    rounds = tuple(
        replace(r, trials=tuple(Trial(t.number, t.params, t.attrs, "PRUNED") for t in r.trials)) for r in pruned.rounds
    )
    assert importances([replace(pruned, rounds=rounds)]).empty


def test_a_single_parameter_has_nothing_to_share() -> None:
    table = importances([study(30, schedule("ConstantLR", {"factor": 1.0}))])
    assert table.empty
    assert list(table.columns) == ["scheduler", "seed", "parameter", "importance"]
