"""How many optimizer steps of how many runs a second: the pipeline's engine beside a plain loop, and beside JAX.

``python -m benchmarks.throughput``: for each problem in params.yaml, run-steps (runs × optimizer steps) per second of

- ``loop``: one run as a user of PyTorch writes it, which keeps no figures, with torch's default threads; runs one after
  another, so that the number of runs does not matter and it is measured once a repeat;
- ``loop, one thread``: the same after ``torch.set_num_threads(1)``; ratios are to the faster of the two;
- ``loop in processes``: the same in as many processes as cores, one thread each, their start excluded;
- ``stacked``: all runs as one tensor program in one process and thread, as PyTorch runs it operation by operation;
- ``auto``: the whole training as the stages ask for it, on all cores. Replaying schedules, drawing the data order and the
  evaluations of a search are in its time; compiling is not, since that is done once and kept for all later processes;
- ``jax``: the same arithmetic on the same batches with jit, vmap and scan, the better of its settings. Compiling and drawing
  the data order are not in its time.

A second table says what tracing and compiling take, and from how many run-steps they pay. JAX and ``auto`` must agree on
the training loss, or the script ends with an error.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks.environments import installed
from benchmarks.jax_client import Prepared, Setting, export, settings
from benchmarks.machine import conditions, cores
from benchmarks.problems import compile_all, constant_runs, in_memory, medians
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine import stacked
from pipeline.engine.training import one_thread, train
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect

PROBLEMS = ("synthetic", "digits")
COUNTS = (1, 12, 120, 1000)
REPEATS = 3
SECONDS = 1.2
"""Time of a measurement that can be cut short; a whole training takes what it takes."""
CHECKED = 2
"""Epochs after which training losses are compared."""
CPU = torch.device("cpu")

Workers = Sequence[ProcessPoolExecutor]
Compiled = Sequence[tuple[Setting, Prepared]]
Rate = Callable[[Problem, float], float]


@dataclass(frozen=True)
class Speeds:
    """Medians for one number of runs: run-steps per second of each side, seconds to trace and to compile.

    ``auto`` is of the whole training, ``traced`` of what comes after its first block. ``jax`` is NaN where it is not installed.
    """

    default_loop: float
    single_loop: float
    processes: float
    stacked: float
    auto: float
    traced: float
    tracing: float
    jax: float
    compiling: float
    setting: str

    @property
    def loop(self) -> float:
        """The faster of the two loops in one process."""
        return max(self.default_loop, self.single_loop)


def main() -> None:
    """Print two tables per problem."""
    params = load_params(CATALOGUE)
    print(f"{conditions()}; run-steps per second, medians of {REPEATS} alternating repeats")
    print(
        f"Threads: loop {torch.get_num_threads()} or 1 in one process; loop in processes {len(cores())} x 1; stacked 1; "
        f"auto {len(cores())}; jax as named."
    )
    with TemporaryDirectory() as folder, settings(installed("jax")) as jax, processes() as workers:
        for name in PROBLEMS:
            problem = in_memory(params, name)
            measured = measure(problem, workers, jax, Path(folder))
            print_speeds(problem, measured)
            print_costs(problem, measured)


def measure(problem: Problem, workers: Workers, jax: Sequence[Setting], folder: Path) -> dict[int, Speeds]:
    """Number of runs → speeds. All sides take turns within a repeat."""
    stacks = {count: constant_runs(problem, count) for count in COUNTS}
    compiled = {count: compile_jax(problem, runs, jax, folder) for count, runs in stacks.items()}
    warm_up(problem, workers)
    found: dict[int, list[tuple[float, ...]]] = {count: [] for count in COUNTS}
    for _ in range(REPEATS):
        loops = loop_rate(problem), single_loop_rate(problem), rate_in_processes(problem, workers)
        for count, runs in stacks.items():
            rates = [setting.rate(prepared, SECONDS) for setting, prepared in compiled[count]]
            found[count].append((*loops, stacked_rate(problem, runs), *auto_rates(problem, runs), *rates))
    return {count: speeds(repeats, compiled[count]) for count, repeats in found.items()}


def speeds(repeats: Sequence[tuple[float, ...]], compiled: Compiled) -> Speeds:
    """Medians of the repeats, of the JAX setting that is the fastest."""
    default, single, in_processes, eager, auto, traced, tracing, *rates = medians(repeats)
    choices = [(rate, prepared.seconds, setting.name) for rate, (setting, prepared) in zip(rates, compiled, strict=True)]
    best = max(choices, default=(np.nan, np.nan, ""))
    return Speeds(default, single, in_processes, eager, auto, traced, tracing, *best)


def warm_up(problem: Problem, workers: Workers) -> None:
    """Compile what is compiled once, start what is started once."""
    for count in (1, 200):
        compile_all(problem, count)
    rate_in_processes(problem, workers, seconds=0.1)


def loop_rate(problem: Problem, seconds: float = SECONDS) -> float:
    """Steps per second of one run at a time, with the threads of this process."""
    steps = plain_loop(problem, constant_runs(problem, 1)[0])
    for _ in range(problem.budget().steps_per_epoch):  # the first ones load libraries and find their memory
        next(steps)
    done, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        next(steps)
        done += 1
    return done / (time.perf_counter() - begun)


def single_loop_rate(problem: Problem, seconds: float = SECONDS) -> float:
    """The same with one thread."""
    with one_thread():
        return loop_rate(problem, seconds)


def plain_loop(problem: Problem, run: Run) -> Iterator[None]:
    """A run as a user writes it, without end; yields after every step."""
    rows = problem.data.split(run.seed).train
    x, y = torch.tensor(problem.data.x[rows]), torch.tensor(problem.data.y[rows])
    model = problem.new_model(run.seed, run.stream)
    optimizer = problem.optimizers_for(next(iter(problem.schedules.values())))(list(model.parameters()), problem.lr)
    order = problem.new_order(run.seed, run.stream)
    while True:
        for batch in torch.randperm(len(x), generator=order).split(problem.params.batch_size):  # type: ignore[no-untyped-call]
            optimizer.zero_grad()
            cross_entropy(model(x[batch]).flatten(0, -2), y[batch].flatten()).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            yield


@contextmanager
def processes() -> Iterator[Workers]:
    """A process with one thread for every core; each has a queue of its own, so that none takes the work of another."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)))
            for _ in cores()
        ]


def rate_in_processes(problem: Problem, workers: Workers, seconds: float = SECONDS, rate: Rate = loop_rate) -> float:
    """Steps per second of all processes together, measured at the same time."""
    return sum(future.result() for future in [worker.submit(rate, problem, seconds) for worker in workers])


def stacked_rate(problem: Problem, runs: Sequence[Run]) -> float:
    """Run-steps per second of one untraced stack, after its first epoch."""
    with one_thread():
        training = stacked.train(problem, runs, device=CPU, search=True)
        next(training)
        epochs, begun = 0, time.perf_counter()
        for _ in training:
            epochs += 1
            if time.perf_counter() - begun >= SECONDS:
                break
        elapsed = time.perf_counter() - begun
    return epochs * problem.budget().steps_per_epoch * len(runs) / elapsed


def auto_rates(problem: Problem, runs: Sequence[Run]) -> tuple[float, float, float]:
    """Run-steps per second of the whole training and after its first block, and the seconds that were lost before that."""
    per_epoch = problem.budget().steps_per_epoch * len(runs)
    begun = time.perf_counter()
    training = train(problem, runs, device=CPU, search=True)
    first = len(next(training).lr)
    blocked = time.perf_counter()
    later = sum(len(block.lr) for block in training)
    ended = time.perf_counter()
    whole = (first + later) * per_epoch / (ended - begun)
    if not later:
        return whole, whole, 0.0
    after = later * per_epoch / (ended - blocked)
    return whole, after, max(0.0, blocked - begun - first * per_epoch / after)


def compile_jax(problem: Problem, runs: Sequence[Run], jax: Sequence[Setting], folder: Path, model: str = "layers") -> Compiled:
    """The runs compiled in every setting of JAX, once their training loss is seen to be that of ``auto``."""
    if not jax:
        return []
    file = export(problem, runs, folder / f"{problem.name}-{len(runs)}.npz", model)
    short = constant_runs(problem, len(runs), epochs=CHECKED)
    expected = collect(short, train(problem, short, device=CPU, search=True)).curves.train_loss[-1].mean()
    found = [(setting, setting.prepare(file, len(runs), CHECKED)) for setting in jax]
    for setting, prepared in found:
        if not np.isclose(prepared.loss, expected, rtol=1e-4):
            raise RuntimeError(f"{problem.name}: JAX ({setting.name}) ends at a loss of {prepared.loss}, not {expected}")
    return found


def print_speeds(problem: Problem, measured: dict[int, Speeds]) -> None:
    """The first table: sides and ratios."""
    print(f"\n{problem.name}: {steps_of(problem)} steps a run\n")
    print(
        "| runs | loop | loop, one thread | loop in processes | stacked | auto | jax "
        "| auto / loop | auto / processes | auto / jax |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for count, of in measured.items():
        sides = " | ".join(f"{rate:,.0f}" for rate in (of.default_loop, of.single_loop, of.processes, of.stacked, of.auto))
        jax = f"{of.jax:,.0f} ({of.setting})" if of.setting else "not installed"
        print(f"| {count} | {sides} | {jax} | {' | '.join(times(of.auto / b) for b in (of.loop, of.processes, of.jax))} |")


def print_costs(problem: Problem, measured: dict[int, Speeds]) -> None:
    """The second table: seconds before the first step, run-steps from which they are earned back, and whole trainings."""
    print(
        "\n| runs | auto: before the first step | pays over stacked from | over the loop from | after it, auto / jax "
        "| jax: compile | pays over the loop from | whole training, auto / jax with compiling |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for count, of in measured.items():
        run_steps = count * steps_of(problem)
        jax = run_steps / (of.compiling + run_steps / of.jax)
        cells = (
            f"{of.tracing:.2f} s",
            break_even(of.tracing, of.traced, of.stacked),
            break_even(of.tracing, of.traced, of.loop),
            times(of.traced / of.jax),
            f"{of.compiling:.2f} s" if of.setting else "–",
            break_even(of.compiling, of.jax, of.loop),
            times(of.auto / jax),
        )
        print(f"| {count} | {' | '.join(cells)} |", flush=True)


def steps_of(problem: Problem) -> int:
    """Optimizer steps of a run."""
    return problem.budget().epochs * problem.budget().steps_per_epoch


def times(ratio: float) -> str:
    """A ratio as it is read; a dash where a side is missing."""
    return f"{ratio:.2g}x" if np.isfinite(ratio) and ratio < 10 else f"{ratio:.0f}x" if np.isfinite(ratio) else "–"


def break_even(seconds: float, rate: float, other: float) -> str:
    """Run-steps from which ``seconds`` spent beforehand are earned back by the faster of two rates."""
    if not np.isfinite(rate):
        return "–"
    return f"{seconds / (1 / other - 1 / rate):,.0f}" if rate > other else "never"


if __name__ == "__main__":
    main()
