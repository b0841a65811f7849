"""Runs that do not fit into memory side by side, and how many do."""

from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engine import memory, training
from pipeline.problems.run import collect
from tests.engine.helpers import CPU, Builder, numbers_of, run_of
from tests.repeated import few

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}},
}


@pytest.mark.parametrize("search", few([False, True], False))
@pytest.mark.parametrize("how", [{"engine": "loop"}, {"engine": "compiled"}, {"engine": "tensors"}], ids=str)
def test_runs_that_do_not_fit_into_memory_together(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, search: bool, how: dict[str, Any]
) -> None:
    """One after the other, with the same numbers."""
    problem = new_problem(SCHEDULES, **how)
    runs = [run_of(problem, label) for label in problem.schedules]
    together = collect(runs, training.train(problem, runs, device=CPU, search=search))
    monkeypatch.setattr(memory, "IN_MEMORY", 100)
    blocks: list[int] = []
    apart = collect(runs, training.train(problem, runs, device=CPU, search=search), lambda block: blocks.append(len(block.lr)))
    assert blocks == [problem.params.epochs]
    for name, values in numbers_of(together).items():
        np.testing.assert_array_equal(values, numbers_of(apart)[name])


def test_what_fits_follows_from_parameters_optimizer_and_samples(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linear layer of 4 features and 3 classes has 15 parameters; Adam keeps two more numbers for each, a mean one."""
    monkeypatch.setattr(memory, "IN_MEMORY", 10_000)
    problem = new_problem(SCHEDULES, optimizer={"name": "Adam", "lr": 0.1})
    parameters = sum(p.numel() for p in problem.new_model(0, "final").parameters())
    assert memory.fitting(problem, problem.params.optimizer, torch.float32) == 10_000 // (memory.COPIES * 3 * parameters * 4)
    averaged = memory.fitting(problem, problem.params.optimizer, torch.float32, is_averaged=True)
    assert averaged == 10_000 // (memory.COPIES * 4 * parameters * 4)
    with_samples = memory.fitting(problem, problem.params.optimizer, torch.float32, samples=100)
    assert 1 <= with_samples < memory.fitting(problem, problem.params.optimizer, torch.float32)
