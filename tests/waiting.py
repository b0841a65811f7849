"""What another process brings about is waited for, not timed: on a busy machine all takes ten times as long, or more."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

PATIENCE = 600.0
"""Seconds after which what did not come will not come: less than pytest gives a test (pyproject.toml), so that it is told."""


def until(holds: Callable[[], Found], what: str) -> Found:
    """Wait for it; what was found."""
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, f"after {PATIENCE:.0f} s it does not hold: {what}"
        time.sleep(0.02)
    return found
