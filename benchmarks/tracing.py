"""What replaying schedules costs beside the training it serves: 1000 runs with 100 distinct schedules, half of them per batch.

``python -m benchmarks.tracing``: for each problem in params.yaml, the time to trace all schedules once in one process, and the
time of the whole training (as the tune stage trains a round, tracing included), alternating; the median of each and their
ratio.
"""

import time
from collections.abc import Iterator

import torch

from benchmarks.machine import conditions
from benchmarks.problems import in_memory, medians
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, load_params
from pipeline.config.schedules import Schedule
from pipeline.engine.rates import Rates
from pipeline.engine.training import train
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect
from pipeline.schedulers.registry import schedulers
from pipeline.search.space import study_space
from pipeline.search.study import Study

RUNS, SCHEDULES, REPEATS = 1000, 100, 3


def main() -> None:
    """Print one row per problem."""
    params = load_params(CATALOGUE)
    print(f"{conditions()}; {RUNS} runs, {SCHEDULES} schedules, medians of {REPEATS} alternating repeats")
    print("| problem | steps a run | tracing | training | tracing / training |")
    print("|---|---|---|---|---|")
    for name, entry in params.problems.items():
        problem = in_memory(params, name)
        chosen = sampled(params, problem)
        runs = [Run("any", chosen[i % SCHEDULES], i // SCHEDULES, entry.epochs, stream="tune") for i in range(RUNS)]
        timed = [(seconds_of_tracing(problem, runs), seconds_of_training(problem, runs)) for _ in range(REPEATS)]
        tracing, training = medians(timed)
        steps = problem.budget().epochs * problem.budget().steps_per_epoch
        print(f"| {name} | {steps} | {tracing:.2f} s | {training:.1f} s | {tracing / training:.1%} |", flush=True)


def sampled(params: Params, problem: Problem) -> list[Schedule]:
    """Random points of the configured open-loop schedulers' search spaces, every second one stepped per batch."""
    spaces = [
        study_space(schedule, params.tune.lr, problem.lr, problem.budget())
        for schedule in problem.schedules.values()
        if not schedulers[schedule.name].live
    ]
    drawn: list[Iterator[Schedule]] = []
    for number, space in enumerate(spaces):
        trials = Study(f"{number}", "", number, "random", space, "").ask(SCHEDULES).trials
        drawn.append(iter([space.schedule(trial.params) for trial in trials[1:]]))
    chosen = [next(drawn[number % len(drawn)]) for number in range(SCHEDULES)]
    return [s.model_copy(update={"interval": ("epoch", "batch")[number % 2]}) for number, s in enumerate(chosen)]


def seconds_of_tracing(problem: Problem, runs: list[Run]) -> float:
    """All schedules once."""
    begun = time.perf_counter()
    Rates(problem, runs)
    return time.perf_counter() - begun


def seconds_of_training(problem: Problem, runs: list[Run]) -> float:
    """A round of the tune stage, on all cores."""
    begun = time.perf_counter()
    collect(runs, train(problem, runs, device=torch.device("cpu"), search=True))
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
