"""How jobs of Slurm are: submitit asks ``sacct``, which knows of none where Slurm keeps no accounts of its jobs."""

import os

from submitit.core.core import InfoWatcher

from pipeline.engine.training import tell

LOOK = 30
"""Seconds between two looks at the queue, at the most."""
USUAL = {"None", "Resources", "Priority", "BeginTime"}
"""Reasons to wait that pass by themselves."""


class Queue(InfoWatcher):  # type: ignore[misc]
    """Asks ``squeue``: what is in the queue has not ended."""

    def _make_command(self) -> list[str]:
        return ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%i %T %r"]

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """What the command said; of a job that waits for something else than its turn, why."""
        text = string if isinstance(string, str) else string.decode()
        queue = {job: (state, reason) for job, state, reason in (line.split(maxsplit=2) for line in text.splitlines())}
        for job in self._registered & queue.keys():
            state, reason = queue[job]
            if state == "PENDING" and reason not in USUAL:
                tell(f"a job of Slurm waits: {reason} (`scontrol show job {job}` says more)")
        return {job: {"State": "RUNNING" if job in queue else "ENDED"} for job in self._registered}

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """As :meth:`read_info` has it."""
        return str(self.get_info(job_id, mode).get("State", "UNKNOWN"))
