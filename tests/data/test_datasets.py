"""Every registered dataset, and what the synthetic one promises."""

import numpy as np
import pandas as pd
import pytest

from pipeline.config.registry import Registered
from pipeline.data.datasets import datasets, digits, synthetic

EVERY = [pytest.param(each, id=each.name) for each in datasets if each.name != "file"]  # test_tables.py has that


def built(each: Registered, **arguments: object) -> pd.DataFrame:
    frame: pd.DataFrame = each.function(**each.complete(arguments))
    return frame


def features(frame: pd.DataFrame) -> np.ndarray:
    return frame.drop(columns=["split", "y"]).to_numpy()


@pytest.mark.parametrize("each", EVERY)
def test_a_dataset_has_the_agreed_columns(each: Registered) -> None:
    frame = built(each)
    width = len(frame.columns) - 2
    assert list(frame.columns) == ["split", "y", *(f"x{i}" for i in range(width))]
    assert set(frame["split"]) == {"train", "validation", "test"}
    assert frame["y"].dtype == (np.float32 if each.name in ("diabetes", "linnerud") else np.int64)
    assert features(frame).dtype == np.float32
    assert np.isfinite(features(frame)).all()


@pytest.mark.parametrize("each", EVERY)
def test_every_part_holds_every_class(each: Registered) -> None:
    if each.name in ("diabetes", "linnerud"):
        pytest.skip("a regression")
    classes = built(each).groupby("split")["y"].unique()
    assert [sorted(found) for found in classes] == [list(range(max(classes["train"]) + 1))] * 3


@pytest.mark.parametrize("each", EVERY)
def test_a_dataset_follows_from_its_arguments(each: Registered) -> None:
    pd.testing.assert_frame_equal(built(each), built(each))
    if "seed" in each.arguments.model_fields:
        assert not built(each).equals(built(each, seed=1))


def test_spare_samples_come_behind_all_others() -> None:
    """So that the others stay the same."""
    frame = synthetic(train=30, validation=20, test=10, spare=40)
    assert frame["split"].tolist()[-40:] == ["spare"] * 40
    assert frame["split"].value_counts().to_dict() == {"train": 30, "validation": 20, "test": 10, "spare": 40}


def test_sizes_are_those_asked_for() -> None:
    frame = synthetic(train=30, validation=20, test=10, features=4, classes=3)
    assert frame["split"].value_counts().to_dict() == {"train": 30, "validation": 20, "test": 10}
    assert features(frame).shape == (60, 4)
    assert set(frame["y"]) == {0, 1, 2}


@pytest.mark.parametrize("condition", [1.0, 100.0, 10_000.0])
def test_the_condition_number_is_the_one_asked_for(condition: float) -> None:
    x = features(synthetic(train=200_000, validation=1, test=1, features=5, condition=condition)).astype(np.float64)
    assert np.linalg.cond(np.cov(x.T)) == pytest.approx(condition, rel=0.05)
    assert np.mean(x**2) == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_noise_is_the_share_of_wrong_labels(noise: float) -> None:
    clean, noisy = (synthetic(train=20_000, classes=4, noise=share)["y"] for share in (0.0, noise))
    assert (clean != noisy).mean() == pytest.approx(noise, abs=0.01)


def test_a_linear_teacher_gave_the_clean_labels() -> None:
    """Some hyperplane through the origin parts the classes: the perceptron, which ends only then, ends."""
    frame = synthetic(train=200, validation=1, test=1, features=3, noise=0.0, condition=4.0)
    x, sign = features(frame), 2 * frame["y"].to_numpy() - 1
    weights = np.zeros(3)
    for _ in range(100_000):
        wrong = np.flatnonzero(sign * (x @ weights) <= 0)
        if wrong.size == 0:
            break
        weights += sign[wrong[0]] * x[wrong[0]]
    assert (sign * (x @ weights) > 0).all()


def test_digits_are_split_by_class_and_scaled_by_a_constant() -> None:
    frame = digits()
    assert frame["split"].value_counts().to_dict() == {"train": 1077, "validation": 360, "test": 360}
    counts = frame.groupby(["split", "y"]).size().unstack()
    shares = counts.div(counts.sum(axis=1), axis=0)
    assert (shares - shares.mean()).abs().to_numpy().max() < 0.005
    assert (features(frame).min(), features(frame).max()) == (0.0, 1.0)


def test_another_seed_of_digits_is_another_split_of_the_same_images() -> None:
    one, two = digits(seed=0), digits(seed=1)
    assert one.drop(columns="split").equals(two.drop(columns="split"))
    assert (one["split"] != two["split"]).any()
