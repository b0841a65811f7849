"""Stage ``sweep@P``: each recommended configuration over a grid of peak rates, and at several budgets."""

import sys

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config.files import parquet, stage_path, write_files
from pipeline.config.params import load_params
from pipeline.engine.device import find_device
from pipeline.problems.problem import load_problem
from pipeline.runs import results
from pipeline.runs.executor import executor
from pipeline.search.sweeps import Sweep, epochs_of, grid, over_budgets, over_rates, possible, said, trained


def main(problem_name: str) -> None:
    """Write ``results/P/sweep/runs.parquet``."""
    with executor() as workers:
        params = load_params(CATALOGUE)
        device = find_device(params.device)
        problem = load_problem(problem_name, params.problem(problem_name), params.schedules(problem_name))
        best = results.read_schedules(problem_name)
        epochs = problem.params.epochs
        rates = grid(params.tune.lr, params.sweep.points)
        probes = [
            *over_rates(best, rates, params.seed_range.least, epochs),
            *over_budgets(problem.schedules, best, epochs_of(params.sweep, epochs), params.seed_range.least),
        ]
        sweep = Sweep(problem, best, params.tune.lr, params.sweep.points, params.seed_range.least, device, workers)
        table = sweep.extended(trained(problem, possible(problem, probes), device, workers))
    write_files([(stage_path(problem_name, "sweep", "runs.parquet"), parquet(table))])
    if told := said(table, params.tune.lr, problem.lr):
        print(f"sweep@{problem_name}: {told}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    cli.run(main)
