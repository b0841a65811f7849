"""Names of schedules in Hugging Face's transformers and in timm, and what each is here; and hints for those of others.

docs/schedulers.md is the same as a table, with how exactly each agrees.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.registry import Alias, folded
from pipeline.schedulers.registry import schedulers

WARMUP = "num_warmup_steps is the entry's `warmup`"
WARMED_UP = "warmup_t, warmup_lr_init and warmup_prefix are warmup, start and prefix"
CYCLES = "t_initial, cycle_limit, cycle_mul, cycle_decay, k_decay and lr_min are first, cycles, growth, shrink, k and final"

HUGGING_FACE: Mapping[str, Alias] = {
    "linear": Alias("LinearDecay", {}, WARMUP),
    "cosine": Alias(
        "CosineDecay",
        {"final": "0%"},
        f"{WARMUP}; with num_cycles write Annealing {{waves: …}}; timm's cosine is Annealing per epoch, where {CYCLES}",
    ),
    "cosine_with_restarts": Alias("CosineRestarts", {"cycles": 1}, f"{WARMUP}, num_cycles is cycles"),
    "polynomial": Alias("Annealing", {"shape": "polynomial", "final": 1e-7}, f"{WARMUP}, lr_end is final"),
    "constant": Alias("ConstantLR", {"factor": 1.0}, "it takes no arguments"),
    "constant_with_warmup": Alias("ConstantLR", {"factor": 1.0}, WARMUP),
    "inverse_sqrt": Alias("InverseSqrt", {}, "num_warmup_steps is args.warmup, and timescale is as long unless it is written"),
    "reduce_lr_on_plateau": Alias("ReduceLROnPlateau", {}, "it watches the training loss of each epoch"),
    "cosine_with_min_lr": Alias("CosineDecay", {}, f"{WARMUP}, min_lr is final, and so is min_lr_rate as a percentage"),
    "cosine_warmup_with_min_lr": Alias(
        "Annealing",
        {"prefix": True},
        "for n steps of warmup of N in all write warmup: n - 1, first: N - n, and for start warmup_lr_rate as a percentage, "
        "or 100% / n; min_lr is final, num_cycles is waves",
    ),
    "warmup_stable_decay": Alias(
        "WarmupStableDecay",
        {"warmup": 0, "cooldown": "cosine"},
        "num_warmup_steps, num_stable_steps and num_decay_steps are args.warmup, stable and decay, warmup_type and decay_type "
        "are rise and cooldown, num_cycles is waves, and min_lr_ratio is both start and final as a percentage",
    ),
    "greedy": Alias("GreedyLR", {}, "smooth and window_size are window; it watches the training loss of each epoch"),
}
"""All of ``transformers.SchedulerType``."""

PER_EPOCH: Mapping[str, Any] = {"interval": "epoch"}
"""How timm steps its schedules, unless it is told otherwise (``sched_on_updates``)."""
TIMM: Mapping[str, Alias] = {
    "tanh": Alias("Annealing", {"shape": "tanh"}, f"{CYCLES}, lb and ub are lower and upper, {WARMED_UP}", PER_EPOCH),
    "poly": Alias("Annealing", {"shape": "polynomial", "power": 0.5}, f"{CYCLES}, {WARMED_UP}", PER_EPOCH),
    "step": Alias("StepDecay", {}, f"decay_t and decay_rate are every and gamma, {WARMED_UP}", PER_EPOCH),
    "multistep": Alias("StepDecay", {}, f"decay_t, each less one, is at, decay_rate is gamma, {WARMED_UP}", PER_EPOCH),
    "wsd": Alias(
        "WarmupStableDecay",
        {"warmup": 0},
        "warmup_t, warmup_lr_init, decay_t, decay_fn and lr_min are args.warmup, start, decay, cooldown and final",
        PER_EPOCH,
    ),
    "rsqrt": Alias(
        "WarmupStableDecay",
        {"warmup": 0, "stable_power": 0.5, "cooldown": "linear"},
        "stable_timescale is timescale (in timm as long as the warmup), and all else is as for wsd",
        PER_EPOCH,
    ),
    "plateau": Alias("ReduceLROnPlateau", {}, "decay_rate, patience_t and lr_min are factor, patience and min_lr"),
    "none": Alias("ConstantLR", {"factor": 1.0}, "it takes no arguments"),
}
"""All of ``timm.scheduler.create_scheduler``, but for ``cosine`` and ``constant``, which are Hugging Face's."""

COSINE = "write CosineDecay {final: …}, and `warmup` beside its args"
ONE_CYCLE = "write OneCycleLR {max_lr: 100%, cycle_momentum: false}"
PIECES = "write MultiStepLR {milestones: […], gamma: …}; values that no one factor links take a function of your own"
OWN = "write a function of your own (docs/own-code.md)"
HINTS: Mapping[str, str] = {
    "exponential": "write ExponentialLR {gamma: …} or {final: …}",
    "exponentialdecay": "write ExponentialLR with gamma: decay_rate ** (1 / decay_steps), or with staircase StepDecay "
    "{every: decay_steps, gamma: decay_rate}",
    "onecycle": ONE_CYCLE,
    "fitonecycle": "write OneCycleLR {max_lr: 100%, pct_start: 0.25, final_div_factor: 4000, cycle_momentum: false}",
    "flatcos": "write WarmupStableDecay {warmup: 0, decay: 25%, cooldown: cosine}",
    "fitflatcos": "write WarmupStableDecay {warmup: 0, decay: 25%, cooldown: cosine}",
    "fitsgdr": "write Annealing {cycles: n_cycles, growth: cycle_mult}",
    "cosinedecayrestarts": "write Annealing {first: first_decay_steps, growth: t_mul, shrink: m_mul, final: …, cycles: …}",
    "piecewiseconstantdecay": PIECES,
    "piecewiseconstantschedule": PIECES,
    "polynomialdecay": "write Annealing {shape: polynomial, power: …, final: …, first: decay_steps}",
    "polynomialschedule": "write Annealing {shape: polynomial, power: …, final: …, first: transition_steps}",
    "linearschedule": "write LinearDecay {final: …}",
    "constantschedule": "write ConstantLR {factor: 1.0}",
    "cosinedecayschedule": COSINE,
    "warmupcosinedecayschedule": COSINE,
    "warmupcosine": COSINE,
    "warmupcosinelr": COSINE,
    "warmuplr": "write ConstantLR {factor: 1.0}, and `warmup` beside its args",
    "warmupdecaylr": "write LinearDecay, and `warmup` beside its args",
    "warmupconstantschedule": "write ConstantLR {factor: 1.0}, and `warmup` beside its args",
    "warmupexponentialdecayschedule": "write ExponentialLR {gamma: …}, and `warmup` beside its args",
    "linearwarmupcosineannealinglr": "write Annealing {warmup: warmup_epochs, start: warmup_start_lr, final: eta_min, "
    "prefix: true}",
    "sgdrschedule": "write Annealing {cycles: …, growth: …, shrink: …}",
    "cosineonecycleschedule": ONE_CYCLE,
    "linearonecycleschedule": f"{ONE_CYCLE} and anneal_strategy: linear",
    "inversetimedecay": OWN,
    "lambdalr": OWN,
    "multiplicativelr": OWN,
}
"""Names of Keras, optax, fastai, Lightning, DeepSpeed and torch, as :func:`pipeline.config.registry.folded` has them."""

schedulers.aliases.update({**TIMM, **HUGGING_FACE})
schedulers.hints.update({**{folded(name): f"did you mean {name}?" for name in schedulers.aliases}, **HINTS})


def told(data: Mapping[str, Any], problem: str) -> Iterator[str]:
    """A line for each schedule of the problem, as read from params.yaml, that goes by a name of another library.

    It says what the name became and what to write. Common schedules are told of with the first problem alone.
    """
    problems = data["problems"]
    if problem == next(iter(problems)):
        yield from _told(data["schedulers"], "schedulers")
    yield from _told(problems[problem].get("schedulers", {}), f"problems.{problem}.schedulers")


def _told(entries: Mapping[str, Any], place: str) -> Iterator[str]:
    for label, entry in entries.items():
        name = entry.get("name", label)
        if (alias := schedulers.alias(name)) is not None:
            library = "Hugging Face's" if name in HUGGING_FACE else "timm's"
            yield f"{place}.{label}: {library} {name} is {alias} here; {alias.hint}"
