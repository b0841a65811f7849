"""Training as the stages ask for it: the fastest way there is for these runs on this machine."""

import functools
import logging
from collections.abc import Sequence
from functools import partial

import torch

from pipeline.compiler import NoCompilerError
from pipeline.engine import loop, shards, stacked
from pipeline.engine.lanes.indexing import UntranslatableError
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.merging import Places, merged
from pipeline.engine.optimizers import in_common
from pipeline.engine.stackable import obstacle
from pipeline.problems.problem import Problem
from pipeline.runs import Run, Training

WORTH_COMPILING = 5_000
"""Run-steps (runs × optimizer steps) of a training from which two seconds for compiling are earned back; it is done once."""
_log = logging.getLogger(__name__)


def train(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train all runs: those of one optimizer as one stack, or run by run what cannot be stacked.

    How follows from params.yaml, the number of run-steps and the machine, never from a clock. ``search`` is that of
    :func:`pipeline.engine.stacked.train`, whose errors it raises.
    """
    groups = _of_one_optimizer(problem, runs)
    how = partial(_of_a_group, problem, device=device, dtype=dtype, search=search)
    if len(groups) <= 1:
        return (yield from how(runs))
    trainings = [how([runs[place] for place in places]) for places in groups]
    return (yield from merged(trainings, [], [place for places in groups for place in places]))


def _of_one_optimizer(problem: Problem, runs: Sequence[Run]) -> list[Places]:
    """The places of the runs that can share a stack, for each optimizer there is."""
    found: dict[str, Places] = {}
    for place, run in enumerate(runs):
        found.setdefault(in_common(problem.optimizer_of(run.schedule)), []).append(place)
    return list(found.values())


def _of_a_group(problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype, search: bool) -> Training:
    if _is_looped(problem, runs):
        return (yield from loop.train_all(problem, runs, device=device, dtype=dtype, search=search))
    if device.type == "cpu" and _is_compiled(problem, runs):
        try:
            return (yield from stacked.train(problem, runs, device=device, dtype=dtype, search=search, make=LaneProgram))
        except (NoCompilerError, UntranslatableError) as error:  # raised before the first block
            _warn(f"problem {problem.name}: training without compiled code, which is slower: {error}")
    return (yield from shards.train(problem, runs, device=device, dtype=dtype, search=search))


def _is_looped(problem: Problem, runs: Sequence[Run]) -> bool:
    asked = problem.params.engine
    if asked != "auto" or not runs:
        return asked == "loop"
    wrong = obstacle(problem, problem.optimizer_of(runs[0].schedule))
    if wrong:
        _warn(f"problem {problem.name}: training run by run, which is slower: {wrong}")
    return bool(wrong)


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
