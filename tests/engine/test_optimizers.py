"""The stacked optimizers stepped side by side with torch's own, on the same gradients, compared at every step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import Optimizer

from pipeline.engine.optimizers import STACKED
from pipeline.problems.optimizers import optimizers
from pipeline.runs import Floats

RUNS, SHAPE = 3, (4, 2)
RATES = st.one_of(st.just(0.0), st.floats(1e-4, 0.5))
MOMENTA = st.one_of(st.just(0.0), st.floats(0.0, 0.99))
DECAYS = st.sampled_from([0.0, 0.01, 0.3])
Arguments = st.SearchStrategy[dict[str, Any]]
PLAIN_SGD: Arguments = st.builds(dict, dampening=st.sampled_from([0.0, 0.4, 0.9]), weight_decay=DECAYS, momentum=st.just(0.0))
NESTEROV: Arguments = st.builds(dict, nesterov=st.just(True), weight_decay=DECAYS, momentum=st.just(0.9))
ADAMW: Arguments = st.builds(
    dict,
    betas=st.tuples(st.just(0.9), st.sampled_from([0.5, 0.9, 0.999])).map(list),
    eps=st.sampled_from([1e-8, 1e-3]),
    weight_decay=DECAYS,
)


@st.composite
def epochs_of_rates(draw: st.DrawFn) -> list[tuple[Floats, Floats]]:
    """Rates and momenta of one to four epochs, (steps, runs) each; each run's momentum switched on and off at random."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    rows = st.lists(st.tuples(RATES, MOMENTA), min_size=RUNS, max_size=RUNS)
    epochs = [np.array(draw(st.lists(rows, min_size=length, max_size=length))) for length in lengths]
    return [(epoch[:, :, 0], epoch[:, :, 1]) for epoch in epochs]


@given(arguments=st.one_of(PLAIN_SGD, NESTEROV), epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=60)
def test_sgd(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    step_side_by_side("SGD", arguments, epochs, seed)


@given(arguments=PLAIN_SGD, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_sgd_without_any_momentum(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """Then no buffer is kept at all."""
    step_side_by_side("SGD", arguments, [(lr, np.zeros_like(lr)) for lr, _ in epochs], seed)


@given(arguments=ADAMW, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=60)
def test_adamw(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    step_side_by_side("AdamW", arguments, epochs, seed)


def step_side_by_side(name: str, given: Mapping[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """All runs at once against one real optimizer for each run."""
    arguments = optimizers[name].complete({"lr": 0.1, **given})
    draw = torch.Generator().manual_seed(seed)
    parameter = torch.randn((RUNS, *SHAPE), generator=draw, dtype=torch.float64)
    real = [values.clone().requires_grad_() for values in parameter]
    theirs: list[Optimizer] = [optimizers[name].function([values], **arguments) for values in real]
    ours = STACKED[name](arguments, RUNS, has_momentum=any(m.any() for _, m in epochs))
    state = tuple(torch.zeros_like(parameter) for _ in range(ours.slots))
    for lr, momentum in epochs:
        numbers = torch.from_numpy(ours.coefficients(lr, momentum))
        for step in range(len(lr)):
            gradient = torch.randn((RUNS, *SHAPE), generator=draw, dtype=torch.float64)
            parameter, state = ours.update(parameter, gradient, state, numbers[step])
            for run in range(RUNS):
                set_rates(theirs[run], lr[step, run], momentum[step, run])
                real[run].grad = gradient[run].clone()
                theirs[run].step()
            torch.testing.assert_close(parameter, torch.stack(real).detach(), rtol=1e-11, atol=1e-11)


def set_rates(optimizer: Optimizer, lr: float, momentum: float) -> None:
    """Set them as torch's schedulers do."""
    (group,) = optimizer.param_groups
    group["lr"] = float(lr)
    if "betas" in group:
        group["betas"] = (float(momentum), *group["betas"][1:])
    else:
        group["momentum"] = float(momentum)
