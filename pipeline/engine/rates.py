"""The learning rate and momentum of every run of a stack, epoch by epoch, from replayed schedulers."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.config.arrays import Floats
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run
from pipeline.schedulers.registry import VALIDATED, Monitor, schedulers
from pipeline.schedulers.replay import Replay, ScheduleError, Trace, advance, trace


class Rates:
    """Traces of the open-loop schedules, shared by the runs that have the same; a live replay for each other run.

    Raises :class:`pipeline.schedulers.replay.ScheduleError` where a schedule cannot be followed to the end.
    """

    def __init__(self, problem: Problem, runs: Sequence[Run]) -> None:
        self._budget = problem.budget(runs[0].epochs)
        new, lr = problem.optimizers_for, problem.lr
        alive, keys = [schedulers[run.schedule.name].live for run in runs], keys_of(runs)
        self._live = {i: Replay(run.schedule, new(run.schedule), lr, self._budget) for i, run in enumerate(runs) if alive[i]}
        self._names = [run.schedule.name for run in runs]
        traces: dict[str, Trace] = {}
        for run, key, is_live in zip(runs, keys, alive, strict=True):
            if not is_live and key not in traces:
                traces[key] = trace(run.schedule, new(run.schedule), lr, self._budget)
        self._traces = list(traces.values())
        numbers = {key: number for number, key in enumerate(traces)}
        self._trace_of_run = np.array([numbers.get(key, -1) for key in keys])

    @cached_property
    def have_momentum(self) -> bool:
        """Whether any run has momentum at any step."""
        return any(t.momentum.any() for t in self._traces) or any(r.now[1] != 0 for r in self._live.values())

    @cached_property
    def _stacked(self) -> tuple[Floats, Floats]:
        """Rates and momenta of all traces, (traces, steps) each."""
        return np.array([trace.lr for trace in self._traces]), np.array([trace.momentum for trace in self._traces])

    def epochs(self, epochs: range) -> tuple[Floats, Floats]:
        """Rate and momentum of every step of consecutive ``epochs`` (from 1), each of shape (steps, runs).

        Live schedules are known for the first of them alone, and as they are there.
        """
        steps = self._budget.steps_per_epoch
        here = slice((epochs[0] - 1) * steps, epochs[-1] * steps)
        lr, momentum = (np.zeros((steps * len(epochs), len(self._trace_of_run))) for _ in range(2))
        open_loop = np.flatnonzero(self._trace_of_run >= 0)
        if open_loop.size:
            traces, (stacked_lr, stacked_momentum) = self._trace_of_run[open_loop], self._stacked
            lr[:, open_loop] = stacked_lr[:, here][traces].T
            if self.have_momentum:
                momentum[:, open_loop] = stacked_momentum[:, here][traces].T
        for run, replay in self._live.items():
            lr[:, run], momentum[:, run] = replay.now
        return lr, momentum

    @cached_property
    def watch_validation(self) -> npt.NDArray[np.bool_]:
        """Whose schedules need the validation part's figures after every epoch, (runs,)."""
        watching = [run for run, replay in self._live.items() if replay.monitor in VALIDATED]
        return np.isin(np.arange(len(self._trace_of_run)), watching)

    def feed(self, figures: Mapping[Monitor, Floats]) -> None:
        """Step the live schedules, each with what it watches of its own run in the epoch just trained; (runs,) each."""
        for run, replay in self._live.items():
            if replay.monitor is not None:
                advance(replay, self._names[run], float(figures[replay.monitor][run]))


def keys_of(runs: Sequence[Run]) -> list[str]:
    """Each run's ``schedule.key``, made once for all runs that hold the same schedule."""
    known: dict[int, str] = {}
    for run in runs:
        if id(run.schedule) not in known:
            known[id(run.schedule)] = run.schedule.key
    return [known[id(run.schedule)] for run in runs]


def can_be_followed(problem: Problem, run: Run) -> bool:
    """Whether the run's schedule can be followed to its end."""
    try:
        Rates(problem, [run])
    except ScheduleError:
        return False
    return True
