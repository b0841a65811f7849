"""What the texts in cells mean."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.cells import MARKS, Kind, Remarks, understood

NUMBERS = st.lists(st.integers(-(10**7), 10**7), min_size=2, max_size=20).filter(lambda some: max(map(abs, some)) >= 1000)


def read(
    cells: list[Any], *missing_values: str | float, kind: Kind = "auto", decimal: str = "."
) -> tuple["pd.Series[Any]", str]:
    """The column, and what is said of it."""
    remarks = Remarks()
    found = understood(pd.Series(cells), "c", missing_values, decimal, kind, remarks)
    return found, "; ".join(remarks.told())


WRITTEN: dict[str, Callable[[int], str]] = {
    "commas between thousands": "{:,}".format,
    "blanks between thousands": lambda number: f"{number:,}".replace(",", "\u202f"),
    "percent signs": "{}%".format,
    "the sign $ and commas between thousands": lambda number: f"{'-' * (number < 0)}${abs(number):,}",
    "the sign € and commas between thousands": "{:,}.00 €".format,
    "the sign CHF and blanks between thousands": lambda number: f"CHF {number:,}".replace(",", "’"),
    "points between thousands and decimal commas": lambda number: f"{number:,},0".replace(",", ".")[:-2] + ",0",
}


@pytest.mark.parametrize("how", WRITTEN)
@given(numbers=NUMBERS)
@settings(max_examples=12)
def test_numbers_are_numbers_however_people_write_them(how: str, numbers: list[int]) -> None:
    found, told = read([WRITTEN[how](number) for number in numbers])
    assert found.tolist() == numbers
    assert told == f"read as numbers with {how}: c"


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["(1,200)", "300", "(20.5)"], [-1200, 300, -20.5]),
        (["($5)", "$7.25"], [-5, 7.25]),
        (["\u22125", "3", "+2"], [-5, 3, 2]),
        (["1.234,50 €", "12,50 €"], [1234.5, 12.5]),
        (["54 053 kr", "1"], None),
    ],
)
def test_a_minus_or_a_sign_is_read_in_any_of_its_spellings(cells: list[str], numbers: list[float] | None) -> None:
    found, told = read(cells)
    assert found.tolist() == (cells if numbers is None else numbers)
    assert told.startswith("read as numbers with ") == (numbers is not None)


CODES = [
    ["00501", "02139", "94105"],
    ["007", "12"],
    ["007.1", "008.45", "250.0"],  # diagnoses, as ICD-9 has them
    ["0047583311587E590003", "0047583311587E590004"],
    ["+49170123456", "+4930123456"],
    ["1e5", "845", "9E2"],
    ['="00501"', '="94105"'],
]
NO_CODES = [
    ["0", "1", "10"],
    ["0.5", "10.5"],
    ["-05", "07"],
    ["1e5", "1e6", "2e7"],
    ["1e5", "100", "0.5"],
    ["1e-05", "0.001"],
    ["+1", "-1"],
    ["+1", "+2"],
]


@pytest.mark.parametrize("cells", CODES)
def test_codes_are_no_numbers_and_that_is_said(cells: list[str]) -> None:
    found, told = read([*cells, "NA", ""])
    bare = [cell.removeprefix('="').removesuffix('"') for cell in cells]
    assert found.dropna().tolist() == bare
    assert found.isna().sum() == 2  # NA stands for no number, and for no code of digits
    assert "taken as codes, not numbers: " in told
    assert pd.api.types.is_float_dtype(read(cells, kind="number")[0])  # but for who knows better


@pytest.mark.parametrize("cells", NO_CODES)
def test_numbers_are_no_codes(cells: list[str]) -> None:
    assert read(cells)[0].tolist() == [float(cell) for cell in cells]


@pytest.mark.parametrize(
    "cells", [["1,23", "4,56"], ["12,34,567", "1"], ["1,2345", "1"], ["0,125", "0,250"], ["$5", "€5"], ["5%", "5"]]
)
def test_what_may_be_another_number_stays_text(cells: list[str]) -> None:
    assert read(cells)[0].tolist() == cells


@given(
    numbers=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9),
    marks=st.lists(st.sampled_from(MARKS), min_size=1, max_size=9),
)
@settings(max_examples=12)
def test_among_numbers_the_usual_marks_are_missing_and_that_is_said(numbers: list[float], marks: list[str]) -> None:
    found, told = read([*map(repr, numbers), *(mark.upper() for mark in marks)])
    assert found[: len(numbers)].tolist() == numbers
    assert found[len(numbers) :].isna().all()
    assert told.startswith("taken as missing: ")
    assert told.endswith(f"in {len(marks)} cell{'s' * (len(marks) > 1)} of c")


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
    found, _ = read(["007", "?", "7"], kind="category")
    assert found.fillna("missing").tolist() == ["007", "missing", "7"]


@pytest.mark.parametrize(
    ("cells", "right"),
    [(["Yes", "no", "YES", "N"], ["yes", "no", "yes", "no"]), (["True", "F", "true"], ["true", "false", "true"])],
)
def test_yes_and_no_have_one_spelling(cells: list[str], right: list[str]) -> None:
    found, told = read(cells)
    assert found.tolist() == right
    assert told == "yes and no, true and false in one spelling: c"


@pytest.mark.parametrize("cells", [["True", "yes", "no", "False"], ["TRUE", "0", "1", "false"], ["Yes", "1", "No"]])
def test_words_and_numbers_for_yes_and_no_are_one(cells: list[str]) -> None:
    found, told = read(cells)
    assert set(found) == {"yes", "no"}
    assert told == "yes and no, true and false, 1 and 0 in one spelling: c"


@pytest.mark.parametrize("cells", [["t", "y"], ["f", "n", "t", "y"], ["yes", "maybe"], ["True", "no"]])
def test_letters_and_other_words_stay_apart(cells: list[str]) -> None:
    assert read(cells)[0].nunique() == len(cells)


def test_other_spellings_are_kept_and_told() -> None:
    found, told = read(["Red", "blue", "red ", "Blue"])
    assert found.tolist() == ["Red", "blue", "red", "Blue"]
    assert told == "categories apart, though alike but for capitals: 'Red', 'red' of c"


@pytest.mark.parametrize(
    ("cells", "hours"),
    [
        (["08:00", "14:35", None], [8, 14 + 35 / 60]),
        (["8:05", "23:59:30"], [8 + 5 / 60, 24 - 30 / 3600]),
        (["18.00.00", "9.30.00"], [18, 9.5]),  # as the air quality of UCI has them
        (["12:00 AM", "12:30 p.m.", "1:15 PM"], [0, 12.5, 13.25]),
        (["1 days 02:00:00", "0 days 00:30:00", "-1 days +23:00:00"], [26, 0.5, -1]),
        (["49:12:00", "?"], [49.2]),
    ],
)
def test_times_are_hours_and_that_is_said(cells: list[str | None], hours: list[float]) -> None:
    found, told = read(cells)
    assert found.dropna().tolist() == pytest.approx(hours)
    assert "times taken as hours: " in told
    assert read(cells, kind="category")[0].dropna().tolist() == [cell for cell in cells if cell is not None]


@pytest.mark.parametrize(
    ("cells", "unit", "numbers"),
    [
        (["1248 CC", "998 CC", None], "CC", [1248, 998]),
        (["23.4 km/kg", "17 km/kg"], "km/kg", [23.4, 17]),
        ([" 36 months", " 60 months", "n/a"], "months", [36, 60]),
        (["1,200kg", "87kg"], "kg", [1200, 87]),
        (["-3 °C", "\u22125 °C"], "°C", [-3, -5]),
        (["12 sq. ft", "3.5 sq. ft"], "sq. ft", [12, 3.5]),
    ],
)
def test_numbers_of_one_unit_are_numbers_and_that_is_said(cells: list[str | None], unit: str, numbers: list[float]) -> None:
    """Engine, mileage and power of used cars, the term of a loan: as tables of the web have them."""
    found, told = read(cells)
    assert found.dropna().tolist() == numbers
    assert f"read as numbers with the unit {unit}" in told


@pytest.mark.parametrize(
    "cells", [["12 kg", "500 g"], ["12 kg", "13"], ["5 PM", "12 PM"], ["007A", "012A"], ["A1b", "A2b"], ["1-2 kg", "3-4 kg"]]
)
def test_texts_with_digits_and_letters_stay_texts(cells: list[str]) -> None:
    assert read(cells)[0].tolist() == cells


@pytest.mark.parametrize(
    "cells", [["10.11.12", "01.02.13"], ["16:9", "4:3"], ["14:35", "2:35 PM"], ["13:00 PM"], ["9:00-17:00"], ["14:75"]]
)
def test_what_may_be_no_time_stays_text(cells: list[str]) -> None:
    assert read(cells)[0].tolist() == cells


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (["83.510", "345", "1.713.318"], [83510, 345, 1713318]),
        (["83.510", "345"], [83510, 345]),
        (["4.377,70", "12,5"], [4377.7, 12.5]),
        (["4 377,70", "12,5"], [4377.7, 12.5]),
        (["1,459 €", "1,5 €"], [1.459, 1.5]),
        (["24,3 %", "7 %"], [24.3, 7]),
        (["(1.200,5)", "3"], [-1200.5, 3]),
        (["12,5", "NA"], [12.5]),
        (["2.5", "1e3"], [2.5, 1000]),  # no thousands
        (["1,234.50", "7"], [1234.5, 7]),  # nothing else
    ],
)
def test_in_a_file_of_decimal_commas_points_and_blanks_part_thousands(cells: list[str], numbers: list[float]) -> None:
    assert read(cells, decimal=",")[0].dropna().tolist() == numbers


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [(["12,34 €", "5 €"], [12.34, 5]), (["24,3 %", "7,1 %"], [24.3, 7.1]), (["1.713.318", "83.510"], [1713318, 83510])],
)
def test_commas_beside_a_sign_and_points_between_thousands_show_themselves(cells: list[str], numbers: list[float]) -> None:
    found, told = read(cells)
    assert found.tolist() == numbers
    assert told.startswith("read as numbers with ")


def test_lengths_of_time_are_seconds() -> None:
    assert read([pd.Timedelta(minutes=1), pd.Timedelta(0)])[0].tolist() == [60, 0]


def test_of_many_columns_the_first_are_told() -> None:
    remarks = Remarks()
    for number in range(7):
        remarks.add("taken", f"x{number}")
    assert remarks.told() == ["taken: x0, x1, x2, x3, x4 and 2 more"]
