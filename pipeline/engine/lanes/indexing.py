"""Operations that move or choose elements, or make them of nothing: other indices of the same values, in C."""

from collections.abc import Callable, Sequence
from math import isnan
from typing import Any

from pipeline.engine.lanes.values import C_TYPES, Index, Kind, Value, broadcast, computed, permute, reshape

Shape = tuple[int, ...]
Make = Callable[[list[Any], Shape, Kind], Value]


class UntranslatableError(Exception):
    """The function has an operation that has no translation; the message names it."""


def literal(value: Any, *, is_real: bool) -> str:
    """A Python number in C."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) or is_real:
        special = {float("inf"): "INFINITY", float("-inf"): "-INFINITY"}
        return special.get(value, "NAN" if isnan(value) else f"(real){float(value)!r}")
    return str(int(value))


def _same(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source: Value = args[0]
    return source


def _expanded(args: list[Any], shape: Shape, kind: Kind) -> Value:
    return broadcast(args[0], shape)


def _reshaped(args: list[Any], shape: Shape, kind: Kind) -> Value:
    return reshape(args[0], shape)


def _permuted(args: list[Any], shape: Shape, kind: Kind) -> Value:
    return permute(args[0], args[1])


def _transposed(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, first, second = (args[0], *args[1:3]) if len(args) > 1 else (args[0], 0, -1)
    order = list(range(len(source.shape)))
    order[first], order[second] = order[second], order[first]
    return permute(source, order)


def _selected(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, axis, number = args
    axis %= len(source.shape)
    at = str(number % source.shape[axis])
    chosen: Value = source.view(shape, lambda i: (*i[:axis], at, *i[axis:]))
    return chosen


def _sliced(args: list[Any], shape: Shape, kind: Kind) -> Value:
    given = [*args, *[0, 0, None, None, 1][len(args) :]]
    source, start, step = given[0], given[2], given[4]
    axis = given[1] % len(source.shape)
    size = source.shape[axis]
    first = min(max((start or 0) + size * ((start or 0) < 0), 0), size)
    part: Value = source.view(shape, lambda i: tuple(f"({j} * {step} + {first})" if a == axis else j for a, j in enumerate(i)))
    return part


def _spread(args: list[Any], shape: Shape, kind: Kind) -> Value:
    """``prims.broadcast_in_dim``: each dimension at a place of its own among those of the result."""
    source, _, places = args

    def index(i: Index) -> Index:
        return tuple("0" if size == 1 else i[place] for size, place in zip(source.shape, places, strict=True))

    return Value.view(source, shape, index)


def _constant_of(place: int | None, number: float = 0) -> Make:
    def make(args: list[Any], shape: Shape, kind: Kind) -> Value:
        text = literal(number if place is None else args[place], is_real=kind == "real")
        return computed(shape, kind, varying=False, at=lambda index: text, cheap=True)

    return make


def _counted(args: list[Any], shape: Shape, kind: Kind) -> Value:
    start, step = (args[0] if len(args) > 1 else 0), (args[2] if len(args) > 2 else 1)
    return computed(shape, kind, varying=False, at=lambda i: f"(({C_TYPES[kind]})({start} + {i[0]} * {step}))", cheap=True)


def _converted(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source: Value = args[0]
    if source.kind == kind:
        return source
    return computed(
        shape, kind, source.varying, lambda i: f"({'0 != ' if kind == 'bool' else f'({C_TYPES[kind]})'}({source.at(i)}))"
    )


def _copied(args: list[Any], shape: Shape, kind: Kind) -> Value:
    return _converted([broadcast(args[1], shape)], shape, kind)


def _gathered(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, axis, where = args[:3]
    axis %= len(source.shape)
    _refuse_varying(where)
    return computed(shape, kind, source.varying, lambda i: source.at((*i[:axis], where.at(i), *i[axis + 1 :])))


def _scattered(args: list[Any], shape: Shape, kind: Kind) -> Value:
    """``scatter`` of a number with one index along the axis, as the gradient of a choice has it."""
    source, axis, where, new = args[:4]
    axis %= len(source.shape)
    expected = tuple(1 if a == axis else size for a, size in enumerate(shape))
    if isinstance(new, Value) or where.shape != expected:
        raise UntranslatableError("scatter of several elements")

    def at(i: Index) -> str:
        here = where.at((*i[:axis], "0", *i[axis + 1 :]))
        return f"(({here}) == {i[axis]} ? {literal(new, is_real=kind == 'real')} : {source.at(i)})"

    return computed(shape, kind, source.varying or where.varying, at)


def _indexed(args: list[Any], shape: Shape, kind: Kind) -> Value:
    source, indices = args[:2]
    chosen = [(axis, index) for axis, index in enumerate(indices) if index is not None]
    if len(chosen) != 1:
        raise UntranslatableError("an index along several axes")
    ((axis, where),) = chosen
    _refuse_varying(where)
    dims = len(where.shape)
    return computed(
        shape, kind, source.varying, lambda i: source.at((*i[:axis], where.at(i[axis : axis + dims]), *i[axis + dims :]))
    )


def _embedded(args: list[Any], shape: Shape, kind: Kind) -> Value:
    return _indexed([args[0], [args[1]]], shape, kind)


def _joined(args: list[Any], shape: Shape, kind: Kind) -> Value:
    parts: Sequence[Value] = args[0]
    axis = (args[1] if len(args) > 1 else 0) % len(shape)

    def at(i: Index) -> str:
        first, text = 0, ""
        for part in parts:
            inner = part.at((*i[:axis], f"({i[axis]} - {first})", *i[axis + 1 :]))
            first += part.shape[axis]
            text += f"({i[axis]} < {first}) ? ({inner}) : " if part is not parts[-1] else f"({inner})"
        return f"({text})"

    return computed(shape, kind, any(part.varying for part in parts), at)


def _refuse_varying(index: Value) -> None:
    if index.varying:
        raise UntranslatableError("a choice by an index that differs between runs")


VIEWS: dict[str, Make] = {
    **dict.fromkeys(("alias", "detach", "detach_", "clone", "lift_fresh_copy"), _same),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze"), _reshaped),
    **dict.fromkeys(("transpose", "t"), _transposed),
    "expand": _expanded,
    "broadcast_in_dim": _spread,
    "permute": _permuted,
    "select": _selected,
    "slice": _sliced,
}
"""Operations that only look at their operand."""
OTHERS: dict[str, Make] = {
    **dict.fromkeys(("zeros", "zeros_like", "new_zeros", "empty_like"), _constant_of(None)),
    **dict.fromkeys(("ones", "ones_like", "new_ones"), _constant_of(None, 1)),
    **dict.fromkeys(("full", "full_like"), _constant_of(1)),
    "new_full": _constant_of(2),
    "scalar_tensor": _constant_of(0),
    "arange": _counted,
    "_to_copy": _converted,
    "copy_": _copied,
    "gather": _gathered,
    "scatter": _scattered,
    "index": _indexed,
    "embedding": _embedded,
    "cat": _joined,
}
