"""Many runs of one problem side by side, block of epochs by block of epochs.

The state of all runs is stacked along a leading axis; runs of one replicate (seed and stream) share their batches, initial
weights and data order. A run can reach no other. A *program* does the arithmetic: tensors on any device, or compiled code.
"""

from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.config.arrays import Floats
from pipeline.config.components import Component
from pipeline.config.errors import PipelineError
from pipeline.config.fingerprints import fingerprint
from pipeline.engine.beginning import beginning, mean_loss
from pipeline.engine.best import BestEpochs
from pipeline.engine.code import code_fingerprint
from pipeline.engine.compiling import WORTH_COMPILING, is_to_be_compiled
from pipeline.engine.functions import functions_of
from pipeline.engine.optimizers import STACKED, Averaged, StackedOptimizer, in_common
from pipeline.engine.parts import statistics_of
from pipeline.engine.program import Epochs, Program, Runs, Trained
from pipeline.engine.rates import Rates
from pipeline.engine.stackable import beside, by_optimizer, obstacle
from pipeline.engine.tensors import TensorProgram
from pipeline.problems.dropout import drawn
from pipeline.problems.problem import Problem
from pipeline.problems.run import Block, Outcome, Run, Training
from pipeline.schedulers.registry import Monitor, schedulers

BLOCK = 10
"""Epochs per block while no live schedule is in the stack."""
RATES_AT_ONCE = 8_000_000
"""Rates in a block, (steps, runs) in all, which bounds its memory."""
RUNS_AT_ONCE = 64
"""Runs whose outputs for all samples are in memory at once, for metrics that need them."""

Replicate = tuple[int, str]
Make = Callable[[Runs], Program]


class StackError(PipelineError):
    """Runs that cannot be trained as one stack."""


class WayError(StackError):
    """Runs cannot be trained in that way, which turned out before their first block; says why."""


def epochs_at_once(problem: Problem, runs: Sequence[Run]) -> int:
    """Epochs in a block: one where a live schedule needs its loss, the metric all samples, or a best epoch its weights."""
    if any(schedulers[run.schedule.name].live or run.at == "best" for run in runs) or problem.metric.per_sample is None:
        return 1
    return max(1, min(BLOCK, RATES_AT_ONCE // (len(runs) * problem.budget().steps_per_epoch)))


class Stack:
    """Runs in training: their rates and data orders on the host, their state in a program."""

    def __init__(
        self, problem: Problem, runs: Sequence[Run], device: torch.device, dtype: torch.dtype, make: Make | None
    ) -> None:
        self._problem, self._count, self._dtype = problem, len(runs), dtype
        self.rates = Rates(problem, runs)
        replicates: list[Replicate] = list(dict.fromkeys((run.seed, run.stream) for run in runs))
        self._orders = [problem.new_order(seed, of) for seed, of in replicates]
        self._samples = problem.data.samples([seed for seed, _ in replicates])
        self._replicate = np.array([replicates.index((run.seed, run.stream)) for run in runs])
        component = problem.optimizer_of(runs[0].schedule)
        self._optimizer = self._optimizer_of(component, runs)
        self._runs = stacked = self._stacked(replicates, component, device, dtype)
        self.initial_loss, self.noise = self._beginnings(replicates, device, dtype)
        self._draws = [problem.new_draws(run) for run in runs] if stacked.functions.drawn else []
        self.program = make(stacked) if make else self._of_tensors(stacked, len(runs) * runs[0].epochs)
        self._here: npt.NDArray[np.int64] = np.arange(len(runs))
        self._left: dict[str, Tensor] = {}
        self.finite = np.ones(len(runs), dtype=bool)
        """Whose losses all were finite so far, (runs,)."""

    def _of_tensors(self, runs: Runs, run_epochs: int) -> TensorProgram:
        """What is compiled on the CPU is not tensors; those stand in for it where there is no compiler, or it refuses."""
        run_steps = run_epochs * self._problem.budget().steps_per_epoch
        pays = runs.x.device.type != "cpu" and is_to_be_compiled(self._problem, WORTH_COMPILING)
        return TensorProgram(runs, run_steps, is_compiled=pays)

    def _optimizer_of(self, component: Component, runs: Sequence[Run]) -> StackedOptimizer:
        """The optimizer of all runs; none of them or all are evaluated at a mean of their weights."""
        optimizer = STACKED[component.name](component.args, len(runs), has_momentum=self.rates.have_momentum)
        averages = [run.schedule.average for run in runs if run.schedule.average]
        return Averaged(optimizer, averages, self._problem.budget(runs[0].epochs)) if averages else optimizer

    def _stacked(self, replicates: Sequence[Replicate], component: Component, device: torch.device, dtype: torch.dtype) -> Runs:
        problem = self._problem
        models = [problem.new_model(seed, of).to(device, dtype) for seed, of in replicates]
        self._metric, self._loss = problem.metric, problem.loss
        functions = functions_of(problem, models[0], self._optimizer)
        of_run = torch.from_numpy(self._replicate).to(device)
        kinds = self._optimizer.kinds + functions.drawn
        params = problem.params.model_dump(include={"model", "batch_size", "loss", "metric", "clip"})
        optimizer = [in_common(component), self._optimizer.starts]
        targets = [problem.data.classes, problem.data.targets, problem.data.task, self._loss.weighted, self._metric.in_units]
        shapes = [problem.sources, str(dtype), problem.data.inputs, targets, kinds]
        return Runs(
            functions,
            x=on_device(self._samples.x, device, dtype),
            y=on_device(self._samples.y, device, dtype),
            parts={part: torch.from_numpy(rows).to(device) for part, rows in self._samples.parts.items()},
            of_run=of_run,
            state=functions.initial([values[of_run] for values in functions.stacked(models)]),
            batch_size=problem.params.batch_size,
            kinds=kinds,
            key=fingerprint(code_fingerprint(), params, optimizer, shapes, _described(models[0]), beside(models[0])),
        )

    def _beginnings(self, replicates: Sequence[Replicate], device: torch.device, dtype: torch.dtype) -> tuple[Floats, Floats]:
        """Where each run begins, and how far a batch's loss strays there, (runs,) each; replicate by replicate."""
        problem, train, found = self._problem, self._runs.parts["train"], []
        for number, (seed, of) in enumerate(replicates):
            model, rows = problem.new_model(seed, of).to(device, dtype), train[number]
            found.append(beginning(model, self._loss, self._runs.x[rows], self._runs.y[rows], self._runs.batch_size))
        losses, noises = (np.array([getattr(own, name) for own in found]) for name in ("loss", "noise"))
        return losses[self._replicate], noises[self._replicate]

    def train_block(self, epochs: range, evaluated: Set[int]) -> Block:
        """Consecutive epochs, validated after those in ``evaluated``, and after all of them where a schedule watches that."""
        lr, momentum = self.rates.epochs(epochs)
        is_asked = np.logical_or([[epoch in evaluated] for epoch in epochs], self.rates.watch_validation[self._here])
        is_evaluated: npt.NDArray[np.bool_] = np.asarray(is_asked.any(axis=1))
        ahead = Epochs(*self._batches(len(epochs)), self._numbers(lr, momentum), is_evaluated)
        trained = self.program.train(ahead)
        curves = self._curves(trained, self._measured(trained, is_evaluated), is_asked)
        self.rates.feed(dict(zip(get_args(Monitor), (figures[-1] for figures in curves), strict=True)))
        firsts = slice(None, None, len(ahead.sizes))
        return Block(epochs[0], lr[firsts], momentum[firsts], *curves)

    def _numbers(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """What the step of a program needs of each run that is here, (steps, kinds, runs)."""
        numbers = self._optimizer.coefficients(lr, momentum)
        if len(self._here) < self._count:
            numbers = numbers[:, :, self._here]
        if not self._draws:
            return numbers
        draws = np.stack([drawn(self._draws[run], len(lr)) for run in self._here], axis=2)
        return np.concatenate([numbers, draws], axis=1)

    def _curves(self, trained: Trained, measured: tuple[Floats, Floats], is_asked: npt.NDArray[np.bool_]) -> list[Floats]:
        """Training loss, validation loss and metric of all runs, (epochs, runs) each.

        From the epoch after the first loss that is not finite on, there is nothing to tell of a run. Nor is there of what was
        not asked for of it, (epochs, runs here): that another run needed it must change nothing.
        """
        good = np.isfinite(trained.train_loss) & (np.isfinite(measured[0]) | ~is_asked)
        over = ~np.logical_and.accumulate(np.vstack([self.finite[self._here], good[:-1]]))
        columns = []
        for values, is_known in ((trained.train_loss, ~over), *((values, is_asked & ~over) for values in measured)):
            columns.append(np.full((len(values), self._count), np.nan))
            columns[-1][:, self._here] = np.where(is_known, values, np.nan)
        self.finite[self._here] &= good.all(axis=0)
        return columns

    def _batches(self, epochs: int) -> tuple[npt.NDArray[np.int32], Floats, Floats]:
        """The batches of the next epochs, each sample's weight in its batch's mean, and the batches' sizes; see ``Epochs``.

        The last batch is filled up with samples of weight 0, so that all steps have one shape.
        """
        train, size = self._samples.parts["train"], self._problem.params.batch_size
        samples = train.shape[1]
        steps = -(-samples // size)
        rows = np.empty((epochs, len(train), steps * size), dtype=np.int32)
        rows[:, :, samples:] = train[:, :1]
        for number, order in enumerate(self._orders):
            for epoch in range(epochs):
                rows[epoch, number, :samples] = train[number, torch.randperm(samples, generator=order).numpy()]
        real = (np.arange(steps * size) < samples).reshape(steps, size)
        sizes = real.sum(axis=1).astype(float)
        return rows.reshape(epochs, -1, steps, size), real / sizes[:, None], sizes

    def evaluate(self, part: str) -> tuple[Floats, Floats]:
        """Loss and metric on that part of every run that is still here, else or without a sample NaN; (runs,) each."""
        found = np.full((2, self._count), np.nan)
        if self._samples.parts[part].size:
            found[:, self._here] = self._finished(part, *self.program.evaluate(part))
        return found[0], found[1]

    def _measured(self, trained: Trained, is_evaluated: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Validation loss and metric of the runs that are here, (epochs, runs) each."""
        if self._metric.per_sample is None and not is_evaluated[-1]:
            return trained.validation_loss, np.full_like(trained.validation_loss, np.nan)
        return self._finished("validation", trained.validation_loss, trained.validation_metric)

    def _finished(self, part: str, loss: Floats, measured: Floats) -> tuple[Floats, Floats]:
        """Loss and metric from their means over the samples, the runs along the last axis; no metric without a finite loss."""
        rows = self._samples.parts[part]
        targets, replicate = self._samples.y[rows], self._replicate[self._here]
        counts = [self._loss.counts(torch.from_numpy(y), like=torch.zeros(0, dtype=torch.float64)) for y in targets]
        means = [each.mean().item() for each in counts if each is not None]
        if means:
            loss = loss / np.array(means)[replicate]
        power = self._metric.power
        scale = np.array([own.deviation for own in self._samples.scales])[replicate] ** power if power else 1.0
        if self._metric.per_sample is not None:
            of_replicate = [self._metric.finish(measured[..., replicate == i], y) for i, y in enumerate(targets)]
            measured = np.concatenate(of_replicate, axis=-1)[..., np.argsort(np.argsort(replicate, kind="stable"))]
        else:
            measured = np.broadcast_to(self._of_all_samples(part), loss.shape)
        return loss, np.where(np.isfinite(loss), measured * scale, np.nan)

    def _of_all_samples(self, part: str) -> Floats:
        """A metric that is no mean over samples, of the runs as they are now, (runs,)."""
        parameters = list(self.program.parameters().values())
        rows = torch.from_numpy(self._samples.parts[part])
        found = []
        at_once = max(1, RUNS_AT_ONCE // self._samples.y[0].size)
        for start in range(0, len(self._here), at_once):
            some = slice(start, start + at_once)
            mine = rows[torch.from_numpy(self._replicate[self._here[some]])].to(self._runs.x.device)
            with torch.no_grad():
                outputs = self._runs.functions.all_outputs([values[some] for values in parameters], self._runs.x[mine])
            targets = self._runs.y[mine]
            if self._metric.in_units:
                own = self._replicate[self._here[some]]
                told = [self._samples.in_units(*of_run) for of_run in zip(own, outputs, targets, strict=True)]
                outputs, targets = map(torch.stack, zip(*told, strict=True))
            found.append(self._metric.of_runs(outputs, targets))
        return np.concatenate(found)

    def leave(self) -> None:
        """Go on without the runs whose losses are not finite any more, where that pays."""
        going = self.finite[self._here]
        if 0 < np.count_nonzero(going) <= (1 - self.program.leaves_at) * len(going) and not going.all():
            self._left = self._parameters()
            self.program.keep(np.flatnonzero(going))
            self._here = self._here[going]

    def weights(self) -> dict[str, Tensor]:
        """What a run's ``state_dict`` holds, each (runs, …): what is its own, and the buffers that all runs have in common."""
        found, model = self._parameters(), self._runs.functions.model
        common = {name: value.expand(self._count, *value.shape) for name, value in model.state_dict().items()}
        own = {name: value.to(common[name].dtype) for name, value in _by_all_names(model, found).items() if name in common}
        return common | own

    def final_loss(self) -> Floats:
        """Each run's mean loss on its training part at the weights it has, of batches' statistics with those of all samples."""
        if not self._runs.functions.has_statistics:
            return self.evaluate("train")[0]
        model, train, weights = self._runs.functions.model, self._runs.parts["train"][self._runs.of_run], self.weights()
        found = np.full(self._count, np.nan)
        for run in np.flatnonzero(self.finite):
            model.load_state_dict({name: values[run] for name, values in weights.items()})
            found[run] = mean_loss(model, self._loss, self._runs.x[train[run]], self._runs.y[train[run]])
        return found

    def _parameters(self) -> dict[str, Tensor]:
        """The parameters and statistics of all runs by name, of those that have left as they were then."""
        here = self.program.parameters()
        if not self._left:
            return here
        index = torch.from_numpy(self._here)
        return {name: values.index_copy(0, index.to(values.device), here[name]) for name, values in self._left.items()}


def train(
    problem: Problem,
    runs: Sequence[Run],
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    search: bool = False,
    make: Make | None = None,
) -> Training:
    """Train all runs side by side; yields blocks of epochs as they are done and returns the outcome.

    In a ``search`` only what a choice needs is evaluated: the validation split after the last epoch (after each, for a schedule
    that watches it), the test split never; all else is NaN.
    ``make`` makes the program that does the arithmetic, of tensors if not given.

    Raises :class:`StackError` for runs or models that cannot be stacked,
    :class:`pipeline.schedulers.replay.ScheduleError` for a schedule that cannot be followed to the end.
    """
    epochs = _common_epochs(runs)
    _refuse_unstackable(problem, runs)
    at_once = epochs_at_once(problem, runs)
    stack, best = Stack(problem, runs, device, dtype, make), BestEpochs([run.at == "best" for run in runs])
    for first in range(1, epochs + 1, at_once):
        ahead = range(first, min(first + at_once, epochs + 1))
        block = stack.train_block(ahead, {epochs} if search else set(ahead))
        best.take(block.validation_loss[-1], partial(stack.evaluate, "test"), stack.weights)
        yield block
        stack.leave()
    nothing = np.full(len(runs), np.nan)
    last = (nothing, nothing) if search else stack.evaluate("test")
    tested, weights = best.instead_of(last, stack.weights())
    finite = stack.finite & np.isfinite(stack.initial_loss)
    final_loss, test_loss, test_metric = (np.where(finite, v, np.nan) for v in (stack.final_loss(), *tested))
    return Outcome(stack.initial_loss, stack.noise, final_loss, finite, test_loss, test_metric, weights)


def on_device(values: npt.NDArray[Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Whole numbers as they are, all others as ``dtype``."""
    is_whole = np.issubdtype(values.dtype, np.integer)
    return torch.tensor(values, device=device, dtype=torch.int64 if is_whole else dtype)


def _described(model: nn.Module) -> str:
    """The model's layers; of one that cannot be shown, its parameters."""
    try:
        return repr(model)
    except Exception:  # noqa: BLE001  # a model of the user's own may raise anything
        return str([(name, values.shape) for name, values in model.named_parameters()])


def _by_all_names(model: nn.Module, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters and statistics under each of their names: what two layers share has one in each."""
    first_name = {id(values): name for name, values in (*model.named_parameters(), *model.named_buffers())}
    every = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return {name: found[first] for name, values in every if (first := first_name[id(values)]) in found}


def _common_epochs(runs: Sequence[Run]) -> int:
    if not runs:
        raise StackError("there is no run to train")
    epochs = {run.epochs for run in runs}
    if len(epochs) != 1:
        raise StackError(f"a stack has one budget, these runs have {sorted(epochs)} epochs; train each budget by itself")
    return epochs.pop()


def _refuse_unstackable(problem: Problem, runs: Sequence[Run]) -> None:
    groups = by_optimizer(problem, runs)
    if len(groups) > 1:
        names = ", ".join(f"{each.name} averaged" if runs[places[0]].schedule.average else each.name for each, places in groups)
        raise StackError(f"a stack has one optimizer, these runs have {names}; train the runs of each by themselves")
    ((optimizer, _),) = groups
    if wrong := obstacle(problem, optimizer):
        raise StackError(
            f"problem {problem.name} cannot be stacked: {wrong}. Write `engine: auto`, and it is trained run by run"
        )
    if runs[0].schedule.average and statistics_of(problem.new_model(0, "final")):
        wrong = "with an `average`, running statistics are gathered anew for each evaluation"
        told = "training run by run, which is slower" if problem.params.engine == "auto" else "write `engine: auto`"
        raise WayError(f"problem {problem.name}: {told}: {wrong}")
