"""The words after ``python -m pipeline``, one module each."""

from argparse import ArgumentParser
from typing import Any, NoReturn


class Arguments(ArgumentParser):
    """A command's; a mistake in them is one line."""

    def error(self, message: str) -> NoReturn:
        """As argparse found it."""
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` says what there is\n")


def arguments(name: str, module: str | None, **more: Any) -> Arguments:
    """A command's arguments; it is described by its module's docstring, behind the command's own name there."""
    said = (module or "").partition(": ")[2].replace("``", "`")
    return Arguments(prog=f"python -m pipeline {name}", description=said[:1].upper() + said[1:], **more)
