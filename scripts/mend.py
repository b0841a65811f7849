"""After a `dvc repro` that failed: set aside what a killed DVC or a full disk left by half, so that the next one works.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place. Killed while it does so, it leaves a file that it refuses to read ever
after. And it takes whatever process has the number of the one that was killed for that one, be it a zombie or a stranger.
Python does not notice that its bytecode did not fit on a disk, and cannot import the module ever after.
Exit status 0 if something was set aside, 1 if not.
"""

import json
import marshal
import sys
import time
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

TEMPORARY = Path(".dvc/tmp")


def main() -> int:
    """Mend the clone in the current folder; where another DVC is at work in it, wait until that is done."""
    if at_work := [pid for pid in holders(TEMPORARY / "rwlock") if is_at_work(pid)]:
        print(f"another DVC (process {at_work[0]}) is at work here; waiting until it is done", file=sys.stderr, flush=True)
        while any(map(is_at_work, at_work)):
            time.sleep(0.5)
        return 0
    if by_half := [path for path in Path("pipeline").rglob("*.pyc") if not is_whole(path)]:
        for path in by_half:
            path.unlink()
        print(f"{by_half[0]}: Python wrote this by half, on a full disk perhaps; it is deleted, and made anew", file=sys.stderr)
        return 0
    try:
        with make_lock(str(TEMPORARY / "lock"), tmp_dir=str(TEMPORARY)):
            found = [(path, wrong_with(path), rest) for path, wrong_with, rest in FILES if path.exists()]
            mended = [set_aside(path, wrong, rest) for path, wrong, rest in found if wrong]
    except (LockError, DvcException, OSError):
        return 1
    for line in mended:
        print(line, file=sys.stderr)
    return 0 if mended else 1


def is_whole(bytecode: Path) -> bool:
    """Whether Python can import it."""
    try:
        marshal.loads(bytecode.read_bytes()[16:])  # noqa: S302  # as Python does itself, behind what says of which source it is
    except (EOFError, ValueError, TypeError):
        return False
    return True


def wrong_with_rwlock(path: Path) -> str:
    """Why it keeps DVC from working: it cannot be read, or only processes that are gone hold something."""
    try:
        SCHEMA(json.loads(path.read_text("utf-8")))
    except (ValueError, Invalid):
        return STOPPED
    return "a DVC that is gone held this" if holders(path) else ""


def holders(path: Path) -> list[int]:
    """The numbers of the processes that hold something by an rwlock, the last ones first."""
    try:
        held = SCHEMA(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, Invalid):
        return []
    found = [*held["write"].values(), *(holder for several in held["read"].values() for holder in several)]
    return sorted({holder["pid"] for holder in found}, reverse=True)


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
    from pipeline.config.locks import free_name  # not before its bytecode is known to be whole

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
