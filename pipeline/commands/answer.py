"""``python -m pipeline``: what to use for each problem, as the last report found it, and what to try next."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.commands import arguments
from pipeline.config.files import REPORTS, ResultsError

ANSWER, PAGE = REPORTS / "answer.json", REPORTS / "report.html"
NOTHING_YET = """\
There is no answer yet.
  make quick TABLE=my.csv TARGET=price   a first answer for a table, within about a minute
  make repro                             trains what params.yaml says, and ends with the answer
  python -m pipeline plan                how long that takes
  python -m pipeline --help              what else there is"""


def main(words: Sequence[str] = ()) -> None:
    """Print the answer; without results, what to do."""
    arguments("answer", __doc__).parse_args(words)
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
    """The answer to each problem, what holds for all together, where the report is, and what to try next."""
    for answer in found["problems"]:
        yield answer["problem"]
        for name, line in answer["titled"]:
            yield wrapped(f"  {name:8}", line, width)
    yield ""
    if found.get("together"):  # a report of an earlier version has none
        yield wrapped("all:    ", found["together"], width)
    yield f"report: {PAGE}"
    for step in found["next"]:
        yield wrapped("next:   ", step, width)


def wrapped(opening: str, text: str, width: int) -> str:
    """Words behind an opening, continued below themselves; no word, a path perhaps, is broken."""
    indent = " " * len(opening)
    return textwrap.fill(
        text, max(width, 40), initial_indent=opening, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
