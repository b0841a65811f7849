"""How a scheduler looks: its colour, dashes and marker, the same in every figure and beside every name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from markupsafe import Markup

# (light page, dark page). Chosen so that any two stay apart, in normal sight and under simulated protanopia, deuteranopia
# and tritanopia, and every one stands out from its page by at least 3:1; tests/analysis/test_figures.py measures it.
PALETTE = (
    ("#0f2fdc", "#3b86ff"),
    ("#a04000", "#e66f19"),
    ("#347154", "#22e08a"),
    ("#8c2a8f", "#e190e2"),
    ("#b98600", "#f7e640"),
    ("#0890f0", "#c8fbf0"),
    ("#33373c", "#7a808a"),
)
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (9, 2, 1.5, 2, 1.5, 2))
MARKERS = ("o", "s", "^", "D", "v")
"""A marker to each of the dashes, for points and bars, which have none."""

STAND_IN = "#fe10{:02x}"
"""What matplotlib draws in place of the colour of the scheduler with that number; the page's own replaces it."""

BAND = "#fe20{:02x}"
"""The same for its bands and intervals, which the page leaves out where it shows the scheduler in grey."""


@dataclass(frozen=True)
class Style:
    """How a scheduler is drawn: by its number, which has a colour of :data:`PALETTE`, its dashes in line widths, its marker."""

    number: int
    dashes: tuple[float, ...]
    marker: str

    @property
    def colour(self) -> int:
        """Its place in :data:`PALETTE`."""
        return self.number % len(PALETTE)

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a line."""
        return {"color": self.fill, "linestyle": (0, self.dashes) if self.dashes else "solid"}

    @property
    def fill(self) -> str:
        """The colour's stand-in."""
        return STAND_IN.format(self.number)

    @property
    def band(self) -> str:
        """That of its bands and intervals."""
        return BAND.format(self.number)


Styles = Mapping[str, Style]
"""Scheduler → how it is drawn."""


def palette(theme: int) -> dict[str, str]:
    """The CSS variables of the schedulers' colours, for a light (0) or a dark (1) page."""
    numbers = range(len(PALETTE) * len(DASHES))
    colours = {number: PALETTE[number % len(PALETTE)][theme] for number in numbers}
    return {f"--{what}-{number}": colour for number, colour in colours.items() for what in ("scheduler", "band")}


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """One style per label, by position: all colours solid and round, then all of them dashed and square, and so on."""
    kinds = product(zip(DASHES, MARKERS, strict=True), PALETTE)
    looks = [Style(number, dashes, marker) for number, ((dashes, marker), _) in enumerate(kinds)]
    return {label: looks[position % len(looks)] for position, label in enumerate(labels)}


def swatch(style: Style) -> Markup:
    """A short line in a scheduler's style, for legends."""
    return Markup('<svg class="swatch" viewBox="0 0 28 8" aria-hidden="true">{}</svg>').format(_line(style))


def symbol(style: Style) -> Markup:
    """The same as a symbol of the page, ``look-`` and the scheduler's number, for tables that show it many times."""
    return Markup('<symbol id="look-{}" viewBox="0 0 28 8">{}</symbol>').format(style.number, _line(style))


def _line(style: Style) -> Markup:
    dashes = Markup(' stroke-dasharray="{}"').format(" ".join(f"{2 * d:g}" for d in style.dashes)) if style.dashes else ""
    line = Markup('<path d="M0 4H28" fill="none" stroke="var(--scheduler-{})" stroke-width="3"{}/>')
    return line.format(style.number, dashes)
