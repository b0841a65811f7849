"""Optimizers by name: each is one function that builds the real ``torch.optim`` object.

The stacked updates that reproduce them are in ``pipeline.engine.optimizers``.
"""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch.optim import Optimizer

from pipeline.registry import Registered, Registry, arguments_of

Builder = Callable[..., Optimizer]
Parameters = list[torch.Tensor]
LearningRate = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]

optimizers: Registry[Registered] = Registry("optimizer")


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a function known under ``name``; it must have an argument ``lr``."""

    def add(function: Builder) -> Builder:
        optimizers.add(Registered(name, function, arguments_of(function, given=1)))
        return function

    return add


@register("SGD")
def sgd(
    parameters: Parameters,
    lr: LearningRate,
    momentum: Share = 0.0,
    dampening: Share = 0.0,
    weight_decay: NotNegative = 0.0,
    nesterov: bool = False,
) -> Optimizer:
    """``torch.optim.SGD``."""
    return torch.optim.SGD(parameters, lr, momentum, dampening, weight_decay, nesterov)


@register("AdamW")
def adamw(
    parameters: Parameters,
    lr: LearningRate = 1e-3,
    betas: Betas = [0.9, 0.999],  # noqa: B006  # pydantic copies it
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 1e-2,
) -> Optimizer:
    """``torch.optim.AdamW``."""
    return torch.optim.AdamW(parameters, lr, (betas[0], betas[1]), eps, weight_decay)


@register("Adam")
def adam(
    parameters: Parameters,
    lr: LearningRate = 1e-3,
    betas: Betas = [0.9, 0.999],  # noqa: B006  # pydantic copies it
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
) -> Optimizer:
    """``torch.optim.Adam``."""
    return torch.optim.Adam(parameters, lr, (betas[0], betas[1]), eps, weight_decay)


@register("NAdam")
def nadam(
    parameters: Parameters,
    lr: LearningRate = 2e-3,
    betas: Betas = [0.9, 0.999],  # noqa: B006  # pydantic copies it
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    momentum_decay: NotNegative = 4e-3,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """``torch.optim.NAdam``."""
    return torch.optim.NAdam(parameters, lr, (betas[0], betas[1]), eps, weight_decay, momentum_decay, decoupled_weight_decay)


@register("RMSprop")
def rmsprop(
    parameters: Parameters,
    lr: LearningRate = 1e-2,
    alpha: Share = 0.99,
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    momentum: Share = 0.0,
    centered: bool = False,
) -> Optimizer:
    """``torch.optim.RMSprop``."""
    return torch.optim.RMSprop(parameters, lr, alpha, eps, weight_decay, momentum, centered)


@register("Adagrad")
def adagrad(
    parameters: Parameters,
    lr: LearningRate = 1e-2,
    lr_decay: NotNegative = 0.0,
    weight_decay: NotNegative = 0.0,
    initial_accumulator_value: NotNegative = 0.0,
    eps: NotNegative = 1e-10,
) -> Optimizer:
    """``torch.optim.Adagrad``."""
    return torch.optim.Adagrad(parameters, lr, lr_decay, weight_decay, initial_accumulator_value, eps)
