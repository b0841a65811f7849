"""Are the verdicts as sure as they say, and do they find what is there? Both can fail here.

``make calibrate`` prints the tables. *Coverage*: of the intervals at 95% in fresh pools of samples, those that hold the truth
(:mod:`benchmarks.pools`). *False alarms*: one scheduler under ten labels, each tuned by itself; whatever is called different is
one. *Power*: of the same ten, one is made worse by so much; whoever does not find it, with 10 seeds or by a race to 40, misses
it. What is recommended is judged on one configuration under ten labels, each with weights and orders of its own, on as many
seeds as a race may take; each ten seeds are looked at by themselves. What was trained is kept in ``.state/studies``: another
call only judges anew.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from benchmarks.defaults import default_params
from benchmarks.machine import conditions
from benchmarks.pools import CPU, Size, coverage, final, losses_of, params_of
from benchmarks.studies import inside, prepare, scratch
from pipeline.problems.loading import load_problem
from pipeline.problems.run import STREAMS
from pipeline.runs.executor import executor
from pipeline.search.rounds import recommend, rerun, search, winners
from pipeline.statistics.comparison import MATTERS, against
from pipeline.statistics.components import LEVEL, Losses, differences, level, nested
from pipeline.statistics.forecast import detectable, fewest, seeds_needed
from pipeline.statistics.sequential import Plan, Race, looks

SAME = {"name": "CosineAnnealingLR", "args": {"T_max": "100%"}}
LABELS = [f"Same{number}" for number in range(10)]
WORSE = (0.02, 0.05, 0.10, 0.20)
SEEDS = 10
TUNED = 2 * SEEDS
"""Seeds that have studies of their own."""
PLAN = Plan(least=6, most=40)
Cases = Mapping[str, Losses]
"""By problem, the losses of all labels."""


def main() -> None:
    """Run the studies and print the tables."""
    size = Size()
    print(f"{conditions()}; {PLAN}")
    title(f"Coverage of intervals at 95%: {size.pools} fresh pools, {size.seeds} seeds")
    print(shares(pools(scratch("pools"), size)).to_markdown())
    tuned, recommended = studies()
    cases = {f"{name}, tuned": of for name, of in tuned.items()} | {f"{n}, recommended": of for n, of in recommended.items()}
    blocks = {name: list(each_ten(of)) for name, of in cases.items()}
    title(f"False alarms: the same scheduler under {len(LABELS)} labels, each {SEEDS} seeds by themselves")
    show({name: average(false_alarms(of) for of in tens) for name, tens in blocks.items()})
    title(f"One of the {len(LABELS)} made worse: share found with {SEEDS} seeds, adjusted for all")
    show({name: average(power(of) for of in tens) for name, tens in blocks.items()})
    title("The same, recommended, by a race from 6 to 40 seeds")
    show({name: raced_power(of) for name, of in recommended.items()})
    title("All alike, by the same race: called equal, or in the set of the best")
    show({name: alike(of) for name, of in recommended.items()})
    title(f"One made worse by just what matters, {MATTERS:.0%}: called equal, no worse or better all the same")
    show({name: average({"called so": mislabelled(of)} for of in tens) for name, tens in blocks.items()})
    title(f"Forecasts from {SEEDS} seeds: what is told, and how often it holds")
    show({name: forecasts(of) for name, of in recommended.items()})


def title(text: str) -> None:
    """Print it as a heading."""
    print(f"\n### {text}\n", flush=True)


def show(rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table."""
    print(pd.DataFrame(rows).T.to_markdown(floatfmt=".3f"), flush=True)


def studies() -> tuple[Cases, Cases]:
    """The losses of the ten labels: of each seed's own winners, and of one configuration on fresh seeds."""
    params = default_params() | {"seeds": PLAN.most, "schedulers": dict.fromkeys(LABELS, SAME)}
    params["report"] = params["report"] | {"baseline": LABELS[0]}
    prepare(scratch("calibrate"), params, ("dataset",))
    tuned, recommended = {}, {}
    with inside(scratch("calibrate")) as loaded, executor() as workers:
        for name in loaded.problems:
            problem = load_problem(loaded, name)
            found = rerun(problem, search(problem, loaded.tune, TUNED, CPU, lambda _: None, workers), CPU, workers)
            won = losses_of(problem, winners(found, problem.params.epochs), workers).reshape(len(LABELS), TUNED, -1)
            tuned[name] = dict(zip(LABELS, won, strict=True))
            best = recommend(problem, [s for s in found if s.label == LABELS[0] and s.seed < SEEDS], CPU, workers)
            (values,) = final(problem, best, loaded.fresh, STREAMS * len(LABELS), workers).values()
            recommended[name] = {label: values[:, STREAMS * n :][:, :STREAMS] for n, label in enumerate(LABELS)}
    return tuned, recommended


def pools(folder: Path, size: Size, processes: int = 2) -> pd.DataFrame:
    """Every interval of every pool; see :func:`benchmarks.pools.coverage`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params_of(size), file)
    return coverage(folder, size, processes)


def shares(intervals: pd.DataFrame) -> pd.DataFrame:
    """Share that holds the truth and mean width, by variant and scheduler, and of all schedulers of a variant."""
    every = pd.concat([intervals, intervals.assign(scheduler="all")])
    every = every.assign(width=2 * every["half"], like_width=2 * every["like_half"])
    table = every.groupby(["variant", "scheduler"], sort=False).agg(
        intervals=("holds", "size"), these=("holds", "mean"), width=("width", "mean"), like_these=("like_holds", "mean"),
        like_width=("like_width", "mean"), like_these_by_these=("narrow_holds", "mean"),
    )  # fmt: skip
    return table.reset_index().round(4).set_index("variant")


def each_ten(losses: Losses) -> Iterator[dict[str, Any]]:
    """The losses on each ten of the seeds."""
    for first in range(0, len(losses[LABELS[0]]), SEEDS):
        yield {label: values[first : first + SEEDS] for label, values in losses.items()}


def average(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure."""
    return {str(name): float(value) for name, value in pd.DataFrame(list(rows)).mean().items()}


def false_alarms(losses: Losses) -> dict[str, float]:
    """Shares of what is called different: pairs by themselves, and families against a baseline, each label in turn."""
    of = differences(losses)
    alone = [of[pair].p < LEVEL for pair in combinations(losses, 2)]
    tables = [against(losses, label) for label in losses]
    families = [bool({*table["verdict"]} & {"better", "worse"}) for table in tables]
    return {"one by one": mean(alone), "families with one, adjusted": mean(families)}


def power(losses: Losses) -> dict[str, float]:
    """Share of (baseline, other) in which the other, made worse, is called so, all being compared; by how much worse it is."""
    return {f"{w:.0%} worse": mean([verdict(losses, *pair, w) == "worse" for pair in turns()]) for w in WORSE}


def verdict(losses: Losses, baseline: str, other: str, worse: float) -> str:
    """What is said of the other, made worse by that share, all being compared with the baseline."""
    return str(against(made_worse(losses, other, worse), baseline).loc[other, "verdict"])


def mislabelled(losses: Losses) -> float:
    """Share of those that are worse by just what matters that are called not to be."""
    said = [verdict(losses, *pair, MATTERS) for pair in turns()]
    return mean(word in ("practically equal", "no worse", "better") for word in said)


def turns() -> list[tuple[str, str]]:
    """Each label as the baseline of two others."""
    return [(label, LABELS[(number + ahead) % len(LABELS)]) for number, label in enumerate(LABELS) for ahead in (1, 5)]


def made_worse(losses: Losses, label: str, share: float) -> dict[str, Any]:
    """The losses, those of one label greater by that share."""
    return {name: values * (1 + share * (name == label)) for name, values in losses.items()}


def raced_power(losses: Losses) -> dict[str, float]:
    """The same as :func:`power`, by a race."""
    return {
        f"{w:.0%} worse": mean([raced(made_worse(losses, o, w), b).to_baseline[o] == "worse" for b, o in turns()])
        for w in WORSE
    }


def raced(losses: Losses, baseline: str) -> Race:
    """Where the race ends."""
    *_, end = looks(losses, baseline, PLAN)
    return end


def alike(losses: Losses) -> dict[str, float]:
    """Of all (baseline, other) the share that the race calls equal, and the share in the set of the best."""
    ended = [(raced(losses, baseline), other) for baseline, other in turns()]
    equal = [found.to_baseline[other] == "equal" for found, other in ended]
    kept = [found.to_best[other] != "out" for found, other in ended]
    alarms = [bool({*found.to_baseline.values()} & {"better", "worse"}) for found, _ in ended]
    either = [one or other for one, other in zip(equal, kept, strict=True)]
    return {"equal": mean(equal), "in the set": mean(kept), "either": mean(either), "families with a false alarm": mean(alarms)}


def forecasts(losses: Losses) -> dict[str, float]:
    """Of what each ten seeds tell of the others, the shares that hold.

    How many seeds find what matters is known from all pairs on all seeds, whose labels are alike. The smallest difference that
    is found four times in five is added to the ten seeds that follow: a share of the losses would add to their spread, too.
    """
    pairs, alpha = list(combinations(losses, 2)), LEVEL / (len(losses) - 1)
    spread = mean(nested(losses[a] - losses[b]).between for a, b in pairs)
    tens = list(each_ten(losses))
    held, low, found = [], [], []
    for number, own in enumerate(tens):
        of, effect = differences(own), MATTERS * level(own[LABELS[0]]).mean
        needed = fewest(replace(of[pairs[0]], between=spread), effect, alpha)
        told = [seeds_needed(of[pair], effect, alpha) for pair in pairs]
        held += [least <= needed <= most for least, most in told]
        low += [most < needed for _, most in told]
        following = tens[(number + 1) % len(tens)]
        for baseline, other in turns():
            shifted = {**following, other: following[other] + detectable(of[other, baseline], alpha)}
            table = against(shifted, baseline)
            found.append(table["adjusted"].astype(float).to_dict()[other] < LEVEL)
    return {"seeds needed lie in the range": mean(held), "are more": mean(low), "smallest difference found": mean(found)}


if __name__ == "__main__":
    main()
