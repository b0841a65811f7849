"""A whole study here against what a user would write: Lightning with MLFlowLogger and Optuna, and a plain loop with both.

``python -m benchmarks.study``: for each problem, the stages ``dataset``, ``train`` and ``tune`` in a folder of their own from
nothing (importing, compiling what is not kept yet, mirroring to MLflow and Optuna, and the winners trained on all seeds are
in their time), and on the other sides the seconds of a logged run and of a trial, of a few of each with three schedulers,
times the numbers of them that the study has. Their imports and first run, and the best of each seed on all seeds, are
left out there.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.defaults import default_params
from benchmarks.environments import installed
from benchmarks.machine import conditions
from benchmarks.studies import study
from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.params import load_params

PROBLEMS = ("synthetic", "digits")
LOGGED, TRIALS = 6, 9
SIDES = ("lightning", "loop")
HERE = Path(__file__).parent


def main() -> None:
    """Print one row per problem."""
    python = installed("lightning")
    if python is None:
        sys.exit("the other sides could not be installed")
    params = default_params()
    print(f"{conditions()}; of the other sides {LOGGED} logged runs and {TRIALS} trials each, extrapolated to the study")
    print(
        "| problem | logged runs | trials | here | Lightning: a logged run, a trial | loop | Lightning / here | loop / here |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name in PROBLEMS:
        with TemporaryDirectory() as scratch:
            folder = Path(scratch)
            ours = seconds_here(folder / "here", {**params, "problems": {name: params["problems"][name]}})
            counts = counted(params, name)
            theirs = [seconds_there(python, side, folder, name) for side in SIDES]
        whole = [counts[0] * seconds["logged"] + counts[1] * seconds["trial"] for seconds in theirs]
        each = [
            f"{total / 60:,.0f} min: {s['logged']:.2f} s, {s['trial']:.2f} s" for total, s in zip(whole, theirs, strict=True)
        ]
        ratios = " | ".join(f"{total / ours:.0f}x" for total in whole)
        print(f"| {name} | {counts[0]} | {counts[1]} | {ours:.1f} s | {' | '.join(each)} | {ratios} |", flush=True)


def counted(params: dict[str, Any], name: str) -> tuple[int, int]:
    """Runs that are logged (as written, and the studies' winners), and trials."""
    labels = params["schedulers"] | (params["problems"][name].get("schedulers") or {})
    pairs = len(labels) * params["seeds"]
    return 2 * pairs, pairs * params["tune"]["trials"]


def seconds_here(folder: Path, params: dict[str, Any]) -> float:
    """The stages from nothing."""
    begun = time.perf_counter()
    study(folder, params)
    return time.perf_counter() - begun


def seconds_there(python: Path, side: str, folder: Path, name: str) -> dict[str, float]:
    """Seconds of a logged run and of a trial."""
    here = folder / "here"
    entry = load_params(CATALOGUE, here / "params.yaml").problems[name]
    given = {
        "data": str((here / files.dataset_path(name)).resolve()), "epochs": entry.epochs, "batch": entry.batch_size,
        "lr": float(entry.optimizer.args["lr"]), "logged": LOGGED, "trials": TRIALS,
        "hidden": (entry.model.args.get("hidden") or [0])[0], "inputs": 64 if name == "digits" else 10,
        "outputs": 10 if name == "digits" else 2,
        "mlflow": f"sqlite:///{folder}/{side}.db", "optuna": f"sqlite:///{folder}/{side}-optuna.db",
    }  # fmt: skip
    file = folder / f"{side}.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    command = [str(python), str(HERE / "study_side.py"), side, str(file)]
    done = subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
