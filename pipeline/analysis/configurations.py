"""Of each scheduler the configuration to paste: as confirmed, else as a study found it, else as written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.analysis.choice import Choices, last, typical
from pipeline.analysis.tables import ProblemResults, records
from pipeline.config.params import Params


@dataclass(frozen=True)
class Configuration:
    """A row of ``runs.parquet`` that stands for a scheduler, and its warmup as written, a share of the run perhaps."""

    run: Mapping[str, Any]
    warmup: int | str


def configuration(params: Params, problem: ProblemResults, found: Choices, label: str) -> Configuration | None:
    """That of a label; None where all of its runs diverged. Of what is recommended it is the run that all else speaks of."""
    chosen = last(found)
    run = chosen.run if label == chosen.scheduler else None
    for variant in reversed(problem.variants):
        run = run or typical(problem, variant, label)
    rows = records(problem.runs[problem.runs["run"] == run])
    return Configuration(rows[0], _warmup(params, problem, rows[0])) if rows else None


def _warmup(params: Params, problem: ProblemResults, run: Mapping[str, Any]) -> int | str:
    label = str(run["scheduler"])
    if run["variant"] != "default" and label in problem.best:
        written: int | str = problem.best[label].get("warmup", 0)
        return written
    schedule = {**params.schedulers, **problem.params.schedulers}.get(label)
    return schedule.warmup if schedule else int(run["warmup"])
