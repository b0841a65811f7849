"""Whole studies through the pipeline's own stages, in a folder of their own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.defaults import ROOT
from pipeline.analysis.tables import ProblemResults
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import Params, load_params, working_in
from pipeline.stages.report import read

STAGES = ("dataset", "train", "tune")


def study(folder: Path, params: Mapping[str, Any], stages: Sequence[str] = STAGES) -> dict[str, ProblemResults]:
    """Run the stages of every problem as processes in ``folder`` and read what they wrote; what is there goes on."""
    prepare(folder, params, stages)
    with inside(folder) as loaded:
        return {problem: read(loaded, problem) for problem in loaded.problems}


def prepare(folder: Path, params: Mapping[str, Any], stages: Sequence[str]) -> None:
    """Run the stages of every problem as processes in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(dict(params), file)
    # Mirrors are for people to look at: these go where nobody does.
    unseen = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OPTUNA_STORAGE": str(folder / "journal")}
    for problem in params["problems"]:
        for stage in stages:
            command = [sys.executable, "-m", f"pipeline.stages.{stage}", problem]
            subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **unseen}, check=True)


@contextmanager
def inside(folder: Path) -> Iterator[Params]:
    """Work in ``folder``, with its parameters."""
    with working_in(folder):
        yield load_params(CATALOGUE)


def scratch(name: str) -> Path:
    """Where the study of that name lies: it can be interrupted and goes on."""
    return ROOT / files.STATE / "studies" / name
