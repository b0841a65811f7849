"""A problem: data, model, optimizer and budget put together, and the replicate that each seed draws of it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.config import files
from pipeline.config.arrays import Floats, Indices
from pipeline.config.errors import PipelineError
from pipeline.config.fingerprints import as_json, fingerprint, stream
from pipeline.config.params import Component, Params, ProblemParams, Schedule
from pipeline.config.user_code import source_of
from pipeline.problems.chance import Chance
from pipeline.problems.encoding import Column, Scale, encode
from pipeline.problems.losses import Loss, Task, losses
from pipeline.problems.metrics import Metric, metrics
from pipeline.problems.models import built, models
from pipeline.problems.optimizers import SCHEDULE_FREE, is_torchs, optimizers, schedule_free
from pipeline.problems.run import Run, Stream
from pipeline.problems.splits import PARTS, SplitError, at_random, by_group, together
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Budget, NewOptimizer, ScheduleError, monitored


class ProblemError(PipelineError):
    """Data that the problem cannot be made of."""


@dataclass(frozen=True)
class Split:
    """Rows of the dataset in each part, each of shape (samples in the part,)."""

    train: Indices
    validation: Indices
    test: Indices


@dataclass(frozen=True)
class Samples:
    """The samples of some replicates, ready for a model.

    ``x`` (samples, *shape), ``y`` (samples,); ``parts`` name the rows of each replicate's parts, (replicates, samples in the
    part). ``scale`` (replicates,) is what 1 in ``y`` is worth in the dataset's own numbers.
    """

    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.generic]
    parts: Mapping[str, Indices]
    scale: Floats


@dataclass(frozen=True, eq=False)
class Problem:
    """One test problem with its data in memory: ``x`` (samples, *shape), ``y`` (samples,), ``part`` (samples,).

    ``columns`` say how ``x`` is to be encoded where it is a raw table, whose numbers are as precise as the data has them;
    ``group`` (samples,) names what must not be split.
    """

    name: str
    params: ProblemParams
    schedules: Mapping[str, Schedule]
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    part: npt.NDArray[np.str_]
    columns: tuple[Column, ...] = ()
    group: npt.NDArray[np.generic] | None = None
    are_equal: bool = False
    """Whether a group is samples with the same inputs, most of them alone, and not what the data calls a group."""
    classes_called: tuple[str, ...] = ()

    @property
    def lr(self) -> float:
        """The optimizer's learning rate: 100% of a rate."""
        return float(self.params.optimizer.args["lr"])

    @property
    def task(self) -> Task:
        """What is predicted: classes (whole numbers) or a number."""
        return "classification" if np.issubdtype(self.y.dtype, np.integer) else "regression"

    @property
    def classes(self) -> int:
        """Number of classes; 1 in a regression."""
        return int(self.y.max()) + 1 if self.task == "classification" else 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the data calls the classes, else their numbers."""
        return self.classes_called or tuple(map(str, range(self.classes)))

    @property
    def loss(self) -> Loss:
        """The loss of params.yaml, else the usual one of the task."""
        given = self.params.loss
        usual = "CrossEntropyLoss" if self.task == "classification" else "MSELoss"
        return Loss(given.name, dict(given.args)) if given else Loss(usual, {})

    @property
    def metric_name(self) -> str:
        """The headline metric of params.yaml, else the usual one of the task."""
        usual = "Accuracy" if self.task == "classification" else "R2Score"
        return self.params.metric.name if self.params.metric else usual

    @property
    def metric(self) -> Metric:
        """The headline metric."""
        arguments = self.params.metric.args if self.params.metric else {}
        found: Metric = metrics[self.metric_name].function(self.classes, **arguments)
        return found

    @property
    def outputs(self) -> int:
        """Number of the model's outputs."""
        return self.loss.outputs(self.classes)

    @property
    def inputs(self) -> int | tuple[int, ...]:
        """Number of the model's inputs; the shape of a sample that is no plain row."""
        if self.columns:
            return sum(column.width for column in self.columns)
        shape = self.x.shape[1:]
        return shape[0] if len(shape) == 1 and not np.issubdtype(self.x.dtype, np.integer) else tuple(shape)

    def budget(self, epochs: int | None = None) -> Budget:
        """A run's length in epochs (the problem's own where not given) and optimizer steps."""
        return Budget(epochs or self.params.epochs, -(-self._train_size // self.params.batch_size))

    @cached_property
    def _train_size(self) -> int:
        return int((self.part == "train").sum())

    @cached_property
    def digest(self) -> str:
        """A name for the data."""
        values = [self.x, self.y, np.char.encode(self.part, "utf-8")]
        names = as_json([column.as_dict() for column in self.columns]).encode()
        content = [np.ascontiguousarray(value).tobytes() for value in values]
        group = [] if self.group is None else [as_json(self.group.tolist()).encode()]
        return hashlib.sha256(b"".join([*content, names * bool(self.columns), *group])).hexdigest()[:16]

    @cached_property
    def fingerprint(self) -> str:
        """A name for all that a run's numbers follow from, its schedule and seed apart: data, params, code, versions."""
        parts = self.params.model_dump(exclude={"schedulers", "epochs"})
        return fingerprint(self.name, self.digest, parts, self.sources)

    @cached_property
    def sources(self) -> str:
        """A name for the user's own code that the problem is made of; that of a schedule is the schedule's."""
        entries = (
            models[self.params.model.name], optimizers[self.params.optimizer.name], losses[self.loss.name],
            metrics[self.metric_name],
        )  # fmt: skip
        return source_of(*(entry.function for entry in entries))

    def fingerprint_of(self, schedule: Schedule) -> str:
        """A name for all that the numbers of a run with that schedule follow from, its arguments, seed and budget apart."""
        if schedule.name not in self._named:
            self._named[schedule.name] = f"{self.fingerprint} {source_of(schedulers[schedule.name].function)}".rstrip()
        return self._named[schedule.name]

    @cached_property
    def _named(self) -> dict[str, str]:
        """Those that were made, by the scheduler's name: every run of a search needs one."""
        return {}

    def split(self, seed: int) -> Split:
        """The seed's own split of the same sizes, or the dataset's own where ``resample`` is off."""
        if seed not in self._splits:
            self._splits[seed] = self._new_split(seed)
        return self._splits[seed]

    @cached_property
    def _splits(self) -> dict[int, Split]:
        """Those that were drawn: every round of a search needs the same."""
        return {}

    def _new_split(self, seed: int) -> Split:
        given = {part: np.flatnonzero(self.part == part) for part in PARTS}
        if not self.params.resample:
            return Split(**given)
        draw = stream("split", self.name, seed) % 2**32
        sizes = {part: len(rows) for part, rows in given.items()}
        try:
            if self.group is None:
                return Split(**at_random(self.y, sizes, draw))
            dealt = together(self.group, self.y, sizes, draw) if self.are_equal else by_group(self.group, sizes, draw)
            return Split(**_of_sizes(dealt, sizes, draw))
        except SplitError as error:
            raise ProblemError(
                f"params.yaml: problems.{self.name}: {error}; give every part more samples, or write `resample: false`"
            ) from None

    def samples(self, seeds: Sequence[int]) -> Samples:
        """The samples of one replicate for each seed: a raw table encoded, and a number to be predicted standardised.

        Both by the seed's own training part.
        """
        splits = [self.split(seed) for seed in seeds]
        parts = {part: np.stack([getattr(split, part) for split in splits]) for part in PARTS}
        if not self.columns and self.task == "classification":
            return Samples(self.x, self.y, parts, np.ones(len(seeds)))
        known = {seed: self._encoded(seed) for seed in dict.fromkeys(seeds)}
        place = {seed: number * len(self.y) for number, seed in enumerate(known)}
        offsets = np.array([place[seed] for seed in seeds])[:, None]
        x, y, _ = zip(*known.values(), strict=True)
        moved = {part: rows + offsets for part, rows in parts.items()}
        return Samples(np.concatenate(x), np.concatenate(y), moved, np.array([known[seed][2].deviation for seed in seeds]))

    def scale(self, seed: int) -> Scale:
        """Mean and deviation of a number to be predicted in the training part of the seed, else 0 and 1."""
        return Scale.of(self.y[self.split(seed).train]) if self.task == "regression" else Scale()

    def _encoded(self, seed: int) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], Scale]:
        """All inputs, targets and the targets' scale, by the training part of the seed; kept, for each round needs them."""
        if seed not in self._known:
            x = encode(self.x, self.columns, self.split(seed).train) if self.columns else self.x
            scale = self.scale(seed)
            y = self.y if self.task == "classification" else scale.standardised(self.y)
            if self.columns:
                self._refuse_overflow(np.column_stack([x, y]))
            self._known[seed] = (x, y, scale)
        return self._known[seed]

    def _refuse_overflow(self, values: npt.NDArray[np.float32]) -> None:
        """Refuse what is that far away from a training part that single precision does not hold how far."""
        for row, place in np.argwhere(np.isinf(values))[:1]:
            ends = np.cumsum([column.width for column in self.columns])
            names = [f"the column {column.name}" for column in self.columns] + ["the target"]
            raise ProblemError(
                f"params.yaml: problems.{self.name}: {names[np.searchsorted(ends, place, side='right')]} is too far in row "
                f"{row + 1} from all that a training part has; correct this row or take it out"
            )

    @cached_property
    def _known(self) -> dict[int, tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], Scale]]:
        return {}

    def new_model(self, seed: int, of: Stream) -> nn.Module:
        """The model with the initial weights of a replicate: the same for every scheduler."""
        with Chance(stream("weights", self.name, of, seed)).used():
            return built(self.params.model, self.inputs, self.outputs, self._blank)

    @cached_property
    def _blank(self) -> torch.Tensor:
        """Two samples of nothing but zeros."""
        shape = (self.inputs,) if isinstance(self.inputs, int) else self.inputs
        is_whole = np.issubdtype(self.x.dtype, np.integer) and not self.columns
        return torch.zeros(2, *shape, dtype=torch.int64 if is_whole else torch.float32)

    def new_draws(self, run: Run) -> np.random.Generator:
        """The generator of a run's dropout masks: no two runs share them, however much else they do."""
        of = run.label, run.schedule.key, run.seed, run.stream
        return np.random.Generator(np.random.Philox(stream("dropout", self.name, *of)))

    def new_order(self, seed: int, of: Stream) -> torch.Generator:
        """The generator that a replicate's data order is drawn from, one ``torch.randperm`` an epoch."""
        return torch.Generator().manual_seed(stream("order", self.name, of, seed))

    def optimizer_of(self, schedule: Schedule) -> Component:
        """The optimizer that runs with that schedule are trained with: the problem's own, or its schedule-free form."""
        own, entry = self.params.optimizer, schedulers[schedule.name]
        if not entry.schedule_free:
            return own
        free = schedule_free(own, entry.complete(schedule.args)["momentum"])
        if free is None:
            raise ScheduleError(f"{own.name} has no schedule-free form, as {', '.join(SCHEDULE_FREE)} have")
        return free

    def optimizers_for(self, schedule: Schedule) -> NewOptimizer:
        """Builds the real torch optimizer of runs with that schedule, over some parameters at a learning rate."""
        component = self.optimizer_of(schedule)

        def build(parameters: list[torch.Tensor], lr: float) -> Optimizer:
            arguments: dict[str, Any] = {**component.args, "lr": lr}
            optimizer: Optimizer = optimizers[component.name].function(parameters, **arguments)
            return optimizer

        if not is_torchs(component.name):
            vars(build)["stand_ins"] = self._stand_ins
        return build

    @cached_property
    def _stand_ins(self) -> list[torch.Tensor]:
        """Tensors of the shapes of the model's parameters, which take no memory; none where it cannot be built."""
        try:
            parameters = list(self.new_model(0, "final").parameters())
        except Exception:  # noqa: BLE001  # whatever it is, it is told when the model is tried out
            return []
        return [torch.zeros(1, dtype=p.dtype).expand(p.shape).requires_grad_(p.requires_grad) for p in parameters]


def load_problem(params: Params, name: str) -> Problem:
    """The problem of that name with its data; :class:`pipeline.config.files.ResultsError` where that is not there yet."""
    params.problem(name)  # before its data, so that a misspelt name is told as such
    return from_frame(params, name, files.read_dataset(name))


def from_frame(params: Params, name: str, data: pd.DataFrame) -> Problem:
    """The problem of that name on the samples in ``data`` (columns ``split``, ``y``, ``x0`` …, perhaps ``group``).

    The frame's ``attrs`` hold the ``shape`` of a sample that is no plain row, and the ``columns`` of a raw table.
    """
    x = data[[column for column in data.columns if column not in ("split", "y", "group")]].to_numpy()
    y = data["y"].to_numpy()
    columns = tuple(Column.from_dict(column) for column in data.attrs.get("columns", ()))
    if not columns:  # nothing is done to them before they are a model's inputs
        x = np.ascontiguousarray(x, dtype=np.int64 if np.issubdtype(x.dtype, np.integer) else np.float32)
    problem = Problem(
        name=name,
        params=params.problem(name),
        schedules=params.schedules(name),
        x=x.reshape(len(x), *data.attrs.get("shape", x.shape[1:])),
        y=y.astype(np.int64, copy=False) if np.issubdtype(y.dtype, np.integer) else y,
        part=data["split"].to_numpy(str),
        columns=columns,
        group=data["group"].to_numpy() if "group" in data else None,
        are_equal=bool(data.attrs.get("duplicates")),
        classes_called=tuple(data.attrs.get("classes", ())),
    )
    more_is_better = metrics[problem.metric_name].higher_is_better
    return replace(problem, schedules={k: _directed(s, more_is_better) for k, s in problem.schedules.items()})


def _directed(schedule: Schedule, more_is_better: bool) -> Schedule:
    """A schedule that watches the metric, told which way is better where its argument ``mode`` leaves that open."""
    entry = schedulers[schedule.name]
    if (
        not entry.live
        or monitored(schedule) != "validation_metric"
        or entry.complete(schedule.args).get("mode", "") is not None
    ):
        return schedule
    return schedule.model_copy(update={"args": {**schedule.args, "mode": "max" if more_is_better else "min"}})


def _of_sizes(parts: Mapping[str, Indices], sizes: Mapping[str, int], seed: int) -> dict[str, Indices]:
    """Parts of exactly these sizes, so that all replicates have one shape: samples left out, or drawn once more, at random.

    Whole groups seldom meet the sizes. No sample moves to another part.
    """
    draw = np.random.default_rng(seed)
    found = {}
    for part, rows in parts.items():
        more = max(0, sizes[part] - len(rows))
        filled = np.concatenate([rows, draw.choice(rows, more)]) if more else draw.permutation(rows)[: sizes[part]]
        found[part] = np.sort(filled)
    return found
