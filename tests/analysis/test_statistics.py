"""Intervals against hand-computed and published values; what divergence, ties and few seeds do to a comparison."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.statistics import Interval, compare, lead, mean_interval, paired_interval, tuning_gain

NAN = float("nan")
MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
values = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=2, max_size=30)


def test_interval_of_students_sleep_data() -> None:
    # Student (1908), "The probable error of a mean": extra hours of sleep by drug 2 against drug 1, ten patients; as R's
    # t.test(extra ~ group, paired = TRUE) prints it: mean 1.58, 95% interval 0.7001142 to 2.4598858.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    found = mean_interval(np.subtract(second, first))
    assert found == pytest.approx((1.58, 0.7001142, 2.4598858), abs=1e-7)
    assert found.excludes_zero


def test_interval_by_hand() -> None:
    # mean 2, s = 1, s / sqrt(3) = 0.57735; the table's t for 2 degrees of freedom is 4.303
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 2 - 4.303 * 0.57735, 2 + 4.303 * 0.57735), abs=1e-3)


@pytest.mark.parametrize("value", [0.1, 0.0, -3.0, 1e-300])
@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_equal_values_have_an_interval_of_no_width(value: float, seeds: int) -> None:
    assert mean_interval([value] * seeds) == (value, value, value)


def test_one_value_has_no_interval_and_none_no_mean() -> None:
    assert mean_interval([0.5]) == pytest.approx((0.5, NAN, NAN), nan_ok=True)
    assert mean_interval([]) == pytest.approx((NAN, NAN, NAN), nan_ok=True)
    assert not mean_interval([0.5]).excludes_zero


@pytest.mark.parametrize("odd", [NAN, float("inf"), 1e308])
def test_values_beyond_arithmetic_give_no_warning(odd: float) -> None:
    assert not mean_interval([odd, -odd, 1.0, odd]).low > 0


@given(values)
def test_interval_is_scipys(x: list[float]) -> None:
    found = mean_interval(x)
    if len(set(x)) > 1:
        expected = stats.t.interval(0.95, len(x) - 1, np.mean(x), stats.sem(x))
        assert (found.low, found.high) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.low <= found.mean <= found.high


@given(values, st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_interval_moves_and_stretches_with_the_values(x: list[float], shift: float, factor: float) -> None:
    moved = mean_interval(np.multiply(x, factor) + shift)
    assert moved == pytest.approx(np.multiply(mean_interval(x), factor) + shift, rel=1e-6, abs=1e-6)


def test_pairs_are_made_by_seed_and_not_by_position(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [0.1, 0.2, 0.3], ("default", "B"): [0.2, 0.3, 0.4]})
    a, b = runs.iloc[:3], runs.iloc[[5, 3, 4]]
    assert paired_interval(a, b) == pytest.approx((-0.1, -0.1, -0.1))


def test_pairs_leave_out_a_seed_that_diverged_on_either_side(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [0.1, NAN, 0.3, 0.5], ("default", "B"): [0.2, 0.3, NAN, 0.7]})
    assert lead(runs, "default", "A", "B").mean == pytest.approx((0.1 + 0.2) / 2)


def test_rank_is_by_mean_validation_loss_within_the_variant(make_runs: MakeRuns) -> None:
    runs = make_runs(
        {("default", "A"): [0.3, 0.5], ("default", "B"): [0.1, 0.2], ("tuned", "A"): [0.1, 0.1], ("tuned", "B"): [0.2, 0.2]}
    )
    assert list(compare(runs, "A")["rank"]) == [2, 1, 1, 2]


def test_equal_means_share_the_better_rank(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", label): [loss, loss] for label, loss in (("A", 0.2), ("B", 0.1), ("C", 0.2), ("D", 0.3))})
    assert list(compare(runs, "A")["rank"]) == [2, 1, 2, 4]


def test_divergence_never_helps_a_rank(make_runs: MakeRuns) -> None:
    # Without its two worst seeds C has the lowest mean of all; A is the worst of those that never diverged.
    runs = make_runs(
        {
            ("default", "A"): [0.9, 0.9, 0.9],
            ("default", "B"): [0.2, 0.3, NAN],
            ("default", "C"): [0.1, NAN, NAN],
            ("default", "D"): [NAN, NAN, NAN],
        }
    )
    table = compare(runs, "A").set_index("scheduler")
    assert table["rank"].to_dict() == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert table["diverged"].to_dict() == {"A": 0, "B": 1, "C": 2, "D": 3}
    assert set(table["seeds"]) == {3}
    assert table.loc["B", "validation_loss"] == pytest.approx(0.25)
    assert table.loc["D"].filter(like="loss").isna().all()


def test_a_diverged_run_with_a_finite_loss_stays_out_of_the_means(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [0.2, 0.4, 50.0]})
    runs.loc[2, "diverged"] = True
    assert compare(runs, "A").loc[0, "validation_loss"] == pytest.approx(0.3)


@given(st.permutations([0.1, 0.2, 0.3, 0.4]))
def test_test_figures_enter_no_rank(test_losses: list[float]) -> None:
    frame = pd.DataFrame({"scheduler": list("ABCD"), "variant": "default", "seed": 0, "diverged": False})
    frame = frame.assign(
        validation_loss=[0.4, 0.3, 0.2, 0.1], validation_accuracy=0.5, test_accuracy=0.5, test_loss=test_losses
    )
    assert list(compare(frame, "A")["rank"]) == [4, 3, 2, 1]


def test_difference_to_the_baseline_is_paired(make_runs: MakeRuns) -> None:
    # The seeds' losses differ by far more than the schedulers': only pairing sees that A is better.
    runs = make_runs({("default", "A"): [0.10, 0.50, 0.90], ("default", "base"): [0.11, 0.51, 0.91]})
    row = compare(runs, "base").iloc[0]
    assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx([-0.01] * 3)


def test_the_baseline_differs_from_itself_by_nothing(make_runs: MakeRuns) -> None:
    row = compare(make_runs({("default", "base"): [0.11, 0.51]}), "base").iloc[0]
    assert [row["difference"], row["difference_low"], row["difference_high"]] == [0, 0, 0]


def test_without_the_baseline_there_is_no_difference(make_runs: MakeRuns) -> None:
    assert compare(make_runs({("default", "A"): [0.1, 0.2]}), "base")["difference"].isna().all()


def test_one_seed_has_a_difference_without_interval(make_runs: MakeRuns) -> None:
    row = compare(make_runs({("default", "A"): [0.1], ("default", "base"): [0.3]}), "base").iloc[0]
    assert row["difference"] == pytest.approx(-0.2)
    assert np.isnan(row["difference_low"])


def test_tuning_gain_is_paired_and_needs_both_variants(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [0.3, 0.5], ("default", "B"): [0.3, 0.5], ("tuned", "A"): [0.2, 0.4]})
    gains = tuning_gain(runs)
    assert list(gains["scheduler"]) == ["A"]
    assert gains.loc[0, "validation_loss_high"] == pytest.approx(-0.1)
    assert tuning_gain(runs[runs["variant"] == "default"]).empty


@pytest.mark.parametrize(("low", "high", "excludes"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0, 0, False)])
def test_an_interval_excludes_zero_where_it_lies_on_one_side(low: float, high: float, excludes: bool) -> None:
    assert Interval((low + high) / 2, low, high).excludes_zero is excludes
