"""The errors a user is told in one line, without a traceback."""

import errno
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class PipelineError(Exception):
    """An expected error; its text names the place, the value and the remedy. ``exit_code`` ends the stage."""

    exit_code = 1


class ParamsError(PipelineError):
    """Everything that is wrong with params.yaml, one placed line each."""

    exit_code = 2


def for_each(names: Iterable[str], found: Callable[[str], T]) -> list[T]:
    """What is found for each name; where some cannot be, the error tells of all of them."""
    those, errors = [], []
    for name in names:
        try:
            those.append(found(name))
        except PipelineError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raised = PipelineError("\n".join(dict.fromkeys(map(str, errors))))
        raised.exit_code = max(error.exit_code for error in errors)
        raise raised from errors[0]
    return those


SHORT_OF = {
    errno.ENOMEM: "memory",
    errno.EAGAIN: "processes or threads",
    errno.EMFILE: "file handles",
    errno.ENFILE: "file handles",
    errno.ENOSPC: "room on a disk",
    errno.EDQUOT: "room on a disk",
}
_SAID = {
    "can't allocate memory": "memory",
    "not enough memory": "memory",
    "out of memory": "memory",
    "Cannot allocate memory": "memory",
    "can't start new thread": "processes or threads",
    "Too many open files": "file handles",
}
"""What torch and Python say in errors of no kind of their own."""


def shortage(error: BaseException) -> str:
    """What the machine is short of for the moment, where that is the error; nothing where it is any other.

    What comes of it says nothing of anybody's code, and is never to be remembered.
    """
    if isinstance(error, OSError):
        return SHORT_OF.get(error.errno or 0, "")
    if isinstance(error, MemoryError):
        return "memory"
    text = str(error) if isinstance(error, RuntimeError | ImportError) else ""
    return next((what for words, what in _SAID.items() if words in text), "")


NOT_TO_BE_WRITTEN = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room on that disk",
    errno.EFBIG: "allow larger files (`ulimit -f`)",
    errno.EROFS: "make it writable",
    errno.EACCES: "make it writable",
    errno.EEXIST: "move that file away",
    errno.ENOTDIR: "move that file away",
}
"""What is wrong with a place, and what helps."""


def of_the_machine(error: Exception) -> str:
    """What to say where the machine does not let us, nothing where that is not the error."""
    if isinstance(error, OSError) and error.errno in NOT_TO_BE_WRITTEN and error.filename:
        remedy = f"{NOT_TO_BE_WRITTEN[error.errno]}, then call it again: the last results stay"
        return f"{error.filename}: {error.strerror}; {remedy}"
    said = (str(error).splitlines() or ["no more is said"])[0][:200]
    remedy = "end other programs or write a smaller problem, then call it again: what was trained is kept"
    return f"the machine is short of {lacking} ({said}); {remedy}" if (lacking := shortage(error)) else ""


def not_installed(error: BaseException) -> str:
    """What to do where Python lacks a package that we need, nothing where that is not the error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in ("", "pipeline"):
        return ""
    remedy = "source .venv/bin/activate; `make repro` makes that environment"
    return f"this Python ({sys.executable}) has no {package}: it is not the project's environment; {remedy}"
