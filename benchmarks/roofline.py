"""How near a training step comes to what this machine can do at all.

``python -m benchmarks.roofline``: for each problem in params.yaml, the time that a step of a run would take at best, against
the time it takes in the whole training of a search as the stages ask for it (replaying, data order and evaluations included).
At best is the larger of

- its operations (a multiplication and an addition for each term of a matrix product, one for each element of all else, an
  exponential too) over the rate of a large matrix product, and
- the fewest bytes that it must move (parameters and the optimizer's state in and out, the batch once for all runs that share
  it) over the rate of a large copy.

Both rates are torch's on this machine with as many threads as the training has, measured in turns with it.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from benchmarks.machine import conditions, cores
from benchmarks.problems import constant_runs, in_memory, medians, seeds_of
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine.functions import functions_of
from pipeline.engine.optimizers import STACKED
from pipeline.engine.training import train
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect

RUNS, REPEATS = 1000, 3
CPU = torch.device("cpu")
SIDE = 4096
"""Rows and columns of the large product."""
COPIED = 2**28
"""Bytes of the large copy, which reads as many as it writes."""
LOOKS = frozenset(
    {"view", "_unsafe_view", "t", "transpose", "expand", "detach", "alias", "unsqueeze", "squeeze", "select", "unbind"}
)
"""Operations that compute nothing."""


def main() -> None:
    """Print a row per problem."""
    torch.set_num_threads(len(cores()))
    params = load_params(CATALOGUE)
    print(f"{conditions()}; {RUNS} runs, {len(cores())} threads each, medians of {REPEATS} alternating repeats")
    print("| problem | operations | bytes | product | copy | bound by | at best | measured | share |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in params.problems:
        problem = in_memory(params, name)
        runs = constant_runs(problem, RUNS)
        operations, moved = operations_of(problem), bytes_of(problem)
        rate_of_training(problem, runs)  # compiles what is compiled once
        product, copy, measured = medians(
            (rate_of_products(), rate_of_copies(), rate_of_training(problem, runs)) for _ in range(REPEATS)
        )
        best, limit = min((product / operations, "operations"), (copy / moved, "bytes"))
        print(
            f"| {name} | {operations:,.0f} | {moved:,.0f} | {product / 1e9:.0f} GFLOP/s | {copy / 1e9:.1f} GB/s | {limit} "
            f"| {best:,.0f} steps/s | {measured:,.0f} steps/s | {measured / best:.0%} |",
            flush=True,
        )


def operations_of(problem: Problem) -> float:
    """Operations of a training step of one run."""
    model, size = problem.new_model(0, "tune"), problem.params.batch_size
    optimizer = STACKED[problem.params.optimizer.name](problem.params.optimizer.args, 1, has_momentum=False)
    functions = functions_of(problem, model, optimizer)
    state = functions.initial([values[0] for values in functions.stacked([model])])
    samples = problem.data.samples([0])
    rows = samples.parts["train"][0][:size]
    x, y = torch.tensor(samples.x[rows]), torch.tensor(samples.y[rows])
    numbers = torch.ones(optimizer.kinds + functions.drawn)
    traced = make_fx(lambda *given: list(functions.step(*given)))(state, numbers, x, y, torch.ones(len(rows)) / len(rows))
    return float(sum(_operations(node) for node in traced.graph.nodes if node.op == "call_function"))


def _operations(node: fx.Node) -> Any:
    name = str(getattr(node.target, "__name__", node.target)).split(".")[0]
    if name == "convolution_backward":
        gradient, _, weight = (argument.meta["val"] for argument in node.args[:3])  # type: ignore[union-attr]
        wanted: Any = node.args[-1]  # of pixels, weights and bias
        return 2 * gradient.numel() * weight[0].numel() * sum(wanted[:2])
    result: Any = node.meta.get("val")
    if name in LOOKS or not isinstance(result, Tensor):
        return 0
    if name in {"mm", "addmm", "bmm"}:
        inner = [a for a in node.args if isinstance(a, fx.Node)][-1].meta["val"].shape[-2]
        return 2 * result.numel() * inner
    if name == "convolution":
        weight = node.args[1].meta["val"]  # type: ignore[union-attr]
        return 2 * result.numel() * weight[0].numel()
    sizes = [a.meta["val"].numel() for a in node.args if isinstance(a, fx.Node) and isinstance(a.meta.get("val"), Tensor)]
    return max([result.numel(), *sizes])


def bytes_of(problem: Problem) -> float:
    """The fewest bytes that a step of one of the runs must move."""
    numbers = sum(parameter.numel() for parameter in problem.new_model(0, "tune").parameters())
    kept = len(STACKED[problem.params.optimizer.name](problem.params.optimizer.args, 1, has_momentum=False).starts)
    batch = problem.data.samples([0]).x[: problem.params.batch_size].nbytes
    return 2 * numbers * (1 + kept) * 4 + batch * seeds_of(RUNS) / RUNS


def rate_of_products() -> float:
    """Operations per second of a large matrix product."""
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    return 2 * SIDE**3 / shortest(lambda: a @ b)


def rate_of_copies() -> float:
    """Bytes per second of a large copy, read and written."""
    a, b = torch.rand(COPIED // 4), torch.rand(COPIED // 4)
    return 2 * COPIED / shortest(lambda: b.copy_(a))


def shortest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of a few calls, so that the bound is none too low."""
    seconds = []
    for _ in range(5):
        begun = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def rate_of_training(problem: Problem, runs: list[Run]) -> float:
    """Run-steps per second of the whole training."""
    begun = time.perf_counter()
    collect(runs, train(problem, runs, device=CPU, search=True))
    budget = problem.budget()
    return len(runs) * budget.epochs * budget.steps_per_epoch / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
