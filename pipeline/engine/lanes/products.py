"""Matrix products, in blocks of the result that stay in the processor's registers.

What becomes of each element, such as the activation of a layer or the update of a parameter, is computed while it is there.
"""

from collections.abc import Sequence
from itertools import product

from pipeline.engine.lanes.values import Index, Product, Value

LARGEST = 12
"""Rows and columns of a block at the most."""


ELEMENT = "element"
"""The name in C of the lanes of the element of the product that is being dealt with."""


def multiplied(target: Value, value: Value, factors: Product, registers: int) -> list[str]:
    """Statements that write ``value``, which follows from the product of the last two dimensions, to ``target``.

    The dimensions before them are loops. Of a factor that differs between runs a few rows (or columns) stay in the fastest
    memory while the other one, which is data, goes by.
    """
    *batch, rows, columns = target.shape
    outer = tuple(f"n{axis}" for axis in range(len(batch)))
    lines = [f"for (long {i} = 0; {i} < {size}; {i}++)" for i, size in zip(outer, batch, strict=True)]
    high, wide = block_of(rows, columns, registers)
    lines.append("{")
    for (over_rows, a), (over_columns, b) in product(_cuts("i", rows, high), _cuts("j", columns, wide)):
        loops = [over_rows, over_columns] if factors.left.varying else [over_columns, over_rows]
        lines += [*loops, *_block(target, value, factors, outer, (a, b))]
    return [*lines, "}"]


def block_of(rows: int, columns: int, registers: int) -> tuple[int, int]:
    """The block that fits into the registers, with a row of one factor and a column of the other, and reads the least."""
    fitting = [
        (a, b)
        for a, b in product(range(1, min(rows, LARGEST) + 1), range(1, min(columns, LARGEST) + 1))
        if a * b + a + b < registers
    ]

    def cost(block: tuple[int, int]) -> int:
        high, wide = block
        blocks = -(-rows // high) * -(-columns // wide)  # those at the edges are smaller and cost as much
        return blocks * (high * wide + high + wide)

    return min(fitting, key=cost)


def _cuts(index: str, size: int, block: int) -> list[tuple[str, int]]:
    """Loops over whole blocks and over the rest, each with its block's size."""
    whole = size - size % block
    cuts = [(f"for (long {index} = 0; {index} < {whole}; {index} += {block})", block)]
    if whole < size:
        cuts.append((f"for (long {index} = {whole}; {index} < {size}; {index} += {size - whole})", size - whole))
    return cuts


def _block(target: Value, value: Value, factors: Product, outer: Sequence[str], block: tuple[int, int]) -> list[str]:
    left, right = factors.left, factors.right
    high, wide = range(block[0]), range(block[1])
    row, column = [f"(i + {a})" for a in high], [f"(j + {b})" for b in wide]
    zero, lanes = ("vec {} = {{0}};", "ALL_LANES") if target.varying else ("real {} = 0;", "ONE_LANE")

    def written(a: int, b: int) -> str:
        index, name = (*outer, row[a], column[b]), f"c{a}_{b}"
        # Through an array: a vector with a lane's number as index is slow in GCC.
        keep = f"real {ELEMENT}[LANES] __attribute__((aligned(64))); VEC({ELEMENT}, 0) = {name};"
        keep = keep if target.varying else f"const real {ELEMENT}[1] = {{{name}}};"
        return f"{{ {keep} {lanes} {{ {target.at(index)} = {value.at(index)}; }} }}"

    return [
        "{",
        " ".join(zero.format(f"c{a}_{b}") for a in high for b in wide),
        f"for (long k = 0; k < {left.shape[-1]}; k++) {{",
        *(f"const {_type(left)} a{a} = {_element(left, (*outer, row[a], 'k'))};" for a in high),
        *(f"const {_type(right)} b{b} = {_element(right, (*outer, 'k', column[b]))};" for b in wide),
        " ".join(f"c{a}_{b} += a{a} * b{b};" for a in high for b in wide),
        "}",
        *(written(a, b) for a in high for b in wide),
        "}",
    ]


def _type(value: Value) -> str:
    return "vec" if value.varying else "real"


def _element(value: Value, index: Index) -> str:
    return value.vector(index) if value.varying and value.vector else value.at(index)
