"""Small tables of runs and curves, written by hand."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, load_params
from pipeline.config.problem_params import ProblemParams

CONSTANT = json.dumps({"factor": 1.0, "total_iters": 5})
SGD = json.dumps(
    {"name": "SGD", "args": {"lr": 1.0, "momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}}
)
Losses = Mapping[tuple[str, str], Sequence[float | tuple[float, ...]]]
MakeRuns = Callable[[Losses], pd.DataFrame]


@pytest.fixture
def params(tmp_path: Path) -> Params:
    """One problem, ``P``, and one scheduler, ``base``, which is the baseline."""
    path = tmp_path / "params.yaml"
    path.write_text(
        "seeds: 2\n"
        "problems:\n"
        "  P: {dataset: {name: digits}, model: {name: linear}, optimizer: {name: SGD, lr: 0.5}, epochs: 3, batch_size: 8}\n"
        "schedulers: {base: {name: ConstantLR}}\n"
        "report: {baseline: base}\n"
    )
    return load_params(CATALOGUE, path)


@pytest.fixture
def problem(params: Params) -> ProblemParams:
    """The problem."""
    return params.problems["P"]


@pytest.fixture
def make_runs() -> MakeRuns:
    """Runs from (variant, scheduler) → validation loss of seeds 0, 1 …; a NaN is a run that diverged, several are streams."""

    def make(losses: Losses) -> pd.DataFrame:
        rows = [
            {
                "run": f"{variant}-{scheduler}-{seed}" + (f"-{stream}" if stream > 1 else ""),
                "variant": variant, "scheduler": scheduler, "seed": seed, "stream": stream,
                "epochs": 2, "lr": 1.0, "args": "{}", "resolved": CONSTANT,
                "diverged": bool(np.isnan(loss)), "train_loss": loss,
                "validation_loss": loss, "validation_metric": 1 - loss, "test_loss": loss, "test_metric": 1 - loss,
                "metric": "Accuracy",
                "name": "ConstantLR", "interval": "epoch", "warmup": 0, "optimizer": SGD, "dataset": "d1", "device": "cpu",
            }
            for (variant, scheduler), values in losses.items()
            for seed, streams in enumerate(values)
            for stream, loss in enumerate(np.atleast_1d(streams), 1)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    return make


@pytest.fixture
def make_curves() -> Callable[[pd.DataFrame, int], pd.DataFrame]:
    """Curves that fall to each run's final loss, at a constant learning rate."""

    def make(runs: pd.DataFrame, epochs: int) -> pd.DataFrame:
        identity = runs[["run", "variant", "scheduler", "seed", "stream"]]
        curves = identity.loc[identity.index.repeat(epochs)].reset_index(drop=True)
        curves["epoch"] = np.tile(np.arange(1, epochs + 1), len(runs))
        factor = np.tile(np.linspace(2, 1, epochs), len(runs))
        for metric in ("train_loss", "validation_loss", "validation_metric"):
            curves[metric] = np.repeat(runs["validation_loss"].to_numpy(float), epochs) * factor
        return curves.assign(lr=0.1, momentum=0.0)

    return make
