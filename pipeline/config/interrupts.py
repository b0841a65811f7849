"""Ctrl-C while modules are imported: numpy and others make an ImportError of a KeyboardInterrupt, so none is raised there."""

import os
import signal
from types import FrameType


def end(line: str) -> None:
    """From now on an interrupt tells the line and ends the process at once; one that is ignored stays so."""

    def told(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{line}\n".encode())
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)  # whoever began the process is told that it was interrupted

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, told)


def be_raised() -> None:
    """From now on an interrupt is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
