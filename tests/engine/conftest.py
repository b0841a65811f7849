"""Fixtures for the tests of the engine."""

from collections.abc import Iterator

import pytest
import torch

from pipeline.problems.models import models
from pipeline.schedulers.registry import schedulers
from tests.engine.helpers import Builder


@pytest.fixture(scope="session")
def new_problem(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds problems from the text of params.yaml."""
    return Builder(tmp_path_factory)


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    for registry in (models, schedulers):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Problems this small gain nothing from threads and lose much where the cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
