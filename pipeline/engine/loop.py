"""One run exactly as a PyTorch user writes it: real model, real optimizer, real scheduler.

The reference that the stacked engine is tested against.
"""

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.engine.stacked import on_device
from pipeline.problems.problem import Problem
from pipeline.runs import Block, Outcome, Run, Training
from pipeline.schedulers.registry import schedulers
from pipeline.schedulers.replay import build, momentum_of, rate_of, resolve


def train(problem: Problem, run: Run, *, device: torch.device, dtype: torch.dtype = torch.float32) -> Training:
    """Train one run; yields one block per epoch and returns the outcome, with a runs axis of length 1."""
    samples = problem.samples([run.seed])
    x, y = on_device(samples.x, device, dtype), on_device(samples.y, device, dtype)
    training, validation, test = (torch.from_numpy(rows[0]).to(device) for rows in samples.parts.values())
    criterion, scale = problem.loss.mean, float(samples.scale[0])
    model = problem.new_model(run.seed, run.stream).to(device, dtype)
    budget = problem.budget(run.epochs)
    resolved = resolve(run.schedule, problem.lr, budget)
    optimizer = problem.new_optimizer(list(model.parameters()), resolved.lr)
    scheduler = build(run.schedule, optimizer, resolved, budget)
    order = problem.new_order(run.seed, run.stream)
    initial_loss, _ = evaluate(problem, model, x[training], y[training], scale)
    finite = True
    for epoch in range(1, run.epochs + 1):
        lr, momentum = rate_of(optimizer), momentum_of(optimizer)
        total, has_ended = 0.0, not finite  # of a run that has diverged there is nothing more to tell
        for batch in torch.randperm(len(training), generator=order).split(problem.params.batch_size):  # type: ignore[no-untyped-call]
            rows = training[batch.to(device)]
            loss = criterion(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if run.schedule.interval == "batch":
                scheduler.step()
            total += loss.item() * len(rows)
            finite = finite and bool(loss.isfinite())
        train_loss = np.nan if has_ended else total / len(training)
        if run.schedule.interval == "epoch":
            scheduler.step(*([train_loss] if schedulers[run.schedule.name].live else []))
        validated = (np.nan, np.nan) if has_ended else evaluate(problem, model, x[validation], y[validation], scale)
        figures = (lr, momentum, train_loss, *validated)
        finite = finite and bool(np.isfinite(figures).all())
        yield Block(epoch, *(np.array([[figure]]) for figure in figures))
    tested = evaluate(problem, model, x[test], y[test], scale) if finite else (np.nan, np.nan)
    test_loss, test_metric = (np.array([figure]) for figure in tested)
    weights = {name: value.detach()[None] for name, value in model.named_parameters()}
    return Outcome(np.array([initial_loss]), np.array([finite]), test_loss, test_metric, weights)


@torch.no_grad()
def evaluate(problem: Problem, model: nn.Module, x: Tensor, y: Tensor, scale: float) -> tuple[float, float]:
    """Loss and metric of the model on the samples; 1 in ``y`` is worth ``scale``."""
    model.eval()
    outputs = model(x)
    model.train()
    metric = problem.metric
    measured = float(metric.of_runs(outputs[None], y[None])[0]) * scale**metric.power
    return problem.loss.mean(outputs, y).item(), measured
