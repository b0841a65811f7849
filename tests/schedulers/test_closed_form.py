"""A formula asked step by step, as torch does, and for many steps at once."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import optim, zeros
from torch.optim.lr_scheduler import LambdaLR

from pipeline.schedulers.closed_form import ClosedForm, Formula, cos, tanh

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
