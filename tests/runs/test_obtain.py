"""Each run is trained once, whatever is asked for, in whatever order, however often it is interrupted."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import checkpoints
from pipeline.engine import loop, training
from pipeline.engine.training import Way
from pipeline.problems.problem import Problem
from pipeline.problems.run import Block, History, Run, Training, collect
from pipeline.runs import dealing, unfinished
from pipeline.runs.dealing import Places
from pipeline.runs.executor import HERE
from pipeline.runs.obtain import obtain, weights
from pipeline.runs.store import store
from tests.engine.helpers import CPU, Builder, assert_same_bits, run_of

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "CosineAnnealingLR": {"args": {"T_max": "100%"}},
    "Free": {"name": "ScheduleFree"},
}


class Trained(list[Run]):
    """The runs that were trained, in order; training more than ``until`` portions fails like a full machine."""

    def __init__(self) -> None:
        super().__init__()
        self.until = 1000

    def train(self, way: Way, problem: Problem, runs: Sequence[Run], **how: Any) -> Training:
        if self.until == 0:
            raise MemoryError
        self.until -= 1
        self.extend(runs)
        return (yield from TRAIN(way, problem, runs, **how))


TRAIN = training.train_by


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    found = Trained()
    monkeypatch.setattr(dealing, "train_by", found.train)
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)


@pytest.fixture
def problem(new_problem: Builder) -> Problem:
    return new_problem(SCHEDULES, epochs=3)


def wanted(problem: Problem, seeds: int = 2, **more: Any) -> list[Run]:
    return [run_of(problem, label, seed, **more) for label in problem.schedules for seed in range(seeds)]


def asked(problem: Problem, runs: Sequence[Run], **more: Any) -> History:
    return obtain(problem, runs, CPU, title="test", **more)


def undisturbed(problem: Problem, runs: Sequence[Run]) -> History:
    found = collect(runs, training.train_by("loop", problem, runs, device=CPU))
    return replace(found, outcome=replace(found.outcome, weights={}))


def test_what_is_known_is_not_trained_again(problem: Problem, trained: Trained) -> None:
    runs = wanted(problem)
    first = asked(problem, runs)
    assert sorted(map(str, trained)) == sorted(map(str, runs))
    trained.clear()
    assert_same_bits(asked(problem, runs), first)
    assert_same_bits(asked(problem, runs[::-1]), asked(problem, runs[::-1]))
    assert trained == []


def test_only_what_is_new_is_trained(problem: Problem, trained: Trained) -> None:
    asked(problem, wanted(problem))
    trained.clear()
    more = asked(problem, wanted(problem, seeds=3))
    assert {run.seed for run in trained} == {2}
    assert len(trained) == len(problem.schedules)
    trained.clear()
    whole = {run.label for run in more.runs}
    asked(problem, [run for run in wanted(problem, seeds=3) if run.label in sorted(whole)[:2]])
    assert trained == []


@settings(max_examples=8)
@given(st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=12), min_size=1, max_size=4))
def test_whatever_is_asked_for_in_whatever_order_each_run_is_trained_once_and_is_the_same(
    problem: Problem, tmp_path_factory: pytest.TempPathFactory, orders: list[list[int]]
) -> None:
    runs, whole = wanted(problem, seeds=3), Trained()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("at once"))
        reference = asked(problem, runs)
        patch.chdir(tmp_path_factory.mktemp("in pieces"))
        patch.setattr(dealing, "train_by", whole.train)
        for order in orders:
            history = asked(problem, [runs[place] for place in order])
            expected = reference.curves.validation_loss[:, order]
            assert history.curves.validation_loss.tobytes() == np.ascontiguousarray(expected).tobytes()
            assert history.outcome.test_loss.tobytes() == reference.outcome.test_loss[order].tobytes()
    assert len(whole) == len({place for order in orders for place in order})


def test_a_run_that_is_wanted_twice_is_trained_once(problem: Problem, trained: Trained) -> None:
    run = run_of(problem, "StepLR")
    history = asked(problem, [run, run])
    assert trained == [run]
    assert history.outcome.test_loss[0] == history.outcome.test_loss[1]


def test_a_variant_is_the_same_run_under_another_name(problem: Problem, trained: Trained) -> None:
    asked(problem, [run_of(problem, "StepLR")])
    asked(problem, [run_of(problem, "StepLR", variant="tuned")])
    assert len(trained) == 1
    asked(problem, [run_of(problem, "StepLR", stream="tune")])
    assert len(trained) == 2


def test_a_search_takes_the_last_epoch_of_what_is_known_whole(problem: Problem, trained: Trained) -> None:
    runs = wanted(problem)
    searched = asked(problem, runs, search=True)
    whole = asked(problem, runs)
    assert len(trained) == 2 * len(runs)
    again = asked(problem, runs, search=True)
    assert len(trained) == 2 * len(runs)
    for history in (searched, again):
        assert history.curves.first_epoch == problem.params.epochs
        assert history.curves.validation_loss.tobytes() == whole.curves.validation_loss[-1:].tobytes()
        assert history.diverged.tolist() == whole.diverged.tolist()


def test_other_data_are_other_runs(new_problem: Builder, trained: Trained) -> None:
    for seed in (0, 1, 0):
        problem = new_problem(
            SCHEDULES, epochs=2, dataset={"name": "synthetic", "train": 40, "validation": 20, "test": 20, "seed": seed}
        )
        asked(problem, [run_of(problem, "StepLR")])
    assert len(trained) == 2


@pytest.mark.parametrize("engine", ["tensors", "loop"])
def test_portions_that_are_done_outlive_what_ends_the_rest(
    new_problem: Builder, trained: Trained, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr(dealing, "WORK_AT_ONCE", 1)  # a portion is as many runs as there are processes
    problem = new_problem({"StepLR": SCHEDULES["StepLR"]}, epochs=2, engine=engine)
    runs = wanted(problem)
    trained.until = 3
    with pytest.raises(MemoryError):
        asked(problem, runs)
    assert len(trained) == 3
    trained.until = 1000
    history = asked(problem, runs)
    assert len(trained) == len(runs) == 4
    assert np.isfinite(history.outcome.test_loss).all()


def test_portions_are_of_one_optimizer_and_hold_whole_replicates(problem: Problem) -> None:
    runs = wanted(problem, seeds=3)
    found = [places for places, _ in dealing.trained(problem, runs, list(range(len(runs))), CPU, HERE, lambda *_: None)]
    assert sorted(place for places in found for place in places) == list(range(len(runs)))
    for places in found:
        assert len({runs[place].label == "Free" for place in places}) == 1
        seeds = [runs[place].seed for place in places]
        assert seeds == sorted(seeds)


def test_listeners_hear_of_every_epoch_of_every_run_once(problem: Problem, trained: Trained) -> None:
    runs = wanted(problem)
    asked(problem, runs[:3])
    heard = np.zeros((len(runs), problem.params.epochs), dtype=int)

    def listen(places: Places, block: Block) -> None:
        heard[places, block.first_epoch - 1 : block.first_epoch - 1 + len(block.lr)] += 1

    asked(problem, runs, listen=listen)
    assert (heard == 1).all()


def test_the_weights_of_the_best_are_kept_and_those_of_others_trained_again(problem: Problem, trained: Trained) -> None:
    runs = wanted(problem)
    history = asked(problem, runs)
    by_label = {
        label: [i for i, run in enumerate(runs) if (run.label == "Free") == (label == "Free")] for label in ("Free", "SGD")
    }
    best = min(by_label["SGD"], key=lambda place: history.curves.validation_loss[-1, place])
    other = next(place for place in by_label["SGD"] if place != best)
    trained.clear()
    first = weights(problem, runs[best], CPU)
    assert trained == []
    assert weights(problem, runs[other], CPU) != first
    assert trained == [runs[other]]
    weights(problem, runs[other], CPU)
    assert trained == [runs[other]]
    trained.clear()
    store().shrink(0)
    assert weights(problem, runs[best], CPU) == first
    assert trained == [runs[best]]


def test_a_run_in_progress_goes_on_where_it_was_and_leaves_no_checkpoint(
    new_problem: Builder, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle of its run; what nobody went on with goes too."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", float("inf"))
    problem = new_problem(SCHEDULES, epochs=12, engine="loop")
    runs, real = wanted(problem, seeds=1)[:1], loop.Script.train_epoch
    epochs: list[loop.Script] = []

    def counted(script: loop.Script) -> float:
        epochs.append(script)
        return real(script)

    monkeypatch.setattr(loop.Script, "train_epoch", counted)

    def interrupted(places: Places, block: Block) -> None:
        if block.first_epoch == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asked(problem, runs, listen=interrupted)
    (left,) = unfinished.folder().iterdir()
    unfinished.forget_unfinished()
    assert left.exists()
    epochs.clear()
    found = asked(problem, runs)
    assert len(epochs) == 12 - 6, "the kept one is behind epoch 6"
    assert not left.exists()
    assert_same_bits(replace(found, outcome=replace(found.outcome, weights={})), undisturbed(problem, runs))
    left.mkdir()
    os.utime(left, (0, 0))
    unfinished.forget_unfinished()
    assert not left.exists()
