"""Progress in a log: a line at every quarter of all that is to be trained."""

import numpy as np
import pytest

from pipeline.problems.run import CURVES, Block
from pipeline.runs.progress import progress

RUNS = 70


def show_all(epochs: int, size: int, portions: int) -> None:
    """Portions one after the other, each in blocks of epochs."""
    show = progress("train@p", RUNS, epochs * RUNS)
    for runs in np.full(portions, RUNS // portions):
        for first in range(1, epochs + 1, size):
            show(Block(first, **dict.fromkeys(CURVES, np.zeros((min(size, epochs + 1 - first), runs)))))


@pytest.mark.parametrize(
    ("epochs", "size", "portions", "told"),
    [
        (100, 1, 1, [25, 50, 75, 100]),
        (100, 1, 7, [25, 50, 75, 100]),
        (100, 100, 1, [100]),
        (100, 60, 1, [50, 100]),
        (3, 1, 1, [25, 50, 100]),
        (1, 1, 2, [50, 100]),
    ],
)
def test_a_line_at_every_quarter(
    epochs: int, size: int, portions: int, told: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    show_all(epochs, size, portions)
    assert capsys.readouterr().err.splitlines() == [f"train@p: 70 runs, {share}% done" for share in told]
