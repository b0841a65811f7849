"""Table columns as model inputs: numbers standardised, categories one-hot, fitted on the training part alone.

All of it in double precision, and only what comes out in single: there, 1.7e9 ± 1 would be one number in every row.

scikit-learn's transformers do it. A dataset that needs it says so beside its samples (:class:`Column`); one that has inputs as
they are says nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

Transform = Literal["log", "log1p"]
"""What is learnt in place of a target; log1p is log(1 + y), which takes zeros."""
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).tiny)
FINEST = 1e-12
"""Relative differences below are rounding."""
ROUNDING = 4
"""Units in the last place of a double by which sums of the same numbers may differ."""


@dataclass(frozen=True)
class Column:
    """A feature: a number, or one of ``categories``, stored as its place among them; NaN where it is missing."""

    name: str
    categories: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For a file's metadata."""
        return {**asdict(self), "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> "Column":
        """What :meth:`as_dict` gave."""
        return cls(given["name"], tuple(given["categories"]))

    @property
    def width(self) -> int:
        """How many inputs it becomes."""
        return len(self.categories) or 1


@dataclass(frozen=True)
class Columns:
    """A table's columns, for a model that takes them apart: ``numbers`` inputs that are numbers come first.

    Behind them is one input for each category: its place, a whole number from 1 up, or 0 where the training part lacks it.
    ``categories`` has how many places each column has, with that 0; ``names`` all columns in this order.
    """

    numbers: int
    categories: tuple[int, ...] = ()
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, columns: Sequence[Column]) -> "Columns":
        """Those of a table."""
        ordered = [column for _, column in numbers_first(columns)]
        sizes = tuple(len(column.categories) + 1 for column in ordered if column.categories)
        return cls(len(columns) - len(sizes), sizes, tuple(column.name for column in ordered))


def numbers_first(columns: Sequence[Column]) -> list[tuple[int, Column]]:
    """Each column and its place: numbers, then categories."""
    return sorted(enumerate(columns), key=lambda each: bool(each[1].categories))


def category_texts(values: "pd.Series[Any]") -> "pd.Series[str]":
    """What each value is called as a category: 8, 8.0 and the texts of both are all ``8``; missing ones stay missing.

    An empty cell makes pandas read whole numbers as 8.0, and JSON knows but one kind of number.
    """
    return values.astype("string").str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def beyond_precision(values: "pd.Series[Any]") -> tuple["pd.Series[bool]", str, str] | None:
    """Rows with numbers that no floating point holds apart from others, or at all; what they are and what would be right."""
    numbers = pd.Series(values.to_numpy(np.float64, na_value=np.nan))
    if (is_huge := numbers.abs() > LARGEST).any():
        right = "correct these rows, or divide the column by a power of ten"
        return is_huge, f"is beyond single precision ({numbers[is_huge].iloc[0]:.4g}, and {LARGEST:.2g} is the most)", right
    if 0 < (spread := numbers.max() - numbers.min()) < SMALLEST:
        return numbers.notna(), f"varies by {spread:.2g} only", "multiply the column by a power of ten"
    if pd.api.types.is_integer_dtype(values) and values.nunique() > numbers.nunique():
        twice = values.reset_index(drop=True).groupby(numbers).transform("nunique") > 1
        right = "subtract the smallest of them, or leave the column out"
        return twice, "holds whole numbers beyond 2⁵³ that double precision does not tell apart", right
    return None


def lost_in_single_precision(x: npt.NDArray[Any]) -> tuple[str, str] | None:
    """What of inputs (samples, numbers) that stay as they are would not be held, and what would be right."""
    low, high = x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)
    size = np.maximum(np.abs(low), np.abs(high))
    if (huge := np.flatnonzero(size > LARGEST)).size:
        rows = np.flatnonzero(np.abs(x[:, huge[0]]) > LARGEST)
        return f"gives {size[huge[0]]:.4g} for x{huge[0]} in row {rows[0] + 1}, beyond single precision", "scale these inputs"
    varies = (high - low > FINEST * size) & (not np.issubdtype(x.dtype, np.integer))
    if (same := np.flatnonzero(varies & (np.float32(low) == np.float32(high)))).size:
        ends = f"{float(low[same[0]])} to {float(high[same[0]])}"
        what = f"gives numbers from {ends} for x{same[0]}, which are one in single precision"
        return what, "subtract their mean, and divide by their standard deviation"
    return None


def encode(
    x: npt.NDArray[np.generic], columns: Sequence[Column], train: npt.NDArray[np.int64], *, as_places: bool = False
) -> npt.NDArray[np.float32]:
    """Inputs (samples, widths of all columns) from raw columns (samples, columns), fitted on the rows ``train``."""
    return encoded(fitted(x[train], columns, as_places=as_places), x)


def encoded(transformer: Any, x: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Inputs from raw columns, as fitted."""
    with np.errstate(over="ignore"):  # told by whoever knows the column's name and row
        inputs: npt.NDArray[np.float32] = transformer.transform(x.astype(np.float64)).astype(np.float32)
    return inputs


def fitted(x: npt.NDArray[np.generic], columns: Sequence[Column], *, as_places: bool = False) -> Any:
    """The transformer (of scikit-learn) of raw columns, fitted on the samples ``x``; ``as_places`` as :class:`Columns` says.

    A missing number becomes their median, a missing category their most frequent one; what all of them lack becomes zeros. So
    does a category that none of them has: an input of its own would come with weights that nothing has trained.
    """
    from sklearn.compose import ColumnTransformer  # late: a second that only this needs
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    steps: list[Any] = []
    for number, column in numbers_first(columns) if as_places else enumerate(columns):
        if column.categories:
            places = np.arange(len(column.categories), dtype=np.float64)
            are_known = np.isin(places, x[:, number])
            if as_places:
                then = [FunctionTransformer(partial(_places, are_known))]
            else:
                known = FunctionTransformer(partial(np.multiply, are_known))
                then = [OneHotEncoder(categories=[places], sparse_output=False), known]
        else:
            then = [FunctionTransformer(partial(_from_the_middle, _middle(x[:, number]))), StandardScaler()]
        filled = SimpleImputer(strategy="most_frequent" if column.categories else "median", keep_empty_features=True)
        steps.append((str(number), make_pipeline(filled, *then), [number]))
    return ColumnTransformer(steps).fit(x.astype(np.float64))


def _places(are_known: npt.NDArray[np.bool_], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From 1 up, 0 where a category is not known."""
    return np.where(are_known[values.astype(np.int64)], values + 1, 0.0)


def _middle(values: npt.NDArray[np.generic]) -> float:
    """The median of what is there."""
    there = values[~np.isnan(values)].astype(np.float64)
    return float(np.median(there)) if there.size else 0.0


def _from_the_middle(middle: float, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far the values are from their middle; StandardScaler takes numbers that lie close together far from 0 for one.

    What differs from it by the rounding of a fraction's last digits does not differ; whole numbers are exact.
    """
    away = values - middle
    is_rounding = (np.abs(away) <= ROUNDING * np.spacing(abs(middle))) & (values != np.round(values))
    return np.where(is_rounding, 0.0, away)


@dataclass(frozen=True)
class Scale:
    """The mean and the standard deviation of a target in a training part, of its logarithm where that is learnt.

    Of several targets, each has its own, (targets,).
    """

    mean: float | npt.NDArray[np.float64] = 0.0
    deviation: float | npt.NDArray[np.float64] = 1.0
    transform: Transform | None = None

    @classmethod
    def of(cls, y: npt.NDArray[Any], transform: Transform | None = None) -> "Scale":
        """That of the targets ``y``, (samples,) or (samples, targets)."""
        y = _FORWARD[transform](y)
        mean, deviation = y.mean(axis=0, dtype=np.float64), y.std(axis=0, dtype=np.float64)
        if y.ndim == 1:
            return cls(float(mean), float(deviation) or 1.0, transform)
        return cls(mean, np.where(deviation > 0, deviation, 1.0), transform)

    def standardised(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Targets as a model is to predict them."""
        with np.errstate(over="ignore"):
            standard: npt.NDArray[np.float32] = ((_FORWARD[self.transform](y) - self.mean) / self.deviation).astype(np.float32)
        return standard

    def told(self, outputs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A model's predictions in the target's own unit."""
        with np.errstate(over="ignore"):
            found: npt.NDArray[np.float64] = _BACK[self.transform](outputs * self.deviation + self.mean)
        return found


def _as_it_is(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values


_FORWARD: Mapping[str | None, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    None: _as_it_is, "log": np.log, "log1p": np.log1p,
}  # fmt: skip
_BACK: Mapping[str | None, Callable[[npt.NDArray[Any]], npt.NDArray[Any]]] = {
    None: _as_it_is, "log": np.exp, "log1p": np.expm1,
}  # fmt: skip
