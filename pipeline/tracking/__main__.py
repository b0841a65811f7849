"""``python -m pipeline.tracking``: build the mirror anew from the files under ``results/``."""

import logging
import sys

from pipeline import results
from pipeline.tracking.child import follow
from pipeline.tracking.completing import REBUILT, complete
from pipeline.tracking.connection import mend
from pipeline.tracking.failure import one_line
from pipeline.tracking.publishing import links_of, publish, register

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
        logger.info("%s, %s: %d runs", problem, stage, complete(problem, stage))
    if (results.REPORTS / "report.html").exists():
        publish(results.REPORTS, REBUILT, links=links_of([path.parts[-3:-1] for path in paths]))
        logger.info("the report")
    for path in sorted((results.REPORTS / "best").glob("*.safetensors")):
        register(path.stem)
        logger.info("%s: the champion", path.stem)


if __name__ == "__main__":
    main()
