"""Dropout whose masks follow from numbers that are handed in: independent between runs, the same at every repetition.

torch draws masks from one stream for the whole process, which runs that train side by side cannot share.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

LARGEST = 2**24
"""Numbers below this are exact in single precision, in which they are handed over."""
WORD = 2**32


class CountedDropout(nn.Module):
    """``torch.nn.Dropout`` (for ``whole_channels``, ``Dropout1d`` to ``Dropout3d``) with masks from the buffer ``draw``.

    ``draw`` holds two whole numbers from 0 to ``LARGEST`` - 1, new ones at each step of each run; ``layer`` tells the layers
    of a model apart. Each element's number is hashed with them; of a part of a batch, a third number says how many samples
    are before it.
    """

    draw: Tensor

    def __init__(self, p: float, layer: int, *, whole_channels: bool = False) -> None:
        super().__init__()
        self.p, self.layer, self.whole_channels = p, layer, whole_channels
        self.register_buffer("draw", torch.zeros(2), persistent=False)

    def extra_repr(self) -> str:
        """Its arguments, as torch shows them."""
        return f"p={self.p}, layer={self.layer}, whole_channels={self.whole_channels}"

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (samples, …) with elements (or channels) set to 0 with probability p, the others divided by 1 - p."""
        if not self.training or self.p == 0:
            return x
        if self.p == 1:
            return torch.zeros_like(x)
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:])) if self.whole_channels else x.shape
        count = math.prod(shape)
        number = torch.arange(count, device=x.device).reshape(shape)
        first, second, *before = self.draw.long().unbind()
        if before:
            number = number + before[0] * (count // len(x))
        bits = hashed(number, first, second, self.layer)
        return torch.where(bits >= round(self.p * WORD), x / (1 - self.p), 0.0)


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


KINDS: dict[type[nn.Module], bool] = {nn.Dropout: False, nn.Dropout1d: True, nn.Dropout2d: True, nn.Dropout3d: True}
"""torch's own that have a counted form, and whether they drop whole channels."""


def counted(model: nn.Module) -> nn.Module:
    """The model with counted dropout in place of torch's own."""
    if type(model) in KINDS:
        return _counted(model, 0)
    found = [
        (parent, name, child) for parent in model.modules() for name, child in parent.named_children() if type(child) in KINDS
    ]
    for layer, (parent, name, child) in enumerate(found):
        setattr(parent, name, _counted(child, layer))
    return model


def _counted(dropout: Any, layer: int) -> CountedDropout:
    return CountedDropout(float(dropout.p), layer, whole_channels=KINDS[type(dropout)])


def draws_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The buffers that take new numbers at every step, by name."""
    for name, module in model.named_modules():
        if isinstance(module, CountedDropout):
            yield f"{name}.draw".lstrip("."), module.draw


def drawn(generator: np.random.Generator, steps: int) -> npt.NDArray[np.int64]:
    """The numbers of a run's next steps, (steps, 2)."""
    numbers: npt.NDArray[Any] = generator.integers(LARGEST, size=(steps, 2))
    return numbers
