"""Models by name: each is one function ``f(inputs, outputs, **arguments) -> torch.nn.Module``.

``inputs`` is the number of features, ``outputs`` the number of classes; the module maps (batch, inputs) to logits
(batch, outputs).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from pipeline.registry import Registered, Registry, arguments_of

Builder = Callable[..., nn.Module]
Width = Annotated[int, Field(ge=1, le=1_000_000)]

models: Registry[Registered] = Registry("model")


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a function known under ``name``."""

    def add(function: Builder) -> Builder:
        models.add(Registered(name, function, arguments_of(function, given=2)))
        return function

    return add


@register("linear")
def linear(inputs: int, outputs: int) -> nn.Module:
    """One fully connected layer, as in the tutorial."""
    return nn.Linear(inputs, outputs)


@register("mlp")
def mlp(
    inputs: int,
    outputs: int,
    hidden: Annotated[list[Width], Field(min_length=1, max_length=100)],
    activation: Literal["relu", "gelu", "tanh"] = "relu",
) -> nn.Module:
    """Fully connected layers of the ``hidden`` sizes with an activation behind each, then one to the classes."""
    functions: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise([inputs, *hidden]):
        layers += [nn.Linear(size_in, size_out), functions[activation]()]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))
