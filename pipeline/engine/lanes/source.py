"""The C text of a problem's training step and evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from string import Template
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch.func import functionalize
from torch.fx import GraphModule

from pipeline.engine.compiler import Machine
from pipeline.engine.functions import Functions, State
from pipeline.engine.lanes.decompositions import DECOMPOSITIONS
from pipeline.engine.lanes.layers import named_layers
from pipeline.engine.lanes.translate import KNOWN, WHOLE, Translator
from pipeline.engine.lanes.values import UntranslatableError, Value, stored
from pipeline.engine.operations import as_operations
from pipeline.engine.program import Runs

Function = Callable[..., tuple[Tensor, ...]]
EVALUATED = 64
"""Samples in a step of an evaluation."""
IN_CACHE = 2**19
"""Bytes of a step's scratch memory that stay near a core beside the parameters: a fixed number, as results hang on it."""
LARGEST_PROGRAM = 3000
"""Operations of a step that are compiled: a recurrent layer has as many more as its sequence is longer."""
AVX = 32
"""Bytes in a vector of the processors that every rounding is written out for, so that a run alone may use other vectors."""
LARGEST_BLOCK = 2**30
"""Bytes that a block of runs may take, of which every core has one."""
C_OF = {torch.float32: "float", torch.float64: "double", torch.int64: "int64_t"}


@dataclass(frozen=True)
class Traced:
    """What is compiled: functions of one run, and examples of what they are called with.

    ``step(state, numbers, x, y, weights) -> (*state, loss)``, ``evaluation(state, x, y, weights) -> (loss, metric)``, with
    ``state`` a list of tensors, x (samples, *shape), y (samples, …), weights (samples,). Where a step may be made in parts, the
    sum of ``gradients(state, numbers, x, y, weights) -> (*gradients, loss)`` over parts of the batch is what
    ``update(state, gradients, numbers) -> state`` makes a step of; they are those of the ``parameters``, which begin the state.
    Of a part of a batch the last of ``numbers``, one more than a step has, is its first sample.
    """

    step: Function
    evaluation: Function
    state: Sequence[Tensor]
    numbers: Tensor
    batch: tuple[Tensor, Tensor, Tensor]
    evaluated: tuple[Tensor, Tensor, Tensor]
    gradients: Function | None = None
    update: Callable[..., Sequence[Tensor]] | None = None
    parameters: Sequence[Tensor] = ()


def source(traced: Traced, here: Machine, *, alone: bool = False) -> str:
    """The C text, of blocks of runs or of a run ``alone``, which computes the same to the last bit.

    Raises :class:`pipeline.engine.lanes.values.UntranslatableError`, of a run alone also where that cannot be promised.
    """
    dtype = traced.state[0].dtype
    step, tile, terms = _step(traced, here)
    evaluation, count = _evaluation(traced, here)
    exactly = dtype == torch.float32 and here.vector >= AVX
    found = [part.in_c(here, exactly=exactly, alone=alone) for part in (*step, evaluation)]
    if exactly and any("F(pow)" in each.code() for each in found):
        exactly, found = False, [part.in_c(here) for part in (*step, evaluation)]
    if alone and not exactly:
        raise UntranslatableError("how a run alone is rounded is not written out")
    *steps, evaluated = found
    body = _body(steps, tile, traced, here)
    x, y, _ = traced.batch
    return Template(_text("lanes.c")).substitute(
        real=C_OF[dtype],
        function="name##f" if dtype == torch.float32 else "name",
        exactly=int(exactly),
        terms=terms,
        input=C_OF[x.dtype],
        target=C_OF[y.dtype],
        lanes=1 if alone else lanes_of(dtype, here),
        wide=lanes_of(dtype, here),
        batch=len(x),
        evaluated=count,
        features=x[0].numel(),
        targets=y[0].numel(),
        state=_size(traced.state),
        kinds=len(traced.numbers),
        functions=body.functions,
        step=body.code,
        evaluation=evaluated.code(),
        step_scratch=body.scratch,
        evaluation_scratch=evaluated.scratch,
    )


@dataclass(frozen=True)
class _Part:
    """A function as operations, its arguments by their names in C, and what its results are written to."""

    module: GraphModule
    arguments: dict[str, Any]
    outputs: Sequence[str]

    @classmethod
    def of(cls, function: Callable[..., Sequence[Tensor]], arguments: dict[str, Any], outputs: Sequence[str]) -> "_Part":
        """``arguments`` in lists, and ``numbers``, differ between runs."""
        return cls(_as_operations(function, tuple(arguments.values())), arguments, outputs)

    def in_c(self, here: Machine, *, exactly: bool = False, alone: bool = False) -> Translator:
        """Its translation."""
        inputs: list[Value] = []
        for name, given in self.arguments.items():
            if isinstance(given, list):
                places = _placed(name, given)
                inputs += [stored(place, values.shape, "real", True) for place, values in zip(places, given, strict=True)]
            else:
                inputs.append(stored(name, given.shape, WHOLE.get(given.dtype, "real"), name == "numbers"))
        dtype = self.arguments["state"][0].dtype
        return Translator(self.module, inputs, self.outputs, here, dtype, exactly=exactly, alone=alone)


@dataclass(frozen=True)
class _Body:
    """A step in C: functions that it calls, its statements, and the members of its scratch memory."""

    functions: str
    code: str
    scratch: str


def _step(traced: Traced, here: Machine) -> tuple[list[_Part], int, int]:
    """The step of a whole batch, or of tiles of it where that would not stay in the cache: gradients, then the update.

    And a tile's samples, and how many multiplications there are in the step.
    """
    given = _named(traced, "numbers", "x", "y", "w", given=(traced.numbers, *traced.batch))
    step = _Part.of(traced.step, given, [*_placed("next", traced.state), "loss"])
    whole = step.in_c(here)
    tile = _tile(traced, batch := len(traced.batch[0]), whole, here)
    if traced.gradients is None or traced.update is None or tile == batch:
        return [step], batch, whole.terms
    numbers = traced.numbers.new_zeros(len(traced.numbers) + 1)
    given = _named(traced, "numbers", "x", "y", "w", given=(numbers, *(values[:tile] for values in traced.batch)))
    gradients = _Part.of(traced.gradients, given, [*_placed("found", traced.parameters), "loss"])
    along = {**_named(traced), "gradients": [values.clone() for values in traced.parameters], "numbers": traced.numbers}
    return [gradients, _Part.of(traced.update, along, _placed("next", traced.state))], tile, whole.terms


def _body(steps: Sequence[Translator], tile: int, traced: Traced, here: Machine) -> _Body:
    if len(steps) == 1:
        return _Body("", _fitting(steps[0], traced, here).code(), steps[0].scratch)
    gradients, update = steps
    functions = Template(_text("tiles.c")).substitute(
        tile=tile,
        parameters=_size(traced.parameters),
        gradients=_fitting(gradients, traced, here).code(),
        gradients_scratch=gradients.scratch,
        update=update.code(),
        update_scratch=update.scratch,
    )
    return _Body(functions, "in_tiles(&scratch->tiles, state, numbers, x, y, w, next, loss);", "struct tiles tiles;")


def _fitting(translated: Translator, traced: Traced, here: Machine) -> Translator:
    """The same, if a block of runs can be had in memory with it."""
    dtype = traced.state[0].dtype
    lanes = lanes_of(dtype, here)
    needed = translated.bytes(lanes) + 2 * _size(traced.state) * lanes * dtype.itemsize
    if needed > LARGEST_BLOCK:
        raise UntranslatableError(f"{lanes} runs side by side need {needed / 2**30:.1f} GiB")
    return translated


def _evaluation(traced: Traced, here: Machine) -> tuple[_Part, int]:
    """An evaluation, and of how many samples."""

    def of(given: Sequence[Tensor]) -> _Part:
        return _Part.of(traced.evaluation, _named(traced, "x", "y", "w", given=given), ["loss", "metric"])

    found, count = of(traced.evaluated), len(traced.evaluated[0])
    tile = _tile(traced, count, found.in_c(here), here)
    return (found if tile == count else of([values[:tile] for values in traced.evaluated])), tile


def _tile(traced: Traced, count: int, whole: Translator, here: Machine) -> int:
    """How many of the samples that ``whole`` is of are dealt with together: the most that stay in the cache, or all.

    At the least so many that what they need is as much as the parameters are, which go by for every tile.
    """
    dtype = traced.state[0].dtype
    lanes = lanes_of(dtype, here)
    needed, room = whole.bytes(lanes), max(IN_CACHE, _size(traced.parameters) * lanes * dtype.itemsize)
    if not traced.parameters or needed <= 2 * room:  # little is gained by cutting it in two
        return count
    divisors = [size for size in range(1, count + 1) if count % size == 0]
    return max((size for size in divisors if needed * size <= room * count), default=1)


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(values.numel() for values in tensors)


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


def _placed(name: str, tensors: Sequence[Tensor]) -> list[str]:
    """Where each of the tensors lies in the memory of that name."""
    return [f"({name} + {place} * LANES)" for place in _places(tensors)]


def _named(traced: Traced, *names: str, given: Sequence[Tensor] = ()) -> dict[str, Any]:
    """The arguments of a function by their names in C, the state first."""
    return {"state": list(traced.state), **dict(zip(names, given, strict=True))}


def _as_operations(function: Callable[..., Sequence[Tensor]], arguments: tuple[Any, ...]) -> GraphModule:
    """The function as a list of operations; torch breaks up those that have no translation, where it can.

    Other overloads of those that have one it knows to bring to that one by itself.
    """
    known = {operation.overloadpacket for operation in KNOWN}
    table: Any = {operation: parts for operation, parts in decomposition_table.items() if _packet(operation) not in known}
    try:
        module = _pure(lambda *given: list(function(*given)), table, arguments)
        if _changes_tensors(module):  # some that torch breaks up work in place
            module = _pure(module, table, arguments)
    except UntranslatableError:
        raise
    except Exception as error:
        raise UntranslatableError(f"it cannot be traced ({' '.join(str(error).split())[:200]})") from error
    module.graph.eliminate_dead_code()
    if (count := len(module.graph.nodes)) > LARGEST_PROGRAM:
        raise UntranslatableError(f"it has {count} operations, which would take minutes to compile")
    return module


def _pure(function: Callable[..., Any], table: Any, arguments: tuple[Any, ...]) -> GraphModule:
    """The function's operations, those that change a tensor replaced by those that make another."""
    pure = functionalize(function, remove="mutations")
    module = as_operations(pure, decomposition_table=table | DECOMPOSITIONS)(*arguments)
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.detach_.default):  # of constants
        node.target = torch.ops.aten.detach.default
    module.recompile()
    return module


def _changes_tensors(module: GraphModule) -> bool:
    schemas = (getattr(node.target, "_schema", None) for node in module.graph.nodes)
    return any(schema.is_mutable for schema in schemas if schema)


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
    functions, numbers = runs.functions, ones.new_zeros(runs.kinds)
    if isinstance(functions, Functions) and functions.evaluates_together:
        raise UntranslatableError("BatchNorm without running statistics is evaluated on all samples at once")
    step = named_layers(functions.model)(functions.step)
    whole = Traced(step, functions.evaluation, state, numbers, batch, evaluated)
    if not isinstance(functions, Functions) or not functions.is_sum(batch[1], like=ones):
        return whole
    count = len(functions.names)

    def gradients(state: State, numbers: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        found, loss, _ = functions.gradients(state[:count], numbers[-3:], x, y, weights)
        return *found, loss

    return replace(whole, gradients=gradients, update=functions.update, parameters=state[:count])


def _packet(operation: Any) -> Any:
    """What all overloads of an operation have in common."""
    return getattr(operation, "overloadpacket", operation)
