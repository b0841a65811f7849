"""How many runs fit into memory side by side: estimated from the problem alone, so that all machines cut alike."""

import torch

from pipeline.config.components import Component
from pipeline.engine.optimizers import STACKED
from pipeline.engine.work import activations
from pipeline.problems.problem import Problem

IN_MEMORY = 2**31
"""Bytes that all runs in training may take."""
COPIES = 4
"""Of its state that a run in training holds: before and after a step, at the beginning and at the end."""
PASSES = 3
"""Of its activations that a step of tensors holds: forwards, backwards, and what is on the way."""


def fitting(problem: Problem, optimizer: Component, dtype: torch.dtype, samples: int = 0, *, is_averaged: bool = False) -> int:
    """Runs that fit into ``IN_MEMORY``, at least one; each with its activations for so many ``samples``."""
    of_state = numbers_of_state(problem, optimizer, is_averaged=is_averaged)
    of_run = COPIES * of_state + PASSES * samples * (activations(problem) if samples else 0)
    return max(1, IN_MEMORY // (of_run * dtype.itemsize))


def numbers_of_state(problem: Problem, optimizer: Component, *, is_averaged: bool = False) -> int:
    """A run's parameters, their mean, and what the optimizer keeps for each (two numbers, where it is not known here)."""
    parameters = sum(parameter.numel() for parameter in problem.new_model(0, "final").parameters())
    kept = len(STACKED[optimizer.name](optimizer.args, 1, has_momentum=True).starts) if optimizer.name in STACKED else 2
    return parameters * (1 + is_averaged + kept)
