"""Schedulers by name: each is one function that builds a real ``torch.optim.lr_scheduler`` object.

``f(optimizer, total_steps, **arguments)``: ``total_steps`` is the number of scheduler steps in the run (after the warmup,
where there is one), arguments are torch's own. A class whose second argument is not ``total_steps`` is called as torch's own
are, without it. Annotations say what an argument is: ``Length`` and ``Rate`` accept
percentages, anything else does not. ``builtin.py`` registers torch's own schedulers, ``composed.py`` those that others
know and torch has not.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pipeline.params import Interval
from pipeline.registry import Registered, RegistrationError, Registry, arguments_of, called
from pipeline.spaces import Space

Builder = Callable[..., LRScheduler]


@dataclass(frozen=True)
class Scheduler(Registered):
    """A registered scheduler: when it is stepped, whether it reacts to the loss (``live``), what a study searches.

    ``begins`` are the arguments that decide at which share of its peak it begins. One that is ``schedule_free`` brings an
    optimizer along that needs no schedule; its argument ``momentum`` is that one's.
    """

    interval: Interval
    live: bool
    search: Space
    begins: Sequence[str] = ()
    schedule_free: bool = False


schedulers: Registry[Scheduler] = Registry("scheduler")


def register(
    name: str,
    *,
    interval: Interval = "epoch",
    live: bool = False,
    search: Space | None = None,
    begins: Sequence[str] = (),
    one_of: Sequence[str] = (),
    schedule_free: bool = False,
) -> Callable[[Builder], Builder]:
    """Make a function, or a class of schedulers, known under ``name``.

    It is stepped once per epoch unless ``interval`` says ``batch``; a ``live`` one with the run's own training loss after every
    epoch, like ``ReduceLROnPlateau``.
    ``search`` says what a study tries for each argument, beside the peak learning rate, which it always searches; an
    argument that is left out and None by default is not searched, nor is any that ``begins`` names where a warmup leads up to
    the peak. A space that does not fit the function is a ValueError. Of the arguments ``one_of``, exactly one must be given.
    """

    def add(function: Builder) -> Builder:
        is_torch_like = _is_torch_like(function)
        arguments = arguments_of(function, given=1 if is_torch_like else 2, one_of=one_of)
        build = called(_without_length(function) if is_torch_like else function)
        entry = Scheduler(name, build, arguments, interval, live, search or {}, begins, schedule_free)
        if unknown := {*entry.search, *entry.begins} - entry.arguments.model_fields.keys():
            known = ", ".join(entry.arguments.model_fields) or "none"
            raise RegistrationError(f"the scheduler {name!r} has no argument {', '.join(sorted(unknown))}; it has {known}")
        schedulers.add(entry)
        return function

    return add


def _is_torch_like(function: Builder) -> bool:
    """Whether it is a class as torch's own are, ``Class(optimizer, **arguments)``, which is not told how long the run is."""
    return isinstance(function, type) and "total_steps" not in list(inspect.signature(function).parameters)[1:2]


def _without_length(kind: Builder) -> Builder:
    @functools.wraps(kind, updated=())
    def build(optimizer: Optimizer, total_steps: int, **arguments: Any) -> LRScheduler:
        return kind(optimizer, **arguments)

    return build
