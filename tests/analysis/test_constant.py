"""The same answer for every sample, beside what numpy makes of the targets alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.analysis.constant import constant
from pipeline.config.components import Component
from pipeline.problems.problem import Problem
from tests.engine.helpers import SMALL, Builder

CONSTANT = {"ConstantLR": {"args": {"factor": 1.0}}}


def targets(problem: Problem, seed: int) -> tuple[Any, Any]:
    """Of the training and of the validation part."""
    split = problem.data.split(seed)
    return problem.data.y[split.train], problem.data.y[split.validation]


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "BCEWithLogitsLoss"])
def test_of_classes_it_is_their_shares(new_problem: Builder, loss: str) -> None:
    problem = new_problem(CONSTANT, dataset={**SMALL, "classes": 2}, loss={"name": loss})
    found = constant(problem, [0, 1]).set_index("seed")
    for seed in (0, 1):
        train, validation = targets(problem, seed)
        shares = np.bincount(train) / len(train)
        assert found.loc[seed, "validation_loss"] == pytest.approx(-np.log(shares[validation]).mean(), rel=1e-5)
        assert found.loc[seed, "validation_metric"] == pytest.approx((validation == shares.argmax()).mean())


@pytest.mark.parametrize(("loss", "middle"), [("MSELoss", np.mean), ("L1Loss", np.median)])
def test_of_numbers_it_is_their_middle(new_problem: Builder, loss: str, middle: Any) -> None:
    """In units of the training part's standard deviation; R2 of it is just below zero."""
    problem = new_problem(CONSTANT)
    numbers = np.random.default_rng(0).gamma(2.0, size=len(problem.data.y))
    params = problem.params.model_copy(update={"loss": Component(loss, {})})
    problem = replace(problem, data=replace(problem.data, y=numbers), params=params)
    train, validation = targets(problem, 0)
    away = (validation - middle(train)) / train.std()
    found = constant(problem, [0]).iloc[0]
    expected = (away**2).mean() if loss == "MSELoss" else np.abs(away).mean()
    assert found["validation_loss"] == pytest.approx(expected, rel=1e-3)
    r2 = 1 - ((validation - middle(train)) ** 2).sum() / ((validation - validation.mean()) ** 2).sum()
    assert found["validation_metric"] == pytest.approx(r2, abs=2e-3)


def test_of_tokens_it_is_their_shares_too_and_of_shaped_numbers_nothing_is_told(new_problem: Builder) -> None:
    problem = new_problem(CONSTANT)
    places = np.stack([problem.data.y, problem.data.y], axis=1)
    alone, twice = (constant(replace(problem, data=replace(problem.data, y=y)), [0]) for y in (problem.data.y, places))
    assert twice.to_numpy(float) == pytest.approx(alone.to_numpy(float), rel=1e-5)
    assert constant(replace(problem, data=replace(problem.data, y=places[..., None] / 2)), [0]).empty
