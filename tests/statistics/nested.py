"""Nested losses with known components."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def losses(
    rng: np.random.Generator,
    labels: int,
    splits: int,
    share: float = 0.3,
    overlap: float = 0.2,
    effects: npt.ArrayLike = 0.0,
    streams: int = 2,
    spread: float = 1.0,
    level: float = 10.0,
) -> dict[str, Floats]:
    """Of each label, (splits, streams): one pool is drawn for all splits, with a part of its own for each label.

    The split means of a label have the standard deviation ``spread`` within the pool, beside what all labels have in common;
    ``share`` of the variance is the split's; the split effects of one label correlate by ``overlap``.
    """
    pool, own = rng.normal(size=(labels, 1)), rng.normal(size=(labels, splits))
    split = np.sqrt(share / (1 - overlap)) * (np.sqrt(overlap) * pool + np.sqrt(1 - overlap) * own)
    stream = np.sqrt((1 - share) * streams) * rng.normal(size=(labels, splits, streams))
    common = rng.normal(size=(1, splits, 1))
    shift = np.broadcast_to(np.asarray(effects, dtype=np.float64), (labels,))
    y = level + shift[:, None, None] + common + spread * (split[..., None] + stream)
    return {f"S{n:02d}": values for n, values in enumerate(y)}
