"""Debian's Slurm, started by tests: a controller and this machine as its only node, which keeps no accounts of its jobs."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from tests.runs import clusters
from tests.waiting import until

PROGRAMS = ("munged", "mungekey", "slurmctld", "slurmd", "sbatch")
IS_THERE = all(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") for name in PROGRAMS)
CONF = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldTimeout=600
KillWait=2
MinJobAge=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores}
PartitionName=main Nodes={host} Default=YES MaxTime=60
"""


class Slurm:
    """The commands that a user has."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        ports = [_free() for _ in range(2)]
        host, cores = socket.gethostname().partition(".")[0], os.cpu_count()
        text = CONF.format(host=host, controller=ports[0], node=ports[1], folder=folder, user=getpass.getuser(), cores=cores)
        (folder / "slurm.conf").write_text(text, encoding="utf-8")
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self._folder, self._stack = folder, stack
        self("mungekey", "--create", f"--keyfile={folder}/munge.key")
        files = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
        words = [f"--{what}-file={folder}/munge.{end}" for what, end in files.items() if what != "socket"]
        self._begin("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *words)
        until((folder / "munge.socket").exists, "munged is there")
        self.begin_controller()
        self._begin("slurmd", "-D")
        until(lambda: "idle" in self("sinfo", "--noheader", "--format=%T"), "the node is there")
        stack.callback(lambda: _kill(_with("SLURM_CONF", self.environment["SLURM_CONF"])))

    def __call__(self, *words: str) -> str:
        """What a command says, whether it does or not."""
        done = subprocess.run(words, env=os.environ | self.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def begin_controller(self) -> None:
        """Start it; a second time with the jobs that it knew."""
        self.controller = self._begin("slurmctld", "-D")

    def jobs(self, state: str = "running") -> list[str]:
        """The numbers of jobs."""
        return self("squeue", "--noheader", f"--states={state}", "--format=%i").split()

    def processes(self, job: str) -> list[psutil.Process]:
        """All that a job has here but Slurm's own."""
        return [each for each in _with("SLURM_JOB_ID", job) if each.name() != "slurmstepd"]

    def kill(self, job: str) -> None:
        """End all processes of a job at once, as for their memory."""
        _kill(self.processes(job))

    def at_work(self) -> list[str]:
        """The numbers of jobs whose training script is at work."""
        return [
            job for job in self.jobs() if any("train.py" in " ".join(clusters.words_of(each)) for each in self.processes(job))
        ]

    def _begin(self, *words: str) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{words[0]}.txt").open("ab") as told:
            daemon = subprocess.Popen(
                words, env=os.environ | self.environment, stdout=told, stderr=told, start_new_session=True
            )
        self._stack.callback(clusters.end, daemon)
        return daemon


def _with(name: str, value: str) -> list[psutil.Process]:
    """All processes in whose environment a variable has that value."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if process.environ().get(name) == value else []
    return found


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """In the block there are a controller and a node with this machine's cores."""
    with ExitStack() as stack:
        yield Slurm(folder, stack)


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
