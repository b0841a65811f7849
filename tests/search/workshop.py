"""The process behind :class:`tests.search.helpers.Workshop`: what takes long is done once, and each run is a fork."""

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from pipeline import cli
from pipeline.runs.executor import Here
from pipeline.stages import tune
from pipeline.tracking import optuna_tracker, trackers
from tests.search.helpers import kill_family

setattr(trackers, "TRACKERS", {"Optuna's storage": trackers.TRACKERS["Optuna's storage"]})  # noqa: B010  # MLflow takes seconds
setattr(optuna_tracker, "GRACE_SECONDS", 0.3)  # noqa: B010  # after a kill nobody else holds the lock
warnings.filterwarnings("ignore", "The value of `grace_period` might be too small")
WRITING = os.O_WRONLY | os.O_RDWR


def watch(kill_at: int, changed: list[str]) -> None:
    """Note every change of a file under the working directory, and end the process before that of number ``kill_at``."""

    def hook(event: str, args: tuple[Any, ...]) -> None:
        opened = event == "open" and isinstance(args[2], int) and args[2] & WRITING
        if not args or isinstance(args[0], int):  # what is open already, or no file
            return
        if not opened and event not in ("os.rename", "os.symlink", "os.remove", "os.truncate", "sqlite3.connect"):
            return
        path = os.path.relpath(os.fsdecode(args[0]))  # quick, and it is called for everything
        if path.startswith(".."):
            return
        changed.append(f"{event} {path}")
        if len(changed) == kill_at:
            kill_family(os.getpid())

    sys.addaudithook(hook)


def child(root: str, kill_at: int, processes: int, out: int) -> None:
    os.chdir(root)
    os.dup2(os.open("error.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    changed: list[str] = []
    watch(kill_at, changed)
    sys.argv = ["tune.py", "tiny"]
    if processes == 1:  # changes are counted in this process alone
        setattr(trackers, "Processes", lambda count: Here())  # noqa: B010
    os.environ["PIPELINE_EXECUTOR"] = f"local:{processes}"
    code = 0
    try:
        cli.run(tune.main)
    except SystemExit as end:
        code = int(end.code or 0)
    os.write(out, json.dumps([code, changed]).encode())


def answer(root: str, kill_at: int, kill_after: float) -> dict[str, Any]:
    begun = time.monotonic()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            child(root, kill_at, 1 + int(kill_after > 0), writer)
        except BaseException:  # noqa: BLE001  # it is told
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writer)
    if kill_after:
        time.sleep(kill_after)
        kill_family(pid)
    with os.fdopen(reader, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(pid, 0)
    ended = {"signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, "seconds": time.monotonic() - begun}
    code, changed = json.loads(told) if told else (None, [])
    return {**ended, "code": code, "events": changed, "error": Path(root, "error.txt").read_text(encoding="utf-8")}


def main() -> None:
    # What is imported late and compiled on first use is the larger part of a short run.
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, contextlib.redirect_stderr(nothing):
        tune.main("tiny")
    for path in Path().glob("optuna.journal*"):
        path.unlink()
    for folder in (".state", "results"):
        shutil.rmtree(folder)
    for line in sys.stdin:
        print(json.dumps(answer(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
