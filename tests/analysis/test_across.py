"""Ranks across problems against the worked example of Demšar (2006), and where there is nothing to test."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.analysis.across import ENOUGH, average_ranks, critical_difference, friedman

# Demšar (2006), table 6: ranks of C4.5 without and with tuning of cf, m, and both, on 14 data sets. Shared ranks are means.
DEMSAR: list[list[float]] = [
    [4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1],
    [2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5, 2.5, 2.5, 2.5], [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2],
]  # fmt: skip


def comparison(ranks: list[list[float]], labels: str = "ABCD", variant: str = "default") -> pd.DataFrame:
    """Problems × schedulers as rows."""
    rows = [
        {"problem": f"p{number}", "variant": variant, "scheduler": label, "rank": rank}
        for number, own in enumerate(ranks)
        for label, rank in zip(labels, own, strict=True)
    ]
    return pd.DataFrame(rows)


def test_average_ranks_of_demsars_example() -> None:
    table = average_ranks(comparison(DEMSAR))
    assert list(table["scheduler"]) == list("ABCD")
    assert list(table["rank"]) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)  # as the paper prints them
    assert set(table["problems"]) == {14}


def test_schedulers_that_share_the_better_rank_take_the_mean_of_their_places() -> None:
    # A comparison writes 1, 1, 3; the two share the places 1 and 2, as in a problem that ranks them 1.5, 1.5, 3.
    assert list(average_ranks(comparison([[1, 1, 3], [1, 2, 3]], "ABC"))["rank"]) == [1.25, 1.75, 3.0]


def test_average_ranks_keep_the_variants_apart() -> None:
    both = pd.concat([comparison([[1, 2]], "AB"), comparison([[2, 1]], "AB", "tuned")])
    found = average_ranks(both).set_index(["variant", "scheduler"])["rank"].to_dict()
    assert found == {("default", "A"): 1, ("default", "B"): 2, ("tuned", "A"): 2, ("tuned", "B"): 1}


def test_friedmans_p_of_demsars_example() -> None:
    # The paper's chi-squared, 9.28, is without the correction for ties. Those sum to t³ - t = 6 + 6 + 60 + 6 = 78 of
    # 14 * (4³ - 4) = 840, so that it becomes 9.2786 / (1 - 78 / 840) = 10.2283, with 3 degrees of freedom.
    assert friedman(comparison(DEMSAR), "default").p == pytest.approx(stats.chi2.sf(10.2283, 3), abs=1e-6)


def test_nemenyis_pairs_of_demsars_example() -> None:
    found = friedman(comparison(DEMSAR), "default")
    assert found.missing == 0
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)  # as in the paper
    assert found.ranks == pytest.approx({"A": 3.143, "B": 2.0, "C": 2.893, "D": 1.964}, abs=5e-4)
    assert (found.problems, found.rejects) == (14, True)
    assert [*zip(found.pairs["scheduler"], found.pairs["other"], strict=True)] == list(combinations("ABCD", 2))
    # The largest difference, 3.143 - 1.964 = 1.179, is below 1.25: no pair differs at 5%. By hand, in units of the
    # studentized range, it is 1.17857 √(6 * 14 / 20) √2 = 3.41582.
    assert found.pairs.set_index(["scheduler", "other"]).loc[("A", "D"), "p"] == pytest.approx(
        stats.studentized_range.sf(3.41582, 4, np.inf), abs=1e-4
    )
    assert (found.pairs["p"] > 0.05).all()


@pytest.mark.parametrize(
    ("schedulers", "q"),
    list(enumerate([1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164], start=2)),
)
def test_critical_values_are_demsars_table_5(schedulers: int, q: float) -> None:
    # With k (k + 1) / 6 problems the root is 1; the table's third decimal is rounded, or cut.
    assert critical_difference(1, schedulers) / np.sqrt(schedulers * (schedulers + 1) / 6) == pytest.approx(q, abs=2e-3)


@pytest.mark.parametrize("problems", range(1, ENOUGH + 1))
def test_too_few_problems_say_how_many_are_missing(problems: int) -> None:
    found = friedman(comparison(DEMSAR[:problems]), "default")
    assert found.missing == ENOUGH - problems
    assert (found.p is None) == (found.critical_difference is None) == found.pairs.empty == (problems < ENOUGH)
    assert found.summary.to_dict("list").keys() == {"problems", "schedulers", "missing", "p", "critical_difference"}
    assert found.summary["p"].isna().item() == (found.p is None)


def test_a_variant_that_no_problem_has_misses_all_of_them() -> None:
    assert friedman(comparison(DEMSAR), "tuned").missing == ENOUGH


def test_two_schedulers_are_no_matter_for_friedman() -> None:
    found = friedman(comparison([[1, 2]] * 6, "AB"), "default")
    assert (found.missing, found.p, found.pairs.empty, found.rejects) == (0, None, True, False)


def test_a_scheduler_that_a_problem_lacks_is_left_out() -> None:
    rows = comparison([[1, 2, 3, 4]] * 5)
    found = friedman(rows.drop(index=3), "default")  # D in the first problem
    assert set(found.pairs["scheduler"]) | set(found.pairs["other"]) == set("ABC")
    # Ranks are among those three: where D came first in between, the others move up.
    moved = comparison([[1, 2, 3, 4], [2, 3, 4, 1], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]).drop(index=3)
    assert friedman(moved, "default").ranks == {"A": 1, "B": 2, "C": 3}


def test_schedulers_equal_everywhere_give_no_evidence() -> None:
    found = friedman(comparison([[1, 1, 1]] * 5, "ABC"), "default")
    assert (found.p, found.rejects) == (1, False)


@settings(max_examples=20)
@given(st.permutations(range(20)))
def test_the_order_of_rows_matters_to_no_p(order: list[int]) -> None:
    rows = comparison(DEMSAR[:5])
    assert friedman(rows.iloc[order], "default").p == pytest.approx(friedman(rows, "default").p)
