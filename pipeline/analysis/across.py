"""What is compared across problems: average ranks, Friedman's test, and Nemenyi's pairs; and relative differences.

The problem is the unit here. Ranks are what Friedman's test looks at, as Demšar (2006), "Statistical comparisons of
classifiers over multiple data sets", recommends. They carry the mean validation losses and the rule that divergence never
helps. Frames are comparisons (see :func:`pipeline.analysis.statistics.compare`) of several problems, with the columns
``problem``, ``variant``, ``scheduler`` and ``rank``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, studentized_range

from pipeline.statistics.across import across
from pipeline.statistics.components import LEVEL, Losses

ENOUGH = 5
"""Problems, by a choice of ours; with fewer, chi-squared is far from how Friedman's statistic is distributed."""
MANY = 10
"""Problems; with no more of them, the p of Friedman's test is rough: Demšar's rule of thumb asks for N > 10 and k > 5."""
_SCHEDULERS = 3  # what Friedman's test needs at least
_PAIRS = ("scheduler", "other", "p")


COMBINED = (
    "scheduler", "problems", "missing", "difference", "low", "high", "spread", "new_low", "new_high", "p", "adjusted",
    "lower_on", "higher_on", "regret", "regret_bound", "in_set",
)  # fmt: skip
"""Columns of :func:`combined`."""


def combined(problems: Mapping[str, Losses], baseline: str, matters: float) -> pd.DataFrame:
    """Rows of :data:`COMBINED`, a scheduler each, from each problem's losses of one variant.

    See :func:`pipeline.statistics.across.across`: differences to the baseline are shares of its loss, and so are regrets; where
    ``missing`` more problems are needed, only the mean difference and the counts are told. Empty without the baseline.
    """
    if not all(baseline in losses and np.isfinite(losses[baseline]).any() for losses in problems.values()):
        return pd.DataFrame(columns=list(COMBINED))
    found = across(problems, baseline, matters)
    regrets = found.regret.rename(columns={"bound": "regret_bound"})
    table = found.table.join(regrets, how="outer", sort=False) if len(found.regret) else found.table
    table = table.rename_axis("scheduler").reset_index().assign(problems=found.problems, missing=found.missing)
    return table.reindex(columns=list(COMBINED))


@dataclass(frozen=True)
class Friedman:
    """Friedman's test that all schedulers rank alike over the problems; ``p`` is None where it could not be done.

    ``ranks`` are what it is about: the mean ranks of the schedulers that all ``problems`` have, among themselves. ``missing``
    more problems are needed to do it (0: none are). Where ``p`` is below 5%, schedulers whose mean ranks lie further apart
    than ``critical_difference`` differ at 5%, all pairs at once; ``pairs`` has Nemenyi's ps, a row per pair.
    """

    ranks: Mapping[str, float]
    problems: int
    missing: int = 0
    p: float | None = None
    critical_difference: float | None = None
    pairs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_PAIRS)))

    @property
    def rejects(self) -> bool:
        """Whether it says that the schedulers do not rank alike; only then may pairs be looked at."""
        return self.p is not None and self.p < LEVEL

    @property
    def summary(self) -> pd.DataFrame:
        """Its figures as a table of one row."""
        numbers = {"p": self.p, "critical_difference": self.critical_difference}
        row = {"problems": self.problems, "schedulers": len(self.ranks), "missing": self.missing}
        return pd.DataFrame([row | {name: np.nan if value is None else value for name, value in numbers.items()}])


def average_ranks(comparison: pd.DataFrame) -> pd.DataFrame:
    """``variant``, ``scheduler``, ``rank`` (the mean over problems) and ``problems`` (their number), in order of appearance.

    Schedulers that share a rank within a problem share the mean of the places they take, as in Friedman's test.
    """
    places = comparison.groupby(["problem", "variant"], sort=False)["rank"].rank("average")
    groups = comparison.assign(rank=places).groupby(["variant", "scheduler"], sort=False)["rank"]
    return groups.agg(rank="mean", problems="size").reset_index()


def friedman(comparison: pd.DataFrame, variant: str) -> Friedman:
    """The test of one variant, over the schedulers that all its problems have; with fewer than three of them there is none."""
    ranks = _ranks(comparison[comparison["variant"] == variant])
    problems, schedulers = ranks.shape
    means = {str(label): float(mean) for label, mean in ranks.mean().items()}
    if problems < ENOUGH or schedulers < _SCHEDULERS:
        return Friedman(means, problems, max(0, ENOUGH - problems))
    return Friedman(means, problems, 0, _p(ranks), critical_difference(problems, schedulers), _nemenyi(ranks))


def critical_difference(problems: int, schedulers: int) -> float:
    """Nemenyi's critical difference of average ranks at 5%: q √(k (k + 1) / (6 N)) for k schedulers on N problems.

    q is the quantile of the studentized range with infinite degrees of freedom over √2 (Demšar 2006, table 5).
    """
    q = float(studentized_range.ppf(1 - LEVEL, schedulers, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(schedulers * (schedulers + 1) / (6 * problems)))


def _ranks(rows: pd.DataFrame) -> pd.DataFrame:
    """Problems × schedulers, both in order of appearance; only schedulers that every problem has."""
    table = rows.pivot(index="problem", columns="scheduler", values="rank")
    return table.loc[rows["problem"].unique(), rows["scheduler"].unique()].dropna(axis="columns").rank(axis="columns")


def _p(ranks: pd.DataFrame) -> float:
    if (ranks.nunique(axis="columns") == 1).all():  # the statistic is 0 / 0 where every problem finds all equal
        return 1.0
    return float(friedmanchisquare(*ranks.to_numpy(float).T).pvalue)


def _nemenyi(ranks: pd.DataFrame) -> pd.DataFrame:
    from scikit_posthocs import posthoc_nemenyi_friedman  # type: ignore[import-untyped]  # late: it brings seaborn

    p = posthoc_nemenyi_friedman(ranks.rename_axis(index=None, columns=None))
    return pd.DataFrame([(a, b, p.loc[a, b]) for a, b in combinations(ranks, 2)], columns=list(_PAIRS))
