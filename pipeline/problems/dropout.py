"""Dropout whose masks follow from numbers that are handed in: independent between runs, the same at every repetition.

torch draws masks from one stream for the whole process, which runs that train side by side cannot share.
"""

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

LARGEST = 2**24
"""Numbers below this are exact in single precision, in which they are handed over."""
WORD = 2**32
TRIES = 4
"""Times that a model is applied to find out which layers it uses more than once."""


class CountedDropout(nn.Module):
    """``torch.nn.Dropout`` (for ``whole_channels``, ``Dropout1d`` to ``Dropout3d``) with masks from the buffer ``draw``.

    ``draw`` holds two whole numbers from 0 to ``LARGEST`` - 1, new ones at each step of each run; ``layer`` tells the layers
    of a model apart. Each element's number is hashed with them; of a part of a batch, a third number says how many samples
    are before it.
    """

    draw: Tensor
    layer: int
    whole_channels: bool
    p: float
    inplace: bool

    def extra_repr(self) -> str:
        """Its arguments, as torch shows them."""
        return f"p={self.p}, layer={self.layer}, whole_channels={self.whole_channels}"

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (samples, …) with elements (or channels) set to 0 with probability p, the others divided by 1 - p."""
        if not self.training or self.p == 0:
            return x
        found = torch.zeros_like(x) if self.p == 1 else torch.where(self._kept(x), x / (1 - self.p), 0.0)
        return x.copy_(found) if self.inplace else found

    def _kept(self, x: Tensor) -> Tensor:
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:])) if self.whole_channels else x.shape
        count = math.prod(shape)
        number = torch.arange(count, device=x.device).reshape(shape)
        first, second, *before = self.draw.long().unbind()
        if before:
            number = number + before[0] * (count // len(x))
        return hashed(number, first, second, self.layer) >= round(self.p * WORD)


def hashed(number: Tensor, first: Tensor, second: Tensor, layer: int) -> Tensor:
    """32 random bits for each element's ``number``, from two random numbers, of a ``layer``."""
    # Both keys hang on all three numbers: masks with one key in common would be each other's permutations.
    key = _mixed(_mixed(_mixed(first) ^ second) ^ (layer + 1))
    return _mixed(_mixed(number ^ key) ^ _mixed(key ^ 0x9E3779B9))


def _mixed(x: Tensor) -> Tensor:
    """A bijection of the 32-bit words in which every bit depends on all others (the finaliser of MurmurHash3)."""
    for _ in range(2):
        x = ((x ^ (x >> 16)) * 0x45D9F3B) & (WORD - 1)
    return x ^ (x >> 16)


KINDS: dict[type[nn.Module], type[nn.Module]] = {
    kind: type(f"Counted{kind.__name__}", (CountedDropout, kind), {"whole_channels": kind is not nn.Dropout})
    for kind in (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
}
"""torch's own → their counted form, which still is one of them."""


def counted(model: nn.Module, repeated: Collection[str] = ()) -> nn.Module:
    """The model with counted dropout where torch's own was, but for layers of these names.

    The layers become so where they are: hooks stay on them, and whatever else holds one of them holds it still.
    """
    for number, (name, dropout) in enumerate(_dropouts(model).items()):
        if name not in repeated:
            as_counted(dropout, number)
    return model


def as_counted(dropout: nn.Module, layer: int) -> None:
    """Let a layer of torch's own be its counted form, with that number."""
    dropout.__class__ = KINDS.get(type(dropout), type(dropout))  # one that many models share is counted already
    vars(dropout)["layer"] = layer
    dropout.register_buffer("draw", torch.zeros(2), persistent=False)


def repeated(model: nn.Module, x: Tensor) -> frozenset[str]:
    """The dropout layers, by name, that a forward of ``x`` in training applies more than once.

    Each time they need another mask, and the number of a layer tells none apart: torch's functions are counted as they are
    called (:mod:`pipeline.engine.drawing`). The model's state is not kept.
    """
    layers, called = _dropouts(model), list[str]()
    hooks = [layer.register_forward_pre_hook(lambda *_, name=name: called.append(name)) for name, layer in layers.items()]
    found = set[str]()
    try:
        for _ in range(TRIES if layers else 0):  # a layer may be left out by chance
            called.clear()
            model(x.clone())
            found |= {name for name in layers if called.count(name) > 1}
    except Exception:  # noqa: BLE001  # whatever it is, it is told when the model is tried out
        return frozenset(found)
    finally:
        for hook in hooks:
            hook.remove()
    return frozenset(found)


def _dropouts(model: nn.Module) -> dict[str, nn.Module]:
    return {name: layer for name, layer in model.named_modules() if type(layer) in KINDS or isinstance(layer, CountedDropout)}


def draws_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that take new numbers at every step, by name."""
    for name, module in model.named_modules():
        if isinstance(module, CountedDropout):
            yield f"{name}.draw".lstrip("."), module.draw


def drawn(generator: np.random.Generator, steps: int) -> npt.NDArray[np.int64]:
    """The numbers of a run's next steps, (steps, 2)."""
    numbers: npt.NDArray[Any] = generator.integers(LARGEST, size=(steps, 2))
    return numbers
