"""The sentences that sum the numbers up, and the page's care with what users write."""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from pipeline.analysis import summary
from pipeline.analysis.assembled import assemble, report_files
from pipeline.analysis.choice import Choice, choices, last
from pipeline.analysis.evidence import sensitivity, widths
from pipeline.analysis.script import Data
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import ProblemResults, gather
from pipeline.catalogue import CATALOGUE
from pipeline.config.components import Component
from pipeline.config.params import Params, load_params
from pipeline.data.datasets import datasets
from pipeline.statistics.sequential import Plan

MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]
Losses = dict[tuple[str, str], list[float]]
NAN = float("nan")


@pytest.fixture
def sentences(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> Callable[[Losses], str]:
    def say(losses: Losses) -> str:
        runs = make_runs(losses)
        return " ".join(summary.finding(*found_in(params, runs, make_curves(runs, 2))))

    return say


def found_in(params: Params, runs: pd.DataFrame, curves: pd.DataFrame) -> tuple[ProblemResults, pd.DataFrame, str, Choice]:
    """The results that these runs are, how they compare with the baseline, and what is chosen."""
    results = gather("P", params.problems["P"], ["base"], [(runs, curves)])
    compared = compare(runs, "base")
    chosen = choices(results, compared, widths(sensitivity(results.sweep)), "base", 0.01)
    return results, compared, "base", last(chosen)


@pytest.mark.parametrize(
    ("losses", "headline"),
    [
        # surely the best
        ({"base": [0.5, 0.6, 0.7, 0.8], "A": [0.4, 0.501, 0.6, 0.7]}, "Take A: no other is better."),
        # both are surely close enough: the baseline is the simpler one
        (
            {"base": [0.501, 0.6012, 0.701, 0.8011], "A": [0.5, 0.6, 0.7, 0.8]},
            "Keep base: at most 0.2% worse than the best.",
        ),
        # nothing is sure: the least is at stake with A
        (
            {"base": [0.5, 0.6, 0.7, 0.8], "A": [0.6, 0.5, 0.6, 0.7]},
            # its mean difference is -0.05 ± 2.353 · 0.1 / √4, one-sided, and the lowest mean 0.6
            "Take A: at most 11.3% worse than the best, and no other is surer.",
        ),
        (
            {"base": [0.5], "A": [0.4]},
            "Take A: its loss is the lowest, but these runs cannot tell how much better another may be.",
        ),
        ({"base": [NAN, NAN], "A": [0.5, 0.6]}, "Take A: no other is better."),
        (
            {"base": [NAN, NAN, 0.9], "A": [0.5, NAN, 0.6]},
            "Take A: no other is better, though it diverged in 1 of 3 runs.",
        ),
        ({"base": [NAN, NAN], "A": [NAN, NAN]}, "No run finished: every scheduler diverged on every seed."),
    ],
)
def test_the_answer_comes_first(sentences: Callable[[Losses], str], losses: dict[str, list[float]], headline: str) -> None:
    assert sentences({("default", label): values for label, values in losses.items()}).startswith(headline)


def test_a_clear_lead_is_said_with_its_interval(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.3999, 0.5, 0.6001]})
    assert "Its mean validation loss is 0.5000 (95% interval 0.2513 to 0.7487), the lowest." in text
    assert "It is better than the baseline base: the difference is −0.1000 (95% interval −0.1002 to −0.0998)," in text
    assert "adjusted p below 0.001." in text
    assert "No other may be the best." in text


def test_a_lead_that_may_be_chance_is_said_to_be(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.6, 0.5, 0.6]})
    assert "Whether it beats the baseline base is open: the difference is −0.0333" in text
    assert "May be the best as well: base." in text


def test_fresh_seeds_are_not_counted_beside_those_of_the_studies(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    runs = make_runs({(variant, "base"): [0.5, 0.6, 0.7] for variant in ("default", "recommended")})
    runs.loc[runs["variant"] == "recommended", "seed"] += 1000
    results, compared, baseline, chosen = found_in(params, runs, make_curves(runs, 2))
    assert summary.conditions(results)["Seeds"] == "3 seeds, each with a split of its own"
    assert "3 seeds, each with a split of its own" in summary.verdict(results, compared, baseline, chosen)
    assert "Confirmed on" not in summary.conditions(results)


def test_of_a_race_the_seeds_of_both_are_told(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    runs = make_runs({("default", "base"): [0.5, 0.6], ("recommended", "base"): [0.5, 0.6, 0.7, 0.8, 0.9, 0.8]})
    results = gather("P", params.problems["P"], ["base"], [(runs, make_curves(runs, 2))], plan=Plan(2, 10))
    told = summary.conditions(results)
    assert told["Seeds"] == "2 seeds, each with a split of its own"
    assert told["Confirmed on"] == "6 fresh seeds of at most 10"


def test_of_many_schedulers_it_says_how_many(sentences: Callable[[Losses], str]) -> None:
    noise = {("default", label): [0.5, 0.6 + 0.01 * n, 0.7, 0.8] for n, label in enumerate("BCDE")}
    text = sentences({("default", "A"): [0.4, 0.5, 0.6, 0.9], **noise, ("default", "base"): [5.0, 5.1, 5.2, 5.3]})
    assert "May be the best as well: 4 of the 5 others." in text
    assert "all 4 others" in sentences({("default", "base"): [0.4, 0.5, 0.6, 0.9], **noise})


def test_only_what_is_unusual_about_an_optimizer_is_told(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves, tmp_path: Path
) -> None:
    runs = make_runs({("default", "base"): [0.5, 0.6]})
    results = gather("P", params.problems["P"], ["base"], [(runs, make_curves(runs, 2))])
    assert summary.conditions(results)["Optimizer"] == "SGD (lr 0.5)"
    (tmp_path / "more.yaml").write_text((tmp_path / "params.yaml").read_text().replace("lr: 0.5", "lr: 0.5, momentum: 0.9"))
    more = load_params(CATALOGUE, tmp_path / "more.yaml").problems["P"]
    assert summary.conditions(replace(results, params=more))["Optimizer"] == "SGD (lr 0.5, momentum 0.9)"


def test_divergence_is_said(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6], ("default", "A"): [0.1, NAN], ("default", "B"): [NAN, NAN]})
    assert text.startswith("Keep base: no other is better.")
    assert "A in 1 of 2 runs and B in 2 of 2 runs" in text
    many = {("default", label): [0.5, NAN] for label in "ABCD"}
    assert "less often: 4 of the 5 schedulers." in sentences({("default", "base"): [0.5, 0.6], **many})


def test_one_seed_claims_nothing(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5], ("default", "A"): [0.4]})
    assert "one seed: no interval" in text
    assert "zero" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.31234567, "0.3123"),
        (-0.5, "−0.5000"),
        (0, "0.0000"),
        (0.00012345, "0.00012"),
        (12345.6, "1.235e+04"),
        (NAN, "–"),
        (None, "–"),
    ],
)
def test_numbers_are_written_to_four_digits(value: float | None, text: str) -> None:
    assert summary.number(value) == text


def called(params: Params, *names: str) -> Params:
    """The same problem under other names."""
    return params.model_copy(update={"problems": dict.fromkeys(names, params.problems["P"])})


def test_what_users_write_is_escaped(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    evil = "<script>alert('x')</script>&\"$a_b$"
    runs = make_runs({(variant, label): [0.3, 0.4] for variant in ("default", "tuned") for label in ("base", evil)})
    runs["device"] = runs["dataset"] = evil
    best = {evil: {"name": evil, "lr": evil[:5] + "%", "args": {"a": evil}}}
    best[evil]["lr"] = "100%"
    results: ProblemResults = gather(evil, params.problems["P"], ["base", evil], [(runs, make_curves(runs, 2))], best=best)
    html = report_files(assemble(called(params, evil), [results]))["report.html"].decode().partition("<script>\n//")[0]
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_where_all_seeds_share_a_split_nothing_is_said_of_other_samples(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    runs = make_runs({("default", label): [0.3, 0.4, 0.5] for label in ("base", "A")})
    for resample in (True, False):
        problem = params.problems["P"].model_copy(update={"resample": resample})
        report = assemble(params, [gather("P", problem, ["base", "A"], [(runs, make_curves(runs, 2))])])
        assert report.tables["comparison"]["like_these_bound"].notna().all() == resample
        assert report.tables["comparison"]["like_these_verdict"].astype(bool).all() == resample
        html = report_files(report)["report.html"].decode()
        assert html.count("on other samples from the same source") == 2 * resample
        assert html.count("one split that all seeds share") == 2 * (not resample)


def test_without_a_sweep_its_tables_are_there_and_empty(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    runs = make_runs({("default", label): [0.3, 0.4] for label in ("base", "A")})
    results = gather("P", params.problems["P"], ["base", "A"], [(runs, make_curves(runs, 2))])
    written = report_files(assemble(params.model_copy(update={"sweep": None}), [results]))
    assert "sweep: none" in written["report.html"].decode()
    assert not any("budget" in name for name in written if name.startswith("figures/"))
    for name in ("budgets", "winners", "budget_rates", "growth", "sensitivity"):
        table = pd.read_csv(BytesIO(written[f"evidence/{name}.csv"]))
        assert len(table) == 0
        assert len(table.columns) > 5


def test_on_several_problems_page_and_answer_say_whether_one_scheduler_does(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    runs = make_runs({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.5, 0.601, 0.7]})
    both = [gather(name, params.problems["P"], ["base", "A"], [(runs, make_curves(runs, 2))]) for name in ("P", "Q")]
    said = "base does for all 2 problems: at most "
    for number, problems in enumerate([both[:1], both], 1):
        written = report_files(assemble(called(params, *(problem.name for problem in problems)), problems))
        assert json.loads(written["answer.json"])["together"].startswith(said) == (number == 2)
        assert (said[1:] in written["report.html"].decode()) == (number == 2)


@pytest.mark.parametrize(
    ("has_own_loop", "following"), [(False, "try it: python"), pytest.param(True, "paste it:", marks=pytest.mark.slow)]
)
def test_where_nothing_is_learned_the_file_to_take_says_so_at_its_head(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves, has_own_loop: bool, following: str
) -> None:
    runs = make_runs({("default", "base"): [0.5, 0.6, 0.7, 0.8], ("default", "A"): [0.9, 1.1, 1.2, 1.2]})
    same = pd.DataFrame({"seed": range(4), "validation_loss": 0.6, "validation_metric": 0.4})
    more = {"constant": same, "data": Data(has_own_loop=has_own_loop)}
    results = gather("P", params.problems["P"], ["base", "A"], [(runs, make_curves(runs, 2))], **more)
    written = report_files(assemble(params, [results]))
    head, other = (" ".join((ast.get_docstring(ast.parse(written[f"best/{name}.py"])) or "").split()) for name in ("P", "P/A"))
    assert "But nothing is learned: validation loss (0.6500) and accuracy (35.0%), no better than the same answer" in head
    assert "is learned" not in other
    assert json.loads(written["answer.json"])["next"][0] == f"{following} reports/best/P.py"


@pytest.mark.usefixtures("few_draws")
@pytest.mark.usefixtures("few_draws")
@pytest.mark.slow
def test_the_test_across_problems_is_told_for_every_variant(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    """Five problems that agree on the default order, and on none of the tuned; Own is a scheduler of one of them alone."""
    problems = []
    for n in range(5):
        labels = ["base", "A", "B", "C"]
        default = {("default", label): [0.5 + place, 0.6 + place] for place, label in enumerate(labels)}
        tuned = {("tuned", label): [0.5 + (place + n) % 4, 0.6] for place, label in enumerate(labels)}
        own = {("default", "Own"): [0.1, 0.2]} if n == 0 else {}
        runs = make_runs({**default, **own, **tuned})
        problems.append(gather(f"P{n}", params.problems["P"], [*labels, "Own"], [(runs, make_curves(runs, 2))]))
    written = report_files(assemble(called(params, *(f"P{n}" for n in range(5))), problems))
    page = " ".join(written["report.html"].decode().split())
    # Chi-squared is 5 · 3 = 15 with 3 degrees of freedom where all agree: p = 0.0018.
    assert "Default: Friedman's test of 4 schedulers on 5 problems says p = 0.002: they do not all rank alike." in page
    assert re.search(r"Tuned: Friedman's test of 4 schedulers on 5 problems says p = 0\.\d+: no difference between", page)
    assert page.count("With so few problems p is rough") == 1
    # 1 to 4 are the ranks that were tested; with Own, base would be at 1.2.
    assert "critical difference 2.10: base 1.00, A 2.00, B 3.00, C 4.00" in page
    assert 'aria-label="Average ranks: ' in page
    across = pd.read_csv(BytesIO(written["evidence/across.csv"]))
    combined = across[across["variant"] == "default"].set_index("scheduler")
    # A's relative difference is 1 of 0.55 on each problem, with no spread; Own is of one problem alone.
    assert combined["difference"].dropna().to_dict() == pytest.approx({"A": 1 / 0.55, "B": 2 / 0.55, "C": 3 / 0.55})
    assert combined[["missing", "problems"]].drop_duplicates().to_numpy().tolist() == [[0, 5]]
    assert combined["in_set"].to_dict() == {"base": True, "A": False, "B": False, "C": False}
    tests = pd.read_csv(BytesIO(written["evidence/friedman.csv"]))
    assert tests[["variant", "problems", "schedulers", "missing"]].to_numpy().tolist() == [
        ["default", 5, 4, 0],
        ["tuned", 5, 4, 0],
    ]
    assert len(pd.read_csv(BytesIO(written["evidence/nemenyi.csv"]))) == 2 * 6
    assert {"figures/all-average-ranks-default.svg", "figures/all-average-ranks-tuned.svg"} < set(written)


@pytest.mark.parametrize(
    ("metric", "shown"),
    [("AUROC", "AUROC of 'sick'"), ("AveragePrecision", "average precision of 'sick'"), ("Accuracy", "accuracy")],
)
def test_a_metric_that_looks_at_one_class_names_it(
    metric: str, shown: str, params: Params, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    runs = make_runs({("default", "base"): [0.5, 0.6]}).assign(metric=metric)
    data = Data(positive="sick", remarks=("? taken as missing",))
    results = gather("P", params.problems["P"], ["base"], [(runs, make_curves(runs, 2))], data=data)
    assert results.metric.display == shown
    assert summary.conditions(results)["Read as"] == "? taken as missing"


def test_of_a_file_what_was_asked_is_told(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    arguments = datasets["file"].complete({"path": "my.csv", "target": "y", "missing": "impute"})
    of_file = params.problems["P"].model_copy(update={"dataset": Component("file", arguments)})
    runs = make_runs({("default", "base"): [0.5, 0.6]})
    results = gather("P", of_file, ["base"], [(runs, make_curves(runs, 2))])
    assert summary.conditions(results)["Data"] == "file (path my.csv, target y, missing impute)"
