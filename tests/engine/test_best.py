"""Of a run that asks for its best epoch, that epoch is tested and kept: the first of lowest validation loss."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.engine import loop
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.names import kept_name
from pipeline.engine.stacked import Make
from pipeline.problems.run import History, Run, collect
from tests.engine.helpers import CPU, MLP, Builder, assert_close, assert_same_bits, run_of, train

STEEP = {"name": "SGD", "lr": 2.0, "momentum": 0.9}
"""At the full rate a run is at its best long before it ends."""


def best_epochs(history: History) -> list[int]:
    return [int(epoch) for epoch in 1 + history.curves.validation_loss.argmin(axis=0)]


@pytest.mark.parametrize("make", [None, LaneProgram], ids=["tensors", "compiled"])
@pytest.mark.usefixtures("flags")
def test_it_is_tested_and_kept_as_a_run_that_ends_there(new_problem: Builder, make: Make | None) -> None:
    problem = new_problem({}, model=MLP, optimizer=STEEP, epochs=12)
    runs = [run_of(problem, "Baseline", seed, at="best") for seed in range(2)]
    found = train(problem, runs, make=make)
    epochs = best_epochs(found)
    assert min(epochs) < 12, "the last epoch is no best one"
    for place, (run, epoch) in enumerate(zip(runs, epochs, strict=True)):
        short = train(problem, [replace(run, epochs=epoch, at="last")], make=make)
        for name in ("test_loss", "test_metric"):
            assert_close(getattr(found.outcome, name)[[place]], getattr(short.outcome, name), 1e-12)
        for name, values in short.outcome.weights.items():
            assert_close(found.outcome.weights[name][place], values[0], 1e-12)


def test_all_else_is_that_of_the_last_epoch(new_problem: Builder) -> None:
    problem = new_problem({}, model=MLP, optimizer=STEEP)
    run = run_of(problem, "Baseline")
    found, last = (train(problem, [each]) for each in (replace(run, at="best"), run))
    np.testing.assert_array_equal(found.curves.validation_loss, last.curves.validation_loss)
    np.testing.assert_array_equal(found.outcome.final_loss, last.outcome.final_loss)
    assert found.outcome.test_loss != last.outcome.test_loss


def test_runs_of_one_stack_may_ask_for_either(new_problem: Builder) -> None:
    problem = new_problem({}, model=MLP, optimizer=STEEP)
    runs = [run_of(problem, "Baseline", seed, at=at) for seed in range(2) for at in ("last", "best")]
    alone = [train(problem, [run]) for run in runs]
    together = train(problem, runs)
    for place, one in enumerate(alone):
        assert_close(together.outcome.test_loss[[place]], one.outcome.test_loss, 1e-12)


@pytest.mark.parametrize("label", ["Step", "Free", "Mean"])
def test_the_loop_keeps_the_same_epoch(new_problem: Builder, label: str) -> None:
    schedules: dict[str, dict[str, Any]] = {
        "Step": {"name": "StepLR", "args": {"step_size": 3}},
        "Free": {"name": "ScheduleFree"},
        "Mean": {"name": "ConstantLR", "average": {"ema": 0.5}},
    }
    problem = new_problem(schedules, model=MLP, optimizer={"name": "SGD", "lr": 2.0})
    run = run_of(problem, label, at="best")
    (one, other) = (collect([run], loop.train(problem, run, device=CPU)), train(problem, [run]))
    assert best_epochs(one) == best_epochs(other)
    assert_close(one.outcome.test_loss, other.outcome.test_loss, 1e-4)
    for name, values in other.outcome.weights.items():
        assert_close(one.outcome.weights[name], values, 1e-4)


def test_a_run_that_never_had_a_finite_loss_has_none(new_problem: Builder) -> None:
    problem = new_problem({}, model=MLP, optimizer={"name": "SGD", "lr": 1e9})
    history = train(problem, [run_of(problem, "Baseline", at="best")])
    assert history.diverged.all()
    assert np.isnan(history.outcome.test_loss).all()


def test_they_are_other_runs_but_only_where_the_best_is_asked_for(new_problem: Builder) -> None:
    problem = new_problem({})
    run: Run = run_of(problem, "Baseline")
    assert kept_name(problem, replace(run, at="best"), CPU) != kept_name(problem, run, CPU)
    assert_same_bits(train(problem, [run]), train(problem, [replace(run, at="last")]))
