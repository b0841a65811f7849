"""A search that is killed goes on exactly as if nothing had happened."""

import itertools
import random
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.stages import check
from tests.conftest import ROOT
from tests.search import helpers
from tests.search.helpers import Workshop
from tests.waiting import until

pytestmark = pytest.mark.slow  # processes that are killed
KILLS = 12
PHASES = {"the store": ".state/runs.sqlite", "the results": "results/", "the journal": "optuna.journal"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inputs") / "inputs"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        helpers.problem()
        check.main()
    return root


@pytest.fixture(scope="module")
def workshop(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Workshop(helpers.copy_inputs(inputs, tmp_path_factory.mktemp("workshop") / "warm")) as running:
        yield running


@pytest.fixture(scope="module")
def uninterrupted(inputs: Path, workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], float]:
    """A directory where nothing happened, the changes of files in it, and the seconds it took."""
    root = helpers.copy_inputs(inputs, tmp_path_factory.mktemp("uninterrupted") / "run")
    ended = workshop.run(root)
    assert (ended["signal"], ended["code"]) == (0, 0), ended["error"]
    return root, ended["events"], ended["seconds"]


def moment(draw: random.Random, changes: list[str], seconds: float) -> dict[str, Any]:
    """One of the changes of files, or for every fourth kill a time."""
    if draw.random() < 0.25:
        return {"kill_after": draw.uniform(0, seconds)}
    return {"kill_at": draw.randint(1, len(changes))}


def moments(changes: list[str], phase: str) -> list[int]:
    """The numbers of the changes, from 1, of what lies under the path ``phase``."""
    return [number for number, change in enumerate(changes, 1) if f" {phase}" in change]


def test_killed_at_any_moment_and_run_again_it_writes_the_same_bytes(
    inputs: Path, workshop: Workshop, uninterrupted: tuple[Path, list[str], float], tmp_path: Path
) -> None:
    """Before any change of a file or at any time, again and again until one run comes to its end; then in another directory."""
    reference, changes, seconds = uninterrupted
    before, studies = helpers.contents(reference), helpers.journal(reference)
    draw = random.Random(0)
    killed = 0
    for number in itertools.count():
        if killed >= KILLS:
            return
        root = helpers.copy_inputs(inputs, tmp_path / str(number))
        while (ended := workshop.run(root, **moment(draw, changes, seconds)))["signal"] == signal.SIGKILL:
            killed += 1
        assert (ended["signal"], ended["code"]) == (0, 0), ended["error"]
        assert helpers.contents(root) == before
        assert helpers.journal(root) == studies


@pytest.mark.parametrize("phase", PHASES)
def test_killed_while_it_writes(
    phase: str, inputs: Path, workshop: Workshop, uninterrupted: tuple[Path, list[str], float], tmp_path: Path
) -> None:
    """Before the first and the last change of each kind of file."""
    reference, changes, _ = uninterrupted
    there = moments(changes, PHASES[phase])
    assert len(there) >= 8
    for at in (there[0], there[-1]):
        root = helpers.copy_inputs(inputs, tmp_path / str(at))
        assert workshop.run(root, kill_at=at)["signal"] == signal.SIGKILL
        if (root / "optuna.journal").exists():  # whoever looks now sees whole rounds
            assert {len(trials) for _, trials in helpers.journal(root).values()} <= {4, 8, 12}
        ended = workshop.run(root)
        assert (ended["signal"], ended["code"]) == (0, 0), ended["error"]
        assert helpers.contents(root) == helpers.contents(reference)
        assert helpers.journal(root) == helpers.journal(reference)


def test_after_a_kill_no_finished_round_is_trained_again(
    inputs: Path, workshop: Workshop, uninterrupted: tuple[Path, list[str], float], tmp_path: Path
) -> None:
    """But for the one it was at."""
    _, changes, _ = uninterrupted
    asked = moments(changes, ".state/runs.sqlite")
    for at in asked[2::6]:
        root = helpers.copy_inputs(inputs, tmp_path / str(at))
        ended = [workshop.run(root, kill_at=at), workshop.run(root)]
        assert [each["signal"] for each in ended] == [signal.SIGKILL, 0]
        first, again = ({line.split(":")[1] for line in each["error"].splitlines() if "100% done" in line} for each in ended)
        assert len(first & again) <= 1
        assert len(first | again) == 6  # three rounds, two checks of the best, and the runs to report on


@pytest.fixture
def repository(inputs: Path, tmp_path: Path) -> Path:
    """A DVC repository with the tiny problem."""
    root = helpers.copy_inputs(inputs, tmp_path / "repository")
    for name in ("dvc.yaml", ".dvcignore", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".dvc").mkdir()
    (root / ".dvc/config").write_text("[core]\n    no_scm = True\n    analytics = false\n", encoding="utf-8")
    return root


def dvc(root: Path, *words: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).parent / "dvc"), *words]
    with (root / "dvc.txt").open("ab") as log:
        return subprocess.Popen(
            command, cwd=root, env=environment or helpers.environment(root), stdout=log, stderr=log, start_new_session=True
        )


def test_dvc_killed_alone_and_repeated(repository: Path, uninterrupted: tuple[Path, list[str], float]) -> None:
    """The stage goes on without dvc and may still write while the next one begins: they take turns."""
    killed = dvc(repository, "repro", "--single-item", "tune@tiny")
    until((repository / ".state/runs.sqlite").exists, "the store is begun")
    killed.kill()
    killed.wait()
    repeat(repository, uninterrupted[0])


def test_dvc_killed_with_all_its_descendants_and_repeated(
    repository: Path, uninterrupted: tuple[Path, list[str], float]
) -> None:
    """At the moment at which there are most: dvc, the stage, and the process that tells MLflow, in a session of its own."""
    reached = repository / "reached"
    environment = helpers.environment(repository)
    waits = f"""
        import pathlib, time
        pathlib.Path({str(reached)!r}).touch()
        time.sleep(3600)
    """
    (repository / "without/mlflow.py").write_text(textwrap.dedent(waits), encoding="utf-8")
    killed = dvc(repository, "repro", "--single-item", "tune@tiny", environment=environment)
    until(lambda: reached.exists() and (repository / ".state/runs.sqlite").exists(), "DVC has nothing more to write")
    assert helpers.kill_family(killed.pid) >= 3
    assert killed.wait() == -signal.SIGKILL
    assert not (repository / "dvc.lock").exists()
    repeat(repository, uninterrupted[0])


def repeat(repository: Path, reference: Path) -> None:
    """The same command again brings what comes of it where nothing happens."""
    again = dvc(repository, "repro", "--single-item", "tune@tiny")
    assert again.wait() == 0, (repository / "dvc.txt").read_text(encoding="utf-8")
    assert helpers.contents(repository) == helpers.contents(reference)
    assert helpers.journal(repository) == helpers.journal(reference)
    assert (repository / "dvc.lock").exists()
