"""A working directory for the tiny problem."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.params import load_params


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, whose Optuna storage is the journal in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPTUNA_STORAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    load_params.cache_clear()
    yield tmp_path
    load_params.cache_clear()
