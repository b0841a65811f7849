"""``python -m pipeline check``: whether params.yaml and the data and scripts that it names are right; a line where they are."""

import argparse
from collections.abc import Sequence

from pipeline.catalogue import CATALOGUE
from pipeline.config import terminal
from pipeline.config.params import Params, load_params
from pipeline.config.problem_params import ScriptParams
from pipeline.config.stages import stage_names
from pipeline.engine.device import find_device
from pipeline.problems.dataset import Dataset
from pipeline.problems.problem import Problem
from pipeline.runs.inspection import inspect
from pipeline.runs.unsearched import unsearched
from pipeline.stages.dataset import drawn, probed


def main(words: Sequence[str] = ()) -> None:
    """Say that all is right; a mistake is told with its place and its remedy, as the stages tell it."""
    parser = argparse.ArgumentParser("python -m pipeline check", description=__doc__)
    parser.add_argument("--all", action="store_true", help="name every argument that is not searched")
    asked = parser.parse_args(words)
    params = load_params(CATALOGUE)
    find_device(params.device)
    for name, problem in params.problems.items():
        if isinstance(problem, ScriptParams):
            probed(params, name, problem)
        else:
            data = Dataset.of(name, *drawn(params, name, terminal.tell))
            inspect(Problem.of(data, problem, params.schedules(name)))
    print(f"params.yaml is right: {told(params)}")
    print(f"not searched, but as written: {left_as_written(params, whole=asked.all)}")


def left_as_written(params: Params, *, whole: bool = False) -> str:
    """What no study tries, of all problems and schedulers, in a short line; with every argument if it is to be ``whole``."""
    schedules = {label: own for name in params.problems for label, own in params.schedules(name).items()}
    if whole:
        return unsearched(params.problems.values(), schedules)
    are_scripts = [isinstance(problem, ScriptParams) for problem in params.problems.values()]
    kept = ["epochs"]
    kept += [] if all(are_scripts) else ["batch_size", "model", "loss", "the optimizer's other arguments"]
    kept += ["all that a script settles itself"] * any(are_scripts)
    some = sum(unsearched([], {label: own}) != unsearched([], {}) for label, own in schedules.items())
    kept += [f"some arguments of {some} schedulers"] * bool(some)
    return f"{', '.join(kept)} (`python -m pipeline check --all` names them)"


def told(params: Params) -> str:
    """What params.yaml asks for, in a few words."""
    seeds, labels = params.seed_range, {label for name in params.problems for label in params.schedules(name)}
    of_seeds = f"{seeds.least}" if seeds.least == seeds.most else f"{seeds.least} to {seeds.most}"
    problems, stages = len(params.problems), len(stage_names(params.problems))
    plural = "" if problems == 1 else "s"
    return (
        f"{problems} problem{plural}, {len(labels)} schedulers, {of_seeds} seeds, {params.tune.trials} trials, {stages} stages"
    )
