"""Search spaces as data: what a study may try for each argument of a scheduler, in the argument's own units."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationError, model_validator
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from pipeline.config.registry import STRICT, Registered
from pipeline.config.units import PositiveRate, is_length, is_rate, marks_of, percent
from pipeline.config.wording import mistake, suggestion


class EndUnit:
    """One end of a range: a number or a percentage."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: Any) -> Any:
        """``value`` as written."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e12
        if is_number or (isinstance(value, str) and percent(value) is not None):
            return value
        raise mistake("is not the end of a range", "write a number, or a percentage such as 30%")


End = Annotated[float | str, EndUnit()]


class Ascending(BaseModel):
    """Two ends in one unit, the lower one first."""

    model_config = STRICT

    low: End
    """The lower end."""
    high: End
    """The upper end, in the same unit."""

    @model_validator(mode="after")
    def _ascends(self) -> Self:
        if isinstance(self.low, str) != isinstance(self.high, str):
            raise mistake("mixes a percentage and a plain number", "write both ends in one unit")
        if not self.ends[0] < self.ends[1]:
            raise mistake("is empty: low is not below high", "write low below high")
        return self

    @property
    def is_percent(self) -> bool:
        """Whether the ends are percentages."""
        return isinstance(self.low, str)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends as numbers: of percent where they are percentages; whole numbers stay whole."""
        return _number(self.low), _number(self.high)


def _number(end: float | str) -> float:
    share = percent(end) if isinstance(end, str) else None
    return float(share) if share is not None else float(end) if isinstance(end, str) else end


class Range(Ascending):
    """From ``low`` to ``high``, evenly, or evenly in the logarithm; for a list argument, sorted values in between."""

    log: bool = False
    """Whether it is searched evenly in the logarithm."""
    over: Literal["step", "run"] = "step"
    """Of a factor: whether the ends are that of one step, or what it comes to over the whole run."""
    of: str | None = None
    """The rate that 100% is, where that is another argument: ``base_lr`` as a share of ``max_lr`` never lies above it."""
    after: str | None = None
    """The length that comes first, where 100% is what it leaves of the run: both together never are longer than that."""

    @model_validator(mode="after")
    def _has_a_logarithm(self) -> Self:
        if self.log and self.ends[0] <= 0:
            raise mistake("is logarithmic and does not begin above 0", "write low above 0, or leave `log` out")
        if self.over == "run" and (self.is_percent or self.ends[0] <= 0):
            raise mistake("is no range of factors over the run", "write numbers above 0, or leave `over` out")
        return self

    @model_validator(mode="after")
    def _is_at_most_all_of_it(self) -> Self:
        if (self.of or self.after) and ((self.of and self.after) or not self.is_percent or self.ends[1] > 100):
            raise mistake("is no share of another argument", "write percentages up to 100%, and one of `of` and `after`")
        return self

    def per_step(self, steps: int) -> "Range":
        """The same range as factors of one step, in a run of ``steps``."""
        if self.over == "step":
            return self
        low, high = (end ** (1 / steps) for end in self.ends)
        return Range(low=low, high=high, log=self.log)


class PeakRates(Ascending):
    """``tune.lr``: the range of peak learning rates that every study searches, evenly in the logarithm."""

    low: PositiveRate = "1%"  # type: ignore[assignment]  # as written
    """The lowest rate; 100% is the optimizer's own."""
    high: PositiveRate = "1000%"  # type: ignore[assignment]
    """The highest rate; a study whose best lies near an end goes on in a wider range."""


Choices = tuple[Any, ...]
Space = Mapping[str, Range | Choices]
"""Argument → what may be tried: a :class:`Range`, or the choices."""


class EntryUnit:
    """What may be tried for one argument: a range or a list of choices."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: Any) -> Range | Choices:
        """A :class:`Range` or a tuple of choices."""
        if isinstance(value, Range):
            return value
        if isinstance(value, dict):
            return Range.model_validate(value)
        if isinstance(value, list | tuple) and len(value) > 1:
            return tuple(value)
        raise mistake("is no search space", "write {low: …, high: …} or a list of at least two choices")


SearchSpace = dict[str, Annotated[Range | Choices, EntryUnit()]]
"""The type of a search space in params.yaml."""


def refuse_unfit(space: Space, entry: Registered, args: Mapping[str, Any], settled: Collection[str] = ()) -> None:
    """Raise a ValidationError for every argument that the registered function has not, and every value it does not take.

    What is ``settled`` cannot be searched: where the schedule begins, if a warmup leads up to its peak.
    """
    errors = [error for argument, tried in space.items() for error in _unfit(argument, tried, entry, args, settled)]
    if errors:
        raise ValidationError.from_exception_data("search", errors)


def _unfit(
    argument: str, tried: Range | Choices, entry: Registered, args: Mapping[str, Any], settled: Collection[str]
) -> Iterator[InitErrorDetails]:
    known = entry.arguments.model_fields
    if argument == "lr":
        error = mistake("is searched for every scheduler alike", "change `tune.lr` instead", key=True)
        yield InitErrorDetails(type=error, loc=(argument,), input=argument)
    elif argument not in known:
        error = mistake(f"is not an argument of {entry.name}", suggestion(argument, known), key=True)
        yield InitErrorDetails(type=error, loc=(argument,), input=argument)
    elif argument in settled:
        error = mistake("decides where the schedule begins, which a warmup leaves at the peak", "leave it out", key=True)
        yield InitErrorDetails(type=error, loc=(argument,), input=argument)
    else:
        yield from _unrelated(argument, tried, entry, args)
        values = {"low": tried.low, "high": tried.high} if isinstance(tried, Range) else dict(enumerate(tried))
        for place, value in values.items():
            # A list is drawn from a range number by number, but chosen whole.
            forms = (value, [value]) if isinstance(tried, Range) else (value,)
            if (refusal := _refusal(argument, forms, entry, args)) is not None:
                yield InitErrorDetails(type=refusal, loc=(argument, place), input=value)


def _unrelated(argument: str, tried: Range | Choices, entry: Registered, args: Mapping[str, Any]) -> Iterator[InitErrorDetails]:
    """A share of what is not there, or is measured otherwise."""
    for key, unit, is_unit in (("of", "rate", is_rate), ("after", "length", is_length)):
        other = getattr(tried, key, None)
        if other is None:
            continue
        given = entry.complete(dict(args))
        alike = [name for name, field in entry.arguments.model_fields.items() if any(map(is_unit, marks_of(field)))]
        others = [name for name in alike if name != argument and given[name] is not None]
        if argument not in alike or not others:
            error = mistake(f"is for a {unit} that another one bounds, and {argument} is none", f"leave `{key}` out")
        elif other not in others:
            error = mistake(f"is not another {unit} of {entry.name}", suggestion(other, others))
        else:
            continue
        yield InitErrorDetails(type=error, loc=(argument, key), input=other)


def _refusal(argument: str, forms: Sequence[Any], entry: Registered, args: Mapping[str, Any]) -> PydanticCustomError | None:
    """What the registered function has against a value in each of its forms; None if it takes one of them."""
    refused = []
    for given in forms:
        try:
            entry.check({**args, argument: given})
        except ValidationError as error:
            refused += [e for e in error.errors() if e["loc"][:1] in ((argument,), ())]
        else:
            return None
    if not refused:  # what is wrong is another argument, and told there
        return None
    # Where the argument is a list, the mistake inside of it says more than that the value by itself is none.
    words = max(refused, key=lambda error: len(error["loc"]))["ctx"]
    return mistake(words["wrong"], words["right"])
