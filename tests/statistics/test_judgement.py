"""A judgement is of known answers: scale, sense and order change nothing; forecasts and advice follow what is open."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.statistics.comparison import Reason
from pipeline.statistics.judgement import Judgement, judge
from tests.repeated import by_chance, repeated
from tests.statistics.nested import Floats


def drawn(*effects: float, seeds: int = 8, own: float = 0.01, draw: int = 0) -> dict[str, Floats]:
    rng = np.random.default_rng(draw)
    common = rng.normal(0, 0.1, (seeds, 1))
    return {f"S{n}": 1 + effect + common + rng.normal(0, own, (seeds, 1)) for n, effect in enumerate(effects)}


def judged(values: dict[str, Floats], **more: object) -> Judgement:
    return judge(values, "S0", **({"higher": False, "paired": True} | more))  # type: ignore[arg-type]


def test_noise_is_the_standard_deviation_between_seeds() -> None:
    values = drawn(0, 0, seeds=400)
    found = judged(values)
    assert found.noise == pytest.approx(np.sqrt(np.mean([own.var(ddof=1) for own in values.values()])))
    assert found.noise_of_difference == pytest.approx(0.01 * np.sqrt(2), rel=0.1)
    assert np.isnan(judged(values, paired=False).noise_of_difference)


def test_a_clear_winner_asks_for_no_seeds() -> None:
    found = judged(drawn(0, -0.5, 0.5))
    assert list(found.table.index) == ["S1", "S0", "S2"]
    assert list(found.table["verdict"]) == ["better", "baseline", "worse"]
    assert list(found.table["in_set"]) == [True, False, False]
    assert (found.recommended.label, found.recommended.reason) == ("S1", Reason.PREFERRED)
    assert found.more is None


def test_the_baseline_is_kept_where_nothing_that_matters_is_lost() -> None:
    found = judged(drawn(0, -0.001, own=1e-5))
    assert found.table.index[0] == "S1"
    assert found.recommended.label == "S0"
    assert judged(drawn(0, -0.001, own=1e-5), margin=1e-4).recommended.label == "S1"


@repeated(25, 150)
def test_open_labels_ask_for_a_range_of_seeds_that_holds_the_true_one(few_draws: None, times: int) -> None:
    """At 80% confidence; for 0.01 at a spread of differences of 0.1 √2, 1571 pairs do: (1.96 + 0.84)² × 200 + 2."""
    asked = [judged(drawn(0, 0, own=0.1, draw=draw), margin=0.01).more for draw in range(times)]
    ranges = [more for more in asked if more]
    assert len(ranges) > 0.75 * times
    assert np.mean([low <= 1571 <= high for low, high in ranges]) == pytest.approx(0.8, abs=by_chance(0.8, times, 3))


@repeated(30, 300)
def test_the_smallest_effect_is_found_four_times_in_five(few_draws: None, times: int) -> None:
    """On other draws than those that it was told from."""
    told = [judged(drawn(0, 0, draw=draw), margin=0.0).found[0] for draw in range(times)]
    found = [judged(drawn(0, effect, draw=times + draw), margin=0.0) for draw, effect in enumerate(told)]
    assert np.mean([of.table["verdict"]["S1"] == "worse" for of in found]) == pytest.approx(0.8, abs=by_chance(0.8, times))


@pytest.mark.usefixtures("few_draws")
@settings(max_examples=8)
@given(scale=st.sampled_from([0.25, 4.0, 1024.0]), higher=st.booleans(), paired=st.booleans(), draw=st.integers(0, 50))
def test_scale_sense_and_order_change_nothing(scale: float, higher: bool, paired: bool, draw: int) -> None:
    values = drawn(0, 0.02, -0.03, 0.01, draw=draw)
    sign = -1 if higher else 1
    first = judged(values, paired=paired)
    moved = {label: sign * scale * values[label] for label in reversed(values)}
    second = judged(moved, paired=paired, higher=higher)
    assert list(second.table.index) == list(first.table.index)
    assert list(second.table["in_set"]) == list(first.table["in_set"])
    assert second.recommended.label == first.recommended.label
    ends = ["low", "high"] if not higher else ["high", "low"]
    known = first.table.drop("S0")
    assert np.allclose(second.table.drop("S0")["low"], sign * scale * known[ends[0]], rtol=0.05 if not paired else 1e-9)
    assert np.allclose(
        second.table["bound"], scale * first.table["bound"], rtol=0.05 if not paired else 1e-9, atol=0.01 * scale
    )
    assert second.noise == pytest.approx(scale * first.noise)
    assert second.margin == pytest.approx(scale * first.margin)


def test_divergence_of_all_but_one_and_of_all() -> None:
    values = drawn(0, 0, 0)
    values["S1"][:] = np.nan
    values["S2"][0] = np.nan
    found = judged(values)
    assert found.table.loc[["S1", "S2"], "verdict"].tolist() == ["diverged", "diverged"]
    assert found.recommended.label == "S0"
    nothing = judged({label: np.full((4, 1), np.nan) for label in values})
    assert nothing.recommended.reason == Reason.NONE
    assert np.isnan(nothing.found).all()
