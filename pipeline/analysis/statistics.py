"""Runs as figures: means over seeds, differences to the baseline, and what each scheduler may cost against the best.

Frames of runs have the columns of ``runs.parquet`` and hold one problem. Here they become matrices of seeds and streams, whose
arithmetic is :mod:`pipeline.statistics`: a seed's figure is the mean of its streams, and schedulers are compared by their
differences, seed by seed and stream by stream, where neither diverged. A run that diverged has no meaningful final figures:
it is counted, left out of every mean, and puts its scheduler behind all those that diverged less often. What is left of such
a scheduler is no fair sample, so that it is never called better than, or equal to, one that diverged less often. Test figures
are reported and enter no rank.

Seeds that draw their splits from one pool share samples, so their figures are correlated; :class:`Overlap` says by how much.
Differences speak of *these data*, for which that is no matter (:mod:`pipeline.statistics.components`), and beside it of *data
like these*; levels speak of the latter.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import trim_mean

from pipeline.config.arrays import Floats
from pipeline.statistics.comparison import MATTERS, against, best
from pipeline.statistics.components import (
    LEVEL,
    Estimate,
    Losses,
    as_share,
    differences,
    estimate,
    level,
    nested,
    split_means,
    steadied,
)
from pipeline.statistics.sequential import Plan

CONFIDENCE = 1 - LEVEL
CRITERION = "validation_loss"
RACED = "recommended"
"""The variant whose seeds may be as many as it takes."""
LIKE_THESE = {"low": "difference_low", "high": "difference_high", "verdict": "verdict", "bound": "regret_bound"}
"""What is told of data like these, too: its column is ``like_these_`` and this name."""
METRICS = (CRITERION, "validation_metric", "test_loss", "test_metric")


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


class Interval(NamedTuple):
    """A mean over seeds and its confidence interval, in the unit of the values; NaN where there are too few of them."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, found: Estimate, alpha: float = LEVEL) -> "Interval":
        """That of an estimate, at 95% or 1 - ``alpha``."""
        return cls(*(end + 0.0 for end in (found.mean, *found.interval(alpha))))  # a zero has no sign

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; never where there is no interval."""
        return self.low > 0 or self.high < 0

    def named(self, name: str) -> dict[str, float]:
        """Its three columns: ``name``, ``name_low``, ``name_high``."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high}


UNKNOWN = Interval(np.nan, np.nan, np.nan)


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that did not diverge."""
    return runs[~runs["diverged"].astype(bool)]


def matrices(runs: pd.DataFrame, metric: str = CRITERION, by: str = "scheduler") -> dict[Any, Floats]:
    """The metric of each scheduler, (seeds, streams), NaN where a run diverged; all have the same seeds, in order.

    ``by`` is the column that tells whose a run is, one run each of a seed and a stream (the first, where there is no such
    column).
    """
    whose, labels = pd.factorize(runs[by])
    return dict(zip(labels, _grids(runs, metric, whose, len(labels)), strict=True))


def mean_interval(runs: pd.DataFrame, metric: str = CRITERION, overlap: float = 0.0) -> Interval:
    """The mean of some runs over seeds; unknown where none finished."""
    return Interval.of(level(_grids(runs, metric, np.zeros(len(runs), dtype=np.intp), 1)[0], overlap))


def _grids(runs: pd.DataFrame, metric: str, whose: npt.NDArray[np.intp], labels: int) -> Floats:
    """The metric, (labels, seeds, streams), NaN where there is none; ``whose`` is the number of each run's label."""
    rows = np.unique(runs["seed"].to_numpy(), return_inverse=True)[1]
    streams = runs["stream"].to_numpy() if "stream" in runs else np.ones(len(runs), dtype=int)
    columns = np.unique(streams, return_inverse=True)[1]
    found = np.full((labels, rows.max() + 1, columns.max() + 1), np.nan)
    found[whose, rows, columns] = np.where(runs["diverged"].to_numpy(bool), np.nan, runs[metric].to_numpy(float))
    return found


HEADLINE = "validation_metric"


class Headline(NamedTuple):
    """What is to be known of the headline metric: which way is better, and the smallest share of it that is of interest."""

    higher_is_better: bool = True
    matters: float = MATTERS


def compare(
    runs: pd.DataFrame,
    baseline: str,
    overlap: Overlap = NO_OVERLAP,
    matters: float = MATTERS,
    headline: Headline = Headline(),  # noqa: B008  # it is frozen
    plan: Plan | None = None,
) -> pd.DataFrame:
    """One row per variant and scheduler, in order of appearance.

    ``diverged`` of ``runs`` did, on so many ``seeds``; each metric comes as mean and 95% interval. ``rank`` is within the
    variant: fewest diverged runs first, then the lowest mean validation loss; equals share the better one.

    ``difference`` is the scheduler's validation loss minus that of ``baseline`` with the pair's own 95% interval; ``p`` is
    adjusted for all schedulers of the variant, and so is ``verdict`` (see :func:`pipeline.statistics.comparison.against`;
    empty where the baseline has no run that finished). ``regret`` is the loss of choosing it instead of the best,
    ``regret_bound`` what that does not exceed and ``in_set`` whether it may be the best itself, at 95% for all at once; both
    are shares of the lowest mean loss. ``matters`` is the smallest such share that is of interest. All of this speaks of
    these data; ``like_these_low``, ``_high``, ``_verdict`` and ``_bound`` are the same for data like these.

    ``validation_loss_median`` and ``_iqm`` (interquartile mean) are over seeds. The other metrics have their differences to
    the baseline, ``test_loss_difference`` and so on. The headline metric has a ``validation_metric_verdict`` and, in its own
    unit, a ``validation_metric_regret`` and its ``_bound``, too: a family of its own, of the configurations that were chosen
    by their loss.

    With a ``plan`` the recommended ran on as many seeds as it took by it. Then all that compares them, in any metric, is at
    the level of the look it stopped at, and ``p`` is that of the sequence: 95% and 5% hold over all looks.
    """
    of_variant = {str(variant): own for variant, own in runs.groupby("variant", sort=False)}
    fixed = {"tuned": matrices(of_variant[RACED])} if RACED in of_variant else {}
    parts = []
    for variant, own in of_variant.items():
        seeds, raced = own["seed"].nunique(), plan if variant == RACED else None
        terms = Terms(overlap, {CRITERION: matters, HEADLINE: headline.matters}, seeds, raced, fixed.get(variant))
        parts.append(_compared(own, baseline, terms, headline))
    return pd.concat(parts, ignore_index=True)


class Terms(NamedTuple):
    """On what terms so many ``seeds`` of a variant are judged: at 5%, or at the level of a ``plan``'s look at them.

    ``matters`` has the smallest share of interest of each metric that is judged. ``fixed`` are the losses of fixed
    configurations, where each seed has one of its own: they tell what of a difference splits cause.
    """

    overlap: Overlap
    matters: Mapping[str, float]
    seeds: int
    plan: Plan | None
    fixed: Losses | None

    @property
    def level(self) -> float:
        """The level of each family."""
        return self.plan.level(self.seeds) if self.plan else LEVEL

    def p(self, p: float) -> float:
        """The p to be compared with 5%."""
        return self.plan.repeated(p, self.seeds) if self.plan else p


def tuning_gain(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per scheduler of both variants: tuned minus default, paired by seed and stream, for each metric."""
    both = runs[runs["variant"].isin(["default", "tuned"])]
    both = both.assign(of=both["variant"] + "/" + both["scheduler"])
    labels = [label for label in both["scheduler"].unique() if both.loc[both["scheduler"] == label, "variant"].nunique() == 2]
    found: dict[str, dict[str, float]] = {label: {} for label in labels}
    for metric in METRICS if labels else ():
        of = matrices(both, metric, "of")
        figures = [nested(of[f"tuned/{label}"] - of[f"default/{label}"]) for label in labels]
        for label, own in zip(labels, steadied(figures, len(labels)), strict=True):
            found[label].setdefault("seeds", own.splits)
            found[label] |= Interval.of(estimate(own)).named(metric)
    return pd.DataFrame({"scheduler": label, **figures} for label, figures in found.items())


def _compared(runs: pd.DataFrame, baseline: str, terms: Terms, headline: Headline) -> pd.DataFrame:
    """The rows of one variant."""
    variant = str(runs["variant"].iloc[0])
    of_schedulers = runs.groupby("scheduler", sort=False)
    rows = [{"variant": variant, "scheduler": str(label), **_figures(own, terms.overlap)} for label, own in of_schedulers]
    table = pd.DataFrame(rows, index=pd.Index([row["scheduler"] for row in rows]))
    table["rank"] = _ranks(table)
    of = matrices(runs)
    robust = pd.DataFrame({label: _robust(values) for label, values in of.items()}).T
    others = [_to_baseline(runs, metric, baseline, terms) for metric in METRICS if metric != CRITERION]
    judged = _judged(table, of, baseline, terms).join(_regrets(table, of, terms))
    wide = judged
    if rho := terms.overlap.of(CRITERION):
        wide = _judged(table, of, baseline, terms, rho).join(_regrets(table, of, terms, rho))
    like_these = pd.DataFrame({f"like_these_{name}": wide[column] for name, column in LIKE_THESE.items()})
    in_metric = _in_metric(runs, table, baseline, terms, headline)
    return pd.concat([table, judged, like_these, robust, *others, in_metric], axis="columns")


def _figures(runs: pd.DataFrame, overlap: Overlap) -> dict[str, float]:
    row: dict[str, float] = {"seeds": runs["seed"].nunique(), "runs": len(runs), "diverged": int(runs["diverged"].sum())}
    for metric in METRICS:
        row |= mean_interval(runs, metric, overlap.of(metric)).named(metric)
    return row


def _ranks(table: pd.DataFrame) -> "pd.Series[int]":
    keys = list(table[["diverged", CRITERION]].fillna({CRITERION: np.inf}).itertuples(index=False, name=None))
    return pd.Series([1 + sum(other < own for other in keys) for own in keys], index=table.index)


def _judged(
    table: pd.DataFrame, of: Losses, baseline: str, terms: Terms, overlap: float = 0.0, metric: str = CRITERION
) -> pd.DataFrame:
    """Difference, p and verdict against the baseline, by a metric of which less is better in ``of``."""
    found = pd.DataFrame(index=table.index, columns=["difference", "low", "high", "adjusted"], dtype=float).assign(verdict="")
    if baseline in of and np.isfinite(of[baseline]).any():
        fixed = terms.fixed if overlap else None
        found = against(of, baseline, overlap, terms.matters[metric], terms.level, fixed)[list(found)]
        found["adjusted"] = found["adjusted"].map(terms.p)
        found.loc[baseline, ["low", "high"]] = 0.0
    found.loc[table[CRITERION].isna(), "verdict"] = "diverged"
    found.loc[found.index == baseline, "verdict"] = "baseline"
    names = {"low": "difference_low", "high": "difference_high", "adjusted": "p"}
    return found.rename(columns=names)


def _regrets(table: pd.DataFrame, of: Losses, terms: Terms, overlap: float = 0.0) -> pd.DataFrame:
    found = best(of, overlap, terms.matters[CRITERION], terms.level, terms.fixed if overlap else None)
    regret = found["regret"].map(partial(as_share, of=lowest_loss(table)))
    return pd.DataFrame({"in_set": found["in_set"], "regret": regret, "regret_bound": found["relative"]})


def lowest_loss(table: pd.DataFrame) -> float:
    """Of which regrets are shares, in the rows of a variant: the lowest mean loss of those that diverged least often."""
    return abs(float(table.loc[table["diverged"] == table["diverged"].min(), CRITERION].min()))


def _in_metric(runs: pd.DataFrame, table: pd.DataFrame, baseline: str, terms: Terms, headline: Headline) -> pd.DataFrame:
    """Verdict and regret in the headline metric, turned round where more of it is better."""
    sign = -1.0 if headline.higher_is_better else 1.0
    of = {label: sign * values for label, values in matrices(runs, HEADLINE).items()}
    judged = _judged(table, of, baseline, terms, metric=HEADLINE)
    costs = best(of, 0.0, headline.matters, terms.level)
    found = {"verdict": judged["verdict"], "regret": costs["regret"], "regret_bound": costs["bound"]}
    return pd.DataFrame({f"{HEADLINE}_{name}": column for name, column in found.items()})


def _robust(values: Floats) -> dict[str, float]:
    known = split_means(values)
    known = known[np.isfinite(known)]
    middle = (np.median(known), trim_mean(known, 0.25)) if known.size else (np.nan, np.nan)
    return {f"{CRITERION}_median": float(middle[0]), f"{CRITERION}_iqm": float(middle[1])}


def _to_baseline(runs: pd.DataFrame, metric: str, baseline: str, terms: Terms) -> pd.DataFrame:
    """The differences to the baseline in another metric."""
    of = matrices(runs, metric)
    found = differences(of)
    rows = {label: Interval.of(found[label, baseline], terms.level) if (label, baseline) in found else UNKNOWN for label in of}
    if baseline in of and np.isfinite(of[baseline]).any():
        rows[baseline] = Interval(0.0, 0.0, 0.0)
    return pd.DataFrame({label: row.named(f"{metric}_difference") for label, row in rows.items()}).T
