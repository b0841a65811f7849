"""What the tests of the engine share: small problems, and trainings that are watched step by step."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pipeline.catalogue import CATALOGUE
from pipeline.config.arrays import Floats
from pipeline.config.params import Params, load_params
from pipeline.data.datasets import datasets
from pipeline.engine import loop, stacked
from pipeline.engine.rates import Rates
from pipeline.problems.problem import Problem
from pipeline.problems.run import CURVES, History, Run, collect
from tests.problems.helpers import from_frame

CPU = torch.device("cpu")
SMALL = {"name": "synthetic", "train": 70, "validation": 40, "test": 30, "features": 5, "classes": 3}
"""70 samples in batches of 12: five batches and a last one of 10; neither size is a power of 2, whose inverse is exact."""
MLP = {"name": "mlp", "hidden": [8]}


class Builder:
    """Builds problems from params.yaml, read as the stages read it, each in a folder of its own."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self.folder: Path
        """The folder of the last problem's params.yaml."""

    def __call__(
        self,
        schedules: Mapping[str, Mapping[str, Any]],
        *,
        optimizer: Mapping[str, Any] | None = None,
        model: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Problem:
        """A problem with the schedules of that label; ``more`` are further keys of the problem."""
        entry = {
            "dataset": SMALL,
            "model": model or {"name": "linear"},
            "optimizer": optimizer or {"name": "SGD", "lr": 0.1},
            "epochs": 8,
            "batch_size": 12,
            **more,
        }
        baseline = {"Baseline": {"name": "ConstantLR", "args": {"factor": 1.0}}}
        values = {
            "seeds": 2,
            "problems": {"small": entry},
            "schedulers": {**schedules, **baseline},
            "report": {"baseline": "Baseline"},
        }
        return self.from_text(json.dumps(values))  # JSON is YAML

    def from_text(self, text: str) -> Problem:
        """The only problem in the text of a params.yaml."""
        params = self.params(text)
        (name,) = params.problems
        dataset = params.problems[name].dataset
        return from_frame(params, name, datasets[dataset.name].function(**dataset.args))

    def params(self, text: str) -> Params:
        """A params.yaml of that text."""
        self.folder = self._folders.mktemp("problem")
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")
        return load_params(CATALOGUE, self.folder / "params.yaml")


def run_of(problem: Problem, label: str, seed: int = 0, **more: Any) -> Run:
    """A run of the problem's schedule of that label, at the problem's budget unless ``more`` says otherwise."""
    return Run(label, problem.schedules[label], seed, **{"epochs": problem.params.epochs, **more})


@dataclass(frozen=True)
class Watched:
    """A training, with the rate and momentum of every optimizer step, each of shape (steps, runs)."""

    history: History
    lr: Floats
    momentum: Floats


def train(
    problem: Problem,
    runs: Sequence[Run],
    dtype: torch.dtype = torch.float64,
    *,
    search: bool = False,
    make: stacked.Make | None = None,
) -> History:
    """Train the runs as one stack, of tensors or of what ``make`` makes."""
    return collect(runs, stacked.train(problem, runs, device=CPU, dtype=dtype, search=search, make=make))


def watch_stacked(
    problem: Problem, runs: Sequence[Run], dtype: torch.dtype = torch.float64, make: stacked.Make | None = None
) -> Watched:
    """Train the runs as one stack and note the rates it asks for."""
    asked: list[tuple[Floats, Floats]] = []
    ask = Rates.epochs

    def noted(self: Rates, epochs: range) -> tuple[Floats, Floats]:
        asked.append(ask(self, epochs))
        return asked[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rates, "epochs", noted)
        history = train(problem, runs, dtype, make=make)
    lr, momentum = (np.concatenate(column) for column in zip(*asked, strict=True))
    return Watched(history, lr, momentum)


def watch_loop(problem: Problem, run: Run, dtype: torch.dtype = torch.float64) -> Watched:
    """Train one run as a PyTorch user does and note what its optimizer holds whenever it steps."""
    with watched_optimizers() as steps:
        history = collect([run], loop.train(problem, run, device=CPU, dtype=dtype))
    lr, momentum = np.array(steps).T
    return Watched(history, lr[:, None], momentum[:, None])


@contextmanager
def watched_optimizers() -> Iterator[list[tuple[float, float]]]:
    """The rate and momentum (AdamW: beta1) of each step of any optimizer, read from torch's own groups."""
    steps: list[tuple[float, float]] = []

    def note(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        (group,) = optimizer.param_groups
        steps.append((group["lr"], group["betas"][0] if "betas" in group else group.get("momentum", 0.0)))

    handle = register_optimizer_step_pre_hook(note)
    try:
        yield steps
    finally:
        handle.remove()


def assert_close(actual: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    """Equal to ``tolerance`` of the largest expected number; NaN nowhere."""
    a, e = np.asarray(actual), np.asarray(expected)
    assert a.shape == e.shape
    assert np.isfinite(e).all()
    np.testing.assert_allclose(a, e, rtol=0, atol=tolerance * np.abs(e).max())


def assert_same_bits(one: History, other: History) -> None:
    """Every number of two histories is the same, bit for bit; a NaN is a NaN, whatever its sign bit."""
    assert numbers_of(one).keys() == numbers_of(other).keys()
    for name, values in numbers_of(one).items():
        same = [np.where(np.isnan(v), np.nan, v).tobytes() for v in (values, numbers_of(other)[name])]
        assert values.shape == numbers_of(other)[name].shape
        assert same[0] == same[1], name


def numbers_of(history: History) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a history by name."""
    outcome = history.outcome
    figures = {
        name: getattr(outcome, name) for name in ("initial_loss", "noise", "final_loss", "finite", "test_loss", "test_metric")
    }
    weights = {name: values.numpy() for name, values in outcome.weights.items()}
    return {**{name: getattr(history.curves, name) for name in CURVES}, **figures, **weights}
