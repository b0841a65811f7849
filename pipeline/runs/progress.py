"""How far a training is: a bar in a terminal, a line at every quarter elsewhere."""

import sys
from collections.abc import Callable

from tqdm import tqdm

from pipeline.problems.run import Block


def progress(title: str, runs: int, work: int) -> Callable[[Block], None]:
    """A listener for blocks that shows how much of ``work``, the epochs of all ``runs`` together, is done."""
    show = _bar(title, runs, work) if sys.stderr.isatty() else _lines(title, runs, work)

    def listen(block: Block) -> None:
        show(block.lr.size)

    return listen


def _bar(title: str, runs: int, work: int) -> Callable[[int], None]:
    bar = tqdm(total=work, desc=f"{title}: {runs} runs", unit="epoch", unit_scale=True)

    def show(epochs: int) -> None:
        bar.update(epochs)
        if bar.n >= work:
            bar.close()

    return show


def _lines(title: str, runs: int, work: int) -> Callable[[int], None]:
    done = 0

    def show(epochs: int) -> None:
        nonlocal done
        before, done = done, done + epochs
        if (quarter := 4 * done // work) > 4 * before // work:
            print(f"{title}: {runs} runs, {25 * quarter}% done", file=sys.stderr, flush=True)

    return show
