"""Headline metrics by torchmetrics name.

The plain ones are means over the samples of something, computed for all runs at once wherever training happens; their
definitions are torchmetrics', to which tests hold them. All others are torchmetrics' own functions, run by run.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.problems.losses import Task
from pipeline.registry import Registered, Registry, arguments_of

Floats = npt.NDArray[np.float64]
Average = Literal["micro", "macro", "weighted"]
PerSample = Callable[[Tensor, Tensor], Tensor]
Finish = Callable[[Floats, Floats], Floats]
"""From the mean over the samples and all targets of the part to the metric."""


@dataclass(frozen=True)
class RegisteredMetric(Registered):
    """A metric: what it is for, how people write it, and which way is better."""

    task: Task
    display: str
    higher_is_better: bool
    is_share: bool
    """Whether it is read as a percentage."""

    def __reduce__(self) -> tuple[Callable[[str], "RegisteredMetric"], tuple[str]]:
        """Another process has it under the same name."""
        return _named, (self.name,)


metrics: Registry[RegisteredMetric] = Registry("metric")


def _named(name: str) -> RegisteredMetric:
    return metrics[name]


@dataclass(frozen=True)
class Metric:
    """A metric of outputs (samples, outputs) and targets (samples,).

    Where there is ``per_sample``, the metric is ``finish`` of its mean; else it is ``whole`` of all samples of one run.
    """

    per_sample: PerSample | None = None
    finish: Finish = lambda mean, targets: mean
    whole: Callable[[Tensor, Tensor], Tensor] | None = None
    power: int = 0
    """The power of the targets' unit in which it is measured: 1 for an error, 2 for a squared one."""

    def of_runs(self, outputs: Tensor, y: Tensor) -> Floats:
        """Of each run, (runs,): outputs (runs, samples, outputs), y (runs, samples); NaN where an output is not finite."""
        found = np.full(len(outputs), np.nan)
        for run in torch.isfinite(outputs).flatten(1).all(dim=1).nonzero().flatten().tolist():
            if self.per_sample is not None:
                mean = self.per_sample(outputs[run], y[run]).double().mean().cpu().numpy()
                found[run] = self.finish(mean, y[run].cpu().numpy())
            elif self.whole is not None:
                found[run] = float(self.whole(outputs[run], y[run]))
        return found


def register(
    name: str, task: Task, display: str, *, higher_is_better: bool, is_share: bool = False
) -> Callable[[Callable[..., Metric]], Callable[..., Metric]]:
    """Make a function ``f(classes, **arguments) -> Metric`` known under ``name``."""

    def add(function: Callable[..., Metric]) -> Callable[..., Metric]:
        arguments = arguments_of(function, given=1)
        metrics.add(RegisteredMetric(name, function, arguments, task, display, higher_is_better, is_share))
        return function

    return add


def _classes_of(outputs: Tensor) -> Tensor:
    """The predicted classes; one output is the logit of class 1."""
    return (outputs.squeeze(-1) > 0).long() if outputs.shape[-1] == 1 else outputs.argmax(dim=-1)


def _scores_of(outputs: Tensor) -> Tensor:
    """Probabilities of all classes; one output is the logit of class 1."""
    if outputs.shape[-1] == 1:
        logits = outputs.squeeze(-1)
        return torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=-1)
    return outputs.softmax(dim=-1)


@register("Accuracy", "classification", "accuracy", higher_is_better=True, is_share=True)
def accuracy(classes: int) -> Metric:
    """``torchmetrics.Accuracy`` with its micro average: the share of hits."""
    return Metric(lambda outputs, y: _classes_of(outputs) == y)


@register("BalancedAccuracy", "classification", "balanced accuracy", higher_is_better=True, is_share=True)
def balanced_accuracy(classes: int) -> Metric:
    """``torchmetrics.Accuracy`` with its macro average: the mean over the classes of the share of hits."""
    return _of_classes("multiclass_accuracy", classes, average="macro")


@register("F1Score", "classification", "F1", higher_is_better=True)
def f1_score(classes: int, average: Average = "macro") -> Metric:
    """``torchmetrics.F1Score``: that of class 1 where there are two, else the ``average`` over all."""
    return Metric(whole=lambda outputs, y: _form("f1_score", classes, average)(_classes_of(outputs), y))


@register("CohenKappa", "classification", "Cohen's kappa", higher_is_better=True)
def cohen_kappa(classes: int) -> Metric:
    """``torchmetrics.CohenKappa``."""
    return _of_classes("multiclass_cohen_kappa", classes)


@register("MatthewsCorrCoef", "classification", "Matthews correlation", higher_is_better=True)
def matthews(classes: int) -> Metric:
    """``torchmetrics.MatthewsCorrCoef``."""
    return _of_classes("multiclass_matthews_corrcoef", classes)


@register("AUROC", "classification", "AUROC", higher_is_better=True)
def auroc(classes: int, average: Literal["macro", "weighted"] = "macro") -> Metric:
    """``torchmetrics.AUROC``: that of class 1 where there are two, else the ``average`` over all."""
    return _of_scores("auroc", classes, average)


@register("AveragePrecision", "classification", "average precision", higher_is_better=True)
def average_precision(classes: int, average: Literal["macro", "weighted"] = "macro") -> Metric:
    """``torchmetrics.AveragePrecision``: that of class 1 where there are two, else the ``average`` over all."""
    return _of_scores("average_precision", classes, average)


@register("MeanAbsoluteError", "regression", "mean absolute error", higher_is_better=False)
def mean_absolute_error(classes: int) -> Metric:
    """``torchmetrics.MeanAbsoluteError``."""
    return Metric(lambda outputs, y: (outputs.squeeze(-1) - y).abs(), power=1)


@register("MeanSquaredError", "regression", "mean squared error", higher_is_better=False)
def mean_squared_error(classes: int, squared: bool = True) -> Metric:
    """``torchmetrics.MeanSquaredError``; its root where it is not ``squared``."""
    return Metric(_squared_error, lambda mean, targets: mean if squared else np.sqrt(mean), power=2 if squared else 1)


@register("R2Score", "regression", "R²", higher_is_better=True)
def r2_score(classes: int) -> Metric:
    """``torchmetrics.R2Score``: the share of the targets' variance that is explained; 0 where they do not vary."""

    def finish(mean: Floats, targets: Floats) -> Floats:
        variance = targets.astype(np.float64).var()
        share: Floats = 1 - mean / variance if variance > 0 else 0 * mean
        return share

    return Metric(_squared_error, finish)


@register("SpearmanCorrCoef", "regression", "Spearman's correlation", higher_is_better=True)
def spearman(classes: int) -> Metric:
    """``torchmetrics.SpearmanCorrCoef``."""
    return Metric(whole=lambda outputs, y: _functional("spearman_corrcoef")(outputs.squeeze(-1), y.to(outputs.dtype)))


@register("PearsonCorrCoef", "regression", "Pearson's correlation", higher_is_better=True)
def pearson(classes: int) -> Metric:
    """``torchmetrics.PearsonCorrCoef``."""
    return Metric(whole=lambda outputs, y: _functional("pearson_corrcoef")(outputs.squeeze(-1), y.to(outputs.dtype)))


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.squeeze(-1) - y) ** 2


def _of_classes(name: str, classes: int, **arguments: Any) -> Metric:
    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        value: Tensor = _functional(name)(_classes_of(outputs), y, num_classes=classes, validate_args=False, **arguments)
        return value

    return Metric(whole=whole)


def _of_scores(name: str, classes: int, average: str) -> Metric:
    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        scores = _scores_of(outputs)
        value: Tensor = _form(name, classes, average)(scores[:, 1] if classes == 2 else scores, y)
        return value

    return Metric(whole=whole)


def _form(name: str, classes: int, average: str) -> Callable[..., Any]:
    """The form of a function of torchmetrics for that many classes: where there are two it looks at class 1 alone."""
    if classes == 2:
        return partial(_functional(f"binary_{name}"), validate_args=False)
    return partial(_functional(f"multiclass_{name}"), num_classes=classes, average=average, validate_args=False)


def _functional(name: str) -> Callable[..., Any]:
    """A function of torchmetrics, which takes a second to import."""
    from torchmetrics import functional
    from torchmetrics.functional import classification

    found: Callable[..., Any] = getattr(classification, name, None) or getattr(functional, name)
    return found
