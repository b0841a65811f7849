"""Stage ``train@P``: train every scheduler as written in params.yaml, for every seed (variant ``default``)."""

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.engine.device import find_device
from pipeline.engine.rates import refuse_impossible
from pipeline.params import load_params
from pipeline.problems.problem import load_problem
from pipeline.record import record
from pipeline.runs import Run


def main(problem_name: str) -> None:
    """Write ``runs.parquet`` and ``curves.parquet`` under ``results/P/train``."""
    params = load_params(CATALOGUE)
    device = find_device(params.device)
    problem = load_problem(params, problem_name)
    refuse_impossible(problem)
    schedules = problem.schedules.items()
    runs = [Run(label, schedule, seed, problem.params.epochs) for label, schedule in schedules for seed in range(params.seeds)]
    record(problem, "train", runs, device)


if __name__ == "__main__":
    cli.run(main)
