"""What every command has: an entry in the list, and a help that a person reads."""

import importlib
from pathlib import Path

import pytest

from pipeline import commands
from pipeline.__main__ import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_in_plain_text_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"pipeline.commands.{name}").main(["--help"])
    usage, described, *_ = capsys.readouterr().out.split("\n\n")
    assert ended.value.code == 0
    assert usage.startswith(f"usage: python -m pipeline {name} [-h]")
    assert described[0].isupper()
    assert "``" not in described


def test_a_description_is_the_modules_own_words() -> None:
    found = commands.arguments("add", "``python -m pipeline add``: add ``x``: to ``y``.\n\nAll of it.")
    assert found.prog == "python -m pipeline add"
    assert found.description == "Add `x`: to `y`.\n\nAll of it."


def test_all_commands_are_listed() -> None:
    there = {path.stem for path in Path(commands.__file__).parent.glob("*.py") if "def main(words" in path.read_text("utf-8")}
    assert there == set(COMMANDS)
