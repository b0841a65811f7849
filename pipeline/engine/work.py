"""How much a model computes at a time: much of it keeps a core busy, however few runs are trained."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pipeline.problems.problem import Problem

SAMPLES = 2
"""Samples that the model is applied to: of one there are no statistics."""


def multiplications(problem: Problem) -> float:
    """Multiplications in one matrix product, or convolution, of the model's forward for a batch: their mean."""
    model, x = problem.new_model(0, "final").eval(), torch.tensor(problem.data.samples([0]).x[:SAMPLES])
    with _Products() as products:  # gradients are on, or torch takes an encoder's layer as a whole
        model(x)
    found = products.multiplications
    mean: float = sum(found) / max(len(found), 1)
    return mean * problem.params.batch_size / len(x)


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts those of each product that is computed in the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiplications: list[float] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        if function.overloadpacket in flop_registry:
            operations = flop_registry[function.overloadpacket](*args, **kwargs, out_val=found)
            self.multiplications.append(operations / 2)
        return found
