"""C text becomes a library once, and what the compiler says is told in a line."""

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipeline.engine import cache, compiler
from pipeline.engine.cache import folder
from pipeline.engine.compiler import NoCompilerError, ShortageError, identity, kept, machine, name_of
from tests.conftest import ROOT

ANSWER = "int answer(void) { return 42; }"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for compiled code that is empty, and a compiler that is looked for anew."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_chosen", {})
    machine.cache_clear()
    yield
    machine.cache_clear()


def test_a_text_is_compiled_once_for_all_time(tmp_path: Path) -> None:
    assert kept("a", lambda: ANSWER).answer() == 42
    assert kept("a", lambda: pytest.fail("it is there")).answer() == 42
    assert folder() == tmp_path / "lr-pipeline"
    assert [path.suffix for path in folder().iterdir()] == [".so"]  # and nothing else is left


def test_another_key_flag_or_machine_is_another_library(monkeypatch: pytest.MonkeyPatch) -> None:
    kept("a", lambda: ANSWER)
    kept("b", lambda: ANSWER)
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-O0"))
    kept("a", lambda: ANSWER)
    assert len(list(folder().iterdir())) == 3


def test_two_at_once_each_load_a_whole_library() -> None:
    with ThreadPoolExecutor(2) as both:
        assert [library.answer() for library in both.map(lambda _: kept("a", lambda: ANSWER), range(2))] == [42, 42]


def test_a_text_that_is_no_c_is_told_in_a_line() -> None:
    with pytest.raises(NoCompilerError, match=r"^[^\n]+ fails: [^\n]+error: [^\n]+$"):
        kept("a", lambda: "int answer(void) { return }")
    assert not list(folder().iterdir())


def test_what_cannot_be_loaded_is_told_in_a_line() -> None:
    with pytest.raises(NoCompilerError, match=r"^what was compiled cannot be kept or loaded \([^\n]*nowhere[^\n]*\)$"):
        kept("a", lambda: "extern int nowhere; int answer(void) { return nowhere; }")


@pytest.mark.parametrize("left", [0, 7, 100, 4096, -1], ids=["empty", "few bytes", "header", "a page", "all but a byte"])
def test_a_library_that_was_cut_off_is_made_anew(left: int) -> None:
    """In a process of its own: loading half a library ends a process."""
    kept("a", lambda: ANSWER)
    damaged = folder() / f"{name_of('a')}.so"
    whole = damaged.read_bytes()
    damaged.unlink()  # this process has it mapped
    damaged.write_bytes(whole[:left])
    code = f"from pipeline.engine.compiler import kept\nprint(kept('a', lambda: {ANSWER!r}).answer())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
    assert len(damaged.read_bytes()) == len(whole)


def test_garbage_in_a_library_is_not_loaded() -> None:
    """Each of its bytes counts, wherever it stands."""
    kept("a", lambda: ANSWER)
    damaged = folder() / f"{name_of('a')}.so"
    whole = damaged.read_bytes()
    damaged.unlink()  # this process has it mapped
    for place in range(0, len(whole), len(whole) // 40):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        assert cache.read(damaged.name) is None


def test_without_a_folder_it_is_compiled_once_for_this_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "lr-pipeline").touch()
    assert kept("a", lambda: ANSWER).answer() == 42
    assert kept("a", lambda: pytest.fail("it is there")).answer() == 42
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("name", "said"), [("no-such-compiler", r"apt install gcc"), ("false", r"false fails: it says nothing")]
)
def test_without_a_compiler(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert identity() != "none"
    machine.cache_clear()
    monkeypatch.setenv("CC", name)
    if name == "no-such-compiler":
        monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(NoCompilerError, match=said):
        kept("a", lambda: ANSWER)
    assert identity() == "none"


def test_a_compiler_that_cannot_run_for_the_moment_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs would be named as those of a machine without one, and not be found again."""
    machine.cache_clear()

    def exhausted(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("subprocess.run", exhausted)
        with pytest.raises(ShortageError, match="cannot be run for lack of file handles"):
            identity()
    assert identity() != "none"
