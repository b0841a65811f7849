"""What a model draws in training with torch's functions, from two numbers that are handed in: as dropout layers have it.

torch draws from one stream for the whole process, which runs that train side by side cannot share. Here a draw is a hash of
the run's own two numbers of the step, of which draw of the forward it is, and of each element's place: the same side by side
as alone. See :mod:`pipeline.problems.dropout`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn import functional as f
from torch.overrides import TorchFunctionMode

from pipeline.engine.recurrent import RECURRENT
from pipeline.problems.chance import Chance
from pipeline.problems.dropout import WORD, hashed
from pipeline.problems.problem import Problem

Make = Callable[..., Any]
Made = Mapping[Callable[..., Any], Make]
"""torch's function → how its result is made; ``NotImplemented`` where torch has to do it itself."""
SAMPLES = 4
"""Samples that a model is tried on."""
TRIED_AT = 6_074_917_380_143
"""Seed of torch's generator while a model is tried; a model that seeds it will have another."""
BEHIND_LAYERS = 2**16
"""The number of a forward's first draw: dropout layers are numbered from 0."""


class Replacing(TorchFunctionMode):
    """In the block, functions of torch are made as said; ``composed`` ones are, of such functions."""

    def __init__(self, made: Made, composed: Made | None = None) -> None:
        super().__init__()
        self._made, self._composed = made, composed or {}

    def __torch_function__(
        self, func: Make, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What torch calls in place of ``func``; it is not called for what is called here."""
        given = kwargs or {}
        if func in self._composed:
            with self:
                return self._composed[func](*args, **given)
        found = self._made[func](*args, **given) if func in self._made else NotImplemented
        return func(*args, **given) if found is NotImplemented else found


class Draws:
    """The draws of a forward, one after the other, from the two whole numbers ``draw``."""

    def __init__(self, draw: Tensor) -> None:
        self.draw, self.count = draw, 0

    def made(self) -> Made:
        """How functions that draw are made."""
        recurrent = {function: partial(_only_dropping, make, self) for function, make in RECURRENT.items()}
        return {**recurrent, **{function: partial(_without_generator, make, self) for function, make in _MADE.items()}}

    def used(self) -> Replacing:
        """In the block, functions that draw are made so."""
        return Replacing(self.made(), COMPOSED)

    def bits(self, shape: Sequence[int], device: Any) -> Tensor:
        """32 for each element."""
        self.count += 1
        first, second = self.draw[:2].to(device).long().unbind()
        number = torch.arange(math.prod(shape), device=device).reshape(shape)
        found: Tensor = hashed(number, first, second, BEHIND_LAYERS + self.count)
        return found

    def uniform(self, shape: Sequence[int], device: Any) -> Tensor:
        """From 0 to 1, without 1."""
        return (self.bits(shape, device) >> 8) * 2.0**-24

    def normal(self, shape: Sequence[int], device: Any) -> Tensor:
        """Of mean 0 and deviation 1 (Box and Muller, 1958)."""
        one, other = self.uniform(shape, device), self.uniform(shape, device)
        return (-2 * (1 - one).log()).sqrt() * (2 * math.pi * other).cos()

    def drop(self, x: Tensor, p: float, *, whole_channels: bool = False) -> Tensor:
        """Dropout of ``x`` (samples, …)."""
        return torch.where(self._kept(x, p, whole_channels), x, 0.0) / (1 - p or 1.0)

    def alpha_drop(self, x: Tensor, p: float, *, whole_channels: bool = False) -> Tensor:
        """Dropout to the negative limit of SELU, which keeps mean and variance (Klambauer et al., 2017)."""
        limit = -1.7580993408473766
        scale = 0.0 if p == 1 else ((1 - p) * (1 + p * limit**2)) ** -0.5
        return scale * torch.where(self._kept(x, p, whole_channels), x, limit) - scale * p * limit

    def _kept(self, x: Tensor, p: float, whole_channels: bool) -> Tensor:
        shape = (*x.shape[:2], *(1 for _ in x.shape[2:])) if whole_channels else x.shape
        return self.bits(shape, x.device) >= round(p * WORD)


class _Watched(Draws):
    """Draws that note whether the model had seeded torch's own generator before one of them."""

    is_seeded = False

    def bits(self, shape: Sequence[int], device: Any) -> Tensor:
        """As in all training."""
        self.is_seeded = self.is_seeded or torch.initial_seed() != TRIED_AT
        return super().bits(shape, device)


def draws_by_functions(problem: Problem) -> bool:
    """Whether the problem's model draws in training with such functions."""
    if problem not in _found:
        _found[problem] = _draws(problem)
    return _found[problem]


_found: WeakKeyDictionary[Problem, bool] = WeakKeyDictionary()


def _draws(problem: Problem) -> bool:
    samples = problem.data.samples([0])
    x = torch.from_numpy(samples.x[samples.parts["train"][0][:SAMPLES]])
    model, draws = problem.new_model(0, "final"), _Watched(torch.zeros(2))
    with Chance(TRIED_AT).used(), draws.used():
        try:
            outputs = model(x)
            forward = draws.count
            outputs.sum().backward()
        except Exception:  # noqa: BLE001  # whatever it is, it is told when the model is tried out
            return False
    # What is drawn behind a seed of the model's own is the same each time; what is drawn anew in the backward, as behind a
    # checkpoint, would be another draw.
    return not draws.is_seeded and 0 < forward == draws.count


def _without_generator(make: Make, draws: Draws, *args: Any, **given: Any) -> Any:
    """With a generator of its own, or into memory of its own, torch draws."""
    if any(given.pop(key, None) is not None for key in ("generator", "out")):
        return NotImplemented
    return make(draws, *args, **given)


def _only_dropping(make: Make, draws: Draws, *args: Any) -> Any:
    """A recurrent layer, where it drops; without, torch's own is faster alone."""
    drops = len(args) == 9 and args[5] and args[6]  # torch's own call of one that is not packed
    return make(*args, drop=draws.drop) if drops else NotImplemented


def _dropout(
    draws: Draws, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, whole_channels: bool = False
) -> Tensor:
    return _put(x, draws.drop(x, p, whole_channels=whole_channels), inplace=inplace) if training and p else x


def _alpha_dropout(
    draws: Draws, x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *, whole_channels: bool = False
) -> Tensor:
    return _put(x, draws.alpha_drop(x, p, whole_channels=whole_channels), inplace=inplace) if training and p else x


def _rrelu(
    draws: Draws, x: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Any:
    if not training:
        return NotImplemented
    slope = lower + (upper - lower) * draws.uniform(x.shape, x.device).to(x.dtype)
    return _put(x, torch.where(x < 0, slope * x, x), inplace=inplace)


def _put(x: Tensor, found: Tensor, *, inplace: bool) -> Tensor:
    return x.copy_(found) if inplace else found


def _attention(
    draws: Draws, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    if not dropout_p or enable_gqa:
        return NotImplemented
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        is_chosen = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -math.inf) if is_chosen else scores + attn_mask
    return draws.drop(scores.softmax(dim=-1), dropout_p) @ value


def _rand(draws: Draws, *size: Any, **given: Any) -> Any:
    return _drawn(draws.uniform, size, **given)


def _randn(draws: Draws, *size: Any, **given: Any) -> Any:
    return _drawn(draws.normal, size, **given)


def _drawn(
    draw: Callable[..., Tensor], shape: Any, *, size: Any = None, dtype: Any = None, device: Any = None, **_: Any
) -> Tensor:
    shape = size or (shape[0] if shape and not isinstance(shape[0], int) else shape)
    return draw(shape, device or torch.get_default_device()).to(dtype or torch.get_default_dtype())


def _rand_like(draws: Draws, x: Tensor, **given: Any) -> Tensor:
    return _drawn(draws.uniform, x.shape, **{"dtype": x.dtype, "device": x.device, **given})


def _randn_like(draws: Draws, x: Tensor, **given: Any) -> Tensor:
    return _drawn(draws.normal, x.shape, **{"dtype": x.dtype, "device": x.device, **given})


def _bernoulli(draws: Draws, x: Tensor, p: float | None = None) -> Tensor:
    return (draws.uniform(x.shape, x.device) < (x if p is None else p)).to(x.dtype)


def _bernoulli_(draws: Draws, x: Tensor, p: Any = 0.5) -> Tensor:
    return x.copy_(draws.uniform(x.shape, x.device) < p)


def _uniform_(draws: Draws, x: Tensor, *bounds: float, **named: float) -> Tensor:
    low, high = ({"from": 0.0, "to": 1.0} | dict(zip(("from", "to"), bounds, strict=False)) | named).values()
    return x.copy_(low + (high - low) * draws.uniform(x.shape, x.device))


def _normal_(draws: Draws, x: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    return x.copy_(mean + std * draws.normal(x.shape, x.device))


def _exponential_(draws: Draws, x: Tensor, lambd: float = 1.0) -> Tensor:
    return x.copy_(-(1 - draws.uniform(x.shape, x.device)).log() / lambd)


def _empty(function: Make, draws: Draws, *args: Any, **given: Any) -> Tensor:
    """Memory of each run's own under ``vmap``, for what is drawn into it."""
    found: Tensor = function(*args, **given)
    return torch.zeros_like(found) + 0.0 * draws.draw[0].to(found.device) if found.is_floating_point() else found


_MADE: Made = {
    **dict.fromkeys((f.dropout, torch.dropout), _dropout),
    **dict.fromkeys((f.dropout1d, f.dropout2d, f.dropout3d, torch.feature_dropout), partial(_dropout, whole_channels=True)),
    **dict.fromkeys((f.alpha_dropout, torch.alpha_dropout), _alpha_dropout),
    **dict.fromkeys((f.feature_alpha_dropout, torch.feature_alpha_dropout), partial(_alpha_dropout, whole_channels=True)),
    f.rrelu: _rrelu, f.scaled_dot_product_attention: _attention,
    torch.rand: _rand, torch.randn: _randn, torch.rand_like: _rand_like, torch.randn_like: _randn_like,
    **dict.fromkeys((torch.bernoulli, Tensor.bernoulli), _bernoulli),
    Tensor.bernoulli_: _bernoulli_, Tensor.uniform_: _uniform_, Tensor.normal_: _normal_, Tensor.exponential_: _exponential_,
    **{function: partial(_empty, function) for function in (torch.empty, torch.empty_like, Tensor.new_empty)},
}  # fmt: skip


def _unguarded(function: Any) -> Make:
    """The function without its first line, which asks torch whether a mode makes it: the mode that calls it would, for ever."""
    never = dict.fromkeys(("has_torch_function", "has_torch_function_unary"), lambda _: False)
    return FunctionType(function.__code__, function.__globals__ | never, argdefs=function.__defaults__)


COMPOSED: Made = {function: _unguarded(function) for function in (f.multi_head_attention_forward, f.gumbel_softmax)}
"""Functions of several that draw."""
