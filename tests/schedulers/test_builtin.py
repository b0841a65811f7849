"""torch's own schedulers as registered, and those that react to the loss: small cases worked out by hand at learning rate 1.

Those of the composed ones stand in ``test_composed.py``.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR

from pipeline.runs.traps import follow
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Budget, Replay
from tests.schedulers import test_composed
from tests.schedulers.examples import schedule
from tests.schedulers.test_composed import HALF, rates, sgd

BY_HAND: dict[str, tuple[str, dict[str, Any], list[float]]] = {
    # half after every second step
    "StepLR": ("StepLR", {"step_size": 2, "gamma": 0.5}, [1, 1, 0.5, 0.5, 0.25, 0.25]),
    # a tenth at steps 1 and 4
    "MultiStepLR": ("MultiStepLR", {"milestones": [1, 4], "gamma": 0.1}, [1, 0.1, 0.1, 0.1, 0.01, 0.01]),
    # 1 / (1 + k / 10)
    "LambdaLR": ("LambdaLR", {"lr_lambda": "tests.schedulers.examples:falling"}, [1, 1 / 1.1, 1 / 1.2, 1 / 1.3]),
    # a twentieth less after every step
    "MultiplicativeLR": ("MultiplicativeLR", {"lr_lambda": "tests.schedulers.examples:shrinking"}, [1, 0.95, 0.9025, 0.857375]),
    # half for three steps
    "ConstantLR": ("ConstantLR", {"factor": 0.5, "total_iters": 3}, [0.5, 0.5, 0.5, 1, 1]),
    # from a half to 1 in four equal steps, then 1
    "LinearLR": ("LinearLR", {"start_factor": 0.5, "total_iters": 4}, [0.5, 0.625, 0.75, 0.875, 1, 1]),
    # half after every step
    "ExponentialLR by its factor": ("ExponentialLR", {"gamma": 0.5}, [1, 0.5, 0.25, 0.125]),
    # a hundredth over four steps is the fourth root of 0.01 at each, 10 to the power of -1/2; it would be reached at step 4
    "ExponentialLR by its end": ("ExponentialLR", {"final": "1%"}, [1, 10**-0.5, 0.1, 10**-1.5]),
    # (1 - k/4) squared, then zero
    "PolynomialLR": ("PolynomialLR", {"total_iters": 4, "power": 2.0}, [1, 0.5625, 0.25, 0.0625, 0, 0]),
    # half a cosine in four steps between 0.2 and 1: the middle is 0.6
    "CosineAnnealingLR": (
        "CosineAnnealingLR", {"T_max": 4, "eta_min": 0.2},
        [1, 0.2 + 0.8 * (1 + HALF) / 2, 0.6, 0.2 + 0.8 * (1 - HALF) / 2, 0.2],
    ),
    # a cycle of two steps, then one of four, then one of eight
    "CosineAnnealingWarmRestarts": (
        "CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2},
        [1, 0.5, 1, (1 + HALF) / 2, 0.5, (1 - HALF) / 2, 1, (1 + math.cos(math.pi / 8)) / 2],
    ),
    # the optimizer's own up to step 2, and from there to 0.2 in two steps, in a straight line; then 0.2
    "SWALR along a line": (
        "SWALR", {"swa_lr": 0.2, "anneal_epochs": 2, "anneal_strategy": "linear", "start": 2}, [1, 1, 1, 0.6, 0.2, 0.2],
    ),
    # 75% of eight steps are six; of half a cosine in four steps there is one
    "SWALR along a cosine": ("SWALR", {"swa_lr": "20%", "anneal_epochs": 4}, [*7 * [1], 0.2 + 0.8 * (1 + HALF) / 2]),
    "SWALR at once": ("SWALR", {"swa_lr": 0.2, "anneal_epochs": 0, "start": 3}, [1, 1, 1, 0.2, 0.2]),
    # up in two steps and down in two
    "CyclicLR triangular": (
        "CyclicLR", {"base_lr": 0.1, "max_lr": 1.1, "step_size_up": 2, "cycle_momentum": False},
        [0.1, 0.6, 1.1, 0.6, 0.1, 0.6, 1.1, 0.6],
    ),
    # the second cycle is half as high
    "CyclicLR triangular2": (
        "CyclicLR", {"base_lr": 0.1, "max_lr": 1.1, "step_size_up": 2, "mode": "triangular2", "cycle_momentum": False},
        [0.1, 0.6, 1.1, 0.6, 0.1, 0.35, 0.6, 0.35],
    ),
    # 0.5 to the power of the step shrinks the height: 1/2, 1, 1/2 of it times 0.5, 0.25, 0.125
    "CyclicLR exp_range": (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1.1, "step_size_up": 2, "mode": "exp_range", "gamma": 0.5, "cycle_momentum": False},
        [0.1, 0.35, 0.35, 0.1625, 0.1],
    ),
    # from 1/2 in a straight line to 1 at step 0.6 * 5 - 1 = 2, and to a tenth of 1/2 at the last, step 4
    "OneCycleLR in two phases": (
        "OneCycleLR",
        {"pct_start": 0.6, "anneal_strategy": "linear", "div_factor": 2.0, "final_div_factor": 10.0, "cycle_momentum": False},
        [0.5, 0.75, 1, 0.525, 0.05],
    ),
    # up to step 0.4 * 10 - 1 = 3, down again to step 2 * 0.4 * 10 - 2 = 6, and from there to 0 (a millionth of 0.1) at step 9
    "OneCycleLR in three phases": (
        "OneCycleLR",
        {"pct_start": 0.4, "anneal_strategy": "linear", "div_factor": 10.0, "final_div_factor": 1e6, "three_phase": True,
         "cycle_momentum": False},
        [0.1, 0.4, 0.7, 1, 0.7, 0.4, 0.1, 0.1 - 0.1 / 3, 0.1 - 0.2 / 3, 1e-7],
    ),
    # the same curve along cosines: halfway between two ends at half the way
    "OneCycleLR along cosines": (
        "OneCycleLR", {"pct_start": 0.6, "div_factor": 2.0, "final_div_factor": 10.0, "cycle_momentum": False},
        [0.5, 0.75, 1, 0.525, 0.05],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(case: str) -> None:
    name, args, expected = BY_HAND[case]
    found = rates(name, args, len(expected), interval="batch")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


# losses of the epochs, and the rates of the epochs: each loss is told behind its epoch
BY_HAND_ON_LOSSES: dict[str, tuple[str, dict[str, Any], list[float], list[float]]] = {
    # 2 improves on nothing, 1 on 2; then two bad epochs are one more than a patience of 1, and again two
    "ReduceLROnPlateau": (
        "ReduceLROnPlateau", {"factor": 0.5, "patience": 1}, [2, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0.5, 0.5, 0.25],
    ),
    # 0.95 is no tenth below 1, and 0.89 is
    "a threshold": (
        "ReduceLROnPlateau", {"factor": 0.5, "patience": 0, "threshold": 0.1}, [1, 0.95, 0.89, 0.89], [1, 1, 0.5, 0.5],
    ),
    # the two epochs after a fall are not counted: every third may bring one; and no lower than 0.3
    "a cooldown and a floor": (
        "ReduceLROnPlateau", {"factor": 0.5, "patience": 0, "cooldown": 2, "min_lr": "30%"}, 8 * [1.0],
        [1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3],
    ),
    # two better losses in a row are more than a patience of 1 and double the rate, two that are not halve it; the first is
    # better than none, and no rate is above 2 or below 0.6
    "GreedyLR": (
        "GreedyLR", {"factor": 0.5, "patience": 1, "min_lr": 0.6, "max_lr": 2.0}, [5, 4, 3, 2, 1, 1, 1, 1, 1, 1],
        [1, 1, 2, 2, 2, 2, 2, 1, 1, 0.6],
    ),
    # behind a rise an epoch counts for nothing, not even as the best so far, and two behind a fall
    "GreedyLR that rests": (
        "GreedyLR", {"factor": 0.5, "patience": 0, "min_lr": 0, "max_lr": 9.0, "warmup": 1, "cooldown": 2},
        [5, 1, 4, 4, 9, 9, 9], [1, 2, 2, 4, 4, 2, 2],
    ),
    # the third fall that could not lower the rate lets it begin anew
    "GreedyLR that begins anew": (
        "GreedyLR", {"factor": 0.5, "patience": 0, "min_lr": 0.5, "max_lr": 1.0, "reset_start": 2},
        [1, 1, 1, 1, 1], [1, 1, 0.5, 1, 1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND_ON_LOSSES)
def test_by_hand_on_losses(case: str) -> None:
    name, args, losses, expected = BY_HAND_ON_LOSSES[case]
    replay = Replay(schedule(name, args), sgd, 1.0, Budget(len(losses), 1))
    found = []
    for loss in losses:
        found.append(replay.now[0])
        replay.step(loss)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("anneal_epochs", [0, 1, 7])
def test_swalr_is_what_the_loop_of_torchs_documentation_makes_of_it(anneal_epochs: int, strategy: Any) -> None:
    """Epochs from 1: after those up to `start` another scheduler is stepped, here a constant one; then SWALR. Bit for bit."""
    start, found = 5, []
    optimizer = sgd([torch.zeros(1)], 0.3)
    before = lr_scheduler.ConstantLR(optimizer, 1.0)
    swa_scheduler = SWALR(optimizer, 0.07, max(anneal_epochs, 1), strategy)
    for epoch in range(1, 21):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if epoch > start:
            swa_scheduler.step()
        else:
            before.step()
    # of no length, torch's would be at its end as soon as it is built; ours is where the first step of length 1 begins
    expected = [*found[:start], *found[start + 1 :], 0.07] if anneal_epochs == 0 else found
    args = {"swa_lr": 0.07, "anneal_epochs": anneal_epochs, "anneal_strategy": strategy, "start": start}
    ours = follow("SWALR", schedule("SWALR", args), sgd, 0.3, Budget(20, 1)).rates
    assert ours.tolist() == expected


def test_swalr_behind_a_warmup() -> None:
    """Half of the eight steps that are left."""
    found = rates("SWALR", {"swa_lr": "10%", "anneal_epochs": 2, "start": "50%"}, 10, interval="batch", warmup=2)
    np.testing.assert_allclose(found, [0, 0.5, 1, 1, 1, 1, 1, 0.55, 0.1, 0.1], rtol=1e-12)


def test_every_registered_scheduler_is_worked_out_by_hand() -> None:
    worked_out = [name for name, *_ in (*BY_HAND.values(), *BY_HAND_ON_LOSSES.values(), *test_composed.BY_HAND.values())]
    assert {entry.name for entry in schedulers} == {*worked_out}, "work out a small case of the new one, and say why it is so"
