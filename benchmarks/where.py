"""Where the time of a whole study goes, stage by stage, by the clock.

``python -m benchmarks.where [PARAMS]``: the stages of the default study, or of that in another params.yaml, one after the other
in a folder of their own, from nothing (no code compiled before is used), each by DVC's own command, and the seconds its process
spends in each of the ``PARTS``. Beginning and ending it is mostly importing; what is left is everything else, such as reading
and writing files, or the report. DVC's own time is not in it.
"""

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
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
    "trying out and compiling": (("pipeline.engine.lanes.program", "", "kept"), ("pipeline.engine.stackable", "", "_tried")),
    "replaying": (("pipeline.engine.rates", "Rates", "__init__"),),
    "asking": (("pipeline.search.rounds", "", "_asked"),),
    "waiting for Optuna's storage": (("pipeline.search.storage", "Mirror", "close"),),
    "waiting for MLflow": (("pipeline.tracking", "Mirror", "close"), ("pipeline.tracking", "Publication", "publish")),
    "main": (("pipeline.cli", "", "run"),),
}
"""What is told apart: module, class (none for a function) and function of each."""
CLOCK = Path(__file__).parent / "clock"
STAGES = ("dataset", "train", "tune", "sweep")
NAMED = tuple(part for part in PARTS if part != "main")
COLUMNS = ("begin and end", *NAMED, "all else", "in all")


def main() -> None:
    """Print one row per stage."""
    params = YAML(typ="safe").load(Path(sys.argv[1])) if sys.argv[1:] else default_params()
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
    rest = total["in all"] - total["training"] - total["trying out and compiling"]
    print(f"\nNeither training nor compiling: {rest:.0f} s.")


def print_row(name: str, found: dict[str, float]) -> None:
    """A row of seconds."""
    print(f"| {name} | {' | '.join(f'{found[column]:.1f}' for column in COLUMNS)} |", flush=True)


def seconds_of(folder: Path, params: dict[str, Any], stage: str, problem: str) -> dict[str, float]:
    """Run a stage as DVC would, and the seconds of each column."""
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    told = folder / "told.json"
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "OPTUNA_STORAGE": str(folder / "journal"),
        "PYTHONPATH": os.pathsep.join([str(CLOCK), str(ROOT)]),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CLOCKS": json.dumps(PARTS),
        "CLOCKED": str(told),
    }
    command = [sys.executable, "-m", f"pipeline.stages.{stage}", *([problem] if problem else [])]
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL)
    whole = time.perf_counter() - begun
    found: dict[str, float] = json.loads(told.read_text(encoding="utf-8"))
    inside = sum(found[part] for part in NAMED)
    return {**found, "begin and end": whole - found["main"], "all else": found["main"] - inside, "in all": whole}


if __name__ == "__main__":
    main()
