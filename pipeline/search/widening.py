"""A study's range of peak rates: where the best trial lies at an end of it, the following rounds go on beyond.

It follows from the study's own finished rounds alone, so that no study depends on another, and an interrupted one goes on as it
would have.
"""

from collections.abc import Sequence

from pipeline.config.ranges import WIDER, end_of_rates
from pipeline.config.units import LARGEST_PERCENT, LARGEST_RATE
from pipeline.search.space import StudySpace

TIMES = 3
"""How often a range is widened at one end, at the most."""


def widened(space: StudySpace, first: StudySpace, tried: Sequence[tuple[float, float | None]]) -> StudySpace:
    """The space of the next round; ``space`` is that of the last one and ``first`` that of params.yaml.

    ``tried`` are all trials so far, their peak rates and their values; those without one diverged.
    """
    complete = [(value, number) for number, (_, value) in enumerate(tried) if value is not None]
    (low, high), (lowest, highest) = space.rates, first.rates
    best = tried[min(complete)[1]][0] if complete else low  # where all diverged, what does not lies below
    end = end_of_rates(best, [(rate, value is None) for rate, value in tried], low, high)
    if end == "low":
        return space.over(max(low / WIDER, lowest / WIDER**TIMES), high)
    if end == "high":
        most = LARGEST_PERCENT if space.peak.is_percent else LARGEST_RATE
        return space.over(low, min(high * WIDER, highest * WIDER**TIMES, max(most, highest)))
    return space
