"""Sweeps: the grid of peak rates and the budgets, and what is trained of them."""

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.config.params import SweepParams
from pipeline.config.spaces import PeakRates
from pipeline.config.units import plain_rate
from pipeline.engine.stacked import train
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect
from pipeline.search.sweeps import (
    Sweep,
    at_best_rates,
    at_rate,
    beyond,
    grid,
    over_budgets,
    over_rates,
    possible,
    said,
    shorter,
    trained,
)
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


def test_budgets_are_shares_or_numbers_of_epochs_below_the_full_one() -> None:
    assert shorter(SweepParams(), 50) == [5, 13, 25]  # 12.5 is rounded up
    assert shorter(SweepParams(budgets=[7, 80, "100%"]), 50) == [7]
    assert shorter(SweepParams(budgets=["1%"]), 10) == [1]
    assert shorter(SweepParams(), 1) == shorter(SweepParams(budgets=[]), 10) == []


def test_every_row_is_the_run_it_says(new_problem: Builder) -> None:
    """Each as if it had been trained with nothing beside it."""
    problem = new_problem(SCHEDULES, epochs=6)
    probes = [
        *over_rates(problem.schedules, ["50%", 0.3], range(2), 6),
        *over_budgets(problem.schedules, [2, 6], range(2)),
    ]
    table = trained(problem, probes, CPU)
    assert len(table) == len(probes) == 3 * 2 * 2 + 2 * 3 * 2
    assert table["kind"].value_counts().to_dict() == {"budget": 12, "rate": 12}
    assert set(table.loc[table["kind"] == "rate", "lr"]) == {0.05, 0.3}
    assert table["validation_loss"].notna().all()
    for place in (1, 5, 14, 20):
        row, run = table.iloc[place], probes[place].run
        assert (row["scheduler"], row["seed"], row["epochs"], row["variant"]) == (run.label, run.seed, run.epochs, run.variant)
        alone = collect([run], train(problem, [run], device=CPU))
        np.testing.assert_allclose(row["validation_loss"], alone.curves.validation_loss[-1, 0], rtol=1e-6)


def test_the_full_budget_is_what_was_reported(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES, epochs=4)
    table = trained(problem, list(over_budgets(problem.schedules, [4], range(2))), CPU)
    runs = [Run(label, schedule, seed, 4) for label, schedule in problem.schedules.items() for seed in range(2)]
    history = collect(runs, train(problem, runs, device=CPU))
    np.testing.assert_array_equal(table["validation_loss"], history.curves.validation_loss[-1])


def test_what_a_short_budget_makes_impossible_is_left_out(new_problem: Builder) -> None:
    """Five batches of 12 an epoch and one of 10: 6 steps in one epoch are fewer than those of warmup and decay."""
    long = {"Long": {"name": "WarmupStableDecay", "args": {"warmup": 10, "decay": 10}}}
    problem = new_problem(long, epochs=8)
    kept = possible(problem, list(over_budgets(problem.schedules, [1, 8], range(1))))
    assert [(probe.run.label, probe.run.epochs) for probe in kept] == [("Baseline", 1), ("Long", 8), ("Baseline", 8)]


@pytest.mark.parametrize("budget", ["0%", "30%", 1])
def test_a_budget_has_at_least_an_epoch(budget: object) -> None:
    assert shorter(SweepParams.model_validate({"budgets": [budget]}), 3) == [1]


# The best rate of a budget


def rated(losses: dict[float, list[float]], label: str = "Step", epochs: int = 4) -> pd.DataFrame:
    """What a sweep says: loss of each seed by peak rate; a NaN is a run that diverged."""
    rows = [(lr, loss, bool(np.isnan(loss))) for lr, own in losses.items() for loss in own]
    table = pd.DataFrame(rows, columns=["lr", "validation_loss", "diverged"])
    return table.assign(kind="rate", scheduler=label, epochs=epochs)


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ({0.1: [2.0, 4.0], 0.2: [3.0, 2.0], 0.4: [9.0, 1.0]}, 0.2),
        ({0.1: [3.0, 4.0], 0.2: [1.0, np.nan]}, 0.1),
        ({0.1: [np.nan, np.nan], 0.2: [2.0, np.nan], 0.4: [1.0, np.nan]}, 0.4),
        ({0.2: [np.nan], 0.1: [np.nan]}, 0.1),
    ],
    ids=["lowest mean", "nobody diverged", "fewest diverged", "all diverged"],
)
def test_the_best_rate_of_a_budget(new_problem: Builder, losses: dict[float, list[float]], best: float) -> None:
    problem = new_problem(SCHEDULES, epochs=8)
    table = pd.concat([rated(losses), rated({0.7: [0.0]}, epochs=8), rated({0.9: [0.0]}, "Plateau", epochs=8)])
    found = list(at_best_rates(table, problem.schedules, [4], [7, 8]))
    # Plateau and the baseline have no rate at four epochs: they are too short for them, say.
    assert [(probe.run.label, probe.run.seed, probe.run.draw) for probe in found] == [
        ("Step", seed, draw) for seed in (7, 8) for draw in (1, 2)
    ]
    assert {(probe.kind, probe.run.epochs, probe.run.schedule.lr, probe.run.variant) for probe in found} == {
        ("budget", 4, best, "recommended")
    }
    assert {probe.run.schedule.args["step_size"] for probe in found} == {"30%"}


# Beyond the range of tune.lr


def test_the_ladder_goes_on_at_the_same_spacing_for_two_decades() -> None:
    assert beyond(PeakRates(), 10, "high") == ["2154%", "4642%", "10000%", "21540%", "46420%", "100000%"]
    assert beyond(PeakRates(), 10, "low") == ["0.4642%", "0.2154%", "0.1%", "0.04642%", "0.02154%", "0.01%"]
    assert beyond(PeakRates(low=0.01, high=1.0), 3, "high") == [10.0, 100.0]
    assert beyond(PeakRates(), 2, "high") == []  # one step would be three decades
    assert beyond(span("1%", "200000%"), 10, "high") == ["776300%"]  # 1000000% is the most that can be written


def span(low: str, high: str) -> PeakRates:
    return PeakRates.model_validate({"low": low, "high": high})


def swept(problem: Problem, rates: PeakRates, points: int = 7) -> pd.DataFrame:
    return Sweep(problem, problem.schedules, rates, points, {problem.params.epochs: range(2)}, CPU).over_rates()


def tried(table: pd.DataFrame, label: str) -> list[float]:
    return sorted(table.loc[table["scheduler"] == label, "lr"].unique().tolist())


@pytest.mark.parametrize(("low", "high"), [("0.01%", "1%"), ("1%", "100%"), ("100000%", "1000000%")])
def test_a_grid_is_extended_until_the_best_lies_inside(new_problem: Builder, low: str, high: str) -> None:
    """At its lower end, at its upper one, and where all of it diverges."""
    problem = new_problem(SCHEDULES, epochs=6)
    rates = span(low, high)
    table = swept(problem, rates)
    assert not table.duplicated(["scheduler", "lr", "seed"]).any()
    for label in problem.schedules:
        own = table[table["scheduler"] == label].groupby("lr")
        best = float(str(own["validation_loss"].mean()[~own["diverged"].any()].idxmin()))
        ladder = tried(table, label)
        steps = np.diff(np.log10(ladder))
        np.testing.assert_allclose(steps, steps[0], rtol=1e-2)
        last = beyond(rates, 7, "high" if best == ladder[-1] else "low")[-1]
        assert ladder[0] < best < ladder[-1] or np.isclose(best, plain_rate(last, 0.1))


def test_a_best_inside_leaves_the_grid_as_it_is(new_problem: Builder) -> None:
    problem = new_problem({}, epochs=6)
    rates = span("0.1%", "100000%")
    table = swept(problem, rates, 13)
    assert len(tried(table, "Baseline")) == 13
    assert said(table, rates, problem.lr) == ""


def test_each_budget_has_a_grid_of_its_own(new_problem: Builder) -> None:
    """Extended by itself, on its own seeds: in one epoch a higher rate is the best than in twelve."""
    problem = new_problem({}, epochs=12)
    rates = span("10%", "1000%")
    table = Sweep(problem, problem.schedules, rates, 5, {12: range(2), 1: range(3)}, CPU).over_rates()
    assert table.groupby("epochs")["seed"].unique().map(list).to_dict() == {1: [0, 1, 2], 12: [0, 1]}
    alone = Sweep(problem, problem.schedules, rates, 5, {1: range(3)}, CPU).over_rates()
    pd.testing.assert_frame_equal(table[table["epochs"] == 1].reset_index(drop=True), alone)
    assert (alone.groupby("scheduler")["lr"].max() > 1).all()


def test_only_what_is_new_is_trained_and_every_row_is_the_run_it_says(new_problem: Builder) -> None:
    problem = new_problem({}, epochs=6)
    rates = span("0.1%", "10%")
    first = trained(problem, list(over_rates(problem.schedules, grid(rates, 5), range(2), 6)), CPU)
    table = swept(problem, rates, 5)
    pd.testing.assert_frame_equal(table.iloc[: len(first)], first)
    row = table.iloc[-1]
    assert row["lr"] > 0.1 * 0.1
    run = Run("Baseline", problem.schedules["Baseline"].model_copy(update={"lr": row["lr"]}), row["seed"], 6)
    alone = collect([run], train(problem, [run], device=CPU))
    np.testing.assert_allclose(row["validation_loss"], alone.curves.validation_loss[-1, 0], rtol=1e-6)


def test_a_grid_that_was_extended_is_told(new_problem: Builder) -> None:
    problem = new_problem({}, epochs=6)
    rates = span("0.001%", "0.01%")
    told = said(swept(problem, rates, 3), rates, problem.lr)
    assert told == (
        "the best peak rate of 1 of 1 schedulers lay at an end of the grid, which was extended for them, to 1e-06…0.001 at "
        "the most; for 1 of them it lies at the end even so; write tune: {lr: {low: 0.001%, high: 1%}} in params.yaml to "
        "search and sweep all of it"
    )


def test_what_is_recommended_is_tried_at_its_own_rate_where_that_lies_inside(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES, epochs=6)
    rates: dict[str, float | str] = {
        "Step": "150%",
        "Plateau": "1000%",
        "Baseline": 0.5,
    }  # inside, on a point of the grid, inside as a number
    best = {label: at_rate(problem.schedules[label], rate) for label, rate in rates.items()}
    sweep = Sweep(problem, best, span("1%", "1000%"), 4, {6: range(2), 3: range(2)}, CPU)
    own = sweep.at_own_rates(sweep.over_rates())
    runs = [(probe.run.label, probe.run.seed, probe.run.epochs) for probe in own]
    assert runs == [(label, seed, 6) for label in ("Step", "Baseline") for seed in range(2)]
    assert all(probe.run.schedule == best[probe.run.label] and probe.kind == "rate" for probe in own)
