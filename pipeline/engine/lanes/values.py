"""Tensors of a traced function as the compiler to C sees them: where an element is read from, or how it is computed.

Every tensor has a static shape. One that differs between runs is *varying*: each of its elements is a vector with one number
per run (lane). All others are *uniform*: data that the runs of a replicate share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

Kind = Literal["real", "int", "int32", "bool"]
"""Numbers of the training's own precision, whole numbers of 64 and of 32 bits, truth values."""
Index = tuple[str, ...]
At = Callable[[Index], str]

C_TYPES: dict[Kind, str] = {"real": "real", "int": "int64_t", "int32": "int32_t", "bool": "int"}


class UntranslatableError(Exception):
    """The function has an operation that has no translation; the message names it."""


class MistranslatedError(UntranslatableError):
    """The function was translated, and its translation computes something else; the message names what differs."""


@dataclass(frozen=True)
class Value:
    """A tensor: ``at`` gives the C expression of the element at an index, of lane ``l`` where it varies.

    ``place`` gives the element's number in the memory at ``name``, for tensors (and views of tensors) that are stored.
    ``cheap`` values are computed anew wherever they are used. One that follows element by element from a ``product`` has
    elements only while that is being computed. What is ``is_constant`` follows from no input. Elements that ``lie_in_order``
    lie row by row in the memory at ``name``. ``vector`` gives all lanes of an element at once, of what is read from memory
    wherever it is used. What ``is_natural`` is a whole number that is never below 0.
    """

    shape: tuple[int, ...]
    kind: Kind
    varying: bool
    at: At
    name: str = ""
    place: At | None = None
    cheap: bool = False
    product: "Product | None" = None
    is_constant: bool = False
    lie_in_order: bool = False
    vector: At | None = None
    is_natural: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def view(self, shape: Sequence[int], index: Callable[[Index], Index]) -> "Value":
        """The same elements under another shape; ``index`` maps an index of the view to one of this tensor."""
        at, place, vector = self.at, self.place, self.vector
        return replace(
            self,
            shape=tuple(shape),
            at=lambda i: at(index(i)),
            place=None if place is None else lambda i: place(index(i)),
            lie_in_order=False,
            vector=None if vector is None else lambda i: vector(index(i)),
        )


@dataclass(frozen=True)
class Product:
    """A matrix product that is yet to be computed, of stored values."""

    left: Value
    right: Value


def stored(name: str, shape: Sequence[int], kind: Kind, varying: bool) -> Value:
    """A tensor in memory, row by row."""
    shape = tuple(shape)

    def at(index: Index) -> str:
        return f"{name}[({linear(index, shape)}) * LANES + l]" if varying else f"{name}[{linear(index, shape)}]"

    def vector(index: Index) -> str:
        return f"VEC({name}, {linear(index, shape)})"

    return Value(
        shape, kind, varying, at, name, lambda index: linear(index, shape), cheap=True, lie_in_order=True,
        vector=vector if varying and kind == "real" else None,
    )  # fmt: skip


def computed(shape: Sequence[int], kind: Kind, varying: bool, at: At, *, cheap: bool = False) -> Value:
    """A tensor that is computed where it is used."""
    return Value(tuple(shape), kind, varying, at, cheap=cheap)


def cast(text: str, old: Kind, new: Kind) -> str:
    """The expression of a number of one kind as one of another."""
    if old == new:
        return text
    if new == "bool":
        return f"(0 != ({text}))"
    if new == "real" and old != "bool":
        return f"real_of({text})"
    return f"(({C_TYPES[new]})({text}))"


def converted(value: Value, kind: Kind) -> Value:
    """The same numbers as those of another kind."""
    if value.kind == kind:
        return value
    found = computed(value.shape, kind, value.varying, lambda i: cast(value.at(i), value.kind, kind))
    return replace(found, is_constant=value.is_constant)


def linear(index: Index, shape: Sequence[int]) -> str:
    """The number of the element at ``index`` in a tensor stored row by row."""
    terms, stride = [], 1
    for i, size in reversed(list(zip(index, shape, strict=True))):
        if size != 1 and i != "0":
            terms.append(i if stride == 1 else f"({i}) * {stride}")
        stride *= size
    return " + ".join(reversed(terms)) or "0"


def broadcast(value: Value, shape: Sequence[int]) -> Value:
    """The value repeated along the dimensions that it lacks, or has of size 1."""
    if tuple(shape) == value.shape:
        return value
    lacking = len(shape) - len(value.shape)
    return value.view(shape, lambda i: tuple("0" if size == 1 else j for j, size in zip(i[lacking:], value.shape, strict=True)))


def permute(value: Value, order: Sequence[int]) -> Value:
    """``aten.permute``."""
    order = [axis % len(value.shape) for axis in order]
    return value.view(
        [value.shape[axis] for axis in order], lambda i: tuple(i[order.index(axis)] for axis in range(len(order)))
    )


def reshape(value: Value, shape: Sequence[int]) -> Value:
    """``aten.view``: the same elements, row by row."""
    if value.lie_in_order:
        found = stored(value.name, shape, value.kind, value.varying)
        return replace(found, is_constant=value.is_constant, is_natural=value.is_natural)
    groups = _groups(value.shape, tuple(shape))

    def index(new: Index) -> Index:
        found = ["0"] * len(value.shape)
        for old_axes, new_axes in groups:
            whole = linear(tuple(new[a] for a in new_axes), [shape[a] for a in new_axes])
            stride = prod(value.shape[a] for a in old_axes)
            for place, axis in enumerate(old_axes):
                stride //= value.shape[axis]
                found[axis] = _digit(whole, stride, value.shape[axis], is_first=place == 0)
        return tuple(found)

    return value.view(shape, index)


def _digit(number: str, stride: int, size: int, *, is_first: bool) -> str:
    above = number if stride == 1 else f"(({number}) / {stride})"
    return above if is_first else f"(({above}) % {size})"


def _groups(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Runs of axes of both shapes with equal numbers of elements, as short as can be; axes of size 1 belong to none."""
    left = [axis for axis, size in enumerate(old) if size != 1]
    right = [axis for axis, size in enumerate(new) if size != 1]
    groups = []
    while left and right:
        ours, theirs = [left.pop(0)], [right.pop(0)]
        while (a := prod(old[axis] for axis in ours)) != (b := prod(new[axis] for axis in theirs)):
            if a < b:
                ours.append(left.pop(0))
            else:
                theirs.append(right.pop(0))
        groups.append((ours, theirs))
    return groups
