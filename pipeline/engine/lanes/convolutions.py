"""Convolutions and their gradients, transposed ones too, in operations that have a translation.

A convolution is a product of its weights and the pixels under them, and so are its gradients. Where the pixels are is
looked at, as windows of the padded image, and nothing is copied: see :mod:`pipeline.engine.lanes.products`.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from pipeline.engine.lanes.values import UntranslatableError

aten = torch.ops.aten
Ints = Sequence[int]


def convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, transposed: bool,
    output_padding: Ints, groups: int,
) -> Tensor:  # fmt: skip
    """``F.conv`` or ``F.conv_transpose``, of any number of axes."""
    _refuse_without_axes(x)
    how = stride, padding, dilation
    if transposed:  # what gives a convolution's pixels their gradient
        axes = zip(x.shape[2:], weight.shape[2:], *how, output_padding, strict=True)
        sizes = [(size - 1) * step - 2 * pad + gap * (taps - 1) + 1 + more for size, taps, step, pad, gap, more in axes]
        found = _of_pixels(x, (len(x), weight.shape[1] * groups, *sizes), weight, *how, groups)
    else:
        found = _multiplied(weight, _under_taps(x, weight.shape[2:], *how), groups)
    return found if bias is None else found + bias.reshape(-1, *(1 for _ in x.shape[2:]))


def convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Ints | None, stride: Ints, padding: Ints, dilation: Ints,
    transposed: bool, output_padding: Ints, groups: int, output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    """The gradients of the input, the weights and the bias, where they are asked for."""
    _refuse_without_axes(x)
    how = stride, padding, dilation
    pixels, places = (gradient, x) if transposed else (x, gradient)
    under = _under_taps(pixels, weight.shape[2:], *how)
    for axis, size in enumerate(places.shape[2:], start=2):
        under = under.narrow(axis, 0, size)  # the output_padding of a transposed one may have room for more
    of_x = of_weight = of_bias = None
    if output_mask[0]:
        of_x = _multiplied(weight, under, groups) if transposed else _of_pixels(gradient, x.shape, weight, *how, groups)
    if output_mask[1]:
        of_weight = _of_weight(places, under, weight.shape, groups)
    if output_mask[2]:
        of_bias = gradient.sum(dim=[0, *range(2, x.dim())])
    return of_x, of_weight, of_bias


def _of_weight(places: Tensor, under: Tensor, shape: Ints, groups: int) -> Tensor:
    """The gradient of weights of that shape, by what is at each place and the pixels under the taps there."""
    axes, taps = range(3, places.dim() + 1), range(places.dim() + 1, 2 * places.dim() - 1)
    of_each = [groups] if groups > 1 else []
    columns = _in_groups(under, groups).permute(1, 0, *axes, 2, *taps).reshape(*of_each, places[:, 0].numel(), -1)
    rows = _in_groups(places, groups).permute(1, 2, 0, *axes).reshape(*of_each, shape[0] // groups, -1)
    return (rows @ columns).reshape(shape)


def _of_pixels(
    gradient: Tensor, shape: Ints, weight: Tensor, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:  # fmt: skip
    """The gradient of pixels of that shape: of those that lie a stride apart together, since the same taps reach them."""
    turned = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)  # groups, channels in and out of each, *taps
    turned = turned.reshape(shape[1], -1, *weight.shape[2:])
    counts = [-(-size // step) for size, step in zip(shape[2:], stride, strict=True)]
    parts = []
    for first in product(*map(range, stride)):
        axes = zip(first, weight.shape[2:], stride, padding, dilation, strict=True)
        reaching = [_reaching(*of_axis) for of_axis in axes]
        nothing = gradient.new_zeros(*shape[:2], *counts)
        parts.append(_reached(gradient, turned, reaching, counts, groups) if all(reaching) else nothing)
    return _interleaved(parts, counts, stride, shape)


def _reaching(first: int, taps: int, stride: int, padding: int, dilation: int) -> list[tuple[int, int]]:
    """Along an axis, the taps that reach every ``stride``-th pixel from the ``first`` on.

    Beside each, how far ahead of a pixel, among these, the place lies that it is seen from.
    """
    ahead = ((tap, tap * dilation - first - padding) for tap in range(taps))
    return [(tap, distance // stride) for tap, distance in ahead if distance % stride == 0]


def _reached(gradient: Tensor, taps: Tensor, reaching: Sequence[list[tuple[int, int]]], counts: Ints, groups: int) -> Tensor:
    """The gradient of the pixels that these taps reach along each axis; ``counts`` says how many they are."""
    kernel, gaps = [], []
    for axis, (own, count) in enumerate(zip(reaching, counts, strict=True), start=2):
        (tap, ahead), (last_tap, farthest) = own[0], own[-1]
        every, apart = (own[1][0] - tap, own[1][1] - ahead) if len(own) > 1 else (1, 1)
        taps = aten.slice(taps, axis, tap, last_tap + 1, every).flip(axis)
        gradient = _padded(gradient, axis, farthest, count - ahead - gradient.shape[axis])
        kernel.append(len(own))
        gaps.append(apart)
    return _multiplied(taps, _seen(gradient, kernel, [1] * len(kernel), gaps), groups)


def _interleaved(parts: Sequence[Tensor], counts: Ints, stride: Ints, shape: Ints) -> Tensor:
    """All pixels, of parts of them that lie a stride apart."""
    dims = len(counts)
    whole = parts[0]
    if len(parts) > 1:
        order = [axis for dim in range(2, 2 + dims) for axis in (dim, dim + dims)]
        whole = torch.stack(list(parts), dim=-1).reshape(*whole.shape, *stride).permute(0, 1, *order)
        whole = whole.reshape(*shape[:2], *(count * step for count, step in zip(counts, stride, strict=True)))
    for axis, size in enumerate(shape[2:], start=2):
        whole = whole.narrow(axis, 0, size)
    return whole


def _padded(x: Tensor, axis: int, before: int, behind: int) -> Tensor:
    """With zeros along an axis; what is negative is cut off."""
    return torch.constant_pad_nd(x, [0, 0] * (x.dim() - 1 - axis) + [before, behind])


def _under_taps(x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints) -> Tensor:
    """The pixels under each tap of the kernel at each place of the result, (samples, channels, *places, *taps)."""
    if any(padding):
        x = torch.constant_pad_nd(x, [p for p in reversed(padding) for _ in range(2)])
    return _seen(x, kernel, stride, dilation)


def _seen(x: Tensor, kernel: Ints, stride: Ints, dilation: Ints) -> Tensor:
    """Windows of that size over all places, (samples, channels, *places, *taps)."""
    for axis, (k, step, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        x = x.unfold(2 + axis, d * (k - 1) + 1, step)
        x = x if d == 1 else x[..., ::d]
    return x


def _multiplied(weight: Tensor, under: Tensor, groups: int) -> Tensor:
    """Weights (channels out, channels in of a group, *taps) by what is under them: (samples, channels out, *places)."""
    samples, places = len(under), under.shape[2 : weight.dim()]
    rows = weight.reshape(groups, len(weight) // groups, -1)
    axes = range(3, 3 + len(places)), range(3 + len(places), 3 + 2 * len(places))
    columns = _in_groups(under, groups).permute(0, 1, 2, *axes[1], *axes[0])
    columns = columns.reshape(samples * groups, rows.shape[2], -1)
    rows = rows.expand(samples, *rows.shape).reshape(samples * groups, *rows.shape[1:])
    return torch.bmm(rows, columns).reshape(samples, len(weight), *places)


def _in_groups(x: Tensor, groups: int) -> Tensor:
    """(samples, groups, channels of each, …)."""
    return x.reshape(len(x), groups, -1, *x.shape[2:])


def _refuse_without_axes(x: Tensor) -> None:
    if x.dim() < 3:
        raise UntranslatableError("there is no translation into C of a convolution without axes")
