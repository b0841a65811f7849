"""How runs are dealt out: in portions that are trained together, here or by an executor's processes."""

import contextlib
import functools
import pickle
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool

import torch

import pipeline.catalogue  # noqa: F401  # a process that begins from nothing knows every registered name, too
from pipeline.config.components import Component
from pipeline.engine.memory import fitting, numbers_of_state
from pipeline.engine.merging import merged
from pipeline.engine.script import failed
from pipeline.engine.stackable import by_optimizer
from pipeline.engine.stacked import WayError
from pipeline.engine.training import ONE_BY_ONE, Way, train_by, ways
from pipeline.engine.training import tell as warn
from pipeline.problems.problem import Problem
from pipeline.problems.run import CURVES, Block, History, Run, Training, collect
from pipeline.problems.scripts import ScriptError
from pipeline.runs.executor import HERE, ExecutorError, Trainers, Workers, tell
from pipeline.runs.unfinished import checkpoint_of

WORK_AT_ONCE = 2e12
"""Weights × samples × epochs of a portion of a stack, which two cores train in about half a minute: what a kill may cost."""
WORTH_SENDING = 1e11
"""The same of compiled runs, a second or two on two cores, of which sending them to a cluster costs a tenth or more."""
SMALLEST_CUT = 140
"""Runs up to which stacked tensors stay together."""
SIDE_BY_SIDE = 16
"""Runs that cost hardly more than one: no stack is cut smaller for a cluster."""
LARGEST_CUT = 280
"""Runs of stacked tensors in one process at the most."""
LISTENING_SECONDS = 0.2
"""How often blocks of epochs are heard from processes that train."""
HOPELESS = 3
"""Runs of a script that may fail before any has succeeded."""
Places = list[int]
Listener = Callable[[Places, Block], None]
"""Is given blocks of epochs as they are trained, behind the places of their runs among all that are wanted."""
Portions = Sequence[Sequence[Run]]
Train = Callable[[Problem, Sequence[Run]], Training]
Told = Callable[[Block], None]


def trained(
    problem: Problem,
    runs: Sequence[Run],
    wanted: Places,
    device: torch.device,
    workers: Workers,
    listen: Listener,
    *,
    search: bool = False,
) -> Iterator[tuple[Places, History]]:
    """Train the runs at the places that are wanted; yields each portion as soon as it is done.

    Raises what :func:`pipeline.engine.training.train` raises, and :class:`pipeline.runs.executor.ExecutorError` where a
    process of the executor is lost.
    """
    for optimizer, group in by_optimizer(problem, [runs[place] for place in wanted]):
        in_order = sorted((wanted[number] for number in group), key=lambda place: (runs[place].stream, runs[place].seed, place))
        left = dict.fromkeys(in_order)
        for way in (possible := ways(problem, optimizer, device)):
            helpers = workers.trainers(problem, way, device)
            if way == "compiled" and len(left) * work_of_run(problem, optimizer) < WORTH_SENDING:
                helpers = HERE
            portions = cut(problem, optimizer, list(left), way, device, workers.count, helpers.slots)
            checkpoints = functools.partial(checkpoint_of, device=device, search=search)
            how = functools.partial(train_by, way, device=device, search=search, checkpoint_of=checkpoints)
            failures = Failures(runs, wanted)
            try:
                for places, found in _in_portions(problem, runs, portions, how, helpers, listen):
                    for place in places:
                        del left[place]
                    if isinstance(found, ScriptError):
                        failures.note(places, found)
                    else:
                        failures.are_some = True
                        yield places, found
                yield from failures.as_diverged()
                break
            except WayError as error:
                if way == possible[-1]:
                    raise
                warn(str(error))


class Failures:
    """Runs of a script that came to nothing, which cost no other run: they are as good as diverged, if not all of them are.

    What came from outside, as a kill does, says nothing of a run: it is told once all others are done, and the next call tries
    that run again.
    """

    def __init__(self, runs: Sequence[Run], wanted: Places) -> None:
        self.are_some = len(wanted) < len(runs)
        """Whether some run is finished."""
        self._runs = runs
        self._found: list[tuple[Places, ScriptError]] = []

    def note(self, places: Places, error: ScriptError) -> None:
        """One more; raised where no run can be any better, where the first few all failed, or a few from outside."""
        self._found.append((places, error))
        from_outside = sum(each.is_from_outside for _, each in self._found)
        if error.is_of_all or (not self.are_some and len(self._found) == HOPELESS) or from_outside == HOPELESS:
            raise error

    def as_diverged(self) -> Iterator[tuple[Places, History]]:
        """Each is told, and its history is that of a run that has no figures; raised where there is no other run."""
        for places, error in self._found:
            if not self.are_some:
                raise error
            if error.is_from_outside:
                continue
            warn(str(error))
            some = [self._runs[place] for place in places]
            yield places, collect(some, merged([failed(run) for run in some], range(len(some))))
        for _, error in self._found:
            if error.is_from_outside:
                raise error


def cut(
    problem: Problem, optimizer: Component, places: Places, way: Way, device: torch.device, processes: int, slots: int = 0
) -> list[Places]:
    """The places in portions, each trained as one: single runs, or stacks of replicates, whose runs share batches.

    No more of them together than a kill may cost; stacks of tensors on the CPU are cut for all processes, and every stack for
    all ``slots`` of a cluster, if there is one.
    """
    processes = slots or processes
    size = 1
    if way not in ONE_BY_ONE:
        size = max(processes, int(WORK_AT_ONCE / work_of_run(problem, optimizer)))
        if slots:
            size = min(size, max(SIDE_BY_SIDE, -(-len(places) // slots)))
    if way == "tensors" and device.type == "cpu" and len(places) > SMALLEST_CUT:
        in_memory = fitting(problem, optimizer, torch.float32, problem.params.batch_size)
        size = max(1, min(size, LARGEST_CUT, -(-len(places) // processes), in_memory // processes))
    return [places[start : start + size] for start in range(0, len(places), size)]


def work_of_run(problem: Problem, optimizer: Component) -> int:
    """Weights × samples × epochs."""
    budget = problem.budget()
    return numbers_of_state(problem, optimizer) * budget.epochs * budget.steps_per_epoch * problem.params.batch_size


def _in_portions(
    problem: Problem, runs: Sequence[Run], portions: Sequence[Places], train: Train, workers: Trainers, listen: Listener
) -> Iterator[tuple[Places, History | ScriptError]]:
    """Each portion's places and history, trained one after the other here, or by the workers where those are several.

    In place of a history it is what came of a script.
    """
    some = [[runs[place] for place in places] for places in portions]
    told = [functools.partial(listen, places) for places in portions]
    if workers.slots or (workers.count > 1 and len(portions) > 1):
        for number, history in _dealt(problem, some, train, told, workers):
            yield portions[number], history
        return
    for places, own, hear in zip(portions, some, told, strict=True):
        try:
            found: History | ScriptError = collect(own, train(problem, own), hear)
        except ScriptError as error:
            found = error
        yield places, found


def _dealt(
    problem: Problem, portions: Portions, train: Train, told: Sequence[Told], workers: Trainers
) -> Iterator[tuple[int, History | ScriptError]]:
    """The portions' numbers and histories from elsewhere, as they are done."""
    content = _packed(problem)
    futures: dict[Future[bytes], int] = {}
    ended = queue.SimpleQueue[Future[bytes]]()
    passed_on = [0] * len(portions)

    def pass_on(number: int, block: Block) -> None:
        """What of the block was not yet told: what is trained again is told again, and what was lost is in the history."""
        if (new := _after(block, passed_on[number])) is not None:
            passed_on[number] += len(new.lr)
            told[number](new)

    try:
        for number, runs in enumerate(portions):
            future = workers.send(_title(problem, runs), _trained, content, runs, train, number)
            futures[future] = number
            future.add_done_callback(ended.put)
        while futures:
            done = None
            with contextlib.suppress(queue.Empty):
                done = ended.get(timeout=LISTENING_SECONDS)
            for number, block in workers.heard():
                pass_on(number, block)
            if done is None:
                continue
            number = futures.pop(done)
            if isinstance(error := done.exception(), ScriptError):
                yield number, error
            else:
                history: History = pickle.loads(done.result())  # noqa: S301  # from a process of our own
                pass_on(number, history.curves)
                yield number, history
    except BrokenProcessPool:
        raise ExecutorError(
            f"problem {problem.name}: a process that trained its runs is gone, killed perhaps for the memory it took; what was "
            "finished is kept, and goes on with the next call; PIPELINE_EXECUTOR=local:1 trains one run at a time"
        ) from None
    finally:
        for future in futures:
            future.cancel()


def _after(block: Block, epochs: int) -> Block | None:
    """What of the block follows on so many epochs; nothing where that is nothing, or would leave some out."""
    known = epochs + 1 - block.first_epoch
    if not 0 <= known < len(block.lr):
        return None
    return Block(epochs + 1, **{name: getattr(block, name)[known:] for name in CURVES})


def _title(problem: Problem, runs: Sequence[Run]) -> str:
    """What people see of a portion where it is trained."""
    labels, seeds = {run.label for run in runs}, {run.seed for run in runs}
    some = min(labels) if len(labels) == 1 else f"{len(labels)} schedulers"
    return f"{problem.name}/{some}/{f'seed {min(seeds)}' if len(seeds) == 1 else f'seeds {min(seeds)} to {max(seeds)}'}"


def _trained(content: bytes, runs: Sequence[Run], train: Train, number: int) -> bytes:
    """A portion, trained in another process. As bytes: torch would hand every tensor over in a file of shared memory."""
    return pickle.dumps(collect(runs, train(_problem(content), runs), functools.partial(tell, number)))


@functools.lru_cache(maxsize=1)
def _packed(problem: Problem) -> bytes:
    """The problem to be sent; the same bytes each time, though it may have found out more about itself."""
    return pickle.dumps(problem)


@functools.lru_cache(maxsize=1)
def _problem(content: bytes) -> Problem:
    """The problem that was sent; the next portion is mostly of the same."""
    found: Problem = pickle.loads(content)  # noqa: S301  # from the process that began this one
    return found
