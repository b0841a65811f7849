"""Training in this process: the fastest way there is for these runs on this machine, and the others by name."""

import functools
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, cast

import torch

from pipeline.config.checkpoints import Checkpoint
from pipeline.config.components import Component
from pipeline.engine import loop, script, stacked
from pipeline.engine.compiler import NoCompilerError, identity
from pipeline.engine.compiling import is_to_be_compiled
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.lanes.values import UntranslatableError
from pipeline.engine.memory import fitting
from pipeline.engine.merging import in_turns, merged
from pipeline.engine.stackable import by_optimizer, obstacle
from pipeline.engine.stacked import StackError, WayError
from pipeline.engine.tensors import EVALUATED_AT_ONCE
from pipeline.engine.work import multiplications
from pipeline.problems.problem import Problem
from pipeline.problems.run import Outcome, Run, Training
from pipeline.problems.scripts import ScriptProblem

Way = Literal["compiled", "tensors", "loop", "script"]
"""How runs are trained: side by side in compiled code or as tensors, one after the other, or as a script's processes."""
ONE_BY_ONE = ("loop", "script")
"""Ways that gain nothing from training several runs together."""
CheckpointOf = Callable[[Problem, Run], Checkpoint]
WORTH_COMPILING = 100
"""Optimizer steps of a run from which two seconds for compiling are earned back; it is done once and kept."""
SIDE_BY_SIDE = 16
"""Runs that have to fit into memory together, for them to be faster than one after the other: as many as a block has."""
LARGEST_PRODUCT = 1e6
"""Multiplications in a product of a step, for each lane of the processor's vectors, from which the plain loop, a run on each
core, is as fast as blocks of runs."""
LANES = {"AVX512": 16, "AVX2": 8}
"""Of numbers in single precision, by torch's name of the processor's kind, known without a compiler, too; others have 4."""
LARGE = "its model is large enough to keep a core busy by itself"
_log = logging.getLogger(__name__)


def ways(problem: Problem, optimizer: Component, device: torch.device) -> tuple[Way, ...]:
    """How runs with that optimizer may be trained, the fastest way first.

    A later one is for where an earlier one turns out not to be possible. All follow from params.yaml, the problem and the
    machine alone, so that no run's numbers hang on how many others there are, nor on a clock.
    """
    if isinstance(problem, ScriptProblem):
        return ("script",)
    asked = problem.params.engine
    why = why_one_by_one(problem, optimizer, device)
    if why:
        tell(f"problem {problem.name}: training run by run, which is {'as fast' if why == LARGE else 'slower'}: {why}")
    if why or asked in ("loop", "compiled-loop"):
        return ("loop",)
    first: tuple[Way, ...] = ("compiled",) if device.type == "cpu" and is_to_be_compiled(problem, WORTH_COMPILING) else ()
    if asked != "auto":
        return first or ("tensors",)
    return (*(way for way in (*first, "tensors") if device.type != "cpu" or _fits(way, problem, optimizer)), "loop")


def why_one_by_one(problem: Problem, optimizer: Component, device: torch.device) -> str:
    """Why `engine: auto` trains runs by themselves; empty where it tries to train them side by side, or is not asked for."""
    if problem.params.engine != "auto":
        return ""
    largest = LARGEST_PRODUCT * LANES.get(torch.backends.cpu.get_cpu_capability(), 4)
    if device.type == "cpu" and multiplications(problem) > largest:
        return LARGE
    return obstacle(problem, optimizer) or ""


def _fits(way: Way, problem: Problem, optimizer: Component) -> bool:
    """Whether so many runs fit into memory side by side that they are faster so, on the CPU."""
    samples = max(problem.params.batch_size, EVALUATED_AT_ONCE) if way == "tensors" else 0
    return fitting(problem, optimizer, torch.float32, samples) >= SIDE_BY_SIDE


def train(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train all runs in the first way that is possible, those of each optimizer by themselves.

    ``search`` is that of :func:`pipeline.engine.stacked.train`, whose errors it raises.
    """
    groups = by_optimizer(problem, runs) or [(problem.params.optimizer, [])]
    how = partial(_of_a_group, problem, device=device, dtype=dtype, search=search)
    trainings = [how(optimizer, [runs[place] for place in places]) for optimizer, places in groups]
    if len(trainings) == 1:
        return (yield from trainings[0])
    return (yield from merged(trainings, [place for _, places in groups for place in places]))


def _of_a_group(
    problem: Problem, optimizer: Component, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype, search: bool
) -> Training:
    for way in (possible := ways(problem, optimizer, device)):
        training = train_by(way, problem, runs, device=device, dtype=dtype, search=search)
        try:
            first = next(training)
        except WayError as error:
            if way == possible[-1]:
                raise
            tell(str(error))
            continue
        yield first
        return (yield from training)
    raise AssertionError("there is always a way")


def train_by(
    way: Way,
    problem: Problem,
    runs: Sequence[Run],
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    search: bool = False,
    checkpoint_of: CheckpointOf | None = None,
) -> Training:
    """Train runs of one optimizer in one way, as many side by side as fit into memory.

    ``checkpoint_of`` says where a run that is trained by itself is kept while it is in progress; stacks are short.
    Raises :class:`WayError` before the first block where that is not possible.
    """
    one_by_one = partial(_one_by_one, checkpoint_of=checkpoint_of)
    by: dict[Way, Callable[..., Training]] = {
        "compiled": _compiled, "tensors": _as_tensors, "loop": one_by_one, "script": _as_processes,
    }  # fmt: skip
    training = by[way](problem, runs, device=device, dtype=dtype, search=search)
    while True:
        with one_thread():  # compiled code has its own, and what is trained one by one is dealt out to processes
            try:
                block = next(training)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome
        yield block


def _compiled(problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype, search: bool) -> Training:
    lanes = partial(stacked.train, problem, device=device, dtype=dtype, search=search, make=LaneProgram)
    try:
        return (yield from in_turns(lanes, runs, _fitting(problem, runs, dtype)))
    except (NoCompilerError, UntranslatableError) as error:  # raised before the first block
        if isinstance(error, NoCompilerError) and identity() != "none":
            # Runs are named by the compiler that is there: those of tensors would be taken for its own for ever after.
            raise StackError(f"problem {problem.name}: {error}; mend that, or write `engine: tensors`") from error
        name = problem.params.model.name
        if problem.params.engine == "compiled":
            raise WayError(f"problem {problem.name} cannot be compiled: {error}. Write `engine: auto`") from error
        slower = f"training the model {name} without compiled code, which is slower"
        raise WayError(f"problem {problem.name}: {slower}: {error}") from error


def _as_tensors(problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype, search: bool) -> Training:
    stack = partial(stacked.train, problem, device=device, dtype=dtype, search=search)
    samples = max(problem.params.batch_size, EVALUATED_AT_ONCE)
    try:
        return (yield from in_turns(stack, runs, _fitting(problem, runs, dtype, samples)))
    except RuntimeError as error:
        if not re.search("vmap|[Bb]atching rule|functorch", str(error)):
            raise
        wrong = " ".join(str(error).split())[:160]
        if problem.params.engine == "auto":
            raise WayError(f"problem {problem.name}: training run by run, which is slower: {wrong}") from error
        raise WayError(f"problem {problem.name} cannot be stacked: {wrong}. Write `engine: auto`") from error


def _one_by_one(
    problem: Problem,
    runs: Sequence[Run],
    *,
    device: torch.device,
    dtype: torch.dtype,
    search: bool,
    checkpoint_of: CheckpointOf | None,
) -> Training:
    def one(run: Run) -> Training:
        checkpoint = checkpoint_of(problem, run) if checkpoint_of else None
        return loop.train(problem, run, device=device, dtype=dtype, search=search, checkpoint=checkpoint)

    def side_by_side(some: Sequence[Run]) -> Training:
        return merged([one(run) for run in some], range(len(some)))

    return (yield from in_turns(side_by_side, runs, _fitting(problem, runs, dtype)))


def _as_processes(problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype, search: bool) -> Training:
    one = partial(script.train, cast(ScriptProblem, problem), device=device, search=search)
    return (yield from merged([one(run) for run in runs], range(len(runs))))


def _fitting(problem: Problem, runs: Sequence[Run], dtype: torch.dtype, samples: int = 0) -> int:
    """How many of the runs fit into memory side by side."""
    if not runs:
        return 1
    is_averaged = any(run.schedule.average for run in runs)
    return fitting(problem, problem.optimizer_of(runs[0].schedule), dtype, samples, is_averaged=is_averaged)


@contextmanager
def one_thread() -> Iterator[None]:
    """In the block, torch uses one thread: waiting for each other at small operations, several lose more than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@functools.cache
def tell(message: str) -> None:
    """A warning, once in a process."""
    _log.warning(message)
