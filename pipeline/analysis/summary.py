"""What the numbers say, in plain words: who leads, by how much, how sure that is, and under which conditions."""

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pandas as pd

from pipeline.analysis.ends import ends, warning
from pipeline.analysis.statistics import CRITERION, Interval
from pipeline.analysis.tables import ProblemResults
from pipeline.config.params import Component
from pipeline.data.datasets import datasets
from pipeline.problems.optimizers import optimizers

MISSING = "\N{EN DASH}"
FEW = 3
"""Schedulers that a sentence names; of more it says how many."""
SEEDS = 1000
"""Beyond so many nobody goes."""
PACKAGES = ("torch", "optuna")
"""Those that decide what is trained; the report's last section names the others."""
_MINUS = "\N{MINUS SIGN}"
_TOLD = {
    "default": "as written in params.yaml",
    "tuned": "each tuned on its own",
    "recommended": "as recommended, on fresh seeds",
}


@dataclass(frozen=True)
class Finding:
    """What one variant's runs say: its leading schedulers (none where no run finished), the answer, and why it is that.

    ``brief`` is the answer with its uncertainty, to stand beside those of other problems.
    """

    variant: str
    leaders: tuple[str, ...]
    headline: str
    brief: str
    sentences: tuple[str, ...]


def number(value: float | None) -> str:
    """Four decimals; four digits for large numbers, two for those that four decimals would not show."""
    if value is None or not math.isfinite(value):
        return MISSING
    form = ".4f" if value == 0 or 1e-3 <= abs(value) < 1e3 else ".2g" if abs(value) < 1 else ".4g"
    return f"{value:{form}}".replace("-", _MINUS)


def signed(value: float | None, form: Callable[[float | None], str] = number) -> str:
    """A difference, its sign always shown; ``form`` writes the number."""
    text = form(value)
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


def overview(problems: Sequence[ProblemResults], found: Sequence[Finding], baseline: str) -> str:
    """One paragraph about all problems, for somebody who has never seen the project; ``found`` is each one's last finding."""
    told = [
        f"On {results.name} ({_TOLD[finding.variant]}, {_count(int(results.runs['epochs'].max()), 'epoch')}): {finding.brief}"
        for results, finding in zip(problems, found, strict=True)
    ]
    trials = max(results.trials_per_study for results in problems)
    searched = f", {_count(trials, 'trial')} for each scheduler and seed" if trials else ""
    seeds = _count(max(results.seeds for results in problems), "seed")
    devices = listing(list(dict.fromkeys(conditions(results)["Device"] for results in problems)))
    opening = f"By final validation loss, against the baseline {baseline}, with 95% intervals of the differences."
    return f"{opening} {' '.join(told)} This holds for {seeds}{searched}, on {devices} with {_versions()}."


def verdict(results: ProblemResults, found: Sequence[Finding]) -> str:
    """One paragraph about a problem, to stand by itself: verdict, how sure, under which conditions."""
    last = found[-1]
    facts = conditions(results)
    trials = f", {_count(results.trials_per_study, 'trial')} for each of them" if results.trials_per_study else ""
    what = f"{facts['Data']}, {facts['Model']}, {facts['Optimizer']}, on {facts['Device']} with {_versions()}"
    where = f"{facts['Budget']}, {facts['Seeds']}{trials}; {what}"
    said = " ".join([last.headline, *last.sentences])
    return f"{_TOLD[last.variant].capitalize()}: {said} This holds for {results.name} under these conditions: {where}."


def findings(results: ProblemResults, comparison: pd.DataFrame, baseline: str) -> list[Finding]:
    """One finding per variant; ``comparison`` has the rows of this problem."""
    return [_finding(results, comparison[comparison["variant"] == variant], baseline) for variant in results.variants]


def conditions(results: ProblemResults) -> dict[str, str]:
    """Under which conditions the figures were taken, and hold: term → text."""
    params, runs = results.params, results.runs
    epochs = runs["epochs"].max()
    remarks = {"Read as": "; ".join(results.data.remarks)} if results.data.remarks else {}
    return {
        "Data": _called(params.dataset.name, _asked(params.dataset)),
        **remarks,
        "Model": _called(params.model.name, params.model.args),
        "Optimizer": _called(params.optimizer.name, _unusual(params.optimizer.name, params.optimizer.args)),
        "Budget": f"{_count(int(epochs), 'epoch')}, batches of {params.batch_size}",
        "Seeds": f"{_count(results.seeds, 'seed')}, each with {'a split of its own' if params.resample else 'the same split'}",
        "Device": listing([str(device) for device in runs["device"].unique()]),
    }


def _finding(results: ProblemResults, rows: pd.DataFrame, baseline: str) -> Finding:
    rows = rows.sort_values("rank", kind="stable")
    first: dict[str, Any] = {str(key): value for key, value in rows.iloc[0].items()}
    if math.isnan(first[CRITERION]):
        nothing = "No run finished: every scheduler diverged on every seed."
        return Finding(first["variant"], (), nothing, nothing, ())
    leaders = tuple(rows.loc[rows["rank"] == 1, "scheduler"])
    others = _others(rows[rows["rank"] > 1], leaders[0])
    against = _against_baseline(leaders, first, baseline, results.overlap.of(CRITERION))
    at_an_end = warning(ends(results.trials)) if first["variant"] == "tuned" else ""
    sentences = [at_an_end, _leads(leaders, first), against, *others, _diverged(rows)]
    headline = _headline(rows, leaders, first, baseline)
    brief = f"{_brief(headline, leaders, first, baseline)} {at_an_end}".rstrip()
    return Finding(first["variant"], leaders, headline, brief, tuple(filter(None, sentences)))


def _headline(rows: pd.DataFrame, leaders: Sequence[str], first: Mapping[str, Any], baseline: str) -> str:
    """The answer in one sentence."""
    equal = rows[rows["behind_verdict"].eq("practically equal") & ~rows["scheduler"].isin(leaders)]
    also = _also(equal.loc[equal["verdict"] == "better", "scheduler"].tolist())
    names, verb = listing(leaders), "leads" if len(leaders) == 1 else "lead"
    said = {
        "better": f"Use {names}{also}: better than {baseline}, beyond the luck of the seeds",
        "practically equal": f"{names} {verb}, practically equal to {baseline}",
        "worse": f"Keep {baseline}: on the seeds that both finished it is better than {names}, whose mean is the lowest",
        "": f"{names} {verb}, with no finished run of {baseline} to compare it with",
    }.get(first["verdict"], f"{names} {verb}, but that it beats {baseline} is not settled")
    if len(equal) + len(leaders) == len(rows) > 1:
        said = f"Take any: all {len(rows)} schedulers are practically equal here"
    elif baseline in leaders:
        said = f"Keep {baseline}: no schedule is shown to do better"
    failed = f", though {leaders[0]} diverged in {first['diverged']} of {_count(first['runs'], 'run')}"
    return f"{said}{failed if first['diverged'] else ''}."


def _also(equal: Sequence[str]) -> str:
    if not equal:
        return ""
    return f" or, practically equal to it, {' or '.join(equal) if len(equal) <= FEW else f'any of {len(equal)} others'}"


def _brief(headline: str, leaders: Sequence[str], first: Mapping[str, Any], baseline: str) -> str:
    """The headline, and the leader's difference to the baseline."""
    if baseline in leaders or math.isnan(first["difference_low"]):
        return headline
    adjusted = f", Holm-adjusted p {probability(first['p'])}" if first["verdict"] == "not separable yet" else ""
    return f"{headline} {leaders[0]} differs from {baseline} by {_difference(first)}{adjusted}."


def _leads(leaders: Sequence[str], first: dict[str, Any]) -> str:
    verb = "has" if len(leaders) == 1 else "share"
    interval = Interval(*(first[f"{CRITERION}{end}"] for end in ("", "_low", "_high")))
    return f"{listing(leaders)} {verb} the lowest mean validation loss, {number(interval.mean)}{_between(interval)}."


def _between(interval: Interval) -> str:
    if math.isnan(interval.low):
        return " (one seed: no interval)"
    return f" (95% interval {number(interval.low)} to {number(interval.high)})"


def _difference(first: Mapping[str, Any]) -> str:
    return f"{signed(first['difference'])} ({signed(first['difference_low'])} to {signed(first['difference_high'])})"


def _against_baseline(leaders: Sequence[str], first: Mapping[str, Any], baseline: str, overlap: float) -> str:
    """How the leader compares with the baseline, by its verdict."""
    verdict = first["verdict"]
    if baseline in leaders:
        return f"{baseline} is the baseline: no scheduler does better than it."
    if math.isnan(first["difference"]):
        return f"There is no seed on which the baseline {baseline} finished too."
    if math.isnan(first["difference_low"]):
        return (
            f"Against {baseline} the difference is {signed(first['difference'])}; one seed says nothing about how sure that is."
        )
    said, adjusted = _difference(first).replace("(", "(95% interval "), f"Holm-adjusted p {probability(first['p'])}"
    if verdict == "practically equal":
        return f"It is practically equal to the baseline {baseline}: the difference of {said} is too small to matter."
    if verdict == "not separable yet":
        more = _more(first["seeds_needed"], overlap)
        return f"Whether it beats the baseline {baseline} is not settled: the difference is {said}, {adjusted}. {more}".rstrip()
    return f"It is {verdict} than the baseline {baseline}: the difference is {said}, {adjusted}."


def _more(seeds: float, overlap: float) -> str:
    """How many seeds would give a verdict, as a sentence; empty where that is not known."""
    if math.isnan(seeds):
        return ""
    if math.isinf(seeds) and overlap > 0:
        return "More seeds on these data would hardly settle it: their splits overlap too much. More data would."
    amount = in_seeds(seeds, overlap)
    chance = "with a chance of four in five, if the observed difference and spread are the true ones"
    return f"{amount[0].upper()}{amount[1:]} in all would settle it {chance}."


def in_seeds(seeds: float, overlap: float) -> str:
    """A number of seeds that is needed, where the splits of two overlap by ``overlap``."""
    if math.isinf(seeds) and overlap > 0:
        return "more data, not more seeds"
    return f"about {seeds:.0f} seeds" if seeds <= SEEDS else f"more than {SEEDS} seeds"


def _others(rows: pd.DataFrame, leader: str) -> list[str]:
    """The other schedulers by how they compare with the leader; those that diverged more often are told apart."""
    words = {
        "better": "Better than {leader} on the seeds that both finished: {names}.",
        "practically equal": "Practically equal to {leader}: {names}.",
        "not separable yet": "Not told apart from {leader} by these seeds: {names}.",
        "worse": "Worse than {leader}, beyond the luck of the seeds: {names}.",
    }
    groups = ((text, rows.loc[rows["behind_verdict"] == verdict, "scheduler"].tolist()) for verdict, text in words.items())
    return [text.format(leader=leader, names=_named(names, len(rows))) for text, names in groups if names]


def _named(names: Sequence[str], of: int) -> str:
    """A few names, or how many there are of how many."""
    if len(names) <= FEW:
        return listing(names)
    return f"all {of} others" if len(names) == of else f"{len(names)} of the {of} others"


def _diverged(rows: pd.DataFrame) -> str:
    some = rows[rows["diverged"] > 0]
    parts = [f"{row.scheduler} in {row.diverged} of {_count(int(str(row.runs)), 'run')}" for row in some.itertuples()]
    told = listing(parts) if len(parts) <= FEW else f"{len(parts)} of the {len(rows)} schedulers"
    return f"Diverged, and ranked behind those that did so less often: {told}." if parts else ""


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


def _asked(dataset: Component) -> Mapping[str, Any]:
    """The arguments of a dataset; of a file, which has many, those that are not left at their defaults."""
    if dataset.name != "file":
        return dataset.args
    known = datasets[dataset.name].arguments.model_fields
    return {key: value for key, value in dataset.args.items() if value != known[key].default}


def _unusual(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The learning rate of an optimizer, and what else is not torch's default."""
    usual = optimizers[name].complete({"lr": args["lr"]})
    return {key: value for key, value in args.items() if key == "lr" or value != usual[key]}


def _versions() -> str:
    packages = [f"{name} {version(name).partition('+')[0]}" for name in PACKAGES]
    return listing([*packages, f"Python {platform.python_version()}"])
