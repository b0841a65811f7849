"""The report as one HTML page that needs nothing but itself."""

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from io import StringIO
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from ruamel.yaml import YAML

from pipeline.analysis import figures, summary
from pipeline.analysis.across import MANY, Friedman, friedman
from pipeline.analysis.choice import Choices
from pipeline.analysis.ends import worth_telling
from pipeline.analysis.figures import Panel, Styles
from pipeline.analysis.statistics import CRITERION, finished
from pipeline.analysis.summary import Finding
from pipeline.analysis.tables import Frames, ProblemResults, Recommendation, recommendations
from pipeline.config.params import Params, ReportParams
from pipeline.problems.metrics import RegisteredMetric
from pipeline.runs.executor import Workers

ROWS = 100  # of learning rates on the page; the CSV file has them all
PACKAGES = (
    "torch", "optuna", "schedulefree", "torchmetrics", "scikit-learn", "numpy", "scipy", "statsmodels", "scikit-posthocs",
    "pandas", "matplotlib",
)  # fmt: skip
SHOWN = ("targets", "area", "widths", "winners", "too_short")  # of reports/evidence, as tables of a problem
Row = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """A figure of the page: one panel per variant."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Section:
    """All that the page says about one problem.

    ``labels`` are its schedulers, best first in the last variant; ``cells`` are the comparison's rows by variant and
    scheduler, ``rates`` epoch → (variant, scheduler) → learning rate.
    """

    name: str
    variants: Sequence[str]
    labels: Sequence[str]
    conditions: dict[str, str]
    findings: Sequence[Finding]
    cells: dict[str, dict[str, Row]]
    rates: dict[int, dict[tuple[str, str], float]]
    gains: Sequence[Row]
    recommended: Sequence[Recommendation]
    differences: Figure
    gain: Figure | None
    losses: Sequence[Figure]
    gallery: Figure
    traps: Sequence[Mapping[str, Any]]
    digests: str
    metric: RegisteredMetric
    overlap: float
    """The correlation of two seeds' validation losses that the intervals take into account."""
    ends: Sequence[Row]
    """What was searched to its end, or beyond."""
    evidence: Mapping[str, Sequence[Row]]
    """The problem's rows of the tables in :data:`SHOWN`."""
    probes: Mapping[str, Figure]
    """The figures of those and of the searches, by name; only those there is something to draw of."""


@dataclass(frozen=True)
class Across:
    """The part of the page on all problems together; ``ranks`` are best first, those of the last variant before others.

    ``tests`` has each variant's test across the problems.
    """

    variants: Sequence[str]
    ranks: Sequence[Row]
    profiles: Figure
    tests: Mapping[str, Friedman]
    diagram: Figure


def render(
    params: Params,
    problems: Sequence[ProblemResults],
    tables: Frames,
    evidence: Frames,
    chosen: Mapping[str, Choices],
    workers: Workers,
) -> tuple[str, dict[str, Markup]]:
    """The page, and its drawings by name; the tables, ``evidence`` and what was ``chosen`` are of all problems."""
    style = style_of(problems)
    parts = [
        (results, _own(tables, results.name), _own(evidence, results.name), chosen[results.name], style, params.report)
        for results in problems
    ]
    sections = list(workers.map(_section, parts))
    across = _across(tables["comparison"], evidence, style)
    html = _environment().get_template("report.html.j2").render(
        sections=sections,
        across=across,
        many=MANY,
        overview=summary.overview(problems, [own.findings[-1] for own in sections], params.report.baseline),
        matters=params.report.matters.loss,
        targets=params.report.target,
        style=style,
        palettes=[figures.palette(theme) for theme in (0, 1)],
        baseline=params.report.baseline,
        every=params.report.every,
        rows=ROWS,
        params=_yaml(params),
        versions={"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )  # fmt: skip
    return html, _drawings(sections, across)


def style_of(problems: Iterable[ProblemResults]) -> Styles:
    """One look for each scheduler, the same in every figure of the report."""
    return figures.styles(list(dict.fromkeys(label for results in problems for label in results.labels)))


def _section(part: tuple[ProblemResults, Frames, Frames, Choices, Styles, ReportParams]) -> Section:
    return section(*part)


def section(
    results: ProblemResults, tables: Frames, evidence: Frames, chosen: Choices, style: Styles, asked: ReportParams
) -> Section:
    """One problem's part of the page, figures drawn."""
    baseline, comparison, rates = asked.baseline, tables["comparison"], tables["learning_rates"]
    ranked = _best_first(comparison, results.variants)
    labels = tuple(dict.fromkeys(ranked["scheduler"]))
    gains = _sorted(evidence["gains"], labels)
    return Section(
        name=results.name,
        variants=results.variants,
        labels=labels,
        conditions=summary.conditions(results),
        findings=summary.findings(results, comparison, baseline, chosen),
        cells={str(v): {row["scheduler"]: row for row in _records(own)} for v, own in ranked.groupby("variant")},
        rates=_by_epoch(rates),
        gains=_records(gains),
        recommended=sorted(recommendations(results), key=lambda found: labels.index(found.scheduler)),
        differences=_differences(results.name, ranked, style, baseline),
        gain=_gain(results.name, gains, style) if len(gains) else None,
        losses=_losses(results, style),
        gallery=_gallery(results, style),
        traps=results.traps,
        digests=summary.listing(sorted(str(digest) for digest in results.runs["dataset"].unique())),
        metric=results.metric,
        overlap=results.overlap.of(CRITERION),
        evidence={name: _records(evidence[name]) for name in SHOWN},
        ends=_records(worth_telling(evidence["ends"])),
        probes=_probes(results.name, evidence, style),
    )


def _probes(name: str, evidence: Frames, style: Styles) -> dict[str, Figure]:
    """Figures of the sweep and of the searches."""
    drawn = {
        "Sensitivity to the peak rate": figures.sensitivity(name, evidence["sensitivity"], style),
        "Loss by budget": figures.budget(name, evidence["budgets"], style),
        "Best so far": figures.best_so_far(name, evidence["best_so_far"], style),
        "Importances": figures.importances(name, evidence["importances"], style),
    }
    return {title: Figure(title, panels) for title, panels in drawn.items() if panels}


def _across(comparison: pd.DataFrame, evidence: Frames, style: Styles) -> Across:
    """What all problems say together."""
    profiles, ranks = evidence["profiles"], evidence["ranks"]
    variants = tuple(dict.fromkeys(ranks["variant"]))
    drawn = [
        replace(panel, variant=variant)
        for variant in variants
        for panel in figures.profile(f"all-{variant}", profiles[profiles["variant"] == variant], style)
    ]
    tests = {variant: friedman(comparison, variant) for variant in variants}
    diagrams = [
        replace(panel, variant=variant)
        for variant, test in tests.items()
        if test.p is not None
        for panel in figures.critical_difference(f"all-{variant}", test.ranks, _apart(test), style)
    ]
    best_first = pd.concat([ranks[ranks["variant"] == v].sort_values("rank", kind="stable") for v in reversed(variants)])
    shown = Figure("Performance profiles", drawn), tests, Figure("Average ranks", diagrams)
    return Across(variants, _records(best_first), *shown)


def _apart(test: Friedman) -> float | None:
    """How far apart ranks must lie to differ; None where the test says that none do."""
    return test.critical_difference if test.rejects else None


def _drawings(sections: Sequence[Section], across: Across) -> dict[str, Markup]:
    """Every drawing of the page by the name of its file: the problem's own, as it is, and what the drawing shows."""
    named = {"all": [across.profiles, across.diagram]}
    for own in sections:
        more = [own.gain] if own.gain else []
        named[own.name] = [own.differences, *more, *own.losses, own.gallery, *own.probes.values()]
    return {
        f"{name}-{re.sub(r'[^a-z0-9]+', '-', f'{figure.title} {panel.variant}'.lower()).strip('-')}": panel.svg
        for name, shown in named.items()
        for figure in shown
        for panel in figure.panels
    }


def _own(frames: Frames, problem: str) -> dict[str, pd.DataFrame]:
    """A problem's rows of the tables that have some for each."""
    return {name: frame[frame["problem"] == problem] for name, frame in frames.items() if "problem" in frame}


def _differences(name: str, ranked: pd.DataFrame, style: Styles, baseline: str) -> Figure:
    axis = f"validation loss minus that of {baseline}"
    return Figure(f"Difference to {baseline}", figures.forest(name, ranked, "difference", axis, style))


def _gain(name: str, gains: pd.DataFrame, style: Styles) -> Figure:
    rows = gains.assign(variant="tuned minus default", diverged=0)
    return Figure(
        "What tuning changed", figures.forest(name, rows, "validation_loss", "validation loss, tuned minus default", style)
    )


def _losses(results: ProblemResults, style: Styles) -> list[Figure]:
    curves = results.curves[results.curves["run"].isin(finished(results.runs)["run"])]
    draw = partial(figures.loss_curves, results.name, curves, style=style)
    return [
        Figure(f"{part.capitalize()} loss", draw(metric=f"{metric}_loss", title=f"{part} loss"))
        for part, metric in (("validation", "validation"), ("training", "train"))
    ]


def _gallery(results: ProblemResults, style: Styles) -> Figure:
    highlight = {found.scheduler: found.run for found in recommendations(results) if found.run is not None}
    return Figure("Learning rates", figures.learning_rate_gallery(results.name, results.curves, style, highlight))


def _records(table: pd.DataFrame) -> list[Row]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _best_first(comparison: pd.DataFrame, variants: Sequence[str]) -> pd.DataFrame:
    """Variants in order, schedulers in each by their rank in the last variant."""
    last = comparison[comparison["variant"] == variants[-1]].set_index("scheduler")["rank"]
    keys = comparison.assign(last=comparison["scheduler"].map(last), of=comparison["variant"].map(variants.index))
    return comparison.loc[keys.sort_values(["of", "last"], kind="stable").index]


def _sorted(gains: pd.DataFrame, labels: Sequence[str]) -> pd.DataFrame:
    return gains.sort_values("scheduler", key=lambda column: column.map(labels.index)) if len(gains) else gains


def _by_epoch(rates: pd.DataFrame) -> dict[int, dict[tuple[str, str], float]]:
    table: dict[int, dict[tuple[str, str], float]] = {}
    for row in _records(rates):
        table.setdefault(row["epoch"], {})[row["variant"], row["scheduler"]] = row["lr"]
    return table


def _yaml(params: Params) -> str:
    """The parameters as params.yaml writes them, defaults filled in."""
    tree = params.model_dump(mode="json", exclude_none=True)
    tree.setdefault("sweep", "none")
    for problem in tree["problems"].values():
        for kind in ("dataset", "model", "optimizer"):
            problem[kind] = {"name": problem[kind]["name"], **problem[kind]["args"]}
    text = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.sort_base_mapping_type_on_output = None, False  # type: ignore[assignment]
    writer.width = 100
    writer.dump(tree, text)
    return text.getvalue()


def _environment() -> Environment:
    """Everything is escaped: labels and values come from the user."""
    environment = Environment(
        loader=PackageLoader("pipeline.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": summary.number,
        "signed": summary.signed,
        "rate": summary.rate,
        "torch": summary.in_torch,
        "share": summary.share,
        "signed_share": partial(summary.signed, form=summary.share),
        "probability": summary.probability,
        "listing": summary.listing,
        "swatch": figures.swatch,
    }
    return environment
