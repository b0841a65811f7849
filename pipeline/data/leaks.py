"""What in a dataset gives its target away: row numbers, identifiers, the target itself, and samples that are there twice.

A model that learns from such a column, or meets its training samples again in the test part, is told a score that it does not
have. All of it is looked for in the frame of a dataset (see :mod:`pipeline.data.datasets`), whose rows are in the
file's order.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.arrays import Floats, Indices
from pipeline.config.params import placed_in, refuse
from pipeline.config.problem_params import FIXED_BY, ProblemParams
from pipeline.config.wording import suggestion
from pipeline.data.features import MISSING
from pipeline.data.mistakes import more, names_of
from pipeline.data.reading import is_of_arrays
from pipeline.data.splits import SplitError, together
from pipeline.problems.dataset import PARTS, bare, inputs_of, targets_of, values_of
from pipeline.problems.encoding import Column

FEWEST = 30
"""Rows from which on a coincidence is none."""
MOSTLY = 0.5
"""The share of its cells that a column has to have; what gives the target away in those does so."""
EXACT = 1e-9
"""The share of a target's variance that a straight line may leave unexplained, and is the target still: rounding."""
NEARLY = 0.005
"""The share from which on down it may be the target with noise, or a forecast of it."""
Severity = Literal["error", "warning", "hint"]


@dataclass(frozen=True)
class Leak:
    """A column that tells the target or the row: an ``error`` where it does nothing else; others may be meant so.

    What is only near the target is a ``hint``: so may a good feature be, too.
    """

    column: str
    wrong: str
    severity: Severity


def leaks(data: pd.DataFrame, trusted: Sequence[str] = (), *, is_in_order: bool = False) -> Iterator[Leak]:
    """The columns of a table that give something away, at most one reason each, those that are ``trusted`` left out.

    Where the parts follow one another in time (``is_in_order``), a column that counts the rows tells nothing of the later ones.
    """
    columns = {f"x{place}": Column.from_dict(column) for place, column in enumerate(data.attrs.get("columns", ()))}
    amounts, data = data.attrs.get("amounts", ()), bare(data)
    asked = {place: column for place, column in columns.items() if column.name not in trusted}
    numbers = {column.name: data[place].to_numpy() for place, column in asked.items() if not column.categories}
    targets = [_Target.of(data[name].to_numpy()) for name in targets_of(data)] if asked else []
    made_of = _made_of(numbers, targets)
    for place, column in asked.items():
        x = data[place].to_numpy(np.float64)
        found = None if column.categories or is_in_order or column.name in amounts else _of_rows(x, column.name)
        for target in targets if len(x) >= FEWEST else ():
            found = found or _of_target(x, target, column)
        if found or column.name in made_of:
            yield Leak(column.name, *(found or (made_of[column.name], "warning")))
        elif not column.categories and (share := max((_explained(x, target.y) for target in targets), default=0)) > 1 - NEARLY:
            yield Leak(column.name, f"explains {share:.1%} of the target by a straight line, as a noisy copy does", "hint")


def _of_rows(x: Floats, name: str) -> tuple[str, Severity] | None:
    """Whether it names the row and not what is in it."""
    if not np.array_equal(x, np.round(x)):
        return None
    if not name.strip() or re.fullmatch(r"Unnamed: \d+", name):  # and no part of a date without a name
        return "has no name, as the row numbers have that pandas writes beside a table", "error"
    if len(x) < FEWEST:
        return None
    steps = np.diff(x)
    if steps[0] != 0 and (steps == steps[0]).all():
        return f"counts the rows ({x[0]:.0f}, {x[1]:.0f}, {x[2]:.0f}, …)", "error"
    if len(np.unique(x)) == len(x):
        return "has another whole number in every row, as an identifier or a time has", "warning"
    return None


@dataclass(frozen=True)
class _Target:
    """The targets (samples,), how they are sorted, and where each value begins then."""

    y: npt.NDArray[Any]
    order: Indices
    begins: Indices

    @classmethod
    def of(cls, y: npt.NDArray[Any]) -> "_Target":
        order = np.argsort(y, kind="stable")
        return cls(y, order, np.flatnonzero(np.concatenate([[True], np.diff(y[order]) != 0])))

    def reach(self, x: Floats) -> tuple[Floats, Floats]:
        """The smallest and the largest number of a column beside each value of the target."""
        return np.minimum.reduceat(x[self.order], self.begins), np.maximum.reduceat(x[self.order], self.begins)


def _of_target(x: Floats, target: _Target, column: Column) -> tuple[str, Severity] | None:
    """Whether it is the target in disguise."""
    is_classes = np.issubdtype(target.y.dtype, np.integer)
    if not (known := np.isfinite(x)).all():  # a copy with some empty cells gives it away in all other rows
        if known.sum() < max(FEWEST, MOSTLY * len(x)):
            return None
        x, target = x[known], _Target.of(target.y[known])
    if x.min() == x.max():
        return None
    low, high = target.reach(x)
    is_one = bool((low == high).all())
    if is_one and len(low) <= len(x) / 2 and len(np.unique(low)) == len(low):
        return "has a value of its own for each value of the target, as a copy of it has", "error" if is_classes else "warning"
    if column.categories:
        return None
    if is_classes:
        by_size = np.argsort(low)
        are_apart = (high[by_size][:-1] < low[by_size][1:]).all()
        return ("tells the classes apart without a mistake by its size alone", "warning") if are_apart else None
    goes = np.sign(np.diff(low))
    if (is_one and abs(goes.sum()) == len(goes)) or _explained(x, target.y) > 1 - EXACT:
        return "follows the target in every row, up or down, as the target in another unit does", "warning"
    return None


def _made_of(numbers: Mapping[str, npt.NDArray[Any]], targets: Sequence[_Target]) -> dict[str, str]:
    """The columns that a number to be predicted is the sum, the difference or the product of, two by two; and why."""
    found: dict[str, str] = {}
    for y in (target.y for target in targets if len(target.y) >= FEWEST and not np.issubdtype(target.y.dtype, np.integer)):
        for (one, a), (other, b) in islice(combinations(numbers.items(), 2), MOST_PAIRS):
            for how, make in _TOGETHER.items():
                if _is_exact(make(a[:FEWEST], b[:FEWEST]), y[:FEWEST]) and _is_exact(make(a, b), y):
                    found |= {one: f"gives the target with {other}: {how}", other: f"gives the target with {one}: {how}"}
    return found


MOST_PAIRS = 5_000
"""Of columns that are looked at, which takes a second."""
_TOGETHER: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "it is their sum": operator.add,
    "it is their difference": operator.sub,
    "it is their difference, the other way round": lambda a, b: b - a,
    "it is their product": operator.mul,
}


def _is_exact(made: Floats, y: Floats) -> bool:
    """Whether they are the same but for rounding, wherever there is a number, and vary."""
    known = np.isfinite(made)
    if known.mean() < MOSTLY:
        return False
    made, y = made[known], y[known]
    return bool(np.ptp(y) > 0 and np.abs(made - y).max() <= EXACT * np.abs(y).max())


def _explained(x: Floats, y: npt.NDArray[Any]) -> float:
    """The share of the variance of numbers to be predicted that a straight line explains."""
    known = np.isfinite(x)
    if np.issubdtype(y.dtype, np.integer) or known.sum() < max(FEWEST, MOSTLY * len(x)) or not np.ptp(x[known]):
        return 0.0
    one, other = (values - np.median(values) for values in (x[known], y[known]))
    return float(np.corrcoef(one, other)[0, 1] ** 2) if np.ptp(other) else 0.0


def without_leaks(name: str, problem: ProblemParams, data: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The dataset of the problem of that name with equal samples in one part, and what is to be said of it.

    Raises :class:`pipeline.config.errors.ParamsError` with a placed line for every column that must not stay.
    """
    given, place = problem.dataset.args, ("problems", name, "dataset")
    trusted: Sequence[str] = given.get("trusted", ())
    known = [column["name"] for column in data.attrs.get("columns", ())]
    unknown = [column for column in trusted if column not in known]
    mistakes = [((*place, "trusted"), trusted, f"there is no feature {each!r}", suggestion(each, known)) for each in unknown]
    found = list(leaks(data, trusted, is_in_order=given.get("order") is not None))
    serious = [leak for leak in found if leak.severity == "error" and "trusted" in given]
    they = "it is" if len(serious) == 1 else "they are"
    right = f"write {_remedy(given, [leak.column for leak in serious])} if {they} known before the target is"
    drop, given_away = given.get("drop"), [f"the column {leak.column} {leak.wrong}" for leak in serious]
    refuse([*mistakes, *(((*place, "drop"), drop, wrong, right) for wrong in given_away)])
    said = [f"warning: the column {leak.column} {leak.wrong}; {_advice(given, leak)}" for leak in found]
    kept, told = _with_equals_together(name, problem, data)
    return kept, said + told


def _remedy(given: Mapping[str, Any], columns: Sequence[str]) -> str:
    """What to write about columns, whatever has been written already kept."""
    trusted = more("trusted", given.get("trusted", ()), columns)
    if is_of_arrays(given.get("path", "")):
        return f"the file without them, or {trusted}"
    of_dates = {f"{name} ({part})" for name, parts in (given.get("dates") or {}).items() for part in parts}
    if made := [name for name in columns if name in of_dates]:
        return f"`dates` without {names_of(made)}, or {trusted}"
    own = [name.removesuffix(f" {MISSING}") for name in columns]
    return f"{more('drop', given.get('drop', ()), own)}, or {trusted}"


def _advice(given: Mapping[str, Any], leak: Leak) -> str:
    if "trusted" not in given:
        return "leave it out if it is known no earlier than the target"
    return f"write {_remedy(given, [leak.column])} if it is known before the target is"


def _with_equals_together(name: str, problem: ProblemParams, data: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The dataset with samples of the same inputs in one part, where the parts are not given; and a line about them."""
    given = problem.dataset.args
    number = None if given.get("duplicates") == "keep" else same_samples(data)
    if number is None:
        return data, []
    is_given = "group" in data or any(given.get(key) is not None for key in FIXED_BY)
    if is_given or not (problem.resample or "duplicates" in given):
        met = ", ".join(f"{rows} of the {part} part" for part, rows in repeated(data, number).items() if rows)
        right = "if they are the same samples, give them one part or take them out"
        return data, [f"warning: samples with the inputs of a training sample: {met}; {right}"] if met else []
    different = len(np.unique(number))
    said = f"{np.count_nonzero(np.bincount(number)[number] > 1)} of {len(data)} samples have the inputs of another one"
    try:
        together = _dealt(data, number, given.get("seed", 0))
    except SplitError as error:
        if "duplicates" not in given:
            return data, [f"warning: {said}, and {error}: training and test parts have them in common"]
        place = ("problems", name, "dataset", "duplicates")
        raise placed_in([(place, given["duplicates"], f"{said}, and {error}", "write `duplicates: keep`")]) from None
    insist = ", `duplicates: keep` deals them out one by one" if "duplicates" in given else ""
    return together, [f"{said} ({different} are different); those with the same inputs are kept in one part{insist}"]


def _dealt(data: pd.DataFrame, number: Indices, seed: int) -> pd.DataFrame:
    """The dataset with equal samples as groups, and parts of the same sizes that tear none."""
    counts = data["split"].value_counts()
    parts = np.full(len(data), "spare", dtype=object)
    for part, rows in together(number, values_of(data), {part: int(counts[part]) for part in PARTS}, seed).items():
        parts[rows] = part
    dealt = data.assign(split=parts, group=number)
    dealt.attrs = {**data.attrs, "duplicates": True}
    return dealt


def same_samples(data: pd.DataFrame) -> Indices | None:
    """The number of each row's inputs, the same for rows that have the same; None where no two have."""
    x = data[inputs_of(data)].to_numpy()
    seen: dict[bytes, int] = {}
    rows = np.ascontiguousarray(x + x.dtype.type(0))  # no -0.0
    number = np.array([seen.setdefault(row.tobytes(), len(seen)) for row in rows])
    return None if len(seen) == len(number) else number


def repeated(data: pd.DataFrame, number: Indices) -> dict[str, int]:
    """How many rows of each part but training have the inputs of a training row."""
    split = data["split"].to_numpy()
    known = np.isin(number, number[split == "train"])
    return {part: int(np.count_nonzero(known & (split == part))) for part in PARTS if part != "train"}
