"""How samples are dealt out to the parts: stratified by class, whole groups at a time, or whole time steps in order.

A dataset has one split in its file, given by a column or dealt out; with ``resample``, each seed has one of its own, drawn once
and written beside it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.arrays import Indices
from pipeline.config.fingerprints import stream
from pipeline.data.cells import Remarks, complete, tell_alike
from pipeline.data.dates import AmbiguousDatesError, as_dates
from pipeline.data.mistakes import DatasetError, entries, names_of, rows_of
from pipeline.data.options import Options
from pipeline.problems.dataset import PARTS, ProblemError, Split, strata_of, values_of
from pipeline.problems.encoding import category_texts


class SplitError(Exception):
    """No such split can be drawn; says why and what would help."""


def draw_splits(problem: str, data: pd.DataFrame, seeds: Iterable[int], *, resample: bool) -> dict[int, Split]:
    """Each seed's own split of the problem's dataset, all of the same sizes; the dataset's own where ``resample`` is off.

    A seed's split follows from the problem's name, the dataset and the seed, whatever else is drawn.
    """
    own = {part: np.flatnonzero(data["split"] == part) for part in PARTS}
    sizes = {part: len(rows) for part, rows in own.items()}
    if empty := [part for part, size in sizes.items() if not size]:
        raise ProblemError(
            f"params.yaml: problems.{problem}.dataset: has no sample in its {' and '.join(empty)} part; every part needs some"
        )
    if not resample:
        return dict.fromkeys(seeds, Split(**own))
    try:
        return {seed: Split(**_drawn(data, sizes, stream("split", problem, seed) % 2**32)) for seed in seeds}
    except SplitError as error:
        raise ProblemError(
            f"params.yaml: problems.{problem}: {error}; give every part more samples, or write `resample: false`"
        ) from None


def _drawn(data: pd.DataFrame, sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    y = values_of(data)
    if "group" not in data:
        return at_random(y, sizes, seed)
    group = data["group"].to_numpy()
    dealt = together(group, y, sizes, seed) if data.attrs.get("duplicates") else by_group(group, sizes, seed)
    return _of_sizes(dealt, sizes, seed)


def _of_sizes(parts: Mapping[str, Indices], sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    """Parts of exactly these sizes, so that all replicates have one shape: samples left out, or drawn once more, at random.

    Whole groups seldom meet the sizes. No sample moves to another part.
    """
    draw = np.random.default_rng(seed)
    found = {}
    for part, rows in parts.items():
        more = max(0, sizes[part] - len(rows))
        filled = np.concatenate([rows, draw.choice(rows, more)]) if more else draw.permutation(rows)[: sizes[part]]
        found[part] = np.sort(filled)
    return found


# How a number of samples is dealt out


def at_random(y: npt.NDArray[np.generic], sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    """Parts of these sizes, stratified where ``y`` (samples,) are classes (whole numbers); what is over is left out."""
    rest, test = in_two(np.arange(len(y)), y, len(y) - sizes["test"], sizes["test"], seed)
    train, validation = in_two(rest, y, sizes["train"], sizes["validation"], seed)
    return {"train": train, "validation": validation, "test": test}


def in_two(rows: Indices, y: npt.NDArray[np.generic], first: int, second: int, seed: int) -> tuple[Indices, Indices]:
    """Two parts of these sizes out of these rows, as scikit-learn draws them."""
    from sklearn.model_selection import train_test_split  # late: a second, which only drawing needs

    classes = strata_of(y)
    strata = None if classes is None else classes[rows]
    if classes is not None and strata is not None:
        _refuse_few(classes, np.unique(strata, return_counts=True), min(first, second))
    one, other = train_test_split(rows, train_size=first, test_size=second, stratify=strata, random_state=seed)
    return one, other


def _refuse_few(classes: npt.NDArray[np.generic], left: tuple[npt.NDArray[np.generic], Indices], smallest: int) -> None:
    """Refuse classes of so few samples, or for a part of so few, that not each can be in each.

    ``left`` are the classes that are still to be dealt, and how many samples of each.
    """
    names, counts = left
    if counts.min() < 2:
        number = int((classes == names[counts.argmin()]).sum())
        some = f"{number} sample{'s' if number > 1 else ''}"
        raise SplitError(f"no stratified split can be drawn of its data (a class of {some} cannot be in every part)")
    if smallest < len(counts):
        raise SplitError(
            f"no stratified split can be drawn of its data (a part of {smallest} samples has no room for one of each "
            f"of {len(counts)} classes)"
        )


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


def together(
    group: npt.NDArray[np.generic], y: npt.NDArray[np.generic], sizes: Mapping[str, int], seed: int
) -> dict[str, Indices]:
    """Parts of these sizes as :func:`at_random` deals them, but with the samples of a group all in one; for many small groups.

    The largest groups go first, each to a part drawn in proportion to the room that it has; samples that are alone then fill
    what is left, so that the sizes are met wherever there are enough of them.
    """
    rng = np.random.default_rng(seed)
    _, number, counts = np.unique(group, return_inverse=True, return_counts=True)
    if len(counts) < len(PARTS):
        raise SplitError(f"there are only {len(counts)} different ones for the three parts")
    classes = strata_of(y)
    stratum = np.zeros(len(y), dtype=np.int64) if classes is None else np.unique(classes, return_inverse=True)[1]
    room = _room(stratum, sizes, seed)
    part_of = np.full(len(y), -1)
    members = np.split(np.argsort(number, kind="stable"), np.cumsum(counts)[:-1])
    shuffled = rng.permutation(np.flatnonzero(counts > 1))
    several = shuffled[np.argsort(-counts[shuffled], kind="stable")]
    units = len(counts)
    for place, of_group in enumerate(several):
        rows = members[of_group]
        need = np.bincount(stratum[rows], minlength=room.shape[1])
        empty = [part for part in range(len(PARTS)) if not (part_of == part).any()] if units - place <= len(PARTS) else []
        part = _part_for(room, need, empty, rng)
        part_of[rows] = part
        room[part] -= need
    _fill(part_of, stratum, room, rng)
    parts = {part: np.flatnonzero(part_of == place) for place, part in enumerate(PARTS)}
    if empty_ones := [part for part, rows in parts.items() if not rows.size]:
        raise SplitError(f"so few of them are different ({units}) that nothing is left for {' and '.join(empty_ones)}")
    return parts


def _room(stratum: Indices, sizes: Mapping[str, int], seed: int) -> Indices:
    """Places for each class in each of ``PARTS``, and beyond them for samples that are left over: (parts + 1, classes)."""
    left, rng = np.bincount(stratum), np.random.RandomState(seed)
    if len(left) > 1:
        _refuse_few(stratum, (np.arange(len(left)), left), min(sizes.values()))
    places = []
    for part in reversed(PARTS):
        places.append(_shared_out(sizes[part], left, rng))
        left = left - places[-1]
    return np.stack([*reversed(places), left])


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


def _part_for(room: Indices, need: Indices, empty: Sequence[int], rng: np.random.Generator) -> int:
    """A part with room for what a group needs, in proportion to it; the roomiest where none has enough."""
    if empty:  # no part may stay so
        return empty[0]
    fits = (room >= need).all(axis=1)
    if not fits.any():
        return int(room[: len(PARTS)].sum(axis=1).argmax())
    weights = fits * room[:, need.argmax()]
    return int(rng.choice(len(room), p=weights / weights.sum()))


def _fill(part_of: Indices, stratum: Indices, room: Indices, rng: np.random.Generator) -> None:
    """Deal out the samples that are in no part yet: those of each class as there is room for it, the others as there is any."""
    for of_class, wanted in enumerate(room.T.clip(0)):
        rows = rng.permutation(np.flatnonzero((part_of < 0) & (stratum == of_class)))
        places = rng.permutation(np.repeat(np.arange(len(room)), wanted))[: len(rows)]
        part_of[rows[: len(places)]] = places
        np.subtract.at(room[:, of_class], places, 1)
    rows = rng.permutation(np.flatnonzero(part_of < 0))
    part_of[rows] = np.repeat(np.arange(len(room)), room.sum(axis=1).clip(0))[: len(rows)]


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
    groups = None if group is None else groups_of(table, group, Remarks())
    if split is None:
        are_amounts = options.task == "auto" and _are_numbers(table, options.target)
        return _dealt(y, groups, None if order is None else _steps(table[order], order, options), options, are_amounts)
    parts = _given_parts(_texts(table[split], split, "split"), split)
    if groups is not None:
        _refuse_torn(groups, parts, table[group], str(group))
    return parts


def groups_of(table: pd.DataFrame, name: str, remarks: Remarks) -> Indices:
    """The number of each row's group; 8 and 8.0 are one, also beside texts."""
    groups = category_texts(_texts(table[name], name, "group"))
    tell_alike(groups, name, "groups", remarks)
    return pd.factorize(groups)[0].astype(np.int64)


def _texts(values: "pd.Series[Any]", name: str, key: str) -> "pd.Series[Any]":
    """The column as it is, but for blanks around its texts; without empty cells."""
    return complete(values, name, key, (), ".", "category")


def _dealt(
    y: npt.NDArray[np.generic], groups: Indices | None, steps: Indices | None, options: Options, are_amounts: bool
) -> npt.NDArray[np.object_]:
    """Parts of the shares: in order of the time steps, or of whole groups, or at random.

    ``are_amounts``: the classes of ``y`` are numbers that may be meant as such.
    """
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
        right, mending = "give the table more rows of each class, group or time step, or name a `split` column", None
        classes, counts = np.unique(y, return_counts=True)
        if strata_of(y) is not None and (rare := classes[counts < len(PARTS)]).size:
            right = (
                f"leave out {rows_of(np.isin(y, rare))}, rare classes of {options.target}, or join them to others; or {right}"
            )
            if are_amounts and len(classes) > 2:
                mending = {"task": "regression"}
                right = f"write {entries(mending)} if {options.target} is an amount; or {right}"
        raise DatasetError("shares", str(error), right, mending) from None
    parts = np.empty(len(y), dtype=object)
    for part, chosen in rows.items():
        parts[chosen] = part
    return parts


def _are_numbers(table: pd.DataFrame, name: str) -> bool:
    return name in table and bool(pd.to_numeric(table[name], errors="coerce").notna().all())


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
