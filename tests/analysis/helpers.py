"""What the tests of a winner's script ask of it."""

import inspect
from typing import Any

import torch


def program(source: str) -> dict[str, Any]:
    """The script's names, as its import would give them."""
    namespace: dict[str, Any] = {"__name__": "best"}
    exec(compile(source, "best.py", "exec"), namespace)
    return namespace


def rates_of(source: str, steps_per_epoch: int = 1) -> list[float]:
    """The learning rate of each epoch's first step; the first alone of a schedule that watches a figure."""
    names = program(source)
    is_per_batch = '"interval": "step"' in source
    every = steps_per_epoch if is_per_batch else 1
    optimizer = names["new_optimizer"]([torch.zeros(1, 1, requires_grad=True)])
    asked = inspect.signature(names["new_scheduler"]).parameters
    steps = names["EPOCHS"] * every
    scheduler = names["new_scheduler"](optimizer, steps) if len(asked) > 1 else names["new_scheduler"](optimizer)
    found = [optimizer.param_groups[0]["lr"]]
    if "scheduler.step()" in source:
        for _ in range(steps - 1):
            optimizer.step()
            scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
    return found[::every]
