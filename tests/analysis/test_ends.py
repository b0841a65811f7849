"""Winners at an end of what was searched are found, and told with what to write."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json

from pipeline.analysis.ends import COLUMNS, at_an_end, budget_warning, ends, warning, worth_telling
from pipeline.config.spaces import PeakRates
from pipeline.runs.results import TRIAL_COLUMNS

Rates = Sequence[tuple[float, float | None]]


def rates(low: float = 1, high: float = 1000) -> dict[str, Any]:
    return {"lr %": FloatDistribution(low, high, log=True)}


def study(label: str, seed: int, tried: Rates, *spaces: Mapping[str, Any], **more: Any) -> pd.DataFrame:
    """A study's trials (peak rate, value or None), the first in the first of the spaces, all others in the last."""
    spaces = spaces or (rates(),)
    rows = [
        {
            "scheduler": label, "seed": seed, "number": number, "state": "PRUNED" if value is None else "COMPLETE",
            "value": value, "params": json.dumps({"lr %": rate, **more}),
            "distributions": json.dumps({n: distribution_to_json(d) for n, d in spaces[-1 if number else 0].items()}),
        }
        for number, (rate, value) in enumerate(tried)
    ]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=list(TRIAL_COLUMNS))


def studies(label: str, best: Sequence[float], *spaces: Mapping[str, Any], **more: Any) -> pd.DataFrame:
    return pd.concat([study(label, seed, [(100, 1.0), (rate, 0.5)], *spaces, **more) for seed, rate in enumerate(best)])


def test_winners_are_counted_at_each_end_of_their_own_range() -> None:
    trials = pd.concat([studies("A", [600, 900, 100]), study("A", 3, [(100, 1.0), (700, 0.5)], rates(), rates(1, 10_000))])
    (row,) = ends(trials).to_dict("records")
    assert row == {
        "scheduler": "A", "parameter": "lr %", "low": 1, "high": 10_000, "at_low": 0, "at_high": 2, "studies": 4, "widened": 1,
    }  # fmt: skip


def test_where_what_lies_above_diverged_there_is_no_end() -> None:
    assert ends(study("A", 0, [(600, 0.5), (800, None)]))["at_high"].tolist() == [0]
    assert ends(study("A", 0, [(600, 0.5), (500, None)]))["at_high"].tolist() == [1]
    assert ends(study("A", 0, [(1, 0.5), (800, None)]))["at_low"].tolist() == [1]


def test_all_numbers_are_looked_at_each_on_its_own_scale() -> None:
    space = {
        **rates(),
        "gamma": FloatDistribution(0.01, 1, log=True),
        "momentum": FloatDistribution(0, 1),
        "patience": IntDistribution(1, 20),
        "mode": CategoricalDistribution(("a", "b")),
        "fixed": FloatDistribution(2, 2),
    }
    table = ends(studies("A", [100, 100], space, gamma=0.012, momentum=0.012, patience=20, mode="a", fixed=2.0))
    assert table.set_index("parameter")[["at_low", "at_high"]].to_numpy().tolist() == [[0, 0], [2, 0], [2, 0], [0, 2], [0, 0]]
    assert list(at_an_end(table)["parameter"]) == ["gamma", "momentum", "patience"]
    assert warning(table) == ""  # no other range is as arbitrary as that of the rates


def test_the_first_of_equals_is_the_winner_and_a_study_without_one_counts_not() -> None:
    trials = pd.concat([study("A", 0, [(100, 0.5), (900, 0.5)]), study("A", 1, [(900, None)])])
    assert ends(trials)[["at_high", "studies"]].to_numpy().tolist() == [[0, 1]]


def test_what_is_worth_telling_is_any_rate_at_an_end_what_was_widened_and_other_ends_of_most() -> None:
    shape = {**rates(), "gamma": FloatDistribution(0, 1)}
    trials = pd.concat(
        [
            studies("inside", [50, 60]),
            studies("one", [900, 100, 100]),
            studies("wider", [50], rates(), rates(1, 10_000)),
            studies("middle", [50], shape, gamma=0.5),
            studies("most", [50], shape, gamma=0.99),
        ]
    )
    told = worth_telling(ends(trials))
    assert list(zip(told["scheduler"], told["parameter"], strict=True)) == [
        ("one", "lr %"),
        ("wider", "lr %"),
        ("most", "gamma"),
    ]
    assert warning(ends(trials)) == ""  # one of three may be chance


@pytest.mark.parametrize("none", [pd.DataFrame(columns=list(TRIAL_COLUMNS)), pd.DataFrame()])
def test_without_trials_there_is_nothing_to_tell(none: pd.DataFrame) -> None:
    table = ends(none)
    assert list(table.columns) == list(COLUMNS)
    assert len(worth_telling(table)) == 0
    assert warning(table) == ""


@pytest.mark.parametrize(
    ("best", "who", "low", "high"),
    [
        ({"A": 900}, "A", "1%", "10000%"),
        ({"A": 1.2, "B": 900}, "A and B", "0.1%", "10000%"),
        ({"A": 900, "B": 900, "C": 800}, "A, B and C", "1%", "10000%"),
        (dict.fromkeys("ABCD", 900), "4 of 5 schedulers", "1%", "10000%"),
        (dict.fromkeys("ABCDE", 900), "every scheduler", "1%", "10000%"),
    ],
)
def test_the_warning_names_who_and_what_to_write(best: dict[str, float], who: str, low: str, high: str) -> None:
    text = warning(ends(pd.concat([studies(label, [best.get(label, 100)]) for label in "ABCDE"])))
    assert text == (
        f"The best peak rate of {who} lies at an end of the range that was searched, which may decide the order: "
        f"write tune: {{lr: {{low: {low}, high: {high}}}}} in params.yaml, or another lr of the optimizer."
    )
    PeakRates(low=low, high=high)  # it can be written


def test_where_nothing_wider_can_be_written_nothing_is_asked_for() -> None:
    text = warning(ends(studies("A", [900_000], rates(1, 1_000_000))))
    assert text.endswith("which may decide the order.")


def test_what_others_searched_is_not_searched_beyond() -> None:
    trials = pd.concat([studies("A", [900]), studies("B", [50], rates(), rates(1, 100_000))])
    assert ends(trials)["widened"].tolist() == [0, 1]
    remedy = "write tune: {lr: {low: 1%, high: 100000%}} in params.yaml, or another lr of the optimizer."
    assert warning(ends(trials)).endswith(remedy)


def test_plain_rates_are_written_as_plain_numbers() -> None:
    trials = studies("A", [0.9], {"lr": FloatDistribution(0.001, 1, log=True)}, lr=0.9)
    assert warning(ends(trials)).endswith("write tune: {lr: {low: 0.001, high: 10}} in params.yaml.")


# Budgets


@pytest.mark.parametrize(
    ("rates", "write"),
    [
        (PeakRates(), "write tune: {lr: {low: 0.5%, high: 40000%}} in params.yaml"),
        (PeakRates(low=0.001, high=1.0), "write tune: {lr: {low: 0.0005, high: 40}} in params.yaml"),
    ],
)
def test_a_best_rate_at_an_end_of_a_budget_names_the_range_to_write(rates: PeakRates, write: str) -> None:
    """Ten times beyond 0.005 and 4, where 100% is 0.1; who lies inside says nothing."""
    rows = [(5, "A", 0.005, "low"), (5, "B", 0.1, ""), (20, "A", 4.0, "high"), (20, "B", 2.0, "high")]
    table = pd.DataFrame(rows, columns=["epochs", "scheduler", "best_lr", "end"])
    said = budget_warning(table, rates, 0.1)
    assert said == (
        "At 5, 20 epochs the best peak rate of 2 of 2 schedulers lies at an end of what was swept, which may decide who wins "
        f"there: {write}."
    )
    assert budget_warning(table[table["end"] == ""], rates, 0.1) == ""
