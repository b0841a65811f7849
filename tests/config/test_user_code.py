"""A function's name follows its own source and that of all it calls in the user's files, and nothing else."""

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from pipeline.config.user_code import source_of
from pipeline.problems.models import mlp

BASE = {
    "mine": """
        import functools
        import helping
        from helping import scaled
        WIDTH = 8
        UNUSED = 1
        def inner(x): return x + WIDTH
        def outer(x): return scaled(inner(x))
        def other(x): return x
        def by_module(x): return helping.scaled(x)
        def of_that_name(x): return x.UNUSED
        def late(x):
            from helping import scaled
            return scaled(x)
        def made(number):
            def build(x): return inner(x) * number
            return build
        TWICE, THRICE = made(2), made(3)
        class Layer:
            def forward(self, x): return inner(x)
            @property
            def width(self): return inner(0)
        class Deeper(Layer): pass
        def builds(x): return Deeper()
        def first(x): return x
        TABLE = {"a": first, "b": 2, "c": {"x", "y", "z"}}
        def by_table(x): return TABLE["a"](x)
        part = functools.partial(inner, 1)
        def uses_part(x): return part()
        """,
    "helping": """
        FACTOR = 2
        def scaled(x): return FACTOR * x
        def beside(x): return x
        """,
}
Edit = tuple[str, str, str]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Writes the files, with some pieces replaced, and imports ``mine`` anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def anew(*edits: Edit) -> ModuleType:
        for name, original in BASE.items():
            text = original
            for old, new in [(old, new) for file, old, new in edits if file == name]:
                assert old in text
                text = text.replace(old, new)
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(text), encoding="utf-8")
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        import linecache

        linecache.clearcache()
        return importlib.import_module("mine")

    yield anew
    for name in BASE:
        sys.modules.pop(name, None)


FOLLOWS: dict[str, tuple[Edit, set[str]]] = {
    "its own text": (("mine", "return x + WIDTH", "return x - WIDTH"),
                     {"inner", "outer", "Layer", "Deeper", "builds", "TWICE", "THRICE", "uses_part"}),
    "a value it goes by": (("mine", "WIDTH = 8", "WIDTH = 9"),
                           {"inner", "outer", "Layer", "Deeper", "builds", "TWICE", "THRICE", "uses_part"}),
    "what it calls elsewhere": (("helping", "FACTOR * x", "x * FACTOR"), {"outer", "by_module", "late"}),
    "a value there": (("helping", "FACTOR = 2", "FACTOR = 3"), {"outer", "by_module", "late"}),
    "something beside it there": (("helping", "def beside(x): return x", "def beside(x): return -x"), {"by_module", "late"}),
    "something beside it here": (("mine", "def other(x): return x", "def other(x): return -x"), {"other"}),
    "a value that nobody uses": (("mine", "UNUSED = 1", "UNUSED = 2"), set()),
    "the class itself": (("mine", "Deeper(Layer): pass", "Deeper(Layer): deep = True"), {"Deeper", "builds"}),
    "what stands in a table": (("mine", '"a": first', '"a": other'), {"by_table"}),
    "what is called from a table": (("mine", "def first(x): return x", "def first(x): return -x"), {"by_table"}),
    "a value in a table": (("mine", '"b": 2', '"b": 3'), {"by_table"}),
}  # fmt: skip
NAMES = (
    "inner",
    "outer",
    "other",
    "by_module",
    "late",
    "TWICE",
    "THRICE",
    "Layer",
    "Deeper",
    "builds",
    "uses_part",
    "by_table",
    "of_that_name",
)


@pytest.mark.parametrize("change", FOLLOWS)
def test_what_a_name_follows(change: str, load: Callable[..., ModuleType]) -> None:
    before = {name: source_of(getattr(load(), name)) for name in NAMES}
    edit, followers = FOLLOWS[change]
    changed = load(edit)
    after = {name: source_of(getattr(changed, name)) for name in NAMES}
    assert {name for name in NAMES if before[name] != after[name]} == followers


def test_what_a_closure_holds_is_part_of_it(load: Callable[..., ModuleType]) -> None:
    module = load()
    assert source_of(module.TWICE) != source_of(module.THRICE)


def test_a_comment_in_another_encoding_is_read_as_python_reads_it(load: Callable[..., ModuleType], tmp_path: Path) -> None:
    load()
    (tmp_path / "mine.py").write_bytes("def f(): return 1\n# f\u00fcr mich\n".encode("latin-1"))
    del sys.modules["mine"]
    importlib.invalidate_caches()
    assert source_of(importlib.import_module("mine"))


def test_the_same_again(load: Callable[..., ModuleType]) -> None:
    assert source_of(load().outer) == source_of(load().outer) != ""


@pytest.mark.parametrize("thing", [mlp, torch.nn.Linear, len, str, Path, None, 3])
def test_what_is_not_the_users_has_no_name_here(thing: Any) -> None:
    assert source_of(thing) == ""
