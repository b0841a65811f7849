"""What keeps a problem's runs from being trained as one stack, found out before training."""

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.func import stack_module_state, vmap

from pipeline.cache import remembered
from pipeline.engine.functions import Functions
from pipeline.engine.merging import Places
from pipeline.engine.optimizers import STACKED, in_common
from pipeline.params import Component
from pipeline.problems.losses import losses
from pipeline.problems.metrics import metrics
from pipeline.problems.models import models
from pipeline.problems.problem import Problem
from pipeline.runs import Run

SAMPLES = 8
"""Samples that a model is tried on."""
SAME = 1e-5
"""Relative difference that rounding may make in double precision, and no more."""


def obstacle(problem: Problem, optimizer: Component) -> str | None:
    """What cannot be stacked, and what would make it so; None where all can.

    The model is applied to a few samples: what counts is what it does, not what its layers are called.
    """
    if optimizer.name not in STACKED:
        return f"the optimizer {optimizer.name} has no stacked form; {', '.join(STACKED)} have"
    known, key = _found.setdefault(problem, {}), in_common(optimizer)
    if key not in known:
        known[key] = _tried(problem, optimizer, key)
    return known[key] or None


_found: WeakKeyDictionary[Problem, dict[str, str]] = WeakKeyDictionary()
"""What was found out, since every round of a search trains the same problem."""


def _tried(problem: Problem, optimizer: Component, key: str) -> str:
    """What the model's trial says. It is kept for other stages, too: in it torch imports its compiler, which takes a second."""

    def find() -> str:
        return next(_of_the_model(problem, optimizer), "")

    return remembered(f"obstacle {problem.fingerprint} {key}", find) if _is_named(problem) else find()


def _is_named(problem: Problem) -> bool:
    """Whether the problem's fingerprint names all code that is tried: it is torch's, or stands in this package."""
    parts = models[problem.params.model.name], losses[problem.loss.name], metrics[problem.metric_name]
    modules = *problem.new_model(0, "final").modules(), problem.loss.module()
    places = {*(part.function.__module__ for part in parts), *(type(module).__module__ for module in modules)}
    return all(place.partition(".")[0] in {"torch", "pipeline"} for place in places)


def by_optimizer(problem: Problem, runs: Sequence[Run]) -> list[tuple[Component, Places]]:
    """Each optimizer that the runs are trained with, and the places of the runs that it can train as one stack.

    Runs that are evaluated at a mean of their weights, whichever, are a stack by themselves: their state holds one more tensor.
    """
    found: dict[tuple[str, bool], tuple[Component, Places]] = {}
    own, own_key = problem.params.optimizer, in_common(problem.params.optimizer)
    for place, run in enumerate(runs):
        component = problem.optimizer_of(run.schedule)
        key = own_key if component is own else in_common(component)
        found.setdefault((key, run.schedule.average is not None), (component, []))[1].append(place)
    return list(found.values())


def _of_the_model(problem: Problem, optimizer: Component) -> Iterator[str]:
    name = f"the model {problem.params.model.name}"
    with torch.random.fork_rng(devices=[]):
        first, second = (problem.new_model(seed, "final").double() for seed in range(2))
        if frozen := [key for key, parameter in first.named_parameters() if not parameter.requires_grad]:
            yield f"{name} has frozen parameters ({_listed(frozen)}); register them as buffers instead"
        drawn = [key for (key, a), b in zip(first.named_buffers(), second.buffers(), strict=True) if not torch.equal(a, b)]
        if drawn:
            yield f"{name} draws its buffers anew for every seed ({_listed(drawn)}); make them the same, or parameters"
        x, y = _samples(problem)
        before = {key: buffer.clone() for key, buffer in first.named_buffers()}
        torch.manual_seed(0)
        outputs = first(x)
        changed = [key for key, buffer in first.named_buffers() if not torch.equal(buffer, before[key])]
        if changed:
            yield f"{name} changes its buffers as it is trained ({_layers(first, changed)}); {_REMEDY}"
        if not _same(outputs[: SAMPLES // 2], first(x[: SAMPLES // 2])):
            if _is_random(first, x):
                yield f"{name} draws random numbers of its own; nn.Dropout is what can be stacked"
            yield f"{name} mixes the samples of a batch ({_layers(first, [])}); {_REMEDY}"
        problem.loss.mean(outputs, y).backward()  # type: ignore[no-untyped-call]
        if idle := [key for key, parameter in first.named_parameters() if parameter.grad is None]:
            yield f"{name} has parameters that take no part in its output ({_listed(idle)}); leave them out"
        yield from _refused(name, problem, optimizer, [first, second], x, y)


_REMEDY = "a layer without statistics of the batch, such as GroupNorm or LayerNorm, can be stacked"


def _refused(name: str, problem: Problem, optimizer: Component, models: list[nn.Module], x: Tensor, y: Tensor) -> Iterator[str]:
    """What torch itself says to a step of two runs side by side."""
    stacked = STACKED[optimizer.name](optimizer.args, 2, has_momentum=False)
    functions = Functions(models[0], stacked, problem.loss, problem.metric, problem.params.clip)
    initial, _ = stack_module_state(models)
    state = functions.initial([initial[key].detach() for key in functions.names])
    numbers = torch.full((2, stacked.kinds + 2 * bool(functions.draws)), 0.5, dtype=torch.float64)
    ones = torch.ones(len(x), dtype=torch.float64)
    try:
        with torch.no_grad():
            vmap(functions.step, in_dims=(0, 0, None, None, None))(state, numbers, x, y, ones)
            vmap(functions.evaluation, in_dims=(0, None, None, None))(state, x, y, ones)
    except Exception as error:  # noqa: BLE001  # whatever it is, the runs cannot be stacked
        text = " ".join(str(error).split())
        if "data-dependent" in text or ".item()" in text:
            yield f"what {name} computes depends on the values of tensors (an `if` or `.item()` on them); use torch.where"
        elif "random" in text:
            yield f"{name} draws random numbers of its own; nn.Dropout is what can be stacked"
        else:
            yield f"torch.func.vmap refuses {name} ({text[:160]}); write it without what is named there"


def _samples(problem: Problem) -> tuple[Tensor, Tensor]:
    samples = problem.samples([0])
    rows = samples.parts["train"][0][:SAMPLES]
    x, y = torch.from_numpy(samples.x[rows]), torch.from_numpy(samples.y[rows])
    return (x.double() if x.is_floating_point() else x), (y.double() if y.is_floating_point() else y)


def _same(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= SAME * one.abs().max())


def _is_random(model: nn.Module, x: Tensor) -> bool:
    return not _same(model(x), model(x))


def _layers(model: nn.Module, buffers: list[str]) -> str:
    """The layers that hold these buffers, or the normalisations among all, by place and kind."""
    owners = dict.fromkeys(key.rpartition(".")[0] for key in buffers)
    places = {name: type(module).__name__ for name, module in model.named_modules()}
    if not owners:
        owners = dict.fromkeys(name for name, kind in places.items() if "BatchNorm" in kind)
    return _listed([f"{place or 'itself'}: {places[place]}" for place in owners]) or type(model).__name__


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
