"""The mirror of the studies in Optuna's own storage, for its dashboard, its command line and its plots.

``trials.parquet`` is the truth: the storage can be deleted at any time, and ``python -m pipeline mirror``
(``make mirror``) builds it anew. Nothing is ever read from it that a result depends on.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import json_to_distribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import BaseJournalFileLock

from pipeline.config import files
from pipeline.config.files import store_root
from pipeline.config.locks import alone, is_broken_database, mend
from pipeline.runs.hands import Hands, Job
from pipeline.search.study import Trial, frozen

Row = Mapping[Any, Any]
"""One of the table of trials."""
_log = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
GRACE_SECONDS = 3
"""How long the journal's lock may be at rest before it is taken for a killed writer's: the least that Optuna advises."""


class Mirror:
    """The storage while a search is going on, written by one of ``hands`` while the search goes on.

    Where it fails there is one warning, and it is left alone from then on.
    """

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._writing: Job[None] | None = None
        self._failed = False

    def update(self, trials: pd.DataFrame, *, is_all: bool) -> None:
        """Begin to bring the storage up to ``trials`` (a ``results`` table of trials), once what was begun before is there."""
        self.close()
        if not self._failed:
            self._writing = self._hands.aside(partial(write, is_all=is_all), trials)

    def close(self) -> None:
        """Wait until all is written."""
        job, self._writing = self._writing, None
        try:
            if job is not None:
                job.result()
        except Exception as error:  # noqa: BLE001  # whatever it is, the search goes on
            self._failed = True
            _warn(error)


def complete(problems: Iterable[str]) -> None:
    """Bring the storage up to the problems' results, whatever brought those; a failure is one warning."""
    paths = [files.stage_path(problem, "tune", "trials.parquet") for problem in problems]
    try:
        for path in paths:
            if path.exists():
                write(pd.read_parquet(path))
    except Exception as error:  # noqa: BLE001  # whatever it is, the results are there
        _warn(error)


def _warn(error: Exception) -> None:
    words = (
        "The Optuna storage %s could not be written (%s). No result depends on it; `make mirror` rebuilds it from the results."
    )
    _log.warning(words, _shown(location()), _one_line(error))


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def _shown(where: str) -> str:
    """A storage's URL without the password in it."""
    return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", where)


def write(trials: pd.DataFrame, *, is_all: bool = True) -> None:
    """Add the studies and trials that the storage lacks; a study of another fingerprint is replaced.

    So is one with more trials than there are, if those given are all: a search that is followed again begins with few.
    """
    with _storage() as storage:
        known = {study.study_name: study for study in storage.get_all_studies()}
        studies: dict[str, list[Row]] = {}
        for row in trials.to_dict("records"):
            studies.setdefault(row["study"], []).append(row)
        for name, rows in studies.items():
            _write_study(storage, name, rows, known.get(name), is_all=is_all)


def _write_study(storage: BaseStorage, name: str, rows: list[Row], known: Any, *, is_all: bool) -> None:
    attributes = _attributes(name, rows[0])
    there = 0 if known is None else storage.get_n_trials(known._study_id)  # BaseStorage speaks of studies by this id only
    if known is not None and not (attributes.items() <= known.user_attrs.items() and (there <= len(rows) or not is_all)):
        optuna.delete_study(study_name=name, storage=storage)
        known, there = None, 0
    study = _created(storage, name, attributes) if known is None else optuna.load_study(study_name=name, storage=storage)
    for row in rows[there:]:
        study.add_trial(_trial_of(row))


def _created(storage: BaseStorage, name: str, attributes: dict[str, Any]) -> optuna.Study:
    study = optuna.create_study(study_name=name, storage=storage, direction="minimize")
    for attribute, value in attributes.items():
        study.set_user_attr(attribute, value)
    return study


def _attributes(name: str, row: Row) -> dict[str, Any]:
    """A study's user attributes; the fingerprint tells whether the trials in the storage are those in the table."""
    attributes = {column: str(row[column]) for column in ("scheduler", "fingerprint", "sampler")}
    return {"problem": name.split("/", maxsplit=1)[0], "seed": int(row["seed"]), **attributes}


def _trial_of(row: Row) -> optuna.trial.FrozenTrial:
    value = None if row["state"] == "PRUNED" else float(row["value"])
    distributions = {n: json_to_distribution(d) for n, d in json.loads(row["distributions"]).items()}
    trial = Trial(int(row["number"]), json.loads(row["params"]), {}, row["state"], value)
    return frozen(trial, distributions, {"lr": float(row["lr"]), "args": json.loads(row["args"])})


def location() -> str:
    """``OPTUNA_STORAGE``: a URL that Optuna knows, or the path of a journal file (``optuna.journal`` at the root)."""
    given = os.environ.get("OPTUNA_STORAGE") or "optuna.journal"
    return given if "://" in given else str(store_root() / given)


@contextmanager
def _storage() -> Iterator[BaseStorage]:
    """The storage, held against every other pipeline that writes to it."""
    where, path = location(), _file()
    if path is None:  # a server, which sees to that itself
        with _database(where) as storage:
            yield storage
        return
    with alone(path), (_database if _is_database(where) else _journal)(where) as storage:
        yield storage


def _file() -> Path | None:
    """The storage's file; None where a server holds it."""
    path = location().removeprefix(_SQLITE)
    return None if "://" in path else Path(path)


def _is_database(where: str) -> bool:
    return where.startswith(_SQLITE)


def _mend() -> None:
    """Make room for a new storage where the file there is broken."""
    path = _file()
    if path is not None:
        mend(path, is_broken_database if _is_database(location()) else _is_broken_journal)


def _is_broken_journal(path: Path) -> bool:
    """Whether Optuna cannot read the file, or could not once a line is added; raises where nobody can (no permission)."""
    if not path.exists():
        return False
    try:
        for line in path.read_bytes().splitlines(keepends=True):
            json.loads(line if line.endswith(b"\n") else "{}")  # a torn last line is cut off in writing
        JournalStorage(JournalFileBackend(str(path)))
    except OSError:
        raise
    except Exception:  # noqa: BLE001  # whatever it is in the journal that Optuna stumbles over
        return True
    return False


@contextmanager
def _database(url: str) -> Iterator[BaseStorage]:
    storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.engine.dispose()


@contextmanager
def _journal(where: str) -> Iterator[BaseStorage]:
    """The journal; it is written to when the block ends well, all at once."""
    # A killed writer leaves Optuna's own lock behind, which is taken over, since nobody holds it for long. Optuna looks at
    # the file that the lock points at, and waits for ever where there is none.
    Path(where).open("ab").close()
    lock = JournalFileSymlinkLock(where, grace_period=GRACE_SECONDS)
    lock.acquire()
    try:
        drop_torn_line(Path(where))
        journal = _left.pop(where, None)
        if journal is None or journal.state != _state(where):
            journal = _Left.of(where)
        yield journal.storage
        journal.backend.flush()
        _left[where] = replace(journal, state=_state(where))
    finally:
        lock.release()


@dataclass(frozen=True)
class _Left:
    """A journal as this process left it: the next round of a search goes on from there, as long as nobody else wrote to it."""

    backend: "OneWrite"
    storage: JournalStorage
    state: tuple[int, int, int]

    @classmethod
    def of(cls, where: str) -> "_Left":
        """One that is read from its beginning."""
        backend = OneWrite(where)
        return cls(backend, JournalStorage(backend), _state(where))


_left: dict[str, _Left] = {}
"""By the journal's path."""


def _state(where: str) -> tuple[int, int, int]:
    found = Path(where).stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed writer left after the last whole line; Optuna could never read past it."""
    with path.open("r+b") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)


class _Held(BaseJournalFileLock):
    """Stands for the lock that is held around the whole batch."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class OneWrite(JournalFileBackend):
    """A journal whose new lines stay in memory until :meth:`flush`: one write for a round instead of one for each trial.

    The caller holds the journal's lock meanwhile, so that no other line can come in between.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, lock_obj=_Held())
        self._in_file = 0
        self._pending: list[dict[str, Any]] = []

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        """The lines from a number on: those in the file, then those in memory."""
        if log_number_from <= self._in_file:
            count = 0
            for count, line in enumerate(super().read_logs(log_number_from), start=1):  # noqa: B007
                yield line
            self._in_file = log_number_from + count
        yield from self._pending[max(0, log_number_from - self._in_file) :]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Add lines, in memory."""
        self._pending += logs

    def flush(self) -> None:
        """Write the lines to the file."""
        if self._pending:
            super().append_logs(self._pending)
        self._in_file += len(self._pending)
        self._pending = []


def rebuilt() -> str:
    """Rebuild the storage from the results of every problem, one that is broken set aside; what went wrong, or nothing."""
    source = files.RESULTS
    try:
        _mend()
        for source in sorted(files.RESULTS.glob("*/tune/trials.parquet")):
            write(pd.read_parquet(source))
    except Exception as error:  # noqa: BLE001  # the user gets one line
        return f"{source}: the Optuna storage {_shown(location())} could not be rebuilt from it ({_one_line(error)})"
    return ""
