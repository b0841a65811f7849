"""How jobs of Slurm are: submitit asks ``sacct``, which knows of none where Slurm keeps no accounts of its jobs."""

import os

from submitit.core.core import InfoWatcher

LOOK = 30
"""Seconds between two looks at the queue, at the most."""


class Queue(InfoWatcher):  # type: ignore[misc]
    """Asks ``squeue``: what is in the queue has not ended."""

    def _make_command(self) -> list[str]:
        return ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%i"]

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """What the command said."""
        queue = (string if isinstance(string, str) else string.decode()).split()
        return {job: {"State": "RUNNING" if job in queue else "ENDED"} for job in self._registered}

    def get_state(self, job_id: str, mode: str = "standard") -> str:
        """As :meth:`read_info` has it."""
        return str(self.get_info(job_id, mode).get("State", "UNKNOWN"))
