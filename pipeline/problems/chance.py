"""A stream of random numbers for code that draws from the generators that all of a process shares.

There are three of them: Python's ``random``, numpy's ``np.random`` and torch's own. A model of the user's own may draw from
any, and must draw the same numbers in every process, whatever else is drawn there.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class Chance:
    """One stream of all three generators; the caller's own are left alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._states: list[Any] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """In the block, all generators give this stream's numbers; the next block goes on where this one ended."""
        before = states()
        try:
            if self._states is None:
                _begin(self._seed)
            else:
                _go_on(self._states)
            yield
            self._states = states()
        finally:
            _go_on(before)

    def state(self) -> Any:
        """Where the stream is, in nothing but numbers, texts and tensors."""
        return as_lists(self._states)

    def go_on(self, state: Any) -> None:
        """Take up another's ``state``."""
        self._states = as_arrays(state)


def as_lists(state: Any) -> Any:
    """The state of a generator with its numpy arrays as tuples behind a mark, which needs no numpy to be read."""
    if isinstance(state, np.ndarray):
        return ("array", str(state.dtype), state.tolist())
    if isinstance(state, dict):
        return {key: as_lists(value) for key, value in state.items()}
    return type(state)(map(as_lists, state)) if isinstance(state, (list, tuple)) else state


def as_arrays(state: Any) -> Any:
    """What :func:`as_lists` made lists of, as it was."""
    if isinstance(state, tuple) and state[:1] == ("array",):
        return np.array(state[2], dtype=state[1])
    if isinstance(state, dict):
        return {key: as_arrays(value) for key, value in state.items()}
    return type(state)(map(as_arrays, state)) if isinstance(state, (list, tuple)) else state


def states() -> list[Any]:
    """Where the generators are: equal, by :func:`are_equal`, as long as nothing is drawn."""
    of_cuda = torch.cuda.get_rng_state_all() if _has_cuda() else []
    return [random.getstate(), np.random.get_state(legacy=True), torch.get_rng_state(), *of_cuda]


def are_equal(one: list[Any], other: list[Any]) -> bool:
    """Whether nothing was drawn between the two."""
    numpys = [[np.asarray(part).tolist() for part in found[1]] for found in (one, other)]
    return one[0] == other[0] and numpys[0] == numpys[1] and all(map(torch.equal, one[2:], other[2:]))


def _has_cuda() -> bool:
    """Whether there is a generator on a device: before anything is there, nothing is drawn there."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _begin(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if _has_cuda():
        torch.cuda.manual_seed_all(seed)


def _go_on(found: list[Any]) -> None:
    random.setstate(found[0])
    np.random.set_state(found[1])
    torch.set_rng_state(found[2])
    for device, state in enumerate(found[3:]):
        torch.cuda.set_rng_state(state, device)
