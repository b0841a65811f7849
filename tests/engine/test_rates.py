"""Rates of a stack: which traces are shared, and what live schedules do."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, MultiplicativeLR, ReduceLROnPlateau

from pipeline.config.errors import PipelineError
from pipeline.engine import loop, stacked
from pipeline.engine.lanes.program import LaneProgram
from pipeline.engine.rates import Rates
from pipeline.problems.run import Block, collect
from pipeline.schedulers.registry import Monitor, register
from tests.engine.helpers import CPU, MLP, Builder, run_of, train, watch_loop, watch_stacked
from tests.repeated import few


@pytest.fixture
def built(own_registries: None) -> list[float]:
    """The arguments of every scheduler ``Counted`` that is built."""
    built: list[float] = []

    @register("Counted")
    def counted(optimizer: Optimizer, total_steps: int, factor: float = 1.0) -> LRScheduler:
        built.append(factor)
        return LambdaLR(optimizer, lambda step: factor)

    return built


def test_equal_schedules_share_a_trace(new_problem: Builder, built: list[float]) -> None:
    schedules: dict[str, dict[str, Any]] = {
        "A": {"name": "Counted", "args": {"factor": 0.5}},
        "B": {"name": "Counted", "args": {"factor": 0.5}},  # another label, the same schedule
        "C": {"name": "Counted", "args": {"factor": 0.25}},
        "D": {"name": "Counted", "args": {"factor": 0.5}, "lr": "50%"},  # another peak
    }
    problem = new_problem(schedules)
    runs = [run_of(problem, label, seed) for label in schedules for seed in range(3)]
    lr, _ = Rates(problem, runs).epochs(range(1, 2))
    assert built == [0.5, 0.25, 0.5]
    np.testing.assert_allclose(lr[0], np.repeat([0.05, 0.05, 0.025, 0.025], 3))


def test_live_schedules_share_nothing(new_problem: Builder) -> None:
    """Two equal ones part as soon as their losses do; a NaN is no improvement."""
    problem = new_problem({"Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}}})
    rates = Rates(problem, [run_of(problem, "Plateau"), run_of(problem, "Baseline"), run_of(problem, "Plateau", 1)])
    seen = []
    for epoch, losses in enumerate(([1.0, 1.0, 1.0], [0.5, 9.0, 2.0], [np.nan, 9.0, 0.5]), start=1):
        lr, momentum = rates.epochs(range(epoch, epoch + 1))
        assert (lr == lr[0]).all()
        assert not momentum.any()
        seen.append(lr[0])
        rates.feed({"train_loss": np.array(losses)})
    seen.append(rates.epochs(range(4, 5))[0][0])
    np.testing.assert_allclose(seen, [[0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.1, 0.01], [0.01, 0.1, 0.01]])


def test_a_live_schedule_ignores_its_neighbours_losses(new_problem: Builder) -> None:
    problem = new_problem({"Plateau": {"name": "ReduceLROnPlateau", "args": {"patience": 0}}})
    rates = Rates(problem, [run_of(problem, "Baseline"), run_of(problem, "Plateau")])
    for losses in ([1.0, 0.9], [5.0, 0.8], [np.nan, 0.7]):
        rates.feed({"train_loss": np.array(losses)})
    assert rates.epochs(range(4, 5))[0][0].tolist() == [0.1, 0.1]


# What a live schedule watches

WATCHING: dict[str, dict[str, Any]] = {
    "on the loss": {"name": "ReduceLROnPlateau", "args": {"patience": 0, "monitor": "validation_loss"}},
    "on the metric": {"name": "ReduceLROnPlateau", "args": {"patience": 0, "monitor": "validation_metric"}},
    "in training": {"name": "ReduceLROnPlateau", "args": {"patience": 0}},
}
LABELS = {label.replace(" ", "_"): entry for label, entry in WATCHING.items()}


@pytest.mark.parametrize(
    ("metric", "search"),
    [
        ("Accuracy", True),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("AUROC", False), ("Accuracy", False), ("AUROC", True)]),
    ],
)
@pytest.mark.parametrize("make", few([None, LaneProgram], LaneProgram), ids=["tensors", "compiled"])
@pytest.mark.usefixtures("flags")
def test_both_engines_tell_a_schedule_what_it_watches(
    new_problem: Builder, make: stacked.Make | None, search: bool, metric: str
) -> None:
    """And torch's own object sets those rates, given the figures in the curves; a search evaluates them too, for it alone."""
    more: dict[str, Any] = {"metric": {"name": metric}, "epochs": 12, "optimizer": {"name": "SGD", "lr": 2.0}, "model": MLP}
    problem = new_problem(LABELS, **more)
    runs = [run_of(problem, label, seed) for label in ("Baseline", *LABELS) for seed in (0, 1)]
    ours = train(problem, runs, search=search, make=make)
    for index, run in enumerate(runs):
        theirs = collect([run], loop.train(problem, run, device=CPU, dtype=torch.float64, search=search)).curves
        np.testing.assert_array_equal(ours.curves.lr[:, index], theirs.lr[:, 0])
        for name in ("train_loss", "validation_loss", "validation_metric"):
            np.testing.assert_allclose(getattr(ours.curves, name)[:, index], getattr(theirs, name)[:, 0], rtol=1e-9)
        known = np.isfinite(ours.curves.validation_loss[:, index])
        assert known.tolist() == [not search or run.label in ("on_the_loss", "on_the_metric")] * 11 + [True]
        if run.label != "Baseline":
            assert_set_by_torch(ours.curves, index, run.schedule.args)


def assert_set_by_torch(curves: Block, index: int, args: dict[str, Any]) -> None:
    figure = args.get("monitor", "train_loss")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=2.0)
    mode: Any = "max" if figure == "validation_metric" else "min"
    scheduler, expected = ReduceLROnPlateau(optimizer, mode, patience=0), []
    for value in getattr(curves, figure)[:, index]:
        expected.append(optimizer.param_groups[0]["lr"])
        scheduler.step(value)
    assert len(set(expected)) > 1
    assert curves.lr[:, index].tolist() == expected


def test_a_schedule_that_watches_changes_nothing_beside_it(new_problem: Builder) -> None:
    """Bit for bit, in a search, and where a run diverges on the way: what was evaluated for another is not told of it."""
    schedules = {**LABELS, "Bad": {"name": "MultiStepLR", "args": {"milestones": [3] * 5, "gamma": 1e6}}}
    problem = new_problem(schedules, model=MLP)
    beside = [run_of(problem, label) for label in ("Baseline", "Bad")]
    alone = train(problem, beside, torch.float32, search=True)
    among = train(problem, [*beside, run_of(problem, "on_the_loss")], torch.float32, search=True)
    for name in ("lr", "train_loss", "validation_loss", "validation_metric"):
        np.testing.assert_array_equal(getattr(among.curves, name)[:, :2], getattr(alone.curves, name))
    assert among.outcome.finite[:2].tolist() == alone.outcome.finite.tolist() == [True, False]


def test_a_schedule_whose_run_diverges_is_told_nan(new_problem: Builder) -> None:
    """No improvement, as torch has it: the rate goes on falling, in both engines alike."""
    entry = {"name": "ReduceLROnPlateau", "args": {"patience": 0, "monitor": "validation_loss"}, "lr": 1e6}
    problem = new_problem({"Bad": entry}, dataset={"name": "diabetes"})
    run = run_of(problem, "Bad")
    ours = train(problem, [run], torch.float32)
    theirs = collect([run], loop.train(problem, run, device=CPU))
    assert not ours.outcome.finite[0]
    assert ours.curves.lr[-1, 0] < 1e3
    np.testing.assert_array_equal(ours.curves.lr, theirs.curves.lr)


@pytest.mark.parametrize(
    ("more", "mode"),
    [
        ({"metric": {"name": "AUROC", "average": "macro"}}, "max"),
        ({"dataset": {"name": "diabetes"}}, "max"),  # R², its usual metric
        ({"dataset": {"name": "diabetes"}, "metric": {"name": "MeanAbsoluteError"}}, "min"),
    ],
)
def test_which_way_is_better_follows_from_the_metric(new_problem: Builder, more: dict[str, Any], mode: str) -> None:
    """Unless it is said."""
    said = {**LABELS["on_the_metric"], "args": {**LABELS["on_the_metric"]["args"], "mode": "min"}}
    problem = new_problem({**LABELS, "said": said}, **more)
    assert problem.schedules["on_the_metric"].args["mode"] == mode
    assert problem.schedules["said"].args["mode"] == "min"
    assert "mode" not in problem.schedules["on_the_loss"].args


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("figure", ["train_loss", "validation_loss", "validation_metric"])
def test_a_live_scheduler_of_the_users_own_says_what_it_watches(new_problem: Builder, figure: Monitor) -> None:
    told: list[float] = []

    class Noting:
        """Leaves the rate as it is."""

        def __init__(self, optimizer: Optimizer) -> None:
            self.optimizer = optimizer

        def step(self, value: float) -> None:
            """Note it."""
            told.append(value)

    def noting(optimizer: Optimizer) -> Any:
        return Noting(optimizer)

    register("Noting", live=True, monitor=figure)(noting)
    problem = new_problem({"Noting": {}})
    history = train(problem, [run_of(problem, "Noting")], search=True)
    assert told == getattr(history.curves, figure)[:, 0].tolist()
    assert len(told) == 8
    assert np.isfinite(told).all()


@pytest.mark.usefixtures("own_registries")
def test_a_live_scheduler_that_raises_in_training_is_told_in_one_line(new_problem: Builder) -> None:
    """By both engines; on the constant loss of the gallery it would have gone on."""

    class Raising(ReduceLROnPlateau):
        """Only where something improves."""

        def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
            """Unless it is better than the last."""
            if self.last_epoch and float(metrics) < self.best:
                raise RuntimeError("better")
            super().step(metrics)

    def raising(optimizer: Optimizer) -> Any:
        return Raising(optimizer)

    register("Raising", live=True)(raising)
    problem = new_problem({"Raising": {}})
    run = run_of(problem, "Raising")
    with pytest.raises(PipelineError, match=r"^Raising raises: RuntimeError: better$"):
        train(problem, [run])
    with pytest.raises(PipelineError, match=r"^Raising raises: RuntimeError: better$"):
        collect([run], loop.train(problem, run, device=CPU))


@pytest.mark.usefixtures("own_registries")
@pytest.mark.parametrize("optimizer", [{"name": "SGD", "lr": 0.1, "momentum": 0.9}, {"name": "AdamW", "lr": 0.01}], ids=str)
def test_a_warmup_before_a_schedule_that_multiplies_is_the_same_in_both_engines(
    new_problem: Builder, optimizer: dict[str, Any]
) -> None:
    """0.97 to the power of the steps behind the warmup, from the peak on."""

    def multiplied(optimizer: Optimizer, total_steps: int) -> LRScheduler:
        return MultiplicativeLR(optimizer, lambda step: 0.97)

    register("Multiplied")(multiplied)
    problem = new_problem({"Warm": {"name": "Multiplied", "warmup": 20}}, optimizer=optimizer)
    run = run_of(problem, "Warm")
    ours, theirs = watch_stacked(problem, [run]), watch_loop(problem, run)
    np.testing.assert_array_equal(ours.lr, theirs.lr)
    expected = [step / 20 for step in range(20)] + [0.97**step for step in range(28)]
    np.testing.assert_allclose(ours.lr[:, 0] / optimizer["lr"], expected, rtol=1e-12)
    np.testing.assert_allclose(ours.history.curves.train_loss, theirs.history.curves.train_loss, rtol=1e-10)
