"""The device that ``device:`` in params.yaml asks for, and the cores beside it."""

import os

import torch

from pipeline.config.params import placed_in

EXECUTOR = "PIPELINE_EXECUTOR"
"""The variable that names who trains, as :mod:`pipeline.runs.executor` reads it."""
LOCAL = ("local", "fork")
"""What it may begin with, before a colon, where that is this machine; all else is a cluster."""


def available() -> list[str]:
    """The names of this machine's devices."""
    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return names


def find_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first GPU there is, else the CPU.

    :class:`pipeline.config.errors.ParamsError` where it is not on this machine, which must be able to train: on a cluster
    others do.
    """
    names = available()
    if name == "auto":
        return torch.device(names[1] if len(names) > 1 else "cpu")
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in names and (os.environ.get(EXECUTOR) or LOCAL[0]).partition(":")[0] in LOCAL:
        raise placed_in([(("device",), name, "is not on this machine", f"write auto or one of {', '.join(names)}")])
    return torch.device(wanted)


def cores() -> int:
    """Cores that this process may use; ``PIPELINE_CORES`` says of fewer that they are its share."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, int(os.environ.get("PIPELINE_CORES") or there))
