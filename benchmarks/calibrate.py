"""A/A: the same scheduler under several labels, tuned and confirmed as if different, and how many pairs are called so.

``make calibrate``: every label has its own studies, whose samplers differ, so that whatever is called different is a false
alarm. At a level of 5%, that many of the pairs may be, give or take the binomial error.
"""

from itertools import combinations

import pandas as pd

from benchmarks.defaults import default_params
from benchmarks.machine import conditions
from benchmarks.studies import scratch, study
from pipeline.analysis.statistics import NO_OVERLAP, compare
from pipeline.analysis.tables import ProblemResults

SAME = {"name": "CosineAnnealingLR", "args": {"T_max": "100%"}}
LABELS = [f"Same{number}" for number in range(10)]
LEVEL = 0.05


def main() -> None:
    """Run the studies and print the table."""
    params = default_params() | {"schedulers": dict.fromkeys(LABELS, SAME)}
    params["report"] = params["report"] | {"baseline": LABELS[0]}
    found = study(scratch("calibrate"), params)
    print(f"{conditions()}; {params['seeds']} seeds, {params['tune']['trials']} trials a study")
    print("| problem | pairs | called different, one by one | without correcting for overlap | to the first, adjusted |")
    print("|---|---|---|---|---|")
    for name, results in found.items():
        pairs = list(combinations(LABELS, 2))
        raw, plain = (sum(different(results, *pair, corrected=corrected) for pair in pairs) for corrected in (True, False))
        table = compare(of(results, LABELS), LABELS[0], results.overlap)
        adjusted = int(table["verdict"].isin(["better", "worse"]).sum())
        shares = " | ".join(f"{count} ({count / len(pairs):.1%})" for count in (raw, plain))
        print(f"| {name} | {len(pairs)} | {shares} | {adjusted} of {len(LABELS) - 1} |")
    allowed = LEVEL + 1.96 * (LEVEL * (1 - LEVEL) / len(list(combinations(LABELS, 2)))) ** 0.5
    print(f"\nAllowed at {LEVEL:.0%}, with the binomial error of that many independent pairs: {allowed:.1%}.")


def of(results: ProblemResults, labels: list[str]) -> pd.DataFrame:
    """The tuned runs of some labels."""
    runs = results.runs
    return runs[(runs["variant"] == "tuned") & runs["scheduler"].isin(labels)]


def different(results: ProblemResults, one: str, other: str, *, corrected: bool) -> bool:
    """Whether the two are told apart when nothing else is compared."""
    overlap = results.overlap if corrected else NO_OVERLAP
    table = compare(of(results, [one, other]), one, overlap)
    return float(table.loc[table["scheduler"] == other, "p"].iloc[0]) < LEVEL


if __name__ == "__main__":
    main()
