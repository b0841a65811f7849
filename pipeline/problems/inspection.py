"""A problem tried out before anything is trained: its parts on its data, and every schedule to the end of its run."""

from collections.abc import Iterator
from inspect import unwrap
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from pipeline.document import Loc
from pipeline.params import placed_in
from pipeline.problems.losses import losses
from pipeline.problems.metrics import MetricError, metrics, torchmetrics
from pipeline.problems.optimizers import SCHEDULE_FREE
from pipeline.problems.problem import Problem
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import ScheduleError
from pipeline.schedulers.traps import Followed, follow

SAMPLES = 8
"""Samples that the model is tried on."""
SHOWN = 5
"""Classes that are named."""
Mistake = tuple[Loc, Any, str, str]
"""Place in params.yaml, what is given there, what is wrong with it, what would be right."""


def inspect(problem: Problem) -> list[Followed]:
    """All schedules of the problem, in order; :func:`pipeline.schedulers.traps.findings` names the traps in each.

    Raises :class:`pipeline.params.ParamsError` with a placed line for each part of the problem that does not fit its data,
    and for each schedule that cannot be followed.
    """
    if parts := [*_of_the_task(problem)] or [*_of_the_model(problem)]:
        raise placed_in(parts)
    if statistics := [*_of_the_last_batch(problem), *_of_averaged_weights(problem)]:
        raise placed_in(statistics)
    followed, mistakes = [], []
    for label, schedule in problem.schedules.items():
        try:
            followed.append(follow(label, schedule, problem.optimizers_for(schedule), problem.lr, problem.budget()))
        except ScheduleError as error:
            right = f"change its arguments; README.md and torch's own page on {schedule.name} say what they mean"
            if error.key == "warmup":
                right = "leave `warmup` out, or make it shorter"
            wrong = str(error) if error.epoch is None else f"{error} (epoch {error.epoch} of {problem.params.epochs})"
            mistakes.append(((*_entry(problem, label), error.key), getattr(schedule, error.key), wrong, right))
    if mistakes:
        raise placed_in(mistakes)
    return followed


def absent_classes(problem: Problem, seeds: int) -> Iterator[str]:
    """What the headline metric makes of classes that the validation or the test part of some seed lacks; a line each."""
    metric = metrics[problem.metric_name]
    if problem.task != "classification" or problem.metric.whole is None:
        return
    parts = [getattr(problem.split(seed), part) for seed in range(seeds) for part in ("validation", "test")]
    counts = np.stack([np.bincount(problem.y[rows], minlength=problem.classes) for rows in parts])
    lacking = np.count_nonzero(counts == 0, axis=0)
    if metric.is_of_classes and problem.classes > 2 and lacking.any():
        told = [f"{problem.class_names[place]} (in {lacking[place]})" for place in np.flatnonzero(lacking)]
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        yield (
            f"of the {len(parts)} validation and test parts of {seeds} seeds, some have no sample of the class "
            f"{', '.join(told[:SHOWN])}{more}; there, {metric.name} is the mean over the other classes"
        )
    if alone := np.count_nonzero((counts > 0).sum(axis=1) < 2):
        yield (
            f"{alone} of the {len(parts)} validation and test parts of {seeds} seeds have samples of one class only; there, "
            f"{metric.name} compares nothing and is left empty"
        )


def _entry(problem: Problem, label: str) -> Loc:
    """Where the schedule of that label stands: under its problem, or among the common ones."""
    own: Loc = ("problems", problem.name) if label in problem.params.schedulers else ()
    return (*own, "schedulers", label)


def _of_the_task(problem: Problem) -> Iterator[Mistake]:
    """A loss or a metric that is made for other targets."""
    place: Loc = ("problems", problem.name)
    have = f"{problem.classes} classes" if problem.task == "classification" else "numbers to be predicted"
    loss, metric = problem.loss, metrics[problem.metric_name]
    if losses[loss.name].task != problem.task:
        fitting = ", ".join(entry.name for entry in losses if entry.task == problem.task)
        yield (
            (*place, "loss", "name"),
            loss.name,
            f"is for {losses[loss.name].task}, and the targets are {have}",
            _one_of(fitting),
        )
    elif loss.is_binary and problem.classes != 2:
        yield (
            (*place, "loss", "name"),
            loss.name,
            f"is for 2 classes, and there are {problem.classes}",
            "write CrossEntropyLoss",
        )
    elif (weight := loss.arguments.get("weight")) is not None and len(weight) != problem.classes:
        wrong = f"has {len(weight)} weights, and there are {problem.classes} classes"
        yield (*place, "loss", "weight"), weight, wrong, "write one weight per class, in the order of the classes"
    if metric.task != problem.task:
        fitting = ", ".join(entry.name for entry in metrics if entry.task == problem.task)
        yield (*place, "metric", "name"), metric.name, f"is for {metric.task}, and the targets are {have}", _one_of(fitting)
    elif problem.metric.whole is not None:
        try:
            torchmetrics()
        except MetricError as error:
            yield (*place, "metric", "name"), metric.name, error.wrong, error.right


def _one_of(names: str) -> str:
    return f"write one of {names}"


def _of_the_model(problem: Problem) -> Iterator[Mistake]:
    """A model that cannot be built or applied to the data, or an optimizer that refuses it: one step is tried."""
    place: Loc = ("problems", problem.name)
    name, optimizer = problem.params.model.name, problem.params.optimizer.name
    see = "change its arguments, or the dataset; its function says what it takes"
    try:
        model = problem.new_model(0, "final")
    except Exception as error:  # noqa: BLE001  # a model of the user's own may raise anything
        yield (*place, "model"), name, f"cannot be built for samples of shape {_shape(problem)}: {_told(error)}", see
        return
    x, y = _samples(problem)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            outputs = model(x)
        except Exception as error:  # noqa: BLE001
            yield (*place, "model"), name, f"cannot be applied to samples of shape {_shape(problem)}: {_told(error)}", see
            return
        if outputs.shape != (len(x), problem.outputs):
            wrong = f"gives outputs of shape {tuple(outputs.shape)} for {len(x)} samples, and {problem.outputs} each are needed"
            yield (*place, "model"), name, wrong, f"let it end in {problem.outputs} outputs per sample"
            return
        problem.loss.mean(outputs, y).backward()  # type: ignore[no-untyped-call]
        try:
            own = next(iter(problem.schedules.values()))
            _try_a_step(problem.optimizers_for(own)(list(model.parameters()), problem.lr))
        except ScheduleError:
            return  # told of the schedule
        except Exception as error:  # noqa: BLE001
            right = "change its arguments, or take another one; torch's own page says what it trains"
            yield (*place, "optimizer"), optimizer, f"cannot train the model {name}: {_told(error)}", right


@torch.no_grad()
def _try_a_step(optimizer: Optimizer) -> None:
    """The optimizer's ``step`` without what torch wraps around it, which would import torch's compiler: a second."""
    unwrap(type(optimizer).step)(optimizer, lambda: 0.0)


def _of_the_last_batch(problem: Problem) -> Iterator[Mistake]:
    """A last batch too small for the model: statistics of a batch, as BatchNorm takes them, need two samples."""
    samples, size = problem.samples([0]), problem.params.batch_size
    train = samples.parts["train"][0]
    left = len(train) % size or size
    try:
        with torch.random.fork_rng(devices=[]):
            problem.new_model(0, "final")(torch.tensor(samples.x[train[:left]]))
    except Exception as error:  # noqa: BLE001  # a model of the user's own may raise anything
        wrong = (
            f"leaves {left} of {len(train)} training samples for the last batch, which the model {problem.params.model.name}"
        )
        right = f"write a size that leaves more, or {_WITHOUT_STATISTICS}"
        yield ("problems", problem.name, "batch_size"), size, f"{wrong} cannot be trained on: {_told(error)}", right


def _of_averaged_weights(problem: Problem) -> Iterator[Mistake]:
    """Running statistics beside averaged weights: they are gathered at the weights that are trained, not at their average."""
    if not (asked := dict(_averaging(problem))) or not _has_running_statistics(problem):
        return
    wrong = (
        f"is evaluated at averaged weights, and the running statistics of the model {problem.params.model.name} (BatchNorm's, "
        "or the like) are those of other weights"
    )
    for place, name in asked.items():
        yield place, name, wrong, f"leave it out, or {_WITHOUT_STATISTICS}"


_WITHOUT_STATISTICS = "build the model with GroupNorm or LayerNorm, which take no statistics of the batch"


def _averaging(problem: Problem) -> Iterator[tuple[Loc, str]]:
    """Where a schedule-free optimizer is asked for, and by what name."""
    if (own := problem.params.optimizer.name) in SCHEDULE_FREE.values():
        yield ("problems", problem.name, "optimizer", "name"), own
    for label, schedule in problem.schedules.items():
        if schedulers[schedule.name].schedule_free:
            yield _entry(problem, label), schedule.name


@torch.no_grad()
def _has_running_statistics(problem: Problem) -> bool:
    """Whether the model, evaluated, gives other outputs once samples have passed through it in training."""
    model, (x, _) = problem.new_model(0, "final"), _samples(problem)

    def evaluated() -> Tensor:
        torch.manual_seed(0)
        outputs: Tensor = model.eval()(x)
        return outputs

    with torch.random.fork_rng(devices=[]):
        before = evaluated()
        model.train()(x)
        return not torch.equal(evaluated(), before)


def _shape(problem: Problem) -> tuple[int, ...]:
    return (problem.inputs,) if isinstance(problem.inputs, int) else problem.inputs


def _samples(problem: Problem) -> tuple[Tensor, Tensor]:
    """A few training samples, and those with the smallest and the largest number of all: a token id may be beyond a table."""
    samples = problem.samples([0])
    flat = samples.x.reshape(len(samples.x), -1)
    ends = [int(np.argmin(flat.min(axis=1))), int(np.argmax(flat.max(axis=1)))]
    rows = [*ends, *samples.parts["train"][0][:SAMPLES].tolist()]
    return torch.tensor(samples.x[rows]), torch.tensor(samples.y[rows])


def _told(error: Exception) -> str:
    line = " ".join(str(error).split())[:200]
    return line if isinstance(error, ValueError) and line else f"{type(error).__name__}: {line}"
