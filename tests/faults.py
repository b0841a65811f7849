"""Everything that goes wrong on a machine, done on purpose to small studies: ``make faults``.

``python -m tests.faults [KIND …]``. Each fault is followed by what the Makefile does for ``make repro``, in a clone of its own.
Printed is one row a fault: how often it was done, and how often something was **lost** (a result or an entry of a tracker
that is not there, and no line said so), **wrong** (other bytes than where nothing happened), **stuck** (``make repro`` fails,
or does not end), or a **traceback**; and a message as an example. Where a row has more than zeros, what happened is told at
the end, and its clones are left.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import create_engine, text

from tests.search.helpers import kill_family
from tests.tracking.postgres import Server

ROOT = Path(__file__).parent.parent
COPIED = ("pipeline", "inputs", "scripts", "dvc.yaml", "requirements.txt", "constraints.txt", ".dvcignore", ".gitignore")
PARAMS = """\
device: cpu
seeds: 3
problems:
  tiny:
    dataset: {name: synthetic, train: 40, validation: 30, test: 30, features: 3}
    model: {name: mlp, hidden: [4], dropout: 0.1}
    optimizer: {name: SGD, lr: 0.5}
    epochs: 4
    batch_size: 16
    engine: tensors
schedulers:
  StepLR: {args: {step_size: 50%, gamma: 0.1}}
  ReduceLROnPlateau: {args: {patience: 0}}
  ConstantLR: {args: {factor: 1.0}}
tune: {trials: 4, batch: 2, sampler: tpe, lr: {low: 10%, high: 1000%}}
sweep: {points: 2, budgets: [50%]}
report: {every: 1, baseline: ConstantLR}
"""
LONGEST = 900.0
"""Seconds after which `make repro` is taken for stuck."""


@dataclass
class Row:
    """What came of a fault."""

    fault: str
    times: int = 0
    lost: int = 0
    wrong: int = 0
    stuck: int = 0
    tracebacks: int = 0
    message: str = ""
    notes: list[str] = field(default_factory=list)
    hit: Counter[str] = field(default_factory=Counter)
    """What was hit how often."""

    def add(self, other: "Row") -> None:
        """Those of another clone."""
        for name in ("times", "lost", "wrong", "stuck", "tracebacks"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.hit += other.hit
        self.message = self.message or other.message
        self.notes += other.notes

    def __str__(self) -> str:
        counts = self.times, self.lost, self.wrong, self.stuck, self.tracebacks
        hit = ", ".join(f"{what} {times}" for what, times in sorted(self.hit.items()))
        return f"| {self.fault} | {' | '.join(map(str, counts))} | {hit or self.message} |"


NO_MESSAGE = re.compile(
    r"WARNING: Process|Running stage|Stage '|Updating|Use `dvc|Data and|'data|> python|.*% done|To track|git add|"
    r"ERROR: failed to|.*is cached|MLflow: |Optuna's storage: |bash: |$"
)
"""Lines of DVC's own, and of progress."""


@dataclass(frozen=True)
class Ended:
    """What came of a command."""

    code: int | None
    said: str

    @property
    def message(self) -> str:
        """The first line that tells something."""
        lines = (line.strip() for line in self.said.splitlines())
        told = [line for line in lines if not NO_MESSAGE.match(line) and ": " in line]
        return next((line for line in told if "was not told" in line), (told or [""])[0]).replace("|", "/")[:150]


class Clone:
    """A folder with the pipeline in it, and a small study."""

    def __init__(self, path: Path, params: str = PARAMS) -> None:
        self.path = path
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DVC", "MLFLOW", "OPTUNA", "PYTHON"))},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(path),
            "OMP_NUM_THREADS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "XDG_CACHE_HOME": str(path / "cache"),
            "PIPELINE_EXECUTOR": "local:2",
        }
        if path.exists():
            return
        path.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, path / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, path)
        (path / ".dvc").mkdir()
        (path / ".dvc/config").write_text("[core]\n    no_scm = True\n    analytics = false\n", encoding="utf-8")
        (path / "params.yaml").write_text(params, encoding="utf-8")

    def copy(self, path: Path) -> "Clone":
        """Another of the same, with all that was made."""
        shutil.copytree(self.path, path, symlinks=True)
        return Clone(path)

    def start(self, command: str, **more: str) -> subprocess.Popen[bytes]:
        """Begin a command, which writes to ``said.txt``."""
        with (self.path / "said.txt").open("wb") as said:
            return subprocess.Popen(
                ["bash", "-c", command], cwd=self.path, env=self.environment | more, stdin=subprocess.DEVNULL, stdout=said,
                stderr=said, start_new_session=True,
            )  # fmt: skip

    def ended(self, process: subprocess.Popen[bytes]) -> Ended:
        """What came of it; code None where it did not end."""
        try:
            code: int | None = process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            kill_family(process.pid)
            process.wait()
            code = None
        return Ended(code, (self.path / "said.txt").read_text("utf-8", errors="replace"))

    def run(self, command: str, **more: str) -> Ended:
        """A command to its end."""
        return self.ended(self.start(command, **more))

    def written(self) -> dict[str, str]:
        """Every file that the stages hand on, with the hash of its bytes."""
        found = [p for folder in ("data", "results", "reports") for p in (self.path / folder).rglob("*") if p.is_file()]
        hashes = {str(p.relative_to(self.path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in found}
        return {name: value for name, value in hashes.items() if not name.endswith(".gitignore")}

    def shown(self, where: Mapping[str, str]) -> tuple[set[Any], dict[str, int]]:
        """The finished runs that MLflow shows, and how many trials of each study Optuna does; ``where`` names other stores."""
        uri = where.get("MLFLOW_TRACKING_URI", f"sqlite:///{self.path}/mlflow.db")
        given = where.get("OPTUNA_STORAGE", f"{self.path}/optuna.journal")
        engine = create_engine(uri.replace("postgresql:", "postgresql+psycopg:"))
        asked = (
            "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid WHERE t.key = 'fingerprint' "
            "AND r.status = 'FINISHED'"
        )
        with engine.connect() as connection:
            runs = {tuple(row) for row in connection.execute(text(asked))}
        engine.dispose()
        storage: BaseStorage
        if "://" in given:
            storage = RDBStorage(given.replace("postgresql:", "postgresql+psycopg:"))
        else:
            storage = JournalStorage(JournalFileBackend(given))
        return runs, {s.study_name: len(storage.get_all_trials(s._study_id)) for s in storage.get_all_studies()}


def repro() -> str:
    """What ``make repro`` runs."""
    lines = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ").splitlines()
    return next(line for line in lines if line.startswith("\t@dvc repro")).lstrip("\t@").partition("#")[0]


@dataclass(frozen=True)
class Bench:
    """Where the clones lie, and one to which nothing happened."""

    folder: Path
    sound: Clone
    seconds: float
    draw: random.Random

    @functools.cached_property
    def expected(self) -> tuple[dict[str, str], Any]:
        """Its files, and what the trackers show."""
        return self.sound.written(), self.sound.shown({})

    def judge(self, row: Row, clone: Clone, *ended: Ended, what: str = "", where: Mapping[str, str] | None = None) -> Row:
        """Count what came of a fault in a clone, after the last command that ended; the trackers' stores are ``where``."""
        before = (row.lost, row.wrong, row.stuck, row.tracebacks)
        files, shown = self.expected
        found = clone.written()
        row.stuck += ended[-1].code != 0
        row.tracebacks += sum("Traceback (most recent call last)" in each.said for each in ended)
        said = "".join(each.said for each in ended)
        if ended[-1].code == 0:
            row.lost += bool(files.keys() - found.keys())
            row.wrong += any(found.get(name, value) != value for name, value in files.items()) or bool(
                found.keys() - files.keys()
            )
            try:
                row.lost += clone.shown(where or {}) != shown and "make mirror" not in said
            except Exception as error:  # noqa: BLE001  # whatever a broken store raises
                row.lost += "make mirror" not in said
                said += repr(error)
        row.message = row.message or next(filter(None, (each.message for each in ended)), "")
        if before != (row.lost, row.wrong, row.stuck, row.tracebacks):
            differ = [name for name in files.keys() | found.keys() if files.get(name) != found.get(name)]
            place = said.find("Traceback (most recent call last)")
            told = said[-3000:] if place < 0 else said[max(0, place - 500) : place + 2500]
            row.notes.append(f"{clone.path} {what}: {ended[-1].code}, {differ[:4]}\n{told}")
        else:
            shutil.rmtree(clone.path, ignore_errors=True)
        return row


STAGES = ("check", "dataset", "train", "tune", "confirm", "sweep", "report", "track")
VICTIMS = ("everything", "dvc", "a stage", "a helper")


def kills(bench: Bench, number: int) -> Row:
    """A study from nothing that is killed at its beginning and in every stage; then the mirror, at making all anew."""
    row, clone, draw = Row("SIGKILL"), Clone(bench.folder / f"kills-{number}"), random.Random(number)
    ended = _hit(row, clone, draw, repro(), ["", *(stage for stage in STAGES for _ in range(2))], bench.seconds / 15)
    ended.append(clone.run(repro()))
    for name in ("mlflow.db", "optuna.journal"):
        (clone.path / name).unlink()
    ended += _hit(row, clone, draw, MIRROR, ["", "", ""], bench.seconds / 6)
    ended += [clone.run(MIRROR), clone.run(repro())]
    return bench.judge(row, clone, *ended)


def _hit(row: Row, clone: Clone, draw: random.Random, command: str, stages: Sequence[str], longest: float) -> list[Ended]:
    """Call a command again and again; kill some of it within so many seconds after each of the stages began."""
    process, ended = clone.start(command), []
    for stage in stages:
        if process.poll() is not None:
            ended.append(clone.ended(process))
            process = clone.start(command)
        ahead = STAGES[STAGES.index(stage) :] if stage else ()  # one that is done already does not come again
        while ahead and process.poll() is None and not _at_work(process.pid, ahead):
            time.sleep(0.1)
        time.sleep(draw.uniform(0.05, longest))
        if process.poll() is None:
            row.times += 1
            row.hit[killed := _killed(process.pid, draw.choice(VICTIMS), draw)] += 1
            if not killed.startswith("dvc"):  # a study whose DVC is killed is begun again by the same command
                process.wait()
    return [*ended, clone.ended(process)]


def _at_work(shell: int, stages: Sequence[str]) -> bool:
    """Whether one of the stages is."""
    return any(f".stages.{stage}" in words for words in _pythons(shell)[0].values() for stage in stages)


def _pythons(shell: int) -> tuple[dict[int, str], dict[int, int]]:
    """The Python processes below a shell with their words, and everybody's parents."""
    parents: dict[int, int] = {}
    words: dict[int, str] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words[int(stat.parent.name)] = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = [shell]
    for member in family:
        family += [each for each in parents if parents[each] == member]
    return {each: words[each] for each in family if "python" in words.get(each, "").partition(" ")[0]}, parents


def _killed(shell: int, victim: str, draw: random.Random) -> str:
    """Kill one of the processes below a shell, or all where there is none of the kind; which, and the stage at work."""
    words, parents = _pythons(shell)
    dvc = [each for each in words if "bin/dvc repro" in words[each]]
    own = [each for each in words if each not in dvc]
    stages = [each for each in own if parents[each] not in own]
    found = [re.search(r"pipeline[. ](?:stages[.])?(\w+)|scripts/(\w+)", words[each]) for each in stages]
    at_work = next((match[1] or match[2] for match in found if match), "DVC itself")
    helpers = [each for each in own if each not in stages]
    chosen = {"dvc": dvc[:1], "a stage": stages[:1], "a helper": helpers}.get(victim, [])
    if not chosen:
        kill_family(shell)
        return f"everything ({at_work})"
    with contextlib.suppress(ProcessLookupError):
        os.kill(draw.choice(chosen), signal.SIGKILL)
    return f"{victim} ({at_work})"


def _changed(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(max(1, len(content)))
    return content[:place] + bytes([(content[place] if content else 0) ^ 0x55]) + content[place + 1 :]


DAMAGES: Mapping[str, Callable[[bytes, random.Random], bytes]] = {
    "emptied": lambda content, draw: b"",
    "cut": lambda content, draw: content[: draw.randrange(max(1, len(content)))],
    "a byte changed": _changed,
    "garbage": lambda content, draw: draw.randbytes(max(1, len(content))),
    "a text": lambda content, draw: b"something else\n",
}


def _places(clone: Clone) -> dict[str, list[Path]]:
    """The files that may be damaged, by what they are."""
    of = {
        "results": ("results", "data"),
        "reports": ("reports",),
        "state": (".state",),
        "cache": ("cache",),
        "DVC's own": (".dvc/tmp",),
    }
    found = {
        kind: [p for folder in folders for p in sorted((clone.path / folder).rglob("*")) if p.is_file() and p.stat().st_size]
        for kind, folders in of.items()
    }
    found["DVC's own"] = [clone.path / ".dvc/tmp/rwlock", clone.path / ".dvc/tmp/lock"]
    found["locks"] = [clone.path / "dvc.lock"]
    found["databases"] = [clone.path / name for name in ("mlflow.db", "optuna.journal", ".state/runs.sqlite")]
    return {kind: paths for kind, paths in found.items() if paths}


def damage(bench: Bench, number: int) -> Row:
    """Five files of a finished study, one of each of five kinds, damaged at once; params.yaml has changed as well, or not."""
    row, clone, draw = Row("damaged file"), bench.sound.copy(bench.folder / f"damage-{number}"), random.Random(number)
    places, told = _places(clone), []
    for kind in draw.sample(sorted(places), 5):
        path = draw.choice(places[kind])
        how = draw.choice(sorted(DAMAGES))
        content = path.read_bytes() if path.exists() else b"{}"
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode if path.exists() else 0o644
        path.write_bytes(DAMAGES[how](content, draw))
        path.chmod(mode)
        told.append(f"{path.relative_to(clone.path)} {how}")
        row.times += 1
    # Where nothing runs, nothing is read: half of them make every stage run again.
    again = repro().replace("dvc repro", "dvc repro -f") if number % 2 else repro()
    ended = [clone.run(again), clone.run(repro())]
    mirrored = clone.run(MIRROR)
    row.stuck += mirrored.code != 0
    return bench.judge(row, clone, mirrored, *ended, what="; ".join(told))


FORCED = "dvc repro -f -s train@tiny track"
"""Two stages that tell MLflow all they know, without training."""
TUNED = "dvc repro -f -s tune@tiny"
BOTH = "dvc repro -f -s train@tiny tune@tiny confirm@tiny track"
MIRROR = "python -m pipeline mirror"
COME_BACK = ("slow", "restarted midway")
"""What an outage is called after which its own stores are to show everything."""
In = contextlib.AbstractContextManager[Mapping[str, str]]


@contextlib.contextmanager
def answering(status: int, wait: float) -> Iterator[dict[str, str]]:
    """A server in MLflow's place that answers everything with that, after so many seconds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(wait)
            with contextlib.suppress(OSError):
                self.send_error(status)

        do_POST = do_GET  # noqa: N815  # the library's own names

        def log_message(self, *_: object) -> None:
            pass

    with serving(Handler) as environment:
        yield environment


@contextlib.contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[dict[str, str]]:
    """A server that is said to be MLflow's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{server.server_port}"}
    finally:
        server.shutdown()


@contextlib.contextmanager
def served(clone: Clone) -> Iterator[tuple[dict[str, str], list[Callable[[], None]]]]:
    """MLflow's own server; what the environment says of it, and what stops all its processes and what begins it again."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    begin = functools.partial(
        subprocess.Popen, [sys.executable, *words, "--backend-store-uri", f"sqlite:///{clone.path}/server.db"],
        cwd=clone.path, env=clone.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    servers = [begin()]

    def stop() -> None:
        kill_family(servers[-1].pid)
        servers[-1].wait()

    def again() -> None:
        servers.append(begin())
        _wait_for(port)

    _wait_for(port)
    try:
        yield {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}, [stop, again]
    finally:
        stop()


@contextlib.contextmanager
def dying(clone: Clone, after: float) -> Iterator[dict[str, str]]:
    """MLflow's own server, whose processes are killed so many seconds after the command began."""
    with served(clone) as (environment, (stop, _)), later(after, stop):
        yield environment


@contextlib.contextmanager
def restarted(clone: Clone, after: float) -> Iterator[dict[str, str]]:
    """The same, and begun again at once."""
    with served(clone) as (environment, steps), later(after, *steps):
        yield environment


@contextlib.contextmanager
def slow(clone: Clone, wait: float) -> Iterator[dict[str, str]]:
    """MLflow's own server, behind one that takes so many seconds longer to answer."""
    with served(clone) as (environment, _):
        behind = environment["MLFLOW_TRACKING_URI"]

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                time.sleep(wait)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = urllib.request.Request(behind + self.path, body or None, dict(self.headers), method=self.command)
                try:
                    found = urllib.request.urlopen(asked)  # the address is ours
                except urllib.error.HTTPError as error:
                    found = error
                with found:
                    content = found.read()
                    self.send_response(found.status)
                self.send_header("Content-Type", found.headers["Content-Type"])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815  # the library's own names

            def log_message(self, *_: object) -> None:
                pass

        with serving(Handler) as answers:
            yield answers


@contextlib.contextmanager
def postgres(clone: Clone, after: float) -> Iterator[dict[str, str]]:
    """A PostgreSQL server with a database for each tracker, which is killed after so many seconds and begun again."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    server = Server(folder)
    stores = {"MLFLOW_TRACKING_URI": server.database("mlflow"), "OPTUNA_STORAGE": server.database("optuna")}
    try:
        with later(after, server.stop, server.start):
            yield stores
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextlib.contextmanager
def later(after: float, *steps: Callable[[], None]) -> Iterator[None]:
    """Take the steps so many seconds after the block began, and end it no sooner."""

    def take() -> None:
        time.sleep(after)
        for step in steps:
            step()

    thread = Thread(target=take)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _wait_for(port: int) -> None:
    """Until MLflow's server answers from its database, which takes it a minute on a busy machine: its port is open before."""
    until = time.monotonic() + LONGEST
    while not _answers(f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1") and time.monotonic() < until:
        time.sleep(0.1)


def _answers(address: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=10):
        return True
    return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[dict[str, str]]:
    """Another program holds the database all the time."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield {}
        connection.rollback()


@contextlib.contextmanager
def locked_for(path: Path, seconds: float) -> Iterator[dict[str, str]]:
    """Another program holds the database for so long."""
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    with later(seconds, connection.close):
        yield {}


@contextlib.contextmanager
def a_folder(path: Path) -> Iterator[dict[str, str]]:
    """A folder is in the file's place."""
    aside = path.rename(path.with_name(f"{path.name}.aside"))
    path.mkdir()
    yield {}
    path.rmdir()
    aside.rename(path)


@contextlib.contextmanager
def torn(path: Path) -> Iterator[dict[str, str]]:
    """The last line was written by half."""
    path.write_bytes(path.read_bytes()[:-20])
    yield {}


def read_only(path: Path) -> str:
    """What makes a file read-only for root, too, in a mount namespace of its own."""
    return f"mount --bind {path} {path} && mount -o remount,ro,bind {path} && "


def outages(clone: Clone) -> dict[str, tuple[In, str]]:
    """By name: what holds meanwhile, with what it says to the environment; and the command."""
    nothing: In = contextlib.nullcontext({})
    database, journal, own = clone.path / "mlflow.db", clone.path / "optuna.journal", "unshare -m bash -c '{}'"
    down: In = contextlib.nullcontext({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"})
    no_home: In = contextlib.nullcontext({"HOME": "/nowhere", "XDG_CACHE_HOME": ""})
    return {
        "MLflow's server is down": (down, FORCED),
        "MLflow's server answers with 500": (answering(500, 0), FORCED),
        "MLflow's server never answers": (answering(500, 100), FORCED),
        "MLflow's server is slow, 1 s an answer": (slow(clone, 1), FORCED),
        "MLflow's server dies midway": (dying(clone, 6), FORCED),
        "MLflow's server is restarted midway": (restarted(clone, 6), FORCED),
        "PostgreSQL, which holds both, is restarted midway": (postgres(clone, 6), BOTH),
        "mlflow.db is locked all the time": (locked(database), FORCED),
        "mlflow.db is locked for 2 minutes": (locked_for(database, 120), FORCED),
        "runs.sqlite is locked for 2 minutes": (locked_for(clone.path / ".state/runs.sqlite", 120), FORCED),
        "mlflow.db is a folder": (a_folder(database), FORCED),
        "mlflow.db is read-only": (nothing, own.format(read_only(database) + FORCED)),
        "Optuna's journal is torn": (torn(journal), TUNED),
        "Optuna's journal is a folder": (a_folder(journal), TUNED),
        "Optuna's journal is read-only": (nothing, own.format(read_only(journal) + TUNED)),
        "no home folder": (no_home, FORCED),
        "/tmp is read-only": (nothing, own.format("mount -t tmpfs -o ro tmpfs /tmp && " + FORCED)),
        "64 kB of shared memory": (nothing, own.format("mount -t tmpfs -o size=64k tmpfs /dev/shm && " + FORCED)),
        "128 open files": (nothing, f"ulimit -n 128; {FORCED}"),
        "40 open files": (nothing, f"ulimit -n 40; {FORCED}"),
        "files of 1 MB at the most": (nothing, f"ulimit -f 1024; {FORCED}"),
        "3 GB of addresses": (nothing, f"ulimit -v 3000000; {FORCED}"),
        "1 GB of addresses": (nothing, f"ulimit -v 1000000; {FORCED}"),
    }


def outage(bench: Bench, number: int) -> Row:
    """A study that goes on while something does not work; then it works again."""
    clone = bench.sound.copy(bench.folder / f"outage-{number}")
    (name, (meanwhile, command)) = list(outages(clone).items())[number]
    row = Row(name, times=1)
    with meanwhile as environment:
        ended = [clone.run(command, **environment)]
        row.message = ended[0].message
        if any(word in name for word in COME_BACK):
            ended.append(clone.run(MIRROR, **environment))
            where = {**environment}
            if where["MLFLOW_TRACKING_URI"].startswith("http"):
                where["MLFLOW_TRACKING_URI"] = f"sqlite:///{clone.path}/server.db"
            expected = bench.expected[1]
            shown = clone.shown(where)
            row.lost += shown != expected
            row.stuck += ended[-1].code != 0
            if shown != expected or ended[-1].code:
                row.notes.append(f"{name}: {len(shown[0])} of {len(expected[0])} runs, {shown[1]}\n{ended[-1].said[-3000:]}")
    ended += [clone.run(repro()), clone.run(MIRROR)]
    return bench.judge(row, clone, *ended, what=name)


@contextlib.contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[[], None]]:
    """A file system of so many bytes, and what makes room on it."""
    place.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "tmpfs", str(place), "-o"]
    _mounted([*mount, f"size={size}"])
    try:
        yield lambda: _mounted([*mount, f"remount,size={2**28}"])
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def _mounted(command: list[str]) -> None:
    subprocess.run(command, check=True)


LEFT = (0, 64, 512, 2048, 8192)
"""kB on the disk that holds the whole clone."""
WRITTEN = ("data", "results", "reports", ".state", "cache", ".dvc/cache", ".dvc/tmp", "tmp", "mlflow", "optuna")
"""What is written by one each, and gets a file system of its own; the last two are the trackers' stores."""


def full_disk(bench: Bench, number: int) -> Row:
    """A study from nothing on a disk that has some kB left, or with half the room that one of its folders takes."""
    path = bench.folder / f"disk-{number}"
    if number < len(LEFT):
        row, size = Row("full disk: the whole clone's", times=1), LEFT[number] * 1024
        with small_disk(path, 2**28):
            clone = Clone(path / "clone")
            (path / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(path).free - size)))
            ended = [clone.run(repro())]
            (path / "ballast").unlink()
            ended.append(clone.run(repro()))
            return bench.judge(row, clone, *ended, what=f"{size} bytes left")
    clone, name = Clone(path), WRITTEN[number - len(LEFT)]
    where = {"mlflow": f"sqlite:///{path}/mlflow/mlflow.db", "optuna": f"{path}/optuna/optuna.journal"}
    more = {"MLFLOW_TRACKING_URI": where["mlflow"]} if name == "mlflow" else {}
    more |= {"OPTUNA_STORAGE": where["optuna"]} if name == "optuna" else {}
    more |= {"TMPDIR": f"{path}/tmp"} if name == "tmp" else {}
    with small_disk(path / name, _half(bench.sound.path, name)) as make_room:
        ended = [clone.run(repro(), **more)]
        row = Row(f"full disk: {name}", times=1, message=ended[0].message)
        make_room()
        ended += [clone.run(repro(), **more), clone.run(MIRROR, **more)]
        return bench.judge(row, clone, *ended, what=f"{name} is full", where=more)


def _half(sound: Path, name: str) -> int:
    """Bytes: half of what lies there where nothing happens."""
    places = {"mlflow": "mlflow.db", "optuna": "optuna.journal"}
    paths = [sound / places.get(name, name), *(sound / places.get(name, name)).rglob("*")]
    return max(8192, sum(path.stat().st_size for path in paths if path.is_file()) // 2)


HOSTILE = (
    "$(touch pwned)", "; touch pwned", "`touch pwned`", "| touch pwned", "&& touch pwned", "a\nb", "../../out", "/etc/passwd",
    "<script>alert(1)</script>", "{{ 7 * 7 }}", "${problems}", "%s%n", "'\"", "\\", "-f", "--help", "a@b", "#", "*", "~", ".",
    "..",
    "x" * 300, "\u202eabc", "\N{SNOWMAN}",
)  # fmt: skip


def hostile(bench: Bench, number: int) -> Row:
    """A name that the shell, YAML, HTML, a template or the file system would read as its own: refused, or used as a name."""
    word, kind = HOSTILE[number // 4], ("problem", "label", "path", "column")[number % 4]
    row, clone = Row("hostile name", times=1), Clone(bench.folder / f"hostile-{number}")
    (clone.path / "inputs/rows.csv").write_text("a,y\n" + "".join(f"{n % 7},{n % 2}\n" for n in range(60)), encoding="utf-8")
    written = PARAMS.replace("{name: synthetic, train: 40, validation: 30, test: 30, features: 3}", "DATA")
    data = {"path": "rows.csv", "target": "y", "task": "classification"}
    if kind == "problem":
        written = written.replace("  tiny:", f"  {json.dumps(word)}:")
    elif kind == "label":
        written = written.replace("  StepLR: {", f"  {json.dumps(word)}: {{name: StepLR, ")
    elif kind == "path":
        data["path"] = word
    else:
        import pandas as pd

        frame = pd.DataFrame({word: [n % 7 + n / 100 for n in range(60)], "y": [n % 2 for n in range(60)]})
        frame.to_csv(clone.path / "inputs/rows.csv", index=False)
    (clone.path / "params.yaml").write_text(written.replace("DATA", json.dumps(data)), encoding="utf-8")
    named = word if kind == "problem" else "tiny"
    ended = clone.run(f"python -m pipeline.stages.check && python -m pipeline.stages.dataset {_quoted(named)}")
    row.message = ended.message
    row.stuck += ended.code is None
    row.tracebacks += "Traceback" in ended.said
    row.wrong += any("pwned" in path.name for path in clone.path.rglob("*")) or (ended.code != 0 and not ended.message)
    if row.stuck or row.tracebacks or row.wrong:
        row.notes.append(f"{kind} {word!r}: {ended.code}\n{ended.said[-2000:]}")
    shutil.rmtree(clone.path)
    return row


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


KINDS: Mapping[str, tuple[Callable[[Bench, int], Row], int]] = {
    "kills": (kills, 20),
    "damage": (damage, 20),
    "outage": (outage, 23),
    "disk": (full_disk, len(LEFT) + len(WRITTEN)),
    "hostile": (hostile, 4 * len(HOSTILE)),
}
"""The kinds of faults, and how many clones each is done in."""


def made(folder: Path) -> Bench:
    """A study to which nothing happens, from nothing; or that of an earlier call in the folder."""
    sound, begun, took = Clone(folder / "sound"), time.monotonic(), folder / "seconds"
    if not took.exists():
        ended = sound.run(repro())
        if ended.code:
            raise SystemExit(ended.said)
        took.write_text(str(time.monotonic() - begun), encoding="utf-8")
    return Bench(folder, sound, float(took.read_text("utf-8")), random.Random(0))


def main() -> None:
    """Do all faults, or those of some kinds, and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []], help="those to do; all where none is named")
    parser.add_argument("--clones", type=int, default=2, help="clones at work side by side")
    parser.add_argument("--first", type=int, default=0, help="the number of the first clone of each kind")
    parser.add_argument("--times", type=int, help="clones for each kind")
    parser.add_argument("--folder", type=Path, help="that of an earlier call, whose undisturbed study serves again")
    asked = parser.parse_args()
    (ROOT / ".state").mkdir(exist_ok=True)
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="faults-", dir=ROOT / ".state"))
    bench = made(folder)
    print(f"Where nothing happens: {bench.seconds:.0f} s.\n\n| fault | times | lost | wrong | stuck | tracebacks | a message |")
    print("|---|---|---|---|---|---|---|", flush=True)
    failed: list[str] = []
    for kind in asked.kinds or KINDS:
        fault, times = KINDS[kind]
        numbers = range(asked.first, min(times, asked.first + (asked.times or times)))
        rows: dict[str, Row] = {}
        with ThreadPoolExecutor(asked.clones) as pool:
            for row in pool.map(functools.partial(fault, bench), numbers):
                rows.setdefault(row.fault, Row(row.fault)).add(row)
                print(row, *row.notes, file=sys.stderr, flush=True)
        for row in rows.values():
            print(row, flush=True)
            failed += row.notes
    print("\n" + "\n\n".join(failed))
    if not failed and not asked.folder:
        shutil.rmtree(folder)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
