"""Models as people write them, through ``auto`` and in a plain loop: each trains, to the same numbers."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as f

from benchmarks.models import ZOO, Applied, Build
from pipeline.data.datasets import datasets
from pipeline.data.datasets import register as register_dataset
from pipeline.engine import cache, compiler, loop, training
from pipeline.engine.lanes import source
from pipeline.problems.models import register
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, collect
from tests.engine.helpers import CPU, Builder, assert_close, numbers_of, run_of
from tests.repeated import few


def _drawing(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """Dropout as a function, and a layer that is left out by chance."""

    def forward(x: Tensor, layer: nn.Module, deep: nn.Module, head: nn.Module) -> Tensor:
        hidden = f.dropout(layer(x.flatten(1)).relu(), 0.2, training=head.training)
        kept = torch.rand(len(x), 1) < 0.8 if head.training else torch.ones(len(x), 1)
        outputs: Tensor = head(hidden + f.rrelu(deep(hidden), training=head.training) * kept)
        return outputs

    size = inputs[0] * inputs[1] * inputs[2]
    return Applied(forward, layer=nn.Linear(size, 8), deep=nn.Linear(8, 8), head=nn.Linear(8, outputs))


def _scripted(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """A part that was compiled before: it takes no hooks."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # torch advises against it; people have it
        part: nn.Module = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(inputs), 8), nn.ReLU()))
    return nn.Sequential(part, nn.Linear(8, outputs))


def _everything(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """A part of each kind, as small as can be, for one compilation."""

    def forward(x: Tensor, **parts: nn.Module) -> Tensor:
        x = parts["mixed"](parts["channels"](f.pad(x, (0, 1, 0, 1)))).relu()
        x = f.max_pool2d(x, 3, stride=2, padding=1) + f.avg_pool2d(x, 3, stride=2, padding=1)
        rows = parts["cells"](x.flatten(2))[0] + parts["gates"](x.flatten(2))[0]
        rows = rows + parts["attention"](rows, rows, rows, need_weights=False)[0]
        kinds = f.one_hot((x.detach()[:, :, 0, 0] > 0).long(), 2).to(x.dtype).flatten(1)
        outputs: Tensor = parts["head"](torch.cat([f.glu(rows, dim=-1).mean(dim=1), kinds], dim=1))
        return outputs

    return Applied(
        forward, channels=nn.Sequential(nn.Conv2d(inputs[0], 4, 3, stride=2), nn.Dropout(0.1)),
        mixed=nn.Conv2d(4, 4, 2, padding=1, groups=2),
        cells=nn.LSTM(9, 4, batch_first=True), gates=nn.GRU(9, 4, batch_first=True),
        attention=nn.MultiheadAttention(4, 2, batch_first=True), head=nn.LazyLinear(outputs),
    )  # fmt: skip


def _words(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """Bags of words, of each kind."""

    def forward(x: Tensor, mean: nn.Module, total: nn.Module, largest: nn.Module, head: nn.Module) -> Tensor:
        kinds = (x.detach().flatten(1) * 2).long().clamp(0, 7)
        bags = torch.cat([mean(kinds), total(kinds, per_sample_weights=x.flatten(1)), largest(kinds)], dim=1)
        outputs: Tensor = head(bags)
        return outputs

    return Applied(
        forward, mean=nn.EmbeddingBag(8, 3, padding_idx=0), total=nn.EmbeddingBag(8, 3, mode="sum"),
        largest=nn.EmbeddingBag(8, 3, mode="max"), head=nn.Linear(9, outputs),
    )  # fmt: skip


def _routed(inputs: tuple[int, int, int], outputs: int) -> nn.Module:
    """A mixture of experts with frozen parts, of which each sample takes two, behind features that are turned in place."""

    def forward(x: Tensor, gate: nn.Module, experts: nn.Module, head: nn.Module) -> Tensor:
        x, turned = x.flatten(1), torch.zeros_like(x.flatten(1))
        turned[:, ::2], turned[:, 1::2] = x[:, ::2] * 0.6 - x[:, 1::2] * 0.8, x[:, ::2] * 0.8 + x[:, 1::2] * 0.6
        chosen, places = gate(turned).topk(2, dim=1)
        each = experts(turned).unflatten(1, (4, 6)).relu()
        taken = each.gather(1, places.unsqueeze(-1).expand(-1, -1, 6))
        outputs: Tensor = head((taken * chosen.softmax(dim=1).unsqueeze(-1)).sum(dim=1))
        return outputs

    size = math.prod(inputs)
    experts = nn.Linear(size, 24)
    experts.bias.requires_grad = False
    return Applied(forward, gate=nn.Linear(size, 4), experts=experts, head=nn.Linear(6, outputs))


MODELS: dict[str, Build] = {
    **ZOO, "drawing": _drawing, "scripted": _scripted, "everything": _everything, "words": _words, "routed": _routed
}  # fmt: skip


@pytest.fixture(autouse=True)
def told_anew(own_registries: None) -> Iterator[None]:
    training.tell.cache_clear()
    yield
    training.tell.cache_clear()


def problem_of(new_problem: Builder, name: str, epochs: int) -> Problem:
    register("own")(MODELS[name])
    register_dataset("few digits")(few_digits)
    optimizer = {"name": "AdamW", "lr": 0.003}
    dataset = {"name": "few digits"}
    return new_problem({}, dataset=dataset, model={"name": "own"}, optimizer=optimizer, epochs=epochs, batch_size=40)


def few_digits() -> pd.DataFrame:
    """Every eighth picture."""
    digits: pd.DataFrame = datasets["digits"].function(images=True)
    return digits[::8].reset_index(drop=True)


def both(problem: Problem) -> Iterator[tuple[History, History]]:
    """Two runs by ``auto``, then each in the plain loop."""
    runs = [run_of(problem, "Baseline", seed) for seed in range(2)]
    yield (
        collect(runs, training.train(problem, runs, device=CPU, dtype=torch.float64)),
        collect(runs, training.train_by("loop", problem, runs, device=CPU, dtype=torch.float64)),
    )


@pytest.fixture(autouse=True)
def none_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as are trained run by run, on some processors, are tried as the others are."""
    monkeypatch.setattr(training, "LARGEST_PRODUCT", math.inf)


def assert_same(problem: Problem) -> None:
    for ours, theirs in both(problem):
        for name, values in numbers_of(theirs).items():
            assert_close(numbers_of(ours)[name], values, 1e-7)


@pytest.mark.parametrize("name", few(MODELS, *list(ZOO)[::3], "drawing", "scripted", "everything", "words", "routed"))
def test_ordinary_models_train_as_in_the_loop(new_problem: Builder, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    problem = problem_of(new_problem, name, epochs=1)
    assert training.ways(problem, problem.params.optimizer, CPU)[0] == "tensors"
    assert_same(problem)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "routed"])
def test_compiled_they_train_as_in_the_loop(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    monkeypatch.setattr(training, "WORTH_COMPILING", 0)
    assert_same(problem_of(new_problem, name, epochs=1))
    assert not caplog.records


@pytest.mark.slow
def test_compiled_they_do_so_in_tiles(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """A part of each kind in one model, whose step is cut; compiled anew, whatever was before."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_chosen", {})
    monkeypatch.setattr(training, "WORTH_COMPILING", 0)
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))
    read, texts = source._text, list[str]()

    def noted(name: str) -> str:
        texts.append(name)
        return read(name)

    monkeypatch.setattr(source, "_text", noted)
    monkeypatch.setattr(loop, "train", loop.train)
    assert_same(problem_of(new_problem, "everything", epochs=1))
    assert not caplog.records
    assert "tiles.c" in texts


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_each_is_compiled(new_problem: Builder, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(training, "WORTH_COMPILING", 0)
    assert_same(problem_of(new_problem, name, epochs=1))
