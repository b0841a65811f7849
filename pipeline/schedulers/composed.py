"""Schedules that users of Hugging Face and timm know and torch has no class for, composed of torch's ``LambdaLR``.

Each is a closed form of the progress through the run, ``step / total_steps``: as in Hugging Face, the first step is trained
at progress 0, and progress 1 lies one step behind the last. Rates fall from the optimizer's own to ``final``. All are stepped
per batch by default. Three have a warmup of their own, because it is more than a line from 0 to the peak. docs/schedulers.md
says which of Hugging Face's and timm's each one is, and how exactly.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.config.arrays import Floats
from pipeline.config.spaces import Range
from pipeline.config.units import Length, LengthOrZero, OptionalLength, Rate
from pipeline.config.wording import counted
from pipeline.schedulers.closed_form import ClosedForm, Formula, cos, power, tanh
from pipeline.schedulers.registry import register

Cooldown = Literal["linear", "cosine", "1-sqrt", "exp"]
Rise = Literal["linear", "cosine", "1-sqrt"]
Shape = Literal["cosine", "polynomial", "tanh"]
Exponent = Annotated[float, Field(gt=0, le=100)]
Waves = Annotated[float, Field(gt=0, le=1000)]
Factor = Annotated[float, Field(ge=0, le=1e6)]


def _to(final: float, optimizer: Optimizer, shape: Formula) -> LambdaLR:
    """From the optimizer's rate, where ``shape`` (of the step) is 1, down to ``final``, where it is 0."""
    lowest = final / optimizer.param_groups[0]["lr"]
    return LambdaLR(optimizer, ClosedForm(lambda step: lowest + (1 - lowest) * shape(step)))


def _cosine(progress: Floats) -> Floats:
    """Half a cosine from 1 to 0."""
    falling: Floats = (1 + cos(np.pi * progress)) / 2
    return falling


RISES: Mapping[Rise, Formula] = {
    "linear": lambda progress: progress,
    "cosine": lambda progress: (1 - cos(np.pi * progress)) / 2,
    "1-sqrt": lambda progress: 1 - np.sqrt(1 - progress),
}
"""From 0 to 1."""
COOLDOWNS: Mapping[Cooldown, Formula] = {
    "linear": lambda progress: 1 - progress,
    "cosine": _cosine,
    "1-sqrt": lambda progress: 1 - np.sqrt(progress),
    "exp": lambda progress: (power(0.1, progress) - 0.1) / 0.9,
}
"""From 1 to 0."""


@register("LinearDecay", interval="batch", search={"final": Range(low="0%", high="20%")})
def linear_decay(optimizer: Optimizer, total_steps: int, final: Rate = 0.0) -> LRScheduler:
    """Straight down to zero: 1 - t (Defazio et al., 2023, arXiv:2310.07831; Hugging Face's ``linear``)."""
    return _to(final, optimizer, lambda step: 1 - step / total_steps)


@register("CosineDecay", interval="batch", search={"final": Range(low="0%", high="30%")})
def cosine_decay(optimizer: Optimizer, total_steps: int, final: Rate = "10%") -> LRScheduler:  # type: ignore[assignment]
    """Half a cosine down to a floor: (1 + cos(pi t)) / 2 (Loshchilov and Hutter, 2017, arXiv:1608.03983)."""
    return _to(final, optimizer, lambda step: _cosine(step / total_steps))


@register("CosineRestarts", interval="batch", search={"cycles": Range(low=1, high=8), "final": Range(low="0%", high="20%")})
def cosine_restarts(
    optimizer: Optimizer, total_steps: int, cycles: Annotated[int, Field(ge=1, le=10_000)] = 2, final: Rate = 0.0
) -> LRScheduler:
    """``cycles`` whole half cosines, each from the top (Loshchilov and Hutter, 2017, arXiv:1608.03983)."""
    return _to(final, optimizer, lambda step: _cosine(step * cycles % total_steps / total_steps))


@register(
    "WarmupStableDecay",
    interval="batch",
    search={
        "warmup": Range(low="0%", high="20%"),
        "decay": Range(low="5%", high="80%", after="warmup"),
        "cooldown": ("linear", "cosine", "1-sqrt"),
        "final": Range(low="0%", high="20%"),
    },
    begins=("warmup",),
)
def warmup_stable_decay(
    optimizer: Optimizer,
    total_steps: int,
    warmup: LengthOrZero = "5%",  # type: ignore[assignment]  # as written
    decay: Length = "20%",  # type: ignore[assignment]
    cooldown: Cooldown = "1-sqrt",
    final: Rate = 0.0,
    start: Rate = 0.0,
    rise: Rise = "linear",
    stable: OptionalLength = None,
    stable_power: Annotated[float, Field(ge=0, le=100)] = 0.0,
    timescale: OptionalLength = None,
    waves: Waves = 0.5,
) -> LRScheduler:
    """Warmup, constant, then a cooldown over the last ``decay`` (Hu et al., 2024, MiniCPM, arXiv:2404.06395).

    The cooldown goes from 1 to 0 as 1 - t, (1 + cos(pi t)) / 2, 1 - sqrt(t) (Haegele et al., 2024, arXiv:2405.18392) or as
    an exponential to a tenth, stretched to reach 0; the warmup from ``start`` along a line or the cosine's or root's mirror
    image. With a ``stable_power`` the rate is not constant between them, but falls as (1 + step / ``timescale``) to minus
    that power, where 1/2 is timm's ``rsqrt``. It takes all that is left, or at most ``stable``: then ``final`` has the rest.
    """
    left = total_steps - warmup - decay
    if left < 0:
        raise ValueError(f"warmup ({warmup}) and decay ({decay}) are longer than the run's {counted(total_steps, 'step')}")
    if stable_power and not timescale:
        raise ValueError("stable_power needs a timescale; as long as the warmup is usual")
    decays_from = warmup + (left if stable is None else min(stable, left))
    lowest, begin = (rate / optimizer.param_groups[0]["lr"] for rate in (final, start))

    def faded(step: Floats) -> Floats:
        fading: Floats = power(1 + np.maximum(step - warmup, 0) / timescale, -stable_power)
        return fading

    def factor(step: Floats) -> Floats:
        risen = begin + (1 - begin) * RISES[rise](np.minimum(step, warmup) / max(warmup, 1))
        fallen = np.minimum(np.maximum(step - decays_from, 0) / decay, 1)
        cooled = np.where(fallen < 1, COOLDOWNS[cooldown](fallen * (2 * waves if cooldown == "cosine" else 1)), 0)
        level = np.maximum(faded(step), lowest) if stable_power else 1.0
        falling: Floats = np.where(step < warmup, risen, lowest + (level - lowest) * cooled)
        return falling

    return LambdaLR(optimizer, ClosedForm(factor))


@register("InverseSqrt", interval="batch", search={"timescale": Range(low="0.5%", high="50%", log=True)}, begins=("warmup",))
def inverse_sqrt(
    optimizer: Optimizer, total_steps: int, timescale: OptionalLength = None, warmup: LengthOrZero = 0
) -> LRScheduler:
    """1 / sqrt(1 + step / ``timescale``) (Vaswani et al., 2017, arXiv:1706.03762; Hugging Face's ``inverse_sqrt``).

    A ``warmup`` of its own leads up to it in a straight line; left out, ``timescale`` is as long, as in the paper.
    """
    if not (timescale := timescale or warmup):
        raise ValueError("write a timescale, or a warmup among its args, whose length it then is; without both, 10000 is usual")

    def factor(step: Floats) -> Floats:
        return np.where(step < warmup, step / max(warmup, 1), 1 / np.sqrt(1 + np.maximum(step - warmup, 0) / timescale))

    return LambdaLR(optimizer, ClosedForm(factor))


@register("REX", interval="batch", search={"final": Range(low="0%", high="20%")})
def rex(optimizer: Optimizer, total_steps: int, final: Rate = 0.0) -> LRScheduler:
    """Reflected exponential: (1 - t) / (1/2 + (1 - t) / 2) (Chen et al., 2022, REX, arXiv:2107.04197)."""
    return _to(final, optimizer, lambda step: (1 - step / total_steps) / (0.5 + 0.5 * (1 - step / total_steps)))


@register(
    "TanhDecay",
    interval="batch",
    search={
        "lower": Range(low=-8.0, high=-2.0),
        "upper": Range(low=1.0, high=5.0),
        "final": Range(low="0%", high="20%"),
    },
)
def tanh_decay(
    optimizer: Optimizer,
    total_steps: int,
    lower: Annotated[float, Field(ge=-20, le=0)] = -6.0,
    upper: Annotated[float, Field(ge=0, le=20)] = 3.0,
    final: Rate = 0.0,
) -> LRScheduler:
    """(1 - tanh(``lower`` + (``upper`` - ``lower``) t)) / 2 (Hsueh et al., 2019, arXiv:1806.01593; timm's ``tanh``)."""
    return _to(final, optimizer, lambda step: (1 - tanh(lower + (upper - lower) * step / total_steps)) / 2)


@register(
    "Annealing",
    interval="batch",
    search={
        "shape": ("cosine", "polynomial", "tanh"),
        "final": Range(low="0%", high="20%"),
        "k": Range(low=0.5, high=3.0, log=True),
        "power": Range(low=0.3, high=4.0, log=True),  # of the polynomial alone
        "warmup": Range(low="0%", high="20%"),
    },
    begins=("warmup",),
)
def annealing(
    optimizer: Optimizer,
    total_steps: int,
    shape: Shape = "cosine",
    final: Rate = 0.0,
    cycles: Annotated[int, Field(ge=1, le=100)] = 1,
    first: OptionalLength = None,
    growth: Annotated[float, Field(ge=0.01, le=100)] = 1.0,
    shrink: Factor = 1.0,
    k: Exponent = 1.0,
    waves: Waves = 0.5,
    power: Exponent = 1.0,
    lower: Annotated[float, Field(ge=-20, le=0)] = -7.0,
    upper: Annotated[float, Field(ge=0, le=20)] = 3.0,
    warmup: LengthOrZero = 0,
    start: Rate = 0.0,
    prefix: bool = False,
) -> LRScheduler:
    """Down to ``final`` along a shape in one or more cycles, after a warmup: timm's ``cosine``, ``tanh`` and ``poly``.

    Of the run's share t, to the power ``k`` (Zhang and Li, 2020, k-decay, arXiv:2004.05909), the shapes are ``waves`` whole
    waves of a cosine (Loshchilov and Hutter, 2017, arXiv:1608.03983), (1 - t) to the ``power``, and a hyperbolic tangent from
    ``lower`` to ``upper`` (Hsueh et al., 2019, arXiv:1806.01593). Each of the ``cycles`` is ``growth`` times as long as the
    last and begins ``shrink`` times as high; they fill the run, or the ``first`` has that length and behind the last comes
    ``final``. The warmup goes from ``start`` to the peak, before the schedule where it is a ``prefix``, else in place of its
    first steps.
    """
    _refuse_long(warmup, total_steps)
    peak = optimizer.param_groups[0]["lr"]
    lowest = final / peak
    starts, lengths = cycles_of(cycles, first, growth, total_steps - warmup * prefix)
    tops = np.array([shrink**cycle for cycle in range(cycles)])
    factor = _in_cycles(_along(shape, waves, power, lower, upper), starts, lengths, tops, lowest, k)
    # timm leads a tangent up to where it then is, and all else to the peak.
    top = float(factor(np.array(float(warmup)))) if shape == "tanh" and not prefix else 1.0
    return LambdaLR(optimizer, ClosedForm(_behind_a_warmup(factor, warmup, start / peak, top, prefix)))


def cycles_of(count: int, first: int | None, growth: float, steps: int) -> tuple[Floats, Floats]:
    """Where cycles begin and how long they are, (count,) each; exact, so that a whole step is one."""
    parts = [Fraction(str(growth)) ** number for number in range(count)]
    shortest = Fraction(first) if first else Fraction(steps) / sum(parts)
    lengths = [shortest * part for part in parts]
    return np.array([0, *accumulate(lengths[:-1])], dtype=float), np.array(lengths, dtype=float)


def _in_cycles(
    along: Callable[[Floats, Floats], Floats], starts: Floats, lengths: Floats, tops: Floats, lowest: float, k: float
) -> Formula:
    """In each cycle from its top to the lowest share along a shape, by the steps done of its length, to the power ``k``."""

    def factor(step: Floats) -> Floats:
        cycle = np.searchsorted(starts, step, side="right") - 1
        length = lengths[cycle]
        done, whole = _to_the_power(np.minimum(step - starts[cycle], length), k), _to_the_power(length, k)
        falling: Floats = lowest + (tops[cycle] - lowest) * along(done, whole)
        return falling

    return factor


def _to_the_power(value: Floats, k: float) -> Floats:
    raised: Floats = value if k == 1 else power(value, k)
    return raised


def _along(shape: Shape, waves: float, exponent: float, lower: float, upper: float) -> Callable[[Floats, Floats], Floats]:
    """From 1, where nothing of the whole is done, to 0, where all is."""
    shapes: dict[Shape, Callable[[Floats, Floats], Floats]] = {
        "cosine": lambda done, whole: (1 + cos(np.pi * (2 * waves) * done / whole)) / 2,
        "polynomial": lambda done, whole: power(1 - done / whole, exponent),
        "tanh": lambda done, whole: np.where(
            done < whole, (1 - tanh(lower * (1 - done / whole) + upper * (done / whole))) / 2, 0
        ),
    }
    return shapes[shape]


def _behind_a_warmup(then: Formula, warmup: int, start: float, top: float, prefix: bool) -> Formula:
    """A straight line from ``start`` towards ``top``, and ``then`` from the step ``warmup`` on: from its own first, or that."""
    if not warmup:
        return then
    shift = warmup if prefix else 0
    return lambda step: np.where(step < warmup, start + (top - start) * step / warmup, then(np.maximum(step - shift, 0)))


def _refuse_long(warmup: int, total_steps: int) -> None:
    if warmup >= total_steps:
        raise ValueError(f"warmup ({warmup}) leaves nothing of the run's {counted(total_steps, 'step')}")


NEVER: Sequence[int] = []


@register(
    "StepDecay",
    interval="batch",
    search={
        "every": Range(low="5%", high="60%"),
        "at": Range(low="10%", high="95%"),
        "gamma": Range(low=0.02, high=0.9, log=True),
        "warmup": Range(low="0%", high="20%"),
    },
    begins=("warmup",),
)
def step_decay(
    optimizer: Optimizer,
    total_steps: int,
    every: OptionalLength = None,
    at: list[Length] = NEVER,  # type: ignore[assignment]
    gamma: Factor = 0.1,
    warmup: LengthOrZero = 0,
    start: Rate = 0.0,
    prefix: bool = False,
) -> LRScheduler:
    """Times ``gamma`` ``every`` so many steps, and ``at`` each of those named, after a warmup: timm's ``step``, ``multistep``.

    The warmup goes in a straight line from ``start`` to the peak, before the schedule where it is a ``prefix``, else in place
    of its first steps. torch's StepLR and MultiStepLR are the same without a warmup.
    """
    _refuse_long(warmup, total_steps)
    moments = np.sort(np.array(at, dtype=float))

    def factor(step: Floats) -> Floats:
        falls = np.searchsorted(moments, step, side="right") + (step // every if every else 0)
        falling: Floats = power(gamma, falls)
        return falling

    rising = start / optimizer.param_groups[0]["lr"]
    return LambdaLR(optimizer, ClosedForm(_behind_a_warmup(factor, warmup, rising, 1.0, prefix)))


@register("ScheduleFree", interval="batch", search={"momentum": Range(low=0.5, high=0.98)}, schedule_free=True)
def schedule_free(optimizer: Optimizer, total_steps: int, momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9) -> LRScheduler:
    """No schedule, but averaged weights (Defazio et al., 2024, The Road Less Scheduled, arXiv:2405.15682).

    The problem's optimizer gives way to ``SGDScheduleFree`` or ``AdamWScheduleFree`` of the package schedulefree.
    ``momentum`` (there beta1 for AdamW) is the weight of the averaged weights where gradients are taken.
    """
    return LambdaLR(optimizer, ClosedForm(lambda step: 1.0))
