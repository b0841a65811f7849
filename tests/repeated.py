"""What is tried a few times, which shows a gross mistake, and for `make test-slow` often: by chance, or in many cases."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest


def few(cases: Iterable[Any], *at_once: Any) -> list[Any]:
    """The cases as a test's parameters; those that are not ``at_once`` try in other words what these do, and are slow."""
    found = list(cases)
    assert all(case in found for case in at_once), at_once
    return [pytest.param(case, marks=[] if case in at_once else [pytest.mark.slow]) for case in found]


def repeated(few: int, many: int) -> pytest.MarkDecorator:
    """The argument ``times`` of a test."""
    return pytest.mark.parametrize("times", [few, pytest.param(many, marks=pytest.mark.slow)])


def by_chance(share: float, times: int, deviations: float = 2.0) -> float:
    """How far a share of so many trials may lie beside the true one: so many of its standard deviations."""
    return deviations * float(np.sqrt(share * (1 - share) / times))
