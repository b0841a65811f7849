"""The finished rounds of a problem's studies, in a file of their own outside DVC's outs: what a resumed search goes on from."""

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.results import STATE, write_files
from pipeline.search.study import Round, Study, Trial

_log = logging.getLogger(__name__)


def kept_path(problem: str) -> Path:
    """``.state/tune/P.json``."""
    return STATE / "tune" / f"{problem}.json"


def resume(path: Path, studies: Iterable[Study], trials: int) -> list[Study]:
    """The studies with the finished rounds kept of them, up to ``trials`` each; only those of the same fingerprint."""
    kept = _read(path)
    return [_resumed(study, kept.get(study.name, {}), trials) for study in studies]


def save(path: Path, studies: Iterable[Study]) -> None:
    """Replace the file. Studies that are not given (another seed's, say) and rounds beyond those given stay in it."""
    entries = _read(path)
    for study in studies:
        known = entries.get(study.name, {})
        if known.get("fingerprint") != study.fingerprint or len(known["rounds"]) < len(study.rounds):
            rounds = [{"trials": [vars(trial) for trial in r.trials], "attrs": r.attrs} for r in study.rounds]
            entries[study.name] = {"fingerprint": study.fingerprint, "rounds": rounds}
    write_files([(path, json.dumps(entries).encode())])


def _resumed(study: Study, entry: Mapping[str, Any], trials: int) -> Study:
    if entry.get("fingerprint") != study.fingerprint:
        return study
    rounds = [Round(tuple(Trial(**trial) for trial in r["trials"]), r["attrs"]) for r in entry["rounds"]]
    return replace(study, rounds=tuple(r for r in rounds if r.trials[-1].number < trials))


def _read(path: Path) -> dict[str, Any]:
    try:
        entries: dict[str, Any] = dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        _log.warning("%s cannot be read (%s); the search begins anew", path, error)
        return {}
    return entries
