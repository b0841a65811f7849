"""The search of a problem: rounds of ask, train, tell over all schedulers and seeds, each round one stack."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from pipeline.config.arrays import Floats
from pipeline.config.fingerprints import fingerprint
from pipeline.config.params import Epoch, TuneParams
from pipeline.config.schedules import Schedule
from pipeline.engine.code import code_fingerprint
from pipeline.engine.rates import can_be_followed
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, stream
from pipeline.runs.executor import HERE, Workers
from pipeline.runs.obtain import obtain
from pipeline.runs.store import store
from pipeline.schedulers.replay import ScheduleError
from pipeline.search.samplers import VERSIONS, applicable
from pipeline.search.space import study_space
from pipeline.search.study import Round, Study, Trial

LEADERS = 3
"""Trials of a study that are rerun before one of them is chosen."""
RERUN_ON = (2, 3)
"""The streams for tuning that they are rerun on."""
Listener = Callable[[Sequence[Study]], None]


def search(
    problem: Problem, tune: TuneParams, seeds: int, device: torch.device, listen: Listener, workers: Workers = HERE
) -> list[Study]:
    """Every scheduler's study for every seed, each with ``tune.trials`` trials.

    It follows from its runs alone: asked again, from the first round on, it finds them in the store. ``listen`` is given all
    studies after each round. ``workers`` help asking and train.
    """
    studies = _new_studies(problem, tune, seeds, device)
    while len(studies[0].trials) < tune.trials:
        studies = _round(problem, studies, tune, device, workers)
        listen(studies)
    return studies


def _new_studies(problem: Problem, tune: TuneParams, seeds: int, device: torch.device) -> list[Study]:
    search_code = (f"search/{name}.py" for name in ("rounds", "samplers", "space", "study", "widening"))
    code = code_fingerprint("config/ranges.py", *search_code)
    objective = (problem.params.epochs, code, VERSIONS, str(device), tune.sampler, tune.batch)
    studies = []
    for label, schedule in problem.schedules.items():
        space = study_space(schedule, tune.lr, problem.lr, problem.budget())
        sampler = applicable(tune.sampler, space.distributions)
        for seed in range(seeds):
            name = f"{problem.name}/{label}/{seed}"
            key = fingerprint(name, problem.fingerprint_of(schedule, seed), *objective, space.key)
            studies.append(Study(name, label, seed, sampler, space, key))
    return studies


def _round(problem: Problem, studies: Sequence[Study], tune: TuneParams, device: torch.device, workers: Workers) -> list[Study]:
    """One round of every study."""
    begun = len(studies[0].trials)  # all have as many
    asked = _asked(studies, min(tune.batch, tune.trials - begun), workers)
    configurations = [
        (study.label, study.schedule(trial), study.seed) for study in studies for trial in asked[study.name].trials
    ]
    title = f"tune@{problem.name}: trials {begun + 1} to {min(begun + tune.batch, tune.trials)}"
    values = iter(evaluate(problem, configurations, device, title, workers).tolist())
    finished = {
        name: replace(asked_round, trials=tuple(_told(trial, next(values)) for trial in asked_round.trials))
        for name, asked_round in asked.items()
    }
    return [study.tell(finished[study.name]) for study in studies]


def _asked(studies: Sequence[Study], count: int, workers: Workers) -> dict[str, Round]:
    """The next round of each study, by its name: what was ever asked is kept beside the runs, since asking takes longer."""
    kept = {study.name: f"asked {study.next_fingerprint(count)}" for study in studies}
    known = {name: Round.from_json(content) for name, content in store().contents(list(kept.values())).items()}
    new = [study for study in studies if kept[study.name] not in known]
    rounds = workers.map(partial(Study.ask, count=count), new, chunksize=max(1, -(-len(new) // workers.count)))
    asked = {kept[study.name]: found for study, found in zip(new, rounds, strict=True)}
    if asked:
        store().keep_contents({name: found.as_json() for name, found in asked.items()})
    known |= asked
    return {study.name: known[kept[study.name]] for study in studies}


def _told(trial: Trial, value: float) -> Trial:
    return replace(trial, value=value) if np.isfinite(value) else replace(trial, state="PRUNED")


def evaluate(
    problem: Problem,
    configurations: Sequence[tuple[str, Schedule, int]],
    device: torch.device,
    title: str,
    workers: Workers = HERE,
    streams: Sequence[int] = (1,),
) -> Floats:
    """The objective of each (label, schedule, seed), one after the other on each of the ``streams`` for tuning.

    It is the final validation loss.

    It is inf where the run diverged, and where its schedule cannot be followed: a search space of the user's own may combine
    arguments that torch refuses together, such as a ``base_lr`` above ``max_lr``.
    """
    drawn = [stream("tune", number) for number in streams]
    runs = [Run(*configuration, problem.params.epochs, stream=of) for configuration in configurations for of in drawn]
    try:
        return _losses(problem, runs, device, title, workers)
    except ScheduleError:
        possible = [i for i, run in enumerate(runs) if can_be_followed(problem, run)]
    values = np.full(len(runs), np.inf)
    if possible:
        values[possible] = _losses(problem, [runs[i] for i in possible], device, title, workers)
    return values


def _losses(problem: Problem, runs: Sequence[Run], device: torch.device, title: str, workers: Workers = HERE) -> Floats:
    history = obtain(problem, runs, device, title=title, workers=workers, search=True)
    losses = history.curves.validation_loss[-1]
    return np.where(history.diverged | ~np.isfinite(losses), np.inf, losses)


def rerun(problem: Problem, studies: Sequence[Study], device: torch.device, workers: Workers = HERE) -> list[Study]:
    """The studies with their leading trials rerun on further streams: of many noisy values the lowest is too low."""
    leading = [(study, trial) for study in studies for trial in study.leaders(LEADERS)]
    if not leading:  # all diverged
        return list(studies)
    configurations = [(study.label, study.schedule(trial), study.seed) for study, trial in leading]
    values = evaluate(problem, configurations, device, f"tune@{problem.name}: best trials again", workers, RERUN_ON)
    reruns: dict[str, dict[int, list[float]]] = {}
    for (study, trial), found in zip(leading, values.reshape(-1, len(RERUN_ON)).tolist(), strict=True):
        reruns.setdefault(study.name, {})[trial.number] = found
    return [replace(study, reruns=reruns.get(study.name, {})) for study in studies]


def winners(studies: Sequence[Study], epochs: int, at: Epoch = "last") -> list[Run]:
    """The runs that report on each study: its best trial's configuration on the study's own seed."""
    first = [Run(s.label, s.schedule(s.best), s.seed, epochs, variant="tuned", at=at) for s in studies]
    return [run for each in first for run in each.draws]


def recommend(problem: Problem, studies: Sequence[Study], device: torch.device, workers: Workers = HERE) -> dict[str, Schedule]:
    """Per scheduler, of the seeds' winners the one with the lowest mean validation loss over all seeds."""
    candidates: dict[str, dict[str, Schedule]] = {}
    for study in studies:
        schedule = study.schedule(study.best)
        candidates.setdefault(study.label, {})[schedule.key] = schedule
    seeds = sorted({study.seed for study in studies})
    configurations = [(label, s, seed) for label, found in candidates.items() for s in found.values() for seed in seeds]
    values = evaluate(problem, configurations, device, f"tune@{problem.name}: best of each seed on all seeds", workers)
    means = iter(values.reshape(-1, len(seeds)).mean(axis=1).tolist())
    return {label: min(((next(means), i, s) for i, s in enumerate(found.values())))[2] for label, found in candidates.items()}
