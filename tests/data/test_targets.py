"""What is to be predicted."""

from typing import Any

import numpy as np
import pytest

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
