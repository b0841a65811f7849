"""Arguments for every registered scheduler; the tests run over the registry and fail where one is missing here."""

from collections.abc import Mapping
from typing import Any

from pipeline.catalogue import CATALOGUE
from pipeline.params import Schedule

EXAMPLES: Mapping[str, list[dict[str, Any]]] = {
    "StepLR": [{"step_size": "30%", "gamma": 0.3}],
    "MultiStepLR": [{"milestones": ["30%", "80%"], "gamma": 0.2}, {"milestones": [2, 2, 3], "gamma": 1.5}],
    "ConstantLR": [{"factor": 1.0}, {"factor": 0.3, "total_iters": "50%"}],
    "ExponentialLR": [{"gamma": 0.9}],
    "CosineAnnealingLR": [{"T_max": "100%"}, {"T_max": "40%", "eta_min": "5%"}],
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
}
"""Scheduler → arguments; none of them touches the momentum."""

FLAT: Mapping[str, dict[str, Any]] = {
    "StepLR": {"step_size": "30%", "gamma": 1.0},
    "MultiStepLR": {"milestones": ["50%"], "gamma": 1.0},
    "ConstantLR": {"factor": 1.0},
    "ExponentialLR": {"gamma": 1.0},
    "CosineAnnealingLR": {"T_max": "100%", "eta_min": "100%"},
    "CyclicLR": {"base_lr": "100%", "max_lr": "100%", "step_size_up": "10%", "cycle_momentum": False},
    "ReduceLROnPlateau": {"patience": "100%"},
}
"""Scheduler → arguments at which its rate never leaves the optimizer's own."""

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
