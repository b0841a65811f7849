"""Progress in a log: a line at every quarter."""

import numpy as np
import pytest

from pipeline.progress import progress
from pipeline.runs import CURVES, Block


@pytest.mark.parametrize(
    ("epochs", "size", "told"),
    [(100, 1, [25, 50, 75, 100]), (100, 100, [100]), (100, 60, [60, 120]), (3, 1, [1, 2, 3]), (1, 1, [1])],
)
def test_a_line_at_every_quarter(epochs: int, size: int, told: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    show = progress("train@p", epochs, 70)
    for first in range(1, epochs + 1, size):
        show(Block(first, **dict.fromkeys(CURVES, np.zeros((size, 70)))))
    assert capsys.readouterr().err.splitlines() == [f"train@p: 70 runs, epoch {epoch} of {epochs}" for epoch in told]
