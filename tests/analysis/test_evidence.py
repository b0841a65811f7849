"""Evidence tables against cases worked out by hand; what misses, divergence, few seeds and empty stages do to them."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis import evidence
from pipeline.analysis.evidence import (
    above_best,
    area,
    best_so_far,
    budget_rates,
    budgets,
    epochs_to_target,
    growth,
    profile_score,
    profiles,
    reached,
    selection,
    sensitivity,
    too_short,
    usual_loss,
    widths,
    winners,
    winners_by_trials,
    with_full_budget,
)

NAN = float("nan")
Losses = Mapping[tuple[str, str], Sequence[Sequence[float]]]
Sweep = Mapping[tuple[str, float], Sequence[float]]
T_1 = 12.7062047  # 97.5% quantile of Student's t with one degree of freedom: half an interval is T_1 · s / √2


def trained(losses: Losses, diverged: Sequence[tuple[str, int]] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and curves from (variant, scheduler) → one curve of validation losses per seed; ``diverged``: scheduler, seed."""
    runs, curves = [], []
    for (variant, scheduler), seeds in losses.items():
        for seed, curve in enumerate(seeds):
            of_run = {"variant": variant, "scheduler": scheduler, "seed": seed, "stream": 1}
            runs.append({**of_run, "diverged": (scheduler, seed) in diverged, "validation_loss": curve[-1]})
            curves += [{**of_run, "epoch": epoch, "validation_loss": loss} for epoch, loss in enumerate(curve, 1)]
    return pd.DataFrame(runs), pd.DataFrame(curves)


def swept(kind: str, losses: Sweep, variant: str = "tuned") -> pd.DataFrame:
    """A sweep from (scheduler, rate or budget) → loss of seeds 0, 1 …; a NaN is a run that diverged."""
    rows = [
        {
            "run": f"{scheduler}-{point}-{seed}", "kind": kind, "variant": variant, "scheduler": scheduler, "seed": seed,
            "epochs": point if kind == "budget" else 8, "lr": point if kind == "rate" else 1.0,
            "diverged": bool(np.isnan(loss)), "validation_loss": loss,
        }
        for (scheduler, point), values in losses.items()
        for seed, loss in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def studied(values: Mapping[tuple[str, int], Sequence[float]]) -> pd.DataFrame:
    """Trials from (scheduler, seed) → value of trial 0, 1 …; a NaN is a pruned trial."""
    rows = [
        {"scheduler": s, "seed": seed, "number": n, "state": "PRUNED" if np.isnan(value) else "COMPLETE", "value": value}
        for (s, seed), own in values.items()
        for n, value in enumerate(own)
    ]
    return pd.DataFrame(rows)


def grid(losses: Mapping[float, float], diverged: Sequence[float] = ()) -> pd.DataFrame:
    """What :func:`sensitivity` says of one scheduler A with these mean losses."""
    return pd.DataFrame(
        {"scheduler": "A", "lr": lr, "validation_loss": loss, "diverged": int(lr in diverged), "seeds": 2}
        for lr, loss in losses.items()
    )


def assert_same(found: pd.DataFrame, expected: pd.DataFrame, keys: Sequence[str]) -> None:
    """The same rows to the last bit, in whichever order."""
    frames = [table.sort_values(list(keys)).reset_index(drop=True) for table in (found, expected)]
    pd.testing.assert_frame_equal(frames[0], frames[1], check_exact=True)


# The baseline ends at 0.3, 0.5 and 0.4: the target is their median, 0.4.
BASE = {("default", "base"): [[0.9, 0.6, 0.3], [0.9, 0.7, 0.5], [0.8, 0.4, 0.4]]}


def test_target_is_the_baselines_median_and_a_miss_is_a_miss() -> None:
    runs, curves = trained(
        {
            **BASE,
            # at the target exactly; there for one epoch only; 0.0001 above it to the end
            ("default", "A"): [[0.4, 0.4, 0.4], [0.9, 0.2, 0.7], [0.4001, 0.4001, 0.4001]],
            ("tuned", "base"): [[0.1, 0.1, 0.1]],  # the target is the untuned baseline's, also for the tuned
        }
    )
    assert usual_loss(runs, "base") == pytest.approx(0.4)
    found = epochs_to_target(runs, curves, 0.4)
    assert list(found.columns) == ["variant", "scheduler", "seed", "stream", "epochs"]
    np.testing.assert_array_equal(found["epochs"], [3, NAN, 2, 1, 2, NAN, 1])


def test_a_diverged_run_neither_sets_the_target_nor_reaches_it() -> None:
    # Without base's seed 1 the median is that of 0.3 and 0.4; A was below it at its first epoch, before it diverged.
    runs, curves = trained({**BASE, ("default", "A"): [[0.1, 9.0, 9.0]]}, diverged=[("base", 1), ("A", 0)])
    assert usual_loss(runs, "base") == pytest.approx(0.35)
    np.testing.assert_array_equal(epochs_to_target(runs, curves, 0.35)["epochs"], [3, NAN, NAN, NAN])


@pytest.mark.parametrize("diverged", [[("base", seed) for seed in range(3)], []])
def test_without_a_target_nobody_reaches_it(diverged: list[tuple[str, int]]) -> None:
    runs, curves = trained(BASE, diverged)
    target = usual_loss(runs, "base" if diverged else "not there")
    assert np.isnan(target)
    found = epochs_to_target(runs, curves, target)
    assert found["epochs"].isna().all()
    assert reached(found)[["hits", "runs"]].to_numpy().tolist() == [[0, 3]]


def test_one_epoch_and_one_seed_are_enough_for_a_target() -> None:
    runs, curves = trained({("default", "base"): [[0.5]], ("default", "A"): [[0.4]]})
    assert usual_loss(runs, "base") == 0.5
    assert epochs_to_target(runs, curves, 0.5)["epochs"].to_list() == [1, 1]


def test_reached_counts_a_miss_as_later_than_any_hit() -> None:
    epochs = {
        "A": [4, 2, NAN],  # in order 2, 4, miss
        "B": [4, NAN, NAN],  # the median is a miss
        "C": [4, 2, NAN, NAN],  # it lies between 4 and a miss
        "D": [4, 3, NAN, 2],  # between 3 and 4
    }
    table = pd.DataFrame(
        {"variant": "default", "scheduler": label, "seed": seed, "epochs": value}
        for label, values in epochs.items()
        for seed, value in enumerate(values)
    )
    found = reached(table)
    assert list(found.columns) == ["variant", "scheduler", "hits", "runs", "median"]
    assert found["hits"].to_list() == [2, 1, 2, 3]
    assert found["runs"].to_list() == [3, 3, 4, 4]
    np.testing.assert_array_equal(found["median"], [4, NAN, NAN, 3.5])


def speeds(**epochs: Sequence[float]) -> pd.DataFrame:
    """A table of :func:`epochs_to_target` from scheduler → epochs of seeds 0, 1 …"""
    return pd.DataFrame(
        {"variant": "default", "scheduler": label, "seed": seed, "stream": 1, "epochs": float(value)}
        for label, values in epochs.items()
        for seed, value in enumerate(values)
    )


def steps(table: pd.DataFrame, scheduler: str) -> list[tuple[float, float]]:
    own = table[table["scheduler"] == scheduler]
    return list(zip(own["tau"], own["share"], strict=True))


def test_profiles_by_hand() -> None:
    # Instances: P/0, P/1, P/2, Q/0; nobody solves P/2, which stays in everyone's denominator.
    # A's ratios: 10/10, 30/20, miss, 8/8; B's: 20/10, 20/20, miss, 32/8 = 4, the last that is looked at; C's: 5 and misses.
    table = profiles({"P": speeds(A=[10, 30, NAN], B=[20, 20, NAN], C=[50, NAN, NAN]), "Q": speeds(A=[8], B=[32])}, "default")
    assert steps(table, "A") == [(1, 0.5), (1.5, 0.75), (4, 0.75)]
    assert steps(table, "B") == [(1, 0.25), (2, 0.5), (4, 0.75)]
    assert steps(table, "C") == [(1, 0), (4, 0)]
    # A: half from 1 to 1.5, three quarters from there to 4; B: a quarter from 1 to 2, half from 2 to 4; both of width 3.
    scores = profile_score(table).set_index("scheduler")["score"]
    assert scores.to_dict() == pytest.approx({"A": (0.25 + 1.875) / 3, "B": (0.25 + 1.0) / 3, "C": 0})


def test_profiles_look_at_one_variant_and_leave_out_problems_without_runs() -> None:
    tuned = speeds(A=[1], B=[3]).assign(variant="tuned")
    both = pd.concat([speeds(A=[2], B=[1]), tuned])
    table = profiles({"P": both, "Q": pd.DataFrame()}, "tuned")
    assert steps(table, "A") == [(1, 1), (4, 1)]
    assert steps(table, "B") == [(1, 0), (3, 1), (4, 1)]
    assert profiles({"P": speeds(A=[2])}, "tuned").empty


some_epochs = st.lists(st.integers(1, 20) | st.just(NAN), min_size=4, max_size=4)


@settings(max_examples=40)
@given(st.lists(st.fixed_dictionaries({"A": some_epochs, "B": some_epochs, "C": some_epochs}), min_size=1, max_size=3))
def test_shares_rise_with_tau_from_zero_to_one(problems: list[dict[str, list[float]]]) -> None:
    table = profiles({str(place): speeds(**own) for place, own in enumerate(problems)}, "default")
    fastest = 0.0
    for _, own in table.groupby("scheduler"):
        assert own["tau"].is_monotonic_increasing
        assert own["share"].is_monotonic_increasing
        assert own["share"].between(0, 1).all()
        assert (own["tau"].iloc[0], own["tau"].iloc[-1]) == (1, evidence.FARTHEST)
        fastest += own["share"].iloc[0]
    # Every instance that anyone solved has at least one fastest scheduler.
    solved = np.mean([np.isfinite([own[label][seed] for label in own]).any() for own in problems for seed in range(4)])
    assert fastest >= solved - 1e-12
    assert profile_score(table)["score"].between(0, 1).all()


def test_area_by_hand() -> None:
    # A's seeds: means over epochs 0.4 and 0.6, s = 0.1 √2, so half the interval is T_1 · 0.1; the diverged seed counts not.
    runs, curves = trained(
        {("default", "A"): [[0.6, 0.2], [0.9, 0.3], [0.0, 0.0]], ("default", "B"): [[0.1, 0.3]], ("tuned", "A"): [[7.0, 7.0]]},
        diverged=[("A", 2)],
    )
    table = area(curves, runs)
    assert list(table.columns) == ["variant", "scheduler", "area", "low", "high"]
    assert table[["variant", "scheduler"]].to_numpy().tolist() == [["default", "A"], ["default", "B"], ["tuned", "A"]]
    assert table.iloc[0, 2:].to_list() == pytest.approx([0.5, 0.5 - T_1 * 0.1, 0.5 + T_1 * 0.1])
    # One seed has a mean and no interval.
    assert table.iloc[1, 2:].to_list() == pytest.approx([0.2, NAN, NAN], nan_ok=True)


def test_a_scheduler_that_always_diverged_has_no_area() -> None:
    runs, curves = trained({("default", "A"): [[0.1], [0.2]]}, diverged=[("A", 0), ("A", 1)])
    assert area(curves, runs).iloc[0, 2:].isna().all()


def test_sensitivity_by_hand() -> None:
    sweep = pd.concat(
        [
            # Rates come in any order; at 1.0 one seed diverged, at 10 all.
            swept("rate", {("A", 1.0): [0.2, NAN], ("A", 0.1): [0.4, 0.6], ("A", 10.0): [NAN, NAN]}),
            swept("budget", {("A", 4): [9.0]}),
        ]
    )
    table = sensitivity(sweep)
    assert list(table.columns) == ["scheduler", "lr", "validation_loss", "low", "high", "diverged", "seeds"]
    assert table["lr"].to_list() == [0.1, 1.0, 10.0]
    assert table["validation_loss"].to_list() == pytest.approx([0.5, 0.2, NAN], nan_ok=True)
    assert table.iloc[0, 3:5].to_list() == pytest.approx([0.5 - T_1 * 0.1, 0.5 + T_1 * 0.1])
    assert table["diverged"].to_list() == [0, 1, 2]
    assert table["seeds"].to_list() == [2, 2, 2]


def width(table: pd.DataFrame) -> tuple[list[float], bool]:
    """Best rate and loss, both ends and the decades of the first scheduler; whether its range touches an end of the grid."""
    assert list(table.columns) == ["scheduler", "best_lr", "best_loss", "lowest_lr", "highest_lr", "decades", "at_edge"]
    return [float(value) for value in table.iloc[0, 1:6]], bool(table.iloc[0, 6])


def test_width_by_hand() -> None:
    # 5% above 1.0 is 1.05: a quarter of the way from 1.0 to 1.2 on the left (a quarter of the decade from 0.1 to 0.01), and
    # half way from 1.04 to 1.06 on the right (half of the decade from 1 to 10).
    figures, at_edge = width(widths(grid({0.01: 1.2, 0.1: 1.0, 1.0: 1.04, 10.0: 1.06})))
    assert figures == pytest.approx([0.1, 1.0, 0.1 / 10**0.25, 10**0.5, 1.75])
    assert not at_edge


def test_width_of_losses_below_zero() -> None:
    """5% above -3 is -2.85: the same ends as above."""
    figures, _ = width(widths(grid({0.01: -2.4, 0.1: -3.0, 1.0: -2.9, 10.0: -2.8})))
    assert figures == pytest.approx([0.1, -3.0, 0.1 / 10**0.25, 10**0.5, 1.75])


def test_width_is_of_one_stretch() -> None:
    # 100 is good again, but what lies between is not: the range ends at 5/20 of the way from 0.1 to 1.
    figures, at_edge = width(widths(grid({0.01: 2.0, 0.1: 1.0, 1.0: 1.2, 10.0: 1.2, 100.0: 1.01})))
    assert figures[3] == pytest.approx(0.1 * 10**0.25)
    assert not at_edge


def test_the_share_that_counts_as_good_can_be_chosen() -> None:
    # 10% of 1.0 is half way from 1.0 to 1.2.
    figures, _ = width(widths(grid({0.1: 1.2, 1.0: 1.0, 10.0: 1.2}), within=0.1))
    assert figures[4] == pytest.approx(1.0)


@pytest.mark.parametrize("beside", [0.01, 1.0])
def test_a_range_that_touches_the_grids_end_is_a_lower_bound(beside: float) -> None:
    losses = {0.01: 2.0, 0.1: 1.0, 1.0: 2.0} | {beside: 1.05}  # exactly 5% above the best is still good
    figures, at_edge = width(widths(grid(losses)))
    assert beside in figures[2:4]
    assert at_edge


def test_a_rate_at_which_any_seed_diverged_is_neither_best_nor_good_nor_leads_to_an_end() -> None:
    # 1.0 is the lowest of all, but of one seed: the best is 0.1, and the range ends there and not somewhere on the way.
    figures, at_edge = width(widths(grid({0.01: 1.1, 0.1: 1.0, 1.0: 0.5, 10.0: 1.0}, diverged=[1.0])))
    assert figures == pytest.approx([0.1, 1.0, 0.1 / 10**0.5, 0.1, 0.5])
    assert not at_edge


def test_a_scheduler_that_diverged_at_all_rates_has_no_width() -> None:
    sweep = swept("rate", {("A", 0.1): [NAN, NAN], ("A", 1.0): [0.1, NAN], ("B", 0.1): [0.5]})
    found = widths(sensitivity(sweep))
    figures, at_edge = width(found)
    assert np.isnan(figures).all()
    assert not at_edge
    # B has a grid of one rate: a range of no width that touches both ends.
    figures, at_edge = width(found.iloc[1:])
    assert figures == pytest.approx([0.1, 0.5, 0.1, 0.1, 0.0])
    assert at_edge


@settings(max_examples=40)
@given(st.lists(st.floats(0, 100) | st.just(NAN), min_size=1, max_size=8), st.floats(0, 1))
def test_the_range_holds_the_best_rate_and_stays_in_the_grid(losses: list[float], within: float) -> None:
    rates = [0.003 * 3.1**place for place in range(len(losses))]
    table = grid(dict(zip(rates, losses, strict=True)), [lr for lr, loss in zip(rates, losses, strict=True) if np.isnan(loss)])
    (best, _, lowest, highest, decades), _ = width(widths(table, within))
    if np.isnan(losses).all():
        assert np.isnan([best, lowest, highest, decades]).all()
    else:
        assert rates[0] <= lowest <= best <= highest <= rates[-1]
        assert decades >= 0


def test_best_so_far_by_hand() -> None:
    # Running minima, ∞ for nothing yet: seed 0: 5 5 2, seed 1: ∞ 4 4, seed 2: ∞ ∞ 3.
    table = best_so_far(studied({("A", 0): [5, 6, 2], ("A", 1): [NAN, 4, NAN], ("A", 2): [NAN, NAN, 3]}))
    assert list(table.columns) == ["scheduler", "trial", "middle", "low", "high"]
    assert table["trial"].to_list() == [1, 2, 3]
    # Sorted: 5 ∞ ∞; 4 5 ∞; 2 3 4. Of three values the quartiles lie half way between neighbours.
    np.testing.assert_array_equal(table["middle"], [NAN, 5, 3])
    np.testing.assert_array_equal(table["low"], [NAN, 4.5, 2.5])
    np.testing.assert_array_equal(table["high"], [NAN, NAN, 3.5])


def test_a_quartile_that_falls_on_the_last_number_is_known() -> None:
    # Of five values the upper quartile is the fourth itself, whatever follows.
    studies = {("A", seed): [value] for seed, value in enumerate([1.0, 2.0, 3.0, 4.0, NAN])}
    assert best_so_far(studied(studies)).iloc[0, 2:].to_list() == [3, 2, 4]


def test_a_pruned_trials_value_counts_not_whatever_it_is() -> None:
    trials = studied({("A", 0): [5, 1, 4]})
    trials.loc[1, "state"] = "PRUNED"
    assert best_so_far(trials)["middle"].to_list() == [5, 5, 4]


def test_a_study_that_is_over_keeps_its_best() -> None:
    # Seed 1 has one trial only; afterwards the median is that of 1 and 2, then of 1 and 0.
    table = best_so_far(studied({("A", 0): [3, 2, 0], ("A", 1): [1], ("B", 0): [NAN]}))
    np.testing.assert_array_equal(table["middle"], [2, 1.5, 0.5, NAN])
    assert table["scheduler"].to_list() == ["A", "A", "A", "B"]


# Whole numbers of at most four seeds: quartiles in quarters, which floating-point numbers hold exactly.
some_values = st.lists(st.integers(0, 100).map(float) | st.just(NAN), min_size=1, max_size=6)


@settings(max_examples=40)
@given(st.lists(some_values, min_size=1, max_size=4))
def test_best_so_far_never_rises(studies: list[list[float]]) -> None:
    table = best_so_far(studied({("A", seed): values for seed, values in enumerate(studies)}))
    for column in ("middle", "low", "high"):
        known = table[column].notna()
        assert known.is_monotonic_increasing  # once there is a figure there is one for good
        assert table.loc[known, column].is_monotonic_decreasing
    known = table["high"].notna()
    assert (table["low"] <= table["middle"])[known].all()
    assert (table["middle"] <= table["high"])[known].all()


def test_selection_by_hand() -> None:
    """Seed 0 chose 0.1, and finds 0.3 and 0.5 there; trial 1, at 0.2 each time, is chosen by all. Seed 1 stays by its own."""
    values = {(0, 0): [0.1, 0.3, 0.5], (0, 1): [0.2, 0.2, 0.2], (1, 4): [0.3, 0.2, 0.4], (1, 2): [0.4, 0.9, 0.9]}
    values |= {(2, 0): [0.0, np.inf, 0.1], (2, 1): [0.1, 0.1, 0.1]}  # the first diverged again: it enters no mean
    reruns = pd.DataFrame(
        ("A", seed, number, stream, value) for (seed, number), own in values.items() for stream, value in enumerate(own, 1)
    )
    reruns.columns = pd.Index(["scheduler", "seed", "number", "stream", "value"])
    (row,) = selection(reruns).to_numpy().tolist()
    assert row == ["A", 2, pytest.approx(0.2), pytest.approx(0.35), pytest.approx(0.75), 1]


@pytest.mark.parametrize(("first", "again", "bias"), [(-2.0, -1.5, 0.25), (0.0, 0.0, 0.0), (0.0, 0.5, np.inf)])
def test_a_value_of_zero_or_less_was_too_low_by_a_share_of_its_size(first: float, again: float, bias: float) -> None:
    reruns = pd.DataFrame({"scheduler": "A", "seed": 0, "number": 0, "stream": [1, 2, 3], "value": [first, again, again]})
    assert selection(reruns)["bias"].to_list() == [pytest.approx(bias)]


@pytest.fixture
def spent() -> pd.DataFrame:
    """A sweep over budgets; A learns fast and then stays, B needs its time, C diverged on one seed, D on all."""
    losses: Sweep = {
        ("A", 8): [0.4, 0.4], ("A", 2): [0.4, 0.6], ("B", 2): [0.8, 0.8], ("B", 8): [0.1, 0.3],
        ("C", 8): [0.1, NAN], ("D", 8): [NAN, NAN],
    }  # fmt: skip
    default, rates = swept("budget", {("A", 2): [0.9]}, "default"), swept("rate", {("A", 1.0): [0.0]})
    return pd.concat([swept("budget", losses), default, rates])


def test_budgets_by_hand(spent: pd.DataFrame) -> None:
    table = budgets(spent)
    assert list(table.columns) == list(evidence.BUDGETS)
    identity = table[["variant", "epochs", "scheduler", "diverged", "rank"]].to_numpy().tolist()
    assert identity == [
        ["tuned", 2, "A", 0, 1], ["tuned", 2, "B", 0, 2],
        ["tuned", 8, "A", 0, 2], ["tuned", 8, "B", 0, 1], ["tuned", 8, "C", 1, 3], ["tuned", 8, "D", 2, 4],
        ["default", 2, "A", 0, 1],
    ]  # fmt: skip
    assert table["validation_loss"].to_list() == pytest.approx([0.5, 0.8, 0.4, 0.2, 0.1, NAN, 0.9], nan_ok=True)
    # A at 2 epochs: 0.4 and 0.6, as in the sweep over rates above; equal values give no width, one value no interval.
    assert table.loc[[0, 1], "low"].to_list() == pytest.approx([0.5 - T_1 * 0.1, 0.8])
    assert table["low"].isna().to_list() == [False, False, False, False, True, True, True]


def test_winners_by_hand(spent: pd.DataFrame) -> None:
    table = winners(budgets(spent), spent)
    assert table[["variant", "epochs"]].to_numpy().tolist() == [["tuned", 2], ["tuned", 8], ["default", 2]]
    assert table["scheduler"].to_list() == ["A", "B", "A"]
    assert table["runner_up"].fillna("nobody").to_list() == ["B", "A", "nobody"]
    # B is behind A by 0.4 and 0.2, and then A behind B by 0.3 and 0.1, each ± T_1 · 0.1.
    assert table["behind"].to_list() == pytest.approx([0.3, 0.2, NAN], nan_ok=True)
    assert table["behind_low"].to_list() == pytest.approx([0.3 - T_1 * 0.1, 0.2 - T_1 * 0.1, NAN], nan_ok=True)
    assert table["in_set"].to_list()[:2] == [2, 2]
    # At 8 epochs B's regret is zero and A's is 0.2 of 0.2; C and D diverged more often and have no bound.
    costs = budgets(spent).iloc[2:6]
    assert costs["in_set"].to_list() == [True, True, False, False]
    assert costs["regret"].to_list()[:2] == pytest.approx([1, 0])
    assert np.isinf(costs["regret_bound"].to_list()[2:]).all()


def test_those_that_may_be_the_best_are_judged_all_at_once() -> None:
    """Six differences whose t is about 3.5: enough for one pair; and what is far behind is in no set."""
    first, second = [0.5, 0.6, 0.7, 0.55, 0.65, 0.75], [0.52, 0.64, 0.8, 0.67, 0.71, 0.77]
    far: dict[tuple[str, float], list[float]] = {(f"S{n}", 4): [5.0 + loss + 0.01 * n for loss in first] for n in range(3)}
    sweep = swept("budget", {("A", 4): first, ("B", 4): second, **far})
    assert winners(budgets(sweep), sweep)["in_set"].to_list() == [1]
    near = swept("budget", {("A", 4): first, ("B", 4): [loss - 0.02 + 0.05 * (n % 2) for n, loss in enumerate(first)]})
    assert winners(budgets(near), near)["in_set"].to_list() == [2]


def test_the_full_budget_is_what_is_reported() -> None:
    """Of the variants that were trained at shorter ones, too; without a shorter one there is nothing to compare."""
    shorter = swept("budget", {("A", 2): [0.4, 0.6], ("B", 2): [0.5, 0.7]}, "recommended")
    full = swept("budget", {("A", 8): [0.2, 0.3], ("B", 8): [0.1, 0.2]}, "recommended").drop(columns="kind")
    runs = pd.concat([full.assign(variant="tuned", validation_loss=0.0), full])
    table = budgets(with_full_budget(shorter, runs))
    assert table[["variant", "epochs", "scheduler", "validation_loss"]].to_numpy().tolist() == [
        ["recommended", 2, "A", 0.5], ["recommended", 2, "B", pytest.approx(0.6)],
        ["recommended", 8, "A", 0.25], ["recommended", 8, "B", pytest.approx(0.15)],
    ]  # fmt: skip
    assert with_full_budget(swept("rate", {("A", 1.0): [0.1]}), runs).empty
    assert with_full_budget(pd.DataFrame(), runs).empty


def test_each_budget_has_its_best_rate_and_says_where_that_is_an_end() -> None:
    rates = swept("rate", {("A", 1.0): [0.3], ("A", 2.0): [0.1], ("A", 4.0): [0.3], ("B", 1.0): [0.2], ("B", 2.0): [NAN]})
    short = swept("rate", {("A", 1.0): [0.9], ("A", 2.0): [0.8], ("A", 4.0): [0.7]}).assign(epochs=2)
    table = budget_rates(pd.concat([rates, short]))
    assert table[["epochs", "scheduler", "best_lr", "end"]].to_numpy().tolist() == [
        [2, "A", 4.0, "high"], [8, "A", 2.0, ""], [8, "B", 1.0, "low"],
    ]  # fmt: skip
    assert sensitivity(pd.concat([rates, short]))["scheduler"].value_counts().to_dict() == {"A": 3, "B": 2}


def test_who_leads_after_so_many_trials() -> None:
    """A finds its best at once; B, whose first trial was pruned on one seed, overtakes it with the third of five."""
    trials = studied({
        ("A", 0): [3, 3, 3, 3, 3], ("A", 1): [4, 9, 9, 9, 9], ("B", 0): [5, 4, 2, 1, 9], ("B", 1): [NAN, 5, 2, 9, 1],
    })  # fmt: skip
    table = winners_by_trials(trials)
    assert table["trials"].to_list() == [1, 2, 4, 5]
    assert table["scheduler"].to_list() == ["A", "A", "B", "B"]
    # B behind A by 4 - 3 and 5 - 4 after two; A behind B by 3 - 1 and 4 - 2 after four, and by 2 and 3 after five.
    assert table["behind"].to_list()[1:] == pytest.approx([1, 2, 2.5])
    assert table["in_set"].to_list() == [1, 1, 1, 2]  # where B found nothing on a seed it may not be the best


def test_growth_by_hand() -> None:
    """A loses a tenth at each doubling, exactly; B levels off; C finished on too few seeds, D has too few budgets."""
    losses: dict[tuple[str, float], list[float]] = {}
    for k in range(4):
        losses["A", 2.0**k] = [0.9**k, 2 * 0.9**k, 3 * 0.9**k]
        losses["B", 2.0**k] = [0.5**k + 1, 0.5**k + 1.1, 0.5**k + 1.2]
        losses["C", 2.0**k] = [1.0, 1.0, NAN]
    losses |= {("D", 1.0): [1.0] * 3, ("D", 2.0): [1.0] * 3}
    table = growth(swept("budget", losses))
    assert dict(zip(table["scheduler"], table["speaks"], strict=True)) == {
        "A": "power law", "B": "levels off", "C": "too few seeds", "D": "too few budgets",
    }  # fmt: skip
    a, b, *others = table[["doubling", "doubling_low", "doubling_high", "last", "bend", "bend_low"]].to_numpy(float)
    assert a[:4] == pytest.approx(np.full(4, -0.1))
    assert a[4] == pytest.approx(0, abs=1e-9)
    assert b[5] > 0
    assert b[0] < b[3] < 0
    assert np.isnan(others).all()


@pytest.mark.parametrize("lowest", [0.0, -0.5])
def test_a_loss_of_zero_or_less_grows_by_no_power_law(lowest: float) -> None:
    """One run with such a loss is enough; a logarithm of 0 made it *no change*."""
    losses: dict[tuple[str, float], list[float]] = {("A", 2.0**k): [0.5**k, 0.5**k, 0.5**k, 0.5**k] for k in range(3)}
    losses["A", 4.0][0] = lowest
    (row,) = growth(swept("budget", losses)).to_dict("records")
    assert row["speaks"] == "no power law"
    assert np.isnan(row["doubling"])


def test_what_could_not_be_followed_in_so_few_epochs_is_listed() -> None:
    sweep = swept("budget", {("A", 2): [0.2], ("A", 8): [0.1], ("B", 8): [0.1]})
    rate = swept("rate", {("C", 1.0): [0.1]})
    assert too_short(budgets(pd.concat([sweep, rate]))).to_numpy().tolist() == [["tuned", 2, "B"]]


def test_intervals_of_means_take_the_overlap_and_those_of_differences_do_not() -> None:
    """At an overlap of a half the variance of a mean of two is s² (1/2 + 1), three times that without."""
    runs, curves = trained({("default", "A"): [[0.6, 0.2], [0.9, 0.3]]})
    rates, spent = swept("rate", {("A", 1.0): [0.4, 0.6]}), swept("budget", {("A", 4): [0.4, 0.6], ("B", 4): [0.9, 0.7]})

    def halves(overlap: float) -> list[float]:
        found = [area(curves, runs, overlap), sensitivity(rates, overlap), budgets(spent, overlap)]
        return [(table["high"] - table["low"]).iloc[0] for table in found]

    assert halves(0.5) == pytest.approx([np.sqrt(3) * half for half in halves(0)])
    pd.testing.assert_frame_equal(winners(budgets(spent, 0.5), spent), winners(budgets(spent), spent))


def test_nobody_wins_where_nobody_finished() -> None:
    sweep = swept("budget", {("A", 4): [NAN, NAN], ("B", 4): [NAN, NAN]})
    found = winners(budgets(sweep), sweep)
    assert found["epochs"].to_list() == [4]
    assert found[["scheduler", "runner_up"]].isna().all(axis=None)


def test_equals_share_the_better_rank_and_the_alphabet_names_the_winner() -> None:
    sweep = swept("budget", {("C", 4): [0.5], ("B", 4): [0.2], ("A", 4): [0.2]})
    table = budgets(sweep)
    assert dict(zip(table["scheduler"], table["rank"], strict=True)) == {"C": 3, "B": 1, "A": 1}
    assert winners(table, sweep)[["scheduler", "runner_up"]].to_numpy().tolist() == [["A", "B"]]


NO_RUNS, NO_SWEEP = trained({("default", "A"): [[0.1]]})[0].iloc[:0], swept("rate", {("A", 1.0): [0.1]}).iloc[:0]
NO_TRIALS = studied({("A", 0): [1.0]}).iloc[:0]


@pytest.mark.parametrize("bare", [True, False], ids=["without columns", "with columns"])
@pytest.mark.parametrize(
    ("make", "nothing", "columns"),
    [
        (lambda none: epochs_to_target(none, none, usual_loss(none, "A")), NO_RUNS, "variant scheduler seed stream epochs"),
        (lambda none: reached(epochs_to_target(none, none, 0.1)), NO_RUNS, "variant scheduler hits runs median"),
        (lambda none: profiles({"P": epochs_to_target(none, none, 0.1)}, "tuned"), NO_RUNS, "scheduler tau share"),
        (lambda none: profiles({}, "tuned"), NO_RUNS, "scheduler tau share"),
        (lambda none: profile_score(profiles({}, "tuned")), NO_RUNS, "scheduler score"),
        (lambda none: area(none, none), NO_RUNS, "variant scheduler area low high"),
        (sensitivity, NO_SWEEP, "scheduler lr validation_loss low high diverged seeds"),
        (
            lambda none: widths(sensitivity(none)),
            NO_SWEEP,
            "scheduler best_lr best_loss lowest_lr highest_lr decades at_edge",
        ),
        (best_so_far, NO_TRIALS, "scheduler trial middle low high"),
        (budgets, NO_SWEEP, " ".join(evidence.BUDGETS)),
        (budget_rates, NO_SWEEP, " ".join(evidence.RATES)),
        (growth, NO_SWEEP, " ".join(evidence.GROWTH)),
        (winners_by_trials, NO_TRIALS, " ".join(["trials", *evidence.WINNERS[2:]])),
        (lambda none: winners(budgets(none), none), NO_SWEEP, " ".join(evidence.WINNERS)),
        (lambda none: too_short(budgets(none)), NO_SWEEP, "variant epochs scheduler"),
    ],
)
def test_a_stage_that_was_not_run_gives_an_empty_table(
    make: Callable[[pd.DataFrame], pd.DataFrame], nothing: pd.DataFrame, columns: str, bare: bool
) -> None:
    table = make(pd.DataFrame() if bare else nothing)
    assert table.empty
    assert list(table.columns) == columns.split()


def test_a_sweep_of_one_kind_has_nothing_of_the_other() -> None:
    assert budgets(swept("rate", {("A", 1.0): [0.1]})).empty
    assert sensitivity(swept("budget", {("A", 4): [0.1]})).empty


def mixed(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    return frame.sample(frac=1, random_state=seed)


@pytest.fixture
def uneven() -> list[list[float]]:
    """Eight times three losses whose sums round differently in another order."""
    values: list[list[float]] = np.random.default_rng(0).lognormal(sigma=3, size=(8, 3)).tolist()
    return values


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_runs_and_curves_changes_nothing(uneven: list[list[float]], seed: int) -> None:
    def tables(runs: pd.DataFrame, curves: pd.DataFrame) -> list[pd.DataFrame]:
        epochs = epochs_to_target(runs, curves, usual_loss(runs, "A"))
        profile = profiles({"P": epochs}, "default")
        return [epochs, reached(epochs), profile, profile_score(profile), area(curves, runs)]

    runs, curves = trained({("default", "A"): uneven[:4], ("default", "B"): uneven[4:]}, diverged=[("B", 0)])
    found, expected = tables(mixed(runs, seed), mixed(curves, seed)), tables(runs, curves)
    keys = (["scheduler", "seed"], ["scheduler"], ["scheduler", "tau"], ["scheduler"], ["scheduler"])
    for after, before, key in zip(found, expected, keys, strict=True):
        assert_same(after, before, key)
    assert_same(profile_score(mixed(expected[2], seed)), expected[3], ["scheduler"])


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_a_sweep_changes_nothing(uneven: list[list[float]], seed: int) -> None:
    points = [("A", 1.0), ("A", 2.0), ("A", 4.0), ("A", 8.0), ("B", 1.0), ("B", 2.0), ("B", 4.0), ("B", 8.0)]
    rates, spent = (swept(kind, dict(zip(points, uneven, strict=True))) for kind in ("rate", "budget"))
    of_rates, of_budgets = sensitivity(rates), budgets(spent)
    assert_same(sensitivity(mixed(rates, seed)), of_rates, ["scheduler", "lr"])
    assert_same(widths(mixed(of_rates, seed)), widths(of_rates), ["scheduler"])
    assert_same(budgets(mixed(spent, seed)), of_budgets, ["scheduler", "epochs"])
    assert_same(winners(mixed(of_budgets, seed), mixed(spent, seed)), winners(of_budgets, spent), ["epochs"])


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_trials_changes_nothing(uneven: list[list[float]], seed: int) -> None:
    trials = studied({(label, number): own for label in "AB" for number, own in enumerate(uneven)})
    assert_same(best_so_far(mixed(trials, seed)), best_so_far(trials), ["scheduler", "trial"])


def test_values_above_the_best_of_their_seed() -> None:
    """Seed 0's best is A's 2, seed 1's is B's 4; what was pruned stays without a value."""
    trials = studied({("A", 0): [5, 2], ("A", 1): [NAN, 6], ("B", 0): [3, 3], ("B", 1): [4, 7]})
    np.testing.assert_array_equal(above_best(trials)["value"], [3, 0, NAN, 2, 1, 1, 0, 3])
    assert above_best(trials.iloc[:0]).empty
