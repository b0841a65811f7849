"""What registering a scheduler of one's own decides: how often it is stepped, what it is given, what is refused."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, LambdaLR, LRScheduler, ReduceLROnPlateau, StepLR

from pipeline.catalogue import CATALOGUE
from pipeline.commands.gallery import table
from pipeline.config.schedules import Schedule
from pipeline.runs.traps import follow
from pipeline.schedulers.registry import register, schedulers
from pipeline.schedulers.replay import Budget, ScheduleError, trace
from tests.schedulers.examples import schedule

pytestmark = pytest.mark.usefixtures("own_registries")
BUDGET = Budget(epochs=5, steps_per_epoch=4)


def sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return SGD(parameters, lr, momentum=0.9, weight_decay=0.01)


def by_steps(optimizer: Optimizer, total_steps: int, power: float = 1.0) -> LRScheduler:
    """Straight down over the batches."""
    return LambdaLR(optimizer, lambda step: (1 - step / total_steps) ** power)


def by_total_epochs(optimizer: Optimizer, total_epochs: int) -> LRScheduler:
    """Straight down over the epochs."""
    return LambdaLR(optimizer, lambda step: 1 - step / total_epochs)


def by_epochs(optimizer: Optimizer, epochs: int) -> LRScheduler:
    """The same."""
    return LambdaLR(optimizer, lambda step: 1 - step / epochs)


def without_a_horizon(optimizer: Optimizer, gamma: float = 0.5) -> LRScheduler:
    """As torch's own."""
    return ExponentialLR(optimizer, gamma)


class Halving(LRScheduler):
    """As people write them."""

    def __init__(self, optimizer: Optimizer, every: int = 1, last_epoch: int = -1, verbose: bool = False) -> None:
        self.every = every
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Half as much."""
        return [base * 0.5 ** (self.last_epoch // self.every) for base in self.base_lrs]


class LikeOneCycle(LRScheduler):
    """The horizon need not come first."""

    def __init__(self, optimizer: Optimizer, lowest: float, total_steps: int, last_epoch: int = -1) -> None:
        self.lowest, self.total_steps = lowest, total_steps
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Straight down."""
        return [base * max(self.lowest, 1 - self.last_epoch / self.total_steps) for base in self.base_lrs]


class Unannotated(LRScheduler):
    """As in most repositories."""

    def __init__(self, optimizer, max_epochs, lowest=0.0, last_epoch=-1):  # type: ignore[no-untyped-def]
        self.max_epochs, self.lowest = max_epochs, lowest
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[Any]:
        """Straight down."""
        return [base * max(self.lowest, 1 - self.last_epoch / self.max_epochs) for base in self.base_lrs]


STEPS, EPOCHS = [1 - step / 20 for step in range(20)], [1 - epoch / 5 for epoch in range(5) for _ in range(4)]
HALVED = [0.5**epoch for epoch in range(5) for _ in range(4)]
CASES: dict[str, tuple[Callable[..., Any], dict[str, Any], str, list[float]]] = {
    "total_steps": (by_steps, {}, "batch", STEPS),
    "total_steps behind an argument": (LikeOneCycle, {"lowest": 0.0}, "batch", STEPS),
    "total_epochs": (by_total_epochs, {}, "epoch", EPOCHS),
    "epochs": (by_epochs, {}, "epoch", EPOCHS),
    "a class without annotations": (Unannotated, {"lowest": 0.0}, "epoch", EPOCHS),
    "no horizon": (without_a_horizon, {}, "epoch", HALVED),
    "a class": (Halving, {"every": 1}, "epoch", HALVED),
}


@pytest.mark.parametrize("case", CASES)
def test_it_is_stepped_by_what_it_asks_for(case: str) -> None:
    """5 epochs of 4 batches; the table shows it."""
    function, args, interval, expected = CASES[case]
    register("Own")(function)
    assert schedulers["Own"].interval == schedule("Own", args).interval == interval
    np.testing.assert_allclose(trace(schedule("Own", args), sgd, 1.0, BUDGET).lr, expected, rtol=1e-12, atol=1e-15)
    assert any(line.startswith(f"| `Own` | {interval} |") for line in table())


def test_it_can_be_said_otherwise() -> None:
    """Where it is registered, and in params.yaml: the horizon then counts what it is stepped by."""
    register("Own", interval="epoch")(by_steps)
    assert trace(schedule("Own", {}), sgd, 1.0, BUDGET).lr[::4].tolist() == EPOCHS[::4]
    assert trace(schedule("Own", {}, interval="batch"), sgd, 1.0, BUDGET).lr.tolist() == STEPS
    register("Other")(by_steps)
    assert trace(schedule("Other", {}, interval="epoch"), sgd, 1.0, BUDGET).lr[::4].tolist() == EPOCHS[::4]


def test_a_class_keeps_its_name_and_has_no_argument_of_torchs_own() -> None:
    assert register("Own")(Halving) is Halving
    assert list(schedulers["Own"].arguments.model_fields) == ["every"]
    with pytest.raises(ValidationError, match="verbose"):
        schedule("Own", {"verbose": True})


def test_a_class_that_inherits_how_it_is_made() -> None:
    class Inheriting(StepLR):
        """With no ``__init__`` of its own."""

    register("Own")(Inheriting)
    assert list(schedulers["Own"].arguments.model_fields) == ["step_size", "gamma"]
    assert trace(schedule("Own", {"step_size": 2, "gamma": 0.5}), sgd, 1.0, BUDGET).lr[::4].tolist() == [1, 1, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(
    ("name", "remedies"),
    [
        ("SequentialLR", ["`warmup: 5%`", '@register_scheduler("Mine")', "SequentialLR(optimizer, ["]),
        ("ChainedScheduler", ["pipeline/custom.py", '@register_scheduler("Mine")', "ChainedScheduler(["]),
    ],
)
def test_what_to_write_instead_of_torchs_schedulers_of_schedulers(name: str, remedies: list[str]) -> None:
    """The lines it gives work when pasted."""
    with pytest.raises(ValidationError) as error:
        Schedule.model_validate({"name": name}, context=CATALOGUE)
    right = error.value.errors()[0]["ctx"]["right"]
    assert all(words in right for words in remedies)
    code = "\n".join(line.removeprefix("    ") for line in right.split("\n")[1:])
    exec(code, {})
    assert trace(schedule("Mine", {}), sgd, 1.0, Budget(10, 10)).lr[0] == pytest.approx(0.1)


# What a replay cannot follow is refused in one line


class DecayMoving(ExponentialLR):
    """Rate and weight decay."""

    def get_lr(self) -> list[Any]:
        """Both down; the decay comes back at the end of the run."""
        for group in self.optimizer.param_groups:
            group["weight_decay"] = 0.01 if self.last_epoch in (0, 4) else 0.02
        return super().get_lr()


class StateReading(LRScheduler):
    """By what the optimizer remembers."""

    def get_lr(self) -> list[Any]:
        """Lower where there is momentum."""
        return [0.1 if self.optimizer.state.get(group["params"][0]) else 0.2 for group in self.optimizer.param_groups]


class Raising(LRScheduler):
    """Not for long."""

    def get_lr(self) -> list[Any]:
        """Until step 3."""
        if self.last_epoch == 3:
            raise RuntimeError("no further\nand more")
        return self.base_lrs


REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], str]] = {
    "weight decay": (lambda optimizer: DecayMoving(optimizer, 0.9), {}, "changes the optimizer's weight_decay"),
    "state": (StateReading, {}, "reads the optimizer's state"),
    "raises midway": (Raising, {}, r"raises at its step 3 of 5: RuntimeError: no further$"),
    "negative": (lambda optimizer: LambdaLR(optimizer, lambda step: 0.5 - step), {}, r"becomes -0\.5 at epoch 2"),
    "no number": (lambda optimizer: LambdaLR(optimizer, lambda step: None), {}, "it cannot be built: TypeError"),  # type: ignore[arg-type,return-value]
    "no scheduler": (lambda optimizer: None, {}, "gives a NoneType, which has no step"),
    "needs a figure": (ReduceLROnPlateau, {"live": False}, "write `live=True` where it is registered"),
    "takes none": (lambda optimizer: ExponentialLR(optimizer, 0.9), {"live": True}, "takes no figure; leave `live` out"),
    "raises on a figure": (lambda optimizer: Refusing(optimizer, 1.0), {"live": True}, "Own raises: I refuse$"),
    "negative on a figure": (lambda optimizer: Refusing(optimizer, -1.0), {"live": True}, "sets a learning rate of -1"),
}


class Refusing:
    """Reacts badly to a second figure."""

    def __init__(self, optimizer: Optimizer, rate: float) -> None:
        self.optimizer, self.rate, self.calls = optimizer, rate, 0

    def step(self, figure: float) -> None:
        """Once is enough."""
        self.calls += 1
        if self.calls == 2:
            if self.rate > 0:
                raise ValueError("I refuse")
            self.optimizer.param_groups[0]["lr"] = self.rate


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(case: str) -> None:
    made, how, line = REFUSED[case]

    def own(optimizer: Optimizer) -> Any:
        return made(optimizer)

    register("Own", **how)(own)
    with pytest.raises(ScheduleError, match=line) as error:
        follow("Own", schedule("Own", {}), sgd, 1.0, BUDGET)
    assert "\n" not in str(error.value)


def test_what_prints_is_followed_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    class Talking(ExponentialLR):
        """Like torch's ``verbose`` of old."""

        def get_lr(self) -> list[Any]:
            """And says so."""
            print("Adjusting learning rate")
            return super().get_lr()

    def own(optimizer: Optimizer) -> LRScheduler:
        return Talking(optimizer, 0.5)

    register("Own")(own)
    assert trace(schedule("Own", {}), sgd, 1.0, BUDGET).lr.tolist() == HALVED
    assert "Adjusting" in capsys.readouterr().out
