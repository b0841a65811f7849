"""Where the stores lie: at the root of the repository, for every copy that git or DVC makes of it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.files import ResultsError, store_root, write_files


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


def test_a_folder_that_is_taken_away_meanwhile_is_one_line(tmp_path: Path) -> None:
    """As the outs of a stage are whose DVC was killed, and begun again while the stage still wrote."""

    def contents() -> Iterator[tuple[Path, bytes]]:
        yield tmp_path / "evidence/a.csv", b"a"
        shutil.rmtree(tmp_path / "evidence")
        yield tmp_path / "b.csv", b"b"

    with pytest.raises(ResultsError, match=r"evidence was taken away while files were written there, .*; call it again"):
        write_files(contents())
    assert list(tmp_path.iterdir()) == []
