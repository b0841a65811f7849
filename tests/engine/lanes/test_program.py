"""Compiled training against the same as tensors, which the twin tests hold to the plain loop; and what it promises beyond."""

import ctypes
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.engine import stacked
from pipeline.engine.compiler import machine
from pipeline.engine.lanes import program
from pipeline.engine.lanes import source as lanes_source
from pipeline.engine.lanes.program import LaneProgram, blocks
from pipeline.engine.program import Runs
from pipeline.problems.run import History, collect, select
from tests.engine.helpers import CPU, MLP, Builder, assert_close, assert_same_bits, numbers_of, run_of, train
from tests.engine.test_twin import OPTIMIZERS

SCHEDULES: dict[str, dict[str, Any]] = {
    "Cycled": {"name": "CyclicLR", "args": {"base_lr": "10%", "max_lr": "100%", "step_size_up": 4, "cycle_momentum": False}},
    "Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0, "threshold": 0.05}},
    "Bad": {"name": "ExponentialLR", "args": {"gamma": 1e6}, "lr": 1e9},
}
GOOD = ("Cycled", "Plateau", "Baseline")


def assert_same_numbers(one: History, other: History, tolerance: float) -> None:
    for name, values in numbers_of(other).items():
        assert_close(numbers_of(one)[name], values, tolerance)


LINEAR, GELU, TANH = {"name": "linear"}, {**MLP, "hidden": [7, 5], "activation": "gelu"}, {**MLP, "activation": "tanh"}


@pytest.mark.parametrize(("model", "dtype"), [
    (MLP, torch.float32), (GELU, torch.float32), (LINEAR, torch.float64),
    *(pytest.param(*case, marks=pytest.mark.slow)
      for case in ((LINEAR, torch.float32), (TANH, torch.float32), (GELU, torch.float64))),
], ids=str)  # fmt: skip
@pytest.mark.usefixtures("flags")
def test_every_model_trains_as_with_tensors(new_problem: Builder, model: dict[str, Any], dtype: torch.dtype) -> None:
    """In float32 for one epoch: rounding parts them later on."""
    problem = new_problem(SCHEDULES, model=model)
    epochs = 8 if dtype == torch.float64 else 1
    runs = [run_of(problem, label, seed, epochs=epochs) for label in GOOD for seed in range(3)]
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    assert_same_numbers(train(problem, runs, dtype, make=LaneProgram), train(problem, runs, dtype), tolerance)


FEWER = ("SGD-decay", "SGD-momentum", "SGD-dampening", "SGD-nesterov", "AdamW-betas", "Adam", "NAdam", "RMSprop",
         "RMSprop-centered", "Adagrad")  # fmt: skip
"""All that they compute is computed by another of their kind, too."""


LIKE_OTHERS = (
    "SGD",
    "SGD-momentum-decay",
    "AdamW-beta1-0",
    "Adam-amsgrad",
    "SGDScheduleFree",
    "Adagrad-decay",
    "SGD-dampening-decay",
    "AdamW",
    "Adam-betas",
    "Adam-decoupled",
    "NAdam-decoupled",
    "RMSprop-momentum",
)
"""All that they compute is computed by another in part, and by the rest of it: `make test-slow` tries them."""


@pytest.mark.parametrize("optimizer", [
    pytest.param(name, marks=[pytest.mark.slow] if name in LIKE_OTHERS else [])
    for name in OPTIMIZERS if name not in FEWER
])  # fmt: skip
@pytest.mark.usefixtures("flags")
def test_every_optimizer_trains_as_with_tensors(new_problem: Builder, optimizer: str) -> None:
    problem = new_problem(SCHEDULES, model={"name": "linear"}, optimizer=OPTIMIZERS[optimizer])
    runs = [run_of(problem, label, seed) for label in GOOD for seed in range(2)]
    assert_same_numbers(train(problem, runs, make=LaneProgram), train(problem, runs), 1e-10)


def test_a_search_trains_the_same(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES)
    runs = [run_of(problem, label, seed, stream="tune") for label in GOOD for seed in range(2)]
    search, full = train(problem, runs, search=True, make=LaneProgram), train(problem, runs, make=LaneProgram)
    np.testing.assert_array_equal(search.curves.validation_loss[-1], full.curves.validation_loss[-1])
    np.testing.assert_array_equal(search.curves.train_loss, full.curves.train_loss)
    assert np.isnan(search.curves.validation_loss[:-1]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("seeds", [*(pytest.param(few, marks=pytest.mark.slow) for few in (1, 2)), 7])
def test_no_run_hangs_on_those_beside_it(new_problem: Builder, seeds: int, dtype: torch.dtype) -> None:
    """To the last bit, at sizes that are no multiple of anything, and when a neighbour diverges and leaves."""
    problem = new_problem(SCHEDULES, model={"name": "mlp", "hidden": [7, 5]})
    runs = [run_of(problem, label, seed) for label in GOOD for seed in range(seeds)]
    alone = [train(problem, [run], dtype, make=LaneProgram) for run in runs]
    mixed = [run_of(problem, "Bad", seed=seeds - 1), *runs, run_of(problem, "Bad")]
    together = train(problem, mixed, dtype, make=LaneProgram)
    assert together.diverged[[0, -1]].all()
    assert dtype == torch.float64 or np.isnan(together.curves.train_loss[-1, [0, -1]]).all()
    for place, history in enumerate(alone, start=1):
        assert_same_bits(select(together, [place]), history)


ALONE: dict[str, dict[str, Any]] = {
    "mlp": {"model": {"name": "mlp", "hidden": [19], "activation": "gelu"}, "optimizer": {"name": "AdamW", "lr": 0.01}},
    "cnn": {"model": {"name": "cnn", "channels": [3], "groups": 1}, "dataset": {"name": "digits", "images": True}},
}


@pytest.mark.parametrize("kind", ["mlp", pytest.param("cnn", marks=pytest.mark.slow)])
def test_a_run_alone_computes_what_it_does_in_a_lane(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, kind: str
) -> None:
    """To the last bit, in vectors of its own elements, at sizes that fill no vector; in the midst of a training, too."""
    if machine().vector < lanes_source.AVX:
        pytest.skip("blocks alone on this processor")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    decays = {f"by-{n}": {"name": "ExponentialLR", "args": {"gamma": n / 10}} for n in range(5, 10)}
    problem = new_problem(decays, **{"epochs": 2} | ALONE[kind])
    runs = [run_of(problem, label) for label in decays]
    assert len(runs) > program.FEW
    together = train(problem, runs, torch.float32, make=LaneProgram)
    (library,) = compiled = list((tmp_path / "lr-pipeline").glob("*.so"))
    train(problem, runs[:2], torch.float32, make=LaneProgram)
    assert list((tmp_path / "lr-pipeline").glob("*.so")) == compiled  # so little is done before the compiler is
    an_epoch = ctypes.c_int64.in_dll(ctypes.CDLL(str(library)), "terms").value * problem.budget().steps_per_epoch
    monkeypatch.setattr(stacked, "BLOCK", 1)
    monkeypatch.setattr(program, "PAYS_FROM", an_epoch + 1)
    alone = train(problem, runs[:2], torch.float32, make=LaneProgram)
    assert len(list((tmp_path / "lr-pipeline").glob("*.so"))) == 2
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(program, "LaneProgram", lambda *given, **named: pytest.fail("compared again"))
    again = train(problem, [*runs[:2], run_of(problem, "Baseline", seed=1)], torch.float32, make=LaneProgram)
    for found in (alone, select(again, [0, 1])):
        assert_same_bits(found, select(together, [0, 1]))


@pytest.mark.parametrize("cores", [1, 2, 3, 16])
def test_the_same_bytes_on_any_number_of_cores(new_problem: Builder, monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    problem = new_problem(SCHEDULES, model=MLP)
    runs = [run_of(problem, label, seed) for label in [*GOOD, "Bad"] for seed in range(5)]
    expected = train(problem, runs, torch.float32, make=LaneProgram)
    monkeypatch.setattr(program, "cores", lambda: cores)
    assert_same_bits(train(problem, runs, torch.float32, make=LaneProgram), expected)


def test_diverged_runs_cost_nothing_further(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = new_problem(SCHEDULES)
    trained: list[int] = []

    class Counting(LaneProgram):
        def train(self, epochs: Any) -> Any:
            trained.append(epochs.numbers.shape[2])
            return super().train(epochs)

    runs = [run_of(problem, label) for label in ("Bad", "Plateau", "Bad", "Baseline")]
    history = collect(runs, stacked.train(problem, runs, device=CPU, make=Counting))
    assert not history.outcome.finite[[0, 2]].any()
    assert trained[0] == 4
    assert trained[-1] == 2
    assert history.diverged.tolist() == [True, False, True, False]
    assert all(len(values) == 4 for values in history.outcome.weights.values())


@pytest.mark.parametrize("runs", [1, 15, 16, 17, 100])
def test_blocks_hold_every_run_once_and_one_replicate_each(runs: int) -> None:
    replicate = np.arange(runs) % 3
    runs_of, counts = blocks(replicate, 16)
    assert sorted(run for row, count in zip(runs_of, counts, strict=True) for run in row[:count]) == list(range(runs))
    assert all(len(set(replicate[row])) == 1 for row in runs_of)


def test_what_is_compiled_once_is_loaded_ever_after(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """By any process: nothing is traced or compiled again, whatever the number of runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    problem = new_problem(SCHEDULES)
    first = train(problem, [run_of(problem, "Cycled")], make=LaneProgram)

    def refuse(runs: Runs) -> None:
        raise AssertionError("traced again")

    monkeypatch.setattr(program, "traced", refuse)
    both = train(problem, [run_of(problem, "Cycled"), run_of(problem, "Plateau", seed=4)], make=LaneProgram)
    assert_same_bits(select(both, [0]), first)
    assert len(list((tmp_path / "lr-pipeline").glob("*.so"))) == 1
