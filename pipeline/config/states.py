"""What in a training process has a state that it goes on with, and whether a checkpoint would hold all of it.

Seen is what was built before the first epoch: optimizers that step, modules that change, averages of weights, gradient
scalers. Needs torch alone.
"""

import gc
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

KINDS = (Optimizer, nn.Module, GradScaler)


def alive() -> list[Any]:
    """All objects of the process that may have a state, by their class: asked themselves, some objects would do things."""
    return [each for each in gc.get_objects() if issubclass(type(each), KINDS)]


def others_than(optimizer: Optimizer, things: Iterable[Any]) -> list[Optimizer]:
    """The other optimizers among them; those that train nothing else, as one within another does, are none."""
    own, optimizers = set(map(id, parameters_of(optimizer))), [each for each in things if isinstance(each, Optimizer)]
    return [each for each in optimizers if not own.issuperset(map(id, parameters_of(each)))]


def parameters_of(optimizer: Any) -> Iterator[Tensor]:
    """Those that it trains; none of what is no optimizer."""
    return (parameter for group in getattr(optimizer, "param_groups", ()) for parameter in group["params"])


def state_of(part: Any) -> Any:
    """What a checkpoint holds of it."""
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


class States:
    """What of the ``things`` that there are as the first epoch begins has a state, beside the ``parts`` that are kept."""

    def __init__(self, parts: Mapping[str, Any], things: Iterable[Any]) -> None:
        modules = [each for each in things if isinstance(each, nn.Module)]
        self._parts, self._scalers = parts, [each for each in things if isinstance(each, GradScaler)]
        inner = {id(child) for module in modules for child in module.children()}
        kept = self._kept()
        self._before = [(root, _figures(root, kept)) for root in modules if id(root) not in inner]

    def lost(self, stepped: Iterable[Optimizer]) -> list[str]:
        """What a run that goes on from the parts would begin anew, by name; of the optimizers only those that ``stepped``."""
        kept = self._kept()
        modules = [root for root, before in self._before if _moves(root, kept) or _figures(root, kept) != before]
        known = kept | {_place(tensor) for root in modules for tensor in _tensors(root)}
        own = {id(parameter) for part in self._parts.values() for parameter in parameters_of(part)}
        found = list(map(_named, modules))
        for optimizer in stepped:
            if not own.issuperset(map(id, parameters_of(optimizer))):
                found.append(_named(optimizer))
            if not known.issuperset(map(_place, parameters_of(optimizer))):
                found.append(f"the parameters of {_named(optimizer)}")
        scalers = [scaler for scaler in self._scalers if scaler.is_enabled()]
        return found + [_named(each) for each in scalers if not any(each is part for part in self._parts.values())]

    def _kept(self) -> set[int]:
        """Where the tensors lie that the parts' states hold."""
        return {_place(tensor) for part in self._parts.values() for tensor in _inside(state_of(part))}


def _moves(module: nn.Module, kept: set[int]) -> bool:
    """Whether it is an average of weights, which may begin to change late."""
    return isinstance(module, AveragedModel) and not kept.issuperset(map(_place, _tensors(module)))


def _figures(module: nn.Module, kept: set[int]) -> list[str]:
    """What shows a change of its tensors, without those that are kept."""
    return [_sum(tensor) for tensor in _tensors(module) if _place(tensor) not in kept]


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    """Those of its state."""
    for each in module.modules():
        yield from each.parameters(recurse=False)
        passing = getattr(each, "_non_persistent_buffers_set", ())
        yield from (buffer for name, buffer in each.named_buffers(recurse=False) if name not in passing)


def _sum(tensor: Tensor) -> str:
    numbers = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    try:
        return str(
            float(numbers.sum(dtype=torch.float32 if tensor.device.type == "mps" else torch.float64))
        )  # which has no more
    except Exception:  # noqa: BLE001  # of tensors without numbers: on no device, not initialised
        return ""


def _place(tensor: Tensor) -> int:
    try:
        return int(tensor.data_ptr())
    except Exception:  # noqa: BLE001  # of a kind that has none
        return 0


def _inside(state: Any) -> Iterator[Tensor]:
    """The tensors in a state."""
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping | list | tuple):
        for each in state.values() if isinstance(state, Mapping) else state:
            yield from _inside(each)


def _named(thing: Any) -> str:
    """By the script's own name for it, where it has one, and its kind."""
    kind, own = type(thing).__name__, vars(sys.modules["__main__"])
    name = next((name for name, value in list(own.items()) if value is thing), "")
    return f"{name} ({kind})" if name else kind
