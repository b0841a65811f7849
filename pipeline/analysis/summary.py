"""What the numbers say, in plain words: who leads, by how much, how sure that is, and under which conditions."""

import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from pipeline.analysis.choice import Choice
from pipeline.analysis.ends import FEW, ends, warning
from pipeline.analysis.script import Data
from pipeline.analysis.statistics import CRITERION, Interval
from pipeline.analysis.tables import ProblemResults
from pipeline.config.components import Component
from pipeline.config.params import Epoch
from pipeline.config.wording import counted, listing, raised
from pipeline.data.datasets import datasets
from pipeline.problems.optimizers import optimizers
from pipeline.statistics.comparison import Reason

MISSING = "\N{EN DASH}"
NOTHING = "No run finished: every scheduler diverged on every seed."
UNBOUNDED = "its loss is the lowest, but these runs cannot tell how much better another may be"
PACKAGES = ("torch", "optuna")
"""Those that decide what is trained; the report's last section names the others."""
_MINUS = "\N{MINUS SIGN}"
_TOLD = {
    "default": "as you wrote them",
    "tuned": "each tuned on its own",
    "recommended": "as recommended, on fresh seeds",
}


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
    """A learning rate to four digits, large numbers without an exponent."""
    if value is None or not math.isfinite(value):
        return MISSING
    return (f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}").replace("-", _MINUS)


def parameter(name: str) -> str:
    """A searched parameter as a reader calls it, by its name in the studies."""
    return {"lr": "peak rate", "lr %": "peak rate, %"}.get(name, name)


def probability(value: float) -> str:
    """A p value; below a thousandth only that."""
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def in_torch(value: Any) -> str:
    """An argument as one would type it: numbers to ten digits, which hides what binary fractions add."""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def share(value: float | None) -> str:
    """A share from 0 to 1 in percent."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:z.1f}%".replace("-", _MINUS)


def at_most(value: float | None) -> str:
    """A bound as a share in percent, rounded up: what is told holds, too."""
    return share(value if value is None or not math.isfinite(value) else raised(value))


def short(value: float | None) -> str:
    """A rate as a person would write it: two digits."""
    return MISSING if value is None or not math.isfinite(value) else f"{float(f'{value:.2g}'):.10g}"


def rounded(value: Any) -> str:
    """An argument as a person would write it: two digits, and of a number just below 1 of what it lacks (0.998997 is 0.999)."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(rounded, value))}]"
    if not isinstance(value, float) or not math.isfinite(value):
        return str(value)
    return f"{1 - float(f'{1 - value:.2g}'):.10g}" if 0.9 <= value < 1 else short(value)


def factor(value: float) -> str:
    """By how much a rate may be wrong, never more than it is: two digits, rounded down."""
    digits = 10.0 ** (1 - math.floor(math.log10(value)))
    return f"{math.floor(value * digits) / digits:.10g}"


def verdict(results: ProblemResults, comparison: pd.DataFrame, baseline: str, chosen: Choice) -> str:
    """One paragraph about a problem, to stand by itself: verdict, how sure, under which conditions."""
    facts = conditions(results)
    trials = f", {counted(results.trials_per_study, 'trial')} for each of them" if results.trials_per_study else ""
    what = f"{facts['Data']}, {facts['Model']}, {facts['Optimizer']}, on {facts['Device']} with {_versions()}"
    where = f"{facts['Budget']}, {facts['Seeds']}{trials}; {what}"
    said = " ".join(finding(results, comparison, baseline, chosen))
    return f"{_TOLD[chosen.variant].capitalize()}: {said} This holds for {results.name} under these conditions: {where}."


def finding(results: ProblemResults, comparison: pd.DataFrame, baseline: str, chosen: Choice) -> list[str]:
    """What the runs say, in sentences, of which the first is the answer; ``comparison`` has the problem's rows."""
    if chosen.scheduler is None:
        return [NOTHING]
    rows = comparison[comparison["variant"] == chosen.variant]
    row: dict[str, Any] = {str(key): v for key, v in rows.set_index("scheduler", drop=False).loc[chosen.scheduler].items()}
    said = [_headline(row, baseline, chosen), warning(ends(results.trials)), _loss(row, results.at)]
    return list(filter(None, [*said, _against_baseline(row, baseline), _set(rows, chosen.scheduler), _diverged(rows)]))


def conditions(results: ProblemResults) -> dict[str, str]:
    """Under which conditions the figures were taken, and hold: term → text."""
    params, runs = results.params, results.runs
    epochs = runs["epochs"].max()
    remarks = {"Read as": "; ".join(results.data.remarks)} if results.data.remarks else {}
    raced = {}
    if results.plan and results.confirmed:
        raced["Confirmed on"] = f"{results.confirmed} fresh seeds of at most {results.plan.most}"
    return {
        "Data": called(params.dataset.name, _asked(params.dataset)),
        **remarks,
        **_units(results.data),
        "Model": called(params.model.name, params.model.args),
        "Optimizer": called(params.optimizer.name, unusual(params.optimizer.name, params.optimizer.args)),
        "Budget": f"{counted(int(epochs), 'epoch')}, {params.pace}",
        "Seeds": f"{counted(results.seeds, 'seed')}, each with {'a split of its own' if params.resample else 'the same split'}",
        **raced,
        "Device": listing([str(device) for device in runs["device"].unique()]),
    }


def _units(data: Data) -> dict[str, str]:
    """What losses and errors are measured in, and how samples count in them."""
    said = []
    if data.is_regression and not data.is_in_memory:
        each = "averaged over the targets, each in its own unit" if len(data.targets) > 1 else "in the target's own unit"
        said.append(f"losses are of the standardised {data.learnt}, the metric is {each}")
    if data.is_weighted:
        said.append("samples count in losses by their weights, in the metric all the same")
    return {"Measured in": "; ".join(said)} if said else {}


def _headline(row: Mapping[str, Any], baseline: str, chosen: Choice) -> str:
    """The answer in one sentence."""
    name, lost = row["scheduler"], at_most(chosen.bound)
    said = {
        Reason.PREFERRED: f"at most {lost} worse than the best{elsewhere(chosen)}",
        Reason.LOWEST_BOUND: f"at most {lost} worse than the best{elsewhere(chosen)}, and no other is surer",
        Reason.LOWEST_LOSS: UNBOUNDED,
    }[chosen.reason]
    if lost == "0.0%":
        said = "no other is better"
    failed = f", though it diverged in {row['diverged']} of {counted(row['runs'], 'run')}" if row["diverged"] else ""
    wrong = chosen.tolerance
    tolerant = "" if math.isnan(wrong) else f"; its rate may be wrong by a factor of {factor(wrong)}"
    return f"{'Keep' if name == baseline else 'Take'} {name}: {said}{failed}{tolerant}."


def elsewhere(chosen: Choice) -> str:
    """What the choice may cost on other data like these, where that is not the same."""
    known = math.isfinite(chosen.like_these) and at_most(chosen.like_these) != at_most(chosen.bound)
    return f" on these data ({at_most(chosen.like_these)} on other data from the same source)" if known else ""


def _loss(row: Mapping[str, Any], at: Epoch) -> str:
    interval = Interval(*(row[f"{CRITERION}{end}"] for end in ("", "_low", "_high")))
    lowest = ", the lowest" if row["rank"] == 1 else f", rank {row['rank']}"
    of = "" if at == "last" else ", at each run's best epoch,"
    return f"Its mean validation loss{of} is {number(interval.mean)}{_between(interval)}{lowest}."


def _set(rows: pd.DataFrame, chosen: str) -> str:
    """Which others may be the best."""
    others = [str(label) for label in rows.loc[rows["in_set"], "scheduler"] if label != chosen]
    may = bool(rows.loc[rows["scheduler"] == chosen, "in_set"].item())
    if not others:
        return "No other may be the best." if may and len(rows) > 1 else ""
    return f"{'May be the best as well' if may else 'May be the best'}: {_named(others, len(rows) - 1)}."


def _between(interval: Interval) -> str:
    if math.isnan(interval.low):
        return " (one seed: no interval)"
    return f" (95% interval {number(interval.low)} to {number(interval.high)})"


def _against_baseline(row: Mapping[str, Any], baseline: str) -> str:
    """How it compares with the baseline, by its verdict."""
    verdict = row["verdict"]
    if verdict == "baseline":
        return "It is the baseline."
    difference, low, high = (row[f"difference{end}"] for end in ("", "_low", "_high"))
    if math.isnan(difference):
        return f"There is no seed on which the baseline {baseline} finished too."
    if math.isnan(low):
        return f"Against {baseline} the difference is {signed(difference)}; one seed says nothing about how sure that is."
    if verdict == "diverged":
        return f"It diverged more often than the baseline {baseline}, which no loss makes up for."
    said = f"{signed(difference)} (95% interval {signed(low)} to {signed(high)})"
    if verdict == "practically equal":
        return f"It is practically equal to the baseline {baseline}: the difference of {said} is too small to matter."
    by = " by what matters" if verdict in ("no worse", "no better") else ""
    claim = f"It is {verdict} than the baseline {baseline}{by}"
    if verdict == "open":
        claim = f"Whether it beats the baseline {baseline} is open"
    return f"{claim}: the difference is {said}, adjusted p {probability(row['p'])}."


def _named(names: Sequence[str], of: int) -> str:
    """A few names, or how many there are of how many."""
    if len(names) <= FEW:
        return listing(names)
    return f"all {of} others" if len(names) == of else f"{len(names)} of the {of} others"


def _diverged(rows: pd.DataFrame) -> str:
    some = rows[rows["diverged"] > 0]
    parts = [f"{row.scheduler} in {row.diverged} of {counted(int(str(row.runs)), 'run')}" for row in some.itertuples()]
    told = listing(parts) if len(parts) <= FEW else f"{len(parts)} of the {len(rows)} schedulers"
    return f"Diverged, and ranked behind those that did so less often: {told}." if parts else ""


def called(name: str, args: Any) -> str:
    """A component with its arguments; those that ask for nothing are left out."""
    shown = ", ".join(f"{key} {_value(value)}" for key, value in args.items() if value not in (None, []))
    return f"{name} ({shown})" if shown else name


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _asked(dataset: Component) -> Mapping[str, Any]:
    """The arguments of a dataset; of a file, which has many, those that are not left at their defaults."""
    if dataset.name == "script":  # all else of it is told with the model
        return {"inputs": dataset.args.get("inputs")}
    if dataset.name != "file":
        return dataset.args
    known = datasets[dataset.name].arguments.model_fields
    return {key: value for key, value in dataset.args.items() if value != known[key].default}


def unusual(name: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """The learning rate of an optimizer, and what else is not torch's default."""
    if name not in {entry.name for entry in optimizers}:  # a script's own, of which nothing else is known here
        return {"lr": args["lr"]}
    usual = optimizers[name].complete({"lr": args["lr"]})
    return {key: value for key, value in args.items() if key == "lr" or value != usual.get(key)}


def _versions() -> str:
    packages = [f"{name} {version(name).partition('+')[0]}" for name in PACKAGES]
    return listing([*packages, f"Python {platform.python_version()}"])
