"""The runs that somebody wants: what was ever trained is looked up, the rest is trained and kept, portion by portion."""

import functools
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from pipeline.engine import compiler
from pipeline.engine.code import code_fingerprint
from pipeline.engine.device import cores
from pipeline.engine.memory import numbers_of_state
from pipeline.engine.stackable import by_optimizer
from pipeline.engine.training import is_looped, train
from pipeline.problems.problem import Problem
from pipeline.problems.run import CURVES, Block, History, Outcome, Run, collect
from pipeline.runs.champion import best_of, weights_of
from pipeline.runs.names import kept_name
from pipeline.runs.progress import progress
from pipeline.runs.store import Finished, store

WORK_AT_ONCE = 2e12
"""Weights × samples × epochs of a portion of a stack, which two cores train in about half a minute: what a kill may cost."""
FIGURES = tuple(field.name for field in fields(Outcome) if field.name != "weights")
Places = list[int]
Listener = Callable[[Places, Block], None]
"""Is given blocks of epochs as they are trained, behind the places of their runs among all that are wanted."""


def obtain(
    problem: Problem,
    runs: Sequence[Run],
    device: torch.device,
    *,
    title: str,
    search: bool = False,
    listen: Listener = lambda places, block: None,
) -> History:
    """The runs' epochs and outcomes, in order; in a ``search`` the last epoch alone, and no test figures.

    What is not known yet is trained, and kept as soon as its portion is done; ``title`` says what for while it takes its time.
    Weights are asked for by :func:`weights`. Raises what :func:`pipeline.engine.training.train` raises.
    """
    names = [kept_name(problem, run, device) for run in runs]
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    known = store().known(list(first), whole=not search)
    if known and not search:
        listen([first[name] for name in known], _block(known.values()))
    lacking = sorted(place for name, place in first.items() if name not in known)
    show = progress(title, len(lacking), sum(runs[place].epochs for place in lacking))
    for places in portions(problem, runs, lacking):
        some = [runs[place] for place in places]
        training = train(problem, some, device=device, search=search)
        history = collect(some, training, show, functools.partial(listen, places))
        known |= _kept(history, [names[place] for place in places], whole=not search)
    return _assembled(runs, [known[name] for name in names], search=search)


def weights(problem: Problem, run: Run, device: torch.device) -> bytes:
    """The weights at the end of a run, as a safetensors file; where they were not kept, the run is trained again."""
    name = kept_name(problem, run, device)
    found = store().weights(name)
    if found is None:
        found = weights_of(collect([run], train(problem, [run], device=device)), 0)
        store().keep_weights(name, found)
    return found


def portions(problem: Problem, runs: Sequence[Run], wanted: Places) -> Iterator[Places]:
    """The places of runs that are trained together: of one optimizer, and no more of them than a kill may cost.

    What is trained run by run comes by as many as there are cores; a stack by replicates, whose runs share batches.
    """
    for optimizer, places in by_optimizer(problem, [runs[place] for place in wanted]):
        group = sorted((wanted[place] for place in places), key=lambda place: (runs[place].stream, runs[place].seed, place))
        if is_looped(problem, optimizer):
            sizes = cores()
        else:
            budget = problem.budget()
            of_run = numbers_of_state(problem, optimizer) * budget.epochs * budget.steps_per_epoch * problem.params.batch_size
            sizes = max(cores(), int(WORK_AT_ONCE / of_run))
        yield from (group[start : start + sizes] for start in range(0, len(group), sizes))


def _kept(history: History, names: Sequence[str], *, whole: bool) -> dict[str, Finished]:
    """What was just trained, kept under these names; of the best run the weights too."""
    found = {name: _finished(history, number, whole=whole) for number, name in enumerate(names)}
    store().keep(found, _origin())
    if whole and (best := best_of(history)) is not None:
        store().keep_weights(names[best], weights_of(history, best))
    return found


def _finished(history: History, number: int, *, whole: bool) -> Finished:
    epochs = slice(None) if whole else slice(-1, None)
    curves = np.stack([getattr(history.curves, name)[epochs, number] for name in CURVES])
    return Finished(whole, curves, {name: float(getattr(history.outcome, name)[number]) for name in FIGURES})


def _assembled(runs: Sequence[Run], found: Sequence[Finished], *, search: bool) -> History:
    figures: dict[str, Any] = {name: np.array([finished.figures[name] for finished in found]) for name in FIGURES}
    outcome = Outcome(**{**figures, "finite": figures["finite"] > 0}, weights={})
    last = [replace(finished, curves=finished.curves[:, -1:]) for finished in found] if search else found
    return History(tuple(runs), _block(last, runs[0].epochs if search else 1), outcome)


def _block(finished: Iterable[Finished], first_epoch: int = 1) -> Block:
    """The curves of runs of one length side by side."""
    curves = np.stack([each.curves for each in finished], axis=2)
    return Block(first_epoch, **dict(zip(CURVES, curves, strict=True)))


@functools.cache
def _origin() -> dict[str, str]:
    """What wrote an entry."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    return {"code": code_fingerprint(), "machine": compiler.identity(), **versions}
