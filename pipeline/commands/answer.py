"""``python -m pipeline``: what to use, as the last report found it, in three lines a problem; and what to try next."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.config.files import REPORTS, ResultsError

ANSWER, PAGE = REPORTS / "answer.json", REPORTS / "report.html"
NOTHING_YET = """\
There is no answer yet.
  make repro                   trains what params.yaml says, and ends with the answer
  python -m pipeline --help    what else there is"""


def main(words: Sequence[str] = ()) -> None:
    """Print the answer; without results, what to do."""
    argparse.ArgumentParser("python -m pipeline answer", description=__doc__).parse_args(words)
    width = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 120
    print("\n".join(lines_of(read(), width)) if ANSWER.exists() else NOTHING_YET)


def read() -> Mapping[str, Any]:
    """What the report stage wrote."""
    try:
        found: Mapping[str, Any] = json.loads(ANSWER.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{ANSWER} cannot be read ({error}); `dvc repro -f -s report` writes it anew") from None
    return found


def lines_of(found: Mapping[str, Any], width: int) -> Iterator[str]:
    """The answer to each problem, where the report is, and what to try next."""
    for answer in found["problems"]:
        yield answer["problem"]
        for name, line in answer["titled"]:
            yield wrapped(f"  {name:6}", line, width)
    yield ""
    yield f"report: {PAGE}"
    for step in found["next"]:
        yield wrapped("next:   ", step, width)


def wrapped(opening: str, text: str, width: int) -> str:
    """Words behind an opening, continued below themselves; no word, a path perhaps, is broken."""
    indent = " " * len(opening)
    return textwrap.fill(
        text, max(width, 40), initial_indent=opening, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
