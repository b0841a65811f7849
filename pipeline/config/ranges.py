"""Where in a searched range the best lies: at an end of it, the range and not the search may have decided."""

import math
from collections.abc import Iterable
from typing import Literal

NEAR = 0.1
"""The share of a range, in its logarithm where that is searched, that counts as its end."""
WIDER = 10.0
"""By how much a range of peak rates is widened at an end."""
End = Literal["low", "high"]


def end_of(value: float, low: float, high: float, *, log: bool) -> End | None:
    """The end of the range that ``value`` lies at."""
    if not low < high:
        return None
    place = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
    return "low" if place < NEAR else "high" if place > 1 - NEAR else None


def end_of_rates(best: float, tried: Iterable[tuple[float, bool]], low: float, high: float) -> End | None:
    """The end that the best peak rate lies at, of ``tried`` ones and whether each diverged.

    None at the upper end where at least half of what was tried above the best diverged: there is nothing beyond.
    """
    above = [diverged for rate, diverged in tried if rate > best]
    end = end_of(best, low, high, log=True)
    return None if end == "high" and above and sum(above) >= len(above) / 2 else end


def written(end: float, *, is_percent: bool) -> str:
    """An end as params.yaml has it."""
    return f"{end:.12g}%" if is_percent else f"{end:.12g}"


def as_params(low: float, high: float, *, is_percent: bool) -> str:
    """A range of peak rates as what to write in params.yaml."""
    ends = (f"{name}: {written(end, is_percent=is_percent)}" for name, end in (("low", low), ("high", high)))
    return f"tune: {{lr: {{{', '.join(ends)}}}}} in params.yaml"
