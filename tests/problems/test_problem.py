"""A problem and its replicates: what a seed draws, what all schedulers share, and what names it all."""

import pytest
import torch

from pipeline.config import files
from pipeline.config.files import ResultsError
from pipeline.data.datasets import synthetic
from pipeline.engine import names
from pipeline.engine.names import name_of
from pipeline.problems.dataset import table_of
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, Stream
from pipeline.runs.names import describe
from pipeline.runs.results import RUN_COLUMNS
from tests.fixtures import Edited
from tests.problems.helpers import from_files, from_frame

FRAME = synthetic(train=60, validation=30, test=45, features=4, classes=3, noise=0.2)
CPU = torch.device("cpu")
RESAMPLE = ("resample: true", "resample: false")


@pytest.fixture
def problem(edited: Edited) -> Problem:
    return from_frame(edited(), "synthetic", FRAME)


def weights(problem: Problem, seed: int, of: Stream = "final") -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in problem.new_model(seed, of).parameters()])


def order(problem: Problem, seed: int, of: Stream = "final") -> list[int]:
    return torch.randperm(50, generator=problem.new_order(seed, of)).tolist()


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
        assert problem.data.split(seed).digest == other.data.split(seed).digest
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


@pytest.mark.parametrize(
    "edit",
    [
        ("batch_size: 32", "batch_size: 33"),
        ("optimizer: {name: SGD, lr: 1.0}", "optimizer: {name: SGD, lr: 1.0, momentum: 0.5}"),
        ("optimizer: {name: SGD, lr: 1.0}", "optimizer: {name: AdamW, lr: 1.0}"),
        ("model: {name: linear}", "model: {name: mlp, hidden: [3]}"),
    ],
)
def test_the_fingerprint_tells_the_params(problem: Problem, edited: Edited, edit: tuple[str, str]) -> None:
    other = from_frame(edited(edit), "synthetic", FRAME)
    assert other.data.digest == problem.data.digest
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


def test_the_fingerprint_tells_the_data(problem: Problem, edited: Edited) -> None:
    data = FRAME.assign(x0=-FRAME["x0"])
    assert from_frame(edited(), "synthetic", data).fingerprint != problem.fingerprint


def test_a_run_is_named_by_its_own_seeds_split(problem: Problem, edited: Edited) -> None:
    """So that more seeds train no run again, and neither does a dataset that deals out its own parts in another way."""
    schedule = problem.schedules["StepLR"]
    named = [problem.fingerprint_of(schedule, seed) for seed in range(3)]
    assert len(set(named)) == 3
    more = from_frame(edited(("seeds: 10", "seeds: 20")), "synthetic", FRAME, seeds=20)
    assert [more.fingerprint_of(schedule, seed) for seed in range(3)] == named
    dealt = from_frame(edited(), "synthetic", FRAME.assign(split=FRAME["split"].to_numpy()[::-1]))
    assert [dealt.fingerprint_of(schedule, seed) for seed in range(3)] == named
    fixed = from_frame(edited(RESAMPLE), "synthetic", FRAME)
    assert len({fixed.fingerprint_of(schedule, seed) for seed in range(3)} - set(named)) == 1


def test_a_runs_name_tells_the_code(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("StepLR", problem.schedules["StepLR"], seed=2, epochs=50)
    before = name_of(problem, run, CPU)
    monkeypatch.setattr(names, "code_of", lambda problem: "other code")
    assert name_of(problem, run, CPU) != before


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


def test_a_problem_is_loaded_from_its_files(edited: Edited) -> None:
    params = edited()
    with pytest.raises(ResultsError, match=r"^data/synthetic\.parquet is not there; `dvc repro dataset@synthetic` writes it$"):
        from_files(params, "synthetic")
    problem = from_frame(params, "synthetic", FRAME, seeds=2)
    files.write_dataset("synthetic", FRAME, table_of(problem.data.splits))
    schedule, again = problem.schedules["StepLR"], from_files(params, "synthetic")
    assert [again.fingerprint_of(schedule, seed) for seed in range(2)] == [
        problem.fingerprint_of(schedule, seed) for seed in range(2)
    ]
    files.splits_path("synthetic").unlink()  # as of an older version
    with pytest.raises(
        ResultsError, match=r"^data/synthetic\.splits\.parquet is not there; `dvc repro dataset@synthetic` writes"
    ):
        from_files(params, "synthetic")
