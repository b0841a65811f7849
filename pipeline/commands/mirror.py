"""``python -m pipeline mirror``: rebuild MLflow's and Optuna's stores from the files under ``results/``."""

import argparse
import sys
from collections.abc import Sequence

from pipeline.search import storage
from pipeline.tracking import rebuilding


def main(words: Sequence[str]) -> None:
    """Rebuild both, each whether or not the other can be."""
    argparse.ArgumentParser(prog="python -m pipeline mirror", description=(__doc__ or "").strip()).parse_args(words)
    failed = [line for line in (rebuilding.rebuilt(), storage.rebuilt()) if line]
    for line in failed:
        print(line, file=sys.stderr)
    sys.exit(1 if failed else 0)
