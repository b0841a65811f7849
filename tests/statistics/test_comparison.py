"""Verdicts, sets and regrets: published critical values, error rates by simulation, divergence, invariance."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.statistics.comparison import Null, Reason, against, best, null, recommendation
from tests.repeated import by_chance, repeated
from tests.statistics.nested import Floats, losses

NAN = float("nan")


def apart(*effects: float, splits: int = 10, spread: float = 0.01, seed: int = 0) -> dict[str, Floats]:
    """Labels whose levels are 10 and ``effects`` more, nearly without noise of their own."""
    return losses(np.random.default_rng(seed), len(effects), splits, effects=effects, spread=spread)


def test_critical_values_of_dunnetts_table() -> None:
    # Dunnett (1964), two-sided 5%, infinite df: 2.57 and 2.72 for 5 and 8 treatments against one control; one-sided
    # (Dunnett 1955) 2.23 for 5. With 120 splits t is nearly normal and all correlations nearly 1/2.
    for labels, sides, published in ((6, 2, 2.57), (9, 2, 2.72), (6, 1, 2.23)):
        of = losses(np.random.default_rng(1), labels, 120, 0.0)
        family = null(of, [(name, "S00") for name in of if name != "S00"], 2 if sides == 2 else 1)
        assert family.draws[int(0.95 * len(family.draws))] == pytest.approx(published, abs=0.05)


def test_the_same_figures_give_the_same_null_whatever_was_drawn_before() -> None:
    of = apart(0, 1, 2)
    first = null(of, [("S01", "S00")])
    np.random.default_rng().normal(size=10)
    assert np.array_equal(null(dict(reversed(of.items())), [("S01", "S00")]).draws, first.draws)


def test_adjustment_is_between_none_and_bonferronis() -> None:
    of = losses(np.random.default_rng(2), 6, 10)
    family = null(of, [(name, "S00") for name in of if name != "S00"])
    for p in (1e-9, 1e-4, 0.01, 0.2, 1.0):
        assert p <= family.adjusted(p) <= min(1, 5 * p)
    assert np.isnan(family.adjusted(NAN))
    assert 0.05 / 5 <= family.alone() < 0.05
    assert family.alone(1e-9) == 1e-9 / 5


def test_level_and_adjusted_p_agree() -> None:
    family = Null(np.sort(np.abs(np.random.default_rng(3).standard_t(9, size=(10_000, 3)).max(axis=1))), 9, 3, 2)
    for alpha in (0.05, 0.01, 0.001):
        assert family.adjusted(family.alone(alpha) * 0.999) <= alpha + 1e-12
        assert family.adjusted(family.alone(alpha) * 1.001) >= alpha


def test_verdicts_of_clear_cases() -> None:
    table = against(apart(0, 0.002, 1, -1), "S00", 0.2)
    assert list(table["verdict"]) == ["baseline", "practically equal", "worse", "better"]
    assert list(table["difference"]) == pytest.approx([0, 0.002, 1, -1], abs=0.02)
    rest = table.drop("S00")
    assert (rest["all_low"] <= rest["low"]).all()
    assert (rest["all_high"] >= rest["high"]).all()
    assert (rest["adjusted"] >= rest["p"]).all()


def test_these_data_are_known_better_than_data_like_these() -> None:
    of = losses(np.random.default_rng(4), 4, 10, 0.8)
    here, like = against(of, "S00"), against(of, "S00", 0.2)
    assert ((like["high"] - like["low"]) > (here["high"] - here["low"])).drop("S00").all()


def test_a_verdict_is_read_off_the_intervals() -> None:
    """Half a verdict is one: *no worse* or *no better* by what matters, 1% of a loss of 10."""
    effects, said = (
        (0, 0.02, -0.12, 0.12, 0.12, -0.12),
        ["baseline", "practically equal", "no worse", "no better", "open", "open"],
    )
    spreads = np.array([0, 0.05, 0.2, 0.2, 0.5, 0.5])
    zigzag = np.tile([-1.0, 1.0], 5)[:, None]
    of = {f"S{n}": 10 + effect + spread * zigzag for n, (effect, spread) in enumerate(zip(effects, spreads, strict=True))}
    table = against(of, "S0")
    assert list(table["verdict"]) == said
    assert (table["high"] <= 0.1).tolist() == [False, True, True, False, False, False]
    assert (table["low"] >= -0.1).tolist() == [False, True, False, True, False, False]


@pytest.mark.usefixtures("few_draws")
@repeated(100, 400)
def test_at_its_margin_a_pair_is_called_no_worse_in_one_of_forty(times: int) -> None:
    rng = np.random.default_rng(11)
    draws = [losses(rng, 2, 10, overlap=0, effects=[0, 0.1], spread=0.3) for _ in range(times)]
    said = [str(against(of, "S00").loc["S01", "verdict"]) for of in draws]
    called = np.mean([word in ("no worse", "practically equal", "better") for word in said])
    assert called == pytest.approx(0.025, abs=by_chance(0.025, times))


def test_what_does_not_matter_is_equal_even_if_it_is_sure() -> None:
    of = apart(0, 0.05, spread=0.001)
    assert [against(of, "S00", 0.2, share).loc["S01", "verdict"] for share in (0.001, 0.01)] == ["worse", "practically equal"]


def test_a_missing_baseline_is_refused() -> None:
    with pytest.raises(KeyError):
        against(apart(0, 1), "none")


def test_a_single_seed_leaves_all_open() -> None:
    of = apart(0, 1, splits=1)
    assert against(of, "S00").loc["S01", "verdict"] == "open"
    table = best(of)
    assert table["in_set"].all()
    assert np.isinf(table["bound"]).all()
    assert recommendation(table, {"S00": 0, "S01": 0}).reason is Reason.LOWEST_LOSS


def test_identical_labels_are_equal_and_without_regret() -> None:
    of = apart(0, 0.5)
    of["twin"] = of["S00"].copy()
    assert against(of, "S00", 0.2, 0).loc["twin", "verdict"] == "practically equal"
    table = best(of, 0.2)
    assert list(table["in_set"]) == [True, False, True]
    assert list(table["bound"]) == pytest.approx([0, table.loc["S01", "bound"], 0])


def test_where_all_losses_are_zero_nothing_is_lost() -> None:
    table = best({label: np.zeros((4, 1)) for label in "AB"})
    assert (table[["regret", "bound", "relative"]] == 0).all(axis=None)
    assert table["bounded"].all()


def test_what_never_finished_has_no_regret() -> None:
    values = np.array([[0.5], [0.6], [0.7]])
    assert best({"A": values, "B": values * np.nan})["regret"].tolist() == pytest.approx([0.0, np.nan], nan_ok=True)
    assert best({"A": values * np.nan, "B": values * np.nan})["regret"].isna().all()


def test_regrets_of_clear_cases() -> None:
    table = best(apart(0.3, 0, 1), 0.2)
    assert list(table["in_set"]) == [False, True, False]
    assert list(table["regret"]) == pytest.approx([0.3, 0, 1], abs=0.02)
    assert (table["bound"] >= table["regret"]).all()
    assert table.loc["S01", "bound"] == 0
    assert list(table["bounded"]) == [False, True, False]


@pytest.mark.parametrize(
    ("runs", "verdict", "in_set"),
    [
        ({"A": 0, "base": 0}, "better", True),
        ({"A": 1, "base": 0}, "diverged", False),
        ({"A": 0, "base": 1}, "better", True),
        ({"A": 1, "base": 1}, "better", True),
        ({"A": 19, "base": 0}, "diverged", False),
        ({"A": 20, "base": 20}, "open", False),
    ],
)
def test_divergence_is_never_made_up_for(runs: dict[str, int], verdict: str, in_set: bool) -> None:
    of = dict(zip(("A", "base"), apart(-1, 0).values(), strict=True))
    for label, count in runs.items():
        of[label].ravel()[:count] = NAN
    assert against(of, "base", 0.2).loc["A", "verdict"] == verdict
    table = best(of, 0.2).loc["A"]
    assert table["in_set"] == in_set
    assert np.isinf(table["bound"]) == (not in_set)


def test_one_that_diverged_less_often_is_never_worse() -> None:
    of = apart(0, 1)
    of["S00"][0, 0] = NAN
    assert against(of, "S00", 0.2).loc["S01", "verdict"] == "open"


def test_the_preferred_of_the_bounded_is_recommended() -> None:
    table = best(apart(0.01, 0, 0.02, 1, spread=0.001), 0.2)
    preference = {"S00": (1, -3), "S01": (3, -30), "S02": (1, -30), "S03": (0, 0)}
    said = recommendation(table, preference)
    assert (said.label, said.reason) == ("S02", Reason.PREFERRED)
    assert said.bounded == ("S00", "S01", "S02")
    assert said.relative == table["relative"]["S02"]
    assert said.relative <= 0.01


def test_else_the_lowest_bound_is_recommended() -> None:
    table = best(losses(np.random.default_rng(5), 4, 10), 0.2)
    said = recommendation(table, dict.fromkeys(table.index, 0))
    assert (said.label, said.reason) == (table["bound"].idxmin(), Reason.LOWEST_BOUND)
    assert said.bounded == ()


def test_where_all_diverged_none_is_recommended() -> None:
    table = best({"A": np.full((3, 2), NAN), "B": np.full((3, 2), NAN)})
    assert not table["in_set"].any()
    said = recommendation(table, {})
    assert (said.label, said.reason) == (None, Reason.NONE)


@pytest.mark.usefixtures("few_draws")
@repeated(30, 60)
@pytest.mark.parametrize("splits", [6, 10])
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_equals_raise_a_false_alarm_in_one_of_twenty_families(splits: int, share: float, times: int) -> None:
    rng = np.random.default_rng(splits)
    alarms = [
        against(losses(rng, 8, splits, share), "S00", 0.2, 0)["verdict"].isin(["better", "worse"]).any() for _ in range(times)
    ]
    assert np.mean(alarms) <= 0.05 + by_chance(0.05, times)


@pytest.mark.usefixtures("few_draws")
@repeated(20, 60)
@pytest.mark.parametrize("splits", [6, 10])
def test_the_best_is_in_the_set_and_regrets_are_bounded(splits: int, times: int) -> None:
    rng, effects = np.random.default_rng(splits), np.linspace(0, 1, 6)
    held = []
    for _ in range(times):
        table = best(losses(rng, 6, splits, effects=effects), 0.2)
        held.append(bool(table["in_set"].iloc[0]) and bool((table["bound"].to_numpy(float) >= effects).all()))
    assert np.mean(held) >= 0.95 - by_chance(0.95, times)


@pytest.mark.usefixtures("few_draws")
@repeated(10, 25)
def test_power_is_several_times_that_of_the_full_correction(times: int) -> None:
    """One of twelve worse by 2.5 standard deviations of a label's split mean, ten seeds: Bonferroni with φ = 1 finds few."""
    rng = np.random.default_rng(8)
    found = [
        against(losses(rng, 12, 10, 0.15, effects=[0, 2.5] + [0] * 10), "S00", 0.2, 0)["verdict"].eq("worse").iloc[1]
        for _ in range(times)
    ]
    assert sum(found) > 0.6 * times


figures = st.lists(st.integers(1, 1000).map(lambda x: x / 8), min_size=30, max_size=30).map(lambda x: np.reshape(x, (3, 5, 2)))


@settings(max_examples=8)
@given(figures, st.permutations("abc"), st.permutations(range(5)), st.integers(-5, 5))
def test_orders_and_scales_change_no_verdict(cube: Floats, labels: list[str], splits: list[int], power: int) -> None:
    of = dict(zip("abc", cube, strict=True))
    other = {label: of[label][splits] * 2.0**power for label in labels}
    columns = ["diverged", "verdict", "adjusted"]
    pd.testing.assert_frame_equal(against(other, "a", 0.2).loc[list("abc"), columns], against(of, "a", 0.2)[columns], atol=2e-3)
    pd.testing.assert_series_equal(best(other, 0.2).loc[list("abc"), "in_set"], best(of, 0.2)["in_set"])


@settings(max_examples=8)
@given(figures)
def test_set_and_bounds_never_contradict(cube: Floats) -> None:
    table = best(dict(zip("abc", cube, strict=True)), 0.2)
    assert table["in_set"].any()
    assert (table["bound"] >= 0).all()
    assert (table.loc[~table["in_set"], "bound"] > 0).all()
    if table["in_set"].sum() == 1:
        assert table.loc[table["in_set"], "bound"].iloc[0] == 0
