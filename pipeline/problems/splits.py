"""How samples are dealt out to the parts: stratified by class, whole groups at a time, or whole time steps in order."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]
PARTS = ("train", "validation", "test")


class SplitError(Exception):
    """No such split can be drawn; says why and what would help."""


def at_random(y: npt.NDArray[np.generic], sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    """Parts of these sizes, stratified where ``y`` (samples,) are classes (whole numbers); what is over is left out."""
    from sklearn.model_selection import train_test_split  # late: half a second that only this needs

    strata = y if np.issubdtype(y.dtype, np.integer) else None
    everything = np.arange(len(y))
    try:
        rest, test = train_test_split(everything, test_size=sizes["test"], stratify=strata, random_state=seed)
        train, validation = train_test_split(
            rest,
            train_size=sizes["train"],
            test_size=sizes["validation"],
            stratify=None if strata is None else strata[rest],
            random_state=seed,
        )
    except ValueError as error:
        raise SplitError(f"no stratified split can be drawn of its data ({error})") from None
    return {"train": train, "validation": validation, "test": test}


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
