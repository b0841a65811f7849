"""The plain loop by itself; the twin tests hold the stack to it, test_stackable.py what falls back on it."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.engine import loop
from pipeline.engine.merging import lockstep
from pipeline.problems.models import register
from pipeline.problems.problem import Problem
from pipeline.runs import History, Run, collect
from tests.engine.helpers import CPU, MLP, Builder, run_of, train
from tests.engine.test_stackable import Noisy

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


@pytest.mark.parametrize("name", ["SGD", "SGDScheduleFree", "AdamWScheduleFree"])
def test_evaluation_is_at_the_weights_that_count_and_leaves_all_as_it_was(new_problem: Builder, name: str) -> None:
    """Without dropout, at the averaged weights where there are any."""
    problem = new_problem({}, optimizer={"name": name, "lr": 0.5}, model={**MLP, "dropout": 0.5})
    script = loop.Script(problem, run_of(problem, "Baseline"), CPU, torch.float32)
    model, optimizer, rows = script.model, script.optimizer, problem.split(0).validation
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
    x, y = torch.tensor(problem.x[rows]), torch.tensor(problem.y[rows])
    outputs = model.eval()(x)
    assert found[0] == pytest.approx(nn.functional.cross_entropy(outputs, y).item(), rel=1e-6)
    assert found[1] == pytest.approx((outputs.argmax(dim=1) == y).double().mean().item())
