"""A problem tried out before anything is trained: its parts on its data, and every schedule to the end of its run."""

import functools
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from inspect import unwrap
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from pipeline.config.components import NO_DECAY
from pipeline.config.document import Loc
from pipeline.config.params import SweepParams, refuse
from pipeline.config.registry import Registry
from pipeline.config.units import percent
from pipeline.config.user_code import beginning_of, place_of
from pipeline.config.wording import counted, few
from pipeline.problems.chance import Chance
from pipeline.problems.dataset import Dataset
from pipeline.problems.dropout import CountedDropout
from pipeline.problems.losses import Task, losses
from pipeline.problems.metrics import MetricError, metrics, torchmetrics
from pipeline.problems.models import applied, models
from pipeline.problems.optimizers import KINDS_SPARED, SCHEDULE_FREE, undecayed
from pipeline.problems.problem import Problem
from pipeline.problems.run import History
from pipeline.problems.scripts import ScriptError, ScriptProblem, placed
from pipeline.runs.traps import Followed, follow
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import ScheduleError

SAMPLES = 8
"""Samples that the model is tried on."""
TRIES = 4
"""Times that it is applied to them: what it draws may show in one and not in another."""
Mistake = tuple[Loc, Any, str, str]
"""Place in params.yaml, what is given there, what is wrong with it, what would be right."""


def inspect(problem: Problem) -> list[Followed]:
    """All schedules of the problem, in order; :func:`pipeline.runs.traps.findings` names the traps in each.

    Raises ``ParamsError`` with a placed line for each part of the problem that does not fit its data,
    and for each schedule that cannot be followed.
    """
    refuse_unfit(problem)
    followed, mistakes = [], []
    for label, schedule in problem.schedules.items():
        try:
            followed.append(follow(label, schedule, problem.optimizers_for(schedule), problem.lr, problem.budget()))
        except ScheduleError as error:
            right = f"change its arguments; docs/schedulers.md and torch's own page on {schedule.name} say what they mean"
            own = place_of(error) or beginning_of(schedulers[schedule.name].function)
            if error.key == "warmup":
                right = "leave `warmup` out, or make it shorter"
            elif own:
                right = f"change its arguments, or mend {own}"
            wrong = str(error) if error.epoch is None else f"{error} (epoch {error.epoch} of {problem.params.epochs})"
            mistakes.append(((*_entry(problem, label), error.key), getattr(schedule, error.key), wrong, right))
    refuse(mistakes)
    return followed


def seeds_change_nothing(problem: Problem, history: History) -> Iterator[str]:
    """That runs of every scheduler came out alike to the last digit, whatever their seed; mostly nothing.

    Of a script, which has to seed what it draws itself, it is a :class:`ScriptError`.
    """
    losses = np.stack([history.curves.train_loss[-1], history.curves.validation_loss[-1]], axis=-1)
    labels = np.array([run.label for run in history.runs])
    own = [losses[(labels == label) & np.isfinite(losses).all(axis=-1)] for label in dict.fromkeys(labels)]
    repeated = [of_label for of_label in own if len(of_label) > 1]
    if repeated and all(len(np.unique(of_label, axis=0)) == 1 for of_label in repeated):
        told = f"all {len(repeated[0])} runs of a scheduler came out the same to the last digit, so that seeds change nothing"
        if isinstance(problem, ScriptProblem):
            raise ScriptError(placed(problem.name, problem.params.script, told, "seed every generator with trial.seed"))
        yield f"{told}, and no interval says anything"


def nothing_holds(problem: Problem, history: History) -> str:
    """That all runs diverged, and what would help; mostly nothing."""
    if not history.diverged.all():
        return ""
    told = f"all {len(history.runs)} runs diverged"
    if not problem.has_samples:
        why = "a loss is not finite, or the training loss ends more than 10% above that of the first epoch"
        return f"{told} ({why}); lower optimizer.lr, or report a train_loss that falls as the training goes well"
    return f"{told} (a loss is not finite, or the training loss ends above where it began); lower optimizer.lr"


MOST = 0.75
"""Share of the runs in which one curve has to do what no curve of its kind should, to be told."""


def validation_rises(problem: Problem, history: History) -> str:
    """That what a script tells as its validation loss rises as its training goes well, as an accuracy does; mostly nothing."""
    if problem.has_samples:  # then it is a loss
        return ""
    curves = history.curves
    rise = (curves.train_loss[-1] < curves.train_loss[0]) & (curves.validation_loss[-1] > curves.validation_loss[0])
    if rise.mean() <= MOST:
        return ""
    return (
        f"in {rise.sum()} of {len(rise)} runs validation_loss ends higher than it began, while train_loss falls, and the "
        "lowest is taken for the best; is it an accuracy, report that as validation_metric and a loss beside it, if need be "
        "1 - accuracy; is it a loss, these runs overfit: train for fewer epochs, or write `report: {at: best}`"
    )


def absent_classes(problem: Problem, seeds: int) -> Iterator[str]:
    """What the headline metric makes of classes that the validation or the test part of some seed lacks; a line each."""
    data = problem.data
    if not problem.has_samples or data.task != "classification" or problem.metric.whole is None or data.y.ndim > 1:
        return
    metric = metrics[problem.metric_name]
    parts = [getattr(data.split(seed), part) for seed in range(seeds) for part in ("validation", "test")]
    parts = [rows for rows in parts if len(rows)]  # there may be no test part
    is_counted = data.y != problem.loss.ignored
    counts = np.stack([np.bincount(data.y[rows[is_counted[rows]]], minlength=data.classes) for rows in parts])
    lacking = np.count_nonzero(counts == 0, axis=0)
    lacking[np.setdiff1d(np.arange(data.classes), data.y[is_counted])] = 0  # a class that the loss ignores everywhere
    if metric.is_of_classes and data.classes > 2 and lacking.any():
        told = [f"{data.class_names[place]} (in {lacking[place]})" for place in np.flatnonzero(lacking)]
        yield (
            f"of the {len(parts)} validation and test parts of {seeds} seeds, some have no sample of the class "
            f"{few(told)}; there, {metric.name} is the mean over the other classes"
        )
    if alone := np.count_nonzero((counts > 0).sum(axis=1) < 2):
        yield (
            f"{alone} of the {len(parts)} validation and test parts of {seeds} seeds have samples of one class only; there, "
            f"{metric.name} compares nothing and is left empty"
        )


def nothing_counted(problem: Problem) -> Iterator[str]:
    """That a batch may hold none but samples of which the loss ignores every target, and has no loss then; mostly nothing."""
    if not problem.has_samples or problem.data.task != "classification":
        return
    data, ignored, size = problem.data, problem.loss.ignored, problem.params.batch_size
    is_ignored = (data.y == ignored).reshape(len(data.y), -1).all(axis=1)
    batches = problem.params.epochs * data.train_size / size
    if (expected := batches * is_ignored.mean() ** size) > RARE:
        told = (
            f"{is_ignored.sum()} of {counted(len(is_ignored), 'sample')} have no target but {ignored}, which the loss ignores"
        )
        yield f"{told}; a batch of such alone ({expected:.2g} a run) has the loss NaN and ends it: take them out of the data"


RARE = 0.001
"""Batches a run that are no matter."""


def larger_than_the_whole(problem: Problem) -> Iterator[str]:
    """Numbers that are more than there is of what they are taken from; a line each. Schedules have traps of their own."""
    given, place = problem.params, f"problems.{problem.name}"
    if problem.has_samples:
        samples = problem.data.train_size
        batches = -(-samples // given.batch_size)
        if given.batch_size > samples:
            told = f"{place}.batch_size is {given.batch_size}, and the training part has {samples} samples"
            yield f"{told}: one batch is all of it, and an epoch a single step; write {max(1, samples // 10)}, say"
        if (given.accumulate or 1) > batches:
            told = f"{place}.accumulate is {given.accumulate}, and an epoch has {batches} batch{'es' * (batches > 1)}"
            yield f"{told}: an epoch is a single step; write less, or leave it out"


def same_weights(problem: Problem) -> Iterator[str]:
    """That the model begins at the same drawn weights whatever the seed, as behind one of its own; mostly nothing."""
    if problem.has_samples:
        first, second = (dict(problem.new_model(seed, "final").named_parameters()) for seed in (0, 1))
        is_drawn = any(values.numel() > 1 and bool((values != values.flatten()[0]).any()) for values in first.values())
        if is_drawn and all(torch.equal(values, second[name]) for name, values in first.items()):
            told = f"the model {problem.params.model.name} begins at the same weights for every seed"
            yield f"{told}; unless they were trained before, take `torch.manual_seed` out of it, or only batches differ by seed"


def no_shorter(problem: Problem, sweep: SweepParams | None) -> Iterator[str]:
    """Budgets of a sweep that are none of the problem's; a line each."""
    epochs = problem.params.epochs
    for budget in sweep.budgets if sweep else ():
        if budget >= epochs if isinstance(budget, int) else (percent(budget) or 0) >= 100:
            told = f"sweep.budgets holds {budget}, and a run of {problem.name} has {counted(epochs, 'epoch')}"
            yield f"{told}: no shorter run is that, and it is left out; write a share below 100%"


@functools.singledispatch
def refuse_unfit(problem: Problem) -> None:
    """Raise the ``ParamsError`` of the parts that do not fit the data, whatever the schedules are."""
    refuse([*_of_the_task(problem)] or [*_of_the_model(problem)])
    averages = *_of_averaged_weights(problem), *_of_a_copy(problem), *_of_two_averages(problem)
    refuse([*_of_the_last_batch(problem), *_of_a_part_of_one(problem), *averages])


@refuse_unfit.register
def _(problem: ScriptProblem) -> None:
    """What a script cannot be asked for; the script itself was tried out by the stage ``dataset``."""
    path, mistakes = problem.params.script.path, []
    for place, given in _means(problem):
        mistakes.append((place, given, f"is the business of {path}, which evaluates its model itself", "leave `average` out"))
    for label, schedule in problem.schedules.items() if problem.params.script.steps_per_epoch else ():
        if schedulers[schedule.name].live:
            wrong = f"reacts to a figure, and {path} is handed all rates before it begins"
            mistakes.append(((*_entry(problem, label), "name"), schedule.name, wrong, "take another one"))
    refuse(mistakes)


def _entry(problem: Problem, label: str) -> Loc:
    """Where the schedule of that label stands: under its problem, or among the common ones."""
    own: Loc = ("problems", problem.name) if label in problem.params.schedulers else ()
    return (*own, "schedulers", label)


def _of_the_task(problem: Problem) -> Iterator[Mistake]:
    """A loss or a metric that is made for other targets."""
    place: Loc = ("problems", problem.name)
    data = problem.data
    have = f"{data.classes} classes" if data.task == "classification" else "numbers to be predicted"
    loss, metric = problem.loss, metrics[problem.metric_name]
    if losses[loss.name].task != data.task:
        wrong = f"is for {losses[loss.name].task}, and the targets are {have}"
        yield (*place, "loss", "name"), loss.name, wrong, _one_of(losses, data.task)
    elif data.task == "classification" and (other := data.y[(data.y < 0) & (data.y != loss.ignored)]).size:
        right = f"number classes from 0 up, or write `loss: {{name: CrossEntropyLoss, ignore_index: {other[0]}}}`"
        yield (*place, "dataset"), problem.params.dataset.name, f"has the target {other[0]}, which is no class", right
    elif loss.is_binary and data.classes != 2:
        wrong = f"is for 2 classes, and there are {data.classes}"
        yield (*place, "loss", "name"), loss.name, wrong, "write CrossEntropyLoss"
    elif (weight := loss.arguments.get("weight")) is not None and len(weight) != data.classes:
        wrong = f"has {len(weight)} weights, and there are {data.classes} classes"
        yield (*place, "loss", "weight"), weight, wrong, "write one weight per class, in the order of the classes"
    if metric.task != data.task:
        wrong = f"is for {metric.task}, and the targets are {have}"
        yield (*place, "metric", "name"), metric.name, wrong, _one_of(metrics, data.task)
    elif problem.metric.whole is not None:
        try:
            torchmetrics()
        except MetricError as error:
            yield (*place, "metric", "name"), metric.name, error.wrong, error.right


def _one_of(known: Registry[Any], task: Task) -> str:
    return f"write one of {', '.join(entry.name for entry in known if entry.task == task)}"


def _of_the_model(problem: Problem) -> Iterator[Mistake]:
    """A model that cannot be built, applied to the data or trained, or an optimizer that refuses it: one step is tried."""
    place: Loc = ("problems", problem.name)
    name, shape = problem.params.model.name, problem.data.shape
    own = beginning_of(models[name].function)
    see = f"change its arguments, or {f'mend {own}' if own else 'the dataset; its function says what it takes'}"
    try:
        model, same, other = (problem.new_model(seed, "final") for seed in (0, 0, 1))
    except Exception as error:  # noqa: BLE001  # a model of the user's own may raise anything
        yield (*place, "model"), name, f"cannot be built for samples of shape {shape}: {_told(error)}", see
        return
    x, y = _samples(problem.data)
    try:
        found, again = (_outputs(each, x) for each in (model, same))
    except Exception as error:  # noqa: BLE001
        told = f"cannot be applied to samples of shape {shape}: {_told(error)}{in_other_precision(model, error)}"
        yield (*place, "model"), name, told, see
        return
    wrong = [*_of_its_outputs(problem, model, found[0], len(x))] or [*_of_its_repetition([model, same, other], found, again)]
    if wrong:
        yield ((*place, "model"), name, *wrong[0])
        return
    try:
        if odd := _of_the_loss(problem, found[0], y):
            yield (*place, "loss"), problem.loss.name, *odd
            return
        problem.loss.mean(found[0], y).backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001
        if problem.loss.is_torchs:
            yield (*place, "model"), name, f"has outputs that the loss cannot take: {_told(error)}", _LOGITS
        else:
            told = f"cannot take outputs of shape {tuple(found[0].shape)} and targets of shape {tuple(y.shape)}: {_told(error)}"
            yield (*place, "loss"), problem.loss.name, told, "mend it; batches are of any size, and the last may be smaller"
        return

    @torch.enable_grad()
    def closure() -> Tensor:
        model.zero_grad()
        loss = problem.loss.mean(model(x.clone()), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    yield from _of_the_optimizer(problem, model, closure)


def in_other_precision(model: nn.Module, error: Exception) -> str:
    """What to add to an error of a model that computes in another precision than that of the samples; mostly nothing."""
    odd = [values.dtype for values in model.parameters() if values.is_floating_point() and values.dtype != torch.float32]
    if not odd and not _PRECISIONS.search(str(error)):
        return ""
    it = f"its parameters are {odd[0]} and samples torch.float32" if odd else "samples and models are torch.float32"
    return f"; {it}: leave `.double()` and its like out"


_PRECISIONS = re.compile(r"\b(double|half|float64|float16|bfloat16)\b", re.IGNORECASE)
"""By which torch names them in its errors."""


def _of_the_loss(problem: Problem, outputs: Tensor, y: Tensor) -> tuple[str, str] | None:
    """A loss of the user's own that gives no number per sample, or no mean of them."""
    for reduction in ("mean", "none"):
        shape = tuple(problem.loss.given(outputs, y, reduction).shape)
        if shape[:1] != (() if reduction == "mean" else (len(y),)):
            own = beginning_of(losses[problem.loss.name].function)
            right = 'let it give one number with reduction="mean", and one for each sample with "none"'
            return f'gives shape {shape} for {len(y)} samples with reduction="{reduction}"', f"{right}{own and f' ({own})'}"
    return None


OTHER_OUTPUTS = (
    "; outputs are as many as classes, or as columns of targets: where your own loss needs another number, hand over targets "
    "of floats with as many columns as there are outputs (the loss need not read all of either: fill up with zeros)"
)
"""What is said to whom a loss of their own lets have another number of outputs."""
_LOGITS = "let it return one tensor of its last layer, of real numbers that hang on its parameters"


def _outputs(model: nn.Module, x: Tensor) -> list[Any]:
    """What the model gives, time after time, with the same random numbers each time that it is asked for all of them."""
    with Chance(0).used():
        return [model(x.clone()) for _ in range(TRIES)]


def _of_its_outputs(problem: Problem, model: nn.Module, outputs: Any, count: int) -> Iterator[tuple[str, str]]:
    """Outputs that are no tensor of one row per sample."""
    targets = problem.data.y.shape[1:] if problem.data.task == "classification" else ()  # places with a class each
    each = "target" if targets else "sample"
    ending = f"let it end in {counted(problem.outputs, 'output')} per {each}{OTHER_OUTPUTS * (not problem.loss.is_torchs)}"
    needed = (count, *targets, problem.outputs)
    if not isinstance(outputs, Tensor):
        yield f"gives a {type(outputs).__name__}, and a tensor is needed", f"{ending}, and return those alone"
    elif outputs.shape != needed:
        flat = "without a squeeze or flatten behind them, " if outputs.shape == needed[:-1] else ""
        yield f"gives outputs of shape {tuple(outputs.shape)} for {count} samples, and {needed} is needed", f"{flat}{ending}"
    elif not outputs.is_floating_point():
        yield f"gives outputs of {outputs.dtype}", _LOGITS
    elif not outputs.requires_grad:
        yield "gives outputs that do not hang on any parameter that is trained", "leave out what cuts them off: detach, no_grad"
    elif astray := _untrained_behind(outputs, model):
        shapes = few(tuple(values.shape) for values in astray)
        wrong = f"computes with tensors (of shape {shapes}) that need gradients and are not among its parameters"
        right = (
            "hold layers in nn.ModuleList or nn.ModuleDict, for a plain list or dict hides them, and tensors in nn.Parameter"
        )
        freeze = "freeze by requires_grad_(False) what is not to be trained"
        yield f"{wrong}, so that no optimizer trains them", f"{right}; {freeze}"


def _untrained_behind(outputs: Tensor, model: nn.Module) -> list[Tensor]:
    """What the outputs hang on and no optimizer is given."""
    own = {id(values) for values in model.parameters()}
    seen: set[Any] = set()
    found: list[Tensor] = []
    ahead: list[Any] = [outputs.grad_fn]
    while ahead:
        if (node := ahead.pop()) is None or node in seen:
            continue
        seen.add(node)
        values = getattr(node, "variable", None)
        if values is not None and id(values) not in own:
            found.append(values)
        ahead += [each for each, _ in node.next_functions]
    return found


def _of_its_repetition(built: list[nn.Module], found: list[Tensor], again: list[Tensor]) -> Iterator[tuple[str, str]]:
    """A model that the seed of a run does not settle: no figure of it could ever be found again."""
    first, same, other = (dict(model.state_dict()) for model in built)
    if _trained_in(built[0]) & _trained_in(built[1]):
        yield (
            "shares parts that training changes with another that is built: a run would begin where one before it ended",
            "let it build all its layers anew each time, or take a copy.deepcopy of those that are there",
        )
        return
    right = "let it draw from torch's, numpy's or Python's own generator, all of which are seeded for each run"
    if {key: values.shape for key, values in first.items()} != {key: values.shape for key, values in other.items()}:
        yield "has parameters of other shapes for another seed", "let its arguments alone settle its shapes"
    elif first.keys() != same.keys() or not all(_are_the_same(values, same[key]) for key, values in first.items()):
        yield "has other weights each time that it is built with the same seed", right
    elif not all(map(_are_the_same, found, again)):
        yield "gives other outputs each time that it is given the same seed and samples", right


def _trained_in(model: nn.Module) -> set[int]:
    """The identities of what training changes: parameters, and layers with figures of their own, as batch norms have."""
    parameters = (each for each in model.parameters() if each.requires_grad)
    layers = (each for each in model.modules() if next(each.buffers(recurse=False), None) is not None)
    return {*map(id, parameters), *(id(each) for each in layers if not isinstance(each, CountedDropout))}


def _are_the_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


def _of_the_optimizer(problem: Problem, model: nn.Module, closure: Callable[[], Tensor]) -> Iterator[Mistake]:
    """An optimizer that refuses the model, which has gradients; ``closure`` is that of its step."""
    name, optimizer = problem.params.model.name, problem.params.optimizer.name
    for word in [word for word in problem.spared if word not in KINDS_SPARED and not undecayed(model, [word])]:
        wrong = f"spares {word}, and no parameter of the model {name} is called so"
        right = f"write a part of a name, as in {', '.join(key for key, _ in model.named_parameters())[:80]}"
        yield ("problems", problem.name, "optimizer", NO_DECAY), problem.spared, wrong, right
    try:
        own = next(iter(problem.schedules.values()))
        built = problem.optimizers_for(own)(list(model.parameters()), problem.lr)
        if not isinstance(built, Optimizer):
            raise ValueError(f"its function gives no torch.optim.Optimizer, but {built!r}")
        if any(group.get("maximize") for group in built.param_groups):
            right = "leave maximize out, and let the loss be what is to be small"
            yield ("problems", problem.name, "optimizer"), optimizer, "makes the loss as large as can be", right
        with Chance(0).used(), torch.no_grad():  # without what torch wraps around it, which would import its compiler: a second
            unwrap(type(built).step)(built, closure)
    except ScheduleError:
        return  # told of the schedule
    except Exception as error:  # noqa: BLE001
        right = "change its arguments, or take another one; torch's own page says what it trains"
        yield ("problems", problem.name, "optimizer"), optimizer, f"cannot train the model {name}: {_told(error)}", right


def _of_the_last_batch(problem: Problem) -> Iterator[Mistake]:
    """A last batch too small for the model: statistics of a batch, as BatchNorm takes them, need two samples."""
    samples, size = problem.data.samples([0]), problem.params.batch_size
    train = samples.parts["train"][0]
    left = len(train) % size or size
    try:
        with Chance(0).used():
            problem.new_model(0, "final")(torch.tensor(samples.x[train[:left]]))
    except Exception as error:  # noqa: BLE001  # a model of the user's own may raise anything
        told = f"{left} of {len(train)} training samples for the last batch"
        wrong = f"leaves {told}, which the model {problem.params.model.name} cannot be trained on: {_told(error)}"
        yield ("problems", problem.name, "batch_size"), size, wrong, f"write a size that leaves more, or {_WITHOUT_STATISTICS}"


def _of_a_part_of_one(problem: Problem) -> Iterator[Mistake]:
    """A single sample to be evaluated, of which BatchNorm without running statistics has no variance."""
    samples = problem.data.samples([0])
    for part in ("validation", "test"):
        rows = samples.parts[part][0]
        try:
            if len(rows) == 1:
                applied(problem.new_model(0, "final").eval(), torch.tensor(samples.x[rows]))
        except Exception as error:  # noqa: BLE001  # a model of the user's own may raise anything
            wrong = f"has one sample in its {part} part, which the model {problem.params.model.name} cannot be applied to"
            right = f"let that part have more, or {_WITHOUT_STATISTICS}"
            yield ("problems", problem.name, "dataset"), problem.params.dataset.name, f"{wrong}: {_told(error)}", right


def _of_averaged_weights(problem: Problem) -> Iterator[Mistake]:
    """Running statistics beside averaged weights: they are gathered at the weights that are trained, not at their average.

    BatchNorm's are gathered anew for an ``average``, by torch's ``update_bn``; for a schedule-free optimizer none are.
    """
    others = "others than BatchNorm's, which torch's update_bn gathers anew"
    cases = (_schedule_free(problem), (), "BatchNorm's, or the like"), (_means(problem), _BatchNorm, others)
    for found, gathered_anew, kinds in cases:
        if (places := list(found)) and _has_running_statistics(problem, but_of=gathered_anew):
            statistics = f"the running statistics of the model {problem.params.model.name} ({kinds})"
            wrong = f"is evaluated at averaged weights, and {statistics} are those of other weights"
            yield from ((*place, wrong, f"leave it out, or {_WITHOUT_STATISTICS}") for place in places)


_WITHOUT_STATISTICS = "build the model with GroupNorm or LayerNorm, which take no statistics of the batch"


def _of_a_copy(problem: Problem) -> Iterator[Mistake]:
    """A mean of weights is held by a copy of the model, and torch cannot copy every one."""
    if places := list(_means(problem)):
        try:
            deepcopy(problem.new_model(0, "final"))
        except Exception as error:  # noqa: BLE001  # a model of the user's own may raise anything
            wrong = f"keeps a copy of the model {problem.params.model.name}, which cannot be copied: {_told(error)}"
            right = "leave `average` out, or take torch.nn.utils.parametrizations.weight_norm where there is a weight_norm"
            yield from ((*place, wrong, right) for place in places)


def _of_two_averages(problem: Problem) -> Iterator[Mistake]:
    """A mean of weights beside an optimizer that evaluates a mean already."""
    if (own := problem.params.optimizer.name) in SCHEDULE_FREE.values():
        for place, given in _means(problem):
            wrong = f"comes on top of the optimizer {own} of {problem.name}, which averages the weights itself"
            yield place, given, wrong, "leave `average` out, or take another optimizer"


def _schedule_free(problem: Problem) -> Iterator[tuple[Loc, Any]]:
    """Where a schedule-free optimizer is asked for, and by what name."""
    if (own := problem.params.optimizer.name) in SCHEDULE_FREE.values():
        yield ("problems", problem.name, "optimizer", "name"), own
    for label, schedule in problem.schedules.items():
        if schedulers[schedule.name].schedule_free:
            yield _entry(problem, label), schedule.name


def _means(problem: Problem) -> Iterator[tuple[Loc, Any]]:
    """Where a mean of the weights is asked for, and which."""
    for label, schedule in problem.schedules.items():
        if schedule.average:
            yield (*_entry(problem, label), "average"), schedule.average.model_dump(exclude_none=True)


def _has_running_statistics(problem: Problem, but_of: type[nn.Module] | tuple[()] = ()) -> bool:
    """Whether the model, evaluated, gives other outputs once samples have passed through it in training.

    Layers ``but_of`` some kinds stay as they are.
    """
    model, (x, _) = problem.new_model(0, "final"), _samples(problem.data)

    def evaluated() -> Tensor:
        with Chance(0).used():
            return applied(model.eval(), x)

    before = evaluated()
    for layer in model.modules():
        layer.training = not isinstance(layer, but_of)
    with Chance(0).used():
        applied(model, x)
    return not torch.equal(evaluated(), before)


def _samples(data: Dataset) -> tuple[Tensor, Tensor]:
    """A few training samples, and those with the smallest and the largest number of all: a token id may be beyond a table."""
    samples = data.samples([0])
    flat = samples.x.reshape(len(samples.x), -1)
    ends = [int(np.argmin(flat.min(axis=1))), int(np.argmax(flat.max(axis=1)))]
    rows = [*ends, *samples.parts["train"][0][:SAMPLES].tolist()]
    return torch.tensor(samples.x[rows]), torch.tensor(samples.y[rows])


def _told(error: Exception) -> str:
    """What it says, with its place where it arose in a file of the user's."""
    line, place = " ".join(str(error).split())[:200], place_of(error)
    said = line if isinstance(error, ValueError) and line else f"{type(error).__name__}: {line}"
    return f"{said} ({place})" if place else said
