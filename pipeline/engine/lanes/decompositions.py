"""Operations that torch itself does not break up, in operations that have a translation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from pipeline.engine.lanes.choices import (
    INTERPOLATIONS,
    chosen,
    chosen_along_several,
    diagonal,
    diagonal_put,
    interpolated_backward,
    put_at,
    reflected_backward,
    replicated_backward,
    triangle_of,
)
from pipeline.engine.lanes.convolutions import convolution, convolution_backward
from pipeline.engine.lanes.sorting import added_along, at_rank, largest, median, ordered, ordered_stably, scattered
from pipeline.engine.lanes.values import UntranslatableError

aten = torch.ops.aten
Ints = Sequence[int]
Table = list[list[int]]


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


def _largest_of(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return x.amax(dim, keepdim), x.argmax(dim, keepdim)


def _smallest_of(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    return x.amin(dim, keepdim), x.argmin(dim, keepdim)


def _trilinear(
    a: Tensor, b: Tensor, c: Tensor, expand_a: Ints, expand_b: Ints, expand_c: Ints, summed: Ints, unroll_dim: int = 1
) -> Tensor:  # fmt: skip
    expanded = []
    for factor, dims in ((a, expand_a), (b, expand_b), (c, expand_c)):
        for dim in dims:
            factor = factor.unsqueeze(dim)  # noqa: PLW2901  # as often as torch says
        expanded.append(factor)
    return prod(expanded[1:], start=expanded[0]).sum(dim=list(summed))


def _known_strides(x: Tensor, *args: Any) -> Tensor:
    """Steps through the memory have a translation where all of a tensor lies there in order."""
    if not x.is_contiguous() or x.storage_offset():
        raise UntranslatableError("there is no translation into C of as_strided on a part of a tensor")
    return NotImplemented  # type: ignore[no-any-return]  # of this function: it is left as it is


def _distances(a: Tensor, b: Tensor, p: float, compute_mode: int | None) -> Tensor:
    if p != 2:
        raise UntranslatableError(f"there is no translation into C of distances in the norm {p}")
    return (a.unsqueeze(-2) - b.unsqueeze(-3)).square().sum(dim=-1).sqrt()


def _distances_backward(gradient: Tensor, a: Tensor, b: Tensor, p: float, distances: Tensor) -> Tensor:
    """Where two points are one, 0."""
    share = torch.where(distances == 0, 0.0, gradient / distances).unsqueeze(-1)
    return (share * (a.unsqueeze(-2) - b.unsqueeze(-3))).sum(dim=-2)


def _shrink_backward(gradient: Tensor, x: Tensor, lambd: float) -> Tensor:
    return torch.where((x >= -lambd) & (x <= lambd), 0.0, gradient)


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
    aten.convolution.default: convolution,
    aten.convolution_backward.default: convolution_backward,
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
    **{getattr(aten, f"replication_pad{dims}d_backward").default: replicated_backward for dims in (1, 2, 3)},
    **{getattr(aten, f"reflection_pad{dims}d_backward").default: reflected_backward for dims in (1, 2, 3)},
    aten.max.dim: _largest_of,
    aten.min.dim: _smallest_of,
    **dict.fromkeys((aten.scatter.src, aten.scatter.value), scattered),
    aten.scatter_add.default: added_along,
    aten.sort.default: ordered,
    aten.sort.stable: ordered_stably,
    aten.topk.default: largest,
    aten.kthvalue.default: at_rank,
    aten.median.dim: median,
    **{getattr(aten, name).default: triangle_of(name) for name in ("triu_indices", "tril_indices")},
    aten.diagonal.default: diagonal,
    aten.diagonal_scatter.default: diagonal_put,
    aten._cdist_forward.default: _distances,
    aten._cdist_backward.default: _distances_backward,
    **dict.fromkeys((aten.as_strided.default, aten.as_strided_scatter.default), _known_strides),
    aten._trilinear.default: _trilinear,
    aten.index.Tensor: chosen_along_several,
    aten._unsafe_index.Tensor: chosen,
    **dict.fromkeys((aten.index_put.default, aten._unsafe_index_put.default), put_at),
    **dict.fromkeys((aten.hardshrink_backward.default, aten.softshrink_backward.default), _shrink_backward),
    **{getattr(aten, f"{name}_backward").default: interpolated_backward(name) for name in INTERPOLATIONS},
    aten.select_backward.default: _select_backward,
    aten.unbind.int: _unbind,
    **dict.fromkeys((aten.split.Tensor, aten.unsafe_split.Tensor), _split),
    **dict.fromkeys((aten.split_with_sizes.default, aten.unsafe_split_with_sizes.default), _split),
}
"""ATen operation → what stands in for it."""
