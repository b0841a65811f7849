"""Models by name: each is one function ``f(inputs, outputs, **arguments) -> torch.nn.Module``.

``inputs`` is the number of features where a sample is a plain row, else the shape of a sample: (channels, height, width) of
an image, (length, channels) of a sequence of vectors, (length,) of a sequence of token ids. A function that asks for
``inputs: Columns`` is told which of a table's inputs are numbers and which are categories. The module maps (batch, …) to
(batch, ``outputs``): one output per class, one for a number.
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pipeline.config.components import Component
from pipeline.config.registry import Registered, Registry, arguments_of, called
from pipeline.problems.encoding import Columns as Columns  # noqa: PLC0414  # for models of the user's own

Builder = Callable[..., nn.Module]
Width = Annotated[int, Field(ge=1, le=1_000_000)]
Activation = Literal["relu", "gelu", "tanh"]
Dropped = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class RegisteredModel(Registered):
    """A model; one that ``takes_columns`` is given places of categories and not a one-hot input for each."""

    takes_columns: bool = False


models: Registry[RegisteredModel] = Registry("model")


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a function, or a class of modules, known under ``name``."""

    def add(function: Builder) -> Builder:
        arguments = arguments_of(function, given=["inputs", "outputs"])
        inputs = next(iter(inspect.signature(function).parameters.values())).annotation
        takes_columns = inputs is Columns or str(inputs).rpartition(".")[2] == Columns.__name__
        models.add(RegisteredModel(name, called(function), arguments, takes_columns))
        return function

    return add


def built(component: Component, inputs: int | tuple[int, ...] | Columns, outputs: int, blank: Tensor) -> nn.Module:
    """The model of that name in single precision.

    What is lazy in it takes its shape from the samples ``blank``.
    """
    entry = models[component.name]
    if entry.takes_columns and not isinstance(inputs, Columns):
        raise ValueError(f"{component.name} takes the columns of a table, and a sample is of shape {inputs}")
    model = entry.function(inputs, outputs, **component.args)
    if not isinstance(model, nn.Module):
        raise ValueError(f"{component.name} gives {_kind(model)}, and a torch.nn.Module is needed")
    if _lazy(model):
        _dry_run(model, blank)
    if left := _lazy(model):
        raise ValueError(f"{component.name} has a lazy layer that its forward does not reach ({left[0]})")
    return moved(model, torch.device("cpu"), torch.float32)


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _lazy(model: nn.Module) -> list[str]:
    """Parameters and buffers that have no shape yet."""
    return [name for name, values in (*model.named_parameters(), *model.named_buffers()) if is_lazy(values)]


@torch.no_grad()
def _dry_run(model: nn.Module, blank: Tensor) -> None:
    """Apply the model once as it is evaluated, so that nothing is gathered or dropped; then all is as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()(blank)
    for module, mode in modes.items():
        module.training = mode


def moved(model: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """The model there and in that precision; complex numbers stay complex, which ``Module.to`` would cut to their real part."""

    def move(values: Tensor) -> Tensor:
        kind = dtype.to_complex() if values.is_complex() else dtype if values.is_floating_point() else values.dtype
        return values.to(device, kind)

    there: nn.Module = model._apply(move)  # type: ignore[no-untyped-call]
    return there


def applied(model: nn.Module, x: Tensor) -> Tensor:
    """The model's outputs, without gradients unless the model takes some itself in its forward; ``x`` stays as it is."""
    try:
        with torch.no_grad():
            outputs: Tensor = model(x.clone())
    except RuntimeError as error:
        if "require grad" not in str(error):
            raise
        with torch.enable_grad():
            outputs = model(x.clone())
    return outputs.detach()


@register("linear")
def linear(inputs: int, outputs: int) -> nn.Module:
    """One fully connected layer, as in the tutorial."""
    return nn.Linear(inputs, outputs)


@register("mlp")
def mlp(
    inputs: int,
    outputs: int,
    hidden: Annotated[list[Width], Field(min_length=1, max_length=100)],
    activation: Activation = "relu",
    dropout: Dropped = 0.0,
) -> nn.Module:
    """Fully connected layers of the ``hidden`` sizes, an activation (and dropout) behind each, then one to the outputs."""
    functions: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise([inputs, *hidden]):
        layers += [nn.Linear(size_in, size_out), functions[activation]()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))


@register("tabular")
def tabular(
    inputs: Columns,
    outputs: int,
    hidden: Annotated[list[Width], Field(min_length=1, max_length=100)],
    width: Width | None = None,
    activation: Activation = "relu",
    dropout: Dropped = 0.0,
) -> nn.Module:
    """For tables: an ``mlp`` of the numbers and of each category's embedding (Guo and Berkhahn, 2016, arXiv:1604.06737).

    An embedding has ``width`` numbers, else half as many as there are categories, at most 50. Of a category that the training
    part lacks they are zeros.
    """
    return Tabular(inputs, outputs, hidden, width, activation, dropout)


MOST = 50
"""Numbers that a category is embedded in, where it is not said."""


class Tabular(nn.Module):
    """See :func:`tabular`."""

    def __init__(
        self, inputs: Columns, outputs: int, hidden: list[int], width: int | None, activation: Activation, dropout: float
    ) -> None:
        super().__init__()
        self.numbers = inputs.numbers
        self.embeddings = nn.ModuleList(nn.Embedding(size, width or min(MOST, size // 2)) for size in inputs.categories)
        embedded = sum(embedding.embedding_dim for embedding in self.embeddings)  # type: ignore[misc]
        self.layers = mlp(self.numbers + embedded, outputs, hidden, activation, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, columns) to (batch, outputs)."""
        numbers, places = x[:, : self.numbers], x[:, self.numbers :].long()
        known = (places > 0).to(x.dtype)
        parts = [numbers, *(e(places[:, i]) * known[:, i : i + 1] for i, e in enumerate(self.embeddings))]
        outputs: Tensor = self.layers(torch.cat(parts, dim=1))
        return outputs


@register("cnn")
def cnn(
    inputs: tuple[int, int, int],
    outputs: int,
    channels: Annotated[list[Width], Field(min_length=1, max_length=20)] = [8, 16],  # noqa: B006  # pydantic copies it
    groups: Width = 4,
    dropout: Dropped = 0.0,
) -> nn.Module:
    """For images: 3×3 convolutions that halve each side, group norms (Wu and He, 2018), then one linear layer."""
    if isinstance(inputs, int) or len(inputs) != 3:
        raise ValueError(f"cnn needs images of shape (channels, height, width), and a sample is of shape {inputs}")
    if wrong := [size for size in channels if size % groups]:
        raise ValueError(f"cnn needs channels that are multiples of its {groups} groups, and {wrong[0]} is not")
    layers: list[nn.Module] = []
    height, width = inputs[1:]
    for size_in, size_out in pairwise([inputs[0], *channels]):
        layers += [nn.Conv2d(size_in, size_out, 3, stride=2, padding=1), nn.GroupNorm(groups, size_out), nn.ReLU()]
        height, width = -(-height // 2), -(-width // 2)
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, outputs))


@register("transformer")
def transformer(
    inputs: int | tuple[int, ...],
    outputs: int,
    vocabulary: Annotated[int, Field(ge=1, le=10_000_000)] | None = None,
    width: Width = 32,
    heads: Annotated[int, Field(ge=1, le=1000)] = 4,
    layers: Annotated[int, Field(ge=1, le=100)] = 2,
    dropout: Dropped = 0.0,
) -> nn.Module:
    """A transformer encoder with its norms before each part (Vaswani et al., 2017; Xiong et al., 2020), and their mean.

    Token ids below ``vocabulary`` are embedded, vectors projected; each row of an image is a vector, each number of a
    plain row one of length 1.
    """
    return Transformer(inputs, outputs, vocabulary, width, heads, layers, dropout)


class Transformer(nn.Module):
    """See :func:`transformer`."""

    def __init__(
        self,
        inputs: int | tuple[int, ...],
        outputs: int,
        vocabulary: int | None,
        width: int,
        heads: int,
        layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"transformer needs a width that is a multiple of its {heads} heads, and {width} is not")
        shape = (inputs, 1) if isinstance(inputs, int) else inputs
        if (vocabulary is None) == (len(shape) == 1):
            needs = "token ids need the size of their" if vocabulary is None else "only token ids have a"
            raise ValueError(f"transformer: {needs} `vocabulary`, and a sample is of shape {shape}")
        if vocabulary is None:
            # An image (channels, height, width) is read row by row.
            self.length, size = (shape[-2], math.prod(shape) // shape[-2])
            self.embedding: nn.Module = nn.Linear(size, width)
        else:
            self.length = shape[0]
            self.embedding = nn.Embedding(vocabulary, width)
        self.is_of_tokens = vocabulary is not None
        self.position = nn.Parameter(0.02 * torch.randn(self.length, width))
        self.layers = nn.ModuleList(_EncoderLayer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, *shape) to (batch, outputs)."""
        if not self.is_of_tokens:
            x = x.transpose(1, -2).reshape(len(x), self.length, -1) if x.dim() > 2 else x.unsqueeze(-1)
        hidden = self.embedding(x) + self.position
        for layer in self.layers:
            hidden = layer(hidden)
        outputs: Tensor = self.head(self.norm(hidden).mean(dim=1))
        return outputs


class _EncoderLayer(nn.Module):
    """Self-attention and a feed-forward part four times as wide, each beside its input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.forward_part = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout, self.dropout_forward = nn.Dropout(dropout), nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """From (batch, length, width) to the same."""
        normed = self.norm(x)
        queries, keys, values = (self._of_heads(part(normed)) for part in (self.queries, self.keys, self.values))
        weights = (queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])).softmax(dim=-1)
        x = x + self.dropout(self.out((weights @ values).transpose(1, 2).reshape(x.shape)))
        passed: Tensor = x + self.dropout_forward(self.forward_part(self.norm_forward(x)))
        return passed

    def _of_heads(self, x: Tensor) -> Tensor:
        """(batch, heads, length, width of a head)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
