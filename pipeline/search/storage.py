"""The mirror of the studies in Optuna's own storage, for its dashboard, its command line and its plots.

``trials.parquet`` is the truth: the storage can be deleted at any time, and ``python -m pipeline.search.storage``
(``make mirror``) builds it anew. Nothing is ever read from it that a result depends on.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from filelock import FileLock
from optuna.distributions import json_to_distribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.storages.journal._file import BaseJournalFileLock

from pipeline import results
from pipeline.search.study import Trial, frozen

_log = logging.getLogger(__name__)
LOCK_SECONDS = 60
"""How long to wait for another pipeline that writes to the same storage."""


def mirror(trials: pd.DataFrame) -> None:
    """Bring the storage up to ``trials`` (a ``results`` table of trials); a failure there is one warning and no more."""
    try:
        write(trials)
    except Exception as error:  # noqa: BLE001  # whatever it is, the search goes on
        line = (str(error).strip().splitlines() or [""])[0]
        _log.warning(
            "The Optuna storage %s could not be written (%s: %s). No result depends on it; once it is well again, or deleted, "
            "`make mirror` rebuilds it from the results.", location(), type(error).__name__, line[:200],
        )  # fmt: skip


def write(trials: pd.DataFrame) -> None:
    """Add the studies and trials that the storage lacks; a study of another fingerprint is replaced."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _storage() as storage:
        known = {study.study_name: study for study in storage.get_all_studies()}
        for name, rows in trials.groupby("study", sort=False):
            _write_study(storage, str(name), rows, known.get(str(name)))


def _write_study(storage: BaseStorage, name: str, rows: pd.DataFrame, known: Any) -> None:
    first = rows.iloc[0]
    attributes = {
        "problem": name.split("/", maxsplit=1)[0],
        "scheduler": str(first["scheduler"]),
        "seed": int(first["seed"]),
        "fingerprint": str(first["fingerprint"]),
        "sampler": str(first["sampler"]),
    }
    there = 0
    if known is not None:
        there = storage.get_n_trials(known._study_id)  # BaseStorage speaks of studies by this id only
        if known.user_attrs != attributes or there > len(rows):
            optuna.delete_study(study_name=name, storage=storage)
            known, there = None, 0
    study = optuna.create_study(study_name=name, storage=storage, direction="minimize", load_if_exists=True)
    if known is None:
        for attribute, value in attributes.items():
            study.set_user_attr(attribute, value)
    for row in rows.iloc[there:].to_dict("records"):
        study.add_trial(_trial_of(row))


def _trial_of(row: dict[Any, Any]) -> optuna.trial.FrozenTrial:
    value = None if row["state"] == "PRUNED" else float(row["value"])
    distributions = {n: json_to_distribution(d) for n, d in json.loads(row["distributions"]).items()}
    trial = Trial(int(row["number"]), json.loads(row["params"]), {}, row["state"], value)
    return frozen(trial, distributions, {"lr": float(row["lr"]), "args": json.loads(row["args"])})


def location() -> str:
    """``OPTUNA_STORAGE``: a URL that Optuna knows, or the path of a journal file (``optuna.journal`` at the root)."""
    given = os.environ.get("OPTUNA_STORAGE") or "optuna.journal"
    return given if "://" in given else str(results.store_root() / given)


@contextmanager
def _storage() -> Iterator[BaseStorage]:
    """The storage; a journal is written to when the block ends well, all at once."""
    where = location()
    if "://" in where:
        yield RDBStorage(where)
        return
    path = Path(where)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A killed writer leaves Optuna's own lock behind. Nobody holds it for long, so it is taken over after 3 s at rest.
    lock = JournalFileSymlinkLock(where, grace_period=3)
    with FileLock(f"{where}.pipeline-lock", timeout=LOCK_SECONDS):
        lock.acquire()
        try:
            drop_torn_line(path)
            backend = OneWrite(where)
            yield JournalStorage(backend)
            backend.flush()
        finally:
            lock.release()


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed writer left after the last whole line; Optuna could never read past it."""
    if not path.exists():
        return
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
        self._pending = []


def main() -> None:
    """Rebuild the storage from the results of every problem."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for path in sorted(results.RESULTS.glob("*/tune/trials.parquet")):
        try:
            write(pd.read_parquet(path))
        except Exception as error:  # noqa: BLE001  # the user gets one line
            sys.exit(f"the Optuna storage {location()} could not be rebuilt: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
