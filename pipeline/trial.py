"""The run that a training script of the user's own is to do: ``from pipeline.trial import trial``.

Started by the pipeline, it is one run of a study, asked for in the JSON file that ``PIPELINE_TRIAL`` names, by the protocol in
docs/own-training.md. Started by hand, it is the problem of params.yaml with this script, at the baseline's schedule. Nothing
but torch is imported; the pipeline itself only where a schedule has to be followed in this process.
"""

import difflib
import json
import math
import multiprocessing
import os
import sys
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import register_optimizer_step_pre_hook

from pipeline.config.checkpoints import Checkpoint
from pipeline.config.protocol import CHECKPOINT, FIGURES, VARIABLE
from pipeline.config.states import States, generators, has_state, load, others_than, set_generators, state_of, trained

NEEDED = FIGURES[:2]
PROBE_STEPS = 5
"""Optimizer steps that a probe waits for at least; then it ends with the first epoch, or after ``PROBE_SECONDS``."""
PROBE_SECONDS = 10.0
HEARTBEAT = 1.0
"""Seconds after which a step is a new sign of life."""
SAVING = 0.01
"""Share of the time that checkpoints may take."""


class TrialError(RuntimeError):
    """The script uses its trial in a way that makes no run of a study; says what to do instead."""


class Trial:
    """One run: what is asked for, the schedule to train by, and what is told of it."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._scheduler: Scheduler | None = None
        self._epoch = 0
        self._step_times: list[float] = []
        self._beat = -math.inf
        self._opened: set[str] = set()
        self._is_seed_read = self._is_folder_asked = False
        self._stepped = weakref.WeakSet[Optimizer]()
        """The other optimizers, as long as they are there; and their rates at their first steps, in the order of these."""
        self._rates: list[list[float]] = []
        self._states: States | None = None
        if VARIABLE in os.environ and self._asked.get("probe"):
            sys.addaudithook(self._hear)

    @cached_property
    def _asked(self) -> Mapping[str, Any]:
        if path := os.environ.get(VARIABLE):
            asked: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
            return asked
        return _by_hand()

    @property
    def seed(self) -> int:
        """What to seed every generator with: initial weights and data order are the same for all schedulers."""
        self._is_seed_read = True
        return int(self._asked["seed"])

    @property
    def split(self) -> int:
        """The number of the split of the data: the same for all seeds, unless params.yaml says ``resample: true``."""
        return int(self._asked["split"])

    @property
    def budget(self) -> int:
        """The run's epochs."""
        return int(self._asked["epochs"])

    @property
    def lr(self) -> float:
        """The peak rate, to build the optimizer with; a group with a rate of its own keeps its ratio to it."""
        return float(self._asked["lr"])

    @property
    def device(self) -> str:
        """Where to train, as torch names it."""
        device = str(self._asked["device"])
        return device if device != "auto" else "cuda:0" if torch.cuda.is_available() else "cpu"

    @property
    def args(self) -> Any:
        """``script.args`` of params.yaml, a mapping or a list; they are on the command line, too."""
        return self._asked["args"]

    @property
    def at(self) -> str:
        """Of which epoch the test figures are to be: ``last``, or ``best``, that of the lowest validation loss reported."""
        return str(self._asked.get("at", "last"))

    @property
    def is_search(self) -> bool:
        """Whether the run only serves to choose a configuration: nobody looks at its test figures."""
        return bool(self._asked.get("search"))

    @property
    def folder(self) -> Path:
        """A folder of the run's own, for a framework's checkpoints; it is removed once the run is kept."""
        self._is_folder_asked = True
        return Path(self._asked.get("folder") or Path.cwd())

    def scheduler(self, optimizer: Optimizer, steps_per_epoch: int) -> "Scheduler":
        """The run's schedule on the script's optimizer: step it behind every optimizer step, whatever the schedule is."""
        if self._scheduler is not None:
            raise self.wrong(
                "trial.scheduler is asked for twice; build optimizer and scheduler once in a run, and give a second optimizer "
                '(a GAN\'s) its rate by hand, group["lr"] = ratio * scheduler.get_last_lr()[0], behind each scheduler.step()'
            )
        if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself finds it out
            raise self.wrong(
                "a worker that the script starts (spawn, forkserver) imports the script, and would train, too; put all but "
                'imports, functions and classes under `if __name__ == "__main__":`'
            )
        steps = self._number("steps_per_epoch", steps_per_epoch)
        if not 1 <= steps < math.inf or steps % 1:
            raise self.wrong(
                f"trial.scheduler is told of {steps_per_epoch} steps in an epoch, and that is no number of them from 1 up; "
                "tell how many optimizer steps an epoch has: len(loader), or len(loader) // k where k batches make a step, or "
                "Lightning's trainer.estimated_stepping_batches // trainer.max_epochs"
            )
        known = self._asked.get("steps_per_epoch")
        if known and steps_per_epoch != known:
            raise self.wrong(
                f"trial.scheduler is told of {steps_per_epoch} steps in an epoch, and of {known} when it was tried out; "
                "let their number hang on nothing that differs from run to run"
            )
        self._scheduler = Scheduler(self, optimizer, int(steps_per_epoch), self._asked)
        self._tell({"start": self._scheduler.described()})
        reference = weakref.ref(self)  # torch keeps the hook for ever, which shall not keep this trial

        def follow(other: Optimizer, *_: Any) -> None:
            if trial := reference():
                trial._before_another_steps(other)

        register_optimizer_step_pre_hook(follow)
        return self._scheduler

    def epochs(self, **parts: Any) -> Iterator[int]:
        """The run's epochs, from 0; ``parts`` (model, optimizer, scheduler, all that has a state) are kept at their ends.

        Started again, the run goes on behind the last one that was kept.
        """
        for name, part in parts.items():
            if not has_state(part):
                raise self.wrong(
                    f"trial.epochs is handed {name}, a {type(part).__name__}, which lacks state_dict or load_state_dict; write "
                    "both, or hand over a dictionary or list of what changes in it"
                )
        if self._scheduler is not None:
            parts = {**parts, "scheduler": self._scheduler}
        self._restore(parts)
        if "lines" in self._asked:
            self._states = States(parts)
        while self._epoch < self.budget:
            epoch = self._epoch
            yield epoch
            if self._epoch != epoch + 1:
                raise self.wrong(f"epoch {epoch + 1} ended without its figures; call trial.report(…) once, at its end")
            if self._asked.get("probe"):
                self._end_probe()
            self._save(parts)

    def report(self, **figures: Any) -> None:
        """The figures of the epoch that ended: ``train_loss``, ``validation_loss`` and perhaps ``validation_metric``."""
        if unknown := sorted(figures.keys() - {*FIGURES}):
            raise self.wrong(f"trial.report takes {', '.join(FIGURES)}, and no {unknown[0]}; {_near(unknown[0], FIGURES)}")
        if missing := [name for name in NEEDED if name not in figures]:
            raise self.wrong(f"trial.report lacks {' and '.join(missing)}; every epoch needs {' and '.join(NEEDED)}")
        if self._epoch == self.budget:
            told = f"trial.report is called once more than the run has epochs ({self.budget})"
            raise self.wrong(f"{told}; train for trial.budget epochs, and report each once, at its end")
        if self._scheduler is None:
            raise self.wrong(
                "trial.report is called, and trial.scheduler was not, so that nothing trains by the schedule; call "
                "trial.scheduler(optimizer, steps_per_epoch) once and step it behind every optimizer.step(); a script without "
                "torch's optimizers takes its rates from the file that PIPELINE_TRIAL names (docs/own-training.md)"
            )
        values = {name: self._number(name, value) for name, value in figures.items()}
        self._epoch += 1
        used = self._scheduler.end_epoch(self._epoch, values)
        self._tell({"epoch": self._epoch, **used, **values})
        if self._asked.get("probe") and self._states is None:  # trial.epochs sees what the script does behind it
            self._end_probe()

    def finish(self, **figures: Any) -> None:
        """The run is done; ``test_loss`` and ``test_metric`` are shown once, and enter no choice."""
        if unknown := sorted(figures.keys() - {"test_loss", "test_metric"}):
            right = _near(unknown[0], ("test_loss", "test_metric"))
            raise self.wrong(f"trial.finish takes test_loss and test_metric, and no {unknown[0]}; {right}")
        if self._epoch != self.budget:
            told = f"trial.finish is called after reports of {self._epoch} of {self.budget} epochs"
            right = (
                "call trial.report(…) at the end of each of trial.budget epochs, and take early stopping out: "
                "`report: {at: best}` in params.yaml takes the best epoch; a run that is lost may end by sys.exit('diverged')"
            )
            raise self.wrong(f"{told}; {right}")
        self._tell({"finish": {name: self._number(name, value) for name, value in figures.items()}})

    # What frameworks' checkpoints and the scheduler need

    def state(self) -> dict[str, Any]:
        """What is told of the run so far, to go on from; a scheduler's ``state_dict`` holds it."""
        return {"epoch": self._epoch, "lines": list(self._lines)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._epoch, self._lines = int(state["epoch"]), [str(line) for line in state["lines"]]
        self._write("w", *self._lines)

    def wrong(self, message: str) -> TrialError:
        """The error, which is told to the pipeline as well."""
        self._tell({"wrong": message})
        return TrialError(message)

    def alive(self) -> None:
        """An optimizer step is made: a sign of life, and perhaps the last that a probe waits for."""
        now = time.time()
        if self._asked.get("probe"):
            self._step_times.append(now)
            if len(self._step_times) > PROBE_STEPS and now - self._step_times[0] > PROBE_SECONDS:
                self._end_probe()
        elif now - self._beat > HEARTBEAT and "lines" in self._asked:
            self._beat = now
            os.utime(self._asked["lines"])

    def _before_another_steps(self, optimizer: Optimizer) -> None:
        """Its first step: a rate that it had when it was tried out, too, does not go by trial.lr."""
        assert self._scheduler
        if optimizer in self._stepped or not others_than(self._scheduler.optimizer, [optimizer]):
            return
        tried = self._asked.get("others") or {"lr": self.lr, "rates": []}
        before: list[float] = next(iter(tried["rates"][len(self._rates) :]), [])
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self._stepped.add(optimizer)
        self._rates.append(rates)
        fixed = [number for number, (rate, was) in enumerate(zip(rates, before, strict=False)) if rate and _is_near(rate, was)]
        if fixed and not _is_near(self.lr, tried["lr"]):
            raise self.fixed_rates(f"the optimizer {type(optimizer).__name__}", rates, fixed)

    def fixed_rates(self, optimizer: str, rates: Sequence[float], fixed: Sequence[int]) -> TrialError:
        """The error about an optimizer of which some parameter groups (from 0) are built at rates of their own."""
        told, all_of_it = ", ".join(f"{rates[number]:g}" for number in fixed), len(fixed) == len(rates)
        groups = f"parameter group{'s' * (len(fixed) > 1)} {', '.join(str(number + 1) for number in fixed)} of "
        ratio = rates[fixed[0]] / float(self._asked.get("base_lr", self.lr))
        return self.wrong(
            f"{'' if all_of_it else groups}{optimizer} {'is' if all_of_it or len(fixed) == 1 else 'are'} built at a rate of "
            f"{told}, which does not go by trial.lr ({self.lr:g} in this run, and another when it was tried out); "
            f"build it with a multiple of that, such as lr=trial.lr{'' if _is_near(ratio, 1) else f' * {ratio:.3g}'}"
        )

    def refuse_without_seed(self) -> None:
        """Weights and the first batch are drawn now; a process that another one began may have got its seed from that."""
        if not self._is_seed_read and multiprocessing.parent_process() is None:
            raise self.wrong(
                "trial.seed is not asked for before the first optimizer step, so that seeds are none of a run's; seed every "
                "generator with it, torch.manual_seed(trial.seed), ahead of the model and the data"
            )

    def _end_probe(self) -> None:
        """What a probe is for is known: the process ends in the middle of its run."""
        files = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())} | self._opened
        opened = sorted({os.path.realpath(file) for file in files if not file.startswith((sys.prefix, sys.base_prefix))})
        found: dict[str, Any] = {"steps": self._step_times, "end": time.time(), "others": {"lr": self.lr, "rates": self._rates}}
        found["lost"] = self._lost() if self._states else [] if self._is_folder_asked else ["anything"]
        self._tell({"probe": found, "opened": opened})
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Which files are opened to be read; it is told of whatever Python does."""
        if event == "open" and isinstance(args[0], str) and not (isinstance(args[1], str) and set(args[1]) & set("wax+")):
            self._opened.add(args[0])

    def _tell(self, line: Mapping[str, Any]) -> None:
        self._lines.append(json.dumps(line) + "\n")
        self._write("a", self._lines[-1])

    def _write(self, mode: str, *lines: str) -> None:
        """Of several processes that train one run together, the first one writes."""
        if "lines" in self._asked and _is_first():
            with Path(self._asked["lines"]).open(mode, encoding="utf-8") as file:
                file.writelines(lines)

    def _number(self, name: str, value: Any) -> float:
        try:
            return float(value.detach() if isinstance(value, torch.Tensor) else value)
        except (TypeError, ValueError):
            raise self.wrong(f"{name} is {str(value)[:60]!r}, and no number; hand a number over, or a tensor of one") from None

    # Checkpoints

    @cached_property
    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.folder / CHECKPOINT, every=0.0, share=SAVING)

    @cached_property
    def _next(self) -> Checkpoint:
        """It takes the other's place once a further epoch is told: a run that goes on repeats one, and shows what it lacks."""
        place = self.folder / f"next_{CHECKPOINT}"
        place.unlink(missing_ok=True)  # of a process that was killed
        return Checkpoint(place, every=0.0, share=SAVING)

    def _save(self, parts: Mapping[str, Any]) -> None:
        """Not so often that it takes more than its share of the time, and only what nothing would be missing from."""
        if self._states is None or not _is_first():
            return
        if self._next.path.exists():
            self._next.path.replace(self._checkpoint.path)
        if not self._next.is_due:
            return
        begun = time.monotonic()
        if self._lost():
            self._states = None  # what was kept before is whole, and stays
            return
        state: dict[str, Any] = {"trial": self.state(), "parts": {name: state_of(part) for name, part in parts.items()}}
        state["gradients"] = [each.grad for each in trained(parts.values())]
        self._next.save(state | {"generators": generators()}, begun)

    def _lost(self) -> list[str]:
        """What a checkpoint would lack, by name."""
        own = [self._scheduler.optimizer] if self._scheduler else []
        return sorted(self._states.lost([*own, *self._stepped])) if self._states else []

    def _restore(self, parts: Mapping[str, Any]) -> None:
        kept = self._checkpoint.load() if "lines" in self._asked else None
        if kept is None:
            return
        if kept["parts"].keys() != parts.keys():
            held, given = (", ".join(each) for each in (kept["parts"], parts))
            raise self.wrong(f"{self._checkpoint.path} holds {held}, and trial.epochs is given {given}; delete it")
        for name, part in parts.items():
            load(part, kept["parts"][name])
        for parameter, gradient in zip(trained(parts.values()), kept["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.to(parameter)
        self.restore(kept["trial"])
        set_generators(kept["generators"])


class Scheduler(LRScheduler):
    """The rates of a run on an optimizer: stepped behind every optimizer step, whatever the schedule itself goes by.

    They are those of the real torch scheduler, followed before the run began; one that reacts to a figure is followed as the
    epochs are told. Every parameter group keeps its ratio to the peak rate.
    """

    def __init__(self, trial: Trial, optimizer: Optimizer, steps_per_epoch: int, asked: Mapping[str, Any]) -> None:
        # LRScheduler's own is left out: it would wrap the optimizer's step, and make a first one.
        self.optimizer, self.steps_per_epoch = optimizer, steps_per_epoch
        self.last_epoch = self._step_count = 0  # accelerate counts in the latter where gradients are accumulated
        self.base_lrs = [float(group["lr"]) for group in optimizer.param_groups]
        self._trial, self._asked = trial, asked
        self._shares = [float(group["lr"]) / trial.lr for group in optimizer.param_groups]
        self._refuse_fixed_rates()
        self._steps = self._between = self._singles = 0
        self._lr, self._first, self._wrong_rate = trial.lr, (math.nan, math.nan), ""
        self._is_new_epoch = True
        self._live: Any = None
        self._fed: list[dict[str, float]] = []
        self._rates, self._momenta = self._followed()
        self._apply()
        optimizer.register_step_pre_hook(self._before_step)

    def described(self) -> dict[str, Any]:
        """What a probe learns."""
        group, kind = self.optimizer.param_groups[0], type(self.optimizer)
        plain = {key: value for key, value in group.items() if key not in ("params", "initial_lr") and _is_plain(value)}
        optimizer = {"name": kind.__name__, "args": {**plain, "lr": self._trial.lr}}
        told = {"steps_per_epoch": self.steps_per_epoch, "optimizer": optimizer, "versions": _versions()}
        return {**told, "shares": self._shares}

    def step(self, *_: Any) -> None:
        """Behind every optimizer step."""
        self.last_epoch, self._between = self.last_epoch + 1, self._between + 1
        if self._between > 1 and self._steps > 2 and not self._singles:  # a step that mixed precision leaves out is no habit
            raise self._trial.wrong("scheduler.step() is called twice for an optimizer step; call it once, behind each")
        if self._live is None:
            self._apply()

    def get_last_lr(self) -> list[float | torch.Tensor]:
        """The present rate of each group."""
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule and its trial are, and the generators: Lightning's checkpoints lack them."""
        where = {"last_epoch": self.last_epoch, "steps": self._steps, "fed": self._fed}
        return {**where, "trial": self._trial.state(), "generators": generators()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there, the trial too."""
        self.last_epoch, self._steps = int(state_dict["last_epoch"]), int(state_dict["steps"])
        self._between, self._is_new_epoch = 1, True
        self._trial.restore(state_dict["trial"])
        for figures in state_dict["fed"]:
            self._feed(figures)
        self._apply()
        set_generators(state_dict["generators"])

    def end_epoch(self, epoch: int, figures: Mapping[str, float]) -> dict[str, float]:
        """Rate and momentum of the epoch's first step; raises where it was not trained by the schedule."""
        self._refuse_wrong_use(epoch)
        lr, momentum = self._first
        self._is_new_epoch = True
        if self._live is not None:
            self._feed(figures)
            self._apply()
        return {"lr": lr, "momentum": momentum}

    def _refuse_fixed_rates(self) -> None:
        """Were the groups at other ratios to trial.lr when the script was tried out, they do not go by it."""
        if not any(self._shares):
            raise self._trial.wrong("the optimizer is built at a rate of 0, and would train nothing; build it with lr=trial.lr")
        tried = self._asked.get("shares") or []
        if len(tried) == len(self._shares):
            fixed = [number for number, share in enumerate(self._shares) if not _is_near(share, tried[number])]
            if fixed:
                raise self._trial.fixed_rates("the optimizer", [float(rate) for rate in self.base_lrs], fixed)

    def _refuse_wrong_use(self, epoch: int) -> None:
        wrong, made = "", self.last_epoch - (epoch - 1) * self.steps_per_epoch
        if self._is_new_epoch:
            wrong = (
                f"in epoch {epoch} the optimizer of trial.scheduler made no step; hand the one over that trains, and call "
                "trial.report(…) once an epoch"
            )
        elif self._wrong_rate:
            wrong = self._wrong_rate
        elif hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):  # as torch's own leave it; they may move the rate much later
            wrong = "a second scheduler is built on the optimizer of trial.scheduler, whose rates it would change; leave it out"
        elif not self._between:
            wrong = "scheduler.step() is called before optimizer.step(), or not at all behind the last; call it behind each"
        elif made == self.steps_per_epoch + 1 and self._between > 1:
            wrong = (
                f"scheduler.step() is called once more at epoch {epoch}'s end, behind no optimizer step; leave that one out: "
                "it is due behind every optimizer.step(), and nowhere else"
            )
        elif made != self.steps_per_epoch:
            wrong = (
                f"epoch {epoch} had {made} scheduler steps, and trial.scheduler was told of {self.steps_per_epoch}; "
                "call scheduler.step() once behind every optimizer.step(), and tell the number of these in an epoch"
            )
        if wrong:
            raise self._trial.wrong(wrong)

    def _before_step(self, optimizer: Optimizer, *_: Any) -> None:
        """Before every optimizer step: was the scheduler stepped since the last, and is the rate its own?"""
        if (self._steps and not self._between) or (not self._steps and self._between and self._trial.device == "cpu"):
            when = "not called behind" if self._steps else "called before"
            told = f"scheduler.step() is {when} the {'last' if self._steps else 'first'} optimizer step"
            raise self._trial.wrong(
                f"{told}; call it once behind every optimizer.step(), batch by batch, whatever the schedule is (in Lightning, "
                '"interval": "step")'
            )
        if not self._steps:
            self._trial.refuse_without_seed()
        self._singles += self._steps > 0 and self._between == 1
        self._steps, self._between = self._steps + 1, 0
        self._join()
        group: dict[str, Any] = optimizer.param_groups[0]
        for number, share in enumerate(self._shares):
            used, own = float(optimizer.param_groups[number]["lr"]), self._lr * share
            if not _is_near(used, own) and not self._wrong_rate:
                of = f" of parameter group {number + 1}" if number else ""
                self._wrong_rate = (
                    f"optimizer step {self._steps} was made at a rate{of} of {used:g}, and the schedule's is {own:g}; "
                    "let nothing but trial.scheduler set it"
                )
        if self._is_new_epoch:
            self._is_new_epoch = False
            self._first = self._lr, float(group.get("momentum", (group.get("betas") or (0.0,))[0]))
        self._trial.alive()

    def _join(self) -> None:
        """Groups that were added meanwhile (layers that are unfrozen): from now on they keep their ratio to the peak rate."""
        new = self.optimizer.param_groups[len(self._shares) :]
        self.base_lrs += [float(group["lr"]) for group in new]
        self._shares += [float(group["lr"]) / self._trial.lr for group in new]
        if new:
            self._apply()

    def _followed(self) -> tuple[list[float], list[float]]:
        """Rates and momenta step by step: as the pipeline hands them over, or as they are followed here."""
        asked = self._asked
        if "rates" in asked or "schedule" not in asked:
            return asked.get("rates", []), asked.get("momenta", [])
        import pipeline.catalogue  # noqa: F401  # the user's own schedulers, too
        from pipeline.problems.scripts import followed

        rates, momenta, self._live = followed(asked, self.described()["optimizer"], self.steps_per_epoch)
        return rates, momenta

    def _feed(self, figures: Mapping[str, float]) -> None:
        """Step a schedule that reacts to a figure of the epoch."""
        from pipeline.schedulers.replay import advance

        watched = self._live.monitor
        if watched not in figures:
            raise self._trial.wrong(f"trial.report gives no {watched}, which {self._asked['label']} goes by; report it, too")
        self._fed.append({watched: figures[watched]})
        advance(self._live, self._asked["schedule"]["name"], figures[watched])

    def _apply(self) -> None:
        """The rate of the next step, and the momentum where the schedule moves it, to every group that has joined."""
        momentum: float | None = None
        if self._live is not None:
            self._lr, momentum = self._live.now
        elif self._rates:
            now = min(self.last_epoch, len(self._rates) - 1)
            self._lr, momentum = self._rates[now], self._momenta[now] if self._momenta else None
        for group, share in zip(self.optimizer.param_groups, self._shares, strict=False):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(self._lr * share)
            else:
                group["lr"] = self._lr * share
            if momentum is not None and "momentum" in group:
                group["momentum"] = momentum
            elif momentum is not None and "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
        self._last_lr = self.get_last_lr()


def _by_hand() -> dict[str, Any]:
    """The problem of params.yaml with this script, at the baseline's schedule; plain defaults where there is none."""
    asked = {"seed": 0, "split": 0, "epochs": 1, "lr": 1e-3, "device": "cpu", "args": {}}
    found, why = {}, "there is no params.yaml here"
    if Path("params.yaml").exists():
        try:
            from pipeline.catalogue import CATALOGUE
            from pipeline.config.params import load_params
            from pipeline.problems.scripts import by_hand
        except ImportError as error:
            why = f"params.yaml cannot be read ({error})"
        else:
            found, why = by_hand(load_params(CATALOGUE), Path(sys.argv[0])), "no problem in params.yaml has this script"
    said = f"problem {found['problem']}, {found['label']}" if found else f"a constant rate, for {why}"
    asked |= found
    told = f"{said}: seed {asked['seed']}, peak rate {asked['lr']:g}, epochs: {asked['epochs']}; nothing is kept"
    print(f"trial: started by hand, as {told}", file=sys.stderr)
    return asked


def _near(given: str, known: Sequence[str]) -> str:
    """What to write in place of a figure's name that is not known."""
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {near[0]}?" if near else f"leave that out, or call it {known[-1]} where it is a metric"


def _is_near(rate: float, other: float) -> bool:
    return abs(rate - other) <= 1e-6 * abs(other)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _is_plain(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | None) or (
        isinstance(value, list | tuple) and all(map(_is_plain, value))
    )


def _versions() -> dict[str, str]:
    """Of every package that is imported."""
    loaded = {name: vars(module).get("__version__") for name, module in list(sys.modules.items()) if "." not in name}
    known = {name: str(version) for name, version in loaded.items() if version and name not in sys.stdlib_module_names}
    return dict(sorted(known.items()))


trial = Trial()
"""The run of this process."""
