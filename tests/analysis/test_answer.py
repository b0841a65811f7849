"""The words of the answer, on figures written by hand."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.answer import Answer, answer_to, best_file, next_steps, one_for_all
from pipeline.analysis.choice import Choice, choices, last
from pipeline.analysis.statistics import compare
from pipeline.analysis.summary import at_most, elsewhere, factor, rounded
from pipeline.analysis.tables import gather
from pipeline.config.params import Epoch, ReportParams
from pipeline.config.problem_params import Clipping, ProblemParams
from pipeline.statistics.comparison import Reason

MakeRuns = Callable[[dict[tuple[str, str], list[float]]], pd.DataFrame]
MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]
NAN = float("nan")
LOSSES = {
    **{("default", label): [0.9, 1.0, 1.1, 1.2] for label in ("base", "A", "B")},
    ("recommended", "base"): [0.61, 0.72, 0.79, 0.91],
    ("recommended", "A"): [0.5, 0.6, 0.7, 0.8],
    ("recommended", "B"): [0.55, 0.65, 0.75, 0.86],
}
WIDTHS = pd.DataFrame(
    [("A", 1.0, 0.5, 0.25, 16.0, 1.8, False), ("B", 1.0, 0.5, 0.5, 2.0, 0.6, False)],
    columns=["scheduler", "best_lr", "best_loss", "lowest_lr", "highest_lr", "decades", "at_edge"],
)


@pytest.fixture
def answer(problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves) -> Callable[..., Answer]:
    def to(losses: dict[tuple[str, str], list[float]] = LOSSES, *, params: Any = problem, widths: pd.DataFrame = WIDTHS,
           constant: pd.DataFrame | None = None, at: Epoch = "last", **columns: Any) -> Answer:  # fmt: skip
        runs = make_runs(losses)
        runs = runs.assign(**{"lr": runs["variant"].map({"default": 0.5}).fillna(0.98765), **columns})
        more = {} if constant is None else {"constant": constant}
        results = replace(gather("P", params, ["base", "A", "B"], [(runs, make_curves(runs, 2))], **more), at=at)
        compared = compare(runs, "base")
        return answer_to(results, compared, widths, last(choices(results, compared, widths, "base", 0.01)), "base")

    return to


def test_what_is_recommended_as_it_was_written_is_no_alternative_to_itself(answer: Callable[..., Answer]) -> None:
    assert [other.scheduler for other in answer().alternatives] == ["base", "B", "A"]
    assert [other.scheduler for other in answer(lr=0.5).alternatives] == ["base", "B"]


def test_it_says_what_to_use_what_it_costs_and_what_else_does(answer: Callable[..., Answer]) -> None:
    found = answer(name="StepLR", resolved=json.dumps({"step_size": 7, "gamma": 0.998997}))
    assert found.use == "A with SGD, peak learning rate 0.99, step_size=7, gamma=0.999, stepped after every epoch"
    assert found.cost == "nothing: no other scheduler is better"
    assert found.rate == "anything from 0.25 to 16 stays within about 5% of the lowest loss"
    told = [(other.scheduler, other.what) for other in found.alternatives]
    assert told == [
        ("base", "the baseline"),
        ("B", "the safest of the others"),
        ("A", "untuned, as you wrote it, at peak learning rate 0.5"),
    ]
    # on other seeds: Fieller's interval of 1.05 / 0.65, both with the error 0.129 / √4, at 5.007 degrees of freedom
    assert found.alternatives[2].words == "21% to 124% more than tuned"
    assert found.alternatives[2].cost == pytest.approx(0.4 / 0.65)
    assert found.alternatives[0].words == f"at most {100 * found.alternatives[0].bound:.1f}% more than the best"
    assert found.titled == [("use", found.use), ("cost", found.cost), ("rate", found.rate), ("instead", found.instead)]
    assert found.instead.startswith("on these data, at 95%: base (the baseline) at most ")


@pytest.mark.parametrize(
    ("loss", "accuracy", "said"),
    [
        (0.9, 0.1, ""),
        (0.6, 0.4, "nothing is learned: validation loss (0.6500) and accuracy (35.0%), no better than the same"),
        (0.7, 0.3, "it is open whether anything is learned: validation loss (0.6500) and accuracy (35.0%), not surely better"),
        (0.9, 0.4, "its validation accuracy (35.0%) is no better than that of the same answer for every sample (40.0%)"),
        (0.6, 0.1, "its validation loss (0.6500) is no better than that of the same answer for every sample (0.6000)"),
    ],
)  # fmt: skip
def test_what_is_no_better_than_the_same_answer_for_every_sample_is_told(
    answer: Callable[..., Answer], loss: float, accuracy: float, said: str
) -> None:
    """A's losses are 0.5 to 0.8, its accuracies 1 less that: 95% of their mean is 0.65 ± 0.21."""
    same = pd.DataFrame({"seed": range(4), "validation_loss": loss, "validation_metric": accuracy})
    found = answer(constant=same)
    assert found.learned.startswith(said)
    assert bool(found.learned) == bool(said)
    assert [name for name, _ in found.titled] == ["use", *(["but"] if said else []), "cost", "rate", "instead"]


def test_arguments_that_are_torchs_defaults_are_left_out(answer: Callable[..., Answer]) -> None:
    found = answer(name="StepLR", resolved=json.dumps({"step_size": 7, "gamma": 0.1}), warmup=3, interval="batch")
    assert found.use.endswith("step_size=7, warmup=3 steps, stepped after every batch")


def test_the_best_epochs_weights_are_what_to_use_where_those_are_judged(answer: Callable[..., Answer]) -> None:
    assert answer(at="best").use == f"{answer().use}, with the weights of the epoch of lowest validation loss"


def test_what_watches_a_figure_says_which(answer: Callable[..., Answer]) -> None:
    found = answer(name="ReduceLROnPlateau", resolved=json.dumps({"factor": 0.1, "patience": 3}))
    assert found.stepped == "stepped after every epoch with its training loss"


def test_clipping_and_averaging_belong_to_the_optimizer(answer: Callable[..., Answer], problem: ProblemParams) -> None:
    optimizer = json.dumps({"name": "SGD", "args": {"lr": 1.0, "momentum": 0.9}, "average": {"ema": 0.99}})
    found = answer(params=problem.model_copy(update={"clip": Clipping(norm=1.0)}), optimizer=optimizer)
    assert found.optimizer == "SGD (momentum 0.9), gradients clipped to a norm of 1, weights averaged (ema 0.99)"


def test_without_a_sweep_nothing_is_claimed_of_the_rate(answer: Callable[..., Answer]) -> None:
    assert answer(widths=WIDTHS.head(0)).rate == "how wrong it may be is not known: no sweep of rates has been run on it"


@pytest.mark.parametrize(
    ("best", "lowest", "highest", "why"),
    [
        (3.0, 3.0, 3.0, "its sweep was best at 3, with at most 5% more loss from 3 to 3; more sweep.points"),
        (NAN, NAN, NAN, "at every rate of its sweep some run diverged"),
    ],
)
def test_a_sweep_that_tells_nothing_of_the_rate_is_not_denied(
    answer: Callable[..., Answer], best: float, lowest: float, highest: float, why: str
) -> None:
    """One of two points, say."""
    assert why in answer(widths=WIDTHS.assign(best_lr=best, lowest_lr=lowest, highest_lr=highest)).rate


def test_where_nothing_finished_it_says_so(answer: Callable[..., Answer]) -> None:
    found = answer({("default", "base"): [NAN, NAN], ("default", "A"): [NAN, NAN]})
    assert found.scheduler is None
    assert found.titled[0] == ("use", "No run finished: every scheduler diverged on every seed.")
    assert found.titled[1] == ("cost", "lower the learning rates; a script's train_loss must not rise as it trains well")
    assert next_steps([found], {}, {}) == []


def test_a_near_tie_is_not_told_as_what_is_settled_or_open(answer: Callable[..., Answer]) -> None:
    close = {"base": [0.501, 0.6012, 0.701, 0.8011], "A": [0.5, 0.6, 0.7, 0.8], "B": [0.9, 1.0, 1.1, 1.2]}
    tie = answer({("default", label): losses for label, losses in close.items()})
    assert (tie.scheduler, tie.is_bounded) == ("base", True)
    assert tie.cost == (
        "near tie (another is better): at 95%, at most 0.2% more loss than the best; "
        "the simplest of those that cost too little to matter"
    )
    # 0.05 below, ± 2.353 · 0.1 / √4, one-sided, of 0.6
    unsure = answer({("default", "base"): [0.5, 0.6, 0.7, 0.8], ("default", "A"): [0.6, 0.5, 0.6, 0.7]})
    assert unsure.cost == (
        "not settled (2 of 2 schedulers may be the best): at 95%, at most 11.3% more loss than the best; "
        "its mean is the lowest, but another may be better by as much as that"
    )


def test_the_bound_to_go_by_on_other_data_is_named(answer: Callable[..., Answer]) -> None:
    chosen = Choice("default", "A", Reason.PREFERRED, 0.003, 0.0042, None)
    assert elsewhere(chosen) == " on these data (0.5% on other data from the same source)"
    assert not elsewhere(replace(chosen, like_these=0.003))


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        # the baseline costs more than A on both, but too little to matter
        ({"P": {"base": 0.008, "A": 0.0}, "Q": {"base": 0.009, "A": 0.002}}, "base (tuned for each) does for all 2"),
        ({"P": {"base": 0.3, "A": 0.001}, "Q": {"base": 0.0, "A": 0.002}}, "A (tuned for each) does for all 2"),
        (
            {"P": {"base": 0.3, "A": 0.02, "B": 0.0}, "Q": {"base": 0.0, "A": 0.1}},  # B is of P alone
            "no one scheduler surely does for all 2 problems; the safest is A (tuned for each): at most 10.0% more",
        ),
        ({"P": {"base": 0.3, "A": np.inf}, "Q": {"base": np.inf, "A": 0.1}}, "no one scheduler surely does for all 2"),
        ({"P": {"base": 0.3, "A": 0.0}}, ""),
    ],
)  # fmt: skip
def test_several_problems_are_told_whether_one_scheduler_does(bounds: dict[str, dict[str, float]], said: str) -> None:
    answers = [Answer(problem=name, variant="tuned", scheduler="A", bound=0, like_these=0, is_bounded=True) for name in bounds]
    rows = [(name, "tuned", label, bound) for name, own in bounds.items() for label, bound in own.items()]
    earlier = [(name, "default", "base", 0.0) for name in bounds]
    comparison = pd.DataFrame(rows + earlier, columns=["problem", "variant", "scheduler", "regret_bound"])
    told = one_for_all(answers, comparison, ReportParams(baseline="base"))
    assert told.startswith(said)
    assert bool(told) == bool(said)
    assert not one_for_all([*answers, replace(answers[0], scheduler=None)], comparison, ReportParams(baseline="base"))


def test_what_diverged_is_said(answer: Callable[..., Answer]) -> None:
    found = answer({("default", "base"): [NAN, NAN, 0.9], ("default", "A"): [0.5, NAN, 0.6]})
    assert found.cost == "nothing: no other scheduler is better; it diverged in 1 of 3 runs"
    assert found.alternatives[0].words.endswith("diverged in 2 of 3 runs")


def test_what_never_finished_is_nothing_to_take_instead(answer: Callable[..., Answer]) -> None:
    found = answer({("default", "base"): [0.9, 0.9], ("default", "A"): [0.5, 0.6], ("default", "B"): [NAN, NAN]})
    assert [other.scheduler for other in found.alternatives] == ["base"]
    found = answer({("default", "base"): [NAN, NAN], ("default", "A"): [0.5, 0.6]})
    assert found.alternatives[0].words == "diverged in every run", "of the baseline it is told"


def test_next_is_to_try_it_and_to_narrow_what_is_not_sure(answer: Callable[..., Answer]) -> None:
    unsure = answer({("default", "base"): [0.5, 0.6, 0.7, 0.8], ("default", "A"): [0.6, 0.5, 0.6, 0.7]})
    assert not unsure.is_bounded
    assert [step.partition(":")[0] for step in next_steps([unsure], {}, {})] == ["try it", "narrow what P may cost"]
    assert "raise seeds" in next_steps([unsure], {}, {})[1]
    few = "narrow what P may cost: raise seeds in params.yaml (12 to 70 "
    few += "would detect a difference that matters), then make repro"
    assert next_steps([unsure], {}, {"P": (12.0, 70.0)})[1] == few
    assert "(12 or more would detect" in next_steps([unsure], {}, {"P": (12.0, float("inf"))})[1]
    other = replace(unsure, problem="Q")
    both = next_steps([unsure, other], {}, {"P": (2224.0, 7824.0), "Q": (12.0, 70.0)})
    take = "it takes 2224 seeds or more to detect a difference that matters, unless you write a larger report.matters"
    assert both[1:] == [few.replace("P", "Q"), f"take what is named for P: {take}"]
    assert "raise tune.trials" in next_steps([unsure], {"P": "trials"}, {})[1]
    assert [step.partition(":")[0] for step in next_steps([answer()], {}, {})] == ["try it"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.9957000000000001, "0.9957"), (0.998997, "0.999"), (0.1373, "0.14"), (1547.3, "1500"), (1e-5, "1e-05"), (7, "7"),
     ([0.31, 12], "[0.31, 12]"), (True, "True"), ("linear", "linear"), (1.0, "1")],
)  # fmt: skip
def test_arguments_are_written_as_a_person_would(value: object, text: str) -> None:
    assert rounded(value) == text


@pytest.mark.parametrize(("value", "text"), [(1.1129, "1.1"), (4.59, "4.5"), (31.9, "31"), (1.0, "1"), (256.0, "250")])
def test_a_factor_never_promises_more_than_was_found(value: float, text: str) -> None:
    assert factor(value) == text
    assert float(text) <= value
    assert np.isfinite(float(text))


@pytest.mark.parametrize(
    ("value", "text"), [(0.0025, "0.3%"), (0.002, "0.2%"), (0.0004, "0.1%"), (0.0, "0.0%"), (0.01, "1.0%"), (0.0101, "1.1%")]
)
def test_a_bound_is_never_told_lower_than_it_is(value: float, text: str) -> None:
    assert at_most(value) == text


def test_a_link_to_any_name_is_a_link() -> None:
    assert best_file("my data#1") == "best/my%20data%231.py"
    assert best_file("P", "Step 2") == "best/P/Step%202.py"


def test_no_loss_is_told_to_be_less_than_nothing(answer: Callable[..., Answer]) -> None:
    losses = {
        ("default", "base"): [0.9, 0.9],
        ("default", "A"): [0.1, 1.5],
        ("recommended", "A"): [0.2, 0.9],
        ("recommended", "base"): [1.0, 1.1],
    }
    assert answer(losses).alternatives[-1].words.endswith("more than tuned")
