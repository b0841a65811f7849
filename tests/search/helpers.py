"""A tiny problem to tune, in this process, in a real one, or in one that is killed at a chosen moment."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from unittest import mock

import optuna
import pandas as pd
from optuna.storages.journal import JournalFileBackend

from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import Params, load_params
from pipeline.problems.problem import Problem
from pipeline.runs.executor import Here
from pipeline.stages import dataset, tune
from pipeline.tracking import trackers
from tests.conftest import ROOT
from tests.problems.helpers import from_files

PARAMS = """\
device: cpu
seeds: 2
problems:
  tiny:
    dataset: {name: synthetic, train: 40, validation: 30, test: 30, features: 3, condition: 10}
    model: {name: linear}
    optimizer: {name: SGD, lr: 0.5}
    epochs: 4
    batch_size: 16
    schedulers: {}
schedulers:
  StepLR: {args: {step_size: 30%, gamma: 0.1}}
  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}
  ConstantLR: {args: {factor: 1.0}}
tune: {trials: 12, batch: 4, sampler: tpe, lr: {low: 1%, high: 1000%}}
report: {every: 1, baseline: ConstantLR}
"""
FILES = (
    "best.yaml", "curves.parquet", "importances.parquet", "reruns.parquet", "runs.parquet", "trials.parquet",
    "weights.safetensors",
)  # fmt: skip
Edit = tuple[str, str]


def edited(*edits: Edit) -> str:
    """The tiny params.yaml with some pieces replaced."""
    text = PARAMS
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def params(*edits: Edit) -> Params:
    """Write params.yaml into the working directory and load it."""
    Path("params.yaml").write_text(edited(*edits), encoding="utf-8")
    return load_params(CATALOGUE)


def problem(*edits: Edit) -> Problem:
    """The tiny problem with its data, which are written."""
    given = params(*edits)
    dataset.main("tiny")
    return from_files(given, "tiny")


@contextmanager
def shown_here(*names: str) -> Iterator[None]:
    """In the block, stages tell these trackers in the tests' own process, and no other: MLflow takes seconds to start."""
    told = {name: place for name, place in trackers.TRACKERS.items() if name in names}
    with mock.patch.object(trackers, "TRACKERS", told), mock.patch.object(trackers, "Processes", return_value=Here()):
        yield


def run_tune(*edits: Edit) -> pd.DataFrame:
    """Run the stage in this process and return its trials."""
    problem(*edits)
    with shown_here("Optuna's storage"):
        tune.main("tiny")
    return trials()


def trials() -> pd.DataFrame:
    return pd.read_parquet(files.stage_path("tiny", "tune", "trials.parquet"))


def contents(root: Path) -> dict[str, bytes]:
    """The files of the stage; all of them, or an error."""
    return {name: (root / "results/tiny/tune" / name).read_bytes() for name in FILES}


def journal(root: Path) -> dict[str, Any]:
    """All that Optuna shows of the studies in the journal, times and ids apart."""
    backend = JournalFileBackend(str(root / "optuna.journal"))
    return shown(optuna.storages.JournalStorage(backend))


def shown(storage: optuna.storages.BaseStorage) -> dict[str, Any]:
    return {
        study.study_name: (
            study.user_attrs,
            [
                (t.number, t.state.name, t.value, t.params, t.distributions, t.user_attrs, t.system_attrs)
                for t in storage.get_all_trials(study._study_id)
            ],
        )
        for study in storage.get_all_studies()
    }


def copy_inputs(source: Path, target: Path) -> Path:
    """A new working directory with the parameters and data of another."""
    target.mkdir()
    shutil.copy(source / "params.yaml", target)
    shutil.copytree(source / "data", target / "data")
    return target


def environment(root: Path) -> dict[str, str]:
    """For real processes: this code, one thread, and an MLflow that cannot be imported, which saves seconds."""
    broken = root / "without"
    broken.mkdir(exist_ok=True)
    (broken / "mlflow.py").write_text("raise ImportError('not in this test')\n", encoding="utf-8")
    search = os.pathsep.join([str(broken), str(ROOT)])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PYTHONPATH": search, "PATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def kill_family(pid: int) -> int:
    """SIGKILL a process and all that it began, also in sessions of their own; how many there were."""
    parent = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            parent[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for member in family:
        family += [each for each in parent if parent[each] == member]
    for member in family:  # at once: nobody can notice that another is gone
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGSTOP if member != os.getpid() else 0)
    for member in reversed(family):  # the caller, if it is one of them, last
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    return len(family)


class Workshop:
    """A process that has imported everything and tuned once; each run is a fork of it."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "workshop.py")],
            cwd=root, env=environment(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, root: Path, *, kill_at: int = 0, kill_after: float = 0.0) -> dict[str, Any]:
        """Tune in ``root``; killed, with all descendants, before the ``kill_at``-th change of a file, or after some seconds.

        Answers with ``signal``, ``code``, ``seconds``, ``error``, and the changes of files, ``events``, of a run that ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(root), kill_at, kill_after]), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer
