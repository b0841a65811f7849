"""What the texts in a table's cells mean: numbers as people write them, marks of missing values, yes and no."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.config.wording import counted, few
from pipeline.data.dates import as_dates
from pipeline.data.mistakes import SHOWN, names_of, refuse_unusable, rows_of, with_entries

MARKS = ("na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "-nan", "null", "\\n", "none", "nil", "?", "-", "--", ".")
"""What stands for a missing number, in small letters: what pandas and databases know, and what is often seen beside."""
Kind = Literal["auto", "number", "category"]
"""What a column is taken for; ``auto`` goes by its cells."""
DECIMAL_COMMA = r"[+-]?\d*,\d+|[+-]?\d+"
THOUSANDS = r"[+-]?[1-9]\d{0,2}(?:,\d{3})+|[+-]?\d+"
_BLANK = "[ \u00a0\u202f'\u2019]"  # of any width, and what the Swiss write


@dataclass(frozen=True)
class _Form:
    """How numbers are written: in words, what each cell must look like, what some cell must, and what is to be taken out."""

    how: str
    each: re.Pattern[str]
    one: re.Pattern[str]
    taken_out: str


def _forms(decimal: str) -> tuple[_Form, ...]:
    """The forms of numbers where ``decimal`` is the mark: first those that it decides, then those that show another one."""
    other = "," if decimal == "." else "."
    at, apart = re.escape(decimal), re.escape(other)
    names = {".": "points", ",": "commas"}
    plain = rf"[+-]?\d+(?:{at}\d+)?"

    def parted(by: str, mark: str = at, decimals: str = "?") -> str:
        return rf"[+-]?[1-9]\d{{0,2}}(?:{by}\d{{3}})+(?:{mark}\d+){decimals}"

    grouped, blanks, turned = parted(apart), parted(_BLANK), parted(at, apart, "")
    between = "points between thousands and decimal commas" if decimal == "." else "commas between thousands and decimal points"
    thousands = rf"[+-]?[1-9]\d{{0,2}}(?:{at}\d{{3}}){{2,}}"
    rows = (
        ("", plain, plain, " "),
        (f"{names[other]} between thousands", f"{grouped}|{plain}", grouped, apart),
        ("blanks between thousands", f"{blanks}|{plain}", blanks, _BLANK),
        ("parentheses for a minus", rf"\((?:{grouped}|{plain})\)|{grouped}|{plain}", r"\(.*", f"[{other})]"),
        (between, rf"{turned}|[+-]?\d+(?:{apart}\d+)?", turned, at),
        (f"{names[decimal]} between thousands", rf"{parted(at)}|[+-]?\d+", thousands, at),
    )
    return tuple(_Form(how, re.compile(each), re.compile(one), taken_out) for how, each, one, taken_out in rows)


_SIGNS = r"[%$€£¥]|USD|EUR|GBP|CHF|JPY"
_ONE = rf"(?:\d{{1,3}}(?:(?:[.,]|{_BLANK})\d{{3}})+|\d+)(?:[.,]\d+)?"
_LIKE_NUMBER = re.compile(
    rf"[<>~(]? *[+\-\u2212]?(?:{_SIGNS})? *[+\-\u2212]?{_ONE}(?:{_BLANK}*(?:{_SIGNS})|{_BLANK}[a-zA-Z°µ]{{1,4}})?\)?"
)
"""A number with what people write beside it: a sign, a bound, a unit."""
_UNIT = re.compile(rf"(.*\d){_BLANK}?([°µ]?[a-zA-Z](?:[a-zA-Z/²³. ]{{0,10}}[a-zA-Z²³])?)")
"""Whatever ends in a digit, and a unit behind it: ``1248 CC``, ``23.4 km/kg``, ``36 months``."""
_NO_UNIT = rf"{_SIGNS}|[AaPp]\.?[Mm]\.?"
_DECIMAL = r"[+-]?\d*[.,]\d+|[+-]?\d+"
_FORMS = {decimal: _forms(decimal) for decimal in ".,"}
_SIGNED = _Form("decimal commas", re.compile(DECIMAL_COMMA), re.compile(".*,.*"), " ")
"""What commas beside a sign are where they part no thousands."""
_SHOW_COMMAS = rf".*(?:\.\d{{3}}(?:,\d+|\.\d{{3}})|{_BLANK}\d{{3}},\d+)"
"""Marks that only decimal commas leave room for: 1.234,5 and 1.234.567 and 1 234,5."""
_TIME = re.compile(
    r"^(?:(?P<days>-?\d+) days?,? \+?)?(?P<hours>\d{1,3})(?P<mark>[:.])(?P<minutes>[0-5]\d)"
    r"(?:(?P=mark)(?P<seconds>[0-5]\d(?:\.\d+)?))?(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?$"
)
"""A time of day or a length of time: 8:05, 14:35:00, 18.00.00, 2:35 PM, 1 days 02:00:00."""
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
        return [f"{kind}: {few(some)}" for kind, some in self.found.items()]


def understood(
    values: "pd.Series[Any]", name: str, missing_values: Sequence[str | float], decimal: str, kind: Kind, remarks: Remarks
) -> "pd.Series[Any]":
    """The column as numbers where its texts are such, else with texts stripped of blanks and empty ones missing.

    ``decimal`` is the mark of the file's numbers. Times are numbers too, of hours.
    """
    if values.dtype.kind == "m":
        return pd.Series(values.dt.total_seconds())
    values = without(values, missing_values)
    if not is_text(values):
        return values
    texts = values.astype("string").str.strip().mask(lambda found: found == "").dropna()
    texts = texts.str.replace(r'^="(.*)"$', r"\1", regex=True)  # as Excel is told to keep a text
    are_marks = texts.str.lower().isin(MARKS)
    known = texts[~are_marks]
    numbers = None if known.empty else _as_numbers(known, decimal)
    hours = _as_hours(known) if numbers is None and not known.empty and kind != "category" else None
    if numbers is None and hours is None:
        return _as_texts(texts, name, are_marks, remarks).reindex(values.index)
    if are_marks.any():
        marks = ", ".join(repr(mark) for mark in texts[are_marks].unique())
        remarks.add("taken as missing", f"{marks} in {counted(int(are_marks.sum()), 'cell')} of {name}")
    if kind == "auto" and are_codes(known):
        telling = known[known.str.contains(r"^0\d|^\+|e", case=False, regex=True)]
        remarks.add("taken as codes, not numbers", f"{names_of(telling[:1])} of {name}")
        kind = "category"
    if hours is not None:
        latest = int(hours.to_numpy().argmax())
        remarks.add("times taken as hours", f"{known.iloc[latest]!r} of {name} is {hours.iloc[latest]:.4g}")
        return hours.reindex(values.index)
    if kind == "category" or numbers is None:
        return known.reindex(values.index)
    found, how = numbers
    if how:
        remarks.add(f"read as numbers with {how}", name)
        remarks.amounts.append(name)
    return found.reindex(values.index)


def complete(
    values: "pd.Series[Any]", name: str, key: str, missing_values: Sequence[str | float], decimal: str, kind: Kind
) -> "pd.Series[Any]":
    """A column that must say something of each row, as :func:`understood`."""
    refuse_unusable(values, name, key)
    found = understood(values, name, missing_values, decimal, kind, Remarks())
    refuse_unusable(found, name, key)
    return found


def are_codes(texts: "pd.Series[str]") -> bool:
    """Whether texts that numbers can be read from are codes: postcodes, telephone numbers, identifiers.

    Some begin with a zero (00501, 008.45), all begin with a plus (+491701234), or some have an ``e`` where others of the same
    length have none (1e5 beside 845).
    """
    if not texts.str.fullmatch(r"\d+(?:\.\d+|[eE]\d+)?").all():
        return bool(texts.str.fullmatch(r"\+\d{7,15}").all())
    if texts.str.match(r"0\d").any():
        return True
    have_e, have_points = texts.str.contains("e", case=False, regex=False), texts.str.contains(".", regex=False)
    are_of_one_length = texts.str.len().nunique() == 1
    return bool(have_e.any() and not have_e.all() and not have_points.any() and are_of_one_length)


def like_numbers(texts: "pd.Series[str]") -> float:
    """The share of these texts that are numbers, some with a sign, a bound or a unit that others lack; 0 of codes."""
    return 0.0 if are_codes(texts) else float(texts.map(lambda text: _LIKE_NUMBER.fullmatch(text) is not None).mean())


def unclear_marks(values: "pd.Series[Any]", decimal: str, read: Mapping[str, Any]) -> tuple[str, str] | None:
    """What is wrong with a column of numbers whose commas and points cannot all mean the same, and what would be right.

    ``decimal`` is the mark of the file's other columns: where that is a comma, ``1,459`` beside ``2.5`` is no thousand.
    ``read`` is what is given of it.
    """
    if not is_text(values):
        return None
    texts = values.astype("string").str.strip().fillna("")
    known = texts[(texts != "") & ~texts.str.lower().isin(MARKS)]
    commas, points = (texts.str.fullmatch(rf"[+-]?\d*{mark}\d+").astype(bool) for mark in (",", r"\."))
    if commas.any() and points.any() and known.str.fullmatch(_DECIMAL).mean() >= MOSTLY:
        is_shown = decimal == "." or bool(known.str.fullmatch(_SHOW_COMMAS).any())
        if is_shown and _as_numbers(known, decimal) is not None:
            return None
        rare, many = sorted([("commas", commas), ("points", points)], key=lambda mark: int(mark[1].sum()))
        what = f"holds numbers with decimal {rare[0]} in {rows_of(rare[1])} and with decimal {many[0]} in {rows_of(many[1])}"
        return what, "write one decimal mark in all rows"
    thousands = texts.str.contains(",", regex=False) & texts.str.fullmatch(THOUSANDS).astype(bool)
    odd = commas & ~thousands  # a few 12,34 beside many 1,000
    if decimal == "," or not 0 < odd.sum() <= (1 - MOSTLY) * (odd | thousands).sum():
        return None
    if not known.str.fullmatch(f"{DECIMAL_COMMA}|{THOUSANDS}").all():
        return None
    of = names_of(texts[thousands].unique()[:2])
    what = f"holds {names_of(texts[odd].unique())} in {rows_of(odd)}, and thousands with a comma, {of}"
    return what, f"correct these cells, or write {with_entries('read', read, decimal=',')} if all commas part decimals"


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


def shows_decimal_commas(texts: "pd.Series[str]") -> bool:
    """Whether all are numbers, with a sign or marks between thousands perhaps, and some show that commas part decimals."""
    known = texts[~texts.str.lower().isin(MARKS)]
    if known.empty or not _LIKE_NUMBER.fullmatch(known.iloc[0]):
        return False
    _, bare = _without_unit(known)
    if bare.str.fullmatch(DECIMAL_COMMA).all():
        return not bare.str.fullmatch(THOUSANDS).all()
    return bool(bare.str.fullmatch(_SHOW_COMMAS).any()) and _written(bare, _FORMS[","][1:3]) is not None


def _as_numbers(texts: "pd.Series[str]", decimal: str) -> "tuple[pd.Series[float], str] | None":
    """The numbers that all these texts are, and how they are written if not plainly."""
    plain = pd.to_numeric(texts, errors="coerce")
    if (is_plain := bool(plain.notna().all())) and decimal == ".":
        return plain.astype(np.float64), ""
    if not is_plain and not (_LIKE_NUMBER.fullmatch(texts.iloc[0]) or _UNIT.fullmatch(texts.iloc[0])):
        return None
    sign, bare = _without_unit(texts.str.replace("\u2212", "-", regex=False))
    if found := _written(bare, (*_FORMS[decimal], *[_SIGNED] * bool(sign))):
        numbers, how = found
        minus = "another minus" * (not (sign or how) and bool(texts.str.contains("\u2212", regex=False).any()))
        return numbers, " and ".join(filter(None, (sign, how, minus)))
    return (plain.astype(np.float64), "") if is_plain else None


def _written(texts: "pd.Series[str]", forms: Sequence[_Form]) -> "tuple[pd.Series[float], str] | None":
    """The numbers, by the first form that all these texts have, and that form in words."""
    cells = texts.tolist()
    for form in forms:
        if all(map(form.each.fullmatch, cells)) and any(map(form.one.fullmatch, cells)):
            bare = texts.str.replace(form.taken_out, "", regex=True).str.replace("(", "-", regex=False)
            return pd.to_numeric(bare.str.replace(",", ".", regex=False)).astype(np.float64), form.how
    return None


def _as_hours(texts: "pd.Series[str]") -> "pd.Series[float] | None":
    """The hours that all these texts are as times of day or lengths of time; those with points, unless they are dates."""
    if not _TIME.match(texts.iloc[0]):
        return None
    found = texts.str.extract(_TIME)
    have_points, half = found["mark"] == ".", found["half"].str.lower()
    if found["mark"].isna().any() or (have_points & found["seconds"].isna()).any() or half.isna().nunique() > 1:
        return None
    if have_points.any() and as_dates(texts, dayfirst=True) is not None:
        return None
    days, hours, minutes, seconds = (
        pd.to_numeric(found[part]).fillna(0).astype(np.float64) for part in ("days", "hours", "minutes", "seconds")
    )
    if half.notna().any():
        if not hours.between(1, 12).all():
            return None
        hours = hours % 12 + np.where(half == "p", 12.0, 0.0)
    return 24 * days + hours + minutes / 60 + seconds / 3600


def _without_unit(texts: "pd.Series[str]") -> tuple[str, "pd.Series[str]"]:
    """The texts without the one sign of a currency or percentage that they have, or the unit of all, and what it is called."""
    parts = texts.str.extract(_UNIT).fillna("")
    numbers, units = parts[0], parts[1]
    if (unit := units.iloc[0]) and (units == unit).all() and not (re.fullmatch(_NO_UNIT, unit) or are_codes(numbers)):
        return f"the unit {unit}", numbers
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
    tell_alike(texts, name, "categories", remarks)
    return texts


def tell_alike(texts: "pd.Series[str]", name: str, what: str, remarks: Remarks) -> None:
    """Note texts that may be meant as one."""
    distinct = texts.drop_duplicates()
    alike = distinct.str.lower()
    if not (twice := alike[alike.duplicated()]).empty:
        spellings = ", ".join(map(repr, distinct[alike == twice.iloc[0]]))
        remarks.add(f"{what} apart, though alike but for capitals", f"{spellings} of {name}")
