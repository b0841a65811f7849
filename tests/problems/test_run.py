"""Runs, histories, fingerprints and random streams."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.config.arrays import Floats
from pipeline.config.schedules import Schedule
from pipeline.problems.run import CURVES, Block, History, Outcome, Run, collect, select, stream

RUN = Run("label", Schedule(name="StepLR", args={"step_size": "30%"}), seed=0, epochs=10)


def block(first_epoch: int, epochs: int, runs: int = 3) -> Block:
    """Every figure tells its epoch and run: 10 × epoch + run."""
    figures: Floats = 10.0 * np.arange(first_epoch, first_epoch + epochs, dtype=np.float64)[:, None] + np.arange(runs)
    return Block(first_epoch, **dict.fromkeys(CURVES, figures))


def outcome(initial: Floats, finite: list[bool], final: Floats | None = None) -> Outcome:
    """Of runs whose batches stray by 0.1 from their initial loss."""
    runs = np.arange(len(finite), dtype=float)
    losses = initial, np.full_like(initial, 0.1), initial if final is None else final
    return Outcome(*losses, np.array(finite), runs, runs / 10, {"w": torch.arange(float(len(finite))).reshape(-1, 1)})


def finished(final: list[float], initial: list[float], finite: list[bool]) -> History:
    """Runs that end there in evaluation mode; as they were trained, with dropout, they ended far above it."""
    curves = Block(1, **dict.fromkeys(CURVES, np.array([[0.0] * len(final), [100.0] * len(final)])))
    return History((RUN,) * len(final), curves, outcome(np.array(initial), finite, np.array(final)))


def test_what_is_reported_is_drawn_twice_and_the_first_draw_keeps_its_name() -> None:
    assert [(run.stream, run.draw) for run in RUN.draws] == [("final", 1), ("final 2", 2)]
    assert RUN.draws[0] == RUN
    assert [replace(run, stream="final") for run in RUN.draws] == [RUN, RUN]
    assert stream("tune", 3) == "tune 3"


def test_blocks_are_joined_and_heard_as_they_are_done() -> None:
    heard: list[int] = []
    end = outcome(np.ones(3), [True] * 3)

    def training() -> Generator[Block, None, Outcome]:
        for first, epochs in ((1, 2), (3, 1), (4, 3)):
            yield block(first, epochs)
            assert heard[-1] == first
        return end

    history = collect([RUN] * 3, training(), lambda done: heard.append(done.first_epoch))
    assert heard == [1, 3, 4]
    assert history.curves.first_epoch == 1
    assert history.outcome is end
    for name in CURVES:
        np.testing.assert_array_equal(getattr(history.curves, name), block(1, 6).lr)


def test_chosen_runs_keep_all_that_is_theirs() -> None:
    runs = [replace(RUN, seed=seed) for seed in range(3)]
    history = History(tuple(runs), block(1, 2), outcome(np.array([5.0, 6.0, 7.0]), [True, False, True]))
    chosen = select(history, [2, 1])
    assert [run.seed for run in chosen.runs] == [2, 1]
    for name in CURVES:
        assert getattr(chosen.curves, name).tolist() == [[12.0, 11.0], [22.0, 21.0]]
    assert chosen.outcome.initial_loss.tolist() == [7.0, 6.0]
    assert chosen.outcome.finite.tolist() == [True, False]
    assert chosen.outcome.test_loss.tolist() == [2.0, 1.0]
    assert chosen.outcome.test_metric.tolist() == [0.2, 0.1]
    assert chosen.outcome.weights["w"].tolist() == [[2.0], [1.0]]


@pytest.mark.parametrize(
    ("final", "initial", "finite", "diverged"),
    [
        (1.0, 2.0, True, False),
        (2.0, 2.0, True, False),
        (2.2, 2.0, True, False),  # the noise of a batch
        (2.4, 2.0, True, True),
        (1.0, 2.0, False, True),
        (np.nan, 2.0, True, True),
        (np.inf, 2.0, True, True),
        (1.0, np.nan, True, True),
    ],
)
def test_diverged(final: float, initial: float, finite: bool, diverged: bool) -> None:
    history = finished([final, 0.5], [initial, 1.0], [finite, True])
    assert history.diverged.tolist() == [diverged, False]
