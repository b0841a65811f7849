"""Everything that is told of repeated runs at once: noise, verdicts, the set of the best, what to take, whether to add seeds.

Values are in their own unit and sense; inside, more is worse. Differences are taken on the seeds that labels share, or
unpaired.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.statistics import comparison, components, unpaired
from pipeline.statistics.comparison import MATTERS, Recommendation, recommendation
from pipeline.statistics.components import LEVEL, Estimate, Floats, Losses, Pair, nested
from pipeline.statistics.forecast import detectable, seeds_needed


@dataclass(frozen=True)
class Judgement:
    """What may be said of labels, all at once at 95%; effects and bounds in the unit of the values.

    ``table`` has a row per label, the best mean first: ``seeds``, ``diverged``, ``mean``, ``sd`` between seeds; ``difference``
    to the baseline with ``low`` to ``high`` for all at once, ``p`` adjusted for all, ``verdict``; ``regret`` against the best,
    what it does not exceed as ``bound``, and ``in_set``, whether the label may be the best. ``noise`` is the standard deviation
    between the seeds of a label, ``noise_of_difference`` that of a difference on one seed, NaN where nothing is paired.
    ``margin`` is the smallest difference of interest, ``found`` the smallest that these seeds find four times in five, for
    the pair with the least noise and that with the most. ``more`` is from how many to how many seeds a label would have to
    have to find ``margin``; None where none is needed.
    """

    table: pd.DataFrame
    noise: float
    noise_of_difference: float
    margin: float
    recommended: Recommendation
    found: tuple[float, float]
    more: tuple[float, float] | None


def judge(
    values: Losses,
    baseline: str,
    *,
    higher: bool,
    paired: bool,
    overlap: float = 0.0,
    share: float = MATTERS,
    margin: float | None = None,
) -> Judgement:
    """Judge labels by their values, (seeds, 1) each, NaN where a run diverged; those that are paired share their seeds.

    ``share`` of the baseline's mean (of the best one where no run of the baseline finished) is the smallest difference of
    interest, or else ``margin``, in the unit of the values.
    """
    sign = -1.0 if higher else 1.0
    losses: dict[str, Floats] = {label: sign * np.asarray(own, dtype=np.float64) for label, own in values.items()}
    figures = pd.DataFrame({label: vars(nested(own)) for label, own in losses.items()}).T
    means, variances = figures["mean"], figures["between"]
    mean = abs(means[baseline] if np.isfinite(means[baseline]) else means.min())
    margin = share * mean if margin is None else margin
    share = margin / mean if mean else 0.0
    if paired:
        of, against = components.differences(losses, overlap), comparison.against(losses, baseline, overlap, share)
        best = comparison.best(losses, overlap)
    else:
        of, against, best = unpaired.differences(losses), unpaired.against(losses, baseline, share), unpaired.best(losses)
    best = best.assign(bounded=best["bound"] <= margin, seeds=list(map(len, losses.values())), sd=np.sqrt(variances))
    recommended = recommendation(best, {label: (label != baseline, best["loss"][label]) for label in losses})
    level = LEVEL / (len(losses) - 1)
    pairs = [of[label, baseline] for label in losses if label != baseline]
    found = [effect for pair in pairs if np.isfinite(effect := detectable(pair, level))] or [np.nan]
    return Judgement(
        _table(best, against, sign),
        _pooled(variances.tolist()),
        _pooled([pair.between for pair in pairs]) if paired else np.nan,
        margin,
        recommended,
        (min(found), max(found)),
        None if recommended.bounded else more_seeds(of, best, recommended.label, margin, level),
    )


def _table(best: pd.DataFrame, against: pd.DataFrame, sign: float) -> pd.DataFrame:
    """What is judged of each label, the best first, in the values' own direction: ``sign`` is -1 where higher is better."""
    low, high = ("all_low", "all_high") if sign > 0 else ("all_high", "all_low")
    table = best[["seeds", "diverged"]].assign(
        mean=sign * best["loss"],
        sd=best["sd"],
        difference=sign * against["difference"],
        low=sign * against[low],
        high=sign * against[high],
        p=against["adjusted"],
        verdict=against["verdict"],
        regret=best["regret"],
        bound=best["bound"],
        in_set=best["in_set"],
    )
    return table.loc[best["loss"].sort_values(kind="stable").index]


def _pooled(variances: list[float]) -> float:
    known = [variance for variance in variances if np.isfinite(variance)]
    return float(np.sqrt(np.mean(known))) if known else np.nan


def more_seeds(
    of: Mapping[Pair, Estimate], best: pd.DataFrame, label: str | None, margin: float, level: float
) -> tuple[float, float]:
    """Seeds for every pair of the recommended label with another that may be the best."""
    others = [str(other) for other in best.index[best["in_set"]] if other != label]
    ranges = [seeds_needed(of[label, other], margin, level) for other in others if label]
    low, high = np.max(ranges, axis=0) if ranges else (np.nan, np.nan)
    return float(low), float(high)
