"""What a stage tells while it works: one line at the bottom of a terminal, and messages above it. In a log, messages alone."""

import logging
import sys
from typing import Any

from tqdm import tqdm

tqdm.monitor_interval = 0  # its thread would keep processes from beginning as copies
FORMAT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left"
_shown: list[Any] = []
"""The line, if there is one."""
_place: list[str] = []


def begin(place: str) -> None:
    """Put the ``place`` of the stage among all, such as ``[5/17]``, before whatever is told of how far it is."""
    _place[:] = [f"{place} "] if place else []


def titled(what: str) -> str:
    """What goes on, behind the stage's place."""
    return "".join([*_place, what])


def tell(message: str) -> None:
    """A message on standard error, above the line."""
    tqdm.write(message, file=sys.stderr)
    sys.stderr.flush()


def doing(what: str) -> None:
    """Say in a terminal what goes on, until there is something else to say."""
    line(f"{titled(what)} …", 1)


def line(title: str, work: int) -> Any:
    """The line anew, in words alone; nothing is shown where there is no terminal."""
    clear()
    shown = tqdm(
        total=work, desc=title, bar_format="{desc}", leave=False, dynamic_ncols=True, file=sys.stderr,
        disable=not sys.stderr.isatty(),
    )  # fmt: skip
    _shown.append(shown)
    return shown


def clear() -> None:
    """Take the line away."""
    while _shown:
        _shown.pop().close()


class Above(logging.Handler):
    """Writes above the line what is logged."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a message."""
        tell(self.format(record))
