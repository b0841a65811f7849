"""The whole report: every table, figure and script of it, and the page that shows them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline import results
from pipeline.analysis import evidence, figures, page, summary, tables
from pipeline.analysis.across import average_ranks
from pipeline.analysis.script import script
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import ProblemResults, recommendations
from pipeline.params import Params

Frames = Mapping[str, pd.DataFrame]
LONG = {"curves", "learning_rates", "sensitivity", "best_so_far", "profiles", "epochs_to_target"}
"""Tables that nobody reads as text."""


@dataclass(frozen=True)
class Report:
    """What is reported; ``tables`` and ``evidence`` (those of ``reports/evidence``) are of all problems together, by name."""

    params: Params
    problems: Sequence[ProblemResults]
    tables: Frames
    evidence: Frames


def assemble(params: Params, problems: Sequence[ProblemResults]) -> Report:
    """All tables of the report."""
    baseline, matters = params.report.baseline, params.report.margin
    comparison = joined({p.name: compare(p.runs, baseline, p.overlap, matters) for p in problems})
    curves = joined({p.name: tables.mean_curves(p) for p in problems})
    first = {"comparison": comparison, "curves": curves, "learning_rates": tables.learning_rates(curves, params.report.every)}
    makers: dict[str, Callable[[ProblemResults], pd.DataFrame]] = {
        "epochs_to_target": lambda p: evidence.epochs_to_target(p.runs, p.curves, baseline),
        "targets": lambda p: evidence.reached(evidence.epochs_to_target(p.runs, p.curves, baseline)),
        "area": lambda p: evidence.area(p.curves, p.runs),
        "sensitivity": lambda p: evidence.sensitivity(p.sweep),
        "widths": lambda p: evidence.widths(evidence.sensitivity(p.sweep)),
        "best_so_far": lambda p: evidence.best_so_far(evidence.above_best(p.trials)),
        "importances": lambda p: tables.mean_importances(p.importances),
        "budgets": lambda p: evidence.budgets(p.sweep),
        "winners": lambda p: evidence.winners(evidence.budgets(p.sweep)),
    }
    more = {name: joined({p.name: make(p) for p in problems}) for name, make in makers.items()}
    more |= {"profiles": profiles(problems, baseline), "ranks": average_ranks(comparison)}
    return Report(params, problems, first, more)


def profiles(problems: Sequence[ProblemResults], baseline: str) -> pd.DataFrame:
    """Performance profiles over all problems and seeds, one for each variant."""
    reached = {p.name: evidence.epochs_to_target(p.runs, p.curves, baseline) for p in problems}
    variants = dict.fromkeys(variant for p in problems for variant in p.variants)
    found = {variant: evidence.profiles(reached, variant) for variant in variants}
    return pd.concat(found, names=["variant"]).reset_index(level=0).reset_index(drop=True)


def joined(frames: Frames) -> pd.DataFrame:
    """The frames of all problems under each other, ``problem`` as their first column."""
    some = {name: frame for name, frame in frames.items() if len(frame)} or dict(list(frames.items())[:1])
    return pd.concat(some, names=["problem"]).reset_index(level=0).reset_index(drop=True)


def files(report: Report) -> dict[str, bytes]:
    """Every file under ``reports/`` by its name."""
    style = page.style_of(report.problems)
    html, drawings = page.render(report.params, report.problems, report.tables, report.evidence)
    tabled = {name: csv(frame) for name, frame in report.tables.items()}
    return {
        **{f"{name}.csv": content for name, content in tabled.items()},
        "comparison.md": tables.markdown(report.tables["comparison"]).encode(),
        "metrics.json": results.as_json(tables.metrics(report.tables["comparison"])),
        "report.html": html.encode(),
        **{f"evidence/{name}.csv": csv(frame) for name, frame in report.evidence.items()},
        **{f"evidence/{n}.md": tables.markdown(f).encode() for n, f in report.evidence.items() if n not in LONG},
        **{f"figures/{name}.svg": figures.standalone(svg, style) for name, svg in drawings.items()},
        **{f"best/{name}.py": text.encode() for name, text in scripts(report)},
    }


def scripts(report: Report) -> Iterator[tuple[str, str]]:
    """For each problem the runnable file of its winner: the recommended configuration of the first in rank."""
    baseline = report.params.report.baseline
    for problem in report.problems:
        rows = report.tables["comparison"].query("problem == @problem.name")
        found = summary.findings(problem, rows, baseline)
        leaders = found[-1].leaders
        if leaders:
            recommended = {r.scheduler: r.run for r in recommendations(problem)}.get(leaders[0])
            own = problem.runs[(problem.runs["scheduler"] == leaders[0]) & (problem.runs["variant"] == found[-1].variant)]
            chosen = own[own["run"] == recommended] if recommended in set(own["run"]) else own
            run = {str(key): value for key, value in chosen.iloc[0].items()}
            yield problem.name, script(problem.name, problem.params, run, problem.batches, summary.verdict(problem, found))


def csv(frame: pd.DataFrame) -> bytes:
    """The frame as a CSV file's bytes; numbers to the last bit, NaN as nothing."""
    return frame.to_csv(index=False, lineterminator="\n").encode()
