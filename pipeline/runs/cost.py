"""What the runs of a problem cost in seconds, by a probe: a few of them are trained as they will be, for about a second.

What was measured is kept beside the finished runs, for whoever asks next.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch

from pipeline.config.components import Component
from pipeline.config.errors import PipelineError
from pipeline.config.params import FRESH
from pipeline.engine.code import code_fingerprint
from pipeline.engine.rates import Rates
from pipeline.engine.stackable import by_optimizer
from pipeline.engine.stacked import WayError
from pipeline.engine.training import Way, train_by, ways, why_one_by_one
from pipeline.problems.dataset import Split
from pipeline.problems.probe import seconds_of
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run
from pipeline.problems.scripts import ScriptProblem
from pipeline.runs.store import store
from pipeline.runs.wanted import Work, as_written
from pipeline.schedulers.replay import ScheduleError

ENOUGH = 0.3
"""Seconds from which a training says how long others take."""
FEWEST: dict[Way, int] = {"compiled": 64, "tensors": 16, "loop": 1}
"""Runs side by side in the first probe."""
MOST: dict[Way, int] = {"compiled": 1024, "tensors": 256, "loop": 1}
"""The same in the last one; more of them cost as much each."""
SEEDS = 4
"""Replicates that they are of."""


@dataclass(frozen=True)
class Cost:
    """Seconds on all cores together, of one run among many."""

    way: Way
    """How most of them are trained."""
    why: str
    """What keeps them from being trained side by side; empty where nothing does."""
    step: float
    """Of an optimizer step."""
    validated: float
    """Of an optimizer step where every epoch is validated."""
    schedule: float
    """Of following its schedule."""

    def seconds(self, problem: Problem, work: Work, runs: int) -> float:
        """For so many runs of the kind."""
        steps = problem.budget(work.epochs)
        of_run = steps.epochs * steps.steps_per_epoch * (self.step if work.search else self.validated)
        return runs * (of_run + self.schedule * work.epochs / problem.params.epochs)


def cost(problem: Problem, device: torch.device, processes: int) -> Cost:
    """What a run costs; measured where that is not known yet, which compiles what has to be compiled anyway."""
    if isinstance(problem, ScriptProblem):
        return _of_script(problem, processes)
    labels = sorted(schedule.key for schedule in problem.schedules.values())
    name = f"cost {code_fingerprint()} {problem.fingerprint} {problem.params.epochs} {device} {processes} {labels}"
    if (kept := store().contents([name]).get(name)) is None:
        kept = json.dumps(asdict(_measured(problem, device, processes))).encode()
        store().keep_contents({name: kept})
    return Cost(**json.loads(kept))


def _of_script(problem: ScriptProblem, processes: int) -> Cost:
    """As its probe measured it, in the stage ``dataset`` or just now."""
    seconds, budget = seconds_of(problem.name), problem.budget()
    of_run = seconds.of_run(budget.epochs, budget.steps_per_epoch) if seconds else math.nan
    step = of_run / (budget.epochs * budget.steps_per_epoch) / processes
    return Cost("script", "it is a script, a process for each run", step=step, validated=step, schedule=0.0)


def _measured(problem: Problem, device: torch.device, processes: int) -> Cost:
    """Every optimizer's runs by themselves, then their mean."""
    seeds = [seed for seed in problem.data.splits if seed < FRESH][:SEEDS]
    runs = [run for run in as_written(problem, len(seeds)) if run.draw == 1]
    groups = by_optimizer(problem, runs)
    of_groups = [
        _of_a_group(problem, component, [runs[place] for place in places], device, processes) for component, places in groups
    ]
    shares = [len(places) / len(runs) for _, places in groups]
    mean = {
        name: sum(share * getattr(found, name) for share, found in zip(shares, of_groups, strict=True))
        for name in ("step", "validated", "schedule")
    }
    most = of_groups[shares.index(max(shares))]
    return replace(most, why=next((found.why for found in of_groups if found.why), ""), **mean)


def _of_a_group(problem: Problem, component: Component, runs: Sequence[Run], device: torch.device, processes: int) -> Cost:
    why = why_one_by_one(problem, component, device)
    for way in (possible := ("loop",) if why else ways(problem, component, device)):
        at_once = processes if way == "loop" or (way == "tensors" and device.type == "cpu") else 1
        try:
            step, validated = (_step(problem, way, runs, device, search=search) / at_once for search in (True, False))
        except WayError as error:
            if way == possible[-1]:
                raise
            why = str(error).partition("which is slower: ")[2] or str(error)
            continue
        return Cost(way, why if way == "loop" else "", step, validated, _schedule(problem, runs))
    raise AssertionError("there is always a way")


class Watch:
    """Seconds since it was made: by the clock, or on a CPU those that this process computed, if those are fewer.

    What else the machine does meanwhile must not be kept as what training costs.
    """

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def wall(self) -> float:
        """By the clock."""
        return time.perf_counter() - self._wall

    def seconds(self, device: torch.device) -> float:
        """What it cost."""
        return min(self.wall, time.process_time() - self._cpu) if device.type == "cpu" else self.wall


def _schedule(problem: Problem, runs: Sequence[Run]) -> float:
    watch, followed = Watch(), 0
    for run in runs:
        Rates(problem, [run])
        followed += 1
        if watch.wall > ENOUGH:
            break
    return watch.seconds(torch.device("cpu")) / followed


def _step(problem: Problem, way: Way, runs: Sequence[Run], device: torch.device, *, search: bool) -> float:
    """Seconds of a step of a run: of ever more runs and steps, until they take long enough to be timed."""
    whole = problem.budget().steps_per_epoch
    count, some = FEWEST[way], _in_short(problem, min(2, whole))
    next(train_by(way, some, _repeated(runs, count), device=device), None)  # compiles, and compares what was compiled
    while True:
        seconds, epochs = _timed(some, way, _repeated(runs, count), device, search=search)
        batches = some.budget().steps_per_epoch
        if seconds >= ENOUGH or (batches == whole and count == MOST[way]):
            again, more = _timed(some, way, _repeated(runs, count), device, search=search)
            return min(seconds / epochs, again / more) / (count * batches)  # something else may have had the machine
        if batches < whole:
            some = _in_short(problem, min(whole, 4 * batches))
        else:
            count = min(MOST[way], 4 * count)


def _timed(problem: Problem, way: Way, runs: Sequence[Run], device: torch.device, *, search: bool) -> tuple[float, int]:
    """How long the first epochs of a training take, and how many these are."""
    watch, epochs = Watch(), 0
    for block in train_by(way, problem, runs, device=device, search=search):
        epochs += len(block.lr)
        if watch.wall > 2 * ENOUGH:
            break
    return watch.seconds(device), epochs


def _repeated(runs: Sequence[Run], count: int) -> list[Run]:
    """So many runs, of all schedulers and replicates alike."""
    return [runs[number * len(runs) // count if count < len(runs) else number % len(runs)] for number in range(count)]


def _in_short(problem: Problem, batches: int) -> Problem:
    """The problem with so few batches in an epoch, and its other parts in proportion; whole where some schedule needs more."""
    train = problem.data.train_size
    size = min(train, batches * problem.params.batch_size)

    def cut(split: Split) -> Split:
        shares = ((rows, max(1, len(rows) * size // train)) for rows in (split.validation, split.test))
        return Split(split.train[:size], *(rows[:share] for rows, share in shares))

    data = replace(problem.data, splits={seed: cut(split) for seed, split in problem.data.splits.items()})
    short = replace(problem, data=data)
    try:
        Rates(short, as_written(short, 1))
    except (ScheduleError, PipelineError):
        return problem
    return short
