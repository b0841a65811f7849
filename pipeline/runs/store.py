"""Finished runs by fingerprint, in one SQLite file: what was trained once is looked up for ever after.

The file is the standard library's SQLite in WAL mode: many processes read and write it at once, and a killed one leaves it
whole. Every entry carries a checksum; one that does not match is as good as not there. The file can be deleted at any time:
what it held is trained again when it is asked for.
"""

import contextlib
import functools
import hashlib
import json
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import Timeout

from pipeline.config.arrays import Floats
from pipeline.config.files import STATE, store_root
from pipeline.config.locks import alone, is_broken_database, mend
from pipeline.problems.run import CURVES

SCHEMA = 2
"""Of the tables; a file of another number is replaced."""
WAIT_SECONDS = 60.0
"""How long a write waits for another process's."""
AT_ONCE = 500
"""Entries asked for in one statement; SQLite bounds the number of its parameters."""
HOUR = 3600.0
"""Seconds within which being asked for again is not noted: reading would write each time."""
LARGEST = 2 * 2**30
"""Bytes that the entries may take before those that were not asked for longest are dropped."""
UNASKED = 180 * 24 * HOUR
"""Seconds after which `python -m pipeline clean` drops what nobody asked for."""
_TABLES = """
    CREATE TABLE runs (
        run TEXT PRIMARY KEY, whole INTEGER NOT NULL, curves BLOB NOT NULL, figures TEXT NOT NULL, checksum TEXT NOT NULL,
        origin TEXT NOT NULL, asked REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE contents (
        name TEXT PRIMARY KEY, content BLOB NOT NULL, checksum TEXT NOT NULL, asked REAL NOT NULL
    ) WITHOUT ROWID;
"""
_KEEP = """
    INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (run) DO UPDATE SET whole = excluded.whole, curves = excluded.curves, figures = excluded.figures,
    checksum = excluded.checksum, origin = excluded.origin, asked = excluded.asked WHERE excluded.whole >= runs.whole
"""
_SIZES = """
    SELECT 'runs', 'run', run, length(curves) + length(figures), asked FROM runs
    UNION ALL SELECT 'contents', 'name', name, length(content), asked FROM contents ORDER BY 5 DESC
"""
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Finished:
    """What is kept of a run: ``curves`` (curves, epochs), and the single ``figures`` of its outcome by name.

    They are ``whole``, or what a search needs: the last epoch alone, and no test figures.
    """

    whole: bool
    curves: Floats
    figures: Mapping[str, float]


class Store:
    """The finished runs in one file. Where it cannot be used, nothing is known and nothing kept, and one warning says so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_usable = True
        self._is_ready = False

    def known(self, runs: Sequence[str], *, whole: bool) -> dict[str, Finished]:
        """What is kept of these runs, by fingerprint; only what is whole, where that is asked for."""
        rows = self._asked("runs", "run", "run, whole, curves, figures", runs)
        return {row[0]: _finished(*row[1:]) for row in rows if row[1] >= whole}

    def count(self, runs: Sequence[str], *, whole: bool) -> int:
        """How many of these runs are kept; nothing is read of them, nor noted."""

        def look(connection: sqlite3.Connection) -> int:
            found = 0
            for start in range(0, len(runs), AT_ONCE):
                some = runs[start : start + AT_ONCE]
                known = f"run IN ({', '.join('?' * len(some))}) AND whole >= ?"
                found += connection.execute(f"SELECT COUNT(*) FROM runs WHERE {known}", [*some, int(whole)]).fetchone()[0]  # noqa: S608  # placeholders alone
            return found

        return self._do(look, 0)

    def keep(self, finished: Mapping[str, Finished], origin: Mapping[str, str]) -> None:
        """Keep runs by fingerprint, all or none. ``origin`` says by which code and versions, on what kind of machine."""
        now, told = time.time(), json.dumps(origin, sort_keys=True)

        def write(connection: sqlite3.Connection) -> None:
            rows = [
                (run, int(each.whole), each.curves.tobytes(), json.dumps(dict(each.figures))) for run, each in finished.items()
            ]
            connection.executemany(_KEEP, [(*row, _checksum(*row), told, now) for row in rows])

        self._do(write, None)

    def contents(self, names: Sequence[str]) -> dict[str, bytes]:
        """What else is kept under these names: the weights of a run, what a search asked for."""
        return {name: bytes(content) for name, content in self._asked("contents", "name", "name, content", names)}

    def keep_contents(self, contents: Mapping[str, bytes]) -> None:
        """Keep contents by name, all or none."""
        rows = [(name, content, _checksum(name, content), time.time()) for name, content in contents.items()]
        statement = "INSERT OR REPLACE INTO contents VALUES (?, ?, ?, ?)"
        self._do(lambda connection: connection.executemany(statement, rows), None)

    def shrink(self, largest: float = LARGEST, unasked: float = math.inf) -> int:
        """Drop what was not asked for longest until all entries take ``largest`` bytes at the most; how many were dropped.

        So is what nobody asked for in so many seconds.
        """

        def drop(connection: sqlite3.Connection) -> int:
            rows = _beyond(connection, largest, unasked)
            for table, column, name, *_ in rows:
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", [name])  # noqa: S608  # names from _SIZES
            return len(rows)

        dropped = self._do(drop, 0)
        if dropped:
            self._do(lambda connection: connection.execute("VACUUM"), None)
        return dropped

    def spare(self, largest: float = LARGEST, unasked: float = math.inf) -> tuple[int, int]:
        """How many entries :meth:`shrink` would drop, and their bytes. Nothing is written."""
        # A reader of a file in WAL mode writes beside it, unless it is told that nobody else is at it.
        log = self._path.with_name(f"{self._path.name}-wal")
        how = "" if log.exists() and log.stat().st_size else "&immutable=1"
        try:
            with contextlib.closing(sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro{how}", uri=True)) as connection:
                rows = _beyond(connection, largest, unasked)
        except sqlite3.Error:  # not there, or of no use
            return 0, 0
        return len(rows), sum(row[3] for row in rows)

    def _asked(self, table: str, key: str, columns: str, names: Sequence[str]) -> list[tuple[Any, ...]]:
        """The columns of these entries, by the table's key, as they were written; it is noted that they were asked for."""

        def read(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            found: list[tuple[Any, ...]] = []
            now = time.time()
            for start in range(0, len(names), AT_ONCE):
                some = names[start : start + AT_ONCE]
                known = f"{key} IN ({', '.join('?' * len(some))})"
                rows = connection.execute(f"SELECT {columns}, checksum FROM {table} WHERE {known}", some)  # noqa: S608  # the callers' constants
                found += [row for *row, checksum in rows if _checksum(*row) == checksum]
                connection.execute(f"UPDATE {table} SET asked = ? WHERE {known} AND asked < ?", [now, *some, now - HOUR])  # noqa: S608  # as above
            return found

        return self._do(read, [])

    def _do(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """What ``work`` returns, its changes written all together; ``otherwise`` where the file cannot be used."""
        if self._is_usable:
            try:
                self._prepare()
                with contextlib.closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS)) as connection, connection:
                    connection.execute("PRAGMA synchronous = NORMAL")  # only a power cut may lose the last writes
                    return work(connection)
            except (sqlite3.Error, OSError, Timeout) as error:
                self._is_usable = False
                _log.warning(
                    "%s cannot be used (%s): what is trained now is not kept, and will be trained again", self._path, error
                )
        return otherwise

    def _prepare(self) -> None:
        """Make the file, once; one that is broken or has other tables is set aside."""
        if self._is_ready and self._path.exists():
            return
        mend(self._path, _is_of_no_use)
        with alone(self._path), contextlib.closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS)) as connection:
            if _version(connection) != SCHEMA:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;")
        self._is_ready = True


def store() -> Store:
    """The finished runs of this repository, which DVC's temporary copies of it share."""
    return _store_in(store_root())


@functools.cache
def _store_in(root: Path) -> Store:
    return Store(root / STATE / "runs.sqlite")


def _is_of_no_use(path: Path) -> bool:
    """Whether it is a damaged database, or one with other tables; raises where nobody can look."""
    if is_broken_database(path):
        return True
    if not path.exists() or not path.stat().st_size:
        return False
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return _version(connection) != SCHEMA


def _beyond(connection: sqlite3.Connection, largest: float, unasked: float) -> list[tuple[Any, ...]]:
    """Those rows of :data:`_SIZES` that are too much, or that nobody asked for in so many seconds."""
    rows, before = connection.execute(_SIZES).fetchall(), time.time() - unasked
    until = np.cumsum([row[3] for row in rows]).tolist()
    return [row for row, total in zip(rows, until, strict=True) if row[4] < before or total > largest]


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _finished(whole: int, curves: bytes, figures: str) -> Finished:
    return Finished(bool(whole), np.frombuffer(curves).reshape(len(CURVES), -1), json.loads(figures))


def _checksum(*parts: object) -> str:
    content = b"\0".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)
    return hashlib.sha256(content).hexdigest()
