"""A name in params.yaml → one registered function, whose signature is the only statement of its arguments."""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, model_validator

from pipeline.units import Scale
from pipeline.wording import mistake, reworded, suggestion

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


@dataclass(frozen=True)
class Registered:
    """One registered function and the pydantic model of what a user may write under its name."""

    name: str
    function: Callable[..., Any]
    arguments: type[BaseModel]

    def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as given; raises pydantic's ValidationError, one entry for each mistake."""
        return self._validated(arguments, None).model_dump(exclude_unset=True)

    def complete(self, arguments: dict[str, Any], scale: Scale | None = None) -> dict[str, Any]:
        """The arguments with every default filled in; relative values in torch's numbers where a scale is given."""
        return self._validated(arguments, scale).model_dump()

    def _validated(self, arguments: dict[str, Any], scale: Scale | None) -> BaseModel:
        try:
            return self.arguments.model_validate(arguments, context=scale)
        except ValidationError as error:
            raise reworded(error, arguments, self.arguments.model_fields) from None


@dataclass(frozen=True)
class Alias:
    """What a name of another library stands for: a registered one, the arguments and entries that go with it, and a hint."""

    name: str
    args: Mapping[str, Any]
    hint: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def applied(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """An entry of params.yaml under the registered name; what is written in it holds."""
        args = entry.get("args", {})
        return {**self.more, **entry, "name": self.name, "args": {**self.args, **args} if isinstance(args, dict) else args}

    def __str__(self) -> str:
        """As one would write it in params.yaml."""
        args = ", ".join(f"{key}: {str(value).lower()}" for key, value in self.args.items())
        more = [f"{key}: {value}" for key, value in self.more.items()]
        return ", ".join([f"{self.name} {{{args}}}" if args else self.name, *more])


def folded(name: str) -> str:
    """A name without what differs between spellings of it: case, underscores, blanks."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


E = TypeVar("E", bound=Registered)


class Registry(Generic[E]):
    """All registered functions of one kind, in the order they were registered."""

    def __init__(self, kind: str, hints: Mapping[str, str] | None = None) -> None:
        """``hints`` say what to write instead of a name that people know and that is not registered."""
        self.kind = kind
        self._entries: dict[str, E] = {}
        self.aliases: dict[str, Alias] = {}
        """Names of other libraries that are taken for a registered one."""
        self.hints = {folded(name): hint for name, hint in (hints or {}).items()}
        """What to write instead of a name that is :func:`folded`."""

    def add(self, entry: E) -> None:
        """Add one; a name that is taken already is a ValueError, since the older one would be silently lost."""
        if entry.name in self._entries:
            raise ValueError(f"the {self.kind} {entry.name!r} is registered twice; give one of them another name")
        self._entries[entry.name] = entry

    def __getitem__(self, name: str) -> E:
        return self._entries[name]

    def __iter__(self) -> Iterator[E]:
        return iter(self._entries.values())

    def alias(self, name: object) -> Alias | None:
        """What a name of another library stands for; a registered one stands for itself."""
        return self.aliases.get(name) if isinstance(name, str) and name not in self._entries else None

    def find(self, name: object) -> E:
        """The entry of that name, or a validation error that says what to write, or offers the nearest names."""
        if not isinstance(name, str) or name not in self._entries:
            right = self.hints.get(folded(str(name))) or suggestion(str(name), self._entries)
            raise mistake(f"is not a registered {self.kind}", right)
        return self._entries[name]


def arguments_of(
    function: Callable[..., Any], given: int, one_of: Sequence[str] = (), without: Collection[str | None] = ()
) -> type[BaseModel]:
    """The model of the arguments of a function or class behind the first ``given``, apart from those named in ``without``.

    All of these the pipeline itself passes in, or leaves out.

    Every argument of a function must be annotated; ``Annotated[float, Field(gt=0)]`` states a range, ``pipeline.units`` the
    units. A class was perhaps not written for this: what it leaves open may be anything. Of the arguments ``one_of``, exactly
    one must not be None.
    """
    made_by: Any = function
    hints = get_type_hints(made_by.__init__ if isinstance(function, type) else function, include_extras=True)
    fields: dict[str, Any] = {}
    for p in list(inspect.signature(function).parameters.values())[given:]:
        if p.name in without:
            continue
        is_told = p.name in hints or isinstance(function, type)
        if not is_told or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise TypeError(f"{function.__qualname__}: the argument {p.name} needs a name and an annotation of its own")
        fields[p.name] = (hints.get(p.name, Any), ... if p.default is p.empty else p.default)
    validators: dict[str, Any] = {"exactly_one": model_validator(mode="after")(_exactly(one_of))} if one_of else {}
    return create_model(function.__name__, __config__=STRICT, __validators__=validators, **fields)


def _exactly(one_of: Sequence[str]) -> Callable[[BaseModel], BaseModel]:
    names = " or ".join(one_of)

    def check(arguments: BaseModel) -> BaseModel:
        given = [name for name in one_of if getattr(arguments, name) is not None]
        if len(given) != 1:
            raise mistake(f"has {'both' if given else 'neither'} of {' and '.join(one_of)}", f"write either {names}")
        return arguments

    return check
