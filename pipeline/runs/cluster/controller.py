"""Who asks a cluster to train: deals calls out, does those again that are lost, and sends code and data along once."""

import contextlib
import hashlib
import io
import os
import pickle
import shutil
import threading
import time
import uuid
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import torch

from pipeline.config.custom_module import named_in
from pipeline.config.files import STATE, store_root
from pipeline.config.params import PARAMS_FILE
from pipeline.config.problem_params import Resources
from pipeline.engine.code import MIXED
from pipeline.problems.problem import Problem
from pipeline.problems.process import SETTLED
from pipeline.problems.run import Block
from pipeline.problems.scripts import INPUTS, ScriptProblem
from pipeline.runs.cluster.agent import ERROR, LOST, RESULT, UNFIT
from pipeline.runs.cluster.process import request
from pipeline.runs.executor import ExecutorError, Here, Processes, Trainers
from pipeline.runs.unfinished import UNTOUCHED

ATTEMPTS = 4
"""Times that a call is begun before it is given up; Dask gives what a lost worker was at to another three times by itself."""
T = TypeVar("T")
Ended = Callable[[str, str, bytes], None]
"""Is told that the call of that key ended, how, and with what; see :mod:`pipeline.runs.cluster.agent`."""


@dataclass(eq=False)
class Call:
    """A call that is to be made; every time it is begun it has another key."""

    title: str
    asked: dict[str, Any]
    content: str
    request: bytes
    resources: Resources
    future: "Future[bytes]" = field(default_factory=Future)
    name: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    begun: int = 0

    @property
    def key(self) -> str:
        """What the engine knows it by; it begins with what people see."""
        return f"{self.title} {self.name}-{self.begun}"


class Engine(Protocol):
    """Brings calls to workers."""

    shares_files: bool
    """Whether the working directory is theirs, too."""

    def slots(self, resources: Resources) -> int:
        """How many calls that need so much can be made side by side by now."""
        ...

    def keep(self, name: str, content: bytes) -> None:
        """Every worker, those to come too, has the content by that name."""
        ...

    def drop(self, name: str) -> None:
        """Nobody needs that content any more."""
        ...

    def begin(self, call: Call) -> None:
        """Make it once; whoever made this engine is told the end of it."""
        ...

    def cancel(self, keys: Iterable[str]) -> None:
        """Nobody waits for those any more."""
        ...

    def told(self) -> Iterator[tuple[str, bytes]]:
        """What calls told since the last time, by their keys; also the moment to look after jobs and connections."""
        ...

    def close(self) -> None:
        """Let go of the workers."""
        ...


class Cluster:
    """A cluster's workers for training, and this machine's processes for all else."""

    def __init__(self, make: Callable[[str, Path, Ended], Engine], words: str, local: "Here | Processes") -> None:
        self._make, self._words = make, words
        self._local, self.count = local, local.count
        self._engine: Engine | None = None
        self._resources, self._inputs = Resources(), tuple[str, ...]()
        self._waiting: deque[Call] = deque()
        self._begun: dict[str, Call] = {}
        self._lock = threading.RLock()
        self._kept: dict[str, tuple[bytes, str]] = {}
        self._folder = store_root() / STATE / "cluster" / uuid.uuid4().hex

    def trainers(self, problem: Problem, way: str, device: torch.device) -> Trainers:
        """All training is done on the cluster."""
        self._resources = problem.params.resources or Resources()
        self._inputs = tuple(problem.data.parts) if isinstance(problem, ScriptProblem) else ()
        return self

    @property
    def slots(self) -> int:
        """How many calls can be made side by side by now."""
        return max(1, self._connected().slots(self._resources))

    def where(self) -> str:
        """How many slots are at it; none where all is done here so far."""
        return f" by {self._engine.slots(self._resources)} slots of the cluster" if self._engine else ""

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """Here."""
        return self._local.submit(function, *args, **kwargs)

    def map(self, function: Callable[..., T], *iterables: Any, chunksize: int = 1) -> Iterator[T]:
        """Here."""
        return self._local.map(function, *iterables, chunksize=chunksize)

    def send(self, title: str, function: Callable[..., bytes], content: bytes, *args: Any) -> "Future[bytes]":
        """A call; what it raises is raised where its result is asked for."""
        inputs = () if self._connected().shares_files else self._inputs
        code = self._name_of("code", repr(inputs).encode(), lambda: zipped(inputs))
        asked = {
            "code": code, "digest": code.rpartition("-")[2], "home": str(Path.cwd()), "root": str(store_root()),
            "mark": str(self._folder), "cores": self._resources.cpus,
            "environment": {name: os.environ.get(name) for name in (*SETTLED, MIXED)},
        }  # fmt: skip
        call = Call(title, asked, self._name_of("content", content, lambda: content), request(function, args), self._resources)
        call.future.add_done_callback(lambda future: self._forget(call) if future.cancelled() else None)
        with self._lock:
            self._waiting.append(call)
        self._begin_some()
        return call.future

    def heard(self) -> Iterator[tuple[int, Block]]:
        """The blocks that have come."""
        self._folder.touch()  # a sign of life
        for key, blocks in self._connected().told():
            if key in self._begun:
                yield from pickle.loads(blocks)  # noqa: S301  # from a process of our own
        self._begin_some()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        try:
            if self._engine is not None:
                self._forget(*self._waiting, *self._begun.values())
                self._engine.close()
                shutil.rmtree(self._folder, ignore_errors=True)
        finally:
            self._local.__exit__(*raised)

    def _connected(self) -> Engine:
        """The engine, from the first time on that it is needed: stages that have nothing to train need no cluster."""
        if self._engine is None:
            self._folder.mkdir(parents=True)
            for place in self._folder.parent.iterdir():
                with contextlib.suppress(OSError):  # another stage has just ended
                    if time.time() - place.stat().st_mtime > UNTOUCHED:  # its stage was killed
                        shutil.rmtree(place, ignore_errors=True)
            try:
                self._engine = self._make(self._words, self._folder, self._ended)
            except BaseException:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
        return self._engine

    def _name_of(self, what: str, key: bytes, make: Callable[[], bytes]) -> str:
        """What workers know a content by, which they have from now on in place of the last one of its kind."""
        if what not in self._kept or self._kept[what][0] != key:
            content, engine = make(), self._connected()
            name = f"{self._folder.name}-{hashlib.sha256(content).hexdigest()[:32]}"
            engine.keep(name, content)
            if what in self._kept:
                engine.drop(self._kept[what][1])
            self._kept[what] = key, name
        return self._kept[what][1]

    def _begin_some(self) -> None:
        """As many calls as can be made side by side: what waits here is given to whoever is free first."""
        engine = self._connected()
        with self._lock:
            while self._waiting and len(self._begun) < engine.slots(self._waiting[0].resources):
                call = self._waiting.popleft()
                call.begun += 1
                self._begun[call.key] = call
                try:
                    engine.begin(call)
                except OSError as error:  # the connection is lost, which `heard` sees
                    self._ended(call.key, LOST, str(error).encode())
                    return

    def _forget(self, *calls: Call) -> None:
        with self._lock:
            for call in [call for call in calls if call in self._waiting]:
                self._waiting.remove(call)
            if self._engine is not None:
                self._engine.cancel([call.key for call in calls if self._begun.pop(call.key, None)])

    def _ended(self, key: str, kind: str, content: bytes) -> None:
        """In whatever thread the engine has."""
        with self._lock:
            call = self._begun.pop(key, None)
            if call is None:
                return
            if kind == LOST and call.begun < ATTEMPTS:
                self._waiting.appendleft(call)  # begun by `heard`
                return
        if kind == RESULT:
            call.future.set_result(content)
        else:
            call.future.set_exception(_error(call, kind, content))
        self._begin_some()


def _error(call: Call, kind: str, content: bytes) -> Exception:
    if kind == ERROR:
        error: Exception = pickle.loads(content)  # noqa: S301  # from a process of our own
        return error
    words = content.decode("utf-8", "replace")
    if kind == UNFIT:
        return ExecutorError(f"{call.title}: a worker cannot run it: {words}; install requirements.txt on every machine")
    return ExecutorError(f"{call.title}: begun {ATTEMPTS} times on the cluster and lost each time; {words}")


def zipped(inputs: Iterable[str]) -> bytes:
    """The pipeline, the user's own modules, params.yaml and files under inputs/ as a zip file: the same for the same."""
    content, package = io.BytesIO(), Path(__file__).parents[2]
    found = {str(file.relative_to(package.parent)): file for file in _files(package)}
    for name in named_in(PARAMS_FILE):
        top = Path(name.partition(".")[0])
        found |= {str(file): file for file in _files(top if top.is_dir() else top.with_suffix(".py"))}
    found |= {str(file): file for place in (PARAMS_FILE, *map(INPUTS.joinpath, inputs)) for file in _files(place)}
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(found):
            archive.writestr(zipfile.ZipInfo(name), found[name].read_bytes())
    return content.getvalue()


def _files(place: Path) -> list[Path]:
    """A file, or all in a folder; nothing where there is none."""
    inside = sorted(place.rglob("*")) if place.is_dir() else [place]
    return [file for file in inside if file.is_file() and "__pycache__" not in file.parts]
