"""``python -m pipeline plan``: what ``make repro`` would do, how long that takes, and how to make it less.

What is to be trained is asked of the stages' own functions and looked up in the store; what it costs is measured by a probe of
about a second a problem, once. What follows from runs that are not there yet is a range.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence

from pipeline.commands.answer import wrapped

WHOLE = 10_000
"""Characters of a line where there is no terminal."""


def main(words: Sequence[str]) -> None:
    """Print the plan; a mistake in params.yaml is told as the stages tell it."""
    argparse.ArgumentParser("python -m pipeline plan", description=__doc__).parse_args(words)
    stale = changed()
    if stale == set():
        print("plan: nothing to do, all stages are up to date")
        return
    from pipeline.commands.planning import lines_of_plan  # late: torch, which a plan of nothing does not need

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WHOLE
    for opening, text in lines_of_plan(changed, stale):
        print(wrapped(opening, text, width))


def changed() -> set[str] | None:
    """The stages that DVC finds changed; None where it cannot say."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return set(json.loads(done.stdout)) if not done.returncode else None
    except ValueError:
        return None
