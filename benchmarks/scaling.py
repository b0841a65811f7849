"""How wall time and memory grow with the number of runs and of epochs.

``python -m benchmarks.scaling``: for each problem in params.yaml, the training of the stages (on all cores, as in a search)
at growing numbers of runs and then of epochs, every point in a process of its own. The time is the median of a few trainings,
the start of worker processes excluded; the memory is the peak of resident memory, libraries included. The exponent b of
y = a x^b is fitted to the upper half of the points: fixed costs of Python and of tracing hide it in the lower half. Linux only.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import torch

from benchmarks.defaults import ROOT
from benchmarks.machine import conditions
from benchmarks.problems import constant_runs, in_memory
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine.training import train
from pipeline.problems.problem import Problem
from pipeline.problems.run import collect

REPEATS = 3
KIB = 1024
MIB = KIB * KIB


@dataclass(frozen=True)
class Grid:
    """Numbers of runs, each trained for ``epochs_of_runs``; and numbers of epochs, each for ``runs_of_epochs`` runs."""

    runs: Sequence[int]
    epochs_of_runs: int
    epochs: Sequence[int]
    runs_of_epochs: int


GRIDS = {
    "synthetic": Grid((1, 10, 100, 500, 1000, 2000, 4000), 10, (5, 10, 20, 40, 80), 1000),
    "digits": Grid((1, 10, 120, 160, 500, 1000, 2000, 4000), 20, (2, 4, 8, 16, 32), 300),
}
"""By problem; all together take a few minutes on two cores."""


@dataclass(frozen=True)
class Point:
    """What one training took: seconds, and bytes at the peak of the main process and of its workers together (0: none)."""

    seconds: float
    main: int
    workers: int

    @property
    def memory(self) -> int:
        """Bytes of all processes: an upper bound, since their peaks need not coincide."""
        return self.main + self.workers


def main() -> None:
    """Print two tables per problem, or in a process of its own one point as JSON."""
    if len(sys.argv) > 1:
        print(json.dumps(vars(here(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
        return
    print(f"{conditions()}; medians of {REPEATS} trainings in a process of its own for every row")
    for name, grid in GRIDS.items():
        by_runs = {runs: measure(name, runs, grid.epochs_of_runs) for runs in grid.runs}
        print_table(f"{name}: {grid.epochs_of_runs} epochs", "runs", by_runs)
        by_epochs = {epochs: measure(name, grid.runs_of_epochs, epochs) for epochs in grid.epochs}
        print_table(f"{name}: {grid.runs_of_epochs} runs", "epochs", by_epochs)


def measure(name: str, runs: int, epochs: int) -> Point:
    """A point, measured in a fresh process, since memory once touched counts for ever after."""
    command = [sys.executable, "-m", "benchmarks.scaling", name, str(runs), str(epochs)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return Point(**json.loads(done.stdout))


def here(name: str, count: int, epochs: int) -> Point:
    """A point, measured in this process."""
    problem = in_memory(load_params(CATALOGUE), name)
    seconds_of_training(problem, count, epochs=1)  # loads the libraries and compiles what is compiled once
    seconds = statistics.median(seconds_of_training(problem, count, epochs) for _ in range(REPEATS))
    workers = [child.pid for child in active_children() if child.pid is not None]
    return Point(seconds, peak(os.getpid()), sum(peak(worker) for worker in workers))


def seconds_of_training(problem: Problem, count: int, epochs: int) -> float:
    """Seconds that a search takes to train ``count`` runs."""
    runs = constant_runs(problem, count, epochs)
    begun = time.perf_counter()
    collect(runs, train(problem, runs, device=torch.device("cpu"), search=True))
    return time.perf_counter() - begun


def peak(process: int) -> int:
    """Bytes of resident memory at the most since the process began.

    Not ``getrusage``, where a new process begins with the peak of the one that started it.
    """
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * KIB


def bytes_each(points: dict[int, Point]) -> float:
    """Bytes that one more run or epoch adds, over the upper half of the points."""
    upper = sorted(points)[len(points) // 2 :]
    slope, _ = np.polyfit(upper, [points[size].memory for size in upper], 1)
    return float(slope)


def exponent(points: dict[int, Point], figure: str) -> float:
    """The slope of log(figure) over log(size), over the upper half of the points."""
    upper = sorted(points)[len(points) // 2 :]
    slope, _ = np.polyfit(np.log(upper), np.log([getattr(points[size], figure) for size in upper]), 1)
    return float(slope)


def print_table(title: str, sizes: str, points: dict[int, Point]) -> None:
    """The points, and below them the exponents."""
    print(f"\n{title}\n\n| {sizes} | seconds | milliseconds each | peak memory, main process | workers | all |")
    print("|---|---|---|---|---|---|")
    for size, point in points.items():
        memory = " | ".join(f"{each / MIB:,.0f} MiB" if each else "–" for each in (point.main, point.workers, point.memory))
        print(f"| {size} | {point.seconds:.2f} | {point.seconds / size * 1000:.3g} | {memory} |")
    seconds, memory = (f"{exponent(points, figure):.2f}" for figure in ("seconds", "memory"))
    upper = f"exponent, from {sorted(points)[len(points) // 2]} {sizes}"
    print(f"| {upper} | {seconds} | | | | {memory} ({bytes_each(points) / KIB:.1f} KiB each) |", flush=True)


if __name__ == "__main__":
    main()
