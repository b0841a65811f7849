"""Where the time of a whole study goes, stage by stage, by the clock.

``python -m benchmarks.where``: the stages of the default study one after the other in a folder of their own, from nothing (no
code compiled before is used), each as a process like DVC's, and the seconds it spends in each of the ``PARTS``. What is left
is everything else: reading and writing files, MLflow beyond what goes on beside training, the report. DVC's own time is not
in it.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ruamel.yaml import YAML

from benchmarks.defaults import ROOT, default_params
from benchmarks.machine import conditions

PARTS: dict[str, Sequence[tuple[str, str, str]]] = {
    "training": (
        ("pipeline.engine.lanes.program", "LaneProgram", "train"),
        ("pipeline.engine.lanes.program", "LaneProgram", "evaluate"),
        ("pipeline.engine.tensors", "TensorProgram", "train"),
        ("pipeline.engine.tensors", "TensorProgram", "evaluate"),
    ),
    "compiling": (("pipeline.engine.lanes.program", "", "kept"),),
    "replaying": (("pipeline.engine.rates", "Rates", "__init__"),),
    "asking": (("pipeline.search.study", "Study", "ask"), ("pipeline.search.importances", "", "_of")),
    "Optuna's journal": (("pipeline.search.storage", "", "write"),),
}
"""What is told apart: module, class (none for a function) and function of each."""
PREPARED = ("train", "tune", "report")
"""Stages that talk to MLflow."""
STAGES = ("dataset", "train", "tune", "sweep")
COLUMNS = ("imports", *PARTS, "all else", "in all")


def main() -> None:
    """Print one row per stage, or in a process of its own run one and write down its seconds."""
    if len(sys.argv) > 1:
        run_stage(sys.argv[1], sys.argv[3:], Path(sys.argv[2]))
        return
    params = default_params()
    print(f"{conditions()}; seconds")
    print(f"| stage | {' | '.join(COLUMNS)} |")
    print(f"|---{'|---' * len(COLUMNS)}|")
    total: dict[str, float] = defaultdict(float)
    with TemporaryDirectory() as scratch:
        for stage, problem in [*((s, p) for s in STAGES for p in params["problems"]), ("report", "")]:
            found = seconds_of(Path(scratch), params, stage, problem)
            for column in COLUMNS:
                total[column] += found[column]
            print_row(f"{stage}@{problem}".rstrip("@"), found)
    print_row("all", total)
    rest = total["in all"] - total["training"] - total["compiling"]
    print(f"\nNeither training nor compiling: {rest:.0f} s.")


def print_row(name: str, found: dict[str, float]) -> None:
    """A row of seconds."""
    print(f"| {name} | {' | '.join(f'{found[column]:.1f}' for column in COLUMNS)} |", flush=True)


def seconds_of(folder: Path, params: dict[str, Any], stage: str, problem: str) -> dict[str, float]:
    """Run a stage as DVC would, and the seconds of each column."""
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    told = folder / "told.json"
    stores = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OPTUNA_STORAGE": str(folder / "journal")}
    environment = {**os.environ, **stores, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "benchmarks.where", stage, str(told), *([problem] if problem else [])]
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    whole = time.perf_counter() - begun
    found: dict[str, float] = json.loads(told.read_text(encoding="utf-8"))
    inside = sum(found[part] for part in PARTS)
    return {**found, "imports": whole - found["main"], "all else": found["main"] - inside, "in all": whole}


def run_stage(stage: str, arguments: Sequence[str], told: Path) -> None:
    """The stage in this process, with a clock around each part."""
    module, tracking = (importlib.import_module(f"pipeline.{name}") for name in (f"stages.{stage}", "tracking"))
    if stage in PREPARED:
        tracking.prepare()
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    for part, places in PARTS.items():
        for name, kind, function in places:
            if name in sys.modules:
                home = getattr(sys.modules[name], kind) if kind else sys.modules[name]
                setattr(home, function, clocked(getattr(home, function), seconds, part))
    begun = time.perf_counter()
    module.main(*arguments)
    seconds["main"] = time.perf_counter() - begun
    told.write_text(json.dumps(seconds), encoding="utf-8")


def clocked(function: Callable[..., Any], seconds: dict[str, float], part: str) -> Callable[..., Any]:
    """The function, its time added to that of its part."""

    def call(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            seconds[part] += time.perf_counter() - begun

    return call


if __name__ == "__main__":
    main()
