"""Datasets by name: each is one function that returns a frame with the columns ``split``, ``y``, ``x0``, ``x1`` …

``split`` is one of train, validation, test, or spare: samples that only a ``resample`` draws on. ``y`` is a class from 0 up.
"""

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field

from pipeline.config.components import Component
from pipeline.config.params import placed_in
from pipeline.config.registry import Registered, Registry, arguments_of
from pipeline.config.units import Percentage, share_of
from pipeline.config.wording import is_path, is_printable, mistake
from pipeline.data.dates import DatePart
from pipeline.data.mistakes import DatasetError
from pipeline.data.options import Inputs, Missing, Reading, Task, Unlabelled
from pipeline.data.reading import is_of_arrays, read_arrays, read_table
from pipeline.data.tables import dataset_of, dataset_of_arrays
from pipeline.data.tables import frame as frame  # noqa: PLC0414  # for datasets of the user's own
from pipeline.problems.encoding import Transform

Builder = Callable[..., pd.DataFrame]
Size = Annotated[int, Field(ge=1, le=10_000_000)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


def _each(value: Any, wrong: str, right: str) -> list[str]:
    """One text, or a list of them, as a list."""
    some = value if isinstance(value, list) else [value]
    if not some or not all(isinstance(each, str) and each for each in some):
        raise mistake(wrong, right)
    return some


def _are_paths(given: Any) -> Any:
    """Files lie under one folder, for DVC to watch."""
    for path in _each(given, "is no path", "write one below inputs/, a pattern such as sales-*.csv, or a list of them"):
        place = PurePosixPath(is_path(path))
        if place.is_absolute() or ".." in place.parts:
            raise mistake("leads out of the folder inputs/", "put the file there and write its path below that folder")
    return given


def _are_names(given: Any) -> Any:
    right = "write one as it stands in the header, in quotes if need be, or a list of them"
    for name in _each(given, "is no column's name", right):
        is_printable(name)
    return given


def _is_mark(mark: Any) -> Any:
    if not isinstance(mark, str | int | float) or (not isinstance(mark, str) and not abs(mark) <= LARGEST):
        raise mistake("is neither text nor a usual number", "write it as it stands in the cells, in quotes if need be")
    return mark


def _is_class(name: Any) -> Any:
    if not isinstance(name, str | int) or (isinstance(name, int) and abs(name) > LARGEST):
        raise mistake("is no class", "write its name as it stands in the cells, in quotes if need be")
    return is_printable(name) if isinstance(name, str) else name


def _says_something(given: Any) -> Any:
    if given == {}:
        raise mistake("says nothing", 'leave it out, or write what is to be known, as in {sep: ";"}')
    return given


Read = Annotated[Reading, BeforeValidator(_says_something)]
LARGEST = 10**15
"""Of numbers that stand for something."""
Name = Annotated[str, Field(min_length=1), AfterValidator(is_printable)]
Names = Annotated[Any, AfterValidator(_are_names)]
Mark = Annotated[Any, AfterValidator(_is_mark)]
Class = Annotated[Any, AfterValidator(_is_class)]
Dates = Annotated[dict[Name, Annotated[list[DatePart], Field(min_length=1)]], Field(min_length=1)]
FilePaths = Annotated[Any, AfterValidator(_are_paths)]
Shares = Annotated[list[Percentage], Field(min_length=3, max_length=3)]

datasets: Registry[Registered] = Registry("dataset")


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a function known under ``name``; its arguments are what params.yaml may say beside the name."""

    def add(function: Builder) -> Builder:
        datasets.add(Registered(name, function, arguments_of(function, given=())))
        return function

    return add


@register("synthetic")
def synthetic(
    train: Size = 1000,
    validation: Size = 1000,
    test: Size = 4000,
    features: Annotated[int, Field(ge=1, le=100_000)] = 10,
    classes: Annotated[int, Field(ge=2, le=10_000)] = 2,
    noise: Annotated[float, Field(ge=0, le=1)] = 0.1,
    condition: Annotated[float, Field(ge=1, le=1e12)] = 100.0,
    spare: Annotated[int, Field(ge=0, le=10_000_000)] = 0,
    seed: Seed = 0,
) -> pd.DataFrame:
    """The tutorial's data, made learnable: Gaussian inputs labelled by a random linear teacher.

    ``noise`` is the share of labels replaced by another class, drawn uniformly. ``condition`` is the condition number of
    the inputs' covariance: the features' scales are spaced evenly in the logarithm with mean square 1, so that some
    directions are learnt slowly and the learning rate matters. The teacher's weights are divided by the scales, so that
    every feature matters equally. ``spare`` samples more let each seed of a ``resample`` draw nearly all of its own.
    """
    draw = np.random.default_rng(seed)
    size = train + validation + test + spare
    scales = np.geomspace(1, condition**-0.5, features)
    scales /= np.sqrt(np.mean(scales**2))
    standard = draw.standard_normal((size, features))
    teacher = draw.standard_normal((features, classes))
    y = (standard @ teacher).argmax(axis=1)
    flipped = draw.random(size) < noise
    y = np.where(flipped, (y + draw.integers(1, classes, size)) % classes, y)
    split = np.repeat(["train", "validation", "test", "spare"], [train, validation, test, spare])
    return frame(standard * scales, y, split)


@register("digits")
def digits(seed: Seed = 0, images: bool = False) -> pd.DataFrame:
    """The 1797 8×8 images of digits bundled with scikit-learn, 60/20/20 stratified, scaled by their constant maximum of 16.

    A sample is a row of 64 numbers, or of shape (1, 8, 8) as ``images``.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    rest, test = train_test_split(np.arange(len(y)), test_size=0.2, stratify=y, random_state=seed)
    train, validation = train_test_split(rest, test_size=0.25, stratify=y[rest], random_state=seed)
    split = np.empty(len(y), dtype=object)
    split[train], split[validation], split[test] = "train", "validation", "test"
    return frame((x / 16.0).reshape(-1, 1, 8, 8) if images else x / 16.0, y, split)


@register("file")
def file(
    path: FilePaths,
    target: Names,
    target_transform: Transform | None = None,
    weight: Name | None = None,
    task: Task = "auto",
    unlabelled: Unlabelled = "error",
    positive: Class | None = None,
    features: list[Name] | None = None,
    drop: list[Name] = [],  # noqa: B006  # pydantic copies it
    categorical: list[Name] = [],  # noqa: B006
    numeric: list[Name] = [],  # noqa: B006
    most_categories: Annotated[int, Field(ge=1, le=10_000)] = 100,
    dates: Dates | None = None,
    missing: Missing = "error",
    missing_values: list[Mark] = [],  # noqa: B006
    read: Read | None = None,
    inputs: Inputs = "auto",
    split: Name | None = None,
    shares: Shares = ["60%", "20%", "20%"],  # noqa: B006
    group: Name | None = None,
    order: Name | None = None,
    duplicates: Literal["group", "keep"] = "group",
    trusted: list[Name] = [],  # noqa: B006
    seed: Seed = 0,
) -> pd.DataFrame:
    """A text (CSV and its like), Parquet or npz file under ``inputs/``, one row per sample; docs/data.md tells all of it.

    ``path`` may be a pattern, or a list: files of the same columns are one table. ``target`` may be a list of numbers to be
    predicted together.

    Parts are those of the column ``split``, else ``shares`` for train, validation and test: stratified for classes, whole
    groups where ``group`` names a column, the earliest first where ``order`` does. ``duplicates`` and ``trusted`` are for
    :mod:`pipeline.data.leaks`.
    """
    reading = Reading() if read is None else Reading.model_validate(read)
    target, *more_targets = target if isinstance(target, list) else [target]
    how: dict[str, Any] = {
        "more_targets": more_targets, "transform": target_transform, "weight": weight,
        "task": task, "unlabelled": unlabelled, "positive": positive, "features": features, "missing": missing,
        "missing_values": missing_values,
        "split": split, "shares": [share_of(share) for share in shares], "group": group, "order": order, "seed": seed,
    }  # fmt: skip
    of_tables: dict[str, Any] = {
        "drop": drop, "categorical": categorical, "numeric": numeric, "dates": dates or {}, "read": reading.given,
    }  # fmt: skip
    if is_of_arrays(path):
        _refuse_useless((key for key, value in of_tables.items() if value), "is for tables, and this is a file of arrays")
        return dataset_of_arrays(read_arrays(path), target, inputs=inputs, **how)
    _refuse_useless(["inputs"] * (inputs != "auto"), "is for arrays, and this is a table")
    table = read_table(path, reading, target)
    try:
        return dataset_of(table, target, **of_tables, **how, most_categories=most_categories)
    except DatasetError as error:
        for each in error.all:
            if "rows" in table.attrs and " row" in each.wrong:  # of several files, and counted through
                each.wrong += f" ({table.attrs['rows']})"
        raise


def _refuse_useless(given: Iterable[str], why: str) -> None:
    """Refuse arguments that are for files of the other kind."""
    for key in given:
        raise DatasetError(key, why, f"leave `{key}` out")


def made(problem: str, component: Component) -> pd.DataFrame:
    """The dataset of a problem in params.yaml, or a ``ParamsError`` with the place of all that is wrong."""
    try:
        data: pd.DataFrame = datasets[component.name].function(**component.args)
    except DatasetError as error:
        place = ("problems", problem, "dataset")
        given = component.args
        raise placed_in(((*place, each.key), given.get(each.key), each.wrong, each.right) for each in error.all) from None
    return data


def _in_single_precision(data: pd.DataFrame) -> pd.DataFrame:
    """What has a few digits alone loses nothing by it."""
    return data.astype(dict.fromkeys(data.select_dtypes(np.float64), np.float32))


def _bundled(name: str) -> Callable[..., pd.DataFrame]:
    def load(seed: Seed = 0) -> pd.DataFrame:
        import sklearn.datasets

        bunch: Any = getattr(sklearn.datasets, f"load_{name}")(as_frame=True)
        task: Task = "regression" if name == "diabetes" else "classification"
        return _in_single_precision(dataset_of(bunch.frame, "target", task=task, seed=seed))

    load.__name__ = name
    load.__doc__ = f"``sklearn.datasets.load_{name}``, bundled with scikit-learn; 60/20/20, standardised on the training part."
    return load


for _name in ("iris", "wine", "breast_cancer", "diabetes"):
    register(_name)(_bundled(_name))


@register("linnerud")
def linnerud(target: Literal["Weight", "Waist", "Pulse"] = "Weight", seed: Seed = 0) -> pd.DataFrame:
    """``sklearn.datasets.load_linnerud``: one of its three targets, from exercises; 20 samples in all."""
    from sklearn.datasets import load_linnerud

    others = [name for name in ("Weight", "Waist", "Pulse") if name != target]
    return _in_single_precision(
        dataset_of(load_linnerud(as_frame=True).frame, target, task="regression", drop=others, seed=seed)
    )
