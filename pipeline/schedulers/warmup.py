"""A linear warmup before any scheduler."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer


class Warmup:
    """First straight up from 0 to the optimizer's own rates, then the scheduler that ``begin`` makes.

    The first step is trained at rate 0, step ``steps`` at the peak. The scheduler is made there and
    no sooner: whatever it reads of the optimizer, the run begins there for it. (torch's SequentialLR
    makes all of its schedulers beforehand, and one that goes by the rate it finds finds another's.)
    """

    def __init__(self, optimizer: Optimizer, steps: int, begin: Callable[[Optimizer], Any]) -> None:
        self.optimizer, self.steps, self.begin = optimizer, steps, begin
        self.peaks = [group["lr"] for group in optimizer.param_groups]
        self.taken, self.main = 0, None
        self.scale(0.0)

    def scale(self, share: float) -> None:
        """Set every rate to that share of its peak."""
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share

    def step(self) -> None:
        """Rise by one step, or step what comes behind."""
        if self.main is not None:
            self.main.step()
            return
        self.taken += 1
        self.scale(self.taken / self.steps)
        if self.taken == self.steps:
            self.main = self.begin(self.optimizer)
