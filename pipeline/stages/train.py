"""Stage ``train@P``: train every scheduler as written in params.yaml, for every seed (variant ``default``)."""

import sys

from pipeline.tracking import follower

if __name__ == "__main__":
    follower.prepare()  # before anything else is imported

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config.document import read
from pipeline.config.files import json_file
from pipeline.config.params import PARAMS_FILE, load_params
from pipeline.engine.device import find_device
from pipeline.problems.problem import load_problem
from pipeline.problems.run import Run
from pipeline.runs.inspection import absent_classes, inspect
from pipeline.runs.traps import findings
from pipeline.schedulers.aliases import told
from pipeline.tracking.record import record


def main(problem_name: str) -> None:
    """Write ``runs.parquet``, ``curves.parquet`` and ``findings.json`` under ``results/P/train``."""
    params = load_params(CATALOGUE)
    device = find_device(params.device)
    problem = load_problem(problem_name, params.problem(problem_name), params.schedules(problem_name))
    for line in told(read(PARAMS_FILE)[1], problem_name):
        print(f"train@{problem_name}: {line}", file=sys.stderr, flush=True)
    found = [finding for followed in inspect(problem) for finding in findings(followed, params.report.baseline)]
    for warning in [*found, *absent_classes(problem, params.seeds)]:
        print(f"train@{problem_name}: warning: {warning}", file=sys.stderr, flush=True)
    schedules = problem.schedules.items()
    runs = [Run(label, schedule, seed, problem.params.epochs) for label, schedule in schedules for seed in range(params.seeds)]
    record(problem, "train", runs, device, lambda: {"findings.json": json_file([finding.as_dict() for finding in found])})


if __name__ == "__main__":
    cli.command(main)
