"""A stage to be mirrored, and what MLflow then shows of it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.problems.run import CURVES, Block, History, Outcome
from pipeline.runs import results
from pipeline.tracking.connection import tracking_uri
from pipeline.tracking.mlflow_tracker import MLflowTracker
from pipeline.tracking.trackers import trackers

EPOCHS = 6
LABELS = ("StepLR", "CosineAnnealingLR")


def describe(problem: str = "digits") -> list[dict[str, Any]]:
    """Two schedulers on two seeds."""
    args: dict[str, dict[str, Any]] = {
        "StepLR": {"step_size": "30%", "gamma": 0.1},
        "CosineAnnealingLR": {"T_max": "100%"},
    }
    resolved = {"StepLR": {"step_size": 2, "gamma": 0.1}, "CosineAnnealingLR": {"T_max": 6, "eta_min": 0.0}}
    return [
        {
            "run": f"{problem}-{label}-{seed}", "variant": "default", "scheduler": label, "seed": seed, "stream": 1,
            "epochs": EPOCHS, "lr": 0.5, "args": json.dumps(args[label]), "resolved": json.dumps(resolved[label]),
            "name": label, "interval": "epoch", "warmup": 0,
            "optimizer": json.dumps({"name": "SGD", "args": {"lr": 0.5, "momentum": 0.9}}),
            "dataset": "0123456789abcdef", "device": "cpu", "metric": "Accuracy",
        }
        for label in LABELS for seed in range(2)
    ]  # fmt: skip


def train(problem: str = "digits") -> tuple[list[Block], pd.DataFrame, pd.DataFrame]:
    """Blocks of two epochs, and the tables of runs and curves; momentum was not measured."""
    described = describe(problem)
    random = np.random.default_rng(0)
    curves = {name: random.random((EPOCHS, len(described))) for name in CURVES}
    curves["momentum"][:] = np.nan
    ones = np.ones(len(described))
    losses = {"initial_loss": ones, "noise": ones / 8, "final_loss": ones / 3}
    outcome = Outcome(**losses, finite=ones > 0, test_loss=ones / 4, test_metric=ones / 2, weights={})
    history = History((), Block(first_epoch=1, **curves), outcome)
    blocks = [Block(first + 1, **{k: v[first : first + 2] for k, v in curves.items()}) for first in range(0, EPOCHS, 2)]
    return blocks, results.run_table(history, described), results.curve_table(history, described)


def train_live(problem: str = "digits") -> None:
    """What a stage does."""
    blocks, runs, curves = train(problem)
    with trackers() as told:
        told.begin(problem, "train", describe(problem))
        for block in blocks:
            told.log(list(range(len(runs))), block)
        results.write_runs(problem, "train", runs, curves)
        told.tell("finish", runs)


def rebuild() -> list[str]:
    """What ``make mirror`` does for MLflow."""
    return list(MLflowTracker().rebuild())


def contents(problem: str = "digits") -> dict[str, dict[str, Any]]:
    """All that MLflow shows of a problem's runs, times and ids apart, by run name."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri())
    experiment = client.get_experiment_by_name(problem)
    assert experiment is not None
    found = list(client.search_runs([experiment.experiment_id]))
    shown = {
        str(run.info.run_name): {
            "status": run.info.status,
            "params": run.data.params,
            "tags": run.data.tags,
            "metrics": run.data.metrics,
            "curves": {
                name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
                for name in run.data.metrics
            },
            "datasets": [(d.name, d.digest, d.source) for d in (given.dataset for given in run.inputs.dataset_inputs)],
        }
        for run in found
        if run.inputs is not None
    }
    assert len(shown) == len(found)  # no run twice
    return shown


def without_origin(shown: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The runs without the tags that say where they come from."""
    origin = {"git", "mlflow.source.git.commit", "dvc_experiment", "rebuilt"}
    return {
        name: run | {"tags": {tag: value for tag, value in run["tags"].items() if tag not in origin}}
        for name, run in shown.items()
    }


def rows(root: Path) -> list[Any]:
    """The database as it is."""
    connection = sqlite3.connect(root / "mlflow.db")
    found = [sorted(map(repr, connection.execute(f"SELECT * FROM {table}")))
             for table in ("runs", "metrics", "latest_metrics", "params", "tags", "inputs", "datasets")]  # fmt: skip
    connection.close()
    return found


def statuses(root: Path) -> set[str]:
    """What MLflow says of the runs."""
    connection = sqlite3.connect(root / "mlflow.db")
    found = {status for (status,) in connection.execute("SELECT status FROM runs")}
    connection.close()
    return found
