"""What the tests of a winner's script ask of it."""

from typing import Any

import torch


def program(source: str) -> dict[str, Any]:
    """The script's names, as its import would give them."""
    namespace: dict[str, Any] = {"__name__": "best"}
    exec(compile(source, "best.py", "exec"), namespace)
    return namespace


def rates_of(source: str) -> list[float]:
    """The learning rate of each epoch's first step; the first alone of a schedule that watches a figure."""
    names = program(source)
    every = names.get("STEPS_PER_EPOCH", 1)
    if "RATES" in names:
        table: list[float] = names["RATES"]
        return table[::every]
    optimizer = names["new_optimizer"]([torch.zeros(1, 1, requires_grad=True)])
    scheduler, found = names["new_scheduler"](optimizer), [optimizer.param_groups[0]["lr"]]
    if "scheduler.step()" in source:
        for _ in range(names["EPOCHS"] * every - 1):
            optimizer.step()
            scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
    return found[::every]
