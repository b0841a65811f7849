"""A configuration as a program of its own: the lines that matter, a model, and a training loop around them, in plain PyTorch.

Whoever wants the result in their own code copies it from there. Optimizer and scheduler are those of
:mod:`pipeline.analysis.snippet`; a model, loss or metric that is not torch's is imported from where it lives.
"""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from pipeline.analysis.snippet import FREE, Lines, clipped, is_here, lines_of
from pipeline.analysis.source import Part, call, group, imported, literal, paragraph, prose, template
from pipeline.config.components import Component
from pipeline.config.problem_params import IGNORED, ProblemParams
from pipeline.problems.dataset import Dataset
from pipeline.problems.encoding import Columns
from pipeline.problems.losses import losses
from pipeline.problems.metrics import metrics
from pipeline.problems.models import models
from pipeline.problems.optimizers import is_torchs

COLUMNS = "the columns split, y, x0, x1 and so on"
KNOWN = ("schedulefree", "torchmetrics")
"""Packages that a script may take beside torch and pandas; any other module is where something of the study's lives."""
BACK = {None: "{}", "log": "torch.exp({})", "log1p": "torch.expm1({})"}
"""What leads from what is learnt to the target's own unit."""
LOGGED = {"train_loss": "train_loss", "validation_loss": "val_loss", "validation_metric": "val_metric"}
"""What people call the figures that a scheduler may watch, in Lightning."""


@dataclass(frozen=True)
class Data:
    """What script and page have to know of the data: is a number predicted, a table encoded, a row reshaped or of tokens?

    ``positive`` is the second of two classes, at which F1Score and its like look; ``remarks`` say what a file was taken for.
    """

    is_regression: bool = False
    is_table: bool = False
    is_shaped: bool = False
    is_of_tokens: bool = False
    positive: str | None = None
    remarks: tuple[str, ...] = ()
    classes: int = 2
    is_in_memory: bool = False
    has_own_loop: bool = False
    """Whether the training is the user's own to write: it is a script, or each sample has targets in a shape of their own."""
    targets: tuple[str, ...] = ("y",)
    transform: str | None = None
    is_weighted: bool = False

    @property
    def beside(self) -> list[str]:
        """Columns that are no inputs."""
        return ["split", *self.targets, "group", *(["weight"] if self.is_weighted else [])]

    @property
    def learnt(self) -> str:
        """The number that is predicted, in words."""
        of = f"logarithm of the target, log({'1 + ' * (self.transform == 'log1p')}y)" if self.transform else "target"
        return f"{of}s" if len(self.targets) > 1 and not self.transform else of

    @classmethod
    def of(cls, data: Dataset, *, is_in_memory: bool = False) -> "Data":
        """What is to be known of these samples; no file holds them where they are ``in memory``."""
        if data.y.ndim > 1 and (is_in_memory or data.task == "classification"):
            return cls(has_own_loop=True, remarks=data.remarks, is_in_memory=is_in_memory)
        return cls(
            is_regression=data.task == "regression",
            is_table=bool(data.columns),
            is_shaped=data.x.ndim > 2,
            is_of_tokens=data.is_tokens,
            positive=data.classes_called[1] if len(data.classes_called) == 2 else None,
            remarks=data.remarks,
            classes=data.classes,
            is_in_memory=is_in_memory,
            targets=("y", *(f"y{number}" for number in range(1, data.targets))),
            transform=data.transform,
            is_weighted=data.weights is not None,
        )


def script(
    problem_name: str,
    problem: ProblemParams,
    run: Mapping[str, Any],
    batches: int,
    summary: str,
    data: Data = Data(),
    *,
    warmup: int | str | None = None,
    standing: str = "",
) -> str:
    """The Python source that trains ``problem`` with the configuration of ``run``, a row of ``runs.parquet``.

    ``batches`` is the number of optimizer steps in an epoch, ``warmup`` the schedule's as written, a share perhaps.
    ``standing`` ends the docstring's first line, and ``summary``, plain text, follows; nothing in it can end that.
    What stands in no module is to be pasted: the script raises a NotImplementedError that says so.
    """
    optimizer = json.loads(run["optimizer"])
    component = Component(optimizer["name"], optimizer["args"])
    loss = problem.loss or Component("MSELoss" if data.is_regression else "CrossEntropyLoss", {})
    is_binary, lines = losses[loss.name].is_binary, lines_of(run, batches, warmup)
    label, metric, is_told = _metric(problem.metric, data, is_binary=is_binary)
    parts = {"model": _model(problem.model), "optimizer": lines.optimizer, "loss": _loss(loss, data), "metric": metric}
    return template("best.py.j2").render(
        title=prose(f"{run.get('scheduler', run['name'])} on {problem_name}, as plain PyTorch{standing}"),
        summary=paragraph(summary),
        data=f"data/{problem_name}.parquet",
        label=literal(label),
        told=BACK[data.transform].format("each.double() * deviation + mean") if is_told else "",
        epochs=int(run["epochs"]),
        **{kind: part.call for kind, part in parts.items()},
        **_modules([*parts.values(), lines.scheduler], takes_columns=models[problem.model.name].takes_columns),
        **_schedule(lines),
        **_samples(data, loss, is_binary=is_binary),
        **_training(problem, component, optimizer.get("average", {})),
    )


# What the template asks for, by its names


def _modules(parts: Sequence[Part], *, takes_columns: bool) -> dict[str, Any]:
    """What is imported, and what is to be pasted."""
    modules = sorted({*(part.module for part in parts), *([Columns.__module__] * takes_columns)} - {""})
    return {
        "needed": paragraph(f"Needs {', '.join(['torch', 'pandas', *modules])} and a parquet file with {COLUMNS}."),
        "modules": modules,
        "own": [module for module in modules if module not in KNOWN],
        "definitions": [part.definition for part in parts if part.definition],
        "columns": f"{Columns.__module__}.{Columns.__name__}" if takes_columns else "",
    }


def _schedule(lines: Lines) -> dict[str, Any]:
    """The scheduler, and what steps it."""
    return {
        "lines": lines,
        "scheduler": textwrap.indent("\n".join([*lines.before, f"return {lines.scheduler.call}"]), "    "),
        "peak": literal(lines.peak),
        "asked": lines.count if lines.asks_for(lines.count) else "",
        "monitored": literal(LOGGED.get(lines.watched or "", "")),
    }


def _samples(data: Data, loss: Component, *, is_binary: bool) -> dict[str, Any]:
    """How samples and targets are taken, and how much each counts."""
    return {
        "kind": data,
        "beside": literal(data.beside),
        "several": literal(list(data.targets)),
        "is_binary": is_binary,
        "single": ".squeeze(1)" if (data.is_regression and len(data.targets) == 1) or is_binary else "",
        "targets": _targets(data, is_binary=is_binary),
        "counts": _counts(loss, data, is_binary=is_binary),
        "share": _share(loss, data, is_binary=is_binary),
    }


def _training(problem: ProblemParams, optimizer: Component, average: Mapping[str, Any]) -> dict[str, Any]:
    """The loop: its batches, its step, and what is averaged."""
    return {
        "problem": problem,
        "clip": clipped(problem),
        "free": optimizer.name in FREE,
        "is_own": not is_torchs(optimizer.name),
        "is_own_model": not is_here(models[problem.model.name], "problems.models"),
        "needs_closure": optimizer.name == "LBFGS" or not is_torchs(optimizer.name),
        "ema": average.get("ema"),
        "swa": average.get("swa"),
    }


# Model, loss, metric


def _model(model: Component) -> Part:
    if model.name == "linear":
        return Part("nn.Linear(inputs, outputs)")
    if model.name == "mlp":
        return Part(group("nn.Sequential(", list(_layers(**model.args)), ")"))
    return imported("model", models[model.name], ["inputs", "outputs"], model.args)


def _layers(hidden: Sequence[int], activation: str, dropout: float) -> Iterator[str]:
    behind = {"relu": "nn.ReLU()", "gelu": "nn.GELU()", "tanh": "nn.Tanh()"}[activation]
    sizes = ["inputs", *map(str, hidden)]
    for size_in, size_out in pairwise(sizes):
        yield f"nn.Linear({size_in}, {size_out})"
        yield behind
        if dropout:
            yield f"nn.Dropout({literal(dropout)})"
    yield f"nn.Linear({sizes[-1]}, outputs)"


def _share(loss: Component, data: Data, *, is_binary: bool) -> str:
    """How much a ``batch`` counts among the ``rows`` of its optimizer step."""
    if data.is_weighted:
        counts = _counts(loss, data, is_binary=is_binary)
        batch, rows = (counts.replace("y[", f"y[{some}][") for some in ("batch", "rows"))
        return f"({batch}).sum() / ({rows}).sum()"
    if loss.args.get("weight") is None:
        return "len(batch) / len(rows)"
    return "CRITERION.weight[y[batch]].sum() / CRITERION.weight[y[rows]].sum()"


def _loss(loss: Component, data: Data) -> Part:
    """The mean over a batch's samples; where they have weights, each sample's own, of which the script makes the mean."""
    entry = losses[loss.name]
    given = {key: value for key, value in loss.args.items() if value is not None and (key, value) != ("ignore_index", IGNORED)}
    if is_here(entry, "problems.losses"):
        given |= {"reduction": "none"} if data.is_weighted else {}
        return Part(call(f"nn.{loss.name}", [], given, tensors=("weight", "pos_weight")))
    return imported("loss", entry, ['"none"' if data.is_weighted else '"mean"'], given)


def _targets(data: Data, *, is_binary: bool) -> str:
    """The targets in ``y`` without the weights behind them."""
    if len(data.targets) > 1:
        return "y[:, :-1]"
    return "y[:, 0]" if data.is_regression or is_binary else "y[:, 0].long()"


def _counts(loss: Component, data: Data, *, is_binary: bool) -> str:
    """How much each sample counts in a mean."""
    if (weight := loss.args.get("weight")) is None:
        return "y[:, -1]"
    return f"y[:, -1] * torch.tensor({literal(weight)})[{_targets(data, is_binary=is_binary)}]"


def _metric(metric: Component | None, data: Data, *, is_binary: bool) -> tuple[str, Part, bool]:
    """How people write it, the statements that set ``measured`` from ``outputs`` and ``y``, and whether units matter to it."""
    metric = metric or Component("R2Score" if data.is_regression else "Accuracy", {})
    entry = metrics[metric.name]
    label = entry.shown(metric.args)
    is_told = bool(entry.function(data.classes, **metric.args).power or data.transform)
    found = "(outputs > 0).long()" if is_binary else "outputs.argmax(dim=1)"
    y = "y.long()" if is_binary else "y"
    if not is_here(entry, "problems.metrics"):
        part = imported("metric", entry, [str(data.classes)], metric.args)
        made, value = part.call, f"float(metric.of_runs(outputs.reshape(1, len(y), -1), {y}[None])[0])"
        return label, replace(part, call=f"metric = {made}\nmeasured = {value}"), is_told
    if metric.name == "Accuracy":
        return label, Part(f"measured = ({found} == y).double().mean().item()"), False
    if len(data.targets) > 1:
        made = call(f"torchmetrics.{metric.name}", [], metric.args)
        each = "float(metric(outputs[:, i], y[:, i])) for i in range(y.shape[1])"
        return f"mean {label}", Part(f"metric = {made}\nmeasured = sum({each}) / y.shape[1]", "torchmetrics"), is_told
    if metric.name == "R2Score":
        return label, Part("measured = (1 - ((outputs - y) ** 2).mean() / y.var(correction=0)).item()"), is_told
    name, given, scores = metric.name, dict(metric.args), "outputs"
    if name == "BalancedAccuracy":
        name, scores = "Accuracy", found
        given = {"task": "multiclass", "num_classes": data.classes, "average": "macro"}
    elif not data.is_regression and data.classes == 2:
        given, scores = {"task": "binary"}, "outputs.sigmoid()" if is_binary else "outputs.softmax(dim=1)[:, 1]"
    elif not data.is_regression:
        given, scores = {"task": "multiclass", "num_classes": data.classes, **given}, "outputs.softmax(dim=1)"
    made = call(f"torchmetrics.{name}", [], given)
    return label, Part(f"metric = {made}\nmeasured = metric({scores}, {y}).item()", "torchmetrics"), is_told
