"""Boundaries against published ones; the false alarms of whole sequences; races that stop for each of their reasons."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.statistics.components import Estimate, differences
from pipeline.statistics.sequential import Plan, Race, boundaries, chance, looks, nominal_levels, race, spent
from tests.repeated import by_chance, repeated
from tests.statistics.nested import Floats, losses

# Lan and DeMets' spending of O'Brien and Fleming's type, 5% two-sided, equal looks, as ldbounds and gsDesign document it.
PUBLISHED = {
    1: (1.9600,),
    2: (2.9626, 1.9686),
    3: (3.7103, 2.5114, 1.9930),
    4: (4.3326, 2.9631, 2.3590, 2.0141),
    5: (4.8769, 3.3569, 2.6803, 2.2898, 2.0310),
}


@pytest.mark.parametrize("looks", PUBLISHED)
def test_boundaries_are_the_published_ones(looks: int) -> None:
    found = boundaries([k / looks for k in range(1, looks + 1)])
    assert found == pytest.approx(PUBLISHED[looks], abs=2e-4)


def test_all_is_spent_at_the_end() -> None:
    assert spent(1.0) == pytest.approx(0.05)
    assert spent(0.5, 0.01) == pytest.approx(2 * 2 * (1 - 0.9999641), rel=0.02)  # Φ(2.8070 / √½) = Φ(3.9697) = 0.999964


def test_boundaries_keep_the_level_at_uneven_looks() -> None:
    fractions = np.array([0.15, 0.2, 0.45, 0.9, 1.0])
    steps = np.random.default_rng(1).normal(size=(200_000, 5)) * np.sqrt(np.diff(fractions, prepend=0.0))
    z = np.abs(steps.cumsum(axis=1)) / np.sqrt(fractions)
    crossed = np.cumsum(np.maximum.accumulate(z > boundaries(fractions.tolist()), axis=1).mean(axis=0)[-1:])
    assert crossed[-1] == pytest.approx(0.05, abs=0.002)


@settings(max_examples=20)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=8, unique=True), st.sampled_from([0.05, 0.01]))
def test_levels_lie_between_none_and_all(seeds: list[int], alpha: float) -> None:
    levels = nominal_levels([n / max(seeds) for n in sorted(seeds)], alpha)
    assert all(0 < level <= alpha * (1 + 1e-9) for level in levels)
    assert sum(levels) >= alpha * (1 - 1e-9)


@pytest.mark.parametrize("fractions", [[0.5, 0.5], [0.6, 0.3], [0.0, 1.0], [0.5, 1.2]])
def test_shares_that_cannot_be_are_refused(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match="rise"):
        boundaries(fractions)


def test_a_plan_looks_with_half_as_many_again_and_ends_at_most() -> None:
    assert Plan(6, 40).looks == (6, 10, 15, 22, 33, 40)
    assert Plan(6, 6).looks == (6,)
    assert Plan(6, 6).levels() == {6: pytest.approx(0.05)}
    for least, most in ((1, 5), (6, 5)):
        with pytest.raises(ValueError, match="least"):
            Plan(least, most)


@given(st.integers(2, 50), st.integers(0, 200), st.integers(1, 200))
def test_a_greater_most_keeps_the_looks_and_adds_some(least: int, more: int, still_more: int) -> None:
    short, long = Plan(least, least + more), Plan(least, least + more + still_more)
    assert set(short.looks) - {short.most} <= set(long.looks)
    assert all(b - a <= max(4, a // 2) for a, b in pairwise(long.looks))
    for seeds in range(least + more):
        assert short.look(seeds) == max((n for n in short.looks if n <= seeds), default=least)
        assert short.level(seeds) == short.levels()[short.look(seeds)]


@settings(max_examples=15)
@given(st.sampled_from(Plan(6, 40).looks), st.floats(1e-7, 0.9), st.floats(0.001, 0.5))
def test_the_ps_of_a_sequence_say_what_its_levels_say(seeds: int, p: float, alpha: float) -> None:
    plan = Plan(6, 40)
    level = plan.levels(alpha)[seeds]
    assume(level > 1e-14)  # where anything is spent
    repeated = plan.repeated(p, seeds)
    assert repeated >= p * (1 - 1e-6)
    assert abs(p - level) < 1e-6 or (repeated < alpha) == (p < level)
    assert plan.repeated(level, seeds) == pytest.approx(alpha, abs=1e-6)


def test_ps_that_say_nothing_stay_that() -> None:
    assert np.isnan(Plan(6, 40).repeated(np.nan, 10))
    assert Plan(6, 40).repeated(1.0, 10) == 1.0
    assert Plan(6, 40).repeated(0.3, 6) == 1.0


@pytest.mark.parametrize("p", [0.0, 1e-300, 1e-15])
def test_a_p_beyond_the_farthest_boundary_is_that_of_the_boundary(p: float) -> None:
    """Where one of many schedulers is far worse than the others, say."""
    plan = Plan(6, 40)
    assert 0 < plan.repeated(p, 6) == pytest.approx(plan.repeated(1.3e-15, 6), rel=0.05)
    assert all(0 <= plan.repeated(p, seeds) <= plan.repeated(1e-14, seeds) for seeds in plan.looks)


@repeated(50, 200)
def test_t_tests_at_nominal_levels_keep_the_level_of_the_sequence(times: int) -> None:
    rng, plan = np.random.default_rng(2), Plan(6, 24)
    alarms = []
    for _ in range(times):
        of = losses(rng, 6, 24, 0.3, overlap=0)
        looks = (differences({name: y[:n] for name, y in of.items()})["S00", "S01"].p < a for n, a in plan.levels().items())
        alarms.append(any(looks))
    assert np.mean(alarms) == pytest.approx(0.05, abs=by_chance(0.05, times))


def run(of: dict[str, Floats], plan: Plan, matters: float = 0.01) -> Race:
    """Where the race ends."""
    *_, state = looks(of, "S00", plan, matters)
    return state


@pytest.mark.usefixtures("few_draws")
@repeated(8, 25)
def test_equals_raise_a_false_alarm_in_one_of_twenty_races(times: int) -> None:
    rng, plan = np.random.default_rng(3), Plan(6, 20)
    ended = [run(losses(rng, 5, 20, 0.15, overlap=0), plan, 0.0) for _ in range(times)]
    alarms = [bool({"better", "worse"} & set(state.to_baseline.values())) for state in ended]
    assert np.mean(alarms) <= 0.05 + by_chance(0.05, times)


def test_a_race_ends_early_where_all_is_settled() -> None:
    of = losses(np.random.default_rng(4), 3, 40, effects=[0, 3, 5], spread=0.3)
    state = run(of, Plan(6, 40))
    assert state.stop
    assert state.seeds < 20
    assert state.to_baseline == {"S01": "worse", "S02": "worse"}
    assert state.to_best == {"S00": "equal", "S01": "out", "S02": "out"}


def test_a_race_ends_with_equals() -> None:
    state = run(losses(np.random.default_rng(5), 3, 40, spread=0.05), Plan(6, 40))
    assert set(state.to_baseline.values()) == {"equal"}
    assert set(state.to_best.values()) == {"equal"}


@pytest.mark.usefixtures("few_draws")
def test_a_race_without_hope_ends_early() -> None:
    state = run(losses(np.random.default_rng(5), 3, 40, 0.5), Plan(6, 40), 0.0)
    assert 20 <= state.seeds < 40
    assert "open" not in state.to_baseline.values()
    assert "hopeless" in state.to_baseline.values()


def test_what_cannot_be_settled_is_told_no_worse_where_it_is() -> None:
    """At first it may yet become better, and is waited for."""
    of = losses(np.random.default_rng(13), 2, 40, effects=[0, -0.1], spread=0.6, overlap=0)
    *_, before, end = looks(of, "S00", Plan(10, 40), matters=0.02)
    assert (before.to_baseline, end.to_baseline) == ({"S01": "open"}, {"S01": "no worse"})
    assert end.settled >= 1


def test_a_race_goes_from_look_to_look_and_no_further_than_it_must() -> None:
    of, plan = losses(np.random.default_rng(4), 3, 40, effects=[0, 1, 2], spread=0.4), Plan(6, 40)
    states = list(looks(of, "S00", plan))
    assert [state.seeds for state in states] == list(plan.looks[: len(states)])
    assert [state.stop for state in states] == [False] * (len(states) - 1) + [True]
    assert states[-1].seeds < 40
    few = {label: values[:11] for label, values in of.items()}
    assert list(looks(few, "S00", plan)) == states[:2]
    with pytest.raises(ValueError, match="first look"):
        list(looks({label: values[:5] for label, values in of.items()}, "S00", plan))


def test_a_race_is_over_at_most() -> None:
    of = losses(np.random.default_rng(7), 3, 12, effects=[0, 0.7, 0.9])
    assert race(of, "S00", Plan(4, 12)).stop


def test_a_race_waits_for_what_is_open() -> None:
    of = losses(np.random.default_rng(8), 3, 6, effects=[0, 1.5, 2])
    state = race(of, "S00", Plan(6, 40))
    assert (state.seeds, state.following, state.stop) == (6, 10, False)
    assert set(state.open) == {label for label in of if "open" in (state.to_baseline.get(label), state.to_best[label])}
    assert state.settled == sum(each != "open" for each in state.states) < len(state.states) == 5
    assert "open" in state.to_baseline.values()
    with pytest.raises(ValueError, match="first look"):
        race({label: values[:5] for label, values in of.items()}, "S00", Plan(6, 40))


def test_seeds_between_two_looks_are_not_looked_at() -> None:
    of = losses(np.random.default_rng(9), 3, 13, effects=[0, 1.5, 2])
    plan = Plan(6, 40)
    assert race(of, "S00", plan) == race({label: values[:10] for label, values in of.items()}, "S00", plan)


def test_the_last_look_is_told_whatever_the_ones_before_said() -> None:
    of = losses(np.random.default_rng(10), 2, 40, effects=[0, 3], spread=0.3)
    plan = Plan(10, 40)
    assert race({label: values[:22] for label, values in of.items()}, "S00", plan).to_baseline == {"S01": "worse"}
    of["S01"][22:] -= 6
    assert race(of, "S00", plan).to_baseline != {"S01": "worse"}


def test_nothing_is_without_hope_before_half_of_most() -> None:
    of, plan = losses(np.random.default_rng(5), 3, 40, 0.5), Plan(6, 40)
    for seeds in plan.looks:
        state = race({label: values[:seeds] for label, values in of.items()}, "S00", plan, 0.0)
        assert ("hopeless" in state.states) == (seeds >= 20)
        assert not state.stop or seeds >= 20


def test_one_that_diverged_is_not_waited_for() -> None:
    of = losses(np.random.default_rng(11), 2, 10)
    of["S01"][0] = np.nan
    state = race(of, "S00", Plan(6, 40))
    assert (state.to_baseline, state.to_best["S01"], state.stop) == ({"S01": "diverged"}, "diverged", True)


@pytest.mark.parametrize(
    ("mean", "margin", "sides"), [(0.6, 0.0, 2), (0.0, 0.9, 2), (0.4, 0.7, 1), (-0.6, 0.2, 2), (0.1, 0.5, 1)]
)
def test_the_predicted_chance_is_that_of_what_follows(mean: float, margin: float, sides: int) -> None:
    found = Estimate(mean, np.sqrt(1 / 10), 9, 1.0, 9, 10, 0.0, 0.0)
    rng, one = np.random.default_rng(12), sides == 1
    true = rng.normal(mean, np.sqrt(1 / 10), 40_000)  # flat prior
    later = (10 * mean + 30 * rng.normal(true, np.sqrt(1 / 30))) / 40
    half = 2.0227 / np.sqrt(40)  # t of 39 degrees of freedom
    low, high = later - half, later + half
    settled = (low > 0) | (high <= margin) if one else (low > 0) | (high < 0) | ((low >= -margin) & (high <= margin))
    predicted = chance(found, margin, 40, 0.025 if one else 0.05, 0.025 if one else 0.05, 1 if one else 2)
    assert predicted == pytest.approx(settled.mean(), abs=0.01)
