"""What a cluster costs: against this machine at equal cores, and the controller's share with up to 1,000 workers.

    python -m benchmarks.cluster [--runs 100000]

Needs requirements-dask.txt. A scheduler and two workers are started here, with a core each. Both sides take turns, so that what
else the machine does falls on both. In the simulation nothing is trained: runs sleep, on the threads of one worker.
"""

import argparse
import contextlib
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import psutil
from distributed import Client
from ruamel.yaml import YAML

from benchmarks.defaults import default_params
from benchmarks.machine import conditions
from benchmarks.problems import constant_runs, in_memory
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import load_params
from pipeline.engine.device import find_device
from pipeline.runs.cluster.controller import Cluster
from pipeline.runs.cluster.dask import Dask
from pipeline.runs.dealing import trained
from pipeline.runs.executor import HERE, VARIABLE, Workers, executor

CORES, TURNS, STACK, LONG = 2, 3, 1040, 10.0
"""Cores of either side; times that each is measured; runs of a round of the default study's search; seconds of a long run."""


@contextlib.contextmanager
def dask(workers: int, threads: int) -> Iterator[str]:
    """In the block, a scheduler and workers; its address."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        file = Path(folder) / "scheduler.json"
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

        def start(*words: str) -> None:
            common = [
                sys.executable,
                "-m",
                "dask",
                *words,
                "--host",
                "127.0.0.1",
                "--no-dashboard",
                "--scheduler-file",
                str(file),
            ]
            stack.callback(_end, subprocess.Popen(common, cwd=folder, stderr=subprocess.DEVNULL, env=environment))

        start("scheduler", "--port", "0")
        while not file.exists():
            time.sleep(0.1)
        start("worker", "--nworkers", str(workers), "--nthreads", str(threads))
        address: str = json.loads(file.read_text())["address"]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)
        yield address


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()


Seconds = tuple[float, float]
"""On the clock, and of the processor: all of this process, and of all that it has begun."""


def seconds(work: Callable[[], object]) -> Seconds:
    """That it takes."""
    clock, processor = time.perf_counter(), _processor()
    work()
    return time.perf_counter() - clock, _processor() - processor


def _processor() -> float:
    """Seconds of this process, and of all that it has begun and that lives: agents outlive what is measured."""
    found = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            found += times.user + times.system
    return found


def stacks(there: Workers) -> Iterator[tuple[str, Seconds, Seconds]]:
    """A stack of each default problem, here and there: medians of several turns."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        YAML().dump(default_params(), path)
        params = load_params(CATALOGUE, path)
    device = find_device("cpu")
    for name in params.problems:
        problem = in_memory(params, name)
        runs = constant_runs(problem, STACK)

        def train(workers: Workers) -> None:
            list(trained(problem, runs, list(range(len(runs))), device, workers, lambda places, block: None))  # noqa: B023

        for workers in (HERE, there):  # what is compiled and begun once
            train(workers)
        times = [(*seconds(lambda: train(HERE)), *seconds(lambda: train(there))) for _ in range(TURNS)]
        here, of_here, cluster, of_cluster = map(statistics.median, zip(*times, strict=True))
        yield f"stack of {STACK} runs, {name}", (here, of_here), (cluster, of_cluster)


def asleep(content: bytes, how_long: float) -> bytes:
    """A run of that length."""
    time.sleep(how_long)
    return content


def long_runs(there: Any) -> tuple[str, Seconds, Seconds]:
    """Two after each other on each core: what they must take, and what they take."""
    from benchmarks.cluster import asleep  # by a name that agents can import, too

    wait([there.send("long/any/seed 0", asleep, b"x", 0.1) for _ in range(2 * CORES)])  # agents begin once

    def all_of_them() -> None:
        for future in [there.send("long/any/seed 0", asleep, b"x", LONG) for _ in range(2 * CORES)]:
            future.result()

    return f"runs of {LONG:.0f} s, asleep", (2 * LONG, 0.0), seconds(all_of_them)


class Sleeping(Dask):
    """Dask with tasks that sleep in place of training: the same scheduler, connection and controller."""

    how_long = 1.0

    def begin(self, call: Any) -> None:
        """A task."""

        def sleep(how_long: float) -> tuple[str, bytes]:
            import time  # it is sent by value

            time.sleep(how_long)
            return "result", b""

        task = self._client.submit(sleep, self.how_long, key=call.key, pure=False)
        self._tasks[call.key] = task
        task.add_done_callback(self._is_done)


class Instant:
    """Workers that are done at once: what is left is the controller's own."""

    shares_files = True

    def __init__(self, words: str, folder: Path, ended: Callable[[str, str, bytes], None]) -> None:
        self._slots, self._ended, self._begun = int(words), ended, list[str]()

    def slots(self, resources: object) -> int:
        """As many as were asked for."""
        return self._slots

    def keep(self, name: str, content: bytes) -> None:
        """Nowhere."""

    def drop(self, name: str) -> None:
        """Nowhere."""

    def cancel(self, keys: Iterable[str]) -> None:
        """Nothing is under way."""

    def begin(self, call: Any) -> None:
        """Note it."""
        self._begun.append(call.key)

    def told(self) -> Iterator[tuple[str, bytes]]:
        """Everything that was begun ends."""
        begun, self._begun = self._begun, []
        for key in begun:
            self._ended(key, "result", b"")
        yield from ()

    def close(self) -> None:
        """Nothing."""


def simulated(make: Any, words: str, runs: int) -> tuple[float, float, float, float]:
    """Slots, runs a second, the controller's milliseconds of processor and bytes of memory a run."""
    with Cluster(make, words, HERE) as cluster:
        cluster.send("p/any/seed 0", asleep, b"x", 0.0)  # what is done once
        list(cluster.heard())
        slots, memory, cpu = cluster.slots, _memory(), time.process_time()
        begun = time.perf_counter()
        futures = deque(cluster.send(f"p/any/seed {number % 10}", asleep, b"x", 0.0) for number in range(runs))
        while futures:
            list(cluster.heard())
            while futures and futures[0].done():
                futures.popleft()
            time.sleep(0.2 if futures else 0)
        rate = runs / (time.perf_counter() - begun)
        return slots, rate, (time.process_time() - cpu) / runs * 1e3, max(0, _memory() - memory) / runs


def _tell(engine: str, runs: int, found: tuple[float, float, float, float]) -> None:
    slots, rate, cpu, memory = found
    print(f"| {engine} | {slots:.0f} | {runs:,} | {rate:.0f} | {cpu:.2f} | {memory:.0f} |", flush=True)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print what docs/cluster.md and RESULTS.md say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000, help="of the simulation")
    asked = parser.parse_args()
    print(f"{conditions()}\n")
    print("| what | here, s | on the cluster, s | ratio | here, s of the processor | on the cluster | ratio |")
    print("|---|---|---|---|---|---|---|")
    with dask(CORES, 1) as address:
        os.environ[VARIABLE] = f"dask:{address}"
        with executor() as there:
            for name, here, elsewhere in itertools.chain([long_runs(there)], stacks(there)):
                pairs = zip(here, elsewhere, strict=True)
                told = [f"{one:.2f} | {other:.2f} | {other / one if one else float('nan'):.3f}" for one, other in pairs]
                print(f"| {name} | {' | '.join(told)} |", flush=True)
    print("\n| engine | slots | runs of 1 s, asleep | runs a second | controller, ms a run | bytes a run |")
    print("|---|---|---|---|---|---|")
    for threads, runs in ((100, asked.runs // 100), (1000, asked.runs // 10), (1000, asked.runs)):
        with dask(1, threads) as address:
            _tell("Dask", runs, simulated(Sleeping, address, runs))
    for runs in (asked.runs // 100, asked.runs // 10, asked.runs):
        _tell("none", runs, simulated(Instant, "1000", runs))


if __name__ == "__main__":
    main()
