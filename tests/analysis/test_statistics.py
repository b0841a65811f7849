"""Intervals against hand-computed and published values; what divergence, ties and few seeds do to a comparison."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.statistics import (
    Interval,
    Overlap,
    compare,
    holm,
    lead,
    mean_interval,
    p_value,
    paired_interval,
    seeds_needed,
    tuning_gain,
    verdict,
)

NAN = float("nan")
Losses = np.ndarray[tuple[int, int], np.dtype[np.float64]]
MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
values = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=2, max_size=30)
# Multiples of 1/1024, which are shifted by whole numbers and scaled by powers of two without rounding.
losses = st.lists(st.tuples(*[st.integers(1, 2048).map(lambda x: x / 1024)] * 2), min_size=2, max_size=12)
SLEEP = np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])  # the ten differences of Student's sleep data, below


def two(a: list[float], b: list[float]) -> pd.DataFrame:
    """Runs of schedulers A and B."""
    rows = pd.DataFrame({"scheduler": ["A"] * len(a) + ["B"] * len(b), "seed": [*range(len(a)), *range(len(b))], "stream": 1})
    losses = {key: [*a, *b] for key in ("validation_loss", "validation_metric", "test_loss", "test_metric")}
    return rows.assign(variant="default", diverged=False, **losses)


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
    frame = frame.assign(validation_loss=[0.4, 0.3, 0.2, 0.1], validation_metric=0.5, test_metric=0.5, test_loss=test_losses)
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


def test_overlap_by_hand() -> None:
    # Train on 80 and evaluate on 20 of 100: Nadeau and Bengio's variance of the mean of three is s² (1/3 + 20/80), and with
    # s = 1 and t = 4.303 the half width is 4.303 * 0.76376. The same 20/80 is rho/(1-rho) at rho = 20/100.
    assert mean_interval([1, 2, 3], overlap=0.2) == pytest.approx((2, 2 - 4.303 * 0.76376, 2 + 4.303 * 0.76376), abs=1e-3)


def test_overlap_is_that_of_the_metrics_split() -> None:
    overlap = Overlap(validation=0.2, test=0.5)
    found = [overlap.of(metric) for metric in ("validation_loss", "validation_metric", "test_loss", "train_loss")]
    assert found == [0.2, 0.2, 0.5, 0.0]


@pytest.mark.parametrize("overlap", [-0.1, 1.0, NAN])
def test_an_overlap_that_cannot_be_is_refused(overlap: float) -> None:
    with pytest.raises(ValueError, match="overlap"):
        mean_interval([1, 2], overlap=overlap)
    with pytest.raises(ValueError, match="overlap"):
        p_value([1, 2], overlap=overlap)


def test_every_interval_takes_the_overlap(make_runs: MakeRuns) -> None:
    cases = {("default", "A"): [0.1, 0.2, 0.4], ("default", "B"): [0.5, 0.3, 0.2], ("tuned", "A"): [0.2, 0.2, 0.1]}
    runs = make_runs(cases)
    wide = Overlap(0.2, 0.5)
    # √(1/3 + 1/4) and √(1/3 + 1) against √(1/3)
    stretch = {"validation": np.sqrt(7 / 4), "test": 2.0}
    for plain, wider in ((compare(runs, "B"), compare(runs, "B", wide)), (tuning_gain(runs), tuning_gain(runs, wide))):
        for split, factor in stretch.items():
            own, other = (table[f"{split}_loss_high"] - table[f"{split}_loss"] for table in (wider, plain))
            assert own.to_numpy() == pytest.approx(factor * other.to_numpy())
    ahead, wider_lead = lead(runs, "default", "A", "B"), lead(runs, "default", "A", "B", wide)
    assert wider_lead.high - wider_lead.mean == pytest.approx(stretch["validation"] * (ahead.high - ahead.mean))
    row = compare(runs, "B", wide).iloc[0]
    assert row["difference"] - row["difference_low"] == pytest.approx(wider_lead.high - wider_lead.mean)


@pytest.mark.parametrize("seeds", [6, 10, 20])
def test_the_interval_covers_as_often_as_it_says(seeds: int) -> None:
    draws = np.random.default_rng(seeds).normal(0.3, 2, (4000, seeds))
    found = [mean_interval(draw) for draw in draws]
    assert 0.94 < np.mean([interval.low <= 0.3 <= interval.high for interval in found]) < 0.96  # three binomial errors


@pytest.mark.parametrize(("seeds", "share"), [(6, 0.81), (10, 0.84), (20, 0.87)])
def test_the_interval_covers_less_where_the_differences_are_skewed(seeds: int, share: float) -> None:
    """The lognormal distribution's, with a mean of √e: README.md reports these shares."""
    draws = np.random.default_rng(seeds).lognormal(0, 1, (4000, seeds))
    found = [mean_interval(draw) for draw in draws]
    assert np.mean([interval.low <= np.exp(0.5) <= interval.high for interval in found]) == pytest.approx(share, abs=0.02)


def test_only_the_corrected_interval_covers_where_splits_overlap() -> None:
    # Ten seeds each evaluate a random 50 of the same 200 samples; the differences of all samples are normal about 0. What
    # is to be covered is the mean of that population and not of the 200 that happened to be drawn.
    rng = np.random.default_rng(0)
    pools = np.repeat(rng.normal(size=(2000, 1, 200)), 10, axis=1)
    means = rng.permuted(pools, axis=2)[:, :, :50].mean(axis=2)
    covered = {rho: np.mean([not mean_interval(own, overlap=rho).excludes_zero for own in means]) for rho in (0, 50 / 200)}
    assert covered[0] < 0.75
    assert 0.935 < covered[0.25] < 0.965


def test_p_of_students_sleep_data() -> None:
    # R prints t = 4.0621 and p = 0.002833. An overlap of 0.2 divides t by √((1/10 + 1/4) / (1/10)), which makes 2.1713.
    assert p_value(SLEEP) == pytest.approx(0.002833, abs=1e-6)
    assert p_value(SLEEP, 0.2) == pytest.approx(2 * stats.t.sf(2.1713, 9), abs=1e-5)


def test_equal_differences_have_a_defined_p() -> None:
    # Of the 2^5 ways to give five equal values signs, two are as extreme as all of one sign; two seeds never suffice.
    assert (p_value([0.0] * 5), p_value([0.1] * 5), p_value([-1e-300] * 2)) == (1, 1 / 16, 0.5)
    assert np.isnan([p_value([0.1]), p_value([]), p_value([NAN, 1.0])]).all()


@given(values, st.floats(0, 0.9))
def test_p_and_interval_say_the_same(x: list[float], overlap: float) -> None:
    p = p_value(x, overlap)
    if abs(p - 0.05) > 1e-6 and len(set(x)) > 1:
        assert (p < 0.05) is mean_interval(x, overlap=overlap).excludes_zero


def test_holm_by_hand() -> None:
    # 3 * 0.01, 2 * 0.03, and for the largest, 1 * 0.04, no less than the one before; the NaN is not counted.
    assert holm([0.01, 0.04, NAN, 0.03]) == pytest.approx([0.03, 0.06, NAN, 0.06], nan_ok=True)
    assert np.isnan(holm([NAN])).all()
    assert holm([]).size == 0


def test_eleven_equal_schedulers_raise_a_false_alarm_in_one_of_twenty_comparisons_at_most() -> None:
    losses = np.random.default_rng(1).normal(size=(2000, 10, 12))  # comparisons, seeds, the baseline and eleven others
    raw = [[p_value(own) for own in (run[:, 1:] - run[:, :1]).T] for run in losses]
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / len(losses))  # two binomial errors
    assert np.mean([holm(p).min() < 0.05 for p in raw]) <= allowed
    assert np.mean([min(p) < 0.05 for p in raw]) > 0.2  # what an unadjusted report would raise


def overlapping(rng: np.random.Generator, overlap: float) -> Losses:
    """Losses of five equal schedulers on ten seeds, (5, 10): the share ``overlap`` of their variance is that of all seeds."""
    shared, own = rng.normal(0, np.sqrt(overlap), (5, 1)), rng.normal(0, np.sqrt(1 - overlap), (5, 10))
    return 100 + rng.normal(size=10) + shared + own


def test_verdicts_raise_a_false_alarm_in_one_of_twenty_comparisons_at_most(make_runs: MakeRuns) -> None:
    """Against the baseline, and against the best of them, which is picked after looking; with splits that overlap."""
    rng, times = np.random.default_rng(3), 100
    studies = [
        make_runs({("default", f"S{n}"): list(own) for n, own in enumerate(overlapping(rng, 0.2))}) for _ in range(times)
    ]
    tables = [compare(runs, "S0", Overlap(validation=0.2), matters=0) for runs in studies]
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / times)
    for column in ("verdict", "behind_verdict"):
        assert np.mean([table[column].isin(["better", "worse"]).any() for table in tables]) <= allowed


def test_the_luck_of_being_picked_would_raise_more() -> None:
    """The best against the last of five equals, judged as if it were the only pair there is."""
    rng = np.random.default_rng(3)
    ordered = (losses[np.argsort(losses.mean(axis=1))] for losses in (overlapping(rng, 0.2) for _ in range(1000)))
    assert np.mean([p_value(losses[-1] - losses[0], 0.2) < 0.05 for losses in ordered]) > 0.1


@pytest.mark.parametrize("overlap", [0.0, 0.2])
def test_a_difference_at_the_margin_is_rarely_called_practically_equal(overlap: float) -> None:
    """At most one in forty times: two one-sided tests at 2.5%. A spread that is narrow against the margin is the worst case."""
    rng = np.random.default_rng(4)
    shared, own = rng.normal(0, np.sqrt(overlap), (4000, 1)), rng.normal(0, np.sqrt(1 - overlap), (4000, 10))
    found = [mean_interval(x, overlap=overlap) for x in 10 + shared + own]
    equal = [verdict(interval, 1.0, margin=10) == "practically equal" for interval in found]
    assert np.mean(equal) == pytest.approx(0.025, abs=3 * np.sqrt(0.025 * 0.975 / 4000))


def test_intervals_cover_for_trained_models_whose_splits_overlap() -> None:
    """The share of the validation part in the pool, as the correlation, is enough where training parts overlap too.

    Ridge regressions of 20 features at two strengths, trained on 60 and evaluated on another 20 of 100 samples that ten
    seeds draw from; what is to be covered is the mean over all such pools.
    """
    rng, pools, n, features = np.random.default_rng(5), 600, 100, 20
    x = rng.normal(size=(pools, n, features))
    y = x @ rng.normal(size=(features, 1)) / np.sqrt(features) + rng.normal(size=(pools, n, 1))
    differences = np.empty((pools, 10))
    for seed in range(10):
        order = rng.permuted(np.tile(np.arange(n), (pools, 1)), axis=1)[..., None]
        (x1, y1), (x2, y2) = ((np.take_along_axis(a, part, 1) for a in (x, y)) for part in (order[:, :60], order[:, 60:80]))
        square, moment = x1.swapaxes(1, 2) @ x1 / 60, x1.swapaxes(1, 2) @ y1 / 60
        fits = [np.linalg.solve(square + strength * np.eye(features), moment) for strength in (0.001, 0.5)]
        weak, strong = (((x2 @ fit - y2) ** 2).mean(axis=(1, 2)) for fit in fits)
        differences[:, seed] = weak - strong
    centred = differences - differences.mean()
    covered = {rho: np.mean([not mean_interval(own, overlap=rho).excludes_zero for own in centred]) for rho in (0, 20 / 100)}
    assert covered[0] < 0.88
    assert covered[0.2] > 0.94


@pytest.mark.parametrize(
    ("low", "high", "p", "said"),
    [
        (-0.3, -0.1, 0.01, "better"),
        (0.1, 0.3, 0.01, "worse"),
        (0.1, 0.3, 0.06, "not separable yet"),  # alone it excludes zero; among its family it does not
        (-0.3, 0.1, 0.2, "not separable yet"),
        (-0.05, 0.05, 0.9, "practically equal"),
        (0.01, 0.05, 0.001, "practically equal"),  # surely different, by too little to matter
        (NAN, NAN, NAN, "not separable yet"),  # a single pair
    ],
)
def test_verdicts(low: float, high: float, p: float, said: str) -> None:
    mean = 0.2 if np.isnan(low) else (low + high) / 2
    assert verdict(Interval(mean, low, high), p, margin=0.05) == said


def test_seeds_needed_are_those_of_published_tables() -> None:
    # A paired t test at 5% with a power of 80% takes 10 pairs for an effect of 1 standard deviation, and 34 for half of one
    # (G*Power, "means: difference between two dependent means"); at 1%, a fifth of the level, 16 for 1.
    assert seeds_needed([0, 1, 2], margin=0) == 10
    assert seeds_needed([-0.5, 0.5, 1.5], margin=0) == 34
    assert seeds_needed([0, 1, 2], margin=0, family=5) == 16
    # At an overlap of 0.5, rho/(1-rho) = 1: the half width stays above 1.96 for ever.
    assert seeds_needed([0, 1, 2], margin=0, overlap=0.5) == np.inf
    assert seeds_needed([-1, 0, 1], margin=0) == np.inf
    assert np.isnan([seeds_needed(x, margin=0) for x in ([1], [1, np.inf], [1, 1])]).all()


@pytest.mark.parametrize(
    ("mean", "margin", "overlap", "family"), [(1.0, 0.0, 0.0, 1), (0.7, 0.0, 0.04, 6), (0.0, 1.0, 0.0, 6), (0.1, 0.7, 0.04, 1)]
)
def test_so_many_seeds_give_a_verdict_four_times_in_five(mean: float, margin: float, overlap: float, family: int) -> None:
    """Differences that are normal, with a part in common that makes their correlation the overlap.

    A little more often where either verdict may come, since the chances of both are not added.
    """
    needed = int(seeds_needed(mean + np.array([-1, 0, 1]) * np.sqrt(1 - overlap), margin, overlap, family))
    rng = np.random.default_rng(needed)
    shared, own = rng.normal(0, np.sqrt(overlap), (4000, 1)), rng.normal(0, np.sqrt(1 - overlap), (4000, needed))
    found = [(mean_interval(x, overlap=overlap), p_value(x, overlap)) for x in mean + shared + own]
    told = [verdict(interval, family * p, margin) for interval, p in found]
    assert 0.78 < 1 - told.count("not separable yet") / len(told) < 0.89


def test_seeds_needed_are_more_than_there_are_where_nothing_is_settled() -> None:
    rng = np.random.default_rng(2)
    runs = pd.concat([two(list(a), list(b)) for a, b in rng.normal(1, 0.1, (1, 2, 8))])
    more = [two(list(own), []).assign(scheduler=f"S{n}") for n, own in enumerate(rng.normal(1.05, 0.1, (9, 8)))]
    table = compare(pd.concat([runs, *more]), "A")
    open_ones = table["verdict"] == "not separable yet"
    assert open_ones.any()
    assert (table.loc[open_ones, "seeds_needed"] > 8).all()
    assert table.loc[~open_ones, "seeds_needed"].isna().all()


def test_comparison_judges_against_the_baseline_and_the_best(make_runs: MakeRuns) -> None:
    # Differences to the baseline are -2, -1, -3 times 1/16 for A, and 0, 1, -1 times 1/16 for B.
    base = np.array([1.0, 1.25, 1.5])
    a, b = base - np.array([2, 1, 3]) / 16, base + np.array([0, 1, -1]) / 16
    table = compare(make_runs({("default", "base"): [*base], ("default", "A"): [*a], ("default", "B"): [*b]}), "base")
    # t is -2 / (1/√3) = -3.4641 and 0, with 2 degrees of freedom: p = 0.07418 and 1; Holm doubles the first.
    assert list(table["p"]) == pytest.approx([NAN, 0.14836, 1], abs=1e-5, nan_ok=True)
    assert list(table["verdict"]) == ["baseline", "not separable yet", "not separable yet"]
    # Two tests at 2.5%: 6 pairs for an effect of 2 (statsmodels' TTestPower says 5.11). B, with no effect, has to fit into the
    # margin of 1.25 / 100, which is 0.2 of its s: about ((1.96 + 1.2816) / 0.2)² = 263 normal ones, and some more for t.
    assert list(table["seeds_needed"]) == pytest.approx([NAN, 6, 265], nan_ok=True, abs=1.1)
    # Behind A are base by 2, 1, 3 and B by 2, 2, 2, whose sign-flip p is 1/4. Three pairs: 3 * 0.07418, 2 * 0.25, 1.
    assert list(table["behind"]) == [0.125, 0, 0.125]
    assert list(table["behind_p"]) == pytest.approx([0.22254, NAN, 0.5], abs=1e-5, nan_ok=True)
    assert list(table["behind_verdict"]) == ["not separable yet", "best", "not separable yet"]
    # At 5% / 3 TTestPower says 5.64; equal differences show no spread to count on.
    assert list(table["behind_seeds_needed"]) == pytest.approx([6, NAN, NAN], nan_ok=True)


def test_new_columns_come_after_the_old_ones(make_runs: MakeRuns) -> None:
    columns = list(compare(make_runs({("default", "A"): [0.1, 0.2]}), "A"))
    assert columns[columns.index("rank") :] == [
        "rank", "difference", "difference_low", "difference_high", "p", "verdict", "seeds_needed",
        "behind", "behind_low", "behind_high", "behind_p", "behind_verdict", "behind_seeds_needed",
        "validation_loss_median", "validation_loss_iqm",
        "validation_metric_difference", "validation_metric_difference_low", "validation_metric_difference_high",
        "test_loss_difference", "test_loss_difference_low", "test_loss_difference_high",
        "test_metric_difference", "test_metric_difference_low", "test_metric_difference_high",
    ]  # fmt: skip


def test_the_other_metrics_have_their_differences_to_the_baseline(make_runs: MakeRuns) -> None:
    """Paired by seed, corrected by the overlap of their own split."""
    runs = make_runs({("default", "base"): [0.5, 0.6, 0.8], ("default", "A"): [0.4, 0.3, 0.7], ("tuned", "A"): [0.4, 0.3, 0.7]})
    table = compare(runs, "base", Overlap(0.2, 0.5))
    row = table.iloc[1]
    # Differences of the losses are -1, -3 and -1 tenths; of the metric, which is 1 - loss, the same with the other sign.
    assert row["test_loss_difference"] == pytest.approx(-0.5 / 3)
    assert row["validation_metric_difference"] == pytest.approx(0.5 / 3)
    half = row["difference_high"] - row["difference"]
    assert row["validation_metric_difference_high"] - row["validation_metric_difference"] == pytest.approx(half)
    # √(1/3 + 1) of the test split against √(1/3 + 1/4)
    assert row["test_metric_difference_high"] - row["test_metric_difference"] == pytest.approx(half * np.sqrt(16 / 7))
    assert table.iloc[2].filter(like="_difference").isna().all()  # of this variant there is no baseline


def test_equals_are_practically_equal_whatever_matters(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [0.1, 0.3, 0.2], ("default", "B"): [0.1, 0.3, 0.2]})
    row = compare(runs, "A", Overlap(0.2, 0.2), matters=0).iloc[1]
    assert (row["verdict"], row["p"], row["behind_verdict"]) == ("practically equal", 1, "practically equal")


def test_the_margin_is_a_share_of_the_references_mean(make_runs: MakeRuns) -> None:
    # B is worse by 1/64 on every seed; the reference's mean is 1, so it matters at 1% and not at 2%.
    seeds = [0.5, 1.5, 0.75, 1.25, 0.875, 1.125]
    runs = make_runs({("default", "A"): seeds, ("default", "B"): [loss + 1 / 64 for loss in seeds]})
    assert [compare(runs, "A", matters=share).loc[1, "verdict"] for share in (0.01, 0.02)] == ["worse", "practically equal"]


def test_what_cannot_be_judged_is_said(make_runs: MakeRuns) -> None:
    cases = {("default", "base"): [0.3, 0.4], ("default", "one"): [0.1, NAN], ("default", "gone"): [NAN, NAN]}
    table = compare(make_runs(cases), "base").set_index("scheduler")
    said = {"one": "diverged in 1 of 2 runs", "gone": "diverged in 2 of 2 runs"}
    assert table["verdict"].to_dict() == {"base": "baseline", **said}
    assert table["behind_verdict"].to_dict() == {"base": "best", **said}
    assert table[["p", "seeds_needed", "behind_p", "behind_seeds_needed"]].isna().all(axis=None)
    absent = compare(make_runs(cases), "absent").set_index("scheduler")["verdict"].to_dict()
    assert absent == {"base": "", "one": "", "gone": "diverged in 2 of 2 runs"}


EIGHT = [0.5, 0.6, 0.7, 0.8, 0.55, 0.65, 0.75, 0.85]


@pytest.mark.parametrize(
    ("base", "own", "said"),
    [
        (EIGHT, [x - 0.3 for x in EIGHT], "better"),
        # what is left of it is as much better, and was selected by not diverging
        (EIGHT, [*(x - 0.3 for x in EIGHT[:7]), NAN], "diverged in 1 of 8 runs"),
        (EIGHT, [0.2, 0.3, *[NAN] * 6], "diverged in 6 of 8 runs"),
        (EIGHT, [*EIGHT[:7], NAN], "diverged in 1 of 8 runs"),  # equal else
        # as often as the other, or less often: it may be better
        ([*EIGHT[:7], NAN], [NAN, *(x - 0.3 for x in EIGHT[1:])], "better"),
        ([*EIGHT[:7], NAN], [x - 0.3 for x in EIGHT], "better"),
        ([*EIGHT[:7], NAN], EIGHT, "practically equal"),
        (
            [*EIGHT[:7], NAN],
            [x + 0.3 for x in EIGHT],
            "not separable yet",
        ),  # worse where both finished, and it finished more often
        ([NAN] * 8, EIGHT, ""),
        ([*EIGHT[:4], *[NAN] * 4], [*[NAN] * 4, *EIGHT[4:]], "not separable yet"),  # no pair
    ],
)
def test_divergence_is_never_made_up_for(make_runs: MakeRuns, base: list[float], own: list[float], said: str) -> None:
    shaken = [loss + 0.001 * (-1) ** seed for seed, loss in enumerate(own)]  # a spread, so that t has a value
    row = compare(make_runs({("default", "base"): base, ("default", "A"): shaken}), "base").iloc[1]
    assert row["verdict"] == said
    assert np.isnan(row["seeds_needed"])  # either settled, or no matter of seeds


def test_equals_of_the_best_diverged_no_more_often_than_it(make_runs: MakeRuns) -> None:
    table = compare(make_runs({("default", "A"): EIGHT, ("default", "B"): [*EIGHT[:7], NAN]}), "A")
    assert list(table["behind_verdict"]) == ["best", "diverged in 1 of 8 runs"]


def test_where_all_diverged_none_is_best(make_runs: MakeRuns) -> None:
    table = compare(make_runs({("default", "A"): [NAN, NAN], ("default", "B"): [NAN, NAN]}), "A")
    assert list(table["verdict"]) == ["baseline", "diverged in 2 of 2 runs"]
    assert list(table["behind_verdict"]) == ["diverged in 2 of 2 runs"] * 2


def test_the_first_of_equals_is_the_best(make_runs: MakeRuns) -> None:
    table = compare(make_runs({("default", s): [0.2, 0.3] for s in "BAC"}), "C")
    assert list(table["behind_verdict"]) == ["best", "practically equal", "practically equal"]


def test_variants_are_judged_apart_whatever_the_order_of_rows(make_runs: MakeRuns) -> None:
    cases = {
        ("default", "A"): [0.5] * 6,
        ("tuned", "A"): [0.25] * 6,
        ("default", "B"): [0.25] * 6,
        ("tuned", "B"): [0.5] * 6,
    }
    table = compare(make_runs(cases), "A").set_index(["variant", "scheduler"])
    assert table.loc[("default", "B"), "verdict"] == "better"
    assert table.loc[("tuned", "B"), "verdict"] == "worse"
    assert table.loc[("tuned", "A"), "behind_verdict"] == "best"


def test_median_and_interquartile_mean_by_hand(make_runs: MakeRuns) -> None:
    # Of eight, two are cut at either end: the mean of 3, 4, 5 and 6 is 4.5, which is the median too; 100 moves neither.
    row = compare(make_runs({("default", "A"): [8, 3, 1, 5, 2, 100, 4, 6, NAN]}), "A").iloc[0]
    assert (row["validation_loss_median"], row["validation_loss_iqm"]) == (4.5, 4.5)


@settings(max_examples=30)
@given(losses)
def test_what_is_better_one_way_is_worse_the_other(pairs: list[tuple[float, float]]) -> None:
    runs = two([a for a, _ in pairs], [b for _, b in pairs])
    there, back = compare(runs, "A", matters=0).iloc[1], compare(runs, "B", matters=0).iloc[0]
    mirror = {"better": "worse", "worse": "better"}
    assert back["verdict"] == mirror.get(there["verdict"], there["verdict"])
    assert back["p"] == there["p"]
    assert (back["difference"], back["difference_low"]) == (-there["difference"], -there["difference_high"])


@settings(max_examples=20)
@given(losses, st.integers(1, 1000), st.integers(-20, 20))
def test_shifts_and_scales_change_no_verdict(pairs: list[tuple[float, float]], shift: int, power: int) -> None:
    a, b = np.array(pairs).T
    told = ["verdict", "p", "seeds_needed"]

    def judged(first: "np.ndarray[tuple[int], np.dtype[np.float64]]", second: object, matters: float) -> "pd.Series[float]":
        return compare(two(list(first), list(np.asarray(second))), "A", matters=matters).iloc[1][told]

    pd.testing.assert_series_equal(judged(a + shift, b + shift, 0), judged(a, b, 0))
    pd.testing.assert_series_equal(judged(a * 2.0**power, b * 2.0**power, 0.01), judged(a, b, 0.01))
