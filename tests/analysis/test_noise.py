"""Where a problem's noise comes from, and what would settle what is open."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.analysis.choice import Choice
from pipeline.analysis.noise import SETTLE, noise, settle
from pipeline.analysis.statistics import Overlap, compare
from pipeline.analysis.tables import ProblemResults, gather
from pipeline.config.problem_params import ProblemParams
from pipeline.statistics.comparison import Reason
from tests.analysis.conftest import MakeRuns

MakeCurves = Callable[[pd.DataFrame, int], pd.DataFrame]

LABELS = ("base", "A", "B", "C")


Sds = Mapping[str, tuple[float, float]]
Make = Callable[..., ProblemResults]


@pytest.fixture
def make_results(make_runs: MakeRuns, make_curves: MakeCurves) -> Make:
    """Results whose losses vary by these standard deviations, of split × scheduler and of weights and order × scheduler."""
    parts = {"dataset": {"name": "digits", "args": {}}, "model": {"name": "linear", "args": {}}}
    given = {**parts, "optimizer": {"name": "SGD", "args": {"lr": 1.0}}, "epochs": 2, "batch_size": 2}
    problem = ProblemParams.model_validate(given)

    def make(sds: Sds, seeds: int = 60, overlap: float = 0.0) -> ProblemResults:
        draw = np.random.default_rng(0)
        losses = {
            (variant, label): [tuple(1 + effect + stream * draw.normal(size=2)) for effect in split * draw.normal(size=seeds)]
            for variant, (split, stream) in sds.items()
            for label in LABELS
        }
        runs = make_runs(losses)
        return gather("P", problem, LABELS, [(runs, make_curves(runs, 2))], overlap=Overlap(validation=overlap))

    return make


def settled(results: ProblemResults, bound: float = 1.0) -> dict[str, Any]:
    variant = results.variants[-1]
    reason = Reason.PREFERRED if bound <= 0.01 else Reason.LOWEST_BOUND
    chosen = Choice(variant, "A", reason, bound, bound, None)
    table = settle(results, compare(results.runs, "base", results.overlap), chosen, "base", 0.01)
    assert list(table.columns) == list(SETTLE)
    (row,) = table.to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_the_seeds_that_would_settle_what_to_take(make_results: Make) -> None:
    """More of them the more the seeds differ, none where what it costs is known."""
    little, much = (settled(make_results({"recommended": (sd, 0.02)})) for sd in (0.03, 0.12))
    assert 2 <= little["enough_low"] < little["enough_high"]
    assert 4 * little["enough_low"] < much["enough_low"]
    assert np.isnan(settled(make_results({"recommended": (0.03, 0.02)}), bound=0.005)["enough_low"])


def test_what_matters_is_a_share_of_the_best_loss_and_none_that_diverged_is_the_best(make_results: Make) -> None:
    """However low the losses of its other runs are."""
    results = make_results({"recommended": (0.03, 0.02)})
    runs = results.runs.copy()
    own = runs["scheduler"] == "C"
    runs.loc[runs.index[own][0], "diverged"] = True
    runs.loc[own, "validation_loss"] *= 0.01
    found = settled(replace(results, runs=runs))
    assert found["enough_low"] == pytest.approx(settled(results)["enough_low"], rel=0.5)


def test_noise_is_the_recommendations_and_tuning_is_what_winners_vary_more(make_results: Make) -> None:
    table = noise(make_results({"tuned": (0.05, 0.02), "recommended": (0.03, 0.02)})).set_index("source")
    assert set(table["variant"]) == {"recommended"}
    assert table.loc["tuning", "sd"] == pytest.approx(0.04, rel=0.2)  # 0.05² - 0.03²
    assert table.loc["split × scheduler", "sd"] == pytest.approx(0.03, rel=0.2)
    assert table.loc["weights and order × scheduler", "sd"] == pytest.approx(0.02, rel=0.2)
    assert table["of_difference"].sum() == pytest.approx(1)


def test_without_a_confirmation_it_is_the_last_variants(make_results: Make) -> None:
    table = noise(make_results({"default": (0.03, 0.02)})).set_index("source")
    assert set(table["variant"]) == {"default"}
    assert table["variance"].isna().to_dict()["tuning"]


def test_nothing_is_open(make_results: Make) -> None:
    row = settled(make_results({"recommended": (1e-6, 1e-6)}))
    assert (row["open"], row["settled_by"], row["sentence"]) == (0, "", "No verdict is open.")


def test_what_is_open_does_not_matter_where_the_choice_is_sure(make_results: Make) -> None:
    row = settled(make_results({"recommended": (0.05, 0.05)}, 8), bound=0.005)
    assert row["settled_by"] == "nothing that matters"
    assert row["open"] == 3
    assert row["sentence"] == (
        "3 verdicts are open, and nothing that matters hangs on it: A costs too little more than the best to matter."
    )


def test_more_seeds_are_told_with_what_they_find(make_results: Make) -> None:
    row = settled(make_results({"recommended": (0.001, 0.04)}, 8))
    assert row["settled_by"] == "seeds"
    assert row["found"] > row["found_by_fourfold"] > row["like_these"]
    assert 8 < row["seeds_low"] < row["seeds_high"] < np.inf
    assert row["sentence"].startswith(
        "2 verdicts are open; more seeds would narrow it most: 32 seeds in place of 8 would detect "
    )
    assert row["sentence"].endswith(f"and {row['seeds_low']:.0f} to {row['seeds_high']:.0f} what matters.")


def test_of_data_like_these_no_number_of_seeds_tells_what_splits_have_in_common(make_results: Make) -> None:
    row = settled(make_results({"recommended": (0.05, 0.001)}, 20, overlap=0.4))
    assert row["settled_by"] == "seeds"
    assert row["like_these"] > row["found_by_fourfold"]
    assert row["sentence"].endswith(f" For data like these no number of seeds finds one below {row['like_these']:.1%}.")


def test_one_split_says_nothing_of_other_samples(make_results: Make) -> None:
    drawn = make_results({"recommended": (0.05, 0.001)}, 20, overlap=0.4)
    row = settled(replace(drawn, params=drawn.params.model_copy(update={"resample": False})))
    assert np.isnan(row["like_these"])
    assert "data like these" not in row["sentence"]
    assert row["found"] > row["found_by_fourfold"]


def test_of_a_baseline_without_loss_nothing_is_a_share(make_results: Make) -> None:
    results = make_results({"recommended": (0.03, 0.02)}, seeds=6)
    losses = (results.runs["validation_loss"] - 1).mask(results.runs["scheduler"] == "base", 0.0)
    row = settled(replace(results, runs=results.runs.assign(validation_loss=losses)))
    assert (row["open"], row["found"], row["seeds_low"]) == (3, np.inf, np.inf)
    assert row["sentence"].endswith("and nothing is a share of the baseline's loss of 0.")


def test_trials_where_each_seed_has_a_winner_of_its_own(make_results: Make) -> None:
    """Without a confirmation nothing tells tuning from the split; with one the verdicts are on fixed configurations."""
    both = make_results({"tuned": (0.08, 0.01), "recommended": (0.03, 0.01)}, 10)
    assert noise(both).set_index("source")["of_difference"].idxmax() == "tuning"
    assert settled(both)["settled_by"] == "seeds"
