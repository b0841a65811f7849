"""Spans of steps against torch's own ``step``, bit for bit."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import SGD, AdamW, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)

from pipeline.schedulers.spans import KINDS, goes_by_spans, stretches

Builder = Callable[[Optimizer], LRScheduler]
LENGTH = st.integers(1, 1500)
SHARE = st.floats(0.01, 1)
CYCLED = st.booleans().map(lambda cycles: {"cycle_momentum": cycles})
ARGUMENTS: dict[type[LRScheduler], st.SearchStrategy[dict[str, Any]]] = {
    StepLR: st.fixed_dictionaries({"step_size": LENGTH, "gamma": SHARE}),
    MultiStepLR: st.fixed_dictionaries({"milestones": st.lists(LENGTH, min_size=1, max_size=5).map(sorted), "gamma": SHARE}),
    ConstantLR: st.fixed_dictionaries({"factor": SHARE, "total_iters": LENGTH}),
    LinearLR: st.fixed_dictionaries({"start_factor": SHARE, "end_factor": SHARE, "total_iters": LENGTH}),
    ExponentialLR: st.fixed_dictionaries({"gamma": st.floats(0.9, 1)}),
    PolynomialLR: st.fixed_dictionaries({"total_iters": LENGTH, "power": st.floats(0.1, 4)}),
    CosineAnnealingLR: st.fixed_dictionaries({"T_max": LENGTH, "eta_min": st.floats(0, 0.1)}),
    CyclicLR: st.builds(
        dict[str, Any],
        st.fixed_dictionaries(
            {
                "base_lr": st.floats(0, 0.1),
                "max_lr": st.floats(0.1, 1),
                "step_size_up": LENGTH,
                "step_size_down": st.none() | LENGTH,
                "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
                "gamma": st.floats(0.99, 1),
            }
        ),
    ).flatmap(lambda args: CYCLED.map(lambda cycled: args | cycled)),
    OneCycleLR: st.fixed_dictionaries(
        {
            "max_lr": SHARE,
            "total_steps": st.just(1500),
            "pct_start": st.floats(0.1, 0.5),
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "three_phase": st.booleans(),
        }
    ).flatmap(lambda args: CYCLED.map(lambda cycled: args | cycled)),
}


def test_every_kind_is_compared() -> None:
    assert set(ARGUMENTS) == set(KINDS)


def sgd(lr: float = 0.3) -> Optimizer:
    return SGD([torch.zeros(1, requires_grad=True)], lr, momentum=0.9)


def adamw(lr: float = 0.3) -> Optimizer:
    return AdamW([torch.zeros(1, requires_grad=True)], lr)


def sgd_momentum(group: dict[str, Any]) -> Any:
    return group["momentum"]


def beta(group: dict[str, Any]) -> Any:
    return group["betas"][0]


def stepped(scheduler: LRScheduler, steps: int, momentum: Callable[[dict[str, Any]], Any]) -> list[tuple[float, float]]:
    """Rate and momentum after each of torch's own steps."""
    found = []
    (group,) = scheduler.optimizer.param_groups
    for _ in range(steps):
        scheduler.optimizer.step()
        scheduler.step()
        found.append((group["lr"], momentum(group)))
    return found


def spanned(scheduler: LRScheduler, steps: int, momentum: Callable[[dict[str, Any]], Any]) -> list[tuple[float, float]]:
    """The same of all stretches."""
    found: list[tuple[float, float]] = []
    for rates, momenta in stretches(scheduler, steps, momentum):
        found.extend(zip(rates.tolist(), np.broadcast_to(momenta, rates.shape).tolist(), strict=True))
    return found


@pytest.mark.parametrize(("new", "momentum"), [(sgd, sgd_momentum), (adamw, beta)], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15)
@given(data=st.data(), steps=st.integers(0, 1499))
def test_spans_have_the_bits_of_single_steps(
    kind: Callable[..., LRScheduler],
    new: Callable[[], Optimizer],
    momentum: Callable[[dict[str, Any]], Any],
    data: st.DataObject,
    steps: int,
) -> None:
    args = data.draw(ARGUMENTS[kind])  # type: ignore[index]
    one, other = kind(new(), **args), kind(new(), **args)
    assert spanned(one, steps, momentum) == stepped(other, steps, momentum)
    assert one.last_epoch == other.last_epoch
    (group,), (like) = one.optimizer.param_groups, other.optimizer.param_groups[0]
    assert {**group, "params": 0} == {**like, "params": 0}
    assert stepped(one, 1, momentum) == stepped(other, 1, momentum)  # and it goes on as torch's does


@pytest.mark.parametrize(
    ("build", "most"),
    [
        (lambda optimizer: OneCycleLR(optimizer, 0.1, 3000), 3),  # two phases
        (lambda optimizer: CosineAnnealingLR(optimizer, 2000), 3),  # down, its turn, up
        (lambda optimizer: MultiStepLR(optimizer, [1000, 2000]), 5),  # before, at and behind milestones
        (lambda optimizer: ConstantLR(optimizer, 0.5, 1000), 3),
        (lambda optimizer: LinearLR(optimizer, 0.5, 1, 1000), 2),
        (lambda optimizer: PolynomialLR(optimizer, 1000), 2),
        (lambda optimizer: ExponentialLR(optimizer, 0.999), 1),
        (lambda optimizer: StepLR(optimizer, 1000), 6),
        (lambda optimizer: CyclicLR(optimizer, 0.1, 1, 3), 1),
    ],
)
def test_few_calls_answer_for_many_steps(build: Builder, most: int) -> None:
    assert len(list(stretches(build(sgd()), 2999, sgd_momentum))) <= most


def test_short_spans_are_stepped_one_by_one() -> None:
    """There are 500 steps at a milestone and 500 spans between them."""
    scheduler = MultiStepLR(sgd(), list(range(3, 1500, 3)), 0.99)
    assert len(list(stretches(scheduler, 1500, sgd_momentum))) < 100


def test_what_raises_raises_at_its_step() -> None:
    scheduler = OneCycleLR(sgd(), 0.1, 200)
    told: list[float] = []
    with pytest.raises(ValueError, match=r"Tried to step 201 times\. The specified number of total steps is 200"):
        told.extend(rate for stretch in stretches(scheduler, 500, sgd_momentum) for rate in stretch.lr)
    assert len(told) == 200


def test_torchs_own_classes_stay_as_they_are() -> None:
    scheduler = CosineAnnealingLR(sgd(), 100)
    before = vars(CosineAnnealingLR).copy()
    list(stretches(scheduler, 300, sgd_momentum))
    assert (type(scheduler), vars(lr_scheduler)["math"], dict(vars(CosineAnnealingLR))) == (CosineAnnealingLR, math, before)


def test_functions_of_the_users_own_are_asked_step_by_step() -> None:
    """They may do anything with the number of the step."""
    assert not goes_by_spans(CyclicLR(sgd(), 0.1, 1, scale_fn=lambda step: 1.0))
    assert not goes_by_spans(LambdaLR(sgd(), lambda step: 1.0))
    assert goes_by_spans(CyclicLR(sgd(), 0.1, 1))


class Own(ExponentialLR):
    """With a rule of its own."""

    def __init__(self, rule: Callable[[Any], Any]) -> None:
        self.rule = rule
        super().__init__(sgd(), 0.5)

    def get_lr(self) -> list[Any]:
        """By the rule."""
        return [self.rule(self.last_epoch)]


@pytest.mark.parametrize(
    "rule",
    [
        float,
        lambda step: {number: 1 / (1 + number) for number in range(1000)}[step],
        lambda step: [0.5, 0.25][step % 2],
        lambda step: 0.5 if step % 100 else 0.25,
        lambda step: 1.0 / len(f"{step}"),
        lambda step: math.sqrt(200 - step) if step < 150 else math.exp(-step / 300),
        lambda step: 1 / (step - 299.5) if step > 250 else 2.0 ** -(step // 7) - 0.5**step,
    ],
)
def test_a_method_that_asks_for_one_number_gets_that_of_one_step(rule: Callable[[Any], Any]) -> None:
    assert spanned(Own(rule), 299, sgd_momentum) == stepped(Own(rule), 299, sgd_momentum)


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        (lambda step: 1 / (200 - step), ZeroDivisionError),
        (lambda step: (200 - step) ** -0.5, ZeroDivisionError),
        (lambda step: math.log(200 - step), ValueError),
        (lambda step: 2.0 ** (step + 824), OverflowError),
    ],
)
def test_python_s_errors_come_at_their_step(rule: Callable[[Any], Any], error: type[Exception]) -> None:
    told: list[float] = []
    with pytest.raises(error):
        told.extend(rate for stretch in stretches(Own(rule), 400, sgd_momentum) for rate in stretch.lr)
    assert told == [rule(step) for step in range(1, 200)]
