"""The mirror built anew from the files under ``results/``."""

import logging

from pipeline.config import files
from pipeline.tracking.completing import REBUILT, complete
from pipeline.tracking.connection import mend
from pipeline.tracking.failure import one_line
from pipeline.tracking.publishing import links_of, publish, register

logger = logging.getLogger(__name__)


def rebuilt() -> str:
    """Rebuild it; what went wrong in a line, or nothing."""
    logging.basicConfig(format="%(message)s")
    logger.setLevel(logging.INFO)
    try:
        rebuild()
    except Exception as error:  # noqa: BLE001 - the user gets one line
        return f"the MLflow mirror could not be rebuilt: {one_line(error)}"
    return ""


def rebuild() -> None:
    """Mirror all results there are; what MLflow knows already stays as it is, and a database that is broken is set aside."""
    mend()
    paths = sorted(files.RESULTS.glob("*/*/curves.parquet"))
    if not paths:
        logger.warning("there are no results to mirror; `dvc repro` writes them")
    for path in paths:
        problem, stage = path.parts[-3:-1]
        logger.info("%s, %s: %d runs", problem, stage, complete(problem, stage))
    if (files.REPORTS / "report.html").exists():
        publish(files.REPORTS, REBUILT, links=links_of([path.parts[-3:-1] for path in paths]))
        logger.info("the report")
    for path in sorted((files.REPORTS / "best").glob("*.safetensors")):
        register(path.stem)
        logger.info("%s: the champion", path.stem)
