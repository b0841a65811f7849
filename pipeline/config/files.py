"""Where everything lies, and how it is written: whole or not at all.

Paths are relative to the working directory, the root of the repository (or of DVC's temporary copy of it).
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml.error import YAMLError

from pipeline.config.errors import PipelineError

DATA = Path("data")
RESULTS = Path("results")
REPORTS = Path("reports")
TRACKED = Path("tracked.json")
"""What the stage ``track`` leaves: in a clone without it, the trackers have not seen what is there."""
STATE = Path(".state")
"""Git-ignored: locks, and what an interrupted stage needs to go on."""


SCHEMA = 1
"""Of the files that stages hand on: a new number where an older version's would be misread."""
SIGNED = "file"
"""The key of a file's signature in its metadata."""


class ResultsError(PipelineError):
    """A result that is not there, or cannot be read; says which stage writes it."""


def store_root() -> Path:
    """Where the default stores lie: the repository's root, which git's worktrees of it share.

    DVC names it to its stages; in ``dvc exp run --temp`` and ``--queue`` it is not the copy that they work in.
    """
    root = Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()
    return _main_tree(root) or root


def _main_tree(root: Path) -> Path | None:
    """The repository that a worktree of git belongs to; None where it is none, or DVC is not at home there."""
    try:
        own = root / (root / ".git").read_text("utf-8").removeprefix("gitdir:").strip()
        common = (own / (own / "commondir").read_text("utf-8").strip()).resolve()
    except (OSError, ValueError):  # a folder, as everywhere else, or none at all
        return None
    return common.parent if common.name == ".git" and (common.parent / ".dvc").is_dir() else None


def write_files(contents: Iterable[tuple[Path, bytes]]) -> None:
    """Replace files so that each is at any moment the old or the new one, whole; all are written before any is replaced."""
    ready: list[tuple[Path, Path]] = []
    try:
        for path, content in contents:
            if path.is_dir():  # found only in replacing, it would leave some files new and some old
                raise ResultsError(f"{path} is a folder, where a file of that name is to be written; move it away")
            path.parent.mkdir(parents=True, exist_ok=True)
            # One name for all time: what a killed stage left is overwritten by the next. A stage's lock keeps others away.
            temporary = path.with_name(f".{path.name}.tmp")
            ready.append((temporary, path))
            with _told(path), temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for temporary, path in ready:
            with _told(path):
                temporary.replace(path)
    finally:
        for temporary, _ in ready:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What fails in the block says which file was written."""
    try:
        yield
    except FileNotFoundError:
        what = f"{path.parent} was taken away while files were written there, perhaps by another DVC"
        raise ResultsError(f"{what}; call it again: what was trained is kept") from None
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk names none
        raise


def signature(path: Path) -> str:
    """What a file says it is, in its metadata: another problem's or stage's may have the same shape."""
    return f"{path.as_posix()}, schema {SCHEMA}"


def parquet(frame: pd.DataFrame, path: Path) -> bytes:
    """The frame as the bytes of the parquet file at ``path``: the same for the same values, and with checksums."""
    signed = frame.copy(deep=False)
    signed.attrs = {**frame.attrs, SIGNED: signature(path)}
    content: bytes = signed.to_parquet(index=False, write_page_checksum=True)
    return content


def refuse_foreign(path: Path, found: object, source: str) -> None:
    """Raise :class:`ResultsError` where the signature ``found`` in the file is not its own."""
    if found != signature(path):
        says = f"says that it is {found}" if found else "does not say what it is, as those of an earlier version"
        raise ResultsError(f"{path} {says}, not {signature(path)}; `dvc repro -f -s {source}` writes it anew")


def dataset_path(problem: str) -> Path:
    """``data/P.parquet``."""
    return DATA / f"{problem}.parquet"


def splits_path(problem: str) -> Path:
    """``data/P.splits.parquet``; no problem's name has a dot in it."""
    return DATA / f"{problem}.splits.parquet"


def stage_path(problem: str, stage: str, name: str) -> Path:
    """``results/P/STAGE/NAME``."""
    return RESULTS / problem / stage / name


def write_params(params: Mapping[str, Any], digests: Mapping[str, Any]) -> None:
    """Write what params.yaml says or leaves to its defaults, and the ``digests`` that stages depend on."""
    write_files([(DATA / "params.json", json_file(params)), (DATA / "digests.json", json_file(digests))])


def write_dataset(problem: str, frame: pd.DataFrame, splits: pd.DataFrame) -> None:
    """Write the dataset of a problem, and the seeds' splits of it."""
    files = {dataset_path(problem): frame, splits_path(problem): splits}
    write_files([(path, parquet(table, path)) for path, table in files.items()])


def read_dataset(problem: str) -> pd.DataFrame:
    """The dataset of a problem; columns ``split``, ``y``, ``x0`` …"""
    return read_parquet(dataset_path(problem), f"dataset@{problem}")


def read_splits(problem: str) -> pd.DataFrame:
    """The splits of a problem's dataset: ``part``, and for each seed the rows in it."""
    return read_parquet(splits_path(problem), f"dataset@{problem}")


def read_parquet(path: Path, source: str) -> pd.DataFrame:
    """A table that the stage ``source`` writes."""
    with reading(path, source):
        found = pd.read_parquet(path, page_checksum_verification=True)
    refuse_foreign(path, found.attrs.pop(SIGNED, None), source)
    return found


@contextlib.contextmanager
def reading(path: Path, source: str) -> Iterator[None]:
    """What fails in the block says that ``path`` is not there, or cannot be read, and that the stage ``source`` writes it."""
    try:
        yield
    except FileNotFoundError:
        raise ResultsError(f"{path} is not there; `dvc repro {source}` writes it") from None
    except (OSError, ValueError, YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ResultsError(f"{path} cannot be read ({line}); delete it, then `dvc repro {source}` writes it anew") from None


def json_file(value: Any) -> bytes:
    """A JSON file's bytes: sorted keys, a newline at the end; what is not finite becomes null."""
    return (json.dumps(_finite(value), indent=2, sort_keys=True) + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
