"""The tutorial's table: the learning rate at epochs 1, 11, … 91, worked out by hand.

The tutorial's problem at 1000 training samples in batches of 32 (32 batches an epoch, the last one of 8), 100 epochs and
learning rate 1.0, with the schedulers that params.yaml comes with. They are repeated here since params.yaml is the user's.
"""

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.config.arrays import Floats
from pipeline.engine.rates import Rates
from pipeline.problems.problem import Problem
from tests.engine.helpers import Builder, run_of

TUTORIAL = """
seeds: 2
problems:
  synthetic:
    dataset: {name: synthetic, train: 1000, validation: 100, test: 100, features: 10, classes: 2}
    model: {name: linear}
    optimizer: {name: SGD, lr: 1.0}
    epochs: 100
    batch_size: 32
schedulers:
  StepLR: {args: {step_size: 30%, gamma: 0.1}}
  MultiStepLR: {args: {milestones: [30%, 80%], gamma: 0.1}}
  ExponentialLR: {args: {gamma: 0.95}}
  CosineAnnealingLR: {args: {T_max: 100%}}
  ReduceLROnPlateau: {args: {factor: 0.1, patience: 10%}}
  CyclicLR: {args: {base_lr: 1%, max_lr: 100%, step_size_up: 10%, cycle_momentum: false}}
  ConstantLR: {args: {factor: 1.0}}
report: {baseline: ConstantLR}
"""

EXPECTED = {
    #    epoch       1      11     21     31     41     51     61     71     81     91
    # times 0.1 after every 30 epochs: from epochs 31, 61 and 91 on
    "StepLR":       [1.0,   1.0,   1.0,   0.1,   0.1,   0.1,   0.01,  0.01,  0.01,  0.001],
    # times 0.1 after 30 and after 80 epochs: from epochs 31 and 81 on
    "MultiStepLR":  [1.0,   1.0,   1.0,   0.1,   0.1,   0.1,   0.1,   0.1,   0.01,  0.01],
    # 0.95 to the power of the epochs behind it: 0, 10, 20 … 90
    "ExponentialLR": [1.0, 0.598736939238, 0.358485922409, 0.214638763942, 0.128512156512, 0.0769449752767,
                      0.0460697989875, 0.0275836904567, 0.0165153743691, 0.00988836470851],
    # (1 + cos(pi k / 10)) / 2 for k = 0 … 9: the cosine is 1, 0.9511, 0.8090, 0.5878, 0.3090, 0 and back with a minus
    "CosineAnnealingLR": [1.0, 0.975528258148, 0.904508497187, 0.793892626146, 0.654508497187, 0.5,
                          0.345491502813, 0.206107373854, 0.0954915028125, 0.0244717418524],
    # 10% of the 3200 batches are 320 batches, ten epochs: from 0.01 up to 1.0, then ten epochs down again, and so on
    "CyclicLR":     [0.01,  1.0,   0.01,  1.0,   0.01,  1.0,   0.01,  1.0,   0.01,  1.0],
    # factor 1: never anything but the optimizer's own
    "ConstantLR":   [1.0,   1.0,   1.0,   1.0,   1.0,   1.0,   1.0,   1.0,   1.0,   1.0],
}  # fmt: skip

PLATEAU: dict[str, tuple[Callable[[int], float], list[float]]] = {
    # Improving by 1% each epoch, more than the threshold of 0.01%: never reduced.
    "improving": (lambda epoch: 0.99**epoch, [1.0] * 10),
    # Constant: epoch 1 is the best, epochs 2 to 12 are 11 bad ones, one more than the patience of 10, so times 0.1
    # from epoch 13 on; the count then starts anew: 13 to 23 are bad, times 0.1 from 24 on, and so every 11 epochs (35, 46,
    # 57, 68, 79, 90).
    "constant": (lambda epoch: 0.5, [1.0, 1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]),
    # Improving to epoch 40: 41 to 51 are bad, times 0.1 from epoch 52 on, then from 63, 74 and 85 on.
    "stalling": (lambda epoch: 0.99 ** min(epoch, 40), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.01, 1e-3, 1e-4]),
}
"""Training losses by epoch, and the rates that follow."""


@pytest.fixture(scope="module")
def tutorial(new_problem: Builder) -> Problem:
    return new_problem.from_text(TUTORIAL)


def rates(problem: Problem, label: str, loss: Callable[[int], float] = lambda _: 1.0) -> Floats:
    """The rate at the first step of every epoch."""
    asked = Rates(problem, [run_of(problem, label)])
    first = []
    for epoch in range(1, 101):
        lr, _ = asked.epochs(range(epoch, epoch + 1))
        assert lr.shape == (32, 1)
        first.append(lr[0, 0])
        asked.feed({"train_loss": np.array([loss(epoch)])})
    return np.array(first)


@pytest.mark.parametrize("label", EXPECTED)
def test_rates_of_the_tutorial(tutorial: Problem, label: str) -> None:
    np.testing.assert_allclose(rates(tutorial, label)[::10], EXPECTED[label], rtol=1e-9)


@pytest.mark.parametrize("course", PLATEAU)
def test_rates_of_plateau(tutorial: Problem, course: str) -> None:
    loss, expected = PLATEAU[course]
    np.testing.assert_allclose(rates(tutorial, "ReduceLROnPlateau", loss)[::10], expected, rtol=1e-9)


def test_every_scheduler_of_the_tutorial_is_expected(tutorial: Problem) -> None:
    assert tutorial.schedules.keys() == {*EXPECTED, "ReduceLROnPlateau"}


def test_cyclic_moves_every_batch(tutorial: Problem) -> None:
    """Up by 0.99 / 320 with every batch of the first ten epochs."""
    lr, momentum = Rates(tutorial, [run_of(tutorial, "CyclicLR")]).epochs(range(1, 2))
    np.testing.assert_allclose(lr[:, 0], [0.01 + 0.99 / 320 * batch for batch in range(32)], rtol=1e-9)
    assert not momentum.any()
