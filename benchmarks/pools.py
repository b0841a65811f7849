"""Fresh pools of samples, each with a whole small study: how often the intervals of the verdicts hold the truth.

A pool is 500 samples of one and the same distribution; each seed splits it 60/20/20, as a user's file is split. Two truths are
measured. That of *these data* is the mean over other splits of the same pool: of the very configurations, and for per-seed
winners of other seeds' studies; what is still uncertain of it is added to the interval. That of *data like these* is, for the
very configurations, measured on samples that are drawn anew for each of many seeds; for per-seed winners it is the mean over
all pools.
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
from pipeline.config.params import Params, load_params
from pipeline.config.schedules import Schedule
from pipeline.data.datasets import register
from pipeline.data.tables import frame
from pipeline.problems.loading import load_problem
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, stream
from pipeline.runs.executor import HERE, Workers
from pipeline.runs.obtain import obtain
from pipeline.search.rounds import recommend, rerun, search, winners
from pipeline.stages import dataset
from pipeline.statistics.components import Floats, Losses, differences, nested

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
    """How much is run: ``seeds`` in each of the ``pools``, ``trials`` in each study.

    For the truth of data like these ``fresh`` seeds, for that of these data ``others``, and as many more studies as there are.
    """

    pools: int = 200
    seeds: int = 10
    trials: int = 8
    fresh: int = 200
    others: int = 100


@dataclass(frozen=True)
class Figures:
    """A pool's losses by variant, those on ``other`` splits of the same pool, and the truth of what it recommends.

    ``recommended`` is label → mean over data like these.
    """

    losses: Mapping[str, Losses]
    other: Mapping[str, Losses]
    recommended: Mapping[str, float]


def params_of(size: Size) -> dict[str, Any]:
    """The whole params.yaml: every pool is a problem of its own."""
    drawn = 50 * sum(PARTS.values())
    pools = {f"pool{number}": {"name": "pool", "seed": number} for number in range(size.pools)}
    made = {**pools, TRUTH: {"name": "pool", "seed": 1_000_000, "size": drawn}}
    return {
        "seeds": max(2 * size.seeds, size.seeds + size.others, size.fresh),
        "device": "cpu",
        "problems": {name: {"dataset": data, **PROBLEM} for name, data in made.items()},
        "schedulers": dict(SCHEDULERS),
        "tune": {"trials": size.trials, "batch": size.trials},
        "report": {"baseline": BASELINE},
    }


def coverage(folder: Path, size: Size, processes: int) -> pd.DataFrame:
    """A row for each interval at 95%, in each variant: of which population, ``these`` data or ``like`` these, and its truth.

    ``holds`` says whether it holds the truth; ``like`` these, whether that of these data holds the truth for data like these.
    Run in ``folder``, which has the ``params.yaml`` of :func:`params_of`; what was trained there is not trained again.
    """
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin, (folder,)) as workers:
        truth = workers.submit(_as_written, size).result()
        names = [f"pool{number}" for number in range(size.pools)]
        found = list(workers.map(partial(_pool, size=size), names, chunksize=max(1, size.pools // (8 * processes))))
    return judged(found, truth)


def judged(found: Iterable[Figures], truth: Mapping[str, float]) -> pd.DataFrame:
    """The table of :func:`coverage` from each pool's figures; ``truth`` is that of the schedulers as written."""
    table = pd.DataFrame([row for figures in found for row in _intervals(figures, truth)])
    of_all = table[table["variant"] == "tuned"].groupby("scheduler")["difference"].mean()
    table["like_truth"] = table["like_truth"].fillna(table["scheduler"].map(of_all))
    away, like_away = (table["difference"] - table[truth] for truth in ("truth", "like_truth"))
    return table.assign(
        holds=away.abs() <= np.hypot(table["half"], table["truth_half"]),
        like_holds=like_away.abs() <= table["like_half"],
        narrow_holds=like_away.abs() <= table["half"],
    )


def _begin(folder: Path) -> None:
    """In each process: work in ``folder``, and know the dataset."""
    os.chdir(folder)
    register("pool")(pool)


def _intervals(figures: Figures, truth: Mapping[str, float]) -> Iterable[dict[str, Any]]:
    """Each variant's differences to the baseline: half the width of both intervals, both truths, and how rough the first is."""
    known: dict[str, Mapping[str, float]] = {"default": truth, "tuned": {}, "recommended": figures.recommended}
    for variant, losses in figures.losses.items():
        fixed = figures.losses["recommended"] if variant == "tuned" else None
        these, like = differences(losses), differences(losses, OVERLAP, fixed)
        for pair in ((label, BASELINE) for label in losses if label != BASELINE):
            found, (own, other) = these[pair], (figures.other[variant][label] for label in pair)
            others = nested(own - other)
            error = np.sqrt(others.between / others.splits)
            yield {
                "variant": variant,
                "scheduler": pair[0],
                "difference": found.mean,
                "half": found.half(),
                "truth": others.mean,
                "truth_half": found.half() * error / found.error,
                "like_half": like[pair].half(),
                "like_truth": known[variant][pair[0]] - known[variant][BASELINE] if known[variant] else np.nan,
            }


def _loaded(name: str) -> tuple[Params, Problem]:
    params = load_params(CATALOGUE)
    if not Path(f"data/{name}.parquet").exists():
        dataset.main(name)
    return params, load_problem(params, name)


def _as_written(size: Size) -> dict[str, float]:
    """The truth of the schedulers as written."""
    _, problem = _loaded(TRUTH)
    return _means(problem, problem.schedules, 5 * size.fresh)


def _means(problem: Problem, schedules: Mapping[str, Schedule], runs: int) -> dict[str, float]:
    """Mean losses over samples that are drawn anew, ``runs`` for each label on seeds and streams of their own."""
    seeds = range(min(runs, len(problem.data.splits) // 2))  # those below 1000
    found = final(problem, schedules, seeds, -(-runs // len(seeds)))
    return {label: float(np.nanmean(values)) for label, values in found.items()}


def final(
    problem: Problem, schedules: Mapping[str, Schedule], seeds: Sequence[int], streams: int, workers: Workers = HERE
) -> Losses:
    """Final validation losses, label → (seeds, streams); NaN where a run diverged."""
    epochs = problem.params.epochs
    draws = [stream("final", number + 1) for number in range(streams)]
    runs = [Run(*of, seed, epochs, stream=draw) for of in schedules.items() for seed in seeds for draw in draws]
    values = losses_of(problem, runs, workers).reshape(len(schedules), len(seeds), streams)
    return dict(zip(schedules, values, strict=True))


def losses_of(problem: Problem, runs: Sequence[Run], workers: Workers = HERE) -> Floats:
    """The final validation loss of each; NaN where it diverged."""
    history = obtain(problem, runs, CPU, title="", workers=workers, search=True)
    return np.where(history.diverged, np.nan, history.curves.validation_loss[-1])


def _pool(name: str, size: Size) -> Figures:
    """A study: as written, a winner for each seed, and the recommended configurations on fresh seeds; all on others too."""
    params, problem = _loaded(name)
    n, more = size.seeds, range(size.seeds, size.seeds + size.others)
    studies = rerun(problem, search(problem, params.tune, 2 * n, CPU, lambda _: None), CPU)
    best = recommend(problem, [study for study in studies if study.seed < n], CPU)
    won = losses_of(problem, winners(studies, problem.params.epochs)).reshape(len(problem.schedules), 2 * n, -1)
    _, truth = _loaded(TRUTH)
    losses = {
        "default": final(problem, problem.schedules, range(n), 2),
        "tuned": dict(zip(problem.schedules, won[:, :n], strict=True)),
        "recommended": final(problem, best, params.fresh[:n], 2),
    }
    other = {
        "default": final(problem, problem.schedules, more, 1),
        "tuned": dict(zip(problem.schedules, won[:, n:], strict=True)),
        "recommended": final(problem, best, params.fresh[n : n + size.others], 1),
    }
    return Figures(losses, other, _means(truth, best, size.fresh))
