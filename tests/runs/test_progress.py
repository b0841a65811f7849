"""Progress in a log, a line now and then; and in a terminal, one line with messages above it."""

import os
import pty
import re
import subprocess
import sys
import termios

import numpy as np
import pytest

from pipeline.config import terminal
from pipeline.problems.run import CURVES, Block
from pipeline.runs import progress as module
from pipeline.runs.progress import progress

RUNS = 70


def show_all(epochs: int, size: int, portions: int) -> None:
    """Portions one after the other, each in blocks of epochs."""
    show = progress("train@p", RUNS, epochs * RUNS)
    for runs in np.full(portions, RUNS // portions):
        for first in range(1, epochs + 1, size):
            show(Block(first, **dict.fromkeys(CURVES, np.zeros((min(size, epochs + 1 - first), runs)))))


@pytest.mark.parametrize(
    ("epochs", "size", "portions", "told"),
    [
        (100, 1, 1, [25, 50, 75, 100]),
        (100, 1, 7, [25, 50, 75, 100]),
        (100, 100, 1, [100]),
        (100, 60, 1, [50, 100]),
        (3, 1, 1, [25, 50, 100]),
        (1, 1, 2, [50, 100]),
    ],
)
def test_a_line_at_every_quarter_of_a_long_training(
    epochs: int, size: int, portions: int, told: list[int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0)
    show_all(epochs, size, portions)
    assert capsys.readouterr().err.splitlines() == [f"train@p: 70 runs, {share}% done" for share in told]


def test_a_short_training_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    show_all(100, 1, 7)
    assert capsys.readouterr().err == "train@p: 70 runs, 100% done\n"


def test_the_place_among_all_stages_stands_before_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "_place", [])
    terminal.begin("[5/17]")
    terminal.doing("train@p")
    show_all(1, 1, 1)
    assert capsys.readouterr().err == "[5/17] train@p: 70 runs, 100% done\n"


IN_A_TERMINAL = """
import logging
from pipeline.config import terminal
from tests.runs.test_progress import RUNS, Block, CURVES, np, progress
logging.basicConfig(format="%(message)s", handlers=[terminal.Above()])
terminal.begin("[5/17]")
terminal.doing("train@p: asking")
show = progress("train@p", RUNS, 2 * RUNS)
for epoch in (1, 2):
    logging.warning("warned in epoch %d", epoch)
    show(Block(epoch, **dict.fromkeys(CURVES, np.zeros((1, RUNS)))))
terminal.tell("all is trained")
terminal.clear()
"""


def in_a_terminal(columns: int) -> str:
    """What the terminal of so many columns is sent."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen([sys.executable, "-c", IN_A_TERMINAL], stderr=theirs)
    os.close(theirs)
    sent = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not more:
            break
        sent += more
    assert process.wait() == 0
    os.close(ours)
    return sent.decode()


@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_shows_one_line_and_messages_above_it(columns: int) -> None:
    sent = in_a_terminal(columns)
    frames = [frame.strip() for frame in re.split(r"[\r\n]", sent.replace("\x1b[A", "")) if frame.strip()]
    assert frames[0] == "[5/17] train@p: asking …"
    assert frames[1] == "[5/17] train@p: 70 runs, preparing (what is new is compiled) …"
    assert not any(re.search(r"\b0%", frame) for frame in frames)
    assert any(frame.startswith("[5/17] train@p: 70 runs  50%|") for frame in frames)
    assert all(len(frame) <= columns for frame in frames)
    # What stays on the screen are the messages, each on a line of its own.
    lines = [line.rpartition("\r")[2].rstrip() for line in sent.split("\r\n")]
    assert [line for line in lines if line] == ["warned in epoch 1", "warned in epoch 2", "all is trained"]
