"""Schedulers by name: each is one function that builds a real ``torch.optim.lr_scheduler`` object.

``f(optimizer, total_steps, **arguments)``: ``total_steps`` is the number of scheduler steps in the run, arguments are
torch's own. Annotations say what an argument is: ``Length`` and ``Rate`` accept percentages, anything else does not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from pipeline.params import Interval
from pipeline.registry import Registered, Registry, arguments_of
from pipeline.spaces import Range, Space
from pipeline.units import Length, LengthOrZero, OptionalLength, Rate

Builder = Callable[..., LRScheduler]
Factor = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Scheduler(Registered):
    """A registered scheduler: when it is stepped, whether it reacts to the loss (``live``), what a study searches."""

    interval: Interval
    live: bool
    search: Space


schedulers: Registry[Scheduler] = Registry("scheduler")


def register(
    name: str, *, interval: Interval = "epoch", live: bool = False, search: Space | None = None
) -> Callable[[Builder], Builder]:
    """Make a function known under ``name``; it is stepped once per epoch unless ``interval`` says ``batch``.

    A ``live`` scheduler is stepped with the run's own training loss after every epoch, like ``ReduceLROnPlateau``.
    ``search`` says what a study tries for each argument, beside the peak learning rate, which it always searches.
    """

    def add(function: Builder) -> Builder:
        schedulers.add(Scheduler(name, function, arguments_of(function, given=2), interval, live, search or {}))
        return function

    return add


@register("StepLR", search={"step_size": Range(low="5%", high="60%"), "gamma": Range(low=0.02, high=0.9, log=True)})
def step_lr(optimizer: Optimizer, total_steps: int, step_size: Length, gamma: Factor = 0.1) -> LRScheduler:
    """``torch.optim.lr_scheduler.StepLR``: times ``gamma`` every ``step_size``."""
    return lr_scheduler.StepLR(optimizer, step_size, gamma)


@register("MultiStepLR", search={"milestones": Range(low="10%", high="95%"), "gamma": Range(low=0.02, high=0.9, log=True)})
def multi_step_lr(
    optimizer: Optimizer,
    total_steps: int,
    milestones: Annotated[list[Length], Field(min_length=1)],
    gamma: Factor = 0.1,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.MultiStepLR``: times ``gamma`` at each milestone."""
    return lr_scheduler.MultiStepLR(optimizer, milestones, gamma)


@register("ConstantLR")
def constant_lr(optimizer: Optimizer, total_steps: int, factor: Share = 1 / 3, total_iters: LengthOrZero = 5) -> LRScheduler:
    """``torch.optim.lr_scheduler.ConstantLR``: times ``factor`` until ``total_iters``; with factor 1 no schedule at all."""
    return lr_scheduler.ConstantLR(optimizer, factor, total_iters)


@register("ExponentialLR", search={"gamma": Range(low=0.85, high=0.999)})
def exponential_lr(optimizer: Optimizer, total_steps: int, gamma: Factor) -> LRScheduler:
    """``torch.optim.lr_scheduler.ExponentialLR``: times ``gamma`` every step."""
    return lr_scheduler.ExponentialLR(optimizer, gamma)


@register("CosineAnnealingLR", search={"T_max": Range(low="50%", high="100%"), "eta_min": Range(low="0%", high="20%")})
def cosine_annealing_lr(optimizer: Optimizer, total_steps: int, T_max: Length, eta_min: Rate = 0.0) -> LRScheduler:
    """``torch.optim.lr_scheduler.CosineAnnealingLR``: half a cosine down to ``eta_min`` over ``T_max`` (then up again)."""
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max, eta_min)


@register(
    "CyclicLR",
    interval="batch",
    search={
        "base_lr": Range(low="0.1%", high="50%", log=True),
        "step_size_up": Range(low="1%", high="50%", log=True),
        "mode": ("triangular", "triangular2"),
    },
)
def cyclic_lr(
    optimizer: Optimizer,
    total_steps: int,
    base_lr: Rate,
    max_lr: Rate,
    step_size_up: Length = 2000,
    step_size_down: OptionalLength = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: Factor = 1.0,
    cycle_momentum: bool = True,
    base_momentum: Momentum = 0.8,
    max_momentum: Momentum = 0.9,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.CyclicLR``: up from ``base_lr`` to ``max_lr`` and down again, over and over."""
    if base_lr > max_lr:
        raise ValueError(f"base_lr ({base_lr:g}) lies above max_lr ({max_lr:g})")
    return lr_scheduler.CyclicLR(
        optimizer, base_lr, max_lr, step_size_up, step_size_down, mode, gamma,
        cycle_momentum=cycle_momentum, base_momentum=base_momentum, max_momentum=max_momentum,
    )  # fmt: skip


@register(
    "ReduceLROnPlateau",
    live=True,
    search={
        "factor": Range(low=0.05, high=0.8, log=True),
        "patience": Range(low="1%", high="25%", log=True),
        "threshold": Range(low=1e-5, high=1e-1, log=True),
    },
)
def reduce_lr_on_plateau(
    optimizer: Optimizer,
    total_steps: int,
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1,
    patience: LengthOrZero = 10,
    threshold: Factor = 1e-4,
    threshold_mode: Literal["rel", "abs"] = "rel",
    cooldown: LengthOrZero = 0,
    min_lr: Rate = 0.0,
    eps: Factor = 1e-8,
) -> Any:
    """``torch.optim.lr_scheduler.ReduceLROnPlateau`` on the training loss: times ``factor`` after ``patience`` bad epochs."""
    return lr_scheduler.ReduceLROnPlateau(optimizer, "min", factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
