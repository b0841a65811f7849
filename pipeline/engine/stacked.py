"""Many runs of one problem side by side, block of epochs by block of epochs.

The state of all runs is stacked along a leading axis; runs of one replicate (seed and stream) share their batches, initial
weights and data order. A run can reach no other. A *program* does the arithmetic: tensors on any device, or compiled code.
"""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import stack_module_state

from pipeline.engine.functions import Functions
from pipeline.engine.optimizers import STACKED, StackedOptimizer
from pipeline.engine.program import Epochs, Program, Runs, Trained
from pipeline.engine.rates import Rates
from pipeline.engine.tensors import TensorProgram
from pipeline.errors import PipelineError
from pipeline.problems.problem import Problem
from pipeline.runs import Block, Floats, Outcome, Run, Training, code_fingerprint, fingerprint
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Trace

BLOCK = 10
"""Epochs per block while no live schedule is in the stack."""
PARTS = ("train", "validation", "test")

Replicate = tuple[int, str]
Make = Callable[[Runs], Program]


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
    """Runs in training: their rates and data orders on the host, their state in a program."""

    def __init__(
        self, problem: Problem, runs: Sequence[Run], device: torch.device, dtype: torch.dtype, whole: Whole, make: Make | None
    ) -> None:
        self._problem, self._count, self._dtype = problem, len(runs), dtype
        self.rates = Rates(problem, runs, whole.traces)
        replicates: list[Replicate] = list(dict.fromkeys((run.seed, run.stream) for run in runs))
        self._orders = [problem.new_order(seed, of) for seed, of in replicates]  # type: ignore[arg-type]
        self._rows = _parts(problem, replicates)
        self._optimizer = self._new_optimizer(len(runs))
        of_run = torch.tensor([replicates.index((run.seed, run.stream)) for run in runs])
        stacked = self._stacked(replicates, of_run, device, dtype)
        budget = problem.budget(runs[0].epochs)
        self.program = make(stacked) if make else TensorProgram(stacked, whole.runs * budget.epochs * budget.steps_per_epoch)
        self._here: npt.NDArray[np.int64] = np.arange(len(runs))
        self._left: dict[str, Tensor] = {}
        self.finite = np.ones(len(runs), dtype=bool)
        """Whose losses all were finite so far, (runs,)."""

    def _new_optimizer(self, runs: int) -> StackedOptimizer:
        component = self._problem.params.optimizer
        return STACKED[component.name](component.args, runs, has_momentum=self.rates.have_momentum)

    def _stacked(self, replicates: Sequence[Replicate], of_run: Tensor, device: torch.device, dtype: torch.dtype) -> Runs:
        problem = self._problem
        models = [problem.new_model(seed, of).to(device, dtype) for seed, of in replicates]  # type: ignore[arg-type]
        _refuse_unstackable(problem, models[0])
        functions = Functions(models[0], self._optimizer)
        initial, _ = stack_module_state(models)
        kinds = self._new_optimizer(1).coefficients(np.ones((1, 1)), np.zeros((1, 1))).shape[1]
        params = problem.params.model_dump(include={"model", "optimizer", "batch_size"})
        shapes = [str(dtype), problem.x.shape[1:], problem.outputs, kinds, self._optimizer.starts]
        return Runs(
            functions,
            x=torch.tensor(problem.x, device=device, dtype=dtype),
            y=torch.tensor(problem.y, device=device),
            parts={part: rows.to(device) for part, rows in self._rows.items()},
            of_run=of_run.to(device),
            state=functions.initial([initial[name].detach()[of_run.to(device)] for name in functions.names]),
            batch_size=problem.params.batch_size,
            kinds=kinds,
            key=fingerprint(code_fingerprint(), params, shapes),
        )

    def train_block(self, epochs: range, evaluated: Set[int]) -> Block:
        """Consecutive epochs, validated after those in ``evaluated``."""
        rates = [self.rates.epoch(epoch) for epoch in epochs]
        lr, momentum = (np.concatenate(column) for column in zip(*rates, strict=True))
        numbers = self._optimizer.coefficients(lr, momentum)[:, :, self._here]
        is_evaluated = np.array([epoch in evaluated for epoch in epochs])
        rows, weights = self._batches(len(epochs))
        trained = self.program.train(Epochs(rows, weights, numbers, is_evaluated))
        curves = self._curves(trained, is_evaluated)
        self.rates.feed(curves[0][-1])
        firsts = slice(None, None, rows.shape[1])
        return Block(epochs[0], lr[firsts], momentum[firsts], *curves)

    def _curves(self, trained: Trained, is_evaluated: npt.NDArray[np.bool_]) -> list[Floats]:
        """Training loss, validation loss and accuracy of all runs, (epochs, runs) each.

        From the epoch after the first loss that is not finite on, there is nothing to tell of a run.
        """
        good = np.isfinite(trained.losses).all(axis=1) & (np.isfinite(trained.validation_loss) | ~is_evaluated[:, None])
        over = ~np.logical_and.accumulate(np.vstack([self.finite[self._here], good[:-1]]))
        with np.errstate(over="ignore", invalid="ignore"):
            train_loss = np.average(trained.losses, axis=1, weights=self._batch_sizes)
        columns = []
        for values in (train_loss, trained.validation_loss, trained.validation_accuracy):
            columns.append(np.full((len(values), self._count), np.nan))
            columns[-1][:, self._here] = np.where(over, np.nan, values)
        self.finite[self._here] &= good.all(axis=0)
        return columns

    @property
    def _batch_sizes(self) -> list[int]:
        size, samples = self._problem.params.batch_size, self._rows["train"].shape[1]
        return [min(size, samples - start) for start in range(0, samples, size)]

    def _batches(self, epochs: int) -> tuple[Tensor, Tensor]:
        """The batches of the next epochs, (epochs, steps, replicates, batch), and each sample's weight in its batch's mean.

        The last batch is filled up with samples of weight 0, so that all steps have one shape.
        """
        size, samples = self._problem.params.batch_size, self._rows["train"].shape[1]
        steps = -(-samples // size)
        filled = torch.zeros(epochs, len(self._orders), steps * size, dtype=torch.int64)
        for epoch in range(epochs):
            for number, order in enumerate(self._orders):
                filled[epoch, number, :samples] = torch.randperm(samples, generator=order)
        train = self._rows["train"].expand(epochs, -1, -1)
        rows = train.gather(2, filled).reshape(epochs, -1, steps, size).transpose(1, 2)
        real = (torch.arange(steps * size) < samples).reshape(steps, size)
        return rows, real.to(self._dtype) / real.sum(dim=1, keepdim=True)

    def evaluate(self, part: str) -> tuple[Floats, Floats]:
        """Mean loss and accuracy on that part of every run that is still here, else NaN; (runs,) each."""
        found = np.full((2, self._count), np.nan)
        found[:, self._here] = self.program.evaluate(part)
        return found[0], found[1]

    def leave(self) -> None:
        """Go on without the runs whose losses are not finite any more, where that pays."""
        going = self.finite[self._here]
        if 0 < np.count_nonzero(going) <= (1 - self.program.leaves_at) * len(going) and not going.all():
            self._left = self.parameters()
            self.program.keep(np.flatnonzero(going))
            self._here = self._here[going]

    def parameters(self) -> dict[str, Tensor]:
        """The parameters of all runs by name, of those that have left as they were then."""
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
    whole: Whole | None = None,
    make: Make | None = None,
) -> Training:
    """Train all runs side by side; yields blocks of epochs as they are done and returns the outcome.

    In a ``search`` only what a choice needs is evaluated: the validation split after the last epoch, the test split never;
    all else is NaN. ``whole`` is what the runs are a shard of, where they are one. ``make`` makes the program that does the
    arithmetic, of tensors if not given.

    Raises :class:`StackError` for runs or models that cannot be stacked,
    :class:`pipeline.schedulers.replay.ScheduleError` for a schedule that cannot be followed to the end.
    """
    epochs = _common_epochs(runs)
    whole = whole or Whole.of(runs)
    stack = Stack(problem, runs, device, dtype, whole, make)
    initial_loss, _ = stack.evaluate("train")
    for first in range(1, epochs + 1, whole.block):
        ahead = range(first, min(first + whole.block, epochs + 1))
        yield stack.train_block(ahead, {epochs} if search else set(ahead))
        stack.leave()
    nothing = np.full(len(runs), np.nan)
    tested = (nothing, nothing) if search else stack.evaluate("test")
    finite = stack.finite & np.isfinite(initial_loss)
    test_loss, test_accuracy = (np.where(finite, values, np.nan) for values in tested)
    return Outcome(initial_loss, finite, test_loss, test_accuracy, stack.parameters())


def _parts(problem: Problem, replicates: Sequence[Replicate]) -> dict[str, Tensor]:
    """The rows of each part, (replicates, samples in the part)."""
    splits = [problem.split(seed) for seed, _ in replicates]
    return {part: torch.from_numpy(np.stack([getattr(split, part) for split in splits])) for part in PARTS}


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
