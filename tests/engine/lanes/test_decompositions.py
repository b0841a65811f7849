"""What stands in for an operation of torch computes what torch's own does, whatever the sizes."""

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.engine.lanes.choices import INTERPOLATIONS
from pipeline.engine.lanes.decompositions import DECOMPOSITIONS
from pipeline.engine.lanes.values import UntranslatableError

aten = torch.ops.aten
whole = st.integers


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    """Input, weight, bias, and how they meet: along one to three axes, in one to three groups, transposed or not."""
    axes, groups = draw(whole(1, 3)), draw(whole(1, 3))

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(whole(low, high), min_size=axes, max_size=axes))

    sizes, kernel, stride, padding, dilation = each(1, 6), each(1, 3), each(1, 3), each(0, 2), each(1, 3)
    inputs, outputs = groups * draw(whole(1, 2)), groups * draw(whole(1, 2))
    transposed = draw(st.booleans())
    more = (
        [draw(whole(0, max(step, gap) - 1)) for step, gap in zip(stride, dilation, strict=True)] if transposed else [0] * axes
    )
    for size, taps, step, pad, gap, extra in zip(sizes, kernel, stride, padding, dilation, more, strict=True):
        span = gap * (taps - 1) + 1
        assume((size - 1) * step - 2 * pad + span + extra > 0 if transposed else size + 2 * pad >= span)
    shape = [inputs, outputs // groups] if transposed else [outputs, inputs // groups]
    x, weight = torch.randn(2, inputs, *sizes).double(), torch.randn(*shape, *kernel).double()
    return x, weight, torch.randn(outputs).double(), stride, padding, dilation, transposed, more, groups


@settings(max_examples=200)
@given(convolutions())
def test_convolutions_and_their_gradients(how: tuple[Any, ...]) -> None:
    x, weight, bias, *rest = how
    expected = aten.convolution(*how)
    torch.testing.assert_close(DECOMPOSITIONS[aten.convolution.default](*how), expected)
    gradient = torch.randn_like(expected)
    args = (gradient, x, weight, [len(bias)], *rest, [True] * 3)
    found = DECOMPOSITIONS[aten.convolution_backward.default](*args)
    for own, torchs in zip(found, aten.convolution_backward(*args), strict=True):
        torch.testing.assert_close(own, torchs)


def real(*sizes: int) -> torch.Tensor:
    return torch.randn(*sizes, dtype=torch.float64)


def assert_same(operation: Any, *args: Any, **named: Any) -> None:
    torch.testing.assert_close(DECOMPOSITIONS[operation](*args, **named), operation(*args, **named), equal_nan=True)


@pytest.mark.parametrize("name", INTERPOLATIONS)
@settings(max_examples=20)
@given(st.data())
def test_gradients_of_interpolations(name: str, data: st.DataObject) -> None:
    dims = int(name.removesuffix("_aa")[-2])
    sizes, outputs = (data.draw(st.lists(whole(1, 6), min_size=dims, max_size=dims)) for _ in range(2))
    corners = [] if "nearest" in name else [data.draw(st.booleans())]
    has_scales = data.draw(st.booleans())
    scales = [
        output / size * (1 + 0.04 * (output != size)) if has_scales else None
        for output, size in zip(outputs, sizes, strict=True)
    ]
    gradient = real(2, 3, *outputs)
    assert_same(getattr(torch.ops.aten, f"{name}_backward").default, gradient, outputs, [2, 3, *sizes], *corners, *scales)


@pytest.mark.parametrize("kind", ["reflection", "replication"])
@given(st.lists(st.tuples(whole(3, 5), whole(0, 2), whole(0, 2)), min_size=1, max_size=3))
def test_gradients_of_padding(kind: str, axes: list[tuple[int, int, int]]) -> None:
    x, padding = real(2, 3, *(size for size, _, _ in axes)), [edge for _, low, high in reversed(axes) for edge in (low, high)]
    gradient = real(2, 3, *(size + low + high for size, low, high in axes))
    assert_same(getattr(aten, f"{kind}_pad{len(axes)}d_backward").default, gradient, x, padding)


INDICES: dict[str, tuple[Any, ...]] = {
    "rows and columns": (None, torch.tensor([[0], [2], [-1], [0]]), torch.tensor([1, 1, 3])),
    "windows": (None, torch.tensor([[0, 1], [1, 2]])[:, :, None, None], torch.tensor([[0, 1, 2], [1, 2, 3]])),
    "pairs": (None, torch.tensor([0, 0, 1, -1]), torch.tensor([1, 2, 2, 1])),
    "crossed": (None, torch.tensor([0, 1, 0]), torch.tensor([[2], [0]])),
    "one number": (torch.tensor(1), torch.tensor(2), None),
    "all three": (torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([3, 3])),
}


@pytest.mark.parametrize("name", INDICES)
def test_elements_chosen_along_axes_side_by_side(name: str) -> None:
    x, indices = real(2, 3, 4, 2)[..., : 2 if name != "one number" else 1], INDICES[name]
    assert_same(aten.index.Tensor, x, indices)
    assert_same(aten._unsafe_index.Tensor, x, indices)
    values = torch.randn_like(aten.index.Tensor(x, indices))
    assert_same(aten.index_put.default, x, indices, values, True)
    assert_same(aten.index_put.default, x, indices, values.flatten()[:1], True)


def test_other_choices_are_refused() -> None:
    x, number = real(3, 3, 3), torch.tensor([0, 1])
    for indices in ((number, None, number), (x[:, :, 0] > 0, None)):
        with pytest.raises(UntranslatableError, match="index of truth values, or along axes apart"):
            DECOMPOSITIONS[aten._unsafe_index.Tensor](x, indices)
    with pytest.raises(UntranslatableError, match="a part of the other axes"):
        DECOMPOSITIONS[aten.scatter.src](x, 1, torch.zeros(2, 2, 3, dtype=torch.int64), x)
    with pytest.raises(UntranslatableError, match="as_strided on a part of a tensor"):
        DECOMPOSITIONS[aten.as_strided.default](x[:, 1:], (2,), (1,))
    with pytest.raises(UntranslatableError, match=r"distances in the norm 1\.0"):
        DECOMPOSITIONS[aten._cdist_forward.default](x, x, 1.0, None)
    with pytest.raises(UntranslatableError, match="sorting 65 elements along an axis, only of 64"):
        DECOMPOSITIONS[aten.topk.default](torch.zeros(65), 2)


@settings(max_examples=50)
@given(st.lists(whole(0, 3), min_size=1, max_size=4), st.data())
def test_what_is_put_at_an_index_or_a_mask(numbers: list[int], data: st.DataObject) -> None:
    x, index = real(2, 4, 3), torch.tensor(numbers)
    values = real(2, len(numbers), 3)
    if len(set(numbers)) == len(numbers):  # which of several counts is left open by torch
        assert_same(aten.index_put.default, x, (None, index), values, False)
    assert_same(aten.index_put.default, x, (None, index), values[0, :1, :1], False)
    assert_same(aten.scatter_add.default, x, 1, index[None, :, None].expand(2, -1, 3), values)
    assert_same(aten.scatter.value, x, 1, index[None, :, None].expand(2, -1, 3), 0.5)
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=4, max_size=4)))
    for accumulate in (True, False):
        assert_same(aten.index_put.default, x, (None, mask), values[0, 0, 0], accumulate)
        assert_same(aten.index_put.default, x, (x > 0,), values[0, 0, 0], accumulate)


@settings(max_examples=50)
@given(st.lists(st.sampled_from([-1.0, 0.0, 2.0, 3.5, math.inf, -math.inf, math.nan]), min_size=6, max_size=6), whole(0, 1))
def test_sorting_also_of_equal_numbers_and_nan(numbers: list[float], dim: int) -> None:
    x = torch.tensor(numbers, dtype=torch.float64).reshape(3, 2)
    for descending in (False, True):
        assert_same(aten.sort.stable, x, stable=True, dim=dim, descending=descending)
    for rank in range(x.shape[dim]):
        for operation, *more in ((aten.kthvalue.default, rank + 1), (aten.median.dim,), (aten.topk.default, rank + 1)):
            found = DECOMPOSITIONS[operation](x, *more, dim)[0]
            torch.testing.assert_close(found, operation(x, *more, dim)[0], equal_nan=True)


@given(whole(-2, 2))
def test_diagonals_and_distances(offset: int) -> None:
    x = real(3, 4, 4)
    assert_same(aten.diagonal.default, x, offset, 2, 0)
    assert_same(aten.diagonal_scatter.default, x, x.diagonal(offset, 1, 2) * 2, offset, 1, 2)
    assert_same(aten._cdist_forward.default, x, x[:, :2], 2.0, None)
    a, b = real(5, 2), real(3, 2)
    distances = torch.cdist(a, b)
    assert_same(aten._cdist_backward.default, torch.ones_like(distances), a, b, 2.0, distances)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("keepdim", [True, False])
def test_the_largest_and_the_smallest(dim: int, keepdim: bool) -> None:
    x = torch.tensor([[1.0, 3.0, 3.0], [2.0, -1.0, -1.0]])
    for operation in (aten.max.dim, aten.min.dim):
        assert_same(operation, x, dim, keepdim)
    index = x.argmax(dim, keepdim=True)
    assert_same(aten.scatter.src, torch.zeros_like(x), dim, index, torch.ones_like(index, dtype=x.dtype))


def test_products_of_three_and_gradients_of_shrinking() -> None:
    assert_same(aten._trilinear.default, real(5, 3), real(2, 3, 4), real(5, 4), [1, 3], [0], [1, 2], [2, 3])
    for name in ("hardshrink_backward", "softshrink_backward"):
        assert_same(getattr(aten, name).default, real(9), torch.linspace(-1, 1, 9, dtype=torch.float64), 0.5)


def test_numbers_of_triangles() -> None:
    assert_same(aten.triu_indices.default, 4, 3, 1)
    assert_same(aten.tril_indices.default, 3, 5, -1)
