"""What code of the user's own a function follows from: its source, and that of all it calls in the user's files.

A run is another one where that has changed, and no other run is. Code of this package and of installed ones is named as a
whole, by :func:`pipeline.engine.code.code_fingerprint`.
"""

import dataclasses
import dis
import functools
import hashlib
import inspect
import site
import sys
import sysconfig
import traceback
from argparse import Namespace
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType, SimpleNamespace
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
CUSTOM = PACKAGE / "custom.py"
CODE: tuple[type, ...] = (
    FunctionType, BuiltinFunctionType, type, ModuleType, staticmethod, classmethod, property, functools.partial,
)  # fmt: skip
NAMED = {"torch.dtype", "torch.device", "torch.Size", "pathlib.PosixPath"}
"""Kinds of values that their own text tells apart."""
LOOKED_UP = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "IMPORT_NAME"}
"""Instructions of Python's that take a name from the module, or a module by its name."""
PLAIN = (bool, int, float, complex, str, bytes, type(None))


def source_of(*things: Any) -> str:
    """A name for the user's own code that functions and classes follow from; empty where none of it is the user's."""
    found: dict[str, str] = {}
    ahead = list(things)
    while ahead:
        thing = ahead.pop()
        thing = inspect.unwrap(thing) if callable(thing) else thing
        if _is_own(thing) and (name := _name(thing)) not in found:
            found[name] = _text(thing)
            ahead += _referred(thing)
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16] if found else ""


def identity_of(thing: Any) -> str | None:
    """A name for all that a function, class or object follows from, its values included; None where one has no name.

    Arrays, tensors and modules are named by what they hold; an object of any other kind cannot be. What stands in a module
    that is referred to as a whole follows from its source.
    """
    found: dict[str, str | None] = {"": "" if _is_own(thing) else _content(thing)}
    ahead, seen = [(thing, True)], set[int]()
    while ahead:
        one, is_closely = ahead.pop()
        one = inspect.unwrap(one) if callable(one) else one
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, functools.partial):
            found[f"partial {len(found)}"] = _content([one.args, one.keywords])
            ahead += [(each, is_closely) for each in (one.func, *one.args, *one.keywords.values()) if _is_code(each)]
        elif _is_own(one):
            values = _held_by(one)
            found[_name(one)] = _text(one)
            found |= {f"{_name(one)} {name}": _content(value) for name, value in values.items() if is_closely}
            is_function = not isinstance(one, ModuleType)
            ahead += [(each, is_closely and is_function) for each in (*_referred(one), *values.values()) if _is_code(each)]
        elif one is thing and not _is_code(one):
            ahead.append((type(one), True))
    if None in found.values():
        return None
    return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16]


def _held_by(thing: Any) -> dict[str, Any]:
    """The values that a function or class goes by."""
    defaults = {f"default {i}": value for i, value in enumerate(getattr(thing, "__defaults__", None) or ())}
    return {**_values(thing), **defaults, **(_attributes(thing) if isinstance(thing, type) else {})}


def _is_code(value: Any) -> bool:
    """Whether it is code, whose own text is told, or that of an installed package."""
    return isinstance(value, CODE)


def _content(value: Any, depth: int = 6) -> str | None:
    """A text that is another one for another value; None where there is none."""
    if isinstance(value, PLAIN) or f"{type(value).__module__}.{type(value).__qualname__}" in NAMED:
        return repr(value)
    if _is_code(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__name__)}"
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):  # an array
        return None if value.dtype.hasobject else f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    inside = _inside(value) if depth else None
    if inside is None or None in (texts := [_content(each, depth - 1) for each in inside]):
        return None
    return f"{type(value).__name__} {sorted(map(str, texts)) if isinstance(value, set | frozenset) else texts}"


def _inside(value: Any) -> Iterable[Any] | None:
    """What a value consists of; None where that is not known."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, tuple | list | set | frozenset):
        return value
    if hasattr(value, "state_dict") and hasattr(value, "forward"):  # a module
        return [repr(value), sorted(value.state_dict().items())]
    if hasattr(value, "detach") and hasattr(value, "numpy"):  # a tensor
        return [value.detach().cpu().numpy()]
    if dataclasses.is_dataclass(value) or isinstance(value, SimpleNamespace | Namespace):
        return sorted(vars(value).items())
    return None


def place_of(error: BaseException) -> str:
    """Where in the user's own files an error arose, ``pipeline/custom.py:12``; empty where it is not from there."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    for each in reversed(chain):
        frames = traceback.extract_tb(each.__traceback__)
        if own := [frame for frame in frames if is_users(Path(frame.filename))]:
            return f"{shown(Path(own[-1].filename))}:{own[-1].lineno}"
    return ""


def beginning_of(thing: Any) -> str:
    """Where a function or class of the user's own begins; empty where it is none."""
    thing = inspect.unwrap(thing) if callable(thing) else thing
    try:
        return f"{shown(Path(inspect.getfile(thing)))}:{inspect.getsourcelines(thing)[1]}" if _is_own(thing) else ""
    except (OSError, TypeError):
        return ""


imported: list[ModuleType] = []
"""The modules in which the user registers code: ``custom.py``, and what ``code:`` in params.yaml names."""


def beginning_of_named(name: str) -> str:
    """Where one of those modules has something of that name that is the user's; empty where none does."""
    return next(filter(None, (beginning_of(vars(module).get(name)) for module in imported)), "")


def shown(file: Path) -> str:
    """A file's path from the working directory, or from where this package stands, or else the whole of it."""
    roots = (Path.cwd().resolve(), PACKAGE.parent)
    place = file.resolve()
    return next((str(place.relative_to(root)) for root in roots if place.is_relative_to(root)), str(file))


def is_users(file: Path) -> bool:
    """Whether a file is the user's: neither of this package, ``custom.py`` apart, nor of what is installed."""
    place = file.resolve()
    return place == CUSTOM or (file.is_absolute() and not any(map(place.is_relative_to, (PACKAGE, *_installed()))))


def _is_own(thing: Any) -> bool:
    """Whether it stands in a file of the user's: neither in this package, ``custom.py`` apart, nor among what is installed."""
    if not isinstance(thing, FunctionType | type | ModuleType):
        return False
    file = _file(thing)
    if file is None:  # a notebook, or what Python was handed on its command line
        return getattr(thing, "__module__", "") == "__main__"
    return is_users(file)


def _file(thing: Any) -> Path | None:
    module = thing if isinstance(thing, ModuleType) else sys.modules.get(getattr(thing, "__module__", ""))
    place = getattr(module, "__file__", None)
    return Path(place).resolve() if place else None


@functools.cache
def _installed() -> set[Path]:
    paths = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages(), sys.base_prefix}
    # Where torch is, other packages are, too: on PYTHONPATH, say, or by `pip install --target`.
    paths |= {str(Path(found.origin).parents[1]) for name in ("torch", "numpy") if (found := find_spec(name)) and found.origin}
    return {Path(path).resolve() for path in paths if path and Path(path).resolve() != Path("/")} - set(PACKAGE.parents)


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', thing.__name__)}"


def _text(thing: Any) -> str:
    """Its source and the values that it goes by; that of the whole file for a module, and for what has none of its own."""
    values = [f"{name} = {_shown(value)}" for name, value in sorted(_values(thing).items())]
    if isinstance(thing, FunctionType) and thing.__name__ == "<lambda>":  # its line may hold several, or not all of it
        return "\n".join([_compiled(thing.__code__), *values])
    try:
        return "\n".join([inspect.getsource(thing), *values])
    except (OSError, TypeError):
        file = _file(thing)
        if file and file.is_file():
            return file.read_text("utf-8", errors="replace")  # Python reads comments in any encoding
    if isinstance(thing, FunctionType):
        return "\n".join([_compiled(thing.__code__), *values])
    return "\n".join(f"{name} = {_shown(value)}" for name, value in _attributes(thing).items())


def _compiled(code: CodeType) -> str:
    """What a function does, where it has no source: its instructions, names and constants."""
    constants = [_compiled(each) if isinstance(each, CodeType) else _shown(each) for each in code.co_consts]
    return repr((code.co_code.hex(), code.co_names, code.co_varnames, code.co_freevars, constants))


def _attributes(thing: Any) -> dict[str, Any]:
    """What a class holds beside its functions."""
    return {name: value for name, value in vars(thing).items() if not name.startswith("__") and not _is_code(value)}


def _referred(thing: Any) -> Iterator[Any]:
    """The functions, classes and modules that its code goes by."""
    if isinstance(thing, type):
        yield from thing.__bases__
        yield from (function for value in vars(thing).values() for function in _functions(value))
    elif isinstance(thing, FunctionType):
        values = list(_values(thing).values())
        yield from values
        yield from (function for value in [*values, *(thing.__defaults__ or ())] for function in _functions(value))
    elif isinstance(thing, ModuleType):
        yield from (value for value in vars(thing).values() if isinstance(value, FunctionType | type | ModuleType))


def _values(thing: Any) -> dict[str, Any]:
    """What the names in a function's code stand for, as far as that is known; nothing for all else."""
    if not isinstance(thing, FunctionType):
        return {}
    known = sys.modules | thing.__globals__ | dict(zip(thing.__code__.co_freevars, _contents(thing), strict=True))
    return {name: known[name] for name in _names(thing.__code__) if name in known}


def _shown(value: Any) -> str:
    """A plain value, or a collection of them, always in the same order; the kind alone of anything else."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_shown(key)}: {_shown(each)}' for key, each in value.items())}}}"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_shown, value))})"
    return f"{{{', '.join(sorted(map(_shown, value)))}}}" if isinstance(value, set | frozenset) else type(value).__name__


def _functions(value: Any) -> Iterator[Any]:
    """The functions that a value holds: a method's, a property's, a partial's, those in a collection."""
    if isinstance(value, dict | tuple | list | set | frozenset):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _functions(each)
    inner = [getattr(value, name, None) for name in ("__func__", "fget", "fset", "func")]
    yield from (each for each in [value, *inner] if isinstance(each, FunctionType))


def _contents(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            yield None


def _names(code: CodeType) -> set[str]:
    """Names that the code looks up outside itself, and that of the functions and classes inside it; attributes are none."""
    inside = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    looked_up = {each.argval for each in dis.get_instructions(code) if each.opname in LOOKED_UP}
    return {*looked_up, *code.co_freevars}.union(*map(_names, inside))
