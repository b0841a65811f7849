"""What the stacked engine yields, evaluates and refuses."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.engine import loop, stacked
from pipeline.engine.stacked import StackError
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.problems.run import CURVES, Block, History, collect, select
from tests.engine.helpers import CPU, MLP, Builder, assert_same_bits, run_of, train

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "ReduceLROnPlateau": {"args": {"patience": 0, "threshold": 0.05}},
}


# Blocks


@pytest.mark.parametrize(
    ("labels", "lengths"),
    [(["StepLR", "Baseline"], [10, 10, 3]), (["StepLR", "ReduceLROnPlateau"], [1] * 23)],
    ids=["open loop", "live"],
)
def test_blocks(new_problem: Builder, labels: list[str], lengths: list[int]) -> None:
    problem = new_problem(SCHEDULES, epochs=23)
    runs = [run_of(problem, label) for label in labels]
    blocks: list[Block] = []
    history = collect(runs, stacked.train(problem, runs, device=CPU), blocks.append)
    assert [len(block.train_loss) for block in blocks] == lengths
    assert blocks[0].first_epoch == 1
    assert all(later.first_epoch == block.first_epoch + len(block.lr) for block, later in pairwise(blocks))
    for name in CURVES:
        values = getattr(history.curves, name)
        assert values.shape == (23, 2)
        assert values.tobytes() == np.concatenate([getattr(block, name) for block in blocks]).tobytes()


def test_the_length_of_blocks_changes_nothing(new_problem: Builder) -> None:
    """A live neighbour makes blocks of one epoch; the run beside it trains the same."""
    problem = new_problem(SCHEDULES, epochs=12, model=MLP)
    step, plateau, baseline = (run_of(problem, label) for label in ("StepLR", "ReduceLROnPlateau", "Baseline"))
    assert_same_bits(select(train(problem, [step, plateau]), [0]), select(train(problem, [step, baseline]), [0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_two_trainings_are_the_same_to_the_last_bit(new_problem: Builder, dtype: torch.dtype) -> None:
    problem = new_problem(SCHEDULES, model=MLP)
    runs = [run_of(problem, label, seed) for label in problem.schedules for seed in range(2)]
    assert_same_bits(train(problem, runs, dtype), train(problem, runs, dtype))


def test_the_callers_random_state_is_left_alone(new_problem: Builder) -> None:
    """Neither used nor moved: a training depends on its seeds alone."""
    problem = new_problem(SCHEDULES)
    runs = [run_of(problem, label) for label in SCHEDULES]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = train(problem, runs)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert_same_bits(one, train(problem, runs))


# Search


def searched(problem: Problem) -> tuple[History, History]:
    """The same runs in a search and in full."""
    runs = [run_of(problem, label, seed, stream="tune") for label in SCHEDULES for seed in range(2)]
    return train(problem, runs, search=True), train(problem, runs)


def test_a_search_evaluates_only_what_a_choice_needs(new_problem: Builder) -> None:
    search, full = searched(new_problem(SCHEDULES, model=MLP))
    for name in ("validation_loss", "validation_metric"):
        assert np.isnan(getattr(search.curves, name)[:-1]).all()
        np.testing.assert_array_equal(getattr(search.curves, name)[-1], getattr(full.curves, name)[-1])
    for name in ("lr", "momentum", "train_loss"):
        np.testing.assert_array_equal(getattr(search.curves, name), getattr(full.curves, name))
    assert np.isnan(search.outcome.test_loss).all()
    assert np.isnan(search.outcome.test_metric).all()
    assert np.isfinite(full.outcome.test_loss).all()
    np.testing.assert_array_equal(search.diverged, full.diverged)
    for name, values in full.outcome.weights.items():
        assert torch.equal(search.outcome.weights[name], values)


@pytest.mark.parametrize("resample", [True, False])
def test_a_search_never_touches_the_test_split(new_problem: Builder, resample: bool) -> None:
    """Its samples may as well be NaN."""
    problem = new_problem(SCHEDULES, resample=resample)
    x = problem.data.x.copy()
    x[problem.data.split(0).test] = np.nan
    poisoned = replace(problem, data=replace(problem.data, x=x))
    runs = [run_of(problem, label) for label in SCHEDULES]
    assert_same_bits(train(poisoned, runs, search=True), train(problem, runs, search=True))
    assert np.isnan(train(poisoned, runs).outcome.test_loss).all()  # in full it is evaluated


# Divergence


@pytest.mark.parametrize("engine", ["tensors", "loop"])
def test_a_last_step_that_ruins_the_weights_is_divergence(new_problem: Builder, engine: str) -> None:
    """All training losses are finite and fall, since each is taken before its step; the validation loss is not."""
    late = {"Late": {"name": "MultiStepLR", "args": {"milestones": [3] * 5, "gamma": 1e6}}}  # times 1e30 at the last epoch
    problem = new_problem(late, model={"name": "mlp", "hidden": [8] * 4}, epochs=4, batch_size=70)
    run = run_of(problem, "Late")
    for search in (False, True) if engine == "stacked" else (False,):
        training = (
            loop.train(problem, run, device=CPU)
            if engine == "loop"
            else stacked.train(problem, [run, run_of(problem, "Baseline")], device=CPU, search=search)
        )
        history = collect([run], training)
        assert np.isfinite(history.curves.train_loss[:, 0]).all()
        assert history.curves.train_loss[-1, 0] <= history.outcome.initial_loss[0]
        assert not np.isfinite(history.outcome.final_loss[0])
        assert not np.isfinite(history.curves.validation_loss[-1, 0])
        assert history.diverged[0]
        assert not history.diverged[1:].any()


# Refusals


def test_different_budgets_are_refused(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES)
    runs = [run_of(problem, "StepLR"), run_of(problem, "StepLR", epochs=20)]
    with pytest.raises(StackError, match=r"\[8, 20\] epochs; train each budget by itself"):
        train(problem, runs)


@pytest.mark.usefixtures("own_registries")
def test_a_users_own_model_trains_as_in_the_loop(new_problem: Builder) -> None:
    """What the message recommends works."""

    @register_model("grouped")
    def grouped(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 8), nn.GroupNorm(2, 8), nn.GELU(), nn.Linear(8, outputs, bias=False))

    problem = new_problem(SCHEDULES, model={"name": "grouped"})
    run = run_of(problem, "StepLR")
    plain = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
    stack = train(problem, [run, run_of(problem, "Baseline")])
    np.testing.assert_allclose(stack.curves.train_loss[:, 0], plain.curves.train_loss[:, 0], rtol=1e-10)
