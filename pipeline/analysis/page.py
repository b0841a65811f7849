"""The report as one HTML page that needs nothing but itself."""

import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from io import StringIO

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from ruamel.yaml import YAML

from pipeline.analysis import epochs, figures, racing, summary
from pipeline.analysis.across import MANY, Friedman
from pipeline.analysis.answer import COSTS, Answer, one_for_all
from pipeline.analysis.choice import Choices
from pipeline.analysis.configurations import configuration
from pipeline.analysis.ends import budget_warning
from pipeline.analysis.figures import Styles
from pipeline.analysis.section import COLOURED, Figure, Notes, Section, section
from pipeline.analysis.shown import FOLDS
from pipeline.analysis.snippet import snippet
from pipeline.analysis.sure import multiplicity, population
from pipeline.analysis.tables import Frames, ProblemResults, Row, records
from pipeline.config.params import Params
from pipeline.config.problem_params import THE_SCRIPTS
from pipeline.config.wording import listing
from pipeline.runs.executor import Workers
from pipeline.runs.unsearched import unsearched

ROWS = 100  # of learning rates on the page; the CSV file has them all
PACKAGES = (
    "torch", "optuna", "schedulefree", "torchmetrics", "scikit-learn", "numpy", "scipy", "statsmodels", "scikit-posthocs",
    "pandas", "matplotlib",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What is reported; ``tables`` and ``evidence`` (those of ``reports/evidence``) are of all problems together, by name.

    ``choices`` are each problem's recommendations, and ``answers`` what they say; ``tests`` are each variant's, across the
    problems.
    """

    params: Params
    problems: Sequence[ProblemResults]
    tables: Frames
    evidence: Frames
    choices: Mapping[str, Choices]
    answers: Mapping[str, Answer]
    tests: Mapping[str, Friedman]

    @property
    def together(self) -> str:
        """Whether one scheduler does for all problems, in words."""
        return one_for_all(list(self.answers.values()), self.tables["comparison"], self.params.report)


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


def render(report: Report, workers: Workers) -> tuple[str, dict[str, Markup]]:
    """The page, and its drawings by name."""
    params, style = report.params, style_of(report.problems)
    proofs = {results.name: _own(report.evidence, results.name) for results in report.problems}
    parts = [
        (results, _own(report.tables, results.name), proofs[results.name], report.choices[results.name],
         report.answers[results.name], code(report, results), _notes(params, results, proofs[results.name]), style,
         params.report)
        for results in report.problems
    ]  # fmt: skip
    sections = list(workers.map(section, *zip(*parts, strict=True)))
    across = _across(report, style)
    html = _environment().get_template("report.html.j2").render(
        sections=sections,
        across=across,
        many=MANY,
        at_once=multiplicity(params, report.problems),
        together=report.together,
        costs=COSTS,
        matters=params.report.matters.loss,
        style=style,
        palettes=[figures.palette(theme) for theme in (0, 1)],
        baseline=params.report.baseline,
        every=params.report.every,
        judged="after the last epoch" if params.report.at == "last" else "at each run's best epoch",
        rows=ROWS,
        folds=FOLDS,
        coloured=COLOURED,
        is_searched=any(results.trials_per_study for results in report.problems),
        params=_yaml(params),
        versions={"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )  # fmt: skip
    return html, _drawings(sections, across)


def code(report: Report, results: ProblemResults) -> str:
    """What to paste for what is recommended; nothing where no run finished."""
    chosen, label = report.choices[results.name], report.answers[results.name].scheduler
    found = configuration(report.params, results, chosen, label) if label else None
    return snippet(results.params, found.run, results.batches, found.warmup) if found else ""


def _notes(asked: Params, results: ProblemResults, own: Frames) -> Notes:
    """By fold, what is to be said before its tables, of the problem's ``own`` evidence."""
    by_epoch = own["last_or_best"][own["last_or_best"]["variant"] == results.variants[-1]]
    at_an_end = budget_warning(own["budget_rates"], asked.tune.lr, float(results.params.optimizer.args["lr"]))
    sure = population(results), racing.sentence(results, own["looks"]), epochs.sentence(by_epoch, asked.report.at)
    kept = f"Not searched, but as written: {unsearched([results.params], asked.schedules(results.name))}."
    return {
        "budget": tuple(filter(None, [at_an_end])),
        "search": (kept,) if results.trials_per_study else (),
        "sure": tuple(filter(None, sure)),
    }


def style_of(problems: Iterable[ProblemResults]) -> Styles:
    """One look for each scheduler, the same in every figure of the report."""
    return figures.styles(list(dict.fromkeys(label for results in problems for label in results.labels)))


def _across(report: Report, style: Styles) -> Across:
    """What all problems say together."""
    profiles, ranks, variants = report.evidence["profiles"], report.evidence["ranks"], tuple(report.tests)
    drawn = [
        panel
        for variant in variants
        for panel in figures.profile(f"all-{variant}", profiles[profiles["variant"] == variant], style)
    ]
    diagrams = [
        replace(panel, variant=variant)
        for variant, test in report.tests.items()
        if test.p is not None
        for panel in figures.critical_difference(
            f"all-{variant}", test.ranks, test.critical_difference if test.rejects else None, style
        )
    ]
    best_first = pd.concat([ranks[ranks["variant"] == v].sort_values("rank", kind="stable") for v in reversed(variants)])
    profile, diagram = Figure("Performance profiles", drawn), Figure("Average ranks", diagrams)
    return Across(variants, records(best_first), profile, report.tests, diagram)


def _drawings(sections: Sequence[Section], across: Across) -> dict[str, Markup]:
    """Every drawing of the page by the name of its file: the problem's own, as it is, and what the drawing shows."""
    of_all = [
        (figure.title, panel.variant, panel.svg) for figure in (across.profiles, across.diagram) for panel in figure.panels
    ]
    named = {"all": of_all, **{own.name: own.drawings for own in sections}}
    return {
        f"{name}-{re.sub(r'[^a-z0-9]+', '-', f'{title} {variant}'.lower()).strip('-')}": svg
        for name, drawn in named.items()
        for title, variant, svg in drawn
    }


def _own(frames: Frames, problem: str) -> dict[str, pd.DataFrame]:
    """A problem's rows of the tables that have some for each."""
    return {name: frame[frame["problem"] == problem] for name, frame in frames.items() if "problem" in frame}


def _yaml(params: Params) -> str:
    """The parameters as params.yaml writes them, defaults filled in."""
    tree = params.model_dump(mode="json", exclude_none=True)
    tree.setdefault("sweep", "none")
    for name, problem in tree["problems"].items():
        if "script" in problem:
            settled = {"optimizer": problem["optimizer"]["args"]}
            tree["problems"][name] = {key: value for key, value in problem.items() if key not in THE_SCRIPTS} | settled
            continue
        for kind in ("dataset", "model", "optimizer"):
            problem[kind] = {"name": problem[kind]["name"], **problem[kind]["args"]}
    text = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style, writer.sort_base_mapping_type_on_output = None, False  # type: ignore[assignment]
    writer.width = 100
    writer.dump(tree, text)
    return text.getvalue()


def _emphasised(text: str) -> Markup:
    """Text with ``*words*`` that are to stand out."""
    return Markup(re.sub(r"\*([^*]+)\*", r"<i>\1</i>", escape(text)))  # noqa: S704  # escaped


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
        "short": summary.short,
        "number": summary.number,
        "signed": summary.signed,
        "rate": summary.rate,
        "parameter": summary.parameter,
        "emphasised": _emphasised,
        "torch": summary.in_torch,
        "share": summary.share,
        "at_most": summary.at_most,
        "signed_share": partial(summary.signed, form=summary.share),
        "probability": summary.probability,
        "listing": listing,
        "symbol": figures.symbol,
    }
    return environment
