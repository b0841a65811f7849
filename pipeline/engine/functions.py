"""What happens in a run, as pure functions of one run's tensors: an optimizer step, and an evaluation.

They are stated once. :mod:`pipeline.engine.tensors` runs them for many runs with ``torch.func.vmap``,
:mod:`pipeline.engine.lanes` compiles them to C.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.config.problem_params import Clipping
from pipeline.engine.drawing import Draws, draws_by_functions
from pipeline.engine.optimizers import StackedOptimizer
from pipeline.engine.parts import in_parts, statistics_of
from pipeline.problems.dropout import draws_of
from pipeline.problems.losses import Loss
from pipeline.problems.metrics import Metric
from pipeline.problems.problem import Problem

State = list[Tensor]
"""A run's trained parameters, then what its optimizer keeps for each of them, then what is its own and not trained."""


@dataclass(frozen=True)
class Functions:
    """The functions of a problem's runs; ``model`` lends its structure and what is the same in all of them."""

    model: nn.Module
    optimizer: StackedOptimizer
    loss: Loss
    metric: Metric
    clip: Clipping | None = None
    undecayed: frozenset[str] = frozenset()
    """The names of parameters without weight decay."""
    draws_by_functions: bool = False
    """Whether the model draws in training otherwise than by dropout layers."""
    drawn_buffers: tuple[str, ...] = ()
    """The names of buffers whose numbers are drawn as the model is built."""
    _evaluated: nn.Module = field(init=False, repr=False)
    """The model in evaluation mode."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_evaluated", copy.deepcopy(self.model).eval())

    @cached_property
    def names(self) -> list[str]:
        """The trained parameters' names, in the order of a state."""
        return [name for name, values in self.model.named_parameters() if values.requires_grad]

    @cached_property
    def untrained(self) -> list[str]:
        """The names of running statistics, frozen parameters and drawn buffers, in the order of a state, as real numbers."""
        frozen = [name for name, values in values_of(self.model, nn.Parameter) if not values.requires_grad]
        return [*statistics_of(self.model), *frozen, *self.drawn_buffers]

    @cached_property
    def _places(self) -> list[tuple[str, int]]:
        """Where each parameter is in the model, and which one it is: what layers share is in several places."""
        trained = [values for values in self.model.parameters() if values.requires_grad]
        number = {id(values): number for number, values in enumerate(trained)}
        every = values_of(self.model, nn.Parameter)
        return [(name, number[id(values)]) for name, values in every if id(values) in number]

    def _placed(self, values: State) -> dict[str, Tensor]:
        """Parameters, trained or not, and buffers of the run's own, by name."""
        return {
            **{name: values[number] for name, number in self._places},
            **dict(zip(self.untrained, values[len(self.names) :], strict=True)),
        }

    def _untrained_in(self, state: State) -> list[Tensor]:
        return state[len(state) - len(self.untrained) :]

    @cached_property
    def draws(self) -> list[str]:
        """The buffers that take two random numbers of the run's own at every step: those of its dropout layers."""
        return [name for name, _ in draws_of(self.model)]

    @property
    def drawn(self) -> int:
        """How many random numbers of the run's own a step takes."""
        return 2 if self.draws or self.draws_by_functions else 0

    @cached_property
    def mixes(self) -> bool:
        """Whether what is computed of a sample may hang on the others of its batch, or on its place there."""
        return self.draws_by_functions or self.has_statistics

    @cached_property
    def has_statistics(self) -> bool:
        """Whether the model takes statistics of a batch."""
        return any(isinstance(layer, _BatchNorm) for layer in self.model.modules())

    @cached_property
    def evaluates_together(self) -> bool:
        """Whether the samples of a part have to be evaluated all at once, as BatchNorm without running statistics asks."""
        return any(isinstance(layer, _BatchNorm) and layer.running_mean is None for layer in self.model.modules())

    def stacked(self, models: Sequence[nn.Module]) -> list[Tensor]:
        """The parameters, then what is not trained, of several models of this structure, each (models, …)."""
        of_each = [dict(values_of(model)) for model in models]
        found = [torch.stack([values[name].detach() for values in of_each]) for name in (*self.names, *self.untrained)]
        return [values.to(found[0].dtype) for values in found] if self.untrained else found

    def initial(self, values: list[Tensor]) -> State:
        """The state of a run, or of stacked runs, that begins at what :meth:`stacked` gives."""
        parameters = values[: len(self.names)]
        kept = [
            values.clone() if start is None else torch.full_like(values, start)
            for values in parameters
            for start in self.optimizer.starts
        ]
        return [*values[: len(self.names)], *kept, *values[len(self.names) :]]

    def step(self, state: State, numbers: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """One optimizer step: the new state, then the batch's loss.

        ``numbers`` (kinds,) are those of the optimizer's update, then two random ones where the model has dropout;
        ``weights`` (samples,) those of each sample in the mean.
        """
        values = [*state[: len(self.names)], *self._untrained_in(state)]
        gradients, loss, statistics = self.gradients(values, self.draw_of(numbers), x, y, weights)
        return (*self.update(state, gradients, numbers), *statistics, loss)

    def draw_of(self, numbers: Tensor) -> Tensor:
        """The two random numbers of a step, where the model draws."""
        return numbers[-2:] if self.drawn else numbers

    def update(self, state: State, gradients: State, numbers: Tensor) -> State:
        """The state behind a step along these gradients, without what is not trained."""
        count, per = len(self.names), len(self.optimizer.starts)
        of_update = numbers[:-2] if self.drawn else numbers
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

    def gradients(self, values: State, draw: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[State, Tensor, State]:
        """Those of a batch's loss at these parameters and what is not trained, the loss, and the latter behind the batch.

        ``draw`` are the two random numbers, and of a part of a batch its first sample.
        """
        count = len(self.names)

        def mean_loss(parameters: State, statistics: State) -> tuple[Tensor, State]:
            given = [*parameters, *(before.clone() for before in statistics)]  # which the layers change in place
            tensors = self._placed(given) | dict.fromkeys(self.draws, draw)
            with in_parts(x.device, weights, Draws(draw) if self.draws_by_functions else None):
                outputs = functional_call(self.model, tensors, (x,), tie_weights=False)
            total = (weights * self.loss.per_sample(outputs, y)).sum()
            counts = self.loss.counts(y, like=outputs)
            loss = total if counts is None else total / (weights * counts).sum()
            return loss, [tensors[name] for name in self.untrained]

        found, (loss, statistics) = grad_and_value(mean_loss, has_aux=True)(values[:count], values[count:])
        return found, loss, statistics

    def is_sum(self, y: Tensor, like: Tensor) -> bool:
        """Whether a batch's gradients are the sum of those of its parts, each by itself."""
        return self.loss.counts(y, like=like) is None and not self.mixes

    def evaluation(self, state: State, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over the samples of their losses and of their metric, each counted ``weights`` times.

        The second is 0 for a metric that is no mean over samples.
        """
        outputs = self._outputs(self.evaluated(state), x, weights)
        loss = (weights * self.loss.per_sample(outputs, y)).sum()
        if self.metric.per_sample is None:
            return loss, torch.zeros_like(loss)
        return loss, (weights * self.metric.per_sample(outputs, y)).sum()

    def evaluated(self, state: State) -> list[Tensor]:
        """What to evaluate a run, or stacked runs, at; but for some optimizers the parameters are as trained."""
        count, per = len(self.names), len(self.optimizer.starts)
        kept = (tuple(state[count + i * per : count + (i + 1) * per]) for i in range(count))
        parameters = [self.optimizer.evaluated(state[i], own) for i, own in enumerate(kept)]
        return [*parameters, *self._untrained_in(state)]

    def named(self, evaluated: State) -> dict[str, Tensor]:
        """What :meth:`evaluated` gives, by name."""
        return dict(zip((*self.names, *self.untrained), evaluated, strict=True))

    def all_outputs(self, evaluated: State, x: Tensor) -> Tensor:
        """The outputs (runs, samples, outputs) of stacked runs, each for its own samples, (runs, samples, …)."""
        outputs: Tensor = vmap(self._outputs)(evaluated, x)
        return outputs

    def _outputs(self, values: State, x: Tensor, weights: Tensor | None = None) -> Tensor:
        with in_parts(x.device, weights):
            outputs: Tensor = functional_call(self._evaluated, self._placed(values), (x,), tie_weights=False)
        return outputs


def functions_of(problem: Problem, model: nn.Module, optimizer: StackedOptimizer) -> Functions:
    """The functions of the problem's runs with that optimizer."""
    clip, draws = problem.params.clip, draws_by_functions(problem)
    return Functions(model, optimizer, problem.loss, problem.metric, clip, problem.undecayed, draws, drawn_buffers(problem))


def values_of(model: nn.Module, kind: type[Tensor] = Tensor) -> list[tuple[str, Tensor]]:
    """All parameters and buffers by name, or those of a kind: each layer's once, what layers share in each of them."""
    return [
        (f"{place}.{name}".lstrip("."), values)
        for place, layer in model.named_modules()
        for name, values in (*layer._parameters.items(), *layer._buffers.items())
        if isinstance(values, kind)
    ]


def drawn_buffers(problem: Problem) -> tuple[str, ...]:
    """The names of buffers of real numbers that the problem's model has others of for another seed."""
    if problem not in _drawn:
        one, other = (dict(values_of(problem.new_model(seed, "final"))) for seed in (0, 1))
        buffers = {n: v for n, v in one.items() if n in other and v.is_floating_point() and not isinstance(v, nn.Parameter)}
        _drawn[problem] = tuple(name for name, values in buffers.items() if not are_same(values, other[name]))
    return _drawn[problem]


_drawn: WeakKeyDictionary[Problem, tuple[str, ...]] = WeakKeyDictionary()


def are_same(one: Tensor, other: Tensor) -> bool:
    """Bit for bit; a NaN is one."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


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
