"""Stores in files of our own: held against other processes, and set aside where they are broken."""

import contextlib
import itertools
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

BESIDE = ("", "-journal", "-wal", "-shm")
"""What SQLite adds to a database's name for the files that belong to it."""
LOCK_SECONDS = 60
"""How long to wait for another process that writes to the same store."""
_BROKEN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(store: Path) -> Iterator[None]:
    """Hold a store's file against every other process of the pipeline; its folder is made."""
    store.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{store}.pipeline-lock", timeout=LOCK_SECONDS):
        yield


def mend(store: Path, is_broken: Callable[[Path], bool]) -> None:
    """Make room for a new store where the one there is broken."""
    with alone(store):
        if is_broken(store):
            set_aside(store)


def set_aside(store: Path) -> None:
    """Rename a store that cannot be used to ``*.broken``, or ``*.broken1`` and so on, for a new one; one line says so."""
    aside = free_name(store)
    for suffix in BESIDE:
        path = Path(f"{store}{suffix}")
        if path.exists():
            path.replace(f"{aside}{suffix}")
    _log.warning("%s cannot be read; it is %s now, and a new one takes its place", store, aside.name)


def free_name(path: Path, ending: str = "broken") -> Path:
    """``*.broken``, or ``*.broken1`` and so on: what was set aside before stays."""
    names = (Path(f"{path}.{ending}{number or ''}") for number in itertools.count())
    return next(name for name in names if not name.exists())


def is_broken_database(path: Path) -> bool:
    """Whether SQLite finds the file damaged or no database; raises its error where it cannot look (locked, no permission)."""
    if not path.exists():
        return False
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _BROKEN:
                return True
            raise
    return bool(found != ("ok",))
