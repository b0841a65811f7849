"""Debian's Slurm, started by tests: a controller and two nodes, which share this machine; it keeps no accounts of its jobs."""

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
AuthInfo=socket={folder}/munge.socket,cred_expire=20
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmctldTimeout=600
SlurmdTimeout=10
KillWait=2
MinJobAge=2
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs={cores}
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs={cores}
PartitionName=main Nodes=one,two Default=YES MaxTime=60
"""
NODES = ("one", "two")


class Slurm:
    """The commands that a user has."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        ports = {name: _free() for name in ("controller", *NODES)}
        host, cores = socket.gethostname().partition(".")[0], max(1, (os.cpu_count() or 1) // len(NODES))
        text = CONF.format(host=host, **ports, folder=folder, user=getpass.getuser(), cores=cores)
        (folder / "slurm.conf").write_text(text, encoding="utf-8")
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
        self._folder, self._stack = folder, stack
        self("mungekey", "--create", f"--keyfile={folder}/munge.key")
        files = {"key": "key", "socket": "socket", "pid": "pid", "log": "log", "seed": "seed"}
        words = [f"--{what}-file={folder}/munge.{end}" for what, end in files.items() if what != "socket"]
        self._begin("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *words)
        until((folder / "munge.socket").exists, "munged is there")
        self.begin_controller()
        self.nodes = {node: self._begin("slurmd", "-D", "-N", node) for node in NODES}
        until(lambda: self("sinfo", "--noheader", "--format=%T %D").split() == ["idle", "2"], "both nodes are there")
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

    def lose(self, node: str) -> None:
        """As if its power were cut: its daemon, and all processes of its jobs."""
        jobs = _with("SLURMD_NODENAME", node)
        self.nodes[node].kill()
        _kill([parent for each in jobs if (parent := each.parent()) and parent.name() == "slurmstepd"] + jobs)

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
