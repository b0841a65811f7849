"""How much a model keeps and computes, as it is seen where it is applied to a few samples."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from pipeline.problems.problem import Problem


def activations(problem: Problem) -> int:
    """Numbers that the model's layers put out for one sample, the sample itself included; scripted layers are left out."""
    model, x = _model_and_samples(problem)
    found = [x.numel()]

    def count(layer: nn.Module, given: object, output: object) -> None:
        found.append(output.numel() if isinstance(output, Tensor) else 0)

    for layer in model.modules():
        if not isinstance(layer, torch.jit.ScriptModule) and not any(True for _ in layer.children()):  # it takes no hooks
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(x)
    return sum(found) // len(x)


def multiplications(problem: Problem) -> float:
    """Multiplications in one matrix product, or convolution, of the model's forward for a batch: their mean."""
    model, x = _model_and_samples(problem)
    with _Products() as products:  # gradients are on, or torch takes an encoder's layer as a whole
        model(x)
    found = products.multiplications
    mean: float = sum(found) / max(len(found), 1)
    return mean * problem.params.batch_size / len(x)


def _model_and_samples(problem: Problem) -> tuple[nn.Module, Tensor]:
    """Two samples: of one there are no statistics."""
    return problem.new_model(0, "final").eval(), torch.tensor(problem.data.samples([0]).x[:2])


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts those of each product that is computed in the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiplications: list[float] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled in the block; else torch would import its compiler, for two seconds, to say so."""
        return False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = function(*args, **kwargs)
        if function.overloadpacket in flop_registry:
            operations = flop_registry[function.overloadpacket](*args, **kwargs, out_val=found)
            self.multiplications.append(operations / 2)
        return found
