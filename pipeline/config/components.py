"""``{name: …, argument: …}`` in params.yaml: a registered function with all its arguments."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from pydantic import Field, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from pipeline.config.registry import Registry
from pipeline.config.wording import as_yaml, mistake


class Catalogue(Protocol):
    """The registered names that params.yaml may use: read-only attributes, so that any frozen class fits."""

    @property
    def datasets(self) -> Registry[Any]: ...  # noqa: D102  # the names say it
    @property
    def models(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def optimizers(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def losses(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def metrics(self) -> Registry[Any]: ...  # noqa: D102
    @property
    def schedulers(self) -> Registry[Any]: ...  # noqa: D102


@dataclass(frozen=True)
class ComponentOf:
    """Validates ``{name: …, argument: …}`` against the registry that the catalogue holds under ``kind``.

    Without a catalogue it takes ``{name: …, args: {…}}``, which is what pydantic writes of one that was checked.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(self.validate)

    def validate(self, value: Any, info: core_schema.ValidationInfo) -> "Component":
        """The component with all its arguments, defaults filled in."""
        if isinstance(value, str):
            raise mistake("is not a mapping", f"write {as_yaml({'name': value})}")
        arguments = dict(mapping_of(value))
        if info.context is None:
            return Component(**arguments)
        registry: Registry[Any] = getattr(info.context, self.kind)
        if self.kind == "datasets" and "path" in arguments:
            arguments.setdefault("name", "file")
        if "name" not in arguments:
            names = ", ".join(entry.name for entry in registry)
            raise nested("name", None, mistake("is missing", f"add `name:` with one of {names}"))
        name = arguments.pop("name")
        try:
            entry = registry.find(name)
        except PydanticCustomError as error:
            raise nested("name", name, error) from None
        if self.kind == "optimizers" and NO_DECAY in arguments and NO_DECAY not in entry.arguments.model_fields:
            spared = arguments.pop(NO_DECAY)
            own = entry.complete(arguments)
            return Component(entry.name, {**own, NO_DECAY: _no_decay(spared, own)})
        return Component(entry.name, entry.complete(arguments))


NO_DECAY = "no_decay"
"""What every optimizer with a weight decay takes beside its own arguments: the parameters that it leaves alone."""
_WORDS: TypeAdapter[list[str]] = TypeAdapter(
    Annotated[list[Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_.]+$")]], Field(min_length=1)]
)


def _no_decay(spared: Any, arguments: Mapping[str, Any]) -> list[str]:
    """``no_decay`` of an optimizer with these arguments."""
    right = "write [bias, norm], embedding, or parts of the parameters' names"
    try:
        words = _WORDS.validate_python(as_list(spared))
    except ValidationError:
        raise nested(NO_DECAY, spared, mistake("is no list of words", right)) from None
    if not arguments.get("weight_decay"):
        wrong = "spares parameters the weight decay, and there is none"
        raise nested(NO_DECAY, spared, mistake(wrong, "write a weight_decay above 0, or leave it out"))
    return words


@dataclass(frozen=True)
class Component:
    """A registered function by name, with all its arguments."""

    name: str
    args: Mapping[str, Any]


def as_list(value: Any) -> Any:
    """One word is a list of it; anything else is left to be checked."""
    return [value] if isinstance(value, str) else value


def mapping_of(value: Any) -> dict[str, Any]:
    """The value, which has to be a mapping."""
    if not isinstance(value, dict):
        raise mistake("is not a mapping", "write `key: value`, one a line, or {key: value, …}")
    return value


def nested(key: str, given: Any, error: PydanticCustomError) -> ValidationError:
    """``error`` as one about the entry ``key`` of what is validated."""
    return ValidationError.from_exception_data("params", [InitErrorDetails(type=error, loc=(key,), input=given)])
