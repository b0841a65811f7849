"""What stages ``tune`` and ``sweep`` have to train, as far as that can be known before.

The stages' own functions say which runs they want, and nobody trains any. What follows from runs that are not there yet is
a range.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import torch

from pipeline.config.params import Epoch, SweepParams, TuneParams
from pipeline.config.schedules import Schedule
from pipeline.problems.problem import Problem
from pipeline.problems.run import STREAMS
from pipeline.runs.cost import Watch
from pipeline.runs.executor import NOBODY, LackingError
from pipeline.runs.wanted import Work, counted, unknown
from pipeline.search.rounds import LEADERS, RERUN_ON, recommend, rerun, search, winners
from pipeline.search.samplers import applicable
from pipeline.search.space import study_space
from pipeline.search.study import Round, Study
from pipeline.search.sweeps import DECADES, Sweep, seeds_by_budget

Best = Mapping[str, Schedule]
"""The recommended configurations by label."""
Before = tuple[Collection[str], int]
"""Labels and seeds of the search that there are results of."""
ENOUGH = 0.5
"""Seconds of asking that say how long all of it takes."""


def of_search(
    problem: Problem, tune: TuneParams, seeds: int, device: torch.device, before: Before, at: Epoch = "last"
) -> tuple[list[Work], Best | None]:
    """The trials, the leading ones again, the candidates on all seeds, and the winners; and what is recommended, if known."""
    labels, epochs = len(problem.schedules), problem.params.epochs
    studies = labels * seeds
    ahead = [
        unknown(epochs, studies * min(LEADERS, tune.trials) * len(RERUN_ON), search=True),
        unknown(epochs, labels * (seeds - 1), labels * seeds * (seeds - 1), search=True),
        unknown(epochs, studies * STREAMS),
    ]
    found, there = _searched(problem, tune, seeds, device)
    if found is None:
        fewer = {label: schedule for label, schedule in problem.schedules.items() if label in before[0]}
        if not there and fewer and (len(fewer) < labels or before[1] < seeds):
            there = _searched(replace(problem, schedules=fewer), tune, min(before[1], seeds), device)[1]
        return [Work(epochs, studies * tune.trials - there, studies * tune.trials - there, there, search=True), *ahead], None
    known = Work(epochs, 0, 0, there, search=True)
    try:
        found = rerun(problem, found, device, NOBODY)
        best = recommend(problem, found, device, NOBODY)
    except LackingError:
        return [known, *ahead], None
    again = sum(len(study.reruns) for study in found) * len(RERUN_ON)
    candidates = len({(study.label, study.schedule(study.best).key) for study in found}) * (seeds - 1)
    beside = Work(epochs, 0, 0, again + candidates, search=True)
    return [known, beside, counted(problem, winners(found, epochs, at), device)], best


def _searched(problem: Problem, tune: TuneParams, seeds: int, device: torch.device) -> tuple[list[Study] | None, int]:
    """All studies if the store has them whole, and how many trials it has, as far as rounds can be followed."""
    told = [0]
    try:
        found = search(problem, tune, seeds, device, lambda so_far: told.append(len(so_far[0].trials)), NOBODY)
    except LackingError as error:
        return None, told[-1] * len(problem.schedules) * seeds + error.wanted - error.lacking
    return found, sum(len(study.trials) for study in found)


def of_sweep(
    problem: Problem, asked: SweepParams, tune: TuneParams, best: Best | None, seeds: int, fresh: range,
    device: torch.device,
) -> Iterator[Work]:  # fmt: skip
    """Rates at every budget, as params.yaml has them and beyond, then the shorter budgets; without ``best`` it is not known."""
    by_budget = seeds_by_budget(asked, problem.params.epochs, range(seeds))
    sweep = Sweep(problem, best or problem.schedules, tune.lr, asked.points, by_budget, device, NOBODY)
    of_epochs = {epochs: [probe.run for probe in sweep.begun if probe.run.epochs == epochs] for epochs in by_budget}
    begun = [
        counted(problem, runs, device, search=True) if best else unknown(epochs, len(runs), search=True)
        for epochs, runs in of_epochs.items()
    ]
    yield from begun
    try:
        if any(work.least for work in begun):
            raise LackingError
        table = sweep.over_rates()
    except LackingError:
        decades = math.log10(tune.lr.ends[1] / tune.lr.ends[0])
        beyond = DECADES * (asked.points - 1) / decades / asked.points  # at one end of each grid
        yield from (unknown(epochs, 0, math.ceil(len(runs) * beyond), search=True) for epochs, runs in of_epochs.items())
        yield unknown(problem.params.epochs, 0, len(problem.schedules) * seeds, search=True)
        for epochs in [*by_budget][1:]:
            yield unknown(epochs, len(problem.schedules) * seeds * (1 + STREAMS), search=True)
        return
    yield Work(problem.params.epochs, 0, 0, len(table) - sum(map(len, of_epochs.values())), search=True)
    if own := sweep.at_own_rates(table):
        yield counted(problem, [probe.run for probe in own], device, search=True)
    probes = sweep.over_budgets(table, fresh)
    for epochs in [*by_budget][1:]:
        yield counted(problem, [probe.run for probe in probes if probe.run.epochs == epochs], device, search=True)


def asking_seconds(problem: Problem, tune: TuneParams, seeds: int, processes: int) -> float:
    """How long all studies take to ask for their trials: some ask here, and are told values that nothing was trained for."""
    watch, asked = Watch(), 0
    for label, schedule in problem.schedules.items():
        space = study_space(schedule, tune.lr, problem.lr, problem.budget())
        study = Study(f"{problem.name}/{label}/0", label, 0, applicable(tune.sampler, space.distributions), space, "")
        while len(study.trials) < tune.trials and (watch.wall < ENOUGH or not (asked or study.trials)):
            study = study.tell(_told(study.ask(min(tune.batch, tune.trials - len(study.trials)))))
        asked += len(study.trials)
    return watch.seconds(torch.device("cpu")) / asked * tune.trials * len(problem.schedules) * seeds / processes


def _told(asked: Round) -> Round:
    return replace(asked, trials=tuple(replace(trial, value=float(trial.number)) for trial in asked.trials))
