"""What a cluster's worker needs before it has the pipeline: the standard library and this file, which is sent by value.

Training is in processes beside the worker's own: each study has them with its own code, whatever others have; what a model does
to its process, holding Python's lock for minutes or being killed for its memory, costs the worker nothing; and what nobody
waits for any more can be ended. A process serves one call after the other, and ends when its worker does.
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
import zipfile
from pathlib import Path
from typing import Any

RESULT, ERROR, LOST, UNFIT = "result", "error", "lost", "unfit"
"""How a call ends: with bytes, with an exception, by a process that is gone, or on a machine that cannot run it."""
READY, TOLD = "ready", "told"
"""What a process says in between."""
LOOK = 1.0
"""Seconds after which it is looked whether anybody waits for the result."""
IDLE = 60.0
"""Seconds without a call after which a process ends."""
LAST_WORDS = 1000
"""Characters of what a process said last that are told."""


class Agent:
    """The processes of a worker that have the code of one zip file; they live in ``place``, a folder."""

    def __init__(self, code: Path, place: Path) -> None:
        self._code, self._place, self._lock = code, place, threading.Lock()
        self._idle: dict[int, list[Process]] = {}

    def call(self, asked: Any, content: str, request: bytes, tell: Any, is_wanted: Any) -> Any:
        """How the call ended, and with what. What it tells goes to ``tell``; it is ended once it ``is_wanted`` no more."""
        process = self._taken(asked)
        try:
            ended = process.call(content, request, tell, is_wanted)
        except BaseException:
            process.end()
            raise
        if ended[0] in (RESULT, ERROR):
            self._rest(process)
        return ended

    def close(self) -> None:
        """End the processes that rest."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for process in [each for some in idle.values() for each in some]:
            process.end()

    def _taken(self, asked: Any) -> "Process":
        with self._lock:
            if not self._place.is_dir():
                new = self._place.with_name(f"{self._place.name}.{uuid.uuid4().hex}")
                with zipfile.ZipFile(self._code) as archive:
                    archive.extractall(new)
                try:
                    new.rename(self._place)
                except OSError:  # another worker of this folder was first
                    shutil.rmtree(new)
            idle = self._idle.setdefault(asked["cores"], [])
            while idle:
                process = idle.pop()
                if process.popen.poll() is None:
                    return process
        return Process(self._place, asked)

    def _rest(self, process: "Process") -> None:
        with self._lock:
            process.used = time.monotonic()
            self._idle.setdefault(process.cores, []).append(process)
        timer = threading.Timer(IDLE, self._end_idle)
        timer.daemon = True
        timer.start()

    def _end_idle(self) -> None:
        until = time.monotonic() - IDLE
        with self._lock:
            old = [process for some in self._idle.values() for process in some if process.used <= until]
            for process in old:
                self._idle[process.cores].remove(process)
        for process in old:
            process.end()


class Process:
    """One process, with the code in a folder, whose share are so many cores."""

    def __init__(self, place: Path, asked: Any) -> None:
        self.cores, self.used = asked["cores"], 0.0
        is_shared = Path(asked["mark"]).exists()  # then scripts find their inputs there, and checkpoints lie there
        given = {"PYTHONPATH": os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))}
        given |= {"PIPELINE_EXECUTOR": "local:1", "PIPELINE_CORES": str(self.cores)}
        given |= {"DVC_ROOT": asked["root"] if is_shared else str(place)}
        environment = {name: value for name, value in (os.environ | asked["environment"] | given).items() if value is not None}
        self._connection, theirs = multiprocessing.Pipe()
        self._words = place / f"{uuid.uuid4().hex}.txt"
        with self._words.open("wb") as words:
            self.popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.runs.cluster.process", str(theirs.fileno())],
                cwd=asked["home"] if is_shared else place, env=environment, pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL, stdout=words, stderr=words,
            )  # fmt: skip
        theirs.close()
        self._is_ready = False

    def call(self, content: str, request: bytes, tell: Any, is_wanted: Any) -> Any:
        """As :meth:`Agent.call`."""
        try:
            self._connection.send((content, request))
            while True:
                if not is_wanted():
                    self.end()
                    return LOST, b"nobody waits for it"
                if not self._connection.poll(LOOK):
                    continue
                kind, said = self._connection.recv()
                if kind == READY:
                    self._is_ready = True
                elif kind == TOLD:
                    tell(said)
                else:
                    return kind, said
        except (EOFError, OSError):
            code = self.popen.wait()
            text = " ".join(self._words.read_text("utf-8", "replace").split())[-LAST_WORDS:]
            self.end()
            where = f"on {os.uname().nodename} its process ended ({code}); its last words: {text or 'none'}"
            return LOST if self._is_ready or code < 0 else UNFIT, where.encode()

    def end(self) -> None:
        """In the middle of whatever it does."""
        self.popen.kill()
        self.popen.wait()
        self._connection.close()
        self._words.unlink(missing_ok=True)
