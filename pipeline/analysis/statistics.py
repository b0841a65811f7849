"""Intervals over seeds, and the comparison of schedulers that they support.

Frames of runs have the columns of ``runs.parquet`` and hold one problem. A run that diverged has no meaningful final
figures: it is counted, left out of every mean, and puts its scheduler behind all those that never diverged. Test figures
are reported and enter no rank.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.95
CRITERION = "validation_loss"
METRICS = (CRITERION, "validation_accuracy", "test_loss", "test_accuracy")


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


def mean_interval(values: npt.ArrayLike, confidence: float = CONFIDENCE) -> Interval:
    """Student's t interval of the mean of ``values``, shape (seeds,).

    Equal values give an interval of zero width, one value no interval, none no mean either.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return Interval(np.nan, np.nan, np.nan)
    if x.size == 1:
        return Interval(float(x[0]), np.nan, np.nan)
    if x.min() == x.max():  # said apart: the rounded mean of equal values need not equal them
        return Interval(float(x[0]), float(x[0]), float(x[0]))
    with np.errstate(invalid="ignore", over="ignore"):  # a value that is not finite makes all three NaN or infinite
        mean = float(x.mean())
        half = float(stdtrit(x.size - 1, (1 + confidence) / 2) * x.std(ddof=1) / np.sqrt(x.size))
    return Interval(mean, mean - half, mean + half)


def paired_interval(a: pd.DataFrame, b: pd.DataFrame, metric: str = CRITERION) -> Interval:
    """The mean of ``a - b`` over the seeds on which neither diverged, paired by seed; one run per seed in each frame."""
    of_a, of_b = (_by_seed(runs, metric) for runs in (a, b))
    seeds = of_a.index.intersection(of_b.index)
    return mean_interval(of_a[seeds].to_numpy(float) - of_b[seeds].to_numpy(float))


def _by_seed(runs: pd.DataFrame, metric: str) -> "pd.Series[float]":
    kept = finished(runs).set_index("seed")[metric]
    if not kept.index.is_unique:
        raise ValueError("there are several runs of one seed; pairs need one each")
    return kept


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that did not diverge."""
    return runs[~runs["diverged"].astype(bool)]


def compare(runs: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """One row per variant and scheduler, in order of appearance.

    ``seeds`` and ``diverged`` count runs; each metric comes as mean and 95% interval over the seeds that did not diverge;
    ``rank`` is within the variant; ``difference`` is the scheduler's validation loss minus that of ``baseline``, paired by
    seed, NaN where the baseline is missing.
    """
    rows = [{"variant": v, "scheduler": s, **_figures(own)} for v, s, own in by_scheduler(runs)]
    table = pd.DataFrame(rows)
    table["rank"] = _ranks(table)
    differences = [
        paired_interval(own, _of(runs, variant, baseline)).named("difference") for variant, _, own in by_scheduler(runs)
    ]
    return pd.concat([table, pd.DataFrame(differences, index=table.index)], axis="columns")


def tuning_gain(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per scheduler of both variants: tuned minus default, paired by seed, for each metric."""
    labels = [s for s in runs["scheduler"].unique() if len(_of(runs, "default", s)) and len(_of(runs, "tuned", s))]
    return pd.DataFrame({"scheduler": label, **_gain(runs, label)} for label in labels)


def lead(runs: pd.DataFrame, variant: str, first: str, other: str) -> Interval:
    """How much lower the validation loss of ``first`` is than that of ``other``, paired by seed."""
    return paired_interval(_of(runs, variant, other), _of(runs, variant, first))


def by_scheduler(runs: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Variant, scheduler and their rows, in order of appearance."""
    for key, rows in runs.groupby(["variant", "scheduler"], sort=False):
        variant, scheduler = key if isinstance(key, tuple) else (key, "")
        yield str(variant), str(scheduler), rows


def _of(runs: pd.DataFrame, variant: str, scheduler: str) -> pd.DataFrame:
    return runs[(runs["variant"] == variant) & (runs["scheduler"] == scheduler)]


def _figures(runs: pd.DataFrame) -> dict[str, float]:
    kept = finished(runs)
    row: dict[str, float] = {"seeds": len(runs), "diverged": len(runs) - len(kept)}
    for metric in METRICS:
        row |= mean_interval(kept[metric].to_numpy(float)).named(metric)
    return row


def _gain(runs: pd.DataFrame, label: str) -> dict[str, float]:
    tuned, default = _of(runs, "tuned", label), _of(runs, "default", label)
    row: dict[str, float] = {"seeds": int(finished(tuned)["seed"].isin(finished(default)["seed"]).sum())}
    for metric in METRICS:
        row |= paired_interval(tuned, default, metric).named(metric)
    return row


def _ranks(table: pd.DataFrame) -> "pd.Series[int]":
    """Rank within the variant: fewest diverged seeds first, then lowest mean validation loss; equals share the better rank."""
    rows = table[["variant", "diverged", CRITERION]].fillna({CRITERION: np.inf})
    keys = list(rows.itertuples(index=False, name=None))
    better = [sum(other[0] == own[0] and other < own for other in keys) for own in keys]
    return pd.Series(better, index=table.index) + 1
