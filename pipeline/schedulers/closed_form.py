"""Schedules that are formulas of the step: factors for torch's ``LambdaLR``, and two of torch's own that are stepped per batch.

A formula is stated once, in numpy's arithmetic. Asked for one step it gives a number; asked for many it gives them all at
once, to the same bits: numpy rounds each element as Python does a number, and what it might round otherwise, cosine,
hyperbolic tangent and powers, is Python's own, element by element. So all
steps of a run are found in an instant that torch's own ``step`` takes a microsecond each for.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, OneCycleLR

from pipeline.config.arrays import Floats

Formula = Callable[[Any], Any]
"""From the step, a float or an array of them, to the factor."""

cos = np.vectorize(math.cos, otypes=[float])
tanh = np.vectorize(math.tanh, otypes=[float])
power = np.vectorize(operator.pow, otypes=[float])


@dataclass(frozen=True)
class ClosedForm:
    """A factor for ``LambdaLR``: called with the number of a step, as torch does it, or :meth:`over` many of them."""

    formula: Formula

    def __call__(self, step: int) -> float:
        """The factor at one step."""
        return float(self.formula(np.float64(step)))

    def over(self, steps: Floats) -> Floats:
        """The factors at ``steps``, of their shape."""
        return np.broadcast_to(np.asarray(self.formula(steps), dtype=float), steps.shape)


_OWN: dict[type, Any] = {kind: kind.get_lr for kind in (CyclicLR, OneCycleLR)}
"""Torch's own, by the class; one that somebody has changed is stepped."""


def rates_of(scheduler: object, steps: Floats) -> tuple[Floats, Floats | None] | None:
    """What a scheduler just built sets at ``steps`` (from 1), and the momentum where it moves that; None for all but a few.

    Both are of the first parameter group, (steps,), and to the last bit those that torch's ``step`` sets one by one.
    """
    kind = type(scheduler)
    if kind is LambdaLR and isinstance(factor := scheduler.lr_lambdas[0], ClosedForm):  # type: ignore[attr-defined]
        return scheduler.base_lrs[0] * factor.over(steps), None  # type: ignore[attr-defined]
    if _OWN.get(kind) is not getattr(kind, "get_lr", None):
        return None
    try:
        if isinstance(scheduler, CyclicLR) and scheduler._scale_fn_custom is None:
            return _cyclic(scheduler, steps)
        return _one_cycle(scheduler, steps) if isinstance(scheduler, OneCycleLR) else None
    except OverflowError:  # torch raises it, too, at the step where it comes to that
        return None


def _cyclic(scheduler: CyclicLR, steps: Floats) -> tuple[Floats, Floats | None]:
    cycle = np.floor(1 + steps / scheduler.total_size)
    x = 1.0 + steps / scheduler.total_size - cycle
    rising = x <= scheduler.step_ratio
    factor = np.where(rising, x, x - 1) / np.where(rising, scheduler.step_ratio, scheduler.step_ratio - 1)
    scale = np.ones_like(steps)
    if scheduler.mode == "triangular2":
        scale = 1 / power(2.0, cycle - 1)
    elif scheduler.mode == "exp_range":
        scale = power(scheduler.gamma, steps)
    low, high = scheduler.base_lrs[0], scheduler.max_lrs[0]
    lr = low + (high - low) * factor * scale
    if not scheduler.cycle_momentum:
        return lr, None
    low, high = scheduler.base_momentums[0], scheduler.max_momentums[0]
    return lr, high - (high - low) * factor * scale


def _one_cycle(scheduler: OneCycleLR, steps: Floats) -> tuple[Floats, Floats | None] | None:
    group, phases = scheduler.optimizer.param_groups[0], scheduler._schedule_phases
    if steps.max(initial=0) > scheduler.total_steps:
        return None  # torch raises there
    lr, momentum, left, begin = np.empty_like(steps), np.empty_like(steps), np.full(len(steps), True), 0.0
    for number, phase in enumerate(phases):
        end = phase["end_step"]
        here = left & ((steps <= end) | (number == len(phases) - 1))
        if here.any() and end == begin:
            return None  # torch divides by zero there
        share = (steps[here] - begin) / (end - begin) if here.any() else steps[here]
        lr[here] = _annealed(scheduler, group[phase["start_lr"]], group[phase["end_lr"]], share)
        if scheduler.cycle_momentum:
            momentum[here] = _annealed(scheduler, group[phase["start_momentum"]], group[phase["end_momentum"]], share)
        left, begin = left & ~here, end
    return lr, momentum if scheduler.cycle_momentum else None


def _annealed(scheduler: OneCycleLR, start: float, end: float, share: Floats) -> Floats:
    if scheduler._anneal_func_type == "linear":
        return (end - start) * share + start
    found: Floats = end + (start - end) / 2.0 * (cos(math.pi * share) + 1 if share.size else share)
    return found
