"""Where the stores lie: at the root of the repository, for every copy that git or DVC makes of it."""

import subprocess
from pathlib import Path

import pytest

from pipeline.config.files import store_root


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "main"
    (root / ".dvc").mkdir(parents=True)
    git(root, "init", "-q")
    git(root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first")
    monkeypatch.chdir(root)
    return root


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=root, check=True, capture_output=True)


def test_worktrees_share_the_stores_of_their_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_root() == repository
    git(repository, "worktree", "add", "../other")
    monkeypatch.chdir(repository / "../other")
    assert store_root() == repository
    monkeypatch.chdir(repository)
    monkeypatch.setenv("DVC_ROOT", str(repository / "../other"))
    assert store_root() == repository


def test_without_dvc_a_worktree_is_by_itself(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / ".dvc").rmdir()
    git(repository, "worktree", "add", "../other")
    monkeypatch.chdir(repository / "../other")
    assert store_root() == (repository / "../other").resolve()


@pytest.mark.parametrize("content", ["", "gitdir: nowhere", "gitdir: ../main/.git\n"])
def test_a_strange_git_file_is_no_worktree(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").write_text(content)
    monkeypatch.chdir(tmp_path)
    assert store_root() == tmp_path


def test_no_repository_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_root() == tmp_path
