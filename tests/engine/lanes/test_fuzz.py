"""Small models that are drawn: each is compiled rightly or refused, never wrong and never a crash.

``python -m benchmarks.operations`` does the same for every operation that torch lists.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as f

from benchmarks.operations import verdict
from pipeline.engine import compiler

START = torch.linspace(-1.5, 2, 12).reshape(3, 4)
Operation = Callable[..., Any]


def _written(a: Tensor, b: Tensor) -> Tensor:
    """Changed in place, part by part."""
    new = a * 1
    new[:, ::2] = b[:, 1::2]
    new[1:] += a[:2]
    return new


REAL: dict[str, Operation] = {
    "a + alpha b": lambda a, b: torch.add(a, b, alpha=2),
    "a - alpha b": lambda a, b: torch.sub(a, b, alpha=3),
    "rsub": lambda a, b: torch.rsub(a, b, alpha=2),
    "a * b": torch.mul,
    "a / b": torch.div,
    "a // 0.5": lambda a, b: a.detach() // 0.5,
    "div down": lambda a, b: a.div(b, rounding_mode="floor"),
    "div cut off": lambda a, b: a.div(0.3, rounding_mode="trunc"),
    "a % b": torch.remainder,
    "fmod": lambda a, b: torch.fmod(a, 0.7),
    "maximum": torch.maximum,
    "fmin": torch.fmin,
    "clamp": lambda a, b: a.clamp(b - 1, b),
    "clamp max": lambda a, b: a.clamp(max=0.3),
    "where": lambda a, b: torch.where(a > b, a, 0.5),
    "pow": lambda a, b: (a.abs() + 0.1) ** b,
    "cube": lambda a, b: a**3,
    "base": lambda a, b: 1.5**a,
    "sign": lambda a, b: a.sign(),
    "round": lambda a, b: a.round(),
    "floor": lambda a, b: a.floor(),
    "tanh": lambda a, b: a.tanh(),
    "gelu": lambda a, b: f.gelu(a),
    "tanh gelu": lambda a, b: f.gelu(a, approximate="tanh"),
    "glu": lambda a, b: f.glu(torch.cat([a, b], dim=1)),
    "softplus": lambda a, b: f.softplus(a, beta=2, threshold=1),
    "leaky": lambda a, b: f.leaky_relu(a, 0.3),
    "elu": lambda a, b: f.elu(a, alpha=0.5),
    "hardswish": lambda a, b: f.hardswish(a),
    "logaddexp": torch.logaddexp,
    "softmax": lambda a, b: a.softmax(dim=0, dtype=torch.float32),
    "log softmax": lambda a, b: a.log_softmax(dim=-1),
    "lerp": lambda a, b: a.lerp(b, 0.3),
    "addcmul": lambda a, b: torch.addcmul(a, a, b, value=0.5),
    "xlogy": lambda a, b: torch.xlogy(a, 2.0),
    "mean": lambda a, b: a.mean(dim=(0, 1), keepdim=True) + b,
    "sum": lambda a, b: a.sum(dim=-1, keepdim=True) * b,
    "amax": lambda a, b: a.amax(dim=0) - b.amin(),
    "var": lambda a, b: a.var(dim=1, correction=0, keepdim=True) + b.std(),
    "prod": lambda a, b: a.prod(dim=0, keepdim=True) + b,
    "norm": lambda a, b: a / (1 + torch.linalg.vector_norm(b, ord=2)),
    "cumsum": lambda a, b: a.cumsum(dim=1),
    "logsumexp": lambda a, b: a.logsumexp(dim=0) + b,
    "flip": lambda a, b: a.flip(0),
    "roll": lambda a, b: a.roll(1, dims=1),
    "slice": lambda a, b: torch.cat([a[:, -1:], b[..., :3]], dim=1),
    "pick": lambda a, b: a[[-1, 0, 1]],
    "gather": lambda a, b: a.gather(1, torch.tensor([[0, 3, 2, 1]] * 3)),
    "take": lambda a, b: a.index_select(1, torch.tensor([3, 0, 0, 1])),
    "masked fill": lambda a, b: a.masked_fill(b > 0, -1.0),
    "tril": lambda a, b: a.tril(),
    "pad": lambda a, b: f.pad(a, (1, -1)),
    "matmul": lambda a, b: a @ b.mT @ a,
    "layer norm": lambda a, b: f.layer_norm(a, (4,), eps=1e-3),
    "double": lambda a, b: a.double().float(),
    "scatter": lambda a, b: a.scatter(1, torch.tensor([[1], [2], [0]]), 0.5),
    "nan": lambda a, b: (a / (b * 0)).amax(dim=0).sign() + a,
    "unfold": lambda a, b: a.unfold(1, 2, 2).sum(dim=-1).repeat(1, 2),
    "sort": lambda a, b: a.sort(dim=0, descending=True)[0] + b.median(dim=1, keepdim=True)[0],
    "ranked": lambda a, b: a.gather(1, b.argsort(dim=1, stable=True)),
    "put": lambda a, b: a.index_put((torch.tensor([0, 2]),), b[:2]).scatter_add(1, torch.tensor([[1, 1]] * 3), b[:, :2]),
    "chosen": lambda a, b: a[b.argmax(dim=0)][:3] + a.diagonal()[:, None],
    "distances": lambda a, b: torch.cdist(a, b)[:, [0, 1, 2, 2]],
    "written": _written,
    "chunk": lambda a, b: torch.cat(a.chunk(2, dim=1)[::-1], dim=1),
}
"""Real numbers (3, 4) from two of that shape."""
WHOLE: dict[str, Operation] = {
    "a + alpha b": lambda a, b: torch.add(a, b, alpha=3),
    "a - b": torch.sub,
    "a * b": torch.mul,
    "large": lambda a, b: a + 2**53 + 1,
    "larger": lambda a, b: torch.maximum(a + 2**54, b + 2**54),
    "smaller": torch.minimum,
    "wraps": lambda a, b: a * 2**61 + b,
    "a // 3": lambda a, b: a // 3,
    "a % -3": lambda a, b: a % -3,
    "fmod": lambda a, b: torch.fmod(a, 3),
    "~a": lambda a, b: ~a,
    "a // b": lambda a, b: a // (b * b + 1),
    "cut off": lambda a, b: a.div(-2, rounding_mode="trunc"),
    "a & b": torch.bitwise_and,
    "a >> 1": lambda a, b: a >> 1,
    "a << 1": lambda a, b: a << 1,
    "a ** 3": lambda a, b: a**3,
    "abs": lambda a, b: a.abs(),
    "sign": lambda a, b: a.sign(),
    "clamp": lambda a, b: a.clamp(-2, 3),
    "clamp by": lambda a, b: a.clamp(b - 1, b),
    "-a": lambda a, b: -a,
    "int": lambda a, b: a.int() * 2**20 * 2**9,
    "where": lambda a, b: torch.where(a > b, a, 7),
    "sum": lambda a, b: a.sum(dim=0) + b,
    "amax": lambda a, b: a.amax(dim=1, keepdim=True) - b,
    "argmax": lambda a, b: a.argmax(dim=0) + b,
    "argmin": lambda a, b: a.argmin() + b,
    "prod": lambda a, b: a.prod(dim=1, keepdim=True) + b,
    "truth": lambda a, b: ((a > 0) + (b > 0)).long(),
    "cumsum": lambda a, b: a.cumsum(0),
    "any": lambda a, b: (a > 0).any(dim=0).long() + b,
    "all": lambda a, b: (a > 0).all(dim=1, keepdim=True).long() + b,
    "not": lambda a, b: (~(a > b)).long(),
    "xor": lambda a, b: torch.logical_xor(a > 0, b > 0).long(),
    "sort": lambda a, b: a.sort(dim=0)[0],
    "median": lambda a, b: a.median(dim=1, keepdim=True)[0] - b,
    "put": lambda a, b: a.index_put((torch.tensor([0, 2]),), b[:2]),
    "arange": lambda a, b: a + torch.arange(4),
    "full": lambda a, b: torch.full_like(a, 3) - b,
    "numbers": lambda a, b: a + len(b),
}
"""Whole numbers (3, 4) from two of that shape."""
ACROSS: dict[str, Operation] = {
    "whole times real": lambda a, b: a * b,
    "whole / real": lambda a, b: b / a,
    "exact quotient": lambda a, b: a / 7 + b,
    "root": lambda a, b: a.abs().sqrt() + b,
    "mean": lambda a, b: a.mean(dim=0, dtype=torch.float32) + b,
    "mask": lambda a, b: (a > 0) * b,
    "compared": lambda a, b: (a > b).float(),
    "where": lambda a, b: torch.where(a > 0, a, b),
    "halves": lambda a, b: (a + 0.5) * b,
    "sums": lambda a, b: a.sum(dim=0, dtype=torch.float32) + b,
    "power": lambda a, b: a.clamp(-2, 2) ** 2.0 + b,
    "joined": lambda a, b: torch.cat([a[:1], b[1:]]),
    "one hot": lambda a, b: f.one_hot(a[:, 0] & 3, 4) * b,
}
"""Real numbers (3, 4) from whole ones and real ones."""
Drawn = tuple[str, str, int, int]


@pytest.fixture(autouse=True)
def quickly_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))


def one_of(kind: str, operations: dict[str, Operation]) -> st.SearchStrategy[Drawn]:
    return st.tuples(st.just(kind), st.sampled_from(sorted(operations)), st.integers(0, 5), st.integers(0, 5))


def model(steps: list[Drawn]) -> Callable[[Tensor, Tensor, Tensor], list[Tensor]]:
    """All steps, each on what the data, the state and the steps before it give."""

    def function(s: Tensor, x: Tensor, y: Tensor) -> list[Tensor]:
        real, whole = [s, x[:3], 0.5 * s + x[3:6]], [(4 * s).long(), y[:3, None] + torch.arange(4), (3 * x[:3]).long()]
        for kind, name, first, second in steps:
            a, b = (whole if kind != "real" else real), (whole if kind == "whole" else real)
            operation = {"real": REAL, "whole": WHOLE, "across": ACROSS}[kind][name]
            found = operation(a[first % len(a)], b[second % len(b)]).expand(3, 4)
            (whole if kind == "whole" else real).append(found.long() if kind == "whole" else found)
        return [*real[3:], *whole[3:]]

    return function


@settings(max_examples=25)
@given(st.lists(one_of("real", REAL) | one_of("whole", WHOLE) | one_of("across", ACROSS), min_size=1, max_size=3))
@pytest.mark.slow
def test_a_drawn_model_is_right_or_refused(steps: list[Drawn]) -> None:
    what, why = verdict(model(steps), START, f"fuzz {steps}")
    assert what in {"right", "refused", "torch"}, why
