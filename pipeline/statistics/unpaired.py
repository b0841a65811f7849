"""Labels that share no seeds: Welch's intervals, the same verdicts against a baseline, and the same set of the best.

The difference of two means has the variance a / n + b / m, a and b the labels' own, and Welch's (1947) degrees of freedom.
Where several are compared the null is that of the smallest p among the contrasts, each with its own degrees of freedom, drawn
from independent normal samples of the sizes and spreads at hand (Tamhane and Logan 2004; Hasler and Hothorn 2008). Everything
else is :mod:`pipeline.statistics.comparison`'s. A seed is a row, as there; labels may have unequal numbers of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit

from pipeline.statistics import comparison
from pipeline.statistics.comparison import MATTERS, Null
from pipeline.statistics.components import LEVEL, Estimate, Floats, Losses, Nested, Pair, nested


def differences(losses: Losses) -> dict[Pair, Estimate]:
    """Of all pairs of labels, both ways round, the first's mean loss minus the second's, over the runs that finished."""
    figures = {label: nested(values) for label, values in losses.items()}
    pairs = combinations(sorted(losses), 2)
    return {pair: _welch(figures[pair[0]], figures[pair[1]]) for a, b in pairs for pair in ((a, b), (b, a))}


def excess(losses: Losses, label: str, other: str, alpha: float = LEVEL) -> tuple[float, float, float]:
    """By which share of the other's mean loss the label's lies above it, with its interval at 1 - ``alpha``.

    The other's mean is an estimate, too: Fieller's (1954) interval of a ratio, with Welch's degrees of freedom. It is NaN where
    the other's mean may be zero, or a label has fewer than two seeds.
    """
    own, base = nested(losses[label]), nested(losses[other])
    ratio, sign = own.mean / base.mean, np.sign(base.mean)
    found = _welch(own, replace(base, between=ratio**2 * base.between))
    t2 = float(stdtrit(found.df, alpha / 2)) ** 2
    a, b, c = base.mean**2 - t2 * base.between / base.splits, own.mean * base.mean, own.mean**2 - t2 * own.between / own.splits
    half = np.sqrt(max(b**2 - a * c, 0.0)) if a > 0 else np.nan
    low, high = sorted(float(sign * ((b + end) / a - 1)) for end in (-half, half))
    return float(sign * (ratio - 1)), low, high


def against(losses: Losses, baseline: str, matters: float = MATTERS, alpha: float = LEVEL) -> pd.DataFrame:
    """:func:`pipeline.statistics.comparison.against` for labels with seeds of their own."""
    return comparison.table_against(losses, baseline, differences(losses), matters, alpha, _nulls)


def best(losses: Losses, matters: float = MATTERS, alpha: float = LEVEL) -> pd.DataFrame:
    """:func:`pipeline.statistics.comparison.best` for labels with seeds of their own."""
    return comparison.table_of_best(losses, differences(losses), matters, alpha, _nulls)


def _welch(a: Nested, b: Nested) -> Estimate:
    """Error and degrees of freedom are NaN where a label has fewer than two seeds."""
    parts = np.array([a.between, b.between]) / [max(a.splits, 1), max(b.splits, 1)]
    freedom = np.array([max(a.splits - 1, 1), max(b.splits - 1, 1)])
    variance = float(parts.sum())
    df = variance**2 / float((parts**2 / freedom).sum()) if variance > 0 else float(freedom.sum())
    between, splits = a.between + b.between, min(a.splits, b.splits)
    return Estimate(a.mean - b.mean, float(np.sqrt(variance)), df, between, df, splits, 1.0, 0.0, groups=2)


def _nulls(losses: Losses, families: Mapping[str, Sequence[Pair]], sides: Literal[1, 2]) -> dict[str, Null]:
    """The nulls of several families: the smallest p of each draw, as the t that it is at one df for all."""
    labels = sorted({label for pairs in families.values() for pair in pairs for label in pair})
    if not labels:
        return {}
    figures = [nested(losses[label]) for label in labels]
    place = {label: n for n, label in enumerate(labels)}
    freedom = np.array([max(found.splits - 1, 1) for found in figures])
    own = np.nan_to_num([found.between for found in figures])
    variances = (own if own.any() else np.ones_like(own)) / (freedom + 1)  # without any noise all labels are alike
    rng = np.random.default_rng([len(labels), *sorted(freedom)])
    means = rng.standard_normal((comparison.DRAWS, len(labels))) * np.sqrt(variances)
    drawn = variances * rng.chisquare(freedom, means.shape) / freedom
    least = int(freedom.min())
    found = {}
    for name, pairs in families.items():
        smallest = np.ones(comparison.DRAWS)
        for a, b in ((place[x], place[y]) for x, y in pairs):
            smallest = np.minimum(smallest, _p(means[:, a] - means[:, b], drawn[:, [a, b]], freedom[[a, b]], sides))
        found[name] = Null(np.sort(-stdtrit(least, smallest / sides).round(9)), least, len(pairs), sides)
    return found


def _p(difference: Floats, parts: Floats, freedom: npt.NDArray[np.int_], sides: Literal[1, 2]) -> Floats:
    """Welch's p of each draw; 1 where neither label varies."""
    variance = parts.sum(axis=1)
    if not variance.any():
        return np.ones(len(variance))
    df = variance**2 / (parts**2 / freedom).sum(axis=1)
    t = difference / np.sqrt(variance)
    return np.asarray(sides * stdtr(df, -np.abs(t) if sides == 2 else -t))
