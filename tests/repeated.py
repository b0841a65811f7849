"""What chance has a hand in is tried a few times, which shows a gross mistake, and for `make test-slow` often."""

import numpy as np
import pytest


def repeated(few: int, many: int) -> pytest.MarkDecorator:
    """The argument ``times`` of a test."""
    return pytest.mark.parametrize("times", [few, pytest.param(many, marks=pytest.mark.slow)])


def by_chance(share: float, times: int, deviations: float = 2.0) -> float:
    """How far a share of so many trials may lie beside the true one: so many of its standard deviations."""
    return deviations * float(np.sqrt(share * (1 - share) / times))
