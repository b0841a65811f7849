"""How far a training is: in the line at the bottom of a terminal, and by a line now and then elsewhere."""

import time
from collections.abc import Callable

from pipeline.config import terminal
from pipeline.config.wording import counted
from pipeline.problems.run import Block

SECONDS = 10.0
"""Between two lines of one training where there is no terminal; that it is done is always said."""


def progress(title: str, runs: int, work: int, where: Callable[[], str] = str) -> Callable[[Block], None]:
    """A listener for blocks that shows how much of ``work``, the epochs of all ``runs`` together, is done, and ``where``."""
    if not work:
        return lambda block: None
    title = f"{title}: {counted(runs, 'run')}"
    return _bar(title, work, where) if terminal.is_terminal() else _lines(terminal.titled(title), work, where)


def _bar(title: str, work: int, where: Callable[[], str]) -> Callable[[Block], None]:
    bar = terminal.line(f"{terminal.titled(title)}, preparing (what is new is compiled) …", work)

    def show(block: Block) -> None:
        if not bar.n:
            bar.bar_format = terminal.FORMAT
        bar.desc = terminal.titled(title + where())
        bar.update(block.lr.size)
        if bar.n >= work:
            terminal.doing(f"{title} trained, going on")

    return show


def _lines(title: str, work: int, where: Callable[[], str]) -> Callable[[Block], None]:
    done, begun = 0, time.monotonic()
    told = begun

    def show(block: Block) -> None:
        nonlocal done, told
        before, done = done, done + block.lr.size
        quarter, now = 4 * done // work, time.monotonic()
        if quarter > 4 * before // work and (quarter == 4 or now - told >= SECONDS):
            told = now
            place = where()
            left = f", about {(now - begun) * (work - done) / done:.0f} s left" if place and quarter < 4 else ""
            terminal.tell(f"{title}, {25 * quarter}% done{place}{left}")

    return show
