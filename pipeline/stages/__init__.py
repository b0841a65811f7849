"""The stages of dvc.yaml, one module each."""

import sys
from types import TracebackType

from pipeline.config.errors import not_installed


def _told(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """What ends the imports, which come before :func:`pipeline.cli.run`, is a line too: an interrupt, a package that lacks."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted; the last results stay", file=sys.stderr)
    elif line := not_installed(error):
        print(line, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.argv[:1] == ["-m"]:  # while Python looks for the stage that it was started for; nobody else's hook is touched
    sys.excepthook = _told
