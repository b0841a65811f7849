"""The stages of dvc.yaml, one module each."""

import sys
from types import TracebackType

from pipeline.config import interrupts
from pipeline.config.errors import not_installed


def _told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """A package that lacks, which ends the imports before :func:`pipeline.cli.run`, is a line too."""
    if line := not_installed(error):
        print(line, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.argv[:1] == ["-m"]:  # while Python looks for the stage that it was started for; nobody else's hook is touched
    sys.excepthook = _told
    interrupts.end("interrupted; the last results stay")
