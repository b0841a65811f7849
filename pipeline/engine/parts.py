"""Layers that torch computes by one operation, by the operations that they are made of.

Of what torch has joined for speed, neither ``vmap`` nor the compiler to C knows how it is made: attention, recurrent layers.
Nor does BatchNorm know which samples only fill a batch up.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.engine.drawing import COMPOSED, Draws, Made, Replacing
from pipeline.engine.recurrent import CELLS, RECURRENT


@contextmanager
def in_parts(device: torch.device, weights: Tensor | None = None, draws: Draws | None = None) -> Iterator[None]:
    """In the block, layers are computed by the operations that they are made of.

    Statistics of a batch are those of the samples whose ``weights`` are above 0, and what is drawn is of the ``draws``.
    """
    normed: Made = {f.batch_norm: partial(_batch_norm, weights)}
    drawing = Replacing({**normed, **draws.made()}, COMPOSED) if draws else Replacing(normed)
    if device.type != "cpu":
        with drawing:
            yield
        return
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), Replacing(_MADE), drawing:
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)


def statistics_of(model: nn.Module) -> list[str]:
    """The buffers that BatchNorm layers change in training, by name."""
    return [
        f"{place}.{name}".lstrip(".")
        for place, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        for name, _ in layer.named_buffers(recurse=False)
    ]


def _batch_norm(
    weights: Tensor | None, x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor | None = None,
    bias: Tensor | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """``x`` is (samples, channels, …)."""
    per_channel = (1, -1, *(1 for _ in x.shape[2:]))
    if not training:
        assert running_mean is not None
        assert running_var is not None
        centred, variance = x - running_mean.reshape(per_channel), running_var.reshape(per_channel)
    else:
        counted = _counted(weights, x)
        count = counted.sum() * (x[0, 0].numel())
        axes = (0, *range(2, x.dim()))
        mean = (x * counted).sum(axes, keepdim=True) / count
        centred = x - mean
        variance = (centred * centred * counted).sum(axes, keepdim=True) / count
        for running, found in ((running_mean, mean), (running_var, variance * count / (count - 1))):
            if running is not None:
                running.copy_(momentum * found.detach().flatten() + (1 - momentum) * running)
    normed = centred * (variance + eps).rsqrt()
    if weight is not None:
        normed = normed * weight.reshape(per_channel)
    return normed if bias is None else normed + bias.reshape(per_channel)


def _counted(weights: Tensor | None, x: Tensor) -> Tensor:
    """1 for each sample that is one, 0 for what fills the batch up."""
    if weights is None:
        return x.new_ones(len(x), *(1 for _ in x.shape[1:]))
    if len(x) != len(weights):
        raise ValueError("BatchNorm of something else than a batch's samples")
    return (weights > 0).to(x.dtype).reshape(-1, *(1 for _ in x.shape[1:]))


def _one_hot(tensor: Tensor, num_classes: int = -1) -> Any:
    """Of a class that is out of bounds all are 0, where torch raises by looking at the values."""
    return (tensor.unsqueeze(-1) == torch.arange(num_classes)).long() if num_classes > 0 else NotImplemented


def _embedding_bag(
    x: Tensor, weight: Tensor, offsets: Tensor | None = None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False, padding_idx: int | None = None,
) -> Any:  # fmt: skip
    """Of bags of one size (samples, words), the mean, sum or largest of their words' embeddings."""
    if x.dim() != 2 or max_norm is not None or scale_grad_by_freq or (mode == "max" and padding_idx is not None):
        return NotImplemented
    words = f.embedding(x, weight, padding_idx)
    if mode == "max":
        return words.amax(dim=1)
    counted = torch.ones_like(words[..., :1]) if padding_idx is None else (x != padding_idx).to(words.dtype).unsqueeze(-1)
    if per_sample_weights is not None:
        words = words * per_sample_weights.unsqueeze(-1)
    total = (words * counted).sum(dim=1)
    return total if mode == "sum" else total / counted.sum(dim=1).clamp(min=1)


def _rrelu(x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False) -> Any:
    """In evaluation; what it draws in training is a matter of :mod:`pipeline.engine.drawing`."""
    return NotImplemented if training else f.leaky_relu(x, (lower + upper) / 2, inplace)


_MADE: Made = {**RECURRENT, **CELLS, f.one_hot: _one_hot, f.embedding_bag: _embedding_bag, f.rrelu: _rrelu}
