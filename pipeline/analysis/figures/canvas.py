"""What all figures are drawn on: the size, the fonts, the axes, and the way from matplotlib to an element of the page."""

import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from matplotlib import rc_context, rcParamsDefault
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.config.arrays import Floats

WIDTH = 280  # points; on the narrowest phone a point is more than a pixel, so that 8.5 of them can be read
POINTS = 64  # per line: about what a line of that width can show
NAME = 8.4  # points from the name of one line to that of the next

# Stand-ins that matplotlib can draw with, each replaced by the page's own colour.
INK, GRID, PAPER, MUTED = "#fe0000", "#fe0001", "#fe0002", "#fe0003"
_THEMED = {INK: "currentColor", GRID: "var(--grid)", PAPER: "var(--card)", MUTED: "var(--muted)"}
_NUMBER = re.compile(r"(?<![#\w.])-?\d+\.\d{3,}")
# From matplotlib's own defaults: neither a matplotlibrc nor what others set in this process may show in a drawing.
SETTINGS: dict[Any, Any] = {
    **{name: value for name, value in rcParamsDefault.items() if not name.startswith(("backend", "interactive", "toolbar"))},
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
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor"), INK),
}
"""matplotlib's settings while a figure is drawn."""
Part = TypeVar("Part")


@dataclass(frozen=True)
class Panel:
    """One drawing: the variant it shows (empty where it is of none), and its SVG element."""

    variant: str
    svg: Markup


@dataclass(frozen=True)
class Scale:
    """Limits of an axis, in its own unit, and whether it is logarithmic."""

    low: float
    high: float
    log: bool


def variants(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows by their ``variant``, in order; all under the empty one where there is no such column."""
    if "variant" not in rows:
        return [("", rows)] if len(rows) else []
    return [(str(variant), own) for variant, own in rows.groupby("variant", sort=False)]


def panels(name: str, parts: Iterable[tuple[str, Part]], draw: Callable[[str, Part], Markup]) -> list[Panel]:
    """A panel for the part of each variant; ``draw`` takes the name that the ids of its drawing begin with, and the part."""
    with rc_context(SETTINGS):
        return [Panel(variant, draw(f"{name}-{variant}" if variant else name, part)) for variant, part in parts]


def thinned(length: int, most: int = POINTS) -> npt.NDArray[np.int64]:
    """At most ``most`` positions of ``length``, evenly spaced, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.int64))


def near_the_lowest(values: Floats) -> Scale:
    """Linear from the lowest value up to thrice as much; what lies far above leaves the panel.

    Where not all values are positive, to thrice as far above the lowest as the median lies.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return Scale(0, 1, False)
    low, high = float(known.min()), float(known.max())
    reach = 2 * low if low > 0 else 3 * (float(np.median(known)) - low)
    top = min(high, low + reach) if reach > 0 else high
    return with_room(low, top)


def with_room(low: float, high: float) -> Scale:
    """Linear from a little below to a little above."""
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - room, high + room, False)


def charts(
    plot: float, left: float, rows: int = 1, columns: int = 1, top: float = 6, right: float = 10, bottom: float = 34
) -> tuple[Figure, list[Axes]]:
    """Charts ``plot`` points high within margins in points; no layout engine, which would take most of the time."""
    gap = 24
    height = top + rows * plot + (rows - 1) * gap + bottom
    width = (WIDTH - left - right - (columns - 1) * gap / 2) / columns
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    figure.patch.set_visible(False)
    figure.subplots_adjust(left / WIDTH, bottom / height, 1 - right / WIDTH, 1 - top / height, gap / 2 / width, gap / plot)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    every = [axes for row in grid for axes in row]
    for axes in every:
        axes.patch.set_visible(False)  # the page shows through
    return figure, every


def stacked(*heights: float, left: float, gap: float) -> tuple[Figure, list[Axes]]:
    """Charts so many points high, one under the other, each with axes of its own."""
    top, right, bottom = 6, 10, 34
    height = top + sum(heights) + gap * (len(heights) - 1) + bottom
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    figure.patch.set_visible(False)
    upper, made = height - top, []
    for own in heights:
        box = (left / WIDTH, (upper - own) / height, (WIDTH - left - right) / WIDTH, own / height)
        made.append(figure.add_axes(box, facecolor="none"))
        upper -= own + gap
    return figure, made


def dress(axes: Axes, scale: Scale) -> None:
    """Limits of the vertical axis, few ticks, plain numbers."""
    axes.margins(x=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    if scale.log:
        axes.set_yscale("log", nonpositive="mask")
        near = scale.high / scale.low < 30
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,), numticks=8))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.set_ylim(scale.low, scale.high)


def line_chart(labels: Iterable[str]) -> tuple[Figure, Axes]:
    """A chart with room beside it for the names of its lines."""
    figure, (axes,) = charts(180, left=36, right=min(24 + 4.2 * max(map(len, labels), default=0), WIDTH / 2.5))
    return figure, axes


def name_lines(axes: Axes, ends: Sequence[tuple[str, float, str]]) -> None:
    """Each line's name beside its end, none over another: (name, height of the end in data, colour)."""
    transform, box = axes.transData.transform, axes.get_window_extent()
    heights = {name: float((transform((1, y))[1] - box.y0) / box.height) for name, y, _ in ends if np.isfinite(y)}
    known = sorted((end for end in ends if end[0] in heights), key=lambda end: heights[end[0]])
    row = min(NAME / (box.height * 72 / axes.figure.dpi), 1 / max(len(known), 1))
    places = _apart([min(max(heights[name], 0.0), 1.0) for name, _, _ in known], row)
    width = box.width * 72 / axes.figure.dpi
    for (name, _, colour), place in zip(known, places, strict=True):
        at = min(max(heights[name], 0.0), 1.0)
        line: dict[str, Any] = {"color": colour, "linewidth": 0.6, "clip_on": False, "transform": axes.transAxes}
        axes.plot([1, 1 + 10 / width], [at, place], **line)
        axes.annotate(name, (1 + 12 / width, place), xycoords="axes fraction", va="center", size=7, color=colour)


def _apart(heights: Sequence[float], row: float) -> list[float]:
    """Ascending heights moved so that none is less than ``row`` above the one before, and all between 0 and 1."""
    places: list[float] = []
    for height in heights:
        places.append(max(height, places[-1] + row) if places else height)
    ceiling = 1.0
    for number in reversed(range(len(places))):
        places[number] = min(places[number], ceiling)
        ceiling = places[number] - row
    return places


def plain(value: float, position: int | None) -> str:
    """A tick's number without exponent or false precision."""
    return f"{value:.6g}".replace("-", "\N{MINUS SIGN}")


def signed(value: float, position: int | None) -> str:
    """A tick's number with its sign, for differences."""
    return f"{value:+.6g}".replace("-", "\N{MINUS SIGN}") if abs(value) > 1e-12 else "0"


def as_svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an element of an HTML page, described for those who do not see it; ids begin with ``name``."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = text.getvalue().partition("<svg ")[2]
    own = _unique_ids(_slim(drawing.partition(">")[2]), re.sub(r"[^\w-]", "_", name))
    body = _themed(_without_plain_groups(own))
    box = f"0 0 {WIDTH} {figure.get_figheight() * 72:g}"
    opening = Markup('<svg role="img" aria-label="{}" viewBox="{}" data-axes="{}">').format(description, box, _axes_of(figure))
    return opening + Markup(body)  # noqa: S704  # matplotlib's own SVG, which escapes texts


def _axes_of(figure: Figure) -> str:
    """Of each chart, for the page's script, its box, what its axes span, and the names of its rows where it has some."""
    height, found = figure.get_figheight() * 72, []
    for axes in figure.axes:
        if not axes.axison:
            continue
        place = axes.get_position()
        box = (place.x0 * WIDTH, (1 - place.y1) * height, place.width * WIDTH, place.height * height)
        has_rows = isinstance(axes.yaxis.get_major_formatter(), FixedFormatter)
        ticks = zip(axes.get_yticks().tolist(), (label.get_text() for label in axes.get_yticklabels()), strict=True)
        rows = [(float(f"{y:.6g}"), name) for y, name in ticks] if has_rows else []
        spans = (_span(axes.get_xlim(), axes.get_xscale(), axes.xaxis), _span(axes.get_ylim(), axes.get_yscale(), axes.yaxis))
        found.append(([round(value, 1) for value in box], *spans, axes.get_xlabel(), rows))
    return json.dumps(found, separators=(",", ":"))


def _span(limits: tuple[float, float], scale: str, axis: Axis) -> tuple[float, float, int, float]:
    """Both ends, whether it is logarithmic, and what 1 is in percent where its ticks are; else 0."""
    formatter = axis.get_major_formatter()
    one = formatter(1, 0) if isinstance(formatter, FuncFormatter) else ""
    percent = float(one.rstrip("%")) if one.endswith("%") else 0.0
    return float(f"{limits[0]:.6g}"), float(f"{limits[1]:.6g}"), int(scale == "log"), percent


def _slim(svg: str) -> str:
    """Without matplotlib's own style sheet, empty groups and false precision: a tenth of a point is enough."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>|<g[^>]*/>|(?<=\") transform=\"rotate\(-?0[^\"]*\"", "", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: _NUMBER.sub(lambda match: _rounded(match[0]), tag[0]), svg)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"\s*([A-Za-z])\s+", r"\1", path[0]), svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _without_plain_groups(svg: str) -> str:
    """Groups that say nothing of what is in them dissolved."""
    kept: list[bool] = []

    def one(tag: re.Match[str]) -> str:
        if tag[0] != "</g>":
            kept.append(" " in tag[0])
        stays = kept[-1] if tag[0] != "</g>" else kept.pop()
        return tag[0] if stays else ""

    return re.sub(r"\n\n+", "\n", re.sub(r"<g\b[^>]*>|</g>", one, svg))


def _rounded(digits: str) -> str:
    return f"{float(digits):.1f}".rstrip("0").rstrip(".")


def _unique_ids(svg: str, prefix: str) -> str:
    """Ids that are referred to get the prefix, since all panels share one page; the others go."""
    used = sorted(set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg)))
    short = {found: f"{prefix}-{number}" for number, found in enumerate(used)}
    svg = re.sub(r' id="([^"]*)"', lambda match: f' id="{short[match[1]]}"' if match[1] in short else "", svg)
    return re.sub(r'(url\(#|href="#)([^)"]+)', lambda match: match[1] + short[match[2]], svg)


def _themed(svg: str) -> str:
    """The stand-ins for colours and fonts replaced by the page's."""
    kinds = {"1": "scheduler", "2": "band"}
    svg = re.sub("#fe([12])0([0-9a-f]{2})", lambda found: f"var(--{kinds[found[1]]}-{int(found[2], 16)})", svg)
    for stand_in, colour in _THEMED.items():
        svg = svg.replace(stand_in, colour)
    return re.sub(r" font-family: [^;\"]*;", "", svg)
