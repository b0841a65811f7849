"""Every registered name that params.yaml may use, the user's own included."""

from dataclasses import dataclass

# These register schedulers: torch's own, and those that others know.
import pipeline.schedulers.aliases
import pipeline.schedulers.builtin
import pipeline.schedulers.composed
import pipeline.schedulers.greedy  # noqa: F401
from pipeline.config import custom_module
from pipeline.config.registry import Registered, Registry
from pipeline.data.datasets import datasets
from pipeline.problems.losses import RegisteredLoss, losses
from pipeline.problems.metrics import RegisteredMetric, metrics
from pipeline.problems.models import RegisteredModel, models
from pipeline.problems.optimizers import optimizers
from pipeline.schedulers.registry import Scheduler, schedulers

custom_module.modules()  # registers the user's


@dataclass(frozen=True)
class Registries:
    """One registry for each kind of thing that has a name in params.yaml."""

    datasets: Registry[Registered]
    models: Registry[RegisteredModel]
    optimizers: Registry[Registered]
    losses: Registry[RegisteredLoss]
    metrics: Registry[RegisteredMetric]
    schedulers: Registry[Scheduler]


CATALOGUE = Registries(datasets, models, optimizers, losses, metrics, schedulers)
