"""A problem that is a training script of the user's own: what it is made of, and what its runs are asked for."""

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.optim import Optimizer

from pipeline.config.components import Component
from pipeline.config.errors import PipelineError
from pipeline.config.fingerprints import fingerprint, stream
from pipeline.config.params import Params, placed_in
from pipeline.config.problem_params import ITS_OWN, Script, ScriptParams
from pipeline.config.schedules import Schedule
from pipeline.config.units import share_of
from pipeline.config.wording import as_yaml
from pipeline.problems.optimizers import optimizers
from pipeline.problems.problem import Problem, directed
from pipeline.problems.run import Run
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import Budget, NewOptimizer, Replay, ScheduleError, resolve, trace

INPUTS = Path("inputs")
"""Where scripts and what they read lie; DVC watches it."""
SEEDS = 2**31
"""Below it, every library takes a seed."""


class ScriptError(PipelineError):
    """A run of a script that came to nothing; says where, why, and what the script said last."""

    is_of_all = False
    """Whether no run of the script can be any better: it is used wrongly."""
    is_from_outside = False
    """Whether it came to nothing for a reason that says nothing of it: it was killed, or memory, a disk or a network failed."""


@dataclass(frozen=True)
class Made:
    """What a script's runs follow from beside their parameters, and what a probe of it told.

    ``parts`` are the digests of its files and the versions of what it imports, by name.
    """

    name: str
    parts: Mapping[str, str]
    steps_per_epoch: int
    optimizer: Component
    figures: tuple[str, ...]
    shares: tuple[float, ...] = ()
    """The ratios of its parameter groups' rates to the peak rate."""
    others: Mapping[str, Any] = field(default_factory=dict)
    """The peak rate of the probe, ``lr``, and the ``rates`` of the groups of each other optimizer in it, at its first step."""

    def table(self) -> pd.DataFrame:
        """As ``data/P.parquet`` holds it."""
        told = {"steps_per_epoch": self.steps_per_epoch, "figures": list(self.figures), "shares": list(self.shares)}
        told["others"] = dict(self.others)
        told["optimizer"] = {"name": self.optimizer.name, "args": dict(self.optimizer.args)}
        table = pd.DataFrame({"part": list(self.parts), "version": list(self.parts.values())})
        table.attrs["script"] = told
        return table

    @classmethod
    def of(cls, name: str, table: pd.DataFrame) -> "Made":
        """What :meth:`table` gave."""
        told = table.attrs["script"]
        parts = dict(zip(table["part"], table["version"], strict=True))
        optimizer, others = Component(**told["optimizer"]), told.get("others", {})
        return cls(name, parts, told["steps_per_epoch"], optimizer, tuple(told["figures"]), tuple(told["shares"]), others)

    @cached_property
    def digest(self) -> str:
        """A name for all of it."""
        return fingerprint(self.name, dict(self.parts), self.steps_per_epoch, self.optimizer.name, dict(self.optimizer.args))


@dataclass(frozen=True, eq=False)
class ScriptProblem(Problem):
    """A problem whose runs are processes of a script, behind the members that searches, tables and reports go by."""

    data: Made  # type: ignore[assignment]  # the script has the samples
    params: ScriptParams
    has_samples = False

    @classmethod
    def of(cls, data: Made, params: ScriptParams, schedules: Mapping[str, Schedule]) -> "ScriptProblem":  # type: ignore[override]
        """The problem, with schedules that know which way the metric they watch is better."""
        more = params.metric.higher_is_better
        return cls(data, params, {label: directed(schedule, more) for label, schedule in schedules.items()})

    @property
    def metric_name(self) -> str:
        """What the script's metric is called."""
        return self.params.metric.name

    @property
    def overlap(self) -> dict[str, float]:
        """What two seeds' splits have in common, as params.yaml says: the script draws them."""
        said = self.params.script.overlap
        return dict.fromkeys(("validation", "test"), 0.0 if said is None else share_of(said))

    def budget(self, epochs: int | None = None) -> Budget:
        """A run's length in epochs and optimizer steps."""
        return Budget(epochs or self.params.epochs, self.data.steps_per_epoch)

    @cached_property
    def fingerprint(self) -> str:
        """A name for all that runs have in common."""
        script = self.params.script.model_dump(exclude={"timeout", "inputs", "overlap"})
        return fingerprint(self.name, self.data.digest, script, self.lr, self.params.resample)

    def split(self, seed: int) -> int:
        """The number of a seed's split."""
        return seed if self.params.resample else 0

    def fingerprint_of(self, schedule: Schedule, seed: int) -> str:
        """A name for all that the numbers of such a run follow from, the schedule's arguments and the budget apart."""
        return f"{self.fingerprint} {self.split(seed)} {self.code_of(schedule)}".rstrip()

    def optimizer_of(self, schedule: Schedule) -> Component:
        """The script's own, as the probe found it."""
        if schedulers[schedule.name].schedule_free:
            raise ScheduleError(f"brings an optimizer of its own, and {self.params.script.path} has one already", "name")
        return self.data.optimizer

    def optimizers_for(self, schedule: Schedule) -> NewOptimizer:
        """Builds a stand-in for the script's optimizer, which a schedule is followed on."""
        self.optimizer_of(schedule)
        return stand_in(self.data.optimizer.args)

    def asked(self, run: Run, device: torch.device, *, search: bool) -> dict[str, Any]:
        """What a process is told of its run, where it is to write apart."""
        budget, lr = self.budget(run.epochs), resolve(run.schedule, self.lr, self.budget(run.epochs)).lr
        asked = {
            "problem": self.name, "label": run.label, "number": run.seed,
            "seed": stream("script", self.name, run.stream, run.seed) % SEEDS,
            "split": self.split(run.seed), "epochs": run.epochs, "lr": lr, "device": str(device), "search": search,
            "at": run.at, "args": self.params.script.args, "steps_per_epoch": self.data.steps_per_epoch,
            "schedule": run.schedule.model_dump(mode="json"), "base_lr": self.lr, "shares": list(self.data.shares),
            "others": dict(self.data.others),
        }  # fmt: skip
        if schedulers[run.schedule.name].live:
            return asked
        found = trace(run.schedule, self.optimizers_for(run.schedule), self.lr, budget)
        moves = np.ptp(found.momentum) > 0 or found.momentum[0] != momentum_in(self.data.optimizer.args)
        return {**asked, "rates": found.lr.tolist(), **({"momenta": found.momentum.tolist()} if moves else {})}

    def refuse_changes(self) -> None:
        """Raise where the script is another one than the one that was looked at: its runs have other names."""
        now = digests(self.name, self.params.script.model_copy(update={"inputs": []}))
        if changed := [part for part, digest in now.items() if self.data.parts.get(part) != digest]:
            raise changed_error(self.name, self.params.script, changed)


def placed(problem: str, script: Script, wrong: str, right: str) -> str:
    """A line about a problem's script, with its place in params.yaml."""
    return str(placed_in([(("problems", problem, "script"), script.path, wrong, right)]))


def changed_error(problem: str, script: Script, changed: Sequence[str]) -> ScriptError:
    """It says how the script's results begin anew."""
    wrong = f"has changed since it was tried out ({', '.join(changed)})"
    error = ScriptError(placed(problem, script, wrong, "`dvc repro` begins its results anew"))
    error.is_of_all = True
    return error


def momentum_in(args: Mapping[str, Any]) -> float:
    """The momentum of an optimizer with these arguments, as a schedule may move it."""
    betas = args.get("betas") or (0.0,)
    return float(args.get("momentum", betas[0]))


class StandIn(Optimizer):
    """Trains nothing: it has the parameter groups that a schedule is followed on."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Nothing."""


def stand_in(args: Mapping[str, Any]) -> NewOptimizer:
    """Builds an optimizer that has these arguments and trains nothing."""

    def build(parameters: list[torch.Tensor], lr: float) -> Optimizer:
        return StandIn(parameters, {**args, "lr": lr})

    return build


def followed(
    asked: Mapping[str, Any], optimizer: Mapping[str, Any], steps_per_epoch: int
) -> tuple[list[float], list[float], Replay | None]:
    """Rates and momenta of a run's schedule in the script's own process; a replay of one that reacts to a figure."""
    schedule, budget = Schedule.model_validate(asked["schedule"]), Budget(asked["epochs"], steps_per_epoch)
    new = stand_in(optimizer["args"])
    if schedulers[schedule.name].live:
        return [], [], Replay(schedule, new, asked["base_lr"], budget)
    found = trace(schedule, new, asked["base_lr"], budget)
    return found.lr.tolist(), found.momentum.tolist(), None


def by_hand(params: Params, script: Path) -> dict[str, Any]:
    """What a script that is started by hand is to do: its problem at the baseline's schedule; nothing where it is of none."""
    place = script.resolve()
    for name, problem in params.problems.items():
        if isinstance(problem, ScriptParams) and (INPUTS / problem.script.path).resolve() == place:
            label = params.report.baseline
            schedule, lr = params.schedules(name)[label], float(problem.optimizer.args["lr"])
            peak = resolve(schedule, lr, Budget(problem.epochs, problem.script.steps_per_epoch or 1_000_000)).lr
            return {
                "problem": name, "label": label, "epochs": problem.epochs, "lr": peak, "base_lr": lr,
                "args": problem.script.args, "schedule": schedule.model_dump(mode="json"),
            }  # fmt: skip
    return {}


# What a script is made of


Mistake = tuple[tuple[str, ...], Any, str, str]
"""Place in params.yaml, what is given there, what is wrong with it, what would be right."""


def digests(problem: str, script: Script) -> dict[str, str]:
    """A digest for the script, for each module of its own that it imports, and for each of its inputs."""
    path = INPUTS / script.path
    mistakes: list[Mistake] = []
    for key, place in [("path", script.path), *(("inputs", each) for each in script.inputs)]:
        if not (INPUTS / place).exists():
            loc = ("problems", problem, "script", key)
            mistakes.append((loc, place, f"is not there: {(INPUTS / place).as_posix()}", "put it there, or correct its path"))
    mistakes += _launched_twice(problem, script)
    if mistakes:
        raise placed_in(mistakes)
    files = _sources(path, of_packages=bool(script.module)) if path.suffix == ".py" else [path]
    found = {file.relative_to(INPUTS).as_posix(): _digest(file) for file in files}
    return found | {each: _digest(INPUTS / each) for each in script.inputs}


def _launched_twice(problem: str, script: Script) -> Iterator[Mistake]:
    """A launcher that names the script, or a module under ``inputs/``, in place of which stands what is added behind it."""
    words = script.launcher or []
    for number, word in enumerate(words):
        names = [f"{word.replace('.', '/')}{end}" for end in (".py", "/__main__.py")] * ("-m" in words[number - 1 : number])
        path = next((name for name in names if (INPUTS / name).is_file()), "")
        if path or word in (script.path, (INPUTS / script.path).as_posix()):
            right = f"write `launcher: {as_yaml(words[:number])}` and `path: {path}`" if path else f"leave {word} out"
            wrong = f"starts {word}, and hands the script's path to that: it is added behind the launcher"
            yield ("problems", problem, "script", "launcher"), words, wrong, right


def _digest(place: Path) -> str:
    """Of a file, or of all files in a folder and their names."""
    if place.is_file():
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    inside = sorted(file for file in place.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return fingerprint([(file.relative_to(place).as_posix(), _digest(file)) for file in inside])


def _sources(script: Path, *, of_packages: bool) -> list[Path]:
    """The script, and the modules beside it that it and they import, wherever in a file that is.

    So are those above it, up to ``inputs/``: many a script in a folder of its own adds the one above to Python's path. As a
    module it is a part ``of_packages`` that are imported before it.
    """
    found: dict[Path, None] = {}
    roots = [script.parent, *(folder for folder in script.parent.parents if folder.is_relative_to(INPUTS))]
    ahead = [script, *(file for root in roots if of_packages and (file := root / "__init__.py").is_file())]
    while ahead:
        file = ahead.pop()
        if file not in found:
            found[file] = None
            ahead += [each for name in _imports(file) for root in roots for each in _own(root, file.parent, name)]
    return sorted(found)


def _imports(file: Path) -> Iterator[str]:
    """The modules that a file imports, and what it imports from them; relative ones with their dots."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # whoever starts it tells of it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{(module.rstrip('.') and module + '.') or module}{alias.name}" for alias in node.names)


ASKS = re.compile(rb"pipeline\.trial|pipeline import trial|PIPELINE_TRIAL")
"""What a script in Python holds, or a module of its own, that asks which run it is to do."""


def refuse_deaf(problem: str, script: Script, parts: Iterable[str]) -> None:
    """Raise where nothing in a script asks for its run, or ends it: it would train to the end before anybody told."""
    if not script.path.endswith(".py"):
        return
    places = [INPUTS / part for part in parts]
    files = (file for place in places for file in (place, *place.rglob("*.py")) if file.suffix == ".py" and file.is_file())
    text = b"\n".join(file.read_bytes() for file in files)
    neither = "neither it nor a module of its own has"
    right = "if another file does, name it in script.inputs"
    if not ASKS.search(text):
        wrong = f"does not ask which run it is to do: {neither} `from pipeline.trial import trial`"
        raise ScriptError(placed(problem, script, wrong, f"let it take its rates from there (docs/own-training.md); {right}"))
    if b"finish" not in text:
        wrong = f"never ends its run: {neither} `trial.finish(…)`"
        raise ScriptError(placed(problem, script, wrong, f"call it once, behind the last epoch; {right}"))


def texts_in(file: Path) -> Iterator[str]:
    """The texts in a module of Python; of one that is none, nothing."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isprintable():
            yield node.value[:200]


def _own(root: Path, folder: Path, name: str) -> Iterator[Path]:
    """The files of a module below a folder of the script's, those of the packages it stands in too."""
    dots = len(name) - len(name.lstrip("."))
    start = [folder, *folder.parents][dots - 1] if dots else root
    place = start
    for part in filter(None, name[dots:].split(".")):
        place /= part
        yield from (file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file())


def told_optimizer(start: Mapping[str, Any], lr: float) -> Component:
    """The optimizer that a probe found: by its name here, with the arguments that are known here, where there is one."""
    told = start.get("optimizer")
    if not told:
        return Component(ITS_OWN, {"lr": lr})
    args = {**told["args"], "lr": lr}
    known = next((entry for entry in optimizers if entry.name == told["name"]), None)
    if known is not None:
        args = {key: value for key, value in args.items() if key in known.arguments.model_fields}
    return Component(told["name"], args)
