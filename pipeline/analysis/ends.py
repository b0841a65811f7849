"""Which winners lie at an end of the range that was searched: there the range, and not the search, may have decided."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.config.ranges import WIDER, End, as_params, end_of, end_of_rates
from pipeline.config.spaces import PeakRates
from pipeline.config.units import LARGEST_PERCENT, LARGEST_RATE, plain_rate
from pipeline.config.wording import listing

COLUMNS = ("scheduler", "parameter", "low", "high", "at_low", "at_high", "studies", "widened")
Row = Mapping[Any, Any]
RATES = ("lr", "lr %")
"""What a study calls its peak rate."""
FEW = 3
"""Schedulers that a sentence names; of more it says how many."""


def ends(trials: pd.DataFrame) -> pd.DataFrame:
    """Rows of :data:`COLUMNS` from the table of trials, for every number that was searched.

    ``low`` to ``high`` is what the scheduler's studies searched in the end, all together. Of ``studies`` with a winner,
    ``at_low`` and ``at_high`` have it in the outer tenth of their own range; for the peak rate not where at least half of what
    was tried above it diverged. ``widened`` studies searched a wider range than they began with.
    """
    if trials.empty or trials["distributions"].isna().any():
        return pd.DataFrame(columns=list(COLUMNS))
    studies: dict[tuple[str, int], list[Row]] = {}
    for trial in trials.sort_values("number", kind="stable").to_dict("records"):
        studies.setdefault((trial["scheduler"], trial["seed"]), []).append(trial)
    found = [row for (label, _), own in studies.items() for row in _of_study(label, own)]
    rows = pd.DataFrame(found, columns=list(COLUMNS))
    how = {"low": "min", "high": "max"} | dict.fromkeys(("at_low", "at_high", "studies", "widened"), "sum")
    return rows.groupby(["scheduler", "parameter"], sort=False).agg(how).reset_index()


def _of_study(label: str, trials: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    """A study's rows, one for each number that it searched; none where all of its trials diverged."""
    complete = [trial for trial in trials if trial["state"] == "COMPLETE"]
    if not complete:
        return
    best = json.loads(min(complete, key=lambda trial: (trial["value"], trial["number"]))["params"])
    begun, ended = (json.loads(trial["distributions"]) for trial in (trials[0], trials[-1]))
    for parameter, text in ended.items():
        searched = json.loads(text)["attributes"]
        if "low" in searched:  # else it is a choice
            end = _end(parameter, best[parameter], searched, trials)
            ends = int(end == "low"), int(end == "high")
            yield label, parameter, searched["low"], searched["high"], *ends, 1, int(begun[parameter] != text)


def _end(parameter: str, best: float, searched: Row, trials: Sequence[Row]) -> End | None:
    low, high = searched["low"], searched["high"]
    if parameter not in RATES:
        return end_of(best, low, high, log=searched["log"])
    tried = [(json.loads(trial["params"])[parameter], trial["state"] == "PRUNED") for trial in trials]
    return end_of_rates(best, tried, low, high)


def at_an_end(table: pd.DataFrame) -> pd.DataFrame:
    """The rows where most of the studies' winners lie at one end."""
    return table[2 * table[["at_low", "at_high"]].max(axis="columns") > table["studies"]]


def worth_telling(table: pd.DataFrame) -> pd.DataFrame:
    """Those, what was widened, and any winner at an end of its range of peak rates."""
    at_end_of_rates = table["parameter"].isin(RATES) & (table[["at_low", "at_high"]].max(axis="columns") > 0)
    return table[table.index.isin(at_an_end(table).index) | (table["widened"] > 0) | at_end_of_rates]


def warning(table: pd.DataFrame) -> str:
    """What to say where the best peak rate still lies at an end, and what to write; empty where it does not."""
    rates = table[table["parameter"].isin(RATES)]
    found = at_an_end(rates)
    if found.empty:
        return ""
    names = found["scheduler"].tolist()
    of = "every scheduler" if len(names) == len(rates) > 1 else f"{len(names)} of {len(rates)} schedulers"
    who = of if len(names) > FEW or len(names) == len(rates) > 1 else listing(names)
    remedy = _remedy(rates, found)
    return f"The best peak rate of {who} lies at an end of the range that was searched, which may decide the order{remedy}."


def budget_warning(table: pd.DataFrame, rates: PeakRates, lr: float) -> str:
    """What to say where the best peak rate of a budget lies at an end of what was swept, and what to write; else empty.

    ``table`` is of :func:`pipeline.analysis.evidence.budget_rates`, ``rates`` is ``tune.lr`` and ``lr`` the optimizer's rate.
    """
    found = table[table["end"] != ""]
    if found.empty:
        return ""
    unit = lr / 100 if rates.is_percent else 1.0
    low, high = (plain_rate(end, lr) / unit for end in (rates.low, rates.high))
    below, above = (found.loc[found["end"] == end, "best_lr"] / unit for end in ("low", "high"))
    low = min([low, *below / WIDER])
    high = max([high, *above * WIDER])
    most = LARGEST_PERCENT if rates.is_percent else LARGEST_RATE
    shown = as_params(float(f"{low:.4g}"), min(float(f"{high:.4g}"), most), is_percent=rates.is_percent)
    epochs = ", ".join(str(number) for number in found["epochs"].unique())
    return (
        f"At {epochs} epochs the best peak rate of {found['scheduler'].nunique()} of {table['scheduler'].nunique()} schedulers "
        f"lies at an end of what was swept, which may decide who wins there: write {shown}."
    )


def _remedy(rates: pd.DataFrame, found: pd.DataFrame) -> str:
    """The range to write: all that was searched, and beyond where winners lie at an end; nothing where it is there already."""
    is_percent = rates["parameter"].iloc[0] == "lr %"
    low, high = before = float(rates["low"].min()), float(rates["high"].max())
    below, above = (found[2 * found[name] > found["studies"]] for name in ("at_low", "at_high"))
    if len(below):
        low = min(low, float(below["low"].min()) / WIDER)
    if len(above):
        high = max(high, min(float(above["high"].max()) * WIDER, LARGEST_PERCENT if is_percent else LARGEST_RATE))
    is_there = (low, high) == before and not rates["widened"].any()
    other = ", or another lr of the optimizer" * is_percent  # all that there is to write from Python
    return "" if is_there else f": write {as_params(low, high, is_percent=is_percent)}{other}"
