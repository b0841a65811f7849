"""Closed forms against formulas written here from the papers and from Hugging Face's definitions, at lr 1 and by hand."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import SGD, Optimizer

from pipeline.config.arrays import Floats
from pipeline.schedulers.replay import Budget, ScheduleError, trace
from tests.schedulers.examples import schedule


def sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return SGD(parameters, lr)


def rates(name: str, args: Mapping[str, Any], steps: int, lr: float = 1.0, **more: Any) -> Floats:
    return trace(schedule(name, args, **more), sgd, lr, Budget(1, steps)).lr


HALF = math.sqrt(0.5)
BY_HAND: dict[str, tuple[str, dict[str, Any], list[float]]] = {
    # one fifth less at each of five steps; zero would come at the sixth
    "linear": ("LinearDecay", {}, [1.0, 0.8, 0.6, 0.4, 0.2]),
    # the same, between 1 and a half
    "linear to a half": ("LinearDecay", {"final": "50%"}, [1.0, 0.9, 0.8, 0.7, 0.6]),
    # (1 + cos(k pi / 4)) / 2 for k = 0 … 3, squeezed between 0.1 and 1
    "cosine with the usual floor": ("CosineDecay", {}, [1.0, 0.1 + 0.9 * (1 + HALF) / 2, 0.55, 0.1 + 0.9 * (1 - HALF) / 2]),
    # two half cosines of four steps each
    "hard restarts": ("CosineRestarts", {"cycles": 2}, 2 * [1.0, (1 + HALF) / 2, 0.5, (1 - HALF) / 2]),
    # three cycles in eight steps: the second begins between steps 2 and 3, and step 3 is 1/8 into it
    "cycles that are no whole steps": (
        "CosineRestarts", {"cycles": 3}, [(1 + math.cos(math.pi * (3 * k / 8 - 3 * k // 8))) / 2 for k in range(8)],
    ),
    # up in two steps, 1 for three, and five to come down: 1, 4/5, 3/5 …
    "a linear cooldown": (
        "WarmupStableDecay", {"warmup": "20%", "decay": "50%", "cooldown": "linear"},
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2],
    ),
    # 1 - sqrt(0), 1 - sqrt(1/4), 1 - sqrt(1/2), 1 - sqrt(3/4)
    "1-sqrt": (
        "WarmupStableDecay", {"warmup": 0, "decay": 4, "cooldown": "1-sqrt"}, [1.0, 1.0, 0.5, 1 - HALF, 1 - math.sqrt(0.75)],
    ),
    # from 1 down to a fifth
    "a cosine cooldown that ends above 0": (
        "WarmupStableDecay", {"warmup": 1, "decay": 2, "cooldown": "cosine", "final": "20%"}, [0.0, 1.0, 1.0, 0.6],
    ),
    # 1 / sqrt(1 + k / 3) is 1/2 at k = 9
    "inverse square root": ("InverseSqrt", {"timescale": 3}, [1 / math.sqrt(1 + k / 3) for k in range(9)] + [0.5]),
    # three quarters left over seven eighths, a half over three quarters, a quarter over five eighths
    "REX": ("REX", {}, [1.0, 6 / 7, 2 / 3, 2 / 5]),
    # tanh is 0 where -2 + 4 t is, halfway, and (1 - tanh(x)) / 2 is 1 / (1 + exp(2 x))
    "tanh": ("TanhDecay", {"lower": -2.0, "upper": 2.0}, [1 / (1 + math.exp(2 * x)) for x in (-2.0, -1.0, 0.0, 1.0)]),
    # a line from a tenth to the peak in three steps, then half a cosine over the four steps that are left
    "a warmup that comes before": (
        "Annealing", {"warmup": 3, "start": "10%", "prefix": True},
        [0.1, 0.4, 0.7, 1.0, (1 + HALF) / 2, 0.5, (1 - HALF) / 2],
    ),
    # the same line in place of the first steps of half a cosine over all eight
    "a warmup that takes the first steps' place": (
        "Annealing", {"warmup": 3, "start": "10%"},
        [0.1, 0.4, 0.7, *((1 + math.cos(math.pi * k / 8)) / 2 for k in range(3, 8))],
    ),
    # two steps, then four half as high, then the floor
    "cycles that grow and shrink": (
        "Annealing", {"shape": "polynomial", "cycles": 2, "first": 2, "growth": 2.0, "shrink": 0.5, "final": "20%"},
        [1.0, 0.6, 0.5, 0.425, 0.35, 0.275, 0.2, 0.2],
    ),
    # two cycles fill six steps: (1 - t) to the power 2 at t = 0, 1/3, 2/3
    "a polynomial": ("Annealing", {"shape": "polynomial", "power": 2.0, "cycles": 2}, 2 * [1.0, 4 / 9, 1 / 9]),
    # one minus the square of t
    "k-decay": ("Annealing", {"shape": "polynomial", "k": 2.0}, [1.0, 15 / 16, 3 / 4, 7 / 16]),
    # a whole wave goes down and up again
    "a whole wave": ("Annealing", {"waves": 1.0}, [1.0, 0.5, 0.0, 0.5]),
    # led up to where the tangent is at step 2 of 4, which is the middle
    "a tangent behind a warmup": (
        "Annealing", {"shape": "tanh", "lower": -2.0, "upper": 2.0, "warmup": 2}, [0.0, 0.25, 0.5, 1 / (1 + math.exp(2.0))],
    ),
    # half at step 2, 4 and 6 and again at step 5
    "steps": ("StepDecay", {"every": 2, "at": [5], "gamma": 0.5}, [1.0, 1.0, 0.5, 0.5, 0.25, 0.125, 0.0625]),
    # up from a fifth in two steps; the moments count from there, or from the run's first step
    "steps behind a warmup": (
        "StepDecay", {"at": [2], "gamma": 0.1, "warmup": 2, "start": "20%", "prefix": True}, [0.2, 0.6, 1.0, 1.0, 0.1],
    ),
    "steps with a warmup inside": ("StepDecay", {"at": [3], "warmup": 2, "start": "20%"}, [0.2, 0.6, 1.0, 0.1, 0.1]),
    # up along 1 - sqrt(1 - t) from 0.2, one step at 1, a linear cooldown to 0.2, where it stays
    "a stable phase that ends before the run": (
        "WarmupStableDecay",
        {"warmup": 2, "rise": "1-sqrt", "start": "20%", "stable": 1, "decay": 2, "cooldown": "linear", "final": "20%"},
        [0.2, 0.2 + 0.8 * (1 - HALF), 1.0, 1.0, 0.6, 0.2, 0.2],
    ),
    # 1 / sqrt(1 + k / 4) is 1 / sqrt(2) at k = 4, and the cooldown of 4 steps halves it there
    "a rate that fades": (
        "WarmupStableDecay", {"warmup": 0, "stable_power": 0.5, "timescale": 4, "decay": 4, "cooldown": "linear"},
        [1.0, 1 / math.sqrt(1.25), 1 / math.sqrt(1.5) , 0.75 / math.sqrt(1.75), 0.5 * HALF, 0.25 / 1.5],
    ),
    # the exponential to a tenth, less that tenth: sqrt(0.1) is a half of the way
    "an exponential cooldown": (
        "WarmupStableDecay", {"warmup": 0, "decay": 2, "cooldown": "exp"}, [1.0, 1.0, (math.sqrt(0.1) - 0.1) / 0.9],
    ),
    # up in two steps, and a timescale as long
    "inverse square root behind its own warmup": (
        "InverseSqrt", {"warmup": 2}, [0.0, 0.5, *(1 / math.sqrt(1 + k / 2) for k in range(4))],
    ),
    # no schedule: the rate never moves
    "schedule-free": ("ScheduleFree", {}, [1.0, 1.0, 1.0]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_by_hand(case: str) -> None:
    name, args, expected = BY_HAND[case]
    np.testing.assert_allclose(rates(name, args, len(expected)), expected, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(rates(name, args, len(expected), lr=0.03), 0.03 * np.array(expected), rtol=1e-12, atol=1e-15)


def linear(t: int, w: int, total: int) -> float:
    return t / w if t < w else (total - t) / (total - w)


def cosine(t: int, w: int, total: int) -> float:
    return t / w if t < w else 0.5 * (1 + math.cos(math.pi * (t - w) / (total - w)))


def hard_restarts(t: int, w: int, total: int) -> float:
    return t / w if t < w else 0.5 * (1 + math.cos(math.pi * ((3 * (t - w) / (total - w)) % 1)))


def polynomial(t: int, w: int, total: int) -> float:
    return t / w if t < w else (1 - (t - w) / (total - w)) ** 2


def inverse_sqrt(t: int, w: int, total: int) -> float:
    return t / w if t < w else 1 / math.sqrt((t + 40 - w) / 40)


def constant(t: int, w: int, total: int) -> float:
    return t / w if t < w else 1.0


HUGGING_FACE: dict[str, tuple[Callable[[int, int, int], float], str, dict[str, Any]]] = {
    "linear": (linear, "LinearDecay", {}),
    "torch's linear": (linear, "LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": "100%"}),
    "cosine": (cosine, "CosineAnnealingLR", {"T_max": "100%"}),
    "cosine as a closed form": (cosine, "CosineDecay", {"final": "0%"}),
    "cosine with hard restarts": (hard_restarts, "CosineRestarts", {"cycles": 3}),
    "polynomial": (polynomial, "PolynomialLR", {"total_iters": "100%", "power": 2.0}),
    "inverse square root": (inverse_sqrt, "InverseSqrt", {"timescale": 40}),
    "constant": (constant, "ConstantLR", {"factor": 1.0}),
}


def rex(t: int, total: int) -> float:
    """Chen et al.: (1 - t/T) / (1/2 + (1 - t/T) / 2); both halves of the fraction times 2 T."""
    return 2 * (total - t) / (2 * total - t)


def tanh(t: int, total: int) -> float:
    """Hsueh et al.: (1 - tanh(x)) / 2 with x from -6 to 3, by way of the logistic function, which it is of -2 x."""
    return 1 / (1 + math.exp(2 * (-6 + 9 * t / total)))


@pytest.mark.parametrize(("name", "factor"), [("REX", rex), ("TanhDecay", tanh)])
def test_the_papers_curve_over_a_whole_run(name: str, factor: Callable[[int, int], float]) -> None:
    found = rates(name, {}, 200)
    np.testing.assert_allclose(found, [factor(t, 200) for t in range(200)], rtol=1e-9, atol=1e-12)


def wsd(step: int, warmup: int, stable: int, decay: int, cooldown: str, ratio: float) -> float:
    """``get_wsd_schedule`` of Hugging Face, whose names for it are ``decay_type`` and ``min_lr_ratio``."""
    if step < warmup:
        return step / warmup
    if step < warmup + stable:
        return 1.0
    progress = (step - warmup - stable) / decay
    factor = {
        "linear": 1.0 - progress,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * progress)),
        "1-sqrt": 1.0 - math.sqrt(progress),
    }[cooldown]
    return factor * (1.0 - ratio) + ratio


@pytest.mark.parametrize(
    ("args", "phases", "cooldown", "ratio"),
    [
        ({}, (10, 150, 40), "1-sqrt", 0.0),  # of 200 steps, 5% and 20%
        ({"cooldown": "cosine"}, (10, 150, 40), "cosine", 0.0),
        ({"cooldown": "linear", "warmup": 0, "final": "10%"}, (0, 160, 40), "linear", 0.1),
        ({"warmup": "30%", "decay": "70%"}, (60, 0, 140), "1-sqrt", 0.0),
    ],
)
def test_warmup_stable_decay_is_that_of_hugging_face(
    args: dict[str, Any], phases: tuple[int, int, int], cooldown: str, ratio: float
) -> None:
    expected = [0.5 * wsd(step, *phases, cooldown, ratio) for step in range(200)]
    np.testing.assert_allclose(rates("WarmupStableDecay", args, 200, lr=0.5), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("warmup", [1, 30, 40])
@pytest.mark.parametrize("case", HUGGING_FACE)
def test_warmup_is_that_of_hugging_face(case: str, warmup: int) -> None:
    """From 0 at the first step to the peak at step ``warmup``; what follows has the rest of the run as its horizon."""
    factor, name, args = HUGGING_FACE[case]
    found = rates(name, args, 200, lr=0.5, warmup=warmup)  # per batch: a warmup makes it so
    np.testing.assert_allclose(found, [0.5 * factor(t, warmup, 200) for t in range(200)], rtol=1e-9, atol=1e-12)


def test_a_share_of_warmup_is_one_of_the_whole_run() -> None:
    found = rates("LinearDecay", {}, 40, warmup="25%")
    assert np.argmax(found) == 10
    np.testing.assert_array_equal(found, rates("LinearDecay", {}, 40, warmup=10))


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "phases that are longer than the run": (
        "WarmupStableDecay", {"warmup": "60%", "decay": "50%"},
        r"warmup \(6\) and decay \(5\) are longer than the run's 10 steps",
    ),
    "fading without a timescale": ("WarmupStableDecay", {"stable_power": 0.5}, "stable_power needs a timescale"),
    "neither timescale nor warmup": ("InverseSqrt", {}, "write a timescale, or a warmup among its args"),
    "all of it a warmup": ("Annealing", {"warmup": "100%"}, r"warmup \(10\) leaves nothing of the run's 10 steps"),
    "more than all of it": ("StepDecay", {"every": 3, "warmup": 11}, r"warmup \(11\) leaves nothing of the run's 10 steps"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "args", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_followed_is_told(name: str, args: dict[str, Any], told: str) -> None:
    with pytest.raises(ScheduleError, match=told):
        rates(name, args, 10)
