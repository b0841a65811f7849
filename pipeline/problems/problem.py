"""A problem: data, model, optimizer and budget put together, and the replicate that each seed draws of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from pipeline.config.components import NO_DECAY, Component
from pipeline.config.fingerprints import fingerprint, stream
from pipeline.config.problem_params import ProblemParams
from pipeline.config.schedules import Schedule
from pipeline.config.user_code import source_of
from pipeline.problems.chance import Chance
from pipeline.problems.dataset import Dataset, Split
from pipeline.problems.dropout import counted, repeated
from pipeline.problems.losses import Loss, losses
from pipeline.problems.metrics import Metric, metrics, of_counted, of_each_target, of_tokens, of_weighted
from pipeline.problems.models import built, models
from pipeline.problems.optimizers import SCHEDULE_FREE, grouped, is_torchs, optimizers, schedule_free, undecayed
from pipeline.problems.run import Run, Stream
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Budget, NewOptimizer, ScheduleError, monitored

TRIED = 4
"""Samples that a model is tried on, for how it is built."""


@dataclass(frozen=True, eq=False)
class Problem:
    """One test problem: a dataset, and how models are built and trained on it.

    A seed is a replicate of it: a split of the dataset, initial weights and data order, shared by all schedules.
    """

    data: Dataset
    params: ProblemParams
    schedules: Mapping[str, Schedule]
    has_samples: ClassVar[bool] = True
    """Whether ``data`` are samples."""

    @classmethod
    def of(cls, data: Dataset, params: ProblemParams, schedules: Mapping[str, Schedule]) -> "Problem":
        """The problem, with schedules that know which way the metric they watch is better."""
        takes_columns = models[params.model.name].takes_columns
        problem = cls(replace(data, as_places=True) if takes_columns else data, params, schedules)
        more_is_better = metrics[problem.metric_name].higher_is_better
        return replace(problem, schedules={label: directed(s, more_is_better) for label, s in schedules.items()})

    @property
    def name(self) -> str:
        """The problem's name in params.yaml."""
        return self.data.name

    @property
    def lr(self) -> float:
        """The optimizer's learning rate: 100% of a rate."""
        return float(self.params.optimizer.args["lr"])

    @cached_property
    def loss(self) -> Loss:
        """The loss of params.yaml, else the usual one of the task."""
        given = self.params.loss
        usual = "CrossEntropyLoss" if self.data.task == "classification" else "MSELoss"
        found = Loss(*((given.name, dict(given.args)) if given else (usual, {})), weighted=self.data.weights is not None)
        ignores = self.data.task == "classification" and bool((self.data.y == found.ignored).any())
        return replace(found, ignores=ignores)

    @property
    def metric_name(self) -> str:
        """The headline metric of params.yaml, else the usual one of the task."""
        usual = "Accuracy" if self.data.task == "classification" else "R2Score"
        return self.params.metric.name if self.params.metric else usual

    @property
    def metric(self) -> Metric:
        """The headline metric."""
        arguments = self.params.metric.args if self.params.metric else {}
        found: Metric = metrics[self.metric_name].function(self.data.classes, **arguments)
        if self.data.transform or self.data.targets > 1:
            return of_each_target(found)
        if self.data.y.ndim > 1:
            return of_tokens(found, self.loss.ignored)
        if self.loss.ignores:
            found = of_counted(found, self.loss.ignored)
        return found if self.data.weights is None else of_weighted(found, self.data.task)

    @property
    def outputs(self) -> int:
        """Number of the model's outputs."""
        return self.loss.outputs(self.data.classes if self.data.task == "classification" else self.data.targets)

    @property
    def overlap(self) -> dict[str, float]:
        """The share of a part that two seeds are expected to have in common; nothing where all have the same split."""
        splits = list(self.data.splits.values())
        drawn = [part for part in ("validation", "test") if self.params.resample and not _is_fixed(splits, part)]
        pool = len(self.data.y) - (0 if "test" in drawn else len(splits[0].test))
        return {part: len(getattr(splits[0], part)) / pool if part in drawn else 0.0 for part in ("validation", "test")}

    def budget(self, epochs: int | None = None) -> Budget:
        """A run's length in epochs (the problem's own where not given) and optimizer steps."""
        return Budget(epochs or self.params.epochs, -(-self.data.train_size // self.params.samples_per_step))

    @cached_property
    def fingerprint(self) -> str:
        """A name for all that runs have in common: samples, parameters, the user's own code."""
        return fingerprint(self.name, self.data.digest, self.params.trained_by(), self.sources)

    @cached_property
    def sources(self) -> str:
        """A name for the user's own code that the problem is made of; that of a schedule is the schedule's."""
        entries = (
            models[self.params.model.name], optimizers[self.params.optimizer.name], losses[self.loss.name],
            metrics[self.metric_name],
        )  # fmt: skip
        return source_of(*(entry.function for entry in entries))

    def fingerprint_of(self, schedule: Schedule, seed: int) -> str:
        """A name for all that the numbers of such a run follow from, the schedule's arguments and the budget apart.

        Of the splits, that is the seed's own: more seeds change no run.
        """
        return f"{self.fingerprint} {self.data.split(seed).digest} {self.code_of(schedule)}".rstrip()

    def code_of(self, schedule: Schedule) -> str:
        """A name for the user's own code that a schedule follows from; empty where it is none of the user's."""
        if schedule.name not in self._named:
            self._named[schedule.name] = source_of(schedulers[schedule.name].function)
        return self._named[schedule.name]

    @cached_property
    def _named(self) -> dict[str, str]:
        """Names of the schedulers' code: every run of a search needs one."""
        return {}

    def new_model(self, seed: int, of: Stream) -> nn.Module:
        """The model with the initial weights of a replicate, the same for every scheduler, and with counted dropout."""
        return counted(self._built(seed, of), self._repeated)

    def _built(self, seed: int, of: Stream) -> nn.Module:
        with Chance(stream("weights", self.name, of, seed)).used():
            return built(self.params.model, self.data.inputs, self.outputs, self._blank)

    @cached_property
    def _repeated(self) -> frozenset[str]:
        """The names of the dropout layers that the model applies more than once in a forward."""
        samples = self.data.samples([0])
        with Chance(0).used():
            return repeated(self._built(0, "final"), torch.tensor(samples.x[samples.parts["train"][0][:TRIED]]))

    @cached_property
    def _blank(self) -> torch.Tensor:
        """Two samples of nothing but zeros."""
        return torch.zeros(2, *self.data.shape, dtype=torch.int64 if self.data.is_tokens else torch.float32)

    def new_draws(self, run: Run) -> np.random.Generator:
        """The generator of a run's dropout masks: no two runs share them, however much else they do."""
        of = run.label, run.schedule.key, run.seed, run.stream
        return np.random.Generator(np.random.Philox(stream("dropout", self.name, *of)))

    def new_order(self, seed: int, of: Stream) -> torch.Generator:
        """The generator that a replicate's data order is drawn from, one ``torch.randperm`` an epoch."""
        return torch.Generator().manual_seed(stream("order", self.name, of, seed))

    def optimizer_of(self, schedule: Schedule) -> Component:
        """The optimizer that runs with that schedule are trained with: the problem's own, or its schedule-free form."""
        own, entry = self.params.optimizer, schedulers[schedule.name]
        if not entry.schedule_free:
            return own
        free = schedule_free(own, entry.complete(schedule.args)["momentum"])
        if free is None:
            raise ScheduleError(f"{own.name} has no schedule-free form, as {', '.join(SCHEDULE_FREE)} have")
        return free

    def optimizers_for(self, schedule: Schedule) -> NewOptimizer:
        """Builds the real torch optimizer of runs with that schedule, over some parameters at a learning rate."""
        component = self.optimizer_of(schedule)

        def build(parameters: list[torch.Tensor], lr: float) -> Optimizer:
            arguments: dict[str, Any] = {**component.args, "lr": lr}
            given: Any = parameters
            if self.spared:
                arguments.pop(NO_DECAY)
                is_of_the_model = len(parameters) == len(self._is_decayed)  # a replay has one parameter of its own
                given = grouped(parameters, self._is_decayed) if is_of_the_model else parameters
            optimizer: Optimizer = optimizers[component.name].function(given, **arguments)
            return optimizer

        if not is_torchs(component.name):
            vars(build)["stand_ins"] = self._stand_ins
        return build

    @property
    def spared(self) -> list[str]:
        """``no_decay`` of the optimizer, where it is no argument of its own."""
        optimizer = self.params.optimizer
        is_its_own = NO_DECAY in optimizers[optimizer.name].arguments.model_fields
        return [] if is_its_own else list(optimizer.args.get(NO_DECAY, []))

    @cached_property
    def undecayed(self) -> frozenset[str]:
        """The names of the model's parameters without weight decay."""
        return frozenset(undecayed(self.new_model(0, "final"), self.spared)) if self.spared else frozenset()

    @cached_property
    def _is_decayed(self) -> list[bool]:
        """Whether weights decay, of each of the model's parameters; none where it cannot be built."""
        try:
            return [name not in self.undecayed for name, _ in self.new_model(0, "final").named_parameters()]
        except Exception:  # noqa: BLE001  # whatever it is, it is told when the model is tried out
            return []

    @cached_property
    def _stand_ins(self) -> list[torch.Tensor]:
        """Tensors of the shapes of the model's parameters, which take no memory; none where it cannot be built."""
        try:
            parameters = list(self.new_model(0, "final").parameters())
        except Exception:  # noqa: BLE001  # whatever it is, it is told when the model is tried out
            return []
        return [torch.zeros(1, dtype=p.dtype).expand(p.shape).requires_grad_(p.requires_grad) for p in parameters]


def _is_fixed(splits: Sequence[Split], part: str) -> bool:
    """Whether all seeds have the same samples in that part."""
    return all(np.array_equal(getattr(splits[0], part), getattr(split, part)) for split in splits[:2])


def directed(schedule: Schedule, more_is_better: bool) -> Schedule:
    """A schedule that watches the metric, told which way is better where its argument ``mode`` leaves that open."""
    entry = schedulers[schedule.name]
    if (
        not entry.live
        or monitored(schedule) != "validation_metric"
        or entry.complete(schedule.args).get("mode", "") is not None
    ):
        return schedule
    return schedule.model_copy(update={"args": {**schedule.args, "mode": "max" if more_is_better else "min"}})
