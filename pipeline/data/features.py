"""A table's columns as features: numbers, categories and parts of dates, with the troubles of all columns told at once."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.data.cells import DECIMAL_COMMA, THOUSANDS, Kind, Remarks, are_codes, like_numbers, unclear_marks, understood
from pipeline.data.dates import PARTS_OF_DATES, AmbiguousDatesError, as_dates, in_several_forms, on_the_clock
from pipeline.data.mistakes import SHOWN, DatasetError, all_of, entries, entry, missing_in, more, names_of, nested_in, rows_of
from pipeline.data.options import Options
from pipeline.problems.encoding import Column, beyond_precision, category_texts

OTHER, MISSING = "(other)", "(missing)"
"""Categories of rare texts and of empty cells; the second also marks the column that says where a number is missing."""
FEW_SLIPS = 0.1
MOST_SLIPS = 0.5
"""Up to the first share of its cells, texts in a column of numbers are slips; up to the second if they are no categories."""
MOSTLY_NUMBERS = 0.5
"""The share of a category's texts that look like numbers from which on it is told."""
MOST_SLIPPED = 20
"""Different texts that are slips, at most."""
_SOME_NUMBER = re.compile(r"[<>~\u2264\u2265]=? ?[\d.,]+|[\d.,]+ ?\+|[\d.,]+ ?[-\u2013] ?[\d.,]+")
"""What stands for a number that is not known exactly, and so is not missing: <5, 3+, 5-10."""

Feature = tuple[Column, npt.NDArray[np.float64]]


class ColumnError(Exception):
    """A column that is no feature as it is: the argument that would mend it, what is wrong, and what that is to hold."""

    def __init__(self, key: str, column: str, what: str, held: Sequence[Any] = (), kind: str = "") -> None:
        super().__init__(what)
        self.key, self.column, self.what, self.held, self.kind = key, column, what, list(held), kind


def features_of(table: pd.DataFrame, names: Sequence[str], options: Options, remarks: Remarks) -> list[Feature]:
    """What each column becomes, in order; a number is NaN where it is missing and to be imputed."""
    features: list[Feature] = []
    troubles: dict[str, list[ColumnError]] = {}
    for name in names:
        try:
            features += _features(table[name], name, options, remarks)
        except ColumnError as error:
            troubles.setdefault(error.key, []).append(error)
    if troubles:
        raise DatasetError.together([_told(key, errors, options) for key, errors in troubles.items()])
    return features


def _features(values: "pd.Series[Any]", name: str, options: Options, remarks: Remarks) -> list[Feature]:
    """What one column becomes."""
    if nested := nested_in(values):
        raise ColumnError("drop", name, nested, [name], "nested")
    kind: Kind = "category" if name in options.categorical else "number" if name in options.numeric else "auto"
    if kind != "category" and (unclear := unclear_marks(values, options.decimal, options.read)):
        what, right = unclear
        raise ColumnError("path", name, what, [f"{right}, or {more('drop', options.drop, [name])}"])
    cells = understood(values, name, options.missing_values, options.decimal, kind, remarks)
    if cells.isna().all():
        raise ColumnError("drop", name, "is empty", [name])
    is_number = pd.api.types.is_numeric_dtype(cells) and not pd.api.types.is_bool_dtype(cells)
    if name in options.dates:
        made = _of_dates(cells, name, options)
    elif is_number and kind != "category":
        made = [_number(cells, name)]
    else:
        return [_category(cells, values, name, options, remarks)]
    _refuse_missing(cells, values, name, options)
    if options.missing == "indicate" and cells.isna().any():
        made.append((Column(f"{name} {MISSING}"), cells.isna().to_numpy().astype(np.float64)))
    return made


def _refuse_missing(cells: "pd.Series[Any]", given: "pd.Series[Any]", name: str, options: Options) -> None:
    if options.missing == "error" and (what := missing_in(cells, given)) is not None:
        raise ColumnError("missing", name, what)


def _number(values: "pd.Series[Any]", name: str) -> Feature:
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    if (rows := rows_of(np.isinf(numbers))) is not None:
        raise ColumnError("path", name, f"is infinite in {rows}", kind="infinite")
    if beyond := beyond_precision(values):
        where, what, right = beyond
        raise ColumnError("path", name, f"{what} in {rows_of(where)}", [right])
    return Column(name), numbers


def _of_dates(values: "pd.Series[Any]", name: str, options: Options) -> list[Feature]:
    """The asked parts of each date."""
    try:
        dates = as_dates(on_the_clock(values), options.dayfirst)
    except AmbiguousDatesError:
        raise ColumnError("read", name, "holds dates that begin with the day or with the month", kind="ambiguous") from None
    if dates is None:
        shown = names_of(values.dropna().unique())
        found = "numbers, as times are, too" if values.dtype.kind == "f" else "no dates, or none in a form that is known"
        raise ColumnError("dates", name, f"holds {found} ({shown})", kind="unknown")
    return [
        (Column(f"{name} ({part})"), PARTS_OF_DATES[part](dates).to_numpy(np.float64, na_value=np.nan))
        for part in options.dates[name]
    ]


def _category(values: "pd.Series[Any]", given: "pd.Series[Any]", name: str, options: Options, remarks: Remarks) -> Feature:
    """The places of the texts among the categories, the rare ones and the missing ones each in one of their own."""
    texts = category_texts(values)
    if name not in options.categorical:
        _refuse_other_than_categories(values, texts, name, options)
        if like_numbers(texts.dropna()) >= MOSTLY_NUMBERS:
            remarks.add("categories, though most look like numbers", f"{names_of(texts.dropna().unique())} of {name}")
    _refuse_missing(values, given, name, options)
    counts = texts.value_counts()
    if len(counts) > options.most_categories:
        kept = sorted(counts.index, key=lambda text: (-counts[text], text))[: options.most_categories]
        texts = texts.where(texts.isin(kept) | texts.isna(), OTHER)
        pooled = f"{len(counts) - len(kept)} of {len(counts)} texts of {name}"
        remarks.add(f"rarer than the first {options.most_categories} (`most_categories`) and pooled as {OTHER}", pooled)
    texts = texts.fillna(MISSING)
    own = set(texts.unique())
    categories = (*sorted(own - {OTHER, MISSING}), *(each for each in (OTHER, MISSING) if each in own))
    places = {category: float(place) for place, category in enumerate(categories)}
    return Column(name, categories), texts.map(places).to_numpy(np.float64)


def _refuse_other_than_categories(values: "pd.Series[Any]", texts: "pd.Series[str]", name: str, options: Options) -> None:
    """Refuse texts that are dates, numbers with slips or decimal commas, or an identifier's."""
    _refuse_dates(values, name, options)
    known = texts.dropna()
    different = known.nunique()
    are_too_many = different > max(len(known) / 2, 1)
    if known.str.fullmatch(DECIMAL_COMMA).all() and not known.str.fullmatch(THOUSANDS).all():
        raise ColumnError("read", name, f"holds numbers with decimal commas ({names_of(known.unique())})", kind="decimal")
    slips = slips_of(texts, MOST_SLIPS if are_too_many else FEW_SLIPS)
    if slips and not any(map(_SOME_NUMBER.fullmatch, slips[1])):
        raise ColumnError("missing_values", name, f"holds numbers, but {slips[0]}", slips[1])
    if (are_too_many and like_numbers(known) == 1) or (slips and different > MOST_SLIPPED):
        what = f"holds numbers and something beside them, not all the same ({names_of(known.unique())})"
        raise ColumnError("drop", name, what, [name], "like")
    if are_too_many:
        is_of_codes, some = are_codes(known), pd.to_numeric(known, errors="coerce").notna().any()
        kind = "codes" if is_of_codes else "numbers among texts" if some else "texts"
        what = f"has {different} different {kind} in {len(known)} rows, as an identifier has ({names_of(known.unique())})"
        raise ColumnError("drop", name, what, [name], "codes" if is_of_codes else "identifier")


def _refuse_dates(values: "pd.Series[Any]", name: str, options: Options) -> None:
    """Refuse dates, naming the parts that they can be learnt from by."""
    kind, values = "", on_the_clock(values)
    try:
        dates = as_dates(values, options.dayfirst)
    except AmbiguousDatesError:
        dates, kind = as_dates(values, dayfirst=True), "ambiguous"
    if dates is None:
        if one_of_each := in_several_forms(values):
            raise ColumnError("drop", name, f"holds dates in more than one form ({names_of(one_of_each)})", [name], "forms")
        return
    has_times = bool((dates.dropna() != dates.dropna().dt.normalize()).any())
    parts = ["year", "month", "weekday", *["hour"] * has_times]
    raise ColumnError("dates", name, "holds dates", [(name, parts)], kind)


def slips_of(texts: "pd.Series[str]", up_to: float) -> tuple[str, list[str]] | None:
    """Texts among numbers, if they are few: where they are, and which."""
    numbers = pd.to_numeric(texts, errors="coerce")
    wrong = numbers.isna() & texts.notna()
    different = texts[wrong].unique().tolist()
    are_few = len(different) <= MOST_SLIPPED if wrong.mean() <= FEW_SLIPS else 2 * len(different) <= wrong.sum()
    if not numbers.notna().any() or not different or wrong.mean() > up_to or not are_few:
        return None
    return f"{names_of(different)} in {rows_of(wrong)}", different


# The words about all columns with one kind of trouble


def _told(key: str, errors: Sequence[ColumnError], options: Options) -> DatasetError:
    said = ", ".join(f"the column {error.column} {error.what}" for error in errors[:SHOWN])
    left = f", and so on with {len(errors) - SHOWN} more columns" if len(errors) > SHOWN else ""
    right, mending = _remedy(key, errors, options)
    return DatasetError(key, said + left, right, mending, {error.column: error.what for error in errors})


def _remedy(key: str, errors: Sequence[ColumnError], options: Options) -> tuple[str, dict[str, Any] | None]:
    """What would mend all of these columns, in words; and the arguments that do, with what they hold already."""
    held, kinds = [item for error in errors for item in error.held], {error.kind for error in errors}
    columns = [error.column for error in errors]
    impute = {"missing": "impute"} if options.missing == "error" else {}
    mending: dict[str, Any]
    match key:
        case "missing":
            return f"complete these rows, take them out, or write {entries(impute)}", impute
        case "missing_values":
            mending = {key: all_of(options.missing_values, held), **impute}
            unknown, texts = entries(mending), more("categorical", options.categorical, columns)
            return (
                f"correct these cells, or write {unknown}, if nothing is known there, or {texts} if they are categories",
                mending,
            )
        case "path" if "infinite" in kinds:
            mending = {"missing_values": all_of(options.missing_values, ["inf", "-inf"]), **impute}
            return "; ".join(dict.fromkeys([f"correct these rows, or write {entries(mending)}", *held])), mending
        case "path":
            return "; ".join(dict.fromkeys(held)), None
        case "drop":
            mending = {key: all_of(options.drop, held)}
            return f"write {entries(mending)}{_other_than_dropping(errors, kinds, options)}", mending
        case "read":
            commas, days = {"decimal": ","} if "decimal" in kinds else {}, {"dayfirst": True} if "ambiguous" in kinds else {}
            mending = {key: {**options.read, **commas, **days}}
            return f"write {entries(mending)}{', or false where the month comes first' * bool(days)}", mending
        case _ if "unknown" in kinds:
            return "write them as 2024-12-31 or 2024-12-31T23:59, or leave them out of `dates`", None
        case _:
            mending = {key: {**options.dates, **dict(held)}}
            features = f"write {entries(mending)} to learn from their parts"
            series = f", {entry('order', columns[0])} for a series" * (options.order is None)
            right = f"{features}{series}, or {more('drop', options.drop, columns)}"
            if "ambiguous" not in kinds:
                return right, mending
            return f"{right}; with the first two {options.by_day}", {**mending, "read": {**options.read, "dayfirst": True}}


def _other_than_dropping(errors: Sequence[ColumnError], kinds: set[str], options: Options) -> str:
    """What else could be done with columns that are no features as they are."""
    insisted = [error.column for error in errors if error.kind in ("identifier", "codes")]
    codes = [error.column for error in errors if error.kind == "codes"]
    insist = f", or {more('categorical', options.categorical, insisted)} if they are categories" if insisted else ""
    amounts = f", or {more('numeric', options.numeric, codes)} if they are amounts" if codes else ""
    others = {
        "like": "write plain numbers", "forms": "write the dates in one form", "nested": "save arrays in an .npz file",
    }  # fmt: skip
    return insist + amounts + "".join(f", or {what}" for kind, what in others.items() if kind in kinds)
