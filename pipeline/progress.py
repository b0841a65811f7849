"""How far a training is: a bar in a terminal, a line at every quarter elsewhere."""

import sys
from collections.abc import Callable

from tqdm import tqdm

from pipeline.runs import Block


def progress(title: str, epochs: int, runs: int) -> Callable[[Block], None]:
    """A listener for blocks that shows how many of ``epochs`` are done."""
    show = _bar(title, epochs, runs) if sys.stderr.isatty() else _lines(title, epochs, runs)

    def listen(block: Block) -> None:
        show(block.first_epoch + len(block.lr) - 1)

    return listen


def _bar(title: str, epochs: int, runs: int) -> Callable[[int], None]:
    bar = tqdm(total=epochs, desc=f"{title}: {runs} runs", unit="epoch")

    def show(epoch: int) -> None:
        bar.update(epoch - bar.n)
        if epoch == epochs:
            bar.close()

    return show


def _lines(title: str, epochs: int, runs: int) -> Callable[[int], None]:
    quarter = 0

    def show(epoch: int) -> None:
        nonlocal quarter
        if 4 * epoch // epochs > quarter:
            quarter = 4 * epoch // epochs
            print(f"{title}: {runs} runs, epoch {epoch} of {epochs}", file=sys.stderr, flush=True)

    return show
