"""Runs dealt out to processes: the same bytes as in one, each run once, live blocks, and what is lost in the middle."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pipeline.engine.stacked import WayError
from pipeline.engine.training import Way, train_by
from pipeline.problems.problem import Problem
from pipeline.problems.run import Block, History, Run, select
from pipeline.runs import dealing
from pipeline.runs.dealing import Places, cut, trained
from pipeline.runs.executor import HERE, ExecutorError, Processes
from tests.engine.helpers import CPU, MLP, Builder, assert_same_bits, run_of

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "50%"}},
    "CyclicLR": {"args": {"base_lr": "1%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False}},
    "ReduceLROnPlateau": {"args": {"patience": 0}},
    "Bad": {"name": "ExponentialLR", "args": {"gamma": 1e6}, "lr": 1e9},
}


@pytest.fixture
def two() -> Iterator[Processes]:
    with Processes(2, is_copied=True) as workers:  # from nothing, each would import torch
        yield workers


@pytest.fixture
def small_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "SMALLEST_CUT", 4)
    monkeypatch.setattr(dealing, "LARGEST_CUT", 4)


class Heard(list[tuple[Places, Block]]):
    def __call__(self, places: Places, block: Block) -> None:
        self.append((places, block))


def wanted(problem: Problem, seeds: int = 2) -> list[Run]:
    return [run_of(problem, label, seed) for seed in range(seeds) for label in problem.schedules]


def all_of(problem: Problem, runs: list[Run], workers: Any, heard: Heard, **more: Any) -> dict[int, History]:
    """The history of each run by its place."""
    found: dict[int, History] = {}
    for places, history in trained(problem, runs, list(range(len(runs))), CPU, workers, heard, **more):
        for number, place in enumerate(places):
            assert place not in found
            found[place] = select(history, [number])
    assert sorted(found) == list(range(len(runs)))
    return found


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("engine", ["loop", "tensors"])
@pytest.mark.usefixtures("small_cuts")
@pytest.mark.slow
def test_the_same_bytes_in_two_processes_as_in_one(new_problem: Builder, two: Processes, engine: str, search: bool) -> None:
    problem = new_problem(SCHEDULES, epochs=4, engine=engine)
    runs, heard = wanted(problem), Heard()
    here = all_of(problem, runs, HERE, Heard(), search=search)
    there = all_of(problem, runs, two, heard, search=search)
    for place in here:
        assert_same_bits(here[place], there[place])
    epochs = np.zeros(len(runs))
    for places, block in heard:
        assert block.lr.shape[1] == len(places)
        epochs[places] += len(block.lr)
    assert epochs.tolist() == [problem.params.epochs] * len(runs), "each epoch of each run is told once"


@pytest.mark.slow
def test_an_error_of_training_is_raised_here(new_problem: Builder, two: Processes) -> None:
    problem = new_problem({"StepLR": SCHEDULES["StepLR"]}, optimizer={"name": "SparseAdam", "lr": 0.1}, model=MLP, epochs=2)
    with pytest.raises(RuntimeError, match="dense gradients"):
        all_of(problem, wanted(problem), two, Heard())


def lost(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_lost_process_is_one_line_with_a_remedy(
    new_problem: Builder, two: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = new_problem(SCHEDULES, engine="loop", epochs=2)
    monkeypatch.setattr(dealing, "_trained", lost)
    with pytest.raises(ExecutorError, match=r"problem small: .*memory.*PIPELINE_EXECUTOR=local:1"):
        all_of(problem, wanted(problem), two, Heard())


@pytest.mark.parametrize("processes", [1, 2, 8])
@pytest.mark.parametrize("way", ["compiled", "tensors", "loop"])
@pytest.mark.parametrize("runs", [1, 140, 141, 700])
def test_every_run_is_in_one_portion(new_problem: Builder, runs: int, way: Way, processes: int) -> None:
    problem = new_problem(SCHEDULES)
    portions = cut(problem, problem.params.optimizer, list(range(runs)), way, CPU, processes)
    assert [place for portion in portions for place in portion] == list(range(runs))
    sizes = [len(portion) for portion in portions]
    assert max(sizes) <= {"loop": 1, "tensors": dealing.LARGEST_CUT, "compiled": runs}[way]
    if way == "tensors" and runs > dealing.SMALLEST_CUT:
        assert len(portions) >= min(processes, 3)


def test_a_way_that_turns_out_impossible_leads_to_the_next(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    problem = new_problem(SCHEDULES, epochs=2)
    runs = wanted(problem)
    expected = all_of(new_problem(SCHEDULES, epochs=2, engine="loop"), runs, HERE, Heard())
    monkeypatch.setattr(dealing, "ways", lambda *_: ("tensors", "loop"))
    real = train_by

    def refused(way: Way, *args: Any, **kwargs: Any) -> Any:
        if way == "tensors":
            raise WayError("it cannot be stacked here")
        return real(way, *args, **kwargs)

    monkeypatch.setattr(dealing, "train_by", refused)
    found = all_of(problem, runs, HERE, Heard())
    for place in found:
        assert_same_bits(found[place], expected[place])
    assert [record.getMessage() for record in caplog.records] == ["it cannot be stacked here"]
