"""Runs as figures: what divergence, streams, ties and few seeds do to a comparison. Its arithmetic is in tests/statistics."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.statistics import (
    METRICS,
    NO_OVERLAP,
    Headline,
    Interval,
    Overlap,
    compare,
    matrices,
    mean_interval,
    tuning_gain,
)
from pipeline.statistics.comparison import against, best
from pipeline.statistics.sequential import Plan, looks
from tests.repeated import by_chance, repeated
from tests.statistics.nested import Floats
from tests.statistics.nested import losses as losses_of

pytestmark = pytest.mark.usefixtures("few_draws")
NAN = float("nan")
Losses = dict[tuple[str, str], Sequence[float | tuple[float, ...]]]
MakeRuns = Callable[[Losses], pd.DataFrame]
# Multiples of 1/1024, which are shifted by whole numbers and scaled by powers of two without rounding.
losses = st.lists(st.tuples(*[st.integers(1, 2048).map(lambda x: x / 1024)] * 2), min_size=2, max_size=12)
EIGHT = [0.5, 0.6, 0.7, 0.8, 0.55, 0.65, 0.75, 0.85]


def two(a: list[float], b: list[float]) -> pd.DataFrame:
    """Runs of schedulers A and B."""
    rows = pd.DataFrame({"scheduler": ["A"] * len(a) + ["B"] * len(b), "seed": [*range(len(a)), *range(len(b))], "stream": 1})
    figures = {key: [*a, *b] for key in ("validation_loss", "validation_metric", "test_loss", "test_metric")}
    return rows.assign(variant="default", diverged=False, **figures)


def test_a_matrix_has_a_row_for_each_seed_and_a_column_for_each_stream(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [(0.1, 0.2), (0.3, NAN)], ("default", "B"): [(0.5, 0.6), (0.7, 0.8)]})
    for rows in (runs, runs.iloc[::-1]):
        found = matrices(rows)
        np.testing.assert_array_equal(found["A"], [[0.1, 0.2], [0.3, NAN]])
        np.testing.assert_array_equal(found["B"], [[0.5, 0.6], [0.7, 0.8]])
    assert list(matrices(runs)) == ["A", "B"]
    assert matrices(runs.drop(columns="stream")[runs["stream"] == 1])["B"].tolist() == [[0.5], [0.7]]


def test_a_seed_is_the_mean_of_its_streams(make_runs: MakeRuns) -> None:
    streams = make_runs({("default", "A"): [(0.1, 0.3), (0.5, NAN), (NAN, NAN)]})
    seeds = make_runs({("default", "A"): [0.2, 0.5]})
    assert mean_interval(streams) == pytest.approx(mean_interval(seeds))
    assert mean_interval(seeds).mean == pytest.approx(0.35)
    row = compare(streams, "A").iloc[0]
    assert [row["seeds"], row["runs"], row["diverged"]] == [3, 6, 3]


def test_one_seed_has_no_interval_and_none_no_mean(make_runs: MakeRuns) -> None:
    assert mean_interval(make_runs({("default", "A"): [0.5]})) == pytest.approx((0.5, NAN, NAN), nan_ok=True)
    assert mean_interval(make_runs({("default", "A"): [NAN, NAN]})) == pytest.approx((NAN, NAN, NAN), nan_ok=True)


def test_equals_differ_by_a_zero_without_a_sign(make_runs: MakeRuns) -> None:
    table = compare(make_runs({("default", label): [0.3, 0.4] for label in "AB"}), "B")
    found = table.loc[0, ["difference", "difference_low", "difference_high"]].to_numpy(float)
    assert not np.signbit(found).any()


def test_interval_and_overlap_by_hand(make_runs: MakeRuns) -> None:
    # mean 2, s = 1, s / √3 = 0.57735; the table's t for 2 degrees of freedom is 4.303. Train on 80 and evaluate on 20 of 100:
    # Nadeau and Bengio's variance is s² (1/3 + 20/80).
    runs = make_runs({("default", "A"): [1, 2, 3]})
    assert mean_interval(runs) == pytest.approx((2, 2 - 4.303 * 0.57735, 2 + 4.303 * 0.57735), abs=1e-3)
    assert mean_interval(runs, overlap=0.2) == pytest.approx((2, 2 - 4.303 * 0.76376, 2 + 4.303 * 0.76376), abs=1e-3)


@pytest.mark.parametrize(("low", "high", "excludes"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.1, False), (0, 0, False)])
def test_an_interval_excludes_zero_where_it_lies_on_one_side(low: float, high: float, excludes: bool) -> None:
    assert Interval((low + high) / 2, low, high).excludes_zero is excludes


def test_overlap_is_that_of_the_metrics_split() -> None:
    overlap = Overlap(validation=0.2, test=0.5)
    found = [overlap.of(metric) for metric in ("validation_loss", "validation_metric", "test_loss", "train_loss")]
    assert found == [0.2, 0.2, 0.5, 0.0]


@pytest.mark.parametrize("overlap", [NO_OVERLAP, Overlap(0.2, 0.2)])
def test_verdicts_and_regrets_are_those_of_the_room_statistics(make_runs: MakeRuns, overlap: Overlap) -> None:
    draw = np.random.default_rng(1).normal(size=(3, 8, 2))
    level = np.array([1.0, 1.02, 1.5])[:, None, None] + 0.05 * draw
    runs = make_runs({("recommended", label): list(map(tuple, own)) for label, own in zip("ABC", level, strict=True)})
    table = compare(runs, "A", overlap, matters=0.02).set_index("scheduler")
    of = dict(zip("ABC", level, strict=True))
    told, regrets = against(of, "A", matters=0.02), best(of, matters=0.02)
    like_these = against(of, "A", overlap.validation, 0.02)
    assert table["verdict"].tolist() == told["verdict"].tolist()
    assert table["p"].tolist() == pytest.approx(told["adjusted"].tolist(), nan_ok=True)
    assert table.loc["C", "difference_low"] == pytest.approx(told.loc["C", "low"])
    assert table.loc["C", "like_these_high"] == pytest.approx(like_these.loc["C", "high"])
    assert table["like_these_verdict"].tolist() == like_these["verdict"].tolist()
    assert table["like_these_bound"].tolist() == pytest.approx(best(of, overlap.validation, 0.02)["relative"].tolist())
    assert table["in_set"].tolist() == regrets["in_set"].tolist()
    assert table["regret_bound"].tolist() == pytest.approx(regrets["relative"].tolist())
    assert table["regret"].tolist() == pytest.approx((regrets["regret"] / regrets["loss"].min()).tolist())


def test_rank_is_by_mean_validation_loss_within_the_variant(make_runs: MakeRuns) -> None:
    runs = make_runs(
        {("default", "A"): [0.3, 0.5], ("default", "B"): [0.1, 0.2], ("tuned", "A"): [0.1, 0.1], ("tuned", "B"): [0.2, 0.2]}
    )
    assert list(compare(runs, "A")["rank"]) == [2, 1, 1, 2]


def test_equal_means_share_the_better_rank(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", label): [loss, loss] for label, loss in (("A", 0.2), ("B", 0.1), ("C", 0.2), ("D", 0.3))})
    assert list(compare(runs, "A")["rank"]) == [2, 1, 2, 4]


def test_divergence_never_helps(make_runs: MakeRuns) -> None:
    # Without its two worst seeds C has the lowest mean of all; A is the worst of those that never diverged.
    cases: Losses = {
        ("default", "A"): [0.9, 0.9, 0.9],
        ("default", "B"): [0.2, 0.3, NAN],
        ("default", "C"): [0.1, NAN, NAN],
        ("default", "D"): [NAN, NAN, NAN],
    }
    table = compare(make_runs(cases), "A").set_index("scheduler")
    assert table["rank"].to_dict() == {"A": 1, "B": 2, "C": 3, "D": 4}
    assert table["diverged"].to_dict() == {"A": 0, "B": 1, "C": 2, "D": 3}
    assert set(table["seeds"]) == {3}
    assert table.loc["B", "validation_loss"] == pytest.approx(0.25)
    assert table.loc["D"].filter(like="loss").isna().all()
    assert table["in_set"].to_dict() == {"A": True, "B": False, "C": False, "D": False}
    assert np.isinf(table.loc[["B", "C", "D"], "regret_bound"]).all()


def test_a_diverged_run_with_a_finite_loss_stays_out_of_the_means(make_runs: MakeRuns) -> None:
    runs = make_runs({("default", "A"): [0.2, 0.4, 50.0]})
    runs.loc[2, "diverged"] = True
    assert compare(runs, "A").loc[0, "validation_loss"] == pytest.approx(0.3)


@settings(max_examples=6)
@given(st.permutations([0.1, 0.2, 0.3, 0.4]))
def test_test_figures_enter_no_rank(test_losses: list[float]) -> None:
    frame = pd.DataFrame({"scheduler": list("ABCD"), "variant": "default", "seed": 0, "stream": 1, "diverged": False})
    frame = frame.assign(validation_loss=[0.4, 0.3, 0.2, 0.1], validation_metric=0.5, test_metric=0.5, test_loss=test_losses)
    assert list(compare(frame, "A")["rank"]) == [4, 3, 2, 1]


def test_difference_to_the_baseline_is_paired(make_runs: MakeRuns) -> None:
    # The seeds' losses differ by far more than the schedulers': only pairing sees that A is better.
    runs = make_runs({("default", "A"): [0.10, 0.50, 0.90], ("default", "base"): [0.11, 0.51, 0.91]})
    for rows in (runs, runs.iloc[[0, 1, 2, 5, 3, 4]]):
        row = compare(rows, "base").iloc[0]
        assert [row["difference"], row["difference_low"], row["difference_high"]] == pytest.approx([-0.01] * 3)


def test_the_baseline_differs_from_itself_by_nothing(make_runs: MakeRuns) -> None:
    row = compare(make_runs({("default", "base"): [0.11, 0.51]}), "base").iloc[0]
    assert [row["difference"], row["difference_low"], row["difference_high"], row["verdict"]] == [0, 0, 0, "baseline"]


@pytest.mark.parametrize("base", [[], [NAN, NAN]])
def test_without_a_finished_run_of_the_baseline_there_is_no_verdict(make_runs: MakeRuns, base: list[float]) -> None:
    cases: Losses = {("default", "A"): [0.1, 0.2], ("default", "gone"): [NAN, NAN], ("default", "base"): base}
    table = compare(make_runs(cases), "base").set_index("scheduler")
    assert table.loc[["A", "gone"], "difference"].isna().all()
    assert table.loc[["A", "gone"], "verdict"].tolist() == ["", "diverged"]


def test_one_seed_has_a_difference_without_interval(make_runs: MakeRuns) -> None:
    row = compare(make_runs({("default", "A"): [0.1], ("default", "base"): [0.3]}), "base").iloc[0]
    assert row["difference"] == pytest.approx(-0.2)
    assert np.isnan(row["difference_low"])
    assert row["verdict"] == "open"


@pytest.mark.parametrize(
    ("base", "own", "said"),
    [
        (EIGHT, [x - 0.3 for x in EIGHT], "better"),
        # what is left of it is as much better, and was selected by not diverging
        (EIGHT, [*(x - 0.3 for x in EIGHT[:7]), NAN], "diverged"),
        (EIGHT, [0.2, 0.3, *[NAN] * 6], "diverged"),
        (EIGHT, [*EIGHT[:7], NAN], "diverged"),  # equal else
        # as often as the other, or less often: it may be better
        ([*EIGHT[:7], NAN], [NAN, *(x - 0.3 for x in EIGHT[1:])], "better"),
        ([*EIGHT[:7], NAN], [x - 0.3 for x in EIGHT], "better"),
        ([*EIGHT[:7], NAN], EIGHT, "practically equal"),
        ([*EIGHT[:7], NAN], [x + 0.3 for x in EIGHT], "open"),  # worse where both finished, and it finished more often
        ([*EIGHT[:4], *[NAN] * 4], [*[NAN] * 4, *EIGHT[4:]], "open"),  # no pair
    ],
)
def test_divergence_is_never_made_up_for(make_runs: MakeRuns, base: list[float], own: list[float], said: str) -> None:
    shaken = [loss + 0.001 * (-1) ** seed for seed, loss in enumerate(own)]  # a spread, so that t has a value
    assert compare(make_runs({("default", "base"): base, ("default", "A"): shaken}), "base").iloc[1]["verdict"] == said


def test_variants_are_judged_apart_whatever_the_order_of_rows(make_runs: MakeRuns) -> None:
    cases: Losses = {
        ("default", "A"): [0.5] * 6,
        ("tuned", "A"): [0.25] * 6,
        ("default", "B"): [0.25] * 6,
        ("tuned", "B"): [0.5] * 6,
    }
    table = compare(make_runs(cases), "A").set_index(["variant", "scheduler"])
    assert table.loc[("default", "B"), "verdict"] == "better"
    assert table.loc[("tuned", "B"), "verdict"] == "worse"
    assert table["in_set"].to_dict() == {
        ("default", "A"): False, ("default", "B"): True, ("tuned", "A"): True, ("tuned", "B"): False,
    }  # fmt: skip


def test_median_and_interquartile_mean_by_hand(make_runs: MakeRuns) -> None:
    # Of eight, two are cut at either end: the mean of 3, 4, 5 and 6 is 4.5, which is the median too; 100 moves neither.
    row = compare(make_runs({("default", "A"): [8, 3, 1, 5, 2, 100, 4, 6, NAN]}), "A").iloc[0]
    assert (row["validation_loss_median"], row["validation_loss_iqm"]) == (4.5, 4.5)


def test_the_columns_and_their_order(make_runs: MakeRuns) -> None:
    columns = list(compare(make_runs({("default", "A"): [0.1, 0.2]}), "A"))
    assert columns[columns.index("rank") :] == [
        "rank", "difference", "difference_low", "difference_high", "p", "verdict", "in_set", "regret", "regret_bound",
        "like_these_low", "like_these_high", "like_these_verdict", "like_these_bound",
        "validation_loss_median", "validation_loss_iqm",
        "validation_metric_difference", "validation_metric_difference_low", "validation_metric_difference_high",
        "test_loss_difference", "test_loss_difference_low", "test_loss_difference_high",
        "test_metric_difference", "test_metric_difference_low", "test_metric_difference_high",
        "validation_metric_verdict", "validation_metric_regret", "validation_metric_regret_bound",
    ]  # fmt: skip


def test_the_headline_metric_has_a_verdict_by_its_own_margin_and_a_regret_in_its_own_unit(make_runs: MakeRuns) -> None:
    """The metric is 1 - loss: A's is higher by about a tenth, and lower where less is better; then A's regret is that tenth."""
    base = [0.5, 0.6, 0.8, 0.7, 0.4, 0.65]
    runs = make_runs({
        ("default", "base"): base,
        ("default", "A"): [loss - 0.1 + 0.002 * (n % 2) for n, loss in enumerate(base)],
    })  # fmt: skip

    def told(headline: Headline) -> tuple[str, float, float]:
        table = compare(runs, "base", matters=1.0, headline=headline).set_index("scheduler")
        verdict, regret, bound = (table[f"validation_metric_{name}"]["A"] for name in ("verdict", "regret", "regret_bound"))
        return str(verdict), float(regret), float(bound)

    assert told(Headline(True)) == ("better", 0, 0)
    assert told(Headline(False))[0] == "worse"
    assert told(Headline(False))[1] == pytest.approx(0.099)
    assert told(Headline(False))[2] == pytest.approx(0.1, abs=0.001)
    assert told(Headline(False, 0.5))[0] == "practically equal"
    assert compare(runs, "base", matters=1.0).set_index("scheduler")["verdict"]["A"] == "practically equal"


def test_the_other_metrics_have_their_differences_to_the_baseline(make_runs: MakeRuns) -> None:
    """Paired by seed, of these data."""
    runs = make_runs({("default", "base"): [0.5, 0.6, 0.8], ("default", "A"): [0.4, 0.3, 0.7]})
    row = compare(runs, "base", Overlap(0.2, 0.5)).iloc[1]
    # Differences of the losses are -1, -3 and -1 tenths; of the metric, which is 1 - loss, the same with the other sign.
    assert row["test_loss_difference"] == pytest.approx(-0.5 / 3)
    assert row["validation_metric_difference"] == pytest.approx(0.5 / 3)
    half = row["difference_high"] - row["difference"]
    assert row["validation_metric_difference_high"] - row["validation_metric_difference"] == pytest.approx(half)
    assert row["test_loss_difference_high"] - row["test_loss_difference"] == pytest.approx(half)
    # With one stream the whole correction holds for data like these: √(1/3 + 1/4) against √(1/3).
    wider = np.sqrt((1 / 3 + 1 / 4) / (1 / 3))
    assert row["like_these_high"] - row["difference"] == pytest.approx(wider * half)


def test_what_was_raced_is_judged_at_its_look_and_nothing_else_is() -> None:
    of = losses_of(np.random.default_rng(1), 3, 15, effects=[0, 0.6, -0.6])
    runs, plan, overlap = frame(of), Plan(6, 40), Overlap(0.2, 0.2)
    fixed, raced = (compare(runs, "S00", overlap, 0.01, plan=asked) for asked in (None, plan))
    level = plan.level(15)
    expected = against(of, "S00", matters=0.01, alpha=level)
    np.testing.assert_array_equal(raced["difference_low"][1:], expected["low"][1:])
    assert list(raced["verdict"][1:]) == list(expected["verdict"][1:])
    assert list(raced["regret_bound"] * raced["validation_loss"].min()) == pytest.approx(
        list(best(of, matters=0.01, alpha=level)["bound"])
    )
    like_these = against(of, "S00", 0.2, 0.01, level)
    np.testing.assert_array_equal(raced["like_these_low"][1:], like_these["low"][1:])
    assert list(raced["like_these_verdict"][1:]) == list(like_these["verdict"][1:])
    for metric in ("", "validation_metric_", "test_loss_", "test_metric_"):
        width, wider = (table[f"{metric}difference_high"] - table[f"{metric}difference_low"] for table in (fixed, raced))
        assert (wider[1:] > 1.5 * width[1:]).all()
    assert (raced["p"][1:] > fixed["p"][1:]).all()
    assert list(raced["p"] < 0.05) == [verdict in ("better", "worse") for verdict in raced["verdict"]]
    alike = ["validation_loss", "validation_loss_low", "validation_loss_high", "difference", "rank", "regret"]
    pd.testing.assert_frame_equal(raced[alike], fixed[alike])
    written = runs.assign(variant="default")
    pd.testing.assert_frame_equal(compare(written, "S00", overlap, 0.01, plan=plan), compare(written, "S00", overlap, 0.01))


@repeated(8, 30)
def test_equals_that_were_raced_raise_a_false_alarm_in_one_of_twenty_studies(times: int) -> None:
    """From the first look to the table: verdicts, intervals and bounds, wherever the race ended."""
    rng, plan, overlap = np.random.default_rng(7), Plan(4, 12), Overlap(0.2, 0.2)
    alarms = missed = 0
    for _ in range(times):
        of = losses_of(rng, 3, 12, 0.3, overlap=0)
        *_, end = looks(of, "S00", plan, 0.02)
        so_far = {label: values[: end.seeds] for label, values in of.items()}
        table = compare(frame(so_far), "S00", overlap, 0.02, plan=plan)
        alarms += bool(table["verdict"].isin(["better", "worse"]).any())
        missed += not table["in_set"].all()
    allowed = times * (0.05 + by_chance(0.05, times))
    assert alarms <= allowed
    assert missed <= 3 * allowed  # each of the three is in the set with 95%


def frame(of: Mapping[str, Floats]) -> pd.DataFrame:
    """Raced runs with these losses, (seeds, streams), in every metric."""
    return pd.DataFrame(
        {"variant": "recommended", "scheduler": label, "seed": 1000 + seed, "stream": 1 + stream, "diverged": False}
        | dict.fromkeys(METRICS, values[seed, stream])
        for label, values in of.items()
        for seed, stream in np.ndindex(values.shape)
    )


def test_tuning_gain_is_paired_and_needs_both_variants(make_runs: MakeRuns) -> None:
    cases: Losses = {
        ("default", "A"): [0.3, 0.5], ("default", "B"): [0.3, 0.5], ("tuned", "A"): [0.2, 0.4], ("recommended", "A"): [9, 9],
    }  # fmt: skip
    runs = make_runs(cases)
    gains = tuning_gain(runs)
    assert list(gains["scheduler"]) == ["A"]
    assert gains.loc[0, "seeds"] == 2
    assert gains.loc[0, "validation_loss_high"] == pytest.approx(-0.1)
    assert tuning_gain(runs[runs["variant"] == "default"]).empty


@settings(max_examples=10)
@given(losses)
def test_what_is_better_one_way_is_worse_the_other(pairs: list[tuple[float, float]]) -> None:
    runs = two([a for a, _ in pairs], [b for _, b in pairs])
    there, back = compare(runs, "A", matters=0).iloc[1], compare(runs, "B", matters=0).iloc[0]
    mirror = {"better": "worse", "worse": "better", "no better": "no worse", "no worse": "no better"}
    assert back["verdict"] == mirror.get(there["verdict"], there["verdict"])
    assert back["p"] == there["p"]
    assert (back["difference"], back["difference_low"]) == (-there["difference"], -there["difference_high"])


@settings(max_examples=8)
@given(losses, st.integers(-20, 20))
def test_scales_change_no_verdict(pairs: list[tuple[float, float]], power: int) -> None:
    a, b = np.array(pairs).T
    told = ["verdict", "in_set"]
    first, scaled = (compare(two(list(a * f), list(b * f)), "A", matters=0.01).iloc[1][told] for f in (1, 2.0**power))
    pd.testing.assert_series_equal(first, scaled)
