"""One run exactly as a PyTorch user writes it: real model, real optimizer, real scheduler.

The reference that the stacked engine is tested against, and what trains the runs that cannot be stacked.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from pipeline.engine.memory import fitting
from pipeline.engine.merging import as_one_block
from pipeline.engine.stacked import on_device
from pipeline.engine.workers import spread
from pipeline.params import Clipping
from pipeline.problems.dropout import drawn, draws_of
from pipeline.problems.problem import Problem
from pipeline.runs import Block, Outcome, Run, Training, stream
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import build, momentum_of, rate_of, resolve


def train_all(
    problem: Problem, runs: Sequence[Run], *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train every run by itself, on the CPU in as many processes as there are cores.

    Where they do not all fit into memory, each is trained to its end before the next, and all epochs come as one block.
    """
    train_one = partial(_by_itself, problem, device=device, dtype=dtype, search=search)
    if len(runs) > fitting(problem, problem.params.optimizer, dtype):
        train_one = partial(as_one_block, train_one)
    cuts = [[place] for place in range(len(runs))]
    return (yield from spread(train_one, runs, cuts, processes=None if device.type == "cpu" else 1))


def _by_itself(problem: Problem, runs: Sequence[Run], **how: Any) -> Training:
    (run,) = runs
    return (yield from train(problem, run, **how))


def train(
    problem: Problem, run: Run, *, device: torch.device, dtype: torch.dtype = torch.float32, search: bool = False
) -> Training:
    """Train one run; yields one block per epoch and returns the outcome, with a runs axis of length 1.

    In a ``search`` only what a choice needs is evaluated, as in :func:`pipeline.engine.stacked.train`.
    """
    samples = problem.samples([run.seed])
    x, y = on_device(samples.x, device, dtype), on_device(samples.y, device, dtype)
    training, validation, test = (torch.from_numpy(rows[0]).to(device) for rows in samples.parts.values())
    criterion, scale = problem.loss.mean, float(samples.scale[0])
    model = problem.new_model(run.seed, run.stream).to(device, dtype)
    budget = problem.budget(run.epochs)
    resolved = resolve(run.schedule, problem.lr, budget)
    parameters: list[Tensor] = list(model.parameters())
    optimizer = problem.optimizers_for(run.schedule)(parameters, resolved.lr)
    scheduler = build(run.schedule, optimizer, resolved, budget)
    order, draws = problem.new_order(run.seed, run.stream), problem.new_draws(run)
    chance = RandomState(stream("chance", problem.name, run.label, run.schedule.key, run.seed, run.stream))
    initial_loss, _ = evaluate(problem, model, optimizer, x[training], y[training], scale)
    finite = True
    for epoch in range(1, run.epochs + 1):
        lr, momentum = rate_of(optimizer), momentum_of(optimizer)
        total, has_ended = 0.0, not finite  # of a run that has diverged there is nothing more to tell
        with chance.used():
            for batch in torch.randperm(len(training), generator=order).split(problem.params.batch_size):  # type: ignore[no-untyped-call]
                rows = training[batch.to(device)]
                _renew_draws(model, draws)

                def closure(rows: Tensor = rows) -> Tensor:
                    optimizer.zero_grad()
                    loss = criterion(model(x[rows]), y[rows])
                    loss.backward()  # type: ignore[no-untyped-call]
                    _clip(parameters, problem.params.clip)
                    return loss

                loss: Any = optimizer.step(closure)  # type: ignore[arg-type]
                if run.schedule.interval == "batch":
                    scheduler.step()
                total += loss.item() * len(rows)
                finite = finite and bool(loss.isfinite())
        train_loss = np.nan if has_ended else total / len(training)
        if run.schedule.interval == "epoch":
            scheduler.step(*([train_loss] if schedulers[run.schedule.name].live else []))
        validated = (np.nan, np.nan)
        if not has_ended and (epoch == run.epochs or not search):
            validated = evaluate(problem, model, optimizer, x[validation], y[validation], scale)
            finite = finite and bool(np.isfinite(validated[0]))
        finite = finite and bool(np.isfinite(train_loss))
        yield Block(epoch, *(np.array([[figure]]) for figure in (lr, momentum, train_loss, *validated)))
    is_tested = finite and not search
    tested = evaluate(problem, model, optimizer, x[test], y[test], scale) if is_tested else (np.nan, np.nan)
    test_loss, test_metric = (np.array([figure]) for figure in tested)
    _set_mode(optimizer, training=False)
    weights = {name: value.detach()[None] for name, value in model.state_dict().items()}
    finite = finite and bool(np.isfinite(initial_loss))
    return Outcome(np.array([initial_loss]), np.array([finite]), test_loss, test_metric, weights)


@torch.no_grad()
def evaluate(
    problem: Problem, model: nn.Module, optimizer: Optimizer, x: Tensor, y: Tensor, scale: float
) -> tuple[float, float]:
    """Loss and metric of the model on the samples, no metric without a finite loss; 1 in ``y`` is worth ``scale``."""
    model.eval()
    _set_mode(optimizer, training=False)
    outputs = model(x)
    _set_mode(optimizer, training=True)
    model.train()
    loss, metric = problem.loss.mean(outputs, y).item(), problem.metric
    measured = float(metric.of_runs(outputs[None], y[None])[0]) * scale**metric.power
    return loss, measured if np.isfinite(loss) else np.nan


def _set_mode(optimizer: Any, *, training: bool) -> None:
    """Schedule-free optimizers train other weights than they evaluate; all others have no modes."""
    if hasattr(optimizer, "eval"):
        (optimizer.train if training else optimizer.eval)()


def _clip(parameters: list[Tensor], clip: Clipping | None) -> None:
    if clip is not None and clip.norm is not None:
        clip_grad_norm_(parameters, clip.norm)
    elif clip is not None and clip.value is not None:
        clip_grad_value_(parameters, clip.value)


def _renew_draws(model: nn.Module, generator: np.random.Generator) -> None:
    if buffers := [buffer for _, buffer in draws_of(model)]:
        numbers = torch.from_numpy(drawn(generator, 1)[0])
        for buffer in buffers:
            buffer.copy_(numbers)


class RandomState:
    """A run's own share of torch's global random numbers, for models that draw from them; the caller's are left alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state: tuple[Tensor, list[Tensor]] | None = None

    @contextmanager
    def used(self) -> Iterator[None]:
        """In the block, torch draws this run's numbers."""
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()), enabled=True):
            if self._state is None:
                torch.manual_seed(self._seed)
            else:
                torch.set_rng_state(self._state[0])
                torch.cuda.set_rng_state_all(self._state[1])
            yield
            self._state = torch.get_rng_state(), torch.cuda.get_rng_state_all()
