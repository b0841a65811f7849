"""The parts of a table: the column's that says it, or rows dealt out in order, by groups or at random."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.arrays import Indices
from pipeline.data.cells import complete
from pipeline.data.dates import AmbiguousDatesError, as_dates
from pipeline.data.mistakes import DatasetError, names_of, rows_of
from pipeline.data.options import Options
from pipeline.data.splits import SplitError, at_random, by_group, in_order, sizes_of
from pipeline.problems.dataset import PARTS, strata_of


def parts_of(table: pd.DataFrame, y: npt.NDArray[np.generic], options: Options) -> npt.NDArray[np.object_]:
    """The name of each row's part: the column's that says it, or dealt out in order, by groups or at random."""
    split, group, order = options.split, options.group, options.order
    if order is not None and (other := "split" if split else "group" if group else None):
        raise DatasetError("order", f"cannot deal out the rows together with `{other}`", "leave one of the two out")
    groups = None if group is None else groups_of(table, group)
    if split is None:
        return _dealt(y, groups, None if order is None else _steps(table[order], order, options), options)
    parts = _given_parts(_texts(table[split], split, "split"), split)
    if groups is not None:
        _refuse_torn(groups, parts, table[group], str(group))
    return parts


def groups_of(table: pd.DataFrame, name: str) -> Indices:
    """The number of each row's group."""
    return pd.factorize(_texts(table[name], name, "group"))[0].astype(np.int64)


def _texts(values: "pd.Series[Any]", name: str, key: str) -> "pd.Series[Any]":
    """The column as it is, but for blanks around its texts; without empty cells."""
    return complete(values, name, key, (), ".", "category")


def _dealt(
    y: npt.NDArray[np.generic], groups: Indices | None, steps: Indices | None, options: Options
) -> npt.NDArray[np.object_]:
    """Parts of the shares: in order of the time steps, or of whole groups, or at random."""
    shares = options.shares
    if abs(sum(shares) - 1) > 1e-9 or len(shares) != len(PARTS):  # rounding
        what = f"are {len(shares)} that add up to {sum(shares):.0%}"
        raise DatasetError("shares", what, "write three, such as [60%, 20%, 20%]")
    if 0 in shares:
        raise DatasetError("shares", "leave a part without samples", "write three above 0%, such as [60%, 20%, 20%]")
    try:
        sizes = sizes_of(len(y), dict(zip(PARTS, shares, strict=True)))
        if steps is not None:
            rows = in_order(steps, sizes)
        else:
            rows = at_random(y, sizes, options.seed) if groups is None else by_group(groups, sizes, options.seed)
    except SplitError as error:
        right = "give the table more rows of each class, group or time step, or name a `split` column"
        classes, counts = np.unique(y, return_counts=True)
        if strata_of(y) is not None and counts.min() < len(PARTS):
            right = f"leave out {rows_of(y == classes[counts.argmin()])}, or join that class to another; or {right}"
        raise DatasetError("shares", str(error), right) from None
    parts = np.empty(len(y), dtype=object)
    for part, chosen in rows.items():
        parts[chosen] = part
    return parts


def _steps(values: "pd.Series[Any]", name: str, options: Options) -> Indices:
    """The number of each row's time step. Numbers and dates follow one another in time; of texts, only dates do."""
    values = complete(values, name, "order", options.missing_values, options.decimal, "number")
    if values.dtype.kind not in "iuf":
        values = _moments(values, name, options)
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _moments(values: "pd.Series[Any]", name: str, options: Options) -> "pd.Series[Any]":
    try:
        dates = as_dates(values, options.dayfirst)
    except AmbiguousDatesError:
        what = f"the column {name} holds dates that begin with the day or with the month"
        raise DatasetError("read", what, f"write {options.by_day}") from None
    if dates is not None:
        return dates
    texts = values.astype("string")
    wrong = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True).isna()
    what = f"the column {name} holds {names_of(texts[wrong].unique().tolist())} in {rows_of(wrong)}"
    right = "write dates as 2024-12-31 or 2024-12-31T23:59, all in one form, or numbers that grow with time"
    raise DatasetError("order", f"{what}, neither numbers nor dates", right)


def _refuse_torn(groups: Indices, parts: npt.NDArray[np.object_], values: "pd.Series[Any]", name: str) -> None:
    """Refuse a group with rows in two parts."""
    held = pd.Series(parts).groupby(groups).nunique()
    if not (torn := held.index[held > 1]).empty:
        own = groups == torn[0]
        where = "; ".join(f"{part}: {rows}" for part in PARTS if (rows := rows_of(own & (parts == part))))
        what = f"the group {str(values[own].iloc[0])!r} of the column {name} is in two parts or more ({where})"
        raise DatasetError("group", what, "let the `split` column give all rows of a group one part, or leave out `group`")


def _given_parts(column: "pd.Series[Any]", name: str) -> npt.NDArray[np.object_]:
    values = column.astype(str)
    if unknown := sorted(set(values) - set(PARTS)):
        raise DatasetError("split", f"the column {name} holds {names_of(unknown)}", f"write {', '.join(PARTS)} in it")
    if empty := [part for part in PARTS if part not in set(values)]:
        raise DatasetError("split", f"the column {name} never says {names_of(empty)}", "every part needs samples")
    return values.to_numpy(dtype=object)
