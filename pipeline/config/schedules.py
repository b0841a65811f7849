"""``schedulers`` in params.yaml: each label's scheduler, its arguments, and what is searched."""

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from pipeline.config.callables import code_at
from pipeline.config.components import mapping_of
from pipeline.config.registry import STRICT, Alias, exactly_one_of
from pipeline.config.spaces import SearchSpace, refuse_unfit
from pipeline.config.units import LengthOrZero, OptionalLengthOrZero, PositiveRate, percent, plain_length
from pipeline.config.wording import mistake, such_that

Interval = Literal["epoch", "batch"]


class Average(BaseModel):
    """``average``: a run is evaluated at a mean of the weights that it has had, as torch's ``AveragedModel`` keeps it."""

    model_config = STRICT

    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential mean, which takes in the weights after every optimizer step."""
    swa: OptionalLengthOrZero = None
    """Epochs, or their share of the run, after which a plain mean begins to take in the weights at the end of each."""

    _one_of_both = model_validator(mode="after")(exactly_one_of(("ema", "swa")))

    def in_epochs(self, epochs: int) -> "Average":
        """The same for a run of so many epochs, in torch's numbers."""
        return self if self.swa is None else Average(swa=plain_length(self.swa, epochs))


class Schedule(BaseModel):
    """One entry under ``schedulers``: a registered scheduler, its arguments as written, and its peak learning rate."""

    model_config = STRICT

    name: str
    """A registered scheduler, by its name here or in Hugging Face or timm; the label where it is left out."""
    args: dict[str, Any] = Field(default_factory=dict)
    """The scheduler's own arguments, as torch has them."""
    lr: PositiveRate = "100%"  # type: ignore[assignment]  # as written
    """The peak rate; 100% is the optimizer's own."""
    warmup: LengthOrZero = 0
    """Scheduler steps in which the rate first rises from 0 to the peak, in a straight line, or their share of the run."""
    interval: Interval | None = None
    """What it is stepped per; the scheduler's own usual one where it is left out."""
    average: Average | None = None
    """The mean of its weights that a run is evaluated at; the last weights where it is left out."""
    search: SearchSpace | None = None
    """What a study tries for each argument, in place of the registered search space."""

    @model_validator(mode="before")
    @classmethod
    def _by_its_name_here(cls, entry: Any, info: ValidationInfo) -> Any:
        """A schedule of Hugging Face's or timm's under the name that it is registered by."""
        if info.context is None or not isinstance(entry, dict):
            return entry
        registry = info.context.schedulers
        alias = registry.alias(entry.get("name"))
        if alias is None:
            return entry
        _refuse_foreign(entry, alias, registry[alias.name].arguments.model_fields)
        return alias.applied(entry)

    @field_validator("name")
    @classmethod
    def _is_registered(cls, name: str, info: ValidationInfo) -> str:
        return name if info.context is None else str(info.context.schedulers.find(name).name)

    @field_validator("args", mode="plain")
    @classmethod
    def _fit_the_signature(cls, args: Any, info: ValidationInfo) -> dict[str, Any]:
        given, entry = mapping_of(args), _registered(info)
        return given if entry is None else entry.check(given)

    @field_validator("warmup")
    @classmethod
    def _leads_up_to_a_schedule(cls, warmup: Any, info: ValidationInfo) -> Any:
        entry = _registered(info)
        if entry is None or not warmup:
            return warmup
        if (share := percent(str(warmup))) is not None and share >= 100:
            raise mistake("leaves nothing of the run", "write less than 100%, or a number of steps")
        if entry.live:
            wrong = f"has no meaning before {entry.name}, which reacts to the loss from the first epoch on"
            raise mistake(wrong, "leave `warmup` out")
        own = entry.complete(info.data["args"]).get("warmup") if "args" in info.data else None
        if own and percent(str(own)) != 0:
            wrong = f"comes before {entry.name}, which has a warmup of {own} of its own"
            raise mistake(wrong, "leave this one out, and write how long it is as args.warmup")
        return warmup

    @field_validator("interval")
    @classmethod
    def _default_interval(cls, interval: Interval | None, info: ValidationInfo) -> Interval | None:
        entry = _registered(info)
        if entry is None:
            return interval
        if entry.live and interval == "batch":
            wrong = f"{entry.name} reacts to the loss of an epoch and cannot be stepped per batch"
            raise mistake(wrong, "leave `interval` out")
        return interval or ("batch" if info.data.get("warmup") else entry.interval)

    @field_validator("average")
    @classmethod
    def _averages_once(cls, average: Average | None, info: ValidationInfo) -> Average | None:
        entry = _registered(info)
        if average and entry and entry.schedule_free:
            raise mistake(f"comes on top of {entry.name}, which averages the weights itself", "leave `average` out")
        return average

    @field_validator("search")
    @classmethod
    def _search_fits_the_signature(cls, search: SearchSpace | None, info: ValidationInfo) -> SearchSpace | None:
        entry = _registered(info)
        if search is not None and entry and "args" in info.data:
            refuse_unfit(search, entry, info.data["args"], settled=entry.begins if info.data.get("warmup") else ())
        return search

    @property
    def key(self) -> str:
        """Canonical text; equal for schedules that train the same."""
        unused = {"search"} if self.average else {"search", "average"}
        code = code_at(self.args.values())
        return json.dumps(self.model_dump(exclude=unused) | ({"code": code} if code else {}), sort_keys=True)


def _registered(info: ValidationInfo) -> Any:
    """The scheduler of the schedule that is validated; None where its name is wrong, or that was all checked before."""
    return info.context.schedulers[info.data["name"]] if info.context and "name" in info.data else None


def _refuse_foreign(entry: dict[str, Any], alias: Alias, known: Iterable[str]) -> None:
    """Arguments by the other library's names are told with ours."""
    error = mistake(f"is not an argument of {alias.name}, which {entry['name']} is here", alias.hint, key=True)
    args = entry.get("args")
    foreign = {key: args[key] for key in args if key not in known} if isinstance(args, dict) else {}
    if foreign:
        lines = [InitErrorDetails(type=error, loc=("args", key), input=value) for key, value in foreign.items()]
        raise ValidationError.from_exception_data("schedule", lines)


def _named_after_label(value: Any) -> Any:
    """A scheduler's name is its label where none is given."""
    if not isinstance(value, dict):
        return value
    return {label: {"name": label, **entry} if isinstance(entry, dict) else entry for label, entry in value.items()}


_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_USABLE = "use up to 64 letters, digits, _ and -, beginning with a letter or digit"
Label = Annotated[str, such_that(_LABEL.fullmatch, "is not a usable name", _USABLE)]
"""Labels become file names, DVC stages, MLflow run names and study names; DVC reads a dot as a step into a mapping."""
Schedules = Annotated[dict[Label, Schedule], BeforeValidator(_named_after_label)]
