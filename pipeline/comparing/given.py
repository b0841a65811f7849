"""What ``compare`` is handed: data as arrays or Datasets, and code of the user's own where params.yaml has names."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset, default_collate

from pipeline.catalogue import CATALOGUE
from pipeline.config import terminal
from pipeline.config.errors import PipelineError
from pipeline.config.fingerprints import stream
from pipeline.config.registry import RegistrationError, Registry
from pipeline.config.user_code import identity_of
from pipeline.data import datasets
from pipeline.data.splits import SplitError, in_two
from pipeline.problems import losses, metrics, models, optimizers
from pipeline.problems.chance import Chance
from pipeline.problems.dataset import Dataset, Split
from pipeline.problems.losses import Task
from pipeline.problems.metrics import Metric
from pipeline.runs.inspection import OTHER_OUTPUTS, in_other_precision
from pipeline.schedulers import registry as schedulers

Array = npt.NDArray[Any]
NAME = "given"
"""Of the dataset, for the parameters' sake: its samples are in memory."""
TRIED = 256
"""Samples that a loss of one's own is tried on."""
SURE, FAR = 10.0, 100.0
"""Logits of classes that are sure, and how much further than at first outputs go astray, where such a loss is tried."""


class CompareError(PipelineError):
    """What ``compare`` cannot take; names the argument, what is wrong with it and what would be right."""

    def __str__(self) -> str:
        """Each line says of what it is."""
        return "\n".join(f"compare: {line}" for line in super().__str__().splitlines())


class MapStyle(Protocol):
    """A Dataset of torch that knows its length; each item is a pair of inputs and target."""

    def __len__(self) -> int: ...
    def __getitem__(self, place: int, /) -> Any: ...


Data = tuple[Any, Any] | MapStyle


# Data


def dataset_of(
    name: str,
    parts: Mapping[str, Data | None],
    model_fn: Callable[[], nn.Module],
    seeds: list[int],
    loss: Any,
    *,
    resample: bool,
) -> Dataset:
    """The samples of all parts as they are, and each seed's split: that of the parts, or one drawn from the first two.

    Targets that are floats are numbers, but for a ``loss`` of classes, as BCEWithLogitsLoss takes them.
    """
    taken = {part: _arrays(part, data) for part, data in parts.items() if data is not None}
    _refuse_unlike(taken)
    if not resample and (share := _shared(*(taken[part][0] for part in ("train", "validation")))):
        terminal.tell(
            f"compare: {share:.0%} of the validation samples are training samples, too: on those a scheduler that only makes "
            "the model remember looks good; hand over samples that it is not trained on, or resample=True"
        )
    x, y = (np.concatenate([pair[number] for pair in taken.values()]) for number in (0, 1))
    if (classes := _as_classes(y)) is not None and _is_of_classes(loss):
        y = classes
    elif classes is not None:
        terminal.tell(
            f"compare: the targets are numbers to be predicted, for they are floats, 0 to {classes.max()}; are they classes, "
            f"hand over whole numbers: {'y.argmax(1)' if y.ndim > 1 else 'y.long(), or y.astype(int)'}"
        )
    rows, first = {}, 0
    for part in ("train", "validation", "test"):
        size = len(taken[part][1]) if part in taken else 0
        rows[part] = np.arange(first, first + size)
        first += size
    splits = _drawn(name, rows, y, seeds) if resample else dict.fromkeys(seeds, Split(**rows))
    outputs = _outputs(model_fn, x)
    if y.dtype.kind == "i" and y.min() > 0 and y.max() == outputs > 1:
        raise CompareError(f"the targets are classes {y.min()} to {y.max()}, of {outputs} outputs; number classes from 0 up")
    called = tuple(map(str, range(outputs))) if np.issubdtype(y.dtype, np.integer) and outputs > 1 else ()
    return Dataset(name, x, y, splits, classes_called=called, is_ready=True)


def _arrays(part: str, data: Data) -> tuple[Array, Array]:
    if isinstance(data, DataLoader):
        before = (
            "" if data.collate_fn is default_collate else ", and do to its items before what collate_fn does, such as padding"
        )
        raise CompareError(f"{part} is a DataLoader; hand over its dataset, batches are made here{before}")
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = map(_array, data)
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
        x, y = _stacked(part, data)
    else:
        raise CompareError(f"{part} is neither a pair (inputs, targets) nor a map-style Dataset of such pairs")
    if not len(x) or len(x) != len(y):
        raise CompareError(f"{part} has {len(x)} inputs and {len(y)} targets; every part needs some, and as many of both")
    return _inputs(part, x), _targets(part, y)


def _array(values: Any) -> Array:
    if isinstance(values, Tensor):
        return np.asarray(values.detach().cpu().numpy())
    return values.to_numpy() if isinstance(values, pd.DataFrame | pd.Series) else np.asarray(values)


def _shared(train: Array, validation: Array) -> float:
    """The share of the validation samples whose inputs are some training sample's, too; nothing below a hundredth."""
    known = {sample.tobytes() for sample in train}
    share = sum(sample.tobytes() in known for sample in validation) / len(validation)
    return share if share >= 0.01 else 0.0


def _stacked(part: str, data: MapStyle) -> tuple[Array, Array]:
    """All items, each drawn once; where the first is another when it is drawn again, that is told."""
    try:
        with Chance(0).used():
            items = [_item(part, data, place) for place in range(len(data))]
            again = [_item(part, data, 0) for _ in range(3)] if items else []
        if odd := [item for item in items if not _is_pair(item)]:
            raise CompareError(
                f"the items of {part} are {_kind(odd[0])}; let them be pairs of inputs and target, one tensor each"
                f"{_as_pairs(part, odd[0])}"
            )
        if any(not np.array_equal(_array(x), _array(items[0][0])) for x, _ in again):
            terminal.tell(
                f"compare: the items of {part} change from draw to draw, as those of a random augmentation do; each is drawn "
                "once here, and is the same in every epoch and run; put what is to be random into the model"
            )
        return np.stack([_array(x) for x, _ in items]), np.stack([_array(y) for _, y in items])
    except (TypeError, ValueError) as error:
        raise CompareError(
            f"the items of {part} are no pairs of tensors of one shape ({error}); give the Dataset a transform that "
            "makes them so"
        ) from None


def _item(part: str, data: MapStyle, place: int) -> Any:
    try:
        return data[place]
    except Exception as error:
        told = f"{part}[{place}] cannot be drawn ({_in_a_line(error)})"
        raise CompareError(f"{told}; hand over a pair (inputs, targets), or a Dataset whose items are such pairs") from error


def _is_pair(item: Any) -> bool:
    return not isinstance(item, Mapping | str) and hasattr(item, "__len__") and len(item) == 2


def _kind(item: Any) -> str:
    """What an item of a Dataset is, in a few words."""
    if isinstance(item, Mapping):
        return f"mappings with {', '.join(map(repr, item))}"
    return f"{type(item).__name__}s{f' of {len(item)}' if isinstance(item, tuple | list) else ''}"


def _as_pairs(part: str, item: Any) -> str:
    """How to make pairs of items with more or with names, where that is to be guessed."""
    names = [*item] if isinstance(item, Mapping) else [*range(len(item))] if isinstance(item, tuple | list) else []
    if len(names) < 2:
        return ""
    target = next((name for name in names if str(name).startswith(("label", "target"))), names[-1])
    inputs = next(name for name in names if name != target)
    more = "; what else the model takes, such as a mask, are further columns of the inputs" * (len(names) > 2)
    return f", as [(each[{inputs!r}], each[{target!r}]) for each in {part}]{more}"


def _as_classes(y: Array) -> Array | None:
    """Floats that are classes' numbers, or a row with a 1 in the place of each one's; None of any other targets."""
    if y.dtype.kind != "f":
        return None
    if y.ndim == 2 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        return np.asarray(y.argmax(axis=1))
    return y.astype(np.int64) if y.ndim == 1 and np.array_equal(found := np.unique(y), np.arange(len(found))) else None


def _is_of_classes(loss: Any) -> bool:
    """Whether it is a loss for classes, as it is or by its name."""
    given = loss.get("name") if isinstance(loss, Mapping) else loss
    name = given if isinstance(given, str) else called(given)
    return any(entry.task == "classification" for entry in CATALOGUE.losses if entry.name == name)


def _inputs(part: str, x: Array) -> Array:
    if x.dtype.kind not in "biuf":
        raise CompareError(f"the inputs of {part} are of {x.dtype}; make them numbers")
    if x.dtype.kind == "f" and not (finite := np.isfinite(x)).all():
        odd = len(x) - int(finite.reshape(len(x), -1).all(axis=1).sum())
        raise CompareError(
            f"the inputs of {part} are not all finite, in {odd} of {len(x)} samples; fill or leave out what is missing"
        )
    return np.ascontiguousarray(x, dtype=np.float32 if x.dtype.kind == "f" else np.int64)


def _targets(part: str, y: Array) -> Array:
    y = y.reshape(len(y)) if y.ndim > 1 and y.size == len(y) else y
    if y.dtype.kind not in "biuf":
        raise CompareError(f"the targets of {part} are {y.dtype}; hand over numbers, of classes those from 0 up")
    if y.dtype.kind != "f" and y.ndim == 1 and (y < 0).any():
        raise CompareError(f"the targets of {part} have the class {y.min()}; number classes from 0 up")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise CompareError(f"the targets of {part} are not all finite; leave those samples out")
    return y.astype(np.float64 if y.dtype.kind == "f" else np.int64)


def _refuse_unlike(taken: Mapping[str, tuple[Array, Array]]) -> None:
    x, y = taken["train"]
    for part, (own_x, own_y) in taken.items():
        if own_x.shape[1:] != x.shape[1:] or own_x.dtype != x.dtype or own_y.dtype != y.dtype:
            raise CompareError(
                f"a sample of {part} is of shape {own_x.shape[1:]} ({own_x.dtype}, target {own_y.dtype}), of train "
                f"{x.shape[1:]} ({x.dtype}, target {y.dtype}); let them be alike"
            )


def _drawn(name: str, rows: Mapping[str, Any], y: Array, seeds: list[int]) -> dict[int, Split]:
    """Training and validation part drawn anew for each seed, of the same sizes; the test part stays."""
    pool, sizes = np.concatenate([rows["train"], rows["validation"]]), (len(rows["train"]), len(rows["validation"]))
    try:
        drawn = {seed: in_two(pool, y, *sizes, stream("split", name, seed) % 2**32) for seed in seeds}
    except SplitError as error:
        raise CompareError(f"resample: {error}; leave `resample` out") from None
    return {seed: Split(np.sort(train), np.sort(validation), rows["test"]) for seed, (train, validation) in drawn.items()}


def _outputs(model_fn: Callable[[], nn.Module], x: Array) -> int:
    """How many numbers the model gives for a sample."""
    with Chance(0).used(), torch.no_grad():
        try:
            model = model_fn()
        except Exception as error:
            raise CompareError(f"model_fn cannot be called without arguments ({_in_a_line(error)})") from error
        if not isinstance(model, nn.Module):
            raise CompareError(f"model_fn gives a {type(model).__name__}; let it return a torch.nn.Module")
        try:
            outputs = model.eval()(torch.tensor(x[:2]))  # a copy: a model may change its inputs in place
        except Exception as error:
            told = f"the model cannot be applied to inputs of shape {x.shape[1:]} ({_in_a_line(error)})"
            raise CompareError(told + in_other_precision(model, error)) from error
    if not isinstance(outputs, Tensor):
        raise CompareError(_several_outputs(outputs))
    if not outputs.dim():
        raise CompareError("the model gives one number for all samples; let it return a row of outputs for each")
    return int(outputs.shape[-1])


def _in_a_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _several_outputs(outputs: Any) -> str:
    """What is said of a model that gives no single tensor: loss and metric would not know which to take."""
    what, one = type(outputs).__name__, "[0]"
    if isinstance(outputs, Mapping):
        what, one = f"{what} of {', '.join(map(repr, outputs))}", f"[{next(iter(outputs), 'logits')!r}]"
    elif hasattr(outputs, "__len__"):
        what = f"{what} of {len(outputs)}"
    elif not hasattr(outputs, "__getitem__"):
        one = f".{next((key for key, value in vars(outputs).items() if isinstance(value, Tensor)), 'logits')}"
    return (
        f"the model gives a {what}, and loss and metric take one tensor; wrap it in a module that holds it as "
        f"self.model and whose forward returns what they are to take, such as self.model(x){one}"
    )


# Code


@dataclass
class Registered:
    """The user's own code, registered while the study goes on; ``entries`` are what params.yaml says of it.

    ``unnamed`` are the arguments whose code goes by what no text tells: runs of it could never be found again.
    """

    entries: dict[str, Any]
    unnamed: list[str]


@contextmanager
def registered(
    data: Dataset, model_fn: Callable[[], nn.Module], optimizer: Any, loss: Any, metric: Any, named: Mapping[str, Any]
) -> Iterator[Registered]:
    """In the block, all that was handed over as code has a name; ``named`` are the schedulers by label."""
    with ExitStack() as block:
        for kind in vars(CATALOGUE).values():
            block.enter_context(kind.restored())
        datasets.register(NAME)(_given)
        found = Registered({}, [])
        found.entries["model"] = _model(model_fn, found)
        found.entries["optimizer"] = own = _by_name(optimizer, "optimizer", CATALOGUE.optimizers, optimizers.register, found)
        needing = {each.name for each in CATALOGUE.optimizers if each.arguments.model_fields["lr"].is_required()}
        if own.get("name") in needing and "lr" not in own:
            raise CompareError(f'optimizer: lacks its learning rate; write {{"name": "{own["name"]}", "lr": 0.1}}, say')
        if loss is not None:
            found.entries["loss"] = _loss(loss, data, model_fn, found)
        if metric is not None:
            found.entries["metric"] = _metric(metric, data.task, found)
        found.entries["schedulers"] = {
            label: _by_name(entry, f"schedulers.{label}", CATALOGUE.schedulers, schedulers.register, found)
            for label, entry in named.items()
        }
        yield found


def _given() -> pd.DataFrame:
    """The samples are in memory."""
    raise AssertionError("nobody asks for it")


def called(thing: Any) -> str:
    """What a function, a class or an object that can be called is called."""
    return str(getattr(thing, "__name__", type(thing).__name__)).strip("<>")


def _free(name: str, known: Registry[Any]) -> str:
    """The name, or one that is not taken."""
    while name in {entry.name for entry in known}:
        name += "_own"
    return name


def _version(thing: Any, argument: str, found: Registered) -> str:
    """A name for what the code does; where there is none, that is noted."""
    identity = identity_of(thing)
    if identity is None:
        found.unnamed.append(argument)
    return identity or ""


def _model(model_fn: Callable[[], nn.Module], found: Registered) -> dict[str, Any]:
    def build(inputs: Any, outputs: int, version: str = "") -> nn.Module:
        return model_fn()

    name = _free(called(model_fn), CATALOGUE.models)
    models.register(name)(build)
    return {"name": name, "version": _version(model_fn, "model_fn", found)}


def _by_name(
    given: Any, argument: str, known: Registry[Any], register: Callable[[str], Callable[[Any], Any]], found: Registered
) -> dict[str, Any]:
    """An entry with a name; code of the user's own is registered, and what is torch's is already."""
    entry = dict(given) if isinstance(given, Mapping) else {"name": given}
    code = entry.get("name")
    if isinstance(code, Optimizer | LRScheduler):
        raise CompareError(
            f"{argument} is one {called(code)} that is made, and every run makes its own; write "
            f'{{"name": "{called(code)}", …}} with its arguments, or a function that makes it'
        )
    if not callable(code):
        return {key: value for key, value in entry.items() if value is not None}
    name = called(code)
    if not getattr(code, "__module__", "").startswith("torch.optim") or name not in {each.name for each in known}:
        name = _free(name, known)
        try:
            register(name)(code)
        except RegistrationError as error:
            raise CompareError(f"{argument}: {error}") from None
        _version(code, argument, found)
    return {**entry, "name": name}


def _metric(given: Any, task: Task, found: Registered) -> dict[str, Any]:
    entry = dict(given) if isinstance(given, Mapping) else {"name": given}
    function = entry.get("name")
    if not callable(function):
        return entry
    if "higher_is_better" not in entry:
        raise CompareError(
            f'metric: which way is {called(function)} better? write metric={{"name": {called(function)}, '
            '"higher_is_better": True}'
        )

    def build(classes: int, version: str = "") -> Metric:
        return Metric(whole=lambda outputs, y: torch.as_tensor(function(outputs, y)))

    name = _free(called(function), CATALOGUE.metrics)
    metrics.register(name, task, called(function).replace("_", " "), higher_is_better=bool(entry["higher_is_better"]))(build)
    return {"name": name, "version": _version(function, "metric", found)}


def _loss(given: Any, data: Dataset, model_fn: Callable[[], nn.Module], found: Registered) -> dict[str, Any]:
    """An entry with a name: of a loss of torch's with its arguments, of any other callable as it is registered."""
    if isinstance(given, str | Mapping):
        return {"name": given} if isinstance(given, str) else dict(given)
    given = given() if isinstance(given, type) else given
    if not callable(given):
        raise CompareError(f"loss is a {type(given).__name__}; hand over a name, a loss of torch's or a function")
    if (own := _torchs(given)) is not None and CATALOGUE.losses[own["name"]].task == data.task:
        return own
    is_mean = _is_mean(given, data, model_fn)

    def build(reduction: str, version: str = "") -> nn.Module:
        return OwnLoss(given, reduction, is_mean=is_mean)

    name = _free(called(given), CATALOGUE.losses)
    losses.register(name, data.task)(build)
    if not is_mean:
        found.entries["engine"] = "loop"
    return {"name": name, "version": _version(given, "loss", found)}


def _torchs(given: Any) -> dict[str, Any] | None:
    """A loss of torch's by its name and arguments; None where it is none, or has arguments that are not told by name."""
    name = type(given).__name__
    if type(given).__module__ != "torch.nn.modules.loss" or name not in {entry.name for entry in CATALOGUE.losses}:
        return None
    told = {key: getattr(given, key) for key in CATALOGUE.losses[name].arguments.model_fields}
    told = {key: value.squeeze().tolist() if isinstance(value, Tensor) else value for key, value in told.items()}
    try:
        known = CATALOGUE.losses[name].function("mean", **told)
    except (TypeError, ValueError):  # `pos_weight` of several targets, say
        return None
    if _state(known) != _state(given):  # it is a sum, say, or has weights of its own
        return None
    return {"name": name, **{key: value for key, value in told.items() if value is not None}}


def _state(loss: nn.Module) -> dict[str, Any]:
    """All that a loss was made with."""
    plain = {key: value for key, value in vars(loss).items() if not key.startswith("_") and key != "training"}
    return plain | {key: value.flatten().tolist() for key, value in loss.named_buffers()}


class OwnLoss(nn.Module):
    """A function of outputs and targets, the mean over a batch or no mean at all, as a loss for a way to reduce it."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], reduction: str, *, is_mean: bool) -> None:
        super().__init__()
        self.function, self.reduction, self.is_mean = function, reduction, is_mean

    def forward(self, outputs: Tensor, y: Tensor) -> Tensor:
        """A batch's loss; each sample's by itself where there is no reduction and it has one."""
        if self.reduction == "mean":
            return self.function(outputs, y)
        if not self.is_mean:
            return self.function(outputs, y).expand(len(y))
        found: Tensor = vmap(lambda one, target: self.function(one[None], target[None]))(outputs, y)
        return found


def _is_mean(function: Callable[..., Any], data: Dataset, model_fn: Callable[[], nn.Module]) -> bool:
    """Whether a batch's loss is the mean of its samples' own: then it may be computed sample by sample.

    It is tried on many samples at the model's first outputs, and where those of every other one are as good as can be, or far
    off: a loss may take the worst samples of a batch alone, or have a bound for their mean.
    """
    rows = next(iter(data.splits.values())).train[:TRIED]
    with Chance(0).used(), torch.no_grad():
        outputs = model_fn().eval()(torch.tensor(data.x[rows]))  # a copy, as above
    y = torch.from_numpy(data.y[rows])
    is_other = outputs.shape[-1] != (data.classes if data.task == "classification" else data.targets)
    if data.task == "regression":
        outputs, y = outputs.squeeze(-1), y.to(outputs.dtype)
    try:
        whole = function(outputs, y)
    except Exception as error:
        given = f"outputs {tuple(outputs.shape)} and targets {tuple(y.shape)}"
        raise CompareError(f"loss cannot be called with {given}: {_in_a_line(error)}{OTHER_OUTPUTS * is_other}") from error
    if not isinstance(whole, Tensor) or whole.numel() != 1:
        raise CompareError("loss gives no single number for a batch; let it return the mean over its samples")
    tried = [outputs, *(_every_other(other, outputs) for other in (_ideal(outputs, y), FAR * outputs) if other is not None)]
    return all(_is_mean_at(function, each, y) for each in tried)


def _is_mean_at(function: Callable[..., Any], outputs: Tensor, y: Tensor) -> bool:
    try:
        whole, alone = function(outputs, y), OwnLoss(copy.deepcopy(function), "none", is_mean=True)(outputs, y)
    except Exception:  # noqa: BLE001  # whatever it is, it is no function of one sample
        return False
    return alone.shape == y.shape[:1] and bool(torch.isclose(alone.mean(), whole, rtol=1e-4, atol=1e-6, equal_nan=True))


def _every_other(one: Tensor, other: Tensor) -> Tensor:
    """The first, third … samples of the one, the rest of the other."""
    return torch.where(torch.arange(len(one)).reshape(-1, *(1 for _ in one.shape[1:])) % 2 == 0, one, other)


def _ideal(outputs: Tensor, y: Tensor) -> Tensor | None:
    """Outputs in that shape that hit every target; None where it is not known what would."""
    if y.shape == outputs.shape and y.is_floating_point():
        return y
    if y.shape == outputs.shape[:-1] and not y.is_floating_point():
        is_hit = torch.arange(outputs.shape[-1]) == y[..., None] if outputs.shape[-1] > 1 else y[..., None] > 0
        return torch.where(is_hit, SURE, -SURE).to(outputs.dtype)
    return None


def takes_no_arguments(function: Any) -> bool:
    """Whether it can be called as it is."""
    try:
        inspect.signature(function).bind()
    except TypeError:
        return False
    except ValueError:  # it has no signature, as some of what is built in
        return True
    return True
