"""Python source: calls, literals and prose as formatters write them, and calls of what lives in some module."""

import functools
import inspect
import operator
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pipeline.config.registry import Registered, asks_for_tuples

WIDTH = 88
ROOM = 100  # for a call, beside the `return` before it; a longer one takes a line per argument
TAKEN = frozenset({"__main__", "train", "load", "encoded", "evaluate", "inputs", "outputs", "parameters"})
"""Names of modules that nothing can be imported from: the script has others of them."""


@dataclass(frozen=True)
class Part:
    """A call in the script, the module that it takes, and a definition where there is no such module."""

    call: str
    module: str = ""
    definition: str = ""


class Code(str):
    """Source as it is, where :func:`literal` would write a value."""


def imported(kind: str, entry: Registered, given: Sequence[str], arguments: Mapping[str, Any]) -> Part:
    """A call of what is registered, where it lives."""
    function = inspect.unwrap(entry.function)
    tuples = asks_for_tuples(function)
    arguments = {key: tuple(value) if key in tuples and isinstance(value, list) else value for key, value in arguments.items()}
    module, place = str(getattr(function, "__module__", "")), str(getattr(function, "__qualname__", ""))
    if _stands_at(module, place, function):
        return Part(call(f"{module}.{place}", given, arguments), module)
    missing = literal(f"paste the source of the {kind} {entry.name!r} here")
    stub = f'def own_{kind}(*_: object, **__: object) -> None:\n    """It stands in no module that could be imported."""\n'
    return Part(call(f"own_{kind}", given, arguments), "", f"{stub}    raise NotImplementedError({missing})")


def _stands_at(module: str, place: str, function: object) -> bool:
    if (
        module.partition(".")[0] in TAKEN
        or module not in sys.modules
        or not all(name.isidentifier() for name in place.split("."))
    ):
        return False
    try:
        return inspect.unwrap(operator.attrgetter(place)(sys.modules[module])) is function
    except AttributeError:
        return False


def call(function: str, given: Sequence[str], arguments: Mapping[str, Any], tensors: Sequence[str] = ()) -> str:
    """A call with what is given first, as it is, and arguments by name; those named in ``tensors`` become tensors."""
    written = {key: literal(value) for key, value in arguments.items()}
    written |= {key: f"torch.tensor({text})" for key, text in written.items() if key in tensors}
    return group(f"{function}(", [*given, *(f"{key}={text}" for key, text in written.items())], ")")


def group(opening: str, items: Sequence[str], closing: str) -> str:
    """On one line where there is room, else one item a line; the last comma makes formatters keep it so."""
    line = f"{opening}{', '.join(items)}{closing}"
    if len(line) <= ROOM and "\n" not in line:
        return line
    return "\n".join([opening, *(f"{textwrap.indent(item, '    ')}," for item in items), closing])


def literal(value: Any) -> str:
    """``value`` as formatters write it: double quotes, exponents without a plus sign; long lists on several lines."""
    if isinstance(value, Code):
        return str(value)
    if isinstance(value, list):
        return group("[", [literal(item) for item in value], "]")
    if isinstance(value, float):
        return repr(value).replace("e+", "e")
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text and "\\" not in text else text


@functools.cache
def template(name: str) -> Template:
    """A template of source, compiled once.

    Nothing is escaped, for this is no HTML: what comes from the user goes through :func:`literal` or :func:`prose`.
    """
    environment = Environment(
        loader=PackageLoader("pipeline.analysis"),
        autoescape=False,  # noqa: S701  # a program, no page: texts come in as literals of Python
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name)


def prose(text: str) -> str:
    """``text`` for a docstring or comment, which nothing in it can end and in which every character is visible."""

    def visible(character: str) -> str:
        if character.isprintable() and character != "\\":
            return character
        number = ord(character)
        return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"

    return "".join(map(visible, text)).replace('"""', 3 * "\\u0022")


def paragraph(text: str) -> list[str]:
    """Lines of :func:`prose`; no word is broken, for it may hold an escape."""
    return textwrap.wrap(prose(" ".join(text.split())), WIDTH, break_long_words=False, break_on_hyphens=False)
