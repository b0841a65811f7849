"""The plain loop by itself; the twin tests hold the stack to it, test_stackable.py what falls back on it."""

import random
import shutil
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pipeline.engine import loop
from pipeline.engine.compiling import CompilingError
from pipeline.engine.merging import lockstep
from pipeline.engine.training import ways
from pipeline.problems.chance import are_equal, states
from pipeline.problems.models import register
from pipeline.problems.optimizers import register as register_optimizer
from pipeline.problems.problem import Problem
from pipeline.problems.run import History, Run, collect
from pipeline.runs.inspection import inspect
from pipeline.schedulers.registry import register as register_scheduler
from pipeline.schedulers.replay import trace
from tests.engine.helpers import CPU, MLP, Builder, run_of, train
from tests.engine.test_stackable import Noisy
from tests.engine.test_twin import assert_same_history

SCHEDULES: dict[str, dict[str, Any]] = {
    "StepLR": {"args": {"step_size": "30%"}},
    "ReduceLROnPlateau": {"args": {"patience": 0}},
    "Bad": {"name": "MultiStepLR", "args": {"milestones": [3] * 5, "gamma": 1e6}},  # times 1e30 after three epochs
}


def looped(problem: Problem, run: Run, **how: Any) -> History:
    return collect([run], loop.train(problem, run, device=CPU, **how))


def test_a_search_evaluates_only_what_a_choice_needs(new_problem: Builder) -> None:
    problem = new_problem(SCHEDULES, model={**MLP, "dropout": 0.2})
    run = run_of(problem, "ReduceLROnPlateau")
    search, full = looped(problem, run, search=True), looped(problem, run)
    for name in ("validation_loss", "validation_metric"):
        assert np.isnan(getattr(search.curves, name)[:-1]).all()
        np.testing.assert_array_equal(getattr(search.curves, name)[-1], getattr(full.curves, name)[-1])
    np.testing.assert_array_equal(search.curves.train_loss, full.curves.train_loss)
    assert np.isnan([search.outcome.test_loss, search.outcome.test_metric]).all()
    assert np.isfinite([full.outcome.test_loss, full.outcome.test_metric]).all()


def test_a_run_that_diverges_has_nothing_further_to_tell(new_problem: Builder) -> None:
    """Epoch 4 ruins it; from the epoch after its curves are empty, as in a stack."""
    problem = new_problem(SCHEDULES, model=MLP)
    run = run_of(problem, "Bad")
    for history in (looped(problem, run), train(problem, [run], torch.float32)):
        assert history.outcome.finite.tolist() == [False]
        assert np.isfinite(history.curves.train_loss[:, 0]).tolist() == [True] * 3 + [False] * 5
        for name in ("train_loss", "validation_loss", "validation_metric"):
            assert np.isfinite(getattr(history.curves, name)[:3]).all()
            assert np.isnan(getattr(history.curves, name)[4:]).all()
        assert np.isnan([history.outcome.test_loss, history.outcome.test_metric]).all()


@pytest.mark.usefixtures("own_registries")
def test_the_random_numbers_of_a_model_are_its_runs_own(new_problem: Builder) -> None:
    """Whatever the caller or a run beside it draws; and the caller's go on as if nothing had been trained."""

    @register("noisy")
    def noisy(inputs: int, outputs: int) -> nn.Module:
        return Noisy(inputs, outputs)

    twice = {label: {"name": "ConstantLR", "args": {"factor": 1.0}} for label in ("One", "Other")}
    problem = new_problem(twice, model={"name": "noisy"})
    runs = [run_of(problem, label) for label in twice]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    alone = [looped(problem, run) for run in runs]
    assert torch.equal(torch.get_rng_state(), before)
    assert (alone[0].curves.train_loss != alone[1].curves.train_loss).all()
    progress = lockstep([loop.train(problem, run, device=CPU) for run in runs])
    for epoch, blocks in enumerate(progress):
        torch.rand(3)
        assert [block.train_loss.item() for block in blocks] == [history.curves.train_loss[epoch, 0] for history in alone]


class Deep(nn.Module):
    """Drops a layer by Python's generator and numbers by numpy's, and noise is in it when it is evaluated too."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(inputs, 8), nn.Linear(8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(x)) + 0.1 * torch.randn(())
        if self.training:
            hidden = hidden * torch.from_numpy(np.random.rand(*hidden.shape) > 0.2)
        outputs: Tensor = self.last(hidden) if random.random() < 0.7 else self.last(hidden * 0)
        return outputs


@pytest.mark.usefixtures("own_registries")
def test_all_generators_are_a_runs_own_in_training_and_evaluation(new_problem: Builder) -> None:
    """Whatever is drawn between its epochs, whether all of them are evaluated or not; and the caller's are left alone."""
    register("deep")(Deep)
    problem = new_problem(SCHEDULES, model={"name": "deep"})
    run, before = run_of(problem, "StepLR"), states()
    whole = looped(problem, run)
    assert are_equal(before, states())
    for epoch, block in enumerate(loop.train(problem, run, device=CPU)):
        torch.rand(1), random.random(), np.random.rand()
        for name in ("train_loss", "validation_loss", "validation_metric"):
            assert getattr(block, name)[0, 0] == getattr(whole.curves, name)[epoch, 0]
    search = looped(problem, run, search=True)
    np.testing.assert_array_equal(search.curves.train_loss, whole.curves.train_loss)
    assert search.curves.validation_loss[-1] == whole.curves.validation_loss[-1]
    # What is drawn in an evaluation is the same for every scheduler.
    first = [loop.Script(problem, run_of(problem, label), CPU, torch.float32).evaluate("train") for label in problem.schedules]
    assert len(set(first)) == 1


def by_shape(parameters: list[Tensor], lr: float) -> torch.optim.Optimizer:
    """Weights at the rate without a floor, biases at a tenth of it."""
    weights, biases = ([p for p in parameters if (p.ndim > 1) == is_weight] for is_weight in (True, False))
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "lr": lr / 10, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "OneCycleLR", "args": {"max_lr": "100%"}, "lr": "50%"},
        {"name": "CosineAnnealingLR", "args": {"T_max": "100%", "eta_min": "10%"}, "warmup": "10%"},
        {"name": "CyclicLR", "args": {"base_lr": "1%", "max_lr": "100%", "step_size_up": "20%"}},
        {"name": "ReduceLROnPlateau", "args": {"patience": 0, "min_lr": "50%"}},
    ],
    ids=lambda schedule: str(schedule["name"]),
)
def test_each_parameter_group_keeps_its_share_of_the_rate(new_problem: Builder, schedule: dict[str, Any]) -> None:
    """Also under schedulers that set one rate for all groups; what is told is the rate of the schedule."""
    register_optimizer("ByShape")(by_shape)
    problem = new_problem({"S": schedule}, optimizer={"name": "ByShape", "lr": 0.02}, model=MLP)
    run, rates = run_of(problem, "S"), []
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: rates.append([group["lr"] for group in optimizer.param_groups])
    )
    history = looped(problem, run)
    handle.remove()
    of_weights, of_biases = np.array(rates).T
    np.testing.assert_allclose(of_biases, of_weights / 10, rtol=1e-12)
    steps = problem.budget().steps_per_epoch
    np.testing.assert_allclose(history.curves.lr[:, 0], of_weights[::steps], rtol=1e-12)
    if schedule["name"] != "ReduceLROnPlateau":
        traced = trace(run.schedule, problem.optimizers_for(run.schedule), problem.lr, problem.budget())
        np.testing.assert_allclose(traced.lr, of_weights, rtol=1e-12)
    plain = new_problem({"S": schedule}, optimizer={"name": "AdamW", "lr": 0.02}, model=MLP)
    of_one_group = looped(plain, run_of(plain, "S")).curves.lr
    if schedule["name"] != "ReduceLROnPlateau":
        np.testing.assert_allclose(history.curves.lr, of_one_group, rtol=1e-12)


class Lion(torch.optim.Optimizer):
    """As its authors wrote it: no annotations, and two kinds of parameters apart."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99)) -> None:  # type: ignore[no-untyped-def]
        assert isinstance(betas, tuple)
        super().__init__(params, {"lr": lr, "betas": betas})
        self.parts = [[p for p in params if (p.ndim > 1) == is_weight] for is_weight in (True, False)]
        assert all(self.parts), "an optimizer that needs both kinds"

    def step(self, closure: Any = None) -> Any:
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            for p in (p for part in self.parts for p in part):
                p.sub_(self.param_groups[0]["lr"] * p.grad.sign())
        return loss


class Halving(LRScheduler):
    """As torch's own are: not told how long the run is."""

    def __init__(self, optimizer: Any, every: int, last_epoch: int = -1) -> None:
        self.every = every
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        return [float(rate) * 0.5 ** (self.last_epoch // self.every) for rate in self.base_lrs]


class Fading(Halving):
    """Told how long the run is."""

    def __init__(self, optimizer: Any, total_steps: int) -> None:
        super().__init__(optimizer, total_steps // 2)


@pytest.mark.usefixtures("own_registries")
def test_classes_are_registered_like_functions(new_problem: Builder) -> None:
    register_optimizer("Lion")(Lion)
    register("deep")(Deep)
    register_scheduler("Halving")(Halving)
    register_scheduler("Fading")(Fading)
    schedules: dict[str, dict[str, Any]] = {"Halving": {"args": {"every": 3}}, "Fading": {}}
    problem = new_problem(schedules, optimizer={"name": "Lion", "lr": 0.02, "betas": [0.8, 0.9]}, model={"name": "deep"})
    followed = {each.label: each for each in inspect(problem)}
    for label, expected in {"Halving": [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25], "Fading": [1] * 4 + [0.5] * 4}.items():
        rates = looped(problem, run_of(problem, label)).curves.lr[:, 0]
        np.testing.assert_allclose(rates, 0.02 * np.array(expected))
        np.testing.assert_allclose(followed[label].rates[:: problem.budget().steps_per_epoch], rates)


@pytest.mark.parametrize("name", ["SGD", "SGDScheduleFree", "AdamWScheduleFree"])
def test_evaluation_is_at_the_weights_that_count_and_leaves_all_as_it_was(new_problem: Builder, name: str) -> None:
    """Without dropout, at the averaged weights where there are any."""
    problem = new_problem({}, optimizer={"name": name, "lr": 0.5}, model={**MLP, "dropout": 0.5})
    script = loop.Script(problem, run_of(problem, "Baseline"), CPU, torch.float32)
    model, optimizer, rows = script.model, script.optimizer, problem.data.split(0).validation
    for _ in range(3):
        script.train_epoch()
    trained = {key: value.clone() for key, value in model.state_dict().items()}
    found = script.evaluate("validation")
    assert model.training
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, trained[key])
    getattr(optimizer, "eval", list)()
    moved = not torch.equal(next(model.parameters()), trained[next(iter(trained))])
    assert moved == ("ScheduleFree" in name)
    x, y = torch.tensor(problem.data.x[rows]), torch.tensor(problem.data.y[rows])
    outputs = model.eval()(x)
    assert found[0] == pytest.approx(nn.functional.cross_entropy(outputs, y).item(), rel=1e-6)
    assert found[1] == pytest.approx((outputs.argmax(dim=1) == y).double().mean().item())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_by_torch_when_asked(new_problem: Builder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The figures are those of the plain loop but for rounding, with a smaller last batch and dropout; a failure is a line."""
    given: dict[str, Any] = {"model": {**MLP, "dropout": 0.2}, "epochs": 2}
    plain, compiled = (new_problem(SCHEDULES, **given, engine=engine) for engine in ("loop", "compiled-loop"))
    run = run_of(compiled, "StepLR")
    assert ways(compiled, compiled.params.optimizer, CPU) == ("loop",)
    one, other = looped(plain, run), looped(compiled, run)
    assert_same_history(one, 0, other, tolerance=1e-5)

    from torch._inductor.exc import InvalidCxxCompiler  # late: seconds, for which every worker would wait

    def missing(model: nn.Module) -> Any:
        raise InvalidCxxCompiler

    monkeypatch.setattr(torch, "compile", lambda model: missing)
    with pytest.raises(CompilingError, match=r"engine: compiled-loop.*g\+\+.*engine: loop"):
        looped(compiled, run)


class Plain(torch.optim.Optimizer):
    """As people write one for ``loss.backward(); optimizer.step()``."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.add_(parameter.grad, alpha=-group["lr"])


class TwoPasses(Plain):
    """Goes by the gradients at other weights, as sharpness-aware minimization does."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        moves = [0.05 * parameter.grad for parameter in parameters]
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.add_(move)
        self.zero_grad()
        closure()
        for parameter, move in zip(parameters, moves, strict=True):
            parameter.sub_(move)
        super().step()


@pytest.mark.usefixtures("own_registries")
def test_an_optimizer_finds_gradients_as_behind_a_backward(new_problem: Builder) -> None:
    register_optimizer("Plain")(Plain)
    register_optimizer("TwoPasses")(TwoPasses)
    problem = new_problem(SCHEDULES, optimizer={"name": "Plain", "lr": 0.1}, epochs=2)
    ours, theirs = (
        looped(each, run_of(each, "StepLR"), dtype=torch.float64)
        for each in (problem, new_problem(SCHEDULES, optimizer={"name": "SGD", "lr": 0.1}, epochs=2))
    )
    assert_same_history(ours, 0, theirs, tolerance=1e-12, exactly=("lr",))
    problem = new_problem(SCHEDULES, optimizer={"name": "TwoPasses", "lr": 0.1}, epochs=1)
    script = loop.Script(problem, run_of(problem, "StepLR"), CPU, torch.float64)
    samples = problem.data.samples([0])
    x, y = (torch.tensor(values[samples.parts["train"][0]]) for values in (samples.x, samples.y))
    model = problem.new_model(0, run_of(problem, "StepLR").stream).double()
    order = torch.randperm(len(x), generator=problem.new_order(0, run_of(problem, "StepLR").stream))
    for rows in order.split(12):  # type: ignore[no-untyped-call]
        weights = [parameter.detach().clone() for parameter in model.parameters()]
        for share in (0.05, -0.1):
            model.zero_grad()
            nn.functional.cross_entropy(model(x[rows].double()), y[rows]).backward()  # type: ignore[no-untyped-call]
            for parameter, start in zip(model.parameters(), weights, strict=True):
                parameter.data = start + share * parameter.grad  # type: ignore[operator]
    script.train_epoch()
    for one, other in zip(script.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
