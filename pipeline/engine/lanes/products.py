"""Matrix products, in blocks of the result that stay in the processor's registers.

What becomes of each element, such as the activation of a layer or the update of a parameter, is computed while it is there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from math import prod

from pipeline.engine.lanes.values import Index, Joined, Product, Value, loop_over, permute

LARGEST = 12
"""Rows and columns of a block at the most."""


ELEMENT = "element"
"""The name in C of the lanes of the element of the product that is being dealt with."""


@dataclass(frozen=True)
class _Axis:
    """Loops over an axis: one for each size that it was joined of, outermost first."""

    name: str
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, name: str, *sizes: tuple[int, ...]) -> "_Axis":
        """An axis of two values, split wherever one of them is, if that can be."""
        total = prod(sizes[0])
        ends = sorted({prod(each[place:]) for each in sizes for place in range(len(each))} | {1})
        steps = list(pairwise(ends))
        return cls(name, tuple(b // a for a, b in reversed(steps)) if all(b % a == 0 for a, b in steps) else (total,))

    @property
    def last(self) -> int:
        """How often the innermost loop goes round."""
        return self.sizes[-1] if self.sizes else 1

    @property
    def loops(self) -> list[str]:
        """All of them."""
        return [loop_over(f"{self.name}{place}", size) for place, size in enumerate(self.sizes)]

    def cuts(self, block: int) -> list[tuple[list[str], int]]:
        """The loops, the innermost over whole blocks and over the rest, each with its block's size."""
        return [([*self.loops[:-1], over], count) for over, count in cuts(self._innermost, self.last, block)]

    def at(self, number: int = 0) -> str:
        """The index of the element so many behind where the innermost loop is."""
        *outer, last = self.sizes or (1,)
        inner = f"({self._innermost} + {number})" if number else self._innermost
        return Joined.of([*((f"{self.name}{place}", size) for place, size in enumerate(outer)), (inner, last)])

    @property
    def _innermost(self) -> str:
        return f"{self.name}{max(len(self.sizes) - 1, 0)}"


def multiplied(target: Value, value: Value, factors: Product, registers: int, *, exactly: bool = False) -> list[str]:
    """Statements that write ``value``, which follows from the product of the last two dimensions, to ``target``.

    The dimensions before them are loops. Of a factor that differs between runs a few rows (or columns) stay in the fastest
    memory while the other one, which is data, goes by.
    """
    target, value = factors.seen(target), factors.seen(value)
    left, right = factors.left, factors.right
    batch = [_Axis.of(f"n{axis}_", left.sizes_of(axis), right.sizes_of(axis)) for axis in range(len(target.shape) - 2)]
    rows, columns = _Axis.of("i", left.sizes_of(-2)), _Axis.of("j", right.sizes_of(-1))
    inner = _Axis.of("k", left.sizes_of(-1), right.sizes_of(-2))
    high, wide = block_of(rows.last, columns.last, registers)
    outer, over_batch = tuple(axis.at() for axis in batch), [loop for axis in batch for loop in axis.loops]
    is_shared = left.at((*outer, "i", "k")) == left.at((*("0" for _ in batch), "i", "k"))  # as weights are by all samples
    lines = ["{"]
    for (over_rows, a), (over_columns, b) in product(rows.cuts(high), columns.cuts(wide)):
        if not left.varying:
            lines += [*over_batch, *over_columns, *over_rows]
        else:
            lines += [*(over_rows + over_batch if is_shared else over_batch + over_rows), *over_columns]
        places = [rows.at(place) for place in range(a)], [columns.at(place) for place in range(b)]
        lines += _block(target, value, factors, outer, *places, inner, exactly=exactly)
    return [*lines, "}"]


def block_of(rows: int, columns: int, registers: int) -> tuple[int, int]:
    """The fastest block that fits into the registers, with a row (or column) of one factor and an element of the other."""
    fitting = [
        (a, b)
        for a, b in product(range(1, min(rows, LARGEST) + 1), range(1, min(columns, LARGEST) + 1))
        if a * b + min(a, b) + 1 <= registers
    ]

    def cost(block: tuple[int, int]) -> int:
        high, wide = block
        blocks = -(-rows // high) * -(-columns // wide)  # those at the edges are smaller and cost as much
        return blocks * (high * wide + high + wide)

    return min(fitting, key=cost)


def cuts(index: str, size: int, block: int) -> list[tuple[str, int]]:
    """Loops over whole blocks and over the rest, each with its block's size."""
    whole = size - size % block
    cuts = [(f"for (long {index} = 0; {index} < {whole}; {index} += {block})", block)]
    if whole < size:
        cuts.append((f"for (long {index} = {whole}; {index} < {size}; {index} += {size - whole})", size - whole))
    return cuts


def _block(
    target: Value, value: Value, factors: Product, outer: Index, rows: list[str], columns: list[str], inner: _Axis, *,
    exactly: bool,
) -> list[str]:  # fmt: skip
    """The elements of the result in these rows and columns."""
    left, right, k = factors.left, factors.right, inner.at()
    high, wide = range(len(rows)), range(len(columns))
    zero, lanes = ("vec {} = {{0}};", "ALL_LANES") if target.varying else ("real {} = 0;", "ONE_LANE")

    def written(a: int, b: int) -> str:
        index, name = (*outer, rows[a], columns[b]), f"c{a}_{b}"
        # Through an array: a vector with a lane's number as index is slow in GCC.
        keep = f"real {ELEMENT}[LANES] __attribute__((aligned(64))); VEC({ELEMENT}, 0) = {name};"
        keep = keep if target.varying else f"const real {ELEMENT}[1] = {{{name}}};"
        return f"{{ {keep} {lanes} {{ {target.at(index)} = {value.at(index)}; }} }}"

    def added(a: int, b: int) -> str:
        total, one, other = f"c{a}_{b}", f"a{a}", f"b{b}"
        if not exactly:
            return f"{total} += {one} * {other};"
        if not target.varying:
            return f"{total} = FUSED_ONE({one}, {other}, {total});"
        one, other = (name if v.varying else f"ALL({name})" for name, v in ((one, left), (other, right)))
        return f"{total} = FUSED({one}, {other}, {total});"

    return [
        "{",
        " ".join(zero.format(f"c{a}_{b}") for a in high for b in wide),
        *inner.loops,
        "{",
        *_one_by_one(
            [f"const {_type(left)} a{a} = {_element(left, (*outer, rows[a], k))};" for a in high],
            [f"const {_type(right)} b{b} = {_element(right, (*outer, k, columns[b]))};" for b in wide],
            added,
        ),
        "}",
        *(written(a, b) for a in high for b in wide),
        "}",
    ]


def _one_by_one(left: Sequence[str], right: Sequence[str], write: Callable[[int, int], str]) -> Iterator[str]:
    """Read the shorter side, then each of the other where it is multiplied: so that no more than one of these is at hand."""
    is_left_first = len(left) < len(right)
    first, other = (left, right) if is_left_first else (right, left)
    yield from first
    for n, read in enumerate(other):
        products = (write(m, n) if is_left_first else write(n, m) for m in range(len(first)))
        yield " ".join([read, *products])


def _type(value: Value) -> str:
    return "vec" if value.varying else "real"


def _element(value: Value, index: Index) -> str:
    return value.vector(index) if value.varying and value.vector else value.at(index)


def multiplied_alone(target: Value, value: Value, factors: Product, registers: int, wide: int) -> tuple[list[str], int]:
    """The same for a run alone, with vectors of ``wide`` columns; and how many numbers there are in their panel.

    Each element is the same sum in the same order as in a lane. The columns of the right factor that are dealt with lie side
    by side in a panel, filled up with 0, and are multiplied by one number of the left factor after the other.
    """
    target, value = factors.seen(target), factors.seen(value)
    left, right = factors.left, factors.right
    *batch, rows, columns = target.shape
    if _cost(columns, rows, _turned(left), wide) < _cost(rows, columns, right, wide):
        left, right, target, value = _turned(right), _turned(left), _turned(target), _turned(value)
        rows, columns = columns, rows
    depth, across = left.shape[-1], min(-(-columns // wide), 4 if rows < 4 else 2)
    high = min(rows, LARGEST, (registers - 2) // across - 1)
    high = -(-rows // -(-rows // high))  # blocks of one height, as near as can be
    outer = tuple(f"n{axis}" for axis in range(len(batch)))
    lines = ["{ const int l = 0;", *map(loop_over, outer, batch)]
    lines.append("{")
    for over_columns, count in cuts("j", columns, min(across * wide, columns)):
        vectors = -(-count // wide)
        lines += [f"{over_columns} {{", *_panel(right, outer, count, vectors * wide)]
        for over_rows, tall in cuts("i", rows, high):
            lines += [over_rows, *_rows_alone(target, value, left, outer, (tall, vectors), count, wide)]
        lines.append("}")
    return [*lines, "} }"], depth * across * wide


def _cost(rows: int, columns: int, right: Value, wide: int) -> int:
    """How long a product takes with its columns in vectors, and with them put side by side where they do not lie so."""
    return -(-columns // wide) * (rows + (0 if right.lie_in_order else 2 * wide))


def _panel(right: Value, outer: Index, count: int, wide: int) -> list[str]:
    """``count`` columns from ``j`` on, side by side: where they are, or in the panel."""
    depth, columns = right.shape[-2:]
    if right.lie_in_order and count == wide and not outer:
        return [f"const real *side = {right.name} + j; const long stride = {columns};"]
    return [
        f"const real *side = panel; const long stride = {wide};",
        f"{loop_over('k', depth)} {{",
        f"{loop_over('q', count)} panel[k * stride + q] = {right.at((*outer, 'k', '(j + q)'))};",
        f"for (long q = {count}; q < {wide}; q++) panel[k * stride + q] = 0;",
        "}",
    ]


def _rows_alone(
    target: Value, value: Value, left: Value, outer: Index, block: tuple[int, int], count: int, wide: int
) -> list[str]:
    """A block of the result: so many rows from ``i`` on, and so many vectors of the panel, of which ``count`` columns count."""
    tall, vectors = range(block[0]), range(block[1])

    def multiplied_by(a: int) -> str:
        sums = " ".join(f"c{a}_{b} = FUSED(a, b{b}, c{a}_{b});" for b in vectors)
        return f"{{ const row a = ALL({left.at((*outer, f'(i + {a})', 'k'))}); {sums} }}"

    def written(a: int) -> str:
        index = (*outer, f"(i + {a})", "(j + q)")
        keep = " ".join(f"*(row *)({ELEMENT} + {b * wide}) = c{a}_{b};" for b in vectors)
        keep = f"real {ELEMENT}[{len(vectors) * wide}] __attribute__((aligned(64))); {keep}"
        return f"{{ {keep} for (long q = 0; q < {count}; q++) {{ {target.at(index)} = {value.at(index)}; }} }}"

    return [
        "{",
        " ".join(f"row c{a}_{b} = {{0}};" for a in tall for b in vectors),
        f"{loop_over('k', left.shape[-1])} {{",
        *(f"const row b{b} = *(row *)(side + k * stride + {b * wide});" for b in vectors),
        *map(multiplied_by, tall),
        "}",
        *map(written, tall),
        "}",
    ]


def _turned(value: Value) -> Value:
    """The same matrices with rows for columns."""
    axes = len(value.shape)
    return permute(value, [*range(axes - 2), axes - 1, axes - 2])
