"""What happens in a run, as pure functions of one run's tensors: an optimizer step, and an evaluation.

They are stated once. :mod:`pipeline.engine.tensors` runs them for many runs with ``torch.func.vmap``,
:mod:`pipeline.engine.lanes` compiles them to C.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from pipeline.engine.optimizers import StackedOptimizer
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

    @property
    def names(self) -> list[str]:
        """The parameters' names, in the order of a state."""
        return [name for name, _ in self.model.named_parameters()]

    def initial(self, parameters: list[Tensor]) -> State:
        """The state of a run, or of stacked runs, that begins at ``parameters``."""
        kept = [torch.full_like(values, start) for values in parameters for start in self.optimizer.starts]
        return [*parameters, *kept]

    def outputs(self, state: State, x: Tensor) -> Tensor:
        """The model's outputs (samples, outputs) for the samples ``x``."""
        outputs: Tensor = functional_call(self.model, dict(zip(self.names, state, strict=False)), (x,))
        return outputs

    def step(self, state: State, numbers: Tensor, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """One optimizer step: the new state, then the batch's loss.

        ``numbers`` (kinds,) are those of the optimizer's update; ``weights`` (samples,) those of each sample in the mean.
        """
        count = len(self.names)

        def mean_loss(parameters: State) -> Tensor:
            outputs = self.outputs(parameters, x)
            total = (weights * self.loss.per_sample(outputs, y)).sum()
            counts = self.loss.counts(y, like=outputs)
            return total if counts is None else total / (weights * counts).sum()

        gradients, loss = grad_and_value(mean_loss)(state[:count])
        per = len(self.optimizer.starts)
        updated = [
            self.optimizer.update(state[i], gradients[i], tuple(state[count + i * per : count + (i + 1) * per]), numbers)
            for i in range(count)
        ]
        return (*(new for new, _ in updated), *(kept for _, all_kept in updated for kept in all_kept), loss)

    def evaluation(self, state: State, x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sums over the samples of their losses and of their metric, each counted ``weights`` times.

        The second is 0 for a metric that is no mean over samples.
        """
        outputs = self.outputs(state, x)
        loss = (weights * self.loss.per_sample(outputs, y)).sum()
        if self.metric.per_sample is None:
            return loss, torch.zeros_like(loss)
        return loss, (weights * self.metric.per_sample(outputs, y)).sum()

    def all_outputs(self, parameters: State, x: Tensor) -> Tensor:
        """The outputs (runs, samples, outputs) of stacked runs, each for its own samples, (runs, samples, …)."""
        outputs: Tensor = vmap(self.outputs)(parameters, x)
        return outputs
