"""Raw columns as inputs: standardised, one-hot and imputed by the training part alone."""

import numpy as np

from pipeline.problems.encoding import Column, encode, encoded, fitted

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
