"""What the texts in a table's cells mean: numbers as people write them, marks of missing values, yes and no."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.data.mistakes import SHOWN

MARKS = ("na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nil", "?", "-", "--", ".")
"""What stands for a missing number, in small letters: what pandas knows, and what is often seen beside."""
_PLAIN = r"[+-]?\d+(?:\.\d+)?"
_COMMAS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
DECIMAL_COMMA = r"[+-]?\d*,\d+|[+-]?\d+"
THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+|[+-]?\d+"
_AMOUNT = rf"(?:{_COMMAS}|{_PLAIN})"
_BLANK = "[ \u00a0\u202f'\u2019]"  # of any width, and what the Swiss write
_BLANKS = rf"[+-]?[1-9]\d{{0,2}}(?:{_BLANK}\d{{3}})+(?:\.\d+)?"
_POINTS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+,\d+"
_WRITTEN = tuple(
    (how, re.compile(each), re.compile(one), taken_out)
    for how, each, one, taken_out in (
        ("commas between thousands", f"{_COMMAS}|{_PLAIN}", _COMMAS, ","),
        ("blanks between thousands", f"{_BLANKS}|{_PLAIN}", _BLANKS, _BLANK),
        ("percent signs", f"{_AMOUNT} *%", ".*%", "[ ,%]"),
        *(
            (f"the sign {sign}", f"[+-]?[{sign}] *{_AMOUNT}|{_AMOUNT} *[{sign}]|{_AMOUNT}", f".*[{sign}].*", f"[ ,{sign}]")
            for sign in "$€£¥"
        ),
        ("points between thousands and decimal commas", rf"{_POINTS}|[+-]?\d+(?:,\d+)?", _POINTS, r"\."),
    )
)
"""How numbers are written: in words, what each cell must look like, what some cell must, and what is to be taken out."""
_DECIMAL = r"[+-]?\d*[.,]\d+|[+-]?\d+"
MOSTLY = 0.9
"""The share of a column's texts from which on it is a column of numbers with slips among them."""
_BOOLEANS = {"y": "yes", "yes": "yes", "t": "true", "true": "true", "n": "no", "no": "no", "f": "false", "false": "false"}


@dataclass
class Remarks:
    """What was taken for what, by kind; each kind becomes one part of the line about the dataset."""

    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, what: str) -> None:
        """Note it of a column."""
        self.found.setdefault(kind, []).append(what)

    def told(self) -> list[str]:
        """One text for each kind, with the first columns."""
        return [f"{kind}: {', '.join(some[:SHOWN])}{_more(some)}" for kind, some in self.found.items()]


def _more(some: Sequence[str]) -> str:
    return f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""


def understood(
    values: "pd.Series[Any]", name: str, missing_values: Sequence[str | float], as_category: bool, remarks: Remarks
) -> "pd.Series[Any]":
    """The column as numbers where its texts are such, else with texts stripped of blanks and empty ones missing."""
    if values.dtype.kind == "m":
        return pd.Series(values.dt.total_seconds())
    values = without(values, missing_values)
    if not is_text(values):
        return values
    texts = values.astype("string").str.strip().mask(lambda found: found == "").dropna()
    are_marks = texts.str.lower().isin(MARKS)
    numbers = None if are_marks.all() else _as_numbers(texts[~are_marks])
    if numbers is None:
        return _as_texts(texts, name, are_marks, remarks).reindex(values.index)
    if are_marks.any():
        marks = ", ".join(repr(mark) for mark in texts[are_marks].unique())
        remarks.add("taken as missing", f"{marks} in {are_marks.sum()} cells of {name}")
    if as_category:
        return texts[~are_marks].reindex(values.index)
    found, how = numbers
    if how:
        remarks.add(f"read as numbers with {how}", name)
    return found.reindex(values.index)


def mixed_decimals(values: "pd.Series[Any]", is_comma: bool) -> tuple["pd.Series[bool]", "pd.Series[bool]"] | None:
    """Rows of numbers with a decimal comma and rows of those with a decimal point, where a column has both and means the same.

    ``is_comma`` says that the file's other columns have commas: then ``1,459`` beside ``2.5`` is no thousand.
    """
    if not is_text(values):
        return None
    texts = values.astype("string").str.strip()
    known = texts[texts.notna() & (texts != "") & ~texts.str.lower().isin(MARKS)]
    commas, points = (texts.str.fullmatch(rf"[+-]?\d*{mark}\d+").fillna(value=False) for mark in (",", r"\."))
    if not (commas.any() and points.any()) or known.str.fullmatch(_DECIMAL).mean() < MOSTLY:
        return None
    are_thousands = not is_comma and _as_numbers(known) is not None
    return None if are_thousands else (commas, points)


def is_text(values: "pd.Series[Any]") -> bool:
    """Whether it may hold texts."""
    return bool(pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values))


def without(values: "pd.Series[Any]", missing_values: Sequence[str | float]) -> "pd.Series[Any]":
    """The column with these marks as missing."""
    if not missing_values or pd.api.types.is_bool_dtype(values):
        return values
    if pd.api.types.is_numeric_dtype(values):
        numbers = pd.to_numeric(pd.Series([str(mark) for mark in missing_values]), errors="coerce").dropna()
        return values.mask(values.isin(numbers)) if len(numbers) else values
    if not is_text(values):
        return values
    return values.mask(values.astype("string").str.strip().isin([str(mark) for mark in missing_values]))


def _as_numbers(texts: "pd.Series[str]") -> "tuple[pd.Series[float], str] | None":
    """The numbers that all these texts are, and how they are written if not plainly."""
    plain = pd.to_numeric(texts, errors="coerce")
    if plain.notna().all():
        return plain.astype(np.float64), ""
    cells = texts.tolist()
    for how, each, one, taken_out in _WRITTEN:
        if all(map(each.fullmatch, cells)) and any(map(one.fullmatch, cells)):
            bare = texts.str.replace(taken_out, "", regex=True).str.replace(",", ".", regex=False)
            return pd.to_numeric(bare).astype(np.float64), how
    return None


def _as_texts(texts: "pd.Series[str]", name: str, are_marks: "pd.Series[bool]", remarks: Remarks) -> "pd.Series[str]":
    """The texts, with yes and no in one spelling, and a remark on what looks missing or the same."""
    lower = texts.str.lower()
    if lower.isin(list(_BOOLEANS)).all() and texts.nunique() > lower.map(_BOOLEANS).nunique():
        remarks.add("yes and no, true and false in one spelling", name)
        return lower.map(_BOOLEANS).astype("string")
    if are_marks.any():
        marks = ", ".join(repr(mark) for mark in texts[are_marks].unique()[:SHOWN])
        remarks.add("categories, unless `missing_values` names them", f"{marks} of {name}")
    distinct = texts.drop_duplicates()
    alike = distinct.str.lower()
    if not (twice := alike[alike.duplicated()]).empty:
        spellings = ", ".join(map(repr, distinct[alike == twice.iloc[0]]))
        remarks.add("categories apart, though alike but for capitals", f"{spellings} of {name}")
    return texts
