"""How the confirmation was raced: its looks, replayed from the runs alone."""

import pandas as pd

from pipeline.analysis.statistics import RACED, matrices
from pipeline.analysis.tables import ProblemResults
from pipeline.statistics import sequential

COLUMNS = ("seeds", "level", "comparisons", "settled", "hopeless")


def looks(results: ProblemResults, baseline: str, matters: float) -> pd.DataFrame:
    """A row for each look: its number of seeds and nominal level, and how many of all comparisons were settled by then.

    Each scheduler is compared with the baseline, and each with the best; ``hopeless`` are those that the most seeds would
    hardly settle. Empty where nothing was raced.
    """
    plan, own = results.plan, results.runs[results.runs["variant"] == RACED]
    if plan is None or baseline not in set(own["scheduler"]):
        return pd.DataFrame(columns=list(COLUMNS))
    states = sequential.looks(matrices(own), baseline, plan, matters)
    rows = [(s.seeds, s.level, len(s.states), s.settled, s.states.count("hopeless")) for s in states]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def sentence(results: ProblemResults, table: pd.DataFrame) -> str:
    """On how many seeds it was confirmed, and why on so many, from :func:`looks`; nothing where their number was fixed."""
    if results.plan is None or table.empty:
        return ""
    last, most = table[["seeds", "settled", "comparisons"]].iloc[-1], results.plan.most
    why = f", and {most} would hardly settle more" if last["seeds"] < most else ", as many as there may be"
    if last["settled"] == last["comparisons"]:
        why = ""
    settled = f"{last['settled']} of {last['comparisons']} comparisons on {last['seeds']} fresh seeds"
    return f"The confirmation was a race: it settled {settled}{why}. Its differences and bounds hold at 95% over all its looks."
