"""Differences with their intervals, one under the other."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.analysis.figures.canvas import INK, WIDTH, Panel, as_svg, charts, panels, signed, variants
from pipeline.analysis.figures.style import Style, Styles


def forest(name: str, rows: pd.DataFrame, column: str, label: str, style: Styles) -> list[Panel]:
    """Each scheduler's ``column`` with its 95% interval about the line of no difference, in the order of ``rows``.

    ``rows`` has ``variant``, ``scheduler``, ``column`` with its ``_low`` and ``_high``, and ``diverged`` (seeds).
    """
    labels = list(dict.fromkeys(rows["scheduler"]))
    draw = partial(_panel, labels=labels, column=column, limits=_limits(rows, column), label=label, style=style)
    return panels(f"{name}-{column}", variants(rows), draw)


def _panel(
    name: str, rows: pd.DataFrame, labels: Sequence[str], column: str, limits: tuple[float, float], label: str, style: Styles
) -> Markup:
    longest = max(map(len, labels))
    figure, (axes,) = charts(19 * len(labels), left=min(12 + 5 * longest, WIDTH / 2))
    axes.axvline(0, color=INK, linewidth=0.9)
    for row in rows.to_dict("records"):
        place = (labels.index(row["scheduler"]), limits)
        values = (row[column], row[f"{column}_low"], row[f"{column}_high"])
        _row(axes, *place, values, int(row["diverged"]), style[row["scheduler"]])
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel=label, xlim=limits, ylim=(len(labels) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(signed))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    return as_svg(figure, name, f"{label}, with 95% intervals: {', '.join(labels)}")


def _row(
    axes: Axes, y: int, limits: tuple[float, float], values: tuple[float, float, float], diverged: int, style: Style
) -> None:
    """One interval; an arrow head where it goes on beyond the limits, a hollow point where seeds diverged."""
    mean, low, high = values
    if np.isnan(mean):
        axes.text(0, y, "  no seed to compare", va="center", size=7.5)
        return
    ends = np.clip([low, high], *limits)
    axes.plot(ends, [y, y], linewidth=2, color=style.fill, solid_capstyle="butt")
    for end, beyond, marker in ((ends[0], low < limits[0], "<"), (ends[1], high > limits[1], ">")):
        if beyond:
            axes.plot(end, y, marker, color=style.fill, markersize=5, clip_on=False)
    face = "none" if diverged else style.fill
    axes.plot(mean, y, style.marker, markersize=6, markeredgecolor=style.fill, markerfacecolor=face, markeredgewidth=1.5)


def _limits(rows: pd.DataFrame, column: str) -> tuple[float, float]:
    """Room for every mean and for intervals of usual width; one from very few seeds must not squeeze all the others."""
    means = np.append(rows[column].dropna().to_numpy(float), 0.0)
    halves = ((rows[f"{column}_high"] - rows[f"{column}_low"]) / 2).dropna().to_numpy(float)
    usual = 3 * float(np.median(halves)) if halves.size else 0.0
    wide = float(halves.max(initial=0.0))
    room = min(wide, max(usual, 0.5 * float(np.ptp(means)))) * 1.15 or 0.1 * float(np.ptp(means)) or 1.0
    return float(means.min()) - room, float(means.max()) + room
