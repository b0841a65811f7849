"""Operations that torch itself does not break up, in operations that have a translation.

A convolution is a product of its weights and the pixels under them, and so are its gradients. Where the pixels are is
looked at, as windows of the padded image, and nothing is copied: see :mod:`pipeline.engine.lanes.products`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from pipeline.engine.lanes.values import UntranslatableError

aten = torch.ops.aten
Ints = Sequence[int]
Table = list[list[int]]


def _convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Ints, padding: Ints, dilation: Ints, transposed: bool,
    output_padding: Ints, groups: int,
) -> Tensor:  # fmt: skip
    _refuse_unusual(x, transposed)
    found = _multiplied(weight, _under_taps(x, weight.shape[2:], stride, padding, dilation), groups)
    return found if bias is None else found + bias.reshape(-1, *(1 for _ in x.shape[2:]))


def _convolution_backward(
    gradient: Tensor, x: Tensor, weight: Tensor, bias_sizes: Ints | None, stride: Ints, padding: Ints, dilation: Ints,
    transposed: bool, output_padding: Ints, groups: int, output_mask: list[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # fmt: skip
    _refuse_unusual(x, transposed)
    of_x = of_weight = of_bias = None
    if output_mask[0]:
        of_x = _of_pixels(gradient, x, weight, stride, padding, dilation, groups)
    if output_mask[1]:
        places, taps = range(3, x.dim() + 1), range(x.dim() + 1, 2 * x.dim() - 1)
        under = _in_groups(_under_taps(x, weight.shape[2:], stride, padding, dilation), groups)
        of_each = [groups] if groups > 1 else []
        columns = under.permute(1, 0, *places, 2, *taps).reshape(*of_each, gradient[:, 0].numel(), -1)
        rows = _in_groups(gradient, groups).permute(1, 2, 0, *places).reshape(*of_each, len(weight) // groups, -1)
        of_weight = (rows @ columns).reshape(weight.shape)
    if output_mask[2]:
        of_bias = gradient.sum(dim=[0, *range(2, x.dim())])
    return of_x, of_weight, of_bias


def _of_pixels(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: Ints, padding: Ints, dilation: Ints, groups: int
) -> Tensor:  # fmt: skip
    """The gradient of the pixels: of those that lie a stride apart together, since the same taps reach them."""
    turned = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2)  # groups, channels in and out of each, *taps
    turned = turned.reshape(x.shape[1], -1, *weight.shape[2:])
    counts = [-(-size // step) for size, step in zip(x.shape[2:], stride, strict=True)]
    parts = []
    for first in product(*map(range, stride)):
        axes = zip(first, weight.shape[2:], stride, padding, dilation, strict=True)
        reaching = [_reaching(*of_axis) for of_axis in axes]
        nothing = x.new_zeros(*x.shape[:2], *counts)
        parts.append(_reached(gradient, turned, reaching, counts, groups) if all(reaching) else nothing)
    return _interleaved(parts, counts, stride, x)


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


def _interleaved(parts: Sequence[Tensor], counts: Ints, stride: Ints, x: Tensor) -> Tensor:
    """All pixels, of parts of them that lie a stride apart."""
    dims = len(counts)
    whole = parts[0]
    if len(parts) > 1:
        order = [axis for dim in range(2, 2 + dims) for axis in (dim, dim + dims)]
        whole = torch.stack(list(parts), dim=-1).reshape(*whole.shape, *stride).permute(0, 1, *order)
        whole = whole.reshape(*x.shape[:2], *(count * step for count, step in zip(counts, stride, strict=True)))
    for axis, size in enumerate(x.shape[2:], start=2):
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


def _refuse_unusual(x: Tensor, transposed: bool) -> None:
    if transposed or x.dim() < 3:
        raise UntranslatableError("there is no translation into C of a transposed convolution")


def _table(numbers: Table, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Where there is a number, as 1 and 0; and the numbers, 0 where there is none (-1)."""
    return torch.tensor([[number >= 0 for number in row] for row in numbers], dtype=dtype), torch.tensor(_numbers(numbers))


def _numbers(table: Table) -> Table:
    return [[max(number, 0) for number in row] for row in table]


def _embedding_dense_backward(
    gradient: Tensor, indices: Tensor, num_weights: int, padding_idx: int, scale_grad_by_freq: bool
) -> Tensor:
    if scale_grad_by_freq:
        raise UntranslatableError("there is no translation into C of an embedding with scale_grad_by_freq")
    numbers = torch.arange(num_weights)[:, None]
    chosen = (numbers == indices.flatten()) & (numbers != padding_idx)
    return chosen.to(gradient.dtype) @ gradient.reshape(-1, gradient.shape[-1])


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


@dataclass(frozen=True)
class _Windows:
    """Which pixels each place of a pooled result looks at: (pixels of a window, places), -1 where there are fewer."""

    pixels: Table
    shape: tuple[int, ...]

    @classmethod
    def of(cls, size: Any, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, *, ceil_mode: bool = False) -> "_Windows":
        """Those of a kernel; with ``ceil_mode`` also those that begin inside and reach beyond the end."""
        dims = len(size)
        kernel, padding, dilation = (_each(given, dims) for given in (kernel, padding, dilation))
        stride = _each(stride, dims) if stride else kernel
        of_axis = []
        for s, k, step, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
            room = s + 2 * p - d * (k - 1) - 1
            count = room // step + 1
            if ceil_mode and room % step and count * step < s + p:
                count += 1
            of_axis.append([[i * step - p + t * d for t in range(k)] for i in range(count)])
        return cls._product(size, of_axis)

    @classmethod
    def adaptive(cls, size: Any, output: Ints) -> "_Windows":
        """Those that share the pixels out among so many places."""
        outputs = _each(output, len(size))
        of_axis = [
            [list(range(i * s // o, -(-(i + 1) * s // o))) for i in range(o)] for s, o in zip(size, outputs, strict=True)
        ]
        return cls._product(size, of_axis)

    @classmethod
    def _product(cls, size: Any, of_axis: list[list[list[int]]]) -> "_Windows":
        shape = tuple(map(len, of_axis))
        widest = [max(map(len, windows)) for windows in of_axis]
        filled = [[w + [-1] * (wide - len(w)) for w in windows] for windows, wide in zip(of_axis, widest, strict=True)]
        table = []
        for tap in product(*map(range, widest)):
            at = [
                [windows[i][t] for windows, i, t in zip(filled, place, tap, strict=True)]
                for place in product(*map(range, shape))
            ]
            table.append([_number(where, size) for where in at])
        return cls(table, shape)

    def seen(self, x: Tensor, outside: float) -> Tensor:
        """What lies in each window, (samples, channels, pixels of a window, places)."""
        inside, numbers = _table(self.pixels, torch.bool)
        chosen = _flat(x, len(self.shape))[:, :, numbers.flatten()]
        chosen = chosen.reshape(*chosen.shape[:2], len(self.pixels), -1)
        return chosen if self._is_full else torch.where(inside, chosen, outside)

    def seeing(self, pixels: int) -> Table:
        """For each pixel the places that look at it: (places, pixels), -1 where there are fewer."""
        found: list[list[int]] = [[] for _ in range(pixels)]
        for under in self.pixels:
            for place, pixel in enumerate(under):
                if pixel >= 0:
                    found[pixel].append(place)
        most = max(map(len, found))
        return [[places[i] if i < len(places) else -1 for places in found] for i in range(most)]

    @property
    def _is_full(self) -> bool:
        return all(pixel >= 0 for under in self.pixels for pixel in under)

    def as_torch(self, found: Tensor, x: Tensor) -> Tensor:
        """A result (samples, channels, places) in the shape that it has for ``x``."""
        return found.reshape(*x.shape[: -len(self.shape)], *self.shape)


def _each(given: Ints, dims: int) -> Ints:
    return list(given) * dims if len(given) == 1 else list(given)


def _number(place: list[int], size: Any) -> int:
    """The pixel's number, row by row; -1 outside."""
    number = 0
    for at, s in zip(place, size, strict=True):
        if not 0 <= at < s:
            return -1
        number = number * s + at
    return number


def _flat(x: Tensor, dims: int) -> Tensor:
    """(samples, channels, pixels), of one sample without its axis too."""
    return x.reshape(-1, x.shape[-dims - 1], prod(x.shape[-dims:]))


def _largest(x: Tensor, windows: _Windows) -> tuple[Tensor, Tensor]:
    seen = windows.seen(x, float("-inf"))
    tap = seen.argmax(dim=2, keepdim=True)
    # A table of the pixels cannot be asked by what differs between runs; the taps that are not the largest count as 0.
    is_largest = torch.arange(len(windows.pixels))[:, None] == tap
    pixel = (torch.tensor(windows.pixels) * is_largest).sum(dim=2)
    return windows.as_torch(seen.amax(dim=2), x), windows.as_torch(pixel, x)


def _largest_backward(gradient: Tensor, x: Tensor, pixel: Tensor, windows: _Windows) -> Tensor:
    dims = len(windows.shape)
    size = prod(x.shape[-dims:])
    is_seen, places = _table(windows.seeing(size), torch.bool)
    from_where, of_places = (_flat(values, dims)[:, :, places.flatten()] for values in (pixel, gradient))
    shape = (-1, x.shape[-dims - 1], *places.shape)
    mine = (from_where.reshape(shape) == torch.arange(size)) & is_seen
    return torch.where(mine, of_places.reshape(shape), 0.0).sum(dim=2).reshape(x.shape)


def _max_pool(
    x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = (0,), dilation: Ints = (1,), ceil_mode: bool = False
) -> tuple[Tensor, Tensor]:  # fmt: skip
    windows = _Windows.of(x.shape[-_dims(kernel, x) :], kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    return _largest(x, windows)


def _max_pool_backward(
    gradient: Tensor, x: Tensor, kernel: Ints, stride: Ints, padding: Ints, dilation: Ints, ceil_mode: bool, pixel: Tensor
) -> Tensor:
    windows = _Windows.of(x.shape[-_dims(kernel, x) :], kernel, stride, padding, dilation, ceil_mode=ceil_mode)
    return _largest_backward(gradient, x, pixel, windows)


def _adaptive_max_pool(x: Tensor, output: Ints) -> tuple[Tensor, Tensor]:
    return _largest(x, _Windows.adaptive(x.shape[-len(output) :], output))


def _adaptive_max_pool_backward(gradient: Tensor, x: Tensor, pixel: Tensor) -> Tensor:
    shape = gradient.shape[-(x.dim() - 2) :]  # torch's own have two dimensions, or three, and samples here
    return _largest_backward(gradient, x, pixel, _Windows.adaptive(x.shape[-len(shape) :], list(shape)))


def _dims(kernel: Ints, x: Tensor) -> int:
    return len(kernel) if len(kernel) > 1 else x.dim() - 2


def _mean(x: Tensor, windows: _Windows, counts: Tensor) -> Tensor:
    """The sum of each window over its place's count."""
    return windows.as_torch(windows.seen(x, 0.0).sum(dim=2) / counts, x)


def _mean_backward(gradient: Tensor, x: Tensor, windows: _Windows, counts: Tensor) -> Tensor:
    dims = len(windows.shape)
    is_seen, places = _table(windows.seeing(prod(x.shape[-dims:])), torch.bool)
    scaled = (_flat(gradient, dims) / counts)[:, :, places.flatten()]
    scaled = scaled.reshape(-1, x.shape[-dims - 1], *places.shape)
    return torch.where(is_seen, scaled, 0.0).sum(dim=2).reshape(x.shape)


def _average(
    x: Tensor, kernel: Ints, stride: Ints, padding: Ints, ceil_mode: bool, count_include_pad: bool, divisor: int | None
) -> tuple[_Windows, Tensor]:
    """The windows, and the number of pixels that counts for each."""
    size = x.shape[-_dims(kernel, x) :]
    windows = _Windows.of(size, kernel, stride, padding, [1], ceil_mode=ceil_mode)
    padded = [s + 2 * p for s, p in zip(size, _each(padding, len(size)), strict=True)]
    counted = _Windows.of(padded, kernel, stride, [0], [1], ceil_mode=ceil_mode) if count_include_pad else windows
    if counted.shape != windows.shape:
        raise UntranslatableError("there is no translation into C of an average over windows that reach beyond the padding")
    numbers = [divisor or sum(pixel >= 0 for pixel in under) for under in zip(*counted.pixels, strict=True)]
    return windows, torch.tensor(numbers).to(x.dtype)


def _avg_pool(
    x: Tensor, kernel: Ints, stride: Ints = (), padding: Ints = (0,), ceil_mode: bool = False, count_include_pad: bool = True,
    divisor: int | None = None,
) -> Tensor:  # fmt: skip
    return _mean(x, *_average(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor))


def _avg_pool_backward(
    gradient: Tensor, x: Tensor, kernel: Ints, stride: Ints, padding: Ints, ceil_mode: bool, count_include_pad: bool,
    divisor: int | None,
) -> Tensor:  # fmt: skip
    return _mean_backward(gradient, x, *_average(x, kernel, stride, padding, ceil_mode, count_include_pad, divisor))


def _counts(windows: _Windows, x: Tensor) -> Tensor:
    return torch.tensor([sum(pixel >= 0 for pixel in under) for under in zip(*windows.pixels, strict=True)]).to(x.dtype)


def _adaptive_avg_pool(x: Tensor, output: Ints) -> Tensor:
    windows = _Windows.adaptive(x.shape[-len(output) :], output)
    return _mean(x, windows, _counts(windows, x))


def _adaptive_avg_pool_backward(gradient: Tensor, x: Tensor) -> Tensor:
    output = list(gradient.shape[-(x.dim() - 2) :])
    windows = _Windows.adaptive(x.shape[-len(output) :], output)
    return _mean_backward(gradient, x, windows, _counts(windows, x))


def _constant_pad_nd(x: Tensor, pad: Ints, value: float = 0) -> Tensor:
    """Last axis first; what is negative is cut off, and the rest has a translation."""
    if not pad or min(pad) >= 0:
        return NotImplemented  # type: ignore[no-any-return]  # of this function: it is left as it is
    for number, (before, behind) in enumerate(zip(pad[::2], pad[1::2], strict=True)):
        axis = x.dim() - 1 - number
        x = x.narrow(axis, max(0, -before), x.shape[axis] - max(0, -before) - max(0, -behind))
    return torch.constant_pad_nd(x, [max(0, edge) for edge in pad], value)


def _select_backward(gradient: Tensor, sizes: Ints, dim: int, index: int) -> Tensor:
    dim, size = dim % len(sizes), sizes[dim]
    here = (torch.arange(size) == index % size).reshape(-1, *(1 for _ in sizes[dim + 1 :]))
    return torch.where(here, gradient.unsqueeze(dim), 0.0)


def _unbind(x: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    return tuple(x.select(dim, place) for place in range(x.shape[dim]))


def _split(x: Tensor, sizes: int | Ints, dim: int = 0) -> tuple[Tensor, ...]:
    whole = x.shape[dim]
    each = [min(sizes, whole - i) for i in range(0, whole, sizes)] if isinstance(sizes, int) else list(sizes)
    starts = [sum(each[:place]) for place in range(len(each))]
    return tuple(x.narrow(dim, start, size) for start, size in zip(starts, each, strict=True))


DECOMPOSITIONS: Mapping[Any, Callable[..., Any]] = {
    aten.convolution.default: _convolution,
    aten.convolution_backward.default: _convolution_backward,
    aten.native_group_norm.default: _group_norm,
    aten.native_group_norm_backward.default: _group_norm_backward,
    aten.embedding_dense_backward.default: _embedding_dense_backward,
    **dict.fromkeys((aten.max_pool2d_with_indices.default, aten.max_pool3d_with_indices.default), _max_pool),
    aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
    aten.max_pool3d_with_indices_backward.default: _max_pool_backward,
    **dict.fromkeys((aten.avg_pool2d.default, aten.avg_pool3d.default), _avg_pool),
    **dict.fromkeys((aten.avg_pool2d_backward.default, aten.avg_pool3d_backward.default), _avg_pool_backward),
    **dict.fromkeys((aten._adaptive_avg_pool2d.default, aten._adaptive_avg_pool3d.default), _adaptive_avg_pool),
    aten._adaptive_avg_pool2d_backward.default: _adaptive_avg_pool_backward,
    aten._adaptive_avg_pool3d_backward.default: _adaptive_avg_pool_backward,
    **dict.fromkeys((aten.adaptive_max_pool2d.default, aten.adaptive_max_pool3d.default), _adaptive_max_pool),
    aten.adaptive_max_pool2d_backward.default: _adaptive_max_pool_backward,
    aten.adaptive_max_pool3d_backward.default: _adaptive_max_pool_backward,
    aten.constant_pad_nd.default: _constant_pad_nd,
    aten.select_backward.default: _select_backward,
    aten.unbind.int: _unbind,
    **dict.fromkeys((aten.split.Tensor, aten.unsafe_split.Tensor), _split),
    **dict.fromkeys((aten.split_with_sizes.default, aten.unsafe_split_with_sizes.default), _split),
}
"""ATen operation → what stands in for it."""
