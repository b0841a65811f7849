"""The whole report: every table, figure and script of it, and the page that shows them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from pipeline.analysis import evidence, figures, page, summary, tables
from pipeline.analysis.across import average_ranks, friedman
from pipeline.analysis.ends import ends
from pipeline.analysis.script import script
from pipeline.analysis.statistics import CRITERION, compare, tuning_gain
from pipeline.analysis.tables import Frames, ProblemResults, recommendations
from pipeline.config import files
from pipeline.config.params import Params, ReportParams
from pipeline.runs.executor import HERE, Workers


@dataclass(frozen=True)
class Report:
    """What is reported; ``tables`` and ``evidence`` (those of ``reports/evidence``) are of all problems together, by name."""

    params: Params
    problems: Sequence[ProblemResults]
    tables: Frames
    evidence: Frames


def assemble(params: Params, problems: Sequence[ProblemResults], workers: Workers = HERE) -> Report:
    """All tables of the report; ``workers`` help with the problems."""
    asked = params.report
    own = list(workers.map(partial(_tables_of, asked=asked), problems))
    comparison = joined({p.name: compared for p, (compared, _, _) in zip(problems, own, strict=True)})
    curves = joined({p.name: mean_curves for p, (_, mean_curves, _) in zip(problems, own, strict=True)})
    first = {"comparison": comparison, "curves": curves, "learning_rates": tables.learning_rates(curves, asked.every)}
    found = {p.name: proofs for p, (_, _, proofs) in zip(problems, own, strict=True)}
    more = {name: joined({problem: proofs[name] for problem, proofs in found.items()}) for name in next(iter(found.values()))}
    reached = {name: proofs["epochs_to_target"] for name, proofs in found.items()}
    return Report(params, problems, first, {**more, **across_problems(comparison, reached)})


def _tables_of(problem: ProblemResults, asked: ReportParams) -> tuple[pd.DataFrame, pd.DataFrame, Frames]:
    """A problem's comparison, mean curves and evidence."""
    compared = compare(problem.runs, asked.baseline, problem.overlap, asked.margin).assign(metric=problem.metric.name)
    return compared, tables.mean_curves(problem), evidence_of(problem, asked)


def evidence_of(problem: ProblemResults, asked: ReportParams) -> Frames:
    """A problem's tables of ``reports/evidence``, by name."""
    rho = problem.overlap.of(CRITERION)
    target = asked.target.get(problem.name, evidence.usual_loss(problem.runs, asked.baseline))
    reached = evidence.epochs_to_target(problem.runs, problem.curves, target)
    sensitivity, budgets = evidence.sensitivity(problem.sweep, rho), evidence.budgets(problem.sweep, rho)
    return {
        "gains": tuning_gain(problem.runs, problem.overlap),
        "recommended": tables.recommended(problem),
        "traps": tables.traps(problem),
        "epochs_to_target": reached,
        "targets": evidence.reached(reached).assign(target=target),
        "area": evidence.area(problem.curves, problem.runs, rho),
        "sensitivity": sensitivity,
        "widths": evidence.widths(sensitivity),
        "best_so_far": evidence.best_so_far(evidence.above_best(problem.trials)),
        "ends": ends(problem.trials),
        "importances": tables.mean_importances(problem.importances),
        "budgets": budgets,
        "winners": evidence.winners(budgets, problem.sweep, rho, asked.margin),
        "too_short": evidence.too_short(budgets),
    }


def across_problems(comparison: pd.DataFrame, reached: Frames) -> Frames:
    """The tables of ``reports/evidence`` that are of all problems together; ``reached`` are each one's epochs to the target."""
    variants = [str(variant) for variant in comparison["variant"].unique()]
    profiles = {variant: evidence.profiles(reached, variant) for variant in variants}
    scores = joined({variant: evidence.profile_score(table) for variant, table in profiles.items()}, "variant")
    tests = {variant: friedman(comparison, variant) for variant in variants}
    return {
        "profiles": joined(profiles, "variant"),
        "ranks": average_ranks(comparison).merge(scores, how="left"),
        "friedman": joined({variant: test.summary for variant, test in tests.items()}, "variant"),
        "nemenyi": joined({variant: test.pairs for variant, test in tests.items()}, "variant"),
    }


def joined(frames: Frames, name: str = "problem") -> pd.DataFrame:
    """The frames of all problems, or else ``name`` says of what, under each other; their keys are the first column."""
    some = {key: frame for key, frame in frames.items() if len(frame)} or dict(list(frames.items())[:1])
    return pd.concat(some, names=[name]).reset_index(level=0).reset_index(drop=True)


def report_files(report: Report, workers: Workers = HERE) -> dict[str, bytes]:
    """Every file under ``reports/`` by its name; ``workers`` help drawing."""
    style = page.style_of(report.problems)
    html, drawings = page.render(report.params, report.problems, report.tables, report.evidence, workers)
    tabled = {name: csv(frame) for name, frame in report.tables.items()}
    readable = {**report.evidence, "learning_rates": report.tables["learning_rates"]}
    return {
        **{f"{name}.csv": content for name, content in tabled.items()},
        "comparison.md": tables.markdown(report.tables["comparison"]).encode(),
        "metrics.json": files.json_file(tables.metrics(report.tables["comparison"])),
        "report.html": html.encode(),
        **{f"evidence/{name}.csv": csv(frame) for name, frame in report.evidence.items()},
        **{f"evidence/{name}.md": tables.markdown(frame).encode() for name, frame in readable.items()},
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
