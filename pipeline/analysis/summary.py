"""What the numbers say, in plain words: who leads, by how much, how sure that is, and under which conditions."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.analysis.statistics import CRITERION, Interval, lead
from pipeline.analysis.tables import ProblemResults

MISSING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Finding:
    """What one variant's runs say: its leading schedulers (none where no run finished), and sentences about them."""

    variant: str
    leaders: tuple[str, ...]
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


def share(value: float | None) -> str:
    """A share from 0 to 1 in percent."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.1f}%".replace("-", _MINUS)


def listing(names: Sequence[str]) -> str:
    """Names as one speaks them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


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
        return Finding(first["variant"], (), ("No run finished: every scheduler diverged on every seed.",))
    leaders = tuple(rows.loc[rows["rank"] == 1, "scheduler"])
    sentences = [_leads(leaders, first), _against_baseline(leaders, first, baseline)]
    behind = rows[rows["rank"] > 1]
    if len(behind):
        sentences.append(_runner_up(results, first, {str(key): value for key, value in behind.iloc[0].items()}))
    return Finding(first["variant"], leaders, tuple(s for s in [*sentences, _diverged(rows)] if s))


def _leads(leaders: Sequence[str], first: dict[str, Any]) -> str:
    verb = "leads" if len(leaders) == 1 else "share the lead"
    interval = Interval(*(first[f"{CRITERION}{end}"] for end in ("", "_low", "_high")))
    return f"{listing(leaders)} {verb} with a mean validation loss of {number(interval.mean)}{_between(interval)}."


def _between(interval: Interval) -> str:
    if math.isnan(interval.low):
        return " (one seed: no interval)"
    return f" (95% interval {number(interval.low)} to {number(interval.high)})"


def _against_baseline(leaders: Sequence[str], first: dict[str, Any], baseline: str) -> str:
    if baseline in leaders:
        return f"{baseline} is the baseline: no scheduler does better than it."
    lower = Interval(-first["difference"], -first["difference_high"], -first["difference_low"])
    if math.isnan(lower.mean):
        return f"No seed is left to compare it with the baseline {baseline}."
    way = "lower" if lower.mean >= 0 else "higher"
    return f"That is {number(abs(lower.mean))} {way} than the baseline {baseline}; {_verdict(lower)}"


def _verdict(interval: Interval) -> str:
    if math.isnan(interval.low):
        return "one seed says nothing about how sure that is."
    ends = f"the 95% interval of the lead, {signed(interval.low)} to {signed(interval.high)},"
    return f"{ends} excludes zero." if interval.excludes_zero else f"{ends} includes zero: it may be chance."


def _runner_up(results: ProblemResults, first: dict[str, Any], second: dict[str, Any]) -> str:
    label = second["scheduler"]
    ahead = lead(results.runs, first["variant"], first["scheduler"], label)
    if math.isnan(ahead.low):
        return f"Next is {label}."
    ends = f"{signed(ahead.mean)} (95% interval {signed(ahead.low)} to {signed(ahead.high)})"
    apart = "the gap excludes zero" if ahead.excludes_zero else "these seeds do not tell the two apart"
    return f"Next is {label}, at {ends}: {apart}."


def _diverged(rows: pd.DataFrame) -> str:
    some = rows[rows["diverged"] > 0]
    parts = [f"{row.scheduler} on {row.diverged} of {_count(int(str(row.seeds)), 'seed')}" for row in some.itertuples()]
    return f"Diverged, and ranked last for it: {listing(parts)}." if parts else ""


def _count(amount: int, unit: str) -> str:
    return f"{amount} {unit}{'' if amount == 1 else 's'}"


def _called(name: str, args: Any) -> str:
    shown = ", ".join(f"{key} {_value(value)}" for key, value in args.items())
    return f"{name} ({shown})" if shown else name


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)
