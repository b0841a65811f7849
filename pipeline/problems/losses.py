"""Losses by name: each is one function that builds the real ``torch.nn`` loss for a way to reduce it.

A batch's loss is the mean over its samples that the torch module itself gives with ``reduction="mean"``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.config.problem_params import IGNORED
from pipeline.config.registry import OWN, Registered, Registry, arguments_of

Builder = Callable[..., nn.Module]
Task = Literal["classification", "regression"]
Weight = Annotated[float, Field(gt=0, le=1e9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]


@dataclass(frozen=True)
class RegisteredLoss(Registered):
    """A loss and what it is for; a *binary* one takes one output for two classes."""

    task: Task
    is_binary: bool = False


_MEANT = "did you mean {}?".format
HINTS = {
    **dict.fromkeys((name for name in dir(nn) if name.endswith("Loss")), f"it is not built in; {OWN}"),
    **dict.fromkeys(("CE", "NLL", "NLLLoss", "LogLoss"), _MEANT("CrossEntropyLoss")),
    **dict.fromkeys(("BCE", "BCELoss", "BinaryCrossEntropy"), _MEANT("BCEWithLogitsLoss")),
    **dict.fromkeys(("MAE", "MAELoss", "MeanAbsoluteError", "L1"), _MEANT("L1Loss")),
    **dict.fromkeys(("MeanSquaredError", "L2", "L2Loss", "RMSE", "RMSELoss"), _MEANT("MSELoss")),
    "label_smoothing": "write {name: CrossEntropyLoss, label_smoothing: 0.1}",
}
"""What to write instead of torch's other losses, which may be near one of these in letters alone, and of usual short names."""

losses: Registry[RegisteredLoss] = Registry("loss", HINTS)


def register(name: str, task: Task, *, is_binary: bool = False) -> Callable[[Builder], Builder]:
    """Make a function ``f(reduction, **arguments)`` known under ``name``."""

    def add(function: Builder) -> Builder:
        losses.add(RegisteredLoss(name, function, arguments_of(function, given=["reduction"]), task, is_binary))
        return function

    return add


@register("CrossEntropyLoss", "classification")
def cross_entropy(
    reduction: str,
    label_smoothing: Annotated[float, Field(ge=0, le=1)] = 0.0,
    weight: Annotated[list[Weight], Field(min_length=2)] | None = None,
    ignore_index: int = IGNORED,
) -> nn.Module:
    """``torch.nn.CrossEntropyLoss``; ``weight`` has one number per class, targets of ``ignore_index`` count nothing."""
    return nn.CrossEntropyLoss(_tensor(weight), ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)


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
    ignores: bool = False
    """Whether there are targets that count nothing among samples of one class each."""

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

    @property
    def is_torchs(self) -> bool:
        """Whether it is one of those above; any other takes outputs and targets as they are."""
        return losses[self.name].function.__module__ == __name__

    @property
    def ignored(self) -> int:
        """The target that counts nothing."""
        return int(self.arguments.get("ignore_index", IGNORED))

    def mean(self, outputs: Tensor, y: Tensor, among: float | None = None) -> Tensor:
        """What the torch module gives for a batch: outputs (samples, …, outputs), y (samples, …).

        Where it is one of several batches of an optimizer step, its part of the mean over all of them: ``among`` is then what
        :meth:`count` gives for all their targets.
        """
        if among is None and not self.weighted:
            value: Tensor = self._mean(outputs)(*self._as_torch_takes_them(outputs, y))
            return value
        counts = self.counts(y, outputs)
        if counts is None:
            assert among is not None, "weighted samples have counts"
            return self.mean(outputs, y) * (len(y) / among)
        if among is None:
            return self.per_sample(outputs, y).sum() / counts.sum()
        return self.per_sample(outputs, y).sum() / among if counts.any() else outputs.sum() * 0.0

    def per_sample(self, outputs: Tensor, y: Tensor) -> Tensor:
        """Each sample's share of the batch's sum, (samples,)."""
        value = self.given(outputs, y, "none")
        if value.dim() > 1:  # of tokens each counts by itself
            value = value.flatten(1).sum(dim=1) if self._counts_tokens else value.flatten(1).mean(dim=1)
        return value * y[..., -1] if self.weighted else value

    def given(self, outputs: Tensor, y: Tensor, reduction: str) -> Tensor:
        """What the module itself gives for a batch, whatever its samples weigh."""
        value: Tensor = self._module(outputs, reduction)(*self._as_torch_takes_them(outputs, self._targets(y)))
        return value

    def counts(self, y: Tensor, like: Tensor) -> Tensor | None:
        """How much each sample counts in the batch's mean, (samples,); None where all count the same.

        A sample of several targets counts as often as it has some, and one that is to be ignored not at all.
        """
        weight = _tensor(self.arguments.get("weight"))
        targets = self._targets(y)
        if not self._counts_tokens or (targets.dim() < 2 and not self.ignores):
            counted = None if weight is None else weight.to(like.device, like.dtype)[targets]
        else:
            is_counted = targets != self.ignored
            counted = is_counted.to(like.dtype)
            if weight is not None:
                counted = counted * weight.to(like.device, like.dtype)[torch.where(is_counted, targets, 0)]
            counted = counted.flatten(1).sum(dim=1) if targets.dim() > 1 else counted
        if not self.weighted:
            return counted
        own = y[..., -1].to(like.dtype)
        return own if counted is None else own * counted

    def count(self, y: Tensor) -> float:
        """How much all samples together count in their mean."""
        counts = self.counts(y, torch.zeros(0, dtype=torch.float64, device=y.device))
        return float(len(y) if counts is None else counts.sum())

    @property
    def _counts_tokens(self) -> bool:
        """Whether a sample may have several classes to be predicted, and counts as often."""
        return self.is_torchs and losses[self.name].task == "classification"

    def _module(self, outputs: Tensor, reduction: str) -> nn.Module:
        return self.module(reduction).to(outputs.device, outputs.dtype)

    def _mean(self, outputs: Tensor) -> nn.Module:
        """Built once: in a loop it would take a tenth of a small model's step."""
        kind = outputs.device, outputs.dtype
        if kind not in self._built:
            self._built[kind] = self._module(outputs, "mean")
        return self._built[kind]

    @cached_property
    def _built(self) -> dict[tuple[torch.device, torch.dtype], nn.Module]:
        return {}

    def _targets(self, y: Tensor) -> Tensor:
        return targets_in(y, losses[self.name].task) if self.weighted else y

    def _as_torch_takes_them(self, outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        if losses[self.name].task == "classification" and not self.is_binary:
            return outputs.movedim(-1, 1) if self.is_torchs and y.dim() > 1 else outputs, y
        return outputs.squeeze(-1), y.to(outputs.dtype)
