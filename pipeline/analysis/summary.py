"""What the numbers say, in plain words: who leads, by how much, how sure that is, and under which conditions."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from pipeline.analysis.statistics import CRITERION, Interval
from pipeline.analysis.tables import ProblemResults

MISSING = "\N{EN DASH}"
FEW = 3
"""Schedulers that a headline names."""
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Finding:
    """What one variant's runs say: its leading schedulers (none where no run finished), the answer, and why it is that."""

    variant: str
    leaders: tuple[str, ...]
    headline: str
    sentences: tuple[str, ...]


def number(value: float | None) -> str:
    """Four decimals; four digits for large numbers, two for those that four decimals would not show."""
    if value is None or not math.isfinite(value):
        return MISSING
    form = ".4f" if value == 0 or 1e-3 <= abs(value) < 1e3 else ".2g" if abs(value) < 1 else ".4g"
    return f"{value:{form}}".replace("-", _MINUS)


def signed(value: float | None) -> str:
    """A difference, its sign always shown."""
    text = number(value)
    return f"+{text}" if value is not None and math.isfinite(value) and value > 0 else text


def rate(value: float | None) -> str:
    """A learning rate to four digits."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:.4g}".replace("-", _MINUS)


def probability(value: float) -> str:
    """A p value; below a thousandth only that."""
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def in_torch(value: Any) -> str:
    """An argument as one would type it: numbers to ten digits, which hides what binary fractions add."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def share(value: float | None) -> str:
    """A share from 0 to 1 in percent."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.1f}%".replace("-", _MINUS)


def listing(names: Sequence[str]) -> str:
    """Names as one speaks them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def verdict(results: ProblemResults, found: Sequence[Finding]) -> str:
    """One paragraph about a problem, for somebody who has never seen the project: verdict, how sure, under which conditions."""
    last = found[-1]
    told = {"default": "As written in params.yaml", "tuned": "Each tuned on its own"}[last.variant]
    facts = conditions(results)
    trials = f", {results.trials_per_study} trials for each of them" if results.trials_per_study else ""
    what = f"{facts['Model']}, {facts['Optimizer']}, on {facts['Device']} with torch {version('torch').partition('+')[0]}"
    where = f"{facts['Budget']}, {facts['Seeds']}{trials}; {what}"
    said = " ".join([last.headline, *last.sentences])
    return f"{told}: {said} This holds for {results.name} under these conditions: {where}."


def findings(results: ProblemResults, comparison: pd.DataFrame, baseline: str) -> list[Finding]:
    """One finding per variant; ``comparison`` has the rows of this problem."""
    return [_finding(results, comparison[comparison["variant"] == variant], baseline) for variant in results.variants]


def conditions(results: ProblemResults) -> dict[str, str]:
    """Under which conditions the figures were taken, and hold: term → text."""
    params, runs = results.params, results.runs
    epochs, seeds = runs["epochs"].max(), runs["seed"].nunique()
    return {
        "Data": _called(params.dataset.name, params.dataset.args),
        "Model": _called(params.model.name, params.model.args),
        "Optimizer": _called(params.optimizer.name, params.optimizer.args),
        "Budget": f"{_count(int(epochs), 'epoch')}, batches of {params.batch_size}",
        "Seeds": f"{_count(int(seeds), 'seed')}, each with {'a split of its own' if params.resample else 'the same split'}",
        "Device": listing([str(device) for device in runs["device"].unique()]),
    }


def _finding(results: ProblemResults, rows: pd.DataFrame, baseline: str) -> Finding:
    rows = rows.sort_values("rank", kind="stable")
    first: dict[str, Any] = {str(key): value for key, value in rows.iloc[0].items()}
    if math.isnan(first[CRITERION]):
        return Finding(first["variant"], (), "No run finished: every scheduler diverged on every seed.", ())
    leaders = tuple(rows.loc[rows["rank"] == 1, "scheduler"])
    sentences = [
        _leads(leaders, first),
        _against_baseline(leaders, first, baseline),
        *_others(rows[rows["rank"] > 1], leaders[0]),
        _diverged(rows),
    ]
    headline = _headline(rows, leaders, str(first["verdict"]), baseline)
    return Finding(first["variant"], leaders, headline, tuple(sentence for sentence in sentences if sentence))


def _headline(rows: pd.DataFrame, leaders: Sequence[str], verdict: str, baseline: str) -> str:
    """The answer in one sentence."""
    equal = rows.loc[rows["behind_verdict"].eq("practically equal") & ~rows["scheduler"].isin(leaders), "scheduler"].tolist()
    if len(equal) + len(leaders) == len(rows) > 1:
        return f"Take any: all {len(rows)} schedulers are practically equal here."
    if baseline in leaders:
        return f"Keep {baseline}: no schedule is shown to do better."
    named = " or ".join(equal) if len(equal) <= FEW else f"any of the {len(equal)} named below"
    also = f" or, practically equal to it, {named}" if equal else ""
    if verdict == "better":
        return f"Use {listing(leaders)}{also}: better than {baseline}, beyond the luck of the seeds."
    if verdict == "practically equal":
        return f"{listing(leaders)} leads, practically equal to {baseline}."
    return f"{listing(leaders)} leads, but that it beats {baseline} is not settled."


def _leads(leaders: Sequence[str], first: dict[str, Any]) -> str:
    verb = "has" if len(leaders) == 1 else "share"
    interval = Interval(*(first[f"{CRITERION}{end}"] for end in ("", "_low", "_high")))
    return f"{listing(leaders)} {verb} the lowest mean validation loss, {number(interval.mean)}{_between(interval)}."


def _between(interval: Interval) -> str:
    if math.isnan(interval.low):
        return " (one seed: no interval)"
    return f" (95% interval {number(interval.low)} to {number(interval.high)})"


def _against_baseline(leaders: Sequence[str], first: dict[str, Any], baseline: str) -> str:
    """How the leader compares with the baseline, by its verdict."""
    verdict = first["verdict"]
    if baseline in leaders:
        return f"{baseline} is the baseline: no scheduler does better than it."
    if verdict == "diverged":
        return f"No seed is left to compare it with the baseline {baseline}."
    difference = Interval(first["difference"], first["difference_low"], first["difference_high"])
    if math.isnan(difference.low):
        return f"Against {baseline} the difference is {signed(difference.mean)}; one seed says nothing about how sure that is."
    said = f"{signed(difference.mean)} (95% interval {signed(difference.low)} to {signed(difference.high)})"
    if verdict == "practically equal":
        return f"It is practically equal to the baseline {baseline}: the difference of {said} is too small to matter."
    if verdict == "not separable yet":
        return (
            f"Whether it beats the baseline {baseline} is not settled: the difference is {said}. {_more(first['seeds_needed'])}"
        )
    return f"It is {verdict} than the baseline {baseline}: the difference is {said}, Holm-adjusted p {probability(first['p'])}."


def _more(seeds: float) -> str:
    """How many seeds the observed spread asks for."""
    if math.isinf(seeds):
        return "More seeds on these data would not settle it: their splits overlap too much. More data would."
    return "" if math.isnan(seeds) else f"With this spread, about {seeds:.0f} seeds in all would settle it."


def _others(rows: pd.DataFrame, leader: str) -> list[str]:
    """The other schedulers by how they compare with the leader."""
    words = {
        "practically equal": "Practically equal to {leader}: {names}.",
        "not separable yet": "Not told apart from {leader} by these seeds: {names}.",
        "worse": "Worse than {leader}, beyond the luck of the seeds: {names}.",
    }
    groups = ((text, rows.loc[rows["behind_verdict"] == verdict, "scheduler"].tolist()) for verdict, text in words.items())
    return [text.format(leader=leader, names=listing(names)) for text, names in groups if names]


def _diverged(rows: pd.DataFrame) -> str:
    some = rows[rows["diverged"] > 0]
    parts = [f"{row.scheduler} on {row.diverged} of {_count(int(str(row.seeds)), 'seed')}" for row in some.itertuples()]
    return f"Diverged, and ranked last for it: {listing(parts)}." if parts else ""


def _count(amount: int, unit: str) -> str:
    return f"{amount} {unit}{'' if amount == 1 else 's'}"


def _called(name: str, args: Any) -> str:
    """A component with its arguments; those that ask for nothing are left out."""
    shown = ", ".join(f"{key} {_value(value)}" for key, value in args.items() if value not in (None, []))
    return f"{name} ({shown})" if shown else name


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
