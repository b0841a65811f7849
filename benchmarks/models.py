"""Models as people write them, on the digits as images of 8×8, and how much faster they train here than in a plain loop.

``python -m benchmarks.models [MODEL …]`` prints for each model and number of runs the ratio ``auto`` / plain loop: run-steps
per second of the whole training as the stages ask for it, over those of one run after another as a user of PyTorch writes it.
Both take turns, and the median of the ratios is told, since others may use the machine. Larger ones, ``chars`` and
``images32``, stand beside more: see :mod:`benchmarks.shapes`.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

from benchmarks.machine import conditions, cores
from benchmarks.problems import compile_all, constant_runs, in_memory
from benchmarks.throughput import CPU, loop_rate, single_loop_rate
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine.training import train, ways
from pipeline.problems.models import models, register
from pipeline.problems.problem import Problem
from pipeline.problems.run import collect

COUNTS = (1, 12, 48)
REPEATS = 3
SECONDS = 0.6
Build = Callable[[tuple[int, int, int], int], nn.Module]


class Applied(nn.Module):
    """A function of parts that are modules, as a forward."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (samples, …)."""
        return self.function(x, **self.parts)


class Residual(nn.Module):
    """Two convolutions beside their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(4, width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(4, width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(samples, channels, height, width)."""
        return f.relu(x + self.layers(x))


def _residual(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs[0], 24, 3, padding=1), nn.GroupNorm(4, 24), nn.ReLU(), Residual(24), Residual(24),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, outputs),
    )  # fmt: skip


def _pooled(pool: type[nn.Module]) -> Build:
    return lambda inputs, outputs: nn.Sequential(
        nn.Conv2d(inputs[0], 16, 3, padding=1), nn.ReLU(), pool(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), pool(2),
        nn.Flatten(), nn.Linear(32 * (inputs[1] // 4) * (inputs[2] // 4), outputs),
    )  # fmt: skip


def _depthwise(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs[0], 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.GroupNorm(4, 16),
        nn.Conv2d(16, 32, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, outputs),
    )  # fmt: skip


def _batch_normed(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs[0], 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, stride=2), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.LazyLinear(outputs),
    )  # fmt: skip


def _attention(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    def forward(x: Tensor, into: nn.Module, attention: nn.Module, head: nn.Module) -> Tensor:
        rows = into(x.squeeze(1))
        outputs: Tensor = head((rows + attention(rows, rows, rows, need_weights=False)[0]).mean(dim=1))
        return outputs

    attention = nn.MultiheadAttention(16, 2, batch_first=True)
    return Applied(forward, into=nn.Linear(inputs[2], 16), attention=attention, head=nn.Linear(16, outputs))


def _encoder(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    layer = nn.TransformerEncoderLayer(32, 4, dim_feedforward=64, dropout=0.0, batch_first=True)
    return Applied(
        lambda x, into, layer, head: head(layer(into(x.squeeze(1))).mean(dim=1)),
        into=nn.Linear(inputs[2], 32), layer=layer, head=nn.Linear(32, outputs),
    )  # fmt: skip


def _unet(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """Down to half the size, and up again in both usual ways, beside what was there before."""

    def forward(x: Tensor, wide: nn.Module, deep: nn.Module, up: nn.Module, last: nn.Module) -> Tensor:
        before = wide(x).relu()
        below = deep(f.max_pool2d(before, 2)).relu()
        rough = f.interpolate(below, scale_factor=2, mode="bilinear")
        outputs: Tensor = last(torch.cat([before, up(below), rough], dim=1)).mean(dim=(2, 3))
        return outputs

    return Applied(
        forward, wide=nn.Conv2d(inputs[0], 8, 3, padding=1, padding_mode="reflect"), deep=nn.Conv2d(8, 16, 3, padding=1),
        up=nn.ConvTranspose2d(16, 8, 2, stride=2), last=nn.Conv2d(32, outputs, 3, padding=1),
    )  # fmt: skip


def _recurrent(kind: type[nn.Module]) -> Build:
    return lambda inputs, outputs: Applied(
        lambda x, cells, head: head(cells(x.squeeze(1))[0][:, -1]),
        cells=kind(inputs[2], 16, batch_first=True), head=nn.Linear(16, outputs),
    )  # fmt: skip


ZOO: dict[str, Build] = {
    "strided": models["cnn"].function,
    "wide": lambda inputs, outputs: models["cnn"].function(inputs, outputs, channels=[32, 64]),
    "transformer": lambda inputs, outputs: models["transformer"].function(inputs, outputs, width=16, heads=2, layers=1),
    "residual": _residual,
    "max-pooled": _pooled(nn.MaxPool2d),
    "average-pooled": _pooled(nn.AvgPool2d),
    "depthwise": _depthwise,
    "batch-normed": _batch_normed,
    "attention": _attention,
    "encoder": _encoder,
    "lstm": _recurrent(nn.LSTM),
    "gru": _recurrent(nn.GRU),
    "unet": _unet,
}
"""Ordinary models of images, by name; of the tables in ``RESULTS.md``."""
SHAPES = ("chars", "images32")
"""Those of :mod:`benchmarks.shapes`."""
BATCH = 64


def problem_of(name: str, folder: Path, **more: Any) -> Problem:
    """The digits as images, for that model; ``more`` are further keys of the problem."""
    if name in SHAPES:
        from benchmarks.shapes import entry_of  # which registers them for all that is done in this process

        return _in(folder, {**entry_of(name), **more})
    registered = f"ordinary-{name}"
    if registered not in {model.name for model in models}:
        register(registered)(ZOO[name])
    return _in(folder, {
        "dataset": {"name": "digits", "images": True, "seed": 0}, "model": {"name": registered},
        "optimizer": {"name": "AdamW", "lr": 0.003}, "epochs": 8, "batch_size": BATCH, **more,
    })  # fmt: skip


def _in(folder: Path, entry: dict[str, Any]) -> Problem:
    name = entry["dataset"]["name"]
    values = {
        "seeds": 10, "problems": {name: entry}, "report": {"baseline": "Constant"},
        "schedulers": {"Constant": {"name": "ConstantLR", "args": {"factor": 1.0}}},
    }  # fmt: skip
    (folder / "params.yaml").write_text(json.dumps(values), encoding="utf-8")
    return in_memory(load_params(CATALOGUE, folder / "params.yaml"), name)


def ratios(problem: Problem) -> Iterator[tuple[int, float, float]]:
    """Number of runs, seconds that ``auto`` takes for all of them, and its speed over that of the faster plain loop."""
    for count in COUNTS:
        runs = constant_runs(problem, count)
        compile_all(problem, count)
        found = []
        for _ in range(REPEATS):
            loop = max(loop_rate(problem, SECONDS), single_loop_rate(problem, SECONDS))
            begun = time.perf_counter()
            collect(runs, train(problem, runs, device=CPU, search=True))
            elapsed = time.perf_counter() - begun
            budget = problem.budget()
            found.append((elapsed, count * budget.epochs * budget.steps_per_epoch / elapsed / loop))
        yield count, *(statistics.median(column) for column in zip(*found, strict=True))


def main() -> None:
    """Print a row per model, and a table for each that is larger."""
    torch.set_num_threads(len(cores()))
    asked = sys.argv[1:] or [*ZOO, *SHAPES]
    with TemporaryDirectory() as folder:
        print_ratios([name for name in asked if name not in SHAPES], Path(folder))
        for name in [name for name in asked if name in SHAPES]:
            problem = problem_of(name, Path(folder))
            from benchmarks.shapes import print_table

            print_table(problem, ways(problem, problem.params.optimizer, CPU)[0])


def print_ratios(names: list[str], folder: Path) -> None:
    """A row per model."""
    print(f"{conditions()}; auto / plain loop, medians of {REPEATS} alternating repeats\n")
    if names:
        print(f"| model | way | {' | '.join(f'{count} runs' for count in COUNTS)} | seconds for the most |")
        print(f"|---|---|{'---|' * (len(COUNTS) + 1)}")
        for name in names:
            problem = problem_of(name, folder)
            way = ways(problem, problem.params.optimizer, CPU)[0]
            figures = list(ratios(problem))
            cells = " | ".join(f"{ratio:.2g}x" for _, _, ratio in figures)
            print(f"| {name} | {way} | {cells} | {figures[-1][1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
