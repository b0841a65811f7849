"""Stacked updates: one optimizer step for many runs at once, each with its own learning rate and momentum.

An update is split in two. ``coefficients`` turns the rates and momenta of an epoch into the few numbers per step and run
that the update needs, in float64 on the host; ``update`` is then plain arithmetic on tensors, without a branch on any
run's state, so that it fits one compiled graph and a run can never touch its neighbour.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pipeline.runs import Floats

State = tuple[Tensor, ...]


class StackedOptimizer(Protocol):
    """The stacked form of a ``torch.optim`` class."""

    slots: int
    """How many tensors of a parameter's shape the optimizer keeps for each parameter."""

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Numbers for ``update`` of shape (steps, kinds, runs), from (steps, runs) each; called once per epoch, in order."""
        ...

    def update(self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor) -> tuple[Tensor, State]:
        """The new parameter and state, each (runs, ...), given ``numbers`` of one step, (kinds, runs)."""
        ...


def _per_run(numbers: Tensor, like: Tensor) -> tuple[Tensor, ...]:
    """Each kind of number, shaped to multiply a stacked parameter run by run."""
    return numbers.reshape(*numbers.shape, *[1] * (like.dim() - 1)).unbind()


class StackedSGD:
    """``torch.optim.SGD`` with rate and momentum per run.

    torch keeps no buffer while momentum is 0, copies the first gradient undampened when it first is not, and leaves the
    buffer alone whenever a scheduler sets momentum to 0 again. All of it is linear in buffer and gradient:
    ``buffer = keep * buffer + add * gradient``, ``step = follow * buffer + direct * gradient``.
    """

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._dampening = arguments["dampening"]
        self._weight_decay = arguments["weight_decay"]
        self._nesterov = arguments["nesterov"]
        self._has_buffer = np.zeros(runs, dtype=bool)
        self.slots = int(has_momentum)

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: rate, keep, add, follow, direct; the rate alone where no run ever has momentum."""
        if not self.slots:
            return lr[:, None]
        on = momentum != 0
        filled = np.logical_or.accumulate(np.vstack([self._has_buffer, on]))
        self._has_buffer, before = filled[-1], filled[:-1]
        keep = np.where(on, np.where(before, momentum, 0.0), 1.0)
        add = np.where(on, np.where(before, 1 - self._dampening, 1.0), 0.0)
        follow = np.where(on, momentum if self._nesterov else 1.0, 0.0)
        direct = np.where(on, 1.0 if self._nesterov else 0.0, 1.0)
        return np.stack([lr, keep, add, follow, direct], axis=1)

    def update(self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor) -> tuple[Tensor, State]:
        """One step; see the class for the arithmetic."""
        lr, *rest = _per_run(numbers, parameter)
        if self._weight_decay:
            gradient = gradient + self._weight_decay * parameter
        if not self.slots:
            return parameter - lr * gradient, ()
        keep, add, follow, direct = rest
        buffer = keep * state[0] + add * gradient
        return parameter - lr * (follow * buffer + direct * gradient), (buffer,)


class StackedAdamW:
    """``torch.optim.AdamW`` (Loshchilov and Hutter, 2019) with rate and beta1 per run."""

    slots = 2

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._beta2 = float(arguments["betas"][1])
        self._eps = arguments["eps"]
        self._weight_decay = arguments["weight_decay"]
        self._steps = 0

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: decay of the weights, 1 - beta1, rate over its bias correction, root of the second bias correction."""
        step = self._steps + np.arange(1, len(lr) + 1)[:, None]
        self._steps += len(lr)
        rate = lr / (1 - momentum**step)
        root = np.sqrt(1 - self._beta2**step) + np.zeros_like(lr)
        return np.stack([1 - lr * self._weight_decay, 1 - momentum, rate, root], axis=1)

    def update(self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor) -> tuple[Tensor, State]:
        """One step, in torch's order of operations."""
        decay, fresh, rate, root = _per_run(numbers, parameter)
        mean = state[0] + fresh * (gradient - state[0])
        square = self._beta2 * state[1] + (1 - self._beta2) * gradient * gradient
        return parameter * decay - rate * mean / (square.sqrt() / root + self._eps), (mean, square)


STACKED: Mapping[str, Callable[..., StackedOptimizer]] = {"SGD": StackedSGD, "AdamW": StackedAdamW}
"""Registered optimizer → its stacked form."""
