"""What a tracker may be told. Another one is a file with a subclass, and a line in ``trackers.TRACKERS``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.problems.run import Block

Description = dict[str, Any]
"""What ``runs.names.describe`` says of a run."""
Places = list[int]


class Tracker:
    """Shows runs and studies. Each method does what this one can show, and nothing where it can not.

    All is told in one process of the tracker's own, one thing after the other; raising is one warning, and the end of it. The
    results are the truth: what is told again changes nothing.
    """

    def prepare(self) -> None:
        """Import what takes long, before there is anything to tell."""

    def begin(self, problem: str, stage: str, described: Sequence[Description], origin: Mapping[str, str]) -> None:
        """Runs of a stage are about to be obtained; ``origin`` tags them with where they come from."""

    def log(self, blocks: Sequence[tuple[Block, Places]]) -> None:
        """Blocks of epochs of the runs at these places among those that were begun."""

    def finish(self, runs: pd.DataFrame) -> None:
        """The final figures of all, a ``results.run_table``."""

    def abandon(self, status: str) -> None:
        """What was begun ends here: ``FAILED`` by an error, or ``KILLED``."""

    def show_trials(self, trials: pd.DataFrame, *, is_all: bool) -> None:
        """The trials of a search so far, a table as ``trials.parquet``; all of it, or the first rounds."""

    def complete(self, problem: str) -> None:
        """Show what is in the problem's results and not here yet, whatever brought those."""

    def publish(self, folder: Path, inputs: Sequence[tuple[str, str]], origin: Mapping[str, str]) -> None:
        """The report in ``folder`` on the ``inputs``, (problem, stage) each; the same files again add nothing."""

    def register(self, problem: str) -> None:
        """The problem's best model, of ``reports/best``."""

    def rebuild(self) -> Iterator[str]:
        """Show all results there are, setting aside a store that is broken; yields a line for each thing that is done."""
        yield from ()
