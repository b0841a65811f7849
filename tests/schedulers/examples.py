"""Arguments for every registered scheduler; the tests run over the registry and fail where one is missing here."""

from collections.abc import Mapping
from typing import Any

from pipeline.catalogue import CATALOGUE
from pipeline.config.schedules import Schedule


def falling(step: int) -> float:
    """For LambdaLR: the share of the optimizer's rate at a step."""
    return 1 / (1 + 0.1 * step)


def shrinking(step: int) -> float:
    """For MultiplicativeLR: a step's share of the rate before."""
    return 0.95


def level(step: int) -> float:
    """For either: no schedule at all."""
    return 1.0


EXAMPLES: Mapping[str, list[dict[str, Any]]] = {
    "StepLR": [{"step_size": "30%", "gamma": 0.3}],
    "MultiStepLR": [{"milestones": ["30%", "80%"], "gamma": 0.2}, {"milestones": [2, 2, 3], "gamma": 1.5}],
    "LambdaLR": [{"lr_lambda": "tests.schedulers.examples:falling"}],
    "MultiplicativeLR": [{"lr_lambda": "tests.schedulers.examples:shrinking"}],
    "ConstantLR": [{"factor": 1.0}, {"factor": 0.3, "total_iters": "50%"}],
    "LinearLR": [{"start_factor": 0.2, "total_iters": "50%"}, {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 3}],
    "ExponentialLR": [{"gamma": 0.9}, {"final": "1%"}],
    "PolynomialLR": [{"total_iters": "100%", "power": 2.0}, {"total_iters": 3, "power": 0.5}],
    "CosineAnnealingLR": [{"T_max": "100%"}, {"T_max": "40%", "eta_min": "5%"}],
    "CosineAnnealingWarmRestarts": [{"T_0": "40%", "eta_min": "2%"}, {"T_0": 2, "T_mult": 2}],
    "OneCycleLR": [
        {"max_lr": "100%", "cycle_momentum": False},
        {"max_lr": "80%", "three_phase": True, "anneal_strategy": "linear", "pct_start": 0.4, "cycle_momentum": False},
    ],
    "CyclicLR": [
        {"base_lr": "1%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False},
        {
            "base_lr": "10%",
            "max_lr": "80%",
            "step_size_up": 3,
            "step_size_down": 5,
            "mode": "triangular2",
            "cycle_momentum": False,
        },
        {"base_lr": "5%", "max_lr": "90%", "step_size_up": 4, "mode": "exp_range", "gamma": 0.98, "cycle_momentum": False},
    ],
    "ReduceLROnPlateau": [
        {"factor": 0.1, "patience": "10%"},
        {"factor": 0.5, "patience": 0, "threshold": 0.05, "cooldown": 1, "min_lr": "2%"},
    ],
    "SWALR": [
        {"swa_lr": "5%", "anneal_epochs": "20%", "start": "40%"},
        {"swa_lr": 0.001, "anneal_epochs": 0, "anneal_strategy": "linear", "start": 3},
    ],
    "LinearDecay": [{}, {"final": "10%"}],
    "CosineDecay": [{}, {"final": 0.001}],
    "CosineRestarts": [{"cycles": 3}, {"cycles": 2, "final": "5%"}],
    "WarmupStableDecay": [
        {},
        {"warmup": "10%", "decay": "50%", "cooldown": "linear"},
        {"warmup": 0, "decay": 5, "cooldown": "cosine", "final": "1%"},
        {"warmup": "10%", "rise": "1-sqrt", "start": "5%", "stable": "30%", "decay": "30%", "cooldown": "exp", "final": "5%"},
        {"warmup": 3, "rise": "cosine", "stable_power": 0.5, "timescale": 3, "cooldown": "cosine", "waves": 1.5},
        {"warmup": 0, "stable_power": 0.7, "timescale": "10%", "final": "10%"},
    ],
    "InverseSqrt": [{"timescale": "10%"}, {"timescale": 3}, {"warmup": "20%"}],
    "REX": [{}, {"final": "10%"}],
    "TanhDecay": [{}, {"lower": -4.0, "upper": 4.0, "final": "1%"}],
    "Annealing": [
        {"final": "1%"},
        {"cycles": 3, "growth": 1.5, "shrink": 0.5, "k": 1.5, "warmup": "10%", "start": "2%", "prefix": True},
        {"shape": "polynomial", "power": 0.5, "cycles": 2, "first": "30%", "final": 1e-3, "warmup": 3, "start": 1e-4},
        {"shape": "tanh", "lower": -4.0, "warmup": "20%", "start": "5%"},
        {"waves": 1.5},
    ],
    "StepDecay": [
        {"every": "30%", "gamma": 0.3},
        {"at": ["30%", "80%"], "gamma": 0.2, "warmup": "10%", "start": "5%", "prefix": True},
        {"every": 3, "at": [5], "gamma": 0.7, "warmup": 4},
    ],
    "GreedyLR": [
        {"factor": 0.5, "patience": 1, "min_lr": "1%", "max_lr": "200%"},
        {"factor": 0.8, "patience": 0, "threshold": 0.01, "threshold_mode": "rel", "cooldown": 1, "warmup": 1, "window": 2},
    ],
    "ScheduleFree": [{}, {"momentum": 0.5}],
}
"""Scheduler → arguments; none of them touches the momentum."""

FLAT: Mapping[str, dict[str, Any]] = {
    "StepLR": {"step_size": "30%", "gamma": 1.0},
    "MultiStepLR": {"milestones": ["50%"], "gamma": 1.0},
    "LambdaLR": {"lr_lambda": "tests.schedulers.examples:level"},
    "MultiplicativeLR": {"lr_lambda": "tests.schedulers.examples:level"},
    "ConstantLR": {"factor": 1.0},
    "LinearLR": {"start_factor": 1.0},
    "ExponentialLR": {"gamma": 1.0},
    "PolynomialLR": {"total_iters": 0},
    "CosineAnnealingLR": {"T_max": "100%", "eta_min": "100%"},
    "CyclicLR": {"base_lr": "100%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False},
    "ReduceLROnPlateau": {"patience": "100%"},
    "CosineAnnealingWarmRestarts": {"T_0": "100%", "eta_min": "100%"},
    "OneCycleLR": {"div_factor": 1.0, "final_div_factor": 1.0, "cycle_momentum": False},
    "SWALR": {"swa_lr": "100%", "anneal_epochs": 0},
    "LinearDecay": {"final": "100%"},
    "CosineDecay": {"final": "100%"},
    "CosineRestarts": {"final": "100%"},
    "WarmupStableDecay": {"warmup": 0, "final": "100%"},
    "REX": {"final": "100%"},
    "TanhDecay": {"final": "100%"},
    "Annealing": {"final": "100%"},
    "StepDecay": {"every": 1, "gamma": 1.0},
    "GreedyLR": {"patience": "100%"},
}
"""Scheduler → arguments at which its rate never leaves the optimizer's own."""

NEVER_FLAT = {"InverseSqrt", "ScheduleFree"}
"""Those that have no such arguments."""

CYCLED_MOMENTUM: Mapping[str, Any] = {
    "base_lr": "10%",
    "max_lr": "100%",
    "step_size_up": 4,
    "cycle_momentum": True,
    "base_momentum": 0.0,  # at the highest rate the momentum is switched off altogether
    "max_momentum": 0.9,
}
"""Arguments of ``CyclicLR`` that cycle the momentum, or AdamW's beta1."""


def schedule(name: str, args: Mapping[str, Any], **more: Any) -> Schedule:
    """A schedule as params.yaml gives it."""
    return Schedule.model_validate({"name": name, "args": dict(args), **more}, context=CATALOGUE)
