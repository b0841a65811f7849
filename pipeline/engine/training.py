"""Training as the stages ask for it: the fastest way there is for these runs on this machine."""

import functools
import logging
import re
from collections.abc import Callable, Sequence
from functools import partial

import torch

from pipeline.config.params import Component
from pipeline.engine import loop, shards, stacked
from pipeline.engine.compiler import NoCompilerError
from pipeline.engine.compiling import is_to_be_compiled
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.lanes.values import UntranslatableError
from pipeline.engine.memory import fitting
from pipeline.engine.merging import in_turns, merged
from pipeline.engine.stackable import by_optimizer, obstacle
from pipeline.engine.stacked import StackError
from pipeline.engine.workers import one_thread
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, Training

WORTH_COMPILING = 100
"""Optimizer steps of a run from which two seconds for compiling are earned back; it is done once and kept."""
_log = logging.getLogger(__name__)


def train(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train all runs: those of one optimizer as one stack, or run by run what cannot be stacked.

    How follows from params.yaml, the problem and the machine alone, so that no run's numbers hang on how many others there
    are, nor on a clock. ``search`` is that of :func:`pipeline.engine.stacked.train`, whose errors it raises.
    """
    groups = by_optimizer(problem, runs) or [(problem.params.optimizer, [])]
    how = partial(_of_a_group, problem, device=device, dtype=dtype, search=search)
    trainings = [how(optimizer=optimizer, runs=[runs[place] for place in places]) for optimizer, places in groups]
    if len(trainings) == 1:
        return (yield from trainings[0])
    return (yield from merged(trainings, [], [place for _, places in groups for place in places]))


def _of_a_group(
    problem: Problem, *, optimizer: Component, runs: Sequence[Run], device: torch.device, dtype: torch.dtype, search: bool
) -> Training:
    def by_itself() -> Training:
        return loop.train_all(problem, runs, device=device, dtype=dtype, search=search)

    if is_looped(problem, optimizer):
        return (yield from by_itself())
    stack = _as_a_stack(problem, optimizer=optimizer, runs=runs, device=device, dtype=dtype, search=search)
    return (yield from _or_else(problem, stack, by_itself))


def _or_else(problem: Problem, stack: Training, by_itself: Callable[[], Training]) -> Training:
    """The stack's training; that of each run by itself where ``torch.func.vmap`` refuses it before its first block."""
    try:
        first = next(stack)
    except RuntimeError as error:
        if not re.search("vmap|[Bb]atching rule|functorch", str(error)):
            raise
        wrong = " ".join(str(error).split())[:160]
        if problem.params.engine == "stacked":
            raise StackError(f"problem {problem.name} cannot be stacked: {wrong}. Write `engine: auto`") from error
        _warn(f"problem {problem.name}: training run by run, which is slower: {wrong}")
        return (yield from by_itself())
    yield first
    return (yield from stack)


def _as_a_stack(
    problem: Problem, *, optimizer: Component, runs: Sequence[Run], device: torch.device, dtype: torch.dtype, search: bool
) -> Training:
    if device.type == "cpu" and is_to_be_compiled(problem, WORTH_COMPILING):
        lanes = partial(stacked.train, problem, device=device, dtype=dtype, search=search, make=LaneProgram)
        at_once = fitting(problem, optimizer, dtype, is_averaged=any(run.schedule.average for run in runs))
        try:
            with one_thread():  # the compiled code has its own
                return (yield from in_turns(lanes, runs, at_once))
        except (NoCompilerError, UntranslatableError) as error:  # raised before the first block
            model = problem.params.model.name
            _warn(f"problem {problem.name}: training the model {model} without compiled code, which is slower: {error}")
    return (yield from shards.train(problem, runs, device=device, dtype=dtype, search=search))


def is_looped(problem: Problem, optimizer: Component) -> bool:
    """Whether runs with that optimizer are trained one by one, since params.yaml says so or they cannot be stacked."""
    asked = problem.params.engine
    if asked != "auto":
        return asked == "loop"
    wrong = obstacle(problem, optimizer)
    if wrong:
        _warn(f"problem {problem.name}: training run by run, which is slower: {wrong}")
    return bool(wrong)


@functools.cache
def _warn(message: str) -> None:
    """Once in a process."""
    _log.warning(message)
