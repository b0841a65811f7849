"""The user's own tables and arrays made datasets: what is learnt from, what is predicted, and each row's part."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.wording import counted, few, suggestion
from pipeline.data.cells import Remarks
from pipeline.data.features import features_of
from pipeline.data.mistakes import SHOWN, DatasetError, names_of, rows_of
from pipeline.data.options import Inputs, Options
from pipeline.data.splits import groups_of, parts_of
from pipeline.data.targets import labelled, targets_of, weights_of
from pipeline.problems.dataset import PARTS, SHAPED, inputs_of, values_of
from pipeline.problems.dataset import targets_of as columns_of_targets
from pipeline.problems.encoding import Column, lost_in_single_precision

FEWEST = 10
"""Samples of a part, or of a class, below which its figures are chance."""


def dataset_of(table: pd.DataFrame, target: str, **options: Any) -> pd.DataFrame:
    """The table as a dataset: raw numbers and categories' places, to be encoded for each seed by its training part.

    ``options`` are those of :class:`pipeline.data.options.Options`. Columns ``split``, ``y``, ``x0`` … and ``group``
    where there is one; ``attrs["columns"]`` says what each feature is, ``attrs["classes"]`` what the classes are called (the
    positive one of two last), ``attrs["remarks"]`` what was recognised. Raises :class:`DatasetError`.
    """
    asked, remarks = replace(Options(target, **options), decimal=table.attrs.get("decimal", ".")), Remarks()
    _refuse_unknown(table, asked)
    said = table.attrs.get("remarks", ())
    table = table[labelled(table, asked, remarks)].reset_index(drop=True)
    errors: list[DatasetError] = []
    try:
        targets, classes = targets_of(table, asked, remarks)
    except DatasetError as error:
        errors += error.all
    try:
        features = features_of(table, _chosen(table, asked, remarks), asked, remarks)
    except DatasetError as error:
        errors += error.all
    if errors:
        raise DatasetError.together(errors)
    columns, values = zip(*features, strict=True)
    _refuse_total({column.name: x for column, x in features if not column.categories})
    y = {f"y{place or ''}": target for place, target in enumerate(targets)}
    x = {f"x{place}": feature for place, feature in enumerate(values)}
    data = pd.DataFrame({"split": parts_of(table, targets[0], asked), **y, **x})
    _add_what_else_is_named(data, table, asked, remarks)
    data.attrs["columns"] = [column.as_dict() for column in columns]
    data.attrs["classes"] = classes
    data.attrs["remarks"] = [*said, *remarks.told()]
    if remarks.amounts:
        data.attrs["amounts"] = remarks.amounts
    return data


def _refuse_total(numbers: Mapping[str, Any]) -> None:
    """Refuse a last row that adds up those above it, as spreadsheets have one; that two columns do so is no coincidence."""
    table = pd.DataFrame(numbers)
    if len(table) <= FEWEST:
        return
    above, last = table.iloc[:-1], table.iloc[-1]
    adds_up = np.isclose(last, above.sum(), rtol=1e-9, atol=0) & (last.abs() > above.abs().max())
    if adds_up.sum() > 1:
        wrong = f"the last row adds up those above it ({names_of(table.columns[adds_up])})"
        raise DatasetError("path", wrong, "take it out of the file")


def _add_what_else_is_named(data: pd.DataFrame, table: pd.DataFrame, options: Options, remarks: Remarks) -> None:
    """Groups and weights, and how the targets are to be taken."""
    if options.group is not None:
        data["group"] = groups_of(table, options.group, remarks)
    if options.weight is not None:
        data["weight"] = weights_of(table[options.weight], options)
    if options.transform is not None:
        data.attrs["transform"] = options.transform
    if options.more_targets:
        data.attrs["targets"] = options.targets


def dataset_of_arrays(
    arrays: Mapping[str, npt.NDArray[Any]], target: str, *, inputs: Inputs = "auto", **options: Any
) -> pd.DataFrame:
    """Arrays as a dataset: the one of the inputs, (samples, …), beside ``target`` and what else is named, (samples,) each.

    A ``target`` of shape (samples, targets) are numbers to be predicted together, one of shape (samples, 1) is but one. Classes
    of shape (samples, …) are several for each sample, such as the next token at every place.

    Inputs of shape (samples, features) are a table's columns, standardised like these, or token ids, as ``inputs`` says; see
    :func:`_are_tokens`. Of any other shape, or with several classes, they stay as they are. Raises :class:`DatasetError`.
    """
    asked = Options(target, **options)
    beside = asked.taken
    left = list(asked.features or [name for name in arrays if name not in beside])
    _refuse_arrays(arrays, left, beside, target)
    (name,) = left
    x, y = arrays[name], arrays[target]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    table = pd.DataFrame({key: values for key, values in {**arrays, target: y}.items() if values.ndim == 1})
    tokens, remark = _are_tokens(x, inputs, name)
    are_several_numbers = y.ndim == 2 and y.dtype.kind in "iuf" and not _are_classes(y, asked)
    if x.ndim <= 2 and not tokens and (y.ndim == 1 or are_several_numbers):
        goals = _columns(y, target) if are_several_numbers else table[[target]]
        others = table[[key for key in beside if key != target]]
        first, *more = goals.columns
        given = {field.name: getattr(asked, field.name) for field in fields(asked)} | {"features": None, "target": first}
        given["more_targets"] = [*more, *asked.more_targets]
        data = dataset_of(pd.concat([goals, others, _columns(x, name)], axis=1), **given)
    else:
        data = _as_they_are(x, y, name, tokens, table, asked)
    data.attrs["remarks"] = [*data.attrs["remarks"], *remark]
    return data


def _columns(values: npt.NDArray[Any], name: str) -> pd.DataFrame:
    """The columns of an array (samples, columns), or (samples,), by its name and their numbers."""
    return pd.DataFrame(values.reshape(len(values), -1)).rename(columns=lambda number: f"{name}[{number}]")


def _are_classes(y: npt.NDArray[Any], options: Options) -> bool:
    """Whether targets of shape (samples, …) are classes."""
    return options.task == "classification" or (options.task == "auto" and y.dtype.kind in "iu")


def _are_tokens(x: npt.NDArray[Any], inputs: Inputs, name: str) -> tuple[bool, list[str]]:
    """Whether inputs are token ids, and what to say of it: whole numbers from 0 up, in rows, unless they are bytes (pixels)."""
    is_whole = x.dtype.kind in "iu"
    if inputs == "tokens" and not (is_whole and x.ndim == 2 and x.min() >= 0):
        what = f"the array {name} of {x.dtype} and shape {x.shape} holds no token ids, whole numbers from 0 up in rows"
        raise DatasetError("inputs", what, "write `inputs: numbers`, or save them as int64")
    if not is_whole or x.ndim != 2 or inputs != "auto":
        return inputs == "tokens", []
    if x.dtype.itemsize == 1 or x.min() < 0:
        return False, [f"{x.dtype} inputs taken as numbers" + " (`inputs: tokens` for token ids)" * bool(x.min() >= 0)]
    return True, [f"{x.dtype} inputs taken as token ids (`inputs: numbers` for numbers)"]


def _as_they_are(
    x: npt.NDArray[Any], y: npt.NDArray[Any], name: str, tokens: bool, table: pd.DataFrame, options: Options
) -> pd.DataFrame:
    """Token ids, or samples that are no plain rows, or have several targets."""
    if (rows := rows_of(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))) is not None:
        right = "complete these samples or take them out; only plain rows can be imputed"
        raise DatasetError("missing", f"the array {name} is not finite in {rows}", right)
    remarks = Remarks()
    others: list[npt.NDArray[np.generic]] = []
    if y.ndim == 1:
        are = labelled(table, options, remarks)
        x, table = x[are], table[are].reset_index(drop=True)
        (y, *others), classes = targets_of(table, options, remarks)
    else:
        y, classes = _several(y, options), []
    kind = np.int64 if tokens else x.dtype if x.dtype.kind == "f" else np.float32
    data = frame(x.astype(kind), y, parts_of(table, y, options))
    for place, other in enumerate(others, 1):
        data.insert(1 + place, f"y{place}", other)
    _add_what_else_is_named(data, table, options, remarks)
    as_they_are = [] if tokens else [f"inputs taken as they are, from {x.min():.4g} to {x.max():.4g}"]
    data.attrs["classes"], data.attrs["remarks"] = classes, [*as_they_are, *remarks.told()]
    return data


def _several(y: npt.NDArray[Any], options: Options) -> npt.NDArray[Any]:
    """Targets of shape (samples, …): classes, of which negative ones may be ignored by the loss, or numbers."""
    if y.dtype.kind not in "iuf":
        what = f"the array {options.target} of shape {y.shape} holds {y.dtype}, no numbers"
        raise DatasetError("target", what, "save classes as int64, or numbers as float32")
    if (rows := rows_of(~np.isfinite(y.reshape(len(y), -1)).all(axis=1))) is not None:
        raise DatasetError("target", f"the array {options.target} is not finite in {rows}", "complete these samples")
    if _are_classes(y, options):
        if options.weight is not None:
            raise DatasetError("weight", f"samples have classes of shape {y.shape[1:]}, which take no weights", "leave it out")
        return y.astype(np.int64)
    if y.ndim > 2:
        what = f"the array {options.target} has numbers of shape {y.shape[1:]} for each sample"
        raise DatasetError("target", what, "save them in one row for each sample")
    return y.astype(np.float64)


def _refuse_arrays(arrays: Mapping[str, npt.NDArray[Any]], inputs: Sequence[str], beside: Sequence[str], target: str) -> None:
    """Refuse names that no array has, anything but one array of numbers as inputs, and others that are no plain columns."""
    for key, names in {"features": inputs, "target": beside}.items():
        for name in names:
            if name not in arrays:
                raise DatasetError(key, f"there is no array {name!r}", suggestion(name, arrays))
            if key == "target" and arrays[name].ndim != 1 and name != target:
                raise DatasetError(key, f"the array {name} has the shape {arrays[name].shape}", "give it one number per sample")
    if len(inputs) != 1:
        raise DatasetError("features", f"the inputs may be any of {names_of(inputs)}", "name the array: `features: [x]`")
    (name,) = inputs
    if arrays[name].dtype.kind not in "iufb":
        raise DatasetError("features", f"the array {name} holds {arrays[name].dtype}, no numbers", "save its numbers")


def frame(x: npt.NDArray[Any], y: npt.NDArray[Any], split: npt.NDArray[Any]) -> pd.DataFrame:
    """The table of a dataset: ``x`` (samples, *shape), ``y`` (samples,) or (samples, …), and ``split`` (samples,) names.

    Whole numbers in ``y`` are classes from 0 up, all others are to be predicted themselves. Whole numbers in ``x`` stay what
    they are (token ids); the shape of a sample that is no plain row is kept in the frame's ``attrs``.
    """
    flat = x.reshape(len(x), -1)
    if wrong := lost_in_single_precision(flat):
        raise DatasetError("name", *wrong)
    kind = np.int64 if np.issubdtype(x.dtype, np.integer) else np.float32
    columns = pd.DataFrame(flat.astype(kind), columns=[f"x{i}" for i in range(flat.shape[1])])
    y = y.astype(np.int64 if np.issubdtype(y.dtype, np.integer) else np.float64)
    if y.ndim > 1:
        targets = pd.DataFrame(y.reshape(len(y), -1)).rename(columns=lambda number: f"y{number or ''}")
        columns = pd.concat([targets, columns], axis=1)
        if np.issubdtype(y.dtype, np.integer):
            columns.attrs[SHAPED] = list(y.shape[1:])
    else:
        columns.insert(0, "y", y)
    columns.insert(0, "split", split)
    if x.ndim > 2:  # samples and features
        columns.attrs["shape"] = list(x.shape[1:])
    return columns


def described(data: pd.DataFrame) -> str:
    """A line about a dataset that was made of a table: what was found in it, and what was taken for what."""
    columns = [Column.from_dict(column) for column in data.attrs.get("columns", ())]
    categories = [column.name for column in columns if column.categories]
    sizes = data["split"].value_counts()
    x = data[[f"x{i}" for i in range(len(columns))]].to_numpy()  # at once: pandas copies all attrs with each column
    same = ((x == x[:1]) | (np.isnan(x) & np.isnan(x[:1]))).all(axis=0)
    constant = [column.name for column, is_same in zip(columns, same, strict=True) if is_same]
    parts = ", ".join(f"{sizes[part]} {part}" for part in PARTS)
    inputs = f"{counted(len(columns), 'feature')} ({len(categories)} of them categories)"
    if not columns:
        inputs = f"inputs of shape {tuple(data.attrs.get('shape', (len(inputs_of(data)),)))}"
    said = [f"{len(data)} samples ({parts}), {inputs}, to predict {_predicted(data)}", *data.attrs.get("remarks", ())]
    if constant:
        said.append(f"the same in every row and of no use: {', '.join(constant)}")
    if (fewest := int(sizes[list(PARTS)].min())) < FEWEST:
        some = f"{counted(fewest, 'sample')}"
        said.append(f"warning: only {some} in a part, whose figures are chance; get more rows, or expect no answer")
    if classes := data.attrs.get("classes"):
        counts = np.bincount(data["y"], minlength=len(classes))
        if rare := [f"{name!r} ({count})" for name, count in zip(classes, counts, strict=True) if count < FEWEST]:
            said.append(f"warning: few samples of {few(rare)}, perhaps none in a part; merge classes or leave the rows out")
    return "; ".join(said)


def _predicted(data: pd.DataFrame) -> str:
    """What is to be predicted, classes by their names; of two, which one binary metrics look at."""
    if SHAPED in data.attrs:
        return f"targets of shape {tuple(data.attrs[SHAPED])}, classes up to {values_of(data).max()}"
    y, classes = data["y"], data.attrs.get("classes", ())
    if len(columns := columns_of_targets(data)) > 1:
        names = data.attrs.get("targets", columns)
        ends = [(data[column].min(), data[column].max()) for column in columns]
        told = (f"{name} from {low:.10g} to {high:.10g}" for name, (low, high) in zip(names, ends, strict=True))
        return f"{len(names)} numbers ({', '.join(told)})"
    if not pd.api.types.is_integer_dtype(y):
        return f"a number from {y.min():.10g} to {y.max():.10g}"
    if not classes:
        return f"{y.nunique()} classes"
    more = " …" if len(classes) > SHOWN else ""
    positive = f"; {classes[1]!r} is the positive one" if len(classes) == 2 else ""
    return f"{len(classes)} classes ({', '.join(map(repr, classes[:SHOWN]))}{more}{positive})"


def _refuse_unknown(table: pd.DataFrame, options: Options) -> None:
    """Refuse names that no column has, all of them at once."""
    named: dict[str, Sequence[str]] = dict(options.beside)
    named |= {key: list(getattr(options, key) or ()) for key in ("features", "drop", "categorical", "numeric", "dates")}
    errors = []
    for key, names in named.items():
        if unknown := [name for name in names if name not in table]:
            errors.append(DatasetError(key, f"there is no column {names_of(unknown)}", suggestion(unknown[0], table.columns)))
    twice = {key: [n for n in options.beside.get(key, ()) if options.taken.count(n) > 1] for key in ("target", "weight")}
    if twice_over := [name for name in options.features or () if name in options.beside["target"] or name in options.drop]:
        right = "take it out of one of the two"
        errors.append(DatasetError("features", f"names {names_of(twice_over)}, which is the target or left out", right))
    errors += [
        DatasetError(key, f"names {names_of(names)}, which is named twice", "name each column once")
        for key, names in twice.items()
        if names
    ]
    if errors:
        raise DatasetError.together(errors)


def _chosen(table: pd.DataFrame, options: Options, remarks: Remarks) -> list[str]:
    """The columns to learn from: those named, else all but those that have no name and nothing to say."""
    beside = [name for name in options.taken if name != options.order or name not in options.dates]
    taken = {*beside, *options.drop}
    left = [name for name in (options.features or table.columns) if name not in taken]
    if options.features is None:
        named = {*options.categorical, *options.dates}
        for name in [name for name in left if name.startswith("Unnamed: ") and name not in named]:
            if why := _says_nothing(table[name]):
                left.remove(name)
                remarks.add("left out", f"{name} ({why})")
    if not left:
        what = "leaves no feature" + f", for {names_of(options.drop)} stands under `drop`" * bool(options.drop)
        right = (
            "give the table columns of numbers or categories; sentences are learnt as token ids (an .npz file), or by a script"
        )
        raise DatasetError("features" if options.features else "target", what, right)
    return left


def _says_nothing(values: "pd.Series[Any]") -> str | None:
    """Why a column without a name is left out: it is empty, or an index."""
    if values.isna().all():
        return "no name and nothing in it"
    counted = values.dtype.kind in "iu" and bool((values.diff().dropna() == 1).all()) and values.iloc[0] in (0, 1)
    return "no name, and the rows' numbers" if counted else None
