"""The stacked engine against the plain PyTorch loop: every scheduler, with every kind of optimizer."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.data.datasets import frame
from pipeline.data.datasets import register as register_dataset
from pipeline.engine import loop, stacked
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.optimizers import STACKED
from pipeline.problems.encoding import Column
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run, collect
from pipeline.schedulers.registry import schedulers
from tests.engine.helpers import CPU, MLP, SMALL, Builder, Watched, assert_close, run_of, train, watch_loop, watch_stacked
from tests.schedulers.examples import CYCLED_MOMENTUM, EXAMPLES

# Stable settings: at a high rate, or with much momentum, training is chaotic and rounding alone parts the two.
OPTIMIZERS: Mapping[str, Mapping[str, Any]] = {
    "SGD": {"name": "SGD", "lr": 0.1},
    "SGD-decay": {"name": "SGD", "lr": 0.1, "weight_decay": 0.05},
    "SGD-momentum": {"name": "SGD", "lr": 0.05, "momentum": 0.9},
    "SGD-momentum-decay": {"name": "SGD", "lr": 0.05, "momentum": 0.7, "weight_decay": 0.05},
    "SGD-dampening": {"name": "SGD", "lr": 0.1, "momentum": 0.9, "dampening": 0.6},
    "SGD-dampening-decay": {"name": "SGD", "lr": 0.1, "momentum": 0.5, "dampening": 0.3, "weight_decay": 0.05},
    "SGD-nesterov": {"name": "SGD", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    "SGD-nesterov-decay": {"name": "SGD", "lr": 0.05, "momentum": 0.6, "nesterov": True, "weight_decay": 0.05},
    "AdamW": {"name": "AdamW", "lr": 0.01},
    "AdamW-betas": {"name": "AdamW", "lr": 0.01, "betas": [0.5, 0.9], "weight_decay": 0.3},
    "AdamW-beta1-0": {"name": "AdamW", "lr": 0.01, "betas": [0.0, 0.99], "weight_decay": 0.0, "eps": 1e-3},
    "AdamW-amsgrad": {"name": "AdamW", "lr": 0.01, "betas": [0.9, 0.5], "amsgrad": True},
    "Adam": {"name": "Adam", "lr": 0.01},
    "Adam-betas": {"name": "Adam", "lr": 0.01, "betas": [0.5, 0.9], "weight_decay": 0.05},
    "Adam-amsgrad": {"name": "Adam", "lr": 0.01, "betas": [0.9, 0.5], "weight_decay": 0.05, "amsgrad": True},
    "Adam-decoupled": {"name": "Adam", "lr": 0.01, "weight_decay": 0.3, "decoupled_weight_decay": True},
    "NAdam": {"name": "NAdam", "lr": 0.01},
    "NAdam-decay": {"name": "NAdam", "lr": 0.01, "betas": [0.5, 0.9], "weight_decay": 0.05, "momentum_decay": 0.1},
    "NAdam-decoupled": {"name": "NAdam", "lr": 0.01, "weight_decay": 0.3, "decoupled_weight_decay": True},
    "RMSprop": {"name": "RMSprop", "lr": 0.005},
    "RMSprop-momentum": {"name": "RMSprop", "lr": 0.002, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.05},
    "RMSprop-centered": {"name": "RMSprop", "lr": 0.005, "alpha": 0.9, "centered": True, "eps": 1e-3},
    "RMSprop-centered-momentum": {"name": "RMSprop", "lr": 0.002, "centered": True, "momentum": 0.5, "eps": 1e-3},
    "Adagrad": {"name": "Adagrad", "lr": 0.05, "initial_accumulator_value": 0.1},
    "SGDScheduleFree": {"name": "SGDScheduleFree", "lr": 0.5, "weight_decay": 0.05},
    "AdamWScheduleFree": {"name": "AdamWScheduleFree", "lr": 0.02, "weight_decay": 0.05, "r": 0.5},
    "Adagrad-decay": {"name": "Adagrad", "lr": 0.05, "lr_decay": 0.01, "weight_decay": 0.05, "eps": 1e-3},
}
REGRESSION: Mapping[str, Any] = {"name": "a line"}
MODELS: Mapping[str, Mapping[str, Any]] = {"linear": {"name": "linear"}, "mlp": MLP}
STACKS = [("linear", "SGD"), ("mlp", "SGD-momentum-decay"), ("mlp", "SGD-nesterov"), ("mlp", "AdamW-betas")]
"""Those that are trained with every example of every scheduler; all but one by `make test-slow` alone."""
COMPILED = [("mlp", "SGD-momentum-decay"), ("mlp", "AdamW-betas")]
"""Stacks that are also trained in compiled code."""
ON_FIRST = [("linear", "AdamW"), *(("mlp", name) for name in OPTIMIZERS if ("mlp", name) not in STACKS)]
"""Those that are trained with one schedule of each kind alone."""
SINGLE = [("linear", "SGD"), *(("mlp", optimizer) for optimizer in OPTIMIZERS)]
OF_EACH_KIND = ("SGD-dampening", "SGD-dampening-decay", "SGD-nesterov-decay", "AdamW", "AdamW-beta1-0", "AdamW-amsgrad",
                "Adam-betas", "NAdam-decay", "RMSprop-centered-momentum", "Adagrad-decay",
                "SGDScheduleFree", "AdamWScheduleFree")  # fmt: skip
"""Optimizers that are tried at once; what the others compute is a part of what these do, and waits for `make test-slow`."""


def few(cases: Sequence[tuple[str, ...]]) -> list[Any]:
    """The cases, whose last is an optimizer."""
    return [pytest.param(*case, marks=[] if case[-1] in OF_EACH_KIND else [pytest.mark.slow]) for case in cases]


SCHEDULERS = [scheduler.name for scheduler in schedulers if not scheduler.schedule_free]
"""Those that a problem's own optimizer is trained with; the others, with one of theirs, are a stack by themselves."""
FREE = [scheduler.name for scheduler in schedulers if scheduler.schedule_free]


class Twin:
    """Runs trained as stacks, of tensors or of what each of ``makes`` makes, each beside itself in a plain loop."""

    def __init__(
        self,
        problem: Problem,
        runs: Sequence[Run],
        dtype: torch.dtype = torch.float64,
        makes: Sequence[stacked.Make | None] = (None,),
    ) -> None:
        self.runs = runs
        self.stacks = [watch_stacked(problem, runs, dtype, make) for make in makes]
        self.stacked = self.stacks[0]
        self.plain = cache(lambda index: watch_loop(problem, runs[index], dtype))

    def of(self, scheduler: str) -> Iterator[tuple[int, Watched]]:
        """The runs of a scheduler: their place in the stack and their plain training."""
        chosen = [index for index, run in enumerate(self.runs) if run.schedule.name == scheduler]
        assert chosen, f"{scheduler} is not in the stack"
        return ((index, self.plain(index)) for index in chosen)

    def assert_same_rates(self, scheduler: str) -> None:
        """Rate and momentum are the same, bit for bit, at every optimizer step."""
        for (index, plain), stack in itertools.product(self.of(scheduler), self.stacks):
            np.testing.assert_array_equal(stack.lr[:, [index]], plain.lr, strict=True)
            np.testing.assert_array_equal(stack.momentum[:, [index]], plain.momentum, strict=True)

    def assert_same_training(self, scheduler: str, tolerance: float) -> None:
        """Losses and final weights are the same to ``tolerance``; rates in the curves and the flag exactly."""
        for (index, plain), stack in itertools.product(self.of(scheduler), self.stacks):
            assert_same_history(stack.history, index, plain.history, tolerance)


def assert_same_history(
    ours: History,
    index: int,
    theirs: History,
    tolerance: float,
    exactly: Sequence[str] = ("lr", "momentum", "validation_metric"),
) -> None:
    """Run ``index`` of ``ours`` is the only one of ``theirs``: losses and weights to ``tolerance``, all else exactly."""
    for name in exactly:
        np.testing.assert_array_equal(getattr(ours.curves, name)[:, index], getattr(theirs.curves, name)[:, 0])
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(getattr(ours.curves, name)[:, index], getattr(theirs.curves, name)[:, 0], rtol=tolerance)
    for name in (
        "initial_loss",
        "noise",
        "final_loss",
        "test_loss",
        *(["test_metric"] if "validation_metric" in exactly else []),
    ):
        np.testing.assert_allclose(getattr(ours.outcome, name)[index], getattr(theirs.outcome, name)[0], rtol=tolerance)
    assert ours.outcome.finite[index] == theirs.outcome.finite[0]
    assert ours.outcome.weights.keys() == theirs.outcome.weights.keys()
    for name, weights in theirs.outcome.weights.items():
        assert_close(ours.outcome.weights[name][index], weights[0], tolerance)


PEAK_FIRST = ("StepLR", "MultiStepLR", "LambdaLR", "MultiplicativeLR", "ConstantLR", "ExponentialLR", "PolynomialLR",
              "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "LinearDecay", "CosineDecay", "CosineRestarts",
              "InverseSqrt", "REX", "TanhDecay")  # fmt: skip
"""Those whose example begins at its peak: a warmup may lead up to it."""


def entries(names: Sequence[str] = SCHEDULERS, warmed_up: Sequence[str] = PEAK_FIRST) -> dict[str, dict[str, Any]]:
    """Every example under a label of its own; each scheduler's first one is also stepped at the other interval."""
    return {
        f"{name}-{number}-{interval}": {"name": name, "args": args, "interval": interval}
        for name in names
        for number, args in enumerate(EXAMPLES[name])
        for interval in (["epoch", "batch"] if number == 0 and not schedulers[name].live else [schedulers[name].interval])
    } | {f"{name}-warmup": {"name": name, "args": EXAMPLES[name][0], "warmup": "20%"} for name in warmed_up}


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, id="-".join(each), marks=[] if each == COMPILED[-1] else [pytest.mark.slow]) for each in STACKS],
)
def twin(request: pytest.FixtureRequest, new_problem: Builder, flags: None) -> Twin:
    """Every example of every scheduler on one optimizer and model, seeds alternating."""
    model, optimizer = request.param
    problem = new_problem(entries(), optimizer=OPTIMIZERS[optimizer], model=MODELS[model], epochs=5)
    runs = [run_of(problem, label, seed=number % 3) for number, label in enumerate(entries())]
    return Twin(problem, runs, makes=[None, LaneProgram] if request.param in COMPILED else [None])


def test_every_registered_scheduler_has_an_example() -> None:
    assert sorted(EXAMPLES) == sorted(each.name for each in schedulers), (
        "add the new scheduler's arguments to tests/schedulers/examples.py"
    )


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_rates_losses_and_weights_equal_the_loop(twin: Twin, scheduler: str) -> None:
    twin.assert_same_rates(scheduler)
    twin.assert_same_training(scheduler, tolerance=1e-10)


@pytest.mark.parametrize("scheduler", FREE)
@pytest.mark.parametrize("optimizer", ["SGD-decay", "AdamW-betas"])
def test_schedule_free_ones_equal_the_loop(new_problem: Builder, optimizer: str, scheduler: str) -> None:
    """Every example at both intervals and behind a warmup, in the form that the problem's optimizer has without a schedule."""
    free = entries([scheduler], warmed_up=[scheduler])
    problem = new_problem(free, optimizer=OPTIMIZERS[optimizer], model=MLP, epochs=5)
    twin = Twin(problem, [run_of(problem, label, seed=number % 3) for number, label in enumerate(free)])
    twin.assert_same_rates(scheduler)
    twin.assert_same_training(scheduler, tolerance=1e-10)
    assert np.unique(twin.stacked.lr[:, -1]).size > 1  # it was warmed up
    assert np.unique(twin.stacked.momentum[0]).size == len(EXAMPLES[scheduler])


KINDS = {name: {"args": EXAMPLES[name][0]} for name in ("ConstantLR", "StepLR", "CyclicLR", "ReduceLROnPlateau", "GreedyLR")}
"""Rates that stay, that fall from epoch to epoch, that rise and fall from batch to batch, and two that follow the loss.

An optimizer is handed numbers, whichever scheduler they are of; tests/engine/test_optimizers.py tries it on any numbers.
"""


@pytest.mark.parametrize(("model", "optimizer"), few(ON_FIRST))
def test_other_optimizers_equal_the_loop(new_problem: Builder, model: str, optimizer: str) -> None:
    """On a schedule of each kind."""
    problem = new_problem(KINDS, optimizer=OPTIMIZERS[optimizer], model=MODELS[model], epochs=4)
    runs = [run_of(problem, label, seed=number % 3) for number, label in enumerate(KINDS)]
    ours = train(problem, runs)
    for index, run in enumerate(runs):
        theirs = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
        assert_same_history(ours, index, theirs, tolerance=1e-10)


def test_every_registered_optimizer_is_compared() -> None:
    """In the stack where it has a stacked form."""
    assert {given["name"] for given in OPTIMIZERS.values()} == set(STACKED)


def test_the_examples_move_the_rate(new_problem: Builder) -> None:
    """Otherwise equal rates would say little."""
    problem = new_problem(entries(), epochs=5)
    watched = watch_stacked(problem, [run_of(problem, label) for label in entries()])
    moving = {label for label, rates in zip(entries(), watched.lr.T, strict=True) if np.unique(rates).size > 1}
    assert {label.split("-")[0] for label in moving} == set(SCHEDULERS)


@pytest.mark.parametrize(("model", "optimizer"), few(SINGLE))
def test_one_epoch_in_single_precision(new_problem: Builder, model: str, optimizer: str) -> None:
    problem = new_problem(KINDS, optimizer=OPTIMIZERS[optimizer], model=MODELS[model], epochs=1)
    twin = Twin(problem, [run_of(problem, label) for label in KINDS], torch.float32)
    for scheduler in KINDS:
        twin.assert_same_rates(scheduler)
        twin.assert_same_training(scheduler, tolerance=1e-5)


CYCLED = ("SGD", "SGD-decay", "SGD-momentum", "SGD-dampening", "SGD-nesterov", "AdamW", "AdamW-betas", "AdamW-beta1-0",
          "Adam-betas", "NAdam", "NAdam-decay", "RMSprop", "RMSprop-centered-momentum")  # fmt: skip


@pytest.mark.parametrize("optimizer", few([(optimizer,) for optimizer in CYCLED]))
def test_cycled_momentum(new_problem: Builder, optimizer: str) -> None:
    """CyclicLR switches momentum (or beta1) on, also where the optimizer was given none, off at the top, and on again."""
    cycled = {each: {"name": "CyclicLR", "args": CYCLED_MOMENTUM, "interval": each} for each in ("batch", "epoch")}
    problem = new_problem(cycled, optimizer=OPTIMIZERS[optimizer], model=MLP, epochs=6)
    runs = [run_of(problem, interval, seed) for interval in cycled for seed in range(2)]
    twin = Twin(problem, [run_of(problem, "Baseline"), *runs])
    for name in ("CyclicLR", "ConstantLR"):
        twin.assert_same_rates(name)
        twin.assert_same_training(name, tolerance=1e-10)
    for momentum in twin.stacked.momentum.T[1:]:
        assert momentum[0] == 0.9  # max_momentum, whatever the optimizer was given
        assert (momentum == 0).any()  # base_momentum, at the highest rate
        assert momentum[-1] > 0
    given = OPTIMIZERS[optimizer]
    own = given.get("betas", [0.9])[0] if "Adam" in given["name"] else given.get("momentum", 0.0)
    assert (twin.stacked.momentum[:, 0] == own).all()  # the neighbour keeps its own


def test_the_last_smaller_batch_weighs_by_its_samples(new_problem: Builder) -> None:
    """At a rate of (nearly) 0 the epoch's training loss is the mean over samples, not over batches."""
    problem = new_problem({}, optimizer={"name": "SGD", "lr": 1e-12})
    assert problem.budget().steps_per_epoch == 6  # 5 * 12 + 10 samples
    history = watch_stacked(problem, [run_of(problem, "Baseline")]).history
    np.testing.assert_allclose(history.curves.train_loss[:, 0], history.outcome.initial_loss[0], rtol=1e-9)


def test_plateau_replayed_on_the_recorded_losses(new_problem: Builder) -> None:
    """The real torch object, given the losses that the stack recorded, sets every rate that the stack used."""
    plateau = {"ReduceLROnPlateau": {"args": {"factor": 0.2, "patience": "5%", "threshold": 0.05, "min_lr": "1%"}}}
    problem = new_problem(plateau, optimizer={"name": "SGD", "lr": 0.4}, model=MLP, epochs=60)
    followed = [run_of(problem, "ReduceLROnPlateau", seed) for seed in range(3)]
    curves = watch_stacked(problem, [*followed, run_of(problem, "Baseline")]).history.curves
    for place in range(len(followed)):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
        # 5% of 60 epochs are 3 bad epochs allowed; 1% of the rate is 0.004
        scheduler = ReduceLROnPlateau(optimizer, factor=0.2, patience=3, threshold=0.05, min_lr=0.004)
        expected = []
        for loss in curves.train_loss[:, place]:
            expected.append(optimizer.param_groups[0]["lr"])
            scheduler.step(loss)
        assert len(set(expected)) >= 3, "the loss must reach a plateau more than once"
        np.testing.assert_array_equal(curves.lr[:, place], expected)


LOSSES: Mapping[str, Mapping[str, Any]] = {
    "smoothed": {"loss": {"name": "CrossEntropyLoss", "label_smoothing": 0.2}, "metric": {"name": "F1Score"}},
    "weighted": {"loss": {"name": "CrossEntropyLoss", "weight": [0.2, 1.0, 3.0], "label_smoothing": 0.1},
                 "metric": {"name": "BalancedAccuracy"}},
    "binary": {"loss": {"name": "BCEWithLogitsLoss", "pos_weight": 2.0}, "metric": {"name": "AUROC"},
               "dataset": {**SMALL, "classes": 2}},
    "squared": {"dataset": REGRESSION},
    "huber": {"dataset": REGRESSION, "loss": {"name": "HuberLoss", "delta": 0.3}, "metric": {"name": "MeanAbsoluteError"}},
    "absolute": {"dataset": REGRESSION, "loss": {"name": "L1Loss"}, "metric": {"name": "SpearmanCorrCoef"}},
    "smooth": {"dataset": REGRESSION, "loss": {"name": "SmoothL1Loss"},
               "metric": {"name": "MeanSquaredError", "squared": False}},
    "a logarithm": {"dataset": {**REGRESSION, "log": True}, "metric": {"name": "MeanAbsoluteError"}},
    "two of weight": {"dataset": {**REGRESSION, "targets": 2, "weighted": True}, "loss": {"name": "L1Loss"},
                      "metric": {"name": "MeanSquaredError", "squared": False}},
    "classes of weight": {"dataset": {**REGRESSION, "classes": 3, "weighted": True},
                          "loss": {"name": "CrossEntropyLoss", "weight": [0.2, 1.0, 3.0], "label_smoothing": 0.1}},
    "two classes of weight": {"dataset": {**REGRESSION, "classes": 2, "weighted": True},
                              "loss": {"name": "BCEWithLogitsLoss"}, "metric": {"name": "AUROC"}},
    "embedded": {"dataset": {**REGRESSION, "categories": True}, "model": {"name": "tabular", "hidden": [4]}},
}  # fmt: skip


LIKE_OTHERS = ("weighted", "squared", "absolute", "smooth", "two of weight", "huber", "a logarithm", "two classes of weight")
"""All that they compute is computed by others in part: `make test-slow` tries them."""


@pytest.mark.parametrize("given", [
    pytest.param(given, id=name, marks=[pytest.mark.slow] if name in LIKE_OTHERS else []) for name, given in LOSSES.items()
])  # fmt: skip
@pytest.mark.usefixtures("own_registries", "flags")
def test_every_loss_and_metric_as_in_the_loop(new_problem: Builder, given: Mapping[str, Any]) -> None:
    """As a stack and in compiled code; open loop alone, so that blocks hold several epochs, and two seeds in the stack."""
    register_dataset("a line")(a_line)
    usual = {"optimizer": OPTIMIZERS["SGD"], "model": MLP, "epochs": 5}
    problem = new_problem({"StepLR": {"args": {"step_size": "30%"}}}, **{**usual, **given})
    runs = [run_of(problem, label, seed) for seed in (1, 0) for label in ("StepLR", "Baseline")]
    plain = [collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64)) for run in runs]
    stacks = [train(problem, runs, make=make) for make in (None, LaneProgram)]
    for ours, (index, theirs) in itertools.product(stacks, enumerate(plain)):
        for name in ("validation_metric",):
            np.testing.assert_allclose(getattr(ours.curves, name)[:, index], getattr(theirs.curves, name)[:, 0], rtol=1e-9)
        np.testing.assert_allclose(ours.outcome.test_metric[index], theirs.outcome.test_metric[0], rtol=1e-9)
        assert_same_history(ours, index, theirs, 1e-10, exactly=("lr", "momentum"))


def a_line(
    samples: int = 140,
    classes: int = 0,
    targets: int = 1,
    *,
    log: bool = False,
    weighted: bool = False,
    categories: bool = False,
) -> pd.DataFrame:
    """Numbers to predict, linear in five others, or classes of them."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((samples, 5))
    split = np.repeat(["train", "validation", "test"], [70, 40, samples - 110])
    y = (x @ np.arange(5.0) + draw.standard_normal(samples)).astype(np.float32)
    data = frame(x, pd.qcut(y, classes, labels=False) if classes else np.exp(y / 3) if log else y, split)
    if targets > 1:
        data.insert(2, "y1", 100 * x[:, 0] + draw.standard_normal(samples))
    if weighted:
        data["weight"] = draw.gamma(2, 3, samples)
    data.attrs |= {"transform": "log"} if log else {}
    if categories:
        data["x1"] = draw.integers(3, size=samples).astype(float)
        data.attrs["columns"] = [Column(f"x{i}", ("u", "v", "w") if i == 1 else ()).as_dict() for i in range(5)]
    return data


class Normed(torch.nn.Sequential):
    """A layer with a norm behind it, then one to the outputs: parameters of each kind that weight decay may spare."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(torch.nn.Linear(inputs, 6), torch.nn.LayerNorm(6), torch.nn.Tanh(), torch.nn.Linear(6, outputs))


DECAYED = {name: {**given, "weight_decay": 0.3} for name, given in OPTIMIZERS.items() if "-" not in name} | {
    "Adam-decoupled": {**OPTIMIZERS["Adam-decoupled"]}, "NAdam-decoupled": OPTIMIZERS["NAdam-decoupled"],
}  # fmt: skip


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[] if name in ("SGD", "RMSprop") else [pytest.mark.slow]) for name in DECAYED
])  # fmt: skip
@pytest.mark.usefixtures("own_registries", "flags")
def test_parameters_without_weight_decay(new_problem: Builder, name: str) -> None:
    """As a stack, in compiled code and by torch's own parameter groups, averaged or not; and it makes a difference."""
    register_model("normed")(Normed)
    given: dict[str, Any] = {"model": {"name": "normed"}, "epochs": 3}
    averaged = {"name": "StepLR", "args": {"step_size": "30%"}, "average": {"ema": 0.9}}
    schedules = {"StepLR": {"args": {"step_size": "30%"}}} | ({"Averaged": averaged} if name in ("SGD", "AdamW") else {})
    spared = {**DECAYED[name], "no_decay": ["bias", "norm"]}
    problem = new_problem(schedules, optimizer=spared, **given)
    plain = new_problem(schedules, optimizer=DECAYED[name], **given)
    for label in schedules:
        runs = [run_of(problem, label, seed) for seed in (1, 0)]
        stacks = [train(problem, runs, make=make) for make in ([None, LaneProgram] if name in ("SGD", "AdamW") else [None])]
        for index, run in enumerate(runs):
            theirs = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64))
            for ours in stacks:
                assert_same_history(ours, index, theirs, tolerance=1e-9)
        assert (train(plain, runs).outcome.final_loss != stacks[0].outcome.final_loss).all()
