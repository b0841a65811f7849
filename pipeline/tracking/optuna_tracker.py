"""The mirror of the studies in Optuna's own storage, for its dashboard, its command line and its plots.

``trials.parquet`` is the truth: the storage can be deleted at any time, and ``python -m pipeline mirror``
(``make mirror``) builds it anew. Nothing is ever read from it that a result depends on.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import json_to_distribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial

from pipeline.config import files
from pipeline.config.files import store_root
from pipeline.config.locks import alone, is_broken_database, mend
from pipeline.search.study import Trial, frozen
from pipeline.tracking.connection import tracking_uri
from pipeline.tracking.databases import reached
from pipeline.tracking.messages import TrackerError, masked, one_line
from pipeline.tracking.notes import notes
from pipeline.tracking.tracker import Tracker

Row = Mapping[Any, Any]
"""One of the table of trials."""
_SQLITE = "sqlite:///"
NOTE = "dashboard:note_str:"
"""The system attributes that hold a study's note."""
SIGNED = "\n*From the report; written anew with each.*\n"
"""The end of a note of ours."""
GRACE_SECONDS = 3
"""How long the journal's lock may be at rest before it is taken for a killed writer's: the least that Optuna advises."""


class OptunaTracker(Tracker):
    """Studies ``P/label/seed``, filled by whole trials after each round."""

    def show_trials(self, trials: pd.DataFrame, *, is_all: bool) -> None:
        """Add the trials that the storage lacks."""
        with _named():
            write(trials, is_all=is_all)

    def complete(self, problem: str) -> None:
        """Those of the problem's results."""
        path = files.stage_path(problem, "tune", "trials.parquet")
        if path.exists():
            self.show_trials(pd.read_parquet(path), is_all=True)

    def publish(self, folder: Path, inputs: Sequence[tuple[str, str]], origin: Mapping[str, str]) -> None:
        """A note on each study: what the report says of its scheduler."""
        with _named():
            annotate(dict(notes(folder, inputs)))

    def rebuild(self) -> Iterator[str]:
        """Those of all results."""
        with _named():
            _mend()
        for path in sorted(files.RESULTS.glob("*/tune/trials.parquet")):
            trials = pd.read_parquet(path)
            self.show_trials(trials, is_all=True)
            yield f"{path.parts[-3]}: {trials['study'].nunique()} studies"
        self.publish(files.REPORTS, [(path.parts[-3], "tune") for path in files.RESULTS.glob("*/tune/trials.parquet")], {})


@contextmanager
def _named() -> Iterator[None]:
    """In the block, an error says which storage it is of."""
    try:
        yield
    except TrackerError:
        raise
    except Exception as error:
        raise TrackerError(f"{masked(location())}: {one_line(error)}") from error


def write(trials: pd.DataFrame, *, is_all: bool = True) -> None:
    """Add the studies and trials that the storage lacks; a study of another fingerprint is replaced.

    So is one with more trials than there are, if those given are all: a search that is followed again begins with few.
    """
    studies: dict[str, list[Row]] = {}
    for row in trials.to_dict("records"):
        studies.setdefault(row["study"], []).append(row)
    with _storage() as storage:
        known = {study.study_name: study for study in storage.get_all_studies()}
        for name, rows in studies.items():
            _write_study(storage, name, rows, known.get(name), is_all=is_all)


def annotate(notes: Mapping[str, str]) -> None:
    """Write the notes on these studies, as Optuna's dashboard shows them; a note that somebody else wrote stays."""
    from optuna_dashboard import save_note  # type: ignore[import-untyped]

    if not notes:
        return
    with _storage() as storage:
        for known in storage.get_all_studies():
            note, there = notes.get(known.study_name), _note_on(storage, known)
            is_ours = not there or there.endswith(SIGNED)
            if note is not None and is_ours and there != f"{note}{SIGNED}":
                save_note(optuna.load_study(study_name=known.study_name, storage=storage), f"{note}{SIGNED}")


def _note_on(storage: BaseStorage, known: Any) -> str:
    """The study's note, which the dashboard keeps in pieces."""
    attributes = storage.get_study_system_attrs(known._study_id)  # BaseStorage speaks of studies by this id only
    places = sorted(int(name.removeprefix(NOTE)) for name in attributes if name.startswith(NOTE))
    return "".join(attributes[f"{NOTE}{place}"] for place in places)


def _write_study(storage: BaseStorage, name: str, rows: list[Row], known: Any, *, is_all: bool) -> None:
    attributes = _attributes(name, rows[0])
    there = 0 if known is None else storage.get_n_trials(known._study_id)  # BaseStorage speaks of studies by this id only
    if known is not None and not (attributes.items() <= known.user_attrs.items() and (there <= len(rows) or not is_all)):
        optuna.delete_study(study_name=name, storage=storage)
        known, there = None, 0
    new = [_trial_of(row) for row in rows[there:]]  # all, before any is written
    if known is None:
        study = optuna.create_study(study_name=name, storage=storage, direction="minimize")
        for attribute, value in attributes.items():
            study.set_user_attr(attribute, value)
    else:
        study = optuna.load_study(study_name=name, storage=storage)
    for trial in new:
        study.add_trial(trial)


def _attributes(name: str, row: Row) -> dict[str, Any]:
    """A study's user attributes; the fingerprint tells whether the trials in the storage are those in the table."""
    attributes = {column: str(row[column]) for column in ("scheduler", "fingerprint", "sampler")}
    return {"problem": name.split("/", maxsplit=1)[0], "seed": int(row["seed"]), **attributes}


def _trial_of(row: Row) -> FrozenTrial:
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
    is_journal = path is not None and not where.startswith(_SQLITE)
    held = alone(path) if path else nullcontext()  # a server sees to that itself
    with held, (_journal if is_journal else _database)(where) as storage:
        yield storage


def _file() -> Path | None:
    """The storage's file; None where a server holds it."""
    path = location().removeprefix(_SQLITE)
    return None if "://" in path else Path(path)


def _mend() -> None:
    """Make room for a new storage where the file there is broken."""
    if path := _file():
        mend(path, is_broken_database if location().startswith(_SQLITE) else _is_broken_journal)


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
    with reached(url, "Optuna", tracking_uri()):
        storage = RDBStorage(url)
    try:
        yield storage
    finally:
        storage.engine.dispose()


@contextmanager
def _journal(where: str) -> Iterator[BaseStorage]:
    """The journal, without what a killed writer left at its end."""
    # A killed writer leaves Optuna's own lock behind, which is taken over, since nobody holds it for long. Optuna looks at
    # the file that the lock points at, and waits for ever where there is none.
    Path(where).open("ab").close()
    lock = JournalFileSymlinkLock(where, grace_period=GRACE_SECONDS)
    lock.acquire()
    try:
        drop_torn_line(Path(where))
    finally:
        lock.release()
    known, content = _open.pop(where, None), Path(where).read_bytes()
    if known is None or known.digest != _digest(content[: known.size]):  # it is another file
        backend = JournalFileBackend(where, lock_obj=JournalFileSymlinkLock(where, grace_period=GRACE_SECONDS))
        known = _Open(JournalStorage(backend), 0, "")
    yield known.storage
    content = Path(where).read_bytes()
    _open[where] = replace(known, size=len(content), digest=_digest(content))


@dataclass(frozen=True)
class _Open:
    """A journal that this process has read: Optuna reads on from there."""

    storage: JournalStorage
    size: int
    digest: str


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_open: dict[str, _Open] = {}
"""By the journal's path."""


def drop_torn_line(path: Path) -> None:
    """Cut off what a killed writer left after the last whole line; Optuna could never read past it."""
    with path.open("r+b") as file:
        content = file.read()
        if not content.endswith(b"\n"):
            file.truncate(content.rfind(b"\n") + 1)
