"""Stage ``tune@P``: a study for every scheduler and seed, then each study's winner on its seed (variant ``tuned``)."""

from collections.abc import Sequence

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import terminal
from pipeline.config.params import load_params
from pipeline.engine.device import find_device
from pipeline.problems.loading import load_problem
from pipeline.runs.executor import executor
from pipeline.runs.inspection import inspect
from pipeline.runs.results import best_file, tables
from pipeline.search.importances import importances
from pipeline.search.rounds import recommend, rerun, search, winners
from pipeline.search.study import Study
from pipeline.search.table import TrialTable, best_yaml, rerun_table, widened_ranges
from pipeline.tracking.record import record
from pipeline.tracking.trackers import trackers


def main(problem_name: str) -> None:
    """Write ``trials``, ``reruns``, ``runs``, ``curves``, ``importances.parquet`` and ``best.yaml`` for ``tune@P``."""
    with executor() as workers, trackers() as shown:
        params = load_params(CATALOGUE)
        device = find_device(params.device)
        problem = load_problem(params, problem_name)
        inspect(problem)
        table = TrialTable(problem)

        def listen(so_far: Sequence[Study]) -> None:
            terminal.doing(f"tune@{problem_name}: asking for the next trials")
            shown.tell("show_trials", table.of(so_far), is_all=False)

        terminal.doing(f"tune@{problem_name}: asking for the first trials")
        studies = search(problem, params.tune, params.seed_range.least, device, listen, workers)
        trials = table.of(studies)
        shown.tell("show_trials", trials, is_all=True)
        explained = workers.submit(importances, studies)
        studies = rerun(problem, studies, device, workers)
        best = best_yaml(recommend(problem, studies, device, workers))
        if said := widened_ranges(studies):
            terminal.tell(f"tune@{problem_name}: {said}")

        def beside() -> dict[str, bytes]:
            found = {
                "trials.parquet": trials,
                "importances.parquet": explained.result(),
                "reruns.parquet": rerun_table(studies),
            }
            return {"best.yaml": best_file(problem_name, best), **tables(problem_name, "tune", found, problem.data.digest)}

        record(problem, "tune", winners(studies, problem.params.epochs, params.report.at), device, workers, shown, beside)


if __name__ == "__main__":
    cli.run(main)
