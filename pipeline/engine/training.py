"""Training as the stages ask for it: the fastest way there is for these runs on this machine."""

import functools
import logging
from collections.abc import Sequence

import torch

from pipeline.compiler import NoCompilerError
from pipeline.engine import shards, stacked
from pipeline.engine.lanes.indexing import UntranslatableError
from pipeline.engine.lanes.program import LaneProgram
from pipeline.problems.problem import Problem
from pipeline.runs import Run, Training

WORTH_COMPILING = 5_000
"""Run-steps (runs × optimizer steps) of a training from which two seconds for compiling are earned back; it is done once."""
_log = logging.getLogger(__name__)


def train(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train like :func:`pipeline.engine.stacked.train`: on the CPU in compiled code where that is worth it, else as tensors.

    Which it is follows from params.yaml, the number of run-steps and the machine, never from a clock.
    """
    if device.type == "cpu" and _is_compiled(problem, runs):
        try:
            return (yield from stacked.train(problem, runs, device=device, dtype=dtype, search=search, make=LaneProgram))
        except (NoCompilerError, UntranslatableError) as error:  # raised before the first block
            _warn(f"problem {problem.name}: training without compiled code, which is slower: {error}")
    return (yield from shards.train(problem, runs, device=device, dtype=dtype, search=search))


def _is_compiled(problem: Problem, runs: Sequence[Run]) -> bool:
    asked = problem.params.compile
    if asked != "auto" or not runs:
        return asked is True
    budget = problem.budget(runs[0].epochs)
    return len(runs) * budget.epochs * budget.steps_per_epoch >= WORTH_COMPILING


@functools.cache
def _warn(message: str) -> None:
    """Once in a process."""
    _log.warning(message)
