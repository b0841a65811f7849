"""A problem and its replicates: what a seed draws, what all schedulers share, and what names it all."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.catalogue import CATALOGUE
from pipeline.config import files
from pipeline.config.files import ResultsError
from pipeline.config.params import load_params
from pipeline.data.datasets import frame, synthetic
from pipeline.data.tables import dataset_of
from pipeline.problems.problem import Problem, ProblemError, Split, from_frame, load_problem
from pipeline.problems.run import Run, Stream
from pipeline.runs.names import describe, name_of
from pipeline.runs.results import RUN_COLUMNS
from tests.conftest import Edited

FRAME = synthetic(train=60, validation=30, test=45, features=4, classes=3, noise=0.2)
CPU = torch.device("cpu")
RESAMPLE = ("resample: true", "resample: false")


@pytest.fixture
def problem(edited: Edited) -> Problem:
    return from_frame(edited(), "synthetic", FRAME)


def parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def weights(problem: Problem, seed: int, of: Stream = "final") -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in problem.new_model(seed, of).parameters()])


def order(problem: Problem, seed: int, of: Stream = "final") -> list[int]:
    return torch.randperm(50, generator=problem.new_order(seed, of)).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_split_keeps_the_sizes_and_shares_no_sample(problem: Problem, seed: int) -> None:
    split = parts(problem.split(seed))
    assert [len(part) for part in split] == [60, 30, 45]
    assert sorted(np.concatenate(split)) == list(range(len(FRAME)))


@pytest.mark.parametrize("seed", range(3))
def test_a_split_keeps_the_classes_shares(problem: Problem, seed: int) -> None:
    overall = np.bincount(problem.y) / len(problem.y)
    for part in parts(problem.split(seed)):
        assert np.abs(np.bincount(problem.y[part], minlength=3) - overall * len(part)).max() < 1.5


def test_every_seed_has_its_own_split_and_always_the_same(problem: Problem) -> None:
    drawn = [frozenset(problem.split(seed).test.tolist()) for seed in range(5)]
    assert len(set(drawn)) == 5
    assert drawn == [frozenset(problem.split(seed).test.tolist()) for seed in range(5)]


def test_without_resampling_the_split_is_the_datasets(edited: Edited) -> None:
    shuffled = FRAME.sample(frac=1, random_state=0)
    problem = from_frame(edited(RESAMPLE), "synthetic", shuffled)
    names = np.empty(len(FRAME), dtype=object)
    for seed in range(2):
        split = problem.split(seed)
        names[split.train], names[split.validation], names[split.test] = "train", "validation", "test"
        assert names.tolist() == shuffled["split"].tolist()


@pytest.mark.parametrize("of", ["final", "tune"])
def test_a_replicate_is_the_same_whatever_else_is_drawn(problem: Problem, of: Stream) -> None:
    """So all schedulers of a seed share it, and more seeds change no earlier one."""
    first = weights(problem, 3, of), order(problem, 3, of)
    torch.manual_seed(123)
    torch.rand(10)
    for seed in range(3):
        weights(problem, seed, of)
    assert torch.equal(weights(problem, 3, of), first[0])
    assert order(problem, 3, of) == first[1]


def test_a_new_model_leaves_torchs_own_stream_alone(problem: Problem) -> None:
    before = torch.get_rng_state()
    problem.new_model(0, "final")
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_and_streams_differ_in_weights_and_order(problem: Problem) -> None:
    draws: list[tuple[int, Stream]] = [(0, "final"), (1, "final"), (0, "tune")]
    assert len({tuple(weights(problem, *draw).tolist()) for draw in draws}) == 3
    assert len({tuple(order(problem, *draw)) for draw in draws}) == 3


def test_replicates_follow_neither_schedulers_nor_the_number_of_seeds(edited: Edited, problem: Problem) -> None:
    fewer = ("  MultiStepLR: {args: {milestones: [30%, 80%], gamma: 0.1}}\n", "")
    other = from_frame(edited(("seeds: 10", "seeds: 20"), fewer, ("epochs: 100", "epochs: 7")), "synthetic", FRAME)
    for seed in range(2):
        assert all(map(np.array_equal, parts(problem.split(seed)), parts(other.split(seed))))
        assert torch.equal(weights(problem, seed), weights(other, seed))
        assert order(problem, seed) == order(other, seed)


def test_the_budget_counts_the_last_smaller_batch(problem: Problem) -> None:
    assert (problem.budget().epochs, problem.budget().steps_per_epoch) == (100, 2)
    assert problem.budget(7).epochs == 7


def test_the_model_and_the_optimizer_are_those_of_the_params(problem: Problem) -> None:
    model = problem.new_model(0, "final")
    assert model(torch.zeros(1, 4)).shape == (1, 3)
    optimizer = problem.optimizers_for(next(iter(problem.schedules.values())))(list(model.parameters()), 0.25)
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.25


def with_value(column: str, value: Any) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[5, column] = value
    return frame


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(with_value("x2", np.float32(0.5)), id="a feature"),
        pytest.param(with_value("y", (FRAME["y"][5] + 1) % 3), id="a class"),
        pytest.param(with_value("split", "test"), id="a split"),
        pytest.param(FRAME[::-1], id="the order"),
        pytest.param(FRAME[:-1], id="the size"),
    ],
)
def test_the_digest_tells_the_data(problem: Problem, frame: pd.DataFrame) -> None:
    other = from_frame(load_params(CATALOGUE), "synthetic", frame)
    assert other.digest != problem.digest
    assert other.fingerprint != problem.fingerprint


@pytest.mark.parametrize(
    "edit",
    [
        RESAMPLE,
        ("batch_size: 32", "batch_size: 33"),
        ("optimizer: {name: SGD, lr: 1.0}", "optimizer: {name: SGD, lr: 1.0, momentum: 0.5}"),
        ("optimizer: {name: SGD, lr: 1.0}", "optimizer: {name: AdamW, lr: 1.0}"),
        ("model: {name: linear}", "model: {name: mlp, hidden: [3]}"),
    ],
)
def test_the_fingerprint_tells_the_params(problem: Problem, edited: Edited, edit: tuple[str, str]) -> None:
    other = from_frame(edited(edit), "synthetic", FRAME)
    assert other.digest == problem.digest
    assert other.fingerprint != problem.fingerprint


@pytest.mark.parametrize(
    "edit",
    [
        ("seeds: 10", "seeds: 20"),
        ("epochs: 100", "epochs: 7"),
        ("every: 10", "every: 5"),
        ("gamma: 0.95", "gamma: 0.9"),
        ("device: auto", "device: cpu"),
    ],
)
def test_the_fingerprint_tells_nothing_else(problem: Problem, edited: Edited, edit: tuple[str, str]) -> None:
    assert from_frame(edited(edit), "synthetic", FRAME).fingerprint == problem.fingerprint


def test_a_description_names_the_run_and_its_numbers(problem: Problem) -> None:
    run = Run("StepLR", problem.schedules["StepLR"], seed=2, epochs=50)
    described = describe(problem, run, CPU)
    assert set(RUN_COLUMNS) >= set(described)
    assert described["args"] == '{"gamma": 0.1, "step_size": "30%"}'
    assert described["resolved"] == '{"gamma": 0.1, "step_size": 15}'
    assert (described["scheduler"], described["seed"], described["epochs"], described["lr"]) == ("StepLR", 2, 50, 1.0)
    assert described["run"] == name_of(problem, run, CPU)


def test_a_peak_of_100_percent_is_the_optimizers_rate_to_the_last_bit(edited: Edited) -> None:
    rate = 0.1234567890123
    problem = from_frame(edited(("lr: 1.0", f"lr: {rate}")), "synthetic", FRAME)
    assert describe(problem, Run("ConstantLR", problem.schedules["ConstantLR"], 0, 10), CPU)["lr"] == rate


def test_a_problem_is_loaded_from_its_file(edited: Edited) -> None:
    params = edited()
    with pytest.raises(ResultsError, match="`dvc repro dataset@synthetic` writes it"):
        load_problem(params, "synthetic")
    files.write_dataset("synthetic", FRAME)
    loaded = load_problem(params, "synthetic")
    assert loaded.digest == from_frame(params, "synthetic", FRAME).digest
    assert (loaded.name, loaded.outputs, loaded.lr) == ("synthetic", 3, 1.0)


@pytest.mark.parametrize("kind", ["rows", "images", "tokens"])
def test_the_target_of_a_regression_is_standardised_by_each_seeds_training_part(edited: Edited, kind: str) -> None:
    draw = np.random.default_rng(0)
    x: Any = {
        "rows": draw.normal(size=(90, 3)),
        "images": draw.normal(size=(90, 1, 4, 2)),
        "tokens": draw.integers(0, 5, (90, 4)),
    }
    y = 1.7e9 + 3 * draw.normal(size=90)
    data = frame(x[kind], y, np.resize(["train", "train", "validation", "test"], 90))
    problem = from_frame(edited(), "synthetic", data)
    samples = problem.samples([0, 1, 0])
    for place, seed in enumerate([0, 1, 0]):
        split = problem.split(seed)
        rows, scale = samples.parts["train"][place], y[split.train].std()
        np.testing.assert_array_equal(samples.x[rows], x[kind][split.train].astype(samples.x.dtype))
        np.testing.assert_allclose(samples.y[rows], (y[split.train] - y[split.train].mean()) / scale, atol=1e-6)
        assert samples.scale[place] == pytest.approx(scale)
        assert samples.y.dtype == np.float32
    assert problem.scale(1) != problem.scale(0)


def test_a_row_beyond_all_that_a_training_part_has_is_told(edited: Edited) -> None:
    table = pd.DataFrame({"a": np.arange(40) % 7 * 1e-20, "b": np.arange(40.0) ** 2, "y": np.sin(np.arange(40))})
    table.loc[39, "a"] = 1e30
    data = dataset_of(table.assign(part=["train"] * 30 + ["validation"] * 5 + ["test"] * 5), "y", split="part")
    problem = from_frame(edited(RESAMPLE), "synthetic", data)
    with pytest.raises(ProblemError, match=r"synthetic: the column a is too far in row 40 from all that a training part has"):
        problem.samples([0])
