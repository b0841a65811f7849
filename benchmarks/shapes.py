"""Two models of the size that people train, beside everything else that could train them.

``python -m benchmarks.models chars images32`` prints for each, and for each number of runs, run-steps per second of the plain
loop (at the faster of its thread settings), of that loop in as many processes as cores, of ``auto`` and of JAX, where that can
be installed; all of them take turns. JAX does the same arithmetic on the same batches, and its losses must agree.

What turns out to be trained run by run is so in one process here, where the stages use one for each core. Each is a dataset
and a model that are registered as this file is imported; :mod:`benchmarks.jax_side` has the same models.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from benchmarks.environments import installed
from benchmarks.jax_client import Setting, settings
from benchmarks.problems import constant_runs, medians
from benchmarks.throughput import (
    CPU,
    Compiled,
    Workers,
    auto_rates,
    compile_jax,
    loop_rate,
    processes,
    rate_in_processes,
    single_loop_rate,
    times,
)
from pipeline.data.datasets import register as register_dataset
from pipeline.data.tables import frame
from pipeline.engine.training import train
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.problems.run import collect

COUNTS = (1, 12, 48)
REPEATS = 3
SECONDS = 1.0
SAMPLES, HELD_OUT, BATCH = 256, 64, 32
LENGTH, VOCABULARY, WIDTH, HEADS = 64, 65, 64, 4
PARTS = np.repeat(["train", "validation", "test"], [SAMPLES, HELD_OUT, HELD_OUT])
EPOCHS, TRAINED = 13, 2
"""Of the problem, which is long enough to be compiled; and of the runs that are measured."""


@register_dataset("chars")
def chars() -> pd.DataFrame:
    """Sequences of characters, each drawn from a few that may follow the one before; targets are the next ones."""
    draw = np.random.default_rng(0)
    following = draw.integers(VOCABULARY, size=(VOCABULARY, 4))
    text = np.empty((len(PARTS), LENGTH + 1), dtype=np.int64)
    text[:, 0] = draw.integers(VOCABULARY, size=len(text))
    text[0, 0] = following[0, 0] = VOCABULARY - 1  # the last one is there
    for place in range(LENGTH):
        text[:, place + 1] = following[text[:, place], draw.integers(4, size=len(text))]
    return frame(text[:, :-1], text[:, 1:], PARTS)


@register_dataset("images32")
def images32() -> pd.DataFrame:
    """Noise of 3 channels, 32 by 32, around a pattern for each of ten classes."""
    draw = np.random.default_rng(0)
    kind = np.resize(np.arange(10), len(PARTS))
    patterns = draw.standard_normal((10, 3, 32, 32))
    return frame(patterns[kind] + draw.standard_normal((len(kind), 3, 32, 32)), kind, PARTS)


@register_model("chars")
class Chars(nn.Module):
    """A transformer of two layers that predicts each next character; without dropout, so that all sides do the same."""

    def __init__(self, inputs: tuple[int], outputs: int) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, outputs)
        self.register_buffer("ahead", torch.full((LENGTH, LENGTH), -torch.inf).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """From (samples, length) to (samples, length, characters)."""
        hidden = self.embedding(x) + self.position.weight
        for layer in self.layers:
            hidden = layer(hidden, src_mask=self.ahead)
        outputs: Tensor = self.head(self.norm(hidden))
        return outputs


class Halved(nn.Module):
    """Two convolutions beside their input, which is halved on the way where the channels become more."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        stride = 1 if into == out else 2
        self.first, self.second = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(4, out) for _ in range(2))
        self.beside = nn.Conv2d(into, out, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(samples, channels, height, width)."""
        hidden = f.relu(self.norms[0](self.first(x)))
        return f.relu(self.norms[1](self.second(hidden)) + self.beside(x))


@register_model("images32")
def residual32(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """A residual network of three blocks (He et al., 2016), with group norms."""
    return nn.Sequential(
        nn.Conv2d(inputs[0], 16, 3, padding=1, bias=False), nn.GroupNorm(4, 16), nn.ReLU(),
        Halved(16, 16), Halved(16, 32), Halved(32, 64),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, outputs),
    )  # fmt: skip


def entry_of(name: str) -> dict[str, Any]:
    """The problem of that name, as params.yaml has it."""
    return {
        "dataset": {"name": name}, "model": {"name": name}, "optimizer": {"name": "SGD", "lr": 0.1},
        "epochs": EPOCHS, "batch_size": BATCH,
    }  # fmt: skip


def _loop(problem: Problem, seconds: float) -> float:
    """As a function of this module, which a process imports and so knows the models."""
    return loop_rate(problem, seconds)


def measure(
    problem: Problem, workers: Workers, jax: list[Setting], folder: Path
) -> Iterator[tuple[int, tuple[float, ...], str]]:
    """For each number of runs: the rates of loop, processes, ``auto`` and JAX, and JAX's better setting."""
    rate_in_processes(problem, workers, 0.1, _loop)
    for count in COUNTS:
        runs = constant_runs(problem, count, TRAINED)
        collect(runs, train(problem, runs, device=CPU, search=True))  # compiles
        compiled = compile_jax(problem, runs, jax, folder, model=problem.name)
        found = [_repeat(problem, count, workers, compiled) for _ in range(REPEATS)]
        *sides, best = medians([(*sides, max(rates, default=np.nan)) for sides, rates in found])
        names = [setting.name for setting, _ in compiled]
        yield count, (*sides, best), names[int(np.argmax(found[-1][1]))] if names else "not installed"


def _repeat(problem: Problem, count: int, workers: Workers, compiled: Compiled) -> tuple[tuple[float, ...], list[float]]:
    loop = max(loop_rate(problem, SECONDS), single_loop_rate(problem, SECONDS))
    in_processes = rate_in_processes(problem, workers, SECONDS, _loop)
    auto, _, _ = auto_rates(problem, constant_runs(problem, count, TRAINED))
    return (loop, in_processes, auto), [setting.rate(prepared, SECONDS) for setting, prepared in compiled]


def print_table(problem: Problem, way: str) -> None:
    """All sides of a problem."""
    print(f"\n{problem.name}, {way}; run-steps per second, medians of {REPEATS} alternating repeats\n")
    print("| runs | loop | loop in processes | auto | jax | auto / loop | auto / processes | auto / jax |")
    print("|---|---|---|---|---|---|---|---|")
    with TemporaryDirectory() as folder, settings(installed("jax")) as jax, processes() as workers:
        for count, (loop, in_processes, auto, best), setting in measure(problem, workers, jax, Path(folder)):
            ratios = " | ".join(times(auto / other) for other in (loop, in_processes, best))
            sides = " | ".join(f"{rate:,.1f}" for rate in (loop, in_processes, auto, best))
            print(f"| {count} | {sides} ({setting}) | {ratios} |", flush=True)
