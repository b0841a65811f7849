"""Stacked updates: one optimizer step for many runs at once, each with its own learning rate and momentum.

An update is split in two. ``coefficients`` turns the rates and momenta of all runs into the few numbers per step and run
that the update needs, in float64 on the host; ``update`` is then plain arithmetic on one run's tensors, without a branch on
its state, which both programs run for many: a run can never touch its neighbour.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.arrays import Floats
from pipeline.config.components import Component
from pipeline.config.errors import PipelineError
from pipeline.config.fingerprints import as_json
from pipeline.config.schedules import Average
from pipeline.schedulers.replay import Budget

State = tuple[Tensor, ...]


class OptimizerError(PipelineError):
    """Rates or momenta at which the torch optimizer itself would raise."""


class StackedOptimizer(Protocol):
    """The stacked form of a ``torch.optim`` class."""

    @property
    def starts(self) -> tuple[float | None, ...]:
        """What the tensors that the optimizer keeps for each parameter, each of its shape, are filled with at first.

        None stands for the parameter itself.
        """
        ...

    @property
    def kinds(self) -> int:
        """How many numbers an update needs."""
        ...

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Numbers for ``update``, (steps, kinds, runs), from (steps, runs) each; called for consecutive steps, in order.

        Raises :class:`OptimizerError` where torch's optimizer would raise.
        """
        ...

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """A run's new parameter and state, given its ``numbers`` of the step, (kinds,).

        One that is not ``is_decayed`` is trained as with a weight decay of 0.
        """
        ...

    def evaluated(self, parameter: Tensor, state: State) -> Tensor:
        """The parameter to evaluate a run at."""
        ...


class _EvaluatedAsTrained:
    """Nearly all optimizers."""

    def evaluated(self, parameter: Tensor, state: State) -> Tensor:
        """The parameter itself."""
        return parameter


def _with_decay(gradient: Tensor, parameter: Tensor, weight_decay: float) -> Tensor:
    """The gradient with that of the L2 penalty on the weights."""
    return gradient + weight_decay * parameter if weight_decay else gradient


def _follow(step: Tensor, buffer: Tensor, numbers: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """What to subtract at rate 1, and the new buffer; ``numbers`` are keep, add, follow and direct of :class:`StackedSGD`."""
    keep, add, follow, direct = numbers
    buffer = keep * buffer + add * step
    return follow * buffer + direct * step, buffer


class _Count:
    """The numbers of an optimizer's steps, from 1, carried from epoch to epoch."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, steps: int) -> Floats:
        """Those of the next ``steps``, of shape (steps, 1)."""
        first, self._last = self._last + 1, self._last + steps
        return np.arange(first, self._last + 1, dtype=np.float64)[:, None]


class StackedSGD(_EvaluatedAsTrained):
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
        self.starts: tuple[float, ...] = (0.0,) * has_momentum
        self.kinds = 5 if has_momentum else 1

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: rate, keep, add, follow, direct; the rate alone where no run ever has momentum."""
        if not self.starts:
            return lr[:, None]
        on = momentum != 0
        filled = np.logical_or.accumulate(np.vstack([self._has_buffer, on]))
        self._has_buffer, before = filled[-1], filled[:-1]
        keep = np.where(on, np.where(before, momentum, 0.0), 1.0)
        add = np.where(on, np.where(before, 1 - self._dampening, 1.0), 0.0)
        follow = np.where(on, momentum if self._nesterov else 1.0, 0.0)
        direct = np.where(on, 1.0 if self._nesterov else 0.0, 1.0)
        return np.stack([lr, keep, add, follow, direct], axis=1)

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step; see the class for the arithmetic."""
        lr, *rest = numbers.unbind()
        gradient = _with_decay(gradient, parameter, self._weight_decay * is_decayed)
        if not state:
            return parameter - lr * gradient, ()
        step, buffer = _follow(gradient, state[0], rest)
        return parameter - lr * step, (buffer,)


class StackedAdamW(_EvaluatedAsTrained):
    """``torch.optim.AdamW`` (Loshchilov and Hutter, 2019; amsgrad: Reddi et al., 2018) with rate and beta1 per run."""

    kinds = 4

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._beta2 = float(arguments["betas"][1])
        self._eps = arguments["eps"]
        self._weight_decay = arguments["weight_decay"]
        self._amsgrad = arguments["amsgrad"]
        self._count = _Count()
        self.starts: tuple[float, ...] = (0.0,) * (2 + self._amsgrad)

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: decay of the weights, 1 - beta1, rate over its bias correction, root of the second bias correction."""
        step = self._count.next(len(lr))
        rate = lr / (1 - momentum**step)
        root = np.sqrt(1 - self._beta2**step) + np.zeros_like(lr)
        return np.stack([1 - lr * self._weight_decay, 1 - momentum, rate, root], axis=1)

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step, in torch's order of operations; with amsgrad the mean square counts at its highest so far."""
        decay, fresh, rate, root = numbers.unbind()
        mean = state[0] + fresh * (gradient - state[0])
        square = self._beta2 * state[1] + (1 - self._beta2) * gradient * gradient
        highest = (torch.maximum(state[2], square),) if self._amsgrad else ()
        scale = (*highest, square)[0].sqrt() / root + self._eps
        decayed = parameter * decay if is_decayed else parameter
        return decayed - rate * mean / scale, (mean, square, *highest)


class StackedAdam(StackedAdamW):
    """``torch.optim.Adam`` (Kingma and Ba, 2015) with rate and beta1 per run: the weights decay by their gradients.

    Where they decay apart from them it is AdamW.
    """

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        decay, decoupled = arguments["weight_decay"], arguments["decoupled_weight_decay"]
        super().__init__({**arguments, "weight_decay": decay if decoupled else 0.0}, runs, has_momentum=has_momentum)
        self._penalty = 0.0 if decoupled else decay

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step of AdamW, after the penalty."""
        gradient = _with_decay(gradient, parameter, self._penalty * is_decayed)
        return super().update(parameter, gradient, state, numbers, is_decayed=is_decayed)


class StackedNAdam(_EvaluatedAsTrained):
    """``torch.optim.NAdam`` (Dozat, 2016) with rate and beta1 per run.

    A step looks ahead along the mean of the gradients: it follows the gradient at rate ``(1 - mu) / (1 - product)`` and the
    mean at ``ahead / (1 - product * ahead)``. ``mu`` is beta1 warmed up, ``ahead`` that of the next step at the same beta1,
    ``product`` that of all ``mu`` so far, of every beta1 the run has had.
    """

    starts: tuple[float, ...] = (0.0, 0.0)
    kinds = 5

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._beta2 = float(arguments["betas"][1])
        self._eps = arguments["eps"]
        self._momentum_decay = arguments["momentum_decay"]
        decoupled = arguments["decoupled_weight_decay"]
        self._weight_decay = arguments["weight_decay"] if decoupled else 0.0
        self._penalty = 0.0 if decoupled else arguments["weight_decay"]
        self._count = _Count()
        self._product = np.ones(runs, dtype=np.float32)  # torch keeps it in single precision, whatever the parameter's

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: decay of the weights, 1 - beta1, rates of gradient and mean, second bias correction."""
        step = self._count.next(len(lr))
        mu, ahead = momentum * self._warmed_up(step), momentum * self._warmed_up(step + 1)
        products = np.multiply.accumulate(np.vstack([self._product, mu.astype(np.float32)]))
        self._product, product = products[-1], products[1:].astype(np.float64)
        of_gradient, of_mean = lr * (1 - mu) / (1 - product), lr * ahead / (1 - product * ahead)
        correction = 1 - self._beta2**step + np.zeros_like(lr)
        return np.stack([1 - lr * self._weight_decay, 1 - momentum, of_gradient, of_mean, correction], axis=1)

    def _warmed_up(self, step: Floats) -> Floats:
        """The share of beta1 that counts at a step."""
        share: Floats = 1 - 0.5 * 0.96 ** (step * self._momentum_decay)
        return share

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step; see the class for the arithmetic."""
        decay, fresh, of_gradient, of_mean, correction = numbers.unbind()
        gradient = _with_decay(gradient, parameter, self._penalty * is_decayed)
        mean = state[0] + fresh * (gradient - state[0])
        square = self._beta2 * state[1] + (1 - self._beta2) * gradient * gradient
        scale = (square / correction).sqrt() + self._eps
        decayed = parameter * decay if is_decayed else parameter
        return decayed - of_gradient * gradient / scale - of_mean * mean / scale, (mean, square)


class StackedRMSprop(_EvaluatedAsTrained):
    """``torch.optim.RMSprop`` (Tieleman and Hinton, 2012; centred: Graves, 2013) with rate and momentum per run.

    torch leaves the buffer alone while a scheduler sets momentum to 0. It makes one at the first step or never: momentum
    that is switched on later finds none, and raises.
    """

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._alpha = arguments["alpha"]
        self._eps = arguments["eps"]
        self._weight_decay = arguments["weight_decay"]
        self._centered = arguments["centered"]
        self._has_momentum = has_momentum
        self._has_buffer: npt.NDArray[np.bool_] | None = None
        self.starts: tuple[float, ...] = (0.0,) * (1 + self._centered + has_momentum)
        self.kinds = 5 if has_momentum else 1

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: rate, keep, add, follow, direct, as those of SGD; the rate alone where no run ever has momentum."""
        if not self._has_momentum:
            return lr[:, None]
        on = momentum > 0
        self._has_buffer = on[0] if self._has_buffer is None else self._has_buffer
        if (on & ~self._has_buffer).any():
            raise OptimizerError(
                "a schedule switches the momentum of RMSprop on after its first step, where torch.optim.RMSprop raises "
                "KeyError: 'momentum_buffer'; let the schedule begin with a momentum above 0, or leave it at 0"
            )
        return np.stack([lr, np.where(on, momentum, 1.0), on, on, ~on], axis=1)

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step: the gradient over its root mean square, or where centred over its standard deviation."""
        lr, *rest = numbers.unbind()
        gradient = _with_decay(gradient, parameter, self._weight_decay * is_decayed)
        square = self._alpha * state[0] + (1 - self._alpha) * gradient * gradient
        mean = (state[1].lerp(gradient, 1 - self._alpha),) if self._centered else ()
        variance = square - mean[0] * mean[0] if mean else square
        step = gradient / (variance.sqrt() + self._eps)
        if not self._has_momentum:
            return parameter - lr * step, (square, *mean)
        step, buffer = _follow(step, state[-1], rest)
        return parameter - lr * step, (square, *mean, buffer)


class StackedAdagrad(_EvaluatedAsTrained):
    """``torch.optim.Adagrad`` (Duchi et al., 2011) with the rate per run; it has no momentum that could be cycled."""

    kinds = 1

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._lr_decay = arguments["lr_decay"]
        self._weight_decay = arguments["weight_decay"]
        self._eps = arguments["eps"]
        self._count = _Count()
        self.starts: tuple[float, ...] = (arguments["initial_accumulator_value"],)

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """One row: the rate, decayed by the optimizer itself on top of its schedule."""
        before = self._count.next(len(lr)) - 1
        rate: Floats = lr / (1 + before * self._lr_decay)
        return rate[:, None]

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step, in torch's order of operations."""
        (lr,) = numbers.unbind()
        gradient = _with_decay(gradient, parameter, self._weight_decay * is_decayed)
        total = state[0] + gradient * gradient
        return parameter - lr * gradient / (total.sqrt() + self._eps), (total,)


class _Averaging:
    """What the schedule-free optimizers have in common (Defazio et al., 2024, arXiv:2405.15682).

    Gradients are taken at y, which is trained; z follows them; x, the weighted mean of the z, is evaluated:
    ``y = (1 - momentum) z + momentum x``. The package keeps y and z alone; with x the momentum is a run's own.
    """

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        self._weight_decay = arguments["weight_decay"]
        self._r, self._power = arguments["r"], arguments["weight_lr_power"]
        self._count = _Count()
        self._highest, self._total = np.zeros(runs), np.zeros(runs)
        self._momentum: Floats | None = None

    def _shares(self, lr: Floats, momentum: Floats) -> tuple[Floats, Floats, Floats]:
        """Numbers of the steps, from 1, (steps, 1); share of z in the mean, and rate at which y follows, (steps, runs)."""
        self._momentum = momentum[0] if self._momentum is None else self._momentum
        if (momentum != self._momentum).any():
            raise OptimizerError("a schedule changes the momentum of a schedule-free optimizer, whose averages rest on it")
        steps = self._count.next(len(lr))
        highest = np.maximum.accumulate(np.vstack([self._highest, lr]))
        weights = steps**self._r * highest[1:] ** self._power
        totals = np.cumsum(np.vstack([self._total, weights]), axis=0)
        self._highest, self._total = highest[-1], totals[-1]
        share = np.divide(weights, totals[1:], out=np.zeros_like(lr), where=totals[1:] != 0)
        return steps, share, lr * (momentum * (1 - share) - 1)

    def evaluated(self, parameter: Tensor, state: State) -> Tensor:
        """The mean x."""
        return state[1]


def _averaged(y: Tensor, z: Tensor, x: Tensor, step: Tensor, numbers: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Y goes towards z, then both follow the step, and x towards the new z; ``numbers`` are rate, share and rate of y."""
    lr, share, of_y = numbers
    after = z - lr * step
    return y + share * (z - y) + of_y * step, after, x + share * (after - x)


class StackedSGDScheduleFree(_Averaging):
    """``schedulefree.SGDScheduleFree`` with rate and momentum per run."""

    starts: tuple[float | None, ...] = (None, None)
    kinds = 3

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: rate, share of z in the mean, rate at which y follows the gradient."""
        _, share, of_y = self._shares(lr, momentum)
        return np.stack([lr, share, of_y], axis=1)

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step; see :func:`_averaged`."""
        gradient = _with_decay(gradient, parameter, self._weight_decay * is_decayed)
        y, z, x = _averaged(parameter, state[0], state[1], gradient, numbers.unbind())
        return y, (z, x)


class StackedAdamWScheduleFree(_Averaging):
    """``schedulefree.AdamWScheduleFree`` with rate and beta1 per run."""

    starts: tuple[float | None, ...] = (None, None, 0.0)
    kinds = 4

    def __init__(self, arguments: Mapping[str, Any], runs: int, *, has_momentum: bool) -> None:
        super().__init__(arguments, runs, has_momentum=has_momentum)
        self._beta2, self._eps = float(arguments["betas"][1]), arguments["eps"]

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: rate, share of z in the mean, rate at which y follows, second bias correction."""
        steps, share, of_y = self._shares(lr, momentum)
        return np.stack([lr, share, of_y, 1 - self._beta2**steps + np.zeros_like(lr)], axis=1)

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """One step, in the package's order of operations: the decay is that at y, and not divided by the root mean square."""
        *of_mean, correction = numbers.unbind()
        square = self._beta2 * state[2] + (1 - self._beta2) * gradient * gradient
        step = gradient / ((square / correction).sqrt() + self._eps)
        step = _with_decay(step, parameter, self._weight_decay * is_decayed)
        y, z, x = _averaged(parameter, state[0], state[1], step, of_mean)
        return y, (z, x, square)


class Averaged:
    """An optimizer whose runs are evaluated at a mean of their weights, each at its own, as torch's ``AveragedModel`` keeps it.

    A step moves the mean by a share of the way to the new weights. It is 1 until averaging begins, so that the mean is the
    weights themselves; then what ``ema`` adds at every step, or ``swa``, once an epoch, to a plain mean of so many.
    """

    def __init__(self, optimizer: StackedOptimizer, averages: Sequence[Average], budget: Budget) -> None:
        self._optimizer, self._steps_per_epoch = optimizer, budget.steps_per_epoch
        self.starts: tuple[float | None, ...] = (*optimizer.starts, None)
        self.kinds = optimizer.kinds + 1
        plain = [average.in_epochs(budget.epochs) for average in averages]
        self._is_swa = np.array([average.ema is None for average in plain])
        self._decay = np.array([average.ema or 0.0 for average in plain])
        self._begins_after = np.array([average.swa or 0 for average in plain])
        self._count = _Count()

    def coefficients(self, lr: Floats, momentum: Floats) -> npt.NDArray[np.float64]:
        """Rows: those of the optimizer, then the share."""
        numbers = self._optimizer.coefficients(lr, momentum)
        return np.concatenate([numbers, self._shares(len(lr))[:, None]], axis=1)

    def _shares(self, steps: int) -> Floats:
        """Those of the next ``steps``, (steps, runs)."""
        step = self._count.next(steps)
        epoch, is_within = np.divmod(step, self._steps_per_epoch)
        of_swa = np.where(is_within, 0.0, 1 / np.maximum(epoch - self._begins_after, 1))
        of_ema = np.where(step == 1, 1.0, 1 - self._decay)
        shares: Floats = np.where(self._is_swa, of_swa, of_ema)
        return shares

    def update(
        self, parameter: Tensor, gradient: Tensor, state: State, numbers: Tensor, *, is_decayed: bool = True
    ) -> tuple[Tensor, State]:
        """A step of the optimizer, then one of the mean."""
        *kept, mean = state
        parameter, new = self._optimizer.update(parameter, gradient, tuple(kept), numbers[:-1], is_decayed=is_decayed)
        return parameter, (*new, mean + numbers[-1] * (parameter - mean))

    def evaluated(self, parameter: Tensor, state: State) -> Tensor:
        """The mean."""
        return state[-1]


def in_common(optimizer: Component) -> str:
    """What runs have to have in common to be trained as one stack: all but what is given for each, rate and momentum."""
    own = ["lr", "momentum"] if optimizer.name == "SGDScheduleFree" else ["lr"]
    arguments = {name: value for name, value in optimizer.args.items() if name not in own}
    if optimizer.name == "AdamWScheduleFree":
        arguments["betas"] = arguments["betas"][1:]
    return as_json([optimizer.name, arguments])


STACKED: Mapping[str, Callable[..., StackedOptimizer]] = {
    "SGD": StackedSGD,
    "AdamW": StackedAdamW,
    "Adam": StackedAdam,
    "NAdam": StackedNAdam,
    "RMSprop": StackedRMSprop,
    "Adagrad": StackedAdagrad,
    "SGDScheduleFree": StackedSGDScheduleFree,
    "AdamWScheduleFree": StackedAdamWScheduleFree,
}
"""Registered optimizer → its stacked form."""
