"""Stage ``tune@P``: a study for every scheduler and seed, then each study's winner on its seed (variant ``tuned``)."""

import sys

from pipeline.tracking import follower

if __name__ == "__main__":
    follower.prepare()  # before anything else is imported

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config.files import parquet
from pipeline.config.params import load_params
from pipeline.engine.device import cores, find_device
from pipeline.problems.problem import load_problem
from pipeline.runs.hands import Hands
from pipeline.runs.inspection import inspect
from pipeline.search import storage
from pipeline.search.importances import importances
from pipeline.search.rounds import recommend, search, winners
from pipeline.search.table import TrialTable, best_yaml, widened_ranges
from pipeline.tracking.record import record


def main(problem_name: str) -> None:
    """Write ``trials``, ``runs``, ``curves`` and ``importances.parquet`` and ``best.yaml`` under ``results/P/tune``."""
    with Hands(cores()) as hands:
        params = load_params(CATALOGUE)
        device = find_device(params.device)
        problem = load_problem(problem_name, params.problem(problem_name), params.schedules(problem_name))
        inspect(problem)
        mirror, table = storage.Mirror(hands), TrialTable(problem)
        studies = search(problem, params.tune, params.seeds, device, lambda s: mirror.update(table.of(s), is_all=False), hands)
        mirror.update(table.of(studies), is_all=True)
        explained = hands.aside(importances, studies)
        best = best_yaml(recommend(problem, studies, device))
        mirror.close()
        if said := widened_ranges(studies):
            print(f"tune@{problem_name}: {said}", file=sys.stderr, flush=True)

        def beside() -> dict[str, bytes]:
            tables = {"trials.parquet": table.of(studies), "importances.parquet": explained.result()}
            return {"best.yaml": best, **{name: parquet(found) for name, found in tables.items()}}

        record(problem, "tune", winners(studies, problem.params.epochs), device, beside)


if __name__ == "__main__":
    cli.command(main)
