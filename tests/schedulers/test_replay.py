"""Traces of replayed schedulers: relative values, common curves, refusals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim import SGD, AdamW, Optimizer

from pipeline.runs import Floats
from pipeline.schedulers.replay import Budget, ScheduleError, resolve, trace
from tests.schedulers.examples import CYCLED_MOMENTUM, schedule

BUDGETS = (10, 100, 1000)


def sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return SGD(parameters, lr)


def adamw(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return AdamW(parameters, lr)


def rates(name: str, args: Mapping[str, Any], epochs: int, *, lr: float = 1.0, **more: Any) -> Floats:
    """The rate of every epoch of one batch."""
    return trace(schedule(name, args, **more), sgd, lr, Budget(epochs, 1)).lr


# One shape at every budget

TENTHS = st.integers(1, 10).map(lambda tenth: f"{10 * tenth}%")
GAMMA = st.floats(0.1, 0.9)
SHAPES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "StepLR": st.fixed_dictionaries({"step_size": TENTHS, "gamma": GAMMA}),
    "MultiStepLR": st.fixed_dictionaries({"milestones": st.lists(TENTHS, min_size=1, max_size=4), "gamma": GAMMA}),
    "ConstantLR": st.fixed_dictionaries({"factor": st.floats(0.1, 1.0), "total_iters": TENTHS}),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": TENTHS, "eta_min": st.sampled_from(["0%", "10%"])}),
    "CyclicLR": st.fixed_dictionaries(
        {
            "base_lr": st.just("1%"),
            "max_lr": st.just("100%"),
            "step_size_up": TENTHS,
            "step_size_down": st.none() | TENTHS,
            "mode": st.sampled_from(["triangular", "triangular2"]),
            "cycle_momentum": st.just(False),
        }
    ),
}
"""Shapes whose every length is relative; ``ExponentialLR`` has none, its factor is one per step; plateau has no trace."""


@given(name_and_args=st.sampled_from(sorted(SHAPES)).flatmap(lambda name: st.tuples(st.just(name), SHAPES[name])))
def test_one_shape_at_every_budget(name_and_args: tuple[str, dict[str, Any]]) -> None:
    """Tenths of a run are whole numbers of epochs at each of the budgets: the curves agree where they meet."""
    name, args = name_and_args
    curves = [rates(name, args, epochs, interval="epoch") for epochs in BUDGETS]
    for curve, epochs in zip(curves, BUDGETS, strict=True):
        np.testing.assert_allclose(curve[:: epochs // 10], curves[0], rtol=1e-6, atol=1e-9)


@given(share=st.integers(1, 1000), epochs=st.sampled_from(BUDGETS))
def test_what_rounding_leaves_of_step_lr(share: int, epochs: int) -> None:
    """Half a step for each drop so far, unless the step is too short for the budget."""
    exact = share / 1000 * epochs
    curve = rates("StepLR", {"step_size": f"{share / 10}%", "gamma": 0.5}, epochs)
    drops = np.flatnonzero(np.diff(curve)) + 1
    if exact < 0.5:
        assert drops.tolist() == list(range(1, epochs))  # every step: a length is at least 1
    else:
        number = np.arange(1, len(drops) + 1)
        assert (np.abs(drops - number * exact) <= number * 0.5 + 1e-9).all()
        missing = (len(drops) + 1) * (exact + 0.5)
        assert missing >= epochs - 1e-9  # no drop is left out


@given(shares=st.lists(st.integers(1, 999), min_size=1, max_size=4, unique=True), epochs=st.sampled_from(BUDGETS))
def test_what_rounding_leaves_of_milestones(shares: list[int], epochs: int) -> None:
    """Half a step for each milestone, whatever lies before it."""
    curve = rates("MultiStepLR", {"milestones": [f"{share / 10}%" for share in shares], "gamma": 0.5}, epochs)
    fallen = np.round(-np.log2(curve))
    for epoch, count in enumerate(fallen):
        surely = sum(max(share / 1000 * epochs + 0.5, 1) <= epoch for share in shares)
        perhaps = sum(share / 1000 * epochs - 0.5 <= epoch for share in shares)
        assert surely <= count <= perhaps


@pytest.mark.parametrize("epochs", BUDGETS)
def test_whole_cosine_and_its_middle(epochs: int) -> None:
    curve = rates("CosineAnnealingLR", {"T_max": "100%"}, epochs)
    assert curve[0] == 1.0
    assert curve[epochs // 2] == pytest.approx(0.5)  # halfway
    assert curve[-1] == pytest.approx((1 - np.cos(np.pi / epochs)) / 2)  # one step before it would reach 0


# Relative values and intervals


def test_relative_rates_follow_the_runs_own_peak() -> None:
    """10% of the schedule's own peak of 50% of 0.4."""
    half = schedule("CosineAnnealingLR", {"T_max": "50%", "eta_min": "10%"}, lr="50%")
    resolved = resolve(half, 0.4, Budget(30, 7))
    assert resolved.lr == pytest.approx(0.2)
    assert resolved.args == {"T_max": 15, "eta_min": pytest.approx(0.02)}


def test_lengths_count_the_schedulers_own_steps() -> None:
    """Epochs, or batches where it is stepped per batch."""
    per_epoch, per_batch = (schedule("StepLR", {"step_size": "10%"}, interval=interval) for interval in ("epoch", "batch"))
    budget = Budget(epochs=20, steps_per_epoch=7)
    assert resolve(per_epoch, 1.0, budget).args["step_size"] == 2
    assert resolve(per_batch, 1.0, budget).args["step_size"] == 14
    one, other = (trace(each, sgd, 1.0, budget).lr for each in (per_epoch, per_batch))
    np.testing.assert_array_equal(one, other)  # 2 epochs are 14 batches
    assert one.shape == (140,)
    assert one[13] == 1.0
    assert one[14] == pytest.approx(0.1)


def test_momentum_is_traced_where_it_is_cycled() -> None:
    """Down to 0 as the rate goes up in 4 steps, and back."""
    expected = [0.9, 0.675, 0.45, 0.225, 0.0, 0.225, 0.45, 0.675, 0.9, 0.675]
    for new in (sgd, adamw):
        found = trace(schedule("CyclicLR", CYCLED_MOMENTUM), new, 1.0, Budget(1, 10))
        np.testing.assert_allclose(found.momentum, expected, atol=1e-12)


def test_momentum_of_one_is_refused() -> None:
    """AdamW would divide by 0, and SGD never forgets."""
    with pytest.raises(ValidationError, match="max_momentum"):
        schedule("CyclicLR", {**CYCLED_MOMENTUM, "max_momentum": 1.0})


# Refusals


def test_base_above_max_is_refused_at_the_peak_where_it_happens() -> None:
    """The same arguments are right at one peak and wrong at another."""
    cyclic = schedule("CyclicLR", {"base_lr": "10%", "max_lr": 0.05, "cycle_momentum": False})
    assert trace(cyclic, sgd, 0.1, Budget(1, 4)).lr[0] == pytest.approx(0.01)
    with pytest.raises(ScheduleError, match=r"base_lr \(0\.1\) lies above max_lr \(0\.05\)"):
        trace(cyclic, sgd, 1.0, Budget(1, 4))


def test_a_rate_that_overflows_is_refused() -> None:
    """1e6 times as much each epoch is infinite after 52: 1e6 ** 52 lies above the largest double, 1.8e308."""
    with pytest.raises(ScheduleError, match=r"its learning rate becomes inf at epoch 53"):
        rates("ExponentialLR", {"gamma": 1e6}, 60)
