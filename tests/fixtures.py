"""What the tests of all parts share."""

import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from pipeline.catalogue import CATALOGUE
from pipeline.config.params import Params, load_params
from pipeline.data.datasets import datasets
from pipeline.engine import code
from pipeline.problems.losses import losses
from pipeline.problems.metrics import metrics
from pipeline.problems.models import models
from pipeline.problems.optimizers import optimizers
from pipeline.runs.executor import Here
from pipeline.schedulers.registry import schedulers
from pipeline.statistics import comparison
from pipeline.tracking import trackers
from tests.conftest import ROOT
from tests.engine.helpers import Builder
from tests.waiting import PATIENCE

# As pyproject.toml has it for the tests themselves; what is said inside MLflow and inside DVC is let pass.
WARNINGS_IN_PROCESSES = (
    "error,ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"
    ",ignore:_NoneStep.value will soon raise:DeprecationWarning"
)
settings.register_profile(
    "repeatable",
    max_examples=20,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
settings.load_profile("repeatable")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # in a shell's background job, and so in all that the tests begin
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def new_problem(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    """Builds problems from the text of params.yaml."""
    return Builder(tmp_path_factory)


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten after it."""
    for registry in (datasets, models, optimizers, schedulers, losses, metrics):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))


@pytest.fixture(autouse=True)
def one_code() -> Iterator[None]:
    """What is remembered of the code, the versions and the machine is what it was: the names of a later test's runs hold it."""
    before = code.code_fingerprint()
    yield
    assert code.code_fingerprint() == before, "the test leaves another code, other versions or another machine behind"


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Problems this small gain nothing from threads and lose much where the cores are shared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="session")
def one_process() -> Iterator[None]:
    """A stage called in the tests' own process, or in one of a test's, does all itself, unless the test says otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPELINE_EXECUTOR", "local:1")
        yield


@pytest.fixture(autouse=True, scope="session")
def patient() -> Iterator[None]:
    """Trackers, which leave the cores to all else, are waited for however busy the machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trackers, "PATIENCE", PATIENCE)
        patch.setattr(trackers, "PATIENCE_INTERRUPTED", PATIENCE)
        patch.setattr(trackers, "PATIENCE_KILLED", PATIENCE)
        yield


@pytest.fixture
def told_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers are told in this process: one of their own takes seconds to begin."""
    monkeypatch.setattr(trackers, "Processes", lambda count: Here())
    monkeypatch.setattr(trackers, "_trackers", {})


@pytest.fixture(autouse=True, scope="session")
def strict_processes() -> Iterator[None]:
    """Warnings are errors in every Python process that a test starts, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", WARNINGS_IN_PROCESSES)
        yield


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with the default params.yaml."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, whose Optuna storage is the journal in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPTUNA_STORAGE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


Edited = Callable[..., Params]


@pytest.fixture
def edited(repository: Path) -> Edited:
    """A function that replaces pieces of the default params.yaml and loads it."""
    default = (ROOT / "params.yaml").read_text(encoding="utf-8")

    def edit(*pieces: tuple[str, str]) -> Params:
        text = default
        for old, new in pieces:
            assert old in text, f"{old!r} is not in params.yaml"
            text = text.replace(old, new, 1)
        (repository / "params.yaml").write_text(text, encoding="utf-8", newline="")
        return load_params(CATALOGUE)

    return edit


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rough null distribution, a quarter of the draws, for tests that need many."""
    monkeypatch.setattr(comparison, "DRAWS", 2_500)
