"""What trains a stack of runs: the same interface for tensors on any device and for compiled code on the CPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.arrays import Floats
from pipeline.engine.functions import Functions, State


@dataclass(frozen=True)
class Runs:
    """What a program is made of: the runs' functions, their initial state and their data.

    ``x`` (samples, *shape) and ``y`` (samples, …) are all samples of all replicates; ``parts`` name the rows of each
    replicate's training, validation and test part, (replicates, samples in the part). ``of_run`` (runs,) is each run's
    replicate. ``state`` are the stacked tensors (runs, …), in the order of :class:`pipeline.engine.functions.Functions`;
    ``kinds`` how many numbers the optimizer's update needs per step.
    ``key`` names all that the functions and the shapes of their arguments follow from.
    """

    functions: Functions
    x: Tensor
    y: Tensor
    parts: Mapping[str, Tensor]
    of_run: Tensor
    state: State
    batch_size: int
    kinds: int
    key: str


@dataclass(frozen=True)
class Epochs:
    """Consecutive epochs to be trained.

    ``rows`` are the samples of every step, (epochs, replicates, steps, batch), ``weights`` those of the samples in their
    batch's mean, (steps, batch), and ``sizes`` how many there are in a batch, (steps,); all on the host. ``numbers`` are those
    of the optimizer's update, (epochs * steps, kinds, runs). ``is_evaluated`` (epochs,) says after which epochs the validation
    part is evaluated.
    """

    rows: npt.NDArray[np.int32]
    weights: Floats
    sizes: Floats
    numbers: npt.NDArray[np.float64]
    is_evaluated: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Trained:
    """Means over the samples, (epochs, runs) each: the training loss, as they were trained; the validation part's figures.

    A training loss is not finite exactly where that of any batch was not; the others are NaN where they were not evaluated.
    """

    train_loss: Floats
    validation_loss: Floats
    validation_metric: Floats


class Program(Protocol):
    """Runs in training. A program keeps their state; all else is handed in."""

    leaves_at: float
    """The share of runs that have to be done with before it pays to go on without them."""

    def train(self, epochs: Epochs) -> Trained:
        """Train all runs through the epochs."""
        ...

    def evaluate(self, part: str) -> tuple[Floats, Floats]:
        """Means of loss and metric over the samples of that part of every run's replicate, each (runs,)."""
        ...

    def parameters(self) -> dict[str, torch.Tensor]:
        """The parameters and statistics to evaluate the runs at by name, each (runs, …)."""
        ...

    def keep(self, runs: npt.NDArray[np.int64]) -> None:
        """Go on with these runs alone, by position."""
        ...
