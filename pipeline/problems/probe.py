"""A script tried out before anything is spent: a few steps of it, what they tell, and how long they take."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.config.files import STATE, json_file, store_root, write_files
from pipeline.config.problem_params import ScriptParams
from pipeline.problems.process import Line, lines_of
from pipeline.problems.scripts import INPUTS, Made, ScriptError, digests, placed, refuse_deaf, texts_in, told_optimizer

NEEDED = ("train_loss", "validation_loss")
AT = 0.9
"""The rate that a script is tried out at, as a share of the problem's: the first run shows whether it goes by that."""


@dataclass(frozen=True)
class Seconds:
    """How long a script takes: until its first step, for a step, and for what comes behind the steps of an epoch."""

    start: float
    step: float
    tail: float

    def of_run(self, epochs: int, steps_per_epoch: int) -> float:
        """A whole run."""
        return self.start + epochs * (steps_per_epoch * self.step + self.tail)


@dataclass(frozen=True)
class Probe:
    """What a problem's script is made of and tells, and how long it takes."""

    path: str
    made: Made
    seconds: Seconds
    epochs: int
    unnamed: tuple[str, ...] = ()
    """Files under ``inputs/`` that it read, and that no run follows from."""
    lost: tuple[str, ...] = ()
    """What has a state that ``trial.epochs`` was not handed."""
    written: tuple[str, ...] = ()
    """What it wrote there."""

    def __str__(self) -> str:
        """One line."""
        steps = self.made.steps_per_epoch
        run, told = self.seconds.of_run(self.epochs, steps), ", ".join(self.made.figures) or "no figures so soon"
        return (
            f"{self.path}: {self.made.optimizer.name}, {steps} steps in an epoch, {told}; "
            f"{self.seconds.step:.2g} s a step, {self.seconds.start:.2g} s to begin, about {run:.3g} s for a run"
        )


def probe(name: str, params: ScriptParams, device: str) -> Probe:
    """Start the script, let it make a few steps, and end it. What is wrong with it is told here, by a placed line."""
    script, begun = params.script, time.time()
    parts, lr = digests(name, script), float(params.optimizer.args["lr"])
    refuse_deaf(name, script, parts)
    known = _beside(script.path)
    start, times, figures = _tried(name, params, device, AT * lr, begun)
    if not start["steps_per_epoch"]:
        right = "call trial.scheduler(optimizer, steps_per_epoch=…), or write script.steps_per_epoch"
        raise ScriptError(placed(name, script, "tells nobody how many steps an epoch has", right))
    parts |= {f"package {package}": version for package, version in start.get("versions", {}).items()}
    steps, shares = int(start["steps_per_epoch"]), tuple(start.get("shares", ()))
    made = Made(name, parts, steps, told_optimizer(start, lr), figures, shares, times.get("others", {}))
    beside = _beside(script.path)
    written = tuple(sorted(place for place in beside if place not in known or _has_changed(beside[place], begun)))
    unnamed = tuple(place for place in _unnamed(start.get("opened", ()), parts) if place not in written)
    lost = tuple(times.get("lost", ()))
    found = Probe(script.path, made, _seconds(times, begun, made), params.epochs, unnamed, lost, written)
    write_files([(_place(name), json_file(vars(found.seconds)))])
    return found


def _tried(name: str, params: ScriptParams, device: str, lr: float, begun: float) -> tuple[Line, Line, tuple[str, ...]]:
    """What the script tells of itself and when it made its steps, as ``pipeline.trial`` says both; the names of its figures."""
    script, steps = params.script, params.script.steps_per_epoch
    asked: dict[str, Any] = {
        "problem": name, "label": "", "number": 0, "seed": 0, "split": 0, "epochs": params.epochs, "lr": lr,
        "device": device, "search": False, "args": script.args, "probe": True,
    }  # fmt: skip
    if steps:
        asked |= {"steps_per_epoch": steps, "rates": [lr] * steps * params.epochs}
    start: Line = {"steps_per_epoch": steps}
    times: Line = {"steps": [begun], "end": begun}
    figures: tuple[str, ...] = ()
    for line in lines_of(name, script, asked, _place(name).with_suffix("")):
        start = {**start, **line.get("start", {}), "opened": line.get("opened", ())}
        times = line.get("probe", times)
        if "epoch" in line:
            figures = tuple(key for key in line if key.startswith(("train_", "validation_")))
            if missing := [key for key in NEEDED if key not in figures]:
                right = f"every epoch needs {' and '.join(NEEDED)}"
                raise ScriptError(placed(name, script, f"tells no {missing[0]} of an epoch", right))
            if "probe" not in line and start.get("optimizer") is None:
                return start, {"steps": [begun], "end": time.time()}, figures  # a language without `trial`, which ends itself
    return start, times, figures


def _unnamed(opened: Sequence[str], parts: Mapping[str, str]) -> list[str]:
    """What was opened under ``inputs/``, or is named in the script, and no digest is of."""
    inputs, found = INPUTS.resolve(), set[str]()
    for place in [*map(Path, opened), *_mentioned(parts)]:
        own = place.relative_to(inputs) if place.is_relative_to(inputs) else Path()
        names = {own.as_posix(), *map(Path.as_posix, own.parents)}
        is_known = names & parts.keys() or any(Path(part).is_relative_to(own) for part in parts)
        if own.parts and not is_known and "__pycache__" not in own.parts:
            found.add(own.as_posix())
    return sorted(found)


def _beside(script: str) -> dict[str, Path]:
    """What lies where a script does, and in the folders above it up to ``inputs/``, by its name there."""
    near = (place for folder in Path(script).parents for place in (INPUTS / folder).iterdir())
    return {place.relative_to(INPUTS).as_posix(): place for place in near if place.name != "__pycache__"}


def _has_changed(place: Path, begun: float) -> bool:
    """Whether it is a file that was written since then, or a folder of one: that of a folder's own hangs on Python's cache."""
    files = (file for file in (place, *(place.iterdir() if place.is_dir() else ())) if file.is_file())
    return any(file.stat().st_mtime > begun for file in files)


def _mentioned(parts: Iterable[str]) -> Iterator[Path]:
    """The files and folders whose names are texts in a script or in its modules, seen from where scripts are run or lie."""
    for file in (INPUTS / part for part in parts if part.endswith(".py")):
        for text in texts_in(file):
            near = (folder / text for folder in (INPUTS, *file.parents) if folder.is_relative_to(INPUTS))
            yield from (place.resolve() for place in near if place.exists())


def seconds_of(name: str) -> Seconds | None:
    """How long the script of a problem took when it was last tried out; None where nobody did."""
    try:
        return Seconds(**json.loads(_place(name).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _place(name: str) -> Path:
    """Durations are no results: no two are the same."""
    return store_root() / STATE / "probes" / f"{name}.json"


def _seconds(times: Line, begun: float, made: Made) -> Seconds:
    steps = times["steps"]
    apart = [after - before for before, after in pairwise(steps)]
    if not apart:  # all that is known is an epoch
        return Seconds(0.0, 0.0, times["end"] - begun)
    return Seconds(steps[0] - begun, median(apart), times["end"] - steps[-1] if made.figures else 0.0)
