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

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.analysis.snippet import FREE, clipped, is_here, lines_of
from pipeline.analysis.source import Part, call, group, imported, literal, paragraph, prose
from pipeline.config.params import IGNORED, Component, ProblemParams
from pipeline.problems.dataset import Dataset
from pipeline.problems.losses import losses
from pipeline.problems.metrics import metrics
from pipeline.problems.models import models
from pipeline.problems.optimizers import is_torchs

COLUMNS = "the columns split, y, x0, x1 and so on"
KNOWN = ("schedulefree", "torchmetrics")
"""Packages that a script may take beside torch and pandas; any other module is where something of the study's lives."""
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
    has_several_targets: bool = False
    """Whether each sample has: such training is the user's own to write."""

    @classmethod
    def of(cls, data: pd.DataFrame) -> "Data":
        """What ``data/P.parquet`` holds."""
        if "y" not in data:  # the samples are those of a script, or have several targets each
            return cls(has_several_targets="targets" in data.attrs, remarks=tuple(data.attrs.get("remarks", ())))
        is_whole = pd.api.types.is_integer_dtype
        classes, remarks = data.attrs.get("classes", ()), tuple(data.attrs.get("remarks", ()))
        positive = classes[1] if len(classes) == 2 else None
        kinds = not is_whole(data["y"]), "columns" in data.attrs, "shape" in data.attrs, is_whole(data["x0"])
        return cls(*kinds, positive, remarks, 1 if kinds[0] else int(data["y"].max()) + 1)

    @classmethod
    def in_memory(cls, data: Dataset) -> "Data":
        """The same of samples that no file holds."""
        return cls(
            data.task == "regression", False, len(data.shape) > 1, data.is_tokens, classes=data.classes, is_in_memory=True,
            has_several_targets=data.y.ndim > 1,
        )  # fmt: skip


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
    component = Component(**{key: json.loads(run["optimizer"])[key] for key in ("name", "args")})
    loss = problem.loss or Component("MSELoss" if data.is_regression else "CrossEntropyLoss", {})
    is_binary, average = losses[loss.name].is_binary, json.loads(run["optimizer"]).get("average", {})
    lines = lines_of(run, batches, warmup)
    label, metric = _metric(problem.metric, data, is_binary=is_binary)
    criterion = _loss(loss)
    parts = {"model": _model(problem.model), "optimizer": lines.optimizer, "loss": criterion, "metric": metric}
    parts["scheduler"] = lines.scheduler
    modules = sorted({part.module for part in parts.values()} - {""})
    return _environment().get_template("best.py.j2").render(
        title=prose(f"{run.get('scheduler', run['name'])} on {problem_name}, as plain PyTorch{standing}"),
        summary=paragraph(summary),
        needed=paragraph(f"Needs {', '.join(['torch', 'pandas', *modules])} and a parquet file with {COLUMNS}."),
        modules=modules,
        own=[module for module in modules if module not in KNOWN],
        definitions=[part.definition for part in parts.values() if part.definition],
        **{kind: part.call for kind, part in parts.items() if kind != "scheduler"},
        lines=lines, monitored=literal(LOGGED.get(lines.watched or "", "")), peak=literal(lines.peak), table=lines.table,
        scheduler=textwrap.indent("\n".join([*lines.before, f"return {lines.scheduler.call}"]), "    "),
        asked=lines.count if lines.asks_for(lines.count) else "", asks_for_math=lines.asks_for("math"),
        label=literal(label),
        data=f"data/{problem_name}.parquet", kind=data, is_binary=is_binary,
        single=".squeeze(1)" if data.is_regression or is_binary else "",
        epochs=int(run["epochs"]), batch_size=problem.batch_size, pace=problem.pace, accumulate=problem.accumulate,
        share=_share(loss),
        per_batch=lines.is_per_batch, watched=lines.watched, resample=problem.resample,
        clip=clipped(problem), clipping=problem.clip,
        free=component.name in FREE,
        is_own=not is_torchs(component.name), is_own_model=not is_here(models[problem.model.name], "problems.models"),
        needs_closure=component.name == "LBFGS" or not is_torchs(component.name),
        ema=average.get("ema"), swa=average.get("swa"),
    )  # fmt: skip


def _environment() -> Environment:
    """Nothing is escaped, for this is no HTML: what comes from the user goes through :func:`literal` or :func:`prose`."""
    return Environment(
        loader=PackageLoader("pipeline.analysis"),
        autoescape=False,  # noqa: S701  # a program, no page: texts come in as literals of Python
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


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


def _share(loss: Component) -> str:
    """How much a ``batch`` counts among the ``rows`` of its optimizer step."""
    if loss.args.get("weight") is None:
        return "len(batch) / len(rows)"
    return "CRITERION.weight[y[batch]].sum() / CRITERION.weight[y[rows]].sum()"


def _loss(loss: Component) -> Part:
    entry = losses[loss.name]
    given = {key: value for key, value in loss.args.items() if value is not None and (key, value) != ("ignore_index", IGNORED)}
    if is_here(entry, "problems.losses"):
        return Part(call(f"nn.{loss.name}", [], given, tensors=("weight", "pos_weight")))
    return imported("loss", entry, ['"mean"'], given)


def _metric(metric: Component | None, data: Data, *, is_binary: bool) -> tuple[str, Part]:
    """How people write it, and the statements that set ``measured`` from ``outputs`` and ``y``."""
    metric = metric or Component("R2Score" if data.is_regression else "Accuracy", {})
    entry = metrics[metric.name]
    label = entry.display
    if entry.function(data.classes, **metric.args).power:
        label += " of the standardised target"
    found = "(outputs > 0).long()" if is_binary else "outputs.argmax(dim=1)"
    y = "y.long()" if is_binary else "y"
    if not is_here(entry, "problems.metrics"):
        part = imported("metric", entry, [str(data.classes)], metric.args)
        made, value = part.call, f"float(metric.of_runs(outputs.reshape(1, len(y), -1), {y}[None])[0])"
        return label, replace(part, call=f"metric = {made}\nmeasured = {value}")
    if metric.name == "Accuracy":
        return label, Part(f"measured = ({found} == y).double().mean().item()")
    if metric.name == "R2Score":
        return label, Part("measured = (1 - ((outputs - y) ** 2).mean() / y.var(correction=0)).item()")
    name, given, scores = metric.name, dict(metric.args), "outputs"
    if name == "BalancedAccuracy":
        name, scores = "Accuracy", found
        given = {"task": "multiclass", "num_classes": data.classes, "average": "macro"}
    elif not data.is_regression and data.classes == 2:
        given, scores = {"task": "binary"}, "outputs.sigmoid()" if is_binary else "outputs.softmax(dim=1)[:, 1]"
    elif not data.is_regression:
        given, scores = {"task": "multiclass", "num_classes": data.classes, **given}, "outputs.softmax(dim=1)"
    made = call(f"torchmetrics.{name}", [], given)
    return label, Part(f"metric = {made}\nmeasured = metric({scores}, {y}).item()", "torchmetrics")
