"""What is to be predicted."""

from typing import Any

import numpy as np
import pytest

from pipeline.data.leaks import leaks
from pipeline.data.mistakes import DatasetError
from pipeline.data.tables import dataset_of, described
from tests.data.helpers import ROWS, a_table


@pytest.mark.parametrize(
    ("target", "task", "kind"),
    [
        (np.resize(["yes", "no"], ROWS), "auto", np.int64),
        (np.resize([True, False, False], ROWS), "auto", np.int64),
        (np.resize([3, 5, 9], ROWS), "auto", np.int64),
        (np.arange(ROWS), "auto", np.float64),
        (np.linspace(0, 1, ROWS), "auto", np.float64),
        (np.resize([3, 5, 9], ROWS), "regression", np.float64),
        (np.resize(np.linspace(0, 1, 4), ROWS), "classification", np.int64),
        ([f"{1000 + number:,}" for number in range(ROWS)], "auto", np.float64),
        ([f"{number}%" for number in range(ROWS)], "auto", np.float64),
        (np.resize(["$3", "$5"], ROWS), "auto", np.int64),
    ],
)
def test_what_is_predicted_follows_from_the_target(target: Any, task: Any, kind: type) -> None:
    data = dataset_of(a_table(goal=target), "goal", task=task)
    assert data["y"].dtype == kind
    if kind is np.int64:
        assert sorted(data["y"].unique()) == list(range(data["y"].nunique()))


def test_classes_of_few_samples_are_told() -> None:
    data = dataset_of(a_table(goal=["rare", "rare", *["no", "yes"] * 29]), "goal")
    assert "; warning: few samples of 'rare' (2), perhaps none in a part; merge classes" in described(data)


def test_blanks_are_no_part_of_a_class() -> None:
    data = dataset_of(a_table(sick=["no", " yes", "no ", "yes"] * 15), "sick")
    assert data.attrs["classes"] == ["no", "yes"]
    assert "to predict 2 classes ('no', 'yes'; 'yes' is the positive one)" in described(data)


@pytest.mark.parametrize(
    ("cells", "positive", "classes"),
    [
        (["good", "bad"], None, ["bad", "good"]),
        (["good", "bad"], "bad", ["good", "bad"]),
        (["good", "bad"], "Good", ["bad", "good"]),
        ([1, 2], 1, ["2", "1"]),
        ([1, 2], "2", ["1", "2"]),
        ([True, False], False, ["True", "False"]),
    ],
)
def test_the_positive_class_is_the_last(cells: list[Any], positive: Any, classes: list[str]) -> None:
    data = dataset_of(a_table(goal=cells * 30), "goal", positive=positive)
    assert data.attrs["classes"] == classes
    assert [classes[place] for place in data["y"][:2]] == [str(cell) for cell in cells]


@pytest.mark.parametrize(
    ("cells", "given", "message"),
    [
        (["good", "bad"], {"positive": "bat"}, r"positive: is no class of goal; did you mean bad\?"),
        (["good", "bad", "so so"], {"positive": "bad"}, "positive: is for two classes, and goal has 3; leave `positive` out"),
        ([1.5, 2.5], {"positive": 1}, "positive: names a class, and goal is a number"),
        (["1", "?", "2"], {}, r"target: the column goal is empty or holds '\?' in rows 2, 5, 8, 11, 14 and 15 more"),
        (["1,5", "2,25"], {"task": "regression"}, r'read: the column goal holds .* decimal commas .*`read: {decimal: ","}`'),
    ],
)
def test_trouble_with_a_target_is_told(cells: list[Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        dataset_of(a_table(goal=np.resize(np.array(cells, dtype=object), ROWS)), "goal", **given)


@pytest.mark.parametrize("task", ["regression", "classification", "auto"])
def test_no_two_remedies_refer_to_each_other(task: str) -> None:
    """Texts that are all different are neither classes nor numbers."""
    with pytest.raises(DatasetError, match="name another column"):
        dataset_of(a_table(goal=[f"id{number}" for number in range(ROWS)]), "goal", task=task)


# Logarithms, several targets, weights


def test_several_targets_are_columns_of_their_own() -> None:
    table = a_table(area=np.linspace(1, 2, ROWS), survey=np.linspace(1, 3, ROWS))
    data = dataset_of(table, "price", more_targets=["area"], weight="survey", group="colour")
    assert list(data) == ["split", "y", "y1", "x0", "x1", "group", "weight"]
    assert [column["name"] for column in data.attrs["columns"]] == ["size", "rooms"]
    np.testing.assert_array_equal(data[["y", "y1", "weight"]], table[["price", "area", "survey"]])
    assert "to predict 2 numbers (price from" in described(data)
    assert "area from 1 to 2)" in described(data)
    assert data.attrs["targets"] == ["price", "area"]


def test_a_row_without_one_of_its_targets_is_unlabelled() -> None:
    table = a_table(area=np.linspace(1, 2, ROWS))
    table.loc[3, "area"] = table.loc[5, "price"] = None
    with pytest.raises(DatasetError, match=r"column price is empty in row 6; .*\ntarget: the column area is empty in row 4"):
        dataset_of(table, "price", more_targets=["area"])
    data = dataset_of(table, "price", more_targets=["area"], unlabelled="drop")
    assert len(data) == ROWS - 2
    assert "left out: 2 rows without price and area" in data.attrs["remarks"]


def test_a_copy_of_the_second_target_is_told() -> None:
    area = np.linspace(1, 2, ROWS) ** 2
    data = dataset_of(a_table(area=area, feet=area * 10.764), "price", more_targets=["area"])
    assert [leak.column for leak in leaks(data)] == ["feet"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"transform": "log"},
            r"target_transform: log takes numbers above 0, and goal is -0\.5 at least, in rows 1, 4, .*log1p",
        ),
        ({"transform": "log", "target": "low"}, r"target_transform: log takes .* low is -3 at least, in row.*; leave it out"),
        ({"transform": "log1p", "target": "low"}, r"target_transform: log1p takes numbers above -1, and low is -3 at least"),
        ({"transform": "log", "target": "colour"}, r"target_transform: is for numbers, and colour is taken for classes"),
        (
            {"more_targets": ["colour"]},
            r"target: colour is no number, as a regression needs; name columns of numbers, or one target",
        ),
        ({"more_targets": ["goal"]}, r"target: names 'goal', which is named twice; name each column once"),
        ({"more_targets": ["gaol"]}, r"target: there is no column 'gaol'; did you mean goal\?"),
        ({"more_targets": ["low"], "task": "classification"}, r"task: has several targets, which are numbers"),
        ({"more_targets": ["low"], "positive": "a"}, r"positive: names a class, and goal is a number"),
        ({"weight": "colour"}, r"weight: the column colour holds 'red', 'green', 'blue', no numbers; name another column"),
        ({"weight": "goal"}, r"weight: names 'goal', which is named twice"),
        ({"weight": "low"}, r"weight: the column low holds weights that are not above 0 in rows 1, 2"),
        ({"weight": "gaps"}, r"weight: the column gaps is empty in row 3; complete these rows"),
    ],
)
def test_what_is_no_target_or_weight(given: dict[str, Any], message: str) -> None:
    table = a_table(goal=np.resize([-0.5, 0.5, 1.5], ROWS), low=np.linspace(-3, 0, ROWS), gaps=np.linspace(1, 2, ROWS))
    table.loc[2, "gaps"] = None
    with pytest.raises(DatasetError, match=message):
        dataset_of(table, **{"target": "goal", "missing": "impute", **given})


def test_classes_of_which_most_look_like_numbers_are_told() -> None:
    """Three texts in ten are no slips, and what is meant may be a number all the same."""
    target = [*(f"{number}.5" for number in range(7)), "low", "high", "none"] * 6
    (said,) = (said for said in dataset_of(a_table(goal=target), "goal").attrs["remarks"] if "look like numbers" in said)
    assert said.startswith("classes, though most look like numbers: '0.5', '1.5'")
    assert said.endswith(" of goal (`task: regression` if it is a number, else `task: classification`)")
    for clear, task in (
        (target, "classification"),
        (["low", "high", "none", "3 or so"] * 15, "auto"),
        (["1", "2"] * 30, "auto"),
    ):
        assert "look like numbers" not in described(dataset_of(a_table(goal=clear), "goal", task=task))
    with pytest.raises(DatasetError, match="the column goal holds numbers, but 'low', 'high', 'none' in rows"):
        dataset_of(a_table(goal=target), "goal", task="regression")
