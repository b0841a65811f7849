"""A problem: data, model, optimizer and budget put together, and the replicate that each seed draws of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.optim import Optimizer

from pipeline import results
from pipeline.errors import PipelineError
from pipeline.params import Params, ProblemParams, Schedule
from pipeline.problems.models import models
from pipeline.problems.optimizers import optimizers
from pipeline.runs import Run, Stream, as_json, code_fingerprint, fingerprint, run_fingerprint, stream
from pipeline.schedulers.replay import Budget, resolve

Indices = npt.NDArray[np.int64]


class ProblemError(PipelineError):
    """Data that the problem cannot be made of."""


@dataclass(frozen=True)
class Split:
    """Rows of the dataset in each part, each of shape (samples in the part,)."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Problem:
    """One test problem with its data in memory: ``x`` (samples, features), ``y`` (samples,), ``part`` (samples,)."""

    name: str
    params: ProblemParams
    schedules: Mapping[str, Schedule]
    x: npt.NDArray[np.float32]
    y: Indices
    part: npt.NDArray[np.str_]

    @property
    def lr(self) -> float:
        """The optimizer's learning rate: 100% of a rate."""
        return float(self.params.optimizer.args["lr"])

    @property
    def outputs(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1

    def budget(self, epochs: int | None = None) -> Budget:
        """A run's length in epochs (the problem's own where not given) and optimizer steps."""
        train = int((self.part == "train").sum())
        return Budget(epochs or self.params.epochs, -(-train // self.params.batch_size))

    @cached_property
    def digest(self) -> str:
        """A name for the data."""
        values = [self.x, self.y, np.char.encode(self.part, "utf-8")]
        return hashlib.sha256(b"".join(np.ascontiguousarray(value).tobytes() for value in values)).hexdigest()[:16]

    @cached_property
    def fingerprint(self) -> str:
        """A name for all that a run's numbers follow from, its schedule and seed apart: data, params, code, versions."""
        parts = self.params.model_dump(exclude={"schedulers", "epochs"})
        return fingerprint(self.name, self.digest, parts, code_fingerprint())

    def split(self, seed: int) -> Split:
        """The seed's own stratified split of the same sizes, or the dataset's own where ``resample`` is off."""
        if seed not in self._splits:
            self._splits[seed] = self._new_split(seed)
        return self._splits[seed]

    @cached_property
    def _splits(self) -> dict[int, Split]:
        """Those that were drawn: every round of a search needs the same."""
        return {}

    def _new_split(self, seed: int) -> Split:
        given = Split(*(np.flatnonzero(self.part == part) for part in ("train", "validation", "test")))
        if not self.params.resample:
            return given
        from sklearn.model_selection import train_test_split  # late: half a second that only this needs

        draw = stream("split", self.name, seed) % 2**32
        sizes = {"train_size": len(given.train), "test_size": len(given.validation)}
        try:
            rest, test = train_test_split(np.arange(len(self.y)), test_size=len(given.test), stratify=self.y, random_state=draw)
            train, validation = train_test_split(rest, **sizes, stratify=self.y[rest], random_state=draw)
        except ValueError as error:
            raise ProblemError(
                f"params.yaml: problems.{self.name}: no stratified split can be drawn of its data ({error}); "
                "give every part more samples, or write `resample: false`"
            ) from None
        return Split(train, validation, test)

    def new_model(self, seed: int, of: Stream) -> nn.Module:
        """The model with the initial weights of a replicate: the same for every scheduler."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream("weights", self.name, of, seed))
            component = self.params.model
            model: nn.Module = models[component.name].function(self.x.shape[1], self.outputs, **component.args)
        return model

    def new_order(self, seed: int, of: Stream) -> torch.Generator:
        """The generator that a replicate's data order is drawn from, one ``torch.randperm`` an epoch."""
        return torch.Generator().manual_seed(stream("order", self.name, of, seed))

    def new_optimizer(self, parameters: list[torch.Tensor], lr: float) -> Optimizer:
        """The real torch optimizer over ``parameters`` at learning rate ``lr``."""
        arguments: dict[str, Any] = {**self.params.optimizer.args, "lr": lr}
        optimizer: Optimizer = optimizers[self.params.optimizer.name].function(parameters, **arguments)
        return optimizer


def load_problem(params: Params, name: str) -> Problem:
    """The problem of that name with its data; :class:`pipeline.results.ResultsError` where that is not there yet."""
    params.problem(name)  # before its data, so that a misspelt name is told as such
    return from_frame(params, name, results.read_dataset(name))


def from_frame(params: Params, name: str, data: pd.DataFrame) -> Problem:
    """The problem of that name on the samples in ``data`` (columns ``split``, ``y``, ``x0`` …)."""
    features = [column for column in data.columns if column not in ("split", "y")]
    return Problem(
        name=name,
        params=params.problem(name),
        schedules=params.schedules(name),
        x=data[features].to_numpy(np.float32),
        y=data["y"].to_numpy(np.int64),
        part=data["split"].to_numpy(str),
    )


def describe(problem: Problem, run: Run, device: torch.device) -> dict[str, Any]:
    """What is known of a run before it is trained: the first columns of ``runs.parquet``."""
    resolved = resolve(run.schedule, problem.lr, problem.budget(run.epochs))
    optimizer = problem.params.optimizer
    return {
        "run": run_fingerprint(run, f"{problem.fingerprint} {device}"),
        "variant": run.variant,
        "scheduler": run.label,
        "seed": run.seed,
        "epochs": run.epochs,
        "lr": resolved.lr,
        "args": as_json(run.schedule.args),
        "resolved": as_json(resolved.args),
        "name": run.schedule.name,
        "interval": run.schedule.interval,
        "warmup": resolved.warmup,
        "optimizer": as_json({"name": optimizer.name, "args": dict(optimizer.args)}),
        "dataset": problem.digest,
        "device": str(device),
    }
