"""Stage ``confirm@P``: each recommended configuration on splits, weights and orders that no study saw (``recommended``)."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine.device import find_device
from pipeline.problems.loading import load_problem
from pipeline.runs import results
from pipeline.runs.executor import executor
from pipeline.runs.racing import Question, confirming, seeds_wanted
from pipeline.tracking.record import record
from pipeline.tracking.trackers import trackers


def main(problem_name: str) -> None:
    """Write ``runs.parquet`` and ``curves.parquet`` under ``results/P/confirm``."""
    with executor() as workers, trackers() as shown:
        params = load_params(CATALOGUE)
        device = find_device(params.device)
        problem = load_problem(params, problem_name)
        best = results.read_schedules(problem_name)
        report = params.report
        asked = Question(params.seed_range, report.baseline, report.margin, report.at)
        seeds = seeds_wanted(problem, best, asked, device, workers)
        record(problem, "confirm", confirming(best, seeds, problem.params.epochs, report.at), device, workers, shown)


if __name__ == "__main__":
    cli.run(main)
