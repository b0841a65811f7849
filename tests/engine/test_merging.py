"""Several trainings as one: their blocks side by side whatever their lengths, every run in its place."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import pytest
import torch

from pipeline.engine.merging import lockstep, merged
from pipeline.problems.run import CURVES, Block, Outcome, Training, collect


def training(runs: Sequence[int], *lengths: int) -> Training:
    """Blocks of these lengths in which every figure tells its epoch and run, 100 × epoch + run; so do the outcome's."""
    for first, length in zip(accumulate([1, *lengths]), lengths, strict=False):
        figures = 100.0 * np.arange(first, first + length)[:, None] + np.array(runs)
        yield Block(first, **dict.fromkeys(CURVES, figures))
    own = np.array(runs, dtype=float)
    return Outcome(own, own + 0.1, own + 0.2, own % 2 == 0, own + 0.25, own + 0.5, {"w": torch.tensor(runs)[:, None]})


def test_blocks_of_different_lengths_keep_step() -> None:
    progress = lockstep([training([0], 4, 2), training([1], 1, 3, 2), training([2], 6)])
    steps = [[(block.first_epoch, block.lr[:, 0].tolist()) for block in blocks] for blocks in progress]
    assert [{first for first, _ in step} for step in steps] == [{1}, {2}, {5}]
    assert [[len(lr) for _, lr in step] for step in steps] == [[1] * 3, [3] * 3, [2] * 3]
    assert [lr for _, lr in steps[1]] == [[200 + run, 300 + run, 400 + run] for run in range(3)]


@pytest.mark.parametrize("places", [[0, 1, 2, 3, 4], [4, 0, 3, 1, 2]])
def test_every_run_comes_to_its_place(places: list[int]) -> None:
    """Trainings in step with each other, side by side in the order given."""
    several = [training(places[:2], 1, 2), training(places[2:3], 3), training(places[3:], 1, 2)]
    blocks: list[Block] = []
    history = collect([], merged(several, places), blocks.append)
    assert [(block.first_epoch, len(block.lr)) for block in blocks] == [(1, 1), (2, 2)]
    expected = [[100.0 * epoch + run for run in range(5)] for epoch in (1, 2, 3)]
    assert all(getattr(history.curves, name).tolist() == expected for name in CURVES)
    assert history.outcome.initial_loss.tolist() == [0, 1, 2, 3, 4]
    assert history.outcome.finite.tolist() == [True, False, True, False, True]
    assert history.outcome.test_loss.tolist() == [0.25, 1.25, 2.25, 3.25, 4.25]
    assert history.outcome.test_metric.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert history.outcome.weights["w"].tolist() == [[0], [1], [2], [3], [4]]
