"""A training cut into shards and spread over processes against the same in one stack."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engine import shards, stacked, workers
from pipeline.problems.run import CURVES, History, collect
from tests.engine.helpers import Builder, run_of

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "50%"}},
    "CyclicLR": {"args": {"base_lr": "1%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False}},
    "ReduceLROnPlateau": {"args": {"patience": 0}},
    "Bad": {"name": "ExponentialLR", "args": {"gamma": 1e6}, "lr": 1e9},
}
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_workers_left() -> Any:
    yield
    workers.end_workers()


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SMALLEST_CUT", 4)
    monkeypatch.setattr(shards, "LARGEST_SHARD", 4)


def assert_same(one: History, other: History) -> None:
    for name in CURVES:
        assert np.array_equal(getattr(one.curves, name), getattr(other.curves, name), equal_nan=True), name
    for name in ("initial_loss", "finite", "test_loss", "test_metric"):
        assert np.array_equal(getattr(one.outcome, name), getattr(other.outcome, name), equal_nan=True), name
    for name, values in one.outcome.weights.items():
        assert torch.equal(values.nan_to_num(), other.outcome.weights[name].nan_to_num())


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.usefixtures("small_shards")
def test_the_same_bytes_for_any_number_of_workers(new_problem: Builder, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(workers, "cores", lambda: count)
    problem = new_problem(SCHEDULES)
    runs = [run_of(problem, label, seed=seed) for label in SCHEDULES for seed in range(4)]
    whole = collect(runs, stacked.train(problem, runs, device=CPU))
    for search in (False, True):  # the second on the same workers
        cut = collect(runs, shards.train(problem, runs, device=CPU, search=search))
        if not search:
            assert_same(cut, whole)
    assert np.array_equal(cut.curves.validation_loss[-1], whole.curves.validation_loss[-1], equal_nan=True)


@pytest.mark.usefixtures("small_shards")
def test_a_training_left_in_the_middle_does_not_reach_into_the_next(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "cores", lambda: 2)
    problem = new_problem(SCHEDULES)
    runs = [run_of(problem, label, seed=seed) for label in SCHEDULES for seed in range(2)]
    left = shards.train(problem, runs, device=CPU)
    next(left)
    left.close()
    whole = collect(runs, stacked.train(problem, runs, device=CPU))
    assert_same(collect(runs, shards.train(problem, runs, device=CPU)), whole)


@pytest.mark.parametrize("runs", [1, 140, 141, 560, 700, 1121])
def test_every_run_is_in_one_shard_and_shards_are_balanced(runs: int) -> None:
    cuts = shards.cut(runs)
    assert sorted(place for places in cuts for place in places) == list(range(runs))
    sizes = [len(places) for places in cuts]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= shards.LARGEST_SHARD
    assert len(cuts) == 1 or len(cuts) % shards.SHARDS_AT_ONCE == 0
