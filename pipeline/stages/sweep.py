"""Stage ``sweep@P``: each recommended configuration over a grid of peak rates, at the full budget and at shorter ones."""

import pandas as pd

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import terminal
from pipeline.config.files import stage_path, write_files
from pipeline.config.params import Params, SweepParams, load_params
from pipeline.engine.device import find_device
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem
from pipeline.runs import results
from pipeline.runs.executor import Workers, executor
from pipeline.runs.inspection import no_shorter
from pipeline.runs.results import SWEEP_COLUMNS
from pipeline.search.sweeps import Sweep, said, seeds_by_budget


def main(problem_name: str) -> None:
    """Write ``results/P/sweep/runs.parquet``; without a row where params.yaml has ``sweep: none``."""
    with executor() as workers:
        params = load_params(CATALOGUE)
        problem = load_problem(params, problem_name)
        table = pd.DataFrame(columns=list(SWEEP_COLUMNS))
        if params.sweep:
            table = swept(params, params.sweep, problem, workers)
    found = results.tables(problem_name, "sweep", {"runs.parquet": table}, problem.data.digest)
    write_files((stage_path(problem_name, "sweep", name), content) for name, content in found.items())


def swept(params: Params, asked: SweepParams, problem: Problem, workers: Workers) -> pd.DataFrame:
    """A row for each run: over peak rates at every budget and at the recommended ones, then at the shorter budgets."""
    for warning in no_shorter(problem, asked):
        terminal.tell(f"sweep@{problem.name}: warning: {warning}")
    best = results.read_schedules(problem.name)
    epochs, seeds = problem.params.epochs, range(params.seed_range.least)
    by_budget = seeds_by_budget(asked, epochs, seeds)
    sweep = Sweep(problem, best, params.tune.lr, asked.points, by_budget, find_device(params.device), workers)
    over_rates = sweep.over_rates()
    probes = [*sweep.at_own_rates(over_rates), *sweep.over_budgets(over_rates, params.fresh[: len(seeds)])]
    if told := said(over_rates, params.tune.lr, problem.lr):
        terminal.tell(f"sweep@{problem.name}: {told}")
    return pd.concat([over_rates, sweep.trained(probes)], ignore_index=True) if probes else over_rates


if __name__ == "__main__":
    cli.run(main)
