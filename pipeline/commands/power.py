"""What so many seeds could tell, and fewer: the smallest difference to the baseline that they find four times in five."""

import contextlib

import numpy as np

from pipeline.analysis.epochs import figures
from pipeline.analysis.noise import smallest
from pipeline.analysis.statistics import matrices
from pipeline.config.errors import PipelineError
from pipeline.config.params import Params
from pipeline.runs import results
from pipeline.statistics.components import LEVEL, as_share, differences, level
from pipeline.statistics.forecast import in_spreads

FEWEST = 3
"""Seeds of the smallest study that is spoken of."""


def smaller(seeds: int) -> list[int]:
    """Half as many seeds, and a quarter."""
    return [count for count in (seeds // 2, seeds // 4) if count >= FEWEST]


def measured(params: Params, problem: str, seeds: list[int]) -> list[float]:
    """By the runs there are of a problem, for each number of seeds, as shares of the baseline's loss; or nothing.

    At the epoch that is judged, for the median scheduler on these data, and all of them told apart at once, as the report does.
    """
    baseline = params.report.baseline
    for stage in ("confirm", "train"):
        with contextlib.suppress(PipelineError, ValueError):
            losses = matrices(figures(*results.read_runs(problem, stage), params.report.at))
            if pairs := [found for (_, other), found in differences(losses).items() if other == baseline]:
                scale = level(losses[baseline]).mean
                found = [as_share(smallest(pairs, losses, n), scale) for n in seeds]
                if np.isfinite(found).all():
                    return found
    return []


def assumed(schedulers: int, seeds: list[int]) -> list[float]:
    """The same where nothing was measured, in standard deviations over seeds of the difference between two schedulers."""
    return [in_spreads(count, LEVEL / max(1, schedulers - 1)) for count in seeds]
