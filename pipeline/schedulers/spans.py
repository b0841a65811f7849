"""Many steps of one of torch's own schedulers by a single call of its ``get_lr``.

Nothing of a schedule is written down again here: what runs is torch's method. In place of the number of one step it is given
those of a whole span of steps, and calculates with all of them at once; in place of the rate of the step before it is given a
stand-in that notes what is done to it, which is then done step after step. Wherever the method takes a turn (``if``) that
not all steps take, those that do otherwise are left to a later call: where each rate follows from the one before, all that come
after them too.

The bits are those of single steps: numpy rounds sums, products and quotients of each element as Python does those of a number,
and all else is done by Python's own functions, element by element.
"""

import math
import operator
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)

from pipeline.runs import Floats

KINDS = (StepLR, MultiStepLR, ConstantLR, LinearLR, ExponentialLR, PolynomialLR, CosineAnnealingLR, CyclicLR, OneCycleLR)
"""Classes whose ``get_lr`` reads the number of the step and the rate of the step before, and keeps nothing of its own."""
CLOSED = (CyclicLR,)
"""Those of them that read nothing but the number of the step, and turn often."""

WORTH = 128
"""Steps that take about as long one by one as in one call for all of them."""
DIVISIONS = (np.divide, np.remainder, np.floor_divide)


class Stretch(NamedTuple):
    """Rates of consecutive steps, (steps,); and the momentum of each, or one for all."""

    lr: Floats
    momentum: Floats | float


def goes_by_spans(scheduler: object) -> bool:
    """Whether nothing but torch's own code says how the scheduler goes on: not with a function of the user's as its scale.

    The optimizer must have one parameter group.
    """
    is_torchs: bool = type(scheduler) in KINDS and getattr(scheduler, "_scale_fn_custom", None) is None
    return is_torchs and len(scheduler.optimizer.param_groups) == 1  # type: ignore[attr-defined]


def stretches(scheduler: Any, steps: int, momentum: Callable[[dict[str, Any]], Any]) -> Iterator[Stretch]:
    """Step the scheduler ``steps`` times, and yield what it sets, stretch by stretch; ``momentum`` reads that of a group."""
    lent = _lent(scheduler)
    stop, short = scheduler.last_epoch + 1 + steps, 0
    scheduler._step_count = lent._step_count = scheduler._step_count + steps
    scheduler._get_lr_called_within_step = lent._get_lr_called_within_step = True  # torch's advice on that, off
    try:
        if type(scheduler) in CLOSED and steps >= WORTH:
            yield from _in_any_order(scheduler, lent, steps, momentum)
        while (left := stop - scheduler.last_epoch - 1) > 0:
            if left >= WORTH and short < 3:
                stretch = _at_once(lent, scheduler.last_epoch + 1, left, momentum)
                short = 0 if len(stretch.lr) >= WORTH else short + 1
                scheduler.last_epoch += len(stretch.lr)
                yield stretch
            else:
                yield from _one_by_one(scheduler, min(WORTH, left), momentum)
                short = 0
    finally:
        scheduler._get_lr_called_within_step = False


def _at_once(lent: Any, first: int, most: int, momentum: Callable[[dict[str, Any]], Any]) -> Stretch:
    """As many steps as one call answers for."""
    (group,) = lent.optimizer.param_groups
    span, before = Span(np.arange(most)), group["lr"]
    lent.last_epoch, group["lr"] = Known(span, np.arange(first, first + most)), Carried(span)
    try:
        with np.errstate(all="ignore"):
            (rate,) = lent.get_lr()
    finally:
        group["lr"] = before
    rates = rate.after(before) if isinstance(rate, Carried) else np.full(span.steps, span.cut(rate))
    stretch = Stretch(rates, span.cut(momentum(group)))
    group.update(_behind(group), lr=float(rates[-1]))
    return stretch


def _in_any_order(scheduler: Any, lent: Any, steps: int, momentum: Callable[[dict[str, Any]], Any]) -> Iterator[Stretch]:
    """All steps, by one call for all of those that take the same turns."""
    (group,) = lent.optimizer.param_groups
    first = scheduler.last_epoch + 1
    rates, momenta = np.empty(steps), np.empty(steps)
    is_left, left = np.ones(steps, dtype=bool), np.arange(steps)
    done = 0
    behind: dict[str, Any] = {}
    try:
        while left.size:
            span = Span(left, is_prefix=False)
            lent.last_epoch = Known(span, first + left)
            with np.errstate(all="ignore"):
                (rate,) = lent.get_lr()
            rates[span.at], momenta[span.at] = span.cut(rate), span.cut(momentum(group))
            if span.at[-1] == steps - 1:
                behind = {**_behind(group), "lr": float(rates[-1])}
            is_left[span.at] = False
            left = np.flatnonzero(is_left)
            done = int(left[0]) if left.size else steps
        group.update(behind)
    finally:
        scheduler.last_epoch += done
        yield Stretch(rates[:done], momenta[:done])


def _behind(group: dict[str, Any]) -> dict[str, Any]:
    """What a call has written into a parameter group, as it is at the last step that the call answers for."""
    return {name: _last(value) for name, value in group.items() if isinstance(value, Known | tuple)}


def _one_by_one(scheduler: Any, steps: int, momentum: Callable[[dict[str, Any]], Any]) -> Iterator[Stretch]:
    """As ``step`` does it: count, ask ``get_lr``, write that into the group."""
    (group,) = scheduler.optimizer.param_groups
    rates: list[float] = []
    momenta: list[float] = []
    try:
        for _ in range(steps):
            scheduler.last_epoch += 1
            (group["lr"],) = scheduler.get_lr()
            rates.append(group["lr"])
            momenta.append(momentum(group))
    except Exception:
        yield Stretch(np.array(rates), np.array(momenta))
        raise
    yield Stretch(np.array(rates), np.array(momenta))


class Span:
    """The steps that one call answers for: of those it began with, those that take every turn as the first does.

    ``at`` (steps,) are their places among all. Where it ``is_prefix``, none comes after one that is left out.
    """

    def __init__(self, at: NDArray[np.int64], *, is_prefix: bool = True) -> None:
        self.at, self._is_prefix = at, is_prefix

    @property
    def steps(self) -> int:
        """How many they are."""
        return len(self.at)

    def turn(self, taken: NDArray[np.bool_]) -> bool:
        """Whether the first step takes a turn; those that do otherwise are no longer of the span."""
        alike = taken == taken[0]
        if otherwise := int(alike.argmin()):  # the place of the first, if there is one
            self.at = self.at[:otherwise] if self._is_prefix else self.at[alike]
        return bool(taken[0])

    def alone(self) -> None:
        """Leave the first step alone in the span."""
        self.at = self.at[:1]

    def each(self, function: Callable[..., Any], *operands: Any) -> "Known":
        """A function of numbers at every step, (steps,) floats; where it raises for any, the span is its first step alone."""
        columns = [self.cut(x).tolist() if isinstance(x, Known) else [x] * self.steps for x in operands]
        try:
            values = np.fromiter(map(function, *columns), float, self.steps)
        except (ArithmeticError, ValueError):  # for some step; if for the first, it is raised again
            self.alone()
            values = np.array([function(*(column[0] for column in columns))], float)
        return Known(self, values)

    def cut(self, value: Any) -> Any:
        """The value at the steps of the span, (steps,), or what is the same at all of them."""
        if not isinstance(value, Known):
            return value
        if value.at is self.at:
            return value.values
        return value.values[: self.steps] if self._is_prefix else value.values[np.searchsorted(value.at, self.at)]


class Known(NDArrayOperatorsMixin):
    """A number that differs from step to step and is known beforehand; ``values`` (steps,) at the steps ``at`` of its span."""

    def __init__(self, span: Span, values: NDArray[Any]) -> None:
        self.span, self.values, self.at = span, values, span.at

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *operands: Any) -> Any:
        """What operators do: element by element."""
        if ufunc is np.power:
            return self.span.each(operator.pow, *operands)
        if ufunc in DIVISIONS and self.span.turn(np.atleast_1d(self.span.cut(operands[1]) == 0)):
            raise ZeroDivisionError("float division by zero")
        result = ufunc(*(self.span.cut(operand) for operand in operands))
        return self.span.turn(result) if result.dtype == bool else Known(self.span, result)

    def __bool__(self) -> bool:
        return self.span.turn(self.span.cut(self) != 0)

    def __floor__(self) -> "Known":
        return Known(self.span, np.floor(self.span.cut(self)))

    def _first(self) -> Any:
        """Asked for one number, it is that of the first step, and the span is that step."""
        self.span.alone()
        return self.values[0].item()

    def __float__(self) -> float:
        return float(self._first())

    def __index__(self) -> int:
        return operator.index(self._first())

    def __hash__(self) -> int:
        return hash(self._first())

    def __str__(self) -> str:
        return str(self._first())


class Carried:
    """The rate of the step before, or a formula of it."""

    __array_ufunc__ = None  # a Known leaves operators to it

    def __init__(self, span: Span, formula: str = "rate", operands: tuple[Any, ...] = ()) -> None:
        self.span, self.formula, self.operands = span, formula, operands

    def _with(self, form: str, other: Any) -> "Carried":
        formula = form.format(self.formula, f"x{len(self.operands)}")
        return Carried(self.span, formula, (*self.operands, other))

    def __add__(self, other: Any) -> "Carried":
        return self._with("({0} + {1})", other)

    def __radd__(self, other: Any) -> "Carried":
        return self._with("({1} + {0})", other)

    def __sub__(self, other: Any) -> "Carried":
        return self._with("({0} - {1})", other)

    def __mul__(self, other: Any) -> "Carried":
        return self._with("({0} * {1})", other)

    def __rmul__(self, other: Any) -> "Carried":
        return self._with("({1} * {0})", other)

    def after(self, rate: float) -> Floats:
        """What it is at every step of the span, one step after the other, if ``rate`` stood before the first; (steps,)."""
        if not self.operands:
            return np.full(self.span.steps, rate)
        differ = tuple(isinstance(operand, Known) for operand in self.operands)
        columns = (self.span.cut(x).tolist() if isinstance(x, Known) else x for x in self.operands)
        return np.array(_recurrence(self.formula, differ)(rate, range(self.span.steps), *columns))


@lru_cache
def _recurrence(formula: str, differ: tuple[bool, ...]) -> Callable[..., list[float]]:
    """The rates of all steps, from the one before and the operands; ``formula`` is made of ``Carried``'s operators.

    ``differ`` says which operands are lists of a value for each step.
    """
    names = [f"x{number}" for number in range(len(differ))]
    each = ["step", *(name for name, differs in zip(names, differ, strict=True) if differs)]
    each_of = ", ".join(["steps", *each[1:]])
    loop = f"for {', '.join(each)} in " + (f"zip({each_of})" if len(each) > 1 else "steps")
    return eval(f"lambda rate, steps, {', '.join(names)}: [rate := {formula} {loop}]")  # type: ignore[no-any-return]


class _Lookup(Counter[int]):
    """Steps and their counts, as MultiStepLR keeps its milestones, that can be asked for a span of steps."""

    def __contains__(self, step: object) -> bool:
        if not isinstance(step, Known):
            return super().__contains__(step)
        steps = step.span.cut(step)
        return step.span.turn(np.logical_or.reduce([steps == key for key in self]))


class _Math:
    """Python's ``math``, with functions that take what is known of a span, too."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(math, name)
        if not callable(function):
            return function
        return lambda *args: args[0].span.each(function, *args) if isinstance(args[0], Known) else function(*args)


def _lent(scheduler: LRScheduler) -> Any:
    """The scheduler, on the same optimizer, with what its methods need to take spans."""
    lent = object.__new__(_with_math(type(scheduler)))  # type: ignore[arg-type]
    vars(lent).update({name: _Lookup(value) if type(value) is Counter else value for name, value in vars(scheduler).items()})
    return lent


@lru_cache
def _with_math(kind: type[LRScheduler]) -> type[LRScheduler]:
    """The class with the same code, in which ``math`` is :class:`_Math`; torch's own stays as it is."""

    def rebound(function: FunctionType) -> FunctionType:
        return FunctionType(function.__code__, {**function.__globals__, "math": _Math()}, closure=function.__closure__)

    own: dict[str, Any] = {}
    for name, member in vars(kind).items():
        function = member.__func__ if isinstance(member, staticmethod) else member
        if isinstance(function, FunctionType):
            own[name] = staticmethod(rebound(function)) if isinstance(member, staticmethod) else rebound(function)
    return type(kind.__name__, (kind,), own)


def _last(value: Any) -> Any:
    """What a parameter group holds behind the span."""
    if isinstance(value, tuple):
        return tuple(_last(part) for part in value)
    return value.span.cut(value)[-1].item() if isinstance(value, Known) else value
