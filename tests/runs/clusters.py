"""A Dask scheduler and its workers, started as a user would start them, and studies for them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipeline.stages import dataset, train
from tests.conftest import ROOT
from tests.search import helpers
from tests.waiting import until

BY_HAND = pytest.mark.skipif("CI" in os.environ, reason="on a busy machine one run may be hit more often than it is begun")
"""Minutes of kills at random and of jobs that wait: `python -m pytest -m slow tests/runs` does them."""

PROBLEM = """\
  {name}:
    dataset: {{name: synthetic, train: 60, validation: 30, test: 30, features: 3, condition: 10}}
    model: {{name: linear}}
    optimizer: {{name: SGD, lr: 0.5}}
    epochs: {epochs}
    batch_size: 16
    engine: {engine}
"""
SCRIPT = """\
  script:
    script: {path: train.py, steps_per_epoch: 4}
    optimizer: {lr: 0.5}
    epochs: 3
"""
TRAIN = """\
import json, os, random, time

with open(os.environ["PIPELINE_TRIAL"]) as file:
    asked = json.load(file)
random.seed(asked["seed"])
weight, rates = random.random(), asked.get("rates") or [asked["lr"]] * 4 * asked["epochs"]
with open(asked["lines"], "a", buffering=1) as told:
    for epoch in range(asked["epochs"]):
        time.sleep(asked["args"].get("wait", 0))
        while os.path.exists(asked["args"].get("held", "")):
            time.sleep(0.02)
        for rate in rates[4 * epoch : 4 * epoch + 4]:
            weight -= rate * (weight - random.random())
        line = {"epoch": epoch + 1, "lr": rates[4 * epoch], "train_loss": weight**2, "validation_loss": weight**2}
        print(json.dumps(line), file=told)
    print(json.dumps({"finish": {"test_loss": weight**2}}), file=told)
"""
"""Without torch, whose import takes seconds."""


def problems(*engines: str, epochs: int = 5, script: bool = False) -> str:
    """The text of params.yaml with a problem for each engine, by its name."""
    text = "".join(PROBLEM.format(name=engine, engine=engine, epochs=epochs) for engine in engines) + SCRIPT * script
    head, _, rest = helpers.edited().partition("problems:\n")
    schedulers = rest.partition("    schedulers: {}\n")[2]
    plateau = "ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}"  # a script that imports nothing cannot follow it
    return f"{head}problems:\n{text}{schedulers.replace(plateau, 'ExponentialLR: {args: {gamma: 0.9}}')}"


def study(folder: Path, *names: str, epochs: int = 5) -> Path:
    """A new study with its data."""
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs/train.py").write_text(TRAIN, encoding="utf-8")
    engines = [name for name in names if name != "script"]
    (folder / "params.yaml").write_text(problems(*engines, epochs=epochs, script="script" in names), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in names:
            dataset.main(name)
    return folder


def trained(folder: Path, executor: str, *names: str) -> None:
    """The stage ``train`` of these problems, in the tests' process."""
    with pytest.MonkeyPatch.context() as patch, helpers.shown_here():
        patch.chdir(folder)
        patch.setenv("PIPELINE_EXECUTOR", executor)
        for name in names:
            train.main(name)


def waiting(folder: Path, seconds: float, more: str = "timeout: 3600") -> None:
    """Each epoch of the script takes so long; the script has one more key."""
    _with_keys(folder, f"{more}, args: {{wait: {seconds}}}")


def held(folder: Path) -> Path:
    """No epoch of the script begins before this file is gone."""
    file = folder.with_name("held")
    file.touch()
    _with_keys(folder, f"timeout: 3600, args: {{held: {file}}}")
    return file


def _with_keys(folder: Path, more: str) -> None:
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("steps_per_epoch: 4}", f"steps_per_epoch: 4, {more}}}"), encoding="utf-8")


def of_few(folder: Path) -> None:
    """The study has less schedulers."""
    params = folder / "params.yaml"
    few = re.sub(r"^  (StepLR|ExponentialLR):.*\n", "", params.read_text(encoding="utf-8"), flags=re.MULTILINE)
    params.write_text(few, encoding="utf-8")


def environment(**more: str) -> dict[str, str]:
    """For processes: this code, and no tracker."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**found, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PIPELINE_TRACKERS": "none", **more}


class Dask:
    """A scheduler and its workers."""

    def __init__(self, folder: Path, stack: ExitStack, **environment: str) -> None:
        self._folder, self._stack = folder, stack
        self.address, self.workers = "", list[subprocess.Popen[bytes]]()
        self.begin(0, **environment)

    def begin(self, port: int = 0, **environment: str) -> None:
        """Start the scheduler."""
        file = self._folder / "scheduler.json"
        file.unlink(missing_ok=True)
        words = ["--port", str(port), "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file)]
        self.scheduler = self._started("scheduler", *words, **environment)
        self.address = until(lambda: address(file), "the scheduler is there, which `scheduler.txt` tells of")

    def add(self, *words: str, **environment: str) -> "subprocess.Popen[bytes]":
        """One more worker, in a folder of its own, as on a machine of its own, once the scheduler knows it."""
        known = self.known()
        worker = self.begin_worker(*words, **environment)
        until(lambda: self.known() > known, "the worker is known, which `worker.txt` tells of")
        return worker

    def known(self) -> int:
        """How many workers have ever been known to the scheduler."""
        told = self._folder / "worker.txt"
        return told.read_text("utf-8").count("Registered to:") if told.exists() else 0

    def begin_worker(self, *words: str, **environment: str) -> "subprocess.Popen[bytes]":
        """Start one that nobody waits for yet."""
        local = self._folder / f"worker-{len(self.workers)}"
        fixed = ["--nthreads", "1", "--no-dashboard", "--local-directory", str(local), "--host", "127.0.0.1"]
        worker = self._started("worker", self.address, *fixed, *words, **environment)
        self.workers.append(worker)
        return worker

    def _started(self, *words: str, **more: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{words[0]}.txt").open("ab") as told:
            away = self._folder / "away"  # not where the pipeline is
            away.mkdir(exist_ok=True)
            path = {"PYTHONPATH": os.pathsep.join(filter(None, [more.pop("first", ""), os.environ.get("PYTHONPATH", "")]))}
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", *words],
                cwd=away, env=environment() | path | more, stdout=told, stderr=told, start_new_session=True,
            )  # fmt: skip
        self._stack.callback(end, process)
        return process


def address(file: Path) -> str:
    """Where the scheduler that writes this file is to be found, once it has written it."""
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads(file.read_text())["address"])
    return ""


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill it, and all that it began."""
    helpers.kill_family(process.pid)
    process.wait()


@contextmanager
def dask(folder: Path, workers: int = 2, **environment: str) -> Iterator[Dask]:
    """In the block there are a scheduler, with these variables, and so many workers with one thread each."""
    with ExitStack() as stack:
        found = Dask(folder, stack, **environment)
        for _ in range(workers):
            found.begin_worker()
        until(lambda: found.known() == workers, "all workers are known")
        yield found


STAGE = """\
import runpy
import sys

from pipeline.runs.cluster import slurm_queue

slurm_queue.LOOK = 1
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def stage(folder: Path, name: str, problem: str, executor: str, **more: str) -> "subprocess.Popen[str]":
    """A stage, in a process of its own, which looks every second, and not twice a minute, what Slurm does."""
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, f"pipeline.stages.{name}", problem],
        cwd=folder, env=environment(PIPELINE_EXECUTOR=executor, **more), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def told(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """What it printed, once it has ended as it should."""
    said, _ = process.communicate()
    assert process.returncode == code, said
    return said


def results(folder: Path) -> Mapping[str, bytes]:
    """All that a study has written."""
    files = [file for file in sorted((folder / "results").rglob("*")) if file.is_file()]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def interrupted(process: "subprocess.Popen[Any]") -> None:
    """As Ctrl-C does."""
    os.kill(process.pid, signal.SIGINT)


def family(pid: int) -> list[psutil.Process]:
    """All that a process has begun."""
    found: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid).children(recursive=True)
    return found


def agents(pid: int) -> list[psutil.Process]:
    """The processes with the pipeline's code that a worker has."""
    return [each for each in family(pid) if is_alive(each) and "pipeline.runs.cluster.process" in words_of(each)]


def scripts(of: "Dask | int") -> list[psutil.Process]:
    """Those of training scripts that are at work."""
    pids = [of] if isinstance(of, int) else [worker.pid for worker in of.workers]
    return [each for pid in pids for each in family(pid) if is_alive(each) and "train.py" in " ".join(words_of(each))]


def is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def words_of(process: psutil.Process) -> list[str]:
    """Its command; nothing once it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.cmdline())
    return []
