"""A step of tensors without its overhead: traced once into a flat list of operations, or compiled where that pays.

Tracing takes some tenths of a second, needs no compiler and changes no arithmetic; it spares what ``vmap`` and ``grad`` do in
Python at every step. ``torch.compile`` also joins the operations, which takes 10 to 30 s and rounds in another way.
"""

import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

from pipeline.config.errors import PipelineError
from pipeline.engine.operations import as_operations
from pipeline.problems.problem import Problem

WORTH_TRACING = 20_000
"""Run-steps (runs × optimizer steps) of one training from which tracing is earned back."""
WORTH_COMPILING = 10_000
"""Steps of a run from which ``torch.compile`` is, on top of that."""


class CompilingError(PipelineError):
    """A model that was to be compiled and cannot be."""


P = ParamSpec("P")
T = TypeVar("T")
_log = logging.getLogger(__name__)


def is_to_be_compiled(problem: Problem, worth: int) -> bool:
    """Whether the problem's training is to be compiled: as params.yaml says, else from ``worth`` optimizer steps on.

    They are those of one run at the problem's own budget. Compiled code rounds in another way, and no run's numbers may
    hang on how many others there are, nor on a clock.
    """
    asked, budget = problem.params.engine, problem.budget()
    return budget.epochs * budget.steps_per_epoch >= worth if asked == "auto" else asked == "compiled"


def prepared(function: Callable[P, T], run_steps: int, *, is_compiled: bool) -> Callable[P, T]:
    """``function`` for a training of ``run_steps``: compiled if asked, else traced if that is worth while.

    ``function`` must be pure and always be called with tensors of the same shapes. Where compiling fails, it is only traced;
    where tracing fails, it is left as it is.
    """
    if run_steps < WORTH_TRACING and not is_compiled:
        return function
    chosen: Callable[P, T] | None = None

    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal chosen
        if chosen is None:
            prepare = _compiled if is_compiled else _traced
            chosen = prepare(function, *args, **kwargs)
        return chosen(*args, **kwargs)

    return call


def _compiled(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[P, T]:
    try:
        fast: Callable[P, T] = torch.compile(function, dynamic=False)
        fast(*args, **kwargs)
    except Exception as error:  # noqa: BLE001  # whatever the compiler lacks, the traced function does not need it
        _log.warning("training without torch.compile, which is slower: %s", _reason(error))
        return _traced(function, *args, **kwargs)
    return fast


def _traced(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Callable[P, T]:
    try:
        return cast(Callable[P, T], as_operations(function)(*args, **kwargs))
    except Exception:  # noqa: BLE001  # what cannot be traced may still run, and if not, says so itself
        return function


def _reason(error: Exception) -> str:
    """The first line of what went wrong, with the usual remedy."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"{line[:200]} (it needs a C++ compiler and Python's headers: `apt install g++ python3-dev`)"


def compiled(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """The model by ``torch.compile``; its first call raises :class:`CompilingError` where that fails."""
    call: Callable[[Tensor], Tensor] = torch.compile(model)

    def forward(x: Tensor) -> Tensor:
        try:
            return call(x)
        except Exception as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            wrong = f"engine: compiled-loop: torch.compile fails: {_reason(error)}; or write engine: loop"
            raise CompilingError(wrong) from error

    return forward
