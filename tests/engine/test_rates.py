"""Rates of a stack: which traces are shared, and what live schedules do."""

from typing import Any

import numpy as np
import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.engine.rates import Rates
from pipeline.schedulers.registry import register
from tests.engine.helpers import Builder, run_of


@pytest.fixture
def built(own_registries: None) -> list[float]:
    """The arguments of every scheduler ``Counted`` that is built."""
    built: list[float] = []

    @register("Counted")
    def counted(optimizer: Optimizer, total_steps: int, factor: float = 1.0) -> LRScheduler:
        built.append(factor)
        return LambdaLR(optimizer, lambda step: factor)

    return built


def test_equal_schedules_share_a_trace(new_problem: Builder, built: list[float]) -> None:
    schedules: dict[str, dict[str, Any]] = {
        "A": {"name": "Counted", "args": {"factor": 0.5}},
        "B": {"name": "Counted", "args": {"factor": 0.5}},  # another label, the same schedule
        "C": {"name": "Counted", "args": {"factor": 0.25}},
        "D": {"name": "Counted", "args": {"factor": 0.5}, "lr": "50%"},  # another peak
    }
    problem = new_problem(schedules)
    runs = [run_of(problem, label, seed) for label in schedules for seed in range(3)]
    lr, _ = Rates(problem, runs).epochs(range(1, 2))
    assert built == [0.5, 0.25, 0.5]
    np.testing.assert_allclose(lr[0], np.repeat([0.05, 0.05, 0.025, 0.025], 3))


def test_live_schedules_share_nothing(new_problem: Builder) -> None:
    """Two equal ones part as soon as their losses do; a NaN is no improvement."""
    problem = new_problem({"Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}}})
    rates = Rates(problem, [run_of(problem, "Plateau"), run_of(problem, "Baseline"), run_of(problem, "Plateau", 1)])
    seen = []
    for epoch, losses in enumerate(([1.0, 1.0, 1.0], [0.5, 9.0, 2.0], [np.nan, 9.0, 0.5]), start=1):
        lr, momentum = rates.epochs(range(epoch, epoch + 1))
        assert (lr == lr[0]).all()
        assert not momentum.any()
        seen.append(lr[0])
        rates.feed({"train_loss": np.array(losses)})
    seen.append(rates.epochs(range(4, 5))[0][0])
    np.testing.assert_allclose(seen, [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.01], [0.01, 0.1, 0.01]])


def test_a_live_schedule_ignores_its_neighbours_losses(new_problem: Builder) -> None:
    problem = new_problem({"Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}}})
    rates = Rates(problem, [run_of(problem, "Baseline"), run_of(problem, "Plateau")])
    for losses in ([1.0, 0.9], [5.0, 0.8], [np.nan, 0.7]):
        rates.feed({"train_loss": np.array(losses)})
    assert rates.epochs(range(4, 5))[0][0].tolist() == [0.1, 0.1]
