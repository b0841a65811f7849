"""A script's process: started in a folder of its own, its lines read as they come, ended with whoever started it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config.params import Script
from pipeline.config.user_code import PACKAGE
from pipeline.problems.scripts import INPUTS, ScriptError, placed

VARIABLE = "PIPELINE_TRIAL"
"""Names the file that asks for a run, as ``pipeline.trial`` has it."""
LINES, OUTPUT = "lines.jsonl", "output.txt"
POLL = 0.1
"""Seconds between two looks at what a script has written."""
OUTPUT_KEPT, OUTPUT_MOST = 2**16, 2**22
"""Bytes of a script's output that are kept when it has printed more than the most."""
LAST_WORDS = 3
"""Lines of its output that an error tells."""
SETTLED = {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Environment that numbers may hang on, the same however many runs train side by side, unless the user's says otherwise."""
Line = Mapping[str, Any]


def lines_of(problem: str, script: Script, asked: Mapping[str, Any], folder: Path) -> Iterator[Line]:
    """Run a script as it is asked to; yields each line that it writes.

    Raises :class:`ScriptError`, with the last of its own words, where it comes to nothing.
    """
    lines, output = folder / LINES, folder / OUTPUT
    _prepare(folder, {**asked, "folder": str(folder), "lines": str(lines)})
    environment = SETTLED | os.environ | {VARIABLE: str(folder / "run.json")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH")]))
    with output.open("ab") as to:
        try:
            process = subprocess.Popen(
                command(script), cwd=folder / "work", env=environment,
                stdin=subprocess.DEVNULL, stdout=to, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            why = f"cannot be started ({error.strerror})"
            raise ScriptError(placed(problem, script, why, "make it executable, or write a script.launcher")) from None
    told: list[Line] = []
    seen = 0
    try:
        while True:
            has_ended = _has_ended(process)
            _shorten(output)
            told = _read(lines)
            yield from told[seen:]
            seen = max(seen, len(told))
            if has_ended:
                break
            if time.time() - max(lines.stat().st_mtime, folder.joinpath("run.json").stat().st_mtime) > script.timeout:
                wrong = f"was ended after {script.timeout:g} seconds without a step or a figure"
                raise ScriptError(_about(problem, script, asked, folder, wrong, "mend what hangs, or raise script.timeout"))
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what it began ends with it
        process.wait()
    _refuse_failure(problem, script, asked, folder, told, process.returncode)


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
    return [*tied, *(script.launcher or usual), str(path), *_arguments(script.args)]


def _arguments(args: Mapping[str, Any]) -> Iterator[str]:
    for key, value in args.items():
        if value is not False and value is not None:
            yield f"--{key}"
            yield from (str(each) for each in (value if isinstance(value, list) else [] if value is True else [value]))


def _prepare(folder: Path, asked: Mapping[str, Any]) -> None:
    """What asks for the run, and a folder to work in, where all that lies under ``inputs/`` is linked."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for place in INPUTS.resolve().iterdir():
        (work / place.name).symlink_to(place)
    for name in (LINES, OUTPUT):
        (folder / name).write_bytes(b"")
    (folder / "run.json").write_text(json.dumps(asked), "utf-8")


def _has_ended(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(POLL)
    except subprocess.TimeoutExpired:
        return False
    return True


def _read(lines: Path) -> list[Line]:
    """The whole lines so far; one that is no JSON is none of ours."""
    found: list[Line] = []
    for text in lines.read_text("utf-8", errors="replace").split("\n")[:-1]:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict):
                found.append(line)
    return found


def _shorten(output: Path) -> None:
    """What was printed is added at the end, wherever that is: megabytes make room for what comes."""
    if output.stat().st_size > OUTPUT_MOST:
        with output.open("r+b") as file:
            file.seek(-OUTPUT_KEPT, os.SEEK_END)
            last = file.read()
            file.truncate(0)
            file.seek(0)
            file.write(last)


def _refuse_failure(problem: str, script: Script, asked: Mapping[str, Any], folder: Path, told: list[Line], code: int) -> None:
    wrong_use = next((str(line["wrong"]) for line in told if "wrong" in line), None)
    epochs = sum("epoch" in line for line in told)
    if wrong_use:
        wrong, right = wrong_use.split("; ", 1) if "; " in wrong_use else (wrong_use, "see docs/own-training.md")
    elif code < 0:
        name = signal.Signals(-code).name
        wrong, right = (
            f"was killed ({name}) in epoch {epochs + 1}",
            "the system may have lacked memory; what is finished is kept",
        )
    elif code:
        wrong, right = f"ended with exit code {code} in epoch {epochs + 1}", "mend what its last words say"
    elif not any("finish" in line or "probe" in line for line in told):
        right = "call trial.report(…) at the end of each of trial.budget epochs, and trial.finish(…) behind the last"
        wrong = f"ended after figures of {epochs} of {asked['epochs']} epochs, and without trial.finish"
    else:
        return
    error = ScriptError(_about(problem, script, asked, folder, wrong, right))
    error.is_of_all = code <= 0 or wrong_use is not None
    raise error


def _about(problem: str, script: Script, asked: Mapping[str, Any], folder: Path, wrong: str, right: str) -> str:
    """One line: where it stands in params.yaml, which run it is, what is wrong, and the last it said; all of that is kept."""
    text = (folder / OUTPUT).read_text("utf-8", errors="replace")
    words = [" ".join(line.split()) for line in text.splitlines()]
    kept = folder.parents[1] / "failed" / f"{folder.name}.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(text, "utf-8")
    last = " | ".join([line[-200:] for line in words if line][-LAST_WORDS:])
    which = f"{asked['label']}, seed {asked['number']}: " if asked.get("label") else ""
    said = f"its last words: {last} (all in {_shown(kept)})" if last else "it printed nothing"
    return placed(problem, script, f"{which}{wrong}; {said}", right)


def _shown(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
