"""The stacked optimizers stepped side by side with torch's own, on the same gradients, compared at every step."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import Optimizer

from pipeline.config.arrays import Floats
from pipeline.engine.optimizers import STACKED, OptimizerError, StackedOptimizer
from pipeline.problems.optimizers import optimizers

RUNS, SHAPE = 3, (4, 2)
RATES = st.one_of(st.just(0.0), st.floats(1e-4, 0.5))
MOMENTA = st.one_of(st.just(0.0), st.floats(0.0, 0.99))
DECAYS = st.sampled_from([0.0, 0.01, 0.3])
EPSILONS = st.sampled_from([1e-8, 1e-3])
Arguments = st.SearchStrategy[dict[str, Any]]
PLAIN_SGD: Arguments = st.builds(dict, dampening=st.sampled_from([0.0, 0.4, 0.9]), weight_decay=DECAYS, momentum=st.just(0.0))
NESTEROV: Arguments = st.builds(dict, nesterov=st.just(True), weight_decay=DECAYS, momentum=st.just(0.9))
ADAM: Arguments = st.builds(
    dict,
    betas=st.tuples(st.just(0.9), st.sampled_from([0.5, 0.9, 0.999])).map(list),
    eps=EPSILONS,
    weight_decay=DECAYS,
)
ADAMW: Arguments = st.builds(lambda adam, amsgrad: {**adam, "amsgrad": amsgrad}, ADAM, st.booleans())
COUPLED_OR_NOT: Arguments = st.builds(
    lambda adam, decoupled: {**adam, "decoupled_weight_decay": decoupled}, ADAMW, st.booleans()
)
NADAM: Arguments = st.builds(
    lambda adam, more: {**adam, **more},
    ADAM,
    st.builds(dict, momentum_decay=st.sampled_from([0.0, 4e-3, 0.5]), decoupled_weight_decay=st.booleans()),
)
# Not so small an alpha that the centred variance is nothing but the rounding of a difference.
RMSPROP: Arguments = st.builds(
    dict, alpha=st.sampled_from([0.5, 0.9, 0.99]), eps=EPSILONS, weight_decay=DECAYS, centered=st.booleans()
)
ADAGRAD: Arguments = st.builds(
    dict,
    lr_decay=st.sampled_from([0.0, 0.01, 1.0]),
    weight_decay=DECAYS,
    initial_accumulator_value=st.sampled_from([0.0, 0.1, 2.0]),
    eps=EPSILONS,
)


@st.composite
def epochs_of_rates(draw: st.DrawFn) -> list[tuple[Floats, Floats]]:
    """Rates and momenta of one to four epochs, (steps, runs) each; each run's momentum switched on and off at random."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    rows = st.lists(st.tuples(RATES, MOMENTA), min_size=RUNS, max_size=RUNS)
    epochs = [np.array(draw(st.lists(rows, min_size=length, max_size=length))) for length in lengths]
    return [(epoch[:, :, 0], epoch[:, :, 1]) for epoch in epochs]


@given(arguments=st.one_of(PLAIN_SGD, NESTEROV), epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_sgd(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    step_side_by_side("SGD", arguments, epochs, seed)


@given(arguments=PLAIN_SGD, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_sgd_without_any_momentum(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """Then no buffer is kept at all."""
    step_side_by_side("SGD", arguments, [(lr, np.zeros_like(lr)) for lr, _ in epochs], seed)


@given(arguments=COUPLED_OR_NOT, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_adam(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """The weights decay with the gradient's own, or apart from it."""
    step_side_by_side("Adam", arguments, epochs, seed)


@given(arguments=ADAMW, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_adamw(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    step_side_by_side("AdamW", arguments, epochs, seed)


@given(arguments=NADAM, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_nadam(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """Its product of all momenta so far is of every beta1 that the run has had, in single precision as torch's is."""
    step_side_by_side("NAdam", arguments, epochs, seed)


@given(arguments=RMSPROP, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_rmsprop(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """Runs that begin without momentum never have any, for torch makes the buffer at the first step or not at all."""
    has_buffer = epochs[0][1][0] > 0
    step_side_by_side("RMSprop", arguments, [(lr, momentum * has_buffer) for lr, momentum in epochs], seed)


@given(arguments=RMSPROP, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_rmsprop_without_any_momentum(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """Then no buffer is kept at all."""
    step_side_by_side("RMSprop", arguments, [(lr, np.zeros_like(lr)) for lr, _ in epochs], seed)


def test_rmsprop_with_momentum_too_late() -> None:
    """Where torch finds no buffer and raises, so do we; that the neighbour has one is no help."""
    real = torch.ones(SHAPE, requires_grad=True)
    theirs = torch.optim.RMSprop([real], 0.1)
    real.grad = torch.ones(SHAPE)
    theirs.step()
    set_rates(theirs, 0.1, 0.5)
    with pytest.raises(KeyError, match="momentum_buffer"):
        theirs.step()
    rates, momenta = np.full((2, 2), 0.1), np.array([[0.9, 0.0], [0.9, 0.5]])  # (steps, runs): the second run's comes late
    in_one_epoch, in_the_next = (new_rmsprop(runs=2) for _ in range(2))
    with pytest.raises(OptimizerError, match="switches the momentum of RMSprop on after its first step"):
        in_one_epoch.coefficients(rates, momenta)
    in_the_next.coefficients(rates[:1], momenta[:1])
    with pytest.raises(OptimizerError, match="switches the momentum of RMSprop on after its first step"):
        in_the_next.coefficients(rates[1:], momenta[1:])


def new_rmsprop(runs: int) -> StackedOptimizer:
    return STACKED["RMSprop"](optimizers["RMSprop"].complete({}), runs, has_momentum=True)


@given(arguments=ADAGRAD, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_adagrad(arguments: dict[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """It has no momentum; what is there for its neighbours is nothing to it."""
    step_side_by_side("Adagrad", arguments, epochs, seed)


def test_adagrad_starts_where_it_is_told() -> None:
    """By hand: sums of 7 + 3² = 16 and 16 + 3² = 25, so steps of 3/4 at the rate 1, then 3/5 at 1 / (1 + 1) = 0.5."""
    given = {"lr": 1.0, "initial_accumulator_value": 7.0, "lr_decay": 1.0, "eps": 0.0}
    ours = STACKED["Adagrad"](optimizers["Adagrad"].complete(given), 1, has_momentum=False)
    parameter, gradient = torch.ones(1, 1), torch.full((1, 1), 3.0)
    state = started(parameter, ours)
    for numbers in torch.from_numpy(ours.coefficients(np.ones((2, 1)), np.zeros((2, 1)))).float():
        parameter, state = of_all_runs(ours)(parameter, gradient, state, numbers)
    assert state[0].item() == 25
    assert parameter.item() == pytest.approx(1 - 3 / 4 - 0.5 * 3 / 5)


AVERAGING: Arguments = st.builds(
    dict, weight_decay=DECAYS, r=st.sampled_from([0.0, 0.5, 2.0]), weight_lr_power=st.sampled_from([0.0, 1.0, 2.0])
)
OWN_MOMENTUM = st.sampled_from([0.5, 0.9, 0.98])


@given(arguments=AVERAGING, momentum=OWN_MOMENTUM, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_sgd_schedule_free(arguments: dict[str, Any], momentum: float, epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """Rates of 0 among them, which the mean leaves out."""
    kept = [(lr, np.full_like(lr, momentum)) for lr, _ in epochs]
    step_side_by_side("SGDScheduleFree", {**arguments, "momentum": momentum}, kept, seed)


@given(arguments=AVERAGING, momentum=OWN_MOMENTUM, epochs=epochs_of_rates(), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_adamw_schedule_free(
    arguments: dict[str, Any], momentum: float, epochs: list[tuple[Floats, Floats]], seed: int
) -> None:
    kept = [(lr, np.full_like(lr, momentum)) for lr, _ in epochs]
    step_side_by_side("AdamWScheduleFree", {**arguments, "betas": [momentum, 0.95]}, kept, seed)


@pytest.mark.parametrize("name", ["SGDScheduleFree", "AdamWScheduleFree"])
def test_the_momentum_of_averages_cannot_be_cycled(name: str) -> None:
    ours = STACKED[name](optimizers[name].complete({"lr": 0.1}), 1, has_momentum=True)
    with pytest.raises(OptimizerError, match="changes the momentum of a schedule-free optimizer"):
        ours.coefficients(np.ones((2, 1)), np.array([[0.9], [0.8]]))


def test_every_stacked_form_is_of_a_registered_optimizer() -> None:
    assert set(STACKED) < {each.name for each in optimizers}


@pytest.mark.parametrize("has_momentum", [False, True])
@pytest.mark.parametrize("name", STACKED)
def test_an_update_needs_as_many_numbers_as_it_says(name: str, has_momentum: bool) -> None:
    ours = STACKED[name](optimizers[name].complete({"lr": 0.1}), RUNS, has_momentum=has_momentum)
    assert ours.coefficients(np.ones((2, RUNS)), np.full((2, RUNS), 0.9)).shape == (2, ours.kinds, RUNS)


@pytest.mark.parametrize("has_momentum", [False, True])
@pytest.mark.parametrize("name", STACKED)
def test_an_update_traced_once_serves_every_step(name: str, has_momentum: bool) -> None:
    """No branch hangs on a number: traced at the first step, without rate, it gives the same bits as untraced ever after."""
    arguments = optimizers[name].complete({"lr": 0.1, "weight_decay": 0.01})
    ours = STACKED[name](arguments, RUNS, has_momentum=has_momentum)
    draw = torch.Generator().manual_seed(0)
    parameter, *gradients = torch.randn((5, RUNS, *SHAPE), generator=draw)
    state = started(parameter, ours)
    cycled = [0.9] * 4 if "ScheduleFree" in name else [0.9, 0.0, 0.5, 0.0]
    lr, momentum = np.linspace([0.0] * RUNS, [0.1] * RUNS, 4), np.array(cycled)[:, None] * np.ones(RUNS)
    has_momentum = has_momentum or "ScheduleFree" in name
    numbers = torch.from_numpy(ours.coefficients(lr, momentum * has_momentum)).float()

    update = of_all_runs(ours)

    def counted(parameter: Any, gradient: Any, state: Any, numbers: Any) -> Any:  # make_fx counts the arguments
        return update(parameter, gradient, state, numbers)

    traced = make_fx(counted)(parameter, gradients[0], state, numbers[0])
    for gradient, of_step in zip(gradients, numbers, strict=True):
        following = update(parameter, gradient, state, of_step)
        torch.testing.assert_close(traced(parameter, gradient, state, of_step), following, rtol=0, atol=0)
        parameter, state = following


def step_side_by_side(name: str, given: Mapping[str, Any], epochs: list[tuple[Floats, Floats]], seed: int) -> None:
    """All runs at once against one real optimizer for each run."""
    arguments = optimizers[name].complete({"lr": 0.1, **given})
    draw = torch.Generator().manual_seed(seed)
    parameter = torch.randn((RUNS, *SHAPE), generator=draw, dtype=torch.float64)
    real = [values.clone().requires_grad_() for values in parameter]
    theirs: list[Optimizer] = [optimizers[name].function([values], **arguments) for values in real]
    ours = STACKED[name](arguments, RUNS, has_momentum=any(m.any() for _, m in epochs))
    state = started(parameter, ours)
    for lr, momentum in epochs:
        numbers = torch.from_numpy(ours.coefficients(lr, momentum))
        for step in range(len(lr)):
            gradient = torch.randn((RUNS, *SHAPE), generator=draw, dtype=torch.float64)
            parameter, state = of_all_runs(ours)(parameter, gradient, state, numbers[step])
            for run in range(RUNS):
                set_rates(theirs[run], lr[step, run], momentum[step, run])
                real[run].grad = gradient[run].clone()
                theirs[run].step()
            torch.testing.assert_close(parameter, torch.stack(real).detach(), rtol=1e-11, atol=1e-11)
        for each in theirs:
            getattr(each, "eval", list)()  # schedule-free ones evaluate other weights than they train
        torch.testing.assert_close(ours.evaluated(parameter, state), torch.stack(real).detach(), rtol=1e-11, atol=1e-11)
        for each in theirs:
            getattr(each, "train", list)()


def started(parameter: torch.Tensor, ours: StackedOptimizer) -> tuple[torch.Tensor, ...]:
    """What the optimizer keeps for a parameter at first."""
    return tuple(parameter.clone() if start is None else torch.full_like(parameter, start) for start in ours.starts)


def of_all_runs(ours: StackedOptimizer) -> Callable[..., Any]:
    """The update of all runs at once: parameters, gradients and states (runs, …), numbers (kinds, runs)."""
    return vmap(ours.update, in_dims=(0, 0, 0, 1))


def set_rates(optimizer: Optimizer, lr: float, momentum: float) -> None:
    """Set them as torch's schedulers do."""
    (group,) = optimizer.param_groups
    group["lr"] = float(lr)
    if "betas" in group:
        group["betas"] = (float(momentum), *group["betas"][1:])
    elif "momentum" in group:
        group["momentum"] = float(momentum)
