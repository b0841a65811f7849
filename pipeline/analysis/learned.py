"""Whether what is recommended has learned anything: is it better than the same answer for every sample?"""

import math

import numpy as np
import pandas as pd

from pipeline.analysis.statistics import finished
from pipeline.analysis.summary import number, share
from pipeline.analysis.tables import ProblemResults
from pipeline.statistics.components import level

LOSS, METRIC = "validation_loss", "validation_metric"
SAME = "the same answer for every sample"
REMEDY = "look at data, model and rates before a scheduler is chosen"


def learned(results: ProblemResults, variant: str, label: str) -> str:
    """What is to be said of it, the loss and the metric of validation being compared seed by seed; mostly nothing."""
    runs = finished(results.runs)
    own = runs[(runs["variant"] == variant) & (runs["scheduler"] == label)]
    same = results.constant.set_index("seed").add_suffix("_same")
    both = own.groupby("seed")[[LOSS, METRIC]].mean().join(same, how="inner")
    if both.empty:
        return ""
    gains = {LOSS: both[f"{LOSS}_same"] - both[LOSS], METRIC: both[METRIC] - both[f"{METRIC}_same"]}
    if not results.metric.higher_is_better:
        gains[METRIC] = -gains[METRIC]
    better = {name: _is_better(gain) for name, gain in gains.items() if gain.notna().any()}
    means = both.mean()
    form = share if results.metric.is_share else number
    loss = f"loss ({number(means[LOSS])})", number(means[f"{LOSS}_same"])
    metric = f"{results.metric.display} ({form(means[METRIC])})", form(means[f"{METRIC}_same"])
    if True not in better.values():
        ours, theirs = (" and ".join(each) for each in zip(*[loss, metric][: len(better)], strict=True))
        is_sure = None not in better.values()
        begins = "nothing is learned" if is_sure else "it is open whether anything is learned"
        than = "no better" if is_sure else "not surely better"
        return f"{begins}: validation {ours}, {than} than {SAME} ({theirs}); {REMEDY}"
    if better.get(METRIC) is False:
        return f"its validation {metric[0]} is no better than that of {SAME} ({metric[1]}); its loss is"
    if better[LOSS] is False:
        return f"its validation {loss[0]} is no better than that of {SAME} ({loss[1]}); its {results.metric.display} is"
    return ""


def _is_better(gains: "pd.Series[float]") -> bool | None:
    """Whether the mean gain is above zero at 95%; None where that is open. Of one seed its sign is all that there is."""
    found = level(gains.to_numpy(np.float64)[:, None])
    if not found.mean > 0:
        return False
    low, _ = found.interval()
    return True if math.isnan(low) or low > 0 else None
