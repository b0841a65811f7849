"""The schedules that torch has no class for, as source: what to multiply the peak rate with at a step.

Each says in plain Python what its function in ``pipeline/schedulers/composed.py`` says in numpy's arithmetic, operation by
operation, so that both give the same rates to the last bit. What takes more than a few lines is None, and becomes a table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from pipeline.analysis.source import Code, literal
from pipeline.config.spaces import Range
from pipeline.config.units import is_length, is_rate, marks_of, percent
from pipeline.schedulers.registry import Scheduler

PEAK = "LR"
"""The name of the peak rate."""


@dataclass(frozen=True)
class Arguments:
    """A schedule's arguments, ``written`` as in params.yaml and ``resolved`` in torch's numbers.

    ``steps`` is how often the schedule is stepped, without a warmup before it, and ``name`` the name of that number.
    Where a study ``searched`` them, what it searched over the whole run is meant for any length of it.
    """

    entry: Scheduler
    written: Mapping[str, Any]
    resolved: Mapping[str, Any]
    peak: float
    steps: int
    name: str
    searched: bool = False

    def __getitem__(self, argument: str) -> Any:
        """In torch's numbers."""
        return self.resolved[argument]

    def source(self, argument: str) -> Any:
        """A share as a :class:`Code` that computes it from the run's length or the peak; anything else as it is."""
        if argument == self.entry.horizon:
            return Code(self.name)
        marks = marks_of(self.entry.arguments.model_fields[argument])
        written, value = self.written[argument], self.resolved[argument]
        space = self.entry.search.get(argument)
        if self.searched and isinstance(space, Range) and space.over == "run" and value not in (None, 0, 1):
            return Code(f"{literal(value)} ** ({self.steps} / {self.name})")
        if any(map(is_length, marks)):
            least = min(mark.minimum for mark in marks if is_length(mark))
            if isinstance(value, list):
                return [length(share, self.name, self.steps, each, 0) for share, each in zip(written, value, strict=True)]
            return length(written, self.name, self.steps, value, least)
        return rate(written, self.peak, value) if any(map(is_rate, marks)) else value

    def sources(self) -> dict[str, Any]:
        """The sources of all arguments, the length of the run among them where the schedule takes it."""
        names = [*self.entry.arguments.model_fields, *filter(None, [self.entry.horizon])]
        return {name: self.source(name) for name in names}

    def of_peak(self, argument: str) -> Any:
        """A rate as a share of the peak: a number, or a :class:`Code` where dividing rounds."""
        value, share = self.resolved[argument], percent(str(self.written[argument]))
        if share is not None and float(share / 100) == value / self.peak:
            return float(share / 100)
        return Code(f"{literal(self.source(argument))} / {PEAK}")


def length(written: Any, name: str, steps: int, value: int, least: int) -> Any:
    """So many steps as a share of the ``steps`` called ``name``, where it is written as one, and at least ``least``."""
    share = percent(written) if isinstance(written, str) else None
    if share is None:
        return value
    if share == 100:
        return Code(name)
    number = float(share / 100)
    parts, whole = (2 * share / 100).as_integer_ratio()
    exact = f"({parts} * {name} + {whole}) // {2 * whole}"  # rounded half up
    for rounded, found in (
        (f"round({literal(number)} * {name})", round(number * steps)),
        (f"int({literal(number)} * {name} + 0.5)", int(number * steps + 0.5)),
        (exact, int(share * steps / 100 + Fraction(1, 2))),
    ):
        if max(found, least) == value:
            return Code(f"max({least}, {rounded})" if least else rounded)
    return value


def rate(written: Any, peak: float, value: Any) -> Any:
    """A rate as a share of the peak, where it is written as one."""
    share = percent(written) if isinstance(written, str) else None
    if share is None or float(share / 100) * peak != value:
        return value
    if share in (0, 100):
        return Code(PEAK) if share else 0.0
    return Code(f"{literal(float(share / 100))} * {PEAK}")


@dataclass(frozen=True)
class Factor:
    """An expression of the step; statements ``inside`` the function, above it, and ``before`` the function."""

    value: str
    inside: Sequence[str] = ()
    before: Sequence[str] = field(default_factory=list)


Formula = Callable[[Arguments], Factor | None]


def _assigned(args: Arguments, *names: str) -> list[str]:
    """Statements that set the arguments."""
    return [f"{name} = {literal(args.source(name))}" for name in names]


def _to_final(args: Arguments, value: str, inside: Sequence[str] = (), before: Sequence[str] = ()) -> Factor:
    """From 1, where ``value`` is 1, to the share ``final`` of the peak, where it is 0."""
    if not args["final"]:
        return Factor(value, inside, before)
    low = f"low = {literal(args.of_peak('final'))}"
    return Factor("low + (1 - low) * shape", [*inside, f"shape = {value}"], [*before, low])


def _tanh(args: Arguments) -> Factor:
    lower, width = literal(args["lower"]), literal(args["upper"] - args["lower"])
    return _to_final(args, f"(1 - math.tanh({lower} + {width} * step / {args.name})) / 2")


def _inverse_sqrt(args: Arguments) -> Factor:
    before = _assigned(args, *(name for name in ("timescale", "warmup") if args[name]))
    scale = "timescale" if args["timescale"] else "max(1, warmup)"
    if not args["warmup"]:
        return Factor(f"1 / math.sqrt(1 + step / {scale})", [], before)
    rise = ["if step < warmup:", "    return step / warmup"]
    return Factor(f"1 / math.sqrt(1 + (step - warmup) / {scale})", rise, before)


COOLDOWNS = {
    "linear": "1 - done",
    "cosine": "(1 + math.cos(math.pi * done)) / 2",
    "1-sqrt": "1 - math.sqrt(done)",
    "exp": "(0.1**done - 0.1) / 0.9",
}
RISES = {
    "linear": "step / warmup",
    "cosine": "(1 - math.cos(math.pi * (step / warmup))) / 2",
    "1-sqrt": "1 - math.sqrt(1 - step / warmup)",
}


def _rise(args: Arguments, value: str) -> tuple[list[str], list[str]]:
    """Statements before the function, and in it: up from ``start`` to the peak along ``value``."""
    if not args["warmup"]:
        return [], []
    before = _assigned(args, "warmup")
    if args["start"]:
        before += [f"start = {literal(args.of_peak('start'))}"]
        value = f"start + (1 - start) * {value}"
    return before, ["if step < warmup:", f"    return {value}"]


def _stable(args: Arguments) -> Factor | None:
    if args["stable"] is not None or args["stable_power"] or args["waves"] != 0.5:
        return None
    before, rise = _rise(args, f"({RISES[args['rise']]})" if args["start"] else RISES[args["rise"]])
    done = f"done = min(1.0, max(0, step - ({args.name} - decay)) / decay)"
    return _to_final(args, COOLDOWNS[args["cooldown"]], [*rise, done], [*before, *_assigned(args, "decay")])


def _annealing(args: Arguments) -> Factor | None:
    is_tanh, k = args["shape"] == "tanh", args["k"]
    if args["cycles"] != 1 or args["first"] is not None or k != 1 or (is_tanh and args["warmup"] and not args["prefix"]):
        return None
    before, inside = _rise(args, RISES["linear"])
    length = args.name
    if args["warmup"] and args["prefix"]:
        inside, length = [*inside, "step -= warmup"], "length"
        before = [*before, f"length = {args.name} - warmup"]
    waves = "" if args["waves"] == 0.5 else f" * {literal(2 * args['waves'])}"
    lower, upper = literal(args["lower"]), literal(args["upper"])
    shape = {
        "cosine": f"(1 + math.cos(math.pi{waves} * done / {length})) / 2",
        "polynomial": f"(1 - done / {length}) ** {literal(args['power'])}",
        "tanh": f"(1 - math.tanh({lower} * (1 - done / {length}) + {upper} * (done / {length}))) / 2",
    }[args["shape"]]
    return _to_final(args, shape, [*inside, f"done = min(step, {length})"], before)


def _steps(args: Arguments) -> Factor | None:
    before, inside = _rise(args, RISES["linear"])
    if args["warmup"] and args["prefix"]:
        inside = [*inside, "step -= warmup"]
    given = [name for name in ("every", "at") if args[name]]
    exponent = {
        (): "",
        ("at",): "sum(step >= moment for moment in at)",
        ("every",): "(step // every)",
        ("every", "at"): "(sum(step >= moment for moment in at) + step // every)",
    }[tuple(given)]
    value = f"{literal(args['gamma'])} ** {exponent}" if given else "1.0"
    return Factor(value, inside, [*before, *_assigned(args, *given)])


FORMULAS: Mapping[str, Formula] = {
    "LinearDecay": lambda args: _to_final(args, f"max(0.0, 1 - step / {args.name})"),
    "CosineDecay": lambda args: _to_final(args, f"(1 + math.cos(math.pi * (step / {args.name}))) / 2"),
    "CosineRestarts": lambda args: _to_final(
        args, f"(1 + math.cos(math.pi * (step * {args['cycles']} % {args.name} / {args.name}))) / 2"
    ),
    "WarmupStableDecay": _stable,
    "InverseSqrt": _inverse_sqrt,
    "REX": lambda args: _to_final(args, "left / (0.5 + 0.5 * left)", [f"left = max(0.0, 1 - step / {args.name})"]),
    "TanhDecay": _tanh,
    "Annealing": _annealing,
    "StepDecay": _steps,
    "ScheduleFree": lambda _: Factor("1.0"),
}
