"""How samples are dealt out to the parts: each in one part, and no part leaks into another."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.data import splits
from pipeline.data.cells import Remarks
from pipeline.data.datasets import made, synthetic
from pipeline.data.leaks import without_leaks
from pipeline.data.tables import dataset_of
from pipeline.problems.dataset import PARTS, ProblemError, Split
from tests.data.helpers import ROWS, a_table

SIZES = {"train": 30, "validation": 12, "test": 18}
FRAME = synthetic(train=60, validation=30, test=45, features=4, classes=3, noise=0.2)
STRATIFIED = "no stratified split can be drawn of its data"
FROZEN = {
    "synthetic": {0: "6068501451b6829d", 1: "797127df2d8ae9d7", 9: "819aea437773f23c", 999: "81f811398c2b841f"},
    "digits": {0: "19e460a3495a18ac", 1: "8a8f6732984146df", 9: "167d779c128536f6", 999: "453b96e49fa0146b"},
    "diabetes": {0: "bb73407d7341de9c", 1: "bcf33bda6ef05321", 9: "827165d8993bb39d", 999: "4f8f0ffc4f5b3da9"},
    "images": {0: "9e818c02b091d45a", 1: "c6feb178798fb10b", 9: "34a35e6944208807", 999: "7e49c9740f0bd027"},
}
"""Splits of some seeds of the default problems, as they have been since results are kept: others would change every run."""


def sizes(parts: Mapping[str, npt.NDArray[np.int64]]) -> dict[str, int]:
    return {part: len(rows) for part, rows in parts.items()}


def drawn(split: Split) -> dict[str, list[int]]:
    return {part: getattr(split, part).tolist() for part in PARTS}


@pytest.mark.parametrize("problem", FROZEN)
def test_the_default_problems_have_the_splits_they_always_had(problem: str, repository: Path) -> None:
    entry = load_params(CATALOGUE).problem(problem)
    data, _ = without_leaks(problem, entry, made(problem, entry.dataset))
    found = splits.draw_splits(problem, data, FROZEN[problem], resample=True)
    rows = {seed: b"".join(getattr(split, part).astype("<i8").tobytes() for part in PARTS) for seed, split in found.items()}
    assert {seed: hashlib.sha256(content).hexdigest()[:16] for seed, content in rows.items()} == FROZEN[problem]


@pytest.mark.parametrize("seed", range(3))
def test_a_seeds_split_keeps_sizes_and_shares_and_shares_no_sample(seed: int) -> None:
    split = splits.draw_splits("synthetic", FRAME, [seed], resample=True)[seed]
    assert sizes(vars(split)) == {"train": 60, "validation": 30, "test": 45}
    assert sorted(np.concatenate(list(vars(split).values()))) == list(range(len(FRAME)))
    overall = np.bincount(FRAME["y"]) / len(FRAME)
    for rows in vars(split).values():
        assert np.abs(np.bincount(FRAME["y"][rows], minlength=3) - overall * len(rows)).max() < 1.5


def test_every_seed_has_its_own_split_and_always_the_same() -> None:
    five, some = (splits.draw_splits("synthetic", FRAME, seeds, resample=True) for seeds in (range(5), (3, 1)))
    assert len({frozenset(split.test.tolist()) for split in five.values()}) == 5
    assert {seed: drawn(five[seed]) for seed in (3, 1)} == {seed: drawn(split) for seed, split in some.items()}
    other = splits.draw_splits("other", FRAME, [3], resample=True)
    assert drawn(other[3]) != drawn(five[3])


def test_without_resampling_the_split_is_the_datasets() -> None:
    shuffled = FRAME.sample(frac=1, random_state=0)
    for split in splits.draw_splits("synthetic", shuffled, range(2), resample=False).values():
        names = np.empty(len(FRAME), dtype=object)
        names[split.train], names[split.validation], names[split.test] = PARTS
        assert names.tolist() == shuffled["split"].tolist()


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [
        ({"y": [0] * 59 + [1]}, f"{STRATIFIED} (a class of 1 sample cannot be in every part)"),
        ({"y": np.arange(60) % 13}, f"{STRATIFIED} (a part of 12 samples has no room for one of each of 13 classes)"),
        ({"y": np.linspace(0, 1, 60), "group": np.arange(60) % 2}, "there are only 2 groups for the three parts"),
    ],
)  # fmt: skip
def test_a_split_that_no_seed_can_have_is_told_with_its_place(columns: Mapping[str, Any], wrong: str) -> None:
    data = pd.DataFrame({"split": np.repeat(PARTS, [30, 12, 18]), **columns})
    with pytest.raises(ProblemError) as told:
        splits.draw_splits("own", data, range(10), resample=True)
    remedy = "give every part more samples, or write `resample: false`"
    assert str(told.value) == f"params.yaml: problems.own: {wrong}; {remedy}"
    assert len(splits.draw_splits("own", data, range(10), resample=False)) == 10


@pytest.mark.parametrize("resample", [True, False])
def test_a_dataset_that_lacks_a_part_is_told(resample: bool) -> None:
    data = pd.DataFrame({"split": np.repeat(["train", "test"], 30), "y": np.linspace(0, 1, 60)})
    with pytest.raises(
        ProblemError, match=r"problems\.own\.dataset: has no sample in its validation part; every part needs some"
    ):
        splits.draw_splits("own", data, range(2), resample=resample)


def test_a_rare_class_that_the_second_draw_leaves_alone_is_told() -> None:
    """A class of two samples: one of them is in the test part, and the other cannot be in both that are left."""
    data = pd.DataFrame({"split": np.repeat(PARTS, [30, 12, 18]), "y": [0] * 58 + [1] * 2})
    with pytest.raises(ProblemError, match="a class of 2 samples cannot be in every part"):
        splits.draw_splits("own", data, range(10), resample=True)


def test_whole_numbers_that_are_no_classes_are_not_stratified() -> None:
    """Numbers to be predicted that happen to be whole, one of them alone, as scikit-learn would refuse them for classes."""
    data = pd.DataFrame({"split": np.repeat(PARTS, [30, 12, 18]), "y": [0.0] * 59 + [1.0]})
    split = splits.draw_splits("own", data, [0], resample=True)[0]
    assert sizes(vars(split)) == SIZES


def test_the_smallest_table_has_a_sample_in_each_part() -> None:
    data = pd.DataFrame({"split": PARTS, "y": [0.5, 1.5, 2.5]})
    for split in splits.draw_splits("own", data, range(5), resample=True).values():
        assert sorted(np.concatenate(list(vars(split).values()))) == [0, 1, 2]


def test_a_group_larger_than_its_part_is_cut_and_never_torn() -> None:
    """The parts keep their sizes: of a larger group samples are left out, of a smaller one some are there twice."""
    group = np.repeat([0, 1, 2], [50, 5, 5])
    data = pd.DataFrame({"split": np.repeat(PARTS, [30, 12, 18]), "y": np.arange(60) / 7, "group": group})
    for split in splits.draw_splits("own", data, range(5), resample=True).values():
        assert sizes(vars(split)) == SIZES
        assert [len(set(group[rows])) for rows in vars(split).values()] == [1, 1, 1]


@given(
    counts=st.lists(st.integers(5, 60), min_size=2, max_size=4).filter(lambda counts: sum(counts) >= 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=25)
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
@settings(max_examples=40)
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
    assert all(np.array_equal(first[part], again[part]) for part in PARTS)
    assert set(first["test"]) != set(other["test"])
    assert first["train"].tolist() != sorted(first["train"])


def test_a_class_of_one_sample_cannot_be_in_every_part() -> None:
    with pytest.raises(splits.SplitError, match="no stratified split can be drawn of its data"):
        splits.at_random(np.array([0] * 59 + [1]), SIZES, 0)


@given(groups=st.lists(st.integers(0, 8), min_size=12, max_size=80), seed=st.integers(0, 2**16))
@settings(max_examples=40)
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


@pytest.mark.parametrize("names", [["7", "7.0", "x"], [7, "7.0", "x"], [" 7", "7", "x "]])
def test_a_number_names_one_group_however_it_is_written(names: list[Any]) -> None:
    found = splits.groups_of(pd.DataFrame({"who": names}), "who", Remarks())
    assert found.tolist() == [0, 0, 1]


def test_groups_that_may_be_one_are_told() -> None:
    data = dataset_of(a_table().assign(who=["Ann", "ANN", "Bob", "Cy"] * (ROWS // 4)), "price", group="who")
    assert data["group"].nunique() == 4
    assert "groups apart, though alike but for capitals: 'Ann', 'ANN' of who" in data.attrs["remarks"]


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
    assert tuple(found[part] for part in PARTS) == expected


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
