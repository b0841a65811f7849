"""What of a run is tested and kept where that is its best epoch: the one of lowest validation loss, the first of equals."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.config.arrays import Floats

Tested = tuple[Floats, Floats]
"""Test loss and metric, (runs,) each."""


class BestEpochs:
    """Test figures and weights of runs at their best epochs so far; of those that are asked for, by position."""

    def __init__(self, is_asked: npt.ArrayLike) -> None:
        self._is_asked = np.asarray(is_asked, dtype=bool)
        self._loss = np.full(len(self._is_asked), np.inf)
        self._tested = np.full((2, len(self._is_asked)), np.nan)
        self._weights: dict[str, Tensor] = {}

    def take(self, loss: Floats, evaluate: Callable[[], Tested], weights: Callable[[], Mapping[str, Tensor]]) -> None:
        """After an epoch with these validation losses, (runs,): what is better than all before is tested and copied."""
        better = self._is_asked & (loss < self._loss)
        if not better.any():
            return
        self._loss = np.where(better, loss, self._loss)
        self._tested = np.where(better, evaluate(), self._tested)
        self._weights = _chosen(better, weights(), self._weights)

    def instead_of(self, tested: Tested, weights: Mapping[str, Tensor]) -> tuple[Tested, Mapping[str, Tensor]]:
        """Those of the last epoch, replaced where the best is asked for and there is one."""
        found = np.isfinite(self._loss)
        if not found.any():
            return tested, weights
        loss, metric = np.where(found, self._tested, tested)
        return (loss, metric), _chosen(found, self._weights, weights)

    def state(self) -> dict[str, Any]:
        """All of it, as tensors; what :meth:`go_on` takes up."""
        return {"loss": torch.from_numpy(self._loss), "tested": torch.from_numpy(self._tested), "weights": self._weights}

    def go_on(self, state: Mapping[str, Any]) -> None:
        """Take up another's state."""
        self._loss, self._tested = state["loss"].numpy(), state["tested"].numpy()
        self._weights = dict(state["weights"])


def _chosen(these: npt.NDArray[np.bool_], new: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """New values of these runs beside the old ones of the others, in memory of their own."""
    if not old or these.all():
        return {name: values.detach().clone() for name, values in new.items()}
    runs = torch.from_numpy(np.flatnonzero(these))
    return {name: values.index_copy(0, (i := runs.to(values.device)), new[name].detach()[i]) for name, values in old.items()}
