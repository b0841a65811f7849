"""What was found out or compiled once on this machine and is kept for all later processes, of all repositories of this user.

It lies in ``~/.cache/lr-pipeline`` (``$XDG_CACHE_HOME/lr-pipeline``), and all of it can be deleted at any time. An entry's name
says all that its content follows from, so that nothing here is ever out of date, and each entry ends with a checksum: what was
damaged is as good as not there. A folder that somebody else could have written to is not used, nor is one that cannot be
written to: then a temporary folder serves this process alone.
"""

import atexit
import contextlib
import hashlib
import logging
import os
import re
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

NAME = "lr-pipeline"
LARGEST = 100 * 2**20
"""Bytes that all entries may take before those that were not used for longest go."""
HOUR = 3600.0
DAY = 24 * HOUR
UNUSED = 30 * DAY
"""Seconds after which an entry that nobody used goes: with each change of code new ones come."""
_ENTRY = re.compile(r"[0-9a-f]{32}\.(so|txt)")
_UNFINISHED = re.compile(r"\.\w+\.tmp|tmp\w{8}")
"""What a killed process left behind, of earlier versions too."""
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_CHECKSUM = hashlib.sha256().digest_size
_chosen: dict[Path | None, Path] = {}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """A file in the folder, the bytes it takes on the disk and when it was last used."""

    path: Path
    size: int
    used: float


def remembered(key: str, find: Callable[[], str]) -> str:
    """What ``find`` returns, or returned when it was last asked under ``key``, which names all that it follows from."""
    name = f"{hashlib.sha256(f'checked {key}'.encode()).hexdigest()[:32]}.txt"  # others than before there were checksums
    if (content := read(name)) is not None:
        return content.decode()
    found = find()
    with contextlib.suppress(OSError):  # where nothing can be kept, it is found out again
        keep(name, found.encode())
    return found


def read(name: str) -> bytes | None:
    """The content of an entry, where it is there as it was written, and nobody else may change it."""
    path = folder() / name
    try:
        with path.open("rb") as file:
            found, whole = os.fstat(file.fileno()), file.read()
    except OSError:
        return None
    content, checksum = whole[:-_CHECKSUM], whole[-_CHECKSUM:]
    if checksum != _checksum(name, content) or _is_open_to_others(found):
        return None
    if time.time() - found.st_mtime > DAY:  # reading would write each time
        with contextlib.suppress(OSError):
            os.utime(path)
    return content


def keep(name: str, content: bytes) -> Path:
    """Write an entry, whole or not at all, and return where it is; what is too much for the folder goes.

    The checksum stands behind the content, where a library's loader does not look. Raises OSError where nothing can be written.
    """
    place, used = user_folder(), folder()
    try:
        path = _written(used / name, content)
    except OSError as error:
        if used != place:
            raise
        _chosen[place] = _temporary(place, str(error))
        return _written(_chosen[place] / name, content)
    remove(outdated(used))
    return path


def folder() -> Path:
    """The folder that this process uses."""
    place = user_folder()
    if place not in _chosen:
        wrong = _obstacle(place)
        _chosen[place] = _temporary(place, wrong) if place is None or wrong else place
    return _chosen[place]


def user_folder() -> Path | None:
    """The user's folder for all processes, usable or not; None where there is no home folder."""
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (caches if caches.is_absolute() else Path.home() / ".cache") / NAME
    except RuntimeError:
        return None


def entries(place: Path) -> Iterator[Entry]:
    """All that is kept in a folder, and what unfinished writing left there; nothing that is not of this pipeline."""
    with contextlib.suppress(OSError), os.scandir(place) as found:
        for each in found:
            if _ENTRY.fullmatch(each.name) or _UNFINISHED.fullmatch(each.name):
                with contextlib.suppress(OSError):  # another process took it away
                    status = each.stat(follow_symlinks=False)
                    yield Entry(Path(each.path), status.st_blocks * 512, status.st_mtime)


def outdated(place: Path, largest: int = LARGEST, unused: float = UNUSED) -> Iterator[Entry]:
    """The entries in a folder that are too many, those that were not used for longest, and what a killed process left."""
    total, now = 0, time.time()
    for entry in sorted(entries(place), key=lambda entry: entry.used, reverse=True):
        total += entry.size
        is_old = now - entry.used > (unused if _ENTRY.fullmatch(entry.path.name) else HOUR)
        if is_old or total > largest:
            yield entry


def remove(removed: Iterable[Entry]) -> None:
    """Take entries away, as far as that can be done."""
    for entry in removed:
        if entry.path.is_dir() and not entry.path.is_symlink():
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                entry.path.unlink()


def _obstacle(place: Path | None) -> str:
    """Why the folder, which is made where it is not there, cannot be used; empty where it can."""
    if place is None:
        return "there is no home folder"
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.stat()
    except OSError as error:
        return str(error)
    if found.st_uid != os.geteuid():
        return "it belongs to somebody else"
    if _is_open_to_others(found):
        return f"others may write to it; `chmod go-w {shlex.quote(str(place))}` makes it yours alone"
    return "" if os.access(place, os.W_OK | os.X_OK) else "it cannot be written to"


def _is_open_to_others(found: os.stat_result) -> bool:
    return found.st_uid != os.geteuid() or bool(found.st_mode & _OTHERS_MAY_WRITE)


def _temporary(place: Path | None, wrong: str) -> Path:
    """A folder in place of the user's, for as long as this process lives."""
    _log.warning("%s is not used (%s): what is compiled now is compiled again by the next process", place or "~/.cache", wrong)
    try:
        made = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
    except OSError:
        return Path(os.devnull) / NAME  # where nothing is and nothing can be written
    atexit.register(_forget, made, os.getpid())
    return made


def _forget(made: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a copy of it
        shutil.rmtree(made, ignore_errors=True)


def _written(path: Path, content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as file:
        try:
            file.write(content + _checksum(path.name, content))
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)  # whole or not at all, whoever else is at it
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    return path


def _checksum(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest()
