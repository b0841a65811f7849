"""Each operation in C against torch's own: small functions, run as a program of tensors and as a compiled one."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from pipeline.engine import compiler
from pipeline.engine.code import code_fingerprint
from pipeline.engine.lanes import source
from pipeline.engine.lanes.products import block_of
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.lanes.values import UntranslatableError
from pipeline.engine.program import Epochs, Runs
from pipeline.engine.tensors import TensorProgram

SAMPLES, FEATURES, RUNS = 6, 4, 5
Step = Callable[[Tensor, Tensor, Tensor, Tensor], Any]


@pytest.fixture(autouse=True)
def quickly_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the translation; the other tests compile as the stages do."""
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))


@dataclass(frozen=True)
class Functions:
    """A run with a tensor for each function under test, which a step gives it to: one program for them all."""

    functions: tuple[Step, ...]
    names: tuple[str, ...]
    untrained = ()
    drawn = 0
    evaluates_together = False
    model = nn.Module()

    def step(self, state: list[Tensor], numbers: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        new = [function(of, x, y, weights).expand(of.shape) for function, of in zip(self.functions, state, strict=True)]
        return *new, sum(((each * numbers[0]).mean() for each in new), torch.zeros((), dtype=x.dtype))

    @staticmethod
    def evaluated(state: list[Tensor]) -> list[Tensor]:
        return state

    def named(self, evaluated: list[Tensor]) -> dict[str, Tensor]:
        return dict(zip(self.names, evaluated, strict=True))

    def evaluation(self, state: list[Tensor], x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        return (weights * (x @ state[0][0])).sum(), (weights * (y == 1)).sum()


def runs_of(functions: Mapping[str, Step], key: str) -> Runs:
    draw = torch.Generator().manual_seed(0)
    state = torch.randn((RUNS, 3, FEATURES), generator=draw, dtype=torch.float64)
    x = torch.randn((20, FEATURES), generator=draw, dtype=torch.float64)
    parts = {"validation": torch.arange(20).reshape(2, 10)}
    of_run, y = torch.tensor([0, 1, 0, 0, 1]), torch.randint(0, 3, (20,), generator=draw)
    given: Any = Functions(tuple(functions.values()), tuple(functions))
    return Runs(given, x, y, parts, of_run, [state.clone() for _ in functions], SAMPLES, 1, f"{key} {code_fingerprint()}")


EPOCHS = Epochs(
    np.arange(24, dtype=np.int32).reshape(1, 2, 2, SAMPLES) % 20,
    np.linspace(0.1, 1, 2 * SAMPLES).reshape(2, SAMPLES),
    np.array([6.0, 3.0]),
    np.linspace(1, 2, 2 * RUNS).reshape(2, 1, RUNS),
    np.array([True]),
)


def results_of(functions: Mapping[str, Step], key: str) -> list[dict[str, npt.NDArray[Any]]]:
    """What a program of tensors and a compiled one make of them."""
    results = []
    for make in (lambda runs: TensorProgram(runs, 0), LaneProgram):
        made = make(runs_of(functions, f"test_translate {key}"))
        trained = made.train(EPOCHS)
        curves = {each: getattr(trained, each) for each in ("train_loss", "validation_loss", "validation_metric")}
        results.append(curves | {name: values.numpy() for name, values in made.parameters().items()})
    return results


@cache
def results_of_group(group: str) -> list[dict[str, npt.NDArray[Any]]]:
    return results_of(GROUPS[group], group)


def assert_same(name: str, tensors: Mapping[str, npt.NDArray[Any]], compiled: Mapping[str, npt.NDArray[Any]]) -> None:
    for each in (name, "train_loss", "validation_loss", "validation_metric"):
        np.testing.assert_allclose(compiled[each], tensors[each], rtol=1e-12, atol=1e-13, err_msg=each)


POINTWISE: dict[str, Step] = {
    "add with alpha": lambda s, x, y, w: torch.add(s, s * s, alpha=3),
    "sub": lambda s, x, y, w: torch.sub(s, x[:3], alpha=2),
    "rsub": lambda s, x, y, w: 1 - s,
    "div": lambda s, x, y, w: s / (2 + x[:3].abs()),
    "reciprocal": lambda s, x, y, w: 1 / (2 + s.abs()),
    "sign": lambda s, x, y, w: s.sign() + s.abs(),
    "activations": lambda s, x, y, w: f.relu(s) + f.gelu(s) + torch.tanh(s) + torch.sigmoid(s) + f.silu(s) + f.elu(s),
    "more activations": lambda s, x, y, w: f.leaky_relu(s) + f.softplus(s) + f.hardtanh(s) + f.gelu(s, approximate="tanh"),
    "clamp": lambda s, x, y, w: s.clamp(-0.5, 0.5) + s.clamp(min=0.1) + s.clamp(max=0.2),
    "maximum": lambda s, x, y, w: torch.maximum(s, x[:3]) - torch.minimum(s, x[:3]),
    "powers": lambda s, x, y, w: s**2 + s**3 + s.abs() ** 1.5 + s.abs().sqrt() + s.abs().rsqrt(),
    "exponentials": lambda s, x, y, w: s.exp() + s.abs().log() + torch.expm1(s) + torch.log1p(s.abs()) + s.erf(),
    "waves": lambda s, x, y, w: s.sin() + s.cos(),
    "choices": lambda s, x, y, w: torch.where((s > 0) & (s < 1) | (s == 2), s, -s) + torch.where(~(s >= 0), s, 0.5),
    "whole numbers": lambda s, x, y, w: s + (y[:4] != 1).double() * 2.0 + (y[:4] + 1).double(),
}  # fmt: skip
REDUCTIONS: dict[str, Step] = {
    "sums": lambda s, x, y, w: s + s.sum() + s.sum(dim=0) + s.sum(dim=1, keepdim=True),
    "means": lambda s, x, y, w: s + s.mean() + s.mean(dim=-1, keepdim=True),
    "extremes": lambda s, x, y, w: s + s.amax(dim=1, keepdim=True) - s.amin(),
    "of data": lambda s, x, y, w: s + x.sum(dim=0) + w.sum() + (x * w[:, None]).mean(),
    "variance": lambda s, x, y, w: s / (s.var(dim=1, keepdim=True, unbiased=False) + s.var(dim=0) + 1e-5).sqrt(),
    "argmax": lambda s, x, y, w: s + s.argmax(dim=0) + s.argmax(dim=1, keepdim=True),
    "norm": lambda s, x, y, w: s / torch.linalg.vector_norm(s),
    "softmax": lambda s, x, y, w: s.softmax(dim=1) + s.log_softmax(dim=0),
    "layer norm": lambda s, x, y, w: f.layer_norm(s, (FEATURES,)),
}  # fmt: skip
PRODUCTS: dict[str, Step] = {
    "by data": lambda s, x, y, w: (x @ s.T).T @ x,
    "by itself": lambda s, x, y, w: s @ s.T @ s,
    "batched": lambda s, x, y, w: torch.bmm(s.reshape(1, 3, 4).expand(2, 3, 4), x.reshape(2, 3, 4).transpose(1, 2)).sum() + s,
    "a linear layer": lambda s, x, y, w: f.linear(x, s, s[:, 0]).T @ x,
    "of data alone": lambda s, x, y, w: s + (x.T @ x)[:3],
}
VIEWS: dict[str, Step] = {
    "reshapes": lambda s, x, y, w: s.reshape(2, 6).T.reshape(3, 4) + s.flatten().reshape(4, 3).T,
    "slices": lambda s, x, y, w: s + s[1:2] + s[:, ::2].repeat(1, 2) + s[-1] + x[2, 1],
    "joins": lambda s, x, y, w: torch.cat([s[:1], x[:1], s[2:]]) + torch.stack([s[0], s[1], x[0]]),
    "choices": lambda s, x, y, w: s[y[:3]] + s.gather(1, y[:3, None]) + f.embedding(y[:3], s),
    "constants": lambda s, x, y, w: s + torch.ones_like(s) + torch.full((4,), 0.5) + torch.arange(4) + torch.zeros(3, 1),
    "scatter": lambda s, x, y, w: s + torch.zeros_like(s).scatter(1, y[:3, None], 2.0),
}


def _gradient(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    found: Callable[[Tensor], Tensor] = torch.func.grad(lambda s: (function(s) ** 2).sum())
    return found


IMAGES: dict[str, Step] = {
    "transposed convolutions": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            f.conv_transpose1d(x.reshape(6, 2, 2), s.reshape(2, 3, 2), s[:, 0], stride=2).flatten(),
            f.conv_transpose2d(s.reshape(1, 2, 3, 2), s.reshape(2, 3, 2, 1), stride=(1, 2), output_padding=(0, 1)).flatten(),
            f.conv_transpose2d(s.reshape(1, 2, 3, 2), s[:, :2].reshape(2, 1, 3, 1), stride=2, padding=1, groups=2).flatten(),
        ])
    )(s),
    "edges": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            f.pad(s[None], (1, 2), mode="reflect").flatten(),
            f.pad(s.reshape(1, 1, 3, 4), (2, 1, 0, 1), mode="replicate").flatten(),
            f.unfold(s.reshape(1, 1, 3, 4), 2).flatten(),
        ])
    )(s),
    "chosen along several axes": lambda s, x, y, w: _gradient(
        lambda s: s[torch.tensor([0, 0, 2]), torch.tensor([1, 1, 3])] + s[torch.tensor([[1], [2]]), torch.tensor([0, 3, 3])]
    )(s),
    "largest of an axis": lambda s, x, y, w: _gradient(
        lambda s: s.max(dim=1)[0].sum() + s.min(dim=0, keepdim=True)[0] * s.max(dim=0)[1]
    )(s),
    "bilinear": lambda s, x, y, w: _gradient(lambda s: f.bilinear(x[:, :2], x, s[:, :2, None] * s[:, None], s[:, 0]))(s),
    "shrinking": lambda s, x, y, w: _gradient(lambda s: f.hardshrink(s) + f.softshrink(s))(s),
}  # fmt: skip


def _written(s: Tensor) -> Tensor:
    """A new tensor that is written to part by part, and one that is changed in part."""
    new, changed = s.new_zeros(3, 8), s * 1.0
    new[:, ::2], new[:, 1::2] = s.cos(), s * s
    changed[1:, 1:3] += s[:2, :2]
    changed[0].mul_(2.0)
    changed[:, 3] = s[:, 0]
    return torch.cat([new, changed], dim=1)


def _constant_written(s: Tensor) -> Tensor:
    constant = torch.zeros(4, dtype=s.dtype)
    constant[2] = 1.0
    return s * constant


def _mixture(s: Tensor, x: Tensor) -> Tensor:
    """Two of four experts for each sample."""
    chosen, experts = (x[:, :3] @ s).topk(2, dim=1)
    weights = s.new_zeros(6, 4).scatter(1, experts, chosen.softmax(dim=1))
    outputs = x[:, :, None] * s.flatten()[:4]
    return torch.cat([weights, outputs.gather(1, experts[:, :, None].expand(-1, -1, 4)).flatten(1)], dim=1)


def _nearest(s: Tensor, x: Tensor) -> Tensor:
    """Rows of the state, each that is nearest to a sample."""
    near = s[torch.cdist(x, s).argmin(dim=1)]
    return f.embedding((x @ s.T).argmax(dim=1), s) * x + near


PLACES: dict[str, Step] = {
    "parts changed in place": lambda s, x, y, w: _gradient(_written)(s),
    "a constant changed in part": lambda s, x, y, w: _constant_written(s),
    "steps through memory": lambda s, x, y, w: _gradient(
        lambda s: (s + 0).as_strided((3, 2, 2), (1, 4, 2)).flatten() * s.reshape(12).as_strided((12,), (1,), 0)
    )(s),
    "diagonals": lambda s, x, y, w: _gradient(
        lambda s: s.diagonal() + torch.diag_embed(s[0, :3]).sum(dim=0) + s.reshape(2, 2, 3).diagonal(1, 0, 2).sum()
    )(s),
    "around the edge": lambda s, x, y, w: _gradient(lambda s: f.pad(s[None], (1, 2), mode="circular"))(s),
    "angles": lambda s, x, y, w: _gradient(lambda s: f.cosine_similarity(s, x[:3]) + f.cosine_similarity(s[:1], s).sum())(s),
    "put at an index": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            s.index_put((torch.tensor([0, 2]),), s[:2, :4] * 2),
            s.index_put((torch.tensor([0, 2, 2]), torch.tensor([1, 3, 3])), s[:, 0]),
            s.index_copy(1, torch.tensor([3, 1]), s[:, :2]),
            s.index_fill(0, torch.tensor([1]), -math.inf).exp(),
            s.index_put((torch.tensor([True, False, True]),), torch.tensor(0.5).to(s)),
        ])
    )(s),
    "sorted": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            s.sort(dim=1)[0],
            s.sort(dim=0, descending=True)[0] * s,
            s.topk(2, dim=1, largest=False)[0].repeat(1, 2),
            s.median(dim=1, keepdim=True)[0] * s,
            s.kthvalue(2, dim=1)[0][:, None] + s.gather(1, s.argsort(dim=1)),
        ])
    )(s),
    "a mixture of experts": lambda s, x, y, w: _gradient(lambda s: _mixture(s, x))(s),
    "nearest of a codebook": lambda s, x, y, w: _gradient(lambda s: _nearest(s, x))(s),
    "added up along an index": lambda s, x, y, w: _gradient(
        lambda s: s.new_zeros(3, 2).scatter_add(1, torch.tensor([[0, 1, 1, 0]] * 3), s) * s.prod(dim=1, keepdim=True)
    )(s),
}  # fmt: skip
"""Elements by their place: changed in place, sorted, or chosen by what is computed."""
LAYERS: dict[str, Step] = {
    "convolution of data": lambda s, x, y, w: s + f.conv2d(x.reshape(6, 1, 2, 2), s.reshape(3, 1, 2, 2), s[:, 0]).sum(),
    "padded": lambda s, x, y, w: (
        s + f.conv2d(s.reshape(3, 1, 2, 2), x.flatten()[:9].reshape(1, 1, 3, 3), padding=1).reshape(3, 4)
    ),
    "strided": lambda s, x, y, w: s + f.conv2d(s.reshape(1, 1, 3, 4), s.flatten()[:6].reshape(1, 1, 3, 2), stride=(2, 1)).sum(),
    "dilated": lambda s, x, y, w: s + f.conv2d(s.reshape(1, 1, 3, 4), s[:2, :2].reshape(1, 1, 2, 2), dilation=2).sum(),
    "in one dimension": lambda s, x, y, w: s + f.conv1d(x.reshape(6, 2, 2), s.reshape(3, 2, 2), padding=1).mean(),
    "gradient by the weights": lambda s, x, y, w: _gradient(
        lambda s: f.conv2d(x.reshape(6, 1, 2, 2), s.flatten()[:9].reshape(1, 1, 3, 3), s[0, :1], padding=1)
    )(s),
    "gradient by the input": lambda s, x, y, w: _gradient(
        lambda s: f.conv2d(s.reshape(3, 1, 2, 2), x.flatten()[:9].reshape(1, 1, 3, 3), padding=1)
    )(s),
    "gradient by both": lambda s, x, y, w: _gradient(
        lambda s: f.conv2d(s.reshape(3, 2, 2, 1), s.reshape(2, 2, 3, 1), padding=(1, 0), stride=2)
    )(s),
    "gradient by pixels that few taps reach, or none": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            f.conv1d(s.reshape(1, 1, 12), s.flatten()[:2].reshape(1, 1, 2), stride=3).flatten(),
            f.conv1d(s.reshape(1, 1, 12), s.flatten()[:3].reshape(1, 1, 3), stride=2, dilation=2, padding=1).flatten(),
            f.conv1d(s.reshape(1, 1, 12), s.flatten()[:3].reshape(1, 1, 3), stride=2, dilation=3, padding=2).flatten(),
            f.conv1d(s.reshape(1, 1, 12), s.flatten()[:3].reshape(1, 1, 3), stride=4, dilation=2).flatten(),
            f.conv2d(s.reshape(1, 2, 3, 2), s.flatten()[:8].reshape(2, 1, 2, 2), stride=(2, 1), padding=1, groups=2).flatten(),
            f.conv3d(s.reshape(1, 1, 3, 2, 2), s.flatten()[:8].reshape(1, 1, 2, 2, 2), stride=2, padding=1).flatten(),
        ])
    )(s),
    "group norm": lambda s, x, y, w: f.group_norm(s.reshape(1, 4, 3, 1), 2, s[0], s[1]).reshape(3, 4),
    "gradient of group norm": lambda s, x, y, w: _gradient(
        lambda s: f.group_norm(s.reshape(1, 4, 3, 1), 2, s[0], s[1]).exp()
    )(s),
    "gradient of an embedding": lambda s, x, y, w: _gradient(lambda s: f.embedding(y, s) + f.embedding(y[:2], s).sum())(s),
    "attention": lambda s, x, y, w: _gradient(lambda s: (x @ s.T @ s @ x.T).softmax(dim=-1) @ x)(s),
    "pools of the largest": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            f.max_pool2d(s.reshape(1, 1, 3, 4), 2).flatten(),
            f.max_pool2d(s.reshape(1, 1, 3, 4), (3, 2), stride=1, padding=1, dilation=(1, 2)).flatten(),
            f.max_pool2d(s.reshape(1, 3, 4), 2, ceil_mode=True).flatten(),
            f.max_pool1d(s[None], 3, stride=2, padding=1).flatten(),
            f.max_pool3d(s.reshape(1, 1, 3, 2, 2), 2).flatten(),
            f.adaptive_max_pool2d(s.reshape(1, 1, 3, 4), (2, 3)).flatten(),
        ])
    )(s) + f.max_pool2d_with_indices(s.reshape(1, 1, 3, 4), (3, 1))[1].reshape(4),
    "pools of means": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            f.avg_pool2d(s.reshape(1, 1, 3, 4), 2).flatten(),
            f.avg_pool2d(s.reshape(1, 1, 3, 4), 3, stride=2, padding=1).flatten(),
            f.avg_pool2d(s.reshape(1, 3, 4), 3, stride=2, padding=1, count_include_pad=False).flatten(),
            f.avg_pool2d(s.reshape(1, 1, 3, 4), 2, divisor_override=3).flatten(),
            f.avg_pool1d(s[None], 2).flatten(),
            f.avg_pool3d(s.reshape(1, 1, 3, 2, 2), 2).flatten(),
            f.adaptive_avg_pool2d(s.reshape(1, 1, 3, 4), (2, 3)).flatten(),
            f.adaptive_avg_pool1d(s[None], 1).flatten(),
        ])
    )(s),
    "groups": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([
            f.conv1d(x.reshape(6, 2, 2), s.reshape(6, 1, 2), groups=2).flatten(),
            f.conv2d(s.reshape(1, 3, 2, 2), s[:, :2].reshape(3, 1, 2, 1), padding=1, groups=3).flatten(),
            f.conv2d(s.reshape(1, 4, 3, 1), s.reshape(2, 2, 3, 1), padding=(1, 0), groups=2).flatten(),
        ])
    )(s),
    "edges": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([f.pad(s, (1, 2)).flatten(), f.pad(s, (-1, 2, 1, 0), value=0.5).flatten()])
    )(s),
    "parts": lambda s, x, y, w: _gradient(
        lambda s: torch.cat([s.chunk(3, dim=1)[0], *torch.split(s, [1, 3], dim=1), f.glu(s), s.unbind(1)[3][:, None]], dim=1)
    )(s),
    "a row of an embedding that is not trained": lambda s, x, y, w: _gradient(lambda s: f.embedding(y, s, padding_idx=1))(s),
    "bits": lambda s, x, y, w: s + ((y[:4] * 77) >> 2 ^ 5) + (((s * 1000).long() ^ 12345) >> 3 & 255),
}  # fmt: skip


LARGE = 2**53 + 1
"""A whole number that is none in double precision, let alone in single."""


def _last(whole: Tensor) -> Tensor:
    """The last bits of whole numbers, as real ones."""
    return (whole & 1023).double()


def _whole(s: Tensor) -> Tensor:
    return (s * 10).long()


BY_TYPE: dict[str, Step] = {
    "division that rounds down": lambda s, x, y, w: s // 0.5 + s.div(-0.3, rounding_mode="floor") + s // x[:3],
    "division that cuts off": lambda s, x, y, w: s.div(0.3, rounding_mode="trunc") + s.div(x[:3], rounding_mode="trunc"),
    "division by zero": lambda s, x, y, w: (s // (s * 0)).clamp(-1, 1) + (s / (s * 0)).clamp(-1, 1),
    "whole numbers divided": lambda s, x, y, w: s + _whole(s) // 3 + _whole(s).div(-3, rounding_mode="trunc") + _whole(s) % -4,
    "whole numbers divided exactly": lambda s, x, y, w: s + _whole(s).double() / 7 + (y[:4] + 1).double().reciprocal(),
    "remainders": lambda s, x, y, w: s % 0.3 + s % -0.3 + torch.fmod(s, -0.3) + s.remainder(x[:3]) + x[:3].fmod(s),
    "complements": lambda s, x, y, w: s + (~_whole(s)).double() + (~(s > 0)).double() + (~y[:4]).double(),
    "extremes of whole numbers": lambda s, x, y, w: (
        s + _last(torch.maximum(_whole(s) + LARGE, y[:4] + LARGE) + torch.minimum(_whole(s) - LARGE, y[:4] - LARGE))
    ),
    "first of large numbers": lambda s, x, y, w: s + (_whole(s) + LARGE).argmax(dim=0) + (LARGE - _whole(s)).argmin(),
    "largest of whole numbers": lambda s, x, y, w: (
        s + _last(-(_whole(s).abs()) - LARGE).amax(dim=0) + _last((_whole(s) - LARGE).amax())
    ),
    "truth values": lambda s, x, y, w: (
        s
        + ((s > 0) + (s < 1)).double()
        + ((s > 0) * (s < 1)).double()
        + (torch.maximum(s > 0, s > 1).double() + (s > 0).sum(dim=0).double() + (s > 0).amax(dim=1, keepdim=True).double())
    ),
    "wrapping around": lambda s, x, y, w: s + _last((_whole(s) + LARGE) * (_whole(s) + LARGE) * LARGE - 2**62),
    "short numbers wrap sooner": lambda s, x, y, w: s + ((_whole(s).int() + 2**20) * 2**12 + 2**30).double() / 2.0**30,
    "whole numbers times alpha": lambda s, x, y, w: s + torch.add(y[:4], _whole(s), alpha=3) - torch.sub(y[:4], y[:4], alpha=2),
    "taken from": lambda s, x, y, w: (
        torch.rsub(s, x[:3], alpha=2) + torch.rsub(s, 3, alpha=-2) + torch.rsub(_whole(s), 5, alpha=3)
    ),
    "bounds that are tensors": lambda s, x, y, w: (
        s.clamp(x[:3], x[:3] + 1) + s.clamp(max=x[:3]) + _whole(s).clamp(y[:4] - 1, y[:4])
    ),
    "bounds the wrong way round": lambda s, x, y, w: s.clamp(1.0, -1.0) + _whole(s).clamp(3, -3),
    "powers of whole numbers": lambda s, x, y, w: s + _last(_whole(s) ** 5 + 3 ** y[:4]) + (s - 1) ** 2 + (-s.abs() - 1) ** 3,
    "sums in another type": lambda s, x, y, w: s + _whole(s).sum(dtype=torch.float64) + (s > 0).sum(dim=0, dtype=torch.float64),
    "means of whole numbers": lambda s, x, y, w: s + _whole(s).mean(dtype=torch.float64) + y.mean(dim=0, dtype=torch.float64),
    "products of whole numbers": lambda s, x, y, w: s + _last((_whole(s) + LARGE).prod(dim=1, keepdim=True)) + (s > 0).prod(),
    "shifts": lambda s, x, y, w: (
        s + ((_whole(s) - 5) >> 1).double() + ((_whole(s) - 5) >> 64).double() + (y[:4] >> y[:4]).double()
    ),
    "signs": lambda s, x, y, w: (
        s + (s / (s * 0) * 0).sign() + _whole(s).sign() + _whole(s).abs() + 1 / (-0.0 * s).abs().clamp(0, 1)
    ),
    "rounded": lambda s, x, y, w: (s * 3).round() + (s * 3).floor() + (s * 3).ceil() + (s * 3).trunc() + (s * 0 + 2.5).round(),
    "comparisons of large numbers": lambda s, x, y, w: (
        s + (_whole(s) + LARGE > LARGE).double() + (y[:4] + LARGE == LARGE).double()
    ),
    "joined types": lambda s, x, y, w: s + torch.cat([s[:1], _whole(s)[:1].double(), (s > 0)[:1].double()]),
    "chosen from the end": lambda s, x, y, w: s[y[:3] - 3] + s[torch.tensor([-1, 0, -2])] + s[-2:][:, -3:].sum(),
    "no whole number is -0": lambda s, x, y, w: s + (1 / ((s / 100).long() * s.abs())).clamp(-1, 1),
}
"""Operations whose meaning hangs on the type of their operands, or on an argument that is seldom given."""


GROUPS = {
    "pointwise": POINTWISE,
    "reductions": REDUCTIONS,
    "products": PRODUCTS,
    "views": VIEWS,
    "layers": LAYERS,
    "images": IMAGES,
    "places": PLACES,
    "by type": BY_TYPE,
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, functions in GROUPS.items() for name in functions])
def test_an_operation_computes_what_torchs_own_does(group: str, name: str) -> None:
    assert_same(name, *results_of_group(group))


def test_nan_spreads_as_in_torch() -> None:
    def poisoned(s: Tensor, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        bad = s / torch.where(s > 0.5, 0.0, 1.0 + 0 * s) * torch.where(s > 0.5, 0.0, 1.0 + 0 * s)  # NaN where s is large
        return (
            f.relu(bad)
            + bad.clamp(0, 1)
            + torch.maximum(bad, s)
            + bad.amax(dim=1, keepdim=True)
            + bad.argmax(dim=1, keepdim=True)
        )

    assert_same("poisoned", *results_of({"poisoned": poisoned}, "nan"))


def test_gradients() -> None:
    def descended(s: Tensor, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        def loss(s: Tensor) -> Any:
            logits = torch.tanh(x @ s.T)
            return (w * f.cross_entropy(logits, y, reduction="none", label_smoothing=0.1)).sum() + f.huber_loss(
                logits, logits * 0
            )

        gradient: Tensor = torch.func.grad(loss)(s)
        return s - 0.1 * gradient

    assert_same("descended", *results_of({"descended": descended}, "gradients"))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, x, y, w: s + s.flatten().repeat(6).sort().values[0], "sorting 72 elements"),
        (lambda s, x, y, w: s + s[:2].as_strided((3, 4), (4, 1)), "beyond the elements of a tensor"),
        (lambda s, x, y, w: torch.fft.fft(s).real, "aten._fft_r2c"),
        (lambda s, x, y, w: s.half().double(), "float16"),
        (lambda s, x, y, w: s if s.sum() > 0 else -s, "traced"),
        (lambda s, x, y, w: s.float().double(), "_to_copy with numbers of type torch.float32"),
        (lambda s, x, y, w: s + _whole(s) // (y[:4] + 1), "by other than a number"),
        (lambda s, x, y, w: s + (s > 0)[y[:3]], "among whole numbers"),
        (lambda s, x, y, w: s.clamp(min=float("nan")), "bound that is NaN"),
        (lambda s, x, y, w: s.round(decimals=1), "aten.round.decimals"),
        (lambda s, x, y, w: s + s[:, 2:2].sum(), "of no elements"),
    ],
)  # fmt: skip
def test_what_cannot_be_translated_is_named(function: Step, message: str) -> None:
    with pytest.raises(UntranslatableError, match=message):
        LaneProgram(runs_of({"refused": function}, f"refused {message}"))


@pytest.mark.parametrize(
    ("limit", "message"),
    [("LARGEST_PROGRAM", "operations, which would take minutes"), ("LARGEST_BLOCK", "side by side need 0.0 GiB")],
)
def test_what_would_take_too_long_or_too_much_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, limit: str, message: str
) -> None:
    monkeypatch.setattr(source, limit, 2)
    with pytest.raises(UntranslatableError, match=message):
        LaneProgram(runs_of({"linear": PRODUCTS["a linear layer"]}, f"refused by {limit}"))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (32, 2), (64, 32), (997, 13), (3, 1000)])
@pytest.mark.parametrize("registers", [16, 32])
def test_a_block_of_a_product_fits_the_registers(rows: int, columns: int, registers: int) -> None:
    high, wide = block_of(rows, columns, registers)
    assert 1 <= high <= rows
    assert 1 <= wide <= columns
    assert high * wide + min(high, wide) + 1 <= registers
