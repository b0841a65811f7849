"""The tables that stages hand on, and their columns. These files are the truth; MLflow mirrors them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.config.files import (
    SIGNED,
    ResultsError,
    dataset_path,
    json_file,
    parquet,
    read_parquet,
    reading,
    refuse_foreign,
    signature,
    stage_path,
    write_files,
)  # fmt: skip
from pipeline.config.schedules import Schedule
from pipeline.problems.run import CURVES, History

RUN_COLUMNS = (
    "run", "variant", "scheduler", "seed", "stream", "epochs", "lr", "args", "resolved", "diverged",
    "train_loss", "validation_loss", "validation_metric", "test_loss", "test_metric",
    "metric", "name", "interval", "warmup", "optimizer", "dataset", "device",
)  # fmt: skip
DATASET = "dataset"
"""The column, or the key in a file's metadata, with the digest of the samples."""
STAGES = ("train", "tune", "confirm")
"""Those that write runs and curves."""
FIGURES = ("train_loss", "validation_loss")
"""What every run that did not diverge has."""
TRIAL_COLUMNS = (
    "scheduler", "seed", "number", "state", "value", "lr", "args", "study", "fingerprint", "sampler", "params", "distributions",
)  # fmt: skip
SWEEP_COLUMNS = (
    "run", "kind", "variant", "scheduler", "seed", "stream", "epochs", "lr", "diverged", "train_loss", "validation_loss",
    "validation_metric",
)  # fmt: skip
RERUN_COLUMNS = ("scheduler", "seed", "number", "stream", "value")
IMPORTANCE_COLUMNS = ("scheduler", "seed", "parameter", "importance")
CURVE_COLUMNS = ("run", "variant", "scheduler", "seed", "stream", "epoch", *CURVES)


def write_runs(
    problem: str, stage: str, runs: pd.DataFrame, curves: pd.DataFrame, beside: Mapping[str, bytes] | None = None
) -> None:
    """Write ``runs.parquet``, ``curves.parquet`` and the files ``beside`` them of a stage, all together."""
    written = _parquets(problem, stage, {"runs.parquet": runs, "curves.parquet": curves})
    write_files((stage_path(problem, stage, name), content) for name, content in {**written, **(beside or {})}.items())


def tables(problem: str, stage: str, frames: Mapping[str, pd.DataFrame], dataset: str) -> dict[str, bytes]:
    """Parquet files of a stage by name, whose metadata name the dataset, since no column does."""
    signed = {name: frame.copy(deep=False) for name, frame in frames.items()}
    for frame in signed.values():
        frame.attrs = {**frame.attrs, DATASET: dataset}
    return _parquets(problem, stage, signed)


def _parquets(problem: str, stage: str, frames: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    return {name: parquet(frame, stage_path(problem, stage, name)) for name, frame in frames.items()}


def findings_file(problem: str, findings: Sequence[Mapping[str, Any]]) -> bytes:
    """``findings.json`` of stage train."""
    signed = {SIGNED: signature(stage_path(problem, "train", "findings.json"))}
    return json_file({**signed, "findings": list(findings)})


def best_file(problem: str, configurations: str) -> bytes:
    """``best.yaml`` of stage tune, which says in its first line what it is."""
    return f"# {signature(stage_path(problem, 'tune', 'best.yaml'))}\n{configurations}".encode()


def read_runs(problem: str, stage: str, dataset: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``runs.parquet`` and ``curves.parquet`` of a stage; here as below, of the ``dataset`` with that digest, None for any."""
    runs = _read(problem, stage, "runs.parquet", RUN_COLUMNS, dataset)
    curves = _read(problem, stage, "curves.parquet", CURVE_COLUMNS)
    figures = runs.loc[~runs["diverged"].astype(bool), list(FIGURES)]
    if not np.isfinite(figures.to_numpy(float)).all():
        raise _unusable(problem, stage, "runs.parquet", "has no finite loss for a run that did not diverge")
    if set(curves["run"]) != set(runs["run"]) or runs["run"].duplicated().any():
        raise _unusable(problem, stage, "curves.parquet", "has other runs than runs.parquet")
    return runs, curves


def _read(problem: str, stage: str, name: str, columns: Sequence[str], dataset: str | None = None) -> pd.DataFrame:
    """A table of a stage, with its columns, and of that dataset."""
    found = read_parquet(stage_path(problem, stage, name), f"{stage}@{problem}")
    if list(found) != list(columns):
        odd = sorted({*found} ^ {*columns}) or ["their order"]
        raise _unusable(problem, stage, name, f"has other columns than this version writes ({', '.join(odd[:3])})")
    of = set(found[DATASET]) if DATASET in found else {found.attrs.get(DATASET)}
    if dataset is not None and len(found) and of != {dataset}:
        raise _unusable(problem, stage, name, f"is of another dataset than {dataset_path(problem)}")
    return found


def _unusable(problem: str, stage: str, name: str, wrong: str) -> ResultsError:
    """A file is not as its stage wrote it, or cannot be read."""
    return ResultsError(f"{stage_path(problem, stage, name)} {wrong}; `dvc repro -f -s {stage}@{problem}` writes it anew")


def read_weights(problem: str, stage: str) -> bytes:
    """``weights.safetensors`` of a stage: those of its best run."""
    try:
        return stage_path(problem, stage, "weights.safetensors").read_bytes()
    except OSError as error:
        raise _unusable(problem, stage, "weights.safetensors", f"cannot be read ({error})") from None


def run_of(weights: bytes) -> str:
    """The fingerprint of the run whose weights a safetensors file holds; empty where all runs diverged."""
    size = int.from_bytes(weights[:8], "little")  # of the header, JSON
    return str(json.loads(weights[8 : 8 + size])["__metadata__"]["run"])


def read_sweep(problem: str, dataset: str | None = None) -> pd.DataFrame:
    """``runs.parquet`` of stage sweep."""
    return _read(problem, "sweep", "runs.parquet", SWEEP_COLUMNS, dataset)


def read_tuning(problem: str, dataset: str | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``trials.parquet`` and ``importances.parquet`` of stage tune."""
    trials = _read(problem, "tune", "trials.parquet", TRIAL_COLUMNS, dataset)
    return trials, _read(problem, "tune", "importances.parquet", IMPORTANCE_COLUMNS, dataset)


def read_reruns(problem: str, dataset: str | None = None) -> pd.DataFrame:
    """``reruns.parquet`` of stage tune."""
    return _read(problem, "tune", "reruns.parquet", RERUN_COLUMNS, dataset)


def read_best(problem: str) -> dict[str, dict[str, Any]]:
    """``best.yaml``: scheduler → recommended configuration."""
    path, source = stage_path(problem, "tune", "best.yaml"), f"tune@{problem}"
    with reading(path, source):
        text = path.read_text("utf-8")
        best = YAML(typ="safe", pure=True).load(text)
    first = text.partition("\n")[0]
    refuse_foreign(path, first.removeprefix("# ") if first.startswith("# ") else None, source)
    if not isinstance(best, dict):
        raise _unusable(problem, "tune", "best.yaml", "holds no configurations by label")
    return best


def read_schedules(problem: str) -> dict[str, Schedule]:
    """The recommended configurations; :class:`ResultsError` where ``best.yaml`` holds anything else."""
    try:
        return {label: Schedule.model_validate(entry, context=CATALOGUE) for label, entry in read_best(problem).items()}
    except ValidationError as error:
        wrong = f"does not hold configurations as params.yaml has them ({error.errors()[0]['msg']})"
        raise _unusable(problem, "tune", "best.yaml", wrong) from None


def read_findings(problem: str) -> list[dict[str, Any]]:
    """``findings.json`` of stage train: the traps in the problem's schedules, one mapping each."""
    path = stage_path(problem, "train", "findings.json")
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable(problem, "train", "findings.json", f"cannot be read ({error})") from None
    refuse_foreign(path, found.get(SIGNED) if isinstance(found, dict) else None, f"train@{problem}")
    findings: list[dict[str, Any]] = found["findings"]
    return findings


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
    identity = pd.DataFrame(described)[["run", "variant", "scheduler", "seed", "stream"]]
    rows = identity.loc[identity.index.repeat(epochs)].reset_index(drop=True)
    rows["epoch"] = np.tile(np.arange(1, epochs + 1), len(identity))
    for name in CURVES:
        rows[name] = getattr(history.curves, name).T.reshape(-1)
    return rows[list(CURVE_COLUMNS)]
