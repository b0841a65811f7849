"""Which layer of a model an operation is of, noted as the model is traced, so that an operation can be found again."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from torch import nn
from torch.fx.traceback import annotate, preserve_node_meta

LAYER = "layer"
P = ParamSpec("P")
T = TypeVar("T")


def named_layers(model: nn.Module) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Of a function that calls the model: the same, whose operations know their layers when it is traced."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def noted(*args: P.args, **kwargs: P.kwargs) -> T:
            with preserve_node_meta(), _noting(model):
                return function(*args, **kwargs)

        return noted

    return decorate


def layer_of(meta: dict[str, Any]) -> str | None:
    """The layer that the node with this metadata is of; None for what is of none, as all that belongs to a gradient."""
    found: str | None = (meta.get("custom") or {}).get(LAYER)
    return found


@contextmanager
def _noting(model: nn.Module) -> Iterator[None]:
    inside: list[ExitStack] = []
    names = {module: name for name, module in model.named_modules()}

    def enter(module: nn.Module, args: object) -> None:
        inside.append(ExitStack())
        name, kind = names[module], type(module).__name__
        inside[-1].enter_context(annotate({LAYER: f"the layer {name} ({kind})" if name else f"the model {kind}"}))

    def leave(module: nn.Module, args: object, output: object) -> None:
        inside.pop().close()

    with ExitStack() as hooks:
        for module in names:
            hooks.callback(module.register_forward_pre_hook(enter).remove)
            hooks.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield
