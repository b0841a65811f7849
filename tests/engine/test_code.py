"""The fingerprint of the code: another one exactly where numbers may be others."""

import importlib
import linecache
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.config import custom_module
from pipeline.engine import code
from scripts.rooms import MODULES, closure
from tests.conftest import ROOT

NOT_DEFINING = {
    "files, and what is said": {"config/errors.py", "config/files.py", "config/protocol.py", "config/wording.py"},
    "a run that goes on is the one that was not interrupted": {"config/checkpoints.py"},
    "what comes of them is in the fingerprint itself": {
        "config/document.py", "config/params.py", "config/problem_params.py", "config/schedules.py", "config/components.py",
        "config/spaces.py", "config/arrays.py", "config/fingerprints.py",
    },
    "the data is in the fingerprint itself": {f"data/{path.name}" for path in (ROOT / "pipeline/data").glob("*.py")},
    "what is the user's counts function by function": {
        "catalogue.py", "custom.py", "config/custom_module.py", "config/user_code.py",
    },
}  # fmt: skip


def fingerprint() -> str:
    """That of the code as another process would have it."""
    forget()
    return code.code_fingerprint()


def forget() -> None:
    """What was read of the code."""
    code._named.cache_clear()


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """The package's files, without content, which are read instead of it."""
    copy = tmp_path / "pipeline"
    for path in (*(ROOT / "pipeline").rglob("*.py"), *(ROOT / "pipeline").rglob("*.c")):
        empty = copy / path.relative_to(ROOT / "pipeline")
        empty.parent.mkdir(parents=True, exist_ok=True)
        empty.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "__file__", str(copy / "engine/code.py"))
        yield copy
    forget()  # the copy


def test_it_follows_every_file_that_trains(package: Path) -> None:
    """Drift: each file that training runs on is changed in turn."""
    before = fingerprint()
    used = {MODULES[name].relative_to(ROOT / "pipeline").as_posix() for name in closure("pipeline.engine.training")}
    used = {name for name in used if not name.endswith("__init__.py")} | {"engine/lanes/lanes.c"}
    followed = set()
    for file in used:
        content = (package / file).read_bytes()
        (package / file).write_bytes(content + (b"added = 1\n" if file.endswith(".py") else b"\n"))
        followed |= {file} if fingerprint() != before else set()
        (package / file).write_bytes(content)
    assert fingerprint() == before
    assert used - followed == {name for names in NOT_DEFINING.values() for name in names} & used
    assert {"engine/loop.py", "problems/dataset.py", "schedulers/replay.py", "config/units.py"} <= followed


CHANGES = [
    ('"""A module."""', '"""Other words."""', False),
    ("# a comment", "# another", False),
    ('raise ValueError(f"no {x}")', 'raise ValueError(f"there is no {x}")', False),
    ("return x + 1", "return (x + 1)", False),
    ("return x + 1", "return x + 2", True),
    ("if x < 0", "if x <= 0", True),
    ('return "a"', 'return "b"', True),
    ("raise ValueError", "raise KeyError", True),
]


def test_words_are_no_code(package: Path) -> None:
    text = (
        '"""A module."""\n\n\ndef f(x):\n    """Add one."""\n    if x < 0:  # a comment\n        raise ValueError(f"no {x}")\n'
        '    if x > 9:\n        return "a"\n    return x + 1\n'
    )
    (package / "engine/new.py").write_text(text, encoding="utf-8")
    before = fingerprint()
    for was, becomes, is_another in CHANGES:
        assert was in text
        (package / "engine/new.py").write_text(text.replace(was, becomes), encoding="utf-8")
        assert (fingerprint() != before) == is_another, becomes


@pytest.mark.parametrize("package", ["numpy", "schedulefree", "torchmetrics"])
def test_it_follows_what_it_runs_on(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code.code_fingerprint()
    code._versions.cache_clear()
    monkeypatch.setattr(code, "version", lambda asked: "0" if asked == package else version(asked))
    after = code.code_fingerprint()
    code._versions.cache_clear()
    assert after != before


@pytest.mark.parametrize(
    ("file", "added", "is_another"),
    [
        ("pipeline/data/cells.py", "added = 1", True),
        ("pipeline/engine/loop.py", "# words", False),
        ("pipeline/analysis/page.py", "added = 1", False),  # a room of one stage, among its deps
        ("requirements.txt", "torch==0", True),
        ("mine/models.py", "added = 1", True),
        ("mine/parts.py", "added = 1", True),
    ],
)
def test_stages_follow_the_rooms_they_share_the_users_code_and_what_is_pinned(
    package: Path, monkeypatch: pytest.MonkeyPatch, file: str, added: str, is_another: bool
) -> None:
    """The user's code: the modules that `code:` names, and what they import of the user's."""
    root = package.parent
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(custom_module, "modules", lambda: [importlib.import_module("mine.models")])
    texts = {"requirements.txt": "", "mine/models.py": "from mine import parts\n", "mine/parts.py": "one = 1\n"}
    (root / "mine").mkdir()
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    forget()
    before = code.code_of_stages()
    with (root / file).open("a", encoding="utf-8") as end:
        end.write(f"{added}\n")
    forget()
    assert (code.code_of_stages() != before) == is_another


@pytest.fixture(autouse=True)
def _forget_the_users_modules() -> Iterator[None]:
    yield
    linecache.clearcache()
    for name in ("mine", "mine.models", "mine.parts"):
        sys.modules.pop(name, None)
