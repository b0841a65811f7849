"""How samples are dealt out to the parts: each in one part, and no part leaks into another."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from pipeline.problems import splits

SIZES = {"train": 30, "validation": 12, "test": 18}


def sizes(parts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, int]:
    return {part: len(rows) for part, rows in parts.items()}


@given(
    counts=st.lists(st.integers(5, 60), min_size=2, max_size=4).filter(lambda counts: sum(counts) >= 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=50)
def test_classes_keep_their_shares_and_no_sample_is_in_two_parts(counts: list[int], seed: int) -> None:
    """Samples beyond the sizes are left out."""
    y = np.repeat(np.arange(len(counts)), counts)
    parts = splits.at_random(y, SIZES, seed)
    assert sizes(parts) == SIZES
    rows = np.concatenate(list(parts.values()))
    assert len(np.unique(rows)) == len(rows)
    for part in parts.values():
        expected = np.array(counts) / len(y) * len(part)
        assert np.abs(np.bincount(y[part], minlength=len(counts)) - expected).max() < 2


@given(
    counts=(st.lists(st.integers(1, 60), min_size=2, max_size=9) | st.just([70])).filter(lambda counts: sum(counts) >= 60),
    seed=st.integers(0, 99),
    has_classes=st.booleans(),
)
@settings(max_examples=100)
def test_a_split_at_random_is_scikit_learns(counts: list[int], seed: int, has_classes: bool) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    everything, strata = np.arange(len(y)), y if has_classes else None
    try:
        rest, test = train_test_split(everything, test_size=SIZES["test"], stratify=strata, random_state=seed)
        train, validation = train_test_split(
            rest,
            train_size=SIZES["train"],
            test_size=SIZES["validation"],
            stratify=None if strata is None else strata[rest],
            random_state=seed,
        )
    except ValueError:
        with pytest.raises(splits.SplitError, match="no stratified split"):
            splits.at_random(y, SIZES, seed)
        return
    found = splits.at_random(y if has_classes else y.astype(float), SIZES, seed)
    assert {part: rows.tolist() for part, rows in found.items()} == {
        "train": train.tolist(),
        "validation": validation.tolist(),
        "test": test.tolist(),
    }


def test_a_part_has_room_for_every_class() -> None:
    with pytest.raises(splits.SplitError, match="a part of 2 samples has no room for one of each of 3 classes"):
        splits.at_random(np.arange(60) % 3, {"train": 40, "validation": 18, "test": 2}, 0)


def test_a_split_at_random_is_its_seeds() -> None:
    y = np.linspace(0, 1, 60)
    first, again, other = (splits.at_random(y, SIZES, seed) for seed in (0, 0, 1))
    assert all(np.array_equal(first[part], again[part]) for part in splits.PARTS)
    assert set(first["test"]) != set(other["test"])
    assert first["train"].tolist() != sorted(first["train"])


def test_a_class_of_one_sample_cannot_be_in_every_part() -> None:
    with pytest.raises(splits.SplitError, match="no stratified split can be drawn of its data"):
        splits.at_random(np.array([0] * 59 + [1]), SIZES, 0)


@given(groups=st.lists(st.integers(0, 8), min_size=12, max_size=80), seed=st.integers(0, 2**16))
@settings(max_examples=100)
def test_a_group_is_in_one_part_and_none_is_empty(groups: list[int], seed: int) -> None:
    names = np.array(groups)
    if len(np.unique(names)) < 3:
        with pytest.raises(splits.SplitError, match="groups for the three parts"):
            splits.by_group(names, {"train": 6, "validation": 3, "test": 3}, seed)
        return
    parts = splits.by_group(names, splits.sizes_of(len(names), {"validation": 0.2, "test": 0.2}), seed)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(names)))
    held = [set(names[rows]) for rows in parts.values()]
    assert all(held)
    assert sum(map(len, held)) == len(set(groups))


@given(order=st.lists(st.integers(0, 20), min_size=3, max_size=80))
def test_no_part_of_a_series_looks_ahead_and_no_time_step_is_in_two(order: list[int]) -> None:
    when, sizes = np.array(order), splits.sizes_of(len(order), {"validation": 0.2, "test": 0.2})
    if len(set(order)) < 3:
        with pytest.raises(splits.SplitError, match="time steps for the three parts"):
            splits.in_order(when, sizes)
        return
    parts = splits.in_order(when, sizes)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(when)))
    assert when[parts["train"]].max() < when[parts["validation"]].min()
    assert when[parts["validation"]].max() < when[parts["test"]].min()
    if len(set(order)) == len(order):
        assert {part: len(rows) for part, rows in parts.items()} == sizes


def test_groups_of_equal_size_meet_the_sizes() -> None:
    parts = splits.by_group(np.arange(60) // 3, SIZES, seed=4)
    assert sizes(parts) == SIZES
    assert all(rows.tolist() == sorted(rows) for rows in parts.values())


@pytest.mark.parametrize(
    ("samples", "shares", "expected"),
    [
        (100, (0.2, 0.2), (60, 20, 20)),
        (10, (0.25, 0.25), (6, 2, 2)),
        (3, (0.01, 0.01), (1, 1, 1)),  # no part is empty
        (7, (0.5, 0.1), (2, 4, 1)),
    ],
)
def test_sizes_from_shares(samples: int, shares: tuple[float, float], expected: tuple[int, int, int]) -> None:
    """Of validation and test; training takes what is left."""
    found = splits.sizes_of(samples, dict(zip(("validation", "test"), shares, strict=True)))
    assert tuple(found[part] for part in splits.PARTS) == expected


def test_two_samples_are_too_few() -> None:
    with pytest.raises(splits.SplitError, match="2 samples are too few for three parts"):
        splits.sizes_of(2, {"validation": 0.2, "test": 0.2})


@pytest.mark.parametrize("seed", range(5))
def test_equal_samples_among_many_others_change_neither_sizes_nor_shares(seed: int) -> None:
    """Which part a pair is in is drawn, like all else."""
    number, y = np.concatenate([np.repeat(np.arange(20), 2), np.arange(20, 180)]), np.resize([0, 0, 1], 200)
    wanted = {"train": 100, "validation": 50, "test": 30}  # and 20 left over
    parts = splits.together(number, y, wanted, seed)
    assert sizes(parts) == wanted
    for part, rows in parts.items():
        assert abs(np.bincount(y[rows])[1] - wanted[part] / 3) < 2.5
    held = [set(number[rows]) for rows in parts.values()]
    assert sum(map(len, held)) == len(set.union(*held))
    other = splits.together(number, y, wanted, seed + 5)
    assert {part: set(rows) for part, rows in parts.items()} != {part: set(rows) for part, rows in other.items()}


def test_equal_samples_that_leave_a_part_empty_are_told() -> None:
    with pytest.raises(splits.SplitError, match="there are only 2 different ones"):
        splits.together(np.arange(60) % 2, np.linspace(0, 1, 60), SIZES, 0)
    for seed in range(5):
        assert all(rows.size for rows in splits.together(np.arange(60) % 3, np.linspace(0, 1, 60), SIZES, seed).values())
