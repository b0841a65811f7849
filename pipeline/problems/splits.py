"""How samples are dealt out to the parts: stratified by class, whole groups at a time, or whole time steps in order."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

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
