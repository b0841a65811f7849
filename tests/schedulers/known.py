"""Our schedules beside those of transformers and timm themselves, on drawn runs; ``python -m tests.schedulers.known`` writes
docs/schedulers.md with how far apart they are.
"""

import importlib
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.optim import SGD

from pipeline.commands.gallery import table
from pipeline.config.arrays import Floats
from pipeline.schedulers.aliases import HINTS
from pipeline.schedulers.replay import Budget, Replay, trace
from tests.schedulers.examples import schedule

DRAWS = 40


class Pair(NamedTuple):
    """The rates of one run, (steps,) each: theirs and ours. ``peak`` is the optimizer's rate."""

    theirs: Floats
    ours: Floats
    peak: float


@dataclass(frozen=True)
class Case:
    """One of their schedules and the one of ours that is the same; ``draw`` makes a run of both."""

    library: str
    theirs: str
    ours: str
    arguments: str
    draw: Callable[[Random], Pair]


def optimizer_at(lr: float) -> SGD:
    return SGD([torch.zeros(1, requires_grad=True)], lr)


# Theirs


@cache
def transformers() -> Any:
    """``transformers.optimization``, by name: type checkers need not read all of the package."""
    return importlib.import_module("transformers.optimization")


@cache
def timm() -> Any:
    """``timm.scheduler`` without what timm itself imports, torchvision among it: a bare package stands in for timm's own."""
    spec = importlib.util.find_spec("timm")
    assert spec is not None
    bare = ModuleType("timm")
    bare.__path__ = list(spec.submodule_search_locations or [])
    sys.modules["timm"] = bare
    try:
        return importlib.import_module("timm.scheduler")
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "timm"]:
            del sys.modules[name]


def of_transformers(name: str, steps: int, lr: float, warmup: int = 0, **more: Any) -> Floats:
    optimizer = optimizer_at(lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it is given the run's length even where it needs none
        scheduler = transformers().get_scheduler(name, optimizer, warmup, steps, more)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return np.array(rates)


def of_timm(name: str, steps: int, lr: float, **more: Any) -> Floats:
    """As timm's own training does it, with the first step told, too."""
    optimizer = optimizer_at(lr)
    scheduler = getattr(timm(), name)(optimizer, **more)
    rates = []
    for step in range(steps):
        scheduler.step(step)
        rates.append(optimizer.param_groups[0]["lr"])
    return np.array(rates)


def on_losses(scheduler: Any, optimizer: SGD, losses: list[float]) -> Floats:
    rates = []
    for loss in losses:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler(loss)
    return np.array(rates)


# Ours


def of_ours(name: str, args: Mapping[str, Any], steps: int, lr: float, warmup: int = 0) -> Floats:
    entry = schedule(name, args, warmup=warmup, interval="batch")
    return trace(entry, lambda _, rate: optimizer_at(rate), lr, Budget(1, steps)).lr


def ours_on_losses(name: str, args: Mapping[str, Any], lr: float, losses: list[float]) -> Floats:
    replay = Replay(schedule(name, args), lambda _, rate: optimizer_at(rate), lr, Budget(len(losses), 1))
    rates = []
    for loss in losses:
        rates.append(replay.now[0])
        replay.step(loss)
    return np.array(rates)


# Runs


def run(draw: Random) -> tuple[int, float, int]:
    """Steps, peak rate, and steps of warmup, of which every fourth run has none."""
    steps = draw.randint(20, 400)
    return (
        steps,
        10 ** draw.uniform(-5, 0),
        draw.choice([0, draw.randint(1, steps // 2), draw.randint(1, 9), draw.randint(1, 3)]),
    )


def share(draw: Random) -> float:
    return draw.choice([0.0, 0.01, 0.1, draw.uniform(0, 0.5)])


def losses_of(draw: Random) -> list[float]:
    """Falling, rising and standing still."""
    loss, losses = 2.0, []
    for _ in range(draw.randint(30, 200)):
        loss = max(loss + draw.choice([0.0, draw.gauss(-0.02, 0.1), -0.01]), 0.01)
        losses.append(loss)
    return losses


def linear(draw: Random) -> Pair:
    steps, lr, warmup = run(draw)
    return Pair(of_transformers("linear", steps, lr, warmup), of_ours("LinearDecay", {}, steps, lr, warmup), lr)


def cosine(draw: Random) -> Pair:
    steps, lr, warmup = run(draw)
    return Pair(of_transformers("cosine", steps, lr, warmup), of_ours("CosineDecay", {"final": "0%"}, steps, lr, warmup), lr)


def waves(draw: Random) -> Pair:
    (steps, lr, warmup), count = run(draw), draw.choice([0.25, 1.0, 1.5, 2.5, 3.0])
    theirs = of_transformers("cosine", steps, lr, warmup, num_cycles=count)
    return Pair(theirs, of_ours("Annealing", {"waves": count}, steps, lr, warmup), lr)


def restarts(draw: Random) -> Pair:
    (steps, lr, warmup), count = run(draw), draw.randint(1, 12)
    theirs = of_transformers("cosine_with_restarts", steps, lr, warmup, num_cycles=count)
    return Pair(theirs, of_ours("CosineRestarts", {"cycles": count}, steps, lr, warmup), lr)


def polynomial(draw: Random) -> Pair:
    (steps, lr, warmup), power, end = run(draw), draw.choice([0.5, 1.0, 2.0, draw.uniform(0.3, 4)]), share(draw)
    theirs = of_transformers("polynomial", steps, lr, warmup, power=power, lr_end=end * lr)
    args = {"shape": "polynomial", "power": power, "final": end * lr}
    return Pair(theirs, of_ours("Annealing", args, steps, lr, warmup), lr)


def constant(draw: Random) -> Pair:
    steps, lr, warmup = run(draw)
    theirs = of_transformers("constant_with_warmup" if warmup else "constant", steps, lr, warmup)
    return Pair(theirs, of_ours("ConstantLR", {"factor": 1.0}, steps, lr, warmup), lr)


def inverse_sqrt(draw: Random) -> Pair:
    (steps, lr, warmup), timescale = run(draw), draw.choice([None, draw.randint(1, 500)])
    theirs = of_transformers("inverse_sqrt", steps, lr, warmup, timescale=timescale)
    own = {"timescale": 10_000 if timescale is None and not warmup else timescale, "warmup": warmup}
    return Pair(theirs, of_ours("InverseSqrt", own, steps, lr), lr)


def min_lr(draw: Random) -> Pair:
    (steps, lr, warmup), least = run(draw), share(draw)
    given = draw.choice([{"min_lr": least * lr}, {"min_lr_rate": least}])
    theirs = of_transformers("cosine_with_min_lr", steps, lr, warmup, **given)
    return Pair(theirs, of_ours("CosineDecay", {"final": f"{100 * least:.15f}%"}, steps, lr, warmup), lr)


def warmup_from(draw: Random) -> Pair:
    (steps, lr, _), least, count = run(draw), share(draw), draw.choice([0.5, 1.0, 1.5])
    warmup, rate = draw.randint(2, steps // 2), draw.choice([None, 0.1, draw.random()])
    given = {"min_lr": least * lr, "num_cycles": count, "warmup_lr_rate": rate}
    theirs = of_transformers("cosine_warmup_with_min_lr", steps, lr, warmup, **given)
    start = lr / warmup if rate is None else rate * lr
    args = {"final": least * lr, "waves": count, "warmup": warmup - 1, "start": start, "prefix": True, "first": steps - warmup}
    return Pair(theirs, of_ours("Annealing", args, steps, lr), lr)


def stable(draw: Random) -> Pair:
    (steps, lr, warmup), least, count = run(draw), share(draw), draw.choice([0.5, 0.5, 1.5])
    decay = draw.randint(1, steps - warmup)
    rest = draw.choice([None, draw.randint(0, steps - warmup - decay) or None])
    kinds = [draw.choice(["linear", "cosine", "1-sqrt"]) for _ in range(2)]
    theirs = of_transformers(
        "warmup_stable_decay", steps, lr, warmup, num_decay_steps=decay, num_stable_steps=rest, warmup_type=kinds[0],
        decay_type=kinds[1], min_lr_ratio=least, num_cycles=count,
    )  # fmt: skip
    args = {"warmup": warmup, "rise": kinds[0], "start": least * lr, "stable": rest, "decay": decay, "cooldown": kinds[1],
            "final": least * lr, "waves": count}  # fmt: skip
    return Pair(theirs, of_ours("WarmupStableDecay", args, steps, lr), lr)


def plateau(draw: Random) -> Pair:
    lr, losses = 10 ** draw.uniform(-5, 0), losses_of(draw)
    args = {"factor": draw.uniform(0.1, 0.9), "patience": draw.randint(0, 5), "cooldown": draw.randint(0, 3)}
    optimizer = optimizer_at(lr)
    theirs = transformers().get_scheduler("reduce_lr_on_plateau", optimizer, scheduler_specific_kwargs=args)
    return Pair(on_losses(theirs.step, optimizer, losses), ours_on_losses("ReduceLROnPlateau", args, lr, losses), lr)


def greedy(draw: Random) -> Pair:
    lr, losses, window = 10 ** draw.uniform(-4, 0), losses_of(draw), draw.choice([0, 1, 5])
    args = {
        "factor": draw.uniform(0.5, 0.99), "patience": draw.randint(0, 3), "cooldown": draw.randint(0, 3),
        "warmup": draw.randint(0, 3), "min_lr": lr * draw.choice([0, 0.5, 0.9]), "max_lr": lr * draw.choice([1, 1.3, 100]),
        "threshold": draw.choice([0.0, 0.01]), "threshold_mode": draw.choice(["rel", "abs"]),
        "reset_start": draw.choice([1, 3, 500]),
    }  # fmt: skip
    optimizer = optimizer_at(lr)
    smooth = {"smooth": window > 0, "window_size": window or 50}
    theirs = transformers().get_scheduler("greedy", optimizer, scheduler_specific_kwargs={**args, **smooth})
    ours = ours_on_losses("GreedyLR", {**args, "window": window}, lr, losses)
    return Pair(on_losses(theirs.step, optimizer, losses), ours, lr)


def warmed_up(draw: Random, first: int, lr: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """A warmup in timm's words and in ours."""
    warmup, start, prefix = draw.choice([0, draw.randint(1, first - 1)]), share(draw) * lr, draw.choice([True, False])
    theirs = {"warmup_t": warmup, "warmup_lr_init": start, "warmup_prefix": prefix}
    return theirs, {"warmup": warmup, "start": start, "prefix": prefix}


def cycled(name: str, shape: str, both: Mapping[str, tuple[str, list[float]]]) -> Callable[[Random], Pair]:
    """Runs of one of timm's cyclic schedules; ``both`` are arguments of the shape: theirs → ours, and values."""

    def draw_one(draw: Random) -> Pair:
        first, count, growth = draw.randint(5, 60), draw.randint(1, 4), draw.choice([1.0, 1.0, 1.5, 2.0, 3.0])
        lr = 10 ** draw.uniform(-5, 0)
        least, shrink = share(draw) * lr, draw.choice([1.0, 0.5])
        values = {theirs: draw.choice(among) for theirs, (_, among) in both.items()}
        theirs, ours = warmed_up(draw, first, lr)
        length = sum(first * growth**number for number in range(count))
        steps = int(length) + draw.randint(0, 10) + (theirs["warmup_t"] if theirs["warmup_prefix"] else 0)
        found = of_timm(
            name, steps, lr, t_initial=first, cycle_mul=growth, cycle_decay=shrink, cycle_limit=count, lr_min=least,
            **values, **theirs,
        )  # fmt: skip
        args = {"shape": shape, "first": first, "growth": growth, "shrink": shrink, "cycles": count, "final": least, **ours}
        args |= {both[name][0]: value for name, value in values.items()}
        return Pair(found, of_ours("Annealing", args, steps, lr), lr)

    return draw_one


K_DECAY = {"k_decay": ("k", [1.0, 1.0, 0.5, 1.5])}
timm_cosine = cycled("CosineLRScheduler", "cosine", K_DECAY)
timm_tanh = cycled("TanhLRScheduler", "tanh", {"lb": ("lower", [-7.0, -4.0]), "ub": ("upper", [3.0, 2.0])})
timm_poly = cycled("PolyLRScheduler", "polynomial", {**K_DECAY, "power": ("power", [0.5, 1.0, 2.0])})


def timm_step(draw: Random) -> Pair:
    steps, lr, _ = run(draw)
    (theirs, ours), every, rate = warmed_up(draw, steps // 2, lr), draw.randint(1, steps), draw.choice([0.1, 0.97])
    found = of_timm("StepLRScheduler", steps, lr, decay_t=every, decay_rate=rate, **theirs)
    return Pair(found, of_ours("StepDecay", {"every": every, "gamma": rate, **ours}, steps, lr), lr)


def timm_multistep(draw: Random) -> Pair:
    steps, lr, _ = run(draw)
    (theirs, ours), rate = warmed_up(draw, steps // 2, lr), draw.choice([0.1, 0.5])
    moments = sorted(draw.sample(range(2, steps), draw.randint(1, 4)))
    found = of_timm("MultiStepLRScheduler", steps, lr, decay_t=moments, decay_rate=rate, **theirs)
    return Pair(found, of_ours("StepDecay", {"at": [m - 1 for m in moments], "gamma": rate, **ours}, steps, lr), lr)


def timm_constant(draw: Random) -> Pair:
    steps, lr, _ = run(draw)
    theirs, ours = warmed_up(draw, steps // 2, lr)
    found = of_timm("StepLRScheduler", steps, lr, decay_t=1, decay_rate=1.0, **theirs)
    return Pair(found, of_ours("StepDecay", ours, steps, lr), lr)


def phases(power: float | None) -> Callable[[Random], Pair]:
    """Runs of timm's WSDLRScheduler; with the ``power`` of its stable phase where it is not constant."""

    def draw_one(draw: Random) -> Pair:
        steps, lr, warmup = run(draw)
        least, start, kind = share(draw) * lr, share(draw) * lr, draw.choice(["linear", "1-sqrt", "cosine", "exp"])
        decay, timescale = draw.randint(1, steps - warmup), draw.choice([warmup or 5, draw.randint(1, 100)])
        fading: dict[str, Any] = {"stable_fn": "rsqrt" if power == 0.5 else "power", "stable_timescale": timescale}
        found = of_timm(
            "WSDLRScheduler", steps, lr, t_initial=steps - warmup, decay_t=decay, lr_min=least, decay_fn=kind,
            warmup_t=warmup, warmup_lr_init=start, **(fading | {"stable_power": power} if power else {}),
        )  # fmt: skip
        args = {"warmup": warmup, "start": start, "decay": decay, "cooldown": kind, "final": least}
        args |= {"stable_power": power, "timescale": timescale} if power else {}
        return Pair(found, of_ours("WarmupStableDecay", args, steps, lr), lr)

    return draw_one


def timm_plateau(draw: Random) -> Pair:
    lr, losses = 10 ** draw.uniform(-5, 0), losses_of(draw)
    rate, patience, least = draw.uniform(0.1, 0.9), draw.randint(0, 5), share(draw) * lr
    optimizer = optimizer_at(lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # timm will do without it
        theirs = timm().PlateauLRScheduler(optimizer, rate, patience, lr_min=least, mode="min")
    args = {"factor": rate, "patience": patience, "min_lr": least}
    found = on_losses(lambda loss: theirs.step(1, loss), optimizer, losses)
    return Pair(found, ours_on_losses("ReduceLROnPlateau", args, lr, losses), lr)


HF, OURS = "transformers", "`warmup` (the entry's) = `num_warmup_steps`"
CYCLES = (
    "`first`, `cycles`, `growth`, `shrink`, `k`, `final` = `t_initial`, `cycle_limit`, `cycle_mul`, `cycle_decay`, `k_decay`, "
    "`lr_min`; `warmup`, `start`, `prefix` = `warmup_t`, `warmup_lr_init`, `warmup_prefix`"
)
WARMED = "`warmup`, `start`, `prefix` = `warmup_t`, `warmup_lr_init`, `warmup_prefix`"
PHASES = "`warmup`, `start`, `decay`, `cooldown`, `final` = `warmup_t`, `warmup_lr_init`, `decay_t`, `decay_fn`, `lr_min`"
PATIENCE = "`factor`, `patience`, `min_lr` = `decay_rate`, `patience_t`, `lr_min`"
SHIFTED = (
    "for n = `num_warmup_steps` ≥ 2 of N: `warmup` = n − 1, `first` = N − n, `start` = `warmup_lr_rate` as a percentage, "
    "or 100% / n; `final`, `waves` = `min_lr`, `num_cycles`"
)
STABLE = (
    "`warmup` (its own), `stable`, `decay` = `num_…_steps`; `rise`, `cooldown` = `warmup_type`, `decay_type`; `start` and "
    "`final` = `min_lr_ratio` as a percentage; `waves` = `num_cycles`"
)
LINES = [
    (HF, "linear", "LinearDecay", OURS, linear),
    (HF, "cosine", "CosineDecay {final: 0%}", OURS, cosine),
    (HF, "cosine with num_cycles", "Annealing", f"{OURS}; `waves` = `num_cycles`", waves),
    (HF, "cosine_with_restarts", "CosineRestarts", f"{OURS}; `cycles` = `num_cycles`", restarts),
    (HF, "polynomial", "Annealing {shape: polynomial}", f"{OURS}; `power`, `final` = `power`, `lr_end`", polynomial),
    (HF, "constant, constant_with_warmup", "ConstantLR {factor: 1.0}", OURS, constant),
    (HF, "inverse_sqrt", "InverseSqrt", "`warmup` (its own), `timescale` = `num_warmup_steps`, `timescale`", inverse_sqrt),
    (HF, "reduce_lr_on_plateau", "ReduceLROnPlateau", "the same; on the training loss of each epoch", plateau),
    (HF, "cosine_with_min_lr", "CosineDecay", f"{OURS}; `final` = `min_lr`, or `min_lr_rate` as a percentage", min_lr),
    (HF, "cosine_warmup_with_min_lr", "Annealing {prefix: true}", SHIFTED, warmup_from),
    (HF, "warmup_stable_decay", "WarmupStableDecay", STABLE, stable),
    (HF, "greedy", "GreedyLR", "the same; `window` = `window_size` where `smooth`; on the training loss of each epoch", greedy),
    ("timm", "cosine", "Annealing", CYCLES, timm_cosine),
    ("timm", "tanh", "Annealing {shape: tanh}", "as `cosine`; `lower`, `upper` = `lb`, `ub`", timm_tanh),
    ("timm", "poly", "Annealing {shape: polynomial}", "as `cosine`; `power` = `power` (the factory's `decay_rate`)", timm_poly),
    ("timm", "step", "StepDecay", f"`every`, `gamma` = `decay_t`, `decay_rate`; {WARMED}", timm_step),
    ("timm", "multistep", "StepDecay", f"`at` = `decay_t`, each less one; `gamma` = `decay_rate`; {WARMED}", timm_multistep),
    ("timm", "constant", "StepDecay", WARMED, timm_constant),
    ("timm", "wsd", "WarmupStableDecay", PHASES, phases(None)),
    ("timm", "rsqrt", "WarmupStableDecay {stable_power: 0.5}", "as `wsd`; `timescale` = `stable_timescale`", phases(0.5)),
    ("timm", "wsd with stable_fn=power", "WarmupStableDecay", "as `rsqrt`; `stable_power` = `stable_power`", phases(0.8)),
    ("timm", "plateau", "ReduceLROnPlateau", PATIENCE, timm_plateau),
]  # fmt: skip
CASES = {f"{line[0]} {line[1]}": Case(*line) for line in LINES}


@cache
def pairs(case: str) -> list[Pair]:
    """The drawn runs of a case."""
    return [CASES[case].draw(Random(f"{case} {number}")) for number in range(DRAWS)]


def furthest(case: str) -> float:
    """The largest relative difference of all rates above a thousandth of the peak, over all drawn runs."""
    high = [(pair, pair.theirs > 1e-3 * pair.peak) for pair in pairs(case)]
    return max(float(np.abs(pair.ours[at] / pair.theirs[at] - 1).max(initial=0.0)) for pair, at in high)


# docs/schedulers.md

BEGINNING = """\
# Schedulers

Each is a real object of `torch.optim.lr_scheduler` or `torch.optim.swa_utils`, or is composed of torch's `LambdaLR`; rate
and momentum are torch's own at every step. `python -m pipeline schedulers` draws those in your `params.yaml`. One that is
missing is a [function of your own](own-code.md#a-scheduler). `python -m tests.schedulers.known` writes this page.

## All registered schedulers

⟷ marks a length (a number of steps, or a share of the run), ↕ a rate (a number, or a share of the optimizer's): see
[percentages](params.md#percentages). [Tuning](tuning.md#what-is-searched) says how to search something else.

"""
ELSEWHERE = """
## Names in Hugging Face and timm

The names of Hugging Face's `transformers.SchedulerType` and of timm's `create_scheduler` can be written as a scheduler's
`name` in params.yaml; `train` says in one line what each became. Arguments are written as here: one of theirs is an error
that says which is meant. `cosine` and `constant` are in both libraries: Hugging Face's are taken (timm's `cosine` is
`Annealing`, per epoch). timm steps its schedules per epoch, and so are its names here unless `interval: batch` says
otherwise.

The last column is measured ({draws} drawn runs each, with transformers {transformers} and timm {timm}): no rate above a
thousandth of its peak is further from theirs than this share of it, rounded up to a power of ten.

| theirs | | ours | arguments: ours = theirs | apart |
|---|---|---|---|---|
"""
LIMITS = """
**Where they differ.** Rates near zero have fewer digits, in theirs as in ours: 1 + cos and 1 − t cancel there, so that the
last ones of a run agree to 1e-15 of the peak instead. Left as ours is:

- timm trains its first step at the optimizer's own rate, whatever the schedule says: for `tanh` that is 8e-7 more than here.
- timm finds the cycle by a logarithm that rounds: the sixth cycle with `cycle_mul=3` begins a step late there.
- transformers' `cosine_with_restarts` may round the first step of a cycle into the last one, from 49 cycles on.
- transformers' `cosine_warmup_with_min_lr` without a warmup begins one step in, which cannot be written here.
- timm's noise, its `decay_power` and `decay_ratio` (here 0.5, as 1-sqrt, and 0.1), fractions of an epoch per epoch (write
  batches, or a share of the run) and a warmup before `plateau` are not here.
- `stable` is at most what is left of the run beside warmup and decay; transformers would cut the decay off.
- `InverseSqrt` without `timescale` and warmup is an error; transformers takes 10000.

## Keras, optax, fastai, Lightning, DeepSpeed

Their names are not taken, since their arguments mean something else; each is an error that says what to write. Case and
underscores do not matter.

| name | what to write |
|---|---|
"""


def document() -> Iterator[str]:
    """docs/schedulers.md."""
    versions = {name: version(name) for name in ("transformers", "timm")}
    yield BEGINNING
    yield "".join(f"{line}\n" for line in table())
    yield ELSEWHERE.format(draws=DRAWS, **versions)
    for name, case in CASES.items():
        yield f"| {case.library} | `{case.theirs}` | `{case.ours}` | {case.arguments} | {decade(furthest(name))} |\n"
    yield LIMITS
    for name, hint in HINTS.items():
        yield f"| `{name}` | {hint} |\n"


def decade(difference: float) -> str:
    return f"1e{math.ceil(math.log10(difference))}" if difference else "0"


if __name__ == "__main__":
    (Path(__file__).parents[2] / "docs" / "schedulers.md").write_text("".join(document()), encoding="utf-8")
