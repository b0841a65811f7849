"""Each trap found where it is, and not where it is not."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.catalogue import CATALOGUE
from pipeline.schedulers.registry import register
from pipeline.schedulers.replay import Budget
from pipeline.schedulers.traps import Finding, findings, follow
from pipeline.units import Length
from tests.schedulers.examples import EXAMPLES, schedule

BUDGET = Budget(epochs=20, steps_per_epoch=5)


def sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return SGD(parameters, lr, momentum=0.5)


def found(name: str, args: Mapping[str, Any], *, baseline: str = "none", **more: Any) -> list[Finding]:
    budget, new = more.pop("budget", BUDGET), more.pop("optimizer", sgd)
    return findings(follow(name, schedule(name, args, **more), new, 0.1, budget), baseline)


CYCLIC = {"base_lr": "1%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False}
# trap → (scheduler, arguments that fall into it, its epoch, what the line says), and arguments that do not.
TRAPS: list[tuple[str, str, dict[str, Any], int, str, dict[str, Any]]] = [
    ("never changes", "ConstantLR", {"factor": 1.0}, 1, "the rate is 0.1 from the first step", {"factor": 0.5}),
    ("never changes", "StepLR", {"step_size": 30}, 1, "the rate is 0.1 from the first step", {"step_size": 15}),
    # cosine of 10 epochs in 20: down at epoch 11, up again
    ("rises at the end", "CosineAnnealingLR", {"T_max": "50%"}, 11, "from 0 to 0.0976 at the end", {"T_max": "100%"}),
    # up 10 and down 10 steps, five times in 100; with 15 it ends on the third way up, which began at step 90, epoch 19
    ("rises at the end", "CyclicLR", {**CYCLIC, "step_size_up": "15%"}, 19, "rises again", CYCLIC),
    ("beyond the run", "MultiStepLR", {"milestones": [9, 25]}, 20, "milestones is 25 epochs, and", {"milestones": [9, 19]}),
    ("beyond the run", "StepLR", {"step_size": 30}, 20, "step_size is 30 epochs", {"step_size": 10}),
    ("beyond the run", "CosineAnnealingLR", {"T_max": 200}, 20, "T_max is 200 epochs", {"T_max": 20}),
    ("beyond the run", "CyclicLR", {**CYCLIC, "step_size_up": 2000}, 20, "step_size_up is 2000 batches", CYCLIC),
    ("another peak", "CyclicLR", {**CYCLIC, "max_lr": "50%"}, 3, "peaks at 0.05, and the optimizer's is 0.1", CYCLIC),
    ("another peak", "OneCycleLR", {"max_lr": 1.0, "cycle_momentum": False}, 6, "peaks at 1,", {"cycle_momentum": False}),
    ("another peak", "ConstantLR", {"factor": 0.5, "total_iters": 20}, 1, "peaks at 0.05", {"factor": 0.5}),
    ("momentum", "OneCycleLR", {}, 1, "becomes 0.85 to 0.95, and the optimizer's is 0.5", {"cycle_momentum": False}),
    ("momentum", "CyclicLR", {**CYCLIC, "cycle_momentum": True}, 1, "write cycle_momentum: false", CYCLIC),
    # a tenth each epoch: below a millionth after seven, with thirteen of twenty to go
    ("zero before the end", "ExponentialLR", {"gamma": 0.1}, 8, "for the last 65% of the run", {"gamma": 0.6}),
    ("zero before the end", "PolynomialLR", {"total_iters": "50%"}, 11, "for the last 50%", {"total_iters": "100%"}),
    # cycles of 8 epochs: at 20 the third is cut in half, at cos(pi 3 / 8)
    ("restart cut off", "CosineAnnealingWarmRestarts", {"T_0": 8}, 17, "the run ends at a rate of 0.0691", {"T_0": 10}),
    ("restart cut off", "CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2}, 13, "change T_0", {"T_0": 20}),
    # the first epoch improves on infinity, 18 bad ones follow: only 21 epochs would show a patience of 18
    ("cannot trigger", "ReduceLROnPlateau", {"patience": 18}, 20, "cannot be lowered within 20 epochs", {"patience": 17}),
]  # fmt: skip


@pytest.mark.parametrize(("trap", "name", "args", "epoch", "line", "without"), TRAPS)
def test_found_where_it_is_and_only_there(
    trap: str, name: str, args: dict[str, Any], epoch: int, line: str, without: dict[str, Any]
) -> None:
    (one,) = [finding for finding in found(name, args) if finding.trap == trap]
    assert (one.scheduler, one.epoch) == (name, epoch)
    assert line in str(one)
    assert str(one).startswith(f"{name}, epoch {epoch}: ")
    assert not [finding for finding in found(name, without) if finding.trap == trap]


def test_an_epoch_at_rate_zero() -> None:
    """Stepped per epoch, a linear warmup trains the whole first epoch at 0; per batch, its usual interval, a step."""
    (one,) = found("LinearDecay", {}, warmup="20%", interval="epoch")
    assert (one.trap, one.epoch) == ("idle first epoch", 1)
    assert "write interval: batch" in str(one)
    assert not found("LinearDecay", {}, warmup="20%")


def test_the_baseline_may_be_constant() -> None:
    assert not found("ConstantLR", {"factor": 1.0}, baseline="ConstantLR", budget=Budget(3, 5))  # total_iters is 5
    traps = [finding.trap for finding in found("ConstantLR", {"factor": 1.0}, budget=Budget(3, 5))]
    assert traps == ["never changes", "beyond the run"]
    assert found("StepLR", {"step_size": 30, "gamma": 0.5}, baseline="ConstantLR")


def test_momentum_is_beta1_where_the_optimizer_has_betas() -> None:
    def adamw(parameters: list[torch.Tensor], lr: float) -> Optimizer:
        return AdamW(parameters, lr)

    (one,) = found("OneCycleLR", {}, optimizer=adamw)
    assert "the optimizer's is 0.9" in one.what


@pytest.mark.usefixtures("own_registries")
def test_a_scheduler_of_the_users_own() -> None:
    """Traps are read from the trace; its lengths are known by their annotation."""

    @register("Valley")
    def valley(optimizer: Optimizer, total_steps: int, bottom: Length, momentum: float = 0.5) -> LRScheduler:
        optimizer.param_groups[0]["momentum"] = momentum
        return LambdaLR(optimizer, lambda step: abs(step - bottom) / bottom)

    assert [finding.trap for finding in found("Valley", {"bottom": "60%"})] == ["rises at the end"]
    (beyond,) = found("Valley", {"bottom": 25})
    assert beyond.change == "write bottom as a share of the run, such as 30%"
    (momentum,) = found("Valley", {"bottom": "100%", "momentum": 0.0})
    assert momentum.change == "leave the momentum to the optimizer"


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_registered_scheduler_can_be_inspected(name: str) -> None:
    for args in EXAMPLES[name]:
        for finding in found(name, args):
            assert 1 <= finding.epoch <= BUDGET.epochs
            assert all((finding.what, finding.why, finding.change))


def test_relative_lengths_of_whole_runs_fall_into_no_trap() -> None:
    """What each scheduler of decay is usually asked for."""
    whole = {"T_max": "100%", "total_iters": "100%", "T_0": "100%", "milestones": ["30%", "80%"], "step_size": "30%",
             "timescale": "10%", "final": "1%"}  # fmt: skip
    for entry in CATALOGUE.schedulers:
        if entry.name in ("ConstantLR", "LinearLR", "CyclicLR", "OneCycleLR"):
            continue
        args = {name: value for name, value in whole.items() if name in entry.arguments.model_fields}
        assert not found(entry.name, args), entry.name
