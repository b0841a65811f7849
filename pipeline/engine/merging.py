"""Several trainings of one length as one: their blocks side by side, their outcomes together."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from pipeline.config.arrays import Floats
from pipeline.problems.run import CURVES, Block, Outcome, Run, Training, collect

Places = list[int]
Train = Callable[[Sequence[Run]], Training]
"""Trains some runs."""


def lockstep(trainings: Sequence[Training]) -> Generator[list[Block], None, list[Outcome]]:
    """The blocks of several trainings of one length, each time those of the same epochs, then their outcomes."""
    waiting: list[Block | None] = [None] * len(trainings)
    while True:
        outcomes = []
        for number, training in enumerate(trainings):
            if waiting[number] is None:
                try:
                    waiting[number] = next(training)
                except StopIteration as end:
                    outcomes.append(end.value)
        if outcomes:
            return outcomes
        ready = [block for block in waiting if block is not None]
        count = min(len(block.lr) for block in ready)
        yield [_epochs(block, slice(count)) for block in ready]
        waiting = [_epochs(block, slice(count, None)) if len(block.lr) > count else None for block in ready]


def merged(trainings: Sequence[Training], places: Sequence[int]) -> Training:
    """The blocks and the outcome of all trainings as of one.

    ``places`` are the places that the runs of the trainings, side by side in the order given, have in it.
    """
    progress, columns = lockstep(trainings), np.argsort(places).tolist()
    while True:
        try:
            blocks = next(progress)
        except StopIteration as end:
            return _outcome(end.value, columns)
        yield _joined(blocks, columns)


def in_turns(train: Train, runs: Sequence[Run], at_once: int) -> Training:
    """Train the runs, no more than ``at_once`` side by side; those that have to wait for others come as one block of epochs."""
    if len(runs) <= at_once:
        return (yield from train(runs))
    cuts = [list(range(first, min(first + at_once, len(runs)))) for first in range(0, len(runs), at_once)]
    trainings = [as_one_block(train, [runs[place] for place in cut]) for cut in cuts]
    return (yield from merged(trainings, range(len(runs))))


def as_one_block(train: Train, runs: Sequence[Run]) -> Training:
    """All epochs of the training as one block, when it is over."""
    history = collect(runs, train(runs))
    yield history.curves
    return history.outcome


def _epochs(block: Block, some: slice) -> Block:
    curves = {name: getattr(block, name)[some] for name in CURVES}
    return replace(block, first_epoch=block.first_epoch + (some.start or 0), **curves)


def _outcome(parts: list[Outcome], columns: Places) -> Outcome:
    names = [field.name for field in fields(Outcome) if field.name != "weights"]
    figures: dict[str, Any] = {name: _together([getattr(part, name) for part in parts], columns) for name in names}
    weights = {name: torch.cat([part.weights[name] for part in parts])[columns] for name in parts[0].weights}
    return Outcome(**figures, weights=weights)


def _joined(parts: list[Block], columns: Places) -> Block:
    curves = {name: _together([getattr(part, name) for part in parts], columns) for name in CURVES}
    return Block(parts[0].first_epoch, **curves)


def _together(parts: list[Floats], columns: Places) -> Floats:
    return np.concatenate(parts, axis=-1)[..., columns]
