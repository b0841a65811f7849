"""Setting up and the Makefile's commands, with stand-ins for Python and all tools that only note how they are called."""

import os
import pty
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TOOLS = ("python", "dvc", "ruff", "mypy", "mlflow", "optuna-dashboard")
# `python -m venv .venv` brings the tools; what $FAILS names ends badly.
STAND_IN = f"""\
#!/bin/sh
echo "$(basename "$0") $*" >> "$CALLS"
case "$*" in
"-m venv .venv/docs") mkdir -p .venv/docs/bin; for tool in python mkdocs; do cp "$0" ".venv/docs/bin/$tool"; done ;;
"-m venv .venv") mkdir -p .venv/bin; for tool in {" ".join(TOOLS)}; do cp "$0" ".venv/bin/$tool"; done ;;
"$FAILS") exit 1 ;;
esac
"""
VENV = ["python3 scripts/check_python.py", "python3 -m venv .venv"]
REPRO = ["python -m pipeline plan", "dvc repro", "python -m pipeline"]
INSTALL = "python -m pip install --quiet --disable-pip-version-check -r {}"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What of the repository the Makefile needs, and a ``python3``."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in (
        "Makefile",
        "requirements.txt",
        "requirements-test.txt",
        "requirements-examples.txt",
        "requirements-timm.txt",
        "requirements-docs.txt",
        "constraints.txt",
    ):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "scripts", root / "scripts")
    subprocess.run(["git", "init", "--quiet", root], check=True)
    (tmp_path / "python3").write_text(STAND_IN, encoding="utf-8")
    (tmp_path / "python3").chmod(0o755)
    return root


def call(root: Path, *words: str, fails: str = "-", **more: str) -> tuple[list[str], subprocess.CompletedProcess[str]]:
    """Run a command in the clone; what it called, and how it ended."""
    calls = root.parent / "calls"
    calls.write_text("")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "OPTUNA", "MAKE"))}
    path = f"{root.parent}{os.pathsep}{os.environ['PATH']}"
    environment = clean | {"PATH": path, "CALLS": str(calls), "FAILS": fails} | more
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
    return calls.read_text().splitlines(), done


def test_the_first_call_installs_and_a_second_does_not(clone: Path) -> None:
    install = INSTALL.format("requirements.txt")
    assert call(clone, "make", "repro")[0] == [*VENV, install, *REPRO]
    assert call(clone, "make", "repro")[0] == REPRO
    first, again = call(clone, "make", "test")[0], call(clone, "make", "test")[0]
    alone = INSTALL.replace("-r", "--no-deps -r").format("requirements-timm.txt")
    assert first[:2] == [INSTALL.format("requirements-test.txt -r requirements-examples.txt"), alone]
    for checks in (first[2:], again):
        assert checks[:2] == ["ruff check", "ruff format --check"]
        types, tests = sorted(checks[2:])  # side by side
        assert types == "mypy "
        assert tests.startswith("python -m pytest ")


def test_somebody_at_a_terminal_sees_pips_progress(clone: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "CI": "", "PATH": f"{clone.parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["make", "--no-print-directory", "-n", "repro"]
    told = subprocess.run(
        command, cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True, check=True
    ).stdout
    os.close(theirs)
    os.close(ours)
    assert ".venv/bin/python -m pip install  --disable-pip-version-check -r requirements.txt" in told
    assert "minutes" in told


def test_a_mistake_in_params_yaml_ends_it(clone: Path) -> None:
    call(clone, "make", "repro")
    (clone / ".venv/bin/python").write_text('#!/bin/sh\necho "python $*" >> "$CALLS"\nexit 2\n', encoding="utf-8")
    calls, done = call(clone, "make", "repro")
    assert calls == REPRO[:1]
    assert done.returncode


def test_a_downloaded_archive_which_is_no_clone_is_told_to_dvc(clone: Path) -> None:
    shutil.rmtree(clone / ".git")
    call(clone, "make", "repro", GIT_CEILING_DIRECTORIES=str(clone.parent))
    told = call(clone, "make", "repro", GIT_CEILING_DIRECTORIES=str(clone.parent))[0]
    assert told[-4:] == [REPRO[0], "dvc config --local core.no_scm true", *REPRO[1:]]


def test_a_changed_pin_is_installed(clone: Path) -> None:
    call(clone, "make", "repro")
    os.utime(clone / "constraints.txt", (2**31, 2**31))
    assert call(clone, "make", "repro")[0] == [INSTALL.format("requirements.txt"), *REPRO]


def test_a_moved_environment_is_made_anew(clone: Path) -> None:
    call(clone, "make", "repro")
    moved = clone.rename(clone.parent / "moved")
    assert call(moved, "make", "repro")[0] == [*VENV, INSTALL.format("requirements.txt"), *REPRO]


def test_without_venv_nothing_is_begun(clone: Path) -> None:
    calls, done = call(clone, "make", "repro", fails="scripts/check_python.py")
    assert calls == VENV[:1]
    assert done.returncode
    assert not (clone / ".venv").exists()


def test_a_missing_venv_module_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    script = str(ROOT / "scripts/check_python.py")
    runpy.run_path(script)
    monkeypatch.setattr(sys, "version_info", (3, 12, 1))
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(SystemExit, match=r"venv module is missing; install it with: sudo apt install python3\.12-venv$"):
        runpy.run_path(script)
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"Python 3\.11 or newer is needed, this is 3\.9; .* make PYTHON=python3\.11"):
        runpy.run_path(script)


def test_both_mirrors_are_rebuilt_by_one_command(clone: Path) -> None:
    call(clone, "make", "repro")
    assert call(clone, "make", "mirror")[0] == ["python -m pipeline mirror"]


def test_ui_starts_both_on_the_default_stores_and_prints_their_addresses(clone: Path) -> None:
    call(clone, "make", "repro")
    (clone / "optuna.journal").touch()
    calls, done = call(clone, "make", "ui", "OPTUNA_PORT=8081")
    assert sorted(calls) == [
        f"mlflow ui --host 127.0.0.1 --port 5000 --workers 1 --backend-store-uri sqlite:///{clone}/mlflow.db",
        "optuna-dashboard --host 127.0.0.1 --port 8081 optuna.journal",
    ]
    view = "#/experiments?workflowType=machine_learning"
    assert done.stdout.splitlines() == ["Optuna: http://127.0.0.1:8081/dashboard", f"MLflow: http://127.0.0.1:5000/{view}"]


def test_ui_without_studies_says_what_to_do(clone: Path) -> None:
    call(clone, "make", "repro")
    calls, done = call(clone, "make", "ui")
    assert calls == []
    assert done.returncode
    assert "there is no optuna.journal yet; run `make repro` first, or `make mirror`" in done.stderr


def test_ui_leaves_a_server_of_its_own_alone(clone: Path) -> None:
    call(clone, "make", "repro")
    stores = {"MLFLOW_TRACKING_URI": "http://tracking:5000", "OPTUNA_STORAGE": "sqlite:///studies.db"}
    calls, done = call(clone, "make", "ui", **stores)
    assert calls == ["optuna-dashboard --host 127.0.0.1 --port 8080 sqlite:///studies.db"]
    assert "MLflow: http://tracking:5000/#/experiments?workflowType=machine_learning" in done.stdout


def test_the_documentation_is_built_in_an_environment_of_its_own(clone: Path) -> None:
    build = ["mkdocs build --quiet --strict", "python scripts/offline.py site"]
    install = INSTALL.format("requirements-docs.txt")
    assert call(clone, "make", "docs")[0] == [*VENV, "python3 -m venv .venv/docs", install, *build]
    assert call(clone, "make", "docs")[0] == build
