"""The whole report: every table, figure and script of it, and the page that shows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline import results
from pipeline.analysis import evidence, figures, page, summary, tables
from pipeline.analysis.across import average_ranks
from pipeline.analysis.script import script
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import Frames, ProblemResults, recommendations
from pipeline.params import Params

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
    comparison = joined({p.name: compare(p.runs, baseline, p.overlap, matters).assign(metric=p.metric.name) for p in problems})
    curves = joined({p.name: tables.mean_curves(p) for p in problems})
    first = {"comparison": comparison, "curves": curves, "learning_rates": tables.learning_rates(curves, params.report.every)}
    found = {p.name: evidence_of(p, baseline) for p in problems}
    more = {name: joined({problem: own[name] for problem, own in found.items()}) for name in next(iter(found.values()))}
    more |= {"profiles": profiles(problems, found), "ranks": average_ranks(comparison)}
    return Report(params, problems, first, more)


def evidence_of(problem: ProblemResults, baseline: str) -> Frames:
    """A problem's tables of ``reports/evidence``, by name."""
    reached = evidence.epochs_to_target(problem.runs, problem.curves, baseline)
    sensitivity, budgets = evidence.sensitivity(problem.sweep), evidence.budgets(problem.sweep)
    return {
        "epochs_to_target": reached,
        "targets": evidence.reached(reached),
        "area": evidence.area(problem.curves, problem.runs),
        "sensitivity": sensitivity,
        "widths": evidence.widths(sensitivity),
        "best_so_far": evidence.best_so_far(evidence.above_best(problem.trials)),
        "importances": tables.mean_importances(problem.importances),
        "budgets": budgets,
        "winners": evidence.winners(budgets),
    }


def profiles(problems: Sequence[ProblemResults], found: Mapping[str, Frames]) -> pd.DataFrame:
    """Performance profiles over all problems and seeds, one for each variant; ``found`` is each problem's evidence."""
    reached = {name: own["epochs_to_target"] for name, own in found.items()}
    variants = dict.fromkeys(variant for p in problems for variant in p.variants)
    of_variant = {variant: evidence.profiles(reached, variant) for variant in variants}
    return pd.concat(of_variant, names=["variant"]).reset_index(level=0).reset_index(drop=True)


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
            yield (
                problem.name,
                script(problem.name, problem.params, run, problem.batches, summary.verdict(problem, found), problem.data),
            )


def csv(frame: pd.DataFrame) -> bytes:
    """The frame as a CSV file's bytes; numbers to the last bit, NaN as nothing."""
    return frame.to_csv(index=False, lineterminator="\n").encode()
