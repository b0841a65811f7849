"""How the tests are begun; ``tests/fixtures.py`` has what they share."""

import gc
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LONGEST = (
    "test_script.py", "test_report.py", "test_stackable.py", "test_twin.py", "test_beginning.py", "test_edits.py",
    "test_repro.py", "test_cluster.py", "test_own_training.py", "test_study.py", "test_trackers.py", "test_scripts.py",
    "test_translate.py", "test_optuna_tracker.py", "test_averaging.py", "test_docs.py", "test_cli.py", "test_program.py",
    "test_one_configuration.py", "test_compare.py", "test_tables.py", "test_space.py", "test_page.py", "test_champion.py",
    "test_resume.py", "test_tune.py", "test_custom_module.py", "test_train.py", "test_mend.py", "test_components.py",
)  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """The process that deals the tests out to others needs nothing of what they import."""
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that two workers end together."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nobody looks for garbage in what is imported: a million objects, which stay, would be looked through again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.set_threshold(100_000, 20, 20)  # what is traced leaves many objects, and few in cycles
