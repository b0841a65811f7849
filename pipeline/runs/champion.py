"""The best run of a problem as a model that can be kept, loaded and served: its weights, and what leads to its inputs.

Its weights are those of the epoch that is judged, in a safetensors file whose metadata name the run.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.config.errors import PipelineError
from pipeline.data.dates import PARTS_OF_DATES, AmbiguousDatesError, as_dates, on_the_clock
from pipeline.data.features import MISSING, OTHER
from pipeline.problems.dataset import Dataset
from pipeline.problems.encoding import Scale, category_texts, encoded, fitted
from pipeline.problems.losses import Loss
from pipeline.problems.models import applied
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Stream

if TYPE_CHECKING:
    import torch

Arrays = npt.NDArray[Any]


class ChampionError(PipelineError):
    """Inputs or weights that a champion cannot take."""


def best_of(history: History) -> int | None:
    """The place of the run with the lowest validation loss, at the epoch that it asks for; None where all diverged."""
    curves = np.where(np.isnan(history.curves.validation_loss), np.inf, history.curves.validation_loss)
    is_best = [run.at == "best" for run in history.runs]
    losses = np.where(history.diverged, np.inf, np.where(is_best, curves.min(axis=0), curves[-1]))
    return int(losses.argmin()) if np.isfinite(losses).any() else None


def weights_of(history: History, place: int) -> bytes:
    """The weights of one of the runs just trained, as a safetensors file."""
    from safetensors.torch import save

    return save({name: values[place].cpu().contiguous().clone() for name, values in history.outcome.weights.items()})


def named(weights: bytes, run: str) -> bytes:
    """The safetensors file with a run's fingerprint in its metadata; an empty one without weights."""
    from safetensors.torch import load, save

    return save(load(weights) if weights else {}, metadata={"run": run})


@dataclass(frozen=True)
class Champion:
    """A trained model that takes what the dataset holds: a frame of a table's columns, or an array (samples, …)."""

    model: "torch.nn.Module"
    data: Dataset
    loss: Loss
    encoder: Any
    """scikit-learn's transformer of a table's columns, fitted on the run's training part; None for arrays."""
    scale: Scale
    """Of a number to be predicted, in the run's training part."""
    classes: tuple[str, ...]

    @classmethod
    def of(cls, problem: Problem, weights: bytes, seed: int, stream: Stream = "final") -> "Champion":
        """The problem's model with these weights, as it was trained on the replicate ``seed``."""
        from safetensors.torch import load

        model = problem.new_model(seed, stream).eval()
        missing, unexpected = model.load_state_dict(load(weights), strict=False)
        if missing or unexpected:
            names = ", ".join([*missing, *unexpected])
            raise ChampionError(f"the weights are of another model than {problem.params.model.name} (see {names})")
        data = problem.data
        encoder = fitted(data.x[data.split(seed).train], data.columns, as_places=data.as_places) if data.columns else None
        classes = data.class_names if data.task == "classification" else ()
        return cls(model, data, problem.loss, encoder, data.scale(seed), classes)

    def predict(self, model_input: pd.DataFrame | Arrays) -> pd.DataFrame:
        """One row per sample: ``prediction``, and for classes the probability of each, ``p(NAME)``.

        Of several targets there is a ``prediction(NAME)`` of each; where a sample has a class at each of several places, the
        likeliest at each, ``prediction(1)`` and so on.
        """
        import torch

        outputs = applied(self.model, torch.tensor(self._inputs(model_input))).double()
        if self.data.targets > 1:
            names = [f"prediction({name})" for name in self.data.targets_called]
            return pd.DataFrame(self.scale.told(outputs.numpy()), columns=names)
        if self.data.task == "regression":
            return pd.DataFrame({"prediction": self.scale.told(outputs[:, 0].numpy())})
        if self.data.y.ndim > 1:
            places = np.array(self.classes)[outputs.argmax(dim=-1).flatten(1).numpy()].T
            return pd.DataFrame({f"prediction({number})": names for number, names in enumerate(places, 1)})
        shares = outputs.softmax(dim=1)
        if self.loss.is_binary:
            shares = torch.cat([torch.sigmoid(-outputs), torch.sigmoid(outputs)], dim=1)
        names = [self.classes[number] for number in shares.argmax(dim=1).tolist()]
        columns = {f"p({name})": shares[:, number].numpy() for number, name in enumerate(self.classes)}
        return pd.DataFrame({"prediction": names, **columns})

    def example(self, samples: int = 3) -> pd.DataFrame | Arrays:
        """A few samples of the dataset as :meth:`predict` takes them."""
        some = self.data.x[:samples]
        if not self.data.columns:
            return np.array(some)
        return pd.DataFrame({c.name: _as_written(c.categories, some[:, i]) for i, c in enumerate(self.data.columns)})

    def _inputs(self, given: pd.DataFrame | Arrays) -> Arrays:
        if self.encoder is None:
            kind = self.data.x.dtype
            return np.asarray(given.to_numpy() if isinstance(given, pd.DataFrame) else given).astype(kind)
        if not isinstance(given, pd.DataFrame):
            given = pd.DataFrame(np.asarray(given), columns=[column.name for column in self.data.columns])
        given = _with_derived(given, [column.name for column in self.data.columns])
        if absent := [column.name for column in self.data.columns if column.name not in given]:
            raise ChampionError(f"the columns {', '.join(absent)} are missing")
        columns = {c.name: _as_stored(c.name, c.categories, given[c.name]) for c in self.data.columns}
        return encoded(self.encoder, pd.DataFrame(columns).to_numpy(np.float64))


def _with_derived(given: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The columns given, and those that the dataset made of them: parts of dates, and where a number is missing."""
    derived: dict[str, pd.Series[Any]] = {}
    for name in names:
        found = re.fullmatch(r"(.*) \((\w+)\)", name)
        if name in given or found is None or found[1] not in given:
            continue
        values, part = given[found[1]], found[2]
        if f"({part})" == MISSING:
            derived[name] = values.isna().astype(float)
        elif part in PARTS_OF_DATES:
            derived[name] = PARTS_OF_DATES[part](_dates(values, found[1]))
    return given.assign(**derived)


def _dates(values: "pd.Series[Any]", name: str) -> "pd.Series[Any]":
    try:
        dates = as_dates(on_the_clock(values))
    except AmbiguousDatesError:
        dates = None
    if dates is None:
        raise ChampionError(f"the column {name} holds no dates such as 2024-12-31")
    return dates


def _as_written(categories: Sequence[str], values: Arrays) -> Arrays:
    if not categories:
        return values.astype(np.float64)
    return np.array([None if np.isnan(value) else categories[int(value)] for value in values], dtype=object)


def _as_stored(name: str, categories: Sequence[str], values: "pd.Series[Any]") -> Arrays:
    if not categories:
        return values.to_numpy(np.float64)
    places: Mapping[str, float] = {category: float(place) for place, category in enumerate(categories)}
    texts = category_texts(values).str.strip()
    if MISSING in categories:
        texts = texts.fillna(MISSING)
    if OTHER in categories:
        texts = texts.where(texts.isin(categories) | texts.isna(), OTHER)
    if unknown := sorted(set(texts.dropna()) - set(categories)):
        known = ", ".join(categories)
        raise ChampionError(f"the column {name} has no category {unknown[0]!r} (one of {known})")
    return texts.map(places).to_numpy(np.float64, na_value=np.nan)
