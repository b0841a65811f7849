"""Dates as people write them: ISO, day or month first, with month names, with times; and what of a date can be learnt from."""

import re
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any, Literal

import pandas as pd

DatePart = Literal["year", "quarter", "month", "day", "weekday", "hour", "minute", "days"]
PARTS_OF_DATES: Mapping[str, Callable[["pd.Series[Any]"], "pd.Series[Any]"]] = {
    "year": lambda dates: dates.dt.year,
    "quarter": lambda dates: dates.dt.quarter,
    "month": lambda dates: dates.dt.month,
    "day": lambda dates: dates.dt.day,
    "weekday": lambda dates: dates.dt.day_of_week,
    "hour": lambda dates: dates.dt.hour,
    "minute": lambda dates: dates.dt.minute,
    "days": lambda dates: (dates - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1),
}
"""What each part of a date is as a number; weekdays from 0, a Monday; ``days`` since 1970."""
_NUMBERED = re.compile(r"\d{1,2}([/.-])\d{1,2}\1(\d{4}|\d{2})( \d.*)?")
_NAMED = ("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y")
MOST_FORMS = 5
"""Dates in more forms are none that anybody wrote."""
_ZONE = re.compile(r"(\d:\d\d(?::\d\d(?:\.\d+)?)?) ?(?:Z|[+-]\d\d(?::?\d\d)?)$")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")


class AmbiguousDatesError(Exception):
    """Dates that begin with the day or with the month, and nothing in them says which."""


def as_dates(values: "pd.Series[Any]", dayfirst: bool | None = None) -> "pd.Series[pd.Timestamp] | None":
    """Moments (UTC), missing where a value is; None where some value is no date.

    Raises :class:`AmbiguousDatesError` where ``dayfirst`` would have to be known.
    """
    if values.dtype.kind == "M":
        return pd.to_datetime(values, utc=True)
    texts = pd.Series(values.dropna().astype("string").unique(), dtype="string")
    if texts.empty or not texts.str.contains(r"\d").all():
        return None
    found = _read(texts, dayfirst)
    return None if found is None else values.astype("string").map(dict(zip(texts, found, strict=True))).astype(found.dtype)


def on_the_clock(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Dates without their time zone, as the clock there showed them: its hour and day are what is learnt, not those of UTC."""
    if values.dtype.kind == "M":
        return pd.Series(values.dt.tz_localize(None))
    return values.astype("string").str.replace(_ZONE, r"\1", regex=True)


def in_several_forms(values: "pd.Series[Any]") -> list[str]:
    """A date of each form, where the values are dates in several; else nothing."""
    texts = pd.Series(values.dropna().astype("string").unique(), dtype="string")
    forms = texts.str.replace(r"[^\W\d]+", "a", regex=True).str.replace(r"\d+", "0", regex=True)
    if not 1 < forms.nunique() <= MOST_FORMS:
        return []
    each = [some for _, some in texts.groupby(forms, sort=False)]
    return [str(some.iloc[0]) for some in each] if all(as_dates(some, dayfirst=True) is not None for some in each) else []


def apart(dates: "pd.Series[pd.Timestamp]") -> pd.Timedelta | None:
    """How far the dates of a series lie apart: all are there and different, and most lie as far from the last."""
    steps = dates.sort_values().diff()[1:]
    if dates.isna().any() or len(steps) < 2 or steps.min() <= pd.Timedelta(0):
        return None
    usual = pd.Timedelta(steps.median())
    return usual if ((steps - usual).abs() <= UNEVEN * usual).mean() >= MOSTLY else None


UNEVEN = 0.1
"""Share by which steps may differ from the usual one: months have 28 to 31 days."""
MOSTLY = 0.75
"""The share of steps that have to be such: working days have a weekend in one of five."""


def in_words(time: pd.Timedelta) -> str:
    """``1 hour``, ``30 days``."""
    units = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
    seconds = time.total_seconds()
    unit, length = next(((unit, length) for unit, length in units.items() if seconds >= length), ("second", 1))
    return f"{(count := seconds / length):.3g} {unit}{'s' * (count != 1)}"


def _read(texts: "pd.Series[str]", dayfirst: bool | None) -> "pd.Series[pd.Timestamp] | None":
    iso = _by(texts, "ISO8601")
    if iso is not None:
        return iso
    if numbered := _NUMBERED.fullmatch(str(texts.iloc[0])):
        return _of_numbers(texts, numbered[1], "%Y" if len(numbered[2]) == 4 else "%y", dayfirst)
    return next((found for form, time in product(_NAMED, _TIMES) if (found := _by(texts, form + time)) is not None), None)


def _of_numbers(texts: "pd.Series[str]", mark: str, year: str, dayfirst: bool | None) -> "pd.Series[pd.Timestamp] | None":
    """Dates such as 31/12/2024 or 12/31/24 5:30 PM; with points, as in 31.12.2024, the day is always first."""
    for time in _TIMES:
        by_day, by_month = (_by(texts, mark.join([*order, year]) + time) for order in (("%d", "%m"), ("%m", "%d")))
        if by_day is None or by_month is None or by_day.equals(by_month):
            found = by_month if by_day is None else by_day
            if found is not None:
                return found
            continue
        if dayfirst is None and mark != ".":
            raise AmbiguousDatesError
        return by_month if dayfirst is False else by_day
    return None


def _by(texts: "pd.Series[str]", form: str) -> "pd.Series[pd.Timestamp] | None":
    found = pd.to_datetime(texts, format=form, errors="coerce", utc=True)
    return found if bool(found.notna().all()) else None
