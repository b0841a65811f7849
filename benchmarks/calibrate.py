"""Are the verdicts as sure as they say, and do they find what is there? Both can fail here.

``make calibrate`` prints three tables. *Coverage*: of the intervals at 95% in fresh pools of samples, those that hold the truth
(:mod:`benchmarks.pools`). *False alarms*: one scheduler under ten labels, each tuned by itself; whatever is called different is
one. *Power*: of the same ten, one is made worse by so much; whoever does not find it, with 10 seeds or by a race to 40, misses
it. What is recommended is judged on one configuration under ten labels, each with weights and orders of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from benchmarks.defaults import default_params
from benchmarks.machine import conditions
from benchmarks.pools import Size, coverage, final, params_of
from benchmarks.studies import inside, prepare, scratch, study
from pipeline.analysis.statistics import CRITERION, matrices
from pipeline.config.params import Schedule
from pipeline.problems.loading import load_problem
from pipeline.problems.run import STREAMS
from pipeline.runs.results import read_schedules
from pipeline.statistics.comparison import against
from pipeline.statistics.components import LEVEL, Losses, differences
from pipeline.statistics.sequential import Plan, Race, looks

SAME = {"name": "CosineAnnealingLR", "args": {"T_max": "100%"}}
LABELS = [f"Same{number}" for number in range(10)]
WORSE = (0.02, 0.05, 0.10, 0.20)
SEEDS = 10
PLAN = Plan(least=6, most=40)


@dataclass(frozen=True)
class Case:
    """The losses of all labels on one problem, and the overlap of its splits.

    Where each seed has a winner of its own, ``fixed`` are the losses of one configuration per label.
    """

    losses: Losses
    overlap: float
    fixed: Losses | None = None


def main() -> None:
    """Run the studies and print the tables."""
    size = Size()
    print(f"{conditions()}; {PLAN}")
    title(f"Coverage of intervals at 95%: {size.pools} fresh pools, {size.seeds} seeds")
    print(shares(pools(scratch("pools"), size)).to_markdown())
    tuned, fixed = studies()
    cases = {f"{name}, tuned": case for name, case in tuned.items()}
    cases |= {f"{name}, recommended": Case(first(case.losses), case.overlap) for name, case in fixed.items()}
    title(f"False alarms: the same scheduler under {len(LABELS)} labels, {SEEDS} seeds")
    show({name: false_alarms(case) for name, case in cases.items()})
    title(f"One of the {len(LABELS)} made worse: share found with {SEEDS} seeds, adjusted for all")
    show({name: power(partial(called_worse, overlap=case.overlap, fixed=case.fixed), case) for name, case in cases.items()})
    title(f"The same, recommended, by a race from {PLAN.least} to {PLAN.most} seeds")
    show({name: power(partial(lost, overlap=case.overlap), case) for name, case in fixed.items()})
    title("All alike, by the same race: called equal, or in the set of the best")
    show({name: alike(case) for name, case in fixed.items()})


def title(text: str) -> None:
    """Print it as a heading."""
    print(f"\n### {text}\n", flush=True)


def show(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table."""
    print(pd.DataFrame(rows).T.to_markdown(floatfmt=".3f"), flush=True)


def studies() -> tuple[dict[str, Case], dict[str, Case]]:
    """By problem, the losses of the ten labels: each seed's own winners, and one configuration on the seeds of the race."""
    params = default_params() | {"seeds": SEEDS, "schedulers": dict.fromkeys(LABELS, SAME)}
    params["report"] = params["report"] | {"baseline": LABELS[0]}
    found = study(scratch("calibrate"), params, ("dataset", "train", "tune", "confirm"))
    # Seeds from 0 and as many fresh ones make up those of the race.
    prepare(scratch("relabelled"), params | {"seeds": PLAN.most // 2}, ("dataset",))
    tuned, fixed = {}, {}
    for name, results in found.items():
        rho = results.overlap.of(CRITERION)
        of_variant = dict(iter(results.runs.groupby("variant")))
        tuned[name] = Case(matrices(of_variant["tuned"]), rho, matrices(of_variant["recommended"]))
        with inside(scratch("calibrate")):
            schedule = read_schedules(name)[LABELS[0]]
        fixed[name] = Case(relabelled(name, schedule), rho)
    return tuned, fixed


def pools(folder: Path, size: Size, processes: int = 2) -> pd.DataFrame:
    """Every interval of every pool; see :func:`benchmarks.pools.coverage`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params_of(size), file)
    return coverage(folder, size, processes)


def shares(intervals: pd.DataFrame) -> pd.DataFrame:
    """Share that holds the truth and mean width, by variant and scheduler, and of all schedulers of a variant."""
    intervals = intervals.assign(width=intervals["high"] - intervals["low"])
    every = pd.concat([intervals, intervals.assign(scheduler="all")])
    table = every.groupby(["variant", "scheduler"], sort=False).agg(
        intervals=("holds", "size"), holds=("holds", "mean"), width=("width", "mean")
    )
    return table.reset_index().round(4).set_index("variant")


def relabelled(name: str, schedule: Schedule) -> Losses:
    """One configuration under every label: the same splits, weights and orders of each label's own."""
    with inside(scratch("relabelled")) as params:
        problem = load_problem(name, params.problem(name), params.schedules(name))
        (values,) = final(problem, {LABELS[0]: schedule}, list(problem.data.splits), STREAMS * len(LABELS)).values()
    return {label: values[:, STREAMS * number :][:, :STREAMS] for number, label in enumerate(LABELS)}


def first(losses: Losses, seeds: int = SEEDS) -> dict[str, Any]:
    """The losses on the first seeds."""
    return {label: values[:seeds] for label, values in losses.items()}


def false_alarms(case: Case) -> dict[str, float]:
    """Shares of what is called different: pairs by themselves, and families against a baseline, each label in turn."""
    pairs = list(combinations(case.losses, 2))
    of = differences(case.losses, case.overlap, case.fixed)
    alone = [of[pair].p < LEVEL for pair in pairs]
    tables = [against(case.losses, label, case.overlap, fixed=case.fixed) for label in case.losses]
    families = [bool({*table["verdict"]} & {"better", "worse"}) for table in tables]
    return {"pairs": len(pairs), "one by one": mean(alone), "families with one, adjusted": mean(families)}


def power(found: Callable[[Losses, str, str], bool], case: Case) -> dict[str, float]:
    """Share of (baseline, other) in which the other, made worse, is found; by how much worse it was made."""
    return {
        f"{share:.0%} worse": mean(
            [found(made_worse(case.losses, other, share), baseline, other) for baseline, other in turns()]
        )
        for share in WORSE
    }


def turns() -> list[tuple[str, str]]:
    """Each label as the baseline of two others."""
    return [(label, LABELS[(number + ahead) % len(LABELS)]) for number, label in enumerate(LABELS) for ahead in (1, 5)]


def made_worse(losses: Losses, label: str, share: float) -> dict[str, Any]:
    """The losses, those of one label greater by that share."""
    return {name: values * (1 + share * (name == label)) for name, values in losses.items()}


def called_worse(losses: Losses, baseline: str, other: str, overlap: float, fixed: Losses | None = None) -> bool:
    """Whether the verdict on one of them is *worse*, all being compared with the baseline."""
    return bool(against(losses, baseline, overlap, fixed=fixed).loc[other, "verdict"] == "worse")


def lost(losses: Losses, baseline: str, other: str, overlap: float) -> bool:
    """Whether the race finds it worse than the baseline."""
    return raced(losses, baseline, overlap).to_baseline[other] == "worse"


def raced(losses: Losses, baseline: str, overlap: float) -> Race:
    """Where the race ends."""
    *_, end = looks(losses, baseline, PLAN, overlap)
    return end


def alike(case: Case) -> dict[str, float]:
    """Of all (baseline, other) the share that the race calls equal, and the share in the set of the best."""
    ended = [(raced(case.losses, baseline, case.overlap), other) for baseline, other in turns()]
    equal = [found.to_baseline[other] == "equal" for found, other in ended]
    kept = [found.to_best[other] != "out" for found, other in ended]
    alarms = [bool({*found.to_baseline.values()} & {"better", "worse"}) for found, _ in ended]
    either = [one or other for one, other in zip(equal, kept, strict=True)]
    return {"equal": mean(equal), "in the set": mean(kept), "either": mean(either), "families with a false alarm": mean(alarms)}


if __name__ == "__main__":
    main()
