"""JAX in an environment and processes of its own: installing it, handing it a problem, asking it how fast it trains."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import cores
from benchmarks.problems import seeds_of
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run

HERE = Path(__file__).parent
ORDERS = 10
"""Epochs of data order handed over; JAX begins again with the first after the last."""


@dataclass(frozen=True)
class Prepared:
    """Runs that every process of a setting has compiled: seconds it took, and the mean training loss for comparison."""

    file: str
    processes: int
    seconds: float
    loss: float


class Setting:
    """JAX processes that share the runs of a problem: one with all cores, or one for each core."""

    def __init__(self, name: str, python: Path, groups: Sequence[Sequence[int]]) -> None:
        self.name = name
        commands = [[str(python), str(HERE / "jax_side.py"), ",".join(map(str, group))] for group in groups]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
        ]

    def prepare(self, file: Path, count: int, epochs: int) -> Prepared:
        """Compile the training of ``count`` runs of an exported problem, and train ``epochs`` to compare the loss.

        Raises :class:`ValueError` where the replicates would have unequal numbers of runs.
        """
        per, rest = divmod(count, seeds_of(count))
        if rest:
            raise ValueError(f"{count} runs do not share {seeds_of(count)} replicates evenly, as nested vmap needs")
        shares = [per // len(self._processes) + (number < per % len(self._processes)) for number in range(len(self._processes))]
        used = [share for share in shares if share]
        found = self._ask([{"prepare": str(file), "per": share, "epochs": epochs} for share in used])
        loss = float(np.average([answer["loss"] for answer in found], weights=used))
        return Prepared(str(file), len(used), max(answer["compile"] for answer in found), loss)

    def rate(self, prepared: Prepared, seconds: float) -> float:
        """Run-steps per second of all processes together, measured at the same time for ``seconds``."""
        requests = [{"measure": prepared.file, "seconds": seconds}] * prepared.processes
        return float(sum(answer["rate"] for answer in self._ask(requests)))

    def _ask(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
        """One request to each process, all at once, and their answers."""
        asked = self._processes[: len(requests)]
        for process, request in zip(asked, requests, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        return [self._answer(process) for process in asked]

    @staticmethod
    def _answer(process: subprocess.Popen[str]) -> dict[str, float]:
        assert process.stdout is not None
        if not (line := process.stdout.readline()):
            raise RuntimeError(f"the JAX process ended with status {process.wait()}; its error stands above")
        answer: dict[str, float] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the processes: each does when nobody is left to ask."""
        for process in self._processes:
            process.communicate()


@contextmanager
def settings(python: Path | None) -> Iterator[list[Setting]]:
    """JAX with its default threads, and one thread in each of as many processes as cores; none where it is not installed."""
    with ExitStack() as stack:
        groups = {"default threads": [cores()], "a process a core": [[core] for core in cores()]}
        found = [Setting(name, python, group) for name, group in groups.items()] if python else []
        for setting in found:
            stack.callback(setting.end)
        yield found


def export(problem: Problem, runs: Sequence[Run], file: Path, model: str) -> Path:
    """Write what JAX trains on: data, learning rate, and the initial weights and batches of every replicate of ``runs``.

    ``model`` is what :mod:`benchmarks.jax_side` calls it.
    """
    replicates = list(dict.fromkeys((run.seed, run.stream) for run in runs))
    size, samples = problem.params.batch_size, problem.data.train_size
    steps = -(-samples // size)
    rows = np.zeros((ORDERS, len(replicates), steps * size), dtype=np.int32)
    for number, (seed, stream) in enumerate(replicates):
        train, order = problem.data.split(seed).train, problem.new_order(seed, stream)
        for epoch in range(ORDERS):
            rows[epoch, number, :samples] = train[torch.randperm(samples, generator=order).numpy()]
    real = (np.arange(steps * size) < samples).reshape(steps, size)
    models = [[p.detach().numpy() for p in problem.new_model(*replicate).parameters()] for replicate in replicates]
    arrays: dict[str, Any] = {
        "model": np.array(model),
        "x": problem.data.x,
        "y": problem.data.y.astype(np.int32),
        "lr": np.float32(problem.lr),
        "rows": rows.reshape(ORDERS, len(replicates), steps, size).swapaxes(1, 2),
        "weights": (real / real.sum(axis=1, keepdims=True)).astype(np.float32),
        **{f"p{number}": np.stack(values) for number, values in enumerate(zip(*models, strict=True))},
    }
    np.savez(file, **arrays)
    return file
