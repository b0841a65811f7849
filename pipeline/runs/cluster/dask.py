"""A Dask cluster, ``PIPELINE_EXECUTOR=dask:tcp://head:8786``: each call is a task."""

import contextlib
import logging
import queue
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.config.problem_params import Resources
from pipeline.runs.cluster import agent
from pipeline.runs.cluster.agent import LOST
from pipeline.runs.executor import VARIABLE, ExecutorError

try:
    import cloudpickle
    from distributed import Client, get_worker

    from pipeline.runs.cluster import dask_worker
    from pipeline.runs.cluster.dask_worker import Kept
except ImportError:
    raise ExecutorError(f"{VARIABLE}=dask:… needs Dask: pip install -r requirements-dask.txt") from None

PATIENCE = 5.0
"""Seconds to wait for the scheduler, and for its first worker."""
PATIENCE_RESTARTED = 60.0
"""Seconds to wait for a scheduler that was there."""
NEWS = 2.0
"""Seconds for which it is taken as known which workers there are."""


class Dask:
    """The workers of the scheduler at an address."""

    shares_files = False
    """Not always: an agent sees whether there is a shared file system."""

    def __init__(self, address: str, folder: Path, ended: Any) -> None:
        self._address, self._folder, self._ended = address, folder, ended
        self._contents: dict[str, bytes] = {}
        self._tasks: dict[str, Any] = {}
        self._told: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._workers: list[Any] = []
        self._slots: dict[str, int] = {}
        self._known = 0.0
        for name in [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)  # what matters is told in our words
        for module in (agent, dask_worker):
            cloudpickle.register_pickle_by_value(module)
        self._connect(PATIENCE)

    def slots(self, resources: Resources) -> int:
        """Threads of workers, or what they offer of what is asked for."""
        if time.monotonic() - self._known > NEWS:
            with contextlib.suppress(OSError, TimeoutError):
                self._workers = list(self._client.scheduler_info(n_workers=-1)["workers"].values())
            self._slots, self._known = {}, time.monotonic()
        asked = _asked(resources)
        words = " ".join(f"{name}={needed}" for name, needed in asked.items())
        if words not in self._slots:
            offers = [{"nthreads": one["nthreads"], **one["resources"]} for one in self._workers]
            needed = {"nthreads": 1, **asked}
            self._slots[words] = sum(int(min(offer.get(name, 0) // needed[name] for name in needed)) for offer in offers)
        if not self._slots[words] and self._workers:
            raise ExecutorError(f'no worker offers {words}; start some so: `dask worker {self._address} --resources "{words}"`')
        return self._slots[words]

    def keep(self, name: str, content: bytes) -> None:
        """By a plugin: the scheduler gives it to every worker."""
        self._contents[name] = content
        self._client.register_plugin(Kept(name, content), name=name)

    def drop(self, name: str) -> None:
        """On every worker."""
        del self._contents[name]
        self._client.unregister_worker_plugin(name)

    def begin(self, call: Any) -> None:
        """A task."""
        task = self._client.submit(
            lambda plugin, *args: get_worker().plugins[plugin].call(*args),
            call.asked["code"], call.asked, call.content, call.request, self._folder.name, call.key,
            key=call.key, pure=False, resources=_asked(call.resources) or None,
        )  # fmt: skip
        self._tasks[call.key] = task
        task.add_done_callback(self._is_done)

    def cancel(self, keys: Iterable[str]) -> None:
        """Their workers see that nobody waits."""
        tasks = [self._tasks.pop(key) for key in keys if key in self._tasks]
        with contextlib.suppress(OSError, TimeoutError):  # without a scheduler, they see it too
            self._client.cancel(tasks, force=True)

    def told(self) -> Iterator[tuple[str, bytes]]:
        """The events; a scheduler that is gone is waited for, and all that it had is lost."""
        if self._client.status != "running":
            with contextlib.suppress(Exception):
                self._client.close(timeout=1)
            self._connect(PATIENCE_RESTARTED)
            for name, content in self._contents.items():
                self.keep(name, content)
            for key in list(self._tasks):
                self._end(key, LOST, b"the scheduler was started anew")
        while not self._told.empty():
            yield self._told.get()

    def close(self) -> None:
        """Take code and data away from the workers."""
        with contextlib.suppress(OSError, TimeoutError):
            for name in list(self._contents):
                self.drop(name)
        self._client.close()

    def _connect(self, patience: float) -> None:
        at, until = self._address, time.monotonic() + patience
        try:
            self._client: Any = Client(at, timeout=patience, set_as_default=False)
        except (OSError, ValueError) as error:
            why = " ".join(str(error).split())[:120]
            raise ExecutorError(
                f"no Dask scheduler answers at {at} ({why}), as {VARIABLE} has it; start one: `dask scheduler`, "
                f"and workers: `dask worker {at} --nthreads 1 --nworkers 8`"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=max(1.0, until - time.monotonic()))
        except TimeoutError:
            self._client.close()
            raise ExecutorError(
                f"the Dask scheduler at {at} has no workers; start some: `dask worker {at} --nthreads 1 --nworkers 8`"
            ) from None
        self._client.subscribe_topic(self._folder.name, lambda event: self._told.put(tuple(event[1])))

    def _is_done(self, task: Any) -> None:
        """In a thread of Dask's."""
        try:
            kind, content = task.result()
        except BaseException as error:  # noqa: BLE001  # a worker is lost, the scheduler, or the task by somebody's hand
            kind, content = LOST, f"{type(error).__name__}: {' '.join(str(error).split())[:400]}".encode()
        self._end(task.key, kind, content)

    def _end(self, key: str, kind: str, content: bytes) -> None:
        if self._tasks.pop(key, None) is not None:
            self._ended(key, kind, content)


def _asked(resources: Resources) -> dict[str, float]:
    """What a worker has to offer for a call; a thread and nothing else where nothing is said."""
    found = {"cpus": resources.cpus if resources.cpus > 1 else 0, "gpus": resources.gpus, "memory": resources.memory or 0}
    return {name: needed for name, needed in found.items() if needed}
