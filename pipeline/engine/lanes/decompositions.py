"""Operations that torch itself does not break up, in operations that have a translation.

A convolution is a choice of the pixels under each tap and a matrix product, and so are its gradients. The choices are the
same for all runs, so that what belongs to the data alone is computed once for all lanes.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor

from pipeline.engine.lanes.values import UntranslatableError

aten = torch.ops.aten
Ints = list[int]


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, transposed: bool,
    output_padding: Ints, groups: int,
) -> Tensor:  # fmt: skip
    _refuse_unusual(x, transposed, groups)
    taps, shape = _taps(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    columns = _columns(x, taps)
    found = (weight.reshape(weight.shape[0], -1) @ columns).reshape(weight.shape[0], len(x), *shape).transpose(0, 1)
    return found if bias is None else found + bias.reshape(-1, *(1 for _ in shape))


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Ints | None, stride: Ints, padding: Ints, dilation: Ints,
    transposed: bool, output_padding: Ints, groups: int, output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    _refuse_unusual(x, transposed, groups)
    taps, _ = _taps(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    rows = gradient.transpose(0, 1).reshape(weight.shape[0], -1)
    of_x = of_weight = of_bias = None
    if output_mask[0]:
        of_columns = weight.reshape(weight.shape[0], -1).transpose(0, 1) @ rows
        of_x = _scattered(of_columns.reshape(x.shape[1], len(taps), len(x), -1), taps, x)
    if output_mask[1]:
        of_weight = (rows @ _columns(x, taps).transpose(0, 1)).reshape(weight.shape)
    if output_mask[2]:
        of_bias = rows.sum(dim=1)
    return of_x, of_weight, of_bias


def _refuse_unusual(x: Tensor, transposed: bool, groups: int) -> None:
    if transposed or groups != 1 or x.dim() < 3:
        raise UntranslatableError("there is no translation into C of a transposed or grouped convolution")


def _taps(size: Any, kernel: Any, stride: Ints, padding: Ints, dilation: Ints) -> tuple[list[list[int]], tuple[int, ...]]:
    """For each tap of the kernel, the pixel under it at each place of the result, -1 outside; and the result's shape."""
    shape = tuple(
        (s + 2 * p - d * (k - 1) - 1) // step + 1
        for s, k, step, p, d in zip(size, kernel, stride, padding, dilation, strict=True)
    )
    taps = []
    for tap in product(*map(range, kernel)):
        pixels = []
        for place in product(*map(range, shape)):
            at = [i * step - p + t * d for i, step, p, t, d in zip(place, stride, padding, tap, dilation, strict=True)]
            inside = all(0 <= a < s for a, s in zip(at, size, strict=True))
            number = 0
            for a, s in zip(at, size, strict=True):
                number = number * s + a
            pixels.append(number if inside else -1)
        taps.append(pixels)
    return taps, shape


def _columns(x: Tensor, taps: list[list[int]]) -> Tensor:
    """The pixels under each tap at each place, (channels * taps, samples * places)."""
    index = torch.tensor(taps)
    inside = (index >= 0).to(x.dtype)
    chosen = x.reshape(*x.shape[:2], -1)[:, :, index.clamp(min=0).flatten()]
    chosen = chosen.reshape(*x.shape[:2], *index.shape) * inside
    return chosen.permute(1, 2, 0, 3).reshape(x.shape[1] * len(taps), -1)


def _scattered(of_columns: Tensor, taps: list[list[int]], x: Tensor) -> Tensor:
    """The sum over the taps of what falls on each pixel; ``of_columns`` (channels, taps, samples, places)."""
    pixels = x[0, 0].numel()
    place_of = [{pixel: place for place, pixel in enumerate(under)} for under in taps]
    places = torch.tensor([[found.get(pixel, -1) for pixel in range(pixels)] for found in place_of])
    hits = (places >= 0).to(of_columns.dtype)
    number = (places.clamp(min=0) + torch.arange(len(taps))[:, None] * len(taps[0])).flatten()
    flat = of_columns.transpose(1, 2).reshape(x.shape[1], len(x), -1)[:, :, number]
    found = (flat.reshape(x.shape[1], len(x), len(taps), pixels) * hits).sum(dim=2)
    return found.transpose(0, 1).reshape(x.shape)


def _embedding_dense_backward(
    gradient: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Tensor:
    if padding_idx >= 0 or scale_grad_by_freq:
        raise UntranslatableError("there is no translation into C of an embedding with padding_idx or scale_grad_by_freq")
    chosen = (torch.arange(num_weights)[:, None] == indices.flatten()).to(gradient.dtype)
    return chosen @ gradient.reshape(-1, gradient.shape[-1])


def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, hxw: int, group: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    groups = x.reshape(n, group, -1)
    mean = groups.mean(dim=2, keepdim=True)
    centred = groups - mean
    rstd = ((centred * centred).mean(dim=2, keepdim=True) + eps).rsqrt()
    found = (centred * rstd).reshape(x.shape)
    if weight is not None:
        found = found * _of_channels(weight, x)
    return (found if bias is None else found + _of_channels(bias, x)), mean[:, :, 0], rstd[:, :, 0]


def _group_norm_backward(
    gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor | None, n: int, c: int, hxw: int, group: int,
    output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    scale = rstd[:, :, None]
    normed = (x.reshape(n, group, -1) - mean[:, :, None]) * scale
    of_normed = (gradient if weight is None else gradient * _of_channels(weight, x)).reshape(n, group, -1)
    of_x = of_weight = of_bias = None
    if output_mask[0]:
        common = of_normed.mean(dim=2, keepdim=True) + normed * (of_normed * normed).mean(dim=2, keepdim=True)
        of_x = (scale * (of_normed - common)).reshape(x.shape)
    if output_mask[1]:
        of_weight = (gradient * normed.reshape(x.shape)).reshape(n, c, -1).sum(dim=2).sum(dim=0)
    if output_mask[2]:
        of_bias = gradient.reshape(n, c, -1).sum(dim=2).sum(dim=0)
    return of_x, of_weight, of_bias


def _of_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *(1 for _ in x.shape[2:]))


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
    aten.native_group_norm.default: _group_norm,
    aten.native_group_norm_backward.default: _group_norm_backward,
    aten.embedding_dense_backward.default: _embedding_dense_backward,
}
"""ATen operation → what stands in for it."""
