"""Schedulers by name: each is one function or class that builds a real ``torch.optim.lr_scheduler`` object.

``f(optimizer, total_steps, **arguments)``: arguments are torch's own. What is named ``total_steps`` is the number of scheduler
steps in the run (after the warmup, where there is one); whoever asks for it is stepped per batch. Whoever asks for
``total_epochs`` (or ``epochs``) is stepped per epoch and gets those; and so is whoever asks for neither, as torch's own
classes do. ``HORIZONS`` has the other names that people give to the two. Annotations say what an argument is: ``Length`` and
``Rate`` accept percentages, anything else does not. ``builtin.py`` registers torch's own schedulers, ``composed.py`` those
that others know and torch has not.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pipeline.config.registry import Registered, RegistrationError, Registry, arguments_of, called
from pipeline.config.schedules import Interval, Schedule
from pipeline.config.spaces import Space

Builder = TypeVar("Builder", bound=Callable[..., Any])
Monitor = Literal["train_loss", "validation_loss", "validation_metric"]
"""What a live scheduler may watch: a figure of the epoch just trained."""
VALIDATED: tuple[Monitor, ...] = ("validation_loss", "validation_metric")
"""Those of the validation part."""
HORIZONS: Mapping[str, Interval] = {
    **dict.fromkeys(("total_steps", "max_steps", "num_training_steps"), "batch"),
    **dict.fromkeys(("total_epochs", "max_epochs", "num_epochs", "epochs"), "epoch"),
}
"""Names of the argument that is the run's length, and what a scheduler that asks for it counts."""
OF_TORCH = ("last_epoch", "verbose")
"""Arguments of torch's classes that resume or talk: nothing to be given in params.yaml."""


@dataclass(frozen=True)
class Scheduler(Registered):
    """A registered scheduler: when it is stepped, whether it reacts to the loss (``live``), what a study searches.

    ``begins`` are the arguments that decide at which share of its peak it begins. One that is ``schedule_free`` brings an
    optimizer along that needs no schedule; its argument ``momentum`` is that one's. ``horizon`` is the name of the argument
    that is the run's length, if there is one; ``monitor`` what a live one watches, unless an argument of that name says so.
    """

    interval: Interval
    live: bool
    search: Space
    begins: Sequence[str] = ()
    schedule_free: bool = False
    horizon: str | None = None
    monitor: Monitor = "train_loss"

    def given(self, steps: int) -> dict[str, int]:
        """What the pipeline itself passes in, beside the optimizer, in a run of so many scheduler steps."""
        return {self.horizon: steps} if self.horizon else {}


_OF_SEVERAL = """{instead}a function of your own in pipeline/custom.py, such as
    from torch.optim.lr_scheduler import ConstantLR, {kind}, ExponentialLR
    from pipeline.schedulers.registry import register as register_scheduler
    @register_scheduler("Mine")
    def mine(optimizer, total_steps):
        return {example}"""
_SEQUENCE = "SequentialLR(optimizer, [ConstantLR(optimizer, 0.1, 20), ExponentialLR(optimizer, 0.99)], [20])"
_CHAIN = "ChainedScheduler([ConstantLR(optimizer, 0.1, 20), ExponentialLR(optimizer, 0.99)])"
HINTS: Mapping[str, str] = {
    "SequentialLR": _OF_SEVERAL.format(instead="write `warmup: 5%` beside the scheduler that a warmup leads to, or ",
                                       kind="SequentialLR", example=_SEQUENCE),
    "ChainedScheduler": _OF_SEVERAL.format(instead="write ", kind="ChainedScheduler", example=_CHAIN),
}  # fmt: skip
"""What to write instead of torch's schedulers that are made of others."""

schedulers: Registry[Scheduler] = Registry("scheduler", HINTS)


def searched(schedule: Schedule, *, is_warmed_up: bool) -> Space:
    """What is searched: the schedule's own space, or the registered one without what is left out or left to the warmup."""
    if schedule.search is not None:
        return schedule.search
    entry = schedulers[schedule.name]
    given = entry.complete(schedule.args)
    settled = {argument for argument, value in given.items() if value is None or value == []} | {
        *(entry.begins if is_warmed_up else ())
    }
    return {argument: values for argument, values in entry.search.items() if argument not in settled}


def register(
    name: str,
    *,
    interval: Interval | None = None,
    live: bool = False,
    search: Space | None = None,
    begins: Sequence[str] = (),
    one_of: Sequence[str] = (),
    schedule_free: bool = False,
    monitor: Monitor = "train_loss",
) -> Callable[[Builder], Builder]:
    """Make a function, or a class, known under ``name``.

    ``interval`` says whether it is stepped once per ``epoch`` or per ``batch``; left out, what it asks for does (``HORIZONS``).
    A ``live`` scheduler is stepped after every epoch with a figure of the run's own, its ``monitor``, like
    ``ReduceLROnPlateau``.
    ``search`` says what a study tries for each argument, beside the peak learning rate, which it always searches; an
    argument that is left out and None by default is not searched, nor is any that ``begins`` names where a warmup leads up to
    the peak. A space that does not fit the function is a ValueError. Of the arguments ``one_of``, exactly one must be given.
    """

    def add(function: Builder) -> Builder:
        horizon = _horizon_of(function)
        arguments = arguments_of(function, given=["optimizer"], one_of=one_of, without={horizon, *OF_TORCH})
        usual: Interval = "epoch" if live or horizon is None else HORIZONS[horizon]
        entry = Scheduler(
            name, called(function), arguments, interval or usual, live, search or {}, begins, schedule_free, horizon, monitor
        )  # fmt: skip
        if unknown := {*entry.search, *entry.begins} - entry.arguments.model_fields.keys():
            known = ", ".join(entry.arguments.model_fields) or "none"
            raise RegistrationError(f"the scheduler {name!r} has no argument {', '.join(sorted(unknown))}; it has {known}")
        schedulers.add(entry)
        return function

    return add


def _horizon_of(function: Callable[..., Any]) -> str | None:
    """The name of the argument behind the optimizer that is the run's length."""
    others = [*inspect.signature(function).parameters][1:]
    return next((name for name in HORIZONS if name in others), None)
