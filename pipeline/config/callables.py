"""Functions that params.yaml names by where they stand: ``package.module:function``. What stands there is run as code."""

import importlib
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from pipeline.config.user_code import source_of
from pipeline.config.wording import mistake, suggestion

CUSTOM = "pipeline.custom"
"""Where a name without a module stands."""
_PATH = re.compile(r"(?:(?P<module>[A-Za-z_][\w.]*):)?(?P<name>[A-Za-z_]\w*)")


@dataclass(frozen=True)
class PathUnit:
    """The place of a function, kept as written; :func:`imported` has the function."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def validate(self, value: Any) -> str:
        """``value`` as written, if a function stands there."""
        right = "write package.module:function, or the name of a function in pipeline/custom.py"
        if not isinstance(value, str) or not _PATH.fullmatch(value):
            raise mistake("is not the place of a function", right)
        module, name = _parts(value)
        try:
            space = vars(importlib.import_module(module))
        except Exception as error:  # noqa: BLE001  # what is imported may raise anything
            raise mistake(f"cannot be imported: {type(error).__name__}: {' '.join(str(error).split())}", right) from None
        functions = [known for known, thing in space.items() if callable(thing) and not known.startswith("_")]
        if not callable(space.get(name)):
            raise mistake(f"is no function in {module}", suggestion(name, functions) if functions else right)
        return value


FunctionPath = Annotated[str, PathUnit()]
"""The place of a function."""


def imported(path: str) -> Callable[..., Any]:
    """The function that stands at a valid path."""
    module, name = _parts(path)
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def code_at(values: Iterable[Any]) -> dict[str, str]:
    """A name for the code behind each value that is the place of a function of the user's."""
    places = [value for value in values if isinstance(value, str) and _PATH.fullmatch(value) and _is_there(value)]
    return {place: code for place in places if (code := source_of(imported(place)))}


def _parts(path: str) -> tuple[str, str]:
    module, _, name = path.rpartition(":")
    return module or CUSTOM, name


def _is_there(place: str) -> bool:
    """Whether a function stands at the place; a word without a module may mean anything."""
    return ":" in place or callable(getattr(sys.modules.get(CUSTOM), place, None))
