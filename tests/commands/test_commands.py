"""What every command has: an entry in the list, and a help that a person reads."""

import importlib
import sys
from pathlib import Path

import pytest

from pipeline import commands
from pipeline.__main__ import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_in_plain_text_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"pipeline.commands.{name}").main(["--help"])
    usage, described, *_ = capsys.readouterr().out.split("\n\n")
    assert ended.value.code == 0
    assert usage.startswith(f"usage: python -m pipeline {name} [-h]")
    assert described[0].isupper()
    assert "``" not in described


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_is_told_in_a_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"pipeline.commands.{name}").main(["some.csv", "--nope"])
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert line.startswith(f"python -m pipeline {name}: unrecognized arguments: ")
    assert line.endswith(f"--nope; `python -m pipeline {name} --help` says what there is")


def test_a_command_that_there_is_not_is_told_with_the_one_that_is_meant(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pipeline", "chek"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "there is no command chek; did you mean check? (" in capsys.readouterr().err


def test_a_description_is_the_modules_own_words() -> None:
    found = commands.arguments("add", "``python -m pipeline add``: add ``x``: to ``y``.\n\nAll of it.")
    assert found.prog == "python -m pipeline add"
    assert found.description == "Add `x`: to `y`.\n\nAll of it."


def test_all_commands_are_listed() -> None:
    there = {path.stem for path in Path(commands.__file__).parent.glob("*.py") if "def main(words" in path.read_text("utf-8")}
    assert there == set(COMMANDS)
