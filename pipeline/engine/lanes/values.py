"""Tensors of a traced function as the compiler to C sees them: where an element is read from, or how it is computed.

Every tensor has a static shape. One that differs between runs is *varying*: each of its elements is a vector with one number
per run (lane). All others are *uniform*: data that the runs of a replicate share.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

Kind = Literal["real", "int", "int32", "bool"]
"""Numbers of the training's own precision, whole numbers of 64 and of 32 bits, truth values."""
Index = tuple[str, ...]
Part = tuple[str, int]
"""An index, and how many values it takes."""
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
    wherever it is used. What ``is_natural`` is a whole number that is never below 0. ``joined`` says of every axis which sizes
    it was joined of, so that loops over these, and no divisions, find an element; empty where none was.
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
    joined: tuple[tuple[int, ...], ...] = ()

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def sizes_of(self, axis: int) -> tuple[int, ...]:
        """Those that the axis was joined of; its own where it was not."""
        return self.joined[axis] if self.joined else (self.shape[axis],)

    def view(self, shape: Sequence[int], index: Callable[[Index], Index], joined: tuple[tuple[int, ...], ...] = ()) -> "Value":
        """The same elements under another shape; ``index`` maps an index of the view to one of this tensor."""
        at, place, vector = self.at, self.place, self.vector
        return replace(
            self,
            shape=tuple(shape),
            at=lambda i: at(index(i)),
            place=None if place is None else lambda i: place(index(i)),
            lie_in_order=False,
            vector=None if vector is None else lambda i: vector(index(i)),
            joined=joined,
        )


@dataclass(frozen=True)
class Product:
    """A matrix product that is yet to be computed, of stored values; what follows from it may have another shape by now.

    ``into`` maps an index of the product to one of that shape.
    """

    left: Value
    right: Value
    into: Callable[[Index], Index] = lambda index: index

    def seen(self, value: Value) -> Value:
        """What follows from the product, or the memory for it, in the product's own shape."""
        return value.view((*self.left.shape[:-1], self.right.shape[-1]), self.into)

    def reshaped(self, old: Sequence[int], new: Sequence[int]) -> "Product":
        """The same for a result of the new shape."""
        into = self.into
        return replace(self, into=lambda index: reshaped(into(index), old, new))


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


class Joined(str):
    """The index of an axis that others were joined into, row by row: its number in C, and the ``parts`` to split it into."""

    __slots__ = ("parts",)
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> str:
        """One index of several; those that are joined themselves by their parts."""
        flat = tuple(part for index, size in parts for part in parts_of(index, size) if part[1] != 1)
        if len(flat) < 2:
            return flat[0][0] if flat else "0"
        terms, stride = [], 1
        for index, size in reversed(flat):
            if index != "0":
                terms.append(index if stride == 1 else f"{index} * {stride}")
            stride *= size
        made = cls(f"({' + '.join(reversed(terms)) or 0})")
        made.parts = flat
        return made


def parts_of(index: str, size: int) -> tuple[Part, ...]:
    """What an index of an axis of that size can be split into."""
    return index.parts if isinstance(index, Joined) else ((index, size),)


def linear(index: Index, shape: Sequence[int]) -> str:
    """The number of the element at ``index`` in a tensor stored row by row."""
    return Joined.of(zip(index, shape, strict=True))


def loop_over(index: str, size: int) -> str:
    """The head of a loop of C's."""
    return f"for (long {index} = 0; {index} < {size}; {index}++)"


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
        [value.shape[axis] for axis in order],
        lambda i: tuple(i[order.index(axis)] for axis in range(len(order))),
        tuple(value.joined[axis] for axis in order) if value.joined else (),
    )


def reshape(value: Value, shape: Sequence[int]) -> Value:
    """``aten.view``: the same elements, row by row."""
    if value.lie_in_order:
        found = stored(value.name, shape, value.kind, value.varying)
        return replace(found, is_constant=value.is_constant, is_natural=value.is_natural)
    sizes = {
        new[0]: tuple(size for axis in old for size in value.sizes_of(axis))
        for old, new in _groups(value.shape, tuple(shape))
        if len(new) == 1
    }
    joined = tuple(sizes.get(axis, (size,)) for axis, size in enumerate(shape))
    if value.product:
        value = replace(value, product=value.product.reshaped(value.shape, shape))
    return value.view(shape, lambda i: reshaped(i, shape, value.shape), joined)


def reshaped(index: Index, old: Sequence[int], new: Sequence[int]) -> Index:
    """Where the element at ``index`` of a tensor of the old shape is under the new one."""
    found = ["0"] * len(new)
    for old_axes, new_axes in _groups(tuple(old), tuple(new)):
        parts = [part for axis in old_axes for part in parts_of(index[axis], old[axis])]
        for axis in reversed(new_axes):
            parts, below = _split(parts, new[axis])
            found[axis] = Joined.of(below)
    return tuple(found)


def _split(parts: list[Part], size: int) -> tuple[list[Part], list[Part]]:
    """Which of so many elements that follow each other it is, and which element of these."""
    above, left = list(parts), size
    below: list[Part] = []
    while left > 1 and above:
        index, count = above.pop()
        if left % count == 0:
            below.insert(0, (index, count))
            left //= count
        elif count % left == 0:
            above.append((f"({index} / {left})", count // left))
            below.insert(0, (f"({index} % {left})", left))
            left = 1
        else:  # none of them ends there
            whole, total = Joined.of(parts), prod(count for _, count in parts)
            return [(f"({whole} / {size})", total // size)], [(f"({whole} % {size})", size)]
    return above, below


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
