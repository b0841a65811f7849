"""A compiled program against torch: the same step and the same evaluation of a block of runs, on numbers that are drawn.

A translation that is wrong would train something else without a word. What is compared is all that a program computes: the
loss, every new parameter (and with it every gradient), what the optimizer keeps, and an evaluation, in every lane.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from pipeline.engine.functions import Functions, State
from pipeline.engine.program import Epochs, Program, Runs

DRAWS = 3
"""How often a difference has to be seen: a number beside a threshold may fall to either side of it, but not every time."""
EVALUATED = 80
"""Samples of an evaluation, which are no whole number of its steps."""
SHAKEN = 4
"""Last places by which torch's own inputs are moved to see what rounding makes of its results."""
AS_TORCH = 50
"""How many times as far as torch's own results under rounding ours may lie: sums are taken in another order."""
PLACES = 300
"""Last places of a tensor's largest change that are never a difference."""
FROM_DRAW = 2**24
"""Random numbers of dropout are below this."""


class Compiled(Program, Protocol):
    """A program that shows its runs' state."""

    def state(self) -> State:
        """The runs' state."""
        ...


@dataclass(frozen=True)
class Drawn:
    """What the lanes of a block are given: their state and numbers, one batch, and the samples of an evaluation."""

    state: State
    numbers: Tensor
    rows: Tensor
    weights: Tensor
    evaluated: Tensor


Results = Mapping[str, Tensor]
"""What is compared, by name, each (lanes, …)."""


def difference(make: Callable[[Runs], Compiled], runs: Runs, lanes: int) -> str:
    """Where the program that ``make`` makes of the runs' functions differs from torch; empty where it does not."""
    seen: dict[str, Tensor] = {}
    for seed in range(DRAWS):
        drawn = _drawn(runs, lanes, seed)
        wrong = _wrong(drawn, _of_program(make, runs, drawn), *_of_torch(runs, drawn))
        seen = {name: lanes & seen.get(name, lanes) for name, lanes in wrong.items()}
        if not any(lanes.any() for lanes in seen.values()):
            return ""
    return ", ".join([name for name, lanes in seen.items() if lanes.any()][:3])


def same_bits(one: Callable[[Runs], Compiled], other: Callable[[Runs], Compiled], runs: Runs, lanes: int) -> bool:
    """Whether two programs of the runs' functions compute the same, to the last bit."""
    for seed in range(DRAWS):
        drawn = _drawn(runs, lanes, seed)
        ours, theirs = (_of_program(make, runs, drawn) for make in (one, other))
        if not all(torch.allclose(ours[name], theirs[name], rtol=0, atol=0, equal_nan=True) for name in ours):
            return False
    return True


def _drawn(runs: Runs, lanes: int, seed: int) -> Drawn:
    """States near those that the runs begin with: what begins at 0 is moved, too, so that no gradient vanishes for it."""
    draw = torch.Generator().manual_seed(seed)
    dtype, functions = runs.state[0].dtype, runs.functions
    first = [values[torch.arange(lanes) % len(values)] for values in runs.state]
    parameters = len(functions.names)
    state = [values + 0.1 * torch.randn(values.shape, generator=draw, dtype=dtype) for values in first[:parameters]]
    kept = [values + 1e-3 * torch.rand(values.shape, generator=draw, dtype=dtype) for values in first[parameters:]]
    numbers = 0.1 + 0.8 * torch.rand((runs.kinds, lanes), generator=draw, dtype=dtype)
    if functions.drawn:
        numbers[-2:] = torch.randint(FROM_DRAW, (2, lanes), generator=draw).to(dtype)
    rows, evaluated = (torch.randint(len(runs.x), (count,), generator=draw) for count in (runs.batch_size, EVALUATED))
    weights = (0.5 + torch.rand(runs.batch_size, generator=draw, dtype=dtype)) / runs.batch_size
    return Drawn([*state, *kept], numbers, rows, weights, evaluated)


def _of_program(make: Callable[[Runs], Compiled], runs: Runs, drawn: Drawn) -> Results:
    lanes = drawn.numbers.shape[1]
    parts = {"validation": drawn.evaluated[None]}
    program = make(replace(runs, state=drawn.state, of_run=torch.zeros(lanes, dtype=torch.int64), parts=parts))
    loss, metric = (torch.from_numpy(values) for values in program.evaluate("validation"))
    epochs = Epochs(
        rows=drawn.rows.numpy().astype(np.int32)[None, None, None],
        weights=drawn.weights.double().numpy()[None],
        sizes=np.ones(1),
        numbers=drawn.numbers.double().numpy()[None],
        is_evaluated=np.zeros(1, dtype=np.bool_),
    )
    step_loss = torch.from_numpy(program.train(epochs).train_loss[0])
    return _named(runs.functions, [*program.state(), step_loss, loss, metric])


def _of_torch(runs: Runs, drawn: Drawn) -> tuple[Results, list[Results]]:
    """Torch's results in the program's precision; and others that are as right: of inputs a little moved, in double."""
    plain = _lane_by_lane(runs, runs.functions, drawn)
    shaken = _all_at_once(replace(runs, x=_shaken(runs.x)), runs.functions, replace(drawn, state=_all_shaken(drawn)))
    precise = _in_double(runs, drawn) if drawn.numbers.dtype == torch.float32 else None
    return plain, [shaken] if precise is None else [shaken, precise]


def _all_at_once(runs: Runs, functions: Functions, drawn: Drawn) -> Results:
    with torch.no_grad():
        return _named(functions, vmap(_of_one_run(runs, functions, drawn), in_dims=(0, 1))(drawn.state, drawn.numbers))


def _lane_by_lane(runs: Runs, functions: Functions, drawn: Drawn) -> Results:
    """Each by itself, as a run is defined: ``vmap`` has operations, as ``roll`` of one number, that reach another lane."""
    of_one = _of_one_run(runs, functions, drawn)
    with torch.no_grad():
        found = [of_one([values[lane] for values in drawn.state], numbers) for lane, numbers in enumerate(drawn.numbers.T)]
    return _named(functions, [torch.stack(values) for values in zip(*found, strict=True)])


def _of_one_run(runs: Runs, functions: Functions, drawn: Drawn) -> Callable[[State, Tensor], State]:
    """A step, then the means of an evaluation, of a run with that state and those numbers."""
    x, y = runs.x, runs.y
    ones = torch.ones(len(drawn.evaluated), dtype=drawn.weights.dtype)

    def results(state: State, numbers: Tensor) -> State:
        stepped = functions.step(state, numbers, x[drawn.rows], y[drawn.rows], drawn.weights)
        sums = functions.evaluation(state, x[drawn.evaluated], y[drawn.evaluated], ones)
        return [*stepped, *(total / len(ones) for total in sums)]

    return results


def _in_double(runs: Runs, drawn: Drawn) -> Results | None:
    """The results in double precision, of a model that can be had in it."""
    x, y = (values.double() if values.is_floating_point() else values for values in (runs.x, runs.y))
    state, numbers, weights = [values.double() for values in drawn.state], drawn.numbers.double(), drawn.weights.double()
    try:
        functions = replace(runs.functions, model=copy.deepcopy(runs.functions.model).double())
        precise = replace(drawn, state=state, numbers=numbers, weights=weights)
        return _all_at_once(replace(runs, x=x, y=y), functions, precise)
    except Exception:  # noqa: BLE001  # a model may insist on its own precision; then it is judged in that alone
        return None


def _all_shaken(drawn: Drawn) -> State:
    return [_shaken(values) for values in drawn.state]


def _shaken(values: Tensor) -> Tensor:
    """Moved a little, but for whole numbers, which may be categories."""
    if not values.is_floating_point():
        return values
    draw = torch.Generator().manual_seed(0)
    moves = torch.rand(values.shape, generator=draw, dtype=values.dtype) * 2 - 1
    return torch.where(values == values.round(), values, values * (1 + SHAKEN * torch.finfo(values.dtype).eps * moves))


def _named(functions: Functions, results: list[Tensor]) -> Results:
    *state, loss, evaluated, metric = results
    names = [f"the step of {name}" for name in functions.names]
    statistics = [f"{name}, which is not trained," for name in functions.untrained]
    count = len(state) - len(names) - len(statistics)
    kept = [f"number {place + 1} that the optimizer keeps" for place in range(count)]
    figures = {"the loss of a step": loss, "the loss of an evaluation": evaluated, "the metric": metric}
    return {**figures, **dict(zip([*names, *kept, *statistics], state, strict=True))}


def _wrong(drawn: Drawn, ours: Results, plain: Results, others: list[Results]) -> dict[str, Tensor]:
    """For each result, in which lanes it differs by more than rounding does, (lanes,)."""
    names = list(plain)
    before = dict(zip(names[-len(drawn.state) :], drawn.state, strict=True))
    found = {}
    for name, expected in plain.items():
        spread = torch.stack([_largest(expected, other[name]) for other in others]).nan_to_num(0, 0, 0).amax(dim=0)
        eps = torch.finfo(drawn.numbers.dtype).eps
        start = before.get(name, torch.zeros_like(expected))
        change, size = (_largest(expected, from_where).nan_to_num(0, 0, 0) for from_where in (start, torch.zeros_like(start)))
        allowed = AS_TORCH * spread.median() + eps * (PLACES * change + SHAKEN * size)
        found[name] = ~(_largest(expected, ours[name]) <= allowed)
    return found


def _largest(one: Tensor, other: Tensor) -> Tensor:
    """The largest difference in each lane, (lanes,); none between infinities of one sign, nor between NaN and NaN."""
    a, b = one.double().flatten(1) if one.dim() > 1 else one.double()[:, None], other.double().reshape(len(other), -1)
    same = (a == b) | (a.isnan() & b.isnan())
    return torch.where(same, 0.0, (a - b).abs()).nan_to_num(float("inf"), float("inf")).amax(dim=1)
