"""A whole small study in this process, with what it trains; and a process whose copies each do one, and may be killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self
from unittest import mock

from pipeline.engine.names import kept_name
from pipeline.runs import dealing, obtain
from pipeline.runs.store import Store
from pipeline.stages import check, confirm, dataset, sweep, train, tune
from tests.search import helpers

SCHEDULERS = {
    "StepLR": "{args: {step_size: 50%}}",
    "REX": "{args: {final: 0%}}",
    "Free": "{name: ScheduleFree}",
    "Plateau": "{name: ReduceLROnPlateau, args: {patience: 0}}",
}
PROBLEMS = {"first": "name: SGD, lr: 0.5", "second": "name: AdamW, lr: 0.05"}


@dataclass(frozen=True)
class Config:
    """What a params.yaml may say."""

    schedulers: tuple[str, ...] = ("StepLR", "Free")
    seeds: int | str = 2
    trials: int = 2
    epochs: int = 3
    budgets: tuple[str, ...] = ("50%",)
    points: int = 2
    problems: tuple[str, ...] = ("first",)

    def write(self) -> None:
        """Into the working directory."""
        lines = [f"device: cpu\nseeds: {self.seeds}\nproblems:"]
        for name in self.problems:
            data = "{name: synthetic, train: 24, validation: 12, test: 12, features: 3}"
            lines += [f"  {name}:", f"    dataset: {data}", "    model: {name: linear}"]
            lines += [f"    optimizer: {{{PROBLEMS[name]}}}", f"    epochs: {self.epochs}", "    batch_size: 12"]
        lines += ["schedulers:", "  ConstantLR: {args: {factor: 1.0}}"]
        lines += [f"  {label}: {SCHEDULERS[label]}" for label in self.schedulers]
        lines += [f"tune: {{trials: {self.trials}, batch: 2, sampler: tpe, lr: {{low: 10%, high: 1000%}}}}"]
        lines += [f"sweep: {{points: {self.points}, budgets: [{', '.join(self.budgets)}]}}"]
        lines += ["report: {every: 1, baseline: ConstantLR}"]
        Path("params.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Config":
        """One that went through JSON."""
        values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        return cls(**values)


def study(config: Config) -> None:
    """All stages but the report, as ``dvc repro`` runs them; no tracker is told."""
    config.write()
    with helpers.shown_here():
        check.main()
        for problem in config.problems:
            for stage in (dataset, train, tune, confirm, sweep):
                stage.main(problem)


def written(root: Path) -> dict[str, bytes]:
    """All bytes under ``results/`` and ``data/``."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("results", "data")
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


@contextlib.contextmanager
def watched(note: Callable[[str, str], None]) -> Iterator[None]:
    """In the block, ``note`` is given each run that is trained and then kept, by its name and how much of it is wanted.

    It is given ``began``, ``kept``, or ``weights`` where a run is trained again for its weights.
    """
    keep = Store.keep

    def trained(problem: Any, runs: Any, wanted: Any, device: Any, *rest: Any, search: bool = False) -> Any:
        is_for_weights = sys._getframe(1).f_code.co_name == "weights"
        for place in wanted:
            how = "search" if search else "whole"
            note("weights" if is_for_weights else "began", f"{kept_name(problem, runs[place], device)} {how}")
        return dealing.trained(problem, runs, wanted, device, *rest, search=search)

    def kept(store: Store, finished: Any, origin: Any) -> None:
        keep(store, finished, origin)
        for name, each in finished.items():
            note("kept", f"{name} {'whole' if each.whole else 'search'}")

    with mock.patch.object(obtain, "trained", trained), mock.patch.object(Store, "keep", kept):
        yield


Kill = tuple[Literal["after", "at"], float]


class Studies:
    """A process that has imported and compiled everything; each study is a fork of it."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        command = [sys.executable, "-m", "tests.stages.study"]
        environment = {**helpers.environment(root), "PIPELINE_EXECUTOR": "local:1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=root, env=environment, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, config: Config, *roots: Path, store: Path | None = None, kill: Kill | None = None) -> list[int]:
        """The study in each of these folders at once, over one store. Returns how each ended.

        It is killed ``after`` so many seconds, or ``at`` the so-manieth time that a run is about to be trained or was kept.

        Each writes what it trains to ``trained.txt``, and what it says to ``said.txt``.
        """
        assert self._process.stdin
        assert self._process.stdout
        asked = {"config": vars(config), "roots": list(map(str, roots)), "store": str(store or ""), "kill": kill}
        print(json.dumps(asked), file=self._process.stdin, flush=True)
        ended: list[int] = json.loads(self._process.stdout.readline())
        return ended


def _child(config: Config, root: str, store: str, kill_at: float) -> None:
    os.chdir(root)
    for stream in (1, 2):
        os.dup2(os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ["DVC_ROOT"] = store or root
    log = os.open("trained.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    noted = 0

    def note(event: str, run: str) -> None:
        os.write(log, f"{event} {run}\n".encode())
        nonlocal noted
        noted += 1
        if noted == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    with watched(note):
        study(config)


def _forked(config: Config, root: str, store: str, kill_at: float) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            _child(config, root, store, kill_at)
            code = 0
        except BaseException:  # noqa: BLE001  # it is told
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def _serve() -> None:
    study(Config())
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        config, (how, when) = Config.of(asked["config"]), asked["kill"] or ("never", 0)
        pids = [_forked(config, root, asked["store"], when if how == "at" else 0) for root in asked["roots"]]
        if how == "after":
            time.sleep(when)
            for pid in pids:
                helpers.kill_family(pid)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)


if __name__ == "__main__":
    _serve()
