"""The files that a command is given: several, or a pattern, as one table; and where a study finds them."""

import re
import shutil
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path

from pipeline.cli import UsageError
from pipeline.config.terminal import tell
from pipeline.data.reading import INPUTS, Paths


def named(words: Sequence[str], what: str = "a CSV or Parquet file") -> list[Path]:
    """The files of these names, each once; those of a pattern, which no shell has replaced, in the order of their names."""
    found: dict[Path, None] = {}
    for word in words:
        is_name = Path(word).is_file() or not has_magic(word)
        are = [word] if is_name else sorted(glob(word))  # noqa: PTH207  # of Path, only patterns below a folder
        files = [Path(each) for each in are if Path(each).is_file()]
        if not files:
            raise UsageError(f"{word} is not there; name {what}")
        found |= dict.fromkeys(files)
    names = [below(file) for file in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two files are called {twice[0]}; rename one, or put both in folders below {INPUTS}/")
    return list(found)


def are_inside(files: Sequence[Path]) -> bool:
    """Whether all lie below ``inputs/`` already."""
    return all(file.resolve().is_relative_to(INPUTS.resolve()) for file in files)


def below(file: Path) -> str:
    """Its path below ``inputs/``, or that of a copy right in it."""
    return file.resolve().relative_to(INPUTS.resolve()).as_posix() if are_inside([file]) else file.name


def path_of(files: Sequence[Path]) -> Paths:
    """Their ``path`` in params.yaml."""
    return below(files[0]) if len(files) == 1 else [below(file) for file in files]


def copied(files: Sequence[Path]) -> Paths:
    """Their ``path``; those from elsewhere are copied to ``inputs/``, where DVC watches them, and replace no other file."""
    from_elsewhere = [file for file in files if not are_inside([file])]
    for file in from_elsewhere:
        copy = INPUTS / file.name
        if copy.exists() and copy.read_bytes() != file.read_bytes():
            raise UsageError(f"{copy} is there already, with other contents; rename {file}, or name {copy} itself")
    for file in from_elsewhere:
        INPUTS.mkdir(exist_ok=True)
        shutil.copy(file, INPUTS / file.name)
        tell(f"{file} is copied to {INPUTS / file.name}")
    return path_of(files)


def name_for(path: Paths) -> str:
    """A problem's name after that of its file, or of the first of several."""
    stem = Path(path if isinstance(path, str) else path[0]).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_-")[:64] or "table"
