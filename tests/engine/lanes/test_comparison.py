"""Compiled code that computes something else than torch is found out before it is used; what torch rounds itself is not."""

from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.operations import OneRun, runs_of
from pipeline.engine import cache, compiler
from pipeline.engine.lanes import program
from pipeline.engine.lanes.comparison import difference
from pipeline.engine.lanes.operations import FUNCTIONS, POINTWISE, REDUCTIONS, Pointwise, Reduction
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.lanes.values import MistranslatedError
from tests.repeated import few

aten = torch.ops.aten
START = torch.linspace(-1.5, 2, 12).reshape(3, 4)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))  # for the compiler's own speed


def layer(s: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.tanh(torch.relu(x @ s.T)).sum(dim=1)


WRONG: dict[str, tuple[dict[Any, Any], Any, Any]] = {
    "another function": (FUNCTIONS, aten.tanh.default, "sin"),
    "a last place of a thousand": (POINTWISE, aten.relu.default, Pointwise(lambda a: f"relu((real)1.001 * {a})")),
    "one lane": (POINTWISE, aten.relu.default, Pointwise(lambda a: f"(l == LANES - 1 ? {a} : relu({a}))")),
    "the gradient alone": (POINTWISE, aten.le.Scalar, Pointwise(lambda a, b: f"({a} < {b})", compares=True)),
    "where a sum begins": (REDUCTIONS, aten.sum.default, Reduction({"real": "1"}, REDUCTIONS[aten.sum.default].combined)),
}


@pytest.mark.parametrize("name", few(WRONG, "one lane", "the gradient alone"))
def test_what_is_wrong_is_found_out(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, operation, wrong = WRONG[name]
    LaneProgram(runs_of(layer, START, "right"))
    monkeypatch.setitem(table, operation, wrong)
    runs = runs_of(layer, START, "wrong")
    for _ in range(2):  # and remembered
        with pytest.raises(MistranslatedError, match="does not compute what torch does: the "):
            LaneProgram(runs)
        monkeypatch.setattr(program, "difference", lambda *given: pytest.fail("compared again"))


HARD: dict[str, OneRun] = {
    "beside thresholds": lambda s, x, y: (s[0] * x).div(0.01, rounding_mode="floor") * 0.01 + (s[0] > 0.5).float(),
    "what nearly cancels": lambda s, x, y: ((s + 1e5) - 1e5) + (x - x.mean()).sum() * s,
    "without a finite result": lambda s, x, y: s.log() + (s * 1e30) * 1e30,
    "far sums": lambda s, x, y: (
        x[:, None, None] * s[:, :, None].expand(3, 4, 4) * torch.linspace(0, 1, 40)[:, None, None, None, None]
    ).sum(),
}


@pytest.mark.parametrize("name", few(HARD, "without a finite result", "far sums"))
def test_rounding_is_no_difference(name: str) -> None:
    LaneProgram(runs_of(HARD[name], START, f"hard {name}"))


def test_a_run_by_itself_says_what_is_right() -> None:
    """Each lane's own number rolls onto itself; under ``vmap`` torch 2.13 rolls from lane to lane."""
    LaneProgram(runs_of(lambda s, x, y: s[0, 0].roll(1) + s[0, 0] * x.sum(), START, "rolled"))


def test_it_is_compared_once_whatever_was_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library without a verdict is compared, and so is one whose verdict was never written to its end."""
    compared: list[str] = []

    def noted(*given: Any) -> str:
        compared.append("")
        return difference(*given)

    monkeypatch.setattr(program, "difference", noted)
    runs = runs_of(layer, START, "once")
    LaneProgram(runs)
    LaneProgram(runs)
    assert len(compared) == 1
    (verdict,) = cache.folder().glob("*.txt")
    verdict.unlink()
    LaneProgram(runs)
    assert len(compared) == 2
    verdict.write_text("")
    LaneProgram(runs)
    assert len(compared) == 3
