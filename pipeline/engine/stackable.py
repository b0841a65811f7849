"""What keeps a problem's runs from being trained as one stack, found out before training."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.weight_norm import WeightNorm

from pipeline.config.components import Component
from pipeline.config.errors import shortage
from pipeline.engine.cache import remembered
from pipeline.engine.code import code_fingerprint
from pipeline.engine.drawing import Draws, draws_by_functions
from pipeline.engine.functions import Functions, State, are_same, drawn_buffers, functions_of, values_of
from pipeline.engine.merging import Places
from pipeline.engine.optimizers import STACKED, in_common
from pipeline.engine.parts import in_parts, statistics_of
from pipeline.engine.program import Epochs, Runs
from pipeline.engine.tensors import EVALUATED_AT_ONCE, TensorProgram
from pipeline.problems.chance import Chance, are_equal, states
from pipeline.problems.losses import losses
from pipeline.problems.metrics import metrics
from pipeline.problems.models import applied, models
from pipeline.problems.problem import Problem
from pipeline.problems.run import Run

SAMPLES = 8
"""Samples that a model is tried on by itself."""
TRIES = 4
"""Seeds that it is built with, and times that it is applied to the same samples."""
PAIR = (0, 1)
"""Seeds of the two runs that are trained."""
SAME = {torch.float64: 1e-5, torch.float32: 1e-3}
"""Relative difference that rounding may make, and no more; a tenth in what is less precise."""


def obstacle(problem: Problem, optimizer: Component) -> str | None:
    """What cannot be stacked, and what would make it so; None where all can.

    The model is applied to a few samples, and two runs are trained by the very functions that train a stack: what counts is
    what it does, not what its layers are called.
    """
    if problem.params.accumulate:
        size = problem.params.samples_per_step
        return f"gradients are accumulated over batches; a stack takes a step's samples at once: write batch_size: {size} alone"
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
        with Chance(0).used():
            try:
                return next(_of_the_model(problem, optimizer), "")
            except Exception as error:  # a model of the user's own may be any odd thing
                if shortage(error):
                    raise
                return f"the model {problem.params.model.name} cannot be tried as a stack ({_line(error)})"

    if not _is_named(problem):
        return find()
    tried_on = " ".join(problem.data.split(seed).digest for seed in PAIR)
    return remembered(f"obstacle {code_fingerprint()} {problem.fingerprint} {tried_on} {key}", find)


def _is_named(problem: Problem) -> bool:
    """Whether the problem's fingerprint names all code that is tried, as torch's and this package's; one's own may use more."""
    parts = models[problem.params.model.name], losses[problem.loss.name], metrics[problem.metric_name]
    modules = *problem.new_model(0, "final").modules(), problem.loss.module()
    places = {*(part.function.__module__ for part in parts), *(type(module).__module__ for module in modules)}
    return "pipeline.custom" not in places and all(place.partition(".")[0] in {"torch", "pipeline"} for place in places)


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
    yield from _as_it_is_built(name, [problem.new_model(seed, "final") for seed in range(TRIES)], drawn_buffers(problem))
    dtype, model = _in_the_finest(problem)
    x, y = _samples(problem, dtype)
    yield from _as_it_is_applied(name, model, x, draws=draws_by_functions(problem))
    problem.loss.mean(model.train()(x.clone()), y).backward()  # type: ignore[no-untyped-call]
    if idle := [key for key, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None]:
        yield f"{name} has parameters that take no part in its output ({_listed(idle)}); leave them out"
    yield from _as_a_stack(name, _Pair.of(problem, optimizer, torch.float32))
    yield from _unlike_alone(name, _Pair.of(problem, optimizer, dtype))


def _as_it_is_built(name: str, built: list[nn.Module], own: Sequence[str]) -> Iterator[str]:
    first = built[0]
    hooks = [hook for module in first.modules() for hook in module._forward_pre_hooks.values()]
    if any(isinstance(hook, WeightNorm) for hook in hooks):
        yield f"{name} has torch.nn.utils.weight_norm; write torch.nn.utils.parametrizations.weight_norm"
    if any("OptimizedModule" in type(module).__name__ for module in first.modules()):
        yield f"{name} is compiled by torch.compile already; hand the plain module over, and the whole stack is compiled"
    if odd := [key for key, parameter in first.named_parameters() if not parameter.is_floating_point()]:
        yield f"{name} has parameters that are no real numbers ({_listed(odd)})"
    if any(_shapes(other) != _shapes(first) for other in built):
        yield f"{name} has other parameters for another seed"
    buffers = {key: [dict(model.named_buffers())[key] for model in built] for key, _ in first.named_buffers() if key not in own}
    if drawn := [key for key, values in buffers.items() if not all(are_same(values[0], other) for other in values)]:
        yield f"{name} draws whole numbers for every seed ({_listed(drawn)}); let the buffers be real ones, or the same"
    if drawn := _changed(beside(first), *map(beside, built)):
        yield f"{name} is built with another {_listed(drawn)} for every seed; make it the same, or a buffer"


def _shapes(model: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, values.shape) for name, values in values_of(model)]


def _as_it_is_applied(name: str, model: nn.Module, x: Tensor, *, draws: bool) -> Iterator[str]:
    """What it does beside computing outputs, in training and in evaluation."""
    known, half = statistics_of(model), torch.arange(len(x)) < len(x) // 2
    if counting := [key for key, layer in model.named_modules() if isinstance(layer, _BatchNorm) and layer.momentum is None]:
        wrong = f"has BatchNorm of all batches so far, `momentum=None` ({_listed(counting)})"
        yield f"{name} {wrong}; with a momentum it can be stacked"

    def applied_to(x: Tensor, weights: Tensor | None = None) -> Tensor:
        """As a stack has it: of samples that are counted, with draws that are handed in."""
        with in_parts(x.device, weights, Draws(torch.zeros(2)) if model.training and draws else None):
            outputs: Tensor = model(x.clone())
        return outputs

    for mode in (True, False):
        model.train(mode)
        values = {key: value.detach().clone() for key, value in values_of(model) if key not in known}
        held, before = beside(model), states()
        outputs = [applied_to(x) for _ in range(TRIES)]
        changed = [key for key, value in values_of(model) if key in values and not are_same(value, values[key])]
        if changed:
            what = "parameters" if {*changed} & dict(model.named_parameters()).keys() else "buffers"
            yield f"{name} changes its {what} as it is {_MODES[mode]} ({_layers(model, changed)}); {_REMEDY}"
        if moved := _changed(held, beside(model)):
            yield f"{name} changes its own {_listed(moved)} as it is {_MODES[mode]}, which runs side by side would share"
        if not are_equal(before, states()) or not all(_same(outputs[0], other) for other in outputs):
            yield f"{name} {_DRAWS}"
        if not _same(applied_to(x, half)[half], applied_to(x[half])):
            yield f"{name} mixes the samples of a batch ({type(model).__name__}); {_REMEDY}"


_MODES = {True: "trained", False: "evaluated"}
_REMEDY = "BatchNorm, GroupNorm and LayerNorm can be stacked"
_DRAWS = "draws random numbers of its own; torch's dropout, rand, randn and bernoulli can be stacked, in training"


@dataclass(frozen=True)
class _Pair:
    """Runs of two replicates as a stack has them, and the models as one run alone has them."""

    problem: Problem
    runs: Runs
    alone: list[nn.Module]
    within: list[str]
    """The layers that are being computed, the innermost last."""

    @classmethod
    def of(cls, problem: Problem, optimizer: Component, dtype: torch.dtype) -> "_Pair":
        within: list[str] = []
        stacked = STACKED[optimizer.name](optimizer.args, 2, has_momentum=False)
        first, second = (problem.new_model(seed, "final").to(dtype) for seed in PAIR)
        alone = [problem.new_model(seed, "final").to(dtype) for seed in PAIR]
        _note_layers(first, within)
        functions = functions_of(problem, first, stacked)
        samples = problem.data.samples(PAIR)
        parts = {part: torch.from_numpy(rows[:, : EVALUATED_AT_ONCE + 1]) for part, rows in samples.parts.items()}
        runs = Runs(
            functions,
            x=_as(dtype, torch.tensor(samples.x)),
            y=_as(dtype, torch.tensor(samples.y)),
            parts=parts,
            of_run=torch.arange(2),
            state=functions.initial(functions.stacked([first, second])),
            batch_size=problem.params.batch_size,
            kinds=stacked.kinds + functions.drawn,
            key="",
        )
        return cls(problem, runs, alone, within)

    def batches(self) -> Epochs:
        """A whole batch, and one that is filled up with a sample of weight 0."""
        size, train = self.runs.batch_size, self.runs.parts["train"].numpy()
        rows = np.resize(train, (1, 2, 1, size)) if train.shape[1] < size else train[None, :, None, :size]
        weights = np.full((2, size), 1 / size)
        if size > 1:
            weights[1] = [1 / (size - 1)] * (size - 1) + [0]
        numbers = np.full((2, self.runs.kinds, 2), 0.5)
        return Epochs(np.repeat(rows, 2, axis=2).astype(np.int32), weights, np.full(2, float(size)), numbers, np.array([True]))


def _as_a_stack(name: str, pair: _Pair) -> Iterator[str]:
    """What torch itself says to two runs that are trained and evaluated side by side."""
    program = TensorProgram(pair.runs, run_steps=0)
    try:
        program.train(pair.batches())
        if pair.problem.metric.per_sample is None:
            _side_by_side(pair)
    except Exception as error:  # whatever it is, the runs cannot be stacked
        if shortage(error):
            raise
        text = " ".join(str(error).split())
        if "data-dependent" in text or ".item()" in text:
            yield f"what {name} computes depends on the values of tensors (an `if` or `.item()` on them); use torch.where"
        elif "randomness" in text:
            yield f"{name} {_DRAWS}"
        else:
            where = pair.within[-1] if pair.within else "its gradients"
            remedy = "; write into x.new_zeros(…), not torch.zeros(…)" if "inplace arithmetic" in text else ""
            yield f"{where} of {name} cannot be computed for many runs at once by torch.func.vmap ({_line(error)}){remedy}"


def _unlike_alone(name: str, pair: _Pair) -> Iterator[str]:
    """Outputs or gradients that differ from those that each model has by itself, also of a batch that is filled up."""
    problem, functions, train = pair.problem, pair.runs.functions, pair.runs.parts["train"][:, :SAMPLES]
    values, count = functions.evaluated(pair.runs.state), len(functions.names)
    size = train.shape[1] - 1 if train.shape[1] > 2 else train.shape[1]  # BatchNorm takes no batch of one
    x, y = pair.runs.x[train], pair.runs.y[train]
    weights = ((torch.arange(train.shape[1]) < size) / size).expand(train.shape).to(values[0])
    found, _, statistics = vmap(functions.gradients, in_dims=(0, None, 0, 0, 0))(values, torch.zeros(2), x, y, weights)
    outputs = _outputs(functions, [*values[:count], *statistics], x)
    for i, model in enumerate(pair.alone):
        with Draws(torch.zeros(2)).used() if functions.draws_by_functions else nullcontext():
            alone = model.train()(x[i, :size].clone())
        problem.loss.mean(alone, y[i, :size]).backward()  # type: ignore[no-untyped-call]
        own = dict(model.named_parameters())
        theirs = [own[key].grad for key in functions.names]
        largest = max(float(gradient.abs().max()) for gradient in theirs if gradient is not None)
        is_same = all(b is not None and _same(b, a[i], largest) for a, b in zip(found, theirs, strict=True))
        if not is_same or not _same(applied(model.eval(), x[i]), outputs[i]):
            yield f"{name} computes something else side by side with others than alone"


def _side_by_side(pair: _Pair) -> Tensor:
    """The outputs of both for a few training samples, evaluated."""
    functions, x = pair.runs.functions, pair.runs.x[pair.runs.parts["train"][:, :SAMPLES]]
    return _outputs(functions, functions.evaluated(pair.runs.state), x)


def _outputs(functions: Functions, evaluated: State, x: Tensor) -> Tensor:
    with torch.no_grad():
        return functions.all_outputs(evaluated, x)


def _note_layers(model: nn.Module, within: list[str]) -> None:
    """Let each layer of the model say when it begins and when it has ended."""

    def begin(called: str) -> Callable[..., None]:
        return lambda *_: within.append(called)

    for place, layer in model.named_modules():
        if isinstance(layer, torch.jit.ScriptModule):  # it takes no hooks
            continue
        layer.register_forward_pre_hook(begin(f"the layer {place}: {type(layer).__name__}" if place else "the forward"))
        layer.register_forward_hook(lambda *_: within.pop() and None)


def _in_the_finest(problem: Problem) -> tuple[torch.dtype, nn.Module]:
    """The model in double precision, where rounding is told from all else; in single where it knows no other."""
    try:
        model = problem.new_model(0, "final").double()
        model(_samples(problem, torch.float64)[0])
    except Exception:  # noqa: BLE001  # it is trained in single precision
        return torch.float32, problem.new_model(0, "final").float()
    return torch.float64, problem.new_model(0, "final").double()


def _samples(problem: Problem, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    samples = problem.data.samples([0])
    rows = samples.parts["train"][0][:SAMPLES]
    return _as(dtype, torch.from_numpy(samples.x[rows])), _as(dtype, torch.from_numpy(samples.y[rows]))


def _as(dtype: torch.dtype, values: Tensor) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values.long()


def _same(one: Tensor, other: Tensor, largest: float | None = None) -> bool:
    """Whether they are equal but for rounding, as compared with the largest number."""
    scale = one.abs().max().item() if largest is None else largest
    bound = max(SAME.get(values.dtype, 0.1) for values in (one, other)) * scale
    return bool(((one - other).abs().max() <= bound).item()) or are_same(one, other)


def beside(model: nn.Module) -> dict[str, str]:
    """What a model holds beside parameters and buffers: attributes of the user's own, as texts."""
    usual = vars(nn.Module()).keys()
    return {
        f"{place}.{key}".lstrip("."): _as_text(value)
        for place, layer in model.named_modules()
        for key, value in vars(layer).items()
        if key not in usual
    }


def _as_text(value: Any, depth: int = 3) -> str:
    """Equal for equal values, in every process; of what has none, such as a function, its kind."""
    kind = type(value).__name__
    if isinstance(value, nn.Parameter):  # it is compared as such; a recurrent layer has a list of its own
        return kind
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return f"{value.dtype} {tuple(value.shape)} {_digest(flat.tobytes())}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {_digest(value.tobytes())}"
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return repr(value)
    if isinstance(value, list | tuple) and depth:
        return f"{kind} {[_as_text(each, depth - 1) for each in value]}"
    held = value if isinstance(value, dict) else {} if callable(value) else getattr(value, "__dict__", {})
    return f"{kind} { {str(key): _as_text(each, depth - 1) for key, each in held.items()} if depth else '' }"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _changed(one: dict[str, str], *others: dict[str, str]) -> list[str]:
    keys = dict.fromkeys(key for held in (one, *others) for key in held)
    return [f"`{key}`" for key in keys if any(one.get(key) != other.get(key) for other in others)]


def _layers(model: nn.Module, buffers: list[str]) -> str:
    """The layers that hold these buffers, by place and kind."""
    owners = dict.fromkeys(key.rpartition(".")[0] for key in buffers)
    places = {name: type(module).__name__ for name, module in model.named_modules()}
    return _listed([f"{place or 'itself'}: {places[place]}" for place in owners])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:160]
