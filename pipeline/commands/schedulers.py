"""``python -m pipeline schedulers``: draw every schedule in params.yaml and name the traps in it.

Nothing is trained.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pipeline.catalogue import CATALOGUE
from pipeline.commands import arguments
from pipeline.commands.gallery import table
from pipeline.config.arrays import Floats
from pipeline.config.document import read
from pipeline.config.params import PARAMS_FILE, Params, load_params
from pipeline.config.schedules import Schedule
from pipeline.config.wording import counted
from pipeline.problems.problem import Problem
from pipeline.runs.inspection import refuse_unfit
from pipeline.runs.traps import Followed, findings, follow, impossible
from pipeline.schedulers.aliases import told
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import ScheduleError
from pipeline.stages.dataset import problem_made

WIDTH, HEIGHT = 72, 3
BARS = " ▁▂▃▄▅▆▇█"


def main(words: Sequence[str]) -> None:
    """Print the gallery of one problem, or of all."""
    parser = arguments("schedulers", __doc__)
    parser.add_argument("problem", nargs="?", help="one of those in params.yaml; left out, all")
    parser.add_argument(
        "--table", action="store_true", help="list all registered schedulers instead, as docs/schedulers.md does"
    )
    asked = parser.parse_args(words)
    lines = table() if asked.table else _galleries(load_params(CATALOGUE), asked.problem)
    for line in lines:
        print(line)


def _galleries(params: Params, name: str | None) -> Iterator[str]:
    data = read(PARAMS_FILE)[1]
    for chosen in [name] if name else params.problems:
        problem = problem_made(params, chosen, tell=lambda line: None)
        refuse_unfit(problem)
        budget = problem.budget()
        length = f"{counted(budget.epochs, 'epoch')} of {counted(budget.steps_per_epoch, 'step')}"
        yield f"{chosen}: {length}, learning rate {problem.lr:g}"
        yield from told(data, chosen)
        for label, schedule in problem.schedules.items():
            yield ""
            yield from _entry(problem, label, schedule, params.report.baseline)
        yield ""


def _entry(problem: Problem, label: str, schedule: Schedule, baseline: str) -> Iterator[str]:
    """A schedule's name and arguments, its curve, and what is wrong with it."""
    yield f"{label}  {_written(label, schedule)}".rstrip()
    try:
        followed = follow(label, schedule, problem.optimizers_for(schedule), problem.lr, problem.budget())
    except ScheduleError as error:
        yield f"  ! {impossible(label, error)}"
        return
    yield from _curve(followed)
    for finding in findings(followed, baseline):
        yield f"  ! {finding}"


def _written(label: str, schedule: Schedule) -> str:
    """Its arguments, and whatever else is not as usual, as in params.yaml."""
    usual = {"name": label, "lr": "100%", "warmup": 0, "interval": schedulers[schedule.name].interval}
    shown = {key: getattr(schedule, key) for key, value in usual.items() if getattr(schedule, key) != value} | schedule.args
    if schedule.average:
        shown["average"] = schedule.average.model_dump(exclude_none=True)
    return ", ".join(f"{key}: {_plain(value)}" for key, value in shown.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")


def _curve(followed: Followed) -> list[str]:
    """The rate over the run as bars of eighths, from zero to the peak, with peak, lowest and last rate beside them."""
    bars = drawn(followed.rates)
    rates = followed.rates
    said = [f"peak {rates.max():.4g}", f"lowest {rates.min():.4g}", f"last {rates[-1]:.4g}"]
    if followed.is_live:
        said[-1] += " (on a loss that never falls)"
    return [f"  {row}  {text}" for row, text in zip(bars, said, strict=True)]


def drawn(rates: Floats) -> list[str]:
    """Rows of bars, the highest first: each column the mean of its part of ``rates``, (steps,), the full height its maximum."""
    parts = np.array_split(rates, min(WIDTH, len(rates)))
    heights = np.array([part.mean() for part in parts]) / (rates.max() or 1.0) * HEIGHT * 8
    # What is not zero shows, however little it is.
    eighths = np.where(heights > 0, np.maximum(np.round(heights), 1), 0).astype(int)
    return ["".join(BARS[np.clip(e - 8 * row, 0, 8)] for e in eighths).ljust(WIDTH) for row in reversed(range(HEIGHT))]
