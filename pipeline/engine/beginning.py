"""Where a run begins and where it ends: its training part's mean loss in evaluation mode, at the weights it has then.

Training losses cannot be compared with it: they are taken under dropout, with a batch's own statistics, and over an epoch in
which the weights change.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pipeline.config.arrays import Floats
from pipeline.problems.losses import Loss
from pipeline.problems.models import applied

AT_ONCE = 512
"""Samples in a pass, at the most, which bounds its memory."""
LEAST_SPREAD = 0.1
"""Of the mean loss. Where all samples begin at the same loss, as with a last layer of zeros, their spread says nothing."""


@dataclass(frozen=True)
class Beginning:
    """The mean loss at the initial weights, and the standard error of one batch's mean loss around it."""

    loss: float
    noise: float


def beginning(model: nn.Module, loss: Loss, x: Tensor, y: Tensor, batch_size: int) -> Beginning:
    """Where a run of ``model``, as it is, begins on its training part ``x``, ``y``; the model is left in training mode."""
    losses, counts = _of_samples(model, loss, x, y)
    mean = losses.sum() / counts.sum()
    with np.errstate(invalid="ignore", over="ignore"):
        spread = np.sqrt(np.mean((losses - mean * counts) ** 2)) / counts.mean()
    return Beginning(float(mean), float(max(spread, LEAST_SPREAD * abs(mean)) / np.sqrt(min(batch_size, len(losses)))))


def mean_loss(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> float:
    """The mean loss of ``model`` as it is, to be compared with a :class:`Beginning`; the model is left in training mode."""
    losses, counts = _of_samples(model, loss, x, y)
    return float(losses.sum() / counts.sum())


def _of_samples(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> tuple[Floats, Floats]:
    """Each sample's loss, and how much it counts in the mean."""
    blocks = x.tensor_split(-(-len(x) // AT_ONCE))  # equal ones: the last is no single sample, of which there is no variance
    model.eval()
    with own_statistics(model, blocks):
        outputs = torch.cat([applied(model, block) for block in blocks])
    model.train()
    counts = loss.counts(y, like=outputs)
    losses = loss.per_sample(outputs, y)
    return _to_host(losses), _to_host(torch.ones_like(losses) if counts is None else counts)


@contextmanager
def own_statistics(model: nn.Module, blocks: tuple[Tensor, ...]) -> Iterator[None]:
    """In the block, running statistics (BatchNorm's) are those of the model's present weights on these samples.

    At the initial weights the model has none yet, and later ones lag behind the weights. Like
    ``torch.optim.swa_utils.update_bn``, but without dropout: it is not there either in what is compared.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, _NormBase) and layer.running_mean is not None]
    with ExitStack() as restored:
        for norm in norms:
            restored.enter_context(_kept(norm))
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all blocks
            norm.train()
        for block in blocks if norms else ():
            applied(model, block)
        for norm in norms:
            norm.eval()
        yield


@contextmanager
def _kept(norm: _NormBase) -> Iterator[None]:
    """What the block changes of the layer's statistics is undone after it."""
    momentum, kept = norm.momentum, [(buffer, buffer.clone()) for buffer in norm.buffers()]
    try:
        yield
    finally:
        norm.momentum = momentum
        for buffer, before in kept:
            buffer.copy_(before)


def _to_host(values: Tensor) -> Floats:
    return values.detach().cpu().double().numpy()
