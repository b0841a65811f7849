"""Rates of a stack: which traces are shared, and what is refused before anything is trained."""

from typing import Any

import numpy as np
import pytest
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.engine.rates import Rates, refuse_impossible
from pipeline.errors import ParamsError
from pipeline.schedulers.registry import register
from tests.engine.helpers import Builder, run_of


@pytest.fixture
def built(own_registries: None) -> list[float]:
    """The arguments of every scheduler ``Counted`` that is built."""
    built: list[float] = []

    @register("Counted")
    def counted(optimizer: Optimizer, total_steps: int, factor: float = 1.0) -> LRScheduler:
        built.append(factor)
        return LambdaLR(optimizer, lambda step: factor)

    return built


def test_equal_schedules_share_a_trace(new_problem: Builder, built: list[float]) -> None:
    schedules: dict[str, dict[str, Any]] = {
        "A": {"name": "Counted", "args": {"factor": 0.5}},
        "B": {"name": "Counted", "args": {"factor": 0.5}},  # another label, the same schedule
        "C": {"name": "Counted", "args": {"factor": 0.25}},
        "D": {"name": "Counted", "args": {"factor": 0.5}, "lr": "50%"},  # another peak
    }
    problem = new_problem(schedules)
    runs = [run_of(problem, label, seed) for label in schedules for seed in range(3)]
    lr, _ = Rates(problem, runs).epoch(1)
    assert built == [0.5, 0.25, 0.5]
    np.testing.assert_allclose(lr[0], np.repeat([0.05, 0.05, 0.025, 0.025], 3))


def test_live_schedules_share_nothing(new_problem: Builder) -> None:
    """Two equal ones part as soon as their losses do; a NaN is no improvement."""
    problem = new_problem({"Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}}})
    rates = Rates(problem, [run_of(problem, "Plateau"), run_of(problem, "Baseline"), run_of(problem, "Plateau", 1)])
    assert rates.are_live
    seen = []
    for epoch, losses in enumerate(([1.0, 1.0, 1.0], [0.5, 9.0, 2.0], [np.nan, 9.0, 0.5]), start=1):
        lr, momentum = rates.epoch(epoch)
        assert (lr == lr[0]).all()
        assert not momentum.any()
        seen.append(lr[0])
        rates.feed(np.array(losses))
    seen.append(rates.epoch(4)[0][0])
    np.testing.assert_allclose(seen, [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.01], [0.01, 0.1, 0.01]])


def test_a_live_schedule_ignores_its_neighbours_losses(new_problem: Builder) -> None:
    problem = new_problem({"Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}}})
    rates = Rates(problem, [run_of(problem, "Baseline"), run_of(problem, "Plateau")])
    for losses in ([1.0, 0.9], [5.0, 0.8], [np.nan, 0.7]):
        rates.feed(np.array(losses))
    assert rates.epoch(4)[0][0].tolist() == [0.1, 0.1]


# Refusals

FILE = """\
seeds: 2
problems:
  small:
    dataset: {name: synthetic, train: 70, validation: 40, test: 30}
    model: {name: linear}
    optimizer: {name: SGD, lr: 0.1}
    epochs: 8
    batch_size: 12
    schedulers:
      StepLR: {args: {step_size: 2}}
OVERRIDES
schedulers:
  StepLR: {args: {step_size: 30%}}
  ConstantLR: {args: {factor: 1.0}}
COMMON
report: {baseline: ConstantLR}
"""
CYCLIC = "CyclicLR: {args: {base_lr: 50%, max_lr: 0.01, cycle_momentum: false}}"
NEGATIVE = "Negative: {args: {slope: 0.25}}"
RAISING = "Raising: {args: {at: 3}, interval: batch}"
BASE_ABOVE_MAX = "schedulers.CyclicLR.args: it cannot be built: base_lr (0.05) lies above max_lr (0.01)"  # 50% of 0.1
BECOMES_NEGATIVE = "schedulers.Negative.args: its learning rate becomes -0.025 at epoch 6"  # 0.1 * (1 - 0.25 * 5)
RAISES_MIDWAY = "schedulers.Raising.args: raises at its step 3 of 48: no step 3"  # 8 epochs of 6 batches


@pytest.fixture(autouse=True)
def impossible_schedulers(own_registries: None) -> None:
    @register("Negative")
    def negative(optimizer: Optimizer, total_steps: int, slope: float) -> LRScheduler:
        return LambdaLR(optimizer, lambda step: 1 - slope * step)

    @register("Raising")
    def raising(optimizer: Optimizer, total_steps: int, at: int) -> LRScheduler:
        def factor(step: int) -> float:
            if step == at:
                raise ValueError(f"no step {step}\nand a second line")
            return 1.0

        return LambdaLR(optimizer, factor)


def refusal(new_problem: Builder, monkeypatch: pytest.MonkeyPatch, overrides: list[str], common: list[str]) -> list[str]:
    """The lines of the error for these entries, each up to what was given."""
    text = FILE.replace("OVERRIDES", "\n".join(f"      {line}" for line in overrides))
    problem = new_problem.from_text(text.replace("COMMON", "\n".join(f"  {line}" for line in common)))
    monkeypatch.chdir(new_problem.folder)
    with pytest.raises(ParamsError) as error:
        refuse_impossible(problem)
    lines = [line.split(" (given: ") for line in str(error.value).splitlines()]
    assert all("; change its arguments" in remedy for _, remedy in lines)
    return [wrong for wrong, _ in lines]


@pytest.mark.parametrize(
    ("entry", "place", "message"),
    [
        (CYCLIC, "15:20", BASE_ABOVE_MAX),
        (NEGATIVE, "15:20", BECOMES_NEGATIVE),
        (RAISING, "15:19", RAISES_MIDWAY),
    ],
    ids=["base above max", "negative", "raises midway"],
)
def test_refused_with_its_place(
    new_problem: Builder, monkeypatch: pytest.MonkeyPatch, entry: str, place: str, message: str
) -> None:
    """Line 15 is the first after the common schedulers; the column is that of the arguments."""
    assert refusal(new_problem, monkeypatch, [], [entry]) == [f"params.yaml:{place}: {message}"]


def test_several_at_once(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An override is placed, and named, under its problem; it stands in for the common one of its label."""
    lines = refusal(new_problem, monkeypatch, [NEGATIVE], [CYCLIC, "Negative: {args: {slope: 0.0}}", RAISING])
    assert sorted(lines) == [
        f"params.yaml:11:24: problems.small.{BECOMES_NEGATIVE}",
        f"params.yaml:15:20: {BASE_ABOVE_MAX}",
        f"params.yaml:17:19: {RAISES_MIDWAY}",
    ]


def test_what_is_possible_passes(new_problem: Builder) -> None:
    refuse_impossible(new_problem.from_text(FILE.replace("OVERRIDES\n", "").replace("COMMON\n", "")))
