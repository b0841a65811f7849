"""Fresh pools of samples, each with a whole small study: how often the intervals of the verdicts hold the truth.

A pool is 500 samples of one and the same distribution; each seed splits it 60/20/20, as a user's file is split. The truth is
the mean over data like these: as written and as recommended, it is measured for the very configurations on samples that are
drawn anew for each of many seeds; for per-seed winners it is the mean over all pools.
"""

import multiprocessing
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, Schedule, load_params
from pipeline.data.datasets import register
from pipeline.data.tables import frame
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, stream
from pipeline.runs.obtain import obtain
from pipeline.search.rounds import recommend, rerun, search, winners
from pipeline.stages import dataset
from pipeline.statistics.comparison import against
from pipeline.statistics.components import Floats, Losses

CPU = torch.device("cpu")
PARTS = {"train": 300, "validation": 100, "test": 100}
OVERLAP = PARTS["validation"] / sum(PARTS.values())
TRUTH = "truth"
BASELINE = "ConstantLR"
PROBLEM: Mapping[str, Any] = {
    "model": {"name": "mlp", "hidden": [16]},
    "optimizer": {"name": "SGD", "lr": 0.5},
    "epochs": 10,
    "batch_size": 30,
    "resample": True,
}
SCHEDULERS: Mapping[str, Any] = {
    BASELINE: {"args": {"factor": 1.0}},
    "StepLR": {"args": {"step_size": "30%", "gamma": 0.1}},
    "ExponentialLR": {"args": {"gamma": 0.7}},
    "CosineAnnealingLR": {"args": {"T_max": "100%"}},
}


def pool(seed: int, size: int = sum(PARTS.values())) -> pd.DataFrame:
    """Samples of one distribution: Gaussian inputs, three classes by a small random network, a tenth of them wrong."""
    teacher, draw = np.random.default_rng(0), np.random.default_rng([1, seed])
    x = draw.standard_normal((size, 8))
    y = (np.tanh(x @ teacher.standard_normal((8, 12))) @ teacher.standard_normal((12, 3))).argmax(axis=1)
    y = np.where(draw.random(size) < 0.1, draw.integers(0, 3, size), y)
    split = np.repeat(["spare", *PARTS], [size - sum(PARTS.values()), *PARTS.values()])
    return frame(x, y, split)


@dataclass(frozen=True)
class Size:
    """How much is run: ``seeds`` in each of the ``pools``, ``trials`` in each study, ``fresh`` seeds for the truth."""

    pools: int = 200
    seeds: int = 10
    trials: int = 8
    fresh: int = 200


@dataclass(frozen=True)
class Figures:
    """A pool's losses by variant, and the truth of its recommended configurations: label → mean over data like these."""

    losses: Mapping[str, Losses]
    recommended: Mapping[str, float]


def params_of(size: Size) -> dict[str, Any]:
    """The whole params.yaml: every pool is a problem of its own."""
    drawn = 50 * sum(PARTS.values())
    pools = {f"pool{number}": {"name": "pool", "seed": number} for number in range(size.pools)}
    made = {**pools, TRUTH: {"name": "pool", "seed": 1_000_000, "size": drawn}}
    return {
        "seeds": max(size.seeds, size.fresh),
        "device": "cpu",
        "problems": {name: {"dataset": data, **PROBLEM} for name, data in made.items()},
        "schedulers": dict(SCHEDULERS),
        "tune": {"trials": size.trials, "batch": size.trials},
        "report": {"baseline": BASELINE},
    }


def coverage(folder: Path, size: Size, processes: int) -> pd.DataFrame:
    """Of the intervals at 95% in each variant the share that holds the truth, and how wide they are.

    Run in ``folder``, which has the ``params.yaml`` of :func:`params_of`; what was trained there is not trained again.
    """
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (folder,)) as workers:
        truth = workers.submit(_as_written, size).result()
        names = [f"pool{number}" for number in range(size.pools)]
        found = list(workers.map(partial(_pool, size=size), names, chunksize=max(1, size.pools // (8 * processes))))
    rows = [row for figures in found for row in _intervals(figures, truth)]
    table = pd.DataFrame(rows)
    of_all = table[table["variant"] == "tuned"].groupby("scheduler")["difference"].mean()
    table["truth"] = table["truth"].fillna(table["scheduler"].map(of_all))
    table["holds"] = (table["low"] <= table["truth"]) & (table["truth"] <= table["high"])
    return table


def _begin(folder: Path) -> None:
    """In each process: work in ``folder``, and know the dataset."""
    os.chdir(folder)
    register("pool")(pool)


def _intervals(figures: Figures, truth: Mapping[str, float]) -> Iterable[dict[str, Any]]:
    known: dict[str, Mapping[str, float]] = {"default": truth, "tuned": {}, "recommended": figures.recommended}
    for variant, losses in figures.losses.items():
        fixed = figures.losses["recommended"] if variant == "tuned" else None
        found = against(losses, BASELINE, OVERLAP, fixed=fixed).drop(index=BASELINE)
        for label, row in found.iterrows():
            own = known[variant]
            true = own[str(label)] - own[BASELINE] if own else np.nan
            yield {"variant": variant, "scheduler": label, "truth": true, **row[["difference", "low", "high"]]}


def _loaded(name: str) -> tuple[Params, Problem]:
    params = load_params(CATALOGUE)
    if not Path(f"data/{name}.parquet").exists():
        dataset.main(name)
    return params, load_problem(name, params.problem(name), params.schedules(name))


def _as_written(size: Size) -> dict[str, float]:
    """The truth of the schedulers as written."""
    _, problem = _loaded(TRUTH)
    return _means(problem, problem.schedules, 5 * size.fresh)


def _means(problem: Problem, schedules: Mapping[str, Schedule], runs: int) -> dict[str, float]:
    """Mean losses over samples that are drawn anew, ``runs`` for each label on seeds and streams of their own."""
    seeds = range(min(runs, len(problem.data.splits) // 2))  # those below 1000
    found = final(problem, schedules, seeds, -(-runs // len(seeds)))
    return {label: float(np.nanmean(values)) for label, values in found.items()}


def final(problem: Problem, schedules: Mapping[str, Schedule], seeds: Sequence[int], streams: int) -> Losses:
    """Final validation losses, label → (seeds, streams); NaN where a run diverged."""
    epochs = problem.params.epochs
    draws = [stream("final", number + 1) for number in range(streams)]
    runs = [Run(*of, seed, epochs, stream=draw) for of in schedules.items() for seed in seeds for draw in draws]
    values = losses_of(problem, runs).reshape(len(schedules), len(seeds), streams)
    return dict(zip(schedules, values, strict=True))


def losses_of(problem: Problem, runs: Sequence[Run]) -> Floats:
    """The final validation loss of each; NaN where it diverged."""
    history = obtain(problem, runs, CPU, title="", search=True)
    return np.where(history.diverged, np.nan, history.curves.validation_loss[-1])


def _pool(name: str, size: Size) -> Figures:
    """A study: as written, a winner for each seed, and the recommended configurations on fresh seeds."""
    params, problem = _loaded(name)
    seeds = range(size.seeds)
    studies = rerun(problem, search(problem, params.tune, size.seeds, CPU, lambda _: None), CPU)
    best = recommend(problem, studies, CPU)
    won = losses_of(problem, winners(studies, problem.params.epochs)).reshape(len(problem.schedules), size.seeds, -1)
    _, truth = _loaded(TRUTH)
    losses = {
        "default": final(problem, problem.schedules, seeds, 2),
        "tuned": dict(zip(problem.schedules, won, strict=True)),
        "recommended": final(problem, best, params.fresh[: size.seeds], 2),
    }
    return Figures(losses, _means(truth, best, size.fresh))
