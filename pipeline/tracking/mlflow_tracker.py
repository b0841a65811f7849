"""MLflow: a run for each training run with its curves while it trains, the report, and the best models."""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pipeline.config import files
from pipeline.problems.run import CURVES, Block
from pipeline.runs import results
from pipeline.tracking import connection, publishing
from pipeline.tracking.recorder import Recorder
from pipeline.tracking.tracker import Description, Places, Tracker

REBUILT = {"rebuilt": "true"}
"""The tag of runs that are shown from the results; which code wrote those is not known."""


class MLflowTracker(Tracker):
    """One experiment per problem."""

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._ids: publishing.Ids = {}

    def prepare(self) -> None:
        """Import MLflow, and what connects to a database, which takes half of the time to do so."""
        connection.import_mlflow()
        if connection.database() is not None:
            importlib.import_module("mlflow.store.tracking.sqlalchemy_store")

    def begin(self, problem: str, stage: str, described: Sequence[Description], origin: Mapping[str, str]) -> None:
        """Runs that are not there yet, or not whole."""
        self._recorder = Recorder(problem, stage, described, origin)

    def log(self, blocks: Sequence[tuple[Block, Places]]) -> None:
        """Their curves."""
        if self._recorder is not None:
            self._recorder.log(blocks)

    def finish(self, runs: pd.DataFrame) -> None:
        """Their final figures."""
        if self._recorder is not None:
            self._recorder.finish(runs)
        self._recorder = None

    def abandon(self, status: str) -> None:
        """Mark those that are not finished."""
        if self._recorder is not None:
            self._recorder.abandon(status)
        self._recorder = None

    def complete(self, problem: str) -> None:
        """The runs of every stage whose results are there."""
        for stage in results.STAGES:
            self._complete(problem, stage)

    def publish(self, folder: Path, inputs: Sequence[tuple[str, str]], origin: Mapping[str, str]) -> None:
        """The report as artifacts of a run, with links to the runs of its inputs, which are shown before it."""
        for problem, stage in inputs:
            if (problem, stage) not in self._ids:
                self._complete(problem, stage)
        publishing.publish(folder, inputs, origin, self._ids)

    def register(self, problem: str) -> None:
        """A model of the problem's name with the alias ``champion``."""
        publishing.register(problem)

    def rebuild(self) -> Iterator[str]:
        """Show all results; what is there already stays as it is."""
        connection.mend()
        paths = sorted(path for path in files.RESULTS.glob("*/*/curves.parquet") if path.parts[-2] in results.STAGES)
        for path in paths:
            problem, stage = path.parts[-3:-1]
            yield f"{problem}, {stage}: {self._complete(problem, stage)} runs"
        if (files.REPORTS / "report.html").exists():
            self.publish(files.REPORTS, [(path.parts[-3], path.parts[-2]) for path in paths], REBUILT)
            yield "the report"
        for path in sorted((files.REPORTS / "best").glob("*.safetensors")):
            publishing.register(path.stem)
            yield f"{path.stem}: the champion"

    def _complete(self, problem: str, stage: str) -> int:
        """Show the runs of a stage that MLflow lacks or has not whole, from its results; how many runs it has."""
        if not files.stage_path(problem, stage, "runs.parquet").exists():
            return 0
        runs, curves = results.read_runs(problem, stage)
        described: list[Description] = runs.to_dict("records")  # type: ignore[assignment]
        recorder = Recorder(problem, stage, described, REBUILT)
        self._ids[problem, stage] = recorder.ids
        if not recorder.is_complete:
            recorder.log([(_whole(runs, curves), list(range(len(runs))))])
            recorder.finish(runs)
        return len(runs)


def _whole(runs: pd.DataFrame, curves: pd.DataFrame) -> Block:
    """The curves of a stage as one block."""
    wide = curves.pivot(index="epoch", columns="run", values=list(CURVES))
    return Block(first_epoch=1, **{name: wide[name][runs["run"]].to_numpy(float) for name in CURVES})
