"""A traced function of one run, as C that computes it for a vector of runs.

The function is traced once into ATen operations (:func:`torch.fx.experimental.proxy_tensor.make_fx`), with shapes that are
known. What differs between runs becomes a vector per element, and all operations on it are the same for every lane: no lane
can reach another. Pointwise operations are joined where nothing is computed twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import fx

from pipeline.engine.lanes.indexing import OTHERS, VIEWS, Shape, UntranslatableError, literal
from pipeline.engine.lanes.operations import POINTWISE, REDUCTIONS
from pipeline.engine.lanes.products import ELEMENT, multiplied
from pipeline.engine.lanes.values import C_TYPES, Index, Kind, Product, Value, broadcast, computed, linear, stored

KINDS: dict[torch.dtype, Kind] = {
    torch.float32: "real",
    torch.float64: "real",
    torch.int64: "int",
    torch.int32: "int",
    torch.bool: "bool",
}
PRODUCTS = ("mm", "bmm")
LARGEST_CONSTANT = 100_000
"""Elements that are written into the code."""
REPEATED_AT_MOST = 64
"""How often a cheap operation may be done anew instead of being stored."""


class Translator:
    """Translates one traced module.

    ``inputs`` are the values of its placeholders, in order; ``outputs`` name the memory that its results are written to, for
    every lane. Raises :class:`pipeline.engine.lanes.indexing.UntranslatableError`.
    """

    def __init__(self, module: fx.GraphModule, inputs: Sequence[Value], outputs: Sequence[str], registers: int) -> None:
        graph = module.graph
        self._lines: list[str] = []
        self._scratch: list[str] = []
        self._constants: list[str] = []
        self._registers = registers
        self._consumers = _consumers(graph)
        results: Any = graph.output_node().args[0]
        self._memory_of = dict(zip(reversed(results), reversed(outputs), strict=True))
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        self._values: dict[fx.Node, Any] = dict(zip(placeholders, inputs, strict=True))
        for node in graph.nodes:
            if node.op == "call_function":
                self._values[node] = self._translated(node)
                if _name(node) == "copy_" and isinstance(node.args[0], fx.Node):  # some decompositions work in place
                    if _name(node.args[0]) in VIEWS:
                        raise UntranslatableError("a change in place of a part of a tensor")
                    self._values[node.args[0]] = self._values[node]
            elif node.op == "get_attr":
                self._values[node] = self._constant(getattr(module, str(node.target)))
        for node, name in zip(results, outputs, strict=True):
            if self._values[node].name != name:
                self._write(self._values[node], stored(name, self._values[node].shape, "real", varying=True))

    @property
    def scratch(self) -> str:
        """The members of a C struct for what the code keeps between its operations."""
        return " ".join(self._scratch) or "char nothing;"

    def code(self) -> str:
        """The statements, in order; what they keep lies in the struct ``scratch``."""
        names = [member.split("[")[0].split() for member in self._scratch]
        return "\n".join(
            [*self._constants, *(f"{kind} *restrict {name} = scratch->{name};" for kind, name in names), *self._lines]
        )

    def _translated(self, node: fx.Node) -> Value:
        name = _name(node)
        # Only what goes element by element can be done to a product before it is in memory.
        args = [self._operand(argument, settled=name not in POINTWISE) for argument in node.args]
        shape, kind = _shape_and_kind(node)
        try:
            value = self._apply(name, args, {key: self._operand(a) for key, a in node.kwargs.items()}, shape, kind)
        except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
            raise UntranslatableError(f"{name} as it is used here ({error})") from error
        if value.cheap or self._is_used_once(node, name, value):
            return value
        return self._stored(value, self._memory_of.get(node, "") if value.varying and kind == "real" else "")

    def _constant(self, values: torch.Tensor) -> Value:
        """A tensor that is the same in every call, written out."""
        if values.numel() > LARGEST_CONSTANT or values.dtype not in KINDS:
            raise UntranslatableError(f"a constant tensor of {values.numel()} {values.dtype}")
        kind, name = KINDS[values.dtype], f"c{len(self._constants)}"
        numbers = ", ".join(literal(number, is_real=kind == "real") for number in values.flatten().tolist())
        self._constants.append(f"static const {C_TYPES[kind]} {name}[] = {{{numbers}}};")
        return stored(name, values.shape, kind, varying=False)

    def _operand(self, argument: Any, *, settled: bool = True) -> Any:
        if isinstance(argument, fx.Node):
            value = self._values[argument]
            return self._stored(value) if settled and value.product else value
        return [self._operand(a) for a in argument] if isinstance(argument, (list, tuple)) else argument

    def _apply(self, name: str, args: list[Any], keywords: Mapping[str, Any], shape: Shape, kind: Kind) -> Value:
        if make := VIEWS.get(name) or OTHERS.get(name):
            return make(args, shape, kind)
        if name in POINTWISE:
            return _pointwise(name, self._with_one_product(args, shape), keywords, shape, kind)
        if name in REDUCTIONS:
            return self._reduced(name, args, shape, kind)
        if name in PRODUCTS and kind == "real":
            return self._product(args, shape)
        if name == "argmax":
            return self._argmax(args, shape)
        if name == "var":
            return self._variance(args, keywords, shape)
        raise UntranslatableError(f"the operation {name}")

    def _with_one_product(self, args: list[Any], shape: Shape) -> list[Any]:
        """The operands, all products but the first that has the result's shape in memory."""
        pending = [a for a in args if isinstance(a, Value) and a.product]
        first = next((a for a in pending if a.shape == shape), None)
        return [self._stored(a) if isinstance(a, Value) and a.product and a is not first else a for a in args]

    def _is_used_once(self, node: fx.Node, name: str, value: Value) -> bool:
        """Whether it may be computed where it is used: nothing dear is computed twice."""
        if len(self._consumers[node]) != 1:
            return False
        (consumer,) = self._consumers[node]
        if consumer.op == "output":
            return node in self._memory_of  # not a view of it, whose elements may lie elsewhere
        seen = consumer.args[0] if _name(consumer) in REDUCTIONS else consumer if _name(consumer) in POINTWISE else None
        if not isinstance(seen, fx.Node):
            return False
        times = prod(seen.meta["val"].shape) / max(value.size, 1)
        return times <= 1 or (name in POINTWISE and POINTWISE[name].is_cheap and times <= REPEATED_AT_MOST)

    def _reduced(self, name: str, args: list[Any], shape: Shape, kind: Kind) -> Value:
        source: Value = args[0]
        dims = len(source.shape)
        axes = args[1] if len(args) > 1 else None
        reduced = {axis % dims for axis in ([axes] if isinstance(axes, int) else axes or [])} or set(range(dims))
        kept = [axis for axis in range(dims) if axis not in reduced]
        operation, result = REDUCTIONS[name], self._allocated(shape, kind, source.varying)
        index = tuple(f"i{axis}" for axis in range(dims))
        place = linear(tuple(index[axis] for axis in kept), [source.shape[axis] for axis in kept])
        target = f"{result.name}[({place}) * LANES + l]" if source.varying else f"{result.name}[{place}]"
        share = f" / {prod(source.shape[axis] for axis in reduced)}" if operation.is_mean else ""
        self._lines += [
            *(_for(index[axis], source.shape[axis]) for axis in kept),
            f"{{ {C_TYPES[kind]} total[LANES];",
            _lanes(source, f"total[l] = {operation.start};"),
            *(_for(index[axis], source.shape[axis]) for axis in sorted(reduced)),
            _lanes(source, f"total[l] = {operation.write('total[l]', source.at(index))};"),
            _lanes(source, f"{target} = total[l]{share};"),
            "}",
        ]
        return result

    def _variance(self, args: list[Any], keywords: Mapping[str, Any], shape: Shape) -> Value:
        """``aten.var`` and ``prims.var``: the mean first, then the squares of the differences."""
        source, axes = args[0], args[1] if len(args) > 1 and args[1] is not None else list(range(len(args[0].shape)))
        correction = args[2] if len(args) > 2 else keywords.get("correction")  # its place in prims.var
        reduced = {axis % len(source.shape) for axis in axes}
        kept = tuple(1 if axis in reduced else size for axis, size in enumerate(source.shape))
        mean = self._reduced("mean", [source, axes], kept, "real")
        difference = _pointwise("sub", [source, mean], {}, source.shape, "real")
        squares = _pointwise("mul", [self._stored(difference)] * 2, {}, source.shape, "real")
        count = prod(source.shape[axis] for axis in reduced) - (1 if correction is None else correction)
        return _pointwise("div", [self._reduced("sum", [squares, axes], shape, "real"), float(count)], {}, shape, "real")

    def _argmax(self, args: list[Any], shape: Shape) -> Value:
        """The first of the largest, a NaN before all others, as in torch."""
        source = self._stored(args[0])
        axis = args[1] % len(source.shape)
        result = self._allocated(shape, "int", source.varying)
        outer = [f"i{a}" for a in range(len(source.shape))]
        kept = [a for a in range(len(source.shape)) if a != axis]
        place = linear(tuple(outer[a] for a in kept), [source.shape[a] for a in kept])
        target = f"{result.name}[({place}) * LANES + l]" if source.varying else f"{result.name}[{place}]"
        at_best = source.at((*outer[:axis], "best[l]", *outer[axis + 1 :]))
        self._lines += [
            *(_for(outer[a], source.shape[a]) for a in kept),
            "{ int64_t best[LANES];",
            _lanes(source, "best[l] = 0;"),
            _for(outer[axis], source.shape[axis]),
            _lanes(source, f"if (is_before({source.at(tuple(outer))}, {at_best})) best[l] = {outer[axis]};"),
            _lanes(source, f"{target} = best[l];"),
            "}",
        ]
        return result

    def _product(self, args: list[Any], shape: Shape) -> Value:
        left, right = (self._stored(argument) for argument in args)
        varying = left.varying or right.varying
        element = f"{ELEMENT}[{'l' if varying else '0'}]"
        return replace(computed(shape, "real", varying, lambda i: element), product=Product(left, right))

    def _stored(self, value: Value, name: str = "") -> Value:
        """The value in memory: at ``name``, or where there is room."""
        if value.place is not None:
            return value
        result = stored(name, value.shape, value.kind, value.varying) if name else None
        result = result or self._allocated(value.shape, value.kind, value.varying)
        self._write(value, result)
        return result

    def _allocated(self, shape: Sequence[int], kind: Kind, varying: bool) -> Value:
        name, lanes = f"t{len(self._scratch)}", " * LANES" if varying else ""
        self._scratch.append(f"{C_TYPES[kind]} {name}[{prod(shape)}{lanes}] __attribute__((aligned(64)));")
        return stored(name, shape, kind, varying)

    def _write(self, value: Value, target: Value) -> None:
        if value.product:
            self._lines += multiplied(target, value, value.product, self._registers)
            return
        index = tuple(f"i{axis}" for axis in range(len(value.shape)))
        loops = [_for(i, size) for i, size in zip(index, value.shape, strict=True)]
        self._lines += [*loops, _lanes(target, f"{target.at(index)} = {value.at(index)};")]


def _pointwise(name: str, args: list[Any], keywords: Mapping[str, Any], shape: Shape, kind: Kind) -> Value:
    operation = POINTWISE[name]
    operands = [broadcast(a, shape) if isinstance(a, Value) else a for a in args]
    is_real = kind == "real" or any(isinstance(a, Value) and a.kind == "real" for a in args)
    alpha = {key: literal(value, is_real=is_real) for key, value in keywords.items() if key == "alpha" and value != 1}

    def write(operand: Any, index: Index) -> str | None:
        if isinstance(operand, Value):
            return operand.at(index)
        return None if operand is None else literal(operand, is_real=is_real)

    varying = any(isinstance(a, Value) and a.varying for a in args)
    value = computed(
        shape, operation.kind or kind, varying, lambda i: operation.write(*(write(a, i) for a in operands), **alpha)
    )
    return replace(value, product=next((a.product for a in args if isinstance(a, Value) and a.product), None))


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target)).split(".")[0]


def _shape_and_kind(node: fx.Node) -> tuple[Shape, Kind]:
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        raise UntranslatableError(f"{_name(node)}, which has several results or depends on data")
    if value.dtype not in KINDS:
        raise UntranslatableError(f"numbers of type {value.dtype}")
    return tuple(value.shape), KINDS[value.dtype]


def _consumers(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the nodes that compute with it, seen through those that only look at it; as often as they do."""
    found: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.nodes):
        users: list[fx.Node] = []
        for user in node.users:
            looks = user.op == "call_function" and _name(user) in VIEWS
            users += found[user] if looks else [user] * max(user.args.count(node), 1)
        found[node] = users
    return found


def _for(index: str, size: int) -> str:
    return f"for (long {index} = 0; {index} < {size}; {index}++)"


def _lanes(value: Value, statement: str) -> str:
    return f"{'ALL_LANES' if value.varying else 'ONE_LANE'} {{ {statement} }}"
