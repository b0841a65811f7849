"""What each traced operation is in C: pointwise ones as expressions, reductions as loops.

Operations are those of ATen, each overload by itself: one that is not named here has another meaning. Arithmetic follows
torch's: NaN spreads through maximum, minimum and the activations; whole numbers wrap around, and the sum of truth values is
their "or".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.engine.lanes.values import Kind, UntranslatableError

aten, prims = torch.ops.aten, torch.ops.prims
Write = Callable[..., str]


@dataclass(frozen=True)
class Pointwise:
    """An element of the result from the elements of the operands: how for real numbers, whole ones and truth values.

    Each is called with all arguments of the operation, those left out at their defaults. Operands are numbers of the result's
    kind; where ``compares``, of the kind that they have in common; the first ``untouched`` ones are as they come.
    """

    real: Write | None = None
    whole: Write | None = None
    logical: Write | None = None
    compares: bool = False
    untouched: int = 0
    is_cheap: bool = True

    def write_for(self, kind: Kind) -> Write | None:
        """How it is written for numbers of that kind; None where it is not."""
        return {"real": self.real, "bool": self.logical}.get(kind, self.whole)


@dataclass(frozen=True)
class Reduction:
    """A loop over the reduced elements: its accumulator's ``starts`` for each kind that is known, and its next value."""

    starts: Mapping[Kind, str]
    combined: Pointwise
    is_mean: bool = False


def _function(name: str) -> Write:
    return lambda a: f"F({name})({a})"


def _call(name: str) -> Write:
    return lambda *operands: f"{name}({', '.join(operands)})"


def _operator(sign: str) -> Write:
    return lambda a, b: f"({a} {sign} {b})"


def _is_one(number: str) -> bool:
    return number in {"1", "(real)1.0"}


def _scaled(sign: str) -> Write:
    return lambda a, b, alpha="1": f"({a} {sign} {b})" if _is_one(alpha) else f"({a} {sign} {alpha} * {b})"


def _whole_scaled(name: str) -> Write:
    return lambda a, b, alpha="1": f"{name}({a}, {b if _is_one(alpha) else f'whole_product({alpha}, {b})'})"


def _either(a: str, b: str, alpha: str = "1") -> str:
    if not _is_one(alpha):
        raise UntranslatableError("of truth values with alpha")
    return f"({a} || {b})"


def _turned(write: Write) -> Write:
    """The same with the first two operands in the other order."""
    return lambda a, b, *rest: write(b, a, *rest)


def _clamp(a: str, low: str | None = None, high: str | None = None) -> str:
    if "NAN" in (low, high):
        raise UntranslatableError("with a bound that is NaN")
    above = a if low is None else f"at_least({a}, {low})"
    return above if high is None else f"at_most({above}, {high})"


def _clamped(larger: str, smaller: str) -> Write:
    """Between bounds of which any may be missing, of numbers whose order is given by these functions."""

    def write(a: str, low: str | None = None, high: str | None = None) -> str:
        above = a if low is None else f"{larger}({a}, {low})"
        return above if high is None else f"{smaller}({above}, {high})"

    return write


def _power(a: str, exponent: str) -> str:
    plain = {"(real)2.0": f"square({a})", "(real)3.0": f"cube({a})", "(real)0.5": f"F(sqrt)({a})", "(real)1.0": a}
    return plain.get(exponent, f"F(pow)({a}, {exponent})")


def _divided(a: str, b: str, rounding: str | None) -> str:
    return {None: f"({a} / {b})", "trunc": f"F(trunc)({a} / {b})", "floor": f"floor_divided({a}, {b})"}[rounding]


def _by_number(name: str) -> Write:
    """Of whole numbers, by one that is written out: by 0 torch raises, the processor ends the process."""

    def write(a: str, b: str) -> str:
        if not b.lstrip("-").isdigit() or int(b) in (0, -1):
            raise UntranslatableError("of whole numbers, by other than a number written out, or by 0 or -1")
        return f"{name}({a}, {b})"

    return write


def _whole_divided(a: str, b: str, rounding: str | None) -> str:
    return _by_number({"trunc": "whole_quotient", "floor": "whole_floor_divided"}[str(rounding)])(a, b)


def _choice(condition: str, a: str, b: str) -> str:
    return f"(({condition}) ? ({a}) : ({b}))"


def _unchanged(a: str) -> str:
    return a


def _dear(write: Write) -> Pointwise:
    return Pointwise(write, is_cheap=False)


def _compared(sign: str) -> Pointwise:
    write = _operator(sign)
    return Pointwise(write, write, write, compares=True)


def _bitwise(sign: str) -> Pointwise:
    return Pointwise(whole=_operator(sign), logical=_operator(sign))


def _rounded(name: str) -> Pointwise:
    return Pointwise(_function(name), _unchanged)


_ADD = Pointwise(_scaled("+"), _whole_scaled("whole_sum"), _either)
_SUBTRACT = Pointwise(_scaled("-"), _whole_scaled("whole_difference"))
_SUBTRACT_FROM = Pointwise(_turned(_scaled("-")), _turned(_whole_scaled("whole_difference")))
_MULTIPLY = Pointwise(_operator("*"), _call("whole_product"), _operator("&&"))
_DIVIDE = Pointwise(_operator("/"))
_DIVIDE_ROUNDED = Pointwise(_divided, _whole_divided)
_FLOOR_DIVIDE = Pointwise(_call("floor_divided"), _by_number("whole_floor_divided"))
_REMAINDER = Pointwise(_call("remainder_of"), _by_number("whole_remainder"), is_cheap=False)
_TRUNCATED_REMAINDER = Pointwise(lambda a, b: f"F(fmod)({a}, {b})", _by_number("whole_truncated_remainder"), is_cheap=False)
_POWER = Pointwise(_power, _call("whole_power"), is_cheap=False)
_MAXIMUM = Pointwise(_call("maximum"), _call("larger"), _operator("||"))
_MINIMUM = Pointwise(_call("minimum"), _call("smaller"), _operator("&&"))
_CLAMP = Pointwise(_clamp, _clamped("larger", "smaller"))
_CLAMP_BETWEEN = Pointwise(_clamped("maximum", "minimum"), _clamped("larger", "smaller"))
_SHIFT_RIGHT = Pointwise(whole=_call("shifted_right"))


def _at_most(pointwise: Pointwise) -> Pointwise:
    """The same with an upper bound alone."""
    real, whole = pointwise.write_for("real"), pointwise.write_for("int")
    assert real is not None
    assert whole is not None
    return Pointwise(lambda a, high: real(a, None, high), lambda a, high: whole(a, None, high))


POINTWISE: dict[Any, Pointwise] = {
    **dict.fromkeys((aten.add.Tensor, aten.add.Scalar, prims.add.default), _ADD),
    **dict.fromkeys((aten.sub.Tensor, aten.sub.Scalar, prims.sub.default), _SUBTRACT),
    **dict.fromkeys((aten.rsub.Tensor, aten.rsub.Scalar), _SUBTRACT_FROM),
    **dict.fromkeys((aten.mul.Tensor, aten.mul.Scalar, prims.mul.default), _MULTIPLY),
    **dict.fromkeys((aten.div.Tensor, aten.div.Scalar, prims.div.default), _DIVIDE),
    **dict.fromkeys((aten.div.Tensor_mode, aten.div.Scalar_mode), _DIVIDE_ROUNDED),
    **dict.fromkeys((aten.floor_divide.default, aten.floor_divide.Scalar), _FLOOR_DIVIDE),
    **dict.fromkeys((aten.remainder.Tensor, aten.remainder.Scalar), _REMAINDER),
    **dict.fromkeys((aten.fmod.Tensor, aten.fmod.Scalar), _TRUNCATED_REMAINDER),
    aten.neg.default: Pointwise(lambda a: f"(-({a}))", lambda a: f"whole_difference(0, {a})"),
    aten.reciprocal.default: Pointwise(lambda a: f"(1 / ({a}))"),
    aten.abs.default: Pointwise(_call("absolute"), _call("whole_absolute")),
    aten.sign.default: Pointwise(_call("sign"), _call("whole_sign"), _unchanged),
    aten.relu.default: Pointwise(_call("relu"), lambda a: f"larger({a}, 0)"),
    aten.floor.default: _rounded("floor"),
    aten.ceil.default: _rounded("ceil"),
    aten.trunc.default: _rounded("trunc"),
    aten.round.default: _rounded("rint"),
    aten.maximum.default: _MAXIMUM,
    aten.minimum.default: _MINIMUM,
    **dict.fromkeys((aten.clamp.default, aten.clamp_min.default), _CLAMP),
    **dict.fromkeys((aten.clamp.Tensor, aten.clamp_min.Tensor), _CLAMP_BETWEEN),
    aten.clamp_max.default: _at_most(_CLAMP),
    aten.clamp_max.Tensor: _at_most(_CLAMP_BETWEEN),
    **dict.fromkeys((aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor, aten.pow.Scalar), _POWER),
    aten.sqrt.default: _dear(_function("sqrt")),
    aten.rsqrt.default: _dear(lambda a: f"(1 / F(sqrt)({a}))"),
    aten.exp.default: _dear(_function("exp")),
    aten.expm1.default: _dear(_function("expm1")),
    aten.log.default: _dear(_function("log")),
    aten.log1p.default: _dear(_function("log1p")),
    aten.tanh.default: _dear(_function("tanh")),
    aten.sigmoid.default: _dear(lambda a: f"(1 / (1 + F(exp)(-({a}))))"),
    aten.erf.default: _dear(_function("erf")),
    aten.sin.default: _dear(_function("sin")),
    aten.cos.default: _dear(_function("cos")),
    aten.where.self: Pointwise(_choice, _choice, _choice, untouched=1),
    **dict.fromkeys((aten.eq.Tensor, aten.eq.Scalar), _compared("==")),
    **dict.fromkeys((aten.ne.Tensor, aten.ne.Scalar), _compared("!=")),
    **dict.fromkeys((aten.lt.Tensor, aten.lt.Scalar), _compared("<")),
    **dict.fromkeys((aten.le.Tensor, aten.le.Scalar), _compared("<=")),
    **dict.fromkeys((aten.gt.Tensor, aten.gt.Scalar), _compared(">")),
    **dict.fromkeys((aten.ge.Tensor, aten.ge.Scalar), _compared(">=")),
    aten.logical_and.default: Pointwise(logical=_operator("&&"), untouched=2),
    aten.logical_or.default: Pointwise(logical=_operator("||"), untouched=2),
    aten.logical_not.default: Pointwise(logical=lambda a: f"(!({a}))", untouched=1),
    **dict.fromkeys((aten.bitwise_and.Tensor, aten.bitwise_and.Scalar), _bitwise("&")),
    **dict.fromkeys((aten.bitwise_or.Tensor, aten.bitwise_or.Scalar), _bitwise("|")),
    **dict.fromkeys((aten.bitwise_xor.Tensor, aten.bitwise_xor.Scalar), _bitwise("^")),
    **dict.fromkeys((aten.bitwise_right_shift.Tensor, aten.bitwise_right_shift.Tensor_Scalar), _SHIFT_RIGHT),
    **dict.fromkeys((aten.__rshift__.Tensor, aten.__rshift__.Scalar), _SHIFT_RIGHT),
    aten.bitwise_not.default: Pointwise(whole=lambda a: f"(~({a}))", logical=lambda a: f"(!({a}))"),
    aten.isnan.default: Pointwise(logical=lambda a: f"isnan((real)({a}))", untouched=1),
}
"""Operations on elements. Those that are not cheap are computed once and stored where several others need them."""

FUNCTIONS: dict[Any, str] = {
    operation.default: str(operation).rpartition(".")[2]
    for operation in (aten.exp, aten.expm1, aten.log, aten.log1p, aten.tanh, aten.erf, aten.sin, aten.cos)
}
"""Functions of real numbers that glibc has for whole vectors, which round in their own way."""

_SUM: Mapping[Kind, str] = {"real": "0", "int": "0"}
_LOWEST: Mapping[Kind, str] = {"real": "-INFINITY", "int": "INT64_MIN", "int32": "INT32_MIN", "bool": "0"}
_HIGHEST: Mapping[Kind, str] = {"real": "INFINITY", "int": "INT64_MAX", "int32": "INT32_MAX", "bool": "1"}
_TOTAL = Pointwise(lambda total, a: f"{total} + {a}", _call("whole_sum"))

REDUCTIONS: dict[Any, Reduction] = {
    **dict.fromkeys((aten.sum.default, aten.sum.dim_IntList, prims.sum.default), Reduction(_SUM, _TOTAL)),
    **dict.fromkeys((aten.mean.default, aten.mean.dim), Reduction({"real": "0"}, _TOTAL, is_mean=True)),
    **dict.fromkeys((aten.prod.default, aten.prod.dim_int, prims.prod.default), Reduction(
        {"real": "1", "int": "1"}, Pointwise(lambda total, a: f"{total} * {a}", _call("whole_product"))
    )),
    aten.amax.default: Reduction(_LOWEST, _MAXIMUM),
    aten.amin.default: Reduction(_HIGHEST, _MINIMUM),
}  # fmt: skip
