"""Operations that move or choose elements, or make them of nothing: other indices of the same values, in C.

Each takes all arguments of its operation, in the order of its schema, and refuses what it does not know.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import torch

from pipeline.engine.lanes.values import (
    C_TYPES,
    Index,
    Kind,
    UntranslatableError,
    Value,
    broadcast,
    computed,
    converted,
    linear,
    permute,
    reshape,
)

aten, prims = torch.ops.aten, torch.ops.prims
Shape = tuple[int, ...]
Make = Callable[[list[Any], Shape, Kind], Value]


def literal(value: Any, kind: Kind) -> str:
    """A Python number in C, as one of that kind."""
    if kind == "real":
        special = {float("inf"): "INFINITY", float("-inf"): "-INFINITY"}
        number = float(value)
        return special.get(number, "NAN" if isnan(number) else f"(real){number!r}")
    if kind == "bool":
        return str(int(bool(value)))
    bits = 32 if kind == "int32" else 64
    if int(value) != value or not -(2 ** (bits - 1)) < value < 2 ** (bits - 1):
        raise UntranslatableError(f"with the number {value!r} as a whole one of {bits} bits")
    return str(int(value))


def _same(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source: Value = args[0]
    return source


def _expanded(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, _ = args
    return broadcast(source, shape)


def _reshaped(args: list[Any], shape: Shape, kind: Kind) -> Value:
    return reshape(args[0], shape)


def _permuted(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, order = args
    return permute(source, order)


def _transposed(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, first, second = args if len(args) > 1 else (args[0], 0, -1)
    order = list(range(len(source.shape)))
    if order:
        order[first], order[second] = order[second], order[first]
    return permute(source, order)


def _selected(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, axis, number = args
    axis %= len(source.shape)
    at = str(number % source.shape[axis])
    chosen: Value = source.view(shape, lambda i: (*i[:axis], at, *i[axis:]))
    return chosen


def _sliced(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, axis, start, _, step = args
    axis %= len(source.shape)
    size = source.shape[axis]
    first = min(max((start or 0) + size * ((start or 0) < 0), 0), size)
    part: Value = source.view(shape, lambda i: tuple(f"({j} * {step} + {first})" if a == axis else j for a, j in enumerate(i)))
    return part


def _windows(args: list[Any], shape: Shape, kind: Kind) -> Value:
    """``unfold``: what lies in windows along an axis, as a last one."""
    source, axis, _, step = args
    axis %= len(source.shape)
    seen: Value = source.view(
        shape, lambda i: tuple(f"({j} * {step} + {i[-1]})" if a == axis else j for a, j in enumerate(i[:-1]))
    )
    return seen


def _strided(args: list[Any], shape: Shape, kind: Kind) -> Value:
    """``as_strided``: of all elements in a row, those at so many steps along each axis."""
    source, sizes, strides, offset = args
    _check_reach(source, sizes, strides, offset)
    flat: Value = reshape(source, (source.size,))
    return flat.view(shape, lambda i: (_steps(i, strides, offset),))


def _check_reach(source: Value, sizes: Sequence[int], strides: Sequence[int], offset: int | None) -> None:
    """In torch such steps may lead into what lies behind a tensor in the same memory, of which nothing is known here."""
    if (offset or 0) + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True)) >= source.size:
        raise UntranslatableError("beyond the elements of a tensor")


def _steps(index: Index, strides: Sequence[int], offset: int | None) -> str:
    return f"({' + '.join([f'{i} * {stride}' for i, stride in zip(index, strides, strict=True)] + [str(offset or 0)])})"


def _flipped(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, axes = args
    turned = {axis % len(shape) for axis in axes}
    found: Value = source.view(shape, lambda i: tuple(f"({shape[a] - 1} - {j})" if a in turned else j for a, j in enumerate(i)))
    return found


def _spread(args: list[Any], shape: Shape, kind: Kind) -> Value:
    """``prims.broadcast_in_dim``: each dimension at a place of its own among those of the result."""
    source, _, places = args

    def index(i: Index) -> Index:
        return tuple("0" if size == 1 else i[place] for size, place in zip(source.shape, places, strict=True))

    return Value.view(source, shape, index)


def _constant_of(place: int | None, number: float = 0) -> Make:
    def make(args: list[Any], shape: Shape, kind: Kind) -> Value:
        given = number if place is None else args[place]
        if isinstance(given, Value):
            raise UntranslatableError("of a tensor")
        text = literal(given, kind)
        return replace(computed(shape, kind, varying=False, at=lambda index: text, cheap=True), is_constant=True)

    return make


def _counted(args: list[Any], shape: Shape, kind: Kind) -> Value:
    start, step = (args[0] if len(args) > 1 else 0), (args[2] if len(args) > 2 else 1)
    if kind != "real" and not (isinstance(start, int) and isinstance(step, int)):
        raise UntranslatableError("of whole numbers, in fractions")
    counted = computed(shape, kind, varying=False, at=lambda i: f"(({C_TYPES[kind]})({start} + {i[0]} * {step}))", cheap=True)
    return replace(counted, is_constant=True)


def _converted(args: list[Any], shape: Shape, kind: Kind) -> Value:
    (source,) = args
    return converted(source, kind)


def _copied(args: list[Any], shape: Shape, kind: Kind) -> Value:
    _, source = args
    return converted(broadcast(source, shape), kind)


def _gathered(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, axis, where = args
    axis %= len(source.shape)
    size = source.shape[axis]
    return _chosen(source, where, shape, size, where.at, lambda i, at: (*i[:axis], at, *i[axis + 1 :]))


def _strided_scatter(args: list[Any], shape: Shape, kind: Kind) -> Value:
    """``as_strided_scatter``: an element is a new one where its number is that of so many steps along each axis."""
    source, new, sizes, strides, offset = args
    _check_reach(source, sizes, strides, offset)
    longest_first = sorted((axis for axis, size in enumerate(sizes) if size > 1), key=lambda axis: -strides[axis])
    reach = 1
    for axis in reversed(longest_first):
        if strides[axis] < reach:
            raise UntranslatableError("of elements that share their memory")
        reach += strides[axis] * (sizes[axis] - 1)

    def at(i: Index) -> str:
        left, index, conditions = f"({linear(i, shape)} - {offset or 0})", ["0"] * len(sizes), []
        conditions.append(f"{left} >= 0")
        for axis in longest_first:
            index[axis] = f"({left} / {strides[axis]})"
            conditions.append(f"{index[axis]} < {sizes[axis]}")
            left = f"({left} % {strides[axis]})"
        return f"({' && '.join([*conditions, f'{left} == 0'])} ? {new.at(tuple(index))} : {source.at(i)})"

    return computed(shape, kind, source.varying or new.varying, at)


def _indexed(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, indices = args
    ((axis, where),) = ((axis, index) for axis, index in enumerate(indices) if index is not None)
    dims, size = len(where.shape), source.shape[axis]

    def number(i: Index) -> str:
        text = where.at(i[axis : axis + dims])
        return text if where.is_natural else f"whole_wrapped({text}, {size})"

    return _chosen(source, where, shape, size, number, lambda i, at: (*i[:axis], at, *i[axis + dims :]))


def _embedded(args: list[Any], shape: Shape, kind: Kind) -> Value:
    weight, where, _, _, _ = args  # what is left says how its gradient is made
    size, dims = weight.shape[0], len(where.shape)
    return _chosen(weight, where, shape, size, lambda i: where.at(i[:dims]), lambda i, at: (at, *i[dims:]))


def _chosen(
    source: Value, where: Value, shape: Shape, size: int, number: Callable[[Index], str], index: Callable[[Index, str], Index]
) -> Value:
    """Elements at the ``index`` of a computed ``number``. One outside, where torch raises, is NaN, and so is the loss then."""

    def at(i: Index, here: str) -> str:
        return source.at(index(i, here))

    if where.kind == "bool":
        raise UntranslatableError("with an index of truth values")
    if where.is_constant:
        read = source.vector
        found = computed(shape, source.kind, source.varying, lambda i: at(i, number(i)))
        return replace(found, vector=read and (lambda i: read(index(i, number(i)))))
    if source.kind != "real":
        raise UntranslatableError("among whole numbers, with an index that is computed")

    def guarded(i: Index) -> str:
        here = number(i)
        return f"(is_outside({here}, {size}) ? NAN : {at(i, here)})"

    return computed(shape, source.kind, source.varying or where.varying, guarded)


def _joined(args: list[Any], shape: Shape, kind: Kind) -> Value:
    parts = [converted(part, kind) for part in args[0]]
    _, axis = args
    axis %= len(shape)

    def at(i: Index) -> str:
        first, text = 0, ""
        for part in parts:
            inner = part.at((*i[:axis], f"({i[axis]} - {first})", *i[axis + 1 :]))
            first += part.shape[axis]
            text += f"({i[axis]} < {first}) ? ({inner}) : " if part is not parts[-1] else f"({inner})"
        return f"({text})"

    return computed(shape, kind, any(part.varying for part in parts), at)


SAME = (aten.alias.default, aten.detach.default, aten.clone.default, aten.lift_fresh_copy.default)
"""Operations that give their operand."""
RESHAPES = (
    *(aten.view.default, aten._unsafe_view.default, aten.reshape.default, aten.unsqueeze.default),
    *(aten.squeeze.default, aten.squeeze.dim, aten.squeeze.dims),
)
"""Operations that give the same elements in the same order."""
VIEWS: dict[Any, Make] = {
    **dict.fromkeys(SAME, _same),
    **dict.fromkeys(RESHAPES, _reshaped),
    **dict.fromkeys((aten.transpose.int, aten.t.default), _transposed),
    aten.expand.default: _expanded,
    prims.broadcast_in_dim.default: _spread,
    aten.permute.default: _permuted,
    aten.select.int: _selected,
    aten.slice.Tensor: _sliced,
    aten.unfold.default: _windows,
    aten.as_strided.default: _strided,
    aten.flip.default: _flipped,
}
"""Operations that only look at their operand."""
CONSTANTS: dict[Any, Make] = {
    **dict.fromkeys((aten.zeros.default, aten.zeros_like.default, aten.new_zeros.default), _constant_of(None)),
    **dict.fromkeys((aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default), _constant_of(None)),
    **dict.fromkeys((aten.empty_strided.default, prims.empty_strided.default), _constant_of(None)),
    **dict.fromkeys((aten.ones.default, aten.ones_like.default, aten.new_ones.default), _constant_of(None, 1)),
    **dict.fromkeys((aten.full.default, aten.full_like.default), _constant_of(1)),
    aten.new_full.default: _constant_of(2),
    aten.scalar_tensor.default: _constant_of(0),
}
"""Operations that make equal numbers of nothing; those of memory that nothing is written to yet may be any."""
OTHERS: dict[Any, Make] = {
    **CONSTANTS,
    **dict.fromkeys((aten.arange.default, aten.arange.start, aten.arange.start_step), _counted),
    aten._to_copy.default: _converted,
    aten.copy.default: _copied,
    aten.gather.default: _gathered,
    aten.as_strided_scatter.default: _strided_scatter,
    aten.index.Tensor: _indexed,
    aten.embedding.default: _embedded,
    aten.cat.default: _joined,
}
