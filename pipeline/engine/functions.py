"""What happens in a run, as pure functions of one run's tensors: an optimizer step, and an evaluation.

They are stated once. :mod:`pipeline.engine.tensors` runs them for many runs with ``torch.func.vmap``,
:mod:`pipeline.engine.lanes` compiles them to C.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from pipeline.config.problem_params import Clipping
from pipeline.engine.optimizers import StackedOptimizer
from pipeline.engine.parts import in_parts
from pipeline.problems.dropout import draws_of
from pipeline.problems.losses import Loss
from pipeline.problems.metrics import Metric

State = list[Tensor]
"""A run's parameters, then what its optimizer keeps for each of them."""


@dataclass(frozen=True)
class Functions:
    """The functions of a problem's runs; ``model`` lends its structure, its own parameters are not used."""

    model: nn.Module
    optimizer: StackedOptimizer
    loss: Loss
    metric: Metric
    clip: Clipping | None = None
    undecayed: frozenset[str] = frozenset()
    """The names of parameters without weight decay."""
    _evaluated: nn.Module = field(init=False, repr=False)
    """The model in evaluation mode."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_evaluated", copy.deepcopy(self.model).eval())

    @cached_property
    def names(self) -> list[str]:
        """The parameters' names, in the order of a state."""
        return [name for name, _ in self.model.named_parameters()]

    @cached_property
    def _places(self) -> list[tuple[str, int]]:
        """Where each parameter is in the model, and which one it is: what layers share is in several places."""
        number = {id(values): number for number, (_, values) in enumerate(self.model.named_parameters())}
        every = [
            (f"{place}.{name}".lstrip("."), values)
            for place, layer in self.model.named_modules()  # each layer once, wherever it is used
            for name, values in layer._parameters.items()
        ]
        return [(name, number[id(values)]) for name, values in every if values is not None]

    def _placed(self, parameters: State) -> dict[str, Tensor]:
        return {name: parameters[number] for name, number in self._places}

    @cached_property
    def draws(self) -> list[str]:
        """The buffers that take two random numbers of the run's own at every step: those of its dropout layers."""
        return [name for name, _ in draws_of(self.model)]

    def stacked(self, models: Sequence[nn.Module]) -> list[Tensor]:
        """The parameters of several models of this structure, each (models, …)."""
        of_each = [dict(model.named_parameters()) for model in models]
        return [torch.stack([parameters[name].detach() for parameters in of_each]) for name in self.names]

    def initial(self, parameters: list[Tensor]) -> State:
        """The state of a run, or of stacked runs, that begins at ``parameters``."""
        kept = [
            values.clone() if start is None else torch.full_like(values, start)
            for values in parameters
            for start in self.optimizer.starts
        ]
        return [*parameters, *kept]

    def step(self, state: State, numbers: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """One optimizer step: the new state, then the batch's loss.

        ``numbers`` (kinds,) are those of the optimizer's update, then two random ones where the model has dropout;
        ``weights`` (samples,) those of each sample in the mean.
        """
        gradients, loss = self.gradients(state[: len(self.names)], self.draw_of(numbers), x, y, weights)
        return (*self.update(state, gradients, numbers), loss)

    def draw_of(self, numbers: Tensor) -> Tensor:
        """The two random numbers of a step, where the model has dropout."""
        return numbers[-2:] if self.draws else numbers

    def update(self, state: State, gradients: State, numbers: Tensor) -> State:
        """The state behind a step along these gradients."""
        count, per = len(self.names), len(self.optimizer.starts)
        of_update = numbers[:-2] if self.draws else numbers
        gradients = _clipped(gradients, self.clip)
        updated = [
            self.optimizer.update(
                state[i],
                gradients[i],
                tuple(state[count + i * per : count + (i + 1) * per]),
                of_update,
                is_decayed=name not in self.undecayed,
            )
            for i, name in enumerate(self.names)
        ]
        return [*(new for new, _ in updated), *(kept for _, all_kept in updated for kept in all_kept)]

    def gradients(self, parameters: State, draw: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[State, Tensor]:
        """Those of a batch's loss, and the loss.

        ``draw`` are the two random numbers, and of a part of a batch its first sample.
        """

        def mean_loss(parameters: State) -> Tensor:
            tensors = self._placed(parameters) | dict.fromkeys(self.draws, draw)
            with in_parts(x.device):
                outputs = functional_call(self.model, tensors, (x,), tie_weights=False)
            total = (weights * self.loss.per_sample(outputs, y)).sum()
            counts = self.loss.counts(y, like=outputs)
            return total if counts is None else total / (weights * counts).sum()

        found: tuple[State, Tensor] = grad_and_value(mean_loss)(parameters)
        return found

    def is_sum(self, y: Tensor, like: Tensor) -> bool:
        """Whether a batch's gradients are the sum of those of its parts, each by itself."""
        return self.loss.counts(y, like=like) is None

    def evaluation(self, state: State, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over the samples of their losses and of their metric, each counted ``weights`` times.

        The second is 0 for a metric that is no mean over samples.
        """
        outputs = self._outputs(self.evaluated(state), x)
        loss = (weights * self.loss.per_sample(outputs, y)).sum()
        if self.metric.per_sample is None:
            return loss, torch.zeros_like(loss)
        return loss, (weights * self.metric.per_sample(outputs, y)).sum()

    def evaluated(self, state: State) -> list[Tensor]:
        """The parameters to evaluate a run, or stacked runs, at; they are those that are trained but for some optimizers."""
        count, per = len(self.names), len(self.optimizer.starts)
        return [self.optimizer.evaluated(state[i], tuple(state[count + i * per : count + (i + 1) * per])) for i in range(count)]

    def all_outputs(self, parameters: State, x: Tensor) -> Tensor:
        """The outputs (runs, samples, outputs) of stacked runs, each for its own samples, (runs, samples, …)."""
        outputs: Tensor = vmap(self._outputs)(parameters, x)
        return outputs

    def _outputs(self, parameters: State, x: Tensor) -> Tensor:
        with in_parts(x.device):
            outputs: Tensor = functional_call(self._evaluated, self._placed(parameters), (x,), tie_weights=False)
        return outputs


def _clipped(gradients: State, clip: Clipping | None) -> State:
    """``torch.nn.utils.clip_grad_norm_`` or ``clip_grad_value_``."""
    if clip is None:
        return gradients
    if clip.value is not None:
        return [gradient.clamp(-clip.value, clip.value) for gradient in gradients]
    assert clip.norm is not None  # exactly one of the two
    norm = torch.stack([(gradient * gradient).sum() for gradient in gradients]).sum().sqrt()
    share = (clip.norm / (norm + 1e-6)).clamp(max=1.0)
    return [gradient * share for gradient in gradients]
