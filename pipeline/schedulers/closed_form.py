"""Factors of the learning rate that are formulas of the step, for torch's ``LambdaLR``.

A formula is stated once, in numpy's arithmetic. Asked for one step it gives a number; asked for many it gives them all at
once, to the same bits: numpy rounds each element as Python does a number, and what it might round otherwise, cosine,
hyperbolic tangent and powers, is Python's own, element by element.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
