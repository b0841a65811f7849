"""What lies behind a ranking: how much it depends on the peak rate, the trials, the budget and the arguments."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.analysis.figures.canvas import (
    INK,
    PAPER,
    WIDTH,
    Panel,
    Scale,
    as_svg,
    charts,
    dress,
    line_chart,
    name_lines,
    near_the_lowest,
    panels,
    plain,
    thinned,
    variants,
)
from pipeline.analysis.figures.style import Style, Styles
from pipeline.analysis.summary import parameter
from pipeline.config.arrays import Floats

STEPS = 420  # drawn in one panel of step lines, all schedulers together; it keeps a panel small
HEADING = 1.5  # rows that a scheduler's name takes above its bars
FASTEST = (1.0, 4.0)  # of a performance profile: how many times as long as the fastest


def sensitivity(name: str, table: pd.DataFrame, style: Styles) -> list[Panel]:
    """Mean validation loss over the peak learning rate, one line per scheduler.

    ``table`` has ``scheduler``, ``lr``, ``validation_loss`` with its interval ``low`` to ``high``, and ``diverged`` and
    ``seeds`` (both counts). Points with diverged seeds are hollow; a line stops where all of them diverged.
    """
    drawn = table.assign(validation_loss=table["validation_loss"].where(table["diverged"] < table["seeds"]))
    return _over(f"{name}-sensitivity", "lr", drawn, "peak learning rate", style)


def budget(name: str, table: pd.DataFrame, style: Styles) -> list[Panel]:
    """Mean validation loss over the length of the training in epochs, one line per scheduler.

    ``table`` has ``variant``, ``epochs``, ``scheduler``, ``validation_loss`` with its interval ``low`` to ``high``; where it
    counts ``diverged`` seeds, points that have any are hollow.
    """
    return _over(f"{name}-budget", "epochs", table, "epochs of training", style)


def best_so_far(name: str, table: pd.DataFrame, style: Styles) -> list[Panel]:
    """How far the lowest validation loss up to each trial lies above the seed's best: median over studies, with a band.

    ``table`` has ``scheduler``, ``trial`` (from 1), ``middle``, and ``low`` and ``high`` of the band; NaN or
    infinite where nothing has been found yet.
    """
    known = table[np.isfinite(table["middle"].to_numpy(float))].replace(np.inf, np.nan)
    scale = near_the_lowest(_found(known)) if len(known) else Scale(0, 1, False)
    return panels(f"{name}-best_so_far", variants(known), partial(_steps_panel, scale=scale, style=style))


def profile(name: str, table: pd.DataFrame, style: Styles) -> list[Panel]:
    """Performance profiles (Dolan and Moré, 2002): the share of instances solved within ``tau`` times the fewest epochs.

    ``table`` has ``scheduler``, ``tau`` (from 1) and ``share`` (0 to 1), a row wherever the share changes.
    """
    return panels(f"{name}-profile", variants(table), partial(_profile_panel, style=style))


def importances(name: str, table: pd.DataFrame, style: Styles) -> list[Panel]:
    """How much of a study's spread each searched argument explains: bars in groups, one group per scheduler.

    ``table`` has ``scheduler``, ``parameter``, ``importance`` (0 to 1, the mean over studies) and its ``low`` and ``high``;
    a NaN is shown as unknown.
    """
    return panels(f"{name}-importances", variants(table), partial(_bars_panel, style=style))


def _found(known: pd.DataFrame) -> Floats:
    """What sets the scale: none above the best, the medians but for the first and worst ones, and the bands at the end."""
    middle = known["middle"].to_numpy(float)
    end = known.loc[known["trial"] == known["trial"].max(), ["low", "high"]].to_numpy(float)
    return np.concatenate([[0.0], middle[middle <= np.quantile(middle, 0.95)], end.ravel()])


def _over(name: str, column: str, table: pd.DataFrame, title: str, style: Styles) -> list[Panel]:
    """One panel per variant in which anything was measured, all over the whole range of ``column``."""
    measured = [(variant, rows) for variant, rows in variants(table) if rows["validation_loss"].notna().any()]
    grid = np.unique(table[column].to_numpy(float))
    return panels(name, measured, partial(_over_panel, column=column, grid=grid, title=title, style=style))


def _over_scale(rows: pd.DataFrame) -> Scale:
    """All means near the lowest, and the interval of that in view, so that noise looks like noise."""
    measured = rows[rows["validation_loss"].notna()].sort_values("validation_loss")
    scale, low = near_the_lowest(measured["validation_loss"].to_numpy(float)), float(measured["low"].iloc[0])
    return Scale(min(scale.low, low) if np.isfinite(low) else scale.low, scale.high, False)


def _over_panel(name: str, rows: pd.DataFrame, column: str, grid: Floats, title: str, style: Styles) -> Markup:
    of = _by_scheduler(rows)
    figure, axes = line_chart(of)
    for label, own in of.items():
        _points(axes, column, own.sort_values(column), style[label])
    dress(axes, _over_scale(rows))
    _logarithmic(axes, grid, exact=column == "epochs")
    axes.set_xlabel(title)
    _name(axes, rows[rows["validation_loss"].notna()], column, "validation_loss", style)
    return as_svg(figure, name, f"Validation loss over {title}: {', '.join(of)}")


def _points(axes: Axes, column: str, rows: pd.DataFrame, style: Style) -> None:
    """One scheduler's line, thin intervals, and markers: hollow where seeds diverged."""
    x, y, low, high = (rows[name].to_numpy(float) for name in (column, "validation_loss", "low", "high"))
    diverged = rows["diverged"].to_numpy(float) > 0 if "diverged" in rows else np.zeros(len(rows), bool)
    gaps = np.full(len(x), np.nan)  # one path of many pieces is much smaller than many paths
    axes.plot(np.ravel([x, x, gaps], "F"), np.ravel([low, high, gaps], "F"), color=style.band, linewidth=0.7, alpha=0.35)
    axes.plot(x, y, linewidth=1.2, **style.line)
    for chosen, face in ((~diverged, style.fill), (diverged, PAPER)):
        if (chosen & np.isfinite(y)).any():
            look: dict[str, Any] = {"markeredgecolor": style.fill, "markerfacecolor": face, "markeredgewidth": 1.1}
            axes.plot(x[chosen], y[chosen], style.marker, markersize=4, **look)


def _logarithmic(axes: Axes, grid: Floats, exact: bool) -> None:
    """A logarithmic horizontal axis over the whole ``grid``; ``exact``: with ticks at nothing else."""
    axes.set_xscale("log")
    low, high = float(grid.min()), float(grid.max())
    near = high / low < 30
    axes.xaxis.set_major_locator(FixedLocator(grid.tolist()) if exact else LogLocator(subs=(1.0, 2.0, 5.0) if near else (1.0,)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(plain))
    room = (high / low) ** 0.04 if high > low else 2.0
    axes.set_xlim(low / room, high * room)


def _steps_panel(name: str, rows: pd.DataFrame, scale: Scale, style: Styles) -> Markup:
    of = _by_scheduler(rows)
    figure, axes = line_chart(of)
    for label, own in of.items():
        steps = own.sort_values("trial")
        _band(axes, _changes(steps, ["low", "high"], len(of)), style[label])
        line = _changes(steps, ["middle"], len(of))
        axes.plot(line["trial"], line["middle"], linewidth=1.4, drawstyle="steps-post", **style[label].line)
    dress(axes, scale)
    axes.set_xlabel("trial")
    _name(axes, rows, "trial", "middle", style)
    return as_svg(figure, name, f"Lowest validation loss up to each trial, above the best of the seed: {', '.join(of)}")


def _name(axes: Axes, rows: pd.DataFrame, x: str, y: str, style: Styles) -> None:
    """The schedulers' names beside the ends of their lines."""
    ends = {label: float(own.sort_values(x, kind="stable")[y].iloc[-1]) for label, own in _by_scheduler(rows).items()}
    name_lines(axes, [(label, end, style[label].fill) for label, end in ends.items()])


def _band(axes: Axes, steps: pd.DataFrame, style: Style) -> None:
    trial, low, high = (steps[name].to_numpy(float) for name in ("trial", "low", "high"))
    axes.fill_between(trial, low, high, step="post", color=style.band, alpha=0.06, linewidth=0)


def _profile_panel(name: str, rows: pd.DataFrame, style: Styles) -> Markup:
    of = _by_scheduler(rows)
    figure, axes = line_chart(of)
    for label, own in of.items():
        steps = _changes(_from_first_to_last(own), ["share"], len(of))
        axes.plot(steps["tau"], steps["share"], linewidth=1.4, drawstyle="steps-post", **style[label].line)
    dress(axes, Scale(-0.02, 1.02, False))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, position: f"{share:.0%}"))
    axes.set(xlabel="times the fastest", xlim=FASTEST)
    _name(axes, rows[rows["tau"] <= FASTEST[1]], "tau", "share", style)
    return as_svg(figure, name, f"Share of runs at the target within so many times the fastest: {', '.join(of)}")


def _from_first_to_last(rows: pd.DataFrame) -> pd.DataFrame:
    """One scheduler's steps over the whole axis: nothing is solved before its first row, as much as in its last after it."""
    first, last = FASTEST
    own = rows.sort_values("tau", kind="stable")[["tau", "share"]]
    own = own[own["tau"] <= last]
    share = float(own["share"].iloc[-1]) if len(own) else 0.0
    return pd.concat([pd.DataFrame({"tau": [first], "share": [0.0]}), own, pd.DataFrame({"tau": [last], "share": [share]})])


def _changes(rows: pd.DataFrame, columns: Sequence[str], lines: int) -> pd.DataFrame:
    """The rows at which a step function changes, and the last one: an equal share of :data:`STEPS` at most."""
    values = rows[list(columns)].to_numpy(float)
    kept = np.ones(len(rows), bool)
    kept[1:-1] = (values[1:-1] != values[:-2]).any(axis=1)
    changes = rows[kept]
    return changes.iloc[thinned(len(changes), max(STEPS // lines, 4))]


def _bars_panel(name: str, rows: pd.DataFrame, style: Styles) -> Markup:
    of = _by_scheduler(rows)
    height = HEADING * len(of) + len(rows)
    longest = max(len(parameter(name)) for name in rows["parameter"])
    figure, (axes,) = charts(11 * height, left=min(12 + 5 * longest, WIDTH / 2), right=18)
    y = 0.0
    ticks: dict[float, str] = {}
    for label, own in of.items():
        axes.annotate(label, (0, y + HEADING - 1), (3, 0), textcoords="offset points", va="center")
        y += HEADING
        for row in own.to_dict("records"):
            ticks[y] = parameter(row["parameter"])
            _bar(axes, y, (row["importance"], row["low"], row["high"]), style[label])
            y += 1
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set(xlabel="share of the spread between trials", xlim=(0, 1), ylim=(height - 0.5, -0.5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, position: f"{share:.0%}"))
    axes.grid(visible=False, axis="y")
    return as_svg(figure, name, f"Importance of the searched arguments: {', '.join(of)}")


def _bar(axes: Axes, y: float, values: tuple[float, float, float], style: Style) -> None:
    share, low, high = values
    if np.isnan(share):
        axes.annotate("unknown", (0, y), (3, 0), textcoords="offset points", va="center", size=7.5)
        return
    axes.barh(y, share, height=0.62, color=style.fill, alpha=0.75, linewidth=0)
    axes.plot([low, high], [y, y], color=INK, linewidth=0.8)
    axes.plot(share, y, style.marker, color=style.fill, markersize=5, clip_on=False)


def _by_scheduler(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {str(label): own for label, own in rows.groupby("scheduler", sort=False)}
