"""Runs in training in compiled code on the CPU: one run in each lane of the processor's vectors, blocks on all its cores."""

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.arrays import Floats
from pipeline.engine.cache import remembered
from pipeline.engine.compiler import NoCompilerError, is_kept, kept, machine, name_of
from pipeline.engine.device import cores
from pipeline.engine.functions import State
from pipeline.engine.lanes.comparison import difference, same_bits
from pipeline.engine.lanes.source import lanes_of, source, traced
from pipeline.engine.lanes.values import MistranslatedError, UntranslatableError
from pipeline.engine.program import Epochs, Runs, Trained

FEW = 3
"""Runs of a replicate up to which each is computed alone, where a program has code for that; more fill a block's lanes."""
PAYS_FROM = 2**34
"""Multiplications in blocks of few runs from which that code is compiled: they take about as long as the compiler does."""
Block = tuple[ctypes.CDLL, npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Code, the runs in each of its blocks, and how many they are."""


class Job(ctypes.Structure):
    """``struct job`` in lanes.c, which says what each is."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("runs", "replicates", "epochs", "steps", "evaluated")),
        *((name, ctypes.c_void_p) for name in (
            "runs_of", "counts", "replicate", "x", "y", "rows", "weights", "sizes", "numbers", "state", "losses",
            "is_evaluated", "evaluated_rows", "evaluated_losses", "evaluated_metrics",
        )),
    ]  # fmt: skip


class LaneProgram:
    """A program in compiled code. No run's arithmetic depends on which runs are beside it, nor on the number of threads.

    Raises :class:`pipeline.engine.lanes.values.UntranslatableError` for functions that cannot be compiled and
    :class:`pipeline.engine.compiler.NoCompilerError` where nothing can be.
    """

    leaves_at = 0.0

    def __init__(self, runs: Runs, library: ctypes.CDLL | None = None, alone: ctypes.CDLL | None = None) -> None:
        """``library`` is their compiled code, and ``alone`` that of a run alone, where they are to be taken as they are."""
        self._runs = runs
        self._library = library or checked(runs)
        self._alone, self._is_settled, self._computed = alone, library is not None, 0
        self._lanes = lanes_of(runs.state[0].dtype, machine())
        self._x, self._y = runs.x.reshape(len(runs.x), -1).contiguous().numpy(), runs.y.contiguous().numpy()
        self._parts = {name: np.ascontiguousarray(rows.numpy().astype(np.int32)) for name, rows in runs.parts.items()}
        self._replicate = runs.of_run.numpy().astype(np.int64)
        self._shapes = [values.shape[1:] for values in runs.state]
        self._state = torch.cat([values.reshape(len(values), -1) for values in runs.state], dim=1).contiguous().numpy()
        self._dealt = self._deal()

    def _deal(self) -> list[Block]:
        """All runs in blocks, the longest first."""
        runs_of, counts = blocks(self._replicate, self._lanes)
        if self._alone is None:
            return [(self._library, runs_of, counts)]
        is_few = counts <= FEW
        few = np.concatenate([runs[:count] for runs, count in zip(runs_of, counts * is_few, strict=True)])
        dealt = [(self._library, runs_of[~is_few], counts[~is_few]), (self._alone, few[:, None], np.ones_like(few))]
        return [block for block in dealt if len(block[2])]

    def _get_alone(self, steps: int) -> None:
        """Code for a run alone, where it is compiled already, or the steps of few runs up to the next ones are worth it."""
        if self._is_settled:
            return
        ((_, _, counts),) = self._dealt
        is_first = not self._computed
        few = np.count_nonzero(counts <= FEW)
        self._computed += steps * int(few) * ctypes.c_int64.in_dll(self._library, "terms").value
        if self._computed >= PAYS_FROM or (few and is_first and is_kept(alone_key(self._runs))):
            self._alone, self._is_settled = checked_alone(self._runs, self._library), True
            self._dealt = self._deal()

    def train(self, epochs: Epochs) -> Trained:
        """Train all runs through the epochs."""
        self._get_alone(len(epochs.numbers))
        losses = np.empty((len(epochs.rows), len(self._state)))
        sums = self._call(
            rows=np.ascontiguousarray(epochs.rows, dtype=np.int32),
            weights=np.ascontiguousarray(epochs.weights, dtype=self._state.dtype),
            sizes=np.ascontiguousarray(epochs.sizes, dtype=np.float64),
            numbers=np.ascontiguousarray(epochs.numbers, dtype=np.float64),
            losses=losses,
            is_evaluated=epochs.is_evaluated.astype(np.uint8),
            part="validation",
        )
        return Trained(losses / epochs.sizes.sum(), *sums)

    def evaluate(self, part: str) -> tuple[Floats, Floats]:
        """Means of loss and metric over the samples of that part, each (runs,)."""
        loss, measured = self._call(part=part)
        return loss[0], measured[0]

    def parameters(self) -> dict[str, Tensor]:
        """The runs' parameters and statistics by name."""
        functions = self._runs.functions
        return {name: values.clone() for name, values in functions.named(functions.evaluated(self.state())).items()}

    def state(self) -> State:
        """The runs' state, in the order of :class:`pipeline.engine.functions.Functions`."""
        columns = torch.from_numpy(self._state).split([shape.numel() for shape in self._shapes], dim=1)  # type: ignore[no-untyped-call]
        return [values.reshape(len(values), *shape) for values, shape in zip(columns, self._shapes, strict=True)]

    def keep(self, runs: npt.NDArray[np.int64]) -> None:
        """Go on with these runs alone."""
        self._state, self._replicate = np.ascontiguousarray(self._state[runs]), self._replicate[runs]
        self._dealt = self._deal()

    def _call(self, part: str, **arrays: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """Run the compiled code on all cores; means over the samples of the part after each epoch, (epochs, runs) each."""
        rows = self._parts[part]
        epochs, _, steps, _ = arrays["rows"].shape if arrays else (0, 0, 0, 0)
        sums = np.full((2, max(epochs, 1), len(self._state)), np.nan)
        arrays |= {
            "replicate": self._replicate, "x": self._x, "y": self._y,
            "state": self._state, "evaluated_rows": rows, "evaluated_losses": sums[0], "evaluated_metrics": sums[1],
        }  # fmt: skip
        jobs = []
        for library, runs_of, counts in self._dealt:
            job = Job(len(self._state), len(rows), epochs, steps, rows.shape[1])
            for name, values in {**arrays, "runs_of": runs_of, "counts": counts}.items():
                setattr(job, name, values.ctypes.data)
            jobs.append((library, job, len(counts), ctypes.c_int64(0)))

        def compute(_: int) -> bool:
            return any(library.run(ctypes.byref(job), count, ctypes.byref(begun)) for library, job, count, begun in jobs)

        threads = min(cores(), sum(count for _, _, count, _ in jobs))
        if any(_threads().map(compute, range(threads))):
            raise MemoryError("no memory for a block of runs")
        loss, measured = sums / rows.shape[1]
        return loss, measured


def checked(runs: Runs) -> ctypes.CDLL:
    """The compiled code of the runs' functions, which was compared with torch on this machine once."""
    library = kept(runs.key, lambda: source(traced(runs), machine()))

    def compare() -> str:
        return difference(partial(LaneProgram, library=library), runs, lanes_of(runs.state[0].dtype, machine()))

    if found := remembered(f"difference {name_of(runs.key)}", compare):
        raise MistranslatedError(f"its compiled code does not compute what torch does: {found}")
    return library


def checked_alone(runs: Runs, library: ctypes.CDLL) -> ctypes.CDLL | None:
    """The code for a run alone of the same functions, if it is seen to compute the same as a lane, to the last bit.

    None where that is not promised: in double precision, say, rounding is left to the compiler.
    """
    if not ctypes.c_int.in_dll(library, "exactly").value:
        return None
    try:
        alone = kept(key := alone_key(runs), lambda: source(traced(runs), machine(), alone=True))
    except (NoCompilerError, UntranslatableError):  # the compiler is gone, or at it for too long: lanes go on
        return None

    def compare() -> str:
        both = partial(LaneProgram, library=library), partial(LaneProgram, library=library, alone=alone)
        return "same" if same_bits(*both, runs, FEW) else "differs"

    return alone if remembered(f"alone {name_of(key)}", compare) == "same" else None


def alone_key(runs: Runs) -> str:
    """What the code of a run alone is kept under."""
    return f"{runs.key} alone"


def blocks(replicate: npt.NDArray[np.int64], lanes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Runs of one replicate side by side: the runs in each block, (blocks, lanes), and how many they are, (blocks,).

    A lane that is left over repeats the block's first run. The longest blocks come first, so that all threads end together.
    """
    groups: list[npt.NDArray[np.int64]] = []
    for number in np.unique(replicate):
        runs = np.flatnonzero(replicate == number)
        groups += [runs[i : i + lanes] for i in range(0, len(runs), lanes)]
    filled = [np.concatenate([group, np.repeat(group[:1], lanes - len(group))]) for group in groups]
    return np.array(filled), np.array([len(group) for group in groups])


@functools.cache
def _threads() -> ThreadPoolExecutor:
    """Threads for the compiled code, which does not hold Python's lock."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="lanes")
