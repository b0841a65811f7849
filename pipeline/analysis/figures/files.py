"""A panel as a file that stands alone, for a slide or a paper: the light page's colours, and a legend."""

import re

from markupsafe import Markup

from pipeline.analysis.figures.canvas import WIDTH
from pipeline.analysis.figures.style import Styles, palette, swatch

LIGHT = {"--ink": "#1a1e26", "--grid": "#e4e7ee", "--card": "#fff", "--muted": "#596273", **palette(0)}
"""CSS variable → its colour on the light page, as in templates/report.html.j2."""
_OPENING = re.compile(r'<svg ([^>]*)viewBox="0 0 [\d.]+ ([\d.]+)"(?: data-axes="[^"]*")?>')
_ROW, _BROAD = 14, 27  # points from one row of the legend to the next; characters from which names get a row each


def standalone(svg: Markup | str, legend: Styles | None = None) -> bytes:
    """An SVG document of a panel's element on white paper; the schedulers of ``legend``, if any, are named below it.

    The size is in points. A CSS variable that the page does not have is a KeyError.
    """
    found = _OPENING.match(svg)
    if found is None:
        raise ValueError("not an SVG element as a figure draws it")
    drawn = float(found[2])
    named, height = _legend(legend, drawn) if legend else (Markup(), drawn)
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {found[1]}'
        f'width="{WIDTH}pt" height="{height:g}pt" viewBox="0 0 {WIDTH} {height:g}"'
        ' font-family="DejaVu Sans, Verdana, Arial, sans-serif" stroke-linejoin="round">\n'
        f'<rect width="{WIDTH}" height="{height:g}" fill="var(--card)"/>'
    )
    body = svg[found.end() :].removesuffix("\n").removesuffix("</svg>")
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + _lit(f"{opening}{body}{named}</svg>\n")).encode()


def _legend(legend: Styles, top: float) -> tuple[Markup, float]:
    """Two names in a row where they are short enough, each behind its line, from ``top`` points down; and where it ends."""
    across = 1 if max(map(len, legend)) >= _BROAD else 2
    entry = Markup('{}<text x="{:g}" y="{:g}" font-size="8.5" fill="currentColor">{}</text>\n')
    drawn = []
    for number, (label, style) in enumerate(legend.items()):
        x, y = 12 + number % across * (WIDTH - 12) / 2, top + 10 + number // across * _ROW
        place = Markup('<svg x="{:g}" y="{:g}" width="28" height="8"').format(x, y - 7)
        line = Markup(str(swatch(style)).replace('<svg class="swatch"', place, 1))  # noqa: S704  # markup already
        drawn.append(entry.format(line, x + 34, y, label))
    return Markup().join(drawn), top + 8 + _ROW * -(-len(legend) // across)


def _lit(svg: str) -> str:
    """The light page's colours in all attributes but those that hold text, which is the user's."""
    coloured = re.compile(r' (?:style|fill|stroke)="[^"]*"')
    return re.sub(r"<[^>]*>", lambda tag: coloured.sub(lambda found: _colours(found[0]), tag[0]), svg)


def _colours(attribute: str) -> str:
    attribute = re.sub(r"var\((--[\w-]+)\)", lambda name: LIGHT[name[1]], attribute)
    return attribute.replace("currentColor", LIGHT["--ink"])
