"""The schedulers of ``torch.optim.lr_scheduler`` and ``torch.optim.swa_utils``, with torch's own arguments."""

from typing import Annotated, Any, Literal, cast

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import SWALR

from pipeline.config.callables import FunctionPath, imported
from pipeline.config.spaces import Range
from pipeline.config.units import Length, LengthOrZero, OptionalLength, OptionalPositiveRate, PositiveRate, Rate
from pipeline.schedulers.registry import Monitor, register

Factor = Annotated[float, Field(ge=0, le=1e6)]
Share = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


@register(
    "StepLR", interval="epoch", search={"step_size": Range(low="5%", high="60%"), "gamma": Range(low=0.02, high=0.9, log=True)}
)
def step_lr(optimizer: Optimizer, total_steps: int, step_size: Length, gamma: Factor = 0.1) -> LRScheduler:
    """``torch.optim.lr_scheduler.StepLR``: times ``gamma`` every ``step_size``."""
    return lr_scheduler.StepLR(optimizer, step_size, gamma)


@register(
    "MultiStepLR",
    interval="epoch",
    search={"milestones": Range(low="10%", high="95%"), "gamma": Range(low=0.02, high=0.9, log=True)},
)
def multi_step_lr(
    optimizer: Optimizer,
    total_steps: int,
    milestones: Annotated[list[Length], Field(min_length=1)],
    gamma: Factor = 0.1,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.MultiStepLR``: times ``gamma`` at each milestone."""
    return lr_scheduler.MultiStepLR(optimizer, milestones, gamma)


@register("LambdaLR", interval="epoch")
def lambda_lr(optimizer: Optimizer, total_steps: int, lr_lambda: FunctionPath) -> LRScheduler:
    """``torch.optim.lr_scheduler.LambdaLR``: the optimizer's rate times what the function at ``lr_lambda`` says of the step."""
    return lr_scheduler.LambdaLR(optimizer, imported(lr_lambda))


@register("MultiplicativeLR", interval="epoch")
def multiplicative_lr(optimizer: Optimizer, total_steps: int, lr_lambda: FunctionPath) -> LRScheduler:
    """``torch.optim.lr_scheduler.MultiplicativeLR``: the rate before, times what the function at ``lr_lambda`` says."""
    return lr_scheduler.MultiplicativeLR(optimizer, imported(lr_lambda))


@register("ConstantLR", interval="epoch", begins=("factor",))  # the baseline: its rate is searched and nothing else
def constant_lr(optimizer: Optimizer, total_steps: int, factor: Share = 1 / 3, total_iters: LengthOrZero = 5) -> LRScheduler:
    """``torch.optim.lr_scheduler.ConstantLR``: times ``factor`` until ``total_iters``; with factor 1 no schedule at all."""
    return lr_scheduler.ConstantLR(optimizer, factor, total_iters)


@register(
    "LinearLR",
    interval="epoch",
    search={
        "start_factor": Range(low=0.01, high=1.0, log=True),
        "end_factor": Range(low=0.0, high=1.0),
        "total_iters": Range(low="10%", high="100%"),
    },
    begins=("start_factor",),
)
def linear_lr(
    optimizer: Optimizer,
    total_steps: int,
    start_factor: Annotated[float, Field(gt=0, le=1)] = 1 / 3,
    end_factor: Share = 1.0,
    total_iters: LengthOrZero = 5,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.LinearLR``: straight from ``start_factor`` to ``end_factor`` over ``total_iters``."""
    return lr_scheduler.LinearLR(optimizer, start_factor, end_factor, total_iters)


@register(
    "ExponentialLR",
    interval="epoch",
    search={"gamma": Range(low=1e-4, high=0.5, over="run"), "final": Range(low="0.01%", high="50%", log=True)},
    one_of=("gamma", "final"),
)
def exponential_lr(
    optimizer: Optimizer,
    total_steps: int,
    gamma: Annotated[float, Field(ge=0, le=1e6)] | None = None,
    final: OptionalPositiveRate = None,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.ExponentialLR``: times ``gamma`` every step, or what leads to ``final`` at the end."""
    if final is not None:
        gamma = (final / optimizer.param_groups[0]["lr"]) ** (1 / total_steps)
    return lr_scheduler.ExponentialLR(optimizer, cast(float, gamma))


@register(
    "PolynomialLR",
    interval="epoch",
    search={"total_iters": Range(low="50%", high="100%"), "power": Range(low=0.3, high=4.0, log=True)},
)
def polynomial_lr(
    optimizer: Optimizer, total_steps: int, total_iters: LengthOrZero = 5, power: Annotated[float, Field(gt=0, le=100)] = 1.0
) -> LRScheduler:
    """``torch.optim.lr_scheduler.PolynomialLR``: (1 - step / ``total_iters``) to the ``power``, then zero."""
    return lr_scheduler.PolynomialLR(optimizer, total_iters, power)


@register(
    "CosineAnnealingLR",
    interval="epoch",
    search={"T_max": Range(low="50%", high="100%"), "eta_min": Range(low="0%", high="20%")},
)
def cosine_annealing_lr(optimizer: Optimizer, total_steps: int, T_max: Length, eta_min: Rate = 0.0) -> LRScheduler:
    """``torch.optim.lr_scheduler.CosineAnnealingLR``: half a cosine down to ``eta_min`` over ``T_max`` (then up again)."""
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max, eta_min)


@register(
    "CosineAnnealingWarmRestarts",
    interval="epoch",
    search={"T_0": Range(low="10%", high="100%", log=True), "T_mult": (1, 2, 3), "eta_min": Range(low="0%", high="20%")},
)
def cosine_annealing_warm_restarts(
    optimizer: Optimizer, total_steps: int, T_0: Length, T_mult: Annotated[int, Field(ge=1, le=1000)] = 1, eta_min: Rate = 0.0
) -> LRScheduler:
    """``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``: half cosines, each ``T_mult`` times as long as the last."""
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0, T_mult, eta_min)


@register(
    "CyclicLR",
    interval="batch",
    search={
        "base_lr": Range(low="0.1%", high="50%", log=True, of="max_lr"),
        "step_size_up": Range(low="1%", high="50%", log=True),
        "mode": ("triangular", "triangular2", "exp_range"),
        "gamma": Range(low=0.01, high=1.0, over="run"),  # of exp_range alone
    },
    begins=("base_lr",),
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
    "OneCycleLR",
    interval="batch",
    search={
        "pct_start": Range(low=0.06, high=0.5),  # in a run of 20 steps, 0.05 of it would be the one that torch divides by
        "anneal_strategy": ("cos", "linear"),
        "div_factor": Range(low=1.0, high=100.0, log=True),
        "final_div_factor": Range(low=1.0, high=1e5, log=True),
    },
    begins=("div_factor",),
)
def one_cycle_lr(
    optimizer: Optimizer,
    total_steps: int,
    max_lr: PositiveRate = "100%",  # type: ignore[assignment]  # as written
    pct_start: Share = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    cycle_momentum: bool = True,
    base_momentum: Momentum = 0.85,
    max_momentum: Momentum = 0.95,
    div_factor: Annotated[float, Field(gt=0, le=1e12)] = 25.0,
    final_div_factor: Annotated[float, Field(gt=0, le=1e12)] = 1e4,
    three_phase: bool = False,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.OneCycleLR``: up to ``max_lr`` over ``pct_start`` of the run, then far down."""
    if pct_start * total_steps == 1:
        raise ValueError(f"pct_start ({pct_start:g}) makes a first phase of a single step, by whose length of 0 torch divides")
    if three_phase and pct_start > 0.5:
        raise ValueError(f"pct_start ({pct_start:g}) leaves no room for three phases: up and down take twice as long")
    return lr_scheduler.OneCycleLR(
        optimizer, max_lr, total_steps, pct_start=pct_start, anneal_strategy=anneal_strategy,
        cycle_momentum=cycle_momentum, base_momentum=base_momentum, max_momentum=max_momentum,
        div_factor=div_factor, final_div_factor=final_div_factor, three_phase=three_phase,
    )  # fmt: skip


@register(
    "ReduceLROnPlateau",
    interval="epoch",
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
    monitor: Monitor = "train_loss",
    mode: Literal["min", "max"] | None = None,
) -> LRScheduler:
    """``torch.optim.lr_scheduler.ReduceLROnPlateau`` on the ``monitor``: times ``factor`` after ``patience`` bad epochs.

    Left out, ``mode`` is ``max`` where that is a metric of which more is better (see :mod:`pipeline.problems.problem`).
    """
    given = factor, patience, threshold, threshold_mode, cooldown, min_lr, eps
    return lr_scheduler.ReduceLROnPlateau(optimizer, mode or "min", *given)


class _SWALRFrom(SWALR):
    """torch's own, which leaves the optimizer's rate as it is for the first ``start`` steps."""

    def __init__(self, optimizer: Optimizer, start: int, *of_swa: Any) -> None:
        self._start = start
        super().__init__(optimizer, *of_swa)

    def get_lr(self) -> list[float | Tensor]:
        """The optimizer's rate until the first annealed one; from then on torch's, by the steps since the start."""
        if self.last_epoch < self._start + bool(self.anneal_epochs):
            return list(self.base_lrs)
        self._step_count = self.last_epoch - self._start + 1  # by this torch knows how far it has come
        rates: list[float | Tensor] = super().get_lr()  # type: ignore[no-untyped-call]
        return rates


@register(
    "SWALR",
    interval="epoch",
    search={
        "swa_lr": Range(low="1%", high="50%", log=True),
        "anneal_epochs": Range(low="1%", high="25%"),
        "anneal_strategy": ("cos", "linear"),
    },
)
def swalr(
    optimizer: Optimizer,
    total_steps: int,
    swa_lr: Rate,
    anneal_epochs: LengthOrZero = 10,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    start: Length = "75%",  # type: ignore[assignment]  # as written
) -> LRScheduler:
    """``torch.optim.swa_utils.SWALR``: the optimizer's rate up to ``start``, then down to ``swa_lr`` in ``anneal_epochs``."""
    return _SWALRFrom(optimizer, start, swa_lr, anneal_epochs, anneal_strategy)
