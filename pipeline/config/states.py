"""What in a training process has a state that it goes on with, and whether a checkpoint would hold all of it.

Seen are optimizers that step, gradient scalers, modules that change, and copies of the weights in modules, dictionaries and
lists: averages, and those of the best epoch. Needs torch alone.
"""

import gc
import random
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from traceback import walk_stack
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

KINDS = (Optimizer, nn.Module, GradScaler)
CONTAINERS = (dict, OrderedDict, list)


def others_than(optimizer: Optimizer, things: Iterable[Any]) -> list[Optimizer]:
    """The other optimizers among them; those that train nothing else, as one within another does, are none."""
    own, optimizers = set(map(id, parameters_of(optimizer))), [each for each in things if isinstance(each, Optimizer)]
    return [each for each in optimizers if not own.issuperset(map(id, parameters_of(each)))]


def parameters_of(optimizer: Any) -> Iterator[Tensor]:
    """Those that it trains; none of what is no optimizer."""
    return (parameter for group in getattr(optimizer, "param_groups", ()) for parameter in group["params"])


def has_state(part: Any) -> bool:
    """Whether it can be kept, and gone on with."""
    return isinstance(part, torch.Generator | dict | list) or (hasattr(part, "state_dict") and hasattr(part, "load_state_dict"))


def state_of(part: Any) -> Any:
    """What a checkpoint holds of it."""
    if isinstance(part, dict):
        return dict(zip(part, state_of(list(part.values())), strict=True))
    if isinstance(part, list):
        kind: Any = getattr(sys.modules.get("numpy"), "generic", ())  # which nobody reads without running code
        return [each.item() if isinstance(each, kind) else each for each in part]
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def load(part: Any, state: Any) -> None:
    """Go on with what :func:`state_of` gave; a tensor goes where the one is that it replaces, and a parameter stays itself."""
    if isinstance(part, dict | list):
        now, then = (dict(each if isinstance(each, dict) else enumerate(each)) for each in (part, state))
        for key, tensor in now.items():
            if isinstance(tensor, Tensor) and isinstance(then.get(key), Tensor):
                is_parameter = tensor.requires_grad and tensor.is_leaf  # which an optimizer and others hold, too
                then[key] = _filled(tensor, then[key]) if is_parameter else then[key].to(tensor.device)
        part.clear()
        part.update(then) if isinstance(part, dict) else part.extend(then.values())
    elif isinstance(part, torch.Generator):
        part.set_state(state)
    else:
        part.load_state_dict(state)


def _filled(parameter: Tensor, values: Tensor) -> Tensor:
    parameter.data.copy_(values)
    return parameter


def trained(parts: Iterable[Any]) -> list[Tensor]:
    """The parameters of modules and optimizers: batches left over at an epoch's end leave gradients for the next step."""
    found = [each.parameters() if isinstance(each, nn.Module) else parameters_of(each) for each in parts]
    return list(dict.fromkeys(parameter for each in found for parameter in each))


def generators() -> dict[str, Any]:
    """The states of torch's, numpy's and Python's own generators, as tensors and plain values."""
    found: dict[str, Any] = {"torch": torch.get_rng_state(), "python": random.getstate()}
    if torch.cuda.is_available():
        found["cuda"] = torch.cuda.get_rng_state_all()
    if "numpy" in sys.modules:
        kind, keys, *rest = sys.modules["numpy"].random.get_state()
        found["numpy"] = [kind, keys.tolist(), *rest]
    return found


def set_generators(states: Mapping[str, Any]) -> None:
    """Go on with what :func:`generators` gave."""
    torch.set_rng_state(states["torch"])
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
    if "numpy" in states:
        import numpy as np

        np.random.set_state(tuple(states["numpy"]))


class States:
    """What has a state beside the ``parts`` that are kept, from the first epoch on."""

    def __init__(self, parts: Mapping[str, Any]) -> None:
        self._parts = parts
        kept = self._kept()
        modules = [each for each in parts.values() if isinstance(each, nn.Module)]
        every = [weights for each in modules for weights in (list(_tensors(each)), trained([each]))]
        every += [[each for each in some if each.requires_grad] for some in every]
        self._shapes = [[each.shape for each in some] for some in every if some]
        # With the things themselves: nothing that is made later has the id of one of them.
        self._before = {id(each): (each, _figures(each, kept)) for each in self._holders(_alive())}

    def lost(self, stepped: Iterable[Optimizer]) -> list[str]:
        """What a run that goes on from the parts would begin anew, by name; of the optimizers only those that ``stepped``."""
        kept, things = self._kept(), _alive()
        holders = [each for each in self._holders(things) if self._is_lost(each, kept)]
        known = kept | {_place(tensor) for each in holders for tensor in _tensors(each)}
        own = {id(parameter) for part in self._parts.values() for parameter in parameters_of(part)}
        found = list(map(_named, holders))
        for optimizer in stepped:
            if not own.issuperset(map(id, parameters_of(optimizer))):
                found.append(_named(optimizer))
            if not known.issuperset(map(_place, parameters_of(optimizer))):
                found.append(f"the parameters of {_named(optimizer)}")
        scalers = [each for each in things if isinstance(each, GradScaler) and each.is_enabled()]
        return found + [_named(each) for each in scalers if not any(each is part for part in self._parts.values())]

    def _holders(self, things: Iterable[Any]) -> list[Any]:
        """Modules that are in no other, and containers with a copy of the model's weights."""
        modules = [each for each in things if isinstance(each, nn.Module)]
        inner = {id(each) for module in modules for each in (*module.children(), module._parameters, module._buffers)}
        copies = [each for each in things if isinstance(each, CONTAINERS) and self._is_copy(each)]
        return [each for each in (*modules, *copies) if id(each) not in inner]

    def _is_copy(self, holder: Any) -> bool:
        return [each.shape for each in _tensors(holder)] in self._shapes

    def _is_lost(self, holder: Any, kept: set[int]) -> bool:
        """An average of weights may begin to change late; of what is made later only copies of the model have a state."""
        now = _figures(holder, kept)
        if id(holder) not in self._before:
            return bool(now) and self._is_copy(holder)
        return now != self._before[id(holder)][1] or (isinstance(holder, AveragedModel) and bool(now))

    def _kept(self) -> set[int]:
        """Where the tensors lie that a checkpoint holds: the parts' states, and gradients."""
        gradients = (each.grad for each in trained(self._parts.values()) if each.grad is not None)
        return {_place(tensor) for tensor in (*_inside(list(map(state_of, self._parts.values()))), *gradients)}


def _alive() -> list[Any]:
    """All objects of the process that may have a state, by their class: asked themselves, some objects would do things."""
    gc.collect()
    found = (each for each in gc.get_objects() if issubclass(type(each), KINDS) or (type(each) in CONTAINERS and each))
    return [each for each in found if type(each) not in CONTAINERS or all(issubclass(type(x), Tensor) for x in _tensors(each))]


def _figures(holder: Any, kept: set[int]) -> list[str]:
    """What shows a change of its tensors, without those that are kept."""
    return [_sum(tensor) for tensor in _tensors(holder) if _place(tensor) not in kept]


def _tensors(holder: Any) -> Iterator[Tensor]:
    """Those of its state."""
    if not isinstance(holder, nn.Module):
        yield from list(holder.values() if isinstance(holder, dict) else holder)  # another thread may be at it
        return
    for each in holder.modules():
        yield from each.parameters(recurse=False)
        passing = getattr(each, "_non_persistent_buffers_set", ())
        yield from (buffer for name, buffer in each.named_buffers(recurse=False) if name not in passing)


def _sum(tensor: Tensor) -> str:
    numbers = torch.view_as_real(tensor.detach()) if tensor.is_complex() else tensor.detach()
    try:
        return str(float(numbers.sum(dtype=torch.float32 if tensor.device.type == "mps" else torch.float64)))  # it has no more
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
    kind, frames = type(thing).__name__, (frame for frame, _ in walk_stack(None))
    own = [frame.f_locals for frame in frames if not frame.f_globals["__name__"].startswith("pipeline.")]
    for name, value in (pair for names in own for pair in list(names.items())):
        inside = getattr(value, "__dict__", {})
        for path, each in [("", value), *((f".{key}", each) for key, each in list(inside.items()))]:
            if each is thing:
                return f"{name}{path} ({kind})"
    return kind
