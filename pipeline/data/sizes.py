"""What a study takes of memory at the least, told before any of it is allocated.

Estimates from below: what they refuse cannot be done on this machine, and what they let pass may still be too much.
"""

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from pipeline.config.components import Component
from pipeline.config.params import Params, refuse
from pipeline.config.wording import in_bytes
from pipeline.data.reading import files_of
from pipeline.problems.dataset import Dataset
from pipeline.problems.models import models

NUMBER, TEXT, TRIAL = 25, 3, 1000
"""Bytes of memory for a number of a drawn dataset, for a byte of a file that is read, and for a trial of a study."""
STATE = 16
"""Bytes for a parameter in training: itself, its gradient, and what is held before and after a step."""
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
    refuse(
        (loc, given, f"needs at least {in_bytes(needed)} of memory, and this machine has {in_bytes(there)}", right)
        for loc, given, needed, right in _needs(params)
        if needed > there
    )


def _needs(params: Params) -> Iterator[tuple[tuple[str, ...], Any, int, str]]:
    """Place, value, bytes and remedy of what is large."""
    for name, problem in params.problems.items():
        args, place = problem.dataset.args, ("problems", name, "dataset")
        if problem.dataset.name == "synthetic":
            rows = sum(args.get(part, 0) for part in ("train", "validation", "test", "spare"))
            size = f"{rows:,} samples of {args['features']:,} features"
            yield place, size, NUMBER * rows * args["features"], "write fewer samples or features"
        elif problem.dataset.name == "file":
            size_of_all = sum(file.stat().st_size for file in files_of(args["path"]))
            yield place, args["path"], TEXT * size_of_all, "give a part of the file's rows"
        labels, seeds = len(params.schedules(name)), params.seed_range.least
        trials = labels * seeds * params.tune.trials
        right = f"these are {labels} schedulers x {seeds:,} seeds x {params.tune.trials:,} trials; write fewer"
        yield ("tune", "trials"), f"{trials:,} trials of {name}", TRIAL * trials, right


def refuse_too_wide(model: Component, data: Dataset) -> None:
    """Raise :class:`ParamsError` where this machine's memory cannot hold the problem's model in training."""
    parameters = _parameters(model, data)
    if (needed := STATE * parameters) > (there := memory()):
        what = f"has {parameters:,} parameters, which need at least {in_bytes(needed)} in training"
        wrong = f"{what}, and this machine has {in_bytes(there)}"
        refuse([(("problems", data.name, "model"), model.name, wrong, "write a smaller one")])


def _parameters(component: Component, data: Dataset) -> int:
    """How many the model has; 0 where that is not known without making it."""
    try:
        with torch.device("meta"):  # where tensors have shapes and take no memory
            built = models[component.name].function(data.inputs, data.classes, **component.args)
        return sum(parameter.numel() for parameter in built.parameters())
    except Exception:  # noqa: BLE001  # a model of the user's own may know nothing of that device
        return 0
