"""What several problems say together: a hierarchical model of relative differences, the set over problems, and counts.

The problem is the unit. Of each problem a label has a relative difference, its mean loss minus the baseline's over the
baseline's, y = μ + problem + error: a mixed model with a random problem effect, in which the seeds are nested and enter by
each problem's own error. μ is estimated as in a balanced design, each problem alike, and t has problems - 1 degrees of freedom;
this holds its level whatever the problems' variances (Ibragimov and Müller 2010, after Bakirov and Székely 2005). One residual
variance for all problems (statsmodels' ``MixedLM``) would be false, and weights that are estimated (its ``combine_effects``, by
Paule and Mandel with Hartung and Knapp's interval) covered 88% of the time with five problems of unlike noise. The problems'
variance is Hedges and Olkin's (1985): that of the effects without the mean squared error.

How many problems a statement holds on is a partial conjunction (Benjamini and Heller 2008). What is said of one problem
holds at 95% within it; over P problems, up to P × 5% of such statements may be wrong somewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from pipeline.statistics.comparison import MATTERS, best
from pipeline.statistics.components import LEVEL, Floats, Losses, as_share, differences, diverged, level

ENOUGH = 5
"""Problems; with fewer nothing is said over them."""


@dataclass(frozen=True)
class Across:
    """What may be said over ``problems``; where ``missing`` more are needed first, ``regret`` is empty.

    The counts and the mean ``difference`` of ``table`` are told all the same, its other columns are NaN then.

    ``table``, a row per label other than the baseline: ``difference``, relative, with ``low`` and ``high``; ``spread``, the
    standard deviation between problems; ``new_low`` and ``new_high``, where a new problem's true difference is expected
    with 95%; ``p`` and Holm's ``adjusted``; ``lower_on`` and ``higher_on``, the least number of problems, with 95% each, on
    which the true loss is lower or higher than the baseline's. ``regret`` is :func:`pipeline.statistics.comparison.best` with
    problems in the place of seeds and relative losses, so that its bounds are shares of the baseline's loss.
    """

    problems: int
    missing: int
    table: pd.DataFrame
    regret: pd.DataFrame

    @property
    def speaks(self) -> bool:
        """Whether there were problems enough."""
        return self.missing == 0


def across(problems: Mapping[str, Losses], baseline: str, matters: float = MATTERS) -> Across:
    """Over problems, each the data at hand; of labels that finished, and have an error, on all of them.

    Labels, the baseline among them, are those common to all problems on which no run diverged more often than the baseline's.
    """
    of = _effects(problems, baseline)
    missing = max(0, ENOUGH - len(problems))
    if of.empty:
        return Across(len(problems), missing, pd.DataFrame(), pd.DataFrame())
    labels = sorted(set(of["label"]), key=list(of["label"]).index)
    table = pd.DataFrame([_combined(of[of["label"] == label]) for label in labels], index=pd.Index(labels, name="label"))
    table["adjusted"] = _holm(table["p"].to_numpy(float))
    if missing:
        told = table[["difference", "lower_on", "higher_on"]].reindex(columns=table.columns)
        return Across(len(problems), missing, told, pd.DataFrame())
    relative: dict[str, Floats] = {label: 1 + of.loc[of["label"] == label, ["effect"]].to_numpy(float) for label in labels}
    return Across(len(problems), 0, table, best({baseline: np.ones((len(problems), 1)), **relative}, matters=matters))


def holds_on(p: "Mapping[str, float] | pd.Series[float]") -> int:
    """On how many problems at least, at 95%, the null of ``p`` is false; ps are one-sided, a NaN counts as 1.

    Partial conjunction with Bonferroni's bound: u of P hold while (P - u + 1) times the u-th smallest p is 5% at most.
    """
    ordered = np.sort(np.nan_to_num(np.asarray(list(p.values() if isinstance(p, Mapping) else p), dtype=np.float64), nan=1.0))
    failed = ordered * np.arange(len(ordered), 0, -1) > LEVEL
    return int(failed.argmax()) if failed.any() else len(ordered)


def _effects(problems: Mapping[str, Losses], baseline: str) -> pd.DataFrame:
    """A row per problem and label that all have: relative ``effect`` and ``error``, one-sided ps ``lower`` and ``higher``."""
    rows = []
    for losses in problems.values():
        scale, of, most = level(losses[baseline]).mean, differences(losses), diverged(losses[baseline])
        for label in losses:
            found = of.get((label, baseline))
            if found and found.error >= 0 and diverged(losses[label]) <= most:
                lower = found.p / 2 if found.mean < 0 else 1 - found.p / 2
                rows.append((label, as_share(found.mean, scale), as_share(found.error, scale), lower, 1 - lower))
    table = pd.DataFrame(rows, columns=["label", "effect", "error", "lower", "higher"])
    return table[table.groupby("label")["label"].transform("size") == len(problems)]


def _combined(own: pd.DataFrame) -> dict[str, float]:
    """The mean over problems of one label's effects."""
    effects, variances = own["effect"].to_numpy(float), own["error"].to_numpy(float) ** 2
    n, mean = len(effects), float(effects.mean())
    error = float(effects.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    spread = float(np.sqrt(max(0.0, n * error**2 - variances.mean())))
    t = -float(stdtrit(max(n - 1, 1), LEVEL / 2))
    half, new = t * error, t * float(np.hypot(error, spread))
    p = float(2 * stdtr(n - 1, -abs(mean) / error)) if error > 0 else np.nan if n < 2 else float(mean == 0)
    found = {"difference": mean, "low": mean - half, "high": mean + half, "spread": spread}
    counts = {"lower_on": holds_on(own["lower"]), "higher_on": holds_on(own["higher"])}
    return {**found, "new_low": mean - new, "new_high": mean + new, "p": p, **counts}


def _holm(p: Floats) -> Floats:
    """Holm's adjusted ps; statsmodels' would collect garbage at each call."""
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.asarray(np.minimum(1.0, adjusted)[np.argsort(order)])
