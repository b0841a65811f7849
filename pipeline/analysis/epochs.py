"""The last epoch of a run, or its best: what it changes which of them is judged.

The best epoch is that of the lowest validation loss, as early stopping and a kept checkpoint would have it. Its loss was
chosen on the very samples it is measured on, so it is too low, and the more so the noisier the curve: most for rates that stay
high, least for those that come down to zero. The test figures of the epoch that is judged are free of that: they chose nothing.
"""

from dataclasses import replace

import pandas as pd

from pipeline.analysis.ends import FEW
from pipeline.analysis.statistics import CRITERION, compare, finished
from pipeline.analysis.summary import at_most
from pipeline.analysis.tables import ProblemResults
from pipeline.config.params import Epoch, ReportParams

COLUMNS = (
    "variant", "scheduler", "last", "best", "lower", "epoch", "verdict_last", "verdict_best", "in_set_last", "in_set_best",
    "bound_last", "bound_best",
)  # fmt: skip
_FIGURES = [CRITERION, "validation_metric"]


def judged(results: ProblemResults, at: Epoch) -> ProblemResults:
    """The same, with the runs' validation figures of that epoch; of those, stages write the last's alone."""
    return results if at == results.at else replace(results, runs=figures(results.runs, results.curves, at), at=at)


def figures(runs: pd.DataFrame, curves: pd.DataFrame, at: Epoch) -> pd.DataFrame:
    """The runs with the validation figures that their curves have of that epoch."""
    found = _at(curves, at).loc[runs["run"], _FIGURES].set_axis(runs.index)
    return runs.assign(**{name: found[name] for name in _FIGURES})


def last_or_best(results: ProblemResults, asked: ReportParams, compared: pd.DataFrame) -> pd.DataFrame:
    """A row per variant and scheduler: mean validation loss at the ``last`` and at the ``best`` epoch of each run.

    ``lower`` is how far the best lies below the last, as a share; ``epoch`` the median of the best ones. Verdicts against the
    baseline, whether the scheduler may be the best, and what it loses at most are by either, for all schedulers alike;
    ``compared`` is the comparison by the one that is judged. ``verdict_test``, where the best one is, is that of the test loss.
    """
    other: Epoch = "best" if asked.at == "last" else "last"
    beside = compare(judged(results, other).runs, asked.baseline, matters=asked.margin, plan=results.plan)
    last, best = (compared, beside) if asked.at == "last" else (beside, compared)
    runs = finished(results.runs).join(_at(results.curves, "best")["epoch"], on="run")
    epochs = runs.groupby(["variant", "scheduler"])["epoch"].median()
    table = last[["variant", "scheduler"]].join(epochs, on=["variant", "scheduler"])
    table = table.assign(last=last[CRITERION], best=best[CRITERION])
    table = table.assign(lower=(table["last"] - table["best"]) / table["last"].abs())
    for name, column in (("verdict", "verdict"), ("in_set", "in_set"), ("bound", "regret_bound")):
        table[f"{name}_last"], table[f"{name}_best"] = last[column], best[column]
    table = table[list(COLUMNS)]
    if asked.at == "last":
        return table
    tested = results.runs.assign(**{CRITERION: results.runs["test_loss"]})
    on_test = compare(tested, asked.baseline, matters=asked.margin, plan=results.plan)
    return table.assign(verdict_test=on_test["verdict"])


def sentence(table: pd.DataFrame, at: Epoch) -> str:
    """Where the verdicts by the other epoch, or those on the test part, disagree, of one variant's rows; else nothing."""
    here, there = ("last", "best") if at == "last" else ("best", "last")
    said = []
    if turned := _turned(table, f"verdict_{here}", f"verdict_{there}"):
        said.append(
            f"By the {there} epoch of each run instead of the {here} the verdict is another one on {turned}. "
            "The loss of a best epoch is too low: it was chosen on the samples that it is measured on."
        )
    if at == "best" and (turned := _turned(table, "verdict_best", "verdict_test")):
        said.append(f"On the test part, which chose no epoch, the verdict is another one on {turned}.")
    return " ".join(said)


def turned(table: pd.DataFrame, asked: ReportParams, variant: str, scheduler: str | None) -> str:
    """Where a scheduler may be the best by the epoch that is judged, and by the other loses what matters: how much at most."""
    here, there = ("last", "best") if asked.at == "last" else ("best", "last")
    own = table[(table["variant"] == variant) & (table["scheduler"] == scheduler)]
    if own.empty or not own[f"in_set_{here}"].iloc[0] or own[f"in_set_{there}"].iloc[0]:
        return ""
    bound = float(own[f"bound_{there}"].iloc[0])
    if bound <= asked.margin:
        return ""
    able = table[(table["variant"] == variant) & table[f"in_set_{there}"]]
    best = able.sort_values(there, kind="stable")["scheduler"].iloc[0]
    return f"if you keep each run's {there} epoch, not its {here}, take {best}: this one then loses up to {at_most(bound)}"


def _turned(table: pd.DataFrame, here: str, there: str) -> str:
    """Of whom the verdict in one column is another one than in the other."""
    rows = table[table[here] != table[there]]
    told = [f"{row['scheduler']} ({row[there]} instead of {row[here]})" for _, row in rows.iterrows()]
    if len(told) <= FEW:
        return ", ".join(told)
    others = len(table) - 1
    return f"all {others} schedulers beside the baseline" if len(told) == others else f"{len(told)} of the {others} schedulers"


def _at(curves: pd.DataFrame, at: Epoch) -> pd.DataFrame:
    """Of each run the row of its last epoch, or of the first with the lowest loss."""
    order = curves.sort_values("epoch", ascending=at == "best", kind="stable")
    order = order.sort_values(CRITERION, kind="stable") if at == "best" else order
    return order.drop_duplicates("run").set_index("run")
