"""A traced function of one run, as C that computes it for a vector of runs.

The function is traced once into ATen operations (:func:`torch.fx.experimental.proxy_tensor.make_fx`), with shapes that are
known. What differs between runs becomes a vector per element, and all operations on it are the same for every lane: no lane
can reach another. Pointwise operations are joined where nothing is computed twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NoReturn

import torch
from torch import fx
from torch._prims_common import ELEMENTWISE_TYPE_PROMOTION_KIND, elementwise_dtypes

from pipeline.engine.compiler import Machine
from pipeline.engine.lanes.indexing import CONSTANTS, OTHERS, RESHAPES, SAME, VIEWS, Shape, literal
from pipeline.engine.lanes.layers import layer_of
from pipeline.engine.lanes.operations import FUNCTIONS, POINTWISE, REDUCTIONS, Pointwise, Reduction
from pipeline.engine.lanes.products import ELEMENT, cuts, multiplied, multiplied_alone
from pipeline.engine.lanes.values import (
    C_TYPES,
    Index,
    Kind,
    Product,
    UntranslatableError,
    Value,
    broadcast,
    cast,
    computed,
    converted,
    linear,
    loop_over,
    reshape,
    stored,
)

aten, prims = torch.ops.aten, torch.ops.prims
WHOLE: dict[torch.dtype, Kind] = {torch.int64: "int", torch.int32: "int32", torch.bool: "bool"}
PRODUCTS = (aten.mm.default, aten.bmm.default)
BEST = {aten.argmax.default: "is_before", aten.argmin.default: "is_behind"}
VARIANCES = (aten.var.correction, prims.var.default)
KNOWN = {*POINTWISE, *REDUCTIONS, *VIEWS, *OTHERS, *PRODUCTS, *BEST, *VARIANCES, aten.constant_pad_nd.default}
"""Operations that have a translation."""
OF_NO_MATTER = {"dtype", "layout", "device", "pin_memory", "memory_format", "non_blocking", "implicit", "sparse_grad"}
"""Arguments that say how the result lies in memory, or of what type it is, which is known from the result itself."""
SIGMOID = Pointwise(lambda a: f"(1 / (1 + {a}))")
"""Of the exponential of its negative."""
LARGEST_COPY = 2048
"""Chosen elements, such as the pixels under a kernel's taps, that are copied before they are multiplied."""
LARGEST_CONSTANT = 100_000
"""Elements that are written into the code."""
CHOSEN_AT_MOST = 4
"""Parts of a joined tensor among which each element is chosen where it is used; more are written to memory."""
SUMS = 8
"""Sums that a run alone has in the making at a time."""
REPEATED_AT_MOST = 64
"""How often a cheap operation may be done anew instead of being stored."""


class Translator:
    """Translates one traced module.

    ``inputs`` are the values of its placeholders, in order; ``outputs`` name the memory that its results are written to, for
    every lane; ``precision`` is that of its real numbers. What is written ``exactly`` says how every number is rounded, so that
    nothing hangs on how it is put into vectors: those of a run ``alone`` are of elements side by side.
    Raises :class:`pipeline.engine.lanes.values.UntranslatableError`.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        inputs: Sequence[Value],
        outputs: Sequence[str],
        here: Machine,
        precision: torch.dtype,
        *,
        exactly: bool = False,
        alone: bool = False,
    ) -> None:
        graph = module.graph
        self._lines: list[str] = []
        self._scratch: list[str] = []
        self._elements = {True: 0, False: 0}
        self._constants: list[str] = []
        self._registers, self._precision = here.registers, precision
        self._exactly, self.terms = exactly, 0
        self._wide, self._panel = (here.vector // precision.itemsize if alone else 0), 0
        self._consumers = _consumers(graph)
        results: Any = graph.output_node().args[0]
        self._memory_of = dict(zip(reversed(results), reversed(outputs), strict=True))
        placeholders = [node for node in graph.nodes if node.op == "placeholder"]
        self._values: dict[fx.Node, Any] = dict(zip(placeholders, inputs, strict=True))
        for node in graph.nodes:
            if node.op in ("call_function", "get_attr"):
                self._translate(module, node)
        for node, name in zip(results, outputs, strict=True):
            if self._values[node].name != name:
                target = stored(name, self._values[node].shape, "real", varying=True)
                self._write(converted(self._values[node], "real"), target)

    @property
    def scratch(self) -> str:
        """The members of a C struct for what the code keeps between its operations."""
        panel = [f"real panel[{self._panel}] __attribute__((aligned(64)));"] if self._panel else []
        return " ".join([*self._scratch, *panel]) or "char nothing;"

    def bytes(self, lanes: int) -> int:
        """How much memory that is."""
        return self._elements[True] * lanes * self._precision.itemsize + self._elements[False] * 8

    def code(self) -> str:
        """The statements, in order; what they keep lies in the struct ``scratch``."""
        names = [member.split("[")[0].split() for member in self._scratch] + [["real", "panel"]] * bool(self._panel)
        return "\n".join(
            [*self._constants, *(f"{kind} *restrict {name} = scratch->{name};" for kind, name in names), *self._lines]
        )

    def _translate(self, module: fx.GraphModule, node: fx.Node) -> None:
        try:
            if node.op == "get_attr":
                self._values[node] = self._constant(getattr(module, str(node.target)))
                return
            self._values[node] = self._settled(node, self._translated(node))
        except UntranslatableError as error:
            _refuse(node, str(error))
        except Exception as error:  # noqa: BLE001  # whatever the translation did not foresee has none
            _refuse(node, f"as it is used here ({' '.join(str(error).split())[:100]})")

    def _translated(self, node: fx.Node) -> Value:
        target: Any = node.target
        if target not in KNOWN:
            raise UntranslatableError("")
        shape, kind = self._shape_and_kind(node)
        given = self._rounded(node) if target in CONSTANTS else _arguments(node)
        # Only what goes element by element can be done to a product before it is in memory.
        is_settled = target not in POINTWISE and target not in (*SAME, *RESHAPES)
        args = [self._operand(argument, settled=is_settled) for argument in given]
        return self._apply(node, args, shape, kind)

    def _settled(self, node: fx.Node, value: Value) -> Value:
        """The value in memory, or yet to be computed where that is better; what is written late is tried here."""
        value.at(tuple(f"i{axis}" for axis in range(len(value.shape))))
        if value.cheap or self._is_used_once(node, value):
            return value
        return self._stored(value, self._memory_of.get(node, "") if value.varying and value.kind == "real" else "")

    def _shape_and_kind(self, node: fx.Node) -> tuple[Shape, Kind]:
        value = node.meta.get("val")
        if not isinstance(value, torch.Tensor):
            raise UntranslatableError("which has several results or depends on data")
        is_exact = value.dtype.is_floating_point and (node.target in CONSTANTS or node.target in VIEWS)  # of constants
        if 0 in value.shape:
            raise UntranslatableError("of no elements")
        return tuple(value.shape), "real" if is_exact else self._kind(value.dtype)

    def _kind(self, dtype: torch.dtype) -> Kind:
        if dtype not in WHOLE and dtype != self._precision:
            raise UntranslatableError(f"with numbers of type {dtype} in a training of {self._precision}")
        return WHOLE.get(dtype, "real")

    def _rounded(self, node: fx.Node) -> list[Any]:
        """The arguments of what makes a constant, its real numbers as its own type has them."""
        dtype = node.meta["val"].dtype
        numbers = [torch.tensor(a, dtype=dtype) if isinstance(a, float) else a for a in _arguments(node)]
        return [self._exact(a).item() if isinstance(a, torch.Tensor) else a for a in numbers]

    def _exact(self, values: torch.Tensor) -> torch.Tensor:
        """Real numbers in the training's precision, if they are the same there."""
        if not values.dtype.is_floating_point:
            return values
        found = values.to(self._precision)
        if not torch.equal(found.to(values.dtype).nan_to_num(), values.nan_to_num()):
            raise UntranslatableError(f"of type {values.dtype} in a training of {self._precision}")
        return found

    def _constant(self, values: torch.Tensor) -> Value:
        """A tensor that is the same in every call, written out."""
        if values.numel() > LARGEST_CONSTANT:
            raise UntranslatableError(f"of {values.numel()} numbers")
        values = self._exact(values)
        kind, name = self._kind(values.dtype), f"c{len(self._constants)}"
        numbers = ", ".join(literal(number, kind) for number in values.flatten().tolist())
        self._constants.append(f"static const {C_TYPES[kind]} {name}[] = {{{numbers}}};")
        is_natural = kind == "int" and min(values.flatten().tolist(), default=0) >= 0
        return replace(stored(name, values.shape, kind, varying=False), is_constant=True, is_natural=is_natural)

    def _operand(self, argument: Any, *, settled: bool = True) -> Any:
        if isinstance(argument, fx.Node):
            value = self._values[argument]
            return self._stored(value) if settled and value.product else value
        return [self._operand(a) for a in argument] if isinstance(argument, (list, tuple)) else argument

    def _apply(self, node: fx.Node, args: list[Any], shape: Shape, kind: Kind) -> Value:
        target: Any = node.target
        if target is aten.cat.default and len(args[0]) > CHOSEN_AT_MOST:
            return self._joined(args, shape, kind)
        if make := VIEWS.get(target) or OTHERS.get(target):
            return make(args, shape, kind)
        if self._exactly and kind == "real" and (target in FUNCTIONS or target is aten.sigmoid.default):
            return self._of_vectors(target, converted(args[0], "real"))
        if target is aten.constant_pad_nd.default:
            return self._padded(args, shape, kind)
        if target in POINTWISE:
            operands = self._kind(_common(node)) if POINTWISE[target].compares else kind
            return _pointwise(POINTWISE[target], self._with_one_product(args, shape), shape, kind, operands)
        if target in REDUCTIONS:
            return self._reduced(target, args, shape, kind)
        if target in PRODUCTS and kind == "real":
            return self._product(args, shape)
        if target in BEST:
            return self._best(BEST[target], args, shape)
        if target in VARIANCES:
            return self._variance(args, shape)
        raise UntranslatableError("of whole numbers")

    def _of_vectors(self, target: Any, value: Value) -> Value:
        """A function in whole vectors, of a run alone too."""
        if target is aten.sigmoid.default:
            negative = _pointwise(POINTWISE[aten.neg.default], [value], value.shape)
            return _pointwise(SIGMOID, [self._of_vectors(aten.exp.default, negative)], value.shape)
        given = self._stored(value)
        if not given.lie_in_order:
            given = self._allocated(value.shape, "real", value.varying)
            self._write(value, given)
        result = self._allocated(value.shape, "real", value.varying)
        count = f"{value.size} * LANES" if value.varying else value.size
        self._lines.append(f"{FUNCTIONS[target]}_of({result.name}, {given.name}, {count});")
        return result

    def _joined(self, args: list[Any], shape: Shape, kind: Kind) -> Value:
        """One part after the other into memory."""
        parts, axis, first = args[0], args[1] % len(shape), 0
        result = self._allocated(shape, kind, any(part.varying for part in parts))
        for part in parts:
            self._write(converted(part, kind), _part(result, part.shape, axis, first))
            first += part.shape[axis]
        return result

    def _padded(self, args: list[Any], shape: Shape, kind: Kind) -> Value:
        """The operand in the midst of memory; around it, where nothing else is written, 0 from the start, or a number."""
        source, pad, number = args
        result = self._allocated(shape, kind, source.varying)
        if number:
            edge = literal(number, kind)
            self._write(computed(shape, kind, varying=False, at=lambda index: edge), result)
        before = [*([0] * (len(shape) - len(pad) // 2)), *reversed(pad[::2])]
        inside = result.view(source.shape, lambda i: tuple(f"({j} + {n})" if n else j for j, n in zip(i, before, strict=True)))
        self._write(converted(source, kind), inside)
        return result

    def _with_one_product(self, args: list[Any], shape: Shape) -> list[Any]:
        """The operands, all products but the first that has the result's shape in memory."""
        pending = [a for a in args if isinstance(a, Value) and a.product]
        first = next((a for a in pending if a.shape == shape), None)
        return [self._stored(a) if isinstance(a, Value) and a.product and a is not first else a for a in args]

    def _is_used_once(self, node: fx.Node, value: Value) -> bool:
        """Whether it may be computed where it is used: nothing dear is computed twice."""
        if len(self._consumers[node]) != 1:
            return False
        (consumer,) = self._consumers[node]
        if consumer.target in PRODUCTS and value.vector:  # a choice of what is in memory, which is repeated many times there
            return value.size > LARGEST_COPY and not self._wide
        if consumer.op == "output":
            return node in self._memory_of or value.product is not None  # not a view, whose elements may lie elsewhere
        seen = consumer.args[0] if consumer.target in REDUCTIONS else consumer if consumer.target in POINTWISE else None
        if not isinstance(seen, fx.Node):
            return False
        times = prod(seen.meta["val"].shape) / max(value.size, 1)
        return times <= 1 or (_is_cheap(node.target) and times <= REPEATED_AT_MOST)

    def _reduced(self, target: Any, args: list[Any], shape: Shape, kind: Kind) -> Value:
        operation, source = REDUCTIONS[target], converted(args[0], kind)
        write = operation.combined.write_for(kind)
        if write is None or kind not in operation.starts:
            raise UntranslatableError(f"of {_SAID[kind]}")
        reduced, kept = _axes(source, args[1] if len(args) > 1 else None)
        result, target_at, loops = self._outside_of(source, kept, shape, kind)
        share = f" / {prod(source.shape[axis] for axis in reduced)}" if operation.is_mean else ""
        if self._wide and kept:
            self._lines += self._side_by_side(operation, source, write, (result, kept, reduced), kind, share)
            return result
        self._lines += [
            *loops,
            f"{{ {C_TYPES[kind]} total[LANES];",
            _lanes(source, f"total[l] = {operation.starts[kind]};"),
            *(loop_over(f"i{axis}", source.shape[axis]) for axis in reduced),
            _lanes(source, f"total[l] = {write('total[l]', source.at(_index(source)))};"),
            _lanes(source, f"{target_at} = total[l]{share};"),
            "}",
        ]
        return result

    def _side_by_side(
        self, operation: Reduction, source: Value, write: Any, axes: tuple[Value, list[int], list[int]], kind: Kind, share: str
    ) -> list[str]:
        """Several sums at a time, so that none waits for its own last addition."""
        result, kept, reduced = axes
        along = max(kept, key=lambda axis: (source.shape[axis] > 1, axis))
        index, lines = list(_index(source)), ["{ const int l = 0;"]
        lines += [loop_over(index[axis], source.shape[axis]) for axis in kept if axis != along]
        lines.append("{")
        for loop, count in cuts(index[along], source.shape[along], min(source.shape[along], SUMS)):
            places = [(*index[:along], f"({index[along]} + {n})", *index[along + 1 :]) for n in range(count)]
            targets = [linear(tuple(i[axis] for axis in kept), [source.shape[axis] for axis in kept]) for i in places]
            lines += [
                f"{loop} {{",
                *(f"{C_TYPES[kind]} total{n} = {operation.starts[kind]};" for n in range(count)),
                *(loop_over(index[axis], source.shape[axis]) for axis in reduced),
                "{",
                *(f"total{n} = {write(f'total{n}', source.at(i))};" for n, i in enumerate(places)),
                "}",
                *(f"{result.name}[{target}] = total{n}{share};" for n, target in enumerate(targets)),
                "}",
            ]
        return [*lines, "} }"]

    def _outside_of(self, source: Value, kept: Sequence[int], shape: Shape, kind: Kind) -> tuple[Value, str, list[str]]:
        """Memory for a reduction's result, its element for the axes that are kept, and the loops over these."""
        result, index = self._allocated(shape, kind, source.varying), _index(source)
        place = linear(tuple(index[axis] for axis in kept), [source.shape[axis] for axis in kept])
        element = f"{result.name}[({place}) * LANES + l]" if source.varying else f"{result.name}[{place}]"
        return result, element, [loop_over(index[axis], source.shape[axis]) for axis in kept]

    def _variance(self, args: list[Any], shape: Shape) -> Value:
        """The mean first, then the squares of the differences."""
        source, given, correction, *_ = args  # what is left is whether the axes are kept, which the shape tells
        axes, _ = _axes(source, given)
        kept = tuple(1 if axis in axes else size for axis, size in enumerate(source.shape))
        mean = self._reduced(aten.mean.dim, [source, axes], kept, "real")
        difference = _pointwise(POINTWISE[aten.sub.Tensor], [source, mean, 1], source.shape)
        squares = _pointwise(POINTWISE[aten.mul.Tensor], [self._stored(difference)] * 2, source.shape)
        count = max(0.0, float(prod(source.shape[axis] for axis in axes) - (1 if correction is None else correction)))
        total = self._reduced(aten.sum.dim_IntList, [squares, axes], shape, "real")
        return _pointwise(POINTWISE[aten.div.Tensor], [total, count], shape)

    def _best(self, is_better: str, args: list[Any], shape: Shape) -> Value:
        """The place of the first of the largest or smallest, a NaN before all others, as in torch."""
        given, dim, _ = args
        source = self._stored(given)
        source, axis = (reshape(source, (source.size,)), 0) if dim is None else (source, dim % max(len(source.shape), 1))
        if not source.shape:
            raise UntranslatableError("of a single number")
        index = _index(source)
        result, target_at, loops = self._outside_of(source, [a for a in range(len(index)) if a != axis], shape, "int")
        name = is_better if source.kind == "real" else f"whole_{is_better}"
        self._lines += [
            *loops,
            f"{{ int64_t best[LANES]; {C_TYPES[source.kind]} value[LANES];",
            _lanes(source, f"best[l] = 0; value[l] = {source.at((*index[:axis], '0', *index[axis + 1 :]))};"),
            loop_over(index[axis], source.shape[axis]),
            _lanes(
                source,
                f"const {C_TYPES[source.kind]} here = {source.at(index)}; const int is_better = {name}(here, value[l]); "
                f"best[l] = is_better ? {index[axis]} : best[l]; value[l] = is_better ? here : value[l];",
            ),
            _lanes(source, f"{target_at} = best[l];"),
            "}",
        ]
        return result

    def _product(self, args: list[Any], shape: Shape) -> Value:
        left, right = (argument if argument.vector and not self._wide else self._stored(argument) for argument in args)
        if left.kind != "real" or right.kind != "real":
            raise UntranslatableError("of whole numbers")
        varying = left.varying or right.varying
        self.terms += prod(shape) * left.shape[-1] * varying
        element = f"{ELEMENT}[{'q' if self._wide else 'l' if varying else '0'}]"
        return replace(computed(shape, "real", varying, lambda i: element), product=Product(left, right))

    def _stored(self, value: Value, name: str = "") -> Value:
        """The value in memory: at ``name``, or where there is room."""
        if value.place is not None:
            return value
        result = stored(name, value.shape, value.kind, value.varying) if name else None
        result = result or self._allocated(value.shape, value.kind, value.varying)
        self._write(value, result)
        return replace(result, is_constant=value.is_constant)

    def _allocated(self, shape: Sequence[int], kind: Kind, varying: bool) -> Value:
        self._elements[varying] += prod(shape)
        name, lanes = f"t{len(self._scratch)}", " * LANES" if varying else ""
        self._scratch.append(f"{C_TYPES[kind]} {name}[{prod(shape)}{lanes}] __attribute__((aligned(64)));")
        return stored(name, shape, kind, varying)

    def _write(self, value: Value, target: Value) -> None:
        if value.product:
            if self._wide:
                lines, panel = multiplied_alone(target, value, value.product, self._registers, self._wide)
                self._lines += lines
                self._panel = max(self._panel, panel)
            else:
                self._lines += multiplied(target, value, value.product, self._registers, exactly=self._exactly)
            return
        index = _index(value)
        loops = [loop_over(i, size) for i, size in zip(index, value.shape, strict=True)]
        self._lines += [*loops, _lanes(target, f"{target.at(index)} = {value.at(index)};")]


_SAID: dict[Kind, str] = {"real": "real numbers", "int": "whole numbers", "int32": "short numbers", "bool": "truth values"}


def _pointwise(operation: Pointwise, args: list[Any], shape: Shape, kind: Kind = "real", operands: Kind | None = None) -> Value:
    """A result of that kind; ``operands`` is the kind that the elements are brought to before, where it is another."""
    inner = operands or kind
    write = operation.write_for(inner if operation.compares else kind)
    if write is None:
        raise UntranslatableError(f"of {_SAID[inner]}")
    elements = [broadcast(a, shape) if isinstance(a, Value) else a for a in args]

    def written(place: int, operand: Any, index: Index) -> str | None:
        if isinstance(operand, Value):
            at = operand.at(index)
            return at if place < operation.untouched else cast(at, operand.kind, inner)
        return operand if operand is None or isinstance(operand, str) else literal(operand, inner)

    def at(index: Index) -> str:
        text = write(*(written(place, operand, index) for place, operand in enumerate(elements)))
        return f"((int32_t)({text}))" if kind == "int32" else text

    tensors = [a for a in args if isinstance(a, Value)]
    found = computed(shape, kind, any(a.varying for a in tensors), at)
    if operation is POINTWISE[aten.mul.Tensor] and kind == "real":
        found = replace(found, vector=_scaled_vector(elements))
    return replace(
        found, product=next((a.product for a in tensors if a.product), None), is_constant=all(a.is_constant for a in tensors)
    )


def _scaled_vector(factors: list[Any]) -> Callable[[Index], str] | None:
    """All lanes of a value that is read from memory, times what is the same for all of them."""
    one, other = factors
    if not (isinstance(one, Value) and isinstance(other, Value)) or one.place or not one.vector or other.varying:
        return None
    read, scale = one.vector, converted(other, "real")
    return lambda i: f"({read(i)} * {scale.at(i)})"


def _arguments(node: fx.Node) -> list[Any]:
    """All that the operation is called with, in its schema's order; an argument that it was not given at its default."""
    target: Any = node.target
    found = []
    for place, argument in enumerate(target._schema.arguments):
        given = node.args[place] if place < len(node.args) else node.kwargs.get(argument.name, argument.default_value)
        if argument.name == "output_dtype" and given is not None:
            raise UntranslatableError("with output_dtype")
        if argument.name not in {*OF_NO_MATTER, "output_dtype"}:
            found.append(given)
    return found


def _common(node: fx.Node) -> torch.dtype:
    """The type that the operands are compared in."""
    operands = [a.meta["val"] if isinstance(a, fx.Node) else a for a in node.args]
    return elementwise_dtypes(*operands, type_promotion_kind=ELEMENTWISE_TYPE_PROMOTION_KIND.DEFAULT)[0]


def _is_cheap(target: Any) -> bool:
    return target in SAME or (target in POINTWISE and POINTWISE[target].is_cheap)


def _axes(source: Value, given: Any) -> tuple[list[int], list[int]]:
    """The axes that are reduced, all where none is given, and those that are kept."""
    dims = range(len(source.shape))
    listed = [given] if isinstance(given, int) else given or []
    reduced = {axis % len(dims) for axis in listed if dims} or set(dims)
    return sorted(reduced), [axis for axis in dims if axis not in reduced]


def _index(value: Value) -> Index:
    return tuple(f"i{axis}" for axis in range(len(value.shape)))


def _refuse(node: fx.Node, what: str) -> NoReturn:
    """Name the operation, and the layer that it is of where that was noted."""
    name = "a constant" if node.op == "get_attr" else f"the operation {str(node.target).removesuffix('.default')}"
    layer = layer_of(node.meta)
    parts = ["there is no translation into C of", name, what, layer and f"in {layer}"]
    raise UntranslatableError(" ".join(part for part in parts if part))


def _consumers(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, the nodes that compute with it, seen through those that only look at it; as often as they do."""
    found: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.nodes):
        users: list[fx.Node] = []
        for user in node.users:
            looks = user.op == "call_function" and user.target in VIEWS
            users += found[user] if looks else [user] * max(user.args.count(node), 1)
        found[node] = users
    return found


def _part(whole: Value, shape: Shape, axis: int, first: int) -> Value:
    return whole.view(shape, lambda i: (*i[:axis], f"({i[axis]} + {first})", *i[axis + 1 :]))


def _lanes(value: Value, statement: str) -> str:
    return f"{'ALL_LANES' if value.varying else 'ONE_LANE'} {{ {statement} }}"
