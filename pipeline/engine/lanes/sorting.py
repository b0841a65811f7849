"""What is sorted, or put where an index along an axis says, in operations that have a translation."""

from functools import partial

import torch
from torch import Tensor

from pipeline.engine.lanes.values import UntranslatableError

LONGEST = 64
"""Elements along an axis that are sorted, or put at an index: each is compared with each."""


def _check(count: int, what: str) -> None:
    if count > LONGEST:
        raise UntranslatableError(f"there is no translation into C of {what} {count} elements along an axis, only of {LONGEST}")


def ordered(x: Tensor, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """``torch.sort``: the values, and where they were. Equal ones stay in their order; NaN counts as the largest."""
    if not x.dim():
        raise UntranslatableError("there is no translation into C of sorting a single number")
    rows = x.movedim(dim, -1)
    places = torch.arange(rows.shape[-1])
    _check(len(places), "sorting")
    one, other = rows.unsqueeze(-1), rows.unsqueeze(-2)
    is_less, is_greater = _is_less(other, one), _is_less(one, other)
    if descending:
        is_less, is_greater = is_greater, is_less
    comes_before = is_less | (~is_greater & (places < places[:, None]))
    is_here = comes_before.sum(dim=-1).unsqueeze(-2) == places[:, None]
    values = torch.where(is_here, other, 0).sum(dim=-1)
    return values.movedim(-1, dim), torch.where(is_here, places, 0).sum(dim=-1).movedim(-1, dim)


def _is_less(one: Tensor, other: Tensor) -> Tensor:
    return (one < other) | (other.isnan() & ~one.isnan())


def ordered_stably(x: Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """The same."""
    return ordered(x, dim, descending)


def largest(x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> tuple[Tensor, Tensor]:  # noqa: A002  # as torch names it
    """``torch.topk``; of equal ones the first."""
    values, places = ordered(x, dim, largest)
    return values.narrow(dim, 0, k), places.narrow(dim, 0, k)


def at_rank(x: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """``torch.kthvalue``."""
    values, places = (found.narrow(dim, k - 1, 1) for found in ordered(x, dim))
    return (values, places) if keepdim else (values.squeeze(dim), places.squeeze(dim))


def median(x: Tensor, dim: int = -1, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """``torch.median``: the lower of two in the middle; NaN where one is."""
    value, place = at_rank(x, (x.shape[dim] + 1) // 2, dim, keepdim)
    return (torch.where(x.isnan().any(dim, keepdim), torch.nan, value) if x.is_floating_point() else value), place


def scattered(x: Tensor, dim: int, index: Tensor, new: Tensor | float, *, is_sum: bool = False) -> Tensor:
    """``torch.scatter``, and with ``is_sum`` ``torch.scatter_add``: the last of several that are put at one place counts."""
    dim, count = dim % x.dim(), index.shape[dim]
    _check(count, "putting")
    if [*index.shape[:dim], *index.shape[dim + 1 :]] != [*x.shape[:dim], *x.shape[dim + 1 :]]:
        raise UntranslatableError("there is no translation into C of putting numbers at a part of the other axes")
    places = torch.arange(x.shape[dim]).reshape(-1, *(1 for _ in x.shape[dim + 1 :]))
    for number in range(count):
        value = new.narrow(dim, number, 1) if isinstance(new, Tensor) else new
        x = torch.where(places == index.narrow(dim, number, 1), x + value if is_sum else value, x)
    return x


added_along = partial(scattered, is_sum=True)
"""``torch.scatter_add``."""
