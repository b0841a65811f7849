"""What a job of Slurm's runs: submitit calls it. It shares files with whoever asks."""

import time
from pathlib import Path
from typing import Any

from pipeline.runs.cluster.agent import Agent

ABANDONED = 120.0
"""Seconds without a sign of life of whoever asks after which a job ends."""


def run(asked: Any, folder: Path, content: str, request: bytes, told: str) -> Any:
    """A call by an agent of its own: how it ended, and with what."""
    seen, alive = 0.0, time.monotonic()

    def is_wanted() -> bool:
        nonlocal seen, alive
        try:
            sign = Path(asked["mark"]).stat().st_mtime
        except OSError:
            return False
        if sign != seen:  # compared with itself: clocks differ
            seen, alive = sign, time.monotonic()
        return time.monotonic() - alive < ABANDONED

    def tell(blocks: bytes) -> None:
        with (folder / told).open("ab") as file:
            file.write(len(blocks).to_bytes(8, "big") + blocks)

    agent = Agent(folder / asked["code"], folder / asked["digest"])
    try:
        return agent.call(asked, str(folder / content), request, tell, is_wanted)
    finally:
        agent.close()
