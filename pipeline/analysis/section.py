"""A problem's part of the page: its answer, and behind it all tables and figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from pipeline.analysis import figures, shown, summary
from pipeline.analysis.answer import Answer, best_file
from pipeline.analysis.choice import Choice, Choices, last
from pipeline.analysis.ends import worth_telling
from pipeline.analysis.figures import Panel, Styles
from pipeline.analysis.statistics import CRITERION, finished
from pipeline.analysis.tables import Frames, Measure, ProblemResults, Recommendation, Row, recommendations, records
from pipeline.config.params import ReportParams
from pipeline.config.wording import listing

COLOURED = 5
"""Schedulers that are in colour at a time; all others are grey until they are chosen."""
Notes = Mapping[str, Sequence[str]]
"""By fold, the sentences before its tables."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page: one panel per variant."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Section:
    """All that the page says about one problem.

    ``labels`` are its schedulers, best first in the last variant, ``coloured`` those of them that figures show in colour;
    ``cells`` are the comparison's rows by variant and scheduler, ``rates`` epoch → (variant, scheduler) → learning rate.
    """

    name: str
    answer: Answer
    code: str
    files: Mapping[str | None, str]
    """The file of each scheduler, and under None the recommended one's, as links write them."""
    picture: Markup
    variants: Sequence[str]
    labels: Sequence[str]
    coloured: Sequence[str]
    conditions: dict[str, str]
    finding: Sequence[str]
    """The answer, and why it is that, sentence by sentence."""
    cells: dict[str, dict[str, Row]]
    rates: dict[int, dict[tuple[str, str], float]]
    rated: Sequence[str]
    """The variants that ``rates`` has."""
    recommended: Sequence[Recommendation]
    figures: Mapping[str, Sequence[Figure]]
    """By fold; only those there is something to draw of."""
    evidence: Mapping[str, Sequence[shown.Table]]
    """By fold."""
    notes: Notes
    traps: Sequence[Mapping[str, Any]]
    digests: str
    metric: Measure
    is_resampled: bool
    """Whether each seed has a split of its own."""

    @property
    def drawings(self) -> Iterable[tuple[str, str, Markup]]:
        """Every drawing: title, variant, SVG."""
        if self.picture:
            yield "answer", "", self.picture
        for own in self.figures.values():
            for figure in own:
                for panel in figure.panels:
                    yield figure.title, panel.variant, panel.svg


def section(
    results: ProblemResults,
    tables: Frames,
    evidence: Frames,
    chosen: Choices,
    answer: Answer,
    code: str,
    notes: Notes,
    style: Styles,
    asked: ReportParams,
) -> Section:
    """One problem's part of the page, figures drawn; the tables have the problem's rows, ``code`` is what to paste."""
    baseline, comparison = asked.baseline, tables["comparison"]
    ranked = _best_first(comparison, results.variants)
    labels = tuple(dict.fromkeys(ranked["scheduler"]))
    rated = [variant for variant in results.variants if variant in ("default", results.variants[-1])]
    told = {**evidence, "ends_told": worth_telling(evidence["ends"])}
    return Section(
        name=results.name,
        answer=answer,
        code=code,
        files=_files(results, labels),
        picture=_picture(results, ranked, last(chosen), style, asked.margin),
        variants=results.variants,
        labels=labels,
        coloured=_coloured(labels, answer.scheduler, baseline),
        conditions=summary.conditions(results),
        finding=summary.finding(results, comparison, baseline, last(chosen)),
        cells={str(v): {row["scheduler"]: row for row in records(own)} for v, own in ranked.groupby("variant")},
        rates=_by_epoch(tables["learning_rates"]),
        rated=rated,
        recommended=sorted(recommendations(results), key=lambda found: labels.index(found.scheduler)),
        figures=_figures(results, ranked, evidence, rated, style, baseline),
        evidence={fold: shown.tables(fold, told, labels) for fold in shown.FOLDS},
        notes=notes,
        traps=results.all_traps,
        digests=listing(sorted(str(digest) for digest in results.runs["dataset"].unique())),
        metric=results.metric,
        is_resampled=bool(results.params.resample),
    )


def _coloured(labels: Sequence[str], chosen: str | None, baseline: str) -> tuple[str, ...]:
    """What is recommended, the baseline, and the best of the others."""
    first = [label for label in (chosen, baseline) if label is not None and label in labels]
    return tuple(dict.fromkeys([*first, *labels]))[:COLOURED]


def _files(results: ProblemResults, labels: Iterable[str]) -> dict[str | None, str]:
    """The scripts beside the page; none where the samples are in memory, which no script could read."""
    if results.data.is_in_memory:
        return {}
    return {None: best_file(results.name), **{label: best_file(results.name, label) for label in labels}}


def _picture(results: ProblemResults, ranked: pd.DataFrame, chosen: Choice, style: Styles, matters: float) -> Markup:
    """The recommended schedule, and what every scheduler may cost; nothing where no run finished."""
    if chosen.scheduler is None or chosen.run is None:
        return Markup()
    curve = results.curves[results.curves["run"] == chosen.run].sort_values("epoch")
    costs = ranked[ranked["variant"] == chosen.variant]
    interval = results.runs.loc[results.runs["run"] == chosen.run, "interval"].iloc[0]
    rates = curve["lr"].to_numpy(float)
    (panel,) = figures.answer(results.name, rates, costs, chosen.scheduler, matters, style, in_steps=interval == "epoch")
    return panel.svg


def _figures(
    results: ProblemResults, ranked: pd.DataFrame, evidence: Frames, rated: Sequence[str], style: Styles, baseline: str
) -> dict[str, list[Figure]]:
    """Every figure, by fold."""
    name = results.name
    gains = evidence["gains"].assign(variant="tuned minus default", diverged=0)
    of_gains = figures.forest(name, gains, CRITERION, "validation loss, tuned minus default", style) if len(gains) else []
    judged = ranked[ranked["variant"] == results.variants[-1]]
    to_baseline = figures.forest(name, judged, "difference", f"validation loss minus that of {baseline}", style)
    drawn = {
        "comparison": {f"Difference to {baseline}": to_baseline},
        "rate": {"Sensitivity to the peak rate": figures.sensitivity(name, evidence["sensitivity"], style)},
        "budget": {"Loss by budget": figures.budget(name, evidence["budgets"], style)},
        "search": {
            "What tuning changed": of_gains,
            "Best so far": figures.best_so_far(name, evidence["best_so_far"], style),
            "Importances": figures.importances(name, evidence["importances"], style),
        },
        "curves": _curves(results, rated, style),
    }
    kept = {fold: [Figure(title, panels) for title, panels in own.items() if panels] for fold, own in drawn.items()}
    return {fold: kept.get(fold, []) for fold in shown.FOLDS}


def _curves(results: ProblemResults, rated: Sequence[str], style: Styles) -> dict[str, list[Panel]]:
    """Losses and learning rates of the variants in which all seeds of a scheduler share a configuration."""
    curves = results.curves[results.curves["variant"].isin(rated)]
    known = curves[curves["run"].isin(finished(results.runs)["run"])]
    last_known = known[known["variant"] == results.variants[-1]]
    losses = {
        "Validation loss": figures.loss_curves(results.name, known, "validation_loss", "validation loss", style),
        "Training loss": figures.loss_curves(results.name, last_known, "train_loss", "training loss", style),
    }
    highlight = {found.scheduler: found.run for found in recommendations(results) if found.run is not None}
    return {"Learning rates": figures.learning_rate_gallery(results.name, curves, style, highlight), **losses}


def _best_first(comparison: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Variants in order, schedulers in each by their rank in the last variant."""
    last_ranks = comparison[comparison["variant"] == variants[-1]].set_index("scheduler")["rank"]
    keys = comparison.assign(last=comparison["scheduler"].map(last_ranks), of=comparison["variant"].map(variants.index))
    return comparison.loc[keys.sort_values(["of", "last"], kind="stable").index]


def _by_epoch(rates: pd.DataFrame) -> dict[int, dict[tuple[str, str], float]]:
    table: dict[int, dict[tuple[str, str], float]] = {}
    for row in records(rates):
        table.setdefault(row["epoch"], {})[row["variant"], row["scheduler"]] = row["lr"]
    return table
