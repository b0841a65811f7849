"""Runs in training as stacked tensors, on any device: ``torch.func.vmap`` over the functions of one run."""

from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.func import vmap

from pipeline.config.arrays import Floats
from pipeline.engine.compiling import prepared
from pipeline.engine.functions import Functions, State
from pipeline.engine.program import Epochs, Runs, Trained

# What vmap knows no rule for, it does for one run after the other, and advises to ask torch's authors for a rule.
torch._C._functorch._set_vmap_fallback_warning_enabled(False)  # type: ignore[attr-defined]

EVALUATED_AT_ONCE = 512
"""Samples per evaluation pass, which bounds its memory."""


class TensorProgram:
    """A program of tensor operations; every operation treats the runs axis elementwise or as a batch of matrices.

    ``run_steps`` of the whole training decide whether its step is traced.
    """

    leaves_at = 0.5  # a step of another shape is traced anew

    def __init__(self, runs: Runs, run_steps: int, *, is_compiled: bool = False) -> None:
        self._runs, self._of_run, self._state = runs, runs.of_run, runs.state
        self._new_step = partial(prepared, _step_of(runs.functions), run_steps, is_compiled=is_compiled)
        self._step = self._new_step()

    @torch.no_grad()
    def train(self, epochs: Epochs) -> Trained:
        """Train all runs through the epochs; losses stay on the device until the last of them."""
        device, dtype = self._state[0].device, self._state[0].dtype
        weights = torch.from_numpy(epochs.weights).to(dtype).to(device)
        rows = torch.from_numpy(epochs.rows).to(device, torch.int64)
        numbers = torch.from_numpy(epochs.numbers).to(dtype).to(device)
        nothing = np.full(len(self._of_run), np.nan)
        losses, evaluations = [], []
        for epoch, (of_epoch, is_evaluated) in enumerate(zip(rows, epochs.is_evaluated, strict=True)):
            for step, of_step in enumerate(of_epoch.unbind(1)):
                number = epoch * len(weights) + step
                *self._state, loss = self._step(
                    self._state, numbers[number], of_step, weights[step], self._runs.x, self._runs.y, self._of_run
                )
                losses.append(loss)
            evaluations.append(self.evaluate("validation") if is_evaluated else (nothing, nothing))
        loss, measured = (np.stack(column) for column in zip(*evaluations, strict=True))
        of_batches = _to_host(torch.stack(losses)).reshape(len(rows), -1, len(nothing))
        with np.errstate(over="ignore", invalid="ignore"):
            train_loss: Floats = np.average(of_batches, axis=1, weights=epochs.sizes)
        return Trained(train_loss, loss, measured)

    @torch.no_grad()
    def evaluate(self, part: str) -> tuple[Floats, Floats]:
        """Means of loss and metric over the samples of that part, each (runs,)."""
        rows = self._runs.parts[part]
        evaluation = vmap(self._runs.functions.evaluation, in_dims=(0, 0, 0, None))
        sums: list[Tensor] | None = None
        at_once = rows.shape[1] if self._runs.functions.evaluates_together else EVALUATED_AT_ONCE
        for some in rows.split(at_once, dim=1):  # type: ignore[no-untyped-call]
            mine = some[self._of_run]
            ones = torch.ones(some.shape[1], device=some.device, dtype=self._state[0].dtype)
            found = evaluation(self._state, self._runs.x[mine], self._runs.y[mine], ones)
            sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else list(found)
        assert sums is not None  # no part is empty
        loss, measured = (_to_host(values) / rows.shape[1] for values in sums)
        return loss, measured

    def parameters(self) -> dict[str, Tensor]:
        """The runs' parameters and statistics by name."""
        return self._runs.functions.named(self._runs.functions.evaluated(self._state))

    def keep(self, runs: npt.NDArray[np.int64]) -> None:
        """Go on with these runs alone."""
        index = torch.from_numpy(runs).to(self._of_run.device)
        self._of_run, self._state = self._of_run[index], [values[index] for values in self._state]
        self._step = self._new_step()


def _step_of(functions: Functions):  # type: ignore[no-untyped-def]
    """One optimizer step of every run, as a pure function of the stack's state, the step's batch and the data."""
    stacked = vmap(functions.step, in_dims=(0, 1, 0, 0, None))

    def step(
        state: State, numbers: Tensor, rows: Tensor, weights: Tensor, x: Tensor, y: Tensor, of_run: Tensor
    ) -> tuple[Tensor, ...]:
        batch = rows[of_run]
        result: tuple[Tensor, ...] = stacked(state, numbers, x[batch], y[batch], weights)
        return result

    return step


def _to_host(values: Tensor) -> Floats:
    return values.detach().cpu().double().numpy()
