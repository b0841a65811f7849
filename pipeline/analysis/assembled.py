"""The whole report: every table, figure and script of it, and the page that shows them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.analysis import choice, evidence, figures, noise, page, racing, summary, tables
from pipeline.analysis.across import Friedman, average_ranks, combined, friedman
from pipeline.analysis.answer import NARROWED_BY, Answer, answer_to, next_steps
from pipeline.analysis.choice import Choices, choices, last
from pipeline.analysis.configurations import Configuration, configuration
from pipeline.analysis.ends import ends
from pipeline.analysis.epochs import judged, last_or_best, turned
from pipeline.analysis.page import Report
from pipeline.analysis.script import script
from pipeline.analysis.snippet import pasted, snippet
from pipeline.analysis.statistics import CRITERION, LIKE_THESE, Headline, compare, matrices, tuning_gain
from pipeline.analysis.tables import Frames, ProblemResults
from pipeline.config import files
from pipeline.config.params import Params, ReportParams
from pipeline.runs.executor import HERE, Workers


def assemble(params: Params, problems: Sequence[ProblemResults], workers: Workers = HERE) -> Report:
    """All tables of the report; ``workers`` help with the problems."""
    asked = params.report
    problems = [judged(problem, asked.at) for problem in problems]
    found = dict(zip([p.name for p in problems], workers.map(partial(_found, asked=asked), problems), strict=True))
    comparison = joined({name: own.comparison for name, own in found.items()})
    curves = joined({name: own.curves for name, own in found.items()})
    own_tables = {name: own.evidence for name, own in found.items()}
    proofs = {table: joined({name: own[table] for name, own in own_tables.items()}) for table in own_tables[problems[0].name]}
    reached = {name: own["epochs_to_target"] for name, own in own_tables.items()}
    tests = {str(variant): friedman(comparison, str(variant)) for variant in comparison["variant"].unique()}
    return Report(
        params,
        problems,
        {"comparison": comparison, "curves": curves, "learning_rates": tables.learning_rates(curves, asked.every)},
        {**proofs, **across_problems(comparison, reached, tests), "across": _combined(problems, asked)},
        {name: own.choices for name, own in found.items()},
        {name: own.answer for name, own in found.items()},
        tests,
    )


class Found(NamedTuple):
    """What the results of one problem come to."""

    comparison: pd.DataFrame
    curves: pd.DataFrame
    evidence: Frames
    choices: Choices
    answer: Answer


def _found(problem: ProblemResults, asked: ReportParams) -> Found:
    headline = Headline(problem.metric.higher_is_better, asked.metric_margin)
    compared = compare(problem.runs, asked.baseline, problem.overlap, asked.margin, headline, problem.plan)
    compared = compared.assign(metric=problem.metric.name)
    if not problem.params.resample:  # one split says nothing of other samples
        unknown: dict[str, Any] = {f"like_these_{name}": "" if name == "verdict" else np.nan for name in LIKE_THESE}
        compared = compared.assign(**unknown)
    proofs = evidence_of(problem, asked, compared)
    chosen = choices(problem, compared, proofs["widths"], asked.baseline, asked.margin)
    told = turned(proofs["last_or_best"], asked, last(chosen).variant, last(chosen).scheduler)
    answer = answer_to(problem, compared, proofs["widths"], last(chosen), asked.baseline, told)
    settle = noise.settle(problem, compared, last(chosen), asked.baseline, asked.margin)
    more = {"choices": choice.table(chosen), "settle": settle}
    return Found(compared, tables.mean_curves(problem), {**proofs, **more}, chosen, answer)


def evidence_of(problem: ProblemResults, asked: ReportParams, compared: pd.DataFrame) -> Frames:
    """A problem's tables of ``reports/evidence``, by name; ``compared`` is its comparison at the epoch that is judged."""
    rho = problem.overlap.of(CRITERION)
    target = asked.target.get(problem.name, evidence.usual_loss(problem.runs, asked.baseline))
    reached = evidence.epochs_to_target(problem.runs, problem.curves, target)
    sensitivity = evidence.sensitivity(problem.sweep, rho)
    spent = evidence.with_full_budget(problem.sweep, judged(problem, "last").runs)  # shorter budgets have no other epoch
    budgets = evidence.budgets(spent, rho)
    return {
        "looks": racing.looks(problem, asked.baseline, asked.margin),
        "last_or_best": last_or_best(problem, asked, compared),
        "gains": tuning_gain(problem.runs),
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
        "winners": evidence.winners(budgets, spent),
        "winners_by_trials": evidence.winners_by_trials(problem.trials, rho),
        "growth": evidence.growth(spent, rho),
        "too_short": evidence.too_short(budgets),
    }


def across_problems(comparison: pd.DataFrame, reached: Frames, tests: Mapping[str, Friedman]) -> Frames:
    """The tables of ``reports/evidence`` that are of all problems together; ``reached`` are each one's epochs to the target."""
    profiles = {variant: evidence.profiles(reached, variant) for variant in tests}
    scores = joined({variant: evidence.profile_score(table) for variant, table in profiles.items()}, "variant")
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
        losses = {problem.name: matrices(problem.runs[problem.runs["variant"] == variant]) for problem in problems}
        found[variant] = combined(losses, asked.baseline, asked.margin)
    return joined(found, "variant")


def joined(frames: Frames, name: str = "problem") -> pd.DataFrame:
    """The frames of all problems, or else ``name`` says of what, under each other; their keys are the first column."""
    some = {key: frame for key, frame in frames.items() if len(frame)} or dict(list(frames.items())[:1])
    return pd.concat(some, names=[name]).reset_index(level=0).reset_index(drop=True)


def report_files(report: Report, workers: Workers = HERE) -> dict[str, bytes]:
    """Every file under ``reports/`` by its name; ``workers`` help drawing."""
    style = page.style_of(report.problems)
    html, drawings = page.render(report, workers)
    tabled = {name: csv(frame) for name, frame in report.tables.items()}
    readable = {**report.evidence, "learning_rates": report.tables["learning_rates"]}
    return {
        **{f"{name}.csv": content for name, content in tabled.items()},
        "comparison.md": tables.markdown(tables.readable(report.tables["comparison"])).encode(),
        "metrics.json": files.json_file(tables.metrics(report.tables["comparison"], figures_of(report))),
        "answer.json": files.json_file(answers_of(report)),
        "report.html": html.encode(),
        **{f"evidence/{name}.csv": csv(frame) for name, frame in report.evidence.items()},
        **{f"evidence/{name}.md": tables.markdown(frame).encode() for name, frame in readable.items()},
        **{f"figures/{name}.svg": figures.standalone(svg, style) for name, svg in drawings.items()},
        **{f"best/{name}.py": text.encode() for name, text in scripts(report)},
    }


def answers_of(report: Report) -> dict[str, Any]:
    """What ``reports/answer.json`` holds: each problem's answer, what holds for all together, and what to try next."""
    found, settle = list(report.answers.values()), report.evidence.get("settle", pd.DataFrame())
    due_to = {row["problem"]: row["settled_by"] for row in tables.records(settle) if row["settled_by"] in NARROWED_BY}
    enough = {row["problem"]: (row["enough_low"], row["enough_high"]) for row in tables.records(settle)}
    own = {problem.name for problem in report.problems if problem.data.has_own_loop}
    problems = [answer.as_json() for answer in found]
    return {"problems": problems, "together": report.together, "next": next_steps(found, due_to, enough, own)}


def figures_of(report: Report) -> dict[str, tuple[str, str | None, dict[str, float]]]:
    """Of each problem the variant and the scheduler that ``metrics.json`` is about, and what the comparison has not."""
    of_runs = {problem.name: problem.runs.set_index("run")["lr"] for problem in report.problems}
    chosen = {name: last(found) for name, found in report.choices.items()}
    return {
        name: (own.variant, own.scheduler, {"tolerance": own.tolerance, "lr": float(of_runs[name].get(own.run, math.nan))})
        for name, own in chosen.items()
    }


def scripts(report: Report) -> Iterator[tuple[str, str]]:
    """Runnable files: ``P`` is what is recommended for a problem, ``P/LABEL`` each of its schedulers."""
    for problem in report.problems:
        chosen = report.choices[problem.name]
        rows = report.tables["comparison"].query("problem == @problem.name")
        for label in problem.labels:
            found = configuration(report.params, problem, chosen, label)
            if found is None:
                continue
            if label != last(chosen).scheduler:
                yield f"{problem.name}/{label}", _file(problem, found, _beside(rows, found.run, last(chosen).scheduler))
                continue
            said = summary.verdict(problem, rows, report.params.report.baseline, last(chosen))
            but = f"But {learned}. " if (learned := report.answers[problem.name].learned) else ""
            text = _file(problem, found, f"{but}{said}", ": the recommended one")
            yield from ((f"{problem.name}/{label}", text), (problem.name, text))


def _file(problem: ProblemResults, found: Configuration, said: str, standing: str = "") -> str:
    """What trains a configuration, or what of it is to be pasted where the training is the user's own."""
    given = problem.params, found.run, problem.batches
    if problem.data.has_own_loop:
        title = f"{found.run['scheduler']} on {problem.name}{standing}"
        return pasted(title, said, snippet(*given, found.warmup))
    return script(problem.name, *given, said, problem.data, warmup=found.warmup, standing=standing)


def _beside(rows: pd.DataFrame, run: Mapping[str, Any], recommended: str | None) -> str:
    """What is said of a configuration that is not the recommended one."""
    row = rows[(rows["scheduler"] == run["scheduler"]) & (rows["variant"] == run["variant"])].iloc[0]
    loss, bound = row["validation_loss"], row["regret_bound"]
    found = f"Validation loss {loss:.4g} ({run['variant']}), on average over seeds"
    found += f", and at most {summary.at_most(bound)} above the best" if np.isfinite(bound) else ""
    return f"{found}; {recommended}.py beside it is the recommended one." if recommended else f"{found}."


def csv(frame: pd.DataFrame) -> bytes:
    """The frame as a CSV file's bytes; numbers to the last bit, NaN as nothing."""
    return frame.to_csv(index=False, lineterminator="\n").encode()
