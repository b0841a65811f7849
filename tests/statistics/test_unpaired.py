"""Labels with seeds of their own: published intervals, coverage by simulation, families, divergence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from pipeline.statistics.forecast import power
from pipeline.statistics.unpaired import against, best, differences, excess
from tests.repeated import by_chance, repeated
from tests.statistics.nested import Floats

SIZES, SPREADS = (4, 6, 12), (3.0, 1.0, 0.5)


def drawn(
    rng: np.random.Generator, sizes: tuple[int, ...] = SIZES, spreads: tuple[float, ...] = SPREADS, *effects: float
) -> dict[str, Floats]:
    effects = effects or (0.0,) * len(sizes)
    groups = zip(sizes, spreads, effects, strict=True)
    return {f"S{n}": rng.normal(10 + effect, spread, (size, 1)) for n, (size, spread, effect) in enumerate(groups)}


def test_a_pair_is_welchs_test() -> None:
    of = drawn(np.random.default_rng(0))
    for a, b in (("S0", "S1"), ("S1", "S0"), ("S2", "S0")):
        found, scipys = differences(of)[a, b], ttest_ind(of[a][:, 0], of[b][:, 0], equal_var=False)
        assert found.p == pytest.approx(scipys.pvalue)
        assert found.df == pytest.approx(scipys.df)
        low, high = scipys.confidence_interval(0.95)
        assert found.interval() == pytest.approx((low, high))


def test_two_labels_alone_are_not_adjusted() -> None:
    row = against(drawn(np.random.default_rng(1), (5, 5), (1.0, 1.0)), "S0").loc["S1"]
    assert row["adjusted"] == pytest.approx(row["p"], abs=0.02)


@repeated(100, 500)
def test_intervals_cover_at_unequal_sizes_and_spreads(few_draws: None, times: int) -> None:
    """At the least favourable, few and noisy runs beside many quiet ones; each alone, and all at once."""
    rng = np.random.default_rng(2)
    tables = [against(drawn(rng), "S0").drop("S0") for _ in range(times)]
    alone = np.mean([((t["low"] <= 0) & (t["high"] >= 0)).to_numpy() for t in tables])
    together = np.mean([((t["all_low"] <= 0) & (t["all_high"] >= 0)).all() for t in tables])
    assert alone == pytest.approx(0.95, abs=by_chance(0.95, times))
    assert together == pytest.approx(0.96, abs=by_chance(0.95, times, 3))
    assert np.mean([(t["adjusted"] < 0.05).any() for t in tables]) == pytest.approx(1 - together, abs=0.01)


@repeated(400, 2000)
@pytest.mark.parametrize("means", [(4.0, 1.0), (-0.5, -1.0)])
def test_a_share_of_a_mean_covers_the_noise_of_that_mean(means: tuple[float, float], times: int) -> None:
    """Taken for known, it would leave 53% and 16% of the true shares outside."""
    rng = np.random.default_rng(4)
    drawn_ones = [drawn(rng, (6, 6), (0.1, 0.3), means[0] - 10, means[1] - 10) for _ in range(times)]
    found = np.array([excess(of, "S0", "S1") for of in drawn_ones])
    true = (means[0] - means[1]) / abs(means[1])
    assert np.mean((found[:, 1] <= true) & (true <= found[:, 2])) == pytest.approx(0.95, abs=by_chance(0.95, times, 3))
    assert ((found[:, 1] < found[:, 0]) & (found[:, 0] < found[:, 2])).all()


def test_a_share_of_what_may_be_zero_has_no_interval() -> None:
    cost, low, high = excess({"a": np.array([[3.0], [3.1]]), "b": np.array([[0.1], [1.9]])}, "a", "b")
    assert cost == pytest.approx(2.05)
    assert np.isnan([low, high]).all()


@repeated(75, 300)
@pytest.mark.parametrize("effects", [(0.0, 0.0, 0.0), (0.5, 0.0, 1.0)])
def test_set_holds_the_best_and_bounds_hold(effects: tuple[float, ...], few_draws: None, times: int) -> None:
    rng = np.random.default_rng(3)
    tables = [best(drawn(rng, (5, 8, 6), (1.0, 2.0, 1.0), *effects)) for _ in range(times)]
    true = np.array(effects) - min(effects)
    assert np.mean([t["in_set"].iloc[int(np.argmin(effects))] for t in tables]) >= 0.95 - by_chance(0.95, times)
    assert np.mean([(t["bound"] >= true).all() for t in tables]) >= 0.95 - by_chance(0.95, times)


def test_clear_cases() -> None:
    of = drawn(np.random.default_rng(4), (6, 7, 5, 6), (0.01, 0.01, 0.02, 0.01), 0, 1, -1, 0.001)
    assert list(against(of, "S0")["verdict"]) == ["baseline", "worse", "better", "practically equal"]
    table = best(of)
    assert list(table["in_set"]) == [False, False, True, False]
    assert table.loc["S0", "bound"] == pytest.approx(1, abs=0.1)


def test_divergence_is_counted_in_shares() -> None:
    of = drawn(np.random.default_rng(5), (4, 12), (1.0, 1.0))
    of["S0"][0], of["S1"][0] = np.nan, np.inf  # 1 of 4 against 1 of 12
    assert against(of, "S1").loc["S0", "verdict"] == "diverged"
    table = best(of)
    assert list(table["in_set"]) == [False, True]
    assert np.isinf(table["bound"].to_numpy()[0])


def test_nothing_is_said_of_one_seed() -> None:
    of = drawn(np.random.default_rng(6), (1, 5), (1.0, 1.0))
    assert against(of, "S1").loc["S0", "verdict"] == "open"
    assert list(np.isinf(best(of)["bound"])) == [True, True]
    assert np.isnan(differences(of)["S0", "S1"].error)


def test_no_noise_at_all() -> None:
    of = {"a": np.full((4, 1), 1.0), "b": np.full((4, 1), 2.0), "c": np.full((4, 1), 1.0)}
    assert list(against(of, "a")["verdict"]) == [
        "baseline",
        "no better",
        "practically equal",
    ]  # four signs are too few
    assert list(best(of)["in_set"]) == [True, False, True]


def test_two_groups_have_twice_the_freedom() -> None:
    """G*Power, two independent means, 5% two-sided, 80%: an effect of one standard deviation asks for 17 a group."""
    of = {name: np.array([[-1.0], [0.0], [1.0]]) for name in ("a", "b")}
    found = differences(of)["a", "b"]
    assert power(1, found, 16) < 0.8 <= power(1, found, 17)


@settings(max_examples=10)
@given(shift=st.sampled_from([-8.0, 0.0, 8.0]), scale=st.sampled_from([0.5, 1.0, 4.0]), seed=st.integers(0, 99))
def test_scale_and_order_change_nothing(shift: float, scale: float, seed: int) -> None:
    of = drawn(np.random.default_rng(seed))
    moved = {label: scale * of[label] + shift for label in reversed(of)}
    first, second = (against(x, "S0", 0.0).loc[["S1", "S2"]] for x in (of, moved))
    assert np.allclose(second["difference"], scale * first["difference"])
    assert np.allclose(second["high"], scale * first["high"])
    assert (np.abs(second["adjusted"] - first["adjusted"]) < 0.03).all()
    assert list(second["verdict"]) == list(first["verdict"]) or first["adjusted"].between(0.02, 0.08).any()
