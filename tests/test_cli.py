"""A stage as a process: its exit code, what it says, and one at a time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline import cli
from pipeline.config import files
from pipeline.stages import dataset
from tests.conftest import ROOT

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
HOLDER = """\
import signal, sys
from pipeline import cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so does all it starts
def main(word):
    print("in", flush=True)
    sys.stdin.readline()
    print("out", flush=True)
sys.argv = ["stage.py", *sys.argv[1:]]
cli.run(main)
"""

LISTENING = """\
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # as above
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


ENDINGS = """\
import atexit, errno, json, os, signal, sys
from concurrent.futures.process import BrokenProcessPool
from pipeline import cli
from pipeline.config.errors import PipelineError
def main(word):
    atexit.register(print, "cleared up")
    print("said", end=" ")  # and not yet written
    if word == "refused":
        raise PipelineError("no")
    if word == "broken":
        raise ZeroDivisionError
    if word == "interrupted":
        raise KeyboardInterrupt
    if word == "lost":
        raise BrokenProcessPool("a process died")
    if word == "terminated":
        signal.raise_signal(signal.SIGTERM)
    if word == "full":
        raise OSError(errno.ENOSPC, "No space left on device", "results/runs.parquet")
    if word == "large":
        raise OSError(errno.EFBIG, "File too large", "results/runs.parquet")
    if word == "memory":
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")
    if word == "threads":
        raise RuntimeError("can't start new thread")
    if word == "own words":
        sys.exit("enough")
codes = {}
for word in sys.argv[1:]:
    pid = os.fork()
    if not pid:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{word}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ["stage.py", word]
        cli.run(main)
        break
    codes[word] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
else:
    print(json.dumps(codes))
"""
"""Each word is a process of its own: a copy of one that has imported everything."""


class Ended(NamedTuple):
    code: int
    error: str


Stage = Callable[..., Ended]


@pytest.fixture
def stage(repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Stage:
    """Runs the dataset stage as the command line would, in this process."""

    def call(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["pipeline/stages/dataset.py", *words])
        code = 0
        try:
            cli.run(dataset.main)
        except SystemExit as end:
            code = int(end.code or 0)
        return Ended(code, capsys.readouterr().err)

    return call


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(repository: Path) -> Iterator[Start]:
    """Starts a process that holds a stage's lock until it reads a line."""
    started: list[subprocess.Popen[str]] = []

    def begin(word: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", HOLDER, word]
        started.append(subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def edit(repository: Path, old: str, new: str) -> None:
    path = repository / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_mistake_ends_the_process_and_leaves_the_last_data(stage: Stage, repository: Path) -> None:
    files.write_files([(repository / "data" / "synthetic.parquet", b"earlier")])
    edit(repository, "seeds: 10", "seeds: ten")
    edit(repository, "every: 10", "every: x")
    code, error = stage("synthetic")
    assert code == 2
    lines = error.splitlines()
    assert lines[0].startswith("params.yaml:4:8: seeds: is not a whole number (given: ten); ")
    assert ": report.every: is not a whole number (given: x); " in lines[1]
    assert len(lines) == 2
    assert [(path.name, path.read_bytes()) for path in (repository / "data").iterdir()] == [("synthetic.parquet", b"earlier")]


ENDED = [
    ("well", 0, ""),
    ("refused", 1, "no"),
    ("broken", 1, "ZeroDivisionError"),
    ("lost", 1, "stage@lost: a process that helped is gone, "),
    ("interrupted", 130, "stage: interrupted; "),
    ("terminated", 143, "stage: terminated; "),
    ("full", 1, "stage@full: results/runs.parquet: No space left on device; make room on that disk, then call it again: "),
    (
        "large",
        1,
        "stage@large: results/runs.parquet: File too large; allow larger files (`ulimit -f`), then call it again: ",
    ),
    ("memory", 1, "stage@memory: the machine is short of memory ([enforce fail] DefaultCPUAllocator: can't allocate"),
    ("threads", 1, "stage@threads: the machine is short of processes or threads (can't start new thread); end other"),
    ("own words", 1, "enough"),
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A folder with what each command said, and their exit codes."""
    folder = tmp_path_factory.mktemp("ended")
    shutil.copy(ROOT / "params.yaml", folder)
    command = [sys.executable, "-c", ENDINGS, *(word for word, *_ in ENDED)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True, cwd=folder)
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize(("word", "code", "error"), ENDED)
def test_a_command_ends_at_once_and_loses_nothing(word: str, code: int, error: str, ended: tuple[Path, dict[str, int]]) -> None:
    folder, codes = ended
    assert (codes[word], (folder / f"{word}.out").read_text("utf-8")) == (code, "said cleared up\n")
    said = (folder / f"{word}.err").read_text("utf-8")
    assert (said.splitlines() or [""])[-1].startswith(error)
    assert ("Traceback" in said) == (word == "broken")


def test_a_command_beside_the_stages_tells_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".state").write_text("mine", encoding="utf-8")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    command = [sys.executable, "-m", "pipeline", "clean"]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "clean: .state: File exists; move that file away, then call it again: the last results stay\n"


def test_a_stage_writes_its_data_and_nothing_else(stage: Stage, repository: Path) -> None:
    assert stage("synthetic") == Ended(0, "")
    assert len(files.read_dataset("synthetic")) == 30000
    assert {path.name for path in (repository / "data").iterdir()} == {"synthetic.parquet", "synthetic.splits.parquet"}


def test_a_stage_writes_the_same_bytes_again(stage: Stage, repository: Path) -> None:
    contents = set()
    for _ in range(2):
        stage("digits")
        contents.add((repository / "data" / "digits.parquet").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize("name", ["syntetic", "../synthetic", "a/b", "", "x" * 300])
def test_an_unknown_problem(name: str, stage: Stage, repository: Path) -> None:
    ended = stage(name)
    assert ended.code == 2
    assert ended.error.startswith(f"there is no problem {name!r} in params.yaml; ")
    assert len(ended.error.splitlines()) == 1
    assert sorted(path.name for path in repository.iterdir()) == [".state", "params.yaml"]


def test_the_nearest_problem_is_offered(stage: Stage) -> None:
    assert stage("syntetic").error.endswith("did you mean synthetic? (one of synthetic, digits, diabetes, images)\n")


@pytest.mark.parametrize(("told", "code"), [("dataset@synthetic", 0), ("train@synthetic", 2), ("dataset", 2), ("dataset@x", 2)])
def test_dvc_names_the_problem_in_the_environment(told: str, code: int, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", told)
    assert stage().code == code


@pytest.mark.parametrize("words", [[], ["synthetic", "digits"]])
def test_a_wrong_number_of_words(words: list[str], stage: Stage) -> None:
    assert stage(*words) == Ended(2, "usage: python -m pipeline.stages.dataset PROBLEM_NAME\n")


def test_a_second_process_waits_and_an_interrupt_is_told_in_a_line(start: Start) -> None:
    first = start("p")
    assert says(first) == "in"
    second = start("p")
    assert second.stderr is not None
    assert second.stderr.readline() == "stage@p: another process is at it; waiting until it is done\n"
    time.sleep(0.2)  # time in which a lock that does not hold would let it in
    out, _ = first.communicate("\n")
    assert (out, first.returncode) == ("out\n", 0)
    assert says(second) == "in"
    second.send_signal(signal.SIGINT)
    assert second.communicate()[1] == "stage: interrupted; the last results stay\n"
    assert second.returncode == 130


@pytest.mark.slow
def test_stages_of_other_problems_do_not_wait(start: Start) -> None:
    first, second = start("p"), start("q")
    assert says(first) == says(second) == "in"


@pytest.mark.slow
def test_a_killed_process_lets_go_of_the_lock(start: Start) -> None:
    first = start("p")
    assert says(first) == "in"
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = start("p")
    assert says(second) == "in"
    assert second.communicate("\n")[1] == ""


def test_an_interrupt_before_the_stage_begins_is_told_in_a_line(repository: Path) -> None:
    """In the seconds that importing torch takes; numpy is one that makes another error of it."""
    slow = repository / "torch"
    slow.mkdir()
    program = "import signal\ntry:\n    signal.raise_signal(signal.SIGINT)\nexcept KeyboardInterrupt:\n    raise ImportError\n"
    (slow / "__init__.py").write_text(program, encoding="utf-8")
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(repository), str(ROOT)])}
    for words, line in (
        ("pipeline.stages.train", "interrupted; the last results stay"),
        ("pipeline check", "check: interrupted"),
    ):
        command = [sys.executable, "-c", LISTENING, "-m", *words.split()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.stderr, done.returncode) == (f"{line}\n", -signal.SIGINT)


def test_a_state_that_is_no_folder_is_told_in_a_line(stage: Stage, repository: Path) -> None:
    (repository / ".state").write_text("", encoding="utf-8")
    code, error = stage("synthetic")
    assert code == 1
    assert error.startswith("dataset@synthetic: .state: File exists; move that file away, then call it again")
    assert len(error.splitlines()) == 1


@pytest.mark.slow
def test_a_reader_that_has_seen_enough_costs_no_traceback() -> None:
    words = [sys.executable, "-m", "pipeline", "schedulers", "--help"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize("words", [["pipeline", "verdict", "runs.csv"], ["pipeline"], ["pipeline.stages.check"]])
def test_another_python_is_told_the_projects_environment(words: list[str]) -> None:
    bare = subprocess.run(  # without site-packages, as a system's Python has none of ours
        [sys.executable, "-S", "-m", *words], capture_output=True, text=True, env=ENVIRONMENT, cwd=ROOT, check=False
    )
    assert bare.returncode == 1
    assert "is not the project's environment; source .venv/bin/activate" in bare.stderr
    assert bare.stderr.count("\n") == 1
