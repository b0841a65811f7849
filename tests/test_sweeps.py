"""Sweeps: the grid of peak rates and the budgets, and what is trained of them."""

import numpy as np
import pytest
import torch

from pipeline.engine.stacked import train
from pipeline.params import SweepParams
from pipeline.runs import Run, collect
from pipeline.spaces import PeakRates
from pipeline.sweeps import epochs_of, grid, over_budgets, over_rates, possible, trained
from tests.engine.helpers import Builder

CPU = torch.device("cpu")
SCHEDULES = {
    "Step": {"name": "StepLR", "args": {"step_size": "30%"}},
    "Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 1}},
}


def test_the_grid_spans_the_range_evenly_in_the_logarithm() -> None:
    """Ten points over three decades are a factor of 10 to the power of 1/3 apart."""
    assert grid(PeakRates(), 10) == [
        "1%", "2.154%", "4.642%", "10%", "21.54%", "46.42%", "100%", "215.4%", "464.2%", "1000%",
    ]  # fmt: skip
    assert grid(PeakRates(low=0.01, high=1.0), 3) == [0.01, 0.1, 1.0]


def test_budgets_are_shares_or_numbers_of_epochs_and_the_full_one() -> None:
    assert epochs_of(SweepParams(), 50) == [5, 13, 25, 50]  # 12.5 is rounded up
    assert epochs_of(SweepParams(budgets=[7, 80]), 50) == [7, 50]
    assert epochs_of(SweepParams(budgets=["1%"]), 10) == [1, 10]
    assert epochs_of(SweepParams(budgets=[]), 10) == [10]


def test_every_row_is_the_run_it_says(new_problem: Builder) -> None:
    """Each as if it had been trained with nothing beside it."""
    problem = new_problem(SCHEDULES, epochs=6)
    probes = [
        *over_rates(problem.schedules, ["50%", 0.3], 2, 6),
        *over_budgets(problem.schedules, problem.schedules, [2, 6], 2),
    ]
    table = trained(problem, probes, CPU)
    assert len(table) == len(probes) == 3 * 2 * 2 + 2 * 2 * 3 * 2
    assert table["kind"].value_counts().to_dict() == {"budget": 24, "rate": 12}
    assert set(table.loc[table["kind"] == "rate", "lr"]) == {0.05, 0.3}
    assert table["validation_loss"].notna().all()
    for place in (1, 5, 14, 30):
        row, run = table.iloc[place], probes[place].run
        assert (row["scheduler"], row["seed"], row["epochs"], row["variant"]) == (run.label, run.seed, run.epochs, run.variant)
        alone = collect([run], train(problem, [run], device=CPU))
        np.testing.assert_allclose(row["validation_loss"], alone.curves.validation_loss[-1, 0], rtol=1e-6)


def test_the_full_budget_is_what_was_reported(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES, epochs=4)
    table = trained(problem, list(over_budgets(problem.schedules, {}, [4], 2)), CPU)
    runs = [Run(label, schedule, seed, 4) for label, schedule in problem.schedules.items() for seed in range(2)]
    history = collect(runs, train(problem, runs, device=CPU))
    np.testing.assert_array_equal(table["validation_loss"], history.curves.validation_loss[-1])


def test_what_a_short_budget_makes_impossible_is_left_out(new_problem: Builder) -> None:
    """Five batches of 12 an epoch and one of 10: 6 steps in one epoch are fewer than those of warmup and decay."""
    long = {"Long": {"name": "WarmupStableDecay", "args": {"warmup": 10, "decay": 10}}}
    problem = new_problem(long, epochs=8)
    kept = possible(problem, list(over_budgets(problem.schedules, {}, [1, 8], 1)))
    assert [(probe.run.label, probe.run.epochs) for probe in kept] == [("Baseline", 1), ("Long", 8), ("Baseline", 8)]


@pytest.mark.parametrize("budget", ["0%", "30%", 3])
def test_a_budget_has_at_least_an_epoch(budget: object) -> None:
    assert epochs_of(SweepParams.model_validate({"budgets": [budget]}), 3)[0] >= 1
