"""Figures as inline SVG: one function each, one panel per variant, the axes of the panels shared.

The panels take their colours and fonts from the page: text and axes are ``currentColor``, the grid and the schedulers are
CSS variables (see :func:`palette`), so that one drawing is right on a light and on a dark page; :func:`standalone` makes a
file of one. They hold no time and no random name: the same numbers give the same bytes. A table without rows gives no
panel.
"""

from pipeline.analysis.figures.answer import answer
from pipeline.analysis.figures.canvas import POINTS, WIDTH, Panel
from pipeline.analysis.figures.curves import learning_rate_gallery, loss_curves
from pipeline.analysis.figures.evidence import best_so_far, budget, importances, profile, sensitivity
from pipeline.analysis.figures.files import standalone
from pipeline.analysis.figures.intervals import forest
from pipeline.analysis.figures.ranks import critical_difference
from pipeline.analysis.figures.style import PALETTE, Style, Styles, palette, styles, swatch, symbol

__all__ = [
    "PALETTE",
    "POINTS",
    "WIDTH",
    "Panel",
    "Style",
    "Styles",
    "answer",
    "best_so_far",
    "budget",
    "critical_difference",
    "forest",
    "importances",
    "learning_rate_gallery",
    "loss_curves",
    "palette",
    "profile",
    "sensitivity",
    "standalone",
    "styles",
    "swatch",
    "symbol",
]
