"""A warmup, and behind it any scheduler as if the run began there: in the replay, and in a plain loop, to the last bit."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

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
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    SequentialLR,
)
from torch.optim.swa_utils import SWALR

from pipeline.config.schedules import Schedule
from pipeline.schedulers.registry import register, schedulers
from pipeline.schedulers.replay import Budget, ScheduleError, build, momentum_of, rate_of, resolve, trace
from tests.schedulers.examples import EXAMPLES, schedule

STEPS = 40
LR = 0.37  # no power of two: another order of operations shows in its last bits
Pairs = list[tuple[float, float]]


def sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return SGD(parameters, lr, momentum=0.9)


def adamw(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return AdamW(parameters, lr)


NewOptimizer = Callable[[list[torch.Tensor], float], Optimizer]


def traced(given: Schedule, new: NewOptimizer, steps: int = STEPS) -> Pairs:
    found = trace(given, new, LR, Budget(1, steps))
    return list(zip(found.lr.tolist(), found.momentum.tolist(), strict=True))


def looped(given: Schedule, new: NewOptimizer, steps: int = STEPS) -> Pairs:
    """What a real optimizer holds that trains something."""
    budget, weight = Budget(1, steps), torch.ones(1, requires_grad=True)
    resolved = resolve(given, LR, budget)
    optimizer = new([weight], resolved.lr)
    scheduler, found = build(given, optimizer, resolved, budget), []
    for _ in range(steps):
        found.append((rate_of(optimizer), momentum_of(optimizer)))
        optimizer.zero_grad()
        (weight**2).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        scheduler.step()
    return found


def assert_begins_behind_its_warmup(name: str, args: Mapping[str, Any], warmup: int, new: NewOptimizer) -> None:
    alone = traced(schedule(name, args, interval="batch"), new, STEPS - warmup)
    warmed_up = schedule(name, args, warmup=warmup)
    momentum = momentum_of(new([torch.zeros(1, 1)], LR))
    rising = [(LR * (step / warmup), momentum) for step in range(warmup)]
    assert traced(warmed_up, new) == looped(warmed_up, new) == rising + alone


@pytest.mark.parametrize("name", [entry.name for entry in schedulers if not entry.live])
@settings(max_examples=6)
@given(warmup=st.integers(1, STEPS - 12), which=st.integers(0, 5), new=st.sampled_from([sgd, adamw]))
def test_any_registered_scheduler(name: str, warmup: int, which: int, new: NewOptimizer) -> None:
    """Unless it begins below its own peak, or has a warmup already: then a warmup is refused."""
    args = EXAMPLES[name][which % len(EXAMPLES[name])]
    alone = trace(schedule(name, args, interval="batch"), new, LR, Budget(1, STEPS - warmup)).lr
    has_one = name == "WarmupStableDecay" and args.get("warmup") != 0
    is_refused = has_one or alone[0] < (1 - 1e-6) * alone.max()
    refusal = pytest.raises((ScheduleError, ValidationError), match="of its own")
    with refusal if is_refused else nullcontext():
        assert_begins_behind_its_warmup(name, args, warmup, new)


class Recursive(LRScheduler):
    """By the rate that it finds, and by what it remembers."""

    def __init__(self, optimizer: Optimizer, gamma: float = 0.9, last_epoch: int = -1) -> None:
        self.gamma, self.calls = gamma, 0
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Down by another factor at every third call."""
        self.calls += 1
        return [group["lr"] * (self.gamma if self.calls % 3 == 0 else 1.0) for group in self.optimizer.param_groups]


class Remembering(LRScheduler):
    """By the last rate that it set itself."""

    def get_lr(self) -> list[Any]:
        """A little less each time."""
        return [rate * 0.99 for rate in self.get_last_lr()] if self.last_epoch else self.base_lrs


class Plain:
    """No torch scheduler at all."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.groups, self.peaks, self.steps = optimizer.param_groups, [group["lr"] for group in optimizer.param_groups], 0

    def step(self) -> None:
        """Straight down."""
        self.steps += 1
        for group, peak in zip(self.groups, self.peaks, strict=True):
            group["lr"] = peak * (1 - self.steps / 1000)


class Momentum(LRScheduler):
    """Rate and momentum of what it finds in the optimizer."""

    def get_lr(self) -> list[Any]:
        """The momentum goes down with the rate."""
        for group in self.optimizer.param_groups:
            if "momentum" in group:
                group["momentum"] *= 0.99
        return [group["lr"] * 0.98 for group in self.optimizer.param_groups] if self.last_epoch else self.base_lrs


def sequence(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    return SequentialLR(optimizer, [ExponentialLR(optimizer, 0.9), CosineAnnealingLR(optimizer, total_steps)], [5])


def chain(optimizer: Optimizer) -> LRScheduler:
    return ChainedScheduler([LinearLR(optimizer, 1.0, 0.5, 20), ExponentialLR(optimizer, 0.99)])


OWN: dict[str, Callable[..., Any]] = {
    "multiplies": lambda optimizer: MultiplicativeLR(optimizer, lambda step: 0.97),
    "multiplies by the step": lambda optimizer: MultiplicativeLR(optimizer, lambda step: 1 - 1 / (step + 2)),
    "reads the rate": Recursive,
    "reads its last rate": Remembering,
    "is no scheduler of torch's": Plain,
    "moves the momentum": Momentum,
    "a sequence": sequence,
    "a chain": chain,
    "averages weights": lambda optimizer: SWALR(optimizer, swa_lr=LR / 10, anneal_epochs=20),
    "a chain that multiplies": lambda optimizer: ChainedScheduler(
        [MultiplicativeLR(optimizer, lambda step: 0.97), ConstantLR(optimizer, 1.0, 10)]
    ),
}


@pytest.mark.parametrize("case", OWN)
@settings(max_examples=10)
@given(warmup=st.integers(1, STEPS - 1))
@pytest.mark.usefixtures("own_registries")
def test_any_scheduler_of_the_users_own(case: str, warmup: int) -> None:
    schedulers._entries.pop("Own", None)
    register("Own")(OWN[case])
    assert_begins_behind_its_warmup("Own", {}, warmup, sgd)


@pytest.mark.usefixtures("own_registries")
def test_every_parameter_group_rises_to_its_own_peak() -> None:
    optimizer = SGD([{"params": [torch.zeros(1)], "lr": 0.1}, {"params": [torch.zeros(1)], "lr": 0.01}], lr=1.0)
    given = schedule("ExponentialLR", {"gamma": 0.5}, warmup=2)
    budget = Budget(1, 4)
    scheduler = build(given, optimizer, resolve(given, 0.1, budget), budget)
    found: list[list[float]] = []
    for _ in range(4):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    expected = np.array([[0, 0], [0.05, 0.005], [0.1, 0.01], [0.05, 0.005]])
    np.testing.assert_allclose(np.array(found), expected, rtol=1e-12)


@pytest.mark.usefixtures("own_registries")
def test_what_cannot_be_built_behind_a_warmup_is_told_as_such() -> None:
    @register("Broken")
    def broken(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        raise ValueError("no such schedule")

    with pytest.raises(ScheduleError, match="it cannot be built: no such schedule") as error:
        traced(schedule("Broken", {}, warmup=3), sgd)
    assert error.value.key == "args"
