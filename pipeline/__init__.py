"""Which learning-rate scheduler: docs/architecture.md shows the rooms of the house, docs/python.md its one function."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.comparing.compare import compare as compare


def __getattr__(name: str) -> Any:
    """``pipeline.compare``, imported when it is asked for: it takes torch, and seconds."""
    if name != "compare":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pipeline.comparing.compare import compare

    return compare
