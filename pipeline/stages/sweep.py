"""Stage ``sweep@P``: each recommended configuration over a grid of peak rates, and at several budgets."""

import sys

from pydantic import ValidationError

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config.files import ResultsError, parquet, stage_path, write_files
from pipeline.config.params import Schedule, load_params
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
        best = recommended(problem_name)
        epochs = problem.params.epochs
        rates = grid(params.tune.lr, params.sweep.points)
        probes = [
            *over_rates(best, rates, params.seeds, epochs),
            *over_budgets(problem.schedules, best, epochs_of(params.sweep, epochs), params.seeds),
        ]
        sweep = Sweep(problem, best, params.tune.lr, params.sweep.points, params.seeds, device, workers)
        table = sweep.extended(trained(problem, possible(problem, probes), device, workers))
    write_files([(stage_path(problem_name, "sweep", "runs.parquet"), parquet(table))])
    if told := said(table, params.tune.lr, problem.lr):
        print(f"sweep@{problem_name}: {told}", file=sys.stderr, flush=True)


def recommended(problem_name: str) -> dict[str, Schedule]:
    """The recommended configurations; :class:`pipeline.config.files.ResultsError` where ``best.yaml`` holds anything else."""
    try:
        written = results.read_best(problem_name).items()
        return {label: Schedule.model_validate(entry, context=CATALOGUE) for label, entry in written}
    except ValidationError as error:
        path, wrong = stage_path(problem_name, "tune", "best.yaml"), error.errors()[0]["msg"]
        remedy = f"`dvc repro -f tune@{problem_name}` writes it anew"
        raise ResultsError(f"{path} does not hold configurations as params.yaml has them ({wrong}); {remedy}") from None


if __name__ == "__main__":
    cli.run(main)
