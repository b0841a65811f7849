"""What the simulations share."""

import pytest

from pipeline.statistics import comparison


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rough null distribution, a quarter of the draws, for tests that need many."""
    monkeypatch.setattr(comparison, "DRAWS", 2_500)
