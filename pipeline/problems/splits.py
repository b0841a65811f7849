"""How samples are dealt out to the parts: stratified by class, whole groups at a time, or whole time steps in order."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.problems.cells import Remarks, understood
from pipeline.problems.dates import AmbiguousDatesError, as_dates
from pipeline.problems.mistakes import DatasetError, names_of, refuse_unusable, rows_of, with_entries
from pipeline.problems.options import Options

Indices = npt.NDArray[np.int64]
PARTS = ("train", "validation", "test")


class SplitError(Exception):
    """No such split can be drawn; says why and what would help."""


def at_random(y: npt.NDArray[np.generic], sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    """Parts of these sizes, stratified where ``y`` (samples,) are classes (whole numbers); what is over is left out.

    They are those of scikit-learn's ``train_test_split``, called for the test part and again for the other two, to the last
    index; but importing it would take every stage a second.
    """
    draw = _by_stratum if np.issubdtype(y.dtype, np.integer) else _of_all
    rest, test = draw(y, len(y) - sizes["test"], sizes["test"], np.random.RandomState(seed))
    train, validation = draw(y[rest], sizes["train"], sizes["validation"], np.random.RandomState(seed))
    return {"train": rest[train], "validation": rest[validation], "test": test}


def _of_all(y: npt.NDArray[np.generic], first: int, second: int, rng: np.random.RandomState) -> tuple[Indices, Indices]:
    """Two parts of these sizes."""
    order = rng.permutation(len(y))
    return order[second : second + first], order[:second]


def _by_stratum(y: npt.NDArray[np.generic], first: int, second: int, rng: np.random.RandomState) -> tuple[Indices, Indices]:
    """Two parts of these sizes, in each of which every class has its share, as nearly as whole samples allow."""
    _, stratum, counts = np.unique(y, return_inverse=True, return_counts=True)
    if counts.min() < 2:
        raise SplitError("no stratified split can be drawn of its data (there is a class of a single sample)")
    if min(first, second) < len(counts):
        raise SplitError(
            f"no stratified split can be drawn of its data (a part of {min(first, second)} samples has no room for one of each "
            f"of {len(counts)} classes)"
        )
    of_first = _shared_out(first, counts, rng)
    of_second = _shared_out(second, counts - of_first, rng)
    members = np.split(np.argsort(stratum, kind="stable"), np.cumsum(counts)[:-1])
    shuffled = [of_stratum[rng.permutation(len(of_stratum))] for of_stratum in members]
    dealt = [np.split(order, [a, a + b]) for order, a, b in zip(shuffled, of_first, of_second, strict=True)]
    one, other = (rng.permutation(np.concatenate([parts[place] for parts in dealt])) for place in (0, 1))
    return one, other


def _shared_out(size: int, counts: Indices, rng: np.random.RandomState) -> Indices:
    """``size`` in shares in proportion to ``counts``: rounded down, and what is missing to the largest remainders.

    Which of equal remainders is drawn, so that no stratum is preferred.
    """
    exact = counts / counts.sum() * size
    shares = np.floor(exact)
    remainders = exact - shares
    missing = int(size - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing <= 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        drawn = rng.choice(equal, min(len(equal), missing), replace=False)
        shares[drawn] += 1
        missing -= len(drawn)
    whole: Indices = shares.astype(np.int64)
    return whole


def by_group(group: npt.NDArray[np.generic], sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    """Whole groups: shuffled, then dealt to the part that lacks the largest share of its size; every sample is in one.

    ``group`` (samples,) names each sample's. The sizes are met as nearly as whole groups allow.
    """
    names, members = np.unique(group, return_inverse=True)
    if len(names) < len(PARTS):
        raise SplitError(f"there are only {len(names)} groups for the three parts")
    counts = np.bincount(members)
    total = sum(sizes[part] for part in PARTS)
    wanted = {part: sizes[part] / total * len(group) for part in PARTS}
    held: dict[str, list[int]] = {part: [] for part in PARTS}
    filled = dict.fromkeys(PARTS, 0)
    order = np.random.default_rng(seed).permutation(len(names))
    for number, name in enumerate(order):
        empty = [part for part in PARTS if not held[part]]
        left = len(order) - number
        open_to = empty if left <= len(empty) else PARTS  # no part may stay empty
        part = max(open_to, key=lambda p: (wanted[p] - filled[p]) / wanted[p])
        held[part].append(int(name))
        filled[part] += int(counts[name])
    return {part: np.flatnonzero(np.isin(members, held[part])) for part in PARTS}


def in_order(steps: npt.NDArray[np.integer], sizes: Mapping[str, int]) -> dict[str, Indices]:
    """Whole time steps: the earliest train, the latest test, and no part looks into the future of the one before it.

    ``steps`` (samples,) grow with time. The sizes are met as nearly as whole steps allow.
    """
    by_time = np.argsort(steps, kind="stable")
    begins = np.flatnonzero(np.diff(steps[by_time])) + 1
    if len(begins) < len(PARTS) - 1:
        raise SplitError(f"there are only {len(begins) + 1} time steps for the three parts")
    validation = _nearest(begins[:-1], sizes["train"])
    test = _nearest(begins[begins > validation], sizes["train"] + sizes["validation"])
    return dict(zip(PARTS, np.split(by_time, [validation, test]), strict=True))


def _nearest(places: Indices, wanted: int) -> int:
    return int(places[np.abs(places - wanted).argmin()])


def sizes_of(samples: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Numbers of samples from shares that add up to 1; every part has one at least."""
    test = max(1, round(samples * shares["test"]))
    validation = max(1, round(samples * shares["validation"]))
    train = samples - test - validation
    if train < 1:
        raise SplitError(f"{samples} samples are too few for three parts")
    return {"train": train, "validation": validation, "test": test}


# The parts of a table


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
    refuse_unusable(values, name, key)
    values = understood(values, name, (), as_category=True, remarks=Remarks())
    refuse_unusable(values, name, key)
    return values


def _dealt(
    y: npt.NDArray[np.generic], groups: Indices | None, steps: Indices | None, options: Options
) -> npt.NDArray[np.object_]:
    """Parts of the shares: in order of the time steps, or of whole groups, or at random."""
    shares = options.shares
    if abs(sum(shares) - 1) > 1e-9 or len(shares) != len(PARTS):  # rounding
        what = f"are {len(shares)} that add up to {sum(shares):.0%}"
        raise DatasetError("shares", what, "write three, such as [60%, 20%, 20%]")
    try:
        sizes = sizes_of(len(y), dict(zip(PARTS, shares, strict=True)))
        if steps is not None:
            rows = in_order(steps, sizes)
        else:
            rows = at_random(y, sizes, options.seed) if groups is None else by_group(groups, sizes, options.seed)
    except SplitError as error:
        right = "give the table more rows of each class, group or time step, or name a `split` column"
        raise DatasetError("shares", str(error), right) from None
    parts = np.empty(len(y), dtype=object)
    for part, chosen in rows.items():
        parts[chosen] = part
    return parts


def _steps(values: "pd.Series[Any]", name: str, options: Options) -> Indices:
    """The number of each row's time step. Numbers and dates follow one another in time; of texts, only dates do."""
    refuse_unusable(values, name, "order")
    values = understood(values, name, options.missing_values, as_category=False, remarks=Remarks())
    refuse_unusable(values, name, "order")
    if values.dtype.kind not in "iuf":
        values = _moments(values, name, options)
    return pd.factorize(values, sort=True)[0].astype(np.int64)


def _moments(values: "pd.Series[Any]", name: str, options: Options) -> "pd.Series[Any]":
    try:
        dates = as_dates(values, options.dayfirst)
    except AmbiguousDatesError:
        right = f"write {with_entries('read', options.read, dayfirst=True)}, or false where the month comes first"
        raise DatasetError("read", f"the column {name} holds dates that begin with the day or with the month", right) from None
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
