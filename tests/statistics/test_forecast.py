"""Forecasts against published tables and simulation."""

import numpy as np
import pytest

from pipeline.statistics.components import Estimate, differences, estimate, nested
from pipeline.statistics.forecast import detectable, power, seeds_needed
from tests.repeated import by_chance, repeated
from tests.statistics.nested import losses

ONE = estimate(nested([[0.0], [1.0], [2.0]]))  # a standard deviation of 1


def test_power_is_that_of_published_tables() -> None:
    # G*Power, difference between two dependent means, 5% two-sided: 10 pairs for an effect of 1 at 80%, 34 for 1/2.
    assert power(1, ONE, 9) < 0.8 <= power(1, ONE, 10)
    assert power(0.5, ONE, 33) < 0.8 <= power(0.5, ONE, 34)


@repeated(200, 2000)
@pytest.mark.parametrize("seeds", [4, 10])
def test_what_could_have_been_found_is_found_four_times_in_five(seeds: int, times: int) -> None:
    """On seeds that follow those that it was told from."""
    rng = np.random.default_rng(1)
    told = [detectable(estimate(nested(draw[:, None]))) for draw in rng.normal(0, 1, (times, seeds))]
    found = [estimate(nested(rng.normal(effect, 1, (seeds, 1)))).p < 0.05 for effect in told]
    assert np.mean(found) == pytest.approx(0.8, abs=by_chance(0.8, times))


def test_more_seeds_find_less_and_an_overlap_sets_a_floor() -> None:
    of = losses(np.random.default_rng(2), 2, 10, 0.9)
    free, held = (differences(of, rho)["S00", "S01"] for rho in (0.0, 0.3))
    assert detectable(free, splits=10) > detectable(free, splits=20) > detectable(free, splits=1000)
    assert detectable(held, splits=10_000) > 10 * detectable(free, splits=10_000)
    assert seeds_needed(held, detectable(held, splits=10_000) / 2)[1] == np.inf


def test_the_range_holds_the_number_of_the_true_spread() -> None:
    """At 80% confidence, over estimates from ten seeds."""
    rng = np.random.default_rng(3)
    ranges = [seeds_needed(estimate(nested(draw[:, None])), 0.5) for draw in rng.normal(size=(400, 10))]
    assert np.mean([low <= 34 <= high for low, high in ranges]) == pytest.approx(0.8, abs=0.05)


def test_nothing_is_forecast_from_nothing() -> None:
    for none in (estimate(nested([[1.0]])), estimate(nested([[1.0], [1.0]]))):
        assert np.isnan(seeds_needed(none, 1.0)).all()
    assert np.isnan(detectable(estimate(nested([[1.0]]))))
    assert detectable(estimate(nested([[1.0], [1.0]]))) == pytest.approx(0, abs=1e-12)
    assert isinstance(ONE, Estimate)
