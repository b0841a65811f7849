"""``python -m pipeline plan``: what ``make repro`` would do, how long that takes, and how to make it less.

Runs that were finished before cost nothing. Times are measured by training a few runs of each problem for about a second, once.
What depends on runs still to come, such as when a race for seeds stops, is told as a range.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence

from pipeline.commands import arguments
from pipeline.commands.answer import wrapped

WHOLE = 10_000
"""Characters of a line where there is no terminal."""


def main(words: Sequence[str]) -> None:
    """Print the plan; a mistake in params.yaml is told as the stages tell it."""
    arguments("plan", __doc__).parse_args(words)
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
