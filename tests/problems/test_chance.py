"""A stream of its own in the generators that all of a process shares."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.problems.chance import Chance, are_equal, states

DRAWS: list[Callable[[], object]] = [random.random, np.random.rand, lambda: torch.rand(()).item()]


def drawn() -> list[object]:
    return [draw() for draw in DRAWS]


def test_a_stream_goes_on_where_it_ended_and_the_callers_is_left_alone() -> None:
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(5)
    usual = [drawn() for _ in range(2)]
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(5)
    one, other = Chance(2**55), Chance(2**55 + 1)
    with one.used():
        first = drawn()
    between = drawn()
    with other.used():
        others = drawn()
    with one.used():
        second = drawn()
    assert [between, drawn()] == usual
    with Chance(2**55).used():
        assert [drawn(), drawn()] == [first, second]
    assert all(a != b for a, b in zip(first, others, strict=True))


def test_the_callers_is_left_alone_by_what_fails_too() -> None:
    def fail() -> None:
        with Chance(1).used():
            drawn()
            raise ZeroDivisionError

    before = states()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert are_equal(before, states())


@pytest.mark.parametrize("draw", DRAWS)
def test_every_draw_is_seen(draw: Callable[[], object]) -> None:
    with Chance(0).used():
        before = states()
        assert are_equal(before, states())
        draw()
        assert not are_equal(before, states())
