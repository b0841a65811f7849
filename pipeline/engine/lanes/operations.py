"""What each traced operation is in C: pointwise ones as expressions, views as other indices, reductions as loops.

The names are those of ATen. Arithmetic follows torch's: NaN spreads through maximum, minimum and the activations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.engine.lanes.values import Kind

Write = Callable[..., str]


@dataclass(frozen=True)
class Pointwise:
    """An element of the result from the elements of the operands; ``kind`` of the result, the operands' where None."""

    write: Write
    kind: Kind | None = None
    is_cheap: bool = True


@dataclass(frozen=True)
class Reduction:
    """A loop over the reduced elements: ``start`` of the accumulator, and its next value from itself and an element."""

    start: str
    write: Write
    is_mean: bool = False


def _function(name: str) -> Write:
    return lambda a: f"F({name})({a})"


def _operator(sign: str) -> Write:
    return lambda a, b: f"({a} {sign} {b})"


def _scaled(sign: str) -> Write:
    def write(a: str, b: str, alpha: Any = 1) -> str:
        return f"({a} {sign} {b})" if alpha == 1 else f"({a} {sign} {alpha} * {b})"

    return write


def _clamp(a: str, low: str | None = None, high: str | None = None) -> str:
    above = a if low is None else f"at_least({a}, {low})"
    return above if high is None else f"at_most({above}, {high})"


def _power(a: str, exponent: str) -> str:
    plain = {"(real)2.0": f"square({a})", "(real)3.0": f"cube({a})", "(real)0.5": f"F(sqrt)({a})", "(real)1.0": a}
    return plain.get(exponent, f"F(pow)({a}, {exponent})")


POINTWISE: dict[str, Pointwise] = {
    "add": Pointwise(_scaled("+")),
    "sub": Pointwise(_scaled("-")),
    "rsub": Pointwise(lambda a, b: f"({b} - {a})"),
    "mul": Pointwise(_operator("*")),
    "div": Pointwise(_operator("/"), "real"),
    "neg": Pointwise(lambda a: f"(-({a}))"),
    "reciprocal": Pointwise(lambda a: f"(1 / ({a}))", "real"),
    "abs": Pointwise(lambda a: f"absolute({a})"),
    "sign": Pointwise(lambda a: f"sign({a})"),
    "relu": Pointwise(lambda a: f"relu({a})"),
    "maximum": Pointwise(lambda a, b: f"maximum({a}, {b})"),
    "minimum": Pointwise(lambda a, b: f"minimum({a}, {b})"),
    "clamp": Pointwise(_clamp),
    "clamp_min": Pointwise(_clamp),
    "clamp_max": Pointwise(lambda a, high: _clamp(a, None, high)),
    "pow": Pointwise(_power, "real", is_cheap=False),
    "sqrt": Pointwise(_function("sqrt"), "real", is_cheap=False),
    "rsqrt": Pointwise(lambda a: f"(1 / F(sqrt)({a}))", "real", is_cheap=False),
    "exp": Pointwise(_function("exp"), "real", is_cheap=False),
    "expm1": Pointwise(_function("expm1"), "real", is_cheap=False),
    "log": Pointwise(_function("log"), "real", is_cheap=False),
    "log1p": Pointwise(_function("log1p"), "real", is_cheap=False),
    "tanh": Pointwise(_function("tanh"), "real", is_cheap=False),
    "sigmoid": Pointwise(lambda a: f"(1 / (1 + F(exp)(-({a}))))", "real", is_cheap=False),
    "erf": Pointwise(_function("erf"), "real", is_cheap=False),
    "sin": Pointwise(_function("sin"), "real", is_cheap=False),
    "cos": Pointwise(_function("cos"), "real", is_cheap=False),
    "where": Pointwise(lambda c, a, b: f"(({c}) ? ({a}) : ({b}))"),
    "eq": Pointwise(_operator("=="), "bool"),
    "ne": Pointwise(_operator("!="), "bool"),
    "lt": Pointwise(_operator("<"), "bool"),
    "le": Pointwise(_operator("<="), "bool"),
    "gt": Pointwise(_operator(">"), "bool"),
    "ge": Pointwise(_operator(">="), "bool"),
    "logical_and": Pointwise(_operator("&&"), "bool"),
    "logical_or": Pointwise(_operator("||"), "bool"),
    "logical_not": Pointwise(lambda a: f"(!({a}))", "bool"),
    "bitwise_and": Pointwise(_operator("&")),
    "bitwise_or": Pointwise(_operator("|")),
    "bitwise_xor": Pointwise(_operator("^")),
    "bitwise_right_shift": Pointwise(_operator(">>")),
    "__rshift__": Pointwise(_operator(">>")),
    "bitwise_not": Pointwise(lambda a: f"(!({a}))", "bool"),
    "isnan": Pointwise(lambda a: f"isnan({a})", "bool"),
    "clone": Pointwise(lambda a: a),
    "alias": Pointwise(lambda a: a),
    "detach": Pointwise(lambda a: a),
    "lift_fresh_copy": Pointwise(lambda a: a),
}
"""Operations on elements. Those that are not cheap are computed once and stored where several others need them."""

REDUCTIONS: dict[str, Reduction] = {
    "sum": Reduction("0", lambda total, a: f"{total} + {a}"),
    "mean": Reduction("0", lambda total, a: f"{total} + {a}", is_mean=True),
    "amax": Reduction("-INFINITY", lambda best, a: f"maximum({best}, {a})"),
    "amin": Reduction("INFINITY", lambda best, a: f"minimum({best}, {a})"),
    "prod": Reduction("1", lambda total, a: f"{total} * {a}"),
}
