"""Looks at a growing number of seeds, and when to stop: alpha spending, and the state of a race.

Lan and DeMets (1983) spend a level over the looks by the share t of the information that each has. Each side spends
2 - 2 Φ(z / √t) with z the upper α/4 quantile, which is near to O'Brien and Fleming (1979): hardly anything is given away
early. The boundaries come from recursive numerical integration (Armitage, McPherson and Rowe 1969; Jennison and Turnbull
2000, chapter 19). A t test at look k is done at the boundary's nominal level, their significance level approach.

A race speaks of *these data* (:mod:`pipeline.statistics.components`): what seeds can settle is what would come out on other
splits of the same samples, and no number of them says more of other samples. So the share of information is that of seeds.
Stopping for want of hope spends nothing and gives nothing back: the boundaries do not count on it.

What is told is told of the last look alone, with intervals at its nominal level: repeated confidence intervals (Jennison and
Turnbull 1989), right at 95% over all looks whenever, and for whatever reason, the sequence stops.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtrit

from pipeline.statistics.comparison import MATTERS, table_against, table_of_best
from pipeline.statistics.components import LEVEL, Estimate, Floats, Losses, differences, level

FEWEST = 4
"""Seeds more, at the least, from one look to the next."""
HOPE = 0.1
"""A pair that ``most`` seeds settle with less than this chance is not waited for."""
_NODES = 160
_ALL = 1 - 1e-9
_FARTHEST = 8.0  # a normal quantile beyond which nothing is spent

State = Literal["better", "worse", "equal", "no worse", "no better", "out", "diverged", "open", "hopeless"]
"""*out*: not the best; *equal*: practically equal, or a regret bounded by what matters; *hopeless*: not settled by ``most``.

*no worse* and *no better* are what may be said of a pair that would be *hopeless*: nobody stops for them, since more seeds may
say better or worse.
"""


def spent(fraction: float, alpha: float = LEVEL) -> float:
    """How much of ``alpha``, two-sided, is spent at a share ``fraction`` of the information, in (0, 1]."""
    return float(4 * ndtr(ndtri(alpha / 4) / np.sqrt(fraction)))


def boundaries(fractions: Sequence[float], alpha: float = LEVEL) -> tuple[float, ...]:
    """The z of each look, two-sided, at rising shares of the information, the last at most 1.

    ValueError for shares that do not rise or lie outside (0, 1].
    """
    return _boundaries(tuple(float(f) for f in fractions), alpha)


def nominal_levels(fractions: Sequence[float], alpha: float = LEVEL) -> tuple[float, ...]:
    """The two-sided level of the test at each look."""
    return tuple(float(2 * ndtr(-z)) for z in boundaries(fractions, alpha))


@dataclass(frozen=True)
class Plan:
    """Looks from ``least`` seeds on, each with half as many again, up to ``most``; ValueError unless 2 ≤ least ≤ most.

    Where the looks are follows from where they begin alone, so that those of a greater ``most`` are the same and more.
    """

    least: int
    most: int

    def __post_init__(self) -> None:
        if not 2 <= self.least <= self.most:
            raise ValueError(f"looks need 2 <= least <= most (given: {self})")

    @cached_property
    def looks(self) -> tuple[int, ...]:
        """The numbers of seeds at which the figures are looked at."""
        looks, seeds = [], self.least
        while seeds < self.most:
            looks.append(seeds)
            seeds += max(FEWEST, seeds // 2)
        return (*looks, self.most)

    def look(self, seeds: int) -> int:
        """The last look that so many seeds allow; the first, where they allow none."""
        return max((n for n in self.looks if n <= seeds), default=self.least)

    def following(self, seeds: int) -> int | None:
        """The look after that of so many seeds; None behind the last."""
        return next((n for n in self.looks if n > seeds), None)

    def levels(self, alpha: float = LEVEL) -> dict[int, float]:
        """The two-sided nominal level at each look."""
        return dict(zip(self.looks, nominal_levels([n / self.most for n in self.looks], alpha), strict=True))

    def level(self, seeds: int) -> float:
        """The two-sided nominal level of the look at so many seeds."""
        return self.levels()[self.look(seeds)]

    def repeated(self, p: float, seeds: int) -> float:
        """The p of the sequence, for the one of a test at its look with so many seeds (Jennison and Turnbull 1989).

        It is the level of the sequence at which that look just rejects, so that it is compared with the usual 5%.
        """
        look = self.look(seeds)
        if not p < 1:
            return p
        p = max(p, 1.001 * self.levels(0.0)[look])  # of the farthest boundary: beyond it all ps are the same

        def beyond(alpha: float) -> float:
            return self.levels(alpha)[look] - p

        return 1.0 if beyond(_ALL) < 0 else float(brentq(beyond, 0.0, _ALL, xtol=1e-9))


@dataclass(frozen=True)
class Race:
    """Where a race stands at a look with ``seeds`` seeds: the state of each label against the baseline, and for the best.

    ``level`` is the look's nominal level. ``following`` is the number of seeds to have next, None where the race stops.
    """

    seeds: int
    level: float
    to_baseline: dict[str, State]
    to_best: dict[str, State]
    following: int | None

    @property
    def stop(self) -> bool:
        """Whether no more seeds are wanted."""
        return self.following is None

    @property
    def states(self) -> tuple[State, ...]:
        """Of all comparisons, those with the baseline first."""
        return (*self.to_baseline.values(), *self.to_best.values())

    @property
    def settled(self) -> int:
        """How many comparisons are."""
        return sum(state not in ("open", "hopeless") for state in self.states)

    @property
    def open(self) -> tuple[str, ...]:
        """The labels for which the race goes on."""
        return tuple(label for label in self.to_best if "open" in (self.to_baseline.get(label), self.to_best[label]))


def race(losses: Losses, baseline: str, plan: Plan, matters: float = MATTERS, alpha: float = LEVEL) -> Race:
    """The state at the last look that the seeds there are, rows of ``losses``, allow; all labels go on together, or none.

    A race goes on as long as a label is *open*. What a look says, the next one may take back: the last one's state is told.
    The families, against the baseline and for the best, have ``alpha`` each over all looks. Before half of ``most`` nothing is
    *hopeless*: what so few seeds say of the chance is rough, and the intervals of a race that ends there would be wide. The
    same figures and plan give the same state, however they were come by. ValueError for fewer seeds than ``least``.
    """
    there = min(len(values) for values in losses.values())
    if there < plan.least:
        raise ValueError(f"the first look is at {plan.least} seeds (given: {there})")
    levels, n = plan.levels(alpha), plan.look(there)
    own = {label: values[:n] for label, values in losses.items()}
    look = _Look(own, baseline, differences(own), matters, levels[n], levels[plan.most], plan.most)
    state = Race(n, levels[n], look.to_baseline(), look.to_best(), plan.following(n))
    return state if state.open else replace(state, following=None)


def looks(losses: Losses, baseline: str, plan: Plan, matters: float = MATTERS, alpha: float = LEVEL) -> Iterator[Race]:
    """The states of a race over these seeds as it goes, look by look, up to the one that stops it or the last one possible.

    Seeds behind that are not looked at; :func:`race` is the state of a single look. ValueError for fewer seeds than ``least``.
    """
    seeds: int | None = plan.least
    there = min(len(values) for values in losses.values())
    while seeds is not None and seeds <= max(there, plan.least):
        state = race({label: values[:seeds] for label, values in losses.items()}, baseline, plan, matters, alpha)
        yield state
        seeds = state.following


def chance(found: Estimate, margin: float, most: int, zero: float, equal: float, sides: Literal[1, 2] = 2) -> float:
    """The predictive chance that ``most`` seeds settle a pair: zero is excluded, or the interval lies within the margin.

    The mean at ``most`` given the one now is normal about it, with the variance that the seeds to come bring (Spiegelhalter,
    Freedman and Blackburn 1986, with a flat prior). ``zero`` and ``equal`` are the levels of the two tests then. With one
    side, a difference to the best, zero is excluded from above, and the upper bound alone has to be below the margin. NaN
    without an error.
    """
    to_come = max(0.0, found.between * (1 / max(found.splits, 1) - 1 / most))
    move = max(np.sqrt(to_come), 1e-12 * found.after(most), np.finfo(float).tiny)
    away, near = (-float(stdtrit(most - 1, level / sides)) * found.after(most) for level in (zero, equal))
    room = margin - near
    upper = min(room, away)  # what is excluded and within the margin counts once
    if sides == 1:
        return float(ndtr((found.mean - away) / move) + ndtr((upper - found.mean) / move))
    inside = ndtr((upper - found.mean) / move) - ndtr((-upper - found.mean) / move)
    return float(ndtr((found.mean - away) / move) + ndtr((-away - found.mean) / move) + max(0.0, inside))


@dataclass(frozen=True)
class _Look:
    """The figures of one look."""

    losses: Losses
    baseline: str
    of: dict[tuple[str, str], Estimate]
    matters: float
    alpha: float
    last: float
    most: int

    def to_baseline(self) -> dict[str, State]:
        """The state of each other label against the baseline."""
        table = table_against(self.losses, self.baseline, self.of, self.matters, self.alpha).drop(self.baseline)
        margin = self.matters * abs(level(self.losses[self.baseline]).mean)
        words: dict[str, State] = {"better": "better", "worse": "worse", "practically equal": "equal", "diverged": "diverged"}
        halves: dict[str, State] = {"no worse": "no worse", "no better": "no better"}
        states: dict[str, State] = {}
        for label, verdict in table["verdict"].items():
            state = words.get(verdict) or self._hope(self.of[str(label), self.baseline], margin, 2)
            states[str(label)] = halves.get(verdict, state) if state == "hopeless" else state
        return states

    def to_best(self) -> dict[str, State]:
        """The state of each label's regret; the leader waits for the others."""
        table = table_of_best(self.losses, self.of, self.matters, self.alpha)
        able = table[table["diverged"] == table["diverged"].min()]
        leader = str(able["loss"].idxmin()) if able["loss"].notna().any() else ""
        margin = self.matters * abs(able["loss"].min())
        states: dict[str, State] = {}
        for label, row in ((str(label), row) for label, row in table.iterrows() if label != leader):
            settled: State | None = "diverged" if label not in able.index else None if row["in_set"] else "out"
            settled = settled or ("equal" if row["bounded"] else None)
            states[label] = settled or self._hope(self.of[label, leader], margin, 1)
        waits: State = "open" if "open" in states.values() else "hopeless"
        return {label: states.get(label, "equal" if table.loc[label, "bounded"] else waits) for label in self.losses}

    def _hope(self, found: Estimate, margin: float, sides: Literal[1, 2]) -> State:
        if len(self.losses[self.baseline]) < self.most / 2:
            return "open"
        strict = self.last / max(len(self.losses) - 1, 1)
        found_chance = chance(found, margin, self.most, strict, self.last if sides == 2 else strict, sides)
        return "open" if found_chance >= HOPE else "hopeless"


@lru_cache(maxsize=256)
def _boundaries(fractions: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    if not all(a < b for a, b in zip((0.0, *fractions), fractions, strict=False)) or fractions[-1] > 1:
        raise ValueError(f"shares of the information rise, above 0 and to 1 at most (given: {fractions})")
    points, weights = np.polynomial.legendre.leggauss(_NODES)
    zs: list[float] = []
    before, spent_before = 0.0, 0.0
    nodes, mass = np.zeros(1), np.ones(1)  # all is at zero where nothing is known
    for fraction in fractions:
        step = float(np.sqrt(fraction - before))
        z = _boundary(_crossing(nodes, mass, step, float(np.sqrt(fraction))), spent(fraction, alpha) - spent_before)
        edge = z * np.sqrt(fraction)
        new = edge * points
        density = np.exp(-(((new[:, None] - nodes) / step) ** 2) / 2) / (step * np.sqrt(2 * np.pi))
        nodes, mass = new, (density @ mass) * weights * edge
        before, spent_before = fraction, spent(fraction, alpha)
        zs.append(z)
    return tuple(zs)


def _crossing(nodes: Floats, mass: Floats, step: float, scale: float) -> Callable[[float], float]:
    """The chance to be beyond ± z for the first time, as a function of z, from the masses at the nodes of the look before."""
    return lambda z: float(mass @ (ndtr((-z * scale - nodes) / step) + ndtr((nodes - z * scale) / step)))


def _boundary(crossing: Callable[[float], float], alpha: float) -> float:
    if alpha <= crossing(_FARTHEST):
        return _FARTHEST
    return float(brentq(lambda z: crossing(z) - alpha, 0.0, _FARTHEST, xtol=1e-12))
