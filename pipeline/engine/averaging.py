"""The mean of its weights that a run is evaluated at, as a PyTorch user keeps it: with ``torch.optim.swa_utils``.

The stacked form is :class:`pipeline.engine.optimizers.Averaged`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from pipeline.config.schedules import Average


class Evaluated:
    """The model that a run is evaluated at: the one that is trained, or its mean from when averaging has begun."""

    def __init__(self, trained: nn.Module, average: Average | None) -> None:
        self._trained = trained
        self._ema, self._swa = (average.ema, average.swa) if average else (None, None)
        of_ema = get_ema_multi_avg_fn(self._ema) if self._ema else None  # type: ignore[no-untyped-call]
        self._mean = AveragedModel(trained, multi_avg_fn=of_ema) if average else None

    def end_step(self) -> None:
        """Take in the weights after an optimizer step."""
        if self._mean and self._ema:
            self._mean.update_parameters(self._trained)

    def end_epoch(self, epoch: int) -> None:
        """Take in the weights at the end of an epoch, from 1."""
        if self._mean and self._swa is not None and epoch > self._swa:
            self._mean.update_parameters(self._trained)

    def state(self) -> dict[str, Any]:
        """What the mean is made of so far; nothing where there is none."""
        return self._mean.state_dict() if self._mean else {}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Take up another's ``state``."""
        if self._mean:
            self._mean.load_state_dict(state)

    def model(self, batches: Iterable[Tensor]) -> nn.Module:
        """As it is now; the statistics of a mean's BatchNorm layers are gathered anew from the training ``batches``."""
        if self._mean is None or not self._mean.n_averaged:
            return self._trained
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(0)  # how often a run is evaluated changes none of its random numbers
            update_bn(batches, self._mean)
        model: nn.Module = self._mean.module
        return model
