"""What comes of the same outputs for every sample, the best of them: a model that has learned something is better."""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from pipeline.problems.problem import Problem

COLUMNS = ("seed", "validation_loss", "validation_metric")
MOST = 2**21
"""Outputs of training samples that the constant ones are found by; of more samples, the first."""
STEPS = 100


def constant(problem: Problem, seeds: Sequence[int]) -> pd.DataFrame:
    """Rows of (seed, validation_loss, validation_metric).

    None where the loss is not one of torch's, or each sample has numbers in a shape of their own to be predicted: what outputs
    they take, only who wrote the model knows; and none of a script.
    """
    data = problem.data
    is_known = problem.has_samples and problem.loss.is_torchs and (data.task == "classification" or data.y.ndim < 3)
    known: dict[str, tuple[float, float]] = {}
    rows = []
    for seed in seeds if is_known else ():
        digest = data.split(seed).digest
        if digest not in known:
            known[digest] = _figures(problem, seed)
        rows.append((seed, *known[digest]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _figures(problem: Problem, seed: int) -> tuple[float, float]:
    """Loss and metric on the validation part."""
    samples = replace(problem.data, x=problem.data.x[:, :0], columns=()).samples([seed])  # no inputs, which take their time
    y = torch.tensor(samples.y)
    training, validation = (y[samples.parts[part][0]] for part in ("train", "validation"))
    outputs = _same(problem, _best(problem, training), validation)
    return problem.loss.mean(outputs, validation).item(), samples.measured(problem.metric, outputs, validation)


def _best(problem: Problem, y: Tensor) -> Tensor:
    """The outputs that lose least on these samples: from the targets' means or medians, as far as a slope leads."""
    y = y[: max(1, MOST // (problem.outputs * max(1, y[0].numel())))]
    starts = [torch.zeros(problem.outputs, dtype=torch.float64)]
    if problem.data.task == "regression":
        targets = y.double().reshape(len(y), -1)[:, : problem.outputs]
        starts = [targets.mean(dim=0), targets.median(dim=0).values]
    found = [*starts, *(_descended(problem, start, y) for start in starts)]
    losses = torch.stack([problem.loss.mean(_same(problem, each, y), y).detach() for each in found])
    return found[int(losses.nan_to_num(torch.inf).argmin())]


def _descended(problem: Problem, start: Tensor, y: Tensor) -> Tensor:
    """Where L-BFGS comes to from there."""
    outputs = start.clone().requires_grad_()
    search = torch.optim.LBFGS([outputs], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        loss = problem.loss.mean(_same(problem, outputs, y), y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    search.step(closure)  # type: ignore[no-untyped-call]
    return outputs.detach()


def _same(problem: Problem, outputs: Tensor, y: Tensor) -> Tensor:
    """The outputs for each of these samples; of tokens, at each of their places."""
    places = y.shape[1:] if problem.data.task == "classification" and problem.data.y.ndim > 1 else ()
    return outputs.expand(len(y), *places, problem.outputs)
