"""The report as one HTML page that needs nothing but itself."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from io import StringIO
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from ruamel.yaml import YAML

from pipeline.analysis import figures, summary
from pipeline.analysis.figures import Panel, Styles
from pipeline.analysis.statistics import finished, tuning_gain
from pipeline.analysis.summary import Finding
from pipeline.analysis.tables import ProblemResults, Recommendation, recommendations
from pipeline.params import Params

ROWS = 100  # of learning rates on the page; the CSV file has them all
PACKAGES = ("torch", "numpy", "scipy", "pandas", "matplotlib")
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


def render(params: Params, problems: Iterable[ProblemResults], comparison: pd.DataFrame, rates: pd.DataFrame) -> str:
    """The page; ``comparison`` and ``rates`` are the tables of the report, over all problems."""
    problems = list(problems)
    style = figures.styles(list(dict.fromkeys(label for results in problems for label in results.labels)))
    sections = [
        section(results, _of(comparison, results.name), _of(rates, results.name), style, params.report.baseline)
        for results in problems
    ]
    return _environment().get_template("report.html.j2").render(
        sections=sections,
        style=style,
        palettes=[figures.palette(theme) for theme in (0, 1)],
        baseline=params.report.baseline,
        every=params.report.every,
        rows=ROWS,
        params=_yaml(params),
        versions={"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )  # fmt: skip


def section(results: ProblemResults, comparison: pd.DataFrame, rates: pd.DataFrame, style: Styles, baseline: str) -> Section:
    """One problem's part of the page, figures drawn."""
    ranked = _best_first(comparison, results.variants)
    labels = tuple(dict.fromkeys(ranked["scheduler"]))
    gains = _sorted(tuning_gain(results.runs), labels)
    return Section(
        name=results.name,
        variants=results.variants,
        labels=labels,
        conditions=summary.conditions(results),
        findings=summary.findings(results, comparison, baseline),
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
    )


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


def _of(table: pd.DataFrame, problem: str) -> pd.DataFrame:
    return table[table["problem"] == problem]


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
        "share": summary.share,
        "listing": summary.listing,
        "swatch": figures.swatch,
    }
    return environment
