"""What Dask's workers run, which need not have the pipeline: Dask, the agent and this file, which are sent by value."""

from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from pipeline.runs.cluster.agent import Agent


class Kept(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """A content that every worker has in a file; that of code makes calls."""

    def __init__(self, name: str, content: bytes) -> None:
        self._name, self._content = name, content

    def setup(self, worker: Any) -> None:
        """Write it."""
        self._folder = Path(worker.local_directory) / "lr-pipeline"
        self._folder.mkdir(exist_ok=True)
        (self._folder / self._name).write_bytes(self._content)
        self._content = b""

    def teardown(self, worker: Any) -> None:
        """Remove it."""
        (self._folder / self._name).unlink(missing_ok=True)

    def call(self, asked: Any, content: str, request: bytes, topic: str, call: str) -> Any:
        """A call by the worker's agent for that code, which serves other stages with the same code, too."""
        worker = get_worker()
        key = worker.get_current_task()
        agents = vars(worker).setdefault("lr_pipeline", {})
        agent = agents.setdefault(asked["digest"], Agent(self._folder / self._name, self._folder / asked["digest"]))

        def is_wanted() -> bool:
            task = worker.state.tasks.get(key)
            return task is not None and task.state in ("executing", "long-running")

        content = str(self._folder / content)
        return agent.call(asked, content, request, lambda block: worker.log_event(topic, [call, block]), is_wanted)
