"""Runs that are evaluated at a mean of their weights: torch's AveragedModel in the loop, one more tensor in the stack."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ConstantLR
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

from pipeline.engine import loop, stacked
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.stackable import by_optimizer
from pipeline.engine.stacked import StackError
from pipeline.engine.training import train as train_all
from pipeline.problems.models import register as register_model
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run, collect
from tests.engine.helpers import CPU, MLP, Builder, run_of, train
from tests.engine.test_twin import OPTIMIZERS, assert_same_history
from tests.repeated import few
from tests.schedulers.examples import CYCLED_MOMENTUM

COSINE: Mapping[str, Any] = {"name": "CosineAnnealingLR", "args": {"T_max": "100%"}}
AVERAGED: Mapping[str, Mapping[str, Any]] = {
    "Ema": {**COSINE, "average": {"ema": 0.9}},
    "Short": {**COSINE, "interval": "batch", "average": {"ema": 0.3}},
    "Swa": {"name": "SWALR", "args": {"swa_lr": "20%", "anneal_epochs": 1, "start": "50%"}, "average": {"swa": "50%"}},
    "All": {"name": "ConstantLR", "args": {"factor": 1.0}, "average": {"swa": 0}},
    "Never": {"name": "ReduceLROnPlateau", "args": {"patience": 1}, "average": {"swa": "100%"}},
}
"""Of each kind; they are trained as one stack."""
MAKES = pytest.mark.parametrize("make", [None, LaneProgram], ids=["tensors", "compiled"])


def in_the_loop(problem: Problem, run: Run, *, search: bool = False) -> History:
    return collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64, search=search))


def assert_as_in_the_loop(problem: Problem, runs: list[Run], make: stacked.Make | None) -> None:
    ours = train(problem, runs, make=make)
    for index, run in enumerate(runs):
        assert_same_history(ours, index, in_the_loop(problem, run), tolerance=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    few(["SGD-dampening", "AdamW-amsgrad", "NAdam-decay", "RMSprop-centered-momentum",
         "SGD", "SGD-momentum-decay", "SGD-nesterov", "Adam", "Adagrad-decay"], "SGD-dampening", "AdamW-amsgrad"),
)  # fmt: skip
def test_every_optimizer_averages_as_in_the_loop(new_problem: Builder, optimizer: str) -> None:
    """After every epoch: losses, metric, and in the end the weights."""
    problem = new_problem(AVERAGED, optimizer=OPTIMIZERS[optimizer], model=MLP)
    assert_as_in_the_loop(problem, [run_of(problem, label, seed=n % 2) for n, label in enumerate(AVERAGED)], None)


MORE: Mapping[str, Mapping[str, Any]] = {
    "clipped": {"clip": {"norm": 0.5}, "optimizer": OPTIMIZERS["SGD-momentum"]},
    "dropout": {"model": {**MLP, "dropout": 0.3}, "optimizer": OPTIMIZERS["AdamW"]},
    "of all samples": {"metric": {"name": "F1Score"}, "optimizer": OPTIMIZERS["SGD-nesterov-decay"]},
}


@pytest.mark.parametrize(("given", "make"), [
    ("dropout", None), *(pytest.param(given, None, marks=pytest.mark.slow) for given in MORE if given != "dropout"),
    pytest.param("dropout", LaneProgram, marks=pytest.mark.slow),
])  # fmt: skip
@pytest.mark.usefixtures("flags")
def test_with_all_else_that_a_problem_may_ask_for(new_problem: Builder, given: str, make: stacked.Make | None) -> None:
    problem = new_problem(AVERAGED, **{"model": MLP, **MORE[given]})
    assert_as_in_the_loop(problem, [run_of(problem, label, seed=n % 2) for n, label in enumerate(AVERAGED)], make)


@pytest.mark.parametrize(
    ("optimizer", "make"),
    [
        ("SGD-dampening", None),
        ("AdamW-betas", LaneProgram),
        *(pytest.param(name, None, marks=pytest.mark.slow) for name in ("SGD", "AdamW-betas")),
    ],
)
@pytest.mark.usefixtures("flags")
def test_with_cycled_momentum(new_problem: Builder, optimizer: str, make: stacked.Make | None) -> None:
    cycled = {
        label: {"name": "CyclicLR", "args": CYCLED_MOMENTUM, "average": average}
        for label, average in (("Ema", {"ema": 0.8}), ("Swa", {"swa": 3}))
    }
    problem = new_problem(cycled, optimizer=OPTIMIZERS[optimizer], model=MLP)
    assert_as_in_the_loop(problem, [run_of(problem, label) for label in cycled], make)


@pytest.mark.slow
def test_in_single_precision_a_mean_is_no_further_from_the_loop_than_its_weights(new_problem: Builder) -> None:
    """Of a slow mean of many steps: what one step rounds does not add up."""
    slow = {"Slow": {**COSINE, "average": {"ema": 0.999}}}
    problem = new_problem(slow, epochs=60)
    run = run_of(problem, "Slow")
    ours = train(problem, [run], torch.float32)
    theirs = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float32))
    assert_same_history(ours, 0, theirs, tolerance=2e-5, exactly=("lr", "momentum"))


@pytest.mark.parametrize("average", [{"ema": 0.8}, {"swa": "50%"}], ids=str)
def test_the_loop_is_what_users_of_torch_write(new_problem: Builder, average: dict[str, Any]) -> None:
    """As torch's documentation has it, with epochs from 1: half of 8 are trained at a constant rate, and not averaged."""
    args = {"swa_lr": "20%", "anneal_epochs": 1, "start": "50%"}
    problem = new_problem({"Averaged": {"name": "SWALR", "args": args, "average": average}})
    x, y = torch.tensor(problem.data.x, dtype=torch.float64), torch.tensor(problem.data.y)
    train_rows = torch.tensor(problem.data.split(0).train)
    model = problem.new_model(0, "final").double()
    optimizer = torch.optim.SGD(model.parameters(), problem.lr)
    scheduler, swa_scheduler = ConstantLR(optimizer, 1.0), SWALR(optimizer, swa_lr=problem.lr / 5, anneal_epochs=1)
    ema_model = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.8))  # type: ignore[no-untyped-call]
    swa_model, swa_start = AveragedModel(model), 4
    order = problem.new_order(0, "final")
    for epoch in range(1, 9):
        for batch in torch.randperm(len(train_rows), generator=order).split(12):  # type: ignore[no-untyped-call]
            rows = train_rows[batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            ema_model.update_parameters(model)
        if epoch > swa_start:
            swa_model.update_parameters(model)
            swa_scheduler.step()
        else:
            scheduler.step()
    expected = (ema_model if "ema" in average else swa_model).module.state_dict()
    for name, values in in_the_loop(problem, run_of(problem, "Averaged")).outcome.weights.items():
        torch.testing.assert_close(values[0], expected[name], rtol=1e-12, atol=1e-14)


def test_a_mean_changes_what_is_evaluated_and_nothing_that_is_trained(new_problem: Builder) -> None:
    """Until it begins, and a step later, it is the weights themselves."""
    labels = {"Plain": {"name": "ConstantLR", "args": {"factor": 1.0}}, "Swa": {**AVERAGED["All"], "average": {"swa": 4}}}
    problem = new_problem(labels, model=MLP)
    plain, swa = (train(problem, [run_of(problem, label)]) for label in labels)
    np.testing.assert_array_equal(swa.curves.train_loss, plain.curves.train_loss)
    ratio = (swa.curves.validation_loss / plain.curves.validation_loss)[:, 0]
    np.testing.assert_allclose(ratio[:5], 1, rtol=1e-12)  # of one, after the fifth epoch, too
    assert (abs(ratio[5:] - 1) > 1e-4).all()


@MAKES
def test_the_weights_are_those_that_were_evaluated(new_problem: Builder, make: stacked.Make | None) -> None:
    """Loaded into a model, they give the loss of the last validation."""
    problem = new_problem(AVERAGED, model=MLP, optimizer=OPTIMIZERS["SGD-momentum"])
    runs = [run_of(problem, label) for label in AVERAGED]
    part = problem.data.split(0).validation
    x, y = torch.tensor(problem.data.x[part], dtype=torch.float64), torch.tensor(problem.data.y[part])
    ours = train(problem, runs, make=make)
    for place in range(len(runs)):
        model = problem.new_model(0, "final").double()
        model.load_state_dict({name: values[place] for name, values in ours.outcome.weights.items()})
        loss = nn.functional.cross_entropy(model(x), y).item()
        assert loss == pytest.approx(ours.curves.validation_loss[-1, place], rel=1e-12)


@MAKES
def test_a_search_ends_at_the_same_mean(new_problem: Builder, make: stacked.Make | None) -> None:
    problem = new_problem(AVERAGED)
    runs = [run_of(problem, label) for label in AVERAGED]
    full, searched = (train(problem, runs, make=make, search=search) for search in (False, True))
    np.testing.assert_array_equal(searched.curves.validation_loss[-1], full.curves.validation_loss[-1])


def test_runs_with_and_without_a_mean_are_trained_side_by_side(new_problem: Builder) -> None:
    """In two stacks, each run in its place."""
    problem = new_problem({**AVERAGED, "Plain": COSINE})
    runs = [run_of(problem, label) for label in ("Plain", "Ema", "Baseline", "Swa", "Never")]
    assert [places for _, places in by_optimizer(problem, runs)] == [[0, 2], [1, 3, 4]]
    with pytest.raises(StackError, match="these runs have SGD, SGD averaged;"):
        train(problem, runs)
    together = collect(runs, train_all(problem, runs, device=CPU, dtype=torch.float64))
    for place, run in enumerate(runs):
        alone = collect([run], train_all(problem, [run], device=CPU, dtype=torch.float64))
        for curve in ("train_loss", "validation_loss"):
            found, expected = (getattr(history.curves, curve) for history in (together, alone))
            np.testing.assert_allclose(found[:, place], expected[:, 0], rtol=1e-12)


def test_a_run_that_diverges_takes_no_other_with_it(new_problem: Builder) -> None:
    """Nor is anything told of it: its mean is no better than its weights."""
    problem = new_problem({**AVERAGED, "Wild": {**COSINE, "lr": 1e9, "average": {"ema": 0.9}}}, model=MLP)
    runs = [run_of(problem, label) for label in ("Ema", "Wild")]
    history = train(problem, runs)
    assert history.diverged.tolist() == [False, True]
    assert_same_history(history, 0, in_the_loop(problem, runs[0]), tolerance=1e-10)


# BatchNorm


def normed(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, outputs))


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("label", ["Ema", "Swa"])
def test_statistics_of_batches_are_gathered_anew_at_the_mean(new_problem: Builder, label: str) -> None:
    """As ``torch.optim.swa_utils.update_bn`` does it: they are the means over the batches of the training part."""
    register_model("normed")(normed)
    problem = new_problem(AVERAGED, model={"name": "normed"})
    run = run_of(problem, label)
    history = in_the_loop(problem, run)
    weights = {name: values[0] for name, values in history.outcome.weights.items()}
    model = problem.new_model(0, "final").double()
    model.load_state_dict(weights)
    split = problem.data.split(0)
    x = torch.tensor(problem.data.x, dtype=torch.float64)
    batches = x[torch.tensor(split.train)].split(12)  # type: ignore[no-untyped-call]
    of_batches = [model.get_submodule("0")(batch).mean(dim=0) for batch in batches]
    torch.testing.assert_close(weights["1.running_mean"], torch.stack(of_batches).mean(dim=0).detach())
    update_bn(batches, model)
    loss = nn.functional.cross_entropy(model.eval()(x[split.validation]), torch.tensor(problem.data.y[split.validation])).item()
    assert loss == pytest.approx(history.curves.validation_loss[-1, 0], rel=1e-12)


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("label", ["Ema", "Swa"])
def test_gathering_them_draws_none_of_the_runs_random_numbers(new_problem: Builder, label: str) -> None:
    """Evaluated once or after every epoch, a model with random layers of its own is trained to the same bits."""

    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * torch.randn_like(x) if self.training else x

    @register_model("noisy")
    def noisy(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(inputs, 6), Noisy(), nn.BatchNorm1d(6), nn.Linear(6, outputs))

    problem = new_problem(AVERAGED, model={"name": "noisy"})
    full, searched = (in_the_loop(problem, run_of(problem, label), search=search) for search in (False, True))
    np.testing.assert_array_equal(searched.curves.train_loss, full.curves.train_loss)
    for name, values in full.outcome.weights.items():
        assert torch.equal(values, searched.outcome.weights[name])
