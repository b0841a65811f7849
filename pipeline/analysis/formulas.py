"""The closed forms of ``pipeline/schedulers/composed.py`` written out, for a script that has nothing of this package.

Each calculates in the same order as the original, so that no bit differs; what the arguments leave without effect is left out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim import SGD

from pipeline.schedulers.composed import annealing, cycles_of

PLAIN: Mapping[str, str] = {
    "LinearDecay": "1 - step / {total}",
    "CosineDecay": "(1 + math.cos(math.pi * (step / {total}))) / 2",
    "CosineRestarts": "(1 + math.cos(math.pi * (step * {cycles} % {total} / {total}))) / 2",
    "REX": "(1 - step / {total}) / (0.5 + 0.5 * (1 - step / {total}))",
    "TanhDecay": "(1 - math.tanh({lower} + ({upper} - {lower}) * step / {total})) / 2",
}
"""Those that are one formula from 1 to 0."""
RISES: Mapping[str, str] = {
    "linear": "step / {warmup}",
    "cosine": "(1 - math.cos(math.pi * (step / {warmup}))) / 2",
    "1-sqrt": "1 - math.sqrt(1 - step / {warmup})",
}
COOLDOWNS: Mapping[str, str] = {
    "linear": "1 - progress",
    "cosine": "(1 + math.cos(math.pi * {progress})) / 2",
    "1-sqrt": "1 - math.sqrt(progress)",
    "exp": "(0.1**progress - 0.1) / 0.9",
}

Args = Mapping[str, Any]
Lines = Iterator[str]
Literal = Callable[[Any], str]
"""A value as Python source."""


def body_of(name: str, arguments: Args, lr: float, total: int, literal: Literal) -> str | None:
    """The body of a function of ``step`` that returns the share of the peak rate; None for what is no closed form here."""
    args = {**arguments, **{key: arguments[key] / lr for key in ("final", "start") if key in arguments}}
    if name in PLAIN:
        shape = PLAIN[name].format(total=total, **{key: literal(value) for key, value in args.items()})
        return "\n".join(_between(shape, args["final"], literal))
    match name:
        case "WarmupStableDecay":
            lines = _warmup_stable_decay(args, total, literal)
        case "InverseSqrt":
            lines = _inverse_sqrt(args)
        case "Annealing":
            lines = _annealing(args, _top(arguments, lr, total), total, literal)
        case "StepDecay":
            lines = _step_decay(args, literal)
        case _:
            return None
    return "\n".join(lines)


def _between(shape: str, lowest: float, literal: Literal, top: str = "") -> Lines:
    """From ``top``, or 1, down to ``lowest``."""
    if lowest:
        yield f"shape = {shape}"
        yield f"return {literal(lowest)} + ({top or 1} - {literal(lowest)}) * shape"
    else:
        yield f"return {top} * ({shape})" if top else f"return {shape}"


def _rising(warmup: int, start: float, literal: Literal, shape: str, top: float = 1.0) -> Lines:
    """From ``start`` to ``top`` along a shape that goes from 0 to 1."""
    if not warmup:
        return
    yield f"if step < {warmup}:"
    if start or top != 1:
        shape = f"{literal(start)} + ({literal(top)} - {literal(start)}) * {shape}"
    yield f"    return {shape}"


def _warmup_stable_decay(args: Args, total: int, literal: Literal) -> Lines:
    warmup, decay, lowest = args["warmup"], args["decay"], args["final"]
    left = total - warmup - decay
    begins = warmup + (left if args["stable"] is None else min(args["stable"], left))
    rise = RISES[args["rise"]].format(warmup=warmup)
    yield from _rising(warmup, args["start"], literal, f"({rise})" if args["start"] else rise)
    yield f"progress = max(step - {begins}, 0) / {decay}"
    if begins + decay < total:
        yield "if progress >= 1:"
        yield f"    return {literal(lowest)}"
    if args["stable_power"]:
        since = f"(step - {warmup})" if warmup else "step"
        yield f"faded = (1 + {since} / {args['timescale']}) ** {literal(-args['stable_power'])}"
        yield f"faded = max(faded, {literal(lowest)})"
    progress = "progress" if args["waves"] == 0.5 else f"({literal(2 * args['waves'])} * progress)"
    shape = COOLDOWNS[args["cooldown"]].format(progress=progress)
    yield from _between(shape, lowest, literal, "faded" if args["stable_power"] else "")


def _inverse_sqrt(args: Args) -> Lines:
    warmup, timescale = args["warmup"], args["timescale"] or args["warmup"]
    since = f"(step - {warmup})" if warmup else "step"
    yield from _rising(warmup, 0.0, str, f"step / {warmup}")
    yield f"return 1 / math.sqrt(1 + {since} / {timescale})"


def _annealing(args: Args, top: float, total: int, literal: Literal) -> Lines:
    yield from _straight(args, literal, top)
    steps = total - args["warmup"] * args["prefix"]
    starts, lengths = (list(map(_whole, each)) for each in cycles_of(args["cycles"], args["first"], args["growth"], steps))
    if len(starts) > 1:
        yield f"starts = {literal(starts)}"
        yield f"lengths = {literal(lengths)}"
        yield "cycle = bisect.bisect(starts, step) - 1"
        yield "done, whole = min(step - starts[cycle], lengths[cycle]), lengths[cycle]"
    else:
        yield f"done, whole = min(step, {literal(lengths[0])}), {literal(lengths[0])}"
    if args["k"] != 1:
        yield f"done, whole = done**{literal(args['k'])}, whole**{literal(args['k'])}"
    shrunk = f"{literal(args['shrink'])}**cycle" if len(starts) > 1 and args["shrink"] != 1 else ""
    yield from _between(_along(args, literal), args["final"], literal, shrunk)


def _along(args: Args, literal: Literal) -> str:
    match args["shape"]:
        case "cosine":
            waves = "" if args["waves"] == 0.5 else f"{literal(2 * args['waves'])} * "
            return f"(1 + math.cos(math.pi * {waves}done / whole)) / 2"
        case "polynomial":
            return f"(1 - done / whole) ** {literal(args['power'])}"
    x = f"{literal(args['lower'])} * (1 - done / whole) + {literal(args['upper'])} * (done / whole)"
    return f"(1 - math.tanh({x})) / 2 if done < whole else 0.0"


def _step_decay(args: Args, literal: Literal) -> Lines:
    yield from _straight(args, literal)
    falls = [f"step // {args['every']}"] if args["every"] else []
    falls += [f"bisect.bisect({literal(sorted(args['at']))}, step)"] if args["at"] else []
    yield f"return {literal(args['gamma'])} ** ({' + '.join(falls) or 0})"


def _straight(args: Args, literal: Literal, top: float = 1.0) -> Lines:
    """The warmup, and the steps behind it counted from 0 where it is a prefix."""
    warmup = args["warmup"]
    if not warmup:
        return
    yield f"if step < {warmup}:"
    yield f"    return {literal(args['start'])} + ({literal(top)} - {literal(args['start'])}) * step / {warmup}"
    if args["prefix"]:
        yield f"step -= {warmup}"


def _top(arguments: Args, lr: float, total: int) -> float:
    """Where the warmup of ``annealing`` leads, which is a number of no simple form for a tangent."""
    if arguments["shape"] != "tanh" or arguments["prefix"]:
        return 1.0
    alone: Any = annealing(SGD([torch.zeros(1)], lr), total, **{**arguments, "warmup": 0})
    return float(alone.lr_lambdas[0](arguments["warmup"]))


def _whole(number: float) -> float:
    """As an int where it is one: 100 and not 100.0."""
    return int(number) if float(number).is_integer() else float(number)
