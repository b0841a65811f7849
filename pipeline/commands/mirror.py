"""``python -m pipeline mirror``: rebuild what MLflow and Optuna's storage show from the files under ``results/``."""

import logging
import sys
from collections.abc import Sequence

from pipeline.commands import arguments
from pipeline.config import files
from pipeline.tracking.messages import one_line
from pipeline.tracking.trackers import TRACKERS, made


def main(words: Sequence[str]) -> None:
    """Rebuild each, whether or not the others can be."""
    arguments("mirror", __doc__).parse_args(words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if not any(files.RESULTS.glob("*/*/runs.parquet")):
        print("there are no results to show; `dvc repro` writes them")
    failed = False
    for name, place in TRACKERS.items():
        try:
            for line in made(place).rebuild():
                print(f"{name}: {line}", flush=True)
        except Exception as error:  # noqa: BLE001  # the user gets one line
            print(f"{name} could not be rebuilt: {one_line(error)}", file=sys.stderr)
            failed = True
    sys.exit(failed)
