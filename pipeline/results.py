"""Everything the stages hand on: paths, columns, atomic writing. The files here are the truth; MLflow mirrors them.

Paths are relative to the working directory, the root of the repository (or of DVC's temporary copy of it).
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.errors import PipelineError
from pipeline.runs import CURVES, History

DATA = Path("data")
RESULTS = Path("results")
REPORTS = Path("reports")
STATE = Path(".state")
"""Git-ignored: locks, and what an interrupted stage needs to go on."""

RUN_COLUMNS = (
    "run", "variant", "scheduler", "seed", "epochs", "lr", "args", "resolved", "diverged", "train_loss",
    "validation_loss", "validation_metric", "test_loss", "test_metric",
    "metric", "name", "interval", "warmup", "optimizer", "dataset", "device",
)  # fmt: skip
TRIAL_COLUMNS = (
    "scheduler", "seed", "number", "state", "value", "lr", "args", "study", "fingerprint", "sampler", "params", "distributions",
)  # fmt: skip
SWEEP_COLUMNS = (
    "run", "kind", "variant", "scheduler", "seed", "epochs", "lr", "diverged", "train_loss", "validation_loss",
    "validation_metric",
)  # fmt: skip
IMPORTANCE_COLUMNS = ("scheduler", "seed", "parameter", "importance")
CURVE_COLUMNS = ("run", "variant", "scheduler", "seed", "epoch", *CURVES)


class ResultsError(PipelineError):
    """A result that is not there, or cannot be read; says which stage writes it."""


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
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for temporary, path in ready:
            temporary.replace(path)
    finally:
        for temporary, _ in ready:
            temporary.unlink(missing_ok=True)


def parquet(frame: pd.DataFrame) -> bytes:
    """The frame as the bytes of a parquet file: the same for the same values."""
    content: bytes = frame.to_parquet(index=False)
    return content


def dataset_path(problem: str) -> Path:
    """``data/P.parquet``."""
    return DATA / f"{problem}.parquet"


def stage_path(problem: str, stage: str, name: str) -> Path:
    """``results/P/STAGE/NAME``."""
    return RESULTS / problem / stage / name


def write_params(params: Mapping[str, Any]) -> None:
    """Write ``data/params.json``: everything that params.yaml says or leaves to its defaults."""
    write_files([(DATA / "params.json", as_json(params))])


def write_dataset(problem: str, frame: pd.DataFrame) -> None:
    """Write the dataset of a problem."""
    write_files([(dataset_path(problem), parquet(frame))])


def read_dataset(problem: str) -> pd.DataFrame:
    """The dataset of a problem; columns ``split``, ``y``, ``x0`` …"""
    return _read(dataset_path(problem), f"dataset@{problem}")


def write_runs(
    problem: str, stage: str, runs: pd.DataFrame, curves: pd.DataFrame, beside: Mapping[str, bytes] | None = None
) -> None:
    """Write ``runs.parquet``, ``curves.parquet`` and the files ``beside`` them of a stage, all together."""
    files = {"runs.parquet": parquet(runs), "curves.parquet": parquet(curves), **(beside or {})}
    write_files((stage_path(problem, stage, name), content) for name, content in files.items())


def read_runs(problem: str, stage: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``runs.parquet`` and ``curves.parquet`` of a stage."""
    source = f"{stage}@{problem}"
    runs = _read(stage_path(problem, stage, "runs.parquet"), source)
    return runs, _read(stage_path(problem, stage, "curves.parquet"), source)


def read_weights(problem: str, stage: str) -> bytes:
    """``weights.safetensors`` of a stage: those of its best run."""
    path = stage_path(problem, stage, "weights.safetensors")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ResultsError(f"{path} cannot be read ({error}); `dvc repro -f {stage}@{problem}` writes it anew") from None


def run_of(weights: bytes) -> str:
    """The fingerprint of the run whose weights a safetensors file holds; empty where all runs diverged."""
    size = int.from_bytes(weights[:8], "little")  # of the header, JSON
    return str(json.loads(weights[8 : 8 + size])["__metadata__"]["run"])


def read_sweep(problem: str) -> pd.DataFrame:
    """``runs.parquet`` of stage sweep."""
    return _read(stage_path(problem, "sweep", "runs.parquet"), f"sweep@{problem}")


def read_tuning(problem: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``trials.parquet`` and ``importances.parquet`` of stage tune."""
    source = f"tune@{problem}"
    trials = _read(stage_path(problem, "tune", "trials.parquet"), source)
    return trials, _read(stage_path(problem, "tune", "importances.parquet"), source)


def read_best(problem: str) -> dict[str, dict[str, Any]]:
    """``best.yaml``: scheduler → recommended configuration."""
    path = stage_path(problem, "tune", "best.yaml")
    remedy = f"`dvc repro tune@{problem}` writes it"
    try:
        best = YAML(typ="safe", pure=True).load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path} is not there; {remedy}") from None
    except (OSError, ValueError, YAMLError) as error:
        line = str(error).splitlines()[0]
        raise ResultsError(f"{path} cannot be read ({line}); delete it, then {remedy} anew") from None
    return best if isinstance(best, dict) else {}


def read_findings(problem: str) -> list[dict[str, Any]]:
    """``findings.json`` of stage train: the traps in the problem's schedules, one mapping each."""
    path = stage_path(problem, "train", "findings.json")
    try:
        found: list[dict[str, Any]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} cannot be read ({error}); `dvc repro -f train@{problem}` writes it anew") from None
    return found


def _read(path: Path, source: str) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise ResultsError(f"{path} is not there; `dvc repro {source}` writes it") from None
    except (OSError, ValueError) as error:
        line = str(error).splitlines()[0]
        raise ResultsError(f"{path} cannot be read ({line}); delete it, then `dvc repro {source}` writes it anew") from None


def run_table(history: History, described: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per run: ``described`` (the run's description, column by column) beside its final figures."""
    rows = pd.DataFrame(described)
    last, outcome = history.curves, history.outcome
    rows["diverged"] = history.diverged
    for name in ("train_loss", "validation_loss", "validation_metric"):
        rows[name] = getattr(last, name)[-1]
    rows["test_loss"], rows["test_metric"] = outcome.test_loss, outcome.test_metric
    return rows[list(RUN_COLUMNS)]


def curve_table(history: History, described: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per run and epoch, runs in order."""
    epochs = len(history.curves.lr)
    identity = pd.DataFrame(described)[["run", "variant", "scheduler", "seed"]]
    rows = identity.loc[identity.index.repeat(epochs)].reset_index(drop=True)
    rows["epoch"] = np.tile(np.arange(1, epochs + 1), len(identity))
    for name in CURVES:
        rows[name] = getattr(history.curves, name).T.reshape(-1)
    return rows[list(CURVE_COLUMNS)]


def as_json(value: Any) -> bytes:
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
