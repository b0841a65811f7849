"""Stage ``train@P``: train every scheduler as written in params.yaml, for every seed (variant ``default``)."""

from itertools import chain

from pipeline import cli
from pipeline.catalogue import CATALOGUE
from pipeline.config import terminal
from pipeline.config.document import read
from pipeline.config.params import PARAMS_FILE, Params, load_params
from pipeline.data.sizes import refuse_too_wide
from pipeline.engine.device import find_device
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem
from pipeline.runs.executor import executor
from pipeline.runs.inspection import (
    absent_classes,
    inspect,
    larger_than_the_whole,
    nothing_counted,
    nothing_holds,
    same_weights,
    seeds_change_nothing,
    validation_rises,
)
from pipeline.runs.results import findings_file
from pipeline.runs.traps import Finding, findings
from pipeline.runs.wanted import as_written
from pipeline.schedulers.aliases import told
from pipeline.tracking.record import record
from pipeline.tracking.trackers import trackers


def main(problem_name: str) -> None:
    """Write ``runs.parquet``, ``curves.parquet`` and ``findings.json`` under ``results/P/train``."""
    with executor() as workers, trackers() as shown:
        params = load_params(CATALOGUE)
        device = find_device(params.device)
        problem = load_problem(params, problem_name)
        refuse_too_wide(problem.params.model, problem.data)
        found = warned(params, problem)
        runs = as_written(problem, params.seed_range.least, params.report.at)
        beside = {"findings.json": findings_file(problem_name, [finding.as_dict() for finding in found])}
        history = record(problem, "train", runs, device, workers, shown, lambda: beside)
        odd = filter(None, (nothing_holds(problem, history), validation_rises(problem, history)))
        for warning in chain(odd, seeds_change_nothing(problem, history)):
            terminal.tell(f"train@{problem_name}: warning: {warning}")


def warned(params: Params, problem: Problem, who: str = "train") -> list[Finding]:
    """The traps in the problem's schedules; they, and all else that is odd about the problem, are told on standard error."""
    for line in told(read(PARAMS_FILE)[1], problem.name):
        terminal.tell(f"{who}@{problem.name}: {line}")
    found = [finding for followed in inspect(problem) for finding in findings(followed, params.report.baseline)]
    absent = absent_classes(problem, params.seed_range.least)
    for warning in chain(found, larger_than_the_whole(problem), absent, nothing_counted(problem), same_weights(problem)):
        terminal.tell(f"{who}@{problem.name}: warning: {warning}")
    return found


if __name__ == "__main__":
    cli.run(main)
