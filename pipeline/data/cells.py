"""What the texts in a table's cells mean: numbers as people write them, marks of missing values, yes and no."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.data.mistakes import SHOWN, names_of

MARKS = ("na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "null", "none", "nil", "?", "-", "--", ".")
"""What stands for a missing number, in small letters: what pandas knows, and what is often seen beside."""
Kind = Literal["auto", "number", "category"]
"""What a column is taken for; ``auto`` goes by its cells."""
DECIMAL_COMMA = r"[+-]?\d*,\d+|[+-]?\d+"
THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+|[+-]?\d+"
_PLAIN = r"[+-]?\d+(?:\.\d+)?"
_COMMAS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
_BLANK = "[ \u00a0\u202f'\u2019]"  # of any width, and what the Swiss write
_BLANKS = rf"[+-]?[1-9]\d{{0,2}}(?:{_BLANK}\d{{3}})+(?:\.\d+)?"
_POINTS = r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+,\d+"
_FORMS = tuple(
    (how, re.compile(each), re.compile(one), taken_out)
    for how, each, one, taken_out in (
        ("", _PLAIN, _PLAIN, " "),
        ("commas between thousands", f"{_COMMAS}|{_PLAIN}", _COMMAS, ","),
        ("blanks between thousands", f"{_BLANKS}|{_PLAIN}", _BLANKS, _BLANK),
        ("parentheses for a minus", rf"\((?:{_COMMAS}|{_PLAIN})\)|{_COMMAS}|{_PLAIN}", r"\(.*", "[,)]"),
        ("points between thousands and decimal commas", rf"{_POINTS}|[+-]?\d+(?:,\d+)?", _POINTS, r"\."),
    )
)
"""How numbers are written: in words, what each cell must look like, what some cell must, and what is to be taken out."""
_SIGNS = r"[%$€£¥]|USD|EUR|GBP|CHF|JPY"
_ONE = rf"(?:\d{{1,3}}(?:(?:[.,]|{_BLANK})\d{{3}})+|\d+)(?:[.,]\d+)?"
_LIKE_NUMBER = re.compile(
    rf"[<>~(]? *[+\-\u2212]?(?:{_SIGNS})? *[+\-\u2212]?{_ONE}(?:{_BLANK}*(?:{_SIGNS})|{_BLANK}[a-zA-Z°µ]{{1,4}})?\)?"
)
"""A number with what people write beside it: a sign, a bound, a unit."""
_DECIMAL = r"[+-]?\d*[.,]\d+|[+-]?\d+"
MOSTLY = 0.9
"""The share of a column's texts from which on it is a column of numbers with slips among them."""
_WORDS = {"true": "yes", "false": "no", "1": "yes", "0": "no"}
_BOOLEANS = {"y": "yes", "yes": "yes", "t": "true", "true": "true", "n": "no", "no": "no", "f": "false", "false": "false"}


@dataclass
class Remarks:
    """What was taken for what, by kind; each kind becomes one part of the line about the dataset."""

    found: dict[str, list[str]] = field(default_factory=dict)
    amounts: list[str] = field(default_factory=list)
    """The columns of numbers that are written as nothing but amounts are: with a percent sign, say."""

    def add(self, kind: str, what: str) -> None:
        """Note it of a column."""
        self.found.setdefault(kind, []).append(what)

    def told(self) -> list[str]:
        """One text for each kind, with the first columns."""
        return [f"{kind}: {', '.join(some[:SHOWN])}{_more(some)}" for kind, some in self.found.items()]


def _more(some: Sequence[str]) -> str:
    return f" and {len(some) - SHOWN} more" if len(some) > SHOWN else ""


def understood(
    values: "pd.Series[Any]", name: str, missing_values: Sequence[str | float], kind: Kind, remarks: Remarks
) -> "pd.Series[Any]":
    """The column as numbers where its texts are such, else with texts stripped of blanks and empty ones missing."""
    if values.dtype.kind == "m":
        return pd.Series(values.dt.total_seconds())
    values = without(values, missing_values)
    if not is_text(values):
        return values
    texts = values.astype("string").str.strip().mask(lambda found: found == "").dropna()
    texts = texts.str.replace(r'^="(.*)"$', r"\1", regex=True)  # as Excel is told to keep a text
    are_marks = texts.str.lower().isin(MARKS)
    known = texts[~are_marks]
    numbers = None if known.empty else _as_numbers(known)
    if numbers is None:
        return _as_texts(texts, name, are_marks, remarks).reindex(values.index)
    if are_marks.any():
        marks = ", ".join(repr(mark) for mark in texts[are_marks].unique())
        remarks.add("taken as missing", f"{marks} in {are_marks.sum()} cells of {name}")
    if kind == "auto" and are_codes(known):
        remarks.add("taken as codes, not numbers", f"{names_of([_telling(known)])} of {name}")
        kind = "category"
    if kind == "category":
        return known.reindex(values.index)
    found, how = numbers
    if how:
        remarks.add(f"read as numbers with {how}", name)
        remarks.amounts.append(name)
    return found.reindex(values.index)


def are_codes(texts: "pd.Series[str]") -> bool:
    """Whether texts that numbers can be read from are codes: postcodes, telephone numbers, identifiers.

    Some begin with a zero (00501), all begin with a plus (+491701234), or some have an ``e`` where others of the same length
    have none (1e5 beside 845).
    """
    if not texts.str.fullmatch(r"\d+(?:[eE]\d+)?").all():
        return bool(texts.str.fullmatch(r"\+\d{7,15}").all())
    have_e = texts.str.contains("e", case=False, regex=False)
    are_of_one_length = texts.str.len().nunique() == 1
    return bool(texts.str.match(r"0\d").any() or (have_e.any() and not have_e.all() and are_of_one_length))


def _telling(codes: "pd.Series[str]") -> str:
    """The first code that shows it."""
    telling = codes[codes.str.contains(r"^0\d|^\+|e", case=False, regex=True)]
    return str(telling.iloc[0])


def like_numbers(texts: "pd.Series[str]") -> float:
    """The share of these texts that are numbers, some with a sign, a bound or a unit that others lack; 0 of codes."""
    return 0.0 if are_codes(texts) else float(texts.map(lambda text: _LIKE_NUMBER.fullmatch(text) is not None).mean())


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
    if not _LIKE_NUMBER.fullmatch(texts.iloc[0]):
        return None
    sign, bare = _without_sign(texts.str.replace("\u2212", "-", regex=False))
    cells = bare.tolist()
    for how, each, one, taken_out in _FORMS:
        if all(map(each.fullmatch, cells)) and any(map(one.fullmatch, cells)):
            written = bare.str.replace(taken_out, "", regex=True).str.replace("(", "-", regex=False)
            numbers = pd.to_numeric(written.str.replace(",", ".", regex=False)).astype(np.float64)
            return numbers, " and ".join(filter(None, (sign, how))) or "another minus"
    return None


def _without_sign(texts: "pd.Series[str]") -> tuple[str, "pd.Series[str]"]:
    """The texts without the one sign of a currency or a percentage that they have, and what it is called."""
    signs = texts.str.extract(f"({_SIGNS})", expand=False)
    found = signs.dropna().unique()
    if len(found) != 1 or (found[0] == "%" and signs.isna().any()):
        return "", texts
    sign = re.escape(found[0])
    bare = texts.str.replace(rf"^([+-]|\()?{sign} *", r"\1", regex=True).str.replace(
        rf"[ \u00a0\u202f]*{sign}(\)?)$", r"\1", regex=True
    )
    return "percent signs" if found[0] == "%" else f"the sign {found[0]}", bare


def _as_texts(texts: "pd.Series[str]", name: str, are_marks: "pd.Series[bool]", remarks: Remarks) -> "pd.Series[str]":
    """The texts, with yes and no in one spelling, and a remark on what looks missing or the same."""
    lower = texts.str.lower()
    if lower.isin(["yes", "no", *_WORDS]).all() and lower.nunique() > 2:
        remarks.add("yes and no, true and false, 1 and 0 in one spelling", name)
        return lower.replace(_WORDS).astype("string")
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
