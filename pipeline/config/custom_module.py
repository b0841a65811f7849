"""The user's own code, ``custom.py``, and what is wrong with it in one line."""

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydantic import ValidationError

from pipeline.config.registry import RegistrationError

FILE = Path(__file__).parents[1] / "custom.py"
PLACE = "pipeline/custom.py"


def custom() -> ModuleType:
    """The module; a mistake in it is told on standard error, without a traceback, and ends the process like one in params.yaml.

    It is imported with nearly every other module, before there is anybody to hand an error to.
    """
    try:
        module = importlib.import_module("pipeline.custom")
    except Exception as error:  # noqa: BLE001  # a user's own code may raise anything
        print(told(error), file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    return module


def told(error: Exception) -> str:
    """One line: the place in custom.py, what is wrong there, and a remedy."""
    return f"{PLACE}:{_line_number(error)}: {_what(error)}"


def _line_number(error: Exception) -> int:
    """Where the error is in the file: that of its text, or of what it called last."""
    if isinstance(error, SyntaxError) and error.filename == str(FILE):
        return error.lineno or 1
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(FILE)]
    return (lines[-1] if lines else None) or 1


def _what(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, RegistrationError):
        return text
    if isinstance(error, SyntaxError):
        elsewhere = "" if error.filename == str(FILE) else f" in {error.filename}, line {error.lineno}"
        return f"{type(error).__name__}{elsewhere}: {error.msg}; write it as Python would have it"
    if isinstance(error, ModuleNotFoundError):
        return f"there is no module {error.name} here; install it in this environment, or take the import out"
    if isinstance(error, ImportError):
        return f"{text}; import what there is"
    if isinstance(error, ValidationError):
        text = "; ".join(each["msg"] for each in error.errors())
    return f"{type(error).__name__}: {text}; mend this line, or what it calls"
