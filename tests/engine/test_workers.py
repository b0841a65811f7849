"""Trainings in several processes: dealt out, brought together, kept for the next; test_shards.py has what they train."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from pipeline.config.errors import PipelineError
from pipeline.config.params import Schedule
from pipeline.engine.merging import Train, merged
from pipeline.engine.workers import end_workers, spread
from pipeline.problems.run import CURVES, Block, History, Outcome, Run, Training, collect

RUNS = [Run("label", Schedule(name="ConstantLR"), seed, epochs=1) for seed in range(5)]
CUTS = [[0, 3], [1], [4, 2]]


@pytest.fixture(autouse=True, scope="module")
def no_workers_left() -> Iterator[None]:
    yield
    end_workers()


def telling(runs: Sequence[Run]) -> Training:
    """Its figures are the runs' seeds; the process it is in and its threads stand in for losses."""
    yield Block(1, **dict.fromkeys(CURVES, np.array([[float(run.seed) for run in runs]])))
    ones = np.ones(len(runs))
    figures = {"initial_loss": ones * os.getpid(), "test_loss": ones * torch.get_num_threads()}
    same = dict.fromkeys(("noise", "final_loss", "test_metric"), ones)
    return Outcome(**figures, **same, finite=ones > 0, weights={"w": torch.tensor([r.seed for r in runs])})


def failing(runs: Sequence[Run]) -> Training:
    """In the process of run 1."""
    if RUNS[1] in runs:
        raise PipelineError("run 1 cannot be trained")
    return (yield from telling(runs))


class UnsendableError(Exception):
    def __init__(self, one: str, other: str) -> None:
        super().__init__(f"{one} and {other}")


def raising(runs: Sequence[Run]) -> Training:
    """In the process of run 1, what cannot be built again from its text alone."""
    if RUNS[1] in runs:
        raise UnsendableError("this", "that")
    return (yield from telling(runs))


def trained(processes: int, train: Train = telling) -> History:
    return collect(RUNS, spread(train, RUNS, CUTS, processes))


@pytest.mark.parametrize("processes", [1, 2])
def test_every_run_comes_back_in_its_place(processes: int) -> None:
    history = trained(processes)
    assert history.curves.lr.tolist() == [[0, 1, 2, 3, 4]]
    assert history.outcome.weights["w"].tolist() == [0, 1, 2, 3, 4]


def test_cuts_are_dealt_out_and_every_process_has_one_thread() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        outcome = trained(2).outcome
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    here = outcome.initial_loss == os.getpid()
    assert here.tolist() == [True, False, True, True, True], "of three cuts the second is trained elsewhere"
    assert outcome.test_loss.tolist() == [1.0] * 5


def test_a_worker_is_kept_also_when_a_training_fails_in_it() -> None:
    first = trained(2).outcome.initial_loss[1]
    with pytest.raises(PipelineError, match="run 1 cannot be trained"):
        trained(2, failing)
    assert trained(2).outcome.initial_loss[1] == first != os.getpid()


def test_an_error_that_cannot_be_sent_is_told_all_the_same() -> None:
    with pytest.raises(RuntimeError, match="UnsendableError: this and that"):
        trained(2, raising)
    assert set(trained(2).outcome.test_loss) == {1.0}


def test_there_are_no_more_processes_than_cuts() -> None:
    history = collect(RUNS, spread(telling, RUNS, [[0, 1, 2, 3, 4]], processes=8))
    assert set(history.outcome.initial_loss) == {os.getpid()}


def test_two_trainings_side_by_side_have_workers_of_their_own() -> None:
    """As runs of two optimizers are trained; a later one has no more than both of them had."""
    twice = merged([spread(telling, RUNS, CUTS, 2), spread(telling, RUNS, CUTS, 2)], [], list(range(10)))
    history = collect([*RUNS, *RUNS], twice)
    assert history.curves.lr.tolist() == [[0, 1, 2, 3, 4, 0, 1, 2, 3, 4]]
    assert len({os.getpid(), *history.outcome.initial_loss.astype(int).tolist()}) == 3
    assert trained(2).outcome.initial_loss[1] in history.outcome.initial_loss


def test_a_training_that_is_left_in_the_middle_takes_its_worker_with_it() -> None:
    left = spread(telling, RUNS, CUTS, 2)
    next(left)
    left.close()
    assert trained(2).curves.lr.tolist() == [[0, 1, 2, 3, 4]]
