"""Search spaces as Optuna sees them, and the schedules that come out of them: whatever is suggested can be trained."""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from torch.optim import SGD

from pipeline.catalogue import CATALOGUE
from pipeline.config.schedules import Schedule
from pipeline.config.spaces import PeakRates, refuse_unfit
from pipeline.config.units import percent
from pipeline.schedulers.registry import Scheduler
from pipeline.schedulers.replay import Budget, Replay, resolve, trace
from pipeline.search.space import StudySpace, study_space
from pipeline.search.study import Study
from tests.schedulers.examples import EXAMPLES, schedule

BUDGET = Budget(epochs=20, steps_per_epoch=3)
BUDGETS = {"small": BUDGET, "large": Budget(epochs=70, steps_per_epoch=11)}
LR = 0.5
RATES = PeakRates()
SAMPLES = 100


def new_optimizer(parameters: list[torch.Tensor], lr: float) -> SGD:
    return SGD(parameters, lr, momentum=0.9)


def space_of(given: Schedule, rates: PeakRates = RATES, lr: float = LR, budget: Budget = BUDGET) -> StudySpace:
    return study_space(given, rates, lr, budget)


def sampled(space: StudySpace, count: int = SAMPLES) -> Iterator[tuple[Mapping[str, Any], Schedule]]:
    """What is suggested at random, and the schedule of it; the corners of the space first."""
    for corner in (0, -1):
        suggested = {name: corners(distribution)[corner] for name, distribution in space.distributions.items()}
        yield suggested, space.schedule(suggested)
    asked = Study("s", "s", 0, "random", space, "").ask(count)
    for trial in asked.trials[1:]:
        yield trial.params, space.schedule(trial.params)


def corners(distribution: Any) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    return [distribution.low, distribution.high]


def check(found: Schedule, lr: float = LR, budget: Budget = BUDGET) -> None:
    """It is valid as written in params.yaml, and can be followed to the end of the run."""
    read = Schedule.model_validate(found.model_dump(mode="json", exclude_none=True), context=CATALOGUE)
    assert read.key == found.key
    args = resolve(found, lr, budget).args
    if "base_lr" in args:
        assert args["base_lr"] <= args["max_lr"]
    if "decay" in args:
        assert args["warmup"] + args["decay"] <= budget.steps_of(found).main
    assert args.get("milestones", []) == sorted(args.get("milestones", []))
    if CATALOGUE.schedulers[found.name].live:
        replay = Replay(found, new_optimizer, lr, budget)
        rates = []
        for epoch in range(budget.epochs):
            rates.append(replay.now[0])
            replay.step(1.0 + 0.1 * (epoch % 3))
        followed = np.array(rates)
    else:
        followed = trace(found, new_optimizer, lr, budget).lr
        assert len(followed) == budget.epochs * budget.steps_per_epoch
    assert np.isfinite(followed).all()
    assert (followed >= 0).all()


CASES = [
    pytest.param(entry, args, id=f"{entry.name}-{i}")
    for entry in CATALOGUE.schedulers
    for i, args in enumerate(EXAMPLES[entry.name])
]


@pytest.mark.parametrize("entry", list(CATALOGUE.schedulers), ids=lambda entry: entry.name)
def test_a_registered_search_space_fits_the_signature(entry: Scheduler) -> None:
    for args in EXAMPLES[entry.name]:
        refuse_unfit({name: entry.search[name] for name in searched(entry, args)}, entry, args)


CYCLIC = {"base_lr": "1%", "step_size_up": "10%", "cycle_momentum": False}
# What is given → what is searched, beside what the registered space says: relations between arguments bind both.
CONSTRAINED: dict[str, tuple[Schedule, set[str]]] = {
    "a low max": (schedule("CyclicLR", {**CYCLIC, "max_lr": "20%"}), {"base_lr % of max_lr"}),
    "a max in plain numbers": (schedule("CyclicLR", {**CYCLIC, "base_lr": 0.004, "max_lr": 0.02}), {"base_lr % of max_lr"}),
    "a base that is the max": (schedule("CyclicLR", {**CYCLIC, "base_lr": "30%", "max_lr": "30%"}), {"base_lr % of max_lr"}),
    "a long warmup": (schedule("WarmupStableDecay", {"warmup": "40%"}), {"warmup %", "decay % after warmup"}),
    "a warmup in steps": (schedule("WarmupStableDecay", {"warmup": 25, "decay": 30}), {"warmup %", "decay % after warmup"}),
    "a long decay": (schedule("WarmupStableDecay", {"decay": "90%"}), {"warmup %", "decay % after warmup"}),
    "all of the run": (schedule("WarmupStableDecay", {"warmup": "40%", "decay": "60%"}), {"decay % after warmup"}),
    "a warmup before a line": (schedule("LinearLR", {"start_factor": 1.0, "end_factor": 0.1}, warmup="5%"), {"end_factor"}),
    "a warmup before another's": (schedule("WarmupStableDecay", {"warmup": "0%"}, warmup="30%"), {"decay % after warmup"}),
    "a warmup before a cosine": (schedule("CosineAnnealingLR", {"T_max": "100%", "eta_min": 0.9}, warmup="5%"), {"eta_min %"}),
    "a warmup before one cycle": (
        schedule("OneCycleLR", {"div_factor": 1.0, "cycle_momentum": False}, warmup=3), {"final_div_factor"},
    ),
    "a warmup before flat cycles": (
        schedule("CyclicLR", {**CYCLIC, "base_lr": "100%", "max_lr": "100%"}, warmup=3), {"step_size_up %"},
    ),
}  # fmt: skip
SETTLED = {
    "a warmup before a line": "start_factor",
    "a warmup before another's": "warmup %",
    "a warmup before one cycle": "div_factor",
    "a warmup before flat cycles": "base_lr % of max_lr",
}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
@pytest.mark.parametrize("case", CONSTRAINED)
def test_relations_between_arguments_hold_by_construction(case: str, budget: Budget) -> None:
    given, names = CONSTRAINED[case]
    space = space_of(given, budget=budget)
    assert names <= space.distributions.keys()
    assert SETTLED.get(case) not in space.distributions
    for _, found in sampled(space):
        check(found, budget=budget)


def test_shares_of_another_argument_are_written_in_its_unit() -> None:
    """Half of a max of 20% is 10%; of 0.02, 0.01; half of what 20% or 12 of 60 steps leave is 40%."""
    cyclic = schedule("CyclicLR", {**CYCLIC, "max_lr": "20%"})
    plain = schedule("CyclicLR", {**CYCLIC, "max_lr": 0.02})
    phases = schedule("WarmupStableDecay", {})
    steps = searching("WarmupStableDecay", {"warmup": 12}, {"decay": {"low": "5%", "high": "80%", "after": "warmup"}})
    for given, suggested, argument, expected in (
        (cyclic, {"base_lr % of max_lr": 50.0}, "base_lr", "10%"),
        (plain, {"base_lr % of max_lr": 50.0}, "base_lr", 0.01),
        (phases, {"warmup %": 20.0, "decay % after warmup": 50.0}, "decay", "40%"),
        (steps, {"decay % after warmup": 50.0}, "decay", "40%"),
    ):
        space = space_of(given)
        assert space.schedule({**space.given, **suggested}).args[argument] == expected


def test_what_is_found_fits_every_budget() -> None:
    """The shape that a study recommends is swept at other budgets: two phases that fill the run are rounded there anew."""
    filled = schedule("WarmupStableDecay", {"warmup": "40%", "decay": "60%"})
    for _, found in sampled(space_of(filled)):
        for steps in (1, 2, 3, 5, 7, 12, 40):
            check(found, budget=Budget(1, steps))


def searched(entry: Scheduler, args: Mapping[str, Any]) -> set[str]:
    """What of the registered space is searched: not what is left out, such as ``final`` where ``gamma`` is given."""
    return {argument for argument in entry.search if entry.complete(dict(args))[argument] not in (None, [])}


@pytest.mark.parametrize(("entry", "args"), CASES)
def test_whatever_is_suggested_can_be_trained(entry: Scheduler, args: dict[str, Any]) -> None:
    given = schedule(entry.name, args)
    space = space_of(given)
    assert space.dimensions[0].argument == "lr"
    assert {d.argument for d in space.dimensions} == {"lr", *searched(entry, args)}
    for suggested, found in sampled(space):
        assert (found.name, found.interval) == (given.name, given.interval)
        assert set(found.args) == {*given.args, *searched(entry, args)}
        assert set(suggested) == set(space.distributions)
        check(found)


OUTSIDE: list[tuple[str, dict[str, Any], str, float]] = [
    ("StepLR", {"step_size": "90%", "gamma": 0.1}, "step_size %", 90),
    ("StepLR", {"step_size": "1%", "gamma": 0.1}, "step_size %", 1),
    ("StepLR", {"step_size": 10, "gamma": 0.1}, "step_size %", 50),
    ("StepLR", {"step_size": 1000, "gamma": 0.1}, "step_size %", 5000),
    ("StepLR", {"step_size": "30%", "gamma": 2.0}, "gamma", 2.0),
    ("StepLR", {"step_size": "30%", "gamma": 0.001}, "gamma", 0.001),
    ("ExponentialLR", {"gamma": 0.5}, "gamma", 0.5),
    ("CosineAnnealingLR", {"T_max": "10%"}, "eta_min %", 0),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.25}, "eta_min %", 50),
    ("CosineAnnealingLR", {"T_max": 4, "eta_min": 0.25}, "T_max %", 20),
    ("CyclicLR", {"base_lr": 0.3, "max_lr": "100%", "step_size_up": 60, "cycle_momentum": False}, "base_lr % of max_lr", 60),
    ("CyclicLR", {"base_lr": "1%", "max_lr": "100%", "cycle_momentum": False}, "step_size_up %", 2000 / 60 * 100),
    ("ReduceLROnPlateau", {"patience": 10}, "patience %", 50),
    ("ReduceLROnPlateau", {"factor": 0.99, "patience": "2%"}, "factor", 0.99),
    ("MultiStepLR", {"milestones": ["1%", "99%"]}, "milestones[0] %", 1),
    ("MultiStepLR", {"milestones": ["1%", "99%"]}, "milestones[1] %", 99),
    ("MultiStepLR", {"milestones": [2, 19]}, "milestones[1] %", 95),
]


@pytest.mark.parametrize(("name", "args", "dimension", "expected"), OUTSIDE)
def test_the_space_widens_to_hold_what_is_given(name: str, args: dict[str, Any], dimension: str, expected: float) -> None:
    space = space_of(schedule(name, args))
    assert space.given[dimension] == pytest.approx(expected)
    distribution = space.distributions[dimension]
    assert isinstance(distribution, FloatDistribution)
    assert distribution.low <= space.given[dimension] <= distribution.high
    for _, found in sampled(space, 50):
        check(found)


@pytest.mark.parametrize(("entry", "args"), CASES)
def test_trial_0_is_what_is_given(entry: Scheduler, args: dict[str, Any]) -> None:
    """And Optuna takes its numbers without a warning."""
    given = schedule(entry.name, args)
    study = Study("s", "s", 0, "random", space_of(given), "")
    first = study.ask(2).trials[0]
    assert study.schedule(first) is given
    assert first.params == study.space.given
    again = resolve(study.space.schedule(first.params), LR, BUDGET)
    assert again.lr == LR
    told = resolve(given, LR, BUDGET).args
    for argument in entry.search:
        if argument == "patience" and told[argument] == 0:  # the range is logarithmic
            continue
        assert again.args[argument] == pytest.approx(told[argument])


@pytest.mark.parametrize(
    ("name", "args", "dimension"),
    [
        ("CyclicLR", {"base_lr": 0, "max_lr": "100%", "step_size_up": 4, "cycle_momentum": False}, "base_lr % of max_lr"),
        ("ReduceLROnPlateau", {"patience": 0}, "patience %"),
        ("StepLR", {"step_size": "30%", "gamma": 0}, "gamma"),
    ],
)
def test_a_zero_on_a_logarithmic_range_is_told_as_its_low_end(name: str, args: dict[str, Any], dimension: str) -> None:
    given = schedule(name, args)
    space = space_of(given)
    distribution = space.distributions[dimension]
    assert isinstance(distribution, FloatDistribution)
    assert 0 < distribution.low == space.given[dimension]
    assert Study("s", "s", 0, "random", space, "").ask(1).trials[0].params == space.given
    for _, found in sampled(space, 50):
        check(found)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_list_of_any_length_stays_that_long_and_sorted(count: int) -> None:
    given = schedule("MultiStepLR", {"milestones": [f"{10 + 5 * i}%" for i in range(count)][::-1]})
    space = space_of(given)
    assert list(space.distributions)[1 : count + 1] == [f"milestones[{i}] %" for i in range(count)]
    for _, found in sampled(space):
        milestones = [percent(text) or 0 for text in found.args["milestones"]]
        assert len(milestones) == count
        assert milestones == sorted(milestones)
        check(found)


def test_parts_of_a_list_cover_the_range_evenly() -> None:
    space = space_of(schedule("MultiStepLR", {"milestones": ["30%", "80%"]}))
    ends = [
        (d.low, d.high) for n, d in space.distributions.items() if n.startswith("mile") and isinstance(d, FloatDistribution)
    ]
    assert ends == [(10, 52.5), (52.5, 95)]


def searching(name: str, args: dict[str, Any], search: dict[str, Any]) -> Schedule:
    return schedule(name, args, search=search)


STEP = {"step_size": "30%"}
CYCLE = {"base_lr": 0, "max_lr": "100%", "step_size_up": 4, "cycle_momentum": False}
Case = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]
OVERRIDES: list[Case] = [
    ("StepLR", STEP, {}, {}),
    ("StepLR", STEP, {"step_size": {"low": 2, "high": 12}}, {"step_size": IntDistribution(2, 12)}),
    ("StepLR", {"step_size": 15}, {"step_size": {"low": 2, "high": 12, "log": True}},
     {"step_size": IntDistribution(2, 15, log=True)}),
    ("StepLR", STEP, {"step_size": ["10%", "30%", 5]}, {"step_size": CategoricalDistribution(("10%", "30%", 5))}),
    ("StepLR", STEP, {"step_size": ["10%", 5]}, {"step_size": CategoricalDistribution(("10%", 5, "30%"))}),
    ("StepLR", STEP, {"gamma": {"low": 0, "high": 1}}, {"gamma": FloatDistribution(0, 1)}),
    ("StepLR", STEP, {"gamma": [0.1, 0.5]}, {"gamma": CategoricalDistribution((0.1, 0.5))}),
    ("ConstantLR", {}, {"total_iters": {"low": 0, "high": 9}}, {"total_iters": IntDistribution(0, 9)}),
    ("CosineAnnealingLR", {"T_max": 20}, {"eta_min": {"low": 0, "high": 1}}, {"eta_min": FloatDistribution(0, 1)}),
    ("MultiStepLR", {"milestones": [2, 8]}, {"milestones": {"low": 2, "high": 19}},
     {"milestones[0]": IntDistribution(2, 10), "milestones[1]": IntDistribution(8, 19)}),
    ("MultiStepLR", {"milestones": [1, 2, 3]}, {"milestones": {"low": 1, "high": 2}},
     {"milestones[0]": IntDistribution(1, 1), "milestones[1]": IntDistribution(1, 2), "milestones[2]": IntDistribution(2, 3)}),
    ("MultiStepLR", {"milestones": ["30%"]}, {"milestones": [["30%"], ["50%", 15]]},
     {"milestones": CategoricalDistribution(('["30%"]', '["50%", 15]'))}),
    ("CyclicLR", CYCLE, {"step_size_down": {"low": 1, "high": 9}}, {"step_size_down": IntDistribution(1, 9)}),
    ("CyclicLR", CYCLE, {"step_size_down": [None, "5%"]}, {"step_size_down": CategoricalDistribution((None, "5%"))}),
    ("CyclicLR", CYCLE, {"cycle_momentum": [True, False], "mode": ["triangular", "exp_range"]},
     {"cycle_momentum": CategoricalDistribution((True, False)),
      "mode": CategoricalDistribution(("triangular", "exp_range"))}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "search", "expected"), OVERRIDES)
def test_a_users_own_search_space(name: str, args: dict[str, Any], search: dict[str, Any], expected: dict[str, Any]) -> None:
    space = space_of(searching(name, args, search))
    peak, *rest = space.distributions.items()
    assert peak == ("lr %", FloatDistribution(1, 1000, log=True))
    assert dict(rest) == expected
    for _, found in sampled(space, 60):
        check(found)


def test_a_rate_in_plain_numbers_is_searched_in_plain_numbers() -> None:
    given = searching(
        "CosineAnnealingLR", {"T_max": "100%", "eta_min": "10%"}, {"eta_min": {"low": 0.001, "high": 0.2, "log": True}}
    )
    space = space_of(given, PeakRates(low=0.05, high=50.0))
    assert list(space.distributions) == ["lr", "eta_min"]
    assert space.given == {"lr": LR, "eta_min": 0.05}
    for _, found in sampled(space, 50):
        assert isinstance(found.lr, float)
        assert 0.05 <= found.lr <= 50
        check(found)


@pytest.mark.parametrize("lr", [1e-7, 3e-5, 1e9])
def test_plain_rates_far_from_the_optimizers(lr: float) -> None:
    """As a share they would be beyond any percentage that can be written."""
    given = schedule("StepLR", {"step_size": "30%"})
    for _, found in sampled(space_of(given, PeakRates(low=1e-3, high=10.0), lr), 50):
        check(found, lr)
    absolute = schedule("StepLR", {"step_size": "30%"}, lr=10.0)
    for _, found in sampled(space_of(absolute, RATES, lr), 50):
        check(found, lr)


def test_a_length_far_beyond_the_run() -> None:
    given = schedule("StepLR", {"step_size": 10**9})
    space = space_of(given)
    assert space.given["step_size %"] == 1_000_000
    for _, found in sampled(space, 50):
        check(found)


DIGITS: list[tuple[Any, str]] = [
    ({"low": "5%", "high": "60%"}, r"\d{1,2}(\.\d{1,3})?%"),
    ({"low": "10%", "high": "95%"}, r"\d{2}(\.\d{1,2})?%"),
]


@pytest.mark.parametrize(("tried", "form"), DIGITS)
def test_suggestions_can_be_read_and_typed(tried: Any, form: str) -> None:
    space = space_of(searching("StepLR", {"step_size": "30%"}, {"step_size": tried}))
    for _, found in sampled(space):
        assert re.fullmatch(form, found.args["step_size"])
        assert isinstance(found.lr, str)
        assert len(found.lr.rstrip("%").replace(".", "").strip("0")) <= 4


def test_a_narrow_range_near_one_keeps_its_values_apart_and_within() -> None:
    """Rounded to four digits they would be 0.9990 to 1."""
    narrow = {"low": 0.999, "high": 0.99999}
    space = space_of(searching("ExponentialLR", {"gamma": 0.9995}, {"gamma": narrow}))
    found = [schedule.args["gamma"] for _, schedule in sampled(space)]
    assert len(set(found)) > 0.75 * SAMPLES
    assert all(0.999 <= gamma <= 0.99999 for gamma in found)


def test_a_value_is_never_rounded_out_of_what_the_argument_allows() -> None:
    below_one = {"low": 0.5, "high": 0.99999}
    space = space_of(searching("ReduceLROnPlateau", {}, {"factor": below_one}))
    for suggested in (0.99999, 0.999989):
        found = space.schedule({**space.given, "factor": suggested})
        assert found.args["factor"] <= 0.99999
        check(found)


def test_the_rounded_value_is_close_to_the_suggested_one() -> None:
    space = space_of(schedule("CosineAnnealingLR", {"T_max": "100%"}))
    for suggested, found in sampled(space):
        assert isinstance(found.lr, str)
        assert math.isclose(float(percent(found.lr) or 0), suggested["lr %"], rel_tol=1e-3)
        assert float(percent(found.args["T_max"]) or 0) == pytest.approx(suggested["T_max %"], abs=0.02)


def test_the_key_tells_spaces_apart() -> None:
    given = schedule("StepLR", {"step_size": "30%"})
    keys = {
        space_of(given).key,
        space_of(given, PeakRates(low="2%")).key,
        space_of(searching("StepLR", {"step_size": "30%"}, {})).key,
        space_of(schedule("StepLR", {"step_size": "31%"})).key,
        space_of(schedule("StepLR", {"step_size": "30%"}, lr="50%")).key,
    }
    assert len(keys) == 5
    assert space_of(schedule("StepLR", {"step_size": "30%"})).key == space_of(given).key


def test_optuna_takes_the_choices_without_a_warning(here: Path) -> None:
    """Lists as choices would make it warn, and a storage of it refuse them."""
    given = searching("MultiStepLR", {"milestones": ["30%"]}, {"milestones": [["30%"], ["50%", "75%"]]})
    study = Study("s", "s", 0, "tpe", space_of(given), "")
    written = [study.schedule(trial).args["milestones"] for trial in study.ask(12).trials]
    assert {tuple(milestones) for milestones in written} == {("30%",), ("50%", "75%")}
    storage = JournalStorage(JournalFileBackend(str(here / "journal")))
    optuna.create_study(storage=storage).ask(study.space.distributions)
