"""Figures as inline SVG: one function each, one panel per variant, the axes of the panels shared.

The panels take their colours and fonts from the page: text and axes are ``currentColor``, the grid and the schedulers are
CSS variables (see :func:`palette`), so that one drawing is right on a light and on a dark page. They hold no time and no
random name: the same numbers give the same bytes.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.runs import Floats

# (light page, dark page). Chosen so that any two stay apart, in normal sight and under simulated protanopia, deuteranopia
# and tritanopia, and every one stands out from its page by at least 3:1; tests/analysis/test_figures.py measures it.
PALETTE = (
    ("#0f2fdc", "#3b86ff"),
    ("#a04000", "#e66f19"),
    ("#347154", "#22e08a"),
    ("#8c2a8f", "#e190e2"),
    ("#b98600", "#f7e640"),
    ("#0b99ff", "#c8fbf0"),
    ("#33373c", "#7a808a"),
)
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2), (9, 2, 1.5, 2, 1.5, 2))

WIDTH = 360  # points; on the narrowest phone a point is about a pixel
POINTS = 180  # per line: about what a line of that width can show
SEEDS = 20  # single runs drawn in a panel
DECADES = 4  # of a learning rate that are drawn; what lies below is too small to move anything

# Stand-ins that matplotlib can draw with, each replaced by the page's own colour.
_INK, _GRID, _SCHEDULER = "#fe0000", "#fe0001", "#fe10{:02x}"
_NUMBER = re.compile(r"(?<![#\w.])-?\d+\.\d{3,}")
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],  # it comes with matplotlib: the layout is the same everywhere
    "font.size": 8.5,
    "path.simplify": True,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), _INK),
}


@dataclass(frozen=True)
class Style:
    """How a scheduler is drawn: the number of its colour in :data:`PALETTE`, and its dashes in line widths."""

    colour: int
    dashes: tuple[float, ...]

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a line."""
        return {"color": self.fill, "linestyle": (0, self.dashes) if self.dashes else "solid"}

    @property
    def fill(self) -> str:
        """The colour's stand-in."""
        return _SCHEDULER.format(self.colour)


Styles = Mapping[str, Style]


@dataclass(frozen=True)
class Panel:
    """One drawing: the variant it shows, and its SVG element."""

    variant: str
    svg: Markup


@dataclass(frozen=True)
class Scale:
    """Limits of an axis, in its own unit, and whether it is logarithmic."""

    low: float
    high: float
    log: bool


def palette(theme: int) -> dict[str, str]:
    """The CSS variables of the schedulers' colours, for a light (0) or a dark (1) page."""
    return {f"--scheduler-{number}": colours[theme] for number, colours in enumerate(PALETTE)}


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """One style per label, by position: all colours solid, then all of them dashed, and so on."""
    looks = [Style(colour, dashes) for dashes, colour in product(DASHES, range(len(PALETTE)))]
    return {label: looks[position % len(looks)] for position, label in enumerate(labels)}


def loss_curves(name: str, curves: pd.DataFrame, metric: str, title: str, style: Styles) -> list[Panel]:
    """Median over seeds per epoch with a band from the lower to the upper quartile; diverged runs must be left out."""
    bands = {variant: _bands(rows, metric) for variant, rows in _variants(curves)}
    drawn = [band[:, 1:] for of_variant in bands.values() for _, band in of_variant]
    scale = _loss_scale(np.concatenate(drawn)) if drawn else Scale(0, 1, False)
    return [
        Panel(variant, _loss_panel(f"{name}-{metric}-{variant}", of_variant, scale, title, style))
        for variant, of_variant in bands.items()
    ]


def learning_rate_gallery(
    name: str, curves: pd.DataFrame, style: Styles, highlight: Mapping[str, str] | None = None
) -> list[Panel]:
    """One small chart per scheduler: single seeds thin; thick the run that ``highlight`` names, else the median over seeds."""
    scale = _rate_scale(curves["lr"].to_numpy(float))
    labels = list(dict.fromkeys(curves["scheduler"]))
    return [
        Panel(variant, _gallery(f"{name}-lr-{variant}", labels, rows, scale, style, highlight or {}))
        for variant, rows in _variants(curves)
    ]


def forest(name: str, rows: pd.DataFrame, column: str, label: str, style: Styles) -> list[Panel]:
    """Each scheduler's ``column`` with its 95% interval about the line of no difference, in the order of ``rows``.

    ``rows`` has ``variant``, ``scheduler``, ``column`` with its ``_low`` and ``_high``, and ``diverged`` (seeds).
    """
    limits = _forest_limits(rows, column)
    labels = list(dict.fromkeys(rows["scheduler"]))
    return [
        Panel(variant, _forest_panel(f"{name}-{column}-{variant}", own, labels, column, limits, label, style))
        for variant, own in _variants(rows)
    ]


def swatch(style: Style) -> Markup:
    """A short line in a scheduler's style, for legends and tables."""
    dashes = Markup(' stroke-dasharray="{}"').format(" ".join(f"{2 * d:g}" for d in style.dashes)) if style.dashes else ""
    return Markup(
        '<svg class="swatch" viewBox="0 0 28 8" aria-hidden="true"><path d="M0 4H28" fill="none"'
        ' stroke="var(--scheduler-{})" stroke-width="3"{}/></svg>'
    ).format(style.colour, dashes)


def _variants(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(variant), own) for variant, own in rows.groupby("variant", sort=False)]


def _loss_panel(name: str, bands: Sequence[tuple[str, Floats]], scale: Scale, title: str, style: Styles) -> Markup:
    with rc_context(_SETTINGS):
        figure, (axes,) = _canvas(180, left=36)
        for label, band in bands:
            epoch, low, middle, high = band.T
            axes.fill_between(epoch, low, high, color=style[label].fill, alpha=0.14, linewidth=0)
            axes.plot(epoch, middle, linewidth=1.4, **style[label].line)
        _dress(axes, scale)
        axes.set_xlabel("epoch")
        return _svg(figure, name, f"{title} per epoch: {', '.join(label for label, _ in bands)}")


def _gallery(
    name: str, labels: Sequence[str], curves: pd.DataFrame, scale: Scale, style: Styles, highlight: Mapping[str, str]
) -> Markup:
    with rc_context(_SETTINGS):
        rows = -(-len(labels) // 2)
        figure, panels = _canvas(62, left=36, rows=rows, columns=2, top=16)
        for axes, label in zip(panels, labels, strict=False):
            _rates(axes, curves[curves["scheduler"] == label], style[label], highlight.get(label))
            _dress(axes, scale)
            axes.set_title(label, loc="left", pad=3, y=1)  # a given height saves matplotlib the search for one
        for axes in panels[len(labels) :]:
            axes.set_axis_off()
        for axes in panels[len(labels) - 2 : len(labels)]:
            axes.tick_params(axis="x", labelbottom=True)
            axes.set_xlabel("epoch")
        return _svg(figure, name, f"Learning rate per epoch, one small chart each: {', '.join(labels)}")


def _rates(axes: Axes, curves: pd.DataFrame, style: Style, highlight: str | None) -> None:
    """The lines of one scheduler; runs with the same rates are drawn once."""
    if curves.empty:
        return
    table = curves.pivot(index="epoch", columns="run", values="lr").sort_index()
    table = table.iloc[_thinned(len(table))]
    single = np.unique(table.to_numpy(float)[:, :SEEDS], axis=1)
    thick = table[highlight] if highlight in table else table.median(axis="columns")
    if single.shape[1] > 1:
        axes.plot(table.index, single, color=style.fill, linewidth=0.6, alpha=0.5)
    axes.plot(table.index, thick, linewidth=1.7, **style.line)


def _forest_panel(
    name: str, rows: pd.DataFrame, labels: Sequence[str], column: str, limits: tuple[float, float], label: str, style: Styles
) -> Markup:
    with rc_context(_SETTINGS):
        longest = max(map(len, labels))
        figure, (axes,) = _canvas(19 * len(labels), left=min(12 + 5 * longest, WIDTH / 2))
        axes.axvline(0, color=_INK, linewidth=0.9)
        for row in rows.to_dict("records"):
            place = (labels.index(row["scheduler"]), limits)
            values = (row[column], row[f"{column}_low"], row[f"{column}_high"])
            _forest_row(axes, *place, values, int(row["diverged"]), style[row["scheduler"]])
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel=label, xlim=limits, ylim=(len(labels) - 0.5, -0.5))
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(_signed))
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        return _svg(figure, name, f"{label}, with 95% intervals: {', '.join(labels)}")


def _forest_row(
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
    axes.plot(mean, y, "o", markersize=6, markeredgecolor=style.fill, markerfacecolor=face, markeredgewidth=1.5)


def _forest_limits(rows: pd.DataFrame, column: str) -> tuple[float, float]:
    """Room for every mean and for intervals of usual width; one from very few seeds must not squeeze all the others."""
    means = np.append(rows[column].dropna().to_numpy(float), 0.0)
    halves = ((rows[f"{column}_high"] - rows[f"{column}_low"]) / 2).dropna().to_numpy(float)
    usual = 3 * float(np.median(halves)) if halves.size else 0.0
    wide = float(halves.max(initial=0.0))
    room = min(wide, max(usual, 0.5 * float(np.ptp(means)))) * 1.15 or 0.1 * float(np.ptp(means)) or 1.0
    return float(means.min()) - room, float(means.max()) + room


def _bands(curves: pd.DataFrame, metric: str) -> list[tuple[str, Floats]]:
    """Per scheduler an array (epochs, 4): epoch, lower quartile, median, upper quartile over seeds."""
    bands = []
    for label, rows in curves.groupby("scheduler", sort=False):
        table = rows.pivot(index="epoch", columns="seed", values=metric).sort_index()
        table = table.iloc[_thinned(len(table))]
        quartiles = np.quantile(table.to_numpy(float), (0.25, 0.5, 0.75), axis=1)
        bands.append((str(label), np.column_stack([table.index.to_numpy(float), quartiles.T])))
    return bands


def _thinned(length: int) -> npt.NDArray[np.int64]:
    """At most :data:`POINTS` positions, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, POINTS)).round().astype(np.int64))


def _loss_scale(values: Floats) -> Scale:
    """Logarithmic from a ratio of four up; a first epoch far above all others does not set the height."""
    known = values[np.isfinite(values)]
    if not known.size:
        return Scale(0, 1, False)
    low, high, usual = float(known.min()), float(known.max()), float(np.quantile(known, 0.98))
    if low > 0 and high / low > 4:
        return Scale(low / 1.15, min(high, usual * 10) * 1.15, True)
    top = min(high, low + 1.5 * (usual - low)) if usual > low else high
    room = 0.05 * (top - low) or 0.05 * abs(top) or 1.0
    return Scale(low - room, top + room, False)


def _rate_scale(values: Floats) -> Scale:
    """Logarithmic over at most :data:`DECADES` decades below the highest rate."""
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return Scale(0, 1, False)
    high = float(known.max())
    return Scale(max(float(known.min()), high * 10.0**-DECADES) / 1.6, high * 1.6, True)


def _canvas(plot: float, left: float, rows: int = 1, columns: int = 1, top: float = 6) -> tuple[Figure, list[Axes]]:
    """Charts ``plot`` points high beside a margin of ``left`` points; no layout engine, which would take most of the time."""
    bottom, right, gap = 34, 10, 24
    height = top + rows * plot + (rows - 1) * gap + bottom
    width = (WIDTH - left - right - (columns - 1) * gap / 2) / columns
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    figure.patch.set_visible(False)
    figure.subplots_adjust(left / WIDTH, bottom / height, 1 - right / WIDTH, 1 - top / height, gap / 2 / width, gap / plot)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    charts = [axes for row in grid for axes in row]
    for axes in charts:
        axes.patch.set_visible(False)  # the page shows through
    return figure, charts


def _dress(axes: Axes, scale: Scale) -> None:
    """Axis limits, few ticks, plain numbers."""
    axes.margins(x=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if scale.log:
        axes.set_yscale("log", nonpositive="mask")
        near = scale.high / scale.low < 30
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,), numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.set_ylim(scale.low, scale.high)


def _plain(value: float, position: int | None) -> str:
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def _signed(value: float, position: int | None) -> str:
    return f"{value:+.6g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-12 else "0"


def _svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an element of an HTML page, described for those who do not see it; ids begin with ``name``."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = text.getvalue().partition("<svg ")[2]
    body = _themed(_unique_ids(_slim(drawing.partition(">")[2]), re.sub(r"[^\w-]", "_", name)))
    box = f"0 0 {WIDTH} {figure.get_figheight() * 72:g}"
    opening = Markup('<svg role="img" aria-label="{}" viewBox="{}">').format(description, box)
    return opening + Markup(body)


def _slim(svg: str) -> str:
    """Without matplotlib's own style sheet, empty lines and false precision: a hundredth of a point is enough."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _NUMBER.sub(lambda match: _rounded(match[0]), tag[0]), svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _rounded(digits: str) -> str:
    return f"{float(digits):.2f}".rstrip("0").rstrip(".")


def _unique_ids(svg: str, prefix: str) -> str:
    """Ids that are referred to get the prefix, since all panels share one page; the others go."""
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda match: f' id="{prefix}-{match[1]}"' if match[1] in used else "", svg)
    return re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", svg)


def _themed(svg: str) -> str:
    """The stand-ins for colours and fonts replaced by the page's."""
    svg = re.sub(r"#fe10([0-9a-f]{2})", lambda match: f"var(--scheduler-{int(match[1], 16)})", svg)
    svg = svg.replace(_INK, "currentColor").replace(_GRID, "var(--grid)")
    return re.sub(r" font-family: [^;\"]*;", "", svg)
