"""Losses by name: each is one function that builds the real ``torch.nn`` loss for a way to reduce it.

A batch's loss is the mean over its samples that the torch module itself gives with ``reduction="mean"``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.registry import Registered, Registry, arguments_of

Builder = Callable[..., nn.Module]
Task = Literal["classification", "regression"]
Weight = Annotated[float, Field(gt=0, le=1e9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]


@dataclass(frozen=True)
class RegisteredLoss(Registered):
    """A loss and what it is for; a *binary* one takes one output for two classes."""

    task: Task
    is_binary: bool = False


losses: Registry[RegisteredLoss] = Registry("loss")


def register(name: str, task: Task, *, is_binary: bool = False) -> Callable[[Builder], Builder]:
    """Make a function ``f(reduction, **arguments)`` known under ``name``."""

    def add(function: Builder) -> Builder:
        losses.add(RegisteredLoss(name, function, arguments_of(function, given=1), task, is_binary))
        return function

    return add


@register("CrossEntropyLoss", "classification")
def cross_entropy(
    reduction: str,
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0,
    weight: Annotated[list[Weight], Field(min_length=2)] | None = None,
) -> nn.Module:
    """``torch.nn.CrossEntropyLoss``; ``weight`` has one number per class."""
    return nn.CrossEntropyLoss(_tensor(weight), reduction=reduction, label_smoothing=label_smoothing)


@register("BCEWithLogitsLoss", "classification", is_binary=True)
def bce_with_logits(reduction: str, pos_weight: Weight | None = None) -> nn.Module:
    """``torch.nn.BCEWithLogitsLoss``, for two classes and a model with one output."""
    return nn.BCEWithLogitsLoss(pos_weight=None if pos_weight is None else torch.tensor(pos_weight), reduction=reduction)


@register("MSELoss", "regression")
def mse(reduction: str) -> nn.Module:
    """``torch.nn.MSELoss``."""
    return nn.MSELoss(reduction=reduction)


@register("L1Loss", "regression")
def l1(reduction: str) -> nn.Module:
    """``torch.nn.L1Loss``."""
    return nn.L1Loss(reduction=reduction)


@register("HuberLoss", "regression")
def huber(reduction: str, delta: Positive = 1.0) -> nn.Module:
    """``torch.nn.HuberLoss``."""
    return nn.HuberLoss(reduction=reduction, delta=delta)


@register("SmoothL1Loss", "regression")
def smooth_l1(reduction: str, beta: Positive = 1.0) -> nn.Module:
    """``torch.nn.SmoothL1Loss``."""
    return nn.SmoothL1Loss(reduction=reduction, beta=beta)


def _tensor(weight: list[float] | None) -> Tensor | None:
    return None if weight is None else torch.tensor(weight)


def targets_in(y: Tensor, task: Task) -> Tensor:
    """The targets of weighted samples, whose weights are the last column of ``y``: (samples,), or (samples, targets)."""
    targets = y[..., 0] if y.shape[-1] == 2 else y[..., :-1]
    return targets.long() if task == "classification" else targets


@dataclass(frozen=True)
class Loss:
    """A problem's loss, in the two forms that the engines need.

    Targets ``y`` are (samples,), or (samples, targets), over which a sample's loss is the mean. Where samples are
    ``weighted``, their weights are one more column of it, and a mean over them is a weighted one.
    """

    name: str
    arguments: dict[str, Any]
    weighted: bool = False

    @property
    def is_binary(self) -> bool:
        """Whether the model has one output, for the logit of class 1."""
        return losses[self.name].is_binary

    def outputs(self, classes: int) -> int:
        """How many outputs a model needs for that many classes, or for that many numbers in a regression."""
        return 1 if self.is_binary else classes

    def module(self, reduction: str = "mean") -> nn.Module:
        """The real torch module."""
        built: nn.Module = losses[self.name].function(reduction, **self.arguments)
        return built

    def mean(self, outputs: Tensor, y: Tensor) -> Tensor:
        """What the torch module gives for a batch: outputs (samples, outputs)."""
        if self.weighted:
            counts = self.counts(y, like=outputs)
            assert counts is not None
            return self.per_sample(outputs, y).sum() / counts.sum()
        value: Tensor = self.module().to(outputs.device, outputs.dtype)(*self._as_torch_takes_them(outputs, y))
        return value

    def per_sample(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Each sample's share of the batch's sum, (samples,)."""
        module = self.module("none").to(outputs.device, outputs.dtype)
        value: Tensor = module(*self._as_torch_takes_them(outputs, self._targets(y)))
        value = value.mean(dim=-1) if value.dim() > 1 else value
        return value * y[..., -1] if self.weighted else value

    def counts(self, y: Tensor, like: Tensor) -> Tensor | None:
        """How much each sample counts in the batch's mean, (samples,); None where all count the same."""
        weight = _tensor(self.arguments.get("weight"))
        of_class = None if weight is None else weight.to(like.device, like.dtype)[self._targets(y)]
        if not self.weighted:
            return of_class
        own = y[..., -1].to(like.dtype)
        return own if of_class is None else own * of_class

    def _targets(self, y: Tensor) -> Tensor:
        return targets_in(y, losses[self.name].task) if self.weighted else y

    def _as_torch_takes_them(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if losses[self.name].task == "classification" and not self.is_binary:
            return outputs, y
        return outputs.squeeze(-1), y.to(outputs.dtype)
