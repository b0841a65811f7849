"""The picture beside an answer: the recommended schedule, and what every scheduler may cost."""

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from pipeline.analysis.figures.canvas import INK, MUTED, SETTINGS, WIDTH, Panel, as_svg, plain, stacked, thinned
from pipeline.analysis.figures.style import Styles
from pipeline.config.arrays import Floats
from pipeline.config.wording import raised

ROW = 12.5  # points from one scheduler to the next
SCHEDULE = 52.0  # points that the schedule is high


def answer(
    name: str, rates: Floats, costs: pd.DataFrame, chosen: str, matters: float, style: Styles, *, in_steps: bool
) -> list[Panel]:
    """``rates`` are the chosen schedule's, epoch by epoch; ``costs`` has ``scheduler``, ``regret`` and ``regret_bound``.

    ``in_steps`` says that a rate is kept through its epoch; otherwise it changes within.

    Both are shares of the lowest loss. A point is what a scheduler cost in the mean, its line goes up to what it costs
    at most; an arrow head says that this lies beyond the panel. The broken line is what is too small to matter.
    """
    with rc_context(SETTINGS):
        labels = costs["scheduler"].tolist()
        figure, (schedule, forest) = stacked(SCHEDULE, ROW * len(labels), left=_margin(labels), gap=30)
        _draw_schedule(schedule, rates, style[chosen].fill, in_steps=in_steps)
        _draw_costs(forest, costs, chosen, matters, style)
        said = f"Learning rate of {chosen} by epoch, and what each scheduler costs at most against the best"
        return [Panel("", as_svg(figure, f"{name}-answer", f"{said}: {_listed(costs)}"))]


def _margin(labels: list[str]) -> float:
    return min(16 + 5 * max(map(len, labels)), WIDTH / 2)


def _draw_schedule(axes: Axes, rates: Floats, colour: str, *, in_steps: bool) -> None:
    shown = thinned(len(rates))
    axes.plot(shown + 1, rates[shown], color=colour, linewidth=1.8, drawstyle="steps-mid" if in_steps else "default")
    axes.fill_between(shown + 1, rates[shown], color=colour, alpha=0.12, linewidth=0, step="mid" if in_steps else None)
    axes.set(xlim=(1, max(len(rates), 2)), ylim=(0, 1.08 * float(np.nanmax(rates)) or 1.0))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(plain))
    axes.set_ylabel("rate")
    axes.annotate("epoch", (1, 0), (0, -12), "axes fraction", "offset points", ha="right", va="top", size=7.5)


def _draw_costs(axes: Axes, costs: pd.DataFrame, chosen: str, matters: float, style: Styles) -> None:
    limit = _limit(costs, chosen, matters)
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.axvline(100 * matters, color=MUTED, linewidth=0.8, linestyle=(0, (3, 2)))
    for y, (label, regret, bound) in enumerate(costs[["scheduler", "regret", "regret_bound"]].itertuples(index=False)):
        colour = style[label].fill if label == chosen else MUTED
        _draw_cost(axes, y, 100 * regret, 100 * bound, limit, colour)
    axes.set_yticks(range(len(costs)), costs["scheduler"].tolist())
    for tick, label in zip(axes.get_yticklabels(), costs["scheduler"], strict=True):
        tick.set(color=style[label].fill if label == chosen else MUTED, weight="bold" if label == chosen else "normal")
    axes.set(xlim=(-0.02 * limit, limit), ylim=(len(costs) - 0.5, -0.5), xlabel="more loss than the best")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{plain(value, position)}%"))
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)


def _draw_cost(axes: Axes, y: int, regret: float, bound: float, limit: float, colour: str) -> None:
    if np.isnan(regret):
        axes.text(0.02 * limit, y, "diverged", va="center", size=7.5, color=colour)
        return
    if not bound <= limit:
        axes.plot(limit, y, ">", color=colour, markersize=4.5, clip_on=False)
    axes.plot([min(regret, limit), min(bound, limit) if np.isfinite(bound) else limit], [y, y], linewidth=1.8, color=colour)
    if regret <= limit:
        axes.plot(regret, y, "o", color=colour, markersize=5, clip_on=False)


def _limit(costs: pd.DataFrame, chosen: str, matters: float) -> float:
    """In percent: all of the chosen one, and of the others what three in four of them come to, at least thrice the chosen's."""
    bounds = costs["regret_bound"].replace(np.inf, np.nan)
    own = float(np.nan_to_num(bounds[costs["scheduler"] == chosen].max()))
    usual = float(np.nan_to_num(bounds.quantile(0.75)))
    most = float(np.nan_to_num(bounds.max())) or 2 * matters
    return 115 * max(own, min(most, max(usual, 3 * own)), 2 * matters)


def _listed(costs: pd.DataFrame) -> str:
    rows = costs[["scheduler", "regret_bound"]].itertuples(index=False)
    return ", ".join(f"{label} {raised(bound):.1%}" if np.isfinite(bound) else f"{label} unknown" for label, bound in rows)
