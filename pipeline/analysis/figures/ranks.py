"""The critical difference diagram of Demšar (2006), https://jmlr.org/papers/v7/demsar06a.html."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from pipeline.analysis.figures.canvas import INK, WIDTH, Panel, as_svg, charts, panels
from pipeline.analysis.figures.style import Styles

ROW = 13.0  # points from one label to the next
BAR = 5.0  # points from one bar of a group to the next
_SCALE_AT = 34.0  # points from the top to the axis of ranks; the critical difference is drawn above it

Ranked = Sequence[tuple[str, float]]


def critical_difference(name: str, ranks: Mapping[str, float], cd: float | None, style: Styles) -> list[Panel]:
    """Average ranks on an axis, lowest to the left; a bar joins those less than ``cd`` apart, which do not differ.

    ``ranks`` is scheduler → mean rank over problems, ``cd`` the critical difference in ranks; None where no pair may be told
    apart, and the ranks are all there is to show.
    """
    ordered = sorted(ranks.items(), key=lambda item: (item[1], item[0]))
    return panels(f"{name}-critical_difference", [("", ordered)] if ordered else [], partial(_panel, cd=cd, style=style))


def _panel(name: str, ranked: Ranked, cd: float | None, style: Styles) -> Markup:
    bars = [] if cd is None else _groups([rank for _, rank in ranked], cd)
    below = _SCALE_AT + 8 + BAR * len(bars)
    rows = -(-len(ranked) // 2)
    height = below + ROW * rows
    margin = min(12 + 5 * max(len(label) for label, _ in ranked), 0.38 * WIDTH)
    figure, (axes,) = charts(height, left=margin, right=margin, bottom=4)
    axes.set_axis_off()
    axes.set(xlim=_limits(ranked), ylim=(height, 0))
    _axis(axes)
    if cd is not None:
        _yardstick(axes, cd)
    for number, (first, last) in enumerate(bars):
        y = _SCALE_AT + 8 + BAR * number
        axes.plot([first, last], [y, y], color=INK, linewidth=2.6, solid_capstyle="round", clip_on=False)
    _leaders(axes, ranked, below, style)
    listed = ", ".join(f"{label} {rank:.2f}" for label, rank in ranked)
    apart = "" if cd is None else f", critical difference {cd:.2f}"
    return as_svg(figure, name, f"Average ranks{apart}: {listed}")


def _limits(ranked: Ranked) -> tuple[float, float]:
    """Whole ranks from the first to the last there can be."""
    return 1.0, max(float(len(ranked)), float(np.ceil(ranked[-1][1])), 2.0)


def _groups(ranks: Sequence[float], cd: float) -> list[tuple[float, float]]:
    """First and last rank of each largest group in which no two differ by ``cd`` or more; ``ranks`` ascend."""
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(number for number, other in enumerate(ranks) if number == first or other - rank < cd)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return [(ranks[first], ranks[last]) for first, last in groups]


def _axis(axes: Axes) -> None:
    """The axis of ranks with its numbers above it."""
    low, high = axes.get_xlim()
    axes.plot([low, high], [_SCALE_AT, _SCALE_AT], color=INK, linewidth=0.8, clip_on=False)
    for rank in range(int(low), int(high) + 1, 1 if high < 10 else 2):
        axes.plot([rank, rank], [_SCALE_AT - 4, _SCALE_AT], color=INK, linewidth=0.8, clip_on=False)
        axes.text(rank, _SCALE_AT - 6, str(rank), ha="center", va="bottom", size=7.5)


def _yardstick(axes: Axes, cd: float) -> None:
    """Over the axis, a bar as long as the critical difference."""
    low, _ = axes.get_xlim()
    axes.plot([low, low, low, low + cd, low + cd, low + cd], [6, 12, 9, 9, 6, 12], color=INK, linewidth=0.8, clip_on=False)
    text = f"critical difference {cd:.2f}"
    axes.annotate(text, (low + cd, 9), (4, 0), textcoords="offset points", va="center", size=7.5)


def _leaders(axes: Axes, ranked: Ranked, below: float, style: Styles) -> None:
    """From each rank a line down and out to its name: the better half to the left, the others to the right."""
    half = -(-len(ranked) // 2)
    low, high = axes.get_xlim()
    for number, (label, rank) in enumerate(ranked):
        left = number < half
        y = below + ROW * (number if left else len(ranked) - 1 - number)
        end = low if left else high
        axes.plot([rank, rank, end], [_SCALE_AT, y, y], linewidth=1.2, clip_on=False, **style[label].line)
        place, side = (-4, "right") if left else (4, "left")
        axes.annotate(label, (end, y), (place, 0), textcoords="offset points", ha=side, va="center")
