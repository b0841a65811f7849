"""Many runs of one problem as one tensor program.

The parameters of all runs are stacked along a leading axis; runs of one replicate (seed and stream) share their batches,
initial weights and data order. A run can reach no other: every operation treats the runs axis elementwise or as the batch
of a batched matrix product.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, stack_module_state, vmap
from torch.nn.functional import cross_entropy

from pipeline.engine.compiling import compiled
from pipeline.engine.optimizers import STACKED, State
from pipeline.engine.rates import Rates
from pipeline.errors import PipelineError
from pipeline.problems.problem import Problem
from pipeline.runs import Block, Floats, Outcome, Run, Training
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Trace

BLOCK = 10
"""Epochs per block while no live schedule is in the stack."""
EVALUATED_AT_ONCE = 512
"""Samples per evaluation pass, which bounds its memory."""


Parameters = dict[str, Tensor]
States = dict[str, State]
Update = Callable[[Tensor, Tensor, State, Tensor], tuple[Tensor, State]]


class StackError(PipelineError):
    """Runs that cannot be trained as one stack."""


@dataclass(frozen=True)
class Whole:
    """What all shards of a training have in common, so that no result depends on how it was cut.

    ``runs`` in all shards decide about compiling; ``block`` is the number of epochs in a block. ``traces`` that one shard
    has made serve the others in its process.
    """

    runs: int
    block: int
    traces: dict[str, Trace] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Whole":
        """The whole of ``runs``: blocks of one epoch where a live schedule among them needs its loss."""
        alive = any(schedulers[run.schedule.name].live for run in runs)
        return cls(len(runs), 1 if alive else BLOCK)


class Stack:
    """The state of the runs: parameters (runs, ...) and optimizer state on the device, data and orders per replicate."""

    def __init__(self, problem: Problem, runs: Sequence[Run], device: torch.device, dtype: torch.dtype, whole: Whole) -> None:
        self._problem, self._device, self._dtype = problem, device, dtype
        x, y = torch.tensor(problem.x, device=device, dtype=dtype), torch.tensor(problem.y, device=device)
        replicates = list(dict.fromkeys((run.seed, run.stream) for run in runs))
        of_run = torch.tensor([replicates.index((run.seed, run.stream)) for run in runs], device=device)
        self._data = (x, y, of_run)
        splits = [problem.split(seed) for seed, _ in replicates]
        self.train, self.validation, self.test = (
            torch.from_numpy(np.stack([getattr(split, part) for split in splits])).to(device)
            for part in ("train", "validation", "test")
        )
        self._orders = [problem.new_order(seed, of) for seed, of in replicates]
        models = [problem.new_model(seed, of).to(device, dtype) for seed, of in replicates]
        self._model = models[0]
        _refuse_unstackable(problem, self._model)
        initial, _ = stack_module_state(models)
        self.parameters = {name: values.detach()[of_run] for name, values in initial.items()}
        self._start_optimizer(Rates(problem, runs, whole.traces), runs, whole.runs)

    def _start_optimizer(self, rates: Rates, runs: Sequence[Run], in_all: int) -> None:
        component = self._problem.params.optimizer
        self.rates = rates
        self._optimizer = STACKED[component.name](component.args, len(runs), has_momentum=rates.have_momentum)
        self._state: dict[str, State] = {
            name: tuple(torch.full_like(values, start) for start in self._optimizer.starts)
            for name, values in self.parameters.items()
        }
        budget = self._problem.budget(runs[0].epochs)
        step = _step_of(self._model, self._optimizer.update)
        self._step = compiled(step, in_all * budget.epochs * budget.steps_per_epoch)

    def train_block(self, epochs: range, evaluated: Set[int]) -> tuple[Block, npt.NDArray[np.bool_]]:
        """Consecutive epochs, validated after those in ``evaluated``; and which runs' losses all were finite, (runs,)."""
        nothing = np.full(len(self._data[2]), np.nan)
        rows, losses = [], []
        finite = np.ones(len(nothing), dtype=bool)
        for epoch in epochs:
            lr, momentum = self.rates.epoch(epoch)
            losses.append(self.train_epoch(lr, momentum))
            validation = self.evaluate(self.validation) if epoch in evaluated else (nothing, nothing)
            finite &= np.isfinite(validation[0]) | (epoch not in evaluated)
            rows.append((lr[0], momentum[0], *validation))
        host = _to_host(torch.stack(losses))
        finite &= np.isfinite(host).all(axis=(0, 1))
        train_loss = np.average(host, axis=1, weights=self._batch_sizes)
        self.rates.feed(train_loss[-1])
        lrs, momenta, validation_loss, accuracy = (np.stack(column) for column in zip(*rows, strict=True))
        return Block(epochs[0], lrs, momenta, train_loss, validation_loss, accuracy), finite

    @property
    def _batch_sizes(self) -> list[int]:
        size, samples = self._problem.params.batch_size, self.train.shape[1]
        return [min(size, samples - start) for start in range(0, samples, size)]

    def train_epoch(self, lr: Floats, momentum: Floats) -> Tensor:
        """One epoch at the given rates, (steps, runs) each; returns each batch's mean loss, (steps, runs), on the device."""
        numbers = self._to_device(self._optimizer.coefficients(lr, momentum))
        batches, weights = self._batches()
        losses = []
        for step in zip(numbers, batches, weights, strict=True):
            self.parameters, self._state, loss = self._step(self.parameters, self._state, *step, *self._data)
            losses.append(loss)
        return torch.stack(losses)

    def _batches(self) -> tuple[Tensor, Tensor]:
        """The epoch's batches: rows of the data (steps, replicates, batch), and each sample's weight in its batch's mean.

        The last batch is filled up with samples of weight 0, so that all steps have one shape.
        """
        size, samples = self._problem.params.batch_size, self.train.shape[1]
        orders = torch.stack([torch.randperm(samples, generator=order) for order in self._orders])
        steps = -(-samples // size)
        filled = nn.functional.pad(orders, (0, steps * size - samples)).to(self._device)
        rows = self.train.gather(1, filled).reshape(-1, steps, size).transpose(0, 1)
        real = (torch.arange(steps * size) < samples).reshape(steps, size)
        weights = real.to(self._dtype) / real.sum(dim=1, keepdim=True)
        return rows, weights.to(self._device)

    @torch.no_grad()
    def evaluate(self, rows: Tensor) -> tuple[Floats, Floats]:
        """Mean loss and accuracy of every run on ``rows``, (replicates, samples), of its replicate; each (runs,)."""
        data, labels, of_run = self._data
        losses = correct = torch.zeros(len(of_run), device=self._device, dtype=self._dtype)
        for part in rows.split(EVALUATED_AT_ONCE, dim=1):  # type: ignore[no-untyped-call]
            x, y = data[part][of_run], labels[part][of_run]
            logits = vmap(lambda parameters, x: functional_call(self._model, parameters, (x,)))(self.parameters, x)
            losses = losses + cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape).sum(dim=1)
            correct = correct + (logits.argmax(dim=2) == y).sum(dim=1)
        return _to_host(losses) / rows.shape[1], _to_host(correct) / rows.shape[1]

    def _to_device(self, values: npt.NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(values).to(dtype=self._dtype).to(self._device)


def train(
    problem: Problem,
    runs: Sequence[Run],
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    search: bool = False,
    whole: Whole | None = None,
) -> Training:
    """Train all runs side by side; yields blocks of epochs as they are done and returns the outcome.

    In a ``search`` only what a choice needs is evaluated: the validation split after the last epoch, the test split never;
    all else is NaN. ``whole`` is what the runs are a shard of, where they are one.

    Raises :class:`StackError` for runs or models that cannot be stacked,
    :class:`pipeline.schedulers.replay.ScheduleError` for a schedule that cannot be followed to the end.
    """
    epochs = _common_epochs(runs)
    whole = whole or Whole.of(runs)
    stack = Stack(problem, runs, device, dtype, whole)
    initial_loss, _ = stack.evaluate(stack.train)
    finite = np.isfinite(initial_loss)
    for first in range(1, epochs + 1, whole.block):
        ahead = range(first, min(first + whole.block, epochs + 1))
        block, is_finite = stack.train_block(ahead, {epochs} if search else set(ahead))
        finite &= is_finite
        yield block
    nothing = np.full(len(runs), np.nan)
    test_loss, test_accuracy = (nothing, nothing) if search else stack.evaluate(stack.test)
    return Outcome(initial_loss, finite, test_loss, test_accuracy, stack.parameters)


def _step_of(model: nn.Module, update: Update) -> Callable[..., tuple[Parameters, States, Tensor]]:
    """One optimizer step of every run, as a pure function of the stack's state, the step's batch and the data."""

    def mean_loss(parameters: Parameters, x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
        logits = functional_call(model, parameters, (x,))
        return (weights * cross_entropy(logits, y, reduction="none")).sum()

    gradients_and_losses = vmap(grad_and_value(mean_loss), in_dims=(0, 0, 0, None))

    def step(
        parameters: Parameters,
        states: States,
        numbers: Tensor,
        rows: Tensor,
        weights: Tensor,
        x: Tensor,
        y: Tensor,
        of_run: Tensor,
    ) -> tuple[Parameters, States, Tensor]:
        batch = rows[of_run]
        gradients, losses = gradients_and_losses(parameters, x[batch], y[batch], weights)
        updated = {name: update(values, gradients[name], states[name], numbers) for name, values in parameters.items()}
        return {name: u[0] for name, u in updated.items()}, {name: u[1] for name, u in updated.items()}, losses

    return step


def _common_epochs(runs: Sequence[Run]) -> int:
    if not runs:
        raise StackError("there is no run to train")
    epochs = {run.epochs for run in runs}
    if len(epochs) != 1:
        raise StackError(f"a stack has one budget, these runs have {sorted(epochs)} epochs; train each budget by itself")
    return epochs.pop()


def _refuse_unstackable(problem: Problem, model: nn.Module) -> None:
    name = problem.params.model.name
    if buffers := [name for name, _ in model.named_buffers()]:
        raise StackError(
            f"the model {name!r} keeps {', '.join(buffers)} beside its parameters and cannot be stacked; "
            "use a layer without running statistics, such as GroupNorm instead of BatchNorm"
        )
    if any("Dropout" in type(module).__name__ for module in model.modules()):
        raise StackError(f"the model {name!r} has dropout and cannot be stacked yet; leave it out, or use weight_decay")


def _to_host(values: Tensor) -> Floats:
    return values.detach().cpu().double().numpy()
