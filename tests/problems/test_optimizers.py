"""Optimizers by name: torch's own, with torch's arguments, and their schedule-free forms."""

import inspect
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch.optim import Optimizer

from pipeline.config.components import Component
from pipeline.problems.optimizers import optimizers, schedule_free

TORCHS = {
    name: kind
    for name, kind in vars(torch.optim).items()
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
}
LEFT_OUT = {"params", "maximize", "foreach", "capturable", "differentiable", "fused"}
"""All that docs/params.md says is not taken."""


def built(name: str, **given: Any) -> Optimizer:
    parameters = [torch.zeros(2, 2, requires_grad=True)]
    optimizer: Optimizer = optimizers[name].function(parameters, **optimizers[name].complete({"lr": 0.25, **given}))
    return optimizer


def test_every_class_of_torch_is_there_and_two_of_schedulefree() -> None:
    assert {entry.name for entry in optimizers} == {*TORCHS, "SGDScheduleFree", "AdamWScheduleFree"}


@pytest.mark.parametrize("name", TORCHS)
def test_its_arguments_and_defaults_are_torchs(name: str) -> None:
    theirs = {p.name: p.default for p in inspect.signature(TORCHS[name]).parameters.values() if p.name not in LEFT_OUT}
    ours = optimizers[name].complete({"lr": theirs["lr"]})
    assert ours == {key: list(value) if isinstance(value, tuple) else value for key, value in theirs.items()}


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("SGD", {"momentum": 0.9, "nesterov": True}, {"lr": 0.25, "momentum": 0.9, "nesterov": True, "maximize": False}),
        ("Adam", {"betas": [0.8, 0.95], "amsgrad": True}, {"betas": (0.8, 0.95), "amsgrad": True}),
        ("Adam", {"decoupled_weight_decay": True}, {"decoupled_weight_decay": True}),
        ("AdamW", {"amsgrad": True, "weight_decay": 0.3}, {"amsgrad": True, "weight_decay": 0.3}),
        ("RMSprop", {"centered": True, "alpha": 0.5}, {"centered": True, "alpha": 0.5, "momentum": 0.0}),
        ("Rprop", {"etas": [0.4, 1.3]}, {"lr": 0.25, "etas": (0.4, 1.3), "step_sizes": (1e-6, 50)}),
        ("Adafactor", {"eps": [None, 0.01]}, {"eps": (None, 0.01)}),
        ("LBFGS", {"line_search_fn": "strong_wolfe", "max_iter": 3}, {"line_search_fn": "strong_wolfe", "max_iter": 3}),
    ],
)
def test_what_is_given_is_what_torch_gets(name: str, given: dict[str, Any], held: dict[str, Any]) -> None:
    optimizer = built(name, **given)
    assert type(optimizer) is TORCHS[name]
    assert {key: optimizer.param_groups[0][key] for key in held} == held


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Adadelta", {"lr": 0.0}),
        ("Adadelta", {"rho": "much"}),
        ("Adafactor", {"eps": [0.1]}),
        ("LBFGS", {"line_search_fn": "import os"}),
        ("Adam", {"maximize": True}),
    ],
    ids=str,
)
def test_what_is_no_argument_of_theirs_is_refused(name: str, given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        built(name, **given)


@pytest.mark.parametrize("name", ["SGDScheduleFree", "AdamWScheduleFree"])
def test_schedule_free_optimizers_begin_in_train_mode(name: str) -> None:
    """Out of it they raise at the first step."""
    optimizer = built(name)
    (parameter,) = optimizer.param_groups[0]["params"]
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert (parameter < 0).all()


@pytest.mark.parametrize(
    ("name", "given", "free", "kept"),
    [
        ("SGD", {"momentum": 0.5, "weight_decay": 0.1}, "SGDScheduleFree", {"momentum": 0.8, "weight_decay": 0.1}),
        ("Adam", {"eps": 1e-3, "amsgrad": True}, "AdamWScheduleFree", {"betas": [0.8, 0.999], "eps": 1e-3}),
        ("NAdam", {"betas": [0.5, 0.9]}, "AdamWScheduleFree", {"betas": [0.8, 0.9]}),
        ("AdamWScheduleFree", {"r": 1.0}, "AdamWScheduleFree", {"r": 1.0, "betas": [0.8, 0.999]}),
    ],
)
def test_the_schedule_free_form_keeps_what_it_knows(name: str, given: dict[str, Any], free: str, kept: dict[str, Any]) -> None:
    """The momentum, or beta1, is its own."""
    found = schedule_free(Component(name, optimizers[name].complete({"lr": 0.25, **given})), momentum=0.8)
    assert found is not None
    assert found.name == free
    assert {key: found.args[key] for key in ("lr", *kept)} == {"lr": 0.25, **kept}


@pytest.mark.parametrize("name", ["RMSprop", "Adagrad", "LBFGS"])
def test_the_others_have_no_schedule_free_form(name: str) -> None:
    assert schedule_free(Component(name, optimizers[name].complete({})), momentum=0.8) is None
