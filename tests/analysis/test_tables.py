"""What becomes of the runs and curves of the stages on their way to the report's tables."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.statistics import CRITERION
from pipeline.analysis.tables import (
    FIGURES,
    gather,
    learning_rates,
    markdown,
    mean_curves,
    metrics,
    readable,
    recommendations,
)
from pipeline.config.problem_params import ProblemParams

MakeRuns = Callable[[dict[tuple[str, str], Sequence[float | tuple[float, ...]]]], pd.DataFrame]
MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]
NAN = float("nan")


def test_rows_come_by_variant_and_in_the_order_of_the_parameters(
    problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    train = make_runs({("default", "old"): [0.1], ("default", "B"): [0.2, 0.1], ("default", "A"): [0.3, 0.1]})
    tune = make_runs({("tuned", "B"): [0.2], ("tuned", "A"): [0.1]})
    parts = [(runs, make_curves(runs, 3)) for runs in (tune, train)]
    results = gather("P", problem, ["A", "B"], parts)
    assert results.variants == ("default", "tuned")
    assert results.labels == ("A", "B", "old")
    assert list(results.runs["run"]) == [
        "default-A-0", "default-A-1", "default-B-0", "default-B-1", "default-old-0", "tuned-A-0", "tuned-B-0",
    ]  # fmt: skip
    assert list(results.curves["epoch"][:6]) == [1, 2, 3, 1, 2, 3]


def test_mean_losses_leave_out_diverged_runs_and_rates_do_not(
    problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    runs = make_runs({("default", "A"): [0.1, 0.3, NAN], ("default", "B"): [NAN, NAN, NAN]})
    curves = make_curves(runs, 2)
    curves.loc[curves["seed"] == 2, "lr"] = 0.4
    curves.loc[curves["seed"] == 2, "train_loss"] = 1e9  # finite, and yet of a run that diverged
    means = mean_curves(gather("P", problem, ["A", "B"], [(runs, curves)])).set_index(["scheduler", "epoch"])
    assert means.loc[("A", 2), "validation_loss"] == pytest.approx(0.2)
    assert means.loc[("A", 2), "train_loss"] == pytest.approx(0.2)
    assert means.loc[("B", 1), ["train_loss", "validation_loss"]].isna().all()
    assert means.loc[("A", 1), "lr"] == pytest.approx(0.2)


def test_curves_are_means_over_streams_then_over_seeds(
    problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    """So that a seed of which one run is left counts as much as the others."""
    runs = make_runs({("default", "A"): [(0.1, 0.3), (0.6, NAN)]})
    means = mean_curves(gather("P", problem, ["A"], [(runs, make_curves(runs, 2))]))
    assert means["validation_loss"].iloc[1] == pytest.approx((0.2 + 0.6) / 2)


@pytest.mark.parametrize("seeds", [3, 7, 10])
def test_a_rate_that_all_seeds_share_is_kept_to_the_last_bit(
    problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves, seeds: int
) -> None:
    runs = make_runs({("default", "A"): [0.1] * seeds})
    means = mean_curves(gather("P", problem, ["A"], [(runs, make_curves(runs, 2))]))
    assert list(means["lr"]) == [0.1, 0.1]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3, 4, 5]), (2, [1, 3, 5]), (10, [1])])
def test_learning_rates_are_shown_from_the_first_epoch_on(every: int, epochs: list[int]) -> None:
    means = pd.DataFrame({"epoch": range(1, 6), "lr": 0.1, "train_loss": 0.0, "validation_loss": 0.0})
    shown = learning_rates(means, every)
    assert list(shown.columns) == ["epoch", "lr"]
    assert list(shown["epoch"]) == epochs


def test_markdown_aligns_numbers_and_keeps_a_label_in_its_cell() -> None:
    table = pd.DataFrame({"scheduler": ["a|b"], "loss": [0.123456789], "low": [np.nan], "rank": [1]})
    assert markdown(table) == ("| scheduler | loss | low | rank |\n| --- | ---: | ---: | ---: |\n| a\\|b | 0.12346 |  | 1 |\n")


def test_metrics_are_a_few_numbers_of_what_is_recommended() -> None:
    """Flat, so that a line of a terminal holds them; what is not known is left out."""
    rows = [{"problem": "P", "variant": v, "scheduler": s, **dict.fromkeys(FIGURES, 0.1 * n)}
            for n, (v, s) in enumerate([("default", "A"), ("tuned", "A"), ("tuned", "B")])]  # fmt: skip
    found = metrics(pd.DataFrame(rows), {"P": ("tuned", "B", {"lr": 0.5, "tolerance": NAN}), "Q": ("tuned", None, {})})
    assert found == {"P": {**dict.fromkeys(FIGURES, 0.2), "lr": 0.5}, "Q": {}}
    assert len(found["P"]) <= 8


def test_the_comparison_as_markdown_fits_a_terminal() -> None:
    columns = (CRITERION, f"{CRITERION}_low", f"{CRITERION}_high", "regret", "regret_bound", "like_these_bound")
    numbers = dict.fromkeys(columns, -0.00012345678)
    names = {"problem": "synthetic", "variant": "recommended", "scheduler": "WarmupStableDecay", "verdict": "practically equal"}
    text = markdown(readable(pd.DataFrame([{**names, **numbers, "diverged": 0, "test_loss": 1.0}])))
    assert max(map(len, text.splitlines())) <= 120
    assert "test" not in text


def test_bounds_are_percentages_that_hold() -> None:
    row = {"problem": "P", "variant": "tuned", "scheduler": "A", "verdict": "open", "diverged": 0, CRITERION: 1.0}
    ends = {f"{CRITERION}_low": 0.5, f"{CRITERION}_high": 1.5, "like_these_bound": np.inf}
    text = markdown(readable(pd.DataFrame([{**row, **ends, "regret_bound": 0.0201}, {**row, **ends, "regret_bound": 0.02}])))
    assert "| 1 | 0.5 | 2.1% | none | open |" in text
    assert "| 1 | 0.5 | 2.0% | none | open |" in text


def test_tuned_rates_are_those_of_the_recommended_configuration(
    problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves
) -> None:
    """And no mean of schedules that have nothing in common."""
    runs = make_runs({("tuned", "A"): [0.1, 0.2, 0.3], ("tuned", "B"): [0.1, 0.2, 0.3]}).assign(lr=[0.5, 1.5, 0.05] * 2)
    curves = make_curves(runs, 2).drop(columns="lr").merge(runs[["run", "lr"]])
    results = gather("P", problem, ["A", "B"], [(runs, curves)], best={"A": {"lr": "300%", "args": {}}})
    rates = mean_curves(results).set_index(["scheduler", "epoch"])["lr"]
    assert rates["A"].tolist() == [1.5, 1.5]
    assert rates["B"].tolist() == pytest.approx([2.05 / 3] * 2)  # no recommendation is known


@pytest.fixture
def recommend(problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves) -> Callable[[Mapping[str, Any]], Any]:
    """The recommendation for A, given its entry in best.yaml; seed 1 ran step_size 40% at three times the rate of 0.5."""
    runs = make_runs({("tuned", "A"): [0.1, 0.2]})
    runs["lr"] = [0.5, 1.5]
    runs["args"] = ["{}", '{"gamma": 0.1, "step_size": "40%"}']
    runs["resolved"] = ["{}", '{"gamma": 0.1, "step_size": 4}']
    parts = [(runs, make_curves(runs, 2))]
    return lambda best: recommendations(gather("P", problem, ["A"], parts, best={"A": best}))[0]


@pytest.mark.parametrize("lr", ["300%", 1.5])
def test_a_recommendation_is_resolved_by_the_run_that_has_it(recommend: Callable[..., Any], lr: object) -> None:
    found = recommend({"name": "StepLR", "lr": lr, "args": {"step_size": "40%", "gamma": 0.1}, "interval": "epoch"})
    assert (found.lr, found.args, found.run) == (1.5, {"gamma": 0.1, "step_size": 4}, "tuned-A-1")
    assert (found.name, found.lr_written, found.interval) == ("StepLR", str(lr), "epoch")


def test_a_recommendation_says_what_is_averaged(recommend: Callable[..., Any]) -> None:
    found = recommend({"lr": "300%", "args": {"step_size": "40%", "gamma": 0.1}, "warmup": "5%", "average": {"swa": "75%"}})
    assert found.lr_written == '300%, warmup: 5%, average: {"swa": "75%"}'


@pytest.mark.parametrize("best", [{"lr": "301%", "args": {"step_size": "40%", "gamma": 0.1}}, {"lr": "300%"}])
def test_a_recommendation_that_no_run_has_stays_as_written(recommend: Callable[..., Any], best: Mapping[str, Any]) -> None:
    found = recommend(best)
    assert (found.lr, found.args, found.lr_written) == (None, None, best["lr"])


def test_a_scheduler_that_never_reacted_is_told(problem: ProblemParams, make_runs: MakeRuns, make_curves: MakeCurves) -> None:
    runs = make_runs({("default", label): [1.0, 1.1] for label in ("base", "still", "moved")})
    runs["name"] = runs["scheduler"].map({"base": "ConstantLR", "still": "ReduceLROnPlateau", "moved": "ReduceLROnPlateau"})
    curves = make_curves(runs, 3).assign(lr=0.5)
    curves.loc[(curves["scheduler"] == "moved") & (curves["epoch"] == 3), "lr"] = 0.05
    (found,) = gather("P", problem, ["base", "still", "moved"], [(runs, curves)]).all_traps
    assert (found["scheduler"], found["trap"]) == ("still", "never reacts")
    assert found["what"] == "the rate stood at 0.5 in all 2 runs"
