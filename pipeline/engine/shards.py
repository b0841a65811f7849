"""A large stack of tensors on all cores: it is cut into shards, and the shards are spread over worker processes.

The cut depends on the number of runs alone and a run's arithmetic on its own shard, so that the number of workers changes no
byte.
"""

from collections.abc import Sequence
from functools import partial

import torch

from pipeline.engine import stacked
from pipeline.engine.memory import fitting
from pipeline.engine.merging import Places, in_turns
from pipeline.engine.stacked import Whole
from pipeline.engine.tensors import EVALUATED_AT_ONCE
from pipeline.engine.workers import one_thread, spread
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, Training

SMALLEST_CUT = 140
"""Runs up to which a stack stays whole."""
LARGEST_SHARD = 280
"""Runs in a shard at the most."""
SHARDS_AT_ONCE = 4
"""Shards come in multiples of this, so that 2 or 4 workers have equal hands."""


def train(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train like :func:`pipeline.engine.stacked.train`, on all cores; on a device of its own as one stack."""
    on_all_cores = partial(_on_all_cores, problem, device=device, dtype=dtype, search=search)
    samples = max(problem.params.batch_size, EVALUATED_AT_ONCE)
    at_once = 1
    if runs:
        optimizer, is_averaged = problem.optimizer_of(runs[0].schedule), runs[0].schedule.average is not None
        at_once = fitting(problem, optimizer, dtype, samples, is_averaged=is_averaged)
    return (yield from in_turns(on_all_cores, runs, at_once))


def _on_all_cores(problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype, search: bool) -> Training:
    cuts = cut(len(runs)) if device.type == "cpu" else [list(range(len(runs)))]
    whole = Whole.of(problem, runs)
    stack = partial(stacked.train, problem, device=device, dtype=dtype, search=search, whole=whole)
    if len(cuts) > 1:
        return (yield from spread(stack, runs, cuts))
    with one_thread():
        return (yield from stack(runs))


def cut(runs: int) -> list[Places]:
    """The places of the runs in each shard. They are dealt out like cards, so that every shard has some of each kind."""
    shards = 1 if runs <= SMALLEST_CUT else SHARDS_AT_ONCE * -(-runs // (SHARDS_AT_ONCE * LARGEST_SHARD))
    return [list(range(runs))[number::shards] for number in range(shards)]
