"""MLflow brought up to the results that are there, whatever brought those: training, DVC's run cache, ``dvc pull``."""

import pandas as pd

from pipeline.config import files
from pipeline.problems.run import CURVES, Block
from pipeline.runs import results
from pipeline.tracking.recorder import Recorder, figures_of

REBUILT = {"rebuilt": "true"}
"""The tag of runs that were mirrored from the results; which code wrote those is not known."""


def complete(problem: str, stage: str) -> int:
    """Write the runs of a stage that MLflow lacks or has not whole, from its results; how many runs it has."""
    if not files.stage_path(problem, stage, "runs.parquet").exists():
        return 0
    runs, curves = results.read_runs(problem, stage)
    recorder = Recorder(problem, stage, runs.to_dict("records"), REBUILT)  # type: ignore[arg-type]
    if not recorder.is_complete:
        recorder.log([(_whole(runs, curves), range(len(runs)))])
        recorder.finish(figures_of(runs))
    return len(runs)


def _whole(runs: pd.DataFrame, curves: pd.DataFrame) -> Block:
    """The curves of a stage as one block."""
    wide = curves.pivot(index="epoch", columns="run", values=list(CURVES))
    return Block(first_epoch=1, **{name: wide[name][runs["run"]].to_numpy(float) for name in CURVES})
