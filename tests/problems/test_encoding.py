"""Raw columns as inputs: standardised, one-hot and imputed by the training part alone."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.problems.encoding import (
    Column,
    Columns,
    Scale,
    beyond_precision,
    encode,
    encoded,
    fitted,
    lost_in_single_precision,
)

COLUMNS = (Column("a"), Column("b", ("x", "y", "z")))


def test_inputs_are_standardised_by_the_training_part_alone() -> None:
    x = np.array([[1.0, 0], [3, 1], [100, 2], [np.nan, np.nan]])
    encoded = encode(x, COLUMNS, np.array([0, 1]))
    # mean 2 and deviation 1 of the first two; what is missing is their median 2, and the first of the equally frequent;
    # neither of the two is a z, for which no weight is trained then
    np.testing.assert_allclose(encoded, [[-1, 1, 0, 0], [1, 0, 1, 0], [98, 0, 0, 0], [0, 1, 0, 0]])
    changed = x.copy()
    changed[2] = [-7, 0]
    np.testing.assert_array_equal(encode(changed, COLUMNS, np.array([0, 1]))[:2], encoded[:2])


def test_a_category_that_training_never_saw_is_all_zeros() -> None:
    x = np.array([[0.0, 0], [1, 0], [2, 2]])
    np.testing.assert_array_equal(encode(x, COLUMNS, np.array([0, 1]))[:, 1:], [[1, 0, 0], [1, 0, 0], [0, 0, 0]])


def test_places_of_categories_stand_behind_the_numbers() -> None:
    x = np.array([[0.0, 5, 1], [1, 7, 1], [2, 6, 0], [np.nan, np.nan, np.nan]])
    columns = (Column("b", ("x", "y", "z")), Column("a"), Column("c", ("u", "v")))
    found = encode(x, columns, np.array([0, 1]), as_places=True)
    # mean 6 and deviation 1; z and u are in no training row; what is missing is the first of the most frequent
    np.testing.assert_allclose(found, [[-1, 1, 2], [1, 2, 2], [0, 0, 0], [0, 1, 2]])
    assert Columns.of(columns) == Columns(1, (4, 3), ("a", "b", "c"))


def test_a_column_that_is_empty_in_the_training_part_becomes_zeros() -> None:
    x = np.array([[np.nan, np.nan], [np.nan, np.nan], [5, 1]])
    np.testing.assert_array_equal(encode(x, COLUMNS, np.array([0, 1]))[:2], np.zeros((2, 4)))


def test_a_column_that_does_not_vary_becomes_zero() -> None:
    assert encode(np.full((3, 1), 7.0), (Column("a"),), np.array([0, 1])).tolist() == [[0.0]] * 3


def test_what_was_fitted_once_encodes_other_samples() -> None:
    x = np.array([[1.0, 0], [3, 1], [np.nan, 2]])
    transformer = fitted(x[:2], COLUMNS)
    np.testing.assert_array_equal(encoded(transformer, x), encode(x, COLUMNS, np.array([0, 1])))
    assert encoded(transformer, x[2:]).tolist() == [[0.0, 0.0, 0.0, 0.0]]
    assert encoded(transformer, x).dtype == np.float32


def test_a_column_survives_its_file() -> None:
    for column, width in zip(COLUMNS, (1, 3), strict=True):
        assert Column.from_dict(column.as_dict()) == column
        assert column.width == width


@given(
    offset=st.sampled_from([0.0, 1.0, -5e6, 2_460_000.5, 1.7e9, -1.7e9, 1e12]),
    unit=st.sampled_from([1e-3, 1.0, 64.0, 3.7, 1e6]),
    seed=st.integers(0, 2**16),
    rows=st.integers(3, 100),
)
@settings(max_examples=30)
def test_neither_offset_nor_unit_changes_what_a_model_sees(offset: float, unit: float, seed: int, rows: int) -> None:
    """To the precision that the shifted numbers themselves have."""
    plain = np.random.default_rng(seed).normal(size=(rows, 1))
    train, moved = np.arange(rows - 1), offset + unit * plain
    lost = np.spacing(np.abs(moved).max()) / (unit * plain[train].std())
    tolerance = {"rtol": 1e-6, "atol": 1e-6 + 4 * lost * (1 + np.abs(plain).max() / plain[train].std())}
    np.testing.assert_allclose(encode(moved, COLUMNS[:1], train), encode(plain, COLUMNS[:1], train), **tolerance)
    one, other = Scale.of(moved[train]), Scale.of(plain[train])
    np.testing.assert_allclose(one.standardised(moved), other.standardised(plain), **tolerance)
    np.testing.assert_allclose(one.told(one.standardised(moved).astype(float)), moved, rtol=1e-6, atol=unit * 1e-5)


def test_many_numbers_close_together_far_from_zero_are_standardised() -> None:
    """Milliseconds within a minute: their spread is below what scikit-learn takes for rounding in so many rows."""
    x = 1.7e12 + np.arange(100_000.0)[:, None] % 60
    found = encode(x, COLUMNS[:1], np.arange(len(x)))
    np.testing.assert_allclose(found.std(), 1, rtol=1e-5)


def test_what_differs_by_rounding_alone_does_not_differ() -> None:
    x = np.where(np.arange(10) % 2, 0.1 + 0.2, 0.3)[:, None]
    assert encode(x, COLUMNS[:1], np.arange(10)).tolist() == [[0.0]] * 10


@pytest.mark.parametrize("values", [[1e15, 1e15 + 1], [2.0**63, 2.0**63 + 4096], [1.7e18] * 2], ids=["few", "huge", "one"])
def test_whole_numbers_are_exact_however_large(values: list[float]) -> None:
    x = np.resize(values, 20)[:, None]
    assert encode(x, COLUMNS[:1], np.arange(20))[:, 0].tolist() == ([-1, 1] * 10 if len(set(values)) > 1 else [0] * 20)


@pytest.mark.parametrize(
    ("values", "rows", "message"),
    [
        ([1.0, 2e39, -3e38], [1], r"is beyond single precision \(2e\+39, and 3.4e\+38 is the most\)"),
        ([1e308, 0.0, -1e308], [0, 2], r"is beyond single precision \(1e\+308"),
        ([0.0, 1e-39, 2e-39], [0, 1, 2], "varies by 2e-39 only"),
        ([2**60, 2**60 + 1, 7], [0, 1], "holds whole numbers beyond 2⁵³"),
        (
            [5, 2**60, 2**60 + 1, 2**60, 2**60 + 1],
            [1, 2, 3, 4],
            "holds whole numbers beyond 2⁵³ that double precision does not tell apart",
        ),
    ],
)
def test_numbers_that_no_model_can_be_given_are_found(values: list[float], rows: list[int], message: str) -> None:
    for kind in ("int64", "Int64") if isinstance(values[0], int) else ("float64", "Float64"):
        found = beyond_precision(pd.Series(values, dtype=kind))
        assert found is not None
        assert np.flatnonzero(found[0]).tolist() == rows
        assert re.match(message, found[1])


@pytest.mark.parametrize("values", [[2**60, 2**60, 7], [True, False], [5e6, 5e6 + 1], [1e-30, 2e-30], [0.0, 0.0], [None, 3.0]])
def test_numbers_that_a_model_can_be_given_are_let_pass(values: list[Any]) -> None:
    assert beyond_precision(pd.Series(values)) is None


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.array([[1.0, 0.0], [2.0, 1e39]]), "gives 1e.39 for x1 in row 2, beyond single precision"),
        (1.7e9 + np.arange(6.0).reshape(3, 2), "gives numbers from 1700000000.0 to 1700000004.0 for x0, which are one"),
    ],
)
def test_inputs_that_stay_as_they_are_are_held_by_single_precision(x: np.ndarray, message: str) -> None:
    wrong = lost_in_single_precision(x)
    assert wrong is not None
    assert re.match(message, wrong[0])
    assert lost_in_single_precision(np.array([[0.3, 5.0], [0.1 + 0.2, 6.0]])) is None
