"""The sentences that sum the numbers up, and the page's care with what users write."""

import re
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest

from pipeline.analysis import summary
from pipeline.analysis.assembled import assemble, report_files
from pipeline.analysis.script import Data
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import ProblemResults, gather
from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Component, Params, load_params
from pipeline.data.datasets import datasets

MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]
Losses = dict[tuple[str, str], list[float]]
NAN = float("nan")


@pytest.fixture
def params(tmp_path: Path) -> Params:
    path = tmp_path / "params.yaml"
    path.write_text(
        "seeds: 2\n"
        "problems:\n"
        "  P: {dataset: {name: digits}, model: {name: linear}, optimizer: {name: SGD, lr: 0.5}, epochs: 3, batch_size: 8}\n"
        "schedulers: {base: {name: ConstantLR}}\n"
        "report: {baseline: base}\n"
    )
    return load_params(CATALOGUE, path)


@pytest.fixture
def sentences(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> Callable[[Losses], str]:
    def say(losses: Losses) -> str:
        runs = make_runs(losses)
        results = gather("P", params.problems["P"], ["base"], [(runs, make_curves(runs, 2))])
        found = summary.findings(results, compare(runs, "base"), "base")
        return " ".join([found[-1].headline, *found[-1].sentences])

    return say


@pytest.mark.parametrize(
    ("losses", "headline"),
    [
        ({"base": [0.5, 0.6, 0.7], "A": [0.4, 0.501, 0.6]}, "Use A: better than base, beyond the luck of the seeds."),
        # B is half a thousandth behind, and less than one percent of A's half matters
        (
            {"base": [0.5, 0.6, 0.7], "A": [0.4, 0.501, 0.6], "B": [0.4005, 0.5015, 0.6005]},
            "Use A or, practically equal to it, B: better than base, beyond the luck of the seeds.",
        ),
        (
            {"base": [0.5, 0.6, 0.7], **{label: [0.4, 0.501, 0.6 + 1e-4 * place] for place, label in enumerate("ABCDE")}},
            "Use A or, practically equal to it, any of 4 others: better than base, beyond the luck of the seeds.",
        ),
        # B is practically equal to A, but that it is better than the baseline is not shown
        (
            {
                "base": [0.5, 0.6, 0.7, 0.8, 0.9],
                "A": [0.4925, 0.5924, 0.6926, 0.7924, 0.8926],
                "B": [0.4985, 0.5914, 0.6981, 0.7914, 0.8956],
                "C": [0.9, 0.9, 0.9, 0.9, 0.9],
            },
            "Use A: better than base, beyond the luck of the seeds.",
        ),
        ({"base": [0.5, 0.6, 0.7], "A": [0.501, 0.601, 0.701]}, "Take any: all 2 schedulers are practically equal here."),
        ({"base": [0.4, 0.5, 0.6], "A": [0.5, 0.6, 0.7]}, "Keep base: no schedule is shown to do better."),
        ({"base": [0.5, 0.6, 0.7], "A": [0.6, 0.5, 0.6]}, "A leads, but that it beats base is not settled."),
        (
            {"base": [0.5, 0.6, 0.7], "A": [0.4995, 0.5995, 0.6995], "B": [0.9, 0.9, 0.9]},
            "A leads, practically equal to base.",
        ),
        # the lowest mean only because it missed the hard seed, where base missed the easy one
        (
            {"base": [NAN, 0.60, 0.70, 0.81, 0.90, 1.5], "A": [0.10, 0.80, 0.91, 1.00, 1.10, NAN]},
            "Keep base: on the seeds that both finished it is better than A, whose mean is the lowest, though A diverged",
        ),
        (
            {"base": [NAN, 0.60, 0.70, 0.81, 0.90], "A": [0.50, 0.51, 0.60, 0.70, NAN]},
            "Use A: better than base, beyond the luck of the seeds, though A diverged in 1 of 5 runs.",
        ),
        ({"base": [NAN, NAN], "A": [0.5, 0.6]}, "A leads, with no finished run of base to compare it with."),
    ],
)
def test_the_answer_comes_first(sentences: Callable[[Losses], str], losses: dict[str, list[float]], headline: str) -> None:
    assert sentences({("default", label): values for label, values in losses.items()}).startswith(headline)


def test_a_clear_lead_is_said_with_its_interval(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.3999, 0.5, 0.6001]})
    assert "A has the lowest mean validation loss, 0.5000 (95% interval 0.2513 to 0.7487)." in text
    assert "It is better than the baseline base: the difference is −0.1000 (95% interval −0.1002 to −0.0998)," in text
    assert "Holm-adjusted p below 0.001." in text
    assert "Worse than A, beyond the luck of the seeds: base." in text


def test_a_lead_that_may_be_chance_is_said_to_be(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.6, 0.5, 0.6]})
    assert "Whether it beats the baseline base is not settled" in text
    assert "Not told apart from A by these seeds: base." in text


def test_a_leading_baseline_says_that_no_schedule_helps(sentences: Callable[[Losses], str]) -> None:
    assert "no scheduler does better" in sentences({("default", "base"): [0.1, 0.2], ("default", "A"): [0.3, 0.4]})


def test_how_many_seeds_it_takes_is_said_with_its_condition(sentences: Callable[[Losses], str]) -> None:
    """Two to three standard deviations off zero: a few more seeds; about zero: more than anybody has."""
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.4, 0.4, 0.65]})
    told = r"About \d seeds in all would settle it with a chance of four in five, if the observed difference and spread are"
    assert re.search(told, text)
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.4, 0.599, 0.8]})
    assert "More than 1000 seeds in all would settle it with a chance of" in text
    assert "overlap" not in text


@pytest.mark.parametrize(
    ("seeds", "overlap", "said"),
    [
        (23, 0.2, "about 23 seeds"),
        (1000, 0, "about 1000 seeds"),
        (1001, 0.2, "more than 1000 seeds"),
        (float("inf"), 0.2, "more data, not more seeds"),
        (float("inf"), 0, "more than 1000 seeds"),  # splits that share nothing are no reason
    ],
)
def test_seeds_needed_in_words(seeds: float, overlap: float, said: str) -> None:
    assert summary.in_seeds(seeds, overlap) == said


def test_fresh_seeds_are_not_counted_beside_those_of_the_studies(
    params: Params, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    runs = make_runs({(variant, "base"): [0.5, 0.6, 0.7] for variant in ("default", "recommended")})
    runs.loc[runs["variant"] == "recommended", "seed"] += 1000
    results = gather("P", params.problems["P"], ["base"], [(runs, make_curves(runs, 2))])
    assert summary.conditions(results)["Seeds"] == "3 seeds, each with a split of its own"
    found = summary.findings(results, compare(runs, "base"), "base")
    assert "This holds for 3 seeds, on cpu" in summary.overview([results], found[-1:], "base")


def test_of_many_schedulers_it_says_how_many(sentences: Callable[[Losses], str]) -> None:
    noise = {("default", label): [0.5, 0.6 + 0.01 * n, 0.7, 0.8] for n, label in enumerate("BCDE")}
    text = sentences({("default", "A"): [0.4, 0.5, 0.6, 0.9], **noise, ("default", "base"): [5.0, 5.1, 5.2, 5.3]})
    assert "Not told apart from A by these seeds: 4 of the 5 others." in text
    assert "Worse than A, beyond the luck of the seeds: base." in text
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


def test_equals_share_the_lead(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6], ("default", "A"): [0.1, 0.2], ("default", "B"): [0.1, 0.2]})
    assert "A and B share the lowest mean validation loss, 0.1500" in text


def test_divergence_is_said(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6], ("default", "A"): [0.1, NAN], ("default", "B"): [NAN, NAN]})
    assert "base has the lowest" in text
    assert "A in 1 of 2 runs and B in 2 of 2 runs" in text
    assert "No run finished" in sentences({("default", "base"): [NAN, NAN]})
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


def test_what_users_write_is_escaped(params: Params, make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    evil = "<script>alert('x')</script>&\"$a_b$"
    runs = make_runs({(variant, label): [0.3, 0.4] for variant in ("default", "tuned") for label in ("base", evil)})
    runs["device"] = runs["dataset"] = evil
    best = {evil: {"name": evil, "lr": evil[:5] + "%", "args": {"a": evil}}}
    best[evil]["lr"] = "100%"
    results: ProblemResults = gather(evil, params.problems["P"], ["base", evil], [(runs, make_curves(runs, 2))], best=best)
    html = report_files(assemble(params, [results]))["report.html"].decode().partition("<script>\n//")[0]
    assert "<script" not in html
    assert "&lt;script&gt;" in html


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
    written = report_files(assemble(params, problems))
    page = " ".join(written["report.html"].decode().split())
    # Chi-squared is 5 · 3 = 15 with 3 degrees of freedom where all agree: p = 0.0018.
    assert "Default: Friedman's test of 4 schedulers on 5 problems says p = 0.002: they do not all rank alike." in page
    assert re.search(r"Tuned: Friedman's test of 4 schedulers on 5 problems says p = 0\.\d+: no difference between", page)
    assert page.count("With so few problems p is rough") == 1
    # 1 to 4 are the ranks that were tested; with Own, base would be at 1.2.
    assert "critical difference 2.10: base 1.00, A 2.00, B 3.00, C 4.00" in page
    assert 'aria-label="Average ranks: ' in page
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
