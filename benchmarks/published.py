"""Published findings in miniature, each with its interval: reproduced, contradicted, or not settled at this size.

``make published``: six schedules, tuned for every seed, on two logistic regressions and two multilayer perceptrons. Where
one schedule is said to beat another and they are practically equal, that is told as it was found. The intervals are those of
each claim by itself: of twenty at 95%, one may be wrong by chance.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.defaults import default_params
from benchmarks.machine import conditions
from benchmarks.studies import scratch, study
from pipeline.analysis.statistics import Interval, matrices
from pipeline.analysis.tables import ProblemResults
from pipeline.statistics.comparison import MATTERS
from pipeline.statistics.components import differences


class Claim(NamedTuple):
    """That ``better`` ends at a lower loss than ``worse``, or at the same where ``equal_counts``; ``words`` say by whom."""

    better: str
    worse: str
    words: str
    equal_counts: bool = False


DATASETS = ("synthetic", "digits")
SCHEDULERS: dict[str, Any] = {
    "Linear": {"name": "LinearDecay", "args": {"final": "0%"}, "search": {}},
    "Cosine": {"name": "CosineDecay", "args": {"final": "0%"}, "search": {}},
    "Step": {"name": "StepLR", "args": {"step_size": "30%", "gamma": 0.1}},
    "CooldownLinear": {"name": "WarmupStableDecay", "args": {"warmup": 0, "decay": "20%", "cooldown": "linear"}, "search": {}},
    "CooldownSqrt": {"name": "WarmupStableDecay", "args": {"warmup": 0, "decay": "20%", "cooldown": "1-sqrt"}, "search": {}},
    "Constant": {"name": "ConstantLR", "args": {"factor": 1.0}},
}
CLAIMS = (
    Claim("Linear", "Cosine", "Linear decay to zero beats cosine, or equals it (Defazio et al., 2023, arXiv:2310.07831)", True),
    Claim("Linear", "Step", "Linear decay to zero beats a step schedule (Defazio et al., 2023)"),
    Claim("Linear", "Constant", "Linear decay to zero beats a constant rate (Defazio et al., 2023)"),
    Claim("CooldownSqrt", "CooldownLinear", "A 1-sqrt cooldown beats a linear one (Haegele et al., 2024, arXiv:2405.18392)"),
)
PEAKS = "The best constant rate lies below the best peak of linear decay (Bergsma et al., 2025, arXiv:2502.15938)"


def main() -> None:
    """Run the studies and print a row for each claim and problem."""
    base = default_params()
    params = base | {"schedulers": SCHEDULERS, "problems": problems(base["problems"])}
    params["report"] = params["report"] | {"baseline": "Constant"}
    found = study(scratch("published"), params)
    print(f"{conditions()}; {params['seeds']} seeds, {params['tune']['trials']} trials a study, all tuned")
    print(f"| claim | {' | '.join(found)} |")
    print(f"|---{'|---' * len(found)}|")
    for claim, cells in rows(found):
        print(f"| {' | '.join([claim, *cells])} |")


def problems(given: dict[str, Any]) -> dict[str, Any]:
    """A linear model and a perceptron on the synthetic data and on the digits, at a rate about which their best ones lie."""
    linear = {"model": {"name": "linear"}, "optimizer": {"name": "SGD", "lr": 1.0}}
    models: dict[str, Any] = {"linear": linear, "mlp": {"model": {"name": "mlp", "hidden": [32]}}}
    return {f"{name}-{model}": given[name] | parts for name in DATASETS for model, parts in models.items()}


def rows(found: dict[str, ProblemResults]) -> Iterator[tuple[str, list[str]]]:
    """Every claim, and for each problem the interval and what it says of it."""
    for claim in CLAIMS:
        yield claim.words, [compared(results, claim) for results in found.values()]
    ratios = [log_ratio(tuned(results, "Constant"), tuned(results, "Linear"), results) for results in found.values()]
    yield PEAKS, [f"ratio {shown(Interval(*np.exp(ratio)), '.2f')}: {verdict(ratio)}" for ratio in ratios]


def compared(results: ProblemResults, claim: Claim) -> str:
    """The paired difference in validation loss, and its verdict."""
    first, second = tuned(results, claim.better), tuned(results, claim.worse)
    difference = paired(first, second, results)
    margin = MATTERS * float(second["validation_loss"].mean())
    return f"{shown(difference, '+.4f')}: {verdict(difference, margin, equal_counts=claim.equal_counts)}"


def tuned(results: ProblemResults, label: str) -> pd.DataFrame:
    """The winners of a scheduler's studies, two runs for each seed."""
    return results.runs[(results.runs["variant"] == "tuned") & (results.runs["scheduler"] == label)]


def log_ratio(one: pd.DataFrame, other: pd.DataFrame, results: ProblemResults) -> Interval:
    """The logarithm of the ratio of the seeds' best peak rates."""
    first, second = (runs.assign(validation_loss=np.log(runs["lr"].astype(float)), diverged=False) for runs in (one, other))
    return paired(first, second, results)


def paired(one: pd.DataFrame, other: pd.DataFrame, results: ProblemResults) -> Interval:
    """The mean difference of two schedulers' validation losses, and its interval."""
    both = pd.concat([one.assign(scheduler="one"), other.assign(scheduler="other")])
    return Interval.of(differences(matrices(both), results.overlap.of("validation_loss"))["one", "other"])


def shown(interval: Interval, form: str) -> str:
    """Mean and ends."""
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def verdict(difference: Interval, margin: float = 0.0, *, equal_counts: bool = False) -> str:
    """What the interval says of a claim that the first is the lower, or as low where an equal counts."""
    if -margin < difference.low and difference.high < margin:
        return f"{'reproduced' if equal_counts else 'not reproduced'}: practically equal"
    if not difference.excludes_zero:
        return "not settled"
    return "reproduced" if difference.mean < 0 else "contradicted"


if __name__ == "__main__":
    main()
