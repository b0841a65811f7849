"""Clocks in a process that is otherwise as it is: Python imports this by itself where its folder is on the path.

``CLOCKS`` in the environment holds, as JSON, the functions to be clocked: part → (module, class or nothing, function) each;
``CLOCKED`` names the folder where each stage's process leaves a file at its end: the seconds of each part, and the time (of
the epoch) when it began and ended.
"""

import atexit
import importlib.abc
import importlib.machinery
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

CLOCKS: dict[str, list[list[str]]] = json.loads(os.environ.get("CLOCKS", "{}"))
SECONDS = dict.fromkeys(CLOCKS, 0.0)
BEGUN = time.time()
STAGE = "pipeline.stages."


class Clocked(importlib.abc.Loader):
    """A module's own loader, after which the module's functions have their clocks."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As it would be."""
        created: ModuleType | None = self._own.create_module(spec)
        return created

    def exec_module(self, module: ModuleType) -> None:
        """As it would be, and then clocked."""
        self._own.exec_module(module)
        for part, places in CLOCKS.items():
            for name, kind, function in places:
                if name == module.__name__:
                    home = getattr(module, kind) if kind else module
                    setattr(home, function, clocked(getattr(home, function), part))


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that have something to be clocked."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual one, with the loader above."""
        if not any(name == module for places in CLOCKS.values() for module, _, _ in places):
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = Clocked(spec.loader)
        return spec


def clocked(function: Callable[..., Any], part: str) -> Callable[..., Any]:
    """The function, its time added to that of its part."""

    def call(*args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            SECONDS[part] += time.perf_counter() - begun

    return call


def write(process: int, path: Path) -> None:
    """At the end, of the stage's own process alone: others inherit its clocks."""
    if os.getpid() == process:
        path.write_text(json.dumps({**SECONDS, "begun": BEGUN, "ended": time.time()}), encoding="utf-8")


command = sys.orig_argv[sys.orig_argv.index("-m") + 1 :] if "-m" in sys.orig_argv else [""]
if CLOCKS and command[0].startswith(STAGE) and "CLOCKED" in os.environ:
    sys.meta_path.insert(0, Finder())
    name = os.environ.get("DVC_STAGE") or "@".join(command).removeprefix(STAGE)
    atexit.register(write, os.getpid(), Path(os.environ.pop("CLOCKED"), f"{name}.json"))
