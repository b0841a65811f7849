"""Runs of a stack share what they should (data, weights and order of their seed) and nothing else."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engine import training
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect, select
from pipeline.schedulers.registry import schedulers
from tests.engine.helpers import CPU, MLP, Builder, assert_close, assert_same_bits, numbers_of, run_of, train, watch_loop
from tests.repeated import few
from tests.schedulers.examples import CYCLED_MOMENTUM, EXAMPLES, FLAT, NEVER_FLAT

BAD: dict[str, dict[str, Any]] = {
    "huge": {"name": "ConstantLR", "args": {"factor": 1.0}, "lr": 1e6},
    "nan": {"name": "ExponentialLR", "args": {"gamma": 1e6}, "lr": 1e9},
}
GOOD: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "CyclicLR": {"args": EXAMPLES["CyclicLR"][0]},
    "ReduceLROnPlateau": {"args": {"patience": 0, "threshold": 0.05}},
}
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "SGD", "lr": 0.1},
    {"name": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    {"name": "AdamW", "lr": 0.01},
]
# The last bits of a matrix product may depend on where its operands lie in memory, which BLAS reads 64 bytes at a time. At
# these sizes every run's share of a stack is a multiple of that, so that its place there makes no difference.
ALIGNED: dict[str, Any] = {
    "dataset": {"name": "synthetic", "train": 72, "validation": 48, "test": 32, "features": 16, "classes": 4},
    "model": {"name": "mlp", "hidden": [16]},
    "batch_size": 16,
}
DTYPES = [torch.float32, torch.float64]


def runs_of(problem: Problem, *labels: str) -> list[Run]:
    return [run_of(problem, label, seed) for label in labels for seed in range(2)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("bad", few(BAD, next(iter(BAD))))
def test_a_run_gone_wrong_leaves_its_neighbours_alone(
    new_problem: Builder, bad: str, optimizer: dict[str, Any], dtype: torch.dtype
) -> None:
    problem = new_problem({**GOOD, **BAD}, optimizer=optimizer, **ALIGNED)
    good = runs_of(problem, *GOOD)
    mixed = [good[0], run_of(problem, bad), *good[1:], run_of(problem, bad, seed=7)]
    history = train(problem, mixed, dtype)
    assert history.diverged[[1, -1]].all()
    if bad == "nan" and optimizer["name"] == "SGD":
        assert np.isnan(history.curves.train_loss[-1, 1])
        assert not history.outcome.finite[1]
    neighbours = select(history, [0, *range(2, len(mixed) - 1)])
    assert not neighbours.diverged.any()
    assert_same_bits(neighbours, train(problem, good, dtype))


@pytest.mark.parametrize("dtype", few(DTYPES, torch.float32), ids=str)
@pytest.mark.parametrize("optimizer", few(OPTIMIZERS, OPTIMIZERS[-1]), ids=str)
@pytest.mark.parametrize("bad", BAD)
def test_a_run_gone_wrong_does_no_more_than_a_healthy_one(
    new_problem: Builder, bad: str, optimizer: dict[str, Any], dtype: torch.dtype
) -> None:
    """At sizes that are no multiple of anything, where all runs keep their places."""
    problem = new_problem({**GOOD, **BAD}, optimizer=optimizer, model={"name": "mlp", "hidden": [7, 5]})
    good = runs_of(problem, *GOOD)
    others = [i for i in range(len(good) + 2) if i not in (1, 4)]
    with_bad, with_healthy = (
        train(problem, [*good[:1], run_of(problem, label), *good[1:3], run_of(problem, label, 7), *good[3:]], dtype)
        for label in (bad, "Baseline")
    )
    assert with_bad.diverged[[1, 4]].all()
    assert not with_healthy.diverged.any()
    assert_same_bits(select(with_bad, others), select(with_healthy, others))


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
def test_a_neighbour_with_momentum_changes_nothing(new_problem: Builder, optimizer: dict[str, Any]) -> None:
    """Also where only the neighbour has any, so that all runs of the stack carry a buffer."""
    cycled = {"Cycled": {"name": "CyclicLR", "args": CYCLED_MOMENTUM}}
    problem = new_problem({**GOOD, **cycled}, optimizer=optimizer, **ALIGNED)
    good = runs_of(problem, *GOOD)
    mixed = train(problem, [*good, run_of(problem, "Cycled")])
    assert_same_bits(select(mixed, range(len(good))), train(problem, good))


def test_order_in_the_stack_does_not_matter(new_problem: Builder) -> None:
    problem = new_problem({**GOOD, **BAD}, **ALIGNED)
    runs = runs_of(problem, *GOOD, *BAD)
    order = np.random.default_rng(0).permutation(len(runs)).tolist()
    assert order != sorted(order)
    assert_same_bits(train(problem, [runs[i] for i in order]), select(train(problem, runs), order))


@pytest.mark.parametrize("label", GOOD)
def test_a_stack_of_one(new_problem: Builder, label: str) -> None:
    problem = new_problem(GOOD, model=MLP)
    run = run_of(problem, label)
    alone, plain = train(problem, [run]), watch_loop(problem, run).history
    assert alone.curves.train_loss.shape == (problem.params.epochs, 1)
    for name, values in numbers_of(plain).items():
        assert_close(numbers_of(alone)[name], values, 1e-10)


def test_schedulers_of_one_seed_share_split_weights_and_order(new_problem: Builder) -> None:
    """Schedulers that all keep the rate are the same training, to the last bit."""
    assert {*FLAT, *NEVER_FLAT} == {entry.name for entry in schedulers}, "add the new one to tests/schedulers/examples.py"
    problem = new_problem({name: {"args": args} for name, args in FLAT.items()}, model=MLP)
    history = train(problem, [run_of(problem, name, seed) for seed in (3, 4) for name in FLAT])
    for seed in (0, 1):
        same = [select(history, [seed * len(FLAT) + i]) for i in range(len(FLAT))]
        for other in same[1:]:
            assert_same_bits(same[0], other)


def test_every_scheduler_starts_from_the_same_loss(new_problem: Builder) -> None:
    problem = new_problem({name: {"args": examples[0]} for name, examples in EXAMPLES.items()}, model=MLP, epochs=2)
    runs = [run_of(problem, name, seed) for seed in range(3) for name in EXAMPLES]
    history = collect(runs, training.train(problem, runs, device=CPU, dtype=torch.float64))
    initial = history.outcome.initial_loss.reshape(3, -1)
    assert (initial == initial[:, :1]).all()
    assert np.unique(initial).size == 3


def test_seeds_and_streams_differ(new_problem: Builder) -> None:
    """Each seed and stream has its own training; the streams of a seed share the split."""
    problem = new_problem({}, model=MLP)
    chosen = [run_of(problem, "Baseline", 0), run_of(problem, "Baseline", 1), run_of(problem, "Baseline", 0, stream="tune")]
    history = train(problem, chosen)
    assert np.unique(history.outcome.initial_loss).size == 3
    assert all(np.unique(losses).size == 3 for losses in history.curves.train_loss)
    splits = [problem.data.split(seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(splits[0].test, splits[1].test)
    assert (np.sort(splits[0].test) != np.sort(splits[2].test)).any()


def test_the_order_of_the_data_is_the_seeds(new_problem: Builder) -> None:
    """With one split and the same weights, another order of the batches is another training."""
    problem = new_problem({}, resample=False)
    orders = [torch.randperm(70, generator=problem.new_order(seed, "final")).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
