"""Each trap found where it is, and not where it is not."""

import math
import random
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pipeline.catalogue import CATALOGUE
from pipeline.config.spaces import Range
from pipeline.config.units import Length, Rate
from pipeline.runs.traps import Finding, findings, follow, impossible
from pipeline.schedulers.registry import register
from pipeline.schedulers.replay import Budget, ScheduleError
from tests.schedulers.examples import EXAMPLES, schedule

BUDGET = Budget(epochs=20, steps_per_epoch=5)


def sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return SGD(parameters, lr, momentum=0.5)


def found(name: str, args: Mapping[str, Any], *, baseline: str = "none", **more: Any) -> list[Finding]:
    budget, new = more.pop("budget", BUDGET), more.pop("optimizer", sgd)
    return findings(follow(name, schedule(name, args, **more), new, 0.1, budget), baseline)


CYCLIC = {"base_lr": "1%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False}
TANH = {"lower": -6.0, "upper": 3.0}
PLATEAU = {"patience": "10%"}
# trap → (scheduler, arguments that fall into it, its epoch, what the line says), and the arguments after the change it names.
TRAPS: list[tuple[str, str, dict[str, Any], int, str, dict[str, Any]]] = [
    ("never changes", "ExponentialLR", {"gamma": 1.0}, 1, "the rate is 0.1 from the first step", {"gamma": 0.5}),
    ("never changes", "StepLR", {"step_size": 30}, 1, "the rate is 0.1 from the first step", {"step_size": 15}),
    ("never changes", "StepLR", {"step_size": "100%"}, 1, "change step_size", {"step_size": "50%"}),
    ("never changes", "OneCycleLR", {"div_factor": 1.0, "final_div_factor": 1.0, "cycle_momentum": False}, 1,
     "change div_factor or final_div_factor", {"div_factor": 2.0, "final_div_factor": 1.0, "cycle_momentum": False}),
    # cosine of 10 epochs in 20: down at epoch 11, up again
    ("rises at the end", "CosineAnnealingLR", {"T_max": "50%"}, 11, "rises again, from 0 to 0.0976 at", {"T_max": "100%"}),
    # up 10 and down 10 steps, five times in 100; with 15 it ends on the third way up, which began at step 90, epoch 19
    ("rises at the end", "CyclicLR", {**CYCLIC, "step_size_up": "15%"}, 19, "rises again", CYCLIC),
    # from 0.001 at step 0 to 0.1 at step 100, which is not trained: the last step is at 0.001 + 0.99 * 0.099
    ("rises at the end", "CyclicLR", {**CYCLIC, "step_size_up": "100%"}, 1, "rises, from 0.001 to 0.099 at the end", CYCLIC),
    ("rises at the end", "LinearLR", {"start_factor": 0.5, "total_iters": "100%"}, 1, "from 0.05 to 0.0975 at the end",
     {"start_factor": 0.5, "total_iters": "50%"}),
    # 1.1 times as much after each of 19 epochs: 0.1 * 1.1 ** 19
    ("rises at the end", "ExponentialLR", {"gamma": 1.1}, 1, "rises, from 0.1 to 0.612", {"gamma": 0.9}),
    ("beyond the run", "MultiStepLR", {"milestones": [9, 25]}, 20, "milestones is 25 epochs, and", {"milestones": [9, 19]}),
    ("beyond the run", "MultiStepLR", {"milestones": [9, 20]}, 20, "milestones is 20 epochs, and", {"milestones": [9, 19]}),
    ("beyond the run", "MultiStepLR", {"milestones": ["50%", "100%"]}, 20, "below 100%", {"milestones": ["50%", "95%"]}),
    ("beyond the run", "StepLR", {"step_size": 30}, 20, "step_size is 30 epochs", {"step_size": 10}),
    ("beyond the run", "StepLR", {"step_size": 21}, 20, "at most 100%", {"step_size": 20}),
    ("beyond the run", "CosineAnnealingLR", {"T_max": 200}, 20, "T_max is 200 epochs", {"T_max": 20}),
    ("beyond the run", "CyclicLR", {**CYCLIC, "step_size_up": 2000}, 20, "step_size_up is 2000 batches", CYCLIC),
    ("another peak", "CyclicLR", {**CYCLIC, "max_lr": "50%"}, 3, "peaks at 0.05, and the optimizer's is 0.1", CYCLIC),
    ("another peak", "OneCycleLR", {"max_lr": 1.0, "cycle_momentum": False}, 6, "peaks at 1,",
     {"max_lr": "100%", "cycle_momentum": False}),
    # in 100 of 2000 steps it comes no further than 0.001 + 99 / 2000 * 0.099
    ("another peak", "CyclicLR", {**CYCLIC, "step_size_up": 2000}, 20, "peaks at 0.0059, and", CYCLIC),
    ("another peak", "CyclicLR", {**CYCLIC, "mode": "exp_range", "gamma": 0.9}, 3, "let it reach max_lr: change",
     {**CYCLIC, "mode": "exp_range", "gamma": 1.0}),
    ("another peak", "ConstantLR", {"factor": 0.5, "total_iters": 20}, 1, "peaks at 0.05",
     {"factor": 0.5, "total_iters": 10}),
    # (1 - tanh(0)) / 2 is a half
    ("another peak", "TanhDecay", {**TANH, "lower": 0.0}, 1, "peaks at 0.05", TANH),
    ("another peak", "LinearLR", {"end_factor": 0.5, "total_iters": 10}, 11, "peaks at 0.05",
     {"end_factor": 1.0, "total_iters": 10}),
    ("momentum", "OneCycleLR", {}, 1, "becomes 0.85 to 0.95, and the optimizer's is 0.5", {"cycle_momentum": False}),
    ("momentum", "CyclicLR", {**CYCLIC, "cycle_momentum": True}, 1, "write cycle_momentum: false", CYCLIC),
    # a tenth each epoch: below a millionth after seven, with thirteen of twenty to go
    ("zero before the end", "ExponentialLR", {"gamma": 0.1}, 8, "for the last 65% of the run", {"gamma": 0.6}),
    ("zero before the end", "ExponentialLR", {"final": "0.00000001%"}, 14, "change final", {"final": "1%"}),
    ("zero before the end", "PolynomialLR", {"total_iters": "50%"}, 11, "for the last 50%", {"total_iters": "100%"}),
    # a hundred batches: 60 cycles of 1.7 of them; torch's rise of 1.5 - 1
    ("shorter than a step", "CosineRestarts", {"cycles": 60}, 1, "60 cycles in 100 batches have fewer than two each; a",
     {"cycles": 50}),
    ("shorter than a step", "OneCycleLR", {"pct_start": 0.015, "cycle_momentum": False}, 1, "pct_start is 0.015 of 100 batches",
     {"pct_start": 0.02, "cycle_momentum": False}),
    # cycles of 8 epochs: at 20 the third is cut in half, at cos(pi 3 / 8)
    ("restart cut off", "CosineAnnealingWarmRestarts", {"T_0": 8}, 17, "the run ends at a rate of 0.0691", {"T_0": 10}),
    ("restart cut off", "CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 2}, 13, "change T_0", {"T_0": 20, "T_mult": 2}),
    # the first epoch improves on infinity, 18 bad ones follow: only 21 epochs would show a patience of 18
    ("cannot trigger", "ReduceLROnPlateau", {"patience": 18}, 20, "cannot be lowered within 20 epochs", {"patience": 17}),
    ("cannot trigger", "ReduceLROnPlateau", {"patience": 18}, 20, "write a shorter patience, such as 10%", PLATEAU),
    ("cannot trigger", "ReduceLROnPlateau", {**PLATEAU, "min_lr": "100%"}, 20, "write a min_lr below the rate, such as 1%",
     {**PLATEAU, "min_lr": "1%"}),
    ("mistakes progress", "ReduceLROnPlateau", {**PLATEAU, "mode": "max"}, 1, "while the loss that it watches falls, and kept",
     {**PLATEAU, "mode": "min"}),
    ("mistakes progress", "ReduceLROnPlateau", {**PLATEAU, "mode": "max", "monitor": "validation_loss"}, 1, "write mode: min",
     {**PLATEAU, "mode": "min", "monitor": "validation_loss"}),
    # from 0.1 to 0.01 is less than 0.2
    ("cannot trigger", "ReduceLROnPlateau", {**PLATEAU, "eps": 0.2}, 20, "write a smaller eps, such as 0",
     {**PLATEAU, "eps": 0.0}),
]  # fmt: skip


@pytest.mark.parametrize(("trap", "name", "args", "epoch", "line", "remedied"), TRAPS)
def test_found_where_it_is_and_gone_after_the_change_it_names(
    trap: str, name: str, args: dict[str, Any], epoch: int, line: str, remedied: dict[str, Any]
) -> None:
    (one,) = [finding for finding in found(name, args) if finding.trap == trap]
    assert (one.scheduler, one.epoch) == (name, epoch)
    assert line in str(one)
    assert str(one).startswith(f"{name}, epoch {epoch}: ")
    changed = [argument for argument, value in remedied.items() if args.get(argument) != value]
    assert changed
    assert all(re.search(rf"\b{argument}\b", one.change) for argument in changed)
    assert not [finding for finding in found(name, remedied) if finding.trap == trap]


# Schedules that once were taken for another trap, each with the traps that it has.
NOT_THAT: dict[str, tuple[str, dict[str, Any], dict[str, Any], list[str]]] = {
    "torch's constant factor for five epochs": ("ConstantLR", {}, {}, []),
    "a half for five epochs": ("ConstantLR", {"factor": 0.5}, {}, []),
    "steps up": ("StepLR", {"step_size": "30%", "gamma": 2.0}, {}, ["another peak"]),
    "steps up that are over": ("MultiStepLR", {"milestones": ["20%"], "gamma": 2.0}, {}, ["another peak"]),
    "a warmup of one epoch": ("WarmupStableDecay", {}, {"interval": "epoch"}, ["idle first epoch"]),
    "a warmup over half of the run": ("LinearLR", {"total_iters": "50%"}, {}, []),
    "restarts from a floor, behind a warmup": ("CosineRestarts", {"final": "20%"}, {"warmup": "10%"}, []),
    "cosine over the whole run": ("CosineAnnealingLR", {"T_max": 20}, {}, []),
    "a patience of less than half an epoch": ("ReduceLROnPlateau", {"patience": "1%"}, {}, []),
    "the last milestone in the last epoch": ("MultiStepLR", {"milestones": [9, 19]}, {}, []),
}


@pytest.mark.parametrize(
    ("more", "epochs", "what"),
    [
        # 5% of 8 epochs is 0.4 of one
        ({"warmup": "5%", "interval": "epoch"}, 8, "warmup is 5% of 8 epochs, which is less than one"),
        (
            {"args": {"T_max": "100%"}, "name": "CosineAnnealingLR", "warmup": "1%", "interval": "epoch"},
            40,
            "warmup is 1% of 40",
        ),
        ({"args": {"step_size": "2%"}, "name": "StepLR"}, 20, "step_size is 2% of 20 epochs"),
        ({"args": {"milestones": ["1%", "50%"]}, "name": "MultiStepLR"}, 20, "milestones is 1% of 20 epochs"),
        # its warmup is 5% by default
        ({"name": "WarmupStableDecay", "interval": "epoch"}, 9, "warmup is 5% of 9 epochs"),
        # a whole one at rate 0 would come of 0.6 of one
        ({"warmup": "5%", "interval": "epoch"}, 12, "warmup is 5% of 12 epochs, which is less than one"),
    ],
)
def test_a_share_that_is_less_than_a_step(more: dict[str, Any], epochs: int, what: str) -> None:
    entry = {"name": "LinearDecay", "args": {}, **more}
    name, args = entry.pop("name"), entry.pop("args")
    lines = [str(each) for each in found(name, args, budget=Budget(epochs, 30), **entry) if each.trap == "shorter than a step"]
    assert len(lines) == 1
    assert what in lines[0]
    assert "write" in lines[0]
    assert lines[0].endswith("interval: batch")
    remedied = {**entry, "interval": "batch"}
    assert not [each for each in found(name, args, budget=Budget(epochs, 30), **remedied) if each.trap == "shorter than a step"]


@pytest.mark.usefixtures("own_registries")
def test_a_warmup_and_a_cosine_that_became_five_stairs() -> None:
    """10% of 5 epochs is none; per batch, which is usual for whoever asks for `total_steps`, they are ten."""

    @register("WarmupCosine")
    def warmup_cosine(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        rise = max(2, round(0.1 * total_steps))
        return LambdaLR(optimizer, lambda step: min((step + 1) / rise, (1 + math.cos(math.pi * step / total_steps)) / 1.8))

    budget = Budget(5, 20)
    (stair,) = [each for each in found("WarmupCosine", {}, interval="epoch", budget=budget) if each.trap == "a single stair"]
    assert (stair.epoch, stair.change) == (1, "write interval: batch")
    assert not [each for each in found("WarmupCosine", {}, budget=budget) if each.trap == "a single stair"]


@pytest.mark.parametrize("length", [4, 20])  # below an epoch's batches, and as many as there are epochs
def test_a_cosine_of_epochs_that_is_stepped_per_batch(length: int) -> None:
    def told(budget: Budget, **more: Any) -> list[Finding]:
        own = found("CosineAnnealingLR", budget=budget, **more)
        return [each for each in own if each.trap == "batches for epochs"]

    (one,) = told(Budget(20, 50), args={"T_max": length}, interval="batch")
    assert f"T_max is {length} batches, and the run has 1000: the rate goes up again" in one.what
    assert one.change == "write T_max as a share of the run, or interval: epoch"
    assert not told(Budget(20, 50), args={"T_max": "100%"}, interval="batch")
    assert not told(Budget(20, 50), args={"T_max": length}, interval="epoch")


@pytest.mark.usefixtures("own_registries")
def test_a_schedule_that_is_another_one_each_time() -> None:
    @register("Drawn")
    def drawn(optimizer: Optimizer) -> LRScheduler:
        return LambdaLR(optimizer, lambda step: 1 - random.random() / 2)

    with pytest.raises(ScheduleError, match="is another one each time that it is followed"):
        found("Drawn", {})


@pytest.mark.parametrize("case", NOT_THAT)
def test_no_more_is_found_than_there_is(case: str) -> None:
    name, args, more, traps = NOT_THAT[case]
    assert [finding.trap for finding in found(name, args, **more)] == traps


# An average that falls into a trap in 20 epochs of 5 batches, what the line says, and the average after the change.
AVERAGES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({"swa": 20}, "the average begins after epoch 20, and the run has 20; it is the last weights", {"swa": "75%"}),
    ({"swa": "95%"}, "the average begins after epoch 19", {"swa": 18}),
    # 0.999 ** 99
    ({"ema": 0.999}, "reaches back 1000 steps, and the run has 100; 91% of it are still", {"ema": 0.9}),
    ({"ema": 0.9901}, "write an ema of 0.9 or less", {"ema": 0.99}),
]


@pytest.mark.parametrize(("average", "line", "remedied"), AVERAGES)
@pytest.mark.parametrize("name", ["CosineAnnealingLR", "ConstantLR"])
def test_an_average_of_next_to_nothing(name: str, average: dict[str, Any], line: str, remedied: dict[str, Any]) -> None:
    """And a constant rate is none, for what is evaluated is another thing than the last weights."""
    args: dict[str, Any] = {"T_max": "100%"} if name == "CosineAnnealingLR" else {"factor": 1.0}
    (one,) = found(name, args, average=average)
    assert line in str(one)
    assert not found(name, args, average=remedied)


def test_a_run_too_short_for_any_exponential_mean() -> None:
    (one,) = found("CosineAnnealingLR", {"T_max": "100%"}, average={"ema": 0.99}, budget=Budget(4, 5))
    assert "reaches back 100 steps, and the run has 20" in one.what
    assert one.change == "leave `average` out"


@pytest.mark.parametrize(("interval", "epoch"), [("epoch", 15), ("batch", 3)])
@pytest.mark.usefixtures("own_registries")
def test_a_schedule_that_raises_midway(interval: str, epoch: int) -> None:
    """At its 15th step: epoch 15, or the last of 5 batches in epoch 3. One that would raise behind the run's end goes on."""

    @register("Raising")
    def raising(optimizer: Optimizer, total_steps: int, at: int) -> LRScheduler:
        def factor(step: int) -> float:
            if step == at:
                raise ValueError("no more")
            return 1 - step / 1000

        return LambdaLR(optimizer, factor)

    with pytest.raises(ScheduleError) as error:
        found("Raising", {"at": 15}, interval=interval)
    one = impossible("Raising", error.value)
    assert (one.trap, one.epoch) == ("impossible", epoch)
    assert "raises at its step 15 of" in one.what
    assert one.change == "change its `args`"
    assert [each.trap for each in found("Raising", {"at": 100}, interval=interval)] == ["not searched"]


@pytest.mark.parametrize(
    ("name", "args", "epoch"),
    [
        ("ExponentialLR", {"gamma": 1e6}, 53),  # 0.1 * 1e6 ** 52 is beyond 1.8e308
        ("CyclicLR", {"base_lr": "50%", "max_lr": "20%"}, 1),  # is not built
    ],
)
def test_the_epoch_of_a_schedule_that_is_impossible(name: str, args: dict[str, Any], epoch: int) -> None:
    with pytest.raises(ScheduleError) as error:
        found(name, args, budget=Budget(60, 2))
    assert impossible(name, error.value).epoch == epoch


def test_an_epoch_at_rate_zero() -> None:
    """Stepped per epoch, a linear warmup trains the whole first epoch at 0; per batch, its usual interval, a step."""
    (one,) = found("LinearDecay", {}, warmup="20%", interval="epoch")
    assert (one.trap, one.epoch) == ("idle first epoch", 1)
    assert "write interval: batch" in str(one)
    assert not found("LinearDecay", {}, warmup="20%")


def test_the_baseline_may_be_constant() -> None:
    never = {"step_size": 30, "gamma": 1.0}
    assert not found("StepLR", never, baseline="StepLR")
    assert [finding.trap for finding in found("StepLR", never)] == ["never changes", "beyond the run"]
    assert found("StepLR", {"step_size": 30, "gamma": 0.5}, baseline="ConstantLR")


def test_no_schedule_may_be_constant_whichever_is_the_baseline() -> None:
    """As people write it, whose ``total_iters`` of 5 epochs matters to nothing; other factors are a schedule."""
    assert not found("ConstantLR", {"factor": 1.0}, budget=Budget(3, 5))
    assert [finding.trap for finding in found("ConstantLR", {"factor": 0.5}, budget=Budget(3, 5))]


def test_momentum_is_beta1_where_the_optimizer_has_betas() -> None:
    def adamw(parameters: list[torch.Tensor], lr: float) -> Optimizer:
        return AdamW(parameters, lr)

    (one,) = found("OneCycleLR", {}, optimizer=adamw)
    assert "the optimizer's is 0.9" in one.what


@pytest.mark.usefixtures("own_registries")
def test_numbers_of_ones_own_that_no_study_tries() -> None:
    """Those of a scheduler of one's own, unless all is said about them; a choice or a flag is no number."""

    def slope(optimizer: Optimizer, total_steps: int, power: float = 1.0, floor: Rate = 0.0, flat: bool = False) -> LRScheduler:
        return LambdaLR(optimizer, lambda step: (1 - step / total_steps) ** power)

    register("Slope")(slope)
    register("HalfSearched", search={"power": Range(low=0.5, high=2.0)})(slope)
    (none,) = found("Slope", {})
    assert (none.trap, none.what) == ("not searched", "power, floor are not searched, and the others' arguments are")
    assert none.why == "a study tries its peak rate alone"
    (half,) = found("HalfSearched", {})
    assert (half.what, half.why) == (
        "floor is not searched, and the others' arguments are",
        "a study tries its other arguments",
    )
    assert not found("Slope", {}, search={})
    assert not found("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": "100%"})


@pytest.mark.usefixtures("own_registries")
def test_a_scheduler_of_the_users_own() -> None:
    """Traps are read from the trace; its lengths are known by their annotation."""

    @register("Valley", interval="epoch", search={"bottom": Range(low="10%", high="90%"), "momentum": (0.0, 0.5)})
    def valley(optimizer: Optimizer, total_steps: int, bottom: Length, momentum: float = 0.5) -> LRScheduler:
        optimizer.param_groups[0]["momentum"] = momentum
        return LambdaLR(optimizer, lambda step: abs(step - bottom) / bottom)

    assert [finding.trap for finding in found("Valley", {"bottom": "60%"})] == ["rises at the end"]
    (beyond,) = found("Valley", {"bottom": 25})
    assert beyond.change == "write bottom as a share of the run, at most 100%"
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
             "every": "30%", "timescale": "10%", "final": "1%", "swa_lr": "5%", "anneal_epochs": "10%"}  # fmt: skip
    for entry in CATALOGUE.schedulers:
        if entry.name in ("ConstantLR", "LinearLR", "CyclicLR", "OneCycleLR", "LambdaLR", "MultiplicativeLR"):
            continue
        args = {name: value for name, value in whole.items() if name in entry.arguments.model_fields}
        assert not found(entry.name, args), entry.name
