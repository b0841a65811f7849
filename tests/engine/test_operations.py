"""A function's operations, as torch traces them."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental import proxy_tensor

from pipeline.engine.operations import as_operations


def loss(x: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(torch.tanh(x) @ torch.ones(3, 4), y)


def test_they_are_those_of_make_fx_with_all_shapes_noted_in_one_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    given = torch.randn(6, 3), torch.arange(6) % 4
    theirs = proxy_tensor.make_fx(loss)(*given)

    class Another(FakeTensorMode):  # type: ignore[no-untyped-call]
        def __init__(self, **_: Any) -> None:
            raise AssertionError("one more mode, which looks through the whole stack")

    monkeypatch.setattr(proxy_tensor, "FakeTensorMode", Another)
    with pytest.raises(AssertionError, match="one more mode"):
        proxy_tensor.make_fx(loss)(*given)
    ours = as_operations(loss)(*given)
    assert ours.code == theirs.code
    shapes, expected = ([str(node.meta.get("val")) for node in found.graph.nodes] for found in (ours, theirs))
    assert shapes == expected
    assert "FakeTensor(..., size=(6, 4))" in shapes
