"""Schedules that users of Hugging Face and timm know and torch has no class for, composed of torch's ``LambdaLR``.

Each is a closed form of the progress through the run, ``step / total_steps``: as in Hugging Face, the first step is trained
at progress 0, and progress 1 lies one step behind the last. Rates fall from the optimizer's own to ``final``. All are stepped
per batch by default.
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.runs import Floats
from pipeline.schedulers.closed_form import ClosedForm, Formula, cos, tanh
from pipeline.schedulers.registry import register
from pipeline.spaces import Range
from pipeline.units import Length, LengthOrZero, Rate

Cooldown = Literal["linear", "cosine", "1-sqrt"]


def _to(final: float, optimizer: Optimizer, shape: Formula) -> LambdaLR:
    """From the optimizer's rate, where ``shape`` (of the step) is 1, down to ``final``, where it is 0."""
    lowest = final / optimizer.param_groups[0]["lr"]
    return LambdaLR(optimizer, ClosedForm(lambda step: lowest + (1 - lowest) * shape(step)))


def _cosine(progress: Floats) -> Floats:
    """Half a cosine from 1 to 0."""
    falling: Floats = (1 + cos(np.pi * progress)) / 2
    return falling


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
) -> LRScheduler:
    """Linear warmup, constant, then a cooldown over the last ``decay`` (Hu et al., 2024, MiniCPM, arXiv:2404.06395).

    The cooldown goes from 1 to 0 as 1 - t, (1 + cos(pi t)) / 2 or 1 - sqrt(t) (Haegele et al., 2024, arXiv:2405.18392).
    """
    if warmup + decay > total_steps:
        raise ValueError(f"warmup ({warmup}) and decay ({decay}) are longer than the run's {total_steps} steps")
    shapes: dict[Cooldown, Formula] = {
        "linear": lambda progress: 1 - progress,
        "cosine": _cosine,
        "1-sqrt": lambda progress: 1 - np.sqrt(progress),
    }
    decays_from = total_steps - decay
    lowest = final / optimizer.param_groups[0]["lr"]

    def factor(step: Floats) -> Floats:
        fallen = np.maximum(step - decays_from, 0) / decay
        return np.where(step < warmup, step / max(warmup, 1), lowest + (1 - lowest) * shapes[cooldown](fallen))

    return LambdaLR(optimizer, ClosedForm(factor))


@register("InverseSqrt", interval="batch", search={"timescale": Range(low="0.5%", high="50%", log=True)})
def inverse_sqrt(optimizer: Optimizer, total_steps: int, timescale: Length) -> LRScheduler:
    """1 / sqrt(1 + step / ``timescale``) (Vaswani et al., 2017, arXiv:1706.03762; Hugging Face's ``inverse_sqrt``).

    The paper's own schedule is the one with ``warmup`` as long as ``timescale``.
    """
    return LambdaLR(optimizer, ClosedForm(lambda step: 1 / np.sqrt(1 + step / timescale)))


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


@register("ScheduleFree", interval="batch", search={"momentum": Range(low=0.5, high=0.98)}, schedule_free=True)
def schedule_free(optimizer: Optimizer, total_steps: int, momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9) -> LRScheduler:
    """No schedule, but averaged weights (Defazio et al., 2024, The Road Less Scheduled, arXiv:2405.15682).

    The problem's optimizer gives way to ``SGDScheduleFree`` or ``AdamWScheduleFree`` of the package schedulefree.
    ``momentum`` (there beta1 for AdamW) is the weight of the averaged weights where gradients are taken.
    """
    return LambdaLR(optimizer, ClosedForm(lambda step: 1.0))
