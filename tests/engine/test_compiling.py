"""The compiled step against the plain one, and what happens without a compiler."""

import logging
from typing import Any

import pytest
import torch

from pipeline.engine import compiling, stacked
from pipeline.engine.compiling import prepared
from pipeline.engine.tensors import TensorProgram
from pipeline.problems.run import select
from tests.engine.helpers import Builder, assert_close, numbers_of, run_of, train

# torch's own, at the import of its compiler
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


def test_only_long_trainings_are_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)

    def double(x: int) -> int:
        return 2 * x

    assert prepared(double, compiling.WORTH_TRACING - 1, is_compiled=False) is double
    assert prepared(double, compiling.WORTH_TRACING, is_compiled=False) is not double
    assert prepared(double, 1, is_compiled=True) is not double


def test_without_a_compiler_the_plain_function_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(function: object, **options: Any) -> object:
        def call(x: int) -> int:
            raise RuntimeError("no g++ found\nlong trace")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    double = prepared(lambda x: 2 * x, 1, is_compiled=True)
    with caplog.at_level(logging.WARNING):
        assert [double(torch.tensor(1)), double(torch.tensor(2))] == [2, 4]
    (record,) = caplog.records  # told once
    assert "training without torch.compile, which is slower: no g++ found (it needs" in record.getMessage()


@pytest.mark.slow
def test_compiled_training_equals_the_plain_one(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With momentum that comes and goes, a live schedule, and a neighbour that becomes NaN."""
    schedules: dict[str, dict[str, Any]] = {
        "Cycled": {"name": "CyclicLR", "args": {"base_lr": "10%", "max_lr": "100%", "step_size_up": 4, "base_momentum": 0.0}},
        "Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0, "threshold": 0.05}},
        "Bad": {"name": "ExponentialLR", "args": {"gamma": 1e6}, "lr": 1e9},
    }
    problem = new_problem(schedules, optimizer={"name": "SGD", "lr": 0.1, "weight_decay": 0.01})
    good = [run_of(problem, "Cycled"), run_of(problem, "Plateau"), run_of(problem, "Cycled", seed=1)]
    runs = [*good[:1], run_of(problem, "Bad"), *good[1:]]
    plain = train(problem, good)
    from torch._inductor import config  # late: seconds, for which every worker would wait

    monkeypatch.setattr(
        stacked, "TensorProgram", lambda runs, run_steps, is_compiled: TensorProgram(runs, run_steps, is_compiled=True)
    )
    with config.patch(compile_threads=1), caplog.at_level(logging.WARNING):  # no processes that import torch first
        fast = train(problem, runs)
    if caplog.records:
        pytest.skip(f"nothing was compiled: {caplog.records[0].getMessage()}")
    assert fast.diverged.tolist() == [False, True, False, False]
    for name, values in numbers_of(plain).items():
        assert_close(numbers_of(select(fast, [0, 2, 3]))[name], values, 1e-10)


def test_traced_training_equals_the_plain_one_to_the_bit(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    schedules: dict[str, dict[str, Any]] = {
        "Cycled": {"name": "CyclicLR", "args": {"base_lr": "10%", "max_lr": "100%", "step_size_up": 4}},
        "Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0, "threshold": 0.05}},
    }
    problem = new_problem(schedules, optimizer={"name": "SGD", "lr": 0.1, "momentum": 0.9})
    runs = [run_of(problem, label, seed=seed) for label in schedules for seed in range(2)]
    plain = train(problem, runs)
    monkeypatch.setattr(compiling, "WORTH_TRACING", 0)
    assert_same(train(problem, runs), plain)


def assert_same(one: Any, other: Any) -> None:
    for name, values in one.outcome.weights.items():
        assert torch.equal(values, other.outcome.weights[name])
    assert (one.curves.train_loss == other.curves.train_loss).all()
