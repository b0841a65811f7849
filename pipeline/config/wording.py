"""pydantic's errors in a user's words: what is wrong, what would be right."""

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from pydantic import AfterValidator, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

_BOUNDS = {
    "greater_than": ("must be above {gt}", "write a number above {gt}"),
    "greater_than_equal": ("must be at least {ge}", "write {ge} or more"),
    "less_than": ("must be below {lt}", "write a number below {lt}"),
    "less_than_equal": ("must be at most {le}", "write {le} or less"),
    "too_short": ("has too few entries", "write at least {min_length}"),
    "too_long": ("has too many entries", "write at most {max_length}"),
}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*([ ./-][A-Za-z0-9_]+)*")
_WORDS_OF_YAML = ("true", "false", "null", "yes", "no", "on", "off")
_WHOLE = ("is not a whole number", "write one without quotes, point or exponent, such as 100")
_NUMBER = ("is not a number", "write one, such as 0.1")
_NUMBERS = ("int_type", "float_type")
_MAPPING = ("is not a mapping", "write `key: value`, one a line, or {key: value, …}")
_TYPES = {
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": ("is too large", "write a smaller number"),
    "float_type": _NUMBER,
    "finite_number": ("is not finite", "write a usual number, such as 0.1"),
    "bool_type": ("is not true or false", "write true or false"),
    "string_type": ("is not text", "write a word, or put it in quotes"),
    "list_type": ("is not a list", "write [first, second, …]"),
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
}


MOST_NAMED = 30
"""Of what would be right, so many are named: a table may have a thousand columns."""


def few(words: Iterable[Any], most: int = 5) -> str:
    """The first different words, and how many more there are."""
    some = list(dict.fromkeys(map(str, words)))
    return ", ".join(some[:most]) + (f" and {len(some) - most} more" if len(some) > most else "")


def counted(amount: int, unit: str) -> str:
    """An amount with its unit, in the plural where it is not one."""
    return f"{amount:,} {unit}{'' if amount == 1 else 's'}"


def listing(names: Sequence[str]) -> str:
    """Names as one speaks them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def mistake(wrong: str, right: str, *, key: bool = False) -> PydanticCustomError:
    """A validation error that is worded already; ``key`` where it is about the key and not its value."""
    return PydanticCustomError("mistake", "{wrong}", {"wrong": wrong, "right": right, "key": key})


def such_that(holds: Callable[[Any], object], wrong: str, right: str) -> AfterValidator:
    """For ``Annotated``: refuses a value of which that does not hold."""

    def validate(value: Any) -> Any:
        if not holds(value):
            raise mistake(wrong, right)
        return value

    return AfterValidator(validate)


def suggestion(given: str, known: Iterable[str], most: int = MOST_NAMED, otherwise: str = "") -> str:
    """What would be right instead of the unknown name ``given``: all that is known, or the ``most`` that are near it.

    ``otherwise`` is told behind them where none is near.
    """
    names = list(known)
    if not names:
        return "remove it; nothing is allowed here"
    if len(names) > most:
        names.sort(key=lambda name: -difflib.SequenceMatcher(None, given.lower(), name.lower()).ratio())
    choice = f"one of {few(names, most)}" if len(names) > 1 else names[0]
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(given.lower(), folded, n=1, cutoff=0.6)
    if not near:
        return f"write {choice}{otherwise}"
    return f"did you mean {folded[near[0]]}?" + (f" ({choice})" if len(names) > 1 else "")


def reworded(error: ValidationError, given: Any, known: Iterable[str]) -> ValidationError:
    """The same errors about ``given`` in a user's words; an unknown key with the nearest of those ``known`` beside it."""
    names = list(known)
    lines = [
        InitErrorDetails(type=in_words(e, names), loc=_places(e, given), input=None if e["type"] == "missing" else e["input"])
        for e in error.errors()
    ]
    return ValidationError.from_exception_data(error.title, lines)


def _places(error: ErrorDetails, given: Any) -> tuple[str | int, ...]:
    """The error's location without the names that pydantic gives to the branches of a union."""
    places: list[str | int] = []
    for part in error["loc"]:
        if isinstance(given, dict) and (part in given or error["type"] == "missing"):
            given = given.get(part)
        elif isinstance(given, list) and isinstance(part, int):
            given = given[part]
        else:
            continue
        places.append(part)
    return tuple(places)


GONE = {
    "compile": "write `engine: compiled` or `engine: tensors`",
    "models": "write `keep_model: true`, or leave it out",
    "maximize": "leave it out, and let the loss be what is to be small",
}
"""What to write for keys of earlier versions, or that nothing here has."""


PLACES = {
    "problems.NAME": ("dataset", "script", "model", "optimizer", "loss", "metric", "epochs", "batch_size", "clip", "resample"),
    "schedulers.LABEL": ("warmup", "interval", "average", "search"),
    "tune": ("trials", "sampler"),
    "sweep": ("points", "budgets"),
    "report": ("baseline", "matters", "every"),
}
"""Where keys stand that are often written in another place."""
OF_OPTIMIZERS = ("lr", "weight_decay", "momentum")


def _elsewhere(key: str, known: Collection[str]) -> str:
    """What to write for a key of the file, a problem or a schedule that is right in another place; nothing of any other."""
    if not {"problems", "dataset", "args"} & {*known}:
        return ""
    if "optimizer" in known and key in OF_OPTIMIZERS:
        return "write it under `optimizer`"
    if place := next((place for place, keys in PLACES.items() if key in keys), ""):
        return f"write it under `{place}`"
    said = suggestion(key, known)
    return f"{said}; what is the scheduler's own stands under `args`" if "args" in known and said.startswith("write") else ""


_WITHOUT = {
    "sweep": "write none, or what is to be swept: {points: 10, budgets: [25%, 50%]}",
    "tune": "tuning cannot be left out; write {trials: 1} for the least of it",
}


def in_words(error: ErrorDetails, known: Iterable[str]) -> PydanticCustomError:
    """One error as a :func:`mistake`."""
    kind, context, last = error["type"], error.get("ctx", {}), "".join(map(str, error["loc"][-1:]))
    if kind == "mistake":
        return mistake(context["wrong"], context["right"], key=context["key"])
    if kind == "missing":
        return mistake("is missing", f"add `{last}:`")
    if kind == "extra_forbidden":
        names = list(known)
        return mistake("is not known here", GONE.get(last) or _elsewhere(last, names) or suggestion(last, names), key=True)
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ").split(", ")
        return mistake("is not one of the choices", suggestion(str(error["input"]), [each.strip("'") for each in choices]))
    if kind in _BOUNDS:
        bounds = {name: _as_usual(value) for name, value in context.items()}
        return mistake(*(words.format(**bounds) for words in _BOUNDS[kind]))
    if kind in _NUMBERS and str(error["input"]).endswith("%"):
        return mistake("is neither a length nor a rate, so it has no percentage", "write a number")
    if kind == "list_type" and isinstance(error["input"], str | int | float):
        return mistake("is not a list", f"write {as_yaml([error['input']])}")
    if kind == "model_type" and last in _WITHOUT:
        return mistake("is not a mapping", _WITHOUT[last])
    return mistake(*_TYPES.get(kind, (_plain(error["msg"]), "see docs/params.md")))


def as_yaml(value: Any) -> str:
    """The value as YAML on one line that reads the same wherever it is pasted: texts in quotes unless they are plain words."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case dict():
            return f"{{{', '.join(f'{as_yaml(key)}: {as_yaml(item)}' for key, item in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(as_yaml, value))}]"
        case str():
            if _PLAIN.fullmatch(value) and value.lower() not in _WORDS_OF_YAML:
                return value
            inner = value.replace("\\", "\\\\").replace('"', '\\"')
            return f'"{visible(inner)}"'
        case _:
            return str(value)


def visible(text: str) -> str:
    """The text with what would break its line, or turn it about, as YAML's escapes."""
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in text)


def is_printable(name: str) -> str:
    """A name on one line, as it is shown."""
    if not name.isprintable():
        raise mistake("has characters that no name has", "write it as the file does, without control characters")
    return name


def is_path(path: str) -> str:
    """What may be a file's path."""
    if any(len(part.encode()) > _LONGEST for part in is_printable(path).split("/")):
        raise mistake(f"has a name of more than {_LONGEST} bytes, as no file has", "correct its path")
    return path


_LONGEST = 255
"""Bytes of a file's name, on all usual file systems."""


def _as_usual(bound: Any) -> str:
    """A bound as one would write it: 1000000 and not 1000000.0."""
    return str(int(bound)) if isinstance(bound, float) and bound.is_integer() else str(bound)


def _plain(message: str) -> str:
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:]


def in_bytes(size: float) -> str:
    """So many bytes with three digits in the unit that suits: 512 bytes, 1.23 MB, 1,340 GB."""
    for unit in ("bytes", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.0f} GB" if size >= 999.5 else f"{size:.3g} GB"


def raised(bound: float) -> float:
    """A bound, as a share, up to the next tenth of a percent: what is told of it holds, too."""
    return math.ceil(round(1000 * bound, 6)) / 1000
