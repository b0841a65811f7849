"""Variance where it belongs: what of a difference comes from the split of the data, and what from weights and order.

A loss is y[split, stream] = level + split effect + stream effect; so is the difference d of two labels, cell by cell. With n
splits of J streams, B the variance of the split means and W the mean variance within splits (nested ANOVA, unweighted means
where streams are missing, J then harmonic; Thomas and Hultquist 1978, Searle, Casella and McCulloch 1992), W / J of B is due
to streams and the ``share`` φ = 1 - W / (J B), no less than 0, to splits.

Two populations can be meant:

- *these data*: splits of this pool drawn anew, streams drawn anew. Given the pool, the split means are independent, and
  Student's t of them holds: variance B / n, n - 1 degrees of freedom. It is what overlap 0 gives.
- *data like these*: another pool from the same source, too. Splits of one pool overlap and their effects are correlated by ρ;
  streams are not. Nadeau and Bengio (2003), "Inference for the generalization error", therefore holds for the split's share
  alone: variance B (1 / n + φ ρ / (1 - ρ)). For levels the whole correction stays (φ = 1). How large the pool's part is
  is an assumption, their heuristic; nothing within one pool can tell.

At 6 to 20 splits the own φ of a pair is rough, so log(J B / W), of an F distribution with a known error, is shrunk to the
pairs' mean as far as the pairs agree: empirical Bayes, as Smyth (2004) does with variances and Smyth, Michaud and Scott (2005)
with one consensus correlation. Degrees of freedom are Satterthwaite's (1946) of B and of the shrunk log ratio. No interval
is wider than the full correction's, and none is narrower than what the shares that remain possible give on average, a
generalized p (Weerahandi 1995), without which small levels are not kept where φ came out as 0. A low B is raised
(:func:`steadied`). Simulated, nominal 95% intervals cover 94 to 97% at 6, 10 and 20 splits for any φ from 0.15 on, and 96 to
98% at 0. Far in the tail few pairs are too few: with two labels alone a test at 0.5% errs in up to 1.4%, with twelve in 0.8%.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtri, polygamma, psi, stdtr, stdtrit

LEVEL = 0.05

Floats = npt.NDArray[np.float64]
Losses = Mapping[str, Floats]
"""Of each label, (splits, streams); not finite where the run diverged. All labels have the same splits, in the same order."""
Pair = tuple[str, str]
_NODES = 0.8 * ndtri((np.arange(16) + 0.5) / 16)  # a little closer than normal: at a share of 0 all are too wide already
_LENT = 0.75  # of the prior's degrees of freedom; both by simulation, between coverage at equal and at unequal variances


@dataclass(frozen=True)
class Nested:
    """The figures of nested draws: mean of the split means, their variance, and the pooled variance within splits.

    ``splits`` are those with a finite draw; ``streams`` is the harmonic mean of their numbers of draws, ``freedom`` the
    degrees of freedom of ``within``, ``lent`` those that ``between`` has from other pairs. Variances are in squared units of
    the values, NaN where nothing tells them.
    """

    mean: float
    between: float
    within: float
    splits: int
    streams: float
    freedom: int
    lent: float = 0.0


class Share(NamedTuple):
    """The split's share of the variance of split means; ``own`` is the weight of the pair's own, ``error`` the others'.

    ``error`` is the variance of the log ratio that the pairs have in common, ``nodes`` are as many equally likely values of
    the share, which the data leave open.
    """

    value: float
    own: float = 0.0
    error: float = 0.0
    nodes: tuple[float, ...] = ()


WHOLE = Share(1.0)
"""The share of a level, and of a difference of which nothing is known: the full correction."""


@dataclass(frozen=True)
class Estimate:
    """A mean over splits with its standard error and degrees of freedom; the error is NaN below two splits.

    ``between``, with ``freedom`` degrees of freedom, ``splits`` and ``share`` are what the error was made of, and
    ``inflation`` is ρ / (1 - ρ). Of ``groups``, 2 where labels have seeds of their own, each has so many splits.
    """

    mean: float
    error: float
    df: float
    between: float
    freedom: float
    splits: int
    share: float
    inflation: float
    nodes: tuple[float, ...] = ()
    groups: int = 1

    def half(self, alpha: float = LEVEL) -> float:
        """Half the width of the two-sided interval at 1 - ``alpha``."""
        if not self.error > 0:
            return self.error
        own, whole = (-e * float(stdtrit(df, alpha / 2)) for e, df in ((self.error, self.df), (self._whole, self.freedom)))
        least = min(own, whole)
        if self._mixed(least) <= alpha:
            return least
        return float(brentq(lambda half: self._mixed(half) - alpha, least, 2 * whole))

    def interval(self, alpha: float = LEVEL) -> tuple[float, float]:
        """The two-sided interval at 1 - ``alpha``; of no width where all split means are equal."""
        half = self.half(alpha)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided p that the mean is zero; of n equal split means the sign-flip test's, 2 / 2ⁿ, and 1 where all are 0."""
        if self.error == 0:
            return 1.0 if self.mean == 0 else 2.0 ** (1 - self.splits)
        away = -abs(self.mean)
        own = 2 * float(min(stdtr(self.df, away / self.error), stdtr(self.freedom, away / self._whole)))
        return max(own, self._mixed(-away)) if own >= 0 else np.nan

    def after(self, splits: int) -> float:
        """The standard error that so many splits would give, with the same components."""
        return float(np.sqrt(self.between * (1 / splits + self.share * self.inflation)))

    def _mixed(self, distance: float) -> float:
        """The two-sided p of a mean so far from zero, averaged over the shares that are possible."""
        if not self.nodes:
            return 0.0
        errors = np.sqrt(self.between * (1 / self.splits + np.array(self.nodes) * self.inflation))
        return float(2 * stdtr(self.freedom, -distance / errors).mean())

    @property
    def _whole(self) -> float:
        return float(np.sqrt(self.between * (1 / max(self.splits, 1) + self.inflation)))


def nested(values: npt.ArrayLike) -> Nested:
    """The figures of draws, (splits, streams), of which those that are not finite are left out.

    ValueError for another number of axes.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 2:
        raise ValueError(f"losses have two axes, splits and streams (given: {x.ndim})")
    x = np.where(np.isfinite(x), x, np.nan)[np.isfinite(x).any(axis=1)]
    counts = np.isfinite(x).sum(axis=1)
    if not len(x):
        return Nested(np.nan, np.nan, np.nan, 0, np.nan, 0)
    means, freedom = np.nanmean(x, axis=1), int((counts - 1).sum())
    squares = float(np.nansum((x - means[:, None]) ** 2))
    rounding, mean = 1e-12 * np.nanmax(np.abs(x)), float(means.mean())
    between = np.nan if len(x) < 2 else 0.0 if np.ptp(means) <= rounding else float(means.var(ddof=1))
    within = np.nan if not freedom else 0.0 if squares <= rounding**2 * x.size else squares / freedom
    mean = 0.0 if abs(mean) <= rounding else mean  # values that add up to nothing
    return Nested(mean, between, within, len(x), float(1 / np.mean(1 / counts)), freedom)


def shares(pairs: Sequence[Nested], independent: int | None = None) -> list[Share]:
    """The split's share of each pair, shrunk over them all; ``independent`` of them say something of their own.

    Of L labels with all their pairs those are L - 1; all of them, where nothing is given. A pair without replicated streams
    has the others' share, and where no pair has any, the share is 1: the full correction.
    """
    told = [n for n, pair in enumerate(pairs) if pair.freedom and pair.splits > 1 and pair.between > 0 and pair.within > 0]
    own = np.array([_log_ratio(pairs[n]) for n in told]).reshape(-1, 2)
    if not told:
        return [_without(pair, WHOLE) for pair in pairs]
    ratios, errors = own.T
    center = float(np.average(ratios, weights=1 / errors))
    spread = max(0.0, float(ratios.var(ddof=1) - errors.mean())) if len(told) > 1 else np.inf
    alone = min(independent or len(told), len(told))
    common = float(errors.mean() / alone) if np.isinf(spread) else float((errors.mean() + spread) / alone)
    weights = np.ones(len(told)) if np.isinf(spread) else spread / (spread + errors)
    pooled = _open(center, common, 0.0, common)
    found = {n: pooled for n, pair in enumerate(pairs)}
    for n, ratio, error, own_weight in zip(told, ratios, errors, weights, strict=True):
        middle = own_weight * ratio + (1 - own_weight) * center
        variance = own_weight * error + (1 - own_weight) ** 2 * common
        found[n] = _open(middle, variance, float(own_weight), common)
    return [found[n] if n in told else _without(pair, pooled) for n, pair in enumerate(pairs)]


def steadied(pairs: Sequence[Nested], independent: int) -> list[Nested]:
    """The same with ``between`` no lower than its empirical Bayes estimate, and the degrees of freedom this lends.

    Variances that came out low are raised towards the pairs' common one, as far as the pairs agree (Smyth 2004); high ones
    are left, since they may be true: a label that is less steady. A part of the prior's degrees of freedom is lent, therefore.
    """
    told = [pair for pair in pairs if pair.splits > 1 and pair.between > 0]
    if len(told) < 2:
        return list(pairs)
    halves = np.array([(pair.splits - 1) / 2 for pair in told])
    logs = np.log([pair.between for pair in told]) - psi(halves) + np.log(halves)
    # the log variances of pairs that share a label correlate by about 1/4, which hides a part of their spread
    spread = float(logs.var(ddof=1)) * (1 + 1 / (independent + 2)) - float(polygamma(1, halves).mean())
    prior = min(2 * _inverse_trigamma(spread) if spread > 0 else np.inf, 2 * independent * float(halves.mean()))
    common = float(np.exp(logs.mean() + psi(prior / 2) - np.log(prior / 2)))
    return [_raised(pair, common, prior) for pair in pairs]


def estimate(figures: Nested, share: Share = WHOLE, overlap: float = 0.0) -> Estimate:
    """The mean with its error for *data like these*; with an overlap of 0, for *these data*.

    ``overlap`` is ρ, the share of samples that two splits have in common. ValueError where it lies outside [0, 1).
    """
    if not 0 <= overlap < 1:
        raise ValueError(f"an overlap lies between 0 and below 1 (given: {overlap})")
    inflation, n = overlap / (1 - overlap), max(figures.splits, 1)
    freedom = max(n - 1, 1) + figures.lent
    width = 1 / n + share.value * inflation
    lever = (1 - share.value) * inflation / width if share.value > 0 else 0.0
    own = share.own * lever
    part = (1 + own) ** 2 * 2 / freedom + ((1 - share.own) * lever) ** 2 * share.error
    part += own**2 * 2 / figures.freedom if figures.freedom else 0.0
    error = float(np.sqrt(figures.between * width))
    df, nodes = max(1.0, 2 / part), share.nodes if inflation else ()
    return Estimate(figures.mean, error, df, figures.between, freedom, figures.splits, share.value, inflation, nodes)


def level(losses: npt.ArrayLike, overlap: float = 0.0) -> Estimate:
    """The mean loss of one label, (splits, streams), with the whole correction."""
    return estimate(nested(losses), WHOLE, overlap)


def differences(losses: Losses, overlap: float = 0.0, fixed: Losses | None = None) -> dict[Pair, Estimate]:
    """Of all pairs of labels, both ways round, the first's loss minus the second's, over the cells that neither diverged on.

    Where each split has a configuration of its own, as the winner of its study, most of what varies between splits is that
    choice, which no two splits have in common. ``fixed`` are then losses of one configuration per label, on other splits of
    the same samples: what varies between those is the split's. ValueError where labels differ in their number of splits.
    Where one has fewer streams, its own are compared.
    """
    pairs = list(combinations(sorted(losses), 2))
    figures = [nested(_difference(losses[a], losses[b])) for a, b in pairs]
    found: dict[Pair, Estimate] = {}
    own_shares, steady = shares(figures, len(losses) - 1), steadied(figures, len(losses) - 1)
    if fixed is not None and set(losses) <= set(fixed):
        own_shares = _seen_in([nested(_difference(fixed[a], fixed[b])) for a, b in pairs], figures, own_shares, len(losses) - 1)
    for (a, b), share, own in zip(pairs, own_shares, steady, strict=True):
        found[a, b] = estimate(own, share, overlap)
        found[b, a] = replace(found[a, b], mean=-own.mean)
    return found


def _seen_in(fixed: Sequence[Nested], figures: Sequence[Nested], shares_of: Sequence[Share], independent: int) -> list[Share]:
    """The split's variance in ``fixed`` as a share of that of ``figures``, by all pairs together; their own where unknown."""
    known = [(f.between, own.between) for f, own in zip(fixed, figures, strict=True) if f.between > 0 and own.between > 0]
    if not known:
        return list(shares_of)
    part = min(1.0, float(np.exp(np.mean([np.log(f / own) for f, own in known]))))
    return [_part_of(share, part, figure.splits) for share, figure in zip(shares(fixed, independent), figures, strict=True)]


def _part_of(share: Share, part: float, splits: int) -> Share:
    """The share of a variance of which that of ``share`` is only a part."""
    value = part * share.value
    ratio = (part * (1 - share.value) / (1 - value)) ** 2 * share.error if value < 1 else share.error
    parts = 4 / max(splits - 1, 1) * (value / (1 - value)) ** 2 if value < 1 else 0.0  # two variances make the part
    return Share(value, 0.0, ratio + parts, tuple(part * node for node in share.nodes))


NOISE = ("source", "variance", "share", "of_difference")
"""Columns of :func:`noise`."""
Source = Literal["split", "split × scheduler", "tuning", "weights and order", "weights and order × scheduler"]


def noise(losses: Losses) -> pd.DataFrame:
    """Where the noise of one problem comes from: a row per :data:`Source`, as found by the method of moments.

    Matrices are (splits, streams) or, with the configurations that several studies found on each split, (splits,
    configurations, streams); labels share splits, and may share streams. ``variance`` is that of one run, in squared units of
    the loss, ``share`` its part of the whole; ``of_difference`` is the part of the variance of a difference between two
    labels' runs, in which what they have in common plays no part. Splits on which any run diverged are left out. Empty for
    fewer than two labels or two such splits; ``tuning`` and ``weights and order`` are NaN where nothing is replicated.
    """
    y = _cells(losses)
    if y.shape[0] < 2 or y.shape[1] < 2:
        return pd.DataFrame(columns=list(NOISE))
    return _table_of(_components(y))


def with_tuning(fixed: pd.DataFrame, tuned: pd.DataFrame) -> pd.DataFrame:
    """The table ``fixed`` of :func:`noise` for fixed configurations with what tuning adds.

    In ``tuned``, the table of other splits each with a configuration of its own, tuning is a part of *split × scheduler*: what
    that is more than for fixed ones. Empty where either is.
    """
    if fixed.empty or tuned.empty:
        return fixed.iloc[:0]
    parts, others = (dict(zip(table["source"], table["variance"], strict=True)) for table in (fixed, tuned))
    return _table_of(parts | {"tuning": max(0.0, others["split × scheduler"] - parts["split × scheduler"])})


def remedy(table: pd.DataFrame, streams: int) -> Literal["seeds", "trials"]:
    """What would narrow the differences most, by :func:`noise`: *trials* where tuning is the larger part of their variance."""
    part = table.set_index("source")["variance"].fillna(0.0)
    luck = part["split × scheduler"] + part["weights and order × scheduler"] / streams
    return "trials" if part["tuning"] > luck else "seeds"


def split_means(losses: npt.ArrayLike) -> Floats:
    """The mean of each split over its finite runs, (splits,); NaN where none is finite."""
    x = np.asarray(losses, dtype=np.float64)
    finite = np.isfinite(x)
    counts = finite.sum(axis=1)
    return np.where(counts > 0, np.where(finite, x, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def as_share(value: float, of: float) -> float:
    """``value`` as a share of the size of ``of``; of nothing, nothing is 0 and all else infinite."""
    return value / abs(of) if of else 0.0 if value == 0 else float(np.inf * np.sign(value))


def diverged(losses: npt.ArrayLike) -> int:
    """How many runs of a label are not finite."""
    return int((~np.isfinite(np.asarray(losses, dtype=np.float64))).sum())


def _difference(a: Floats, b: Floats) -> Floats:
    if len(a) != len(b):
        raise ValueError(f"labels share their splits; one has {len(a)}, another {len(b)}")
    streams = min(a.shape[1], b.shape[1])
    with np.errstate(invalid="ignore"):  # what diverged
        return np.asarray(a[:, :streams] - b[:, :streams], dtype=np.float64)


def _log_ratio(figures: Nested) -> tuple[float, float]:
    """The log of J B / W without its bias, which is -log(1 - φ), and its variance, both under normality."""
    first, second = (figures.splits - 1) / 2, figures.freedom / 2
    bias = psi(first) - np.log(first) - psi(second) + np.log(second)
    ratio = np.log(figures.between) + np.log(figures.streams) - np.log(figures.within)
    return float(ratio - bias), float(polygamma(1, first) + polygamma(1, second))


def _share(log_ratio: float) -> float:
    return max(0.0, float(-np.expm1(-log_ratio)))


def _raised(pair: Nested, common: float, prior: float) -> Nested:
    if not (pair.splits > 1 and pair.between > 0):
        return pair
    own = pair.splits - 1
    return replace(pair, between=max(pair.between, (own * pair.between + prior * common) / (own + prior)), lent=_LENT * prior)


def _inverse_trigamma(y: float) -> float:
    """Newton's iteration on 1 / trigamma, which is convex (Smyth 2004, appendix)."""
    x = 0.5 + 1 / y
    for _ in range(50):
        trigamma = float(polygamma(1, x))
        x += trigamma * (1 - trigamma / y) / float(polygamma(2, x))
    return x


def _open(ratio: float, variance: float, own: float, error: float) -> Share:
    """The share of a log ratio that is known with a variance."""
    return Share(_share(ratio), own, error, tuple(_share(ratio + np.sqrt(variance) * z) for z in _NODES))


def _without(pair: Nested, pooled: Share) -> Share:
    """The share of a pair whose ratio says nothing: the others', or 1 where streams agree and splits do not."""
    return WHOLE if pair.freedom and pair.within == 0 and pair.between > 0 else pooled


def _cells(losses: Losses) -> Floats:
    """Labels × splits × configurations × streams, of the splits on which all is finite."""
    cubes = [np.asarray(x, dtype=np.float64) for x in losses.values()]
    cubes = [x[:, None, :] if x.ndim == 2 else x for x in cubes]
    if not cubes:
        return np.empty((0, 0, 0, 0))
    if len({len(x) for x in cubes}) > 1:
        raise ValueError("labels share their splits")
    configurations, streams = (min(x.shape[axis] for x in cubes) for axis in (1, 2))
    y = np.stack([x[:, :configurations, :streams] for x in cubes])
    return np.asarray(y[:, np.isfinite(y).all(axis=(0, 2, 3))])


def _table_of(parts: Mapping[Source, float]) -> pd.DataFrame:
    """The table of :func:`noise` from the variance of each source."""
    apart = [0.0 if source in {"split", "weights and order"} else value for source, value in parts.items()]
    values = np.array(list(parts.values()))
    table = pd.DataFrame({"source": list(parts), "variance": values, "share": values / (np.nansum(values) or np.nan)})
    return table.assign(of_difference=np.array(apart) / (np.nansum(apart) or np.nan))


def _components(y: Floats) -> dict[Source, float]:
    """The variance components of (labels, splits, configurations, streams), each no less than zero."""
    _, splits, configurations, streams = y.shape
    cells = y.mean(axis=3)
    common, apart, stream = _crossed(y - cells[..., None], splits * configurations * (streams - 1))
    means = cells.mean(axis=2)
    _, _, between = _crossed(cells - means[..., None], splits * (configurations - 1))
    tuning = max(0.0, between - stream / streams) if configurations > 1 else np.nan
    centered = means - means.mean(axis=1, keepdims=True)
    split, interaction, _ = _crossed(centered, splits - 1)
    draws = configurations * streams
    known = [np.nan_to_num(x) for x in (common / draws, apart / draws, tuning / configurations)]
    return {
        "split": max(0.0, split - known[0]),
        "split × scheduler": max(0.0, interaction - known[1] - known[2]),
        "tuning": tuning,
        "weights and order": common,
        "weights and order × scheduler": apart,
    }


def _crossed(residuals: Floats, freedom: int) -> tuple[float, float, float]:
    """What residuals, labels first, have in common, what is each label's own, and their whole variance; NaN without any."""
    if freedom < 1:
        return np.nan, np.nan, np.nan
    labels = len(residuals)
    shared = residuals.mean(axis=0)
    apart = float(((residuals - shared) ** 2).sum() / (labels - 1) / freedom)
    together = float(labels * (shared**2).sum() / freedom)
    return max(0.0, (together - apart) / labels), apart, float((residuals**2).sum() / labels / freedom)
