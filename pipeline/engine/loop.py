"""One run exactly as a PyTorch user writes it: real model, real optimizer, real scheduler.

The reference that the stacked engine is tested against, and what trains the runs that cannot be stacked.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from pipeline.config.arrays import Floats
from pipeline.config.checkpoints import Checkpoint
from pipeline.config.fingerprints import stream
from pipeline.config.problem_params import Clipping
from pipeline.engine.averaging import Evaluated
from pipeline.engine.beginning import Beginning, beginning, mean_loss
from pipeline.engine.best import BestEpochs
from pipeline.engine.compiling import compiled
from pipeline.engine.drawing import Draws, draws_by_functions
from pipeline.engine.stacked import on_device
from pipeline.problems.chance import Chance, as_arrays, as_lists
from pipeline.problems.dropout import drawn, draws_of
from pipeline.problems.models import applied, moved
from pipeline.problems.problem import Problem
from pipeline.problems.run import Block, Outcome, Run, Training
from pipeline.schedulers.registry import VALIDATED, Monitor
from pipeline.schedulers.replay import (
    ScheduleError,
    advance,
    at_one_rate,
    build,
    each_at_its_share,
    momentum_of,
    monitored,
    rate_of,
    resolve,
)  # fmt: skip

Figures = tuple[float, float, float, float, float]
"""Of an epoch, in the order of :data:`pipeline.problems.run.CURVES`."""


def train(
    problem: Problem,
    run: Run,
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    search: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Training:
    """Train one run; yields one block per epoch and returns the outcome, with a runs axis of length 1.

    In a ``search`` only what a choice needs is evaluated, as in :func:`pipeline.engine.stacked.train`. What a ``checkpoint``
    holds of this very run is taken up, and kept as training goes on; dropping it is for whoever keeps the outcome.
    """
    script, start, told = _begun(lambda: Script(problem, run, device, dtype, search=search), checkpoint)
    yield from map(_block, told, range(1, len(told) + 1))
    held = None
    for epoch in range(len(told) + 1, run.epochs + 1):
        told.append(script.epoch())
        yield _block(told[-1], epoch)
        if checkpoint and held:
            checkpoint.save({"script": held, "told": torch.tensor(told, dtype=torch.float64)})
        is_due = checkpoint is not None and checkpoint.is_due and epoch + 1 < run.epochs
        held = deepcopy(script.state()) if is_due else None
    last = script.evaluate("test") if script.finite and not search else (np.nan, np.nan)
    (test_loss, test_metric), weights = script.best.instead_of(_column(last), script.weights())
    final = script.final_loss() if script.finite else np.nan
    finite = script.finite and bool(np.isfinite(start.loss))
    initial_loss, noise, final_loss = (np.array([figure]) for figure in (start.loss, start.noise, final))
    return Outcome(initial_loss, noise, final_loss, np.array([finite]), test_loss, test_metric, weights)


def _begun(new: Callable[[], "Script"], checkpoint: Checkpoint | None) -> tuple["Script", Beginning, list[Figures]]:
    """The script, where it began, and the figures of its epochs so far: from its checkpoint, or none.

    What is kept is believed if the epoch behind it comes out again as it did: a model or an optimizer of the user's own may
    hold what no ``state_dict`` tells.
    """
    script = new()
    start = script.beginning()
    found = checkpoint.load() if checkpoint else None
    if checkpoint and found:
        try:
            *before, last = found["told"].tolist()
            script.go_on(found["script"], before)
            if np.array_equal(script.epoch(), last, equal_nan=True):
                return script, start, [*map(tuple, before), tuple(last)]
            checkpoint.refuse("it does not lead on to what was trained behind it")
        except Exception as error:  # noqa: BLE001  # the user's own code may raise anything
            checkpoint.refuse(f"it cannot be taken up ({str(error).partition(chr(10))[0]})")
        script = new()
        start = script.beginning()
    return script, start, []


def _column(tested: tuple[float, float]) -> tuple[Floats, Floats]:
    """The figures of one run with an axis for runs."""
    return np.array([tested[0]]), np.array([tested[1]])


def _block(figures: Figures, epoch: int) -> Block:
    return Block(epoch, *(np.array([[figure]]) for figure in figures))


class Script:
    """What a PyTorch user's script holds: data, model, optimizer and scheduler of one run."""

    def __init__(self, problem: Problem, run: Run, device: torch.device, dtype: torch.dtype, *, search: bool = False) -> None:
        self._problem, self._schedule, self._epochs, self._search = problem, run.schedule, run.epochs, search
        self._done, self.finite, self.best = 0, True, BestEpochs([run.at == "best"])
        samples = problem.data.samples([run.seed])
        self._x, self._y = on_device(samples.x, device, dtype), on_device(samples.y, device, dtype)
        self._rows = {part: torch.from_numpy(rows[0]).to(device) for part, rows in samples.parts.items()}
        self._drawn = samples
        self.model = moved(problem.new_model(run.seed, run.stream), device, dtype)
        self._parameters: list[Tensor] = list(self.model.parameters())
        is_compiled = problem.params.engine == "compiled-loop"
        self._trained: Callable[[Tensor], Tensor] = compiled(self.model) if is_compiled else self.model
        average = run.schedule.average
        self._evaluated = Evaluated(self.model, average and average.in_epochs(run.epochs))
        budget = problem.budget(run.epochs)
        resolved = resolve(run.schedule, problem.lr, budget)
        self.optimizer = problem.optimizers_for(run.schedule)(self._parameters, resolved.lr)
        self._shares = at_one_rate(self.optimizer, resolved.lr)
        self._scheduler, self.monitor = build(run.schedule, self.optimizer, resolved, budget), monitored(run.schedule)
        self._order, self._draws = problem.new_order(run.seed, run.stream), problem.new_draws(run)
        self._of_draws = [buffer for _, buffer in draws_of(self.model)]
        self._draws_by_functions = not is_compiled and draws_by_functions(problem)
        self._chance = Chance(stream("chance", problem.name, run.label, run.schedule.key, run.seed, run.stream))
        self._of_evaluation = stream("evaluation", problem.name, run.seed, run.stream)

    def beginning(self) -> Beginning:
        """Where the run begins on its training part."""
        size = self._problem.params.samples_per_step
        with Chance(self._of_evaluation).used():
            return beginning(self.model, self._problem.loss, *self._samples("train"), size)

    def final_loss(self) -> float:
        """The training part's mean loss at the weights that are evaluated, to be compared with the beginning's."""
        model = self._evaluated.model(self._batches())
        _set_mode(self.optimizer, training=False)
        with Chance(self._of_evaluation).used():
            found = mean_loss(model, self._problem.loss, *self._samples("train"))
        _set_mode(self.optimizer, training=True)
        return found

    def epoch(self) -> Figures:
        """Train another epoch, and evaluate it where that is asked for; nothing more is told of a run that has diverged."""
        self._done += 1
        lr, momentum, has_ended = rate_of(self.optimizer), momentum_of(self.optimizer), not self.finite
        train_loss = self.train_epoch()
        train_loss = np.nan if has_ended else train_loss
        self.average(self._done)
        is_last = self._done == self._epochs
        is_evaluated = not has_ended and (is_last or not self._search or self.monitor in VALIDATED)
        validated = self.evaluate("validation") if is_evaluated else (np.nan, np.nan)
        self.best.take(np.array([validated[0]]), lambda: _column(self.evaluate("test")), self.weights)
        self.end_epoch(train_loss, *validated)
        self.finite = self.finite and bool(np.isfinite([train_loss, *validated[:is_evaluated]]).all())
        return lr, momentum, train_loss, *validated

    def state(self) -> dict[str, Any]:
        """All that the next epochs follow from, but the scheduler: that follows from what it was told."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self._evaluated.state(),
            "order": self._order.get_state(),
            "draws": as_lists(self._draws.bit_generator.state),
            "chance": self._chance.state(),
            "finite": self.finite,
            "best": self.best.state(),
        }

    def go_on(self, state: dict[str, Any], told: Sequence[Sequence[float]]) -> None:
        """A new script takes up another's ``state`` after the epochs of these figures."""
        steps = self._problem.budget().steps_per_epoch if self._schedule.interval == "batch" else 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's advice on a scheduler that is stepped before its optimizer
            for _, _, *figures in told:
                for _ in range(steps):
                    advance(self._scheduler, self._schedule.name)
                self.end_epoch(*figures)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if rates != [group["lr"] for group in self.optimizer.param_groups]:
            raise ScheduleError("the scheduler does not follow from its steps alone")
        self._evaluated.go_on(state["average"])
        self._order.set_state(state["order"])
        self._draws.bit_generator.state = as_arrays(state["draws"])
        self._chance.go_on(state["chance"])
        self._done, self.finite = len(told), state["finite"]
        self.best.go_on(state["best"])

    def train_epoch(self) -> float:
        """One pass over the training part; the mean loss of its samples as they were trained."""
        training, total = self._rows["train"], 0.0
        with self._chance.used():
            order = torch.randperm(len(training), generator=self._order)
            for of_step in order.split(self._problem.params.samples_per_step):  # type: ignore[no-untyped-call]
                rows = training[of_step.to(training.device)]
                batches = rows.split(self._problem.params.batch_size)  # type: ignore[no-untyped-call]
                draws = drawn(self._draws, len(batches)) if self._of_draws or self._draws_by_functions else None
                with each_at_its_share(self.optimizer, self._shares):
                    loss = self._step(partial(self._loss, batches, draws))
                self._evaluated.end_step()
                if self._schedule.interval == "batch":
                    advance(self._scheduler, self._schedule.name)
                total += loss.item() * len(rows)
        return total / len(training)

    def _step(self, closure: Callable[[], Tensor]) -> Tensor:
        """One step of the optimizer; the loss before it.

        The gradients are there as behind a plain ``loss.backward()``. A closure that the optimizer calls gives this loss, and
        computes another where weights or gradients have been changed since.
        """
        loss = closure()
        before = self._versions()

        @torch.enable_grad()
        def again() -> Tensor:
            return loss if self._versions() == before else closure()

        self.optimizer.step(again)  # type: ignore[arg-type]
        return loss

    def _versions(self) -> list[tuple[int, int | None]]:
        """Equal as long as no weight and no gradient is changed."""
        return [(each._version, None if each.grad is None else each.grad._version) for each in self._parameters]

    def _loss(self, batches: Sequence[Tensor], draws: npt.NDArray[np.int64] | None) -> Tensor:
        """The closure of the optimizer's step: loss and gradients of its batches, those of the mean over all their samples.

        ``draws`` are the random numbers that each batch's draws follow from: the same, however often an optimizer calls it.
        """
        criterion = self._problem.loss
        self.optimizer.zero_grad()
        found, total = [], criterion.count(self._y[torch.cat([*batches])]) if len(batches) > 1 else None
        for number, rows in enumerate(batches):
            with self._drawing(draws[number]) if draws is not None else nullcontext():
                outputs = self._trained(self._x[rows])
            loss = criterion.mean(outputs, self._y[rows], among=total)
            loss.backward()  # type: ignore[no-untyped-call]
            found.append(loss.detach())
        _clip(self._parameters, self._problem.params.clip)
        return torch.stack(found).sum()

    def _drawing(self, draw: npt.NDArray[np.int64]) -> AbstractContextManager[object]:
        """In the block, the model draws from these random numbers."""
        for buffer in self._of_draws:
            buffer.copy_(torch.from_numpy(draw))
        return Draws(torch.from_numpy(draw)).used() if self._draws_by_functions else nullcontext()

    def average(self, epoch: int) -> None:
        """Take the epoch's weights into a mean that goes by epochs, where one is asked for."""
        self._evaluated.end_epoch(epoch)

    def end_epoch(self, *figures: float) -> None:
        """Step a scheduler that goes by epochs, with the one of the epoch's ``figures`` that it watches, if it does."""
        if self._schedule.interval == "epoch":
            watched = [figures[get_args(Monitor).index(self.monitor)]] if self.monitor else []
            advance(self._scheduler, self._schedule.name, *watched)

    @torch.no_grad()
    def evaluate(self, part: str) -> tuple[float, float]:
        """Loss and metric of the model on that part of the samples, no metric without a finite loss.

        A model that draws numbers here too draws the same each time, and for every scheduler.
        """
        (x, y), metric = self._samples(part), self._problem.metric
        if not len(x):
            return np.nan, np.nan
        model = self._evaluated.model(self._batches())
        model.eval()
        _set_mode(self.optimizer, training=False)
        with Chance(self._of_evaluation).used():
            outputs = applied(model, x)
        _set_mode(self.optimizer, training=True)
        model.train()
        loss = self._problem.loss.mean(outputs, y).item()
        return loss, self._drawn.measured(metric, outputs, y) if np.isfinite(loss) else np.nan

    def weights(self) -> dict[str, Tensor]:
        """What the model's ``state_dict`` holds, as it is evaluated, each behind a runs axis of length 1."""
        _set_mode(self.optimizer, training=False)
        model = self._evaluated.model(self._batches())
        found = {name: value.detach()[None].clone() for name, value in model.state_dict().items()}
        _set_mode(self.optimizer, training=True)
        return found

    def _samples(self, part: str) -> tuple[Tensor, Tensor]:
        return self._x[self._rows[part]], self._y[self._rows[part]]

    def _batches(self) -> Iterator[Tensor]:
        """The inputs of the training part."""
        for rows in self._rows["train"].split(self._problem.params.batch_size):  # type: ignore[no-untyped-call]
            yield self._x[rows]


def _set_mode(optimizer: Any, *, training: bool) -> None:
    """Schedule-free optimizers train other weights than they evaluate; all others have no modes."""
    if hasattr(optimizer, "eval"):
        (optimizer.train if training else optimizer.eval)()


def _clip(parameters: list[Tensor], clip: Clipping | None) -> None:
    if clip is not None and clip.norm is not None:
        clip_grad_norm_(parameters, clip.norm)
    elif clip is not None and clip.value is not None:
        clip_grad_value_(parameters, clip.value)
