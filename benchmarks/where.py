"""Where the time of a whole study goes, stage by stage, by the clock.

``python -m benchmarks.where [PARAMS]``: ``dvc repro`` of the default study, or of that in another params.yaml, in a folder of
its own, from nothing (no code compiled before is used), and the seconds that the process of each stage spends in each of the
``PARTS``. Beginning and ending it is mostly importing; what is left is everything else, such as reading and writing files, or
the report.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
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
    "waiting for trackers": (("pipeline.tracking.trackers", "Trackers", "close"),),
    "main": (("pipeline.cli", "", "run"),),
}
"""What is told apart: module, class (none for a function) and function of each."""
CLOCK = Path(__file__).parent / "clock"
NAMED = tuple(part for part in PARTS if part != "main")
COLUMNS = ("begin and end", *NAMED, "all else", "in all")


def main() -> None:
    """Print one row per stage, and one of DVC itself."""
    params = YAML(typ="safe").load(Path(sys.argv[1])) if sys.argv[1:] else default_params()
    print(f"{conditions()}; seconds")
    with TemporaryDirectory() as scratch:
        whole, stages = reproduced(Path(scratch), params)
    print(f"| stage | {' | '.join(COLUMNS)} |")
    print(f"|---{'|---' * len(COLUMNS)}|")
    for name, found in stages.items():
        print_row(name, found)
    total = {column: sum(found[column] for found in stages.values()) for column in COLUMNS}
    print_row("DVC itself", {"all else": whole - total["in all"], "in all": whole - total["in all"]})
    total["all else"] += whole - total["in all"]
    print_row("all", {**total, "in all": whole})
    print(f"\nNeither training nor compiling: {whole - total['training'] - total['trying out and compiling']:.0f} s.")


def print_row(name: str, found: dict[str, float]) -> None:
    """A row of seconds."""
    print(f"| {name} | {' | '.join(f'{found.get(column, 0.0):.1f}' for column in COLUMNS)} |")


def reproduced(folder: Path, params: dict[str, Any]) -> tuple[float, dict[str, dict[str, float]]]:
    """The seconds of a ``dvc repro`` from nothing, and those of each column in each of its stages."""
    told = folder / "told"
    told.mkdir()
    shutil.copytree(ROOT / "pipeline", folder / "pipeline")
    for name in ("dvc.yaml", "constraints.txt", "requirements.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "inputs").mkdir()
    with (folder / "params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "OPTUNA_STORAGE": str(folder / "journal"),
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(CLOCK), str(folder)]),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CLOCKS": json.dumps(PARTS),
        "CLOCKED": str(told),
    }
    call = partial(
        subprocess.run, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    call([programs / "dvc", "init", "--no-scm"])
    begun = time.perf_counter()
    call([programs / "dvc", "repro"])
    whole = time.perf_counter() - begun
    processes = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in told.iterdir()}
    return whole, {name: columns(found) for name, found in sorted(processes.items(), key=lambda item: item[1]["begun"])}


def columns(found: dict[str, float]) -> dict[str, float]:
    """What a process told, as the columns of its row."""
    whole = found["ended"] - found["begun"]
    inside = sum(found[part] for part in NAMED)
    return {**found, "begin and end": whole - found["main"], "all else": found["main"] - inside, "in all": whole}


if __name__ == "__main__":
    main()
