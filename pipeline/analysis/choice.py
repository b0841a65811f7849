"""The one configuration that headline, script, model and verdict speak of: which scheduler, and what choosing it may cost."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.analysis.statistics import CRITERION
from pipeline.analysis.tables import ProblemResults, recommendations
from pipeline.statistics.comparison import Reason, recommendation


@dataclass(frozen=True)
class Choice:
    """What one variant's runs recommend; ``scheduler`` and ``run`` are None where no run finished.

    ``bound`` is what the regret does not exceed at 95%, as a share of the lowest mean loss, on these data, and ``like_these``
    on data like these; ``run`` is the configuration's run that fared best beside the others of its seed. ``tolerance`` is the
    factor by which the peak rate may be wrong either way for 5% of loss; NaN where no sweep tells.
    """

    variant: str
    scheduler: str | None
    reason: Reason
    bound: float
    like_these: float
    run: str | None
    tolerance: float = np.nan

    @property
    def is_bounded(self) -> bool:
        """Whether the regret is surely too small to matter."""
        return self.reason is Reason.PREFERRED


Choices = Mapping[str, Choice]
"""By variant."""


def last(found: Choices) -> Choice:
    """The one to follow: of what was confirmed, else of what was tuned, else as written."""
    return list(found.values())[-1]


def choices(
    results: ProblemResults, compared: pd.DataFrame, widths: pd.DataFrame, baseline: str, matters: float
) -> dict[str, Choice]:
    """What each variant's runs recommend.

    Of the schedulers whose regret is bounded by ``matters`` the simplest, and of equally simple ones the most tolerant: the
    baseline first, then by the number of arguments that were searched, then by the width of the range of good peak rates.
    Else the one whose regret has the lowest bound. ``compared`` has the problem's rows of the comparison, ``widths`` is of
    :func:`pipeline.analysis.evidence.widths`.
    """
    preference = _preference(results, compared["scheduler"].unique(), widths, baseline)
    found = {}
    for variant in results.variants:
        table = compared[compared["variant"] == variant].set_index("scheduler")
        bound = table["regret_bound"]
        judged = table.assign(loss=table[CRITERION], relative=bound, bound=bound, bounded=bound <= matters)
        chosen = recommendation(judged, preference)
        run = typical(results, variant, chosen.label)
        tolerance = _tolerance(widths, results, run) if variant == "recommended" else np.nan
        like_these = table["like_these_bound"].astype(float).get(chosen.label or "", np.nan)
        found[variant] = Choice(variant, chosen.label, chosen.reason, chosen.relative, like_these, run, tolerance)
    return found


def simplest_first(results: ProblemResults, widths: pd.DataFrame, baseline: str) -> list[str]:
    """The schedulers in the order of preference that :func:`choices` has among equals."""
    preference = _preference(results, results.labels, widths, baseline)
    return sorted(preference, key=lambda label: (preference[label], label))


def _preference(
    results: ProblemResults, labels: Iterable[str], widths: pd.DataFrame, baseline: str
) -> dict[str, tuple[bool, int, float]]:
    decades = widths.set_index("scheduler")["decades"].fillna(0.0).to_dict()
    searched = _searched(results.trials)
    return {label: (label != baseline, searched.get(label, 0), -decades.get(label, 0.0)) for label in labels}


def _searched(trials: pd.DataFrame) -> dict[str, int]:
    """How many numbers and choices were searched, by scheduler."""
    known = trials.dropna(subset=["params"]).drop_duplicates("scheduler")
    return {str(row["scheduler"]): len(json.loads(row["params"])) for row in known.to_dict("records")}


def typical(results: ProblemResults, variant: str, label: str | None) -> str | None:
    """Of the configuration's runs the one with the lowest loss beside the mean of its seed, so that no easy split decides."""
    runs = results.runs[(results.runs["variant"] == variant) & ~results.runs["diverged"].astype(bool)]
    beside = runs[CRITERION] - runs.groupby("seed")[CRITERION].transform("mean")
    own = runs["scheduler"] == label
    if variant == "tuned":  # where each seed has a winner of its own
        known = {entry.run for entry in recommendations(results)}
        own = own & runs["run"].isin(known) if (own & runs["run"].isin(known)).any() else own
    return str(runs["run"].to_numpy()[own][beside[own].argmin()]) if own.any() else None


def _tolerance(widths: pd.DataFrame, results: ProblemResults, run: str | None) -> float:
    """How far the run's peak rate lies inside the range of good ones, as a factor; NaN where it is not inside."""
    rows = results.runs[results.runs["run"] == run].merge(widths, on="scheduler")
    if rows.empty:
        return np.nan
    row = rows.iloc[0]
    factor = min(row["lr"] / row["lowest_lr"], row["highest_lr"] / row["lr"])
    return float(factor) if factor > 1 else np.nan


def table(found: Choices) -> pd.DataFrame:
    """Rows of (variant, scheduler, run, regret_bound, like_these_bound, tolerance, reason)."""
    columns = ["variant", "scheduler", "run", "regret_bound", "like_these_bound", "tolerance", "reason"]
    rows = [(c.variant, c.scheduler, c.run, c.bound, c.like_these, c.tolerance, c.reason.value) for c in found.values()]
    return pd.DataFrame(rows, columns=columns)
