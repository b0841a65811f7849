"""The whole report: every table, figure and script of it, and the page that shows them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from pipeline.analysis import choice, evidence, figures, noise, page, racing, summary, tables
from pipeline.analysis.across import average_ranks, combined, friedman
from pipeline.analysis.choice import Choices, choices, last
from pipeline.analysis.ends import ends
from pipeline.analysis.epochs import judged, last_or_best
from pipeline.analysis.script import script
from pipeline.analysis.statistics import CRITERION, Headline, compare, matrices, tuning_gain
from pipeline.analysis.tables import Frames, ProblemResults
from pipeline.config import files
from pipeline.config.params import Params, ReportParams
from pipeline.runs.executor import HERE, Workers


@dataclass(frozen=True)
class Report:
    """What is reported; ``tables`` and ``evidence`` (those of ``reports/evidence``) are of all problems together, by name.

    ``choices`` are each problem's recommendations.
    """

    params: Params
    problems: Sequence[ProblemResults]
    tables: Frames
    evidence: Frames
    choices: Mapping[str, Choices]


def assemble(params: Params, problems: Sequence[ProblemResults], workers: Workers = HERE) -> Report:
    """All tables of the report; ``workers`` help with the problems."""
    asked = params.report
    problems = [judged(problem, asked.at) for problem in problems]
    compared, mean_curves, proofs, chosen = zip(*workers.map(partial(_tables_of, asked=asked), problems), strict=True)
    names = [problem.name for problem in problems]
    comparison = joined(dict(zip(names, compared, strict=True)))
    curves = joined(dict(zip(names, mean_curves, strict=True)))
    first = {"comparison": comparison, "curves": curves, "learning_rates": tables.learning_rates(curves, asked.every)}
    found = dict(zip(names, proofs, strict=True))
    more = {name: joined({problem: own[name] for problem, own in found.items()}) for name in proofs[0]}
    reached = {name: own["epochs_to_target"] for name, own in found.items()}
    evidence_of_all = {**more, **across_problems(comparison, reached), "across": _combined(problems, asked)}
    return Report(params, problems, first, evidence_of_all, dict(zip(names, chosen, strict=True)))


def _tables_of(problem: ProblemResults, asked: ReportParams) -> tuple[pd.DataFrame, pd.DataFrame, Frames, Choices]:
    """A problem's comparison, mean curves, evidence and recommendations."""
    headline = Headline(problem.metric.higher_is_better, asked.metric_margin)
    compared = compare(problem.runs, asked.baseline, problem.overlap, asked.margin, headline, problem.plan)
    compared = compared.assign(metric=problem.metric.name)
    proofs = evidence_of(problem, asked)
    chosen = choices(problem, compared, proofs["widths"], asked.baseline, asked.margin)
    settle = noise.settle(problem, compared, last(chosen), asked.baseline, asked.margin)
    return compared, tables.mean_curves(problem), {**proofs, "choices": choice.table(chosen), "settle": settle}, chosen


def evidence_of(problem: ProblemResults, asked: ReportParams) -> Frames:
    """A problem's tables of ``reports/evidence``, by name."""
    rho = problem.overlap.of(CRITERION)
    target = asked.target.get(problem.name, evidence.usual_loss(problem.runs, asked.baseline))
    reached = evidence.epochs_to_target(problem.runs, problem.curves, target)
    sensitivity, spent = evidence.sensitivity(problem.sweep, rho), evidence.with_full_budget(problem.sweep, problem.runs)
    budgets = evidence.budgets(spent, rho)
    return {
        "looks": racing.looks(problem, asked.baseline, asked.margin),
        "last_or_best": last_or_best(problem, asked),
        "gains": tuning_gain(problem.runs, problem.overlap),
        "recommended": tables.recommended(problem),
        "traps": tables.traps(problem),
        "epochs_to_target": reached,
        "targets": evidence.reached(reached).assign(target=target),
        "area": evidence.area(problem.curves, problem.runs, rho),
        "sensitivity": sensitivity,
        "widths": evidence.widths(sensitivity),
        "best_so_far": evidence.best_so_far(evidence.above_best(problem.trials)),
        "selection": evidence.selection(problem.reruns),
        "ends": ends(problem.trials),
        "noise": noise.noise(problem),
        "importances": tables.mean_importances(problem.importances),
        "budgets": budgets,
        "budget_rates": evidence.budget_rates(problem.sweep),
        "winners": evidence.winners(budgets, spent, rho),
        "winners_by_trials": evidence.winners_by_trials(problem.trials, rho),
        "growth": evidence.growth(spent, rho),
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


def _combined(problems: Sequence[ProblemResults], asked: ReportParams) -> pd.DataFrame:
    """The relative differences over problems, of each variant that all of them have."""
    variants = [variant for variant in problems[0].variants if all(variant in problem.variants for problem in problems)]
    found = {}
    for variant in variants:
        runs = {problem.name: problem.runs[problem.runs["variant"] == variant] for problem in problems}
        losses = {p.name: (matrices(runs[p.name]), p.overlap.of(CRITERION)) for p in problems}
        found[variant] = combined(losses, asked.baseline, asked.margin)
    return joined(found, "variant")


def joined(frames: Frames, name: str = "problem") -> pd.DataFrame:
    """The frames of all problems, or else ``name`` says of what, under each other; their keys are the first column."""
    some = {key: frame for key, frame in frames.items() if len(frame)} or dict(list(frames.items())[:1])
    return pd.concat(some, names=[name]).reset_index(level=0).reset_index(drop=True)


def report_files(report: Report, workers: Workers = HERE) -> dict[str, bytes]:
    """Every file under ``reports/`` by its name; ``workers`` help drawing."""
    style = page.style_of(report.problems)
    html, drawings = page.render(report.params, report.problems, report.tables, report.evidence, report.choices, workers)
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
    """For each problem the runnable file of what is recommended."""
    for problem in report.problems:
        chosen = report.choices[problem.name]
        of_run = problem.runs[problem.runs["run"] == last(chosen).run].to_dict("records")
        if of_run:
            rows = report.tables["comparison"].query("problem == @problem.name")
            said = summary.verdict(problem, summary.findings(problem, rows, report.params.report.baseline, chosen))
            run = {str(key): value for key, value in of_run[0].items()}
            yield problem.name, script(problem.name, problem.params, run, problem.batches, said, problem.data)


def csv(frame: pd.DataFrame) -> bytes:
    """The frame as a CSV file's bytes; numbers to the last bit, NaN as nothing."""
    return frame.to_csv(index=False, lineterminator="\n").encode()
