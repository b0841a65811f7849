"""Intervals over seeds, and the comparison of schedulers that they support.

Frames of runs have the columns of ``runs.parquet`` and hold one problem. The seed is the unit: schedulers are compared by
their paired differences over the seeds on which neither diverged. A run that diverged has no meaningful final figures: it is
counted, left out of every mean, and puts its scheduler behind all those that never diverged. The seeds that are left are not
missing at random, so that no scheduler is called better than, or equal to, one that diverged less often. Test figures are
reported and enter no rank.

Seeds that draw their splits from one pool share samples, so their figures are correlated and a plain t interval is too
narrow. :class:`Overlap` says by how much, and everything here corrects for it as Nadeau and Bengio (2003), "Inference for
the generalization error", do: the variance of a mean of n values is s² (1/n + ρ/(1-ρ)) instead of s²/n.
"""

import gc
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import nctdtr, stdtr, stdtrit
from scipy.stats import trim_mean
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
CRITERION = "validation_loss"
METRICS = (CRITERION, "validation_metric", "test_loss", "test_metric")
MATTERS = 0.01
"""The smallest difference in loss that is of interest, as a share of the reference's mean loss."""
POWER = 0.8
"""The chance of a verdict that a number of seeds is to give."""
MOST_SEEDS = 1_000_000
"""Where the search for that number ends."""

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "practically equal", "not separable yet"]
"""What a difference to a reference says."""


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

    It is NaN for fewer than two values. Where n values are equal there is no spread, and t has no value: it is then that of
    the sign-flip test, 2 / 2ⁿ, and 1 where all are zero. ValueError for an overlap outside [0, 1).
    """
    x = np.asarray(values, dtype=np.float64)
    spread = _spread(x.size, overlap)
    if x.size < 2:
        return np.nan
    if x.min() == x.max():
        return 1.0 if x[0] == 0 else float(2.0 ** (1 - x.size))
    with np.errstate(all="ignore"):  # NaN where a value is not finite
        t = x.mean() / (x.std(ddof=1) * spread)
    return float(2 * stdtr(x.size - 1, -abs(t)))


def holm(p: npt.ArrayLike) -> Floats:
    """Holm's adjusted p of each test of a family, shape (tests,); a NaN stays one and is no member of the family."""
    adjusted = np.array(p, dtype=np.float64)
    tests = ~np.isnan(adjusted)
    if tests.any():
        with _little_garbage():
            adjusted[tests] = multipletests(adjusted[tests], method="holm")[1]
    return adjusted


@contextmanager
def _little_garbage() -> Iterator[None]:
    """Statsmodels collects garbage at every call; all that is there already, a third of a second's worth, is none."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def verdict(difference: Interval, p: float, margin: float) -> Verdict:
    """What the interval of a scheduler's loss minus a reference's says, with the adjusted ``p`` of its test.

    Practically equal, also where zero is excluded: the 95% interval lies within ± ``margin`` (two one-sided tests at 2.5%,
    each pair by itself). Otherwise better or worse where ``p`` is below 5%.
    """
    if -margin <= difference.low and difference.high <= margin:
        return "practically equal"
    if p < LEVEL:
        return "better" if difference.mean < 0 else "worse"
    return "not separable yet"


def seeds_needed(differences: npt.ArrayLike, margin: float, overlap: float = 0.0, family: int = 1) -> float:
    """How many seeds in all give a verdict with a chance of :data:`POWER`.

    That is if the mean and the spread of ``differences``, shape (seeds,), are the true ones: the fewest seeds, from 2 on, with
    which the test rejects zero so often, or the interval lies within ± ``margin``. Among ``family`` tests zero has to be
    rejected at a level of 5% / family, which suffices for Holm whatever the other tests say. Infinity where no number up to
    :data:`MOST_SEEDS` does: the correction for ``overlap`` leaves a width that seeds do not take away, or the mean lies on the
    margin. NaN for fewer than two differences, for equal ones, which show no spread, and where one is not finite.
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.size < 2 or not np.isfinite(x).all() or x.min() == x.max():
        return np.nan
    mean, sd = abs(float(x.mean())), float(x.std(ddof=1))

    def chance(seeds: int) -> float:
        error = sd * float(_spread(seeds, overlap))
        return max(_separates(mean / error, seeds, LEVEL / family), _fits(mean / error, margin / error, seeds))

    found = 2 + bisect_left(range(2, MOST_SEEDS + 1), POWER, key=chance)
    return float(found) if found <= MOST_SEEDS else np.inf


def paired_interval(a: pd.DataFrame, b: pd.DataFrame, metric: str = CRITERION, overlap: Overlap = NO_OVERLAP) -> Interval:
    """The mean of ``a - b`` over the seeds on which both have runs that finished, paired by seed."""
    return mean_interval(_paired(_by_seed(a, metric), _by_seed(b, metric)), overlap=overlap.of(metric))


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that did not diverge."""
    return runs[~runs["diverged"].astype(bool)]


def compare(runs: pd.DataFrame, baseline: str, overlap: Overlap = NO_OVERLAP, matters: float = MATTERS) -> pd.DataFrame:
    """One row per variant and scheduler, in order of appearance.

    ``diverged`` of ``runs`` did, on so many ``seeds``; each metric comes as mean and 95% interval over the seeds, each of
    which is the mean of its runs that finished;
    ``rank`` is within the variant; ``difference`` is the scheduler's validation loss minus that of ``baseline``, paired by
    seed, NaN where the baseline is missing. ``p`` is Holm-adjusted over the variant's schedulers. ``verdict`` (see
    :func:`verdict`) takes ``matters`` times the reference's mean loss as its margin; it is "baseline" for the baseline itself
    and empty where that has no run that finished. A scheduler that diverged more often is called that, "diverged in 8 of 20
    runs", whatever is left says; one that diverged less often is never called worse. ``seeds_needed`` is there where
    "not separable yet" is said and the two diverged equally often.

    ``behind`` is the same against the variant's best, the first of those with rank 1. The best is known only after
    looking, when any pair could have become its comparison: ``behind_p`` is Holm-adjusted over all pairs of the variant, and
    ``behind_seeds_needed`` counts on as many. ``validation_loss_median`` and ``_iqm`` (interquartile mean) are over the seeds
    that did not diverge. The other metrics have their differences to the baseline, ``test_loss_difference`` and so on.
    """
    rows = [{"variant": v, "scheduler": s, **_figures(own, overlap)} for v, s, own in by_scheduler(runs)]
    table = pd.DataFrame(rows)
    table["rank"] = _ranks(table)
    judged = [_judged(own, runs, baseline, overlap, matters) for _, own in table.groupby("variant", sort=False)]
    robust = pd.DataFrame([_robust(own) for _, _, own in by_scheduler(runs)], index=table.index)
    confirmed = pd.DataFrame(
        [_confirmed(own, _of(runs, v, baseline), overlap) for v, _, own in by_scheduler(runs)], index=table.index
    )
    return pd.concat([table, pd.concat(judged).loc[table.index], robust, confirmed], axis="columns")


def judged(
    own: pd.DataFrame, reference: pd.DataFrame, family: int = 1, overlap: float = 0.0, matters: float = MATTERS
) -> dict[str, object]:
    """``difference``, its interval, ``p``, ``verdict`` and ``seeds_needed`` of one scheduler's runs to another's.

    As in :func:`compare`, but for ``p``, which is adjusted for ``family`` tests after Bonferroni; ``overlap`` is the
    criterion's ρ.
    """
    a, b = _losses(own), _losses(reference)
    p = min(1.0, family * p_value(_paired(a.finished, b.finished), overlap))
    return _against(a, b, p, family, overlap, matters)


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
    """The mean of each seed over its runs that finished."""
    return finished(runs).groupby("seed")[metric].mean().astype(float)


def _paired(a: "pd.Series[float]", b: "pd.Series[float]") -> Floats:
    """``a - b`` over the seeds of both."""
    seeds = a.index.intersection(b.index)
    return a.reindex(seeds).to_numpy() - b.reindex(seeds).to_numpy()


def _figures(runs: pd.DataFrame, overlap: Overlap) -> dict[str, float]:
    row: dict[str, float] = {"seeds": runs["seed"].nunique(), "runs": len(runs), "diverged": int(runs["diverged"].sum())}
    for metric in METRICS:
        row |= mean_interval(_by_seed(runs, metric).to_numpy(), overlap=overlap.of(metric)).named(metric)
    return row


def _robust(runs: pd.DataFrame) -> dict[str, float]:
    losses = _by_seed(runs, CRITERION).to_numpy()
    middle = (np.median(losses), trim_mean(losses, 0.25)) if losses.size else (np.nan, np.nan)
    return {f"{CRITERION}_median": float(middle[0]), f"{CRITERION}_iqm": float(middle[1])}


def _gain(runs: pd.DataFrame, label: str, overlap: Overlap) -> dict[str, float]:
    tuned, default = _of(runs, "tuned", label), _of(runs, "default", label)
    row: dict[str, float] = {"seeds": int(finished(tuned)["seed"].isin(finished(default)["seed"]).sum())}
    for metric in METRICS:
        row |= paired_interval(tuned, default, metric, overlap).named(metric)
    return row


def _ranks(table: pd.DataFrame) -> "pd.Series[int]":
    """Rank within the variant: fewest diverged runs first, then lowest mean validation loss; equals share the better rank."""
    rows = table[["variant", "diverged", CRITERION]].fillna({CRITERION: np.inf})
    keys = list(rows.itertuples(index=False, name=None))
    better = [sum(other[0] == own[0] and other < own for other in keys) for own in keys]
    return pd.Series(better, index=table.index) + 1


@dataclass(frozen=True)
class _Losses:
    """One scheduler's runs of one variant: the criterion by seed, of those that finished, and how many there are."""

    finished: "pd.Series[float]"
    runs: int
    diverged: int


def _losses(runs: pd.DataFrame) -> _Losses:
    return _Losses(_by_seed(runs, CRITERION), len(runs), int(runs["diverged"].sum()))


_Schedulers = Mapping[str, _Losses]
"""The schedulers of one variant."""


def _judged(own: pd.DataFrame, runs: pd.DataFrame, baseline: str, overlap: Overlap, matters: float) -> pd.DataFrame:
    """The differences of one variant's schedulers to the baseline and to the best; ``own`` are its rows of the comparison."""
    rho, variant = overlap.of(CRITERION), str(own["variant"].iloc[0])
    of = {str(label): _losses(_of(runs, variant, label)) for label in own["scheduler"]}
    best = str(own["scheduler"].iloc[int(own["rank"].argmin())])
    tables = _to_baseline(of, baseline, rho, matters), _to_best(of, best, rho, matters)
    return pd.concat(tables, axis="columns").set_index(own.index)


def _to_baseline(of: _Schedulers, baseline: str, rho: float, matters: float) -> pd.DataFrame:
    reference = of.get(baseline, _Losses(_NONE, 0, 0))
    raw = [
        np.nan if label == baseline else p_value(_paired(own.finished, reference.finished), rho) for label, own in of.items()
    ]
    p = dict(zip(of, holm(raw), strict=True))
    table = _differences(of, reference, p, int(np.isfinite(raw).sum()), rho, matters)
    table.loc[[label == baseline for label in of], "verdict"] = "baseline"
    return table


def _to_best(of: _Schedulers, best: str, rho: float, matters: float) -> pd.DataFrame:
    """As in :func:`compare`: the ps are adjusted over all pairs, and those with the best are shown."""
    pairs = list(combinations(of, 2))
    raw = [p_value(_paired(of[a].finished, of[b].finished), rho) for a, b in pairs]
    p = {a if b == best else b: value for (a, b), value in zip(pairs, holm(raw), strict=True) if best in {a, b}}
    table = _differences(of, of[best], {best: np.nan, **p}, int(np.isfinite(raw).sum()), rho, matters)
    if len(of[best].finished):
        table.loc[[label == best for label in of], "verdict"] = "best"
    return table.rename(columns=lambda name: name.replace("difference", "behind") if "difference" in name else f"behind_{name}")


def _differences(
    of: _Schedulers, reference: _Losses, p: Mapping[str, float], family: int, rho: float, matters: float
) -> pd.DataFrame:
    return pd.DataFrame([_against(own, reference, p[label], family, rho, matters) for label, own in of.items()])


def _against(own: _Losses, reference: _Losses, p: float, family: int, rho: float, matters: float) -> dict[str, object]:
    """``difference`` to the reference with its interval, adjusted ``p``, ``verdict`` and ``seeds_needed``."""
    values = _paired(own.finished, reference.finished)
    margin = matters * abs(float(reference.finished.mean()))
    found = mean_interval(values, overlap=rho)
    said = _said(own, reference, verdict(found, p, margin))
    is_open = said == "not separable yet" and own.diverged == reference.diverged
    needed = seeds_needed(values, margin, rho, family) if is_open else np.nan
    return {**found.named("difference"), "p": p, "verdict": said, "seeds_needed": needed}


def _said(own: _Losses, reference: _Losses, word: Verdict) -> str:
    """The verdict ``word``, which the seeds that both finished give, where divergence lets it stand."""
    if own.finished.empty or (own.diverged > reference.diverged and len(reference.finished)):
        return f"diverged in {own.diverged} of {own.runs} runs"
    if reference.finished.empty:
        return ""
    return "not separable yet" if word == "worse" and own.diverged < reference.diverged else word


def _confirmed(own: pd.DataFrame, reference: pd.DataFrame, overlap: Overlap) -> dict[str, float]:
    """The differences to the reference in all metrics but the criterion."""
    row: dict[str, float] = {}
    for metric in METRICS:
        if metric != CRITERION:
            row |= paired_interval(own, reference, metric, overlap).named(f"{metric}_difference")
    return row


def _separates(effect: float, seeds: int, level: float) -> float:
    """The chance that a t test rejects zero on the right side, for a true mean of ``effect`` standard errors."""
    return float(1 - nctdtr(seeds - 1, effect, stdtrit(seeds - 1, 1 - level / 2)))


def _fits(effect: float, margin: float, seeds: int) -> float:
    """The chance, or a little less, that the interval lies within ± ``margin``; both are in standard errors."""
    half = stdtrit(seeds - 1, 1 - LEVEL / 2)
    below, above = (1 - nctdtr(seeds - 1, margin + side * effect, half) for side in (-1, 1))
    return float(below + above - 1)
