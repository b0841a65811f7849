"""What is wrong with the user's own data, and the words for it: rows, names, remedies."""

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.wording import as_yaml, few

SHOWN = 5
LONGEST = 40


class DatasetError(Exception):
    """Data that no dataset can be made of: the argument it is about, what is wrong and what would be right.

    ``all`` are the errors that are told together, one for each argument; of one that stands alone, itself. ``mending`` are the
    arguments that would mend it, with what they hold already; None where the file has to be mended. ``columns`` say what is
    wrong with each of them.
    """

    def __init__(
        self,
        key: str,
        wrong: str,
        right: str,
        mending: Mapping[str, Any] | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(key, wrong, right, mending, columns)
        self.key, self.wrong, self.right = key, wrong, right
        self.mending, self.columns = mending, columns or {}
        self.all: tuple[DatasetError, ...] = (self,)

    @classmethod
    def together(cls, errors: Sequence["DatasetError"]) -> "DatasetError":
        """One error that tells several."""
        error = copy(errors[0])
        error.all = tuple(errors)
        return error

    def __str__(self) -> str:
        return "\n".join(f"{each.key}: {each.wrong}; {each.right}" for each in self.all)


def entry(key: str, value: Any) -> str:
    """``key: value``, as it can be pasted into params.yaml."""
    return f"`{key}: {as_yaml(value)}`"


def entries(given: Mapping[str, Any]) -> str:
    """All of them, each as it can be pasted."""
    return " with ".join(entry(key, value) for key, value in given.items())


def all_of(there: Sequence[Any], added: Sequence[Any]) -> list[Any]:
    """What is there already and what is to be added, each once."""
    return list(dict.fromkeys([*there, *added]))


def more(key: str, there: Sequence[Any], added: Sequence[Any]) -> str:
    """The list ``key`` with what is there already and what is to be added."""
    return entry(key, all_of(there, added))


def with_entries(key: str, there: Mapping[str, Any], **added: Any) -> str:
    """The mapping ``key`` with what is there already and what is to be added."""
    return entry(key, {**there, **added})


def rows_of(wrong: "pd.Series[bool] | npt.NDArray[np.bool_]") -> str | None:
    """The first rows where it is, counted from 1 as lines below the header; None where it is nowhere."""
    found = np.flatnonzero(np.asarray(wrong, dtype=bool)) + 1
    if not found.size:
        return None
    left = f" and {found.size - SHOWN} more" if found.size > SHOWN else ""
    return f"row{'s' * (found.size > 1)} {', '.join(map(str, found[:SHOWN]))}{left}"


def names_of(names: Iterable[Any]) -> str:
    """The first of them as texts in quotes, long ones shortened, and how many more there are."""
    texts = (" ".join(str(name).split()) for name in names)
    return few(repr(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…") for name in texts)


def missing_in(cells: "pd.Series[Any]", given: "pd.Series[Any]") -> str | None:
    """The rows where a cell is missing, with what is ``given`` there and was taken for it; None where none is."""
    if (rows := rows_of(cells.isna())) is None:
        return None
    marks = given[cells.isna() & given.notna()].unique()
    return f"is empty in {rows}" if not len(marks) else f"is empty or holds {names_of(marks)} in {rows}"


def nested_in(values: "pd.Series[Any]") -> str | None:
    """The rows where a cell holds several values; None where none does."""
    rows = rows_of(values.map(pd.api.types.is_list_like)) if values.dtype == object else None
    return rows and f"holds lists, mappings or arrays in {rows}"


def refuse_nested(values: "pd.Series[Any]", name: str, key: str) -> None:
    """Refuse cells of several values."""
    if what := nested_in(values):
        raise DatasetError(key, f"the column {name} {what}", "name another column")


def refuse_unusable(values: "pd.Series[Any]", name: str, key: str) -> None:
    """Refuse cells that are empty or hold several values, in a column that must say something of each row."""
    refuse_nested(values, name, key)
    if (rows := rows_of(values.isna())) is not None:
        raise DatasetError(key, f"the column {name} is empty in {rows}", "complete these rows or take them out")
