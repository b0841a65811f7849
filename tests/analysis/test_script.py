"""The script of the winner: what it builds is what was studied, and it runs without the pipeline."""

import ast
import inspect
import io
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiplicativeLR, OneCycleLR, ReduceLROnPlateau

from pipeline.analysis.formulas import length
from pipeline.analysis.script import Data, script
from pipeline.analysis.snippet import snippet
from pipeline.analysis.source import Code
from pipeline.catalogue import CATALOGUE
from pipeline.config.fingerprints import as_json
from pipeline.config.problem_params import ProblemParams
from pipeline.config.schedules import Schedule
from pipeline.config.units import Length, Rate, plain_length
from pipeline.data.datasets import frame
from pipeline.data.splits import draw_splits
from pipeline.data.tables import dataset_of
from pipeline.engine import loop
from pipeline.problems.dataset import Dataset
from pipeline.problems.encoding import Column, Columns, encode
from pipeline.problems.losses import register as register_loss
from pipeline.problems.metrics import Metric, metrics
from pipeline.problems.metrics import register as register_metric
from pipeline.problems.models import models
from pipeline.problems.models import register as register_model
from pipeline.problems.optimizers import optimizers
from pipeline.problems.optimizers import register as register_optimizer
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run, collect
from pipeline.schedulers.registry import register, schedulers
from pipeline.schedulers.replay import Budget, resolve, trace
from tests.analysis.helpers import program, rates_of
from tests.schedulers.examples import CYCLED_MOMENTUM, EXAMPLES, schedule

ROOT = Path(__file__).parents[2]
BUDGET = Budget(epochs=20, steps_per_epoch=7)
LR = 0.3  # no power of two: a changed order of operations shows in its last bits
SGD: dict[str, Any] = {"name": "SGD", "lr": LR}
LIVE = [entry.name for entry in schedulers if entry.live]
OPEN_LOOP = [(name, args) for name, examples in EXAMPLES.items() if name not in LIVE for args in examples]
BELOW_ITS_PEAK = {"LinearLR", "CyclicLR", "OneCycleLR", "WarmupStableDecay"}
"""Those whose first example begins there, so that a warmup is refused."""


def problem(model: Mapping[str, Any] | None = None, optimizer: Mapping[str, Any] = SGD, **more: Any) -> ProblemParams:
    given = {"dataset": {"name": "synthetic"}, "model": model or {"name": "linear"}, "optimizer": optimizer, "batch_size": 4}
    return ProblemParams.model_validate({**given, "epochs": BUDGET.epochs, **more}, context=CATALOGUE)


def row(studied: Schedule, params: ProblemParams, budget: Budget = BUDGET) -> dict[str, Any]:
    """What ``runs.parquet`` holds of a run."""
    resolved = resolve(studied, float(params.optimizer.args["lr"]), budget)
    average = studied.average and studied.average.in_epochs(budget.epochs).model_dump(exclude_none=True)
    return {
        "scheduler": "Label", "name": studied.name, "epochs": budget.epochs, "lr": np.float64(resolved.lr),
        "args": as_json(studied.args), "resolved": as_json(resolved.args), "interval": studied.interval,
        "warmup": np.int64(resolved.warmup),
        "optimizer": as_json(
            {"name": params.optimizer.name, "args": dict(params.optimizer.args)} | ({"average": average} if average else {})
        ),
    }  # fmt: skip


def written(
    name: str,
    args: Mapping[str, Any],
    params: ProblemParams | None = None,
    budget: Budget = BUDGET,
    summary: str = "It leads.",
    **more: Any,
) -> str:
    params = params or problem()
    studied = schedule(name, args, **more)
    run = row(studied, params, budget)
    return script("tiny", params, run, budget.steps_per_epoch, summary, warmup=studied.warmup)


def new_sgd(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    return torch.optim.SGD(parameters, lr, momentum=0.9)


def assert_same_rates(source: str, studied: Schedule, optimizer: Mapping[str, Any] = SGD) -> None:
    component = problem(optimizer=optimizer).optimizer

    def new_optimizer(parameters: list[torch.Tensor], lr: float) -> Optimizer:
        made: Optimizer = optimizers[component.name].function(parameters, **{**component.args, "lr": lr})
        return made

    lr = float(component.args["lr"])
    expected = trace(studied, new_optimizer, lr, BUDGET).lr[:: BUDGET.steps_per_epoch]
    assert rates_of(source, BUDGET.steps_per_epoch) == expected.tolist()  # to the last bit


def assert_trained_like_the_study(
    source: str, name: str, args: Mapping[str, Any], optimizer: Mapping[str, Any], more: Mapping[str, Any], data: Path
) -> None:
    """Rate and momentum of all steps of ten epochs of three batches, to the last bit."""
    component, names, seen = problem(optimizer=optimizer).optimizer, program(source), []

    def new_optimizer(parameters: list[torch.Tensor], lr: float) -> Optimizer:
        made: Optimizer = optimizers[component.name].function(parameters, **{**component.args, "lr": lr})
        return made

    def noted(made: Optimizer, *_: Any) -> None:
        (group,) = made.param_groups
        seen.append((group["lr"], group["momentum"] if "momentum" in group else group["betas"][0]))

    build = names["new_optimizer"]

    def watched(parameters: list[torch.Tensor]) -> Optimizer:
        made: Optimizer = build(parameters)
        made.register_step_pre_hook(noted)
        return made

    names["new_optimizer"] = watched
    names["train"](str(data))
    expected = trace(schedule(name, args, **more), new_optimizer, LR, Budget(10, 3))
    assert seen == list(zip(expected.lr.tolist(), expected.momentum.tolist(), strict=True))


def assert_clean(folder: Path, *texts: str) -> None:
    """Nothing for ruff to say, by the rules of this repository, and lines of up to 120 characters."""
    for number, text in enumerate(texts):
        (folder / f"best{number}.py").write_text(text, encoding="utf-8")
    shared = ["--no-cache", "--config", str(ROOT / "pyproject.toml"), "--config", "line-length = 120", str(folder)]
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check"], ["format", "--diff"]):
        done = subprocess.run([ruff, *command, *shared], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# The scheduler


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - BELOW_ITS_PEAK - set(LIVE)))
@pytest.mark.parametrize("warmup", ["10%", 3])
def test_rates_behind_a_warmup_are_those_of_the_study(name: str, warmup: str | int) -> None:
    """Among them ExponentialLR by `final`, whose gamma counts the steps behind the warmup."""
    args = EXAMPLES[name][-1 if name == "ExponentialLR" else 0]
    assert_same_rates(written(name, args, warmup=warmup), schedule(name, args, warmup=warmup))


@pytest.mark.parametrize("optimizer", [{"name": "SGD", "lr": LR, "momentum": 0.9}, {"name": "AdamW", "lr": LR}])
@pytest.mark.parametrize(("name", "args"), [("CyclicLR", CYCLED_MOMENTUM), ("OneCycleLR", {})])
def test_momentum_is_cycled_too(name: str, args: Mapping[str, Any], optimizer: dict[str, Any]) -> None:
    source = written(name, args, problem(optimizer=optimizer))
    assert_same_rates(source, schedule(name, args), optimizer)
    assert "cycle_momentum" not in source  # which is torch's default


def test_every_registered_scheduler_has_an_example() -> None:
    """So that one that is added is tested here."""
    assert {entry.name for entry in schedulers} == set(EXAMPLES)


def test_torchs_own_schedulers_are_called_as_one_would_write_it() -> None:
    """With lengths of the run's own, rates of the peak, and without what is torch's default."""
    by_steps = "    return lr_scheduler.StepLR(optimizer, step_size=max(1, round(0.3 * epochs)))\n"
    assert by_steps in written("StepLR", {"step_size": "30%", "gamma": 0.1})
    assert "StepLR(optimizer, step_size=7, gamma=0.3)\n" in written("StepLR", {"step_size": 7, "gamma": 0.3})
    falling = "    final = 0.01 * LR\n    return lr_scheduler.ExponentialLR(optimizer, gamma=(final / LR) ** (1 / epochs))\n"
    assert falling in written("ExponentialLR", {"final": "1%"})
    cosine = "    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=0.05 * LR)\n"
    assert cosine in written("CosineAnnealingLR", {"T_max": "100%", "eta_min": "5%"})
    assert "OneCycleLR(optimizer, max_lr=LR, total_steps=steps)\n" in written("OneCycleLR", {})


def test_what_is_a_formula_is_written_as_one() -> None:
    source = written("WarmupStableDecay", {"warmup": "5%", "decay": "20%", "cooldown": "linear"})
    expected = """
    warmup = round(0.05 * steps)
    decay = max(1, round(0.2 * steps))

    def factor(step: int) -> float:
        if step < warmup:
            return step / warmup
        done = min(1.0, max(0, step - (steps - decay)) / decay)
        return 1 - done

    return lr_scheduler.LambdaLR(optimizer, factor)
"""
    assert expected in source
    linear = written("LinearDecay", {})
    assert "    return lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / steps))\n" in linear


def test_any_other_schedule_is_a_table_in_which_what_stays_the_same_is_written_once() -> None:
    args = {"lr_lambda": "tests.schedulers.examples:level"}
    assert "RATES = [0.3] * 20\n" in written("LambdaLR", args)
    table = program(written("LambdaLR", args, warmup="10%"))["RATES"]
    assert len(table) == 140  # 20 epochs of 7 batches
    assert table[7] == 7 / 14 * LR


@pytest.mark.parametrize(("share", "source"), [("30%", "round(0.3 * epochs)"), ("12.5%", "int(0.125 * epochs + 0.5)")])
def test_a_length_is_rounded_as_the_study_rounds_it(share: str, source: str) -> None:
    """Half up: 12.5% of 20 epochs are 3 and not 2, to which Python rounds."""
    assert source in written("MultiStepLR", {"milestones": [share]})
    assert_same_rates(written("MultiStepLR", {"milestones": [share]}), schedule("MultiStepLR", {"milestones": [share]}))


@given(st.decimals(1, 100, places=2), st.integers(1, 2000))
def test_every_share_of_every_length_is_that_of_the_study(share: Any, steps: int) -> None:
    expected = plain_length(f"{share}%", steps)
    source = length(f"{share}%", "steps", steps, max(expected, 1), 1)
    assert isinstance(source, Code)
    assert eval(source, {"steps": steps}) == max(expected, 1)


@pytest.mark.parametrize(("lr", "share"), [(0.01, "99.57%"), (0.1, "70%"), (1.0, "33.33%"), (0.3, "1.1%")])
def test_the_peak_is_written_as_one_would_write_it(lr: float, share: str) -> None:
    source = written("StepLR", {"step_size": 5}, problem(optimizer={"name": "SGD", "lr": lr}), lr=share)
    peak, studied = program(source)["LR"], float(Fraction(share.rstrip("%")) / 100) * lr
    assert len(repr(peak)) <= 9
    assert peak == pytest.approx(studied, rel=1e-15)
    assert ("differs in its last digit" in source) == (peak != studied)


STRETCHED = [*OPEN_LOOP, ("CyclicLR", CYCLED_MOMENTUM)]


@pytest.mark.parametrize("interval", ["epoch", "batch"])
@pytest.mark.parametrize(("name", "args"), STRETCHED)
def test_it_serves_another_number_of_samples_and_epochs(name: str, args: dict[str, Any], interval: str) -> None:
    """Written for 20 epochs of 7 batches and run for 40 of 14: the rates of a study of that length, or by a table nearly so."""
    if any(isinstance(value, int | list) for value in args.values()) or name in ("LambdaLR", "MultiplicativeLR"):
        pytest.skip("in numbers of steps, which stay what they are")
    optimizer = {"name": "SGD", "lr": LR, "momentum": 0.9}
    names = program(written(name, args, problem(optimizer=optimizer), interval=interval))
    twice = Budget(40, 14)
    steps = twice.epochs * (twice.steps_per_epoch if interval == "batch" else 1)
    made = names["new_optimizer"]([torch.zeros(1, requires_grad=True)])
    if len(inspect.signature(names["new_scheduler"]).parameters) == 1:
        pytest.skip("it goes by no length")
    scheduler, found = names["new_scheduler"](made, steps), []
    for _ in range(steps):
        found.append(made.param_groups[0]["lr"])
        made.step()
        scheduler.step()
    every = 1 if interval == "batch" else twice.steps_per_epoch
    expected = trace(schedule(name, args, interval=interval), new_sgd, LR, twice).lr[::every]
    assert np.abs(found - expected).mean() <= (0.01 * LR if "RATES" in names else 0)


@pytest.mark.parametrize("interval", ["epoch", "batch"])
@pytest.mark.parametrize(("name", "args"), [*OPEN_LOOP, ("CyclicLR", CYCLED_MOMENTUM)])
def test_every_step_is_trained_at_the_rate_and_momentum_of_the_study(
    data: Path, name: str, args: dict[str, Any], interval: str
) -> None:
    """Not of its first group alone, and of SGD and AdamW in turn."""
    budget, more = Budget(10, 3), {"interval": interval, "lr": "70%"}
    optimizer = {"name": "SGD", "lr": LR, "momentum": 0.9} if interval == "epoch" else {"name": "AdamW", "lr": LR}
    assert_trained_like_the_study(
        written(name, args, problem(optimizer=optimizer), budget, **more), name, args, optimizer, more, data
    )


# Model and optimizer


@pytest.mark.parametrize(
    "model",
    [
        {"name": "linear"},
        {"name": "mlp", "hidden": [8]},
        {"name": "mlp", "hidden": [8, 4], "activation": "gelu"},
        {"name": "mlp", "hidden": [16] * 9, "activation": "tanh"},  # longer than a line
        {"name": "mlp", "hidden": [8], "dropout": 0.25},
    ],
)
def test_model_is_that_of_the_study(model: dict[str, Any]) -> None:
    params = problem(model)
    expected = models[params.model.name].function(5, 3, **params.model.args)
    assert str(program(written("StepLR", {"step_size": 5}, params))["new_model"](5, 3)) == str(expected)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "SGD", "lr": 1e-05},
        {"name": "SGD", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-4},
        {"name": "AdamW", "lr": 0.01, "betas": [0.8, 0.95], "eps": 1e-6},
        {"name": "Adam", "lr": 0.01, "betas": [0.8, 0.95], "weight_decay": 0.1},
        {"name": "NAdam", "lr": 0.01, "momentum_decay": 0.1, "decoupled_weight_decay": True},
        {"name": "RMSprop", "lr": 0.01, "alpha": 0.9, "momentum": 0.5, "centered": True},
        {"name": "Adagrad", "lr": 0.01, "lr_decay": 1e-3, "initial_accumulator_value": 0.1},
    ],
)
def test_optimizer_is_that_of_the_study_at_the_peak_rate_of_the_run(optimizer: dict[str, Any]) -> None:
    params = problem(optimizer=optimizer)
    weights = [torch.zeros(1, requires_grad=True)]
    made = program(written("StepLR", {"step_size": 5}, params, lr="250%"))["new_optimizer"](weights)
    peak = 2.5 * optimizer["lr"]
    expected = optimizers[params.optimizer.name].function(weights, **{**params.optimizer.args, "lr": peak})
    assert type(made) is type(expected)
    assert made.defaults == expected.defaults


@pytest.mark.parametrize("name", [entry.name for entry in optimizers])
def test_every_optimizer_is_written_as_torchs_own_call(name: str) -> None:
    """Or the package schedulefree's: by name what is not its default, and nothing of this package."""
    source = written("StepLR", {"step_size": 5}, problem(optimizer={"name": name, "lr": LR}))
    (made,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "new_optimizer"]
    call = next(node for node in ast.walk(made) if isinstance(node, ast.Call) and node.keywords)
    package = "schedulefree" if "ScheduleFree" in name else "torch.optim"
    assert ast.unparse(call).startswith(f"{package}.{name}(parameters, ")
    assert [keyword.arg for keyword in call.keywords] == ["lr"]
    args = {"name": name, "lr": LR}
    weight = torch.zeros(1, 1, requires_grad=True)
    expected = optimizers[name].function([weight], **problem(optimizer=args).optimizer.args)
    assert program(source)["new_optimizer"]([weight]).defaults == expected.defaults


# Functions of the user's own


@pytest.mark.usefixtures("own_registries")
def test_an_own_scheduler_is_a_table_whatever_it_is_made_of(tmp_path: Path) -> None:
    around = 0.25

    @register("Waves", interval="batch")
    def waves(optimizer: Optimizer, total_steps: int, length: Length, lowest: Rate = "10%") -> LRScheduler:  # type: ignore[assignment]
        """A cosine around a half."""
        share = lowest / optimizer.param_groups[0]["lr"]
        return LambdaLR(optimizer, lambda step: share + around * (1 + math.cos(step * total_steps / length)))

    for warmup in (0, 1):
        source = written("Waves", {"length": "20%"}, warmup=warmup)
        assert_same_rates(source, schedule("Waves", {"length": "20%"}, warmup=warmup))
        assert "# Waves in 140 steps, length: 28, lowest: 0.03\n" in source or warmup
        assert_clean(tmp_path, source)


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("optimizer", [{"name": "SGD", "lr": LR, "momentum": 0.9}, {"name": "AdamW", "lr": LR}])
def test_the_momentum_of_an_own_scheduler_is_in_its_table(data: Path, optimizer: dict[str, Any]) -> None:
    @register("Mine")
    def mine(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        return OneCycleLR(optimizer, LR, total_steps, div_factor=1)

    warmed: dict[str, Any] = {"warmup": 4}
    for more in ({}, warmed):
        source = written("Mine", {}, problem(optimizer=optimizer), Budget(10, 3), **more)
        assert_trained_like_the_study(source, "Mine", {}, optimizer, more, data)


class Watching(ReduceLROnPlateau):
    """A live scheduler of one's own."""

    def __init__(self, optimizer: Optimizer, patience: int = 1) -> None:
        super().__init__(optimizer, "max", patience=patience)


class Lion(Optimizer):
    """An optimizer for torch, with torch's tuples; it cannot do without a closure, and has modes."""

    modes: ClassVar[list[str]] = []

    def __init__(self, params: Any, lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        assert isinstance(betas, tuple)
        super().__init__(params, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: Any) -> torch.Tensor:  # type: ignore[override]
        """By signs alone."""
        with torch.enable_grad():
            loss: torch.Tensor = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.sub_(group["lr"] * torch.sign(parameter.grad))
        return loss

    def train(self) -> None:
        """As schedule-free optimizers have it."""
        self.modes.append("train")

    def eval(self) -> None:
        """As schedule-free optimizers have it."""
        self.modes.append("eval")


def two_groups(parameters: list[torch.Tensor], lr: float, bias: float = 2.0) -> Optimizer:
    """Biases at a rate of their own."""
    matrices: Any = [p for p in parameters if p.ndim > 1]
    others = [p for p in parameters if p.ndim < 2]
    assert matrices
    assert others
    return torch.optim.SGD([{"params": matrices}, {"params": others, "lr": bias * lr}], lr)


def picky(parameters: list[torch.Tensor], lr: float) -> Optimizer:
    """Of three features and two classes."""
    weight, _ = parameters
    assert weight.shape == (2, 3)
    return torch.optim.SGD(parameters, lr)


def bottleneck(inputs: int, outputs: int, width: int = 8) -> nn.Module:
    """Through a narrow layer, whose shape is not known before it is used."""
    return nn.Sequential(nn.LazyLinear(width), nn.LayerNorm(width), nn.Linear(width, outputs))


def focal(reduction: str, gamma: float = 2.0) -> nn.Module:
    """A loss of one's own."""
    return nn.CrossEntropyLoss(reduction=reduction, label_smoothing=gamma / 10)


def confidence(classes: int, power: float = 1.0) -> Metric:
    """A metric of one's own."""
    return Metric(lambda outputs, y: outputs.softmax(dim=-1).amax(dim=-1) ** power)


@pytest.mark.usefixtures("own_registries")
def test_all_else_is_imported_from_where_it_lives(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    register_model("narrow")(bottleneck)
    register_optimizer("TheLion")(Lion)
    register_loss("FocalLoss", "classification")(focal)
    register_metric("Confidence", "classification", 'how "sure" {it} is', higher_is_better=True)(confidence)
    register("Watching", live=True, monitor="validation_metric")(Watching)
    params = problem(
        {"name": "narrow", "width": 4}, {"name": "TheLion", "lr": 0.01, "betas": [0.5, 0.9]},
        loss={"name": "FocalLoss", "gamma": 1.0}, metric={"name": "Confidence", "power": 2.0},
    )  # fmt: skip
    source = written("Watching", {"patience": 2}, params, Budget(3, 3))
    assert_clean(tmp_path, source)
    here = "tests.analysis.test_script"
    assert source.count(f"import {here}\n") == 1
    assert f"return {here}.bottleneck(inputs, outputs, width=4)\n" in source
    assert f"optimizer = {here}.Lion(parameters, lr=LR, betas=(0.5, 0.9))\n" in source
    assert f'CRITERION = {here}.focal("mean", gamma=1.0)\n' in source
    assert f"metric = {here}.confidence(2, power=2.0)\n" in source
    assert f"return {here}.Watching(optimizer, patience=2)\n" in source
    names = program(source)
    Lion.modes.clear()
    names["train"](str(data))
    assert Lion.modes == ["train", *(["eval", "train"] * 3)]
    assert 'how "sure" {it} is' in capsys.readouterr().out
    x, y = names["load"](str(data))["validation"]
    model = names["new_model"](3, 2)
    with torch.no_grad():
        expected = confidence(2, power=2.0).of_runs(model.eval()(x)[None], y[None])[0]
    assert names["evaluate"](model, x, y)[1] == expected


@pytest.mark.usefixtures("own_registries")
def test_torchs_schedulers_stay_torchs_on_an_optimizer_of_ones_own() -> None:
    register_optimizer("TheLion")(Lion)
    source = written("StepLR", {"step_size": 5}, problem(optimizer={"name": "TheLion", "lr": LR}))
    assert "lr_scheduler.StepLR(optimizer, step_size=5)" in source


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize(("build", "share"), [(two_groups, 2.0), (picky, 1.0)])
def test_every_group_of_an_own_optimizer_has_its_share_of_the_rate(build: Any, share: float, tmp_path: Path) -> None:
    """In the table even of torch's schedulers, which move every group in a way of its own."""
    register_optimizer("Mine")(build)
    source = written("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}, problem(optimizer={"name": "Mine", "lr": LR}))
    assert_clean(tmp_path, source)
    names = program(source)
    expected = trace(schedule("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}), new_sgd, LR, BUDGET)
    assert names["RATES"] == expected.lr[:: BUDGET.steps_per_epoch].tolist()
    optimizer = names["new_optimizer"](list(nn.Linear(3, 2).parameters()))
    scheduler = names["new_scheduler"](optimizer)
    for rate in names["RATES"]:
        assert [group["lr"] for group in optimizer.param_groups] == [rate, share * rate][: len(optimizer.param_groups)]
        optimizer.step()
        scheduler.step()


@pytest.mark.usefixtures("own_registries")
def test_what_stands_in_no_module_is_to_be_pasted(tmp_path: Path) -> None:
    def inside(inputs: int, outputs: int) -> nn.Module:
        return nn.Linear(inputs, outputs)

    register_model("inside")(inside)
    source = written("REX", {}, problem({"name": "inside"}))
    assert_clean(tmp_path, source)
    assert len(rates_of(source, BUDGET.steps_per_epoch)) == BUDGET.epochs
    with pytest.raises(NotImplementedError, match="paste the source of the model 'inside' here"):
        program(source)["new_model"](5, 3)


@pytest.mark.slow
def test_what_the_package_has_of_its_own_is_found_by_a_new_process(data: Path) -> None:
    best = data.with_name("best.py")
    params = problem({"name": "linear"}, metric={"name": "F1Score"})
    best.write_text(written("GreedyLR", {}, params, Budget(1, 3)), encoding="utf-8")
    command = [sys.executable, best.name, data.name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=data.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("epoch 1  lr 0.3 ")


# The metric


CLASSES: Mapping[str, list[tuple[int, bool]]] = {
    "regression": [(1, False)],
    "classification": [(2, False), (2, True), (3, False)],  # the second with one output
}


MEASURED = [(entry.name, *kind) for entry in metrics for kind in CLASSES[entry.task]]


def args_of(metric: str) -> dict[str, Any]:
    args: dict[str, Any] = {"average": "weighted"} if "average" in metrics[metric].arguments.model_fields else {}
    return args | ({"squared": False} if metric == "MeanSquaredError" else {})


def measured_by(name: str, classes: int, binary: bool) -> str:
    loss = {"loss": {"name": "BCEWithLogitsLoss"}} if binary else {}
    params, data = problem(metric={"name": name, **args_of(name)}, **loss), Data(is_regression=classes == 1, classes=classes)
    return script("tiny", params, row(schedule("REX", {}), params), BUDGET.steps_per_epoch, "It leads.", data)


def test_it_is_clean_whatever_its_metric(tmp_path: Path) -> None:
    assert_clean(tmp_path, *(measured_by(*each) for each in MEASURED))


@pytest.mark.filterwarnings("ignore:Metric `SpearmanCorrcoef` will save all targets:UserWarning")
@pytest.mark.parametrize(("name", "classes", "binary"), MEASURED)
def test_the_metric_is_the_one_that_was_asked_for(name: str, classes: int, binary: bool) -> None:
    torch.manual_seed(0)
    x, model = torch.randn(60, 3), nn.Linear(3, 1 if binary else classes)
    y = torch.randn(60) if classes == 1 else torch.randint(classes, (60,))
    expected = metrics[name].function(classes, **args_of(name)).of_runs(model(x).detach()[None], y[None])[0]
    found = program(measured_by(name, classes, binary))["evaluate"](model, x, y.float() if binary else y)[1]
    assert found == pytest.approx(expected, rel=1e-5)


# The script as a text


@settings(max_examples=12)
@given(st.text() | st.text(alphabet='"\\\n {}%#N').filter(str.strip))
@example('""" + __import__("os").system("true") + """')
@example('ends with a quote" \\')
@example("\\N{BULLET} \\u0022 {{ title }} {% if %}\0\r\x0c\u2028\u202e")
@example("long" * 100)
def test_summary_stays_inside_the_docstring(summary: str) -> None:
    plain, hostile = (ast.parse(written("REX", {}, summary=text)) for text in ("", summary))
    assert [ast.dump(node) for node in hostile.body[1:]] == [ast.dump(node) for node in plain.body[1:]]
    doc = ast.get_docstring(hostile, clean=False) or ""
    assert "".join(summary.split()) in "".join(doc.split())


def test_it_imports_nothing_but_torch_pandas_and_the_standard_library() -> None:
    nodes = list(ast.walk(ast.parse(written("WarmupStableDecay", {}))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"torch", "pandas"}


def test_it_is_clean_and_formatted(tmp_path: Path) -> None:
    mlp = problem({"name": "mlp", "hidden": [16] * 9}, {"name": "AdamW", "lr": 1e-05})
    texts = [written(name, args, mlp if n % 2 else None) for name, all_ in EXAMPLES.items() for n, args in enumerate(all_)]
    texts += [written("REX", {"final": 1e-30}, warmup="10%", summary='"""\\ and so on, ' * 9)]
    texts += [written("MultiStepLR", {"milestones": list(range(1, 100))}), written("CosineRestarts", {}, lr=1e9)]
    assert_clean(tmp_path, *texts)


# Training


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """12 samples to train on and 4 in each other part; the class is the sign of the second feature."""
    x = np.random.default_rng(0).standard_normal((20, 3))
    split = np.repeat(["train", "validation", "test"], [12, 4, 4])
    path = tmp_path / "tiny.parquet"
    frame(x, x[:, 1] > 0, split).to_parquet(path)
    return path


def test_it_trains_where_nothing_of_the_pipeline_is(data: Path) -> None:
    budget = Budget(epochs=2, steps_per_epoch=3)
    best = data.with_name("best.py")
    best.write_text(written("LinearDecay", {}, budget=budget), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-I", best.name, data.name]
    done = subprocess.run(command, cwd=data.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    # six steps: the second epoch begins at the fourth, half of the rate gone
    assert [line[:4] for line in lines] == [["epoch", "1", "lr", "0.3"], ["epoch", "2", "lr", "0.15"]]
    assert all(0 <= float(line[-1]) <= 1 for line in lines)


def test_plateau_is_stepped_with_the_training_loss(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # No loss is 1000 below the first one: after it, every epoch is a bad one, and halves the rate.
    args = {"patience": 0, "threshold": 1000.0, "threshold_mode": "abs", "factor": 0.5}
    program(written("ReduceLROnPlateau", args, budget=Budget(4, 3)))["train"](str(data))
    shown = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()]
    assert shown == [0.3, 0.3, 0.15, 0.075]


@pytest.mark.parametrize(
    ("monitor", "mode", "figure"), [("validation_loss", "min", "validation"), ("validation_metric", "max", "measured")]
)
def test_plateau_is_stepped_with_what_it_watches(data: Path, monitor: str, mode: str, figure: str) -> None:
    source = written("ReduceLROnPlateau", {"patience": 0, "monitor": monitor, "mode": mode})
    names, told, evaluated = program(source), [], []
    assert names["new_scheduler"](names["new_optimizer"]([torch.zeros(1)])).mode == mode
    assert monitor.replace("_", " ") in names["new_scheduler"].__doc__
    evaluate, new_scheduler = names["evaluate"], names["new_scheduler"]

    def noted(*given: Any) -> tuple[float, float]:
        evaluated.append(evaluate(*given))
        found: tuple[float, float] = evaluated[-1]
        return found

    def watched(optimizer: Optimizer) -> Any:
        scheduler = new_scheduler(optimizer)
        step = scheduler.step

        def stepped(value: float) -> None:
            told.append(value)
            step(value)

        scheduler.step = stepped
        return scheduler

    names.update(evaluate=noted, new_scheduler=watched)
    names["train"](str(data))
    assert told == [pair[figure == "measured"] for pair in evaluated]
    assert len(told) == BUDGET.epochs


@pytest.mark.usefixtures("own_registries")
def test_a_warmup_before_a_scheduler_that_multiplies_is_that_of_the_study(tmp_path: Path) -> None:
    @register("Multiplied", interval="batch")
    def multiplied(optimizer: Optimizer, total_steps: int, factor: float = 0.97) -> LRScheduler:
        """A little less each time."""
        return MultiplicativeLR(optimizer, lambda step: factor)

    source = written("Multiplied", {}, warmup=20)
    assert_same_rates(source, schedule("Multiplied", {}, warmup=20))
    assert rates_of(source)[3] == pytest.approx(LR * 0.97)  # step 21 of 140
    assert_clean(tmp_path, source)


def test_a_function_of_the_users_own_is_a_table() -> None:
    args = {"lr_lambda": "math:cosh"}
    assert_same_rates(written("LambdaLR", args), schedule("LambdaLR", args))


def test_the_loss_falls_and_the_figures_are_those_of_the_last_epoch(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(written("ConstantLR", {"factor": 1.0}, budget=Budget(50, 3)))["train"](str(data))
    lines = capsys.readouterr().out.splitlines()
    epochs = [int(line.split()[1]) for line in lines]
    assert epochs == [1, *range(5, 51, 5)]  # the first, then every tenth of the run
    losses = [float(line.partition("training loss ")[2].split()[0]) for line in lines]
    assert losses[-1] < 0.5 * losses[0]  # a line divides these classes


@pytest.mark.parametrize("name", ["LinearDecay", "OneCycleLR", "CosineAnnealingLR", "LambdaLR"])
def test_a_schedule_in_batches_fits_data_of_another_size(data: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Five batches an epoch were studied; twelve samples in batches of four make three, and the rate falls all the same."""
    args = {"CosineAnnealingLR": {"T_max": "100%"}, "LambdaLR": {"lr_lambda": "tests.schedulers.examples:falling"}}
    source = written(name, args.get(name, {}), problem(optimizer={**SGD, "momentum": 0.5}), Budget(8, 5), interval="batch")
    program(source)["train"](str(data))
    shown = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()]
    assert len(shown) == 8
    assert shown[-1] < 0.35 * max(shown)


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize(("name", "args"), [*OPEN_LOOP, ("CosineAnnealingLR", {"T_max": "100%"})])
def test_it_survives_a_run_of_a_step_or_two(name: str, args: dict[str, Any], steps: int) -> None:
    """As one tries new lines out; but for OneCycleLR, whose phases torch itself divides by."""
    has_none = name in BELOW_ITS_PEAK or "warmup" in schedulers[name].arguments.model_fields
    names = program(written(name, args, warmup=0 if has_none else "5%"))
    made = names["new_optimizer"]([torch.zeros(1, requires_grad=True)])
    asked = [steps] if len(inspect.signature(names["new_scheduler"]).parameters) > 1 else []
    scheduler = names["new_scheduler"](made, *asked)
    for _ in range(steps):
        assert 0 <= made.param_groups[0]["lr"] <= 1.5**2 * LR
        made.step()
        scheduler.step()


# Other people's loops


class Lightning:
    """What Lightning does of its Trainer's loop with the schedulers of a module."""

    def __init__(self, configure: Any, epochs: int, batches: int) -> None:
        self.trainer, self.weight = self, torch.zeros(1, requires_grad=True)
        self.max_epochs, self.estimated_stepping_batches = epochs, float(epochs * batches)
        found = configure(self)
        self.optimizer, self.config, self.batches = found["optimizer"], found["lr_scheduler"], batches

    def parameters(self) -> Any:
        """Of the module."""
        return iter([self.weight])

    def fit(self, logged: Mapping[str, float]) -> list[float]:
        """The rate of every step."""
        rates, scheduler = [], self.config["scheduler"]
        for _ in range(self.max_epochs):
            for _ in range(self.batches):
                rates.append(self.optimizer.param_groups[0]["lr"])
                self.optimizer.step()
                if self.config.get("interval") == "step":
                    scheduler.step()
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(logged[self.config["monitor"]])
            elif self.config.get("interval", "epoch") == "epoch":
                scheduler.step()
        return rates


def trained_by_hugging_face(optimizers: Any, epochs: int, batches: int, figure: float) -> list[float]:
    """What Hugging Face's Trainer does with its two: the rate of every step."""
    optimizer, scheduler = optimizers
    rates = []
    for _ in range(epochs):
        for _ in range(batches):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if not isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(figure)
    torch.save(scheduler.state_dict(), io.BytesIO())  # as it does for each checkpoint
    return rates


@pytest.mark.parametrize("interval", ["epoch", "batch"])
@pytest.mark.parametrize(("name", "args"), OPEN_LOOP)
def test_lightning_and_hugging_face_have_the_rates_of_the_study(name: str, args: dict[str, Any], interval: str) -> None:
    names = program(written(name, args, interval=interval))
    expected = trace(schedule(name, args, interval=interval), new_sgd, LR, BUDGET).lr
    sizes = BUDGET.epochs, BUDGET.steps_per_epoch
    assert Lightning(names["configure_optimizers"], *sizes).fit({}) == expected.tolist()
    asked = BUDGET.epochs * BUDGET.steps_per_epoch if interval == "batch" else BUDGET.steps_per_epoch
    found = trained_by_hugging_face(names["for_trainer"](nn.Linear(1, 1), asked), *sizes, 0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("monitor", ["train_loss", "validation_loss"])
def test_lightning_and_hugging_face_tell_a_live_one_its_figure(monitor: str) -> None:
    names = program(written("ReduceLROnPlateau", {"patience": 0, "monitor": monitor}))
    logged = {"train_loss": "train_loss", "validation_loss": "val_loss"}[monitor]
    rates = Lightning(names["configure_optimizers"], 4, 1).fit({logged: 1.0})
    assert rates == pytest.approx([LR, LR, LR / 10, LR / 100])
    assert trained_by_hugging_face(names["for_trainer"](nn.Linear(1, 1)), 4, 1, 1.0) == rates


@pytest.mark.parametrize(("name", "args"), [(name, args) for name, all_ in EXAMPLES.items() for args in all_])
@pytest.mark.parametrize("clip", [None, {"norm": 1.0}])
def test_the_snippet_runs_in_a_loop_of_ones_own(name: str, args: dict[str, Any], clip: dict[str, float] | None) -> None:
    """With its few lines alone: rates are those of the study."""
    studied, params = schedule(name, args), problem(clip=clip)
    text = snippet(params, row(studied, params), BUDGET.steps_per_epoch, studied.warmup)
    assert text.count("\n") < 40 - 20 * (name in ("LinearDecay", "StepLR", "CosineAnnealingLR"))
    assert ("clip_grad" in text) == bool(clip)
    if "Recorded" in text or name in LIVE:
        return
    model, seen = nn.Linear(1, 1), []
    nothing: Any = [(None, None)] * BUDGET.steps_per_epoch
    text = text.replace("...  #", "noted(optimizer)  #")
    exec(text, {"model": model, "loader": nothing, "noted": lambda made: seen.append(made.param_groups[0]["lr"])})
    assert seen == trace(studied, new_sgd, LR, BUDGET).lr.tolist()


# The data and the loss


@pytest.mark.parametrize(
    ("loss", "data"),
    [
        (None, Data(is_regression=True, is_table=True, classes=1)),
        ({"name": "HuberLoss", "delta": 0.3}, Data(is_regression=True, is_table=True, classes=1)),
        ({"name": "CrossEntropyLoss", "weight": [1.0, 2.0], "label_smoothing": 0.1}, Data(is_table=True, positive="low")),
        ({"name": "BCEWithLogitsLoss", "pos_weight": 2.0}, Data(is_table=True, positive="low")),
    ],
)
def test_a_raw_table_trains_with_its_own_loss(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: dict[str, Any] | None, data: Data
) -> None:
    """Encoded as in the study: the script's inputs are those of the problem on the file's own split."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"a": draw.normal(5, 2, 80), "b": np.resize(["u", "v", "w"], 80)})
    table["goal"] = table["a"] * 2 + (table["b"] == "u") + draw.normal(0, 0.1, 80)
    if not data.is_regression:
        table["goal"] = np.where(table["goal"] > 10, "high", "low")
    made = dataset_of(table, "goal")
    made.to_parquet(tmp_path / "tiny.parquet", index=False)
    assert Data.of(Dataset.of("tiny", made, {})) == data
    params = problem(**({"loss": loss} if loss else {}))
    budget = Budget(BUDGET.epochs, 48 // params.batch_size)
    source = script("tiny", params, row(schedule("LinearDecay", {}), params, budget), budget.steps_per_epoch, "It leads.", data)
    assert_clean(tmp_path, source)
    names = program(source)
    parts = names["load"](str(tmp_path / "tiny.parquet"))
    columns = [Column.from_dict(column) for column in made.attrs["columns"]]
    train = np.flatnonzero(made["split"] == "train")
    np.testing.assert_allclose(parts["train"][0], encode(made[["x0", "x1"]].to_numpy(), columns, train)[train], rtol=1e-5)
    names["train"](str(tmp_path / "tiny.parquet"))
    assert ("R²" if data.is_regression else "accuracy") in capsys.readouterr().out


def test_embedded_categories_are_those_of_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script's inputs have the same numbers, and each category a place of its own, 0 where training lacks it."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"b": np.resize([*"uvwxyz"], 80), "a": draw.normal(5, 2, 80), "goal": draw.normal(size=80)})
    made = dataset_of(table.assign(b=table["b"].where(table.index > 2, "rare"), c=draw.choice([*"st"], 80)), "goal")
    made.to_parquet(tmp_path / "tiny.parquet", index=False)
    params = problem({"name": "tabular", "hidden": [4]}, resample=False)
    splits = draw_splits("tiny", made, [0], resample=False)
    tiny = Problem.of(Dataset.of("tiny", made, splits), params, {"Label": schedule("LinearDecay", {})})
    run = row(schedule("LinearDecay", {}), params, Budget(20, 12))
    source = script("tiny", params, run, 12, "It leads.", Data.of(Dataset.of("tiny", made, {})))
    assert_clean(tmp_path, source)
    names = program(source)
    ours = names["load"](str(tmp_path / "tiny.parquet"))["train"][0].numpy()
    theirs = tiny.data.samples([0]).x[splits[0].train].astype(np.float32)
    np.testing.assert_allclose(ours[:, 0], theirs[:, 0], rtol=1e-5)
    for place in (1, 2):
        pairs = {(int(a), int(b)) for a, b in zip(ours[:, place], theirs[:, place], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})
    names["train"](str(tmp_path / "tiny.parquet"))
    assert "R²" in capsys.readouterr().out
    assert tiny.data.inputs == Columns(1, (8, 3), ("a", "b", "c"))


def test_the_target_of_arrays_is_standardised_as_in_the_study(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y = 1.7e9 + draw.normal(size=40)
    made = frame(draw.normal(size=(40, 3)), y, np.resize(["train", "train", "validation", "test"], 40))
    made.to_parquet(tmp_path / "tiny.parquet", index=False)
    params = problem()
    run = row(schedule("LinearDecay", {}), params, Budget(2, 5))
    names = program(script("tiny", params, run, 5, "It leads.", Data.of(Dataset.of("tiny", made, {}))))
    parts, known = names["load"](str(tmp_path / "tiny.parquet")), y[made["split"] == "train"]
    for part, (_, targets) in parts.items():
        expected = (y[made["split"] == part] - known.mean()) / known.std()
        np.testing.assert_allclose(targets, expected, atol=1e-5)
        assert targets.dtype == torch.float32


SHAPED: dict[str, tuple[dict[str, Any], tuple[int, ...], bool]] = {
    "cnn": ({"name": "cnn", "dropout": 0.1}, (2, 4, 4), False),
    "transformer": ({"name": "transformer", "width": 8, "layers": 1}, (2, 4, 4), False),
    "transformer on tokens": ({"name": "transformer", "width": 8, "layers": 1, "vocabulary": 9}, (6,), True),
}


@pytest.mark.parametrize(("model", "shape", "tokens"), SHAPED.values(), ids=SHAPED)
def test_models_for_more_than_rows_are_those_of_the_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: dict[str, Any], shape: tuple[int, ...], tokens: bool
) -> None:
    draw = np.random.default_rng(0)
    x = draw.integers(9, size=(40, *shape)) if tokens else draw.normal(size=(40, *shape))
    made = frame(x, np.arange(40) % 2, np.resize(["train", "train", "validation", "test"], 40))
    made.to_parquet(tmp_path / "tiny.parquet", index=False)
    params, budget = problem(model), Budget(2, 5)
    run = row(schedule("LinearDecay", {}), params, budget)
    source = script("tiny", params, run, budget.steps_per_epoch, "It leads.", Data.of(Dataset.of("tiny", made, {})))
    assert_clean(tmp_path, source)
    names = program(source)
    torch.manual_seed(0)
    expected = models[params.model.name].function(shape, 2, **params.model.args)
    torch.manual_seed(0)
    ours = names["new_model"](shape, 2)
    given = torch.tensor(x[:3]) if tokens else torch.tensor(x[:3], dtype=torch.float32)
    assert torch.equal(ours.eval()(given), expected.eval()(given))
    names["train"](str(tmp_path / "tiny.parquet"))
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.parametrize("clip", [None, {"norm": 0.5}, {"value": 0.01}], ids=str)
@pytest.mark.parametrize("name", ["SGD", "LBFGS", "SGDScheduleFree", "AdamWScheduleFree", "Adadelta"])
def test_every_kind_of_training_loop_runs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, clip: dict[str, float] | None
) -> None:
    params = problem(optimizer={"name": name, "lr": 0.1}, clip=clip)
    source = written("LinearDecay", {}, params, budget=Budget(2, 3))
    assert_clean(tmp_path, source)
    assert ("clip_grad" in source) == (clip is not None)
    program(source)["train"](str(data))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_schedule_free_weights_are_evaluated_as_their_mean(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At a high momentum the mean is far from what is trained: the figures tell which of them was evaluated."""
    params = problem(optimizer={"name": "SGDScheduleFree", "lr": 0.5, "momentum": 0.5})
    names = program(written("ScheduleFree", {}, params, budget=Budget(3, 3)))
    seen: list[float] = []
    evaluate = names["evaluate"]

    def noted(model: Any, x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        seen.append(float(next(model.parameters()).detach().abs().sum()))
        loss, measured = evaluate(model, x, y)
        return loss, measured

    made: list[Any] = []
    new_optimizer = names["new_optimizer"]

    def kept(parameters: list[torch.Tensor]) -> Any:
        made.append(new_optimizer(parameters))
        return made[-1]

    names.update(evaluate=noted, new_optimizer=kept)  # the functions look them up in here
    names["train"](str(data))
    parameter = made[0].param_groups[0]["params"][0]
    trained = float(parameter.detach().abs().sum())
    made[0].eval()
    assert float(parameter.detach().abs().sum()) == pytest.approx(seen[-1], abs=1e-5)
    assert abs(trained - seen[-1]) > 1e-3


def batch_normed(inputs: int, outputs: int) -> nn.Module:
    """A small network with BatchNorm."""
    return nn.Sequential(nn.Linear(inputs, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, outputs))


AVERAGED: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "ema": ("LinearDecay", {}, {"average": {"ema": 0.8}}),
    "ema by epochs": ("CosineAnnealingLR", {"T_max": "100%"}, {"average": {"ema": 0.5}}),
    "swa": ("SWALR", {"swa_lr": "10%", "anneal_epochs": 1}, {"average": {"swa": "50%"}}),
    "swa from the first epoch on": ("ConstantLR", {"factor": 1.0}, {"average": {"swa": 0}}),
    "swa behind a warmup": ("SWALR", {"swa_lr": "10%", "start": "50%"}, {"average": {"swa": "75%"}, "warmup": "20%"}),
    "swa that never begins": ("LinearDecay", {}, {"average": {"swa": "100%"}}),
}


@pytest.mark.parametrize("model", ["linear", "normed"])
@pytest.mark.parametrize(("name", "args", "more"), AVERAGED.values(), ids=AVERAGED)
@pytest.mark.usefixtures("own_registries")
def test_a_mean_of_the_weights_is_evaluated_as_in_the_study(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, args: dict[str, Any], more: Any, model: str
) -> None:
    """At the same initial weights and order of the data, all that the script evaluates is what the loop does."""
    register_model("normed")(batch_normed)
    budget, params = Budget(8, 3), problem({"name": model}, epochs=8, resample=False)
    source = written(name, args, params, budget, **more)
    assert_clean(tmp_path, source)
    assert_evaluated_like_the_loop(source, params, schedule(name, args, **more), data, monkeypatch)


@pytest.mark.parametrize("weight", [None, [1.0, 3.0]], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("optimizer", "decayed"),
    [
        (
            {"name": "AdamW", "lr": 0.05, "weight_decay": 2.0, "no_decay": ["bias", "norm", "embedding", "0.weight"]},
            {"3.weight"},
        ),
        (
            {"name": "SGDScheduleFree", "lr": 0.5, "weight_decay": 0.5, "no_decay": ["0"]},
            {"1.weight", "1.bias", "3.weight", "3.bias"},
        ),
        ({"name": "SGD", "lr": 0.1}, set()),
    ],
    ids=["AdamW", "SGDScheduleFree", "SGD"],
)
@pytest.mark.usefixtures("own_registries")
def test_accumulation_and_parameter_groups_are_those_of_the_study(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    optimizer: dict[str, Any],
    decayed: set[str],
    weight: list[float] | None,
) -> None:
    """Of the whole script, and of the snippet for a loop of one's own."""
    register_model("normed")(layer_normed)
    loss = {"name": "CrossEntropyLoss", "weight": weight, "label_smoothing": 0.1}
    more: dict[str, Any] = {"batch_size": 2, "accumulate": 3, "clip": {"norm": 1.0}, "resample": False, "loss": loss}
    params = problem({"name": "normed"}, optimizer, epochs=4, **more)
    source = written("LinearDecay", {}, params, Budget(4, 2))
    assert_clean(tmp_path, source)
    assert ("weight_decay" in source) == ("no_decay" in optimizer)
    assert_evaluated_like_the_loop(source, params, schedule("LinearDecay", {}), data, monkeypatch)
    studied = schedule("LinearDecay", {})
    text = snippet(params, row(studied, params, Budget(4, 2)), 2, None).replace("...  #", "noted(optimizer)  #")
    model, seen = layer_normed(3, 2), []
    exec(text, {"model": model, "loader": [(None, None)] * 6, "noted": lambda made: seen.append(made.param_groups), "loss": 0})
    assert len(seen) == 4 * 6  # every batch
    by_decay = {id(p): group["weight_decay"] for group in seen[0] for p in group["params"]}
    assert {name for name, p in model.named_parameters() if by_decay[id(p)]} == decayed


def layer_normed(inputs: int, outputs: int) -> nn.Sequential:
    """A small network with parameters of several kinds."""
    return nn.Sequential(nn.Linear(inputs, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, outputs))


def assert_evaluated_like_the_loop(
    source: str, params: ProblemParams, studied: Schedule, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same initial weights and order of the data."""
    names, found = program(source), []
    evaluate = names["evaluate"]

    def noted(*given: Any) -> Any:
        figures = evaluate(*given)
        found.append(figures[0])
        return figures

    names["evaluate"] = noted  # the functions look it up in here
    names["train"](str(data))

    torch.manual_seed(0)
    initial, order = deepcopy(names["new_model"](3, 2)), torch.Generator()
    order.set_state(torch.get_rng_state())
    monkeypatch.setattr(Problem, "new_model", lambda *_: deepcopy(initial))
    monkeypatch.setattr(Problem, "new_order", lambda *_: order)
    table = pd.read_parquet(data).astype({"y": "int64"})
    run = Run("Label", studied, 0, params.epochs)
    splits = draw_splits("tiny", table, [0], resample=False)
    tiny = Problem(Dataset.of("tiny", table, splits), params, {"Label": studied})
    history = collect([run], loop.train(tiny, run, device=torch.device("cpu")))
    np.testing.assert_allclose(found, history.curves.validation_loss[:, 0], rtol=1e-5)


TARGETS: dict[str, tuple[str | list[str], dict[str, Any], dict[str, Any]]] = {
    "an error in its own unit": ("b", {}, {"metric": {"name": "MeanSquaredError"}}),
    "a logarithm": ("c", {"transform": "log"}, {"metric": {"name": "MeanAbsoluteError"}}),
    "zeros too": ("c", {"transform": "log1p", "weight": "w"}, {}),
    "two targets": ("a", {"more_targets": ["b"]}, {"metric": {"name": "MeanSquaredError", "squared": False}}),
    "two of weight": ("a", {"more_targets": ["b"], "weight": "w"}, {"loss": {"name": "L1Loss"}}),
    "classes of weight": ("k", {"weight": "w"}, {"loss": {"name": "CrossEntropyLoss", "weight": [1.0, 0.5, 2.0]}}),
    "two classes of weight": ("l", {"weight": "w"}, {"loss": {"name": "BCEWithLogitsLoss"}, "metric": {"name": "AUROC"}}),
}


@pytest.mark.parametrize(("target", "options", "more"), TARGETS.values(), ids=TARGETS)
def test_other_targets_and_weights_are_those_of_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, options: dict[str, Any], more: dict[str, Any]
) -> None:
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(size=(40, 3)), columns=["x", "y", "z"])
    goals = {"a": table["x"] + draw.normal(size=40), "b": 9 * table["z"], "c": np.exp(table["x"] + draw.normal(size=40))}
    goals |= {"k": np.resize(["u", "v", "w"], 40), "l": np.resize(["u", "v"], 40), "w": draw.gamma(2, 5, 40)}
    made = dataset_of(table.assign(**goals), target, features=["x", "y", "z"], **options)
    path = tmp_path / "tiny.parquet"
    made.to_parquet(path, index=False)
    params, studied = problem(epochs=4, resample=False, **more), schedule("LinearDecay", {})
    source = script("tiny", params, row(studied, params, Budget(4, 6)), 6, "It leads.", Data.of(Dataset.of("tiny", made, {})))
    assert_clean(tmp_path, source)
    names, found = program(source), []
    evaluate = names["evaluate"]

    def noted(*given: Any) -> Any:
        found.append(evaluate(*given))
        return found[-1]

    names["evaluate"] = noted
    torch.manual_seed(0)
    names["train"](str(path))
    assert (" root mean squared error" in source) == ("squared" in more.get("metric", {}))

    torch.manual_seed(0)
    tiny = Problem(Dataset.of("tiny", made, draw_splits("tiny", made, [0], resample=False)), params, {"Label": studied})
    initial, order = names["new_model"](3, tiny.outputs), torch.Generator()
    order.set_state(torch.get_rng_state())
    monkeypatch.setattr(Problem, "new_model", lambda *_: initial)
    monkeypatch.setattr(Problem, "new_order", lambda *_: order)
    run = Run("Label", studied, 0, 4)
    history = collect([run], loop.train(tiny, run, device=torch.device("cpu")))
    np.testing.assert_allclose([loss for loss, _ in found], history.curves.validation_loss[:, 0], rtol=1e-5)
    np.testing.assert_allclose([value for _, value in found], history.curves.validation_metric[:, 0], rtol=1e-4)
