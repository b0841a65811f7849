"""The user's own files: tables (CSV, Parquet) and arrays (``.npz``) made datasets, every trouble named by column and row."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.problems.encoding import Column, beyond_precision, category_texts, lost_in_single_precision
from pipeline.problems.splits import PARTS, Indices, SplitError, at_random, by_group, in_order, sizes_of
from pipeline.wording import suggestion

INPUTS = Path("inputs")
"""Where the user's files lie; DVC watches it."""
MOST_CATEGORIES = 100
FEW_NUMBERS = 10
"""Up to so many distinct whole numbers are classes."""
FEW_SLIPS = 0.1
MOST_SLIPS = 0.5
"""Up to the first share of its cells, texts in a column of numbers are slips; up to the second if they are no categories."""
NUMBERS = "write digits and a point alone"
SHOWN = 5

Task = Literal["auto", "classification", "regression"]


class DatasetError(Exception):
    """Data that no dataset can be made of: the argument it is about, what is wrong and what would be right."""

    def __init__(self, key: str, wrong: str, right: str) -> None:
        super().__init__(f"{key}: {wrong}; {right}")
        self.key, self.wrong, self.right = key, wrong, right


def read_table(path: str) -> pd.DataFrame:
    """The table in ``inputs/path``, as the file has it."""
    file = _found(path)
    try:
        table = _read_parquet(file) if file.suffix in (".parquet", ".pq") else _read_csv(file)
    except UnicodeDecodeError as error:
        raise DatasetError("path", f"{file} is no UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    except (ValueError, OSError, csv.Error) as error:  # pandas' and pyarrow's errors are ValueErrors
        line = str(error).strip().splitlines()[0]
        raise DatasetError("path", f"{file} cannot be read ({line})", "write it anew as CSV or Parquet") from None
    if table.empty:
        raise DatasetError("path", f"{file} has no rows", "give it a header and one line per sample")
    return table.rename(columns=str)


def read_arrays(path: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays in ``inputs/path``, a file of ``numpy.savez``: all of one length, the number of samples."""
    file = _found(path)
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, OSError, BadZipFile) as error:
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DatasetError("path", f"{file} cannot be read ({line})", "write it with numpy.savez, without objects") from None
    lengths = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
    if not arrays or len(set(lengths.values())) > 1 or 0 in lengths.values():
        what = ", ".join(f"{name}: {length}" for name, length in lengths.items()) or "nothing"
        raise DatasetError("path", f"{file} holds arrays of {what} samples", "give all arrays one length, a sample each")
    return arrays


def _found(path: str) -> Path:
    file = INPUTS / path
    if not file.is_file():
        there = sorted(p.relative_to(INPUTS).as_posix() for p in INPUTS.rglob("*") if p.is_file()) if INPUTS.is_dir() else []
        near = suggestion(path, there) if there else "the folder is empty"
        raise DatasetError("path", f"there is no file {file.as_posix()}", f"put it there; {near}")
    return file


def _read_parquet(file: Path) -> pd.DataFrame:
    """Every column of the file, also one that was the frame's index; decimals as plain numbers."""
    table = pd.read_parquet(file)
    if table.index.name is not None:
        table = table.reset_index()
    decimals = [name for name in table if pd.api.types.infer_dtype(table[name]) == "decimal"]
    return table.astype(dict.fromkeys(decimals, float))


def _read_csv(file: Path) -> pd.DataFrame:
    header = next(_lines(file), [])
    if not header:
        raise DatasetError("path", f"{file} is empty", "give it a header and one line per sample")
    if twice := [name for name in dict.fromkeys(header) if header.count(name) > 1]:
        raise DatasetError(
            "path", f"{file} has {_names(twice)} more than once in its header", "give every column a name of its own"
        )
    if other := [mark for mark in ";\t|" if _fits_better(mark, file, len(header))]:
        right = "write the file with commas between cells and points in numbers"
        raise DatasetError("path", f"the delimiter of {file} seems to be {other[0]!r}", right)
    for row, cells in enumerate(_lines(file)):
        if len(cells) > len(header):  # pandas would take the first for the row's name, and move all others by one column
            what = f"{file} has {len(cells)} cells in row {row} under the {len(header)} names of its header"
            raise DatasetError("path", what, "name every column, and put a text that holds a comma in quotes")
    return pd.read_csv(file, encoding="utf-8-sig", low_memory=False)


def _lines(file: Path, delimiter: str = ",") -> Iterator[list[str]]:
    """The cells of each line, the header's first; blank lines left out, as pandas does."""
    with file.open(encoding="utf-8-sig", newline="") as text:
        yield from filter(None, csv.reader(text, delimiter=delimiter))


def _fits_better(delimiter: str, file: Path, names: int) -> bool:
    """Whether header and first row have the same number of cells by that delimiter, and more than ``names``."""
    widths = [len(cells) for cells in islice(_lines(file, delimiter), 2)]
    return len(widths) == 2 and widths[0] == widths[1] > names


def dataset_of(
    table: pd.DataFrame,
    target: str,
    *,
    task: Task = "auto",
    features: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    split: str | None = None,
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    group: str | None = None,
    order: str | None = None,
    missing: Literal["error", "impute"] = "error",
    seed: int = 0,
) -> pd.DataFrame:
    """The table as a dataset: raw numbers and categories' places, to be encoded for each seed by its training part.

    Columns ``split``, ``y``, ``x0`` … and ``group`` where there is one; ``attrs["columns"]`` says what each feature is,
    ``attrs["classes"]`` what the classes are called.
    Raises :class:`DatasetError`.
    """
    told = {"target": [target], "features": features or [], "drop": drop, "categorical": categorical}
    told |= {key: [name] for key, name in (("split", split), ("group", group), ("order", order)) if name is not None}
    for key, names in told.items():
        _refuse_unknown(key, names, table)
    taken = {target, split, group, order, *drop}
    chosen = [name for name in (features or table.columns) if name not in taken]
    if not chosen:
        raise DatasetError("features" if features else "target", "leaves no feature", "give the table more columns")
    y, classes = _target(table[target], target, task)
    columns, x = zip(*(_feature(table[name], name, name in categorical, missing) for name in chosen), strict=True)
    data = pd.DataFrame({f"x{i}": values for i, values in enumerate(x)})
    data.insert(0, "y", y)
    data.insert(0, "split", _parts(table, y, split, shares, group, order, seed))
    if group is not None:
        data["group"] = _groups(table, group)
    data.attrs["columns"] = [column.as_dict() for column in columns]
    data.attrs["classes"] = classes
    return data


def dataset_of_arrays(
    arrays: Mapping[str, npt.NDArray[Any]],
    target: str,
    *,
    task: Task = "auto",
    features: Sequence[str] | None = None,
    split: str | None = None,
    shares: Sequence[float] = (0.6, 0.2, 0.2),
    group: str | None = None,
    order: str | None = None,
    missing: Literal["error", "impute"] = "error",
    seed: int = 0,
) -> pd.DataFrame:
    """Arrays as a dataset: the one of the inputs, (samples, …), beside ``target`` and what else is named, (samples,) each.

    Inputs of shape (samples, features) that are no whole numbers are a table's columns, standardised like these; whole
    numbers of that shape are token ids; of any other shape they stay as they are. Raises :class:`DatasetError`.
    """
    beside = [name for name in (target, split, group, order) if name is not None]
    left = features or [name for name in arrays if name not in beside]
    _refuse_arrays(arrays, left, beside)
    x, table = arrays[left[0]], pd.DataFrame({name: values for name, values in arrays.items() if values.ndim == 1})
    if x.ndim <= 2 and x.dtype.kind == "f":
        columns = pd.DataFrame(x.reshape(len(x), -1)).rename(columns=lambda number: f"{left[0]}[{number}]")
        given = {"task": task, "split": split, "shares": shares, "group": group, "order": order, "missing": missing}
        others = table[beside].copy()
        return dataset_of(pd.concat([others, columns], axis=1), target, seed=seed, **given)  # type: ignore[arg-type]
    if (rows := _rows(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))) is not None:
        right = "complete these samples or take them out; only plain rows can be imputed"
        raise DatasetError("missing", f"the array {left[0]} is not finite in {rows}", right)
    y, classes = _target(table[target], target, task)
    inputs = x.astype(np.int64) if x.ndim == 2 else x.astype(np.float32 if x.dtype.kind != "f" else x.dtype)
    data = frame(inputs, y, _parts(table, y, split, shares, group, order, seed))
    if group is not None:
        data["group"] = _groups(table, group)
    data.attrs["classes"] = classes
    return data


def _refuse_arrays(arrays: Mapping[str, npt.NDArray[Any]], inputs: Sequence[str], beside: Sequence[str]) -> None:
    """Refuse names that no array has, anything but one array of numbers as inputs, and others that are no plain columns."""
    for key, names in {"features": inputs, "target": beside}.items():
        for name in names:
            if name not in arrays:
                raise DatasetError(key, f"there is no array {name!r}", suggestion(name, arrays))
            if key == "target" and arrays[name].ndim != 1:
                raise DatasetError(key, f"the array {name} has the shape {arrays[name].shape}", "give it one number per sample")
    if len(inputs) != 1:
        raise DatasetError("features", f"the inputs may be any of {_names(inputs)}", "name the array: `features: [x]`")
    (name,) = inputs
    if arrays[name].dtype.kind not in "iufb":
        raise DatasetError("features", f"the array {name} holds {arrays[name].dtype}, no numbers", "save its numbers")


def frame(x: npt.NDArray[Any], y: npt.NDArray[Any], split: npt.NDArray[Any]) -> pd.DataFrame:
    """The table of a dataset: ``x`` (samples, *shape), ``y`` (samples,) and ``split`` (samples,) names.

    Whole numbers in ``y`` are classes from 0 up, all others are to be predicted themselves. Whole numbers in ``x`` stay what
    they are (token ids); the shape of a sample that is no plain row is kept in the frame's ``attrs``.
    """
    flat = x.reshape(len(x), -1)
    if wrong := lost_in_single_precision(flat):
        raise DatasetError("name", *wrong)
    kind = np.int64 if np.issubdtype(x.dtype, np.integer) else np.float32
    columns = pd.DataFrame(flat.astype(kind), columns=[f"x{i}" for i in range(flat.shape[1])])
    columns.insert(0, "y", y.astype(np.int64 if np.issubdtype(y.dtype, np.integer) else np.float64))
    columns.insert(0, "split", split)
    if x.ndim > 2:  # samples and features
        columns.attrs["shape"] = list(x.shape[1:])
    return columns


def described(data: pd.DataFrame) -> str:
    """A line about a dataset that was made of a table: what was found in it."""
    columns = [Column.from_dict(column) for column in data.attrs.get("columns", ())]
    categories = [column.name for column in columns if column.categories]
    y, sizes = data["y"], data["split"].value_counts()
    is_classes = pd.api.types.is_integer_dtype(y)
    what = f"{y.nunique()} classes" if is_classes else f"a number from {y.min():.10g} to {y.max():.10g}"
    constant = [column.name for i, column in enumerate(columns) if data[f"x{i}"].nunique(dropna=False) == 1]
    parts = ", ".join(f"{sizes[part]} {part}" for part in PARTS)
    inputs = f"{len(columns)} features ({len(categories)} of them categories)"
    if not columns:
        width = sum(name not in ("split", "y", "group") for name in data)
        inputs = f"inputs of shape {tuple(data.attrs.get('shape', (width,)))}"
    said = f"{len(data)} samples ({parts}), {inputs}, to predict {what}"
    return said + (f"; the same in every row and of no use: {', '.join(constant)}" if constant else "")


def _refuse_unknown(key: str, names: Sequence[str], table: pd.DataFrame) -> None:
    for name in names:
        if name not in table:
            raise DatasetError(key, f"there is no column {name!r}", suggestion(name, table.columns))


def _target(values: "pd.Series[Any]", name: str, task: Task) -> tuple[npt.NDArray[np.generic], list[str]]:
    """Classes from 0 up and their names, in order, or the numbers to be predicted."""
    _refuse_unusable(values, name, "target")
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if task == "auto":
        is_whole = is_number and bool((values == values.round()).all())
        task = "regression" if is_number and not (is_whole and values.nunique() <= FEW_NUMBERS) else "classification"
    if task == "regression":
        if not is_number:
            _refuse_slips(values.astype("string"), name, "target")
            raise DatasetError("target", f"{name} is no number, as a regression needs", "write `task: classification`")
        _refuse_infinite(values, name, "target")
        if values.nunique() == 1:
            raise DatasetError("target", f"{name} is the same in every row", "name a column that varies")
        return values.to_numpy(np.float64), []
    codes, classes = pd.factorize(values, sort=True)
    if len(classes) == 1:
        raise DatasetError("target", f"{name} has one class only ({classes[0]})", "name a column with two classes or more")
    if len(classes) > len(values) / 2:
        if not is_number:
            _refuse_slips(values.astype("string"), name, "target", up_to=MOST_SLIPS)
        if not is_number and _are_dates(values):
            raise DatasetError("target", f"{name} holds dates", "name a column of numbers or classes")
        right = "write `task: regression`" if is_number else "name another column"
        raise DatasetError("target", f"{name} has {len(classes)} classes in {len(values)} rows", right)
    return codes.astype(np.int64), category_texts(pd.Series(classes)).tolist()


def _feature(values: "pd.Series[Any]", name: str, as_category: bool, missing: str) -> tuple[Column, npt.NDArray[np.float64]]:
    """What the column is, and its numbers; NaN where one is missing and to be imputed."""
    _refuse_nested(values, name, "drop", f"write `drop: [{name}]`, or save arrays in an .npz file")
    if (rows := _rows(values.isna())) is not None and missing == "error":
        right = "complete these rows, take them out, or write `missing: impute`"
        raise DatasetError("missing", f"the column {name} is empty in {rows}", right)
    if values.isna().all():
        raise DatasetError("drop", f"the column {name} is empty", f"write `drop: [{name}]`")
    if pd.api.types.is_numeric_dtype(values) and not as_category:
        _refuse_infinite(values, name, "path")
        return Column(name), values.to_numpy(np.float64, na_value=np.nan)
    texts = category_texts(values)
    codes, categories = pd.factorize(texts, sort=True)
    are_too_many = len(categories) > min(MOST_CATEGORIES, max(len(values) / 2, 1))
    if not as_category:
        _refuse_slips(texts, name, "path", up_to=MOST_SLIPS if are_too_many else FEW_SLIPS)
    if are_too_many:
        raise _no_categories(values, name, categories.tolist())
    return Column(name, tuple(map(str, categories))), np.where(codes < 0, np.nan, codes.astype(np.float64))


def _no_categories(values: "pd.Series[Any]", name: str, texts: Sequence[str]) -> DatasetError:
    """The error about a column of too many different texts."""
    if _are_dates(values):
        right = f"write `drop: [{name}]`, or give numbers in its place: the month, the days since the first"
        return DatasetError("drop", f"the column {name} holds dates, which are neither numbers nor categories", right)
    what = f"the column {name} has {len(texts)} different texts in {len(values)} rows, as an identifier has"
    right = f"write `drop: [{name}]`; if they are numbers, {NUMBERS}"
    return DatasetError("drop", f"{what}: {_names(texts)} and so on", right)


def _refuse_slips(texts: "pd.Series[str]", name: str, key: str, up_to: float = 1.0) -> None:
    """Refuse texts among numbers, if they are that share of all cells or fewer."""
    numbers = pd.to_numeric(texts, errors="coerce")
    wrong = numbers.isna() & texts.notna()
    if numbers.notna().any() and wrong.any() and wrong.mean() <= up_to:
        what = f"the column {name} holds numbers, but {_names(texts[wrong].unique().tolist())} in {_rows(wrong)}"
        raise DatasetError(key, what, f"correct these cells: {NUMBERS}")


def _are_dates(values: "pd.Series[Any]") -> bool:
    """Whether all that is there are dates or lengths of time, or ISO dates as texts."""
    return values.dtype.kind in "mM" or bool(_dates(values.dropna().astype("string")).notna().all())


def _dates(texts: "pd.Series[str]") -> "pd.Series[pd.Timestamp]":
    """ISO dates as moments; what is none is missing."""
    return pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)


def _refuse_nested(values: "pd.Series[Any]", name: str, key: str, right: str) -> None:
    if values.dtype == object and (rows := _rows(values.map(pd.api.types.is_list_like))) is not None:
        raise DatasetError(key, f"the column {name} holds lists, mappings or arrays in {rows}", right)


def _refuse_unusable(values: "pd.Series[Any]", name: str, key: str) -> None:
    """Refuse cells that are empty or hold several values."""
    _refuse_nested(values, name, key, "name another column")
    if (rows := _rows(values.isna())) is not None:
        raise DatasetError(key, f"the column {name} is empty in {rows}", "complete these rows or take them out")


def _refuse_infinite(values: "pd.Series[Any]", name: str, key: str) -> None:
    if (rows := _rows(np.isinf(values.to_numpy(np.float64, na_value=np.nan)))) is not None:
        raise DatasetError(key, f"the column {name} is infinite in {rows}", "correct these rows or take them out")
    if beyond := beyond_precision(values):
        where, what, right = beyond
        raise DatasetError(key, f"the column {name} {what} in {_rows(where)}", right)


def _parts(
    table: pd.DataFrame,
    y: npt.NDArray[np.generic],
    split: str | None,
    shares: Sequence[float],
    group: str | None,
    order: str | None,
    seed: int,
) -> npt.NDArray[np.object_]:
    """The name of each row's part."""
    if order is not None and (other := "split" if split else "group" if group else None):
        raise DatasetError("order", f"cannot deal out the rows together with `{other}`", "leave one of the two out")
    groups = None if group is None else _groups(table, group)
    if split is None:
        return _dealt(y, shares, groups, None if order is None else _steps(table[order], order), seed)
    parts = _given_parts(table[split], split)
    if groups is not None:
        _refuse_torn(groups, parts, table[group], str(group))
    return parts


def _dealt(
    y: npt.NDArray[np.generic], shares: Sequence[float], groups: Indices | None, steps: Indices | None, seed: int
) -> npt.NDArray[np.object_]:
    """Parts of these shares: in order of the time steps, or of whole groups, or at random."""
    if abs(sum(shares) - 1) > 1e-9 or len(shares) != len(PARTS):  # rounding
        raise DatasetError(
            "shares", f"are {len(shares)} that add up to {sum(shares):.0%}", "write three, such as [60%, 20%, 20%]"
        )
    try:
        sizes = sizes_of(len(y), dict(zip(PARTS, shares, strict=True)))
        if steps is not None:
            rows = in_order(steps, sizes)
        else:
            rows = at_random(y, sizes, seed) if groups is None else by_group(groups, sizes, seed)
    except SplitError as error:
        right = "give the table more rows of each class, group or time step, or name a `split` column"
        raise DatasetError("shares", str(error), right) from None
    parts = np.empty(len(y), dtype=object)
    for part, chosen in rows.items():
        parts[chosen] = part
    return parts


def _groups(table: pd.DataFrame, name: str) -> Indices:
    """The number of each row's group."""
    _refuse_unusable(table[name], name, "group")
    return pd.factorize(table[name])[0].astype(np.int64)


def _steps(values: "pd.Series[Any]", name: str) -> Indices:
    """The number of each row's time step. Numbers and dates follow one another in time; of texts, only ISO dates do."""
    _refuse_unusable(values, name, "order")
    if values.dtype.kind not in "iufmM":
        texts = values.astype("string")
        values = _dates(texts)
        wrong = values.isna()
        if (rows := _rows(wrong)) is not None:
            what = f"the column {name} holds {_names(texts[wrong].unique().tolist())} in {rows}, neither numbers nor ISO dates"
            raise DatasetError("order", what, "write dates as 2024-12-31 or 2024-12-31T23:59, or numbers that grow with time")
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _refuse_torn(groups: Indices, parts: npt.NDArray[np.object_], values: "pd.Series[Any]", name: str) -> None:
    """Refuse a group with rows in two parts."""
    held = pd.Series(parts).groupby(groups).nunique()
    if not (torn := held.index[held > 1]).empty:
        own = groups == torn[0]
        where = "; ".join(f"{part}: {rows}" for part in PARTS if (rows := _rows(own & (parts == part))))
        what = f"the group {str(values[own].iloc[0])!r} of the column {name} is in two parts or more ({where})"
        raise DatasetError("group", what, "let the `split` column give all rows of a group one part, or leave out `group`")


def _given_parts(column: "pd.Series[Any]", name: str) -> npt.NDArray[np.object_]:
    _refuse_unusable(column, name, "split")
    values = column.astype(str)
    if unknown := sorted(set(values) - set(PARTS)):
        raise DatasetError("split", f"the column {name} holds {_names(unknown)}", f"write {', '.join(PARTS)} in it")
    if empty := [part for part in PARTS if part not in set(values)]:
        raise DatasetError("split", f"the column {name} never says {_names(empty)}", "every part needs samples")
    return values.to_numpy(dtype=object)


def _rows(wrong: "pd.Series[bool] | npt.NDArray[np.bool_]") -> str | None:
    """The first rows where it is, counted from 1 as lines below the header; None where it is nowhere."""
    found = np.flatnonzero(np.asarray(wrong)) + 1
    if not found.size:
        return None
    more = f" and {found.size - SHOWN} more" if found.size > SHOWN else ""
    return f"row{'s' * (found.size > 1)} {', '.join(map(str, found[:SHOWN]))}{more}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:SHOWN])
