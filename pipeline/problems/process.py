"""A script's process: started in a folder of its own, its lines read as they come, ended with whoever started it."""

import contextlib
import json
import logging
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.problem_params import Script
from pipeline.config.protocol import CHECKPOINT, FIGURES, TESTED, VARIABLE
from pipeline.config.user_code import PACKAGE
from pipeline.config.wording import as_yaml
from pipeline.problems.scripts import INPUTS, ScriptError, placed

LINES = "lines.jsonl"
BEFORE = "before.jsonl"
"""What was told before the run was killed."""
LOCK, BESIDE = "lock", "beside"
"""In a run's folder: who is at work there, and the folder of whoever did not wait for him."""
ANY_ORDER = 0.01
"""Share by which a figure may differ when it is computed once more, on a device that adds up in any order."""
POLL = 0.1
"""Seconds between two looks at what a script has written."""
OUTPUT_KEPT = 2**16
"""Bytes of a script's output, the last, that are kept."""
LAST_WORDS = 3
"""Lines of its output that an error tells."""
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
"""What moves or colours a terminal."""
BAR = re.compile(r"\d%\|.*\||━|\[\d+:\d\d(?:<[\d:?]+)?, .*\S/\S")
"""A progress bar, of tqdm or rich: it is drawn once more behind the error that ends a script."""
SETTLED = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Environment that numbers may hang on, the same however many runs train side by side, unless the user's says otherwise."""
SAME_RATE = 1e-4
"""A rate that a script tells is the schedule's where they differ by no larger share: some print few digits."""
TRIED_AGAIN = "what is finished is kept, and the next `dvc repro` tries this run again"
Line = Mapping[str, Any]
_log = logging.getLogger(__name__)


def lines_of(problem: str, script: Script, asked: Mapping[str, Any], folder: Path) -> Iterator[Line]:
    """Run a script as it is asked to, on from where it was killed if it can; yields each line that it writes.

    Raises :class:`ScriptError`, with the last of its own words, where it comes to nothing.
    """
    try:
        yield from _lines_of(problem, script, asked, folder, _told_before(folder))
    except _NotRepeatedError as error:
        right = "it begins anew; hand all that changes in it to trial.epochs, and let all that it draws go by trial.seed"
        _log.warning("%s", placed(problem, script, f"{_which(asked)}{error}", right))
        _clear(folder)
        yield from _lines_of(problem, script, asked, folder, before={})


def _lines_of(
    problem: str, script: Script, asked: Mapping[str, Any], folder: Path, before: Mapping[int, Line]
) -> Iterator[Line]:
    lines = folder / LINES
    _prepare(folder, {**asked, "folder": str(folder), "lines": str(lines)})
    process = _started(problem, script, folder)
    output, told = Output(process), list[Line]()
    failure: _Failure | None = None
    beat, since = 0.0, time.monotonic()
    try:
        while not failure:
            has_ended = output.has_ended_after(POLL)
            try:
                seen, told, last = len(told), _read(lines), lines.stat().st_mtime
            except OSError as error:
                right = "leave alone what it did not write in trial.folder, or write into a folder within that one"
                failure = _Failure(wrong=f"took its lines away ({lines}: {error.strerror})", right=right, is_of_all=True)
                break
            new, due = told[seen:], 1 + sum("epoch" in line for line in told[:seen])
            failure = _wrong_use(new) or _misshapen(new, due) or _off_schedule(new, asked)
            if not failure:
                _check_repeated(new, before, asked["device"])
                yield from new
            if has_ended:
                break
            if last != beat:
                beat, since = last, time.monotonic()  # a clock that is set, or a machine that slept, is no script that hangs
            if not failure and time.monotonic() - since > script.timeout:
                hangs = f"was ended after {script.timeout:g} seconds without a step or a figure"
                right = "mend what hangs, or raise script.timeout"
                failure = _Failure(wrong=hangs, right=right, is_from_outside=True)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it began ends with it
        process.wait()
        output.close()
    failure = failure or _failure(script, told, process.returncode, asked["epochs"], output.text)
    if failure:
        told_error = ScriptError(_about(problem, script, asked, folder, output.text, failure))
        told_error.is_of_all, told_error.is_from_outside = failure.is_of_all, failure.is_from_outside
        raise told_error


def _started(problem: str, script: Script, folder: Path) -> "subprocess.Popen[bytes]":
    environment = SETTLED | os.environ | {VARIABLE: str(folder / "run.json")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    try:
        return subprocess.Popen(
            command(script), cwd=folder / "work", env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        why = f"cannot be started ({error.strerror})"
        raise ScriptError(placed(problem, script, why, "make it executable, or write a script.launcher")) from None


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """What is wrong with a run, what would help, and whether no other run can be better, or has to be worse for it."""

    wrong: str
    right: str
    is_of_all: bool = False
    is_from_outside: bool = False
    last_words: int = LAST_WORDS
    """Lines of the script's own that tell more."""


class Output:
    """What a script prints, read as it comes so that it never waits; the last of it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout
        self._process, self._pipe, self._last = process, process.stdout, b""
        os.set_blocking(self._pipe.fileno(), False)

    def has_ended_after(self, seconds: float) -> bool:
        """Whether the process has ended, at the latest after so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            readable, _, _ = select.select([self._pipe], [], [], left)
            if readable and not self._read():  # nothing can come any more, or others hold it open
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(max(0.0, until - time.monotonic()))
                break
        return self._process.poll() is not None

    def close(self) -> None:
        """Read the rest."""
        while self._read():
            pass
        self._pipe.close()

    @property
    def text(self) -> str:
        """The last that was printed."""
        return self._last.decode("utf-8", errors="replace")

    def _read(self) -> bool:
        try:
            found = os.read(self._pipe.fileno(), OUTPUT_KEPT)
        except BlockingIOError:
            return False
        self._last = (self._last + found)[-OUTPUT_KEPT:]
        return bool(found)


def finished(folder: Path, asked: Mapping[str, Any]) -> list[Line]:
    """The lines of a run that ended, and whoever began it with it: killed, that one had no time to keep it."""
    try:
        was: dict[str, Any] = json.loads((folder / "run.json").read_bytes())
        told = _read(folder / LINES)
    except (OSError, ValueError):
        return []
    is_same = {key: was.get(key) for key in asked} == json.loads(json.dumps(asked))
    return told if is_same and any("finish" in line for line in told) else []


def command(script: Script) -> list[str]:
    """What starts the script, so that it ends when this process is killed."""
    path = (INPUTS / script.path).resolve()
    usual = [sys.executable] if path.suffix == ".py" else []
    tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    return [*tied, *(script.launcher or usual), script.module or str(path), *_arguments(script.args)]


def _arguments(args: Mapping[str, Any] | Sequence[str]) -> Iterator[str]:
    if not isinstance(args, Mapping):
        yield from args
        return
    for key, value in args.items():
        if value is not False and value is not None:
            yield f"--{key}"
            yield from (str(each) for each in (value if isinstance(value, list) else [] if value is True else [value]))


def _told_before(folder: Path) -> dict[int, Line]:
    """The epochs that were told before the run was killed, as they were told first, if it can go on behind one of them."""
    if not (folder / CHECKPOINT).exists():
        (folder / BEFORE).unlink(missing_ok=True)
        return {}
    with (folder / BEFORE).open("ab") as file:
        file.write((folder / LINES).read_bytes() + b"\n")
    return {line["epoch"]: line for line in reversed(_read(folder / BEFORE)) if "epoch" in line}


class _NotRepeatedError(Exception):
    """A run that went on tells a figure otherwise than before: what it went on from lacked something."""


def _check_repeated(told: list[Line], before: Mapping[int, Line], device: str) -> None:
    for line in told:
        was = before.get(line.get("epoch", 0), {})
        for name in was.keys() & {*FIGURES}:
            now, then = number(line, name), number(was, name)
            if str(now) != str(then) and not math.isclose(now, then, rel_tol=0.0 if device == "cpu" else ANY_ORDER):
                epoch = line["epoch"]
                raise _NotRepeatedError(
                    f"went on where it was killed, and {name} of epoch {epoch} is {now:g}, which was {then:g} before"
                )


def _clear(folder: Path) -> None:
    """Of all that a run has left in its folder; what says who is at work stays."""
    for place in folder.iterdir():
        if place.is_dir() and place.name != BESIDE:
            shutil.rmtree(place, ignore_errors=True)
        elif place.is_file() and place.name != LOCK:
            place.unlink()


def _prepare(folder: Path, asked: Mapping[str, Any]) -> None:
    """What asks for the run, and a folder to work in, where all that lies under ``inputs/`` is linked."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for place in INPUTS.resolve().iterdir():
        (work / place.name).symlink_to(place)
    (folder / LINES).write_bytes(b"")
    (folder / "run.json").write_text(json.dumps(asked), "utf-8")


def _read(lines: Path) -> list[Line]:
    """The whole lines so far; one that is no JSON is none of ours."""
    found: list[Line] = []
    for text in lines.read_text("utf-8", errors="replace").split("\n")[:-1]:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                found.append(line)
    return found


def _wrong_use(told: list[Line]) -> _Failure | None:
    """What the script itself says that it does wrong; its last words would say the same."""
    for line in told:
        if "wrong" in line:
            wrong, _, right = str(line["wrong"]).partition("; ")
            return _Failure(wrong=wrong, right=right or "see docs/own-training.md", is_of_all=True, last_words=0)
    return None


def _misshapen(told: list[Line], due: int) -> _Failure | None:
    """An epoch that is not the next, from that which is ``due`` on, or a figure that is no number: no run is made of these."""
    wrong = ""
    for line in told:
        finish = line.get("finish", {})
        if "epoch" in line:
            wrong = wrong or ("" if line["epoch"] == due else f"tells epoch {line['epoch']!r} where {due} is due")
            due += 1
        if not isinstance(finish, dict):
            wrong = wrong or f"tells {finish!r} as finish, and no object of figures"
            continue
        for name in (*FIGURES, *TESTED):
            try:
                number({**line, **finish}, name)
            except (TypeError, ValueError, OverflowError):
                wrong = wrong or f"tells {str(finish.get(name, line.get(name)))[:60]!r} as {name}"
    right = (
        'count epochs from 1, and let figures be numbers: {"epoch": 1, "lr": 0.1, "train_loss": 0.7, "validation_loss": 0.7}'
    )
    return _Failure(wrong=wrong, right=right, is_of_all=True) if wrong else None


def number(line: Line, name: str) -> float:
    """A figure in a line; NaN where it is not told, or null, which stands for NaN where a language's JSON has none."""
    value = line.get(name)
    return math.nan if value is None else float(value)


def _off_schedule(told: list[Line], asked: Mapping[str, Any]) -> _Failure | None:
    """An epoch whose rate, as the script tells it, is none of the schedule's: all schedules would train the same."""
    rates, steps = asked.get("rates", []), asked.get("steps_per_epoch", 0)
    for epoch, line in ((int(line["epoch"]), line) for line in told if "epoch" in line):
        due, lr = rates[(epoch - 1) * steps : epoch * steps], line.get("lr")
        if due and not (isinstance(lr, int | float) and any(math.isclose(lr, rate, rel_tol=SAME_RATE) for rate in due)):
            used = "tells no lr" if lr is None else f"tells an lr of {lr}"
            wrong = f"{used} in its line of epoch {epoch}, and the schedule's is {due[0]:g} at the first step"
            right = "train step n by rates[n] of the file that PIPELINE_TRIAL names, and tell the first of each epoch as lr"
            return _Failure(wrong=wrong, right=right, is_of_all=True)
    return None


def _as_module(script: Script) -> str:
    """What helps a script that is a part of a package, and is started as if it were none."""
    package, _, inside = ".".join(Path(script.path).with_suffix("").parts).partition(".")
    if not inside:
        return "it stands in no package: leave the dots out of what it imports"
    launcher = as_yaml([*(script.launcher or ["python"]), "-m"])
    return f"it is started by its path, and not as a part of {package}: write `launcher: {launcher}` beside it in `script`"


REMEDIES: Mapping[str, Callable[[Script], str]] = {
    r"FileNotFoundError: .*: '(?!/)": lambda script: (
        "put it under inputs/ and name it as it is seen from there, where scripts are run, or as Path(__file__).parent / NAME "
        "beside the script; a folder that it writes to it makes itself"
    ),
    r"FileNotFoundError: .*: '/": lambda script: "put it there, or correct its path",
    "Parent directory .* does not exist": lambda script: (
        "let the script make that folder, os.makedirs(…, exist_ok=True), or write into trial.folder: each run begins without it"
    ),
    "ModuleNotFoundError: No module named": lambda script: (
        f"install it for {(script.launcher or [sys.executable])[0]}, or name a Python that has it, script.launcher: "
        "[/path/to/python]; a module of your own lies beside the script, or in a folder that it adds to sys.path"
    ),
    "AttributeError: 'Scheduler' object has no attribute 'step_": lambda script: (
        "call scheduler.step() once behind every optimizer.step() instead, and nothing at the end of an epoch"
    ),
    "error: (?:the following arguments are required|unrecognized arguments|argument )": lambda script: (
        "its command line is script.args: {width: 32, amp: true}, or a list of words as they stand, [--width, 32, --amp]"
    ),
    "attempted relative import with no known parent package": _as_module,
}
"""What would help, where the last line of a script is of such words, which do not say it."""


def _words(text: str) -> list[str]:
    """The lines that a script printed, progress bars and blank ones apart."""
    lines = (" ".join(CONTROL.sub("", line).split()) for line in text.splitlines())
    return [line for line in lines if line and not BAR.search(line)]


def _failure(script: Script, told: list[Line], code: int, budget: int, text: str) -> _Failure | None:
    """What is wrong with a run that has ended; nothing where it went well."""
    epochs = sum("epoch" in line for line in told)
    if code:
        killed, last = _signal(code), "".join(_words(text)[-1:])
        wrong = f"was killed ({killed})" if killed else f"ended with exit code {code}"
        remedies = (remedy(script) for words, remedy in REMEDIES.items() if re.search(words, last))
        right = "the system may have lacked memory" if killed else next(remedies, "mend what its last words say")
        when = f"in epoch {epochs + 1}" if epochs < budget else "behind its last epoch"
        return _Failure(wrong=f"{wrong} {when}", right=right, is_from_outside=_is_from_outside(code, text))
    has_finished = any("finish" in line for line in told)
    if not any("probe" in line for line in told) and (not has_finished or epochs != budget):
        wrong = f"ended after figures of {epochs} of {budget} epochs{'' if has_finished else ', and without trial.finish'}"
        right = "stop none early: call trial.report(…) at each of trial.budget epochs' ends, and then trial.finish(…)"
        return _Failure(wrong=wrong, right=right, is_of_all=True)
    return None


def _signal(code: int) -> str:
    """The signal that ended a process, or a process of its own as shells and launchers tell it."""
    number = -code if code < 0 else code - 128
    return signal.Signals(number).name if number in set(signal.Signals) else ""


def _kinds(error: type[BaseException]) -> Iterator[str]:
    yield error.__name__
    for kind in error.__subclasses__():
        if kind.__module__ == "builtins":
            yield from _kinds(kind)


OUTSIDE = re.compile(
    rf"^(?:[\w.]+\.)?(?:{'|'.join([*_kinds(OSError), *_kinds(MemoryError), 'OutOfMemoryError'])})(?::|$)"
    r"|out of memory|not enough memory|Cannot allocate memory|No space left on device|is killed by signal",
    re.MULTILINE,
)
"""What the last words of a script hold where it failed for a reason that no schedule has: memory, disks, networks, kills."""


def _is_from_outside(code: int, text: str) -> bool:
    return bool(_signal(code) or OUTSIDE.search("\n".join(_words(text)[-LAST_WORDS:])))


def _about(problem: str, script: Script, asked: Mapping[str, Any], folder: Path, text: str, failure: _Failure) -> str:
    """One line: where it stands in params.yaml, which run it is, what is wrong, and the last it said; all of that is kept."""
    words = _words(text)
    kept = folder.parents[1] / "failed" / f"{folder.name}.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(text, "utf-8")
    last = " | ".join(line[-200:] for line in words[-failure.last_words :]) if failure.last_words else ""
    said = f"its last words: {last} (all in {_shown(kept)})" if last else f"what it printed is in {_shown(kept)}"
    right = f"{failure.right}; {TRIED_AGAIN}" if failure.is_from_outside and not asked.get("probe") else failure.right
    return placed(problem, script, f"{_which(asked)}{failure.wrong}; {said if words else 'it printed nothing'}", right)


def _which(asked: Mapping[str, Any]) -> str:
    return f"{asked['label']}, seed {asked['number']}: " if asked.get("label") else ""


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
