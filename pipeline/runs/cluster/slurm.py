"""Slurm, ``PIPELINE_EXECUTOR=slurm:partition=gpu,time=60``: each call is a job that submitit submits.

What calls have in common, and what they tell, are files: Slurm's machines share a file system.
"""

import contextlib
import io
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.config.problem_params import Resources
from pipeline.runs.cluster import agent, slurm_job
from pipeline.runs.cluster.agent import LAST_WORDS, LOST
from pipeline.runs.cluster.slurm_job import run
from pipeline.runs.executor import VARIABLE, ExecutorError

try:
    import cloudpickle
    import submitit
    from submitit.core.utils import FailedJobError

    from pipeline.runs.cluster.slurm_queue import LOOK, Queue
except ImportError:
    raise ExecutorError(f"{VARIABLE}=slurm:… needs submitit: pip install -r requirements-slurm.txt") from None

JOBS = 16
"""Jobs that are queued or run at a time, unless ``jobs=`` says otherwise."""
MINUTES = 60
NUMBERS = {"time": MINUTES, "jobs": JOBS, "cpus": 1, "gpus": 0}
submitit.SlurmJob.watcher = Queue(LOOK)


class Slurm:
    """Jobs of Slurm; ``cluster=local`` runs them on this machine by submitit's own executor, to try it."""

    shares_files = True

    def __init__(self, words: str, folder: Path, ended: Any) -> None:
        self._words, self._folder, self._ended = words, folder, ended
        self._jobs: dict[str, Any] = {}
        self._read: dict[str, int] = {}
        given = dict(_pairs(words))
        self._numbers = {name: int(given.pop(name, default)) for name, default in NUMBERS.items()}
        self._memory = given.pop("memory", None)
        logging.getLogger("submitit").setLevel(logging.ERROR)
        try:
            self._executor = submitit.AutoExecutor(folder / "jobs", cluster=given.pop("cluster", "slurm"))
            self._executor.update_parameters(**{f"slurm_{name}": value for name, value in given.items()})
        except (RuntimeError, ValueError, NameError) as error:
            raise ExecutorError(f"{VARIABLE}=slurm:{words} does not do: {' '.join(str(error).split())[:300]}") from None
        for module in (agent, slurm_job):
            cloudpickle.register_pickle_by_value(module)

    def slots(self, resources: Resources) -> int:
        """As many jobs as are allowed."""
        return self._numbers["jobs"]

    def keep(self, name: str, content: bytes) -> None:
        """In a file."""
        (self._folder / name).write_bytes(content)

    def drop(self, name: str) -> None:
        """The file goes with the folder: a job may be about to read it."""

    def begin(self, call: Any) -> None:
        """A job, which gets what the problem asks for, and else what is said behind ``slurm:``."""
        own: Resources = call.resources
        memory = own.memory and f"{own.memory // 2**20}MB"
        self._executor.update_parameters(
            name=re.sub(r"\W+", "-", call.title), timeout_min=self._numbers["time"],
            cpus_per_task=max(own.cpus, self._numbers["cpus"]), gpus_per_node=own.gpus or self._numbers["gpus"],
            **({"slurm_mem": memory or self._memory} if memory or self._memory else {}),
        )  # fmt: skip
        asked = call.asked, self._folder, call.content, call.request, _told(call.key)
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # what sbatch says comes with the error
                self._jobs[call.key] = self._executor.submit(run, *asked)
        except FailedJobError as error:
            words = " ".join(str(error).replace("sbatch: error: ", "").split())
            if self._read:  # it has taken others
                raise OSError(words) from None  # the controller may be away for a while
            raise ExecutorError(f"{VARIABLE}=slurm:{self._words} is refused by sbatch: {words}") from None
        self._read[call.key] = 0

    def cancel(self, keys: Iterable[str]) -> None:
        """Also those that are still queued."""
        for key in keys:
            with contextlib.suppress(Exception):  # it has ended, or its machine is lost: whoever asks goes on
                self._jobs.pop(key).cancel(check=False)

    def told(self) -> Iterator[tuple[str, bytes]]:
        """What jobs have written; those that are done are ended here."""
        for key, job in list(self._jobs.items()):
            is_done = job.done()
            yield from ((key, blocks) for blocks in self._new(key))
            if is_done:
                kind, content = _result(job)
                if kind == LOST:  # Slurm may have queued it again
                    self.cancel([key])
                self._jobs.pop(key, None)
                self._ended(key, kind, content)

    def close(self) -> None:
        """End all that is still queued or runs."""
        self.cancel(list(self._jobs))

    def _new(self, key: str) -> Iterator[bytes]:
        with contextlib.suppress(FileNotFoundError), (self._folder / _told(key)).open("rb") as file:
            file.seek(self._read[key])
            while len(size := file.read(8)) == 8:
                blocks = file.read(whole := int.from_bytes(size, "big"))
                if len(blocks) < whole:  # it is being written
                    return
                self._read[key] = file.tell()
                yield blocks


def _told(key: str) -> str:
    """The file that a call tells what it has to tell."""
    return f"{key.rpartition(' ')[2]}.told"


def _result(job: Any) -> tuple[str, bytes]:
    try:
        kind, content = job.result()
    except Exception as error:  # noqa: BLE001  # the job was killed, timed out, or never began
        words = " ".join((job.stderr() or str(error)).split())[-LAST_WORDS:]
        return LOST, f"job {job.job_id} ({job.state}): {words}".encode()
    return kind, content


def _pairs(words: str) -> Iterator[tuple[str, str]]:
    for pair in words.split(","):
        name, is_pair, value = pair.strip().partition("=")
        is_number = value.isdecimal() and (int(value) or name == "gpus")  # Slurm lets a job of no minutes wait for ever
        if not is_pair or not value or (name in NUMBERS and not is_number):
            raise ExecutorError(
                f"{VARIABLE}=slurm:{words} has {pair!r}; write name=value, such as partition=gpu, time=60 (minutes), jobs=8, "
                "gpus=1, cpus=4, memory=8G, or another option of sbatch"
            )
        yield name.replace("-", "_"), value
