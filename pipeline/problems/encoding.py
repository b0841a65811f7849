"""Table columns as model inputs: numbers standardised, categories one-hot, fitted on the training part alone.

scikit-learn's transformers do it. A dataset that needs it says so beside its samples (:class:`Column`); one that has inputs as
they are says nothing.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd


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


def category_texts(values: "pd.Series[Any]") -> "pd.Series[str]":
    """What each value is called as a category: 8, 8.0 and the texts of both are all ``8``; missing ones stay missing.

    An empty cell makes pandas read whole numbers as 8.0, and JSON knows but one kind of number.
    """
    return values.astype("string").str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True)


def encode(x: npt.NDArray[np.generic], columns: Sequence[Column], train: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Inputs (samples, widths of all columns) from raw columns (samples, columns), fitted on the rows ``train``."""
    return encoded(fitted(x[train], columns), x)


def encoded(transformer: Any, x: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Inputs from raw columns, as fitted."""
    inputs: npt.NDArray[np.float32] = transformer.transform(x.astype(np.float64)).astype(np.float32)
    return inputs


def fitted(x: npt.NDArray[np.generic], columns: Sequence[Column]) -> Any:
    """The transformer (of scikit-learn) of raw columns, fitted on the samples ``x``.

    A missing number becomes their median, a missing category their most frequent one; what all of them lack becomes zeros. So
    does a category that none of them has: an input of its own would come with weights that nothing has trained.
    """
    from sklearn.compose import ColumnTransformer  # late: a second that only this needs
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    steps: list[Any] = []
    for number, column in enumerate(columns):
        if column.categories:
            places = np.arange(len(column.categories), dtype=np.float64)
            known = FunctionTransformer(partial(np.multiply, np.isin(places, x[:, number])))
            then = [OneHotEncoder(categories=[places], sparse_output=False), known]
        else:
            then = [StandardScaler()]
        filled = SimpleImputer(strategy="most_frequent" if column.categories else "median", keep_empty_features=True)
        steps.append((str(number), make_pipeline(filled, *then), [number]))
    return ColumnTransformer(steps).fit(x.astype(np.float64))
