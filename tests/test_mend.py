"""A clone in which DVC was killed while it wrote its own files works again."""

import contextlib
import fcntl
import json
import os
import py_compile
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from dvc.dvcfile import Lockfile
from dvc.repo import Repo

from scripts import mend
from tests.conftest import ROOT
from tests.waiting import until

RWLOCK, LOCKFILE = Path(".dvc/tmp/rwlock"), Path("dvc.lock")
STAGES = "stages:\n  copy:\n    cmd: cp given made\n    deps: [given]\n    outs: [made]\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC repository with one stage, which has been run; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        subprocess.run(["git", "init", "-q"], check=True)
        subprocess.run(["dvc", "init", "-q"], check=True)
        Path("dvc.yaml").write_text(STAGES, encoding="utf-8")
        Path("given").write_text("1", encoding="utf-8")
        assert repro().returncode == 0
    return folder


@pytest.fixture
def clone(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    monkeypatch.chdir(shutil.copytree(finished, tmp_path, symlinks=True, dirs_exist_ok=True))
    return tmp_path


def repro(place: str = str(ROOT)) -> subprocess.CompletedProcess[str]:
    """As the Makefile has it; without the package's own check, which is of this repository alone."""
    command = next(line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("\t@dvc repro"))
    shell = command.strip("\t@ \\").removesuffix(" ||").replace("scripts/mend.py", str(ROOT / "scripts/mend.py"))
    environment = os.environ | {"PYTHONWARNINGS": "", "PYTHONPATH": place}
    return subprocess.run(["bash", "-c", shell], env=environment, capture_output=True, text=True, check=False)


def test_a_whole_clone_is_left_alone(clone: Path) -> None:
    assert mend.main() == 1
    assert repro().returncode == 0


def cut_off(share: float) -> None:
    """Leave that much of what DVC writes in place."""
    RWLOCK.write_text('{"read": {"given": [{"pid": 1, "cmd": "dvc repro"}]}, "write": {}}', encoding="utf-8")
    for path in (RWLOCK, LOCKFILE):
        text = path.read_text("utf-8")
        path.write_text(text[: int(share * len(text))], encoding="utf-8")


@pytest.mark.parametrize("share", [pytest.param(0, marks=pytest.mark.slow), 0.5])
def test_what_was_cut_off_is_set_aside_and_the_next_run_works(clone: Path, share: float) -> None:
    """The half that a killed DVC wrote; where that is whole by chance, DVC can read it."""
    cut_off(share)
    Path("given").write_text("2", encoding="utf-8")
    ended = repro()
    assert ended.returncode == 0, ended.stderr
    assert Path("made").read_text("utf-8") == "2"
    assert f"{RWLOCK}: DVC was stopped while it wrote this; it is set aside as rwlock.broken" in ended.stderr
    assert ("dvc.lock: DVC was stopped while it wrote this" in ended.stderr) == Path("dvc.lock.broken").exists()
    assert repro().returncode == 0


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
def test_wherever_it_was_cut_off_dvc_can_read_what_is_left(clone: Path, share: float) -> None:
    """As DVC itself reads it, in this process."""
    cut_off(share)
    assert mend.main() == 0
    assert not RWLOCK.exists()
    assert Lockfile(Repo(), "dvc.lock").load().get("stages", {}).keys() <= {"copy"}


@pytest.mark.slow
def test_bytecode_that_a_full_disk_cut_off_is_made_anew(clone: Path) -> None:
    """Python itself says only that its marshal data are too short, at every import."""
    module = clone / "pipeline/stage.py"
    module.parent.mkdir()
    module.write_text("print(2)\n", encoding="utf-8")
    bytecode = Path(str(py_compile.compile(str(module), doraise=True)))
    bytecode.write_bytes(bytecode.read_bytes()[:-9])
    Path("dvc.yaml").write_text(STAGES.replace("cp given", f"{sys.executable} -m pipeline.stage > made #"), encoding="utf-8")
    ended = repro(str(clone))
    assert ended.returncode == 0, ended.stderr
    assert f"{bytecode.relative_to(clone)}: Python wrote this by half" in ended.stderr
    assert Path("made").read_text("utf-8") == "2\n"


def held_by(pid: int) -> None:
    """As a DVC of that number leaves it when it is killed in the middle of the stage."""
    holder = {"pid": pid, "cmd": "dvc repro"}
    given, made = (str(Path(name).absolute()) for name in ("given", "made"))
    RWLOCK.write_text(json.dumps({"read": {given: [holder]}, "write": {made: holder}}), encoding="utf-8")


@pytest.mark.slow
def test_what_a_killed_dvc_held_is_free_again(clone: Path) -> None:
    """Its number is that of a zombie, where nobody buries processes, or of somebody else, after a restart."""
    Path("given").write_text("2", encoding="utf-8")
    with subprocess.Popen(["sleep", "3600"]) as other:
        held_by(other.pid)
        ended = repro()
        assert ended.returncode == 0, ended.stderr
        assert "rwlock: a DVC that is gone held this; it is set aside as rwlock.broken, and nothing is lost" in ended.stderr
        other.kill()
        until(lambda: psutil.Process(other.pid).status() == psutil.STATUS_ZOMBIE, "it is a zombie")
        Path("given").write_text("3", encoding="utf-8")
        held_by(other.pid)
        assert repro().returncode == 0
        assert Path("made").read_text("utf-8") == "3"


def test_a_dvc_that_holds_something_is_waited_for(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", "dvc"]) as dvc:
        held_by(dvc.pid)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(mend.main)
            told = until(lambda: capsys.readouterr().err, "it says that it waits")
            assert f"another DVC (process {dvc.pid}) is at work here; waiting" in told
            time.sleep(0.5)  # time in which one that does not wait would end
            assert not waiting.done()
            dvc.kill()
            assert waiting.result() == 0


def test_nothing_set_aside_overwrites_what_was_before(clone: Path) -> None:
    for number in range(3):
        RWLOCK.write_text(str(number), encoding="utf-8")
        assert mend.main() == 0
    kept = sorted(path.name for path in RWLOCK.parent.glob("rwlock.broken*"))
    assert kept == ["rwlock.broken", "rwlock.broken1", "rwlock.broken2"]
    assert (RWLOCK.parent / "rwlock.broken1").read_text("utf-8") == "1"


def test_a_dvc_at_work_is_left_alone(clone: Path) -> None:
    RWLOCK.write_text("", encoding="utf-8")
    with (RWLOCK.parent / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert mend.main() == 1
    assert mend.main() == 0


@pytest.mark.slow
def test_a_stage_that_fails_of_itself_fails(clone: Path) -> None:
    Path("given").unlink()
    ended = repro()
    assert ended.returncode != 0
    assert "set aside" not in ended.stderr
