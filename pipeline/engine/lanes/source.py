"""The C text of a problem's training step and evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.func import functionalize
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from pipeline.engine.compiler import Machine
from pipeline.engine.lanes.decompositions import DECOMPOSITIONS
from pipeline.engine.lanes.layers import named_layers
from pipeline.engine.lanes.translate import KNOWN, WHOLE, Translator
from pipeline.engine.lanes.values import UntranslatableError, Value, stored
from pipeline.engine.program import Runs

Function = Callable[..., tuple[Tensor, ...]]
EVALUATED = 64
"""Samples in a step of an evaluation."""
C_OF = {torch.float32: "float", torch.float64: "double", torch.int64: "int64_t"}


@dataclass(frozen=True)
class Traced:
    """What is compiled: functions of one run, and examples of what they are called with.

    ``step(state, numbers, x, y, weights) -> (*state, loss)``, ``evaluation(state, x, y, weights) -> (loss, metric)``, with
    ``state`` a list of tensors, x (samples, *shape), y (samples, …), weights (samples,).
    """

    step: Function
    evaluation: Function
    state: Sequence[Tensor]
    numbers: Tensor
    batch: tuple[Tensor, Tensor, Tensor]
    evaluated: tuple[Tensor, Tensor, Tensor]


def source(traced: Traced, here: Machine) -> str:
    """The C text; raises :class:`pipeline.engine.lanes.values.UntranslatableError`."""
    dtype = traced.state[0].dtype
    updated = [f"(next + {place} * LANES)" for place in _places(traced.state)]
    step = _translated(traced.step, (list(traced.state), traced.numbers, *traced.batch), [*updated, "loss"], here)
    evaluation = _translated(traced.evaluation, (list(traced.state), *traced.evaluated), ["loss", "metric"], here)
    x, y, _ = traced.batch
    return Template(files(__package__).joinpath("lanes.c").read_text("utf-8")).substitute(
        real=C_OF[dtype],
        function="name##f" if dtype == torch.float32 else "name",
        input=C_OF[x.dtype],
        target=C_OF[y.dtype],
        lanes=lanes_of(dtype, here),
        batch=len(x),
        evaluated=len(traced.evaluated[0]),
        features=x[0].numel(),
        targets=y[0].numel(),
        state=sum(value.numel() for value in traced.state),
        kinds=len(traced.numbers),
        step=step.code(),
        evaluation=evaluation.code(),
        step_scratch=step.scratch,
        evaluation_scratch=evaluation.scratch,
    )


def lanes_of(dtype: torch.dtype, here: Machine) -> int:
    """Runs in a block."""
    return here.vector // dtype.itemsize


def _places(state: Sequence[Tensor]) -> list[int]:
    """Where each tensor of the state begins, in elements."""
    places, end = [], 0
    for value in state:
        places.append(end)
        end += value.numel()
    return places


def _translated(function: Function, arguments: tuple[Any, ...], outputs: Sequence[str], here: Machine) -> Translator:
    module = _as_operations(function, arguments)
    state, *rest = arguments
    names = ["numbers", "x", "y", "w"][-len(rest) :]
    inputs: list[Value] = [
        stored(f"(state + {place} * LANES)", value.shape, "real", True)
        for value, place in zip(state, _places(state), strict=True)
    ]
    inputs += [
        stored(name, tensor.shape, WHOLE.get(tensor.dtype, "real"), name == "numbers")
        for name, tensor in zip(names, rest, strict=True)
    ]
    return Translator(module, inputs, outputs, here.registers, state[0].dtype)


def _as_operations(function: Function, arguments: tuple[Any, ...]) -> GraphModule:
    """The function as a list of operations; torch breaks up those that have no translation, where it can.

    Other overloads of those that have one it knows to bring to that one by itself.
    """
    known = {operation.overloadpacket for operation in KNOWN}
    table: Any = {operation: parts for operation, parts in decomposition_table.items() if _packet(operation) not in known}
    try:
        pure = functionalize(lambda *given: list(function(*given)), remove="mutations")
        module = make_fx(pure, decomposition_table=table | DECOMPOSITIONS)(*arguments)
    except UntranslatableError:
        raise
    except Exception as error:
        raise UntranslatableError(f"it cannot be traced ({' '.join(str(error).split())[:200]})") from error
    module.graph.eliminate_dead_code()
    return module


def traced(runs: Runs) -> Traced:
    """The runs' functions, with examples of what they are called with."""
    state = [torch.zeros_like(values[0]) for values in runs.state]
    ones = torch.ones(max(runs.batch_size, EVALUATED), dtype=state[0].dtype)
    batch, evaluated = (
        (
            torch.zeros(count, *runs.x.shape[1:], dtype=runs.x.dtype),
            torch.zeros(count, *runs.y.shape[1:], dtype=runs.y.dtype),
            ones[:count],
        )
        for count in (runs.batch_size, EVALUATED)
    )
    step = named_layers(runs.functions.model)(runs.functions.step)
    return Traced(step, runs.functions.evaluation, state, ones.new_zeros(runs.kinds), batch, evaluated)


def _packet(operation: Any) -> Any:
    """What all overloads of an operation have in common."""
    return getattr(operation, "overloadpacket", operation)
