"""``torch.compile`` where it pays, and the same function without it where there is no compiler."""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

WORTH_COMPILING = 200_000
"""Run-steps (runs × optimizer steps) from which compiling, 6 to 16 s on 2 cores, is earned back."""

P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)


def compiled(function: Callable[P, T], run_steps: int) -> Callable[P, T]:
    """``function`` as one compiled graph if ``run_steps`` make it worth while, which no clock decides.

    ``function`` must be pure: where compiling fails, the first call is made again without it.
    """
    if run_steps < WORTH_COMPILING:
        return function
    chosen: Callable[P, T] = torch.compile(function, dynamic=True)
    proven = False

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal chosen, proven
        if proven:
            return chosen(*args, **kwargs)
        try:
            result = chosen(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  # whatever the compiler lacks, the plain function does not need it
            _log.warning("training without torch.compile, which is slower: %s", _reason(error))
            chosen = function
            result = function(*args, **kwargs)
        proven = True
        return result

    return call


def _reason(error: Exception) -> str:
    """The first line of what went wrong, with the usual remedy."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{line[:200]} (it needs a C++ compiler and Python's headers: `apt install g++ python3-dev`)"
