"""GreedyLR, which raises the rate where the loss falls and lowers it where it does not, as Hugging Face has it."""

from typing import Annotated, Any, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pipeline.config.spaces import Range
from pipeline.config.units import LengthOrZero, Rate
from pipeline.schedulers.registry import register

Threshold = Annotated[float, Field(ge=0, le=1e6)]


class GreedyLR(ReduceLROnPlateau):
    """torch's ReduceLROnPlateau that also raises the rate, after more than ``patience`` good epochs in a row.

    What a better loss is, how the rate is lowered and its floor are torch's own. As in Hugging Face, epochs of
    ``cooldown`` (behind a fall) and of ``warmup`` (behind a rise) count for nothing, and after ``reset_start``
    falls at the floor it begins anew.
    """

    def __init__(self, optimizer: Optimizer, max_lr: float, warmup: int, window: int, reset: int, **own: Any) -> None:
        super().__init__(optimizer, "min", **own)
        self.max_lr, self.warmup, self.window, self.reset_start = max_lr, warmup, window, reset
        self.initial_lr = optimizer.param_groups[0]["lr"]
        self.falls_left = reset
        self.recent: list[float] = []
        self.total = 0.0
        self.good_epochs = self.idle_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]  # torch's own
        """Take in the loss of another epoch."""
        self.last_epoch += 1
        loss = self._smoothed(float(metrics))
        if self.idle_epochs:
            self.idle_epochs -= 1
            self.good_epochs = self.num_bad_epochs = 0
        elif self._is_better(loss, self.best):  # type: ignore[no-untyped-call]
            self.best = loss
            self.good_epochs, self.num_bad_epochs = self.good_epochs + 1, 0
        else:
            self.good_epochs, self.num_bad_epochs = 0, self.num_bad_epochs + 1
        if self.good_epochs > self.patience:
            self._rise()
        elif self.num_bad_epochs > self.patience:
            self._fall()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _smoothed(self, loss: float) -> float:
        """The mean of the last ``window`` losses; the loss itself where that is none."""
        if not self.window:
            return loss
        self.recent.append(loss)
        self.total += loss
        if len(self.recent) > self.window:
            self.total -= self.recent.pop(0)
        return self.total / len(self.recent)

    def _rise(self) -> None:
        for group in self.optimizer.param_groups:
            rate = min(group["lr"] / self.factor, self.max_lr)
            if rate - group["lr"] > self.eps:
                group["lr"] = rate
        self.good_epochs, self.idle_epochs, self.falls_left = 0, self.warmup, self.reset_start

    def _fall(self) -> None:
        self._reduce_lr(self.last_epoch)
        self.num_bad_epochs, self.idle_epochs = 0, self.cooldown
        if all(group["lr"] <= floor for group, floor in zip(self.optimizer.param_groups, self.min_lrs, strict=True)):
            self.falls_left -= 1
            if self.falls_left <= 0:
                self._begin_anew()

    def _begin_anew(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.initial_lr
        self.best, self.falls_left, self.recent, self.total = float("inf"), self.reset_start, [], 0.0


@register(
    "GreedyLR",
    live=True,
    search={"factor": Range(low=0.5, high=0.99), "patience": Range(low="1%", high="25%", log=True)},
)
def greedy_lr(
    optimizer: Optimizer,
    total_steps: int,
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.95,
    patience: LengthOrZero = 10,
    threshold: Threshold = 1e-6,
    threshold_mode: Literal["rel", "abs"] = "abs",
    cooldown: LengthOrZero = 0,
    warmup: LengthOrZero = 0,
    min_lr: Rate = 1e-3,
    max_lr: Rate = 1.0,
    eps: Threshold = 1e-8,
    window: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
    reset_start: Annotated[int, Field(ge=1, le=1_000_000)] = 500,
) -> Any:
    """Up after good epochs and down after bad ones, by the training loss (GreedyLR, 2025, arXiv:2512.14527).

    Divided or multiplied by ``factor`` after more than ``patience`` of them in a row: Hugging Face's ``greedy``,
    whose arguments and defaults these are; its ``smooth`` is a ``window`` above 0.
    """
    return GreedyLR(
        optimizer, max_lr, warmup, window, reset_start, factor=factor, patience=patience, threshold=threshold,
        threshold_mode=threshold_mode, cooldown=cooldown, min_lr=min_lr, eps=eps,
    )  # fmt: skip
