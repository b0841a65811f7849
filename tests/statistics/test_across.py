"""Over problems: coverage by simulation, silence where there are too few, counts by hand."""

import numpy as np
import pytest

from pipeline.statistics.across import ENOUGH, across, holds_on
from tests.repeated import by_chance, repeated
from tests.statistics.nested import Floats, losses

NAN = float("nan")
Problems = dict[str, dict[str, Floats]]


def problems(rng: np.random.Generator, count: int, effect: float = 0.0, spread: float = 0.3, labels: int = 2) -> Problems:
    """Each with an effect of its own about ``effect`` and a noise of its own; the baseline's level is 10."""
    return {
        f"p{n}": losses(
            rng,
            labels,
            8,
            effects=[0, *rng.normal(effect, spread, labels - 1)],
            spread=float(rng.uniform(0.1, 1)),
            level=10,
        )
        for n in range(count)
    }


def test_too_few_problems_cannot_speak() -> None:
    found = across(problems(np.random.default_rng(1), ENOUGH - 2), "S00")
    assert (found.speaks, found.missing, found.problems) == (False, 2, ENOUGH - 2)
    assert found.regret.empty
    assert found.table[["low", "high", "new_low", "spread", "p", "adjusted"]].isna().all(axis=None)
    assert found.table["difference"].notna().all()


@pytest.mark.parametrize("count", [1, 3])
def test_few_problems_are_counted_all_the_same(count: int) -> None:
    """An effect of three tenths of the baseline's loss on each of them."""
    found = across(problems(np.random.default_rng(4), count, -3), "S00").table.loc["S01"]
    assert (found["lower_on"], found["higher_on"]) == (count, 0)
    assert found["difference"] == pytest.approx(-0.3, abs=0.1)


@pytest.mark.usefixtures("few_draws")
@repeated(20, 60)
@pytest.mark.parametrize("count", [5, 12])
def test_the_mean_over_problems_is_covered(count: int, times: int) -> None:
    rng, covered = np.random.default_rng(count), []
    for _ in range(times):
        row = across(problems(rng, count, 0.2), "S00").table.loc["S01"]
        covered.append(row["low"] <= 0.02 <= row["high"])
    assert np.mean(covered) >= 0.95 - by_chance(0.95, times, 2.5)


def test_a_clear_effect_is_found_with_its_set_and_counts() -> None:
    found = across(problems(np.random.default_rng(2), 8, -3, labels=3), "S00")
    assert (found.table["high"] < 0).all()
    assert (found.table["adjusted"] >= found.table["p"]).all()
    assert (found.table["lower_on"] >= 6).all()
    assert (found.table["higher_on"] == 0).all()
    assert not found.regret.loc["S00", "in_set"]
    assert found.regret["bound"]["S00"] > 0.2


def test_a_new_problem_is_less_sure_than_the_mean() -> None:
    row = across(problems(np.random.default_rng(3), 8, 1.0, 0.5), "S00").table.loc["S01"]
    assert row["new_low"] < row["low"] < row["difference"] < row["high"] < row["new_high"]


def test_the_unit_of_a_problems_loss_plays_no_part() -> None:
    of = problems(np.random.default_rng(4), 6, labels=3)
    scaled = {name: {label: y * 2.0**n for label, y in own.items()} for n, (name, own) in enumerate(of.items())}
    one, other = across(of, "S00"), across(scaled, "S00")
    assert other.table.to_numpy() == pytest.approx(one.table.to_numpy())


def test_labels_that_diverged_or_are_missing_are_left_out() -> None:
    of = problems(np.random.default_rng(5), 6, labels=4)
    of["p1"]["S01"][0, 0] = NAN
    del of["p2"]["S02"]
    found = across(of, "S00")
    assert list(found.table.index) == ["S03"]
    assert set(found.regret.index) == {"S00", "S03"}


def test_identical_labels_differ_by_nothing() -> None:
    of = {name: {"S00": own["S00"], "twin": own["S00"]} for name, own in problems(np.random.default_rng(6), 6).items()}
    row = across(of, "S00").table.loc["twin"]
    assert (row["difference"], row["low"], row["high"], row["p"]) == (0, 0, 0, 1)


def test_counts_by_hand() -> None:
    # 5 * 0.001, 4 * 0.01 are 5% at most, 3 * 0.02 is not; a problem without p counts as one that shows nothing.
    assert holds_on({"a": 0.02, "b": 0.001, "c": 0.01, "d": 0.6, "e": NAN}) == 2
    assert holds_on({"a": 0.001, "b": 0.001}) == 2
    assert holds_on({"a": 0.5}) == 0
    assert holds_on({}) == 0


def test_counts_are_too_high_in_one_of_twenty_at_most() -> None:
    rng = np.random.default_rng(7)
    p = rng.uniform(size=(4000, 6))
    p[:, :3] = 1e-6  # true on three
    assert np.mean([holds_on(dict(enumerate_names(row))) > 3 for row in p]) < 0.055


def enumerate_names(row: Floats) -> list[tuple[str, float]]:
    return [(str(n), float(value)) for n, value in enumerate(row)]
