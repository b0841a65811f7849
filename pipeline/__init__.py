"""Which learning-rate scheduler: docs/architecture.md shows the rooms of the house, docs/python.md its one function."""

import shutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.comparing.compare import compare as compare

# On a full disk Python writes its bytecode by half (gh-126606, up to 3.13), and can never import the module again.
if shutil.disk_usage(__path__[0]).free < 2**26:
    sys.dont_write_bytecode = True


def __getattr__(name: str) -> Any:
    """``pipeline.compare``, imported when it is asked for: it takes torch, and seconds."""
    if name != "compare":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.comparing.compare import compare

    return compare
