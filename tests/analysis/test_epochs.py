"""The last epoch or the best: what is judged, and where it turns a verdict."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.assembled import evidence_of
from pipeline.analysis.choice import choices, last
from pipeline.analysis.epochs import judged, last_or_best, sentence, turned
from pipeline.analysis.evidence import sensitivity, widths
from pipeline.analysis.statistics import compare
from pipeline.analysis.summary import at_most, finding
from pipeline.analysis.tables import ProblemResults
from pipeline.config.params import Epoch, ReportParams
from pipeline.statistics.sequential import Plan
from tests.fixtures import Edited

ASKED = ReportParams(baseline="base")
MakeRuns = Callable[..., pd.DataFrame]


def beside(results: ProblemResults, at: Epoch = "last") -> pd.DataFrame:
    """The table of both epochs, where this one is judged."""
    own = judged(results, at)
    compared = compare(own.runs, "base", own.overlap, plan=own.plan)
    return last_or_best(own, ASKED.model_copy(update={"at": at}), compared)


# Of each run the losses after three epochs: "noisy" was as low as the baseline, "high" never.
CURVES = {"base": (0.9, 0.5, 0.5), "noisy": (0.9, 0.5, 0.7), "high": (0.9, 0.8, 0.8)}


@pytest.fixture
def results(make_runs: MakeRuns, edited: Edited) -> ProblemResults:
    """Ten seeds that differ by a hundredth, each with the curves above; the metric is 1 minus the loss, plus the epoch."""
    shift = np.arange(10) / 100
    runs = make_runs({("default", label): list(curve[-1] + shift) for label, curve in CURVES.items()})
    curves = runs[["run", "variant", "scheduler", "seed", "stream"]].merge(pd.DataFrame({"epoch": [3, 1, 2]}), how="cross")
    rows = curves[["scheduler", "epoch", "seed"]].to_numpy().tolist()
    loss = np.array([CURVES[label][epoch - 1] + seed / 100 for label, epoch, seed in rows])
    curves = curves.assign(validation_loss=loss, validation_metric=1 - loss + curves["epoch"])
    return ProblemResults("synthetic", edited().problem("synthetic"), runs, curves)


def test_the_best_epoch_is_the_first_of_lowest_loss(results: ProblemResults) -> None:
    best = judged(results, "best").runs.set_index(["scheduler", "seed"])
    assert best.loc[("noisy", 3), "validation_loss"] == pytest.approx(0.53)
    assert best.loc[("noisy", 3), "validation_metric"] == pytest.approx(1 - 0.53 + 2)
    assert best.loc[("base", 0), "validation_metric"] == pytest.approx(1 - 0.5 + 2)
    last = results.runs.set_index(["scheduler", "seed"])
    for name in ("test_loss", "test_metric", "train_loss"):
        pd.testing.assert_series_equal(best[name], last[name])
    assert judged(results, "last") is results


def test_budgets_go_by_the_last_epoch_of_each_run_whichever_is_judged(results: ProblemResults) -> None:
    """Shorter ones have no other: the best of the longest beside them would look like what more epochs bring."""
    full, higher = results.runs.assign(epochs=4), results.runs["validation_loss"] + 1
    shorter = pd.concat([full.assign(epochs=epochs, kind="budget", validation_loss=higher) for epochs in (1, 2)])
    swept = replace(results, runs=full, sweep=shorter, curves=results.curves.assign(lr=1.0, train_loss=1.0))
    found: dict[Epoch, pd.Series[float]] = {}
    for at in ("last", "best"):
        own = judged(swept, at)
        tables = evidence_of(own, ASKED.model_copy(update={"at": at}), compare(own.runs, "base", own.overlap))
        means = tables["budgets"].set_index(["scheduler", "epochs"])["validation_loss"]
        assert means["noisy", 4] == pytest.approx(0.745)
        found[at] = tables["growth"].set_index("scheduler")["last"]
    pd.testing.assert_series_equal(found["best"], found["last"])


def test_the_sentence_on_the_loss_says_of_which_epoch_it_is(results: ProblemResults) -> None:
    """It stands above an exported script, too, which ends with the last epoch."""

    def said(own: ProblemResults) -> str:
        compared = compare(own.runs, "base", own.overlap)
        chosen = choices(own, compared, widths(sensitivity(own.sweep)), "base", 0.01)
        return " ".join(finding(own, compared, "base", last(chosen)))

    assert "Its mean validation loss, at each run's best epoch, is 0.5450" in said(judged(results, "best"))
    assert "Its mean validation loss is 0.5450" in said(results)


def test_a_table_and_a_sentence_say_where_the_verdict_would_turn(results: ProblemResults) -> None:
    table = beside(results)
    rows = table.set_index("scheduler")
    assert list(rows.loc["noisy", ["verdict_last", "verdict_best"]]) == ["worse", "practically equal"]
    assert list(rows.loc["high", ["verdict_last", "verdict_best"]]) == ["worse", "worse"]
    assert rows["epoch"].tolist() == [2, 2, 2]
    assert rows.loc["noisy", "lower"] == pytest.approx(1 - 0.545 / 0.745)
    assert rows.loc["base", "lower"] == 0
    assert list(rows.loc["noisy", ["in_set_last", "in_set_best"]]) == [False, True]
    pd.testing.assert_frame_equal(beside(results, "best").drop(columns="verdict_test"), table)
    assert "another one on noisy (practically equal instead of worse). The loss of a best epoch is too low" in sentence(
        table, "last"
    )
    assert "By the last epoch of each run instead of the best" in sentence(beside(results, "best"), "best")
    assert "noisy (worse instead of practically equal)" in sentence(beside(results, "best"), "best")
    assert not sentence(table[table["scheduler"] != "noisy"], "last")
    by_best, by_last = (ASKED.model_copy(update={"at": at}) for at in ("best", "last"))
    bound = table.set_index("scheduler")["bound_last"].to_dict()["noisy"]
    told = f"if you keep each run's last epoch, not its best, take base: this one then loses up to {at_most(bound)}"
    assert turned(table, by_best, "default", "noisy") == told
    assert not turned(table.assign(bound_last=0.009), by_best, "default", "noisy"), "less than what matters"
    assert not turned(table, by_last, "default", "noisy")
    assert not turned(table, by_best, "default", "base")
    assert not turned(table, by_best, "default", None)


def test_the_test_part_has_a_verdict_of_its_own(results: ProblemResults) -> None:
    """Where the test loss of "noisy" is worse than the baseline's, its best epoch says nothing of it."""
    shift = results.runs["seed"] / 100 + 0.3 * (results.runs["scheduler"] == "noisy")
    table = beside(replace(results, runs=results.runs.assign(test_loss=0.5 + shift)), "best")
    rows = table.set_index("scheduler")
    assert list(rows.loc["noisy", ["verdict_best", "verdict_test"]]) == ["practically equal", "worse"]
    said = sentence(table[table["scheduler"] == "noisy"], "best")
    assert said.endswith("which chose no epoch, the verdict is another one on noisy (worse instead of practically equal).")


def test_a_run_that_diverged_is_no_better_for_a_good_epoch(results: ProblemResults) -> None:
    runs = results.runs.assign(diverged=(results.runs["scheduler"] == "noisy") & (results.runs["seed"] == 0))
    rows = beside(replace(results, runs=runs)).set_index("scheduler")
    assert list(rows.loc["noisy", ["verdict_last", "verdict_best"]]) == ["diverged", "diverged"]


def test_the_best_epoch_of_a_run_that_diverged_is_nobodys(results: ProblemResults) -> None:
    """Its median is that of the runs whose losses stand beside it."""
    is_odd = (results.curves["scheduler"] == "high") & (results.curves["seed"] < 6)
    curves = results.curves.assign(validation_loss=results.curves["validation_loss"].where(~is_odd, results.curves["epoch"]))
    runs = results.runs.assign(diverged=(results.runs["scheduler"] == "high") & (results.runs["seed"] < 6))
    assert beside(replace(results, runs=runs, curves=curves)).set_index("scheduler").loc["high", "epoch"] == 2


def test_the_best_lies_below_the_last_whatever_the_sign(results: ProblemResults) -> None:
    below = [frame.assign(validation_loss=frame["validation_loss"] - 3) for frame in (results.runs, results.curves)]
    rows = beside(replace(results, runs=below[0], curves=below[1])).set_index("scheduler")
    assert rows.loc["noisy", "lower"] == pytest.approx(0.2 / (3 - 0.745))


def test_what_was_raced_is_judged_at_its_look_either_way(results: ProblemResults) -> None:
    raced = replace(results, runs=results.runs.assign(variant="recommended"), plan=Plan(6, 1000))
    shaken = np.random.default_rng(0).normal(0, 0.1, len(raced.curves))
    noisy = replace(raced, curves=raced.curves.assign(validation_loss=raced.curves["validation_loss"] + shaken))
    assert "worse" not in set(beside(noisy)["verdict_last"])
    assert "worse" in set(beside(replace(noisy, plan=None))["verdict_last"])
