"""Our schedules against transformers and timm themselves, at every step of drawn runs."""

import re
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.schedulers.known import CASES, document, of_ours, of_timm, of_transformers, pairs


@pytest.mark.parametrize("case", CASES)
def test_every_rate_is_theirs(case: str) -> None:
    """To 1e-12 of it; near zero, where 1 + cos and 1 - t cancel, to 1e-15 of the peak."""
    for theirs, ours, peak in pairs(case):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15 * peak)


def test_the_document_is_what_is_measured() -> None:
    """Figures may be of another power of ten with another processor's mathematics; none is above 1e-12."""
    figure = re.compile(r"\| (0|1e-(\d\d)) \|$", re.MULTILINE)
    found = (ROOT / "docs/schedulers.md").read_text(encoding="utf-8")
    assert figure.sub("|", found) == figure.sub("|", "".join(document())), "run `python -m tests.schedulers.known`"
    shown = [match[2] for match in figure.finditer(found)]
    assert len(shown) == len(CASES)
    assert all(digits is None or int(digits) >= 12 for digits in shown)


# What people wrote down in public, and asked about


def test_a_warmup_that_is_no_prefix_drops_where_it_ends() -> None:
    """20 of 300 epochs from 1e-5 to 1e-3 and down to 1e-5, as in timm's issue 1242: the cosine is 20 epochs old by then."""
    given: dict[str, Any] = {"t_initial": 300, "lr_min": 1e-5, "warmup_t": 20, "warmup_lr_init": 1e-5}
    found = of_ours("Annealing", {"final": 1e-5, "warmup": 20, "start": 1e-5}, 300, 1e-3)
    np.testing.assert_allclose(found, of_timm("CosineLRScheduler", 300, 1e-3, **given), rtol=1e-12)
    assert found[19] == pytest.approx(1e-5 + 0.95 * 0.99e-3)
    assert found[20] == pytest.approx(1e-5 + 0.99e-3 * (1 + np.cos(np.pi / 15)) / 2)


@pytest.mark.parametrize(("first", "left"), [(500, (1 + np.cos(np.pi * 399 / 500)) / 2), (None, 1.5e-5)])
def test_a_prefix_leaves_the_floor_unreached_unless_the_cycle_is_what_is_left(first: int | None, left: float) -> None:
    """100 of 500 epochs, as in timm's pull request 2312; left out, ``first`` is what the warmup leaves."""
    args = {"final": 1e-7, "warmup": 100, "start": 1e-7, "prefix": True, "first": first}
    assert of_ours("Annealing", args, 500, 1e-4)[-1] == pytest.approx(1e-7 + left * 0.999e-4, rel=0.01)


def test_what_comes_behind_the_last_cycle_is_the_floor() -> None:
    """60 steps from 1e-7 to 1e-5, a cosine of 1000 steps, and 1e-7 from there on, as in issue 985 of mlx-examples."""
    found = of_ours("Annealing", {"final": 1e-7, "warmup": 60, "start": 1e-7, "prefix": True, "first": 1000}, 1200, 1e-5)
    assert found[[0, 60, 560]] == pytest.approx([1e-7, 1e-5, 5.05e-6])
    np.testing.assert_allclose(found[1060:], 1e-7, rtol=1e-12)


# Where theirs rounds and ours does not


def test_timm_begins_a_sixth_cycle_late() -> None:
    """1 + 3 + 9 + 27 + 81 is 121, whose cycle begins where a logarithm of 243 to the base 3 comes to a little less than 5."""
    theirs = of_timm("CosineLRScheduler", 200, 1.0, t_initial=1, cycle_mul=3.0, cycle_limit=6)
    ours = of_ours("Annealing", {"first": 1, "growth": 3.0, "cycles": 6}, 200, 1.0)
    assert np.flatnonzero(np.abs(theirs - ours) > 1e-12).tolist() == [121]
    assert (theirs[121], ours[121]) == (pytest.approx(0.0), 1.0)


def test_transformers_misses_a_restart() -> None:
    """49 times a 49th is a little less than 1."""
    theirs = of_transformers("cosine_with_restarts", 98, 1.0, num_cycles=49)
    ours = of_ours("CosineRestarts", {"cycles": 49}, 98, 1.0)
    missed = np.flatnonzero(np.abs(theirs - ours) > 1e-12)
    assert missed.size
    np.testing.assert_array_equal(ours[missed], 1.0)
