"""A YAML file with its places; tests/test_params.py has what its users read."""

from pathlib import Path

import pytest

from pipeline.config.document import Mistake, read
from pipeline.config.errors import ParamsError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some.yaml"


def told(path: Path, *mistakes: Mistake) -> list[str]:
    return str(read(path)[0].error(mistakes)).split("\n")


def test_values_are_yaml_1_2(path: Path) -> None:
    path.write_text("a: 1e-3\nb: yes\nc: 010\nd: [1, {e: ~}]\n")
    assert read(path)[1] == {"a": 0.001, "b": "yes", "c": 10, "d": [1, {"e": None}]}


def test_mistakes_come_in_the_order_of_the_file_each_once(path: Path) -> None:
    path.write_text("a: 1\nb: {c: [2, 3]}\n")
    wrong = [Mistake(("b", "c", 1), "is odd", "add 1"), Mistake(("a",), "is one", "add 2"), Mistake(("a",), "is one", "add 2")]
    assert told(path, *wrong) == [
        "some.yaml:1:4: a: is one (given: 1); add 2",
        "some.yaml:2:12: b.c.1: is odd (given: 3); add 1",
    ]


def test_a_key_has_its_own_place_and_what_is_missing_that_of_what_should_hold_it(path: Path) -> None:
    path.write_text("b: {c: 1}\n")
    assert told(path, Mistake(("b", "c"), "is odd", "rename it", key=True)) == [
        "some.yaml:1:5: b.c: is odd (given: c); rename it"
    ]
    assert told(path, Mistake(("b", "d"), "is missing", "add it")) == [
        "some.yaml:1:4: b.d: is missing (given: nothing); add it"
    ]


def test_values_leave_out_what_is_unusable_and_the_error_has_it(path: Path) -> None:
    path.write_text("a: !foo 1\nb: 2\nb: 3\n4: 5\n")
    document, values = read(path)
    assert values == {"a": None, "b": 2}
    assert [line.path for line in document.unusable] == [("a",), ("b",), ("4",)]
    follows, other = Mistake(("a",), "is no number", "write one"), Mistake(("b",), "is two", "write 3")
    lines = str(document.error([follows, other])).split("\n")
    assert [line.split(": ")[0] for line in lines] == ["some.yaml:1:4", "some.yaml:2:4", "some.yaml:3:1", "some.yaml:4:1"]


@pytest.mark.parametrize(("levels", "fits"), [(48, True), (49, False)])
def test_depth_is_counted_and_not_left_to_pythons_stack(levels: int, fits: bool, path: Path) -> None:
    """The mapping is the first level, what the innermost list holds the last."""
    path.write_text(f"a: {'[' * levels}x{']' * levels}\n")
    if fits:
        read(path)
    else:
        with pytest.raises(ParamsError, match="is nested deeper than 50 levels"):
            read(path)
