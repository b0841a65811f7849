"""Traces of replayed schedulers: relative values, common curves, refusals."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LRScheduler,
    SequentialLR,
)

from pipeline.config.arrays import Floats
from pipeline.config.units import plain_length
from pipeline.runs.traps import follow
from pipeline.schedulers.registry import register, schedulers
from pipeline.schedulers.replay import Budget, ScheduleError, resolve, trace
from tests.schedulers.examples import CYCLED_MOMENTUM, EXAMPLES, schedule

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
FINAL = st.sampled_from(["0%", "3%"])
SHAPES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "StepLR": st.fixed_dictionaries({"step_size": TENTHS, "gamma": GAMMA}),
    "MultiStepLR": st.fixed_dictionaries({"milestones": st.lists(TENTHS, min_size=1, max_size=4), "gamma": GAMMA}),
    "ConstantLR": st.fixed_dictionaries({"factor": st.floats(0.1, 1.0), "total_iters": TENTHS}),
    "CosineAnnealingLR": st.fixed_dictionaries({"T_max": TENTHS, "eta_min": st.sampled_from(["0%", "10%"])}),
    "LinearLR": st.fixed_dictionaries(
        {"start_factor": st.floats(0.1, 1.0), "end_factor": st.floats(0.0, 1.0), "total_iters": TENTHS}
    ),
    "PolynomialLR": st.fixed_dictionaries({"total_iters": TENTHS, "power": st.floats(0.5, 3.0)}),
    "ExponentialLR": st.fixed_dictionaries({"final": st.sampled_from(["0.1%", "5%", "80%"])}),
    "CosineAnnealingWarmRestarts": st.fixed_dictionaries(
        {"T_0": TENTHS, "T_mult": st.integers(1, 3), "eta_min": st.sampled_from(["0%", "10%"])}
    ),
    "LinearDecay": st.fixed_dictionaries({"final": FINAL}),
    "CosineDecay": st.fixed_dictionaries({"final": FINAL}),
    "CosineRestarts": st.fixed_dictionaries({"cycles": st.integers(1, 5), "final": FINAL}),
    "WarmupStableDecay": st.integers(0, 9).flatmap(
        lambda warmup: st.fixed_dictionaries(
            {
                "warmup": st.just(f"{10 * warmup}%"),
                "decay": st.integers(1, 10 - warmup).map(lambda tenth: f"{10 * tenth}%"),
                "cooldown": st.sampled_from(["linear", "cosine", "1-sqrt"]),
                "final": FINAL,
            }
        )
    ),
    "InverseSqrt": st.fixed_dictionaries({"timescale": TENTHS}),
    "REX": st.fixed_dictionaries({"final": FINAL}),
    "TanhDecay": st.fixed_dictionaries({"lower": st.floats(-8, 0), "upper": st.floats(0, 5), "final": FINAL}),
    "Annealing": st.fixed_dictionaries(
        {
            "shape": st.sampled_from(["cosine", "polynomial", "tanh"]),
            "final": FINAL,
            "cycles": st.sampled_from([1, 2, 5]),  # as many as begin at tenths
            "shrink": GAMMA,
            "k": st.floats(0.5, 3.0),
            "warmup": st.sampled_from(["0%", "20%"]),
            "start": FINAL,
        }
    ),
    "StepDecay": st.fixed_dictionaries(
        {"every": TENTHS, "at": st.lists(TENTHS, max_size=3), "gamma": GAMMA, "warmup": st.sampled_from(["0%", "20%"])}
    ),
    "ScheduleFree": st.fixed_dictionaries({"momentum": st.floats(0.1, 0.9)}),
    "SWALR": st.fixed_dictionaries(
        {
            "swa_lr": FINAL,
            "anneal_epochs": TENTHS,
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "start": TENTHS,
        }
    ),
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
"""Shapes whose every length is relative. Plateau has no trace; torch's ``OneCycleLR`` counts its phases apart, see below."""


OF_A_FUNCTION = ("LambdaLR", "MultiplicativeLR")
"""Those whose lengths, if any, are their function's own."""


def test_every_open_loop_scheduler_has_a_shape() -> None:
    open_loop = {entry.name for entry in schedulers if not entry.live and entry.name not in OF_A_FUNCTION}
    assert {*SHAPES, "OneCycleLR"} == open_loop, "add the new one's relative arguments to SHAPES"


@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=6)
@given(data=st.data())
def test_one_shape_at_every_budget(name: str, data: st.DataObject) -> None:
    """Tenths of a run are whole numbers of epochs at each of the budgets: the curves agree where they meet."""
    args = data.draw(SHAPES[name])
    curves = [rates(name, args, epochs, interval="epoch") for epochs in BUDGETS]
    for curve, epochs in zip(curves, BUDGETS, strict=True):
        np.testing.assert_allclose(curve[:: epochs // 10], curves[0], rtol=1e-6, atol=1e-9)


@given(warmup=st.integers(1, 5))
def test_one_warmup_at_every_budget(warmup: int) -> None:
    """And what follows it is squeezed into the same rest: of 5 tenths of warmup, 5 are left to the cosine."""
    cosines = [
        rates("CosineAnnealingLR", {"T_max": "100%"}, epochs, interval="epoch", warmup=f"{10 * warmup}%") for epochs in BUDGETS
    ]
    for curve, epochs in zip(cosines, BUDGETS, strict=True):
        np.testing.assert_allclose(curve[:: epochs // 10], cosines[0], rtol=1e-6, atol=1e-9)


RELATIVE: dict[str, st.SearchStrategy[dict[str, Any]]] = SHAPES | {
    **{name: st.just(EXAMPLES[name][0]) for name in OF_A_FUNCTION},
    "OneCycleLR": st.fixed_dictionaries({"max_lr": st.sampled_from(["40%", "100%"]), "cycle_momentum": st.just(False)}),
    # torch leaves out changes below eps, an absolute number, unless it is 0
    "GreedyLR": st.fixed_dictionaries(
        {"factor": GAMMA, "patience": TENTHS, "min_lr": FINAL, "max_lr": st.just("200%"), "eps": st.just(0.0)}
    ),
    "ReduceLROnPlateau": st.fixed_dictionaries(
        {"factor": st.floats(0.1, 0.9), "patience": TENTHS, "min_lr": st.sampled_from(["0%", "3%"]), "eps": st.just(0.0)}
    ),
}


@pytest.mark.parametrize("name", [entry.name for entry in schedulers])
@settings(max_examples=5)
@given(data=st.data(), lr=st.floats(1e-6, 1e3))
def test_every_rate_is_relative_to_the_peak(name: str, data: st.DataObject, lr: float) -> None:
    """At another learning rate the same curve, that many times as high; a live one on a loss that never falls."""
    given = schedule(name, data.draw(RELATIVE[name]))
    one, other = (follow(name, given, sgd, rate, Budget(20, 2)).rates for rate in (1.0, lr))
    np.testing.assert_allclose(other, lr * one, rtol=1e-9, atol=1e-12 * lr)


@pytest.mark.parametrize("epochs", BUDGETS[:2])
@pytest.mark.parametrize("three", [False, True])
@given(pct_start=st.sampled_from([0.2, 0.3, 0.5]), anneal=st.sampled_from(["cos", "linear"]))
def test_one_cycle_at_every_budget(three: bool, epochs: int, pct_start: float, anneal: str) -> None:
    """torch ends its phases early: the first at ``pct_start * n - 1``, a second of three at ``2 * pct_start * n - 2``.

    And the last on the last step. So a curve at n epochs is ahead of the one of an endless run by 1 / n of the run, with three
    phases by up to 2 / n; the fine one is ahead of it in the same way, by less, so the two are no further apart than that.
    """
    args = {"pct_start": pct_start, "anneal_strategy": anneal, "three_phase": three, "cycle_momentum": False}
    curve, fine = (rates("OneCycleLR", args, n, interval="epoch") for n in (epochs, 1000))
    assert_within(curve, fine, lambda place: (2 if three else 1) / epochs)


def assert_within(curve: Floats, fine: Floats, lag: Callable[[float], float]) -> None:
    """Every rate lies between the lowest and the highest that ``fine`` has around its place, as far away as ``lag`` says.

    Places and lags are shares of the run. What ``fine`` would do behind its end is not known: so far the curve is compared.
    """
    compared = 0
    for step, rate in enumerate(curve):
        place = step / len(curve)
        first, last = place - lag(place), place + lag(place)
        if last < 1:
            near = fine[int(max(0, first) * len(fine)) : int(last * len(fine)) + 2]
            assert near.min() - 1e-9 <= rate <= near.max() + 1e-9
            compared += 1
    assert compared >= 0.6 * len(curve)


class Rounded(NamedTuple):
    """Arguments with a length of that share of the run; how many roundings lie before a place, given the rounded share."""

    args: Callable[[str], dict[str, Any]]
    roundings: Callable[[float, float], float]
    more: Callable[[str], dict[str, Any]] = lambda _: {}


def once(place: float, share: float) -> float:
    """One length, and nothing else that is rounded."""
    return 1


def over_and_over(place: float, share: float) -> float:
    """As many lengths as fit before the place, or the scale of a whole curve: off by as much for each."""
    return place / share


CYCLE = {"base_lr": "1%", "max_lr": "100%", "cycle_momentum": False}
ROUNDED: dict[str, Rounded] = {
    "StepLR": Rounded(lambda share: {"step_size": share, "gamma": 0.5}, over_and_over),
    "ConstantLR": Rounded(lambda share: {"factor": 0.5, "total_iters": share}, once),
    "LinearLR": Rounded(lambda share: {"start_factor": 1.0, "end_factor": 0.1, "total_iters": share}, once),
    "PolynomialLR": Rounded(lambda share: {"total_iters": share, "power": 2.0}, once),
    "CosineAnnealingLR": Rounded(lambda share: {"T_max": share}, over_and_over),
    "CosineAnnealingWarmRestarts": Rounded(lambda share: {"T_0": share}, over_and_over),
    "CyclicLR": Rounded(lambda share: {**CYCLE, "step_size_up": share}, over_and_over),
    # an upward phase of a tenth, which is not rounded, and a downward one in each cycle
    "CyclicLR down": Rounded(
        lambda share: {**CYCLE, "step_size_up": "10%", "step_size_down": share},
        lambda place, share: place / (0.1 + share) + 1,
    ),
    # the end of the warmup and the beginning of the decay
    "WarmupStableDecay": Rounded(lambda share: {"warmup": share, "decay": share}, lambda place, share: 2),
    "InverseSqrt": Rounded(lambda share: {"timescale": share}, over_and_over),
    "LinearDecay behind a warmup": Rounded(lambda _: {}, once, lambda share: {"warmup": share}),
}
SHARES = st.integers(100, 450).map(lambda share: share / 1000)  # at least one of ten epochs; rounded, two of them still fit


@pytest.mark.parametrize("case", ROUNDED)
@settings(max_examples=10)
@given(share=SHARES, epochs=st.sampled_from(BUDGETS[:2]))
def test_what_rounding_leaves_of_any_length(case: str, share: float, epochs: int) -> None:
    """A length is rounded by half a step at the most, a share of 0.5 / n of the run; and k lengths one after another by k.

    So a curve runs at most that much ahead of or behind the one at 1000 epochs, which itself is rounded by 0.5 / 1000 each.
    """
    rounded, written, (name, *_) = ROUNDED[case], f"{100 * share:.1f}%", case.split()
    curve, fine = (rates(name, rounded.args(written), n, interval="epoch", **rounded.more(written)) for n in (epochs, 1000))
    length = plain_length(written, epochs) / epochs
    assert_within(curve, fine, lambda place: rounded.roundings(place, length) * (0.5 / epochs + 0.5 / 1000))


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


# Warmup


def test_a_warmup_makes_a_schedule_be_stepped_per_batch() -> None:
    """As everywhere; per epoch, the first would be trained at rate 0. It can be asked for all the same."""
    assert schedule("StepLR", {"step_size": 3}, warmup="5%").interval == "batch"
    assert schedule("StepLR", {"step_size": 3}, warmup=0).interval == "epoch"
    assert schedule("StepLR", {"step_size": 3}, warmup=2, interval="epoch").interval == "epoch"


def test_behind_a_warmup_the_run_is_that_much_shorter() -> None:
    """Steps of 30% of the 16 epochs that are left of 20: 4.8, so 5."""
    stepped = schedule("StepLR", {"step_size": "30%", "gamma": 0.5}, warmup="20%", interval="epoch")
    resolved = resolve(stepped, 0.4, Budget(20, 3))
    assert (resolved.warmup, resolved.args["step_size"]) == (4, 5)
    expected = [0.0, 0.1, 0.2, 0.3] + 5 * [0.4] + 5 * [0.2] + 5 * [0.1] + [0.05]
    np.testing.assert_allclose(trace(stepped, sgd, 0.4, Budget(20, 1)).lr, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("CyclicLR", {"base_lr": "1%", "max_lr": "100%", "step_size_up": 4, "cycle_momentum": False}),
        ("OneCycleLR", {"cycle_momentum": False}),
        ("LinearLR", {"start_factor": 0.5}),
        ("ConstantLR", {"factor": 0.5}),
        ("StepLR", {"step_size": 5, "gamma": 2.0}),
    ],
)
def test_a_warmup_needs_a_schedule_that_begins_at_its_peak(name: str, args: dict[str, Any]) -> None:
    with pytest.raises(ScheduleError, match=r"leads to a schedule that begins at .* of its own peak") as error:
        rates(name, args, 40, warmup=4)
    assert error.value.key == "warmup"


def test_a_warmup_of_all_the_run_is_refused_as_it_is_read() -> None:
    with pytest.raises(ValidationError, match="leaves nothing of the run"):
        schedule("LinearDecay", {}, warmup="100%")


@pytest.mark.parametrize("warmup", ["99%", 20, 21])
def test_a_warmup_must_leave_something(warmup: object) -> None:
    with pytest.raises(ScheduleError, match="leaves nothing of the run's 20 steps") as error:
        rates("LinearDecay", {}, 20, warmup=warmup)
    assert error.value.key == "warmup"


def test_no_warmup_before_a_schedule_that_reacts_to_the_loss() -> None:
    with pytest.raises(ValidationError, match="has no meaning before ReduceLROnPlateau"):
        schedule("ReduceLROnPlateau", {}, warmup="5%")


@pytest.mark.parametrize("args", [{}, {"warmup": 3}])
def test_no_warmup_before_a_schedule_with_one_of_its_own(args: dict[str, Any]) -> None:
    own = args.get("warmup", "5%")
    with pytest.raises(ValidationError, match=f"has a warmup of {own} of its own"):
        schedule("WarmupStableDecay", args, warmup="10%")
    assert schedule("WarmupStableDecay", args, warmup=0).args == args
    for none in (0, "0%"):
        assert np.argmax(rates("WarmupStableDecay", {"warmup": none}, 40, warmup="10%")) == 4


# Refusals


def test_a_rate_that_torch_rounds_below_zero_is_followed() -> None:
    """torch's LinearLR multiplies its way down and ends a little below 0, as it does in a plain loop."""
    found = rates("LinearLR", {"start_factor": 0.4065326593407692, "end_factor": 0.0, "total_iters": 10}, 20)
    assert -1e-15 < found[-1] < 0


def test_one_cycle_is_refused_where_torch_would_divide_by_zero() -> None:
    """A first phase of one step, from the rate at step 0 to that at step 0."""
    with pytest.raises(ScheduleError, match=r"pct_start \(0\.1\) makes a first phase of a single step"):
        rates("OneCycleLR", {"pct_start": 0.1, "cycle_momentum": False}, 10)
    with pytest.raises(ScheduleError, match="leaves no room for three phases"):
        rates("OneCycleLR", {"pct_start": 0.6, "three_phase": True, "cycle_momentum": False}, 10)


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


# Schedulers of the user's own are stepped by their own `step`


class Halting(CosineAnnealingLR):
    """Steps of its own: every second one does nothing."""

    def step(self, epoch: int | None = None) -> None:
        """Half as often."""
        self.calls = getattr(self, "calls", -1) + 1
        if self.calls % 2 == 0:
            super().step(epoch)


def in_sequence(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    half = total_steps // 2
    return SequentialLR(optimizer, [ConstantLR(optimizer, 0.25, half), CosineAnnealingLR(optimizer, half)], [half])


def chained(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    return ChainedScheduler([ConstantLR(optimizer, 0.5, total_steps // 2), ExponentialLR(optimizer, 0.9)])


def halting(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    return Halting(optimizer, total_steps)


@pytest.mark.parametrize("builder", [in_sequence, chained, halting], ids=lambda builder: builder.__name__)
@pytest.mark.usefixtures("own_registries")
def test_composed_and_overridden_steps_are_followed(builder: Callable[[Optimizer, int], LRScheduler]) -> None:
    register("Own", interval="batch")(builder)
    optimizer = sgd([torch.zeros(1, requires_grad=True)], 0.1)
    original = builder(optimizer, 40)
    expected = []
    for _ in range(40):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        original.step()
    assert len(set(expected)) > 10
    assert trace(schedule("Own", {}), sgd, 0.1, Budget(10, 4)).lr.tolist() == expected
