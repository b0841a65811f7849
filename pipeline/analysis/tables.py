"""The results of a problem put together, and the tables made of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis.script import Data
from pipeline.analysis.statistics import NO_OVERLAP, Overlap
from pipeline.config.fingerprints import as_json
from pipeline.config.params import ProblemParams
from pipeline.config.units import percent
from pipeline.problems.metrics import RegisteredMetric
from pipeline.problems.metrics import metrics as headline
from pipeline.runs.results import IMPORTANCE_COLUMNS, RERUN_COLUMNS, SWEEP_COLUMNS, TRIAL_COLUMNS
from pipeline.statistics.sequential import Plan

VARIANTS = ("default", "tuned", "recommended")
Frames = Mapping[str, pd.DataFrame]
"""Tables by name."""
OF_ONE_CLASS = ("AUROC", "AveragePrecision", "F1Score")
"""Metrics that look at the second of two classes."""
CURVE_MEANS = ("lr", "train_loss", "validation_loss")


@dataclass(frozen=True)
class ProblemResults:
    """Everything the stages found out about one problem.

    ``runs`` and ``curves`` have the columns of the parquet files, of all variants together, schedulers in the order of
    params.yaml. ``best`` is what ``best.yaml`` holds: label → recommended configuration. It is empty where nothing was
    tuned, and so are ``trials``, ``importances``, ``reruns`` and ``sweep``.
    """

    name: str
    params: ProblemParams
    runs: pd.DataFrame
    curves: pd.DataFrame
    best: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    traps: Sequence[Mapping[str, Any]] = ()
    """What ``findings.json`` holds."""
    trials: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(TRIAL_COLUMNS)))
    importances: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(IMPORTANCE_COLUMNS)))
    reruns: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(RERUN_COLUMNS)))
    sweep: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SWEEP_COLUMNS)))
    overlap: Overlap = NO_OVERLAP
    data: Data = field(default_factory=Data)
    batches: int = 1
    """Optimizer steps in an epoch."""
    plan: Plan | None = None
    """The looks by which the recommended got as many seeds as it took; none where their number was fixed."""

    @property
    def metric(self) -> RegisteredMetric:
        """The problem's headline metric; one that looks at one of two classes names it."""
        found = headline[str(self.runs["metric"].iloc[0])]
        if found.name not in OF_ONE_CLASS or self.data.positive is None:
            return found
        return replace(found, display=f"{found.display} of {self.data.positive!r}")

    @property
    def seeds(self) -> int:
        """Seeds of the studies; as many fresh ones confirm what is recommended, unless that was raced."""
        return int(self.runs[self.runs["variant"] != "recommended"]["seed"].nunique())

    @property
    def confirmed(self) -> int:
        """Fresh seeds on which the recommended were confirmed."""
        return int(self.runs[self.runs["variant"] == "recommended"]["seed"].nunique())

    @property
    def trials_per_study(self) -> int:
        """Trials of each study; 0 where nothing was tuned."""
        return 0 if self.trials.empty else int(self.trials["number"].max()) + 1

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants there are runs of."""
        present = set(self.runs["variant"])
        return tuple(variant for variant in VARIANTS if variant in present)

    @property
    def labels(self) -> tuple[str, ...]:
        """The schedulers there are runs of."""
        return tuple(dict.fromkeys(self.runs["scheduler"]))


def gather(
    name: str,
    params: ProblemParams,
    labels: Iterable[str],
    parts: Sequence[tuple[pd.DataFrame, pd.DataFrame]],
    **more: Any,
) -> ProblemResults:
    """The results of a problem from ``parts``, the (runs, curves) of each stage; rows in the order of ``labels``.

    ``more`` are further attributes of :class:`ProblemResults`.
    """
    runs, curves = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return ProblemResults(name, params, _in_order(runs, labels), _in_order(curves, labels), **more)


def _in_order(frame: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """Rows by variant, scheduler, seed, stream (and epoch); a label that ``labels`` does not have comes last."""
    place = {label: position for position, label in enumerate(labels)}
    keys = pd.DataFrame(
        {
            "variant": frame["variant"].map(VARIANTS.index),
            "place": frame["scheduler"].map(lambda label: place.get(label, len(place))),
        }
    )
    rest = [column for column in ("scheduler", "seed", "stream", "epoch") if column in frame]
    order = pd.concat([keys, frame[rest]], axis="columns").sort_values(["variant", "place", *rest], kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def mean_curves(results: ProblemResults) -> pd.DataFrame:
    """Rows of (variant, scheduler, epoch) with the means over streams, then over seeds, of ``lr`` and of both losses.

    Losses leave out the runs that diverged, as every mean does; the learning rate is what was applied, whatever came of it.
    """
    diverged = results.runs.loc[results.runs["diverged"].astype(bool), "run"]
    curves = results.curves[["variant", "scheduler", "seed", "epoch", *CURVE_MEANS]].copy()
    curves.loc[results.curves["run"].isin(diverged), ["train_loss", "validation_loss"]] = np.nan
    of_seeds = curves.groupby(["variant", "scheduler", "seed", "epoch"], sort=False).mean().drop(columns="lr").reset_index()
    groups = curves.groupby(["variant", "scheduler", "epoch"], sort=False)
    means, lowest = groups["lr"].mean().to_frame(), groups["lr"].min()
    # A rate that all seeds share is kept to the last bit; a rounded mean of equal numbers may differ from them.
    means["lr"] = means["lr"].where(lowest != groups["lr"].max(), lowest)
    losses = of_seeds.drop(columns="seed").groupby(["variant", "scheduler", "epoch"], sort=False).mean()
    return means.join(losses).reset_index()


def learning_rates(means: pd.DataFrame, every: int) -> pd.DataFrame:
    """The tutorial's output: the mean curves' ``lr`` at epochs 1, 1 + ``every`` …"""
    shown = (means["epoch"] - 1) % every == 0
    return means.loc[shown, [column for column in means if column not in ("train_loss", "validation_loss")]]


def mean_importances(importances: pd.DataFrame) -> pd.DataFrame:
    """Rows of (scheduler, parameter, importance, low, high): mean and quartiles over the seeds' studies."""
    groups = importances.groupby(["scheduler", "parameter"], sort=False)["importance"]
    table = groups.agg(importance="mean", low=lambda v: v.quantile(0.25), high=lambda v: v.quantile(0.75)).reset_index()
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)


def metrics(comparison: pd.DataFrame) -> dict[str, dict[str, dict[str, dict[str, float]]]]:
    """The comparison for DVC: problem → variant → scheduler → figure; without the intervals, to fit on a screen."""
    nested: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    shown = comparison.drop(columns=[column for column in comparison if str(column).endswith(("_low", "_high"))])
    for row in shown.to_dict("records"):
        problem, variant, scheduler = (str(row.pop(key)) for key in ("problem", "variant", "scheduler"))
        nested.setdefault(problem, {}).setdefault(variant, {})[scheduler] = {str(k): _plain(v) for k, v in row.items()}
    return nested


def _plain(value: Any) -> Any:
    """A numpy number as Python's, which JSON knows."""
    return value.item() if isinstance(value, np.generic) else value


def markdown(table: pd.DataFrame) -> str:
    """A table in GitHub's Markdown, numbers to five digits and aligned to the right."""
    head = f"| {' | '.join(table.columns)} |"
    rule = f"|{'|'.join(' ---: ' if pd.api.types.is_numeric_dtype(table[c]) else ' --- ' for c in table)}|"
    rows = [f"| {' | '.join(_cell(value) for value in row)} |" for row in table.itertuples(index=False)]
    return "\n".join([head, rule, *rows]) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.5g}"
    return str(value).replace("|", "\\|")


@dataclass(frozen=True)
class Recommendation:
    """A scheduler's recommended configuration: as ``best.yaml`` writes it, and in torch's numbers where they are known.

    ``lr`` and ``args`` are None where no run has this configuration; ``run`` is the run that does.
    """

    scheduler: str
    name: str
    interval: str
    lr_written: str
    args_written: str
    lr: float | None = None
    args: Mapping[str, Any] | None = None
    run: str | None = None
    warmup: int = 0
    """Scheduler steps, where the run is known."""


def recommendations(results: ProblemResults) -> list[Recommendation]:
    """The recommended configurations, in the order of the schedulers."""
    return [_recommendation(results, label, results.best[label]) for label in results.labels if label in results.best]


def _recommendation(results: ProblemResults, label: str, best: Mapping[str, Any]) -> Recommendation:
    args, lr = best.get("args", {}), best.get("lr", "100%")
    warmup = f", warmup: {best['warmup']}" if best.get("warmup") else ""
    average = f", average: {as_json(best['average'])}" if best.get("average") else ""
    written = (label, str(best.get("name", label)), str(best.get("interval") or ""), f"{lr}{warmup}{average}", as_json(args))
    own = results.runs[results.runs["scheduler"] == label]
    same = own[own["variant"] == "recommended"]
    if same.empty:
        rate = _rate(lr, float(results.params.optimizer.args["lr"]))
        tuned = own[own["variant"] == "tuned"]
        same = tuned[(tuned["args"] == as_json(args)) & np.isclose(tuned["lr"].astype(float), rate, rtol=1e-9, atol=0)]
    if same.empty:
        return Recommendation(*written)
    run = same.iloc[0]
    return Recommendation(*written, float(run["lr"]), json.loads(run["resolved"]), str(run["run"]), int(run["warmup"]))


def recommended(results: ProblemResults) -> pd.DataFrame:
    """Rows of (scheduler, name, interval, lr, args, lr_written, args_written, warmup, run): :func:`recommendations` as a table.

    ``args`` are JSON, in torch's numbers; they, ``lr`` and ``run`` are missing where no run has the configuration.
    """
    columns = ("scheduler", "name", "interval", "lr", "args", "lr_written", "args_written", "warmup", "run")
    found = [
        {**vars(entry), "args": None if entry.args is None else as_json(dict(entry.args))} for entry in recommendations(results)
    ]
    return pd.DataFrame(found, columns=list(columns))


def traps(results: ProblemResults) -> pd.DataFrame:
    """What the linter found in the schedules as written, a row each."""
    return pd.DataFrame(list(results.traps), columns=["scheduler", "trap", "epoch", "what", "why", "change"])


def _rate(written: Any, lr: float) -> float:
    share = percent(written) if isinstance(written, str) else None
    return float(written) if share is None else float(share) * lr / 100
