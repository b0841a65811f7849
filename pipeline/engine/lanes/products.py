"""Matrix products, in blocks of the result that stay in the processor's registers."""

from collections.abc import Sequence
from itertools import product

from pipeline.engine.lanes.values import Index, Value

LARGEST = 12
"""Rows and columns of a block at the most."""


def multiplied(result: Value, left: Value, right: Value, registers: int) -> list[str]:
    """Statements that write the products of the last two dimensions; all three are stored, the ones before them loops."""
    *batch, rows, columns = result.shape
    outer = tuple(f"n{axis}" for axis in range(len(batch)))
    lines = [f"for (long {i} = 0; {i} < {size}; {i}++)" for i, size in zip(outer, batch, strict=True)]
    high, wide = block_of(rows, columns, registers)
    lines.append("{")
    for (over_rows, a), (over_columns, b) in product(_cuts("i", rows, high), _cuts("j", columns, wide)):
        lines += [over_rows, over_columns, *_block(result, left, right, outer, (a, b))]
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


def _block(result: Value, left: Value, right: Value, outer: Sequence[str], block: tuple[int, int]) -> list[str]:
    high, wide = range(block[0]), range(block[1])
    row, column = [f"(i + {a})" for a in high], [f"(j + {b})" for b in wide]
    zero = "vec {} = {{0}};" if result.varying else "real {} = 0;"
    return [
        "{",
        " ".join(zero.format(f"c{a}_{b}") for a in high for b in wide),
        f"for (long k = 0; k < {left.shape[-1]}; k++) {{",
        *(f"const {_type(left)} a{a} = {_element(left, (*outer, row[a], 'k'))};" for a in high),
        *(f"const {_type(right)} b{b} = {_element(right, (*outer, 'k', column[b]))};" for b in wide),
        " ".join(f"c{a}_{b} += a{a} * b{b};" for a in high for b in wide),
        "}",
        *(f"{_element(result, (*outer, row[a], column[b]))} = c{a}_{b};" for a in high for b in wide),
        "}",
    ]


def _type(value: Value) -> str:
    return "vec" if value.varying else "real"


def _element(value: Value, index: Index) -> str:
    return f"VEC({value.name}, {value.place(index)})" if value.varying and value.place else value.at(index)
