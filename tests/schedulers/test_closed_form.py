"""A formula asked step by step, as torch does, and for many steps at once."""

import contextlib
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import optim, zeros
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, StepLR

from pipeline.schedulers.closed_form import ClosedForm, Formula, cos, rates_of, tanh

FORMULAS: dict[str, Formula] = {
    "a constant": lambda step: 1.0,
    "a line": lambda step: 1 - step / 77,
    "a quotient": lambda step: (1 - step / 20_000) / (0.5 + 0.5 * (1 - step / 20_000)),
    "a root": lambda step: 1 / np.sqrt(1 + step / 7),
    "a remainder": lambda step: step * 3 % 77 / 77,
    "a cosine": lambda step: (1 + cos(np.pi * step / 77)) / 2,
    "a hyperbolic tangent": lambda step: tanh(-6 + 9 * step / 77),
    "pieces": lambda step: np.where(step < 10, step / 10, 1 - np.maximum(step - 60, 0) / 17),
}


@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
@given(first=st.integers(0, 10_000), count=st.integers(1, 300))
def test_many_steps_at_once_have_the_bits_of_each(formula: Formula, first: int, count: int) -> None:
    form = ClosedForm(formula)
    found = form.over(np.arange(first, first + count, dtype=float))
    assert found.tolist() == [form(step) for step in range(first, first + count)]


def test_torch_takes_it_for_a_function_of_the_step() -> None:
    optimizer = optim.SGD([zeros(1, requires_grad=True)], lr=0.3)
    scheduler = LambdaLR(optimizer, ClosedForm(lambda step: cos(step / 5)))
    rates = []
    for _ in range(9):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [0.3 * math.cos(step / 5) for step in range(9)]
    assert all(type(rate) is float for rate in rates)


def new_optimizer(kind: str) -> optim.Optimizer:
    given = [zeros(1, requires_grad=True)]
    return optim.SGD(given, lr=0.3, momentum=0.9) if kind == "SGD" else optim.AdamW(given, lr=0.3)


def stepped(scheduler: LRScheduler, steps: int) -> tuple[list[float], list[float]]:
    """Rate and momentum after each of torch's own steps."""
    group, rates, momenta = scheduler.optimizer.param_groups[0], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nothing is trained between two steps
        for _ in range(steps):
            scheduler.step()
            rates.append(float(group["lr"]))
            momenta.append(float(group["momentum"] if "momentum" in group else group["betas"][0]))
    return rates, momenta


def assert_as_stepped(build: Callable[[optim.Optimizer], LRScheduler], kind: str, steps: int) -> None:
    found = rates_of(build(new_optimizer(kind)), np.arange(1, steps + 1, dtype=float))
    assert found is not None
    rates, momenta = stepped(build(new_optimizer(kind)), steps)
    assert found[0].tolist() == rates
    assert (momenta if found[1] is None else found[1].tolist()) == momenta


KINDS = st.sampled_from(["SGD", "AdamW"])
RATES = st.floats(1e-6, 10)


@given(
    kind=KINDS, low=RATES, high=RATES, up=st.integers(1, 60), down=st.none() | st.integers(1, 60), steps=st.integers(0, 300),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]), gamma=st.floats(0.9, 1.01), moves=st.booleans(),
)  # fmt: skip
def test_cyclic_has_the_bits_of_torchs_steps(
    kind: str, low: float, high: float, up: int, down: int | None, steps: int, mode: Any, gamma: float, moves: bool
) -> None:
    def build(optimizer: optim.Optimizer) -> LRScheduler:
        return CyclicLR(optimizer, low, high, up, down, mode, gamma, cycle_momentum=moves)

    assert_as_stepped(build, kind, steps)


@given(
    kind=KINDS, peak=RATES, total=st.integers(2, 300), share=st.floats(0, 1), strategy=st.sampled_from(["cos", "linear"]),
    moves=st.booleans(), first=st.floats(1, 100), last=st.floats(1, 1e5), three=st.booleans(), run=st.floats(0, 1),
)  # fmt: skip
def test_one_cycle_has_the_bits_of_torchs_steps(
    kind: str, peak: float, total: int, share: float, strategy: Any, moves: bool, first: float, last: float, three: bool,
    run: float,
) -> None:  # fmt: skip
    def build(optimizer: optim.Optimizer) -> LRScheduler:
        return OneCycleLR(
            optimizer, peak, total, pct_start=share, anneal_strategy=strategy, cycle_momentum=moves, div_factor=first,
            final_div_factor=last, three_phase=three,
        )  # fmt: skip

    steps = round(run * (total - 1))
    try:
        stepped(build(new_optimizer(kind)), steps)
    except ZeroDivisionError:  # a phase of no length: whoever steps it is told, and it is left to be stepped
        with contextlib.suppress(ZeroDivisionError):
            assert rates_of(build(new_optimizer(kind)), np.arange(1, steps + 1, dtype=float)) is None
    else:
        assert_as_stepped(build, kind, steps)


class OwnCyclic(CyclicLR):
    """Of a user's own."""


def test_what_is_not_torchs_own_to_the_letter_is_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = np.arange(1, 9, dtype=float)

    def cyclic(kind: type[CyclicLR] = CyclicLR, **more: Any) -> LRScheduler:
        return kind(new_optimizer("SGD"), 0.1, 1.0, 3, **more)

    assert rates_of(cyclic(), steps) is not None
    assert rates_of(cyclic(scale_fn=lambda x: 1 / x), steps) is None
    assert rates_of(cyclic(OwnCyclic), steps) is None
    assert rates_of(StepLR(new_optimizer("SGD"), 3), steps) is None
    assert rates_of(OneCycleLR(new_optimizer("SGD"), 1.0, 5), steps) is None, "torch raises beyond its last step"
    monkeypatch.setattr(CyclicLR, "get_lr", lambda self: [0.5])
    assert rates_of(cyclic(), steps) is None


def test_where_a_power_overflows_torch_says_at_which_step() -> None:
    """Torch's own issue 52989: a cycle halves the height, 2 to the power of its number."""

    def build() -> LRScheduler:
        return CyclicLR(new_optimizer("SGD"), 0.1, 1.0, 1, mode="triangular2")

    steps = np.arange(1, 3000, dtype=float)
    assert rates_of(build(), steps) is None
    assert rates_of(build(), steps[:2000]) is not None
    with pytest.raises(OverflowError):
        stepped(build(), 3000)
