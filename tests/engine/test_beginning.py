"""Divergence: like is compared with like, so that no healthy run has diverged and none that exploded is missed."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pipeline.data.datasets import register as register_dataset
from pipeline.engine import compiler, loop
from pipeline.engine.beginning import LEAST_SPREAD, beginning, mean_loss
from pipeline.engine.merging import merged
from pipeline.engine.training import train
from pipeline.problems.losses import Loss
from pipeline.problems.models import register
from pipeline.problems.problem import Problem
from pipeline.problems.run import BEYOND_NOISE, History, Run, collect
from tests.engine.helpers import CPU, MLP, SMALL, Builder, run_of
from tests.repeated import few

NONE: dict[str, Any] = {}
SGD: dict[str, Any] = {"name": "SGD", "lr": 0.02, "momentum": 0.5}
ADAMW: dict[str, Any] = {"name": "AdamW", "lr": 0.001}
OPTIMIZERS = [SGD, ADAMW, {"name": "RMSprop", "lr": 0.001}, {"name": "Adagrad", "lr": 0.01}]
PARTS = ["train"] * 70 + ["validation"] * 40 + ["test"] * 30
DROPPING = {"name": "mlp", "hidden": [32], "dropout": 0.5}
TRANSFORMER = {"name": "transformer", "width": 8, "heads": 2, "vocabulary": 7}
NOISE = {"dataset": {"name": "noise"}, "model": MLP}
HEALTHY: dict[str, dict[str, Any]] = {
    "dropout": {"model": DROPPING, "epochs": 3},
    "label noise": {"dataset": {**SMALL, "noise": 0.4}, "model": MLP},
    "one epoch": {"model": DROPPING, "epochs": 1},
    "batches of one": {"model": DROPPING, "batch_size": 1, "epochs": 2},
    "the full batch": {"model": DROPPING, "batch_size": 70},
    "nothing to learn": NOISE,
    "nothing to learn, a sample at a time": {**NOISE, "model": {"name": "linear"}, "batch_size": 1},
    "nothing to learn, from a loss that all samples share": {**NOISE, "model": {"name": "zeros"}, "batch_size": 4},
    "normed": {"model": {"name": "normed"}, "epochs": 3},
    "one output": {"dataset": {**SMALL, "classes": 2}, "model": MLP, "loss": {"name": "BCEWithLogitsLoss", "pos_weight": 3.0}},
    "weighted classes": {"loss": {"name": "CrossEntropyLoss", "weight": [1.0, 5.0, 0.2]}},
    "regression": {"dataset": {"name": "diabetes"}, "model": DROPPING, "epochs": 2},
    "absolute errors": {"dataset": {"name": "diabetes"}, "model": MLP, "loss": {"name": "L1Loss"}, "epochs": 2},
    "tokens": {
        "dataset": {"name": "tokens"},
        "model": {**TRANSFORMER, "dropout": 0.3},
        "epochs": 3,
    },
}
RUINED: dict[str, dict[str, Any]] = {
    "classes": {"model": MLP},
    "dropout": {"model": DROPPING},
    "batches of one": {"model": MLP, "batch_size": 1, "epochs": 2},
    "the full batch": {"model": MLP, "batch_size": 70},
    "one epoch": {"model": MLP, "epochs": 1},
    "normed": {"model": {"name": "normed"}},
    "one output": {"dataset": {**SMALL, "classes": 2}, "model": MLP, "loss": {"name": "BCEWithLogitsLoss"}},
    "regression": {"dataset": {"name": "diabetes"}, "model": MLP, "epochs": 2},
    "tokens": {
        "dataset": {"name": "tokens"},
        "model": TRANSFORMER,
        "epochs": 3,
    },
}


@pytest.fixture(autouse=True)
def quickly_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here hangs on the last bit."""
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))


@pytest.fixture(autouse=True)
def registered(own_registries: None) -> None:
    @register("normed")
    def normed(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, outputs))

    @register("zeros")
    def zeros(inputs: int, outputs: int) -> nn.Module:
        layer = nn.Linear(inputs, outputs)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    @register_dataset("noise")
    def noise() -> pd.DataFrame:
        draw = np.random.default_rng(0)
        columns = {f"x{i}": draw.standard_normal(140).astype(np.float32) for i in range(5)}
        return pd.DataFrame({"split": PARTS, "y": draw.integers(0, 3, 140)} | columns)

    @register_dataset("tokens")
    def tokens() -> pd.DataFrame:
        draw = np.random.default_rng(0)
        ids = draw.integers(0, 7, (140, 6))
        columns = {f"x{i}": ids[:, i] for i in range(6)}
        return pd.DataFrame({"split": PARTS, "y": ids[:, 0] % 3} | columns)


def trained(problem: Problem, seeds: int = 4) -> History:
    runs = [Run("Baseline", problem.schedules["Baseline"], seed, problem.params.epochs) for seed in range(seeds)]
    if problem.params.model.name != "normed":
        return collect(runs, train(problem, runs, device=CPU, search=True))
    by_itself = partial(loop.train, problem, device=CPU, search=True)  # other processes do not know a test's own model
    return collect(runs, merged([by_itself(run) for run in runs], range(seeds)))


USUALLY = ("dropout", "label noise", "batches of one", "nothing to learn", "normed", "one output", "regression", "tokens")
SLOWLY = ("dropout", "nothing to learn")
"""Those that are tried at a usual and at a tiny rate; the others so by `make test-slow` alone."""


@pytest.mark.parametrize(("kind", "tiny"), [
    pytest.param(kind, tiny, marks=[pytest.mark.slow] if kind not in (SLOWLY if tiny else USUALLY) else [])
    for kind in HEALTHY for tiny in (False, True)
])  # fmt: skip
def test_a_healthy_run_has_not_diverged_however_slow(new_problem: Builder, kind: str, tiny: bool) -> None:
    for optimizer in OPTIMIZERS if kind == "dropout" and not tiny else OPTIMIZERS[:2]:
        rate = 1e-6 if tiny else optimizer["lr"] / (10 if HEALTHY[kind].get("batch_size") == 1 else 1)
        history = trained(new_problem(NONE, optimizer={**optimizer, "lr": rate}, **HEALTHY[kind]))
        assert not history.diverged.any(), optimizer


@pytest.mark.parametrize("kind", few(RUINED, "classes", "dropout", "normed", "regression"))
def test_a_run_that_explodes_has_diverged_though_its_loss_stays_finite(new_problem: Builder, kind: str) -> None:
    for optimizer in ({"name": "SGD", "lr": 1e3}, {"name": "Adam", "lr": 1e2}):
        history = trained(new_problem(NONE, optimizer=optimizer, **RUINED[kind]))
        assert history.diverged.all(), (optimizer, history.outcome)


@pytest.mark.slow
@pytest.mark.parametrize("search", [False, True])
def test_what_dropout_costs_in_training_is_no_divergence(new_problem: Builder, search: bool) -> None:
    """At so low a rate the training loss of many runs ends above their first evaluation, though both fall."""
    params: dict[str, Any] = {"dataset": {"name": "breast_cancer"}, "model": DROPPING, "epochs": 3, "batch_size": 128}
    problem = new_problem(NONE, optimizer={"name": "AdamW", "lr": 1e-4}, **params)
    runs = [run_of(problem, "Baseline", seed) for seed in range(20)]
    history = collect(runs, train(problem, runs, device=CPU, search=search))
    assert (history.curves.train_loss[-1] > history.outcome.initial_loss).any()  # the case is what it is said to be
    assert not history.diverged.any()


def test_both_engines_compare_the_same(new_problem: Builder) -> None:
    problem = new_problem(NONE, model=DROPPING, loss={"name": "CrossEntropyLoss", "weight": [1.0, 5.0, 0.2]})
    run = run_of(problem, "Baseline", 1)
    found = [collect([run], way).outcome for way in (train(problem, [run], device=CPU), loop.train(problem, run, device=CPU))]
    for name in ("initial_loss", "noise", "final_loss"):
        np.testing.assert_allclose(getattr(found[0], name), getattr(found[1], name), rtol=1e-5)


@pytest.mark.parametrize("average", [{"swa": "50%"}, {"ema": 0.9}])
def test_an_averaged_run_ends_at_the_mean_that_is_evaluated(new_problem: Builder, average: dict[str, Any]) -> None:
    """Where the weights are that it was trained to says nothing: they may have left the mean far behind."""
    schedules = {"Averaged": {"name": "ConstantLR", "args": {"factor": 1.0}, "average": average}}
    problem = new_problem(schedules, model=DROPPING, optimizer={"name": "SGD", "lr": 0.5}, epochs=4)
    run = run_of(problem, "Averaged", 1)
    samples = problem.data.samples([run.seed])
    rows = samples.parts["train"][0]
    x, y = torch.tensor(samples.x[rows], dtype=torch.float32), torch.tensor(samples.y[rows])
    for way in (train(problem, [run], device=CPU), loop.train(problem, run, device=CPU)):
        outcome = collect([run], way).outcome
        model = problem.new_model(run.seed, run.stream)
        model.load_state_dict({name: value[0] for name, value in outcome.weights.items()})
        assert outcome.final_loss[0] == pytest.approx(mean_loss(model, problem.loss, x, y), rel=1e-5)


# The beginning


def test_noise_is_the_standard_error_of_a_batch() -> None:
    """Batches drawn from the samples stray by it; with weights, too."""
    draw = np.random.default_rng(0)
    x = torch.tensor(draw.standard_normal((2000, 3)), dtype=torch.float32)
    y = torch.tensor(draw.integers(0, 2, 2000))
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    for loss in (Loss("CrossEntropyLoss", {}), Loss("CrossEntropyLoss", {"weight": [0.2, 3.0]})):
        start = beginning(model, loss, x, y, 40)
        assert start.loss == pytest.approx(loss.mean(model(x), y).item(), rel=1e-5)
        batches = [loss.mean(model(x[rows]), y[rows]).item() for rows in (torch.randint(2000, (40,)) for _ in range(2000))]
        assert start.noise == pytest.approx(np.std(batches), rel=0.1)


def test_where_all_samples_begin_alike_the_noise_is_a_share_of_the_loss() -> None:
    model, x, y = nn.Linear(3, 2), torch.randn(64, 3), torch.arange(64) % 2
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    start = beginning(model, Loss("CrossEntropyLoss", {}), x, y, 16)
    assert start.noise == pytest.approx(LEAST_SPREAD * np.log(2) / 4, rel=1e-5)
    assert BEYOND_NOISE * start.noise < 0.1 * start.loss


@pytest.mark.parametrize("samples", [1025, 3])
def test_running_statistics_are_those_of_the_weights_and_are_left_alone(samples: int) -> None:
    """What has been trained at another scale, and what its layers remember of it, change nothing; nor does dropout."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Dropout(0.5), nn.Linear(4, 3))
    x, y = torch.randn(samples, 4), torch.arange(samples) % 3
    loss = Loss("CrossEntropyLoss", {})
    fresh = mean_loss(model, loss, x, y)
    model(100 * torch.randn(50, 4))
    before, momentum = {name: value.clone() for name, value in model.state_dict().items()}, model[0].momentum
    state = torch.get_rng_state()
    assert mean_loss(model, loss, x, y) == fresh
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (model[0].momentum, model.training, model[0].training) == (momentum, True, True)
