"""What so many seeds could have found, and how many would do: a range, since the spread is an estimate itself.

Both speak of one two-sided t test of a difference and use the components of :mod:`pipeline.statistics.components`.
"""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np
from scipy.special import chdtri, nctdtr, stdtrit

from pipeline.statistics.components import LEVEL, Estimate, Floats

POWER = 0.8
"""The chance with which a difference is to be found."""
MOST_SEEDS = 100_000
"""Where the search for a number of seeds ends."""
_HALVINGS = 60
_SPREADS = (np.arange(16) + 0.5) / 16  # as many equally likely values of the spread, which is an estimate itself


def power(effect: float, found: Estimate, splits: int, alpha: float = LEVEL) -> float:
    """The chance that ``splits`` seeds show a true difference of ``effect``, in the unit of the losses, on its side."""
    error = found.after(splits)
    if error == 0:
        return float(effect != 0)
    return float(_power(np.array([effect / error]), found, splits, alpha)[0])


def detectable(found: Estimate, alpha: float = LEVEL, splits: int | None = None) -> float:
    """The smallest difference that ``splits`` seeds (as many as there were) find four times in five, in the unit of losses.

    The chance is the mean over what the spread may truly be (assurance: O'Hagan, Stevens and Campbell 2005); with the estimate
    taken for the truth fewer are found than is said. NaN below two seeds or without an error.
    """
    n = found.splits if splits is None else splits
    if n < 2 or not found.error >= 0:
        return np.nan
    errors = found.after(n) * np.sqrt(found.freedom / chdtri(found.freedom, _SPREADS))
    if not errors.any():
        return 0.0
    return _least(lambda effect: float(_power(effect / errors, found, n, alpha).mean()), 1e3 * float(errors.max()))


def in_spreads(splits: int, alpha: float = LEVEL) -> float:
    """The smallest difference that so many seeds find with that chance, in standard deviations of it over the seeds."""
    found = Estimate(0.0, splits**-0.5, splits - 1, 1.0, splits - 1, splits, 0.0, 0.0)
    return _least(lambda effect: power(effect, found, splits, alpha), 1e3)


def seeds_needed(found: Estimate, effect: float, alpha: float = LEVEL) -> tuple[float, float]:
    """From how many to how many seeds find a difference of ``effect`` with that chance.

    The range is over the chi-squared interval of the spread at 80%; the effect is a given, the smallest that
    matters, since the estimated one would double the error. Infinity where no number does, NaN without an error.
    """
    if found.splits < 2 or not found.error > 0:
        return np.nan, np.nan
    df = found.groups * (found.splits - 1)
    ends = (found.between * df / float(chdtri(df, p)) for p in (0.1, 0.9))
    low, high = (fewest(Estimate(**{**vars(found), "between": end}), effect, alpha) for end in ends)
    return low, high


def fewest(found: Estimate, effect: float, alpha: float) -> float:
    """The least number of seeds that find a difference of ``effect`` with that chance, were the spread just as estimated."""
    number = 2 + bisect_left(range(2, MOST_SEEDS + 1), POWER, key=lambda n: power(effect, found, n, alpha))
    return float(number) if number <= MOST_SEEDS else np.inf


def _least(chance_of: Callable[[float], float], high: float) -> float:
    """The least effect up to ``high`` that has that chance, which grows with it."""
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if chance_of(middle) < POWER else (low, middle)
    return high


def _power(effects: Floats, found: Estimate, splits: int, alpha: float) -> Floats:
    """The chance of each effect, in standard errors, to be shown."""
    df = max(found.freedom + found.groups * (splits - found.splits), 1)  # what other pairs lend stays
    return np.asarray(1 - nctdtr(df, np.minimum(np.abs(effects), 1e3), stdtrit(df, 1 - alpha / 2)))
