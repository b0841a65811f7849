"""The report stage, on made-up results of realistic shape: seven schedulers, ten seeds, two problems, a hundred epochs."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import results
from pipeline.params import load_params
from pipeline.results import CURVE_COLUMNS, RUN_COLUMNS
from pipeline.stages import report

EPOCHS, SEEDS = 100, 10
PARAMS = """\
seeds: 10
problems:
  synthetic:
    dataset: {name: synthetic}
    model: {name: linear}
    optimizer: {name: SGD, lr: 1.0}
    epochs: 100
    batch_size: 32
  digits:
    dataset: {name: digits}
    model: {name: mlp, hidden: [32]}
    optimizer: {name: SGD, lr: 0.5}
    epochs: 100
    batch_size: 32
schedulers:
  StepLR: {args: {step_size: 30%, gamma: 0.1}}
  MultiStepLR: {args: {milestones: [30%, 80%], gamma: 0.1}}
  ExponentialLR: {args: {gamma: 0.95}}
  CosineAnnealingLR: {args: {T_max: 100%}}
  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}
  CyclicLR: {args: {base_lr: 1%, max_lr: 100%, step_size_up: 10%, cycle_momentum: false}}
  ConstantLR: {args: {factor: 1.0}}
report: {every: 10, baseline: ConstantLR}
"""
PEAK = {"synthetic": 1.0, "digits": 0.5}
LOSS = {"synthetic": (0.69, 0.31), "digits": (2.3, 0.11)}  # at the start, at the end of a good run
ARGS: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 30, "gamma": 0.1},
    "MultiStepLR": {"milestones": [30, 80], "gamma": 0.1},
    "ExponentialLR": {"gamma": 0.95},
    "CosineAnnealingLR": {"T_max": 100, "eta_min": 0.0},
    "ReduceLROnPlateau": {"factor": 0.1, "patience": 10},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 1.0, "step_size_up": 320},
    "ConstantLR": {"factor": 1.0, "total_iters": 5},
}
COMPARISON = [
    "problem", "variant", "scheduler", "seeds", "diverged",
    *(f"{m}{end}" for m in ("validation_loss", "validation_accuracy", "test_loss", "test_accuracy") for end in ("", "_low", "_high")),
    "rank", "difference", "difference_low", "difference_high",
]  # fmt: skip

Share = np.ndarray[Any, np.dtype[np.float64]]


def shape(label: str, stretch: float, draw: np.random.Generator) -> Share:
    """The learning rate of each epoch as a share of the peak."""
    e = np.arange(EPOCHS)
    drop = draw.integers(35, 60)
    shapes: dict[str, Callable[[], Share]] = {
        "StepLR": lambda: 0.1 ** (e // (30 * stretch)),
        "MultiStepLR": lambda: 0.1 ** ((e >= 30 * stretch).astype(float) + (e >= 80)),
        "ExponentialLR": lambda: 0.95 ** (e * stretch),
        "CosineAnnealingLR": lambda: (1 + np.cos(np.pi * e / EPOCHS)) / 2,
        "ReduceLROnPlateau": lambda: 0.1 ** ((e >= drop).astype(float) + (e >= drop + 22)),
        "CyclicLR": lambda: 0.01 + 0.99 * (1 - np.abs(e % 20 / 10 - 1)),
        "ConstantLR": lambda: np.ones(EPOCHS),
    }
    return shapes[label]()


def run(problem: str, variant: str, label: str, seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """A row of runs.parquet and the run's rows of curves.parquet."""
    draw = np.random.default_rng([len(problem), len(variant), list(ARGS).index(label), seed])
    luck = np.random.default_rng([len(problem), seed]).normal()  # of the split: all schedulers share it
    tuned = variant == "tuned"
    factor = round(float(2 ** draw.normal(1, 0.7)), 3) if tuned else 1.0
    lr = factor * PEAK[problem] * shape(label, float(draw.uniform(0.6, 1.2)) if tuned else 1.0, draw)
    start, end = LOSS[problem]
    warmth = lr / (factor * PEAK[problem])
    progress = 1 - np.exp(-np.cumsum(0.25 + 0.75 * warmth) / (14 if tuned else 18))
    noise = np.abs(draw.normal(0, 0.05, EPOCHS)) * warmth + 0.1 * warmth
    train = start + (end * 0.85 - start) * progress + end * noise
    validation = start + (end * (1 + 0.04 * luck) - start) * progress + end * noise * 1.3 + 0.004 * draw.normal()
    diverged = label == "CyclicLR" and problem == "digits" and seed in (3, 7) and not tuned
    if diverged:
        train[60:], validation[60:] = np.nan, np.nan
    name = f"{problem}-{variant}-{label}-{seed}"
    figures = {"train_loss": train[-1], "validation_loss": validation[-1]}
    figures |= {"test_loss": validation[-1] * 1.02, "validation_accuracy": np.exp(-validation[-1])}
    row = {
        "run": name, "variant": variant, "scheduler": label, "seed": seed, "epochs": EPOCHS, "lr": factor * PEAK[problem],
        "args": json.dumps(ARGS[label], sort_keys=True), "resolved": json.dumps(ARGS[label], sort_keys=True),
        "diverged": diverged, **figures, "test_accuracy": figures["validation_accuracy"] * 0.99,
        "name": label, "interval": "batch" if label == "CyclicLR" else "epoch",
        "optimizer": json.dumps({"name": "SGD", "args": {"lr": PEAK[problem]}}), "dataset": f"digest-of-{problem}", "device": "cpu",
    }  # fmt: skip
    curves = {"lr": lr, "momentum": 0.0, "train_loss": train, "validation_loss": validation}
    identity = {key: row[key] for key in ("run", "variant", "scheduler", "seed")}
    frame = pd.DataFrame({**identity, "epoch": np.arange(1, EPOCHS + 1), **curves, "validation_accuracy": np.exp(-validation)})
    return row, frame[list(CURVE_COLUMNS)]


def write_stage(problem: str, stage: str, variant: str) -> None:
    made = [run(problem, variant, label, seed) for label in ARGS for seed in range(SEEDS)]
    runs = pd.DataFrame([row for row, _ in made])[list(RUN_COLUMNS)]
    results.write_runs(problem, stage, runs, pd.concat([curves for _, curves in made], ignore_index=True))
    if variant == "tuned":
        best = [row for row, _ in made if row["seed"] == 4]
        lines = [
            f"{r['scheduler']}: {{name: {r['name']}, lr: {100 * r['lr'] / PEAK[problem]:.10g}%, args: {r['args']}}}" for r in best
        ]
        results.write_files([(results.stage_path(problem, stage, "best.yaml"), "\n".join(lines).encode())])


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which stage train is done, for both problems."""
    monkeypatch.chdir(tmp_path)
    load_params.cache_clear()
    Path("params.yaml").write_text(PARAMS)
    for problem in PEAK:
        write_stage(problem, "train", "default")
    return tmp_path


@pytest.fixture
def tuned_repository(repository: Path) -> Path:
    """A repository in which stage tune is done as well."""
    for problem in PEAK:
        write_stage(problem, "tune", "tuned")
    return repository


def outputs(repository: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((repository / "reports").iterdir())}
