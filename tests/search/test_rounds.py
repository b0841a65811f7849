"""What is recommended of the studies' winners."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.config.schedules import Schedule
from pipeline.search import rounds
from pipeline.search.rounds import recommend, search
from tests.search import helpers

CPU = torch.device("cpu")


def recommended(losses: dict[int, list[float]], monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Whose winner, by its seed, is recommended of each scheduler, if it came to these losses on the seeds 0 and 1."""
    problem = helpers.problem()
    studies = search(problem, helpers.params().tune, 2, CPU, lambda _: None)
    winner = {(study.label, study.schedule(study.best).key): study.seed for study in studies}
    assert len(winner) == len(studies), "each seed has another winner, or there is nothing to choose"

    def evaluate(_: Any, configurations: Sequence[tuple[str, Schedule, int]], *more: Any) -> Any:
        return np.array([losses[winner[label, schedule.key]][seed] for label, schedule, seed in configurations])

    monkeypatch.setattr(rounds, "evaluate", evaluate)
    return {label: winner[label, schedule.key] for label, schedule in recommend(problem, studies, CPU).items()}


@pytest.mark.parametrize(
    ("losses", "seed"),
    [
        ({0: [0.0, 10.0], 1: [4.0, 4.0]}, 1),  # not the best on the first seed, nor the best anywhere
        ({0: [4.0, 4.0], 1: [10.0, 0.0]}, 0),  # nor on the last
        ({0: [1.0, np.inf], 1: [9.0, 9.0]}, 1),  # what diverges on any seed is behind
        ({0: [2.0, 3.0], 1: [3.0, 2.0]}, 0),  # of equals the first
    ],
)
def test_the_lowest_mean_over_all_seeds_is_recommended(
    losses: dict[int, list[float]], seed: int, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(recommended(losses, monkeypatch).values()) == {seed}
