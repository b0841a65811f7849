"""Elements chosen along several axes, and the gradients of padding and interpolation, in operations that have a translation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from pipeline.engine.lanes.values import UntranslatableError

aten = torch.ops.aten
Ints = Sequence[int]
INTERPOLATIONS = (
    *(f"{kind}{dims}d" for kind in ("upsample_nearest", "_upsample_nearest_exact") for dims in (1, 2, 3)),
    *("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"),
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
)


@dataclass(frozen=True)
class _Chosen:
    """Elements that are chosen by their numbers along axes side by side, as ``x[:, rows, columns]`` has them."""

    first: int
    """Of the axes that are chosen from."""
    sizes: Ints
    """Of these axes."""
    numbers: list[tuple[int, Tensor]]
    """Axes that stand for these, each chosen from by itself: the size, and the elements' numbers along it."""
    shape: Ints
    """Of what is chosen, in place of all these axes."""

    @classmethod
    def of(cls, sizes: Ints, indices: Sequence[Tensor | None]) -> "_Chosen":
        """By an index along each axis; where each has dimensions of its own, as rows and columns have, they stay apart."""
        axes = [axis for axis, index in enumerate(indices) if index is not None]
        given = [index for index in indices if index is not None]
        if axes[-1] - axes[0] >= len(axes) or any(index.dtype == torch.bool for index in given):
            raise UntranslatableError("there is no translation into C of an index of truth values, or along axes apart")
        own = [sizes[axis] for axis in axes]
        numbers = [torch.where(index < 0, index + size, index) for index, size in zip(given, own, strict=True)]
        shape = torch.broadcast_shapes(*(index.shape for index in given))  # type: ignore[no-untyped-call]
        wide = [len(shape) - index.dim() + dim for index in given for dim, size in enumerate(index.shape) if size > 1]
        if wide == sorted(set(wide)):
            return cls(axes[0], own, [(size, number.flatten()) for size, number in zip(own, numbers, strict=True)], shape)
        together = numbers[0]
        for size, number in zip(own[1:], numbers[1:], strict=True):
            together = together * size + number
        return cls(axes[0], own, [(prod(own), together.expand(shape).flatten())], shape)

    def of_each(self, x: Tensor) -> Tensor:
        """What is chosen of ``x``."""
        before, behind = self._around(x.shape)
        x = x.reshape(*before, *(size for size, _ in self.numbers), *behind)
        for axis, (_, numbers) in enumerate(self.numbers, start=self.first):
            x = aten.index.Tensor(x, [None] * axis + [numbers])
        return x.reshape(*before, *self.shape, *behind)

    def added_up(self, values: Tensor, shape: Ints) -> Tensor:
        """In that shape, at each element the sum of the ``values`` for which it is chosen."""
        before, behind = self._around(shape)
        are_here = [(torch.arange(size)[:, None] == numbers).to(values.dtype) for size, numbers in self.numbers]
        return _multiplied_by(are_here, values.expand(*before, *self.shape, *behind), prod(before)).reshape(shape)

    def replaced(self, x: Tensor, values: Tensor) -> Tensor:
        """``x`` with the ``values`` where it is chosen; the last of several at one place."""
        before, behind = self._around(x.shape)
        is_chosen = torch.ones((), dtype=torch.bool)
        new = values.expand(*before, *self.shape, *behind).reshape(*before, *(len(of) for _, of in self.numbers), *behind)
        for axis, (size, numbers) in enumerate(self.numbers, start=self.first):
            are_here = torch.arange(size)[:, None] == numbers
            last = torch.where(are_here, torch.arange(1, len(numbers) + 1), 0).amax(dim=1)
            new = aten.index.Tensor(new, [None] * axis + [(last - 1).clamp(min=0)])
            is_chosen = is_chosen.unsqueeze(-1) & (last > 0)
        is_chosen = is_chosen.reshape(*is_chosen.shape, *(1 for _ in behind))
        sizes = [*before, *(size for size, _ in self.numbers), *behind]
        return torch.where(is_chosen, new, x.reshape(sizes)).reshape(x.shape)

    def _around(self, shape: Ints) -> tuple[Ints, Ints]:
        return shape[: self.first], shape[self.first + len(self.sizes) :]


def _multiplied_by(matrices: Sequence[Tensor], values: Tensor, rows: int) -> Tensor:
    """Values by a matrix along each of some axes side by side, before which there are so many rows; all in that order."""
    left = prod(values.shape) // rows
    for matrix in matrices:
        size, count = matrix.shape
        left //= count
        values, rows = torch.bmm(matrix.expand(rows, size, count), values.reshape(rows, count, left)), rows * size
    return values


def chosen(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """``x[indices]``, of which None takes a whole axis."""
    return _Chosen.of(x.shape, indices).of_each(x)


def chosen_along_several(x: Tensor, indices: Sequence[Tensor | None]) -> Tensor:
    """The same, where it has no translation as it stands."""
    if sum(index is not None for index in indices) == 1:
        return NotImplemented  # type: ignore[no-any-return]  # of this function: it has a translation
    return chosen(x, indices)


def put_at(x: Tensor, indices: Sequence[Tensor | None], values: Tensor, accumulate: bool = False) -> Tensor:
    """``x`` with the values at the indices; or with ``accumulate`` added there, several times where one is repeated."""
    masks = [(axis, index) for axis, index in enumerate(indices) if index is not None and index.dtype == torch.bool]
    if masks and values.numel() == 1 and sum(index is not None for index in indices) == 1:
        ((axis, mask),) = masks
        behind = x.dim() - axis - mask.dim()
        return torch.where(mask.reshape(*mask.shape, *[1] * behind), x + values if accumulate else values, x)
    chosen = _Chosen.of(x.shape, indices)
    return x + chosen.added_up(values, x.shape) if accumulate else chosen.replaced(x, values)


def diagonal(x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """``torch.diagonal``."""
    rows = x.movedim((dim1, dim2), (-2, -1))
    return chosen(rows, _on_the_diagonal(rows, offset))


def diagonal_put(x: Tensor, new: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """``torch.diagonal_scatter``."""
    rows = x.movedim((dim1, dim2), (-2, -1))
    return put_at(rows, _on_the_diagonal(rows, offset), new).movedim((-2, -1), (dim1, dim2))


def _on_the_diagonal(rows: Tensor, offset: int) -> list[Tensor | None]:
    first, second = max(-offset, 0), max(offset, 0)
    places = torch.arange(min(rows.shape[-2] - first, rows.shape[-1] - second))
    return [*[None] * (rows.dim() - 2), places + first, places + second]


def triangle_of(name: str) -> Callable[..., Tensor]:
    """Of ``triu_indices`` or ``tril_indices``, whose numbers are those of no input."""
    operation = getattr(aten, name).default

    def numbers(*args: Any, **how: Any) -> Tensor:
        with _disable_current_modes():
            found = operation(*args).tolist()
        return torch.tensor(found)

    return numbers


def _padding_backward(gradient: Tensor, x: Tensor, padding: Ints, at: Callable[[int, int], int]) -> Tensor:
    """Of padding whose elements are those ``at`` a place outside an axis of that size."""
    edges = [*zip(padding[::2], padding[1::2], strict=True)][::-1]
    first = x.dim() - len(edges)
    of_axis = zip(x.shape[first:], edges, strict=True)
    numbers = [(size, torch.tensor([at(i, size) for i in range(-low, size + high)])) for size, (low, high) in of_axis]
    return _Chosen(first, x.shape[first:], numbers, gradient.shape[first:]).added_up(gradient, x.shape)


def replicated_backward(gradient: Tensor, x: Tensor, padding: Ints) -> Tensor:
    """The gradient of what ``F.pad(mode="replicate")`` was given; ``padding`` has the last axis first."""
    return _padding_backward(gradient, x, padding, lambda place, size: min(max(place, 0), size - 1))


def reflected_backward(gradient: Tensor, x: Tensor, padding: Ints) -> Tensor:
    """The same of ``F.pad(mode="reflect")``."""
    return _padding_backward(gradient, x, padding, lambda place, size: min(abs(place), 2 * (size - 1) - abs(place)))


def interpolated_backward(name: str) -> Callable[..., Tensor]:
    """Of the interpolation of that name, which multiplies each axis by a matrix: what torch makes of identities tells it."""
    backward = getattr(aten, f"{name}_backward").default
    has_corners = "align_corners" in {argument.name for argument in backward._schema.arguments}

    def multiplied(gradient: Tensor, output_size: Ints, input_size: Ints, *how: Any) -> Tensor:
        dims = len(output_size)
        scales = [*how[has_corners:], *[None] * dims][:dims]
        matrices = []
        for axis, (inputs, outputs, scale) in enumerate(zip(input_size[2:], output_size, scales, strict=True)):

            def alone(own: Any, other: Any, axis: int = axis) -> list[Any]:
                return [own if dim == axis else other for dim in range(dims)]

            with _disable_current_modes():  # numbers, and no part of the program
                identity = torch.eye(outputs, dtype=gradient.dtype).reshape(1, -1, *alone(outputs, 1))
                sizes = [1, outputs, *alone(inputs, 1)]
                found = backward(identity, alone(outputs, 1), sizes, *how[:has_corners], *alone(scale, None))
                numbers = found.reshape(outputs, inputs).T.tolist()
            matrices.append(torch.tensor(numbers, dtype=gradient.dtype))
        return _multiplied_by(matrices, gradient, prod(input_size[:2])).reshape(input_size)

    return multiplied
