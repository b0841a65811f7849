"""What is trained and what comes of it: runs, blocks of epochs, histories."""

from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.config.arrays import Floats
from pipeline.config.params import Epoch
from pipeline.config.schedules import Schedule

if TYPE_CHECKING:
    import torch

Stream = str
"""What a draw is for, ``final`` or ``tune``, and from the second on which one it is: ``final 2``."""
STREAMS = 2
"""Draws of initial weights and data order with which a configuration that is reported is trained on each split."""
CURVES = ("lr", "momentum", "train_loss", "validation_loss", "validation_metric")
BEYOND_NOISE = 3.0
"""Standard errors of one batch's mean loss by which a run must end above its beginning to have diverged."""


def stream(purpose: str, number: int) -> Stream:
    """The stream of that number, from 1."""
    return purpose if number == 1 else f"{purpose} {number}"


@dataclass(frozen=True)
class Run:
    """One training run: a schedule at a budget, on one replicate of the problem.

    ``seed`` names the replicate (its split); ``stream`` the draw of initial weights and data order within it, so that the
    runs that choose a configuration and those that report on it share no luck but the split. ``at`` is the epoch whose weights
    are tested and kept: the last, or the one of lowest validation loss.
    """

    label: str
    schedule: Schedule
    seed: int
    epochs: int
    stream: Stream = "final"
    variant: str = "default"
    at: Epoch = "last"

    @property
    def draw(self) -> int:
        """The number of its stream among those for the same purpose, from 1."""
        return int(self.stream.partition(" ")[2] or 1)

    @property
    def draws(self) -> list["Run"]:
        """This run, which is the first of them, on every stream of those that are reported."""
        return [replace(self, stream=stream(self.stream, number)) for number in range(1, STREAMS + 1)]


@dataclass(frozen=True)
class Block:
    """Curves of consecutive epochs, from ``first_epoch`` (1-based), each of shape (epochs, runs).

    ``lr`` and ``momentum`` are those of the epoch's first step. Losses are means over samples; ``train_loss`` is taken
    as the samples were trained. NaN where a figure was not asked for.
    """

    first_epoch: int
    lr: Floats
    momentum: Floats
    train_loss: Floats
    validation_loss: Floats
    validation_metric: Floats


@dataclass(frozen=True)
class Outcome:
    """What is known of each run after its last epoch; every array of shape (runs,).

    ``initial_loss`` and ``final_loss`` are the training split's mean loss in evaluation mode, at the initial weights and at
    those the run ended with; ``noise`` is the standard error of one batch's mean loss at the initial weights. ``finite`` is
    False where any loss of the run, of any batch, was not. Test figures are those of the epoch that the run asks for, and so
    are ``weights``, the entries of the models' ``state_dict`` with the runs as their leading axis.
    """

    initial_loss: Floats
    noise: Floats
    final_loss: Floats
    finite: npt.NDArray[np.bool_]
    test_loss: Floats
    test_metric: Floats
    weights: Mapping[str, "torch.Tensor"]


Training = Generator[Block, None, Outcome]
"""Training in progress: blocks as they are done, then the outcome."""


@dataclass(frozen=True)
class History:
    """All epochs of all runs, in the order of ``runs``."""

    runs: tuple[Run, ...]
    curves: Block
    outcome: Outcome

    @property
    def diverged(self) -> npt.NDArray[np.bool_]:
        """A non-finite loss at any time, or a final loss above the initial one by more than a batch's noise can do.

        Both are the training part's in evaluation mode. A run that is slow, or that learns nothing, has not diverged.
        """
        outcome = self.outcome
        with np.errstate(invalid="ignore"):
            held: npt.NDArray[np.bool_] = outcome.final_loss <= outcome.initial_loss + BEYOND_NOISE * outcome.noise
        return ~(outcome.finite & held)


def collect(runs: Iterable[Run], training: Training, *listeners: Callable[[Block], None]) -> History:
    """Train to the end and return the history; every block goes to the listeners as it is done."""
    blocks: list[Block] = []
    while True:
        try:
            blocks.append(next(training))
        except StopIteration as end:
            curves = {name: np.concatenate([getattr(block, name) for block in blocks]) for name in CURVES}
            return History(tuple(runs), Block(first_epoch=1, **curves), end.value)
        for listen in listeners:
            listen(blocks[-1])


def select(history: History, chosen: Iterable[int]) -> History:
    """The history of some of the runs, by position."""
    index = list(chosen)
    curves = replace(history.curves, **{name: getattr(history.curves, name)[:, index] for name in CURVES})
    figures = {f.name: getattr(history.outcome, f.name)[index] for f in fields(Outcome) if f.name != "weights"}
    weights = {name: values[index] for name, values in history.outcome.weights.items()}
    outcome = Outcome(**figures, weights=weights)
    return History(tuple(history.runs[i] for i in index), curves, outcome)
