"""What happened epoch by epoch: losses and learning rates."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from pipeline.analysis.figures.canvas import (
    POINTS,
    Panel,
    Scale,
    as_svg,
    charts,
    dress,
    line_chart,
    name_lines,
    panels,
    thinned,
    variants,
    with_room,
)
from pipeline.analysis.figures.style import Style, Styles
from pipeline.config.arrays import Floats

SEEDS = 5  # single runs drawn in a panel
DECADES = 4  # of a learning rate that are drawn; what lies below is too small to move anything


def loss_curves(name: str, curves: pd.DataFrame, metric: str, title: str, style: Styles) -> list[Panel]:
    """Median over seeds per epoch with a band from the lower to the upper quartile; diverged runs must be left out."""
    bands = {variant: _bands(rows, metric) for variant, rows in variants(curves)}
    scale = _loss_scale(_to_be_seen([band[:, 1:] for of_variant in bands.values() for _, band in of_variant]))
    return panels(f"{name}-{metric}", bands.items(), partial(_loss_panel, scale=scale, title=title, style=style))


def learning_rate_gallery(name: str, curves: pd.DataFrame, style: Styles, highlight: Mapping[str, str]) -> list[Panel]:
    """One small chart per scheduler: single seeds thin; thick the run that ``highlight`` names, else the median over seeds."""
    scale = _rate_scale(curves["lr"].to_numpy(float))
    labels = list(dict.fromkeys(curves["scheduler"]))
    draw = partial(_gallery, labels=labels, scale=scale, style=style, highlight=highlight)
    return panels(f"{name}-lr", variants(curves), draw)


def _loss_panel(name: str, bands: Sequence[tuple[str, Floats]], scale: Scale, title: str, style: Styles) -> Markup:
    figure, axes = line_chart([label for label, _ in bands])
    for label, band in bands:
        epoch, _, middle, _ = band.T
        wide = band[thinned(len(band), POINTS // 2)]  # a band is soft anyway, and has two edges to store
        axes.fill_between(wide[:, 0], wide[:, 1], wide[:, 3], color=style[label].band, alpha=0.14, linewidth=0)
        axes.plot(epoch, middle, linewidth=1.4, **style[label].line)
    dress(axes, scale)
    axes.set_xlabel("epoch")
    name_lines(axes, [(label, band[-1, 2], style[label].fill) for label, band in bands])
    return as_svg(figure, name, f"{title} per epoch: {', '.join(label for label, _ in bands)}")


def _gallery(
    name: str, curves: pd.DataFrame, labels: Sequence[str], scale: Scale, style: Styles, highlight: Mapping[str, str]
) -> Markup:
    rows = -(-len(labels) // 2)
    figure, grid = charts(62, left=36, rows=rows, columns=2, top=16)
    for axes, label in zip(grid, labels, strict=False):
        _rates(axes, curves[curves["scheduler"] == label], style[label], highlight.get(label))
        dress(axes, scale)
        axes.grid(visible=False, axis="x")
        axes.set_title(label, loc="left", pad=3, y=1)  # a given height saves matplotlib the search for one
    for axes in grid[len(labels) :]:
        axes.set_axis_off()
    for axes in grid[len(labels) - 2 : len(labels)]:
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xlabel("epoch")
    return as_svg(figure, name, f"Learning rate per epoch, one small chart each: {', '.join(labels)}")


def _rates(axes: Axes, curves: pd.DataFrame, style: Style, highlight: str | None) -> None:
    """The lines of one scheduler; runs with the same rates are drawn once."""
    if curves.empty:
        return
    in_order = curves["run"].unique()  # by seed: by name they would change with the code
    table = curves.pivot(index="epoch", columns="run", values="lr").sort_index()[in_order]
    table = table.iloc[thinned(len(table))]
    single = np.unique(table.to_numpy(float)[:, :SEEDS], axis=1)
    thick = table[highlight] if highlight in table else table.median(axis="columns")
    if single.shape[1] > 1:
        axes.plot(table.index, single, color=style.band, linewidth=0.6, alpha=0.5)
    axes.plot(table.index, thick, linewidth=1.7, **style.line)


def _bands(curves: pd.DataFrame, metric: str) -> list[tuple[str, Floats]]:
    """Per scheduler an array (epochs, 4): epoch, lower quartile, median, upper quartile over seeds."""
    bands = []
    for label, rows in curves.groupby("scheduler", sort=False):
        table = rows.groupby(["epoch", "seed"])[metric].mean().unstack("seed").sort_index()
        table = table.iloc[thinned(len(table))]
        quartiles = np.quantile(table.to_numpy(float), (0.25, 0.5, 0.75), axis=1)
        bands.append((str(label), np.column_stack([table.index.to_numpy(float), quartiles.T])))
    return bands


def _to_be_seen(bands: Sequence[Floats]) -> Floats:
    """What sets the scale: the medians, and the bands up to a little above where nine in ten of them end.

    ``bands`` are arrays (epochs, 3) of lower quartile, median and upper quartile. One scheduler that a few seeds threw far
    off would otherwise squeeze all the others, or make the axis logarithmic; its band leaves the panel instead.
    """
    known = [band[np.isfinite(band).all(axis=1)] for band in bands]
    known = [band for band in known if len(band)]
    if not known:
        return np.empty(0)
    values = np.concatenate(known)
    usual = float(np.quantile([band[:, 2].max() for band in known], 0.9, method="lower"))
    lowest = float(values.min())
    return np.minimum(values, max(float(values[:, 1].max()), lowest + 1.25 * (usual - lowest)))


def _loss_scale(values: Floats) -> Scale:
    """Logarithmic from a ratio of four up; a first epoch far above all others does not set the height."""
    known = values[np.isfinite(values)]
    if not known.size:
        return Scale(0, 1, False)
    low, high, usual = float(known.min()), float(known.max()), float(np.quantile(known, 0.98))
    if low > 0 and high / low > 4:
        return Scale(low / 1.15, min(high, usual * 10) * 1.15, True)
    top = min(high, low + 1.5 * (usual - low)) if usual > low else high
    return with_room(low, top)


def _rate_scale(values: Floats) -> Scale:
    """Logarithmic over at most :data:`DECADES` decades below the highest rate."""
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        return Scale(0, 1, False)
    high = float(known.max())
    return Scale(max(float(known.min()), high * 10.0**-DECADES) / 1.6, high * 1.6, True)
