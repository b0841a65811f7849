"""What a study takes at the least, in memory and time, told before any of it is allocated.

Estimates from below: what they refuse cannot be done on this machine, and what they let pass may still be too much.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pipeline.config.params import Component, Params, placed_in
from pipeline.problems.dataset import Dataset
from pipeline.problems.models import models

NUMBER, TEXT, TRIAL = 25, 3, 1000
"""Bytes of memory for a number of a drawn dataset, for a byte of a file that is read, and for a trial of a study."""
STATE = 16
"""Bytes for a parameter in training: itself, its gradient, and what is held before and after a step."""
SPEED = 3e10
"""Weights × samples that a core trains in a second, at best."""
RUN = 5e-4
"""Seconds that any run takes at the least."""
LONG = 3600.0
"""Seconds from which it is said how long a study takes."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def memory() -> int:
    """Bytes that this process may have: the machine's, or what it is limited to."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limits += [limit for limit in resource.getrlimit(resource.RLIMIT_AS)[:1] if limit != resource.RLIM_INFINITY]
    if _CGROUP.exists() and (text := _CGROUP.read_text("utf-8").strip()).isdecimal():
        limits.append(int(text))
    return min(limits)


def refuse_too_large(params: Params) -> None:
    """Raise :class:`ParamsError` with every dataset and search that this machine's memory cannot hold."""
    there = memory()
    mistakes = [
        (loc, given, f"needs at least {_gigabytes(needed)} of memory, and this machine has {_gigabytes(there)}", right)
        for loc, given, needed, right in _needs(params)
        if needed > there
    ]
    if mistakes:
        raise placed_in(mistakes)


def _needs(params: Params) -> Iterator[tuple[tuple[str, ...], Any, int, str]]:
    """Place, value, bytes and remedy of what is large."""
    for name, problem in params.problems.items():
        args, place = problem.dataset.args, ("problems", name, "dataset")
        if problem.dataset.name == "synthetic":
            rows = sum(args.get(part, 0) for part in ("train", "validation", "test", "spare"))
            size = f"{rows:,} samples of {args['features']:,} features"
            yield place, size, NUMBER * rows * args["features"], "write fewer samples or features"
        elif problem.dataset.name == "file" and (file := Path("inputs") / args["path"]).is_file():
            yield place, args["path"], TEXT * file.stat().st_size, "give a part of the file's rows"
        labels, seeds = len(params.schedules(name)), params.seed_range.least
        trials = labels * seeds * params.tune.trials
        right = f"these are {labels} schedulers x {seeds:,} seeds x {params.tune.trials:,} trials; write fewer"
        yield ("tune", "trials"), f"{trials:,} trials of {name}", TRIAL * trials, right


def too_wide_or_long(params: Params, data: Dataset) -> str:
    """A line that says how long the problem's runs take at the least, where that is long.

    Raises :class:`ParamsError` where its model cannot be trained in this machine's memory.
    """
    parameters = _parameters(params.problem(data.name).model, data)
    if (needed := STATE * parameters) > (there := memory()):
        wrong = f"has {parameters:,} parameters, which need at least {_gigabytes(needed)} in training"
        place, given = ("problems", data.name, "model"), params.problem(data.name).model.name
        raise placed_in([(place, given, f"{wrong}, and this machine has {_gigabytes(there)}", "write a smaller one")])
    seeds, epochs = params.seed_range, params.problem(data.name).epochs
    runs = len(params.schedules(data.name)) * (seeds.least * (2 + params.tune.trials) + 2 * seeds.most)
    seconds = runs * max(RUN, epochs * data.train_size * parameters / SPEED) / len(os.sched_getaffinity(0))
    if seconds < LONG:
        return ""
    return f"its {runs:,} runs take at least {_time(seconds)}; fewer trials, seeds, epochs or schedulers take less"


def _parameters(component: Component, data: Dataset) -> int:
    """How many the model has; 0 where that is not known without making it."""
    try:
        with torch.device("meta"):  # where tensors have shapes and take no memory
            built = models[component.name].function(data.inputs, data.classes, **component.args)
        return sum(parameter.numel() for parameter in built.parameters())
    except Exception:  # noqa: BLE001  # a model of the user's own may know nothing of that device
        return 0


def _time(seconds: float) -> str:
    days = seconds / 86400
    if days < 2:
        return f"{24 * days:.0f} hours"
    return f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years"


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f} GB" if size >= 1e10 else f"{size / 1e9:.1f} GB"
