"""After a `dvc repro` that failed: set aside what a killed DVC wrote by half, so that the next one works.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place. Killed while it does so, it leaves a file that it refuses to read ever
after. And it takes whatever process has the number of the one that was killed for that one, be it a zombie or a stranger.
Exit status 0 if something was set aside, 1 if not.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.lock import LockError, make_lock
from dvc.rwlock import SCHEMA
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from psutil import STATUS_ZOMBIE, Error, NoSuchProcess, Process
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid

from pipeline.config.locks import free_name

TEMPORARY = Path(".dvc/tmp")


def main() -> int:
    """Mend the clone in the current folder, unless another DVC is at work in it."""
    try:
        with make_lock(str(TEMPORARY / "lock"), tmp_dir=str(TEMPORARY)):
            found = [(path, wrong_with(path), rest) for path, wrong_with, rest in FILES if path.exists()]
            mended = [set_aside(path, wrong, rest) for path, wrong, rest in found if wrong]
    except (LockError, DvcException, OSError):
        return 1
    for line in mended:
        print(line, file=sys.stderr)
    return 0 if mended else 1


def wrong_with_rwlock(path: Path) -> str:
    """Why it keeps DVC from working: it cannot be read, or only processes that are gone hold something."""
    try:
        held = SCHEMA(json.loads(path.read_text("utf-8")))
    except (ValueError, Invalid):
        return STOPPED
    holders = [*held["write"].values(), *(holder for several in held["read"].values() for holder in several)]
    gone = holders and not any(is_at_work(holder["pid"]) for holder in holders)
    return "a DVC that is gone held this" if gone else ""


def is_at_work(pid: int) -> bool:
    """Whether that process is a DVC."""
    try:
        process = Process(pid)
        return process.status() != STATUS_ZOMBIE and any("dvc" in Path(word).name for word in process.cmdline())
    except NoSuchProcess:
        return False
    except Error:
        return True


def wrong_with_lockfile(path: Path) -> str:
    """Whether DVC cannot read what its stages made."""
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    except (UnicodeDecodeError, YAMLError, Invalid):
        return STOPPED
    return ""


def set_aside(path: Path, wrong: str, rest: str) -> str:
    """Rename a file that cannot be used to a name that is free, and say so."""
    kept = free_name(path)
    path.rename(kept)
    return f"{path}: {wrong}; it is set aside as {kept.name}, {rest}"


STOPPED = "DVC was stopped while it wrote this"
FILES: tuple[tuple[Path, Callable[[Path], str], str], ...] = (
    (TEMPORARY / "rwlock", wrong_with_rwlock, "and nothing is lost by it"),
    (Path("dvc.lock"), wrong_with_lockfile, "and the stages run once more: what was trained is kept"),
)


if __name__ == "__main__":
    sys.exit(main())
