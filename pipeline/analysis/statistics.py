"""Intervals over seeds, and the comparison of schedulers that they support.

Frames of runs have the columns of ``runs.parquet`` and hold one problem. The seed is the unit: schedulers are compared by
their paired differences over the seeds on which neither diverged. A run that diverged has no meaningful final figures: it is
counted, left out of every mean, and puts its scheduler behind all those that never diverged. Test figures are reported and
enter no rank.

Seeds that draw their splits from one pool share samples, so their figures are correlated and a plain t interval is too
narrow. :class:`Overlap` says by how much, and everything here corrects for it as Nadeau and Bengio (2003), "Inference for
the generalization error", do: the variance of a mean of n values is s² (1/n + ρ/(1-ρ)) instead of s²/n.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtr, stdtrit
from scipy.stats import trim_mean
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
CRITERION = "validation_loss"
METRICS = (CRITERION, "validation_metric", "test_loss", "test_metric")
MATTERS = 0.01
"""The smallest difference in loss that is of interest, as a share of the reference's mean loss."""
MOST_SEEDS = 1000
"""Beyond so many seeds nobody goes."""

Floats = npt.NDArray[np.float64]
Losses = Mapping[str, "pd.Series[float]"]
"""Scheduler → its finished runs' criterion, indexed by seed; of one variant."""
Verdict = Literal["baseline", "best", "better", "worse", "practically equal", "not separable yet", "diverged", ""]
"""What a difference to a reference says; empty where the variant has no run of that reference."""


@dataclass(frozen=True)
class Overlap:
    """The share of a split that two seeds are expected to have in common: the correlation ρ of their figures, in [0, 1).

    For random splits of a pool of N samples it is the size of the evaluated split over N; where N is the training and the
    evaluated split together, that is Nadeau and Bengio's n2 / (n1 + n2). It is 0 where seeds draw fresh samples, and where
    all seeds have the same split: the interval then speaks of that split only.
    """

    validation: float = 0.0
    test: float = 0.0

    def of(self, metric: str) -> float:
        """ρ of ``metric``, by the split that its name begins with; 0 for the training loss."""
        return {"validation": self.validation, "test": self.test}.get(metric.partition("_")[0], 0.0)


NO_OVERLAP = Overlap()
_NONE = pd.Series(dtype=float, index=pd.Index([], dtype=int))


class Interval(NamedTuple):
    """A mean over seeds and its confidence interval, in the unit of the values; NaN where there are too few of them."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; never where there is no interval."""
        return self.low > 0 or self.high < 0

    def named(self, name: str) -> dict[str, float]:
        """Its three columns: ``name``, ``name_low``, ``name_high``."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


def mean_interval(values: npt.ArrayLike, confidence: float = CONFIDENCE, overlap: float = 0.0) -> Interval:
    """Student's t interval of the mean of ``values``, shape (seeds,), corrected for ``overlap``, the ρ of two seeds.

    Equal values give an interval of zero width, one value no interval, none no mean either. ValueError for an overlap
    outside [0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    spread = _spread(x.size, overlap)
    if x.size == 0:
        return Interval(np.nan, np.nan, np.nan)
    if x.size == 1:
        return Interval(float(x[0]), np.nan, np.nan)
    if x.min() == x.max():  # said apart: the rounded mean of equal values need not equal them
        return Interval(float(x[0]), float(x[0]), float(x[0]))
    with np.errstate(invalid="ignore", over="ignore"):  # a value that is not finite makes all three NaN or infinite
        mean = float(x.mean())
        half = float(stdtrit(x.size - 1, (1 + confidence) / 2) * x.std(ddof=1) * spread)
    return Interval(mean, mean - half, mean + half)


def p_value(values: npt.ArrayLike, overlap: float = 0.0) -> float:
    """Two-sided p of the t test, corrected for ``overlap``, that the mean of ``values``, shape (seeds,), is zero.

    It is 1 where all values are zero, 0 where they are equal and not zero, NaN for fewer than two. ValueError for an overlap
    outside [0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    spread = _spread(x.size, overlap)
    if x.size < 2:
        return np.nan
    if x.min() == x.max():
        return 1.0 if x[0] == 0 else 0.0
    with np.errstate(all="ignore"):  # NaN where a value is not finite
        t = x.mean() / (x.std(ddof=1) * spread)
    return float(2 * stdtr(x.size - 1, -abs(t)))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p of each test of a family, shape (tests,); a NaN stays one and is no member of the family."""
    adjusted = np.array(p, dtype=np.float64)
    tests = ~np.isnan(adjusted)
    if tests.any():
        adjusted[tests] = multipletests(adjusted[tests], method="holm")[1]
    return adjusted


def verdict(difference: Interval, p: float, margin: float) -> Verdict:
    """What the interval of a scheduler's loss minus a reference's says, with the adjusted ``p`` of its test.

    Practically equal, also where zero is excluded: the 95% interval lies within ± ``margin`` (two one-sided tests at 2.5%).
    Otherwise better or worse where ``p`` is below 5%. Without a pair of seeds, the schedulers count as diverged.
    """
    if np.isnan(difference.mean):
        return "diverged"
    if -margin <= difference.low and difference.high <= margin:
        return "practically equal"
    if p < LEVEL:
        return "better" if difference.mean < 0 else "worse"
    return "not separable yet"


def seeds_needed(differences: npt.ArrayLike, margin: float, overlap: float = 0.0, family: int = 1) -> float:
    """How many seeds in all would decide, should the mean and the spread of ``differences``, shape (seeds,), stay as they are.

    The fewest, from 2 on, whose interval would exclude zero or lie within ± ``margin``. Among ``family`` tests zero has to be
    excluded at a level of 5% / family, which suffices for Holm whatever the other tests say. Infinity beyond
    :data:`MOST_SEEDS`: the correction for ``overlap`` leaves a width that no number of seeds takes away. NaN for fewer than
    two differences, and where one is not finite.
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.size < 2 or not np.isfinite(x).all():
        return np.nan
    seeds, size, sd = np.arange(2, MOST_SEEDS + 1), abs(x.mean()), x.std(ddof=1)
    errors = sd * _spread(seeds, overlap)
    separates = stdtrit(seeds - 1, 1 - LEVEL / 2 / family) * errors <= size
    fits = stdtrit(seeds - 1, 1 - LEVEL / 2) * errors <= margin - size
    enough = seeds[separates | fits]
    return float(enough[0]) if enough.size else np.inf


def paired_interval(a: pd.DataFrame, b: pd.DataFrame, metric: str = CRITERION, overlap: Overlap = NO_OVERLAP) -> Interval:
    """The mean of ``a - b`` over the seeds on which neither diverged, paired by seed; one run per seed in each frame."""
    return mean_interval(_paired(_by_seed(a, metric), _by_seed(b, metric)), overlap=overlap.of(metric))


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that did not diverge."""
    return runs[~runs["diverged"].astype(bool)]


def compare(runs: pd.DataFrame, baseline: str, overlap: Overlap = NO_OVERLAP, matters: float = MATTERS) -> pd.DataFrame:
    """One row per variant and scheduler, in order of appearance.

    ``seeds`` and ``diverged`` count runs; each metric comes as mean and 95% interval over the seeds that did not diverge;
    ``rank`` is within the variant; ``difference`` is the scheduler's validation loss minus that of ``baseline``, paired by
    seed, NaN where the baseline is missing. ``p`` is Holm-adjusted over the variant's schedulers. ``verdict`` (see
    :func:`verdict`) takes ``matters`` times the reference's mean loss as its margin; ``seeds_needed`` is there where it says
    "not separable yet".

    ``behind`` is the same against the variant's best, the first of those with rank 1. The best is known only after
    looking, when any pair could have become its comparison: ``behind_p`` is Holm-adjusted over all pairs of the variant.
    ``validation_loss_median`` and ``_iqm`` (interquartile mean) are over the seeds that did not diverge.
    """
    rows = [{"variant": v, "scheduler": s, **_figures(own, overlap)} for v, s, own in by_scheduler(runs)]
    table = pd.DataFrame(rows)
    table["rank"] = _ranks(table)
    judged = [_judged(own, runs, baseline, overlap, matters) for _, own in table.groupby("variant", sort=False)]
    robust = pd.DataFrame([_robust(own) for _, _, own in by_scheduler(runs)], index=table.index)
    return pd.concat([table, pd.concat(judged).loc[table.index], robust], axis="columns")


def tuning_gain(runs: pd.DataFrame, overlap: Overlap = NO_OVERLAP) -> pd.DataFrame:
    """One row per scheduler of both variants: tuned minus default, paired by seed, for each metric."""
    labels = [s for s in runs["scheduler"].unique() if len(_of(runs, "default", s)) and len(_of(runs, "tuned", s))]
    return pd.DataFrame({"scheduler": label, **_gain(runs, label, overlap)} for label in labels)


def lead(runs: pd.DataFrame, variant: str, first: str, other: str, overlap: Overlap = NO_OVERLAP) -> Interval:
    """How much lower the validation loss of ``first`` is than that of ``other``, paired by seed."""
    return paired_interval(_of(runs, variant, other), _of(runs, variant, first), overlap=overlap)


def by_scheduler(runs: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Variant, scheduler and their rows, in order of appearance."""
    for key, rows in runs.groupby(["variant", "scheduler"], sort=False):
        variant, scheduler = key if isinstance(key, tuple) else (key, "")
        yield str(variant), str(scheduler), rows


def _spread(seeds: "int | npt.NDArray[np.int_]", overlap: float) -> Floats:
    """The standard error of a mean over ``seeds``, in standard deviations of one value; Nadeau and Bengio's correction."""
    if not 0 <= overlap < 1:
        raise ValueError(f"an overlap lies between 0 and below 1 (given: {overlap})")
    return np.sqrt(1 / np.maximum(seeds, 1) + overlap / (1 - overlap))


def _of(runs: pd.DataFrame, variant: str, scheduler: str) -> pd.DataFrame:
    return runs[(runs["variant"] == variant) & (runs["scheduler"] == scheduler)]


def _by_seed(runs: pd.DataFrame, metric: str) -> "pd.Series[float]":
    kept = finished(runs).set_index("seed")[metric]
    if not kept.index.is_unique:
        raise ValueError("there are several runs of one seed; pairs need one each")
    return kept


def _paired(a: "pd.Series[float]", b: "pd.Series[float]") -> Floats:
    """``a - b`` over the seeds of both."""
    seeds = a.index.intersection(b.index)
    return a[seeds].to_numpy(float) - b[seeds].to_numpy(float)


def _figures(runs: pd.DataFrame, overlap: Overlap) -> dict[str, float]:
    kept = finished(runs)
    row: dict[str, float] = {"seeds": len(runs), "diverged": len(runs) - len(kept)}
    for metric in METRICS:
        row |= mean_interval(kept[metric].to_numpy(float), overlap=overlap.of(metric)).named(metric)
    return row


def _robust(runs: pd.DataFrame) -> dict[str, float]:
    losses = finished(runs)[CRITERION].to_numpy(float)
    middle = (np.median(losses), trim_mean(losses, 0.25)) if losses.size else (np.nan, np.nan)
    return {f"{CRITERION}_median": float(middle[0]), f"{CRITERION}_iqm": float(middle[1])}


def _gain(runs: pd.DataFrame, label: str, overlap: Overlap) -> dict[str, float]:
    tuned, default = _of(runs, "tuned", label), _of(runs, "default", label)
    row: dict[str, float] = {"seeds": int(finished(tuned)["seed"].isin(finished(default)["seed"]).sum())}
    for metric in METRICS:
        row |= paired_interval(tuned, default, metric, overlap).named(metric)
    return row


def _ranks(table: pd.DataFrame) -> "pd.Series[int]":
    """Rank within the variant: fewest diverged seeds first, then lowest mean validation loss; equals share the better rank."""
    rows = table[["variant", "diverged", CRITERION]].fillna({CRITERION: np.inf})
    keys = list(rows.itertuples(index=False, name=None))
    better = [sum(other[0] == own[0] and other < own for other in keys) for own in keys]
    return pd.Series(better, index=table.index) + 1


def _judged(own: pd.DataFrame, runs: pd.DataFrame, baseline: str, overlap: Overlap, matters: float) -> pd.DataFrame:
    """The differences of one variant's schedulers to the baseline and to the best; ``own`` are its rows of the comparison."""
    rho, variant = overlap.of(CRITERION), str(own["variant"].iloc[0])
    losses = {str(label): _by_seed(_of(runs, variant, label), CRITERION) for label in own["scheduler"]}
    best = str(own["scheduler"].iloc[int(own["rank"].argmin())])
    tables = _to_baseline(losses, baseline, rho, matters), _to_best(losses, best, rho, matters)
    return pd.concat(tables, axis="columns").set_index(own.index)


def _to_baseline(losses: Losses, baseline: str, rho: float, matters: float) -> pd.DataFrame:
    pairs = {label: _paired(own, losses.get(baseline, _NONE)) for label, own in losses.items()}
    raw = [np.nan if label == baseline else p_value(values, rho) for label, values in pairs.items()]
    p = dict(zip(losses, holm(raw), strict=True))
    table = _against(losses, baseline, p, "baseline", rho, matters)
    margin, family = _margin(losses, baseline, matters), int(np.isfinite(raw).sum())
    table["seeds_needed"] = [
        seeds_needed(values, margin, rho, family) if word == "not separable yet" else np.nan
        for word, values in zip(table["verdict"], pairs.values(), strict=True)
    ]
    return table


def _to_best(losses: Losses, best: str, rho: float, matters: float) -> pd.DataFrame:
    """As in :func:`compare`: the ps are adjusted over all pairs, and those with the best are shown."""
    pairs = list(combinations(losses, 2))
    p = holm([p_value(_paired(losses[a], losses[b]), rho) for a, b in pairs])
    to_best = {a if b == best else b: value for (a, b), value in zip(pairs, p, strict=True) if best in {a, b}}
    word: Verdict = "best" if len(losses[best]) else "diverged"
    table = _against(losses, best, {best: np.nan, **to_best}, word, rho, matters)
    return table.rename(columns=lambda name: name.replace("difference", "behind") if "difference" in name else f"behind_{name}")


def _against(
    losses: Losses, reference: str, p: Mapping[str, float], itself: Verdict, rho: float, matters: float
) -> pd.DataFrame:
    """One row per scheduler: ``difference`` to the reference with its interval, adjusted ``p``, ``verdict``."""
    margin = _margin(losses, reference, matters)
    rows = []
    for label, own in losses.items():
        found = mean_interval(_paired(own, losses.get(reference, _NONE)), overlap=rho)
        said: Verdict = itself if label == reference else verdict(found, p[label], margin) if reference in losses else ""
        rows.append({**found.named("difference"), "p": p[label], "verdict": said})
    return pd.DataFrame(rows)


def _margin(losses: Losses, reference: str, matters: float) -> float:
    return matters * abs(float(losses.get(reference, _NONE).mean()))
