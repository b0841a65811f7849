"""``python -m pipeline.tracking``: build the mirror anew from the files under ``results/``."""

import logging
import sys

import pandas as pd

from pipeline import results
from pipeline.runs import CURVES, Block
from pipeline.tracking.child import follow
from pipeline.tracking.connection import mend
from pipeline.tracking.failure import one_line
from pipeline.tracking.publishing import links_of, publish, register
from pipeline.tracking.recorder import Recorder, figures_of

REBUILT = {"rebuilt": "true"}
"""The tag of runs that were mirrored from the results; which code wrote those is not known."""
logger = logging.getLogger(__name__)


def main() -> None:
    """``python -m pipeline.tracking``: rebuild the mirror."""
    if sys.argv[1:] == ["follow"]:
        follow()
        return
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        rebuild()
    except Exception as error:  # noqa: BLE001 - the user gets one line
        sys.exit(f"the MLflow mirror could not be rebuilt: {one_line(error)}")


def rebuild() -> None:
    """Mirror all results there are; what MLflow knows already stays as it is, and a database that is broken is set aside."""
    mend()
    paths = sorted(results.RESULTS.glob("*/*/curves.parquet"))
    if not paths:
        logger.warning("there are no results to mirror; `dvc repro` writes them")
    for path in paths:
        problem, stage = path.parts[-3:-1]
        runs, curves = results.read_runs(problem, stage)
        recorder = Recorder(problem, stage, runs.to_dict("records"), REBUILT)  # type: ignore[arg-type]
        recorder.log([(_whole(runs, curves), range(len(runs)))])
        recorder.finish(figures_of(runs))
        logger.info("%s, %s: %d runs", problem, stage, len(runs))
    if (results.REPORTS / "report.html").exists():
        publish(results.REPORTS, REBUILT, links=links_of([path.parts[-3:-1] for path in paths]))
        logger.info("the report")
    for path in sorted((results.REPORTS / "best").glob("*.safetensors")):
        register(path.stem)
        logger.info("%s: the champion", path.stem)


def _whole(runs: pd.DataFrame, curves: pd.DataFrame) -> Block:
    """The curves of a stage as one block."""
    wide = curves.pivot(index="epoch", columns="run", values=list(CURVES))
    return Block(first_epoch=1, **{name: wide[name][runs["run"]].to_numpy(float) for name in CURVES})


if __name__ == "__main__":
    main()
