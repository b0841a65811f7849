"""A name in params.yaml → one registered function, whose signature is the only statement of its arguments."""

import contextlib
import functools
import inspect
import operator
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator

from pipeline.config.units import Scale
from pipeline.config.user_code import beginning_of_named
from pipeline.config.wording import listing, mistake, reworded, suggestion

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


class RegistrationError(ValueError):
    """What cannot be registered: its text says why, and what to write instead."""


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
OWN = "register one of your own in pipeline/custom.py: docs/own-code.md"


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
        """Add one; a name that is taken already is an error, since the older one would be silently lost."""
        if not isinstance(entry.name, str) or not entry.name:
            raise RegistrationError(
                f'a {self.kind} is registered under {entry.name!r}, which is no name; write @register("mine")'
            )
        if entry.name in self._entries:
            raise RegistrationError(f"the {self.kind} {entry.name!r} is registered twice; give one of them another name")
        self._entries[entry.name] = entry

    @contextlib.contextmanager
    def restored(self) -> Iterator[None]:
        """After the block the entries are those of before it."""
        before = dict(self._entries)
        try:
            yield
        finally:
            self._entries = before

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
            own = beginning_of_named(str(name))
            right = f"{own} defines it; docs/own-code.md says how to register it" if own else self.hints.get(folded(str(name)))
            right = right or suggestion(str(name), self._entries, otherwise=f", or {OWN}")
            raise mistake(f"is not a registered {self.kind}", right)
        return self._entries[name]


def arguments_of(
    function: Callable[..., Any], given: Sequence[str], one_of: Sequence[str] = (), without: Collection[str | None] = ()
) -> type[BaseModel]:
    """The model of the arguments of a function or class behind those ``given`` first, apart from those named in ``without``.

    All of these the pipeline itself passes in, or leaves out. An argument is of the kind of its annotation, else of its
    default; what a class leaves open, which was perhaps not written for this, or a lambda, may be anything. ``Annotated[float,
    Field(gt=0)]`` states a range, ``pipeline.config.units`` the units. Of the arguments ``one_of``, exactly one must not be
    None.
    """
    name, parameters = _name(function), _parameters(function)
    if sum(p.kind in POSITIONAL for p in parameters) < len(given):
        wrong = f"{name} does not take {listing(given)}, which it is given before the arguments of params.yaml"
        raise RegistrationError(f"{wrong}; let it begin with them, {name}({', '.join(given)}, …)")
    hidden = {p.name for p in parameters if isinstance(function, type) and p.name in HIDDEN and p.default is not p.empty}
    own = [p for p in parameters[len(given) :] if p.name not in hidden | {*without}]
    fields: dict[str, Any] = {p.name: _field(name, p, _hint(function, p)) for p in own}
    validators: dict[str, Any] = {"exactly_one": model_validator(mode="after")(exactly_one_of(one_of))} if one_of else {}
    try:
        found: type[BaseModel] = create_model(name, __config__=STRICT, __validators__=validators, **fields)
    except Exception as error:
        raise RegistrationError(f"{name} has an argument of a kind that no YAML is ({_line(error)}); {SIMPLE}") from error
    return found


POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
HIDDEN = ("device", "dtype", "last_epoch", "verbose")
"""Arguments of torch's own classes, and of those built on them, that are the pipeline's to give, or nobody's."""
SIMPLE = "annotate it as int, float, bool, str, Literal or a list of these"


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"{function!r} has no signature; register a function or a class") from error


def _hint(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The annotation itself, where the source has it as a text; its default's kind where there is none.

    In a class that may be anything, and in a lambda, which can have none; there is no telling in another function.
    """
    if parameter.annotation is parameter.empty:
        is_open = isinstance(function, type) or _name(function) == "<lambda>"
        return _kind_of(parameter.default) or (Any if is_open else None)
    anything: Any = function
    body = inspect.unwrap(anything.__init__ if isinstance(function, type) else getattr(function, "func", function))
    names = vars(sys.modules[body.__module__]) if hasattr(body, "__module__") else {}
    alone = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    try:
        return get_type_hints(alone, names | getattr(body, "__globals__", {}), include_extras=True)[parameter.name]
    except Exception as error:
        wrong = f"{_name(function)}: the annotation of the argument {parameter.name} cannot be read ({_line(error)})"
        raise RegistrationError(f"{wrong}; import its name above, outside of `if TYPE_CHECKING:`") from error


def _kind_of(default: Any) -> Any:
    """The annotation that an argument with that default would have; None where that is not plain to see."""
    if isinstance(default, bool | int | float | str):
        return type(default)
    if isinstance(default, list | tuple) and default and None not in (kinds := [_kind_of(each) for each in default]):
        return list[functools.reduce(operator.or_, kinds)]  # type: ignore[misc]
    return None


def _field(name: str, parameter: inspect.Parameter, hint: Any) -> tuple[Any, Any]:
    """Type and default, as pydantic takes them; a tuple is a list in YAML."""
    if hint is None or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise RegistrationError(f"{name}: the argument {parameter.name} needs a name and an annotation of its own; {SIMPLE}")
    hint, default = _without_tuples(hint), parameter.default
    if default is parameter.empty:
        return hint, ...
    return (Union[hint, None] if default is None else hint), (list(default) if isinstance(default, tuple) else default)  # noqa: UP007  # a hint may be anything


def _without_tuples(hint: Any) -> Any:
    """The same with lists in place of tuples, in a union too."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return functools.reduce(operator.or_, map(_without_tuples, parts))
    if hint is tuple:
        return list
    if origin is not tuple:
        return hint
    kinds = [_without_tuples(part) for part in parts if part is not ...]
    size = None if ... in parts else len(kinds)
    return Annotated[list[functools.reduce(operator.or_, kinds)], Field(min_length=size, max_length=size)]  # type: ignore[misc]


def asks_for_tuples(function: Callable[..., Any]) -> set[str]:
    """The arguments that a function or class takes as tuples."""
    return {p.name for p in _parameters(function) if isinstance(p.default, tuple) or "tuple" in str(p.annotation).lower()}


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, or another that gives it tuples where it asks for tuples and a user's list is handed in."""
    names = asks_for_tuples(function)
    if not names:
        return function

    @functools.wraps(function, updated=())
    def call(*given: Any, **arguments: Any) -> Any:
        as_asked = {k: tuple(v) if k in names and isinstance(v, list) else v for k, v in arguments.items()}
        return function(*given, **as_asked)

    return call


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]


def exactly_one_of(names: Sequence[str]) -> Callable[[BaseModel], BaseModel]:
    """A validator: of the arguments of these two names, exactly one is given."""

    def check(arguments: BaseModel) -> BaseModel:
        given = [name for name in names if getattr(arguments, name) is not None]
        if len(given) != 1:
            wrong = f"has {'both' if given else 'neither'} of {' and '.join(names)}"
            raise mistake(wrong, f"write either {' or '.join(names)}")
        return arguments

    return check
