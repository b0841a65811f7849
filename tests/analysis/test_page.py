"""The sentences that sum the numbers up, and the page's care with what users write."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pipeline.analysis import summary
from pipeline.analysis.assembled import assemble, files
from pipeline.analysis.statistics import compare
from pipeline.analysis.tables import ProblemResults, gather
from pipeline.catalogue import CATALOGUE
from pipeline.params import Params, load_params

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
        ({"base": [0.5, 0.6, 0.7], "A": [0.4, 0.5, 0.6]}, "Use A: better than base, beyond the luck of the seeds."),
        # B is half a thousandth behind, and less than one percent of A's half matters
        (
            {"base": [0.5, 0.6, 0.7], "A": [0.4, 0.5, 0.6], "B": [0.4005, 0.5005, 0.6005]},
            "Use A or, practically equal to it, B: better than base, beyond the luck of the seeds.",
        ),
        (
            {"base": [0.5, 0.6, 0.7], **{label: [0.4, 0.5, 0.6 + 1e-4 * place] for place, label in enumerate("ABCDE")}},
            "Use A or, practically equal to it, any of the 4 named below: better than base, beyond the luck of the seeds.",
        ),
        ({"base": [0.5, 0.6, 0.7], "A": [0.501, 0.601, 0.701]}, "Take any: all 2 schedulers are practically equal here."),
        ({"base": [0.4, 0.5, 0.6], "A": [0.5, 0.6, 0.7]}, "Keep base: no schedule is shown to do better."),
        ({"base": [0.5, 0.6, 0.7], "A": [0.6, 0.5, 0.6]}, "A leads, but that it beats base is not settled."),
        (
            {"base": [0.5, 0.6, 0.7], "A": [0.4995, 0.5995, 0.6995], "B": [0.9, 0.9, 0.9]},
            "A leads, practically equal to base.",
        ),
    ],
)
def test_the_answer_comes_first(sentences: Callable[[Losses], str], losses: dict[str, list[float]], headline: str) -> None:
    assert sentences({("default", label): values for label, values in losses.items()}).startswith(headline)


def test_a_clear_lead_is_said_with_its_interval(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.4, 0.5, 0.6]})
    assert "A has the lowest mean validation loss, 0.5000 (95% interval 0.2516 to 0.7484)." in text
    assert "It is better than the baseline base: the difference is −0.1000 (95% interval −0.1000 to −0.1000)," in text
    assert "Holm-adjusted p below 0.001." in text
    assert "Worse than A, beyond the luck of the seeds: base." in text


def test_a_lead_that_may_be_chance_is_said_to_be(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6, 0.7], ("default", "A"): [0.6, 0.5, 0.6]})
    assert "Whether it beats the baseline base is not settled" in text
    assert "Not told apart from A by these seeds: base." in text


def test_a_leading_baseline_says_that_no_schedule_helps(sentences: Callable[[Losses], str]) -> None:
    assert "no scheduler does better" in sentences({("default", "base"): [0.1, 0.2], ("default", "A"): [0.3, 0.4]})


def test_equals_share_the_lead(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6], ("default", "A"): [0.1, 0.2], ("default", "B"): [0.1, 0.2]})
    assert "A and B share the lowest mean validation loss, 0.1500" in text


def test_divergence_is_said(sentences: Callable[[Losses], str]) -> None:
    text = sentences({("default", "base"): [0.5, 0.6], ("default", "A"): [0.1, NAN], ("default", "B"): [NAN, NAN]})
    assert "base has the lowest" in text
    assert "A on 1 of 2 seeds and B on 2 of 2 seeds" in text
    assert "No run finished" in sentences({("default", "base"): [NAN, NAN]})


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
    html = files(assemble(params, [results]))["report.html"].decode().partition("<script>\n//")[0]
    assert "<script" not in html
    assert "&lt;script&gt;" in html
