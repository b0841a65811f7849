"""What is to be predicted: a table's column as classes or as numbers."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.wording import counted, suggestion
from pipeline.data.cells import DECIMAL_COMMA, Kind, Remarks, are_codes, complete, like_numbers, unclear_marks, understood
from pipeline.data.dates import as_dates
from pipeline.data.features import FEW_SLIPS, MOST_SLIPS, MOSTLY_NUMBERS, slips_of
from pipeline.data.mistakes import DatasetError, all_of, entries, missing_in, names_of, refuse_nested, rows_of
from pipeline.data.options import Options, Task
from pipeline.problems.encoding import beyond_precision, category_texts

FEW_NUMBERS = 10
"""Up to so many distinct whole numbers are classes."""

Target = tuple[npt.NDArray[np.generic], list[str]]


def targets_of(table: pd.DataFrame, options: Options, remarks: Remarks) -> tuple[list[npt.NDArray[np.generic]], list[str]]:
    """What is to be predicted, (rows,) for each target; and the classes' names where there is but one, of classes."""
    if not options.more_targets:
        y, classes = target_of(table[options.target], options, remarks)
        return [y], classes
    if options.task == "classification":
        raise DatasetError("task", "has several targets, which are numbers", "leave `task` out, or name one target")
    found, errors = [], []
    for name in options.targets:
        try:
            y, _ = target_of(table[name], replace(options, target=name, task="regression"), remarks)
            found.append(y)
        except DatasetError as error:
            if "task" in (error.mending or {}):  # classes are predicted alone
                error = DatasetError("target", error.wrong, "name columns of numbers, or one target alone")
            errors.append(error)
    if errors:
        raise DatasetError.together(errors)
    return found, []


def weights_of(values: "pd.Series[Any]", options: Options) -> npt.NDArray[np.float64]:
    """How much each row counts in the loss."""
    name = str(options.weight)
    numbers = complete(values, name, "weight", options.missing_values, options.decimal, "number")
    if not pd.api.types.is_numeric_dtype(numbers) or pd.api.types.is_bool_dtype(numbers):
        raise DatasetError("weight", f"the column {name} holds {names_of(numbers.unique())}, no numbers", "name another column")
    weights = numbers.to_numpy(np.float64)
    if (rows := rows_of(~((weights > 0) & np.isfinite(weights)))) is not None:
        what = f"the column {name} holds weights that are not above 0 in {rows}"
        raise DatasetError("weight", what, "take these rows out, or correct them")
    return weights


def target_of(values: "pd.Series[Any]", options: Options, remarks: Remarks) -> Target:
    """Classes from 0 up and their names, in order, the positive one of two last; or the numbers to be predicted."""
    name = options.target
    refuse_nested(values, name, "target")
    if options.task != "classification" and (unclear := unclear_marks(values, options.decimal, options.read)):
        wrong, remedy = unclear
        raise DatasetError("target", f"the column {name} {wrong}", remedy)
    kind: Kind = "number" if options.task == "regression" else "auto"
    given, values = values, understood(values, name, options.missing_values, options.decimal, kind, remarks)
    if (what := missing_in(values, given)) is not None:
        right = "complete these rows or take them out, or write `unlabelled: drop`"
        raise DatasetError("target", f"the column {name} {what}", right, {"unlabelled": "drop"})
    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if _task(values, options.task, is_number) == "classification":
        if options.transform is not None:
            what = f"is for numbers, and {name} is taken for classes"
            raise DatasetError("target_transform", what, "leave it out, or write `task: regression`")
        return _classes(values, options, remarks, is_number)
    if options.positive is not None:
        raise DatasetError("positive", f"names a class, and {name} is a number", "leave `positive` out")
    return _numbers(values, options, is_number), []


def labelled(table: pd.DataFrame, options: Options, remarks: Remarks) -> npt.NDArray[np.bool_]:
    """Which rows have all targets, or are to have them, (rows,)."""
    are = np.ones(len(table), dtype=bool)
    for name in options.targets:
        cells = understood(table[name], name, options.missing_values, options.decimal, "number", Remarks())
        are &= cells.notna().to_numpy() | (options.unlabelled == "error")
    if left := np.count_nonzero(~are):
        remarks.add("left out", f"{counted(int(left), 'row')} without {' and '.join(options.targets)}")
    return are


def _task(values: "pd.Series[Any]", task: Task, is_number: bool) -> Task:
    if task != "auto":
        return task
    is_whole = is_number and bool((values == values.round()).all())
    return "regression" if is_number and not (is_whole and values.nunique() <= FEW_NUMBERS) else "classification"


def _numbers(values: "pd.Series[Any]", options: Options, is_number: bool) -> npt.NDArray[np.generic]:
    name = options.target
    if not is_number:
        _refuse_texts(values, options, up_to=1.0)
        may_be_classes = 1 < values.nunique() <= len(values) / 2
        right = "write `task: classification`" if may_be_classes else "name another column"
        mending = {"task": "classification"} if may_be_classes else None
        raise DatasetError("target", f"{name} is no number, as a regression needs", right, mending)
    if (rows := rows_of(np.isinf(values.to_numpy(np.float64)))) is not None:
        raise DatasetError("target", f"the column {name} is infinite in {rows}", "correct these rows or take them out")
    if values.nunique() == 1:
        raise DatasetError("target", f"{name} is the same in every row", "name a column that varies")
    if beyond := beyond_precision(values):
        where, what, right = beyond
        raise DatasetError("target", f"the column {name} {what} in {rows_of(where)}", right)
    y = values.to_numpy(np.float64)
    _refuse_without_logarithm(y, options)
    return y


def _refuse_without_logarithm(y: npt.NDArray[np.float64], options: Options) -> None:
    least = {"log": 0.0, "log1p": -1.0}.get(str(options.transform), -np.inf)
    if (rows := rows_of(y <= least)) is not None:
        what = f"{options.transform} takes numbers above {least:g}, and {options.target} is {y.min():.6g} at least, in {rows}"
        right = "write `target_transform: log1p`" if least == 0 and y.min() > -1 else "leave it out"
        raise DatasetError("target_transform", what, right)


def _refuse_texts(values: "pd.Series[Any]", options: Options, up_to: float) -> None:
    """Refuse texts that are nearly numbers."""
    name, texts = options.target, values.astype("string")
    if texts.str.fullmatch(DECIMAL_COMMA).all():
        mending = {"read": {**options.read, "decimal": ","}}
        what = f"the column {name} holds numbers with decimal commas ({names_of(texts.unique())})"
        raise DatasetError("read", what, f"write {entries(mending)}", mending)
    _refuse_slips(texts, options, up_to)


def _refuse_slips(texts: "pd.Series[str]", options: Options, up_to: float) -> None:
    if slips := slips_of(texts, up_to):
        mending = {"missing_values": all_of(options.missing_values, slips[1]), "unlabelled": "drop"}
        right = f"correct these cells, or write {entries(mending)} to leave their rows out"
        right += ", or `task: classification` if all are classes" * (options.task == "auto")
        raise DatasetError("target", f"the column {options.target} holds numbers, but {slips[0]}", right, mending)


def _classes(values: "pd.Series[Any]", options: Options, remarks: Remarks, is_number: bool) -> Target:
    name = options.target
    codes, found = pd.factorize(values, sort=True)
    classes = category_texts(pd.Series(found)).tolist()
    if len(classes) == 1:
        raise DatasetError("target", f"{name} has one class only ({classes[0]})", "name a column with two classes or more")
    if len(classes) > len(values) / 2:
        raise _too_many(values, classes, options, is_number)
    texts = values.astype("string")
    if options.task == "auto" and pd.to_numeric(texts, errors="coerce").nunique() > FEW_NUMBERS and not are_codes(texts):
        _refuse_slips(texts, options, FEW_SLIPS)
    if options.task == "auto" and not is_number and like_numbers(texts) >= MOSTLY_NUMBERS:
        what = f"{names_of(texts.unique())} of {name} (`task: regression` if it is a number, else `task: classification`)"
        remarks.add("classes, though most look like numbers", what)
    if options.positive is None:
        return codes.astype(np.int64), classes
    return _with_positive_last(codes.astype(np.int64), classes, options)


def _too_many(values: "pd.Series[Any]", classes: list[str], options: Options, is_number: bool) -> DatasetError:
    name, what = options.target, f"{options.target} has {len(classes)} classes in {len(values)} rows"
    if is_number:
        return DatasetError("target", what, "write `task: regression`", {"task": "regression"})
    if as_dates(values, dayfirst=True) is not None:
        return DatasetError("target", f"{name} holds dates", "name a column of numbers or classes")
    if are_codes(values.astype("string")):
        what += f" ({names_of(classes)})"
        return DatasetError("target", what, "name another column, or write `task: regression` if its codes are amounts")
    _refuse_texts(values, options, up_to=MOST_SLIPS)
    return DatasetError("target", f"{what} ({names_of(classes)})", "name another column")


def _with_positive_last(codes: npt.NDArray[np.int64], classes: list[str], options: Options) -> Target:
    """The classes in the order that makes the positive one class 1, which binary metrics look at."""
    wanted = str(category_texts(pd.Series([str(options.positive)]))[0])
    found = [each for each in classes if each == wanted] or [each for each in classes if each.lower() == wanted.lower()]
    if len(classes) != 2:
        what = f"is for two classes, and {options.target} has {len(classes)}"
        raise DatasetError("positive", what, "leave `positive` out")
    if not found:
        raise DatasetError("positive", f"is no class of {options.target}", suggestion(wanted, classes))
    if found[0] == classes[1]:
        return codes, classes
    return 1 - codes, classes[::-1]
