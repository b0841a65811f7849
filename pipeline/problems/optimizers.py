"""Optimizers by name: each is one function that builds the real ``torch.optim`` object.

The stacked updates that reproduce them are in ``pipeline.engine.optimizers``; what is not there is trained run by run.
"""

import functools
import inspect
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, get_args, get_type_hints

import torch
from pydantic import AfterValidator, Field
from torch import nn
from torch.optim import Optimizer

from pipeline.config.components import NO_DECAY, Component
from pipeline.config.registry import Registered, RegistrationError, Registry, arguments_of, called
from pipeline.config.wording import mistake

Builder = Callable[..., Optimizer]
Groups = list[dict[str, Any]]
Parameters = list[torch.Tensor]
LearningRate = Annotated[float, Field(gt=0, le=1e9)]
Share = Annotated[float, Field(ge=0, lt=1)]
ShareAboveZero = Annotated[float, Field(gt=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
Betas = Annotated[list[Share], Field(min_length=2, max_length=2)]

optimizers: Registry[Registered] = Registry("optimizer")

# To mark these methods as ones that are not to be compiled (`torch._disable_dynamo`), torch imports its compiler when one is
# first called, which takes seconds. Nothing here is compiled by it: the methods themselves stand for the marked ones.
for _marked in (Optimizer.add_param_group, Optimizer.zero_grad, Optimizer.state_dict, Optimizer.load_state_dict):
    if (_method := getattr(_marked, "__wrapped__", None)) is not None:
        vars(_method).setdefault("__dynamo_disable", _method)


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a function, or a class of optimizers, known under ``name``; it must have an argument ``lr``."""

    def add(function: Builder) -> Builder:
        arguments = arguments_of(function, given=["params"])
        if "lr" not in arguments.model_fields:
            raise RegistrationError(f"the optimizer {name!r} has no argument lr; give it one, `lr: float`, for the schedules")
        optimizers.add(Registered(name, called(function), arguments))
        return function

    return add


KINDS_SPARED = ("bias", "norm", "embedding")
"""Words of ``no_decay`` that name a kind of parameters; a model may have none of it."""


def undecayed(model: nn.Module, spared: Sequence[str]) -> set[str]:
    """The names of the parameters without weight decay: ``bias``, those of a ``norm`` or ``embedding``, or by parts of names.

    A parameter that several layers share is one of them if any of its places is.
    """
    found = {
        id(parameter)
        for place, layer in model.named_modules()
        for name, parameter in layer.named_parameters(recurse=False)
        if any(_is_of(word, place, layer, name) for word in spared)
    }
    return {name for name, parameter in model.named_parameters() if id(parameter) in found}


def _is_of(word: str, place: str, layer: nn.Module, name: str) -> bool:
    match word:
        case "bias":
            return "bias" in name
        case "norm":
            return "norm" in type(layer).__name__.lower()
        case "embedding":
            return isinstance(layer, nn.Embedding | nn.EmbeddingBag)
        case _:
            return word in f"{place}.{name}".lstrip(".")


def grouped(parameters: Parameters, is_decayed: Sequence[bool]) -> Groups:
    """Parameter groups for an optimizer: those with its weight decay, then those without; no group is empty."""
    with_decay, without = ([p for p, own in zip(parameters, is_decayed, strict=True) if own is kept] for kept in (True, False))
    found: Groups = [{"params": with_decay}, {"params": without, "weight_decay": 0.0}]
    return [group for group in found if group["params"]]


def is_torchs(name: str) -> bool:
    """Whether the optimizer is one of those below, which know no parameter from another until they step."""
    return optimizers[name].function.__module__ == __name__


@register("SGD")
def sgd(
    parameters: Parameters,
    lr: LearningRate,
    momentum: Share = 0.0,
    dampening: Share = 0.0,
    weight_decay: NotNegative = 0.0,
    nesterov: bool = False,
) -> Optimizer:
    """``torch.optim.SGD``."""
    return torch.optim.SGD(parameters, lr, momentum, dampening, weight_decay, nesterov)


@register("AdamW")
def adamw(
    parameters: Parameters,
    lr: LearningRate = 1e-3,
    betas: Betas = [0.9, 0.999],  # noqa: B006  # pydantic copies it
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 1e-2,
    amsgrad: bool = False,
) -> Optimizer:
    """``torch.optim.AdamW``."""
    return torch.optim.AdamW(parameters, lr, (betas[0], betas[1]), eps, weight_decay, amsgrad)


@register("Adam")
def adam(
    parameters: Parameters,
    lr: LearningRate = 1e-3,
    betas: Betas = [0.9, 0.999],  # noqa: B006  # pydantic copies it
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    amsgrad: bool = False,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """``torch.optim.Adam``."""
    given = (betas[0], betas[1]), eps, weight_decay, amsgrad
    return torch.optim.Adam(parameters, lr, *given, decoupled_weight_decay=decoupled_weight_decay)


@register("NAdam")
def nadam(
    parameters: Parameters,
    lr: LearningRate = 2e-3,
    betas: Betas = [0.9, 0.999],  # noqa: B006  # pydantic copies it
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    momentum_decay: NotNegative = 4e-3,
    decoupled_weight_decay: bool = False,
) -> Optimizer:
    """``torch.optim.NAdam``."""
    return torch.optim.NAdam(parameters, lr, (betas[0], betas[1]), eps, weight_decay, momentum_decay, decoupled_weight_decay)


@register("RMSprop")
def rmsprop(
    parameters: Parameters,
    lr: LearningRate = 1e-2,
    alpha: Share = 0.99,
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    momentum: Share = 0.0,
    centered: bool = False,
) -> Optimizer:
    """``torch.optim.RMSprop``."""
    return torch.optim.RMSprop(parameters, lr, alpha, eps, weight_decay, momentum, centered)


@register("Adagrad")
def adagrad(
    parameters: Parameters,
    lr: LearningRate = 1e-2,
    lr_decay: NotNegative = 0.0,
    weight_decay: NotNegative = 0.0,
    initial_accumulator_value: NotNegative = 0.0,
    eps: NotNegative = 1e-10,
) -> Optimizer:
    """``torch.optim.Adagrad``."""
    return torch.optim.Adagrad(parameters, lr, lr_decay, weight_decay, initial_accumulator_value, eps)


# The weights that are trained on (y) and those to evaluate (x) differ: the optimizer is in train mode from the start, and
# whoever evaluates calls `optimizer.eval()` before and `optimizer.train()` after.


@register("SGDScheduleFree")
def sgd_schedule_free(
    parameters: Parameters,
    lr: LearningRate = 1.0,
    momentum: ShareAboveZero = 0.9,
    weight_decay: NotNegative = 0.0,
    r: NotNegative = 0.0,
    weight_lr_power: NotNegative = 2.0,
) -> Optimizer:
    """``schedulefree.SGDScheduleFree`` (Defazio et al., 2024, arXiv:2405.15682)."""
    from schedulefree import SGDScheduleFree

    optimizer = SGDScheduleFree(parameters, lr, momentum, weight_decay, r=r, weight_lr_power=weight_lr_power)
    return _in_train_mode(optimizer)


@register("AdamWScheduleFree")
def adamw_schedule_free(
    parameters: Parameters,
    lr: LearningRate = 2.5e-3,
    betas: Annotated[list[ShareAboveZero], Field(min_length=2, max_length=2)] = [0.9, 0.999],  # noqa: B006
    eps: NotNegative = 1e-8,
    weight_decay: NotNegative = 0.0,
    r: NotNegative = 0.0,
    weight_lr_power: NotNegative = 2.0,
) -> Optimizer:
    """``schedulefree.AdamWScheduleFree`` (Defazio et al., 2024, arXiv:2405.15682)."""
    from schedulefree import AdamWScheduleFree

    given = (betas[0], betas[1]), eps, weight_decay
    return _in_train_mode(AdamWScheduleFree(parameters, lr, *given, r=r, weight_lr_power=weight_lr_power))


def _in_train_mode(optimizer: Any) -> Optimizer:
    optimizer.train()
    trained: Optimizer = optimizer
    return trained


SCHEDULE_FREE: Mapping[str, str] = {
    "SGD": "SGDScheduleFree",
    "SGDScheduleFree": "SGDScheduleFree",
    **dict.fromkeys(("Adam", "AdamW", "NAdam", "AdamWScheduleFree"), "AdamWScheduleFree"),
}
"""Optimizer → the schedule-free one that stands in for it."""


def schedule_free(optimizer: Component, momentum: float) -> Component | None:
    """The schedule-free form of a problem's optimizer, with its rate, decay and the rest; None where there is none.

    ``momentum`` (AdamW: beta1) is the weight of the averaged weights in those that gradients are taken at.
    """
    name = SCHEDULE_FREE.get(optimizer.name)
    if name is None:
        return None
    known = optimizers[name].arguments.model_fields
    kept = {key: value for key, value in optimizer.args.items() if key in known}
    own = {"momentum": momentum} if "momentum" in known else {"betas": [momentum, kept["betas"][1]]}
    spared = {NO_DECAY: optimizer.args[NO_DECAY]} if NO_DECAY in optimizer.args else {}
    return Component(name, optimizers[name].complete(kept | own) | spared)


# All other classes of torch.optim, with the arguments of their own signatures.

HOW_IT_IS_DONE = ("foreach", "maximize", "capturable", "differentiable", "fused")
"""Arguments of torch's optimizers that are about the machine, or turn the problem round."""


def _as_registered(kind: type[Optimizer]) -> Builder:
    hints = get_type_hints(kind.__init__)
    own = [p for p in inspect.signature(kind).parameters.values() if p.name not in HOW_IT_IS_DONE]

    def build(parameters: Parameters, **arguments: Any) -> Optimizer:
        given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()}
        return kind(parameters, **given)

    annotations = {p.name: LearningRate if p.name == "lr" else _annotation(hints[p.name]) for p in own[1:]}
    annotations[own[0].name] = Parameters
    build.__name__ = build.__qualname__ = kind.__name__
    build.__doc__ = f"``torch.optim.{kind.__name__}``."
    defaults = {p.name: list(p.default) if isinstance(p.default, tuple) else p.default for p in own}
    as_here = [p.replace(default=defaults[p.name], annotation=annotations[p.name]) for p in own]
    build.__signature__ = inspect.Signature(as_here)  # type: ignore[attr-defined]
    return build


def _is_word(text: str) -> str:
    if not text.isidentifier():
        raise mistake("is not the name of anything", "write a word, as torch's own page has it")
    return text


BOUNDED: Mapping[Any, Any] = {
    float: Annotated[float, Field(ge=-1e9, le=1e9)],
    int: Annotated[int, Field(ge=0, le=1_000_000)],
    str: Annotated[str, AfterValidator(_is_word)],
}
"""What torch's annotations are here; narrower bounds are torch's to know."""


def _annotation(hint: Any) -> Any:
    """Of an argument of torch's: a tuple is a list in YAML."""
    parts = get_args(hint)
    if getattr(hint, "__origin__", None) is tuple:
        return Annotated[list[_any_of(parts)], Field(min_length=len(parts), max_length=len(parts))]  # type: ignore[misc]
    return _any_of(parts or (hint,))


def _any_of(hints: tuple[Any, ...]) -> Any:
    return functools.reduce(operator.or_, [BOUNDED.get(hint, hint) for hint in dict.fromkeys(hints)])


def _others() -> Iterator[type[Optimizer]]:
    names = {entry.name for entry in optimizers}
    for name, kind in sorted(vars(torch.optim).items()):
        if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer and name not in names:
            yield kind


for _kind in list(_others()):
    register(_kind.__name__)(_as_registered(_kind))
