"""The words after ``python -m pipeline``, one module each."""

from argparse import ArgumentParser


def arguments(name: str, module: str | None) -> ArgumentParser:
    """A command's arguments; it is described by its module's docstring, behind the command's own name there."""
    said = (module or "").partition(": ")[2].replace("``", "`")
    return ArgumentParser(prog=f"python -m pipeline {name}", description=said[:1].upper() + said[1:])
