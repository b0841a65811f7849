"""Verdicts against a baseline, the set of labels that may be the best, and how much is lost at most by each.

Everything said of one problem at once holds at 95% at once: the critical value is that of the largest t among the contrasts
(Hothorn, Bretz and Westfall 2008, "Simultaneous inference in general parametric models"), whose null distribution is drawn
with the labels' own correlations, shrunk towards none as Schäfer and Strimmer (2005) do, each contrast with a variance of its
own (Hasler and Hothorn 2008). The draws are seeded by the shape of the figures: the same figures, the same verdicts. Where few
contrasts are correlated Bonferroni bounds it.

The set is Hsu's (1984, 1996), "Multiple comparisons", with unequal correlations as Edwards and Hsu (1983): label k stays
unless it is worse than another at the one-sided critical value of the comparisons *with k*. If k is the best, it stays with
95%, and in the same event the loss of every label i lies above k's by less than its estimate plus that value's width: the
largest over the set bounds i's *regret*. So set and bounds never contradict one another, which Hansen, Lunde and Nason's
(2011) model confidence set, by sequential elimination, does not offer; and it needs no choice of an order.

A verdict is read off intervals. Beside *better*, *worse* and *practically equal* (Schuirmann 1987, two one-sided tests) stand
the one-sided halves of the latter: *no worse* and *no better* than the baseline by what matters, non-inferiority and its mirror
(Lakens 2018, "Equivalence testing for psychological research"). All three read the pair's own interval at 95%, so that each is
false of a pair at its margin in 2.5%, for any number of seeds.

Divergence is never made up for: what is left of a label that diverged was selected by not diverging. A label that diverged
more often than the baseline is called that and nothing else; one that diverged less often is never worse. Only those that
diverged least often may be the best; the regret of the others has no bound.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from pipeline.statistics.components import (
    LEVEL,
    Estimate,
    Floats,
    Losses,
    Pair,
    as_share,
    differences,
    diverged,
    level,
    split_means,
)

MATTERS = 0.01
"""The smallest difference in loss that is of interest, as a share of the reference's mean loss."""
DRAWS = 10_000
_BLOCK = 2_500
_LEAST_SHRUNK = 0.01  # so that no two labels are the same in the draws

Verdict = Literal["baseline", "better", "worse", "practically equal", "no worse", "no better", "open", "diverged"]


@dataclass(frozen=True)
class Null:
    """The largest of a family's ts where nothing differs, sorted draws with ``df`` degrees of freedom each."""

    draws: Floats
    df: float
    family: int
    sides: Literal[1, 2]

    def alone(self, alpha: float = LEVEL) -> float:
        """The level of each test by itself that gives the family ``alpha``; no less than Bonferroni's."""
        if self.family == 1:
            return alpha
        place = int(alpha * (len(self.draws) + 1) + 1e-9)
        drawn = self.sides * float(stdtr(self.df, -self.draws[-place])) if place else 0.0
        return max(drawn, alpha / self.family)

    def adjusted(self, p: float) -> float:
        """The p of one test of the family, adjusted for all of them."""
        if np.isnan(p) or self.family == 1:
            return p
        t = -float(stdtrit(self.df, p / self.sides))
        beyond = len(self.draws) - int(np.searchsorted(self.draws, t))
        return min(1.0, self.family * p, (beyond + 1) / (len(self.draws) + 1))


Nulls = Callable[[Losses, Mapping[str, Sequence[Pair]], Literal[1, 2]], dict[str, Null]]
"""How the nulls of several families of contrasts are found."""


def null(losses: Losses, contrasts: Sequence[Pair], sides: Literal[1, 2] = 2) -> Null:
    """The null distribution of the largest t of ``contrasts``, first label minus second; |t| for two ``sides``."""
    return _nulls(losses, {"": contrasts}, sides)[""]


def against(
    losses: Losses,
    baseline: str,
    overlap: float = 0.0,
    matters: float = MATTERS,
    alpha: float = LEVEL,
    fixed: Losses | None = None,
) -> pd.DataFrame:
    """Each label against ``baseline``, a row per label in the order given; losses in the unit of the losses.

    ``difference`` with its interval ``low`` to ``high`` at 1 - ``alpha`` for this pair by itself, and ``all_low`` to
    ``all_high`` for all at once; ``p`` and ``adjusted``, the same for the tests; ``share``, the split's share; ``diverged``,
    how many runs; ``verdict``. *practically equal*, also where zero is excluded: the pair's own interval lies within
    ± ``matters`` times the baseline's mean loss. *better* or *worse*: ``adjusted`` is below ``alpha``. *no worse* or *no
    better*: the own interval does not reach beyond the margin on that side. Else *open*.
    ``overlap`` as in :func:`estimate`: 0 speaks of these data; ``fixed`` as in :func:`differences`. KeyError for a baseline
    that is not there.
    """
    return table_against(losses, baseline, differences(losses, overlap, fixed), matters, alpha)


def best(
    losses: Losses, overlap: float = 0.0, matters: float = MATTERS, alpha: float = LEVEL, fixed: Losses | None = None
) -> pd.DataFrame:
    """Which labels may be the best, and the regret of each; a row per label in the order given.

    ``loss`` is the mean; ``regret`` how far it lies above the lowest, among those that diverged least often, NaN where no run
    finished; ``bound`` what the true regret does not exceed, and ``in_set`` whether the label may be the best, all at once at
    1 - ``alpha``; ``relative`` is the bound as a share of the lowest mean, ``bounded`` whether that is ``matters`` at most.
    ``diverged`` counts runs. A bound is infinite where the label diverged more often than another, or one split is all there
    is.
    """
    return table_of_best(losses, differences(losses, overlap, fixed), matters, alpha)


class Reason(Enum):
    """Why a label is recommended."""

    PREFERRED = "the first in preference of those whose regret is bounded by what matters"
    LOWEST_BOUND = "no regret is bounded by what matters; its bound is the lowest"
    LOWEST_LOSS = "no regret has a bound; its mean is the lowest of those that diverged least often"
    NONE = "no label has a loss"


@dataclass(frozen=True)
class Recommendation:
    """A label, why, its regret's bound as a share of the lowest mean loss, and the labels whose bound is small enough."""

    label: str | None
    reason: Reason
    relative: float
    bounded: tuple[str, ...] = ()


def recommendation(table: pd.DataFrame, preference: Mapping[str, Any]) -> Recommendation:
    """One label of :func:`best`'s table: the first by ``preference``, a key per label, of those that are ``bounded``.

    Else the one with the lowest bound. A key is whatever sorts, say (number of hyperparameters, -tolerated factor of the
    rate); the lower bound, then the name, decide between equals.
    """
    rows = table[table["loss"].notna()]
    if rows.empty:
        return Recommendation(None, Reason.NONE, np.nan)
    bounded = [str(label) for label in rows.index[rows["bounded"]]]
    bound = rows["relative"].to_dict()
    if bounded:
        label = min(bounded, key=lambda name: (preference[name], bound[name], name))
        return Recommendation(label, Reason.PREFERRED, bound[label], tuple(bounded))
    if np.isfinite(rows["bound"]).any():
        label = min(map(str, rows.index), key=lambda name: (bound[name], name))
        return Recommendation(label, Reason.LOWEST_BOUND, bound[label])
    fewest = rows[rows["diverged"] == rows["diverged"].min()]["loss"].to_dict()
    return Recommendation(min(map(str, fewest), key=lambda name: (fewest[name], name)), Reason.LOWEST_LOSS, np.inf)


def table_against(
    losses: Losses, baseline: str, of: Mapping[Pair, Estimate], matters: float, alpha: float, nulls: Nulls | None = None
) -> pd.DataFrame:
    """As :func:`against`, of the differences ``of`` all pairs; ``nulls`` gives the tests of all at once."""
    margin = matters * abs(level(losses[baseline]).mean)
    contrasts = [(label, baseline) for label in losses if label != baseline and of[label, baseline].error >= 0]
    family = (nulls or _nulls)(losses, {"": contrasts}, 2)[""] if contrasts else None
    alone = family.alone(alpha) if family else alpha
    rows: list[tuple[object, ...]] = []
    for label, values in losses.items():
        if label == baseline:
            rows.append((diverged(values), 0.0, *[np.nan] * 7, "baseline"))
            continue
        found = of[label, baseline]
        adjusted = family.adjusted(found.p) if family else np.nan
        word = _said(_verdict(found, adjusted, margin, alpha), _rate(values), _rate(losses[baseline]))
        intervals = *found.interval(alpha), *found.interval(alone)
        rows.append((diverged(values), found.mean, *intervals, found.p, adjusted, found.share, word))
    columns = ["diverged", "difference", "low", "high", "all_low", "all_high", "p", "adjusted", "share", "verdict"]
    return pd.DataFrame(rows, pd.Index(losses, name="label"), columns)


def _verdict(found: Estimate, p: float, margin: float, alpha: float) -> Verdict:
    low, high = found.interval(alpha)
    if -margin <= low and high <= margin:
        return "practically equal"
    if p < alpha:
        return "better" if found.mean < 0 else "worse"
    return "no worse" if high <= margin else "no better" if low >= -margin else "open"


def _said(word: Verdict, own: float, reference: float) -> Verdict:
    """The verdict ``word``, which the runs that finished give, where the shares that diverged let it stand."""
    if own > reference:
        return "diverged"
    if own < reference == 1:  # there is nothing to compare with
        return "better"
    return "open" if word in ("worse", "no better") and own < reference else word


def table_of_best(
    losses: Losses, of: Mapping[Pair, Estimate], matters: float, alpha: float, nulls: Nulls | None = None
) -> pd.DataFrame:
    """As :func:`best`, of the differences ``of`` all pairs; ``nulls`` gives the tests of all at once."""
    means = {label: level(values).mean for label, values in losses.items()}
    rates = {label: _rate(values) for label, values in losses.items()}
    fewest = min((rates[label] for label in losses if np.isfinite(means[label])), default=0)
    able = [label for label in losses if rates[label] == fewest and np.isfinite(means[label])]
    first = min(able, key=lambda label: (means[label], label), default=None)
    widths = _widths(losses, able, of, alpha, nulls or _nulls)
    chosen = [k for k in able if all(of[k, j].mean - widths[k, j] <= 0 or np.isnan(widths[k, j]) for j in able if j != k)]
    rows = []
    for label in losses:
        regret = of[label, first].mean if first and label != first else 0.0 if label == first else np.nan
        regret = regret if np.isnan(regret) else max(0.0, regret)  # unknown where no run finished
        bounds = [of[label, k].mean + widths[label, k] for k in chosen if k != label] if label in able else [np.nan]
        bound = float(np.nan_to_num(np.max([0.0, *bounds]), nan=np.inf))  # NaN where nothing bounds it
        rows.append(
            (label, diverged(losses[label]), means[label], regret, bound, as_share(bound, means[first] if first else np.nan))
        )
    table = pd.DataFrame(rows, columns=["label", "diverged", "loss", "regret", "bound", "relative"]).set_index("label")
    return table.assign(bounded=table["relative"] <= matters, in_set=table.index.isin(chosen))


def _rate(values: Floats) -> float:
    """The share of runs that diverged; unpaired labels may have unequal numbers."""
    return diverged(values) / max(1, np.size(values))


def _widths(losses: Losses, able: Sequence[str], of: Mapping[Pair, Estimate], alpha: float, nulls: Nulls) -> dict[Pair, float]:
    """Of each pair, first label k: how far a difference may lie beside the truth, in comparisons with k all at once."""
    families = {k: [(k, j) for j in able if j != k and of[k, j].error >= 0] for k in able}
    found = nulls(losses, {k: pairs for k, pairs in families.items() if pairs}, 1)
    widths = dict.fromkeys(((k, j) for k in able for j in able if k != j), np.nan)
    for k, family in found.items():
        alone = family.alone(alpha)
        widths |= {pair: of[pair].half(2 * alone) for pair in families[k]}
    return widths


def _nulls(losses: Losses, families: Mapping[str, Sequence[Pair]], sides: Literal[1, 2]) -> dict[str, Null]:
    """The nulls of several families of contrasts, of the same draws."""
    labels = sorted({label for pairs in families.values() for pair in pairs for label in pair})
    if not labels:
        return {}
    place = {label: n for n, label in enumerate(labels)}
    contrasts = tuple(tuple((place[x], place[y]) for x, y in pairs) for pairs in families.values())
    means = tuple(tuple(split_means(losses[label])) for label in labels)
    return dict(zip(families, _drawn(means, contrasts, sides, DRAWS), strict=True))


@lru_cache(maxsize=32)
def _drawn(
    means_of: tuple[tuple[float, ...], ...], families: tuple[tuple[tuple[int, int], ...], ...], sides: Literal[1, 2], draws: int
) -> list[Null]:
    """That of each family, from so many draws with the labels' means over splits.

    They are asked for again: whatever splits have in common, t is the same.
    """
    factor, splits = _factor(means_of)
    rng = np.random.default_rng([len(means_of), splits])
    drawn: list[list[Floats]] = [[] for _ in families]
    for _ in range(0, draws, _BLOCK):
        block = rng.standard_normal((_BLOCK, splits, len(means_of))) @ factor
        means = block.mean(axis=1)
        block -= means[:, None]
        covariance = block.transpose(0, 2, 1) @ block / (splits - 1) / splits
        for of_family, pairs in zip(drawn, families, strict=True):
            a, b = np.array(pairs).T
            t = (means[:, a] - means[:, b]) / np.sqrt(covariance[:, a, a] + covariance[:, b, b] - 2 * covariance[:, a, b])
            of_family.append((np.abs(t) if sides == 2 else t).max(axis=1))
    nulls = zip(drawn, families, strict=True)
    return [Null(np.sort(np.concatenate(t).round(9)), splits - 1, len(pairs), sides) for t, pairs in nulls]


def _factor(means_of: Sequence[Sequence[float]]) -> tuple[Floats, int]:
    """A matrix F with FᵀF the labels' covariance over splits, without what all have in common, and the number of splits."""
    means = pd.DataFrame(means_of).T
    means -= means.mean(axis=1).to_numpy()[:, None]
    splits = int(means.notna().sum().max())
    covariance = means.cov(min_periods=3)
    spread = np.sqrt(np.diag(covariance))
    known = (spread > 0) & np.isfinite(spread)
    spread = np.where(known, spread, spread[known].mean() if known.any() else 1.0)
    r = np.nan_to_num(covariance.to_numpy() / np.outer(spread, spread))
    np.fill_diagonal(r, 0.0)
    noise, size = float(((1 - r**2) ** 2 * (1 - np.eye(len(r)))).sum() / (splits - 1)), float((r**2).sum())
    r *= 1 - min(1.0, max(_LEAST_SHRUNK, noise / size)) if size else 0.0
    values, vectors = np.linalg.eigh(r + np.eye(len(r)))
    root = (vectors * np.sqrt(np.maximum(values, _LEAST_SHRUNK))) @ vectors.T
    return np.asarray(root * spread), splits
