"""Dates as people write them."""

import datetime as dt

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.dates import PARTS_OF_DATES, AmbiguousDatesError, as_dates

FORMS = [
    "%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d.%m.%y %H:%M",
    "%d-%m-%Y", "%m/%d/%y %I:%M %p", "%d/%m/%Y %H:%M:%S", "%d-%b-%Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y %H:%M",
]  # fmt: skip
CLEAR = dt.datetime(2024, 3, 31, 17, 30)
"""A day that is no month."""


@pytest.mark.parametrize("form", FORMS)
@given(days=st.lists(st.integers(0, 5000), max_size=9), gap=st.booleans())
@settings(max_examples=8)
def test_dates_are_read_in_every_form(form: str, days: list[int], gap: bool) -> None:
    moments = [CLEAR, *(CLEAR - dt.timedelta(days=day) for day in days)]
    texts = pd.Series([moment.strftime(form) for moment in moments] + [None] * gap)
    found = as_dates(texts)
    assert found is not None
    right = [dt.datetime.strptime(moment.strftime(form), form).replace(tzinfo=dt.UTC) for moment in moments]
    assert found.dropna().dt.to_pydatetime().tolist() == right
    assert found.isna().sum() == gap


@pytest.mark.parametrize("dayfirst", [True, False])
def test_which_comes_first_is_asked_where_nothing_says_it(dayfirst: bool) -> None:
    texts = pd.Series(["3/4/2024", "5/6/2024"])
    with pytest.raises(AmbiguousDatesError):
        as_dates(texts)
    found = as_dates(texts, dayfirst)
    assert found is not None
    assert found.dt.month.tolist() == ([4, 6] if dayfirst else [3, 5])


def test_with_points_the_day_comes_first() -> None:
    found = as_dates(pd.Series(["3.4.2024"]))
    assert found is not None
    assert found.dt.month.tolist() == [4]


@pytest.mark.parametrize(
    "texts", [["red"], ["31/12/2024", "soon"], ["13/13/2024"], ["1.2.3"], ["31/12/2024", "12/31/2024"], [None]]
)
def test_what_is_no_date_is_none(texts: list[str | None]) -> None:
    assert as_dates(pd.Series(texts, dtype="string")) is None


def test_the_parts_of_a_date() -> None:
    dates = as_dates(pd.Series(["2024-03-31T17:30", None]))
    assert dates is not None
    found = {part: of(dates).tolist()[0] for part, of in PARTS_OF_DATES.items()}
    days = (dt.datetime(2024, 3, 31, 17, 30) - dt.datetime(1970, 1, 1)) / dt.timedelta(days=1)
    right = {"year": 2024, "quarter": 1, "month": 3, "day": 31, "weekday": 6, "hour": 17, "minute": 30, "days": days}
    assert found == right
    assert all(pd.isna(of(dates).tolist()[1]) for of in PARTS_OF_DATES.values())
