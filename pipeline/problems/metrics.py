"""Headline metrics by torchmetrics name.

The plain ones are means over the samples of something, computed for all runs at once wherever training happens; their
definitions are torchmetrics', to which tests hold them. All others are torchmetrics' own functions, run by run.

A class that a part of the data lacks counts in no mean over the classes, as in scikit-learn; torchmetrics counts it as 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.errors import PipelineError
from pipeline.config.registry import OWN, Registered, Registry, arguments_of
from pipeline.problems.losses import Task, targets_in

Floats = npt.NDArray[np.float64]
Average = Literal["micro", "macro", "weighted"]
PerSample = Callable[[Tensor, Tensor], Tensor]
Whole = Callable[[Tensor, Tensor], Tensor]
Finish = Callable[[Floats, Floats], Floats]
"""From the mean over the samples and all targets of the part to the metric."""


class MetricError(PipelineError):
    """A metric that cannot be computed here: what is wrong and what would be right."""

    def __init__(self, wrong: str, right: str) -> None:
        super().__init__(f"the metric {wrong}; {right}")
        self.wrong, self.right = wrong, right


@dataclass(frozen=True)
class RegisteredMetric(Registered):
    """A metric: what it is for, how people write it, and which way is better."""

    task: Task
    display: str
    higher_is_better: bool
    is_share: bool
    """Whether it is read as a percentage."""
    is_of_classes: bool
    """Whether it is a mean over the classes, in which one that is not there has no place."""

    def shown(self, args: Mapping[str, Any]) -> str:
        """How people write it with these arguments."""
        return f"root {self.display}" if args.get("squared") is False else self.display

    def __reduce__(self) -> tuple[Callable[[str], "RegisteredMetric"], tuple[str]]:
        """Another process has it under the same name."""
        return _named, (self.name,)


_NAMES = {
    "Accuracy": ("acc",),
    "F1Score": ("F1", "F1_macro", "macro_F1"),
    "MatthewsCorrCoef": ("MCC", "matthews"),
    "AUROC": ("AUC", "ROC_AUC", "ROC"),
    "AveragePrecision": ("AP", "mAP", "AUPRC", "PR_AUC"),
    "MeanAbsoluteError": ("MAE",),
    "MeanSquaredError": ("MSE",),
    "R2Score": ("R2",),
}
HINTS = {
    **{name: f"did you mean {metric}?" for metric, names in _NAMES.items() for name in names},
    **dict.fromkeys(("RMSE", "RootMeanSquaredError"), "write {name: MeanSquaredError, squared: false}"),
    **dict.fromkeys(("Precision", "Recall"), f"write F1Score or AveragePrecision, or {OWN}"),
    **dict.fromkeys(("loss", "log_loss", "NLL", "perplexity"), "leave it to the loss, which every table has beside the metric"),
}
"""What to write instead of the short names that metrics go by, and of what is not built in."""

metrics: Registry[RegisteredMetric] = Registry("metric", HINTS)


def _named(name: str) -> RegisteredMetric:
    return metrics[name]


@dataclass(frozen=True)
class Metric:
    """A metric of outputs (samples, outputs) and targets (samples,).

    Where there is ``per_sample``, the metric is ``finish`` of its mean; else it is ``whole`` of all samples of one run.
    """

    per_sample: PerSample | None = None
    finish: Finish = lambda mean, targets: mean
    whole: Whole | None = None
    power: int = 0
    """The power of the targets' unit in which it is measured: 1 for an error, 2 for a squared one."""
    in_units: bool = False
    """Whether outputs and targets are handed over in the targets' own units, which no power tells."""

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


def of_tokens(metric: Metric, ignored: int) -> Metric:
    """A metric of samples with a class at each of several places: that of all of them but those that are ``ignored``."""

    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        are_counted = (y != ignored).flatten()
        outputs, y = outputs.reshape(-1, outputs.shape[-1])[are_counted], y.flatten()[are_counted]
        return torch.from_numpy(metric.of_runs(outputs[None], y[None]))

    return Metric(whole=whole, power=metric.power)


def of_counted(metric: Metric, ignored: int) -> Metric:
    """A metric of samples with one class each: that of all of them but those that are ``ignored``."""
    if (per_sample := metric.per_sample) is None:
        return of_tokens(metric, ignored)

    def finish(mean: Floats, targets: Floats) -> Floats:
        are_counted = targets != ignored
        return metric.finish(mean / are_counted.mean(), targets[are_counted])

    return replace(metric, per_sample=lambda outputs, y: per_sample(outputs, y) * (y != ignored), finish=finish)


def of_each_target(metric: Metric) -> Metric:
    """The mean over the targets of the metric of each, as in scikit-learn, in the target's own unit."""

    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        columns = y.reshape(len(y), -1)
        of_each = [metric.of_runs(outputs[None, :, i : i + 1], columns[None, :, i]) for i in range(columns.shape[1])]
        return torch.tensor(np.array(of_each)).mean()

    return Metric(whole=whole, in_units=True)


def of_weighted(metric: Metric, task: Task) -> Metric:
    """The metric where each sample's weight stands behind its target, and counts in the loss alone."""
    per_sample, whole = metric.per_sample, metric.whole
    return replace(
        metric,
        per_sample=per_sample and (lambda outputs, y: per_sample(outputs, targets_in(y, task))),
        finish=lambda mean, targets: metric.finish(mean, targets[..., 0]),
        whole=whole and (lambda outputs, y: whole(outputs, targets_in(y, task))),
    )


def register(
    name: str,
    task: Task,
    display: str,
    *,
    higher_is_better: bool,
    is_share: bool = False,
    is_of_classes: bool = False,
) -> Callable[[Callable[..., Metric]], Callable[..., Metric]]:
    """Make a function ``f(classes, **arguments) -> Metric`` known under ``name``."""

    def add(function: Callable[..., Metric]) -> Callable[..., Metric]:
        arguments = arguments_of(function, given=["classes"])
        metrics.add(RegisteredMetric(name, function, arguments, task, display, higher_is_better, is_share, is_of_classes))
        return function

    return add


def _classes_of(outputs: Tensor) -> Tensor:
    """The predicted classes; one output is the logit of class 1."""
    return (outputs.squeeze(-1) > 0).long() if outputs.shape[-1] == 1 else outputs.argmax(dim=-1)


def _classes_in(y: Tensor) -> Tensor:
    """The classes that there are, in order."""
    there: Tensor = y.unique()  # type: ignore[no-untyped-call]
    return there


def _scores_of(outputs: Tensor) -> Tensor:
    """From 0 to 1, what ranks samples as the probabilities of each class do; one output is the logit of class 1.

    They are ranks of log odds: in single precision, probabilities of outputs that are far apart are all 0 or 1, and so ties.
    """
    logits = outputs.double()
    if logits.shape[-1] == 1:
        odds = torch.cat([-logits, logits], dim=-1)
    else:
        itself = torch.eye(logits.shape[-1], dtype=torch.bool, device=logits.device)
        odds = logits - logits[..., None, :].masked_fill(itself, -torch.inf).logsumexp(dim=-1)
    return torch.stack([_ranks(of_class) for of_class in odds.unbind(-1)], dim=-1)


def _ranks(values: Tensor) -> Tensor:
    """From 0 to 1, equal ones alike; NaN stays."""
    ranks: Tensor = values.unique(return_inverse=True)[1].double()  # type: ignore[no-untyped-call]
    return (ranks / ranks.max().clamp(min=1)).masked_fill(values.isnan(), torch.nan)


@register("Accuracy", "classification", "accuracy", higher_is_better=True, is_share=True)
def accuracy(classes: int) -> Metric:
    """``torchmetrics.Accuracy`` with its micro average: the share of hits."""
    return Metric(lambda outputs, y: _classes_of(outputs) == y)


@register("BalancedAccuracy", "classification", "balanced accuracy", higher_is_better=True, is_share=True, is_of_classes=True)
def balanced_accuracy(classes: int) -> Metric:
    """``torchmetrics.Accuracy`` with its macro average: the mean over the classes of the share of hits."""

    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        hits = (_classes_of(outputs) == y).double()
        return torch.stack([hits[y == each].mean() for each in _classes_in(y)]).mean()

    return Metric(whole=whole)


@register("F1Score", "classification", "F1", higher_is_better=True)
def f1_score(classes: int, average: Average = "macro") -> Metric:
    """``torchmetrics.F1Score``: that of class 1 where there are two, else the ``average`` over all that there are or seem."""
    one, several = "binary_f1_score", partial(_functional, "multiclass_f1_score", num_classes=classes, average=average)
    if classes > 2:
        return Metric(whole=lambda outputs, y: several(_classes_of(outputs), y))
    return Metric(whole=_of_two(lambda outputs, y: _functional(one, _classes_of(outputs), y)))


@register("CohenKappa", "classification", "Cohen's kappa", higher_is_better=True)
def cohen_kappa(classes: int) -> Metric:
    """``torchmetrics.CohenKappa``."""
    return _of_classes("multiclass_cohen_kappa", classes)


@register("MatthewsCorrCoef", "classification", "Matthews correlation", higher_is_better=True)
def matthews(classes: int) -> Metric:
    """``torchmetrics.MatthewsCorrCoef``; 0 where one class is predicted of all samples, as in scikit-learn."""

    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        predicted, true = (torch.nn.functional.one_hot(of, classes).double() for of in (_classes_of(outputs), y))
        ours, theirs = (each - each.mean(dim=0) for each in (predicted, true))
        spread = (ours.square().sum() * theirs.square().sum()).sqrt()
        return (ours * theirs).sum() / spread if spread > 0 else spread

    return Metric(whole=_of_two(whole))


@register("AUROC", "classification", "AUROC", higher_is_better=True, is_of_classes=True)
def auroc(classes: int, average: Literal["macro", "weighted"] = "macro") -> Metric:
    """``torchmetrics.AUROC``: that of class 1 where there are two, else the ``average`` over all that there are."""
    return _of_scores("auroc", classes, average)


@register("AveragePrecision", "classification", "average precision", higher_is_better=True, is_of_classes=True)
def average_precision(classes: int, average: Literal["macro", "weighted"] = "macro") -> Metric:
    """``torchmetrics.AveragePrecision``: that of class 1 where there are two, else the ``average`` over all that there are."""
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
    return Metric(whole=lambda outputs, y: _functional("spearman_corrcoef", outputs.squeeze(-1), y.to(outputs.dtype)))


@register("PearsonCorrCoef", "regression", "Pearson's correlation", higher_is_better=True)
def pearson(classes: int) -> Metric:
    """``torchmetrics.PearsonCorrCoef``."""
    return Metric(whole=lambda outputs, y: _functional("pearson_corrcoef", outputs.squeeze(-1), y.to(outputs.dtype)))


def _squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.squeeze(-1) - y) ** 2


def _of_two(whole: Whole) -> Whole:
    """A metric that compares classes, and has no value where there is but one."""
    return lambda outputs, y: whole(outputs, y) if len(_classes_in(y)) > 1 else torch.tensor(torch.nan)


def _of_classes(name: str, classes: int) -> Metric:
    function = partial(_functional, name, num_classes=classes)
    return Metric(whole=_of_two(lambda outputs, y: function(_classes_of(outputs), y)))


def _of_scores(name: str, classes: int, average: str) -> Metric:
    def whole(outputs: Tensor, y: Tensor) -> Tensor:
        scores, there = _scores_of(outputs), _classes_in(y)
        if classes == 2:
            return _functional(f"binary_{name}", scores[:, 1], y)
        if len(there) < classes:
            scores, y = scores[:, there], torch.searchsorted(there, y)
        return _functional(f"multiclass_{name}", scores, y, num_classes=len(there), average=average)

    return Metric(whole=_of_two(whole))


def _functional(name: str, outputs: Tensor, y: Tensor, **arguments: Any) -> Tensor:
    """What a function of torchmetrics gives."""
    functional = torchmetrics()
    if hasattr(functional.classification, name):
        value: Tensor = getattr(functional.classification, name)(outputs, y, validate_args=False, **arguments)
    else:
        value = getattr(functional, name)(outputs, y, **arguments)
    return value


def torchmetrics() -> Any:
    """``torchmetrics.functional``, which takes a second to import; it imports torchvision where that is installed."""
    try:
        from torchmetrics import functional
    except Exception as error:  # noqa: BLE001  # a torchvision of another torch raises whatever comes
        wrong = f"cannot be had, for torchmetrics cannot be imported ({type(error).__name__}: {' '.join(str(error).split())})"
        right = "run `pip install --force-reinstall torchmetrics`"
        if "torchvision" in str(error):
            right = f"run `pip uninstall -y torchvision`, or install the one that belongs to torch {torch.__version__}"
        raise MetricError(wrong, right) from None
    return functional
