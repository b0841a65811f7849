"""A dataset in memory: what names it, and its samples as a model of some seed takes them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config.files import ResultsError
from pipeline.data.datasets import frame, synthetic
from pipeline.data.splits import draw_splits
from pipeline.data.tables import dataset_of
from pipeline.problems.dataset import Dataset, ProblemError, splits_of, table_of

FRAME = synthetic(train=60, validation=30, test=45, features=4, classes=3, noise=0.2)


def in_memory(data: pd.DataFrame, *, resample: bool = True) -> Dataset:
    return Dataset.of("synthetic", data, draw_splits("synthetic", data, range(3), resample=resample))


def with_value(column: str, value: Any) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[5, column] = value
    return frame


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(with_value("x2", np.float32(0.5)), id="a feature"),
        pytest.param(with_value("y", (FRAME["y"][5] + 1) % 3), id="a class"),
        pytest.param(FRAME.assign(y=FRAME["y"].astype(float)), id="the task"),
        pytest.param(FRAME[::-1], id="the order"),
        pytest.param(FRAME[:-1], id="the size"),
    ],
)
def test_the_digest_tells_the_samples(data: pd.DataFrame) -> None:
    assert in_memory(data).digest != in_memory(FRAME).digest


def test_the_digest_tells_the_shape_of_a_sample() -> None:
    image = FRAME.copy()
    image.attrs["shape"] = [1, 2, 2]
    assert in_memory(image).digest != in_memory(FRAME).digest


def test_splits_come_back_as_they_were() -> None:
    splits = in_memory(FRAME).splits
    table = table_of(splits)
    assert list(table) == ["part", "0", "1", "2"]
    assert table["part"].value_counts().to_dict() == {"train": 60, "validation": 30, "test": 45}
    again = splits_of(table)
    assert {seed: split.digest for seed, split in again.items()} == {seed: split.digest for seed, split in splits.items()}
    assert again[0].train.dtype == splits[0].train.dtype


def test_a_seed_without_a_split_is_told() -> None:
    wrong = r"^data/synthetic\.splits\.parquet has no split for seed 3; `dvc repro dataset@synthetic` draws those of all seeds$"
    with pytest.raises(ResultsError, match=wrong):
        in_memory(FRAME).samples([0, 3])


@pytest.mark.parametrize("kind", ["rows", "images", "tokens"])
def test_the_target_of_a_regression_is_standardised_by_each_seeds_training_part(kind: str) -> None:
    draw = np.random.default_rng(0)
    x: Any = {
        "rows": draw.normal(size=(90, 3)),
        "images": draw.normal(size=(90, 1, 4, 2)),
        "tokens": draw.integers(0, 5, (90, 4)),
    }
    y = 1.7e9 + 3 * draw.normal(size=90)
    table = frame(x[kind], y, np.resize(["train", "train", "validation", "test"], 90))
    data = in_memory(table)
    samples = data.samples([0, 1, 0])
    for place, seed in enumerate([0, 1, 0]):
        split = data.split(seed)
        rows, scale = samples.parts["train"][place], y[split.train].std()
        np.testing.assert_array_equal(samples.x[rows], x[kind][split.train].astype(samples.x.dtype))
        np.testing.assert_allclose(samples.y[rows], (y[split.train] - y[split.train].mean()) / scale, atol=1e-6)
        assert samples.scales[place].deviation == pytest.approx(scale)
        assert samples.y.dtype == np.float32
    assert data.scale(1) != data.scale(0)


def test_a_row_beyond_all_that_a_training_part_has_is_told() -> None:
    table = pd.DataFrame({"a": np.arange(40) % 7 * 1e-20, "b": np.arange(40.0) ** 2, "y": np.sin(np.arange(40))})
    table.loc[39, "a"] = 1e30
    data = dataset_of(table.assign(part=["train"] * 30 + ["validation"] * 5 + ["test"] * 5), "y", split="part")
    dataset = in_memory(data, resample=False)
    with pytest.raises(ProblemError, match=r"synthetic: the column a is too far in row 40 from all that a training part has"):
        dataset.samples([0])
