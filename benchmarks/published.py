"""Published findings in miniature, each with its interval: reproduced, contradicted, or not settled at this size.

``make published``: six schedules, tuned for every seed, on two logistic regressions and two multilayer perceptrons.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.machine import conditions
from benchmarks.studies import default_params, scratch, study
from pipeline.analysis.statistics import MATTERS, Interval, paired_interval
from pipeline.analysis.tables import ProblemResults

SCHEDULERS: dict[str, Any] = {
    "Linear": {"name": "LinearDecay", "args": {"final": "0%"}, "search": {}},
    "Cosine": {"name": "CosineDecay", "args": {"final": "0%"}, "search": {}},
    "Step": {"name": "StepLR", "args": {"step_size": "30%", "gamma": 0.1}},
    "CooldownLinear": {"name": "WarmupStableDecay", "args": {"warmup": 0, "decay": "20%", "cooldown": "linear"}, "search": {}},
    "CooldownSqrt": {"name": "WarmupStableDecay", "args": {"warmup": 0, "decay": "20%", "cooldown": "1-sqrt"}, "search": {}},
    "Constant": {"name": "ConstantLR", "args": {"factor": 1.0}},
}
CLAIMS = (
    ("Linear", "Cosine", "Linear decay to zero beats cosine, or equals it (Defazio et al., 2023, arXiv:2310.07831)"),
    ("Linear", "Step", "Linear decay to zero beats a step schedule (Defazio et al., 2023)"),
    ("Linear", "Constant", "Linear decay to zero beats a constant rate (Defazio et al., 2023)"),
    ("CooldownSqrt", "CooldownLinear", "A 1-sqrt cooldown beats a linear one (Haegele et al., 2024, arXiv:2405.18392)"),
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
    """A linear model and a perceptron on each of the default datasets, at a rate about which all their best ones lie."""
    models: dict[str, Any] = {"linear": {"name": "linear"}, "mlp": {"name": "mlp", "hidden": [32]}}
    optimizer = {"optimizer": {"name": "SGD", "lr": 1.0}}
    return {
        f"{name}-{model}": entry | optimizer | {"model": kind}
        for name, entry in given.items()
        for model, kind in models.items()
    }


def rows(found: dict[str, ProblemResults]) -> Iterator[tuple[str, list[str]]]:
    """Every claim, and for each problem the interval and what it says of it."""
    for one, other, claim in CLAIMS:
        yield claim, [compared(results, one, other) for results in found.values()]
    ratios = [log_ratio(tuned(results, "Constant"), tuned(results, "Linear"), results) for results in found.values()]
    yield PEAKS, [f"ratio {shown(Interval(*np.exp(ratio)), '.2f')}: {verdict(ratio)}" for ratio in ratios]


def compared(results: ProblemResults, one: str, other: str) -> str:
    """The paired difference in validation loss, and its verdict."""
    first, second = tuned(results, one), tuned(results, other)
    difference = paired_interval(first, second, overlap=results.overlap)
    return f"{shown(difference, '+.4f')}: {verdict(difference, MATTERS * float(second['validation_loss'].mean()))}"


def tuned(results: ProblemResults, label: str) -> pd.DataFrame:
    """The winners of a scheduler's studies, one for each seed."""
    return results.runs[(results.runs["variant"] == "tuned") & (results.runs["scheduler"] == label)]


def log_ratio(one: pd.DataFrame, other: pd.DataFrame, results: ProblemResults) -> Interval:
    """The logarithm of the ratio of the seeds' best peak rates."""
    first, second = (runs.assign(validation_loss=np.log(runs["lr"].astype(float)), diverged=False) for runs in (one, other))
    return paired_interval(first, second, overlap=results.overlap)


def shown(interval: Interval, form: str) -> str:
    """Mean and ends."""
    return f"{interval.mean:{form}} ({interval.low:{form}} to {interval.high:{form}})"


def verdict(difference: Interval, margin: float = 0.0) -> str:
    """What the interval says of a claim that the first is the lower."""
    if -margin < difference.low and difference.high < margin:
        return "practically equal"
    if not difference.excludes_zero:
        return "not settled"
    return "reproduced" if difference.mean < 0 else "contradicted"


if __name__ == "__main__":
    main()
