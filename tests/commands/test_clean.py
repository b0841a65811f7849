"""``python -m pipeline clean``: what goes, what stays, and that nothing outside the repository is ever touched."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from pipeline.__main__ import main
from pipeline.commands import clean
from pipeline.config import files
from pipeline.engine import cache
from pipeline.problems.run import CURVES
from pipeline.runs.store import UNASKED, Finished, store
from tests.conftest import ROOT
from tests.search import helpers

DAY = 86_400.0
Said = Callable[..., list[str]]
HOSTILE = ["..", ".", "-rf", "a b", "$(touch x)", "a\nb", "\x1b[31m", "ü", "*", "tiny2", "x" * 200]
"""Names that no problem can have, but a folder; ``.`` and ``..`` are in every one."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with the problem ``tiny``, and what was made of it and of two problems that are no more."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(cache, "_chosen", {})
    helpers.params()
    for problem in ("tiny", "old", "tiny-2"):
        for stage in ("train", "tune"):
            files.write_files([(files.stage_path(problem, stage, "runs.parquet"), b"runs" * 100)])
            write(f".state/{stage}@{problem}.lock")
        write(f"data/{problem}.parquet", f"data/{problem}.splits.parquet")
        write(f"reports/best/{problem}.py", f"reports/best/{problem}.safetensors", f"reports/figures/{problem}-importances.svg")
        write(f"reports/best/{problem}/StepLR.py")
    write(
        "data/params.json", "data/digests.json", "reports/report.html", "reports/comparison.csv",
        "reports/figures/all-profiles-tuned.svg",
        "reports/evidence/ends.csv", ".state/check.lock", "mlflow.db", "optuna.journal", "inputs/old.csv", "data/notes.txt",
        "results/notes.txt",
    )  # fmt: skip
    write("mlflow.db.broken", "mlflow.db.broken-wal", ".state/runs.sqlite.broken2", "results/tiny/train/.runs.parquet.tmp")
    write("data/.tiny.parquet.tmp", "reports/.report.html.tmp")
    return root


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"content")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    """What the command says on both streams."""

    def call(*words: str, code: int = 0) -> list[str]:
        monkeypatch.setattr("sys.argv", ["pipeline", "clean", *words])
        ended = 0
        try:
            main()
        except SystemExit as end:
            ended = int(end.code or 0)
        told = capsys.readouterr()
        assert ended == code, told.err
        return (told.out + told.err).splitlines()

    return call


def tree(root: Path) -> dict[str, bytes | str]:
    """All files with their content, folders and links."""
    return {
        str(path.relative_to(root)): str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        for path in root.rglob("*")
    }


def kept(*names: str, asked: float = 0.0, size: int = 4) -> None:
    """Put finished runs into the store, as of ``asked`` seconds ago."""
    with pytest.MonkeyPatch.context() as patch:
        now = time.time() - asked
        patch.setattr("pipeline.runs.store.time.time", lambda: now)
        store().keep({name: Finished(True, np.zeros((len(CURVES), size)), {"test_loss": 0.0}) for name in names}, {})


def known(*names: str) -> set[str]:
    return set(store().known(names, whole=True))


GONE = {
    "results/old", "results/tiny-2", "data/old.parquet", "data/old.splits.parquet", "data/tiny-2.parquet",
    "data/tiny-2.splits.parquet", "reports/best/old",
    "reports/best/tiny-2", "reports/best/old.py", "reports/best/old.safetensors", "reports/best/tiny-2.py",
    "reports/best/tiny-2.safetensors", "reports/figures/old-importances.svg",
    ".state/train@old.lock", ".state/tune@old.lock", ".state/train@tiny-2.lock", ".state/tune@tiny-2.lock",
    "mlflow.db.broken", "mlflow.db.broken-wal", ".state/runs.sqlite.broken2", "results/tiny/train/.runs.parquet.tmp",
    "data/.tiny.parquet.tmp", "reports/.report.html.tmp",
}  # fmt: skip


def test_what_goes_and_what_stays(repository: Path, said: Said) -> None:
    """A figure whose name begins like that of a problem that stays is left to the report stage."""
    before = tree(repository)
    lines = said()
    assert len(lines) == 2
    assert lines[0].startswith(
        "goes: of problems that are not in params.yaml: results/old, results/tiny-2, data/old.parquet and 14"
    )
    assert lines[1].startswith(
        "goes: broken or left over: mlflow.db.broken, mlflow.db.broken-wal, .state/runs.sqlite.broken2 and"
    )
    gone = {name for name in before if any(name == top or name.startswith(f"{top}/") for top in GONE)}
    assert before.keys() - tree(repository).keys() == gone
    assert tree(repository).keys() - before.keys() <= {".state/clean.lock"}
    assert said() == ["nothing to clean"]


def test_what_failed_or_was_left_long_ago_goes(repository: Path, said: Said) -> None:
    write(".state/progress/old/loop.pt", ".state/progress/new/loop.pt", ".state/failed/old.txt", ".state/failed/new.txt")
    for path in (".state/progress/old/loop.pt", ".state/progress/old", ".state/failed/old.txt"):
        os.utime(path, (time.time() - 2 * DAY,) * 2)
    lines = said()
    assert any(line.startswith("goes: checkpoints of runs that nobody goes on with: .state/progress/old") for line in lines)
    assert any(line.startswith("goes: last words of runs that failed: .state/failed/old.txt") for line in lines)
    assert [path.name for path in sorted(Path(".state/progress").iterdir())] == ["new"]
    assert [path.name for path in sorted(Path(".state/failed").iterdir())] == ["new.txt"]


def test_a_dry_run_says_the_same_and_changes_nothing(repository: Path, said: Said) -> None:
    kept("old", asked=2 * UNASKED)
    cache.keep(f"{1:032x}.so", b"content")
    before = tree(repository.parent)
    times = {path: path.lstat().st_mtime_ns for path in repository.parent.rglob("*")}
    lines = said("--dry-run", "--cache")
    assert [line.split(":")[0] for line in lines] == ["would go"] * 4
    assert tree(repository.parent) == before
    assert {path: path.lstat().st_mtime_ns for path in repository.parent.rglob("*")} == times
    assert [line.removeprefix("goes") for line in said("--cache")] == [line.removeprefix("would go") for line in lines]


def test_a_dry_run_of_a_store_that_is_written_to(repository: Path, said: Said) -> None:
    """Killed, its writer left what SQLite keeps beside it."""
    kept("a")
    code = f"""
import os, sqlite3
connection = sqlite3.connect({str(repository / ".state/runs.sqlite")!r})
connection.execute("UPDATE runs SET asked = 0")
connection.commit()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (repository / ".state/runs.sqlite-wal").stat().st_size
    before = tree(repository)
    assert any("1 entries" in line for line in said("--dry-run"))
    assert tree(repository).keys() == before.keys()
    assert any("1 entries" in line for line in said())
    assert known("a") == set()


def test_runs_that_nobody_asked_for_go_and_then_the_oldest_of_too_many(
    repository: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    said()
    kept("forgotten", asked=UNASKED + DAY)
    kept("older", asked=2 * DAY, size=10_000)
    kept("newer", asked=DAY, size=10_000)
    (line,) = said()
    assert line.startswith("goes: 1 entries of the store of finished runs, .state/runs.sqlite, that nobody asked for")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clean, "store", Tight)
        (line,) = said()
    assert line.startswith("goes: 1 entries")
    assert line.endswith(", 400 kB")
    assert known("forgotten", "older", "newer") == {"newer"}
    (repository / ".state/runs.sqlite").unlink()
    assert said() == ["nothing to clean"]


class Tight:
    """A store that holds one run."""

    def spare(self, unasked: float) -> tuple[int, int]:
        return store().spare(500_000, unasked)

    def shrink(self, unasked: float) -> int:
        return store().shrink(500_000, unasked)


def test_all_that_was_made_goes_and_what_is_in_git_stays(repository: Path, said: Said) -> None:
    kept("a", "b")
    cache.keep(f"{1:032x}.so", b"content")
    assert [line.split(":")[1].split(" ")[1] for line in said("--all")] == ["everything", "2", "broken"]
    assert known("a", "b") == set()
    left = {name for name, content in tree(repository).items() if content}
    assert left - {f".state/runs.sqlite{suffix}" for suffix in ("", "-wal", "-shm", ".pipeline-lock")} == {
        "params.yaml", "mlflow.db", "optuna.journal", ".state/check.lock", "inputs/old.csv", "data/notes.txt",
        "results/notes.txt", "reports/comparison.csv",
    }  # fmt: skip
    assert len(list(cache.folder().iterdir())) == 1


def test_the_cache_alone_is_outside_and_only_what_is_ours_in_it(repository: Path, said: Said, tmp_path: Path) -> None:
    said()
    for number, days in enumerate((0, 29, 31)):
        path = cache.keep(f"{number:032x}.so", b"content")
        os.utime(path, (time.time() - days * DAY,) * 2)
    (cache.folder() / "precious").touch()
    (line,) = said()
    assert line.startswith(f"goes: compiled code in {tmp_path}/caches/lr-pipeline that was not used for long: 1 files, ")
    (line,) = said("--cache")
    assert line.startswith(f"goes: compiled code in {tmp_path}/caches/lr-pipeline: 2 files, ")
    assert [path.name for path in cache.folder().iterdir()] == ["precious"]


@pytest.mark.parametrize("words", [(), ("--all",)])
def test_no_link_is_followed(words: tuple[str, ...], repository: Path, said: Said) -> None:
    outside = repository.parent / "outside"
    shutil.copytree(repository, outside)
    before = tree(outside)
    Path("results/linked").symlink_to(outside)
    Path("results/looped").symlink_to("looped")
    Path("results/old/train/inner").symlink_to(outside)
    Path("results/tiny/linked").symlink_to(outside)
    Path("data/linked.parquet").symlink_to(outside / "mlflow.db")
    Path("x.broken").symlink_to(outside)
    Path(".state/report.lock").symlink_to(outside / "mlflow.db")
    for name in ("reports", ".state/tune"):
        if Path(name).exists():
            shutil.rmtree(name)
        Path(name).symlink_to(outside)
    said(*words)
    assert tree(outside) == before
    for name in ("results/linked", "results/looped", "data/linked.parquet", "x.broken"):
        assert not Path(name).is_symlink(), name
    assert not Path("results/old").exists()


@pytest.mark.parametrize("folder", ["results", "data", "reports", ".state"])
def test_a_folder_that_leads_out_of_the_repository_is_left_alone(folder: str, repository: Path, said: Said) -> None:
    kept("a", asked=2 * UNASKED)
    outside = repository.parent / "outside"
    Path(folder).rename(outside)
    Path(folder).symlink_to(outside)
    before = tree(outside)
    said()
    assert {**before, "clean.lock": b""} == {**tree(outside), "clean.lock": b""}


def test_names_that_no_problem_has(repository: Path, said: Said) -> None:
    for name in HOSTILE:
        Path("results", name).mkdir(exist_ok=True)
    Path(os.fsdecode(b"results/\xff")).mkdir()
    before = tree(repository)
    lines = said()
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert sorted(path.name for path in Path("results").iterdir()) == ["notes.txt", "tiny"]
    assert {name for name in before if "/" not in name} - {"mlflow.db.broken", "mlflow.db.broken-wal"} <= tree(
        repository
    ).keys()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["results"], "unrecognized arguments: results; `python -m pipeline clean --help` says what there is"),
        (["--al"], "unrecognized arguments: --al;"),
        (["--cache=yes"], "ignored explicit argument 'yes'"),
    ],
)
def test_bad_words_are_one_line(words: list[str], line: str, repository: Path, said: Said) -> None:
    before = tree(repository)
    (told,) = said(*words, code=2)
    assert line in told
    assert tree(repository) == before


def test_help_says_what_goes(repository: Path, said: Said) -> None:
    told = "\n".join(said("-h"))
    for word in ("--dry-run", "--cache", "--all", "results", "180 days", "*.broken", str(cache.user_folder()), "dvc gc"):
        assert word in told


@pytest.mark.parametrize("words", [[], ["--all"], ["--dry-run"]])
def test_elsewhere_nothing_is_touched(words: list[str], repository: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("params.yaml").rename(repository.parent / "params.yaml")
    before = tree(repository)
    (told,) = said(*words, code=2)
    assert told == "there is no params.yaml here; run in the repository's root"
    assert tree(repository) == before


def test_with_a_mistake_in_params_nothing_is_touched(repository: Path, said: Said) -> None:
    Path("params.yaml").write_text(helpers.PARAMS.replace("SGD", "SDG"), encoding="utf-8")
    before = tree(repository)
    (told,) = said(code=2)
    assert told.startswith("params.yaml:7:23: problems.tiny.optimizer.name:")
    assert tree(repository) == before


@pytest.mark.parametrize("words", [[], ["--all"]])
def test_while_a_stage_is_at_work_nothing_is_touched(words: list[str], repository: Path, said: Said) -> None:
    before = tree(repository)
    with FileLock(".state/train@tiny.lock"):
        (told,) = said(*words, code=1)
    assert told == "train@tiny is at work; clean when it is done"
    assert tree(repository).keys() - before.keys() <= {".state/clean.lock"}
    assert before.keys() <= tree(repository).keys()


def test_what_cannot_be_removed_is_told_and_the_rest_goes(
    repository: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def refusing(path: Path) -> None:
        if path == Path("results/old"):
            raise PermissionError(13, "Permission denied")
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", refusing)
    lines = said(code=1)
    assert lines[-1] == "results/old cannot be removed (Permission denied); remove it by hand"
    assert not Path("results/tiny-2").exists()
    assert not Path("mlflow.db.broken").exists()


CLEAN = """
import sys
from pipeline.commands import clean
print("ready", flush=True)
sys.stdin.readline()
clean.main([])
"""


def process() -> subprocess.Popen[str]:
    """A clean that waits for a word."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", CLEAN], env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.usefixtures("repository")
@pytest.mark.slow
def test_a_killed_clean_is_done_again_and_two_at_once_take_turns(said: Said) -> None:
    for number in range(3000):
        write(f"results/old/train/{number}.parquet")
    kept(*map(str, range(500)), asked=2 * UNASKED)
    killed, one, other = process(), process(), process()
    for each in (killed, one, other):
        assert each.stdout
        assert each.stdout.readline() == "ready\n"
    assert killed.stdin
    killed.stdin.write("\n")
    killed.stdin.flush()
    assert killed.stdout
    killed.stdout.readline()  # it says what goes, and begins
    time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    for each in (one, other):
        assert each.stdin
        each.stdin.write("\n")
        each.stdin.flush()
    told = [each.communicate() for each in (one, other)]
    assert [each.returncode for each in (one, other)] == [0, 0], told
    assert not Path("results/old").exists()
    assert Path("results/tiny/train/runs.parquet").exists()
    assert known(*map(str, range(500))) == set()
    assert said() == ["nothing to clean"]
