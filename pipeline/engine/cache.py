"""What was found out once on this machine and is kept for all later processes, of all repositories of this user.

Names say all that the content follows from, so that nothing here is ever out of date; all of it can be deleted at any time.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def folder() -> Path:
    """The folder; it may not be there yet."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "lr-pipeline"


def remembered(key: str, find: Callable[[], str]) -> str:
    """What ``find`` returns, or returned when it was last asked under ``key``, which names all that it follows from."""
    path = folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.txt"
    try:
        return path.read_text("utf-8")
    except (OSError, ValueError):
        found = find()
    with contextlib.suppress(OSError):  # where nothing can be kept, it is found out again
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(found)
        Path(file.name).replace(path)  # whole or not at all, whoever else is at it
    return found
