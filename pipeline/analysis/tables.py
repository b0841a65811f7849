"""The results of a problem put together, and the tables made of them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.analysis import constant
from pipeline.analysis.script import Data
from pipeline.analysis.statistics import CRITERION, NO_OVERLAP, Overlap
from pipeline.config.fingerprints import as_json
from pipeline.config.params import Epoch
from pipeline.config.problem_params import ProblemParams, ReportedMetric
from pipeline.config.units import plain_rate
from pipeline.config.wording import raised
from pipeline.problems.metrics import metrics as headline
from pipeline.runs.results import IMPORTANCE_COLUMNS, RERUN_COLUMNS, SWEEP_COLUMNS, TRIAL_COLUMNS
from pipeline.schedulers.registry import schedulers
from pipeline.statistics.sequential import Plan

VARIANTS = ("default", "tuned", "recommended")
Frames = Mapping[str, pd.DataFrame]
"""Tables by name."""
Row = Mapping[str, Any]
"""A row of a table."""
OF_ONE_CLASS = ("AUROC", "AveragePrecision", "F1Score")
"""Metrics that look at the second of two classes."""
FIGURES = ("validation_loss", "test_loss", "test_metric", "regret_bound")
"""Of the comparison in ``metrics.json``."""
CURVE_MEANS = ("lr", "train_loss", "validation_loss")


@dataclass(frozen=True)
class Measure:
    """A headline metric as the report has to know it: its names, which way is better, and whether it is a percentage."""

    name: str
    display: str
    higher_is_better: bool
    is_share: bool


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
    constant: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(constant.COLUMNS)))
    """What comes of the same answer for every sample, by seed; empty where that is not known."""
    overlap: Overlap = NO_OVERLAP
    data: Data = field(default_factory=Data)
    batches: int = 1
    """Optimizer steps in an epoch."""
    at: Epoch = "last"
    """The epoch of each run that the validation figures in ``runs`` are of."""
    plan: Plan | None = None
    """The looks by which the recommended got as many seeds as it took; none where their number was fixed."""

    @property
    def all_traps(self) -> list[Mapping[str, Any]]:
        """Those that were seen before training, and schedules as written that were to react and did not."""
        return [*self.traps, *_unmoved(self.runs, self.curves)]

    @property
    def metric(self) -> Measure:
        """The problem's headline metric; one that looks at one of two classes names it."""
        reported = self.params.metric
        if isinstance(reported, ReportedMetric):
            return Measure(reported.name, reported.name, reported.higher_is_better, is_share=False)
        found = headline[str(self.runs["metric"].iloc[0])]
        of = f" of {self.data.positive!r}" if found.name in OF_ONE_CLASS and self.data.positive is not None else ""
        given = reported.args if reported is not None else {}
        return Measure(found.name, f"{found.shown(given)}{of}", found.higher_is_better, found.is_share)

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
    orders = {"variant": VARIANTS, "scheduler": list(dict.fromkeys([*labels, *sorted(frame["scheduler"].unique())]))}

    def place(column: "pd.Series[Any]") -> "pd.Series[Any]":
        order = orders.get(str(column.name))
        return column if order is None else pd.Series(pd.Categorical(column, order).codes, column.index)

    by = [column for column in ("variant", "scheduler", "seed", "stream", "epoch") if column in frame]
    return frame.sort_values(by, key=place, ignore_index=True)


def mean_curves(results: ProblemResults) -> pd.DataFrame:
    """Rows of (variant, scheduler, epoch) with the means over streams, then over seeds, of ``lr`` and of both losses.

    Losses leave out the runs that diverged, as every mean does; the learning rate is what was applied, whatever came of it.
    Tuned, each seed has a schedule of its own, whose mean would be none of them: ``lr`` is there the recommended one's.
    """
    diverged = results.runs.loc[results.runs["diverged"].astype(bool), "run"]
    curves = results.curves[["variant", "scheduler", "seed", "epoch", *CURVE_MEANS]].copy()
    curves.loc[results.curves["run"].isin(diverged), ["train_loss", "validation_loss"]] = np.nan
    of_seeds = curves.groupby(["variant", "scheduler", "seed", "epoch"], sort=False).mean().drop(columns="lr").reset_index()
    curves["lr"] = curves["lr"].where(~_of_another_configuration(results))
    groups = curves.groupby(["variant", "scheduler", "epoch"], sort=False)
    means, lowest = groups["lr"].mean().to_frame(), groups["lr"].min()
    # A rate that all seeds share is kept to the last bit; a rounded mean of equal numbers may differ from them.
    means["lr"] = means["lr"].where(lowest != groups["lr"].max(), lowest)
    losses = of_seeds.drop(columns="seed").groupby(["variant", "scheduler", "epoch"], sort=False).mean()
    return means.join(losses).reset_index()


def _of_another_configuration(results: ProblemResults) -> "pd.Series[bool]":
    """Which rows of the curves are of a tuned run that has not its scheduler's recommended configuration."""
    tuned = results.runs[results.runs["variant"] == "tuned"]
    same = [_with(tuned[tuned["scheduler"] == label], best, results) for label, best in results.best.items()]
    known = pd.concat(same) if same else tuned.head(0)
    of_known = results.curves["scheduler"].isin(known["scheduler"])
    return (results.curves["variant"] == "tuned") & of_known & ~results.curves["run"].isin(known["run"])


def learning_rates(means: pd.DataFrame, every: int) -> pd.DataFrame:
    """The tutorial's output: the mean curves' ``lr`` at epochs 1, 1 + ``every`` …"""
    shown = (means["epoch"] - 1) % every == 0
    return means.loc[shown, [column for column in means if column not in ("train_loss", "validation_loss")]]


def mean_importances(importances: pd.DataFrame) -> pd.DataFrame:
    """Rows of (scheduler, parameter, importance, low, high): mean and quartiles over the seeds' studies."""
    groups = importances.groupby(["scheduler", "parameter"], sort=False)["importance"]
    table = groups.agg(importance="mean", low=lambda v: v.quantile(0.25), high=lambda v: v.quantile(0.75)).reset_index()
    return table.sort_values("importance", ascending=False, kind="stable").reset_index(drop=True)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def readable(comparison: pd.DataFrame) -> pd.DataFrame:
    """What of the comparison a person reads: of all its columns those that fit beside each other in 120 characters."""
    half = (comparison[f"{CRITERION}_high"] - comparison[f"{CRITERION}_low"]) / 2
    bounds = comparison[["regret_bound", "like_these_bound"]].map(_bound)
    shown = {"validation loss": comparison[CRITERION], "±": half}
    shown |= {"at most": bounds["regret_bound"], "like these": bounds["like_these_bound"]}
    return comparison[["problem", "variant", "scheduler"]].assign(**shown, **comparison[["verdict", "diverged"]])


def _bound(of: float) -> str:
    return "unknown" if np.isnan(of) else f"{raised(of):.1%}" if np.isfinite(of) else "none"


def metrics(comparison: pd.DataFrame, chosen: Mapping[str, tuple[str, str | None, Mapping[str, float]]]) -> dict[str, Any]:
    """A few figures of each problem for DVC: those of the recommended scheduler, and what ``chosen`` adds to them.

    ``chosen`` is problem → (variant, scheduler, more figures). A figure that is not known is left out.
    """
    found = {}
    for problem, (variant, scheduler, more) in chosen.items():
        of_variant = comparison[(comparison["problem"] == problem) & (comparison["variant"] == variant)]
        own = of_variant[of_variant["scheduler"] == scheduler]
        figures = {name: float(own[name].iloc[0]) for name in FIGURES if len(own)} | dict(more)
        found[problem] = {name: value for name, value in figures.items() if np.isfinite(value)}
    return found


def markdown(table: pd.DataFrame) -> str:
    """A table in GitHub's Markdown, numbers to five digits and aligned to the right."""
    head = f"| {' | '.join(table.columns)} |"
    are = {c: pd.api.types.is_numeric_dtype(table[c]) or table[c].astype(str).str.endswith("%").any() for c in table}
    rule = f"|{'|'.join(' ---: ' if are[c] else ' --- ' for c in table)}|"
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
        same = _with(own[own["variant"] == "tuned"], best, results)
    if same.empty:
        return Recommendation(*written)
    run = same.iloc[0]
    return Recommendation(*written, float(run["lr"]), json.loads(run["resolved"]), str(run["run"]), int(run["warmup"]))


def _with(runs: pd.DataFrame, best: Mapping[str, Any], results: ProblemResults) -> pd.DataFrame:
    """Those of a scheduler's runs that have the configuration ``best``."""
    rate = plain_rate(best.get("lr", "100%"), float(results.params.optimizer.args["lr"]))
    is_same = (runs["args"] == as_json(best.get("args", {}))) & np.isclose(runs["lr"].astype(float), rate, rtol=1e-9, atol=0)
    return runs[is_same]


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
    """What is odd about the schedules as written, a row each."""
    return pd.DataFrame(results.all_traps, columns=["scheduler", "trap", "epoch", "what", "why", "change"])


def _unmoved(runs: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Mapping[str, Any]]:
    """Schedulers as written that watch a figure, and kept their rate in all runs."""
    for label, own in runs[runs["variant"] == "default"].groupby("scheduler", sort=False):
        name = str(own["name"].iloc[0])
        rates = curves.loc[curves["run"].isin(own["run"]), ["run", "lr"]]
        if schedulers[name].live and rates["lr"].nunique() == 1:
            yield {
                "scheduler": label, "trap": "never reacts", "epoch": 1,
                "what": f"the rate stood at {rates['lr'].iloc[0]:.3g} in all {len(own)} runs",
                "why": "what it watches gave it no reason to change it, so that it was the constant rate here",
                "change": "give it less patience or a larger threshold, or train longer",
            }  # fmt: skip
