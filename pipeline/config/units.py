"""Relative values: lengths as a share of the run, rates as a share of the optimizer's learning rate.

A registered function marks an argument with :data:`Length`, :data:`LengthOrZero` or :data:`Rate`; the same pydantic model
then checks what a user wrote (no scale in the validation context) and turns it into torch's numbers (a :class:`Scale` in
the context). A plain number keeps torch's meaning.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, get_args

from pydantic import GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from pipeline.config.wording import mistake

LARGEST_PERCENT = 1_000_000
LARGEST_LENGTH = 1_000_000_000
LARGEST_RATE = 1e9
_PERCENT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{0,40})?(?:[eE][+-]?[0-9]{1,2})?)\s*%")


@dataclass(frozen=True)
class Scale:
    """What 100% means: ``steps`` scheduler steps in the run, ``lr`` the optimizer's learning rate."""

    steps: int
    lr: float


@lru_cache(maxsize=10_000)
def percent(text: str) -> Fraction | None:
    """The exact number before the percent sign, or None where ``text`` is no percentage from 0% to 1000000%."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        return None
    number = Fraction(match.group(1))
    return number if number <= LARGEST_PERCENT else None


def steps_of(share: Fraction, steps: int, minimum: int) -> int:
    """``share`` percent of ``steps``, rounded half up, at least ``minimum``."""
    return max(minimum, int(share * steps / 100 + Fraction(1, 2)))


def rate_at(share: Fraction, lr: float) -> float:
    """``share`` percent of ``lr``; 100% is ``lr`` to the last bit."""
    return float(share / 100) * lr


def plain_rate(rate: float | str, lr: float) -> float:
    """A rate as written (a number or a percentage) as torch's number, where 100% is ``lr``."""
    share = percent(rate) if isinstance(rate, str) else None
    return float(rate) if share is None else rate_at(share, lr)


def plain_length(length: int | str, steps: int) -> int:
    """A length as written (a number or a percentage) as a number of steps, where 100% is ``steps``; it may be zero."""
    share = percent(length) if isinstance(length, str) else None
    return int(length) if share is None else steps_of(share, steps, minimum=0)


@dataclass(frozen=True)
class LengthUnit:
    """A whole number of scheduler steps, or a percentage of those in the run."""

    minimum: int = 1
    optional: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.validate)

    def validate(self, value: Any, info: core_schema.ValidationInfo) -> Any:
        """``value`` as written, or in steps where the context holds a :class:`Scale`."""
        right = f"write a whole number from {self.minimum} up, or a percentage of the run such as 30%"
        if value is None and self.optional:
            return None
        if isinstance(value, str):
            share = percent(value)
            if share is None:
                raise mistake("is not a length", right)
            return steps_of(share, info.context.steps, self.minimum) if isinstance(info.context, Scale) else value
        if isinstance(value, float) and 0 < value < 1:
            raise mistake("is not a length", right.replace("30%", f"{100 * value:g}%"))
        if isinstance(value, bool) or not isinstance(value, int):
            raise mistake("is not a length", right)
        if not self.minimum <= value <= LARGEST_LENGTH:
            raise mistake(f"must lie between {self.minimum} and {LARGEST_LENGTH}", right)
        return value


@dataclass(frozen=True)
class RateUnit:
    """A learning rate, or a percentage of the optimizer's."""

    positive: bool = False
    optional: bool = False

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.validate)

    def validate(self, value: Any, info: core_schema.ValidationInfo) -> Any:
        """``value`` as written, or as torch's number where the context holds a :class:`Scale`."""
        lowest = "a number above 0" if self.positive else "a number from 0 up"
        right = f"write {lowest}, or a percentage of the optimizer's learning rate such as 10%"
        if value is None and self.optional:
            return None
        if isinstance(value, str):
            share = percent(value)
            if share is None or (self.positive and share == 0):
                raise mistake("is not a rate", right)
            return rate_at(share, info.context.lr) if isinstance(info.context, Scale) else value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise mistake("is not a rate", right)
        if not 0 <= value <= LARGEST_RATE or (self.positive and value == 0):
            raise mistake("is not a usable rate", right)
        return float(value)


@dataclass(frozen=True)
class ShareUnit:
    """A percentage from 0% to 100%, kept as written; :func:`share_of` has its number."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: Any) -> str:
        """``value`` as written."""
        number = percent(value) if isinstance(value, str) else None
        if number is None or number > 100:
            raise mistake("is not a share", f"write a percentage from 0% to 100%, {_meant(value)}")
        return str(value)


def _meant(value: Any) -> str:
    """The percentages that a plain number may stand for."""
    if not isinstance(value, int | float) or not 0 < value <= 100 or value == 1:
        return "such as 1%"
    return f"{100 * value:g}% or {value:g}%" if value < 1 else f"such as {value:g}%"


def share_of(written: str) -> float:
    """The number from 0 to 1 that a valid share stands for."""
    return float((percent(written) or Fraction(0)) / 100)


Percentage = Annotated[str, ShareUnit()]
"""A percentage from 0% to 100%."""
Length = Annotated[int, LengthUnit()]
"""A length of at least one scheduler step."""
LengthOrZero = Annotated[int, LengthUnit(minimum=0)]
"""A length that torch allows to be zero, such as a patience."""
OptionalLength = Annotated[int | None, LengthUnit(optional=True)]
"""A length that may be left to torch."""
OptionalLengthOrZero = Annotated[int | None, LengthUnit(minimum=0, optional=True)]
"""Such a length that may be left out."""
Rate = Annotated[float, RateUnit()]
"""A learning rate of at least zero."""
PositiveRate = Annotated[float, RateUnit(positive=True)]
"""A learning rate above zero."""
OptionalPositiveRate = Annotated[float | None, RateUnit(positive=True, optional=True)]
"""A learning rate above zero that may be left out."""


def is_length(mark: object) -> bool:
    """Whether a mark of an argument (see :func:`marks_of`) says that it is a length."""
    return isinstance(mark, LengthUnit)


def is_rate(mark: object) -> bool:
    """Whether a mark of an argument says that it is a rate."""
    return isinstance(mark, RateUnit)


def marks_of(field: FieldInfo) -> list[Any]:
    """What an argument's annotation is marked with; where it is a list, its entries' too."""
    inner = [mark for argument in get_args(field.annotation) for mark in getattr(argument, "__metadata__", ())]
    return [*field.metadata, *inner]
