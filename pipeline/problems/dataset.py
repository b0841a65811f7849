"""A dataset in memory: samples as they are stored, the parts that each seed has of them, and both ready for a model."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config import files
from pipeline.config.arrays import Floats, Indices
from pipeline.config.errors import PipelineError
from pipeline.config.files import ResultsError
from pipeline.config.fingerprints import as_json
from pipeline.problems.encoding import Column, Columns, Scale, Transform, encode, numbers_first
from pipeline.problems.losses import Task

if TYPE_CHECKING:
    import torch

    from pipeline.problems.metrics import Metric

PARTS = ("train", "validation", "test")
BESIDE = re.compile(r"split|group|weight|y\d*")
"""Columns of a dataset's frame that are no inputs: of several targets, y, y1, y2 …"""
SHAPED = "targets_shaped"
"""Of a frame's ``attrs``: the shape of a sample's targets, where they have one of their own."""


def inputs_of(data: pd.DataFrame) -> list[str]:
    """The columns that are inputs."""
    return [name for name in data.columns if not BESIDE.fullmatch(name)]


def targets_of(data: pd.DataFrame) -> list[str]:
    """The columns that are to be predicted."""
    return [name for name in data.columns if re.fullmatch(r"y\d*", name)]


class ProblemError(PipelineError):
    """Data that the problem cannot be made of."""


@dataclass(frozen=True)
class Split:
    """Rows of the dataset in each part, each of shape (samples in the part,)."""

    train: Indices
    validation: Indices
    test: Indices

    @cached_property
    def digest(self) -> str:
        """A name for the rows of each part and their order."""
        return _digest(self.train, self.validation, self.test)


def table_of(splits: Mapping[int, Split]) -> pd.DataFrame:
    """Splits, which are of the same sizes, as a table: a row for each place in a part, and a column for each seed."""
    first = next(iter(splits.values()))
    names = np.repeat(PARTS, [len(getattr(first, part)) for part in PARTS])
    rows = {str(seed): np.concatenate([getattr(split, part) for part in PARTS]) for seed, split in splits.items()}
    return pd.DataFrame({"part": names, **rows})


def splits_of(table: pd.DataFrame) -> dict[int, Split]:
    """What :func:`table_of` was given."""
    places = {part: np.flatnonzero(table["part"] == part) for part in PARTS}
    rows = {int(seed): table[seed].to_numpy() for seed in table.columns.drop("part")}
    return {seed: Split(**{part: of_seed[places[part]] for part in PARTS}) for seed, of_seed in rows.items()}


def values_of(data: pd.DataFrame) -> npt.NDArray[Any]:
    """What is to be predicted, (samples,); (samples, targets) of several columns, in the shape that the frame says of them."""
    names = targets_of(data)
    y = data[names].to_numpy() if len(names) > 1 else data[names[0]].to_numpy()
    return y.reshape(len(y), *data.attrs.get(SHAPED, y.shape[1:]))


def bare(data: pd.DataFrame) -> pd.DataFrame:
    """The frame without its ``attrs``, which pandas copies with every column that is taken: minutes of thousands."""
    found = data.copy(deep=False)
    found.attrs.clear()
    return found


def strata_of(y: npt.NDArray[Any]) -> npt.NDArray[np.integer] | None:
    """What samples are dealt out by: their classes, where each has one."""
    return y if np.issubdtype(y.dtype, np.integer) and y.ndim == 1 else None


@dataclass(frozen=True)
class Samples:
    """The samples of some replicates, ready for a model.

    ``x`` (samples, *shape), ``y`` (samples, …), with one more column of weights where samples have some; ``parts`` name the
    rows of each replicate's parts, (replicates, samples in the part). ``scales`` (replicates,) lead back to the dataset's own
    numbers.
    """

    x: npt.NDArray[np.generic]
    y: npt.NDArray[np.generic]
    parts: Mapping[str, Indices]
    scales: tuple[Scale, ...]
    is_weighted: bool = False

    def in_units(self, replicate: int, outputs: "torch.Tensor", y: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """A run's outputs (samples, targets) and targets in the targets' own units, in double precision."""
        import torch

        columns = y.reshape(len(y), -1)
        targets = columns[:, :-1] if self.is_weighted else columns
        told = (self.scales[replicate].told(values.double().cpu().numpy()) for values in (outputs, targets))
        ours, theirs = map(torch.from_numpy, told)
        return ours, theirs

    def measured(self, metric: "Metric", outputs: "torch.Tensor", y: "torch.Tensor") -> float:
        """The metric of the first replicate's outputs (samples, …, outputs), in the targets' own units."""
        if metric.in_units:
            return float(metric.of_runs(*(told[None] for told in self.in_units(0, outputs, y)))[0])
        return float(metric.of_runs(outputs[None], y[None])[0]) * float(self.scales[0].deviation) ** metric.power


@dataclass(frozen=True, eq=False)
class Dataset:
    """The samples of the problem ``name``, ``x`` (samples, *shape) and ``y``, and each seed's split of them.

    ``y`` is (samples,), (samples, targets) of several numbers to be predicted, or (samples, …) of classes, a token's at each
    place.

    ``columns`` say how ``x`` is to be encoded where it is a raw table, whose numbers are as precise as the data has them.
    """

    name: str
    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    splits: Mapping[int, Split]
    columns: tuple[Column, ...] = ()
    classes_called: tuple[str, ...] = ()
    is_ready: bool = False
    """Whether numbers to be predicted are taken as they are; else they are standardised."""
    transform: Transform | None = None
    """What is learnt in place of numbers to be predicted, before they are standardised."""
    weights: Floats | None = None
    """How much each sample counts in the loss, (samples,); None where all count the same."""
    targets_called: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    """What a file was taken for."""
    as_places: bool = False
    """Whether a model takes the columns of a table apart (:class:`Columns`); else categories are one-hot."""

    @classmethod
    def of(cls, name: str, data: pd.DataFrame, splits: Mapping[int, Split]) -> "Dataset":
        """The samples in ``data`` (columns ``split``, ``y``, ``x0`` …, perhaps ``group``, ``weight``, ``y1`` …).

        The frame's ``attrs`` hold the ``shape`` of a sample that is no plain row, and the ``columns`` of a raw table.
        """
        x, y = data[inputs_of(data)].to_numpy(), values_of(data)
        columns = tuple(Column.from_dict(column) for column in data.attrs.get("columns", ()))
        if not columns:  # nothing is done to them before they are a model's inputs
            x = np.ascontiguousarray(x, dtype=np.int64 if np.issubdtype(x.dtype, np.integer) else np.float32)
        return cls(
            name=name,
            x=x.reshape(len(x), *data.attrs.get("shape", x.shape[1:])),
            y=y.astype(np.int64, copy=False) if np.issubdtype(y.dtype, np.integer) else y,
            splits=splits,
            columns=columns,
            classes_called=tuple(data.attrs.get("classes", ())),
            transform=data.attrs.get("transform"),
            weights=data["weight"].to_numpy(np.float64) if "weight" in data else None,
            targets_called=tuple(data.attrs.get("targets", ())),
            remarks=tuple(data.attrs.get("remarks", ())),
        )

    @property
    def task(self) -> Task:
        """What is predicted: classes (whole numbers) or a number."""
        return "classification" if np.issubdtype(self.y.dtype, np.integer) else "regression"

    @property
    def classes(self) -> int:
        """Number of classes; 1 in a regression."""
        return max(int(self.y.max()) + 1, len(self.classes_called)) if self.task == "classification" else 1

    @property
    def targets(self) -> int:
        """How many numbers are to be predicted of a sample; 1 in a classification."""
        return self.y.shape[1] if self.y.ndim > 1 and self.task == "regression" else 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the data calls the classes, else their numbers."""
        return self.classes_called or tuple(map(str, range(self.classes)))

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a sample as a model takes it."""
        if self.as_places and self.columns:
            return (len(self.columns),)
        return (sum(column.width for column in self.columns),) if self.columns else tuple(self.x.shape[1:])

    @property
    def inputs(self) -> int | tuple[int, ...] | Columns:
        """Number of a model's inputs; the shape of a sample that is no plain row; or the columns of one that is."""
        if self.as_places and len(self.shape) == 1 and not self.is_tokens:
            return Columns.of(self.columns) if self.columns else Columns(self.shape[0])
        return self.shape[0] if len(self.shape) == 1 and not self.is_tokens else self.shape

    @property
    def is_tokens(self) -> bool:
        """Whether a model's inputs are whole numbers."""
        return bool(np.issubdtype(self.x.dtype, np.integer)) and not self.columns

    @property
    def train_size(self) -> int:
        """Training samples of any seed: all have parts of the same sizes."""
        return len(next(iter(self.splits.values())).train)

    @cached_property
    def digest(self) -> str:
        """A name for the samples, whichever part they are in."""
        more = as_json([column.as_dict() for column in self.columns])
        more += " ready" * self.is_ready + f" {self.transform}" * bool(self.transform)
        return _digest(self.x, self.y, *([] if self.weights is None else [self.weights]), more=more)

    def split(self, seed: int) -> Split:
        """The seed's own split, or the dataset's own where ``resample`` is off; as the stage ``dataset`` wrote it."""
        if seed not in self.splits:
            path = files.splits_path(self.name)
            raise ResultsError(f"{path} has no split for seed {seed}; `dvc repro dataset@{self.name}` draws those of all seeds")
        return self.splits[seed]

    def samples(self, seeds: Sequence[int]) -> Samples:
        """The samples of one replicate for each seed: a raw table encoded, and a number to be predicted standardised.

        Both by the seed's own training part.
        """
        splits = [self.split(seed) for seed in seeds]
        parts = {part: np.stack([getattr(split, part) for split in splits]) for part in PARTS}
        if not self.columns and self._keeps_targets:
            return Samples(self.x, self._weighted(self.y), parts, (Scale(),) * len(seeds), self.weights is not None)
        known = {seed: self._encoded(seed) for seed in dict.fromkeys(seeds)}
        place = {seed: number * len(self.y) for number, seed in enumerate(known)}
        offsets = np.array([place[seed] for seed in seeds])[:, None]
        x, y, _ = zip(*known.values(), strict=True)
        moved = {part: rows + offsets for part, rows in parts.items()}
        scales = tuple(known[seed][2] for seed in seeds)
        return Samples(np.concatenate(x), np.concatenate(y), moved, scales, self.weights is not None)

    def scale(self, seed: int) -> Scale:
        """Mean and deviation of a number to be predicted in the training part of the seed, else 0 and 1."""
        return Scale() if self._keeps_targets else Scale.of(self.y[self.split(seed).train], self.transform)

    @property
    def _keeps_targets(self) -> bool:
        """Whether a model predicts the targets as they are."""
        return self.is_ready or self.task == "classification"

    def _encoded(self, seed: int) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], Scale]:
        """All inputs, targets and the targets' scale, by the training part of the seed; kept, for each round needs them."""
        if seed not in self._known:
            x = encode(self.x, self.columns, self.split(seed).train, as_places=self.as_places) if self.columns else self.x
            scale = self.scale(seed)
            y = self.y if self._keeps_targets else scale.standardised(self.y)
            if self.columns:
                self._refuse_overflow(np.column_stack([x, y]))
            self._known[seed] = (x, self._weighted(y), scale)
        return self._known[seed]

    def _weighted(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Targets with the samples' weights, whose mean is 1, behind them."""
        if self.weights is None:
            return y
        return np.column_stack([y, self.weights / self.weights.mean()]).astype(np.float32)

    @cached_property
    def _known(self) -> dict[int, tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], Scale]]:
        return {}

    def _refuse_overflow(self, values: npt.NDArray[np.float32]) -> None:
        """Refuse what is that far away from a training part that single precision does not hold how far."""
        for row, place in np.argwhere(np.isinf(values))[:1]:
            columns = [own for _, own in numbers_first(self.columns)] if self.as_places else self.columns
            ends = np.cumsum([1 if self.as_places else column.width for column in columns])
            names = [f"the column {column.name}" for column in columns] + ["the target"] * self.targets
            raise ProblemError(
                f"params.yaml: problems.{self.name}: {names[np.searchsorted(ends, place, side='right')]} is too far in row "
                f"{row + 1} from all that a training part has; correct this row or take it out"
            )


def _digest(*arrays: npt.NDArray[Any], more: str = "") -> str:
    content = b"".join(f"{a.dtype} {a.shape}".encode() + np.ascontiguousarray(a).tobytes() for a in arrays)
    return hashlib.sha256(content + more.encode()).hexdigest()[:16]
