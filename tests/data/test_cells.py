"""What the texts in cells mean."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.cells import MARKS, Remarks, understood

NUMBERS = st.lists(st.integers(-(10**7), 10**7), min_size=2, max_size=20).filter(lambda some: max(map(abs, some)) >= 1000)


def read(cells: list[Any], *missing_values: str | float, as_category: bool = False) -> tuple["pd.Series[Any]", str]:
    """The column, and what is said of it."""
    remarks = Remarks()
    found = understood(pd.Series(cells), "c", missing_values, as_category, remarks)
    return found, "; ".join(remarks.told())


WRITTEN: dict[str, Callable[[int], str]] = {
    "commas between thousands": "{:,}".format,
    "blanks between thousands": lambda number: f"{number:,}".replace(",", "\u202f"),
    "percent signs": "{}%".format,
    "the sign $": lambda number: f"{'-' * (number < 0)}${abs(number):,}",
    "the sign €": "{:,}.00 €".format,
    "points between thousands and decimal commas": lambda number: f"{number:,},0".replace(",", ".")[:-2] + ",0",
}


@pytest.mark.parametrize("how", WRITTEN)
@given(numbers=NUMBERS)
@settings(max_examples=30)
def test_numbers_are_numbers_however_people_write_them(how: str, numbers: list[int]) -> None:
    found, told = read([WRITTEN[how](number) for number in numbers])
    assert found.tolist() == numbers
    assert told == f"read as numbers with {how}: c"


@pytest.mark.parametrize(
    "cells", [["1,23", "4,56"], ["12,34,567", "1"], ["1,2345", "1"], ["0,125", "0,250"], ["$5", "€5"], ["5%", "5"]]
)
def test_what_may_be_another_number_stays_text(cells: list[str]) -> None:
    assert read(cells)[0].tolist() == cells


@given(
    numbers=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9),
    marks=st.lists(st.sampled_from(MARKS), min_size=1, max_size=9),
)
@settings(max_examples=30)
def test_among_numbers_the_usual_marks_are_missing_and_that_is_said(numbers: list[float], marks: list[str]) -> None:
    found, told = read([*map(repr, numbers), *(mark.upper() for mark in marks)])
    assert found[: len(numbers)].tolist() == numbers
    assert found[len(numbers) :].isna().all()
    assert told.startswith("taken as missing: ")
    assert told.endswith(f"in {len(marks)} cells of c")


@given(mark=st.sampled_from(MARKS))
def test_among_texts_they_are_texts_and_that_is_said(mark: str) -> None:
    found, told = read(["Wood", mark, " ", None])
    assert found.fillna("missing").tolist() == ["Wood", mark, "missing", "missing"]
    assert told == f"categories, unless `missing_values` names them: {mark!r} of c"


@pytest.mark.parametrize("cells", [["a", "?", "b"], ["1", "?", "2"], [" ? ", "1.5", "x"]])
def test_marks_that_are_named_are_missing_everywhere(cells: list[str]) -> None:
    found, told = read(cells, "?")
    assert found.isna().sum() == 1
    assert told == ""


def test_a_number_can_stand_for_missing() -> None:
    assert read([1.5, -999.0, 2.0], -999)[0].isna().tolist() == [False, True, False]
    assert read([1, -999, 2], "-999")[0].isna().tolist() == [False, True, False]
    assert read([1.0, np.inf], "inf")[0].isna().tolist() == [False, True]


def test_categories_that_are_numbers_lose_their_marks_and_keep_their_texts() -> None:
    found, _ = read(["007", "?", "7"], as_category=True)
    assert found.fillna("missing").tolist() == ["007", "missing", "7"]


@pytest.mark.parametrize(
    ("cells", "right"),
    [(["Yes", "no", "YES", "N"], ["yes", "no", "yes", "no"]), (["True", "F", "true"], ["true", "false", "true"])],
)
def test_yes_and_no_have_one_spelling(cells: list[str], right: list[str]) -> None:
    found, told = read(cells)
    assert found.tolist() == right
    assert told == "yes and no, true and false in one spelling: c"


def test_other_spellings_are_kept_and_told() -> None:
    found, told = read(["Red", "blue", "red ", "Blue"])
    assert found.tolist() == ["Red", "blue", "red", "Blue"]
    assert told == "categories apart, though alike but for capitals: 'Red', 'red' of c"


def test_lengths_of_time_are_seconds() -> None:
    assert read([pd.Timedelta(minutes=1), pd.Timedelta(0)])[0].tolist() == [60, 0]


def test_of_many_columns_the_first_are_told() -> None:
    remarks = Remarks()
    for number in range(7):
        remarks.add("taken", f"x{number}")
    assert remarks.told() == ["taken: x0, x1, x2, x3, x4 and 2 more"]
