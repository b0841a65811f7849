"""The runs that somebody wants: what was ever trained is looked up, the rest is trained and kept, portion by portion."""

import functools
import platform
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from pipeline.engine import compiler
from pipeline.engine.code import code_fingerprint
from pipeline.engine.names import folder_of, kept_name
from pipeline.problems.problem import Problem
from pipeline.problems.run import CURVES, Block, History, Outcome, Run
from pipeline.runs.champion import best_of, weights_of
from pipeline.runs.dealing import Listener, Places, trained
from pipeline.runs.executor import HERE, NOBODY, LackingError, Workers
from pipeline.runs.progress import progress
from pipeline.runs.store import Finished, store

FIGURES = tuple(field.name for field in fields(Outcome) if field.name != "weights")


def obtain(
    problem: Problem,
    runs: Sequence[Run],
    device: torch.device,
    *,
    title: str,
    workers: Workers = HERE,
    search: bool = False,
    listen: Listener = lambda places, block: None,
) -> History:
    """The runs' epochs and outcomes, in order; in a ``search`` the last epoch alone, and no test figures.

    What is not known yet is trained, by ``workers`` where that helps, and kept as soon as its portion is done; ``title`` says
    what for while it takes its time.
    Weights are asked for by :func:`weights`. Raises what :func:`pipeline.runs.dealing.trained` raises, and
    :class:`pipeline.runs.executor.LackingError` where there is something to train and nobody to do it.
    """
    names = [kept_name(problem, run, device) for run in runs]
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    known = store().known(list(first), whole=not search)
    if known and not search:
        listen([first[name] for name in known], _block(known.values()))
    lacking = sorted(place for name, place in first.items() if name not in known)
    if lacking and workers is NOBODY:
        raise LackingError(len(first), len(lacking))
    show = progress(title, len(lacking), sum(runs[place].epochs for place in lacking), workers.where)

    def listened(places: Places, block: Block) -> None:
        show(block)
        listen(places, block)

    for places, history in trained(problem, runs, lacking, device, workers, listened, search=search):
        known |= _kept(history, [names[place] for place in places], whole=not search)
    return _assembled(runs, [known[name] for name in names], search=search)


def weights(problem: Problem, run: Run, device: torch.device) -> bytes:
    """The weights of a run at the epoch that it asks for, as a safetensors file; those that were not kept are trained again.

    Nothing of a problem that gives none.
    """
    if not problem.params.gives_weights:
        return b""
    name = _weights_of(kept_name(problem, run, device))
    found = store().contents([name]).get(name)
    if found is None:
        ((_, history),) = trained(problem, [run], [0], device, HERE, lambda places, block: None)
        found = weights_of(history, 0)
        store().keep_contents({name: found})
        shutil.rmtree(folder_of(kept_name(problem, run, device)), ignore_errors=True)
    return found


def _weights_of(name: str) -> str:
    """What the weights of a run are kept under."""
    return f"weights {name}"


def _kept(history: History, names: Sequence[str], *, whole: bool) -> dict[str, Finished]:
    """What was just trained, kept under these names; of the best run the weights too."""
    found = {name: _finished(history, number, whole=whole) for number, name in enumerate(names)}
    store().keep(found, _origin())
    for name in names:
        shutil.rmtree(folder_of(name), ignore_errors=True)
    if whole and history.outcome.weights and (best := best_of(history)) is not None:
        store().keep_contents({_weights_of(names[best]): weights_of(history, best)})
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
