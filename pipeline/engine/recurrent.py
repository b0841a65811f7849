"""Recurrent layers step by step, which torch computes by one operation."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as f

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State, Sequence[Tensor]], State]
"""The next state from the part of the gates that follows from the input, the state, and the hidden state's weights."""
Drop = Callable[[Tensor, float], Tensor]
"""Dropout of (samples, …) with that probability."""


def _recurrent(
    cell: Cell, states: int, x: Tensor, start: Any, weights: Any, bias: Any = True, layers: int = 1, dropout: float = 0.0,
    training: bool = False, bidirectional: bool = False, batch_first: bool = False, *, drop: Drop | None = None,
) -> Any:  # fmt: skip
    """A recurrent layer, step by step: its outputs, then its last state, as torch's own have them."""
    drops = training and dropout > 0
    if not isinstance(bias, bool) or (drops and not drop):  # packed sequences, and random numbers of torch's own
        return NotImplemented
    starts = list(zip(*(start if states > 1 else [start]), strict=True))
    per = len(weights) // len(starts)
    values = x.transpose(0, 1) if batch_first else x
    ends: list[State] = []
    for layer in range(layers):
        if drop and drops and layer:
            values = drop(values.transpose(0, 1), dropout).transpose(0, 1)
        found = []
        for direction in range(1 + bidirectional):
            place = len(ends)
            into, *rest = weights[place * per : (place + 1) * per]
            bias_into, *rest = [rest.pop(1), *rest] if bias else [None, *rest]
            steps = f.linear(values, into, bias_into).unbind(0)
            state, outputs = starts[place], []
            for step in reversed(steps) if direction else steps:
                state = cell(step, state, rest)
                outputs.append(state[0])
            ends.append(state)
            found.append(torch.stack(outputs[::-1] if direction else outputs))
        values = torch.cat(found, dim=-1) if bidirectional else found[0]
    last = tuple(torch.stack(kind) for kind in zip(*ends, strict=True))
    return (values.transpose(0, 1) if batch_first else values), *last


def _hidden(state: State, weights: Sequence[Tensor]) -> Tensor:
    """What the hidden state adds to the gates; a bias stands behind the weights, and before those of a projection."""
    return f.linear(state[0], weights[0], weights[1] if len(weights) > 1 and weights[1].dim() == 1 else None)


def _lstm_cell(gates: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    entering, kept, new, shown = (gates + _hidden(state, weights)).chunk(4, dim=-1)
    inner = kept.sigmoid() * state[1] + entering.sigmoid() * new.tanh()
    outer = shown.sigmoid() * inner.tanh()
    is_projected = outer.shape[-1] != state[0].shape[-1]
    return (f.linear(outer, weights[-1]) if is_projected else outer), inner


def _gru_cell(gates: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    (reset, kept, new), (of_reset, of_kept, of_new) = gates.chunk(3, dim=-1), _hidden(state, weights).chunk(3, dim=-1)
    share = (kept + of_kept).sigmoid()
    candidate = (new + (reset + of_reset).sigmoid() * of_new).tanh()
    return (candidate + share * (state[0] - candidate),)


def _plain_cell(activation: Callable[[Tensor], Tensor], gates: Tensor, state: State, weights: Sequence[Tensor]) -> State:
    return (activation(gates + _hidden(state, weights)),)


def _single(cell: Cell, x: Tensor, state: Any, into: Tensor, hidden: Tensor, *biases: Tensor | None) -> Any:
    """A cell that the model steps itself."""
    of_input, of_hidden = biases or (None, None)
    states = state if isinstance(state, (tuple, list)) else (state,)
    found = cell(f.linear(x, into, of_input), tuple(states), [hidden] if of_hidden is None else [hidden, of_hidden])
    return found if len(found) > 1 else found[0]


RECURRENT: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.lstm: partial(_recurrent, _lstm_cell, 2),
    torch.gru: partial(_recurrent, _gru_cell, 1),
    torch.rnn_tanh: partial(_recurrent, partial(_plain_cell, torch.tanh), 1),
    torch.rnn_relu: partial(_recurrent, partial(_plain_cell, torch.relu), 1),
}
"""Layers: torch's function → how its result is made; ``NotImplemented`` where torch has to do it itself."""
CELLS: Mapping[Callable[..., Any], Callable[..., Any]] = {
    torch.lstm_cell: partial(_single, _lstm_cell),
    torch.gru_cell: partial(_single, _gru_cell),
    torch.rnn_tanh_cell: partial(_single, partial(_plain_cell, torch.tanh)),
    torch.rnn_relu_cell: partial(_single, partial(_plain_cell, torch.relu)),
}
"""The same of cells that the model steps itself."""
