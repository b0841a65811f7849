"""After a `dvc repro` that failed: set aside what a killed DVC wrote by half, so that the next one works.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place. Killed while it does so, it leaves a file that it refuses to read ever
after.
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
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from voluptuous import Invalid

from pipeline.config.locks import free_name

TEMPORARY = Path(".dvc/tmp")


def main() -> int:
    """Mend the clone in the current folder, unless another DVC is at work in it."""
    try:
        with make_lock(str(TEMPORARY / "lock"), tmp_dir=str(TEMPORARY)):
            mended = [set_aside(path, rest) for path, is_whole, rest in FILES if path.exists() and not is_whole(path)]
    except (LockError, DvcException, OSError):
        return 1
    for line in mended:
        print(line, file=sys.stderr)
    return 0 if mended else 1


def is_rwlock(path: Path) -> bool:
    """Whether DVC can read which process holds what."""
    try:
        SCHEMA(json.loads(path.read_text("utf-8")))
    except (ValueError, Invalid):
        return False
    return True


def is_lockfile(path: Path) -> bool:
    """Whether DVC can read what its stages made."""
    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe", pure=True).load(path.read_text("utf-8")))
    except (UnicodeDecodeError, YAMLError, Invalid):
        return False
    return True


def set_aside(path: Path, rest: str) -> str:
    """Rename a broken file to a name that is free, and say so."""
    kept = free_name(path)
    path.rename(kept)
    return f"{path}: DVC was stopped while it wrote this; it is set aside as {kept.name}, {rest}"


FILES: tuple[tuple[Path, Callable[[Path], bool], str], ...] = (
    (TEMPORARY / "rwlock", is_rwlock, "and nothing is lost by it"),
    (Path("dvc.lock"), is_lockfile, "and the stages run once more: what was trained is kept"),
)


if __name__ == "__main__":
    sys.exit(main())
