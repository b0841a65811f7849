"""The user's own code, ``custom.py`` and what ``code:`` in params.yaml names, and what is wrong with it in one line."""

import contextlib
import importlib
import multiprocessing
import re
import sys
import threading
from collections.abc import Iterator
from concurrent.futures.thread import _threads_queues
from pathlib import Path
from types import FunctionType, ModuleType
from typing import NoReturn

import torch
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline.config.registry import RegistrationError
from pipeline.config.user_code import CUSTOM, beginning_of, imported, is_users, place_of, shown

MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
PARAMS = Path("params.yaml")
_CODE = re.compile(rb"^code\s*:", re.MULTILINE)


def modules() -> list[ModuleType]:
    """The user's own modules, imported: ``custom.py``, and all that ``code:`` names.

    A mistake in one of them is told on standard error, without a traceback, and ends the process like one in params.yaml: it
    is imported with nearly every other module, before there is anybody to hand an error to.
    """
    return [_imported(name) for name in ("pipeline.custom", *named_in(PARAMS))]


def named_in(params: Path) -> list[str]:
    """The modules that ``code:`` names; what is wrong with that entry is told by whoever reads the whole file."""
    try:
        text = params.read_bytes()
        code = YAML(typ="safe", pure=True).load(text).get("code") if _CODE.search(text) else None
    except (OSError, ValueError, AttributeError, YAMLError):
        return []
    names = [code] if isinstance(code, str) else code
    return [name for name in names if isinstance(name, str) and MODULE.fullmatch(name)] if isinstance(names, list) else []


def _imported(name: str) -> ModuleType:
    before, settings = {*_begun()}, _settings()
    try:
        with contextlib.chdir(Path.cwd()):  # wherever it goes itself
            module = importlib.import_module(name)
    except KeyboardInterrupt:  # somebody's Ctrl-C
        raise
    except BaseException as error:  # noqa: BLE001  # a user's own code may raise anything, also what is no Exception
        _end(told(error, name))
    for line in _nameless(module):
        _end(line)
    if begun := {*_begun()} - before:
        what = f"begins processes or threads ({len(begun)}) as it is imported"
        _end(f"{shown(Path(module.__file__ or name))}: {what}; begin them in the function that needs them")
    for setter, value in _settings().items():
        if value != settings[setter]:
            what = f"{setter} is changed from {settings[setter]} to {value} as it is imported"
            why = "every run of every problem would go by that, and no result would say so"
            _end(f"{shown(Path(module.__file__ or name))}: {what}; take that out: {why}")
    imported.append(module)
    return module


def _begun() -> Iterator[object]:
    """The processes of this one, which import the user's code too, and so on; and threads that it would wait for in the end."""
    yield from multiprocessing.active_children()
    # Python itself ends the threads of executors.
    yield from (each for each in threading.enumerate() if not each.daemon and each not in _threads_queues)


def _settings() -> dict[str, object]:
    """What all training in a process goes by, by the function of torch's that sets it."""
    return {
        "torch.set_default_dtype": torch.get_default_dtype(),
        "torch.set_default_device": torch.get_default_device(),
        "torch.set_grad_enabled": torch.is_grad_enabled(),
    }


def _end(line: str) -> NoReturn:
    print(line, file=sys.stderr, flush=True)
    raise SystemExit(2) from None


def _nameless(module: ModuleType) -> Iterator[str]:
    """What has been given to a ``register`` as its name: ``@register`` without brackets."""
    for value in vars(module).values():
        if isinstance(value, FunctionType) and value.__qualname__ == "register.<locals>.add":
            for each in (cell.cell_contents for cell in value.__closure__ or () if callable(cell.cell_contents)):
                wrong = f"{each.__name__} is registered without a name"
                yield f'{beginning_of(each)}: {wrong}; write @register("{each.__name__}")'


def told(error: BaseException, name: str = "pipeline.custom") -> str:
    """One line: the place in the user's own code, what is wrong there, and a remedy."""
    return f"{_place(error, name)}: {_what(error, name)}"


def _place(error: BaseException, name: str) -> str:
    """Where the error is in the user's files: that of its text, or of what they called last; or the file that is imported."""
    if isinstance(error, SyntaxError) and error.filename and is_users(Path(error.filename)):
        return f"{shown(Path(error.filename))}:{error.lineno or 1}"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
        return "params.yaml"
    return place_of(error) or (f"{shown(CUSTOM)}:1" if name == "pipeline.custom" else f"params.yaml: code: {name}")


def _what(error: BaseException, name: str) -> str:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, RegistrationError):
        return text
    if isinstance(error, SystemExit):
        return (
            f"ends the process{'' if error.code is None else f' ({text})'}; take that out, for every command imports this file"
        )
    if isinstance(error, SyntaxError):
        elsewhere = "" if not error.filename or is_users(Path(error.filename)) else f" in {error.filename}, line {error.lineno}"
        return f"{type(error).__name__}{elsewhere}: {error.msg}; write it as Python would have it"
    if isinstance(error, ModuleNotFoundError):
        if f"{name}.".startswith(f"{error.name}."):
            return f"code: there is no module {error.name} here; write a package beside params.yaml, or one that is installed"
        return f"there is no module {error.name} here; install it in this environment, or take the import out"
    if "circular import" in text:
        return f"{text}; import it inside the function that needs it"
    if isinstance(error, ImportError):
        return f"{text}; import what there is"
    if isinstance(error, ValidationError):
        text = "; ".join(each["msg"] for each in error.errors())
    return f"{type(error).__name__}: {text}; mend this line, or what it calls"
