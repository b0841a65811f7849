"""Functions that params.yaml names by their place."""

import linecache
import math
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

import pipeline.custom
from pipeline.config.callables import FunctionPath, code_at, imported
from tests.schedulers.examples import falling, schedule


class Model(BaseModel):
    """With one of them."""

    model_config = ConfigDict(strict=True)
    function: FunctionPath


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the user's own beside params.yaml."""
    (tmp_path / "mine.py").write_text("def half(step):\n    return 0.5\nrate = 0.1\n", encoding="utf-8")
    (tmp_path / "broken.py").write_text("raise RuntimeError('not today')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path / "mine.py"


def test_by_its_module(package: Path) -> None:
    assert imported(Model(function="mine:half").function)(7) == 0.5
    assert imported("tests.schedulers.examples:falling") is falling
    assert imported("math:cos") is math.cos


def test_a_name_alone_stands_in_custom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline.custom, "mine", falling, raising=False)
    assert imported(Model(function="mine").function) is falling
    assert code_at(["mine"]).keys() == {"mine"}
    assert not code_at(["triangular", "yours"])  # words that stand for no function


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (0.5, "is not the place of a function"),
        ("lambda step: 0.5", "is not the place of a function"),
        ("os.system('x'):y", "is not the place of a function"),
        ("mine:haif", "is no function in mine"),
        ("mine:rate", "is no function in mine"),
        ("nomine:half", "cannot be imported: ModuleNotFoundError"),
        ("broken:half", "cannot be imported: RuntimeError: not today"),
    ],
)
@pytest.mark.usefixtures("package")
def test_what_is_none(given: object, line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        Model(function=given)  # type: ignore[arg-type]


def test_a_misspelt_one_has_a_suggestion(package: Path) -> None:
    with pytest.raises(ValidationError) as error:
        Model(function="mine:haif")
    assert "did you mean half?" in error.value.errors()[0]["ctx"]["right"]


def test_other_code_is_another_run(package: Path) -> None:
    """What trains the same has the same key: not so where the file behind a path has changed."""
    one = schedule("LambdaLR", {"lr_lambda": "mine:half"})
    before = one.key
    assert one.key == before
    package.write_text(package.read_text(encoding="utf-8").replace("0.5", "0.25"), encoding="utf-8")
    del sys.modules["mine"]  # as in another process
    linecache.clearcache()
    assert one.key != before
    assert "code" not in schedule("StepLR", {"step_size": "30%"}).key
