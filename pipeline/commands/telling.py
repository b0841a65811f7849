"""A verdict in plain words, of nothing but what its JSON holds."""

import math
from typing import Any

from pipeline.config.wording import few

ROWS = 12
"""Labels that are printed; JSON has them all."""
Document = dict[str, Any]


def told(document: Document) -> list[str]:
    """The document in plain words."""
    number, rows = _Format(*document["noise"].values(), document["matters"]["difference"]), document["labels"]
    fewest, most = (pick(row["seeds"] for row in rows) for pick in (min, max))
    columns = document["columns"]
    unit = "folds and seeds" if columns["fold"] and columns["seed"] else "folds" if columns["fold"] else "seeds"
    many = f"{fewest} to {most} {unit}" if fewest < most else f"{most} {unit}"
    return [
        _head(document, many),
        *(f"Note: {remark}." for remark in document["remarks"]),
        _noise(document, number),
        "",
        *_table(document, number),
        "",
        f"May be the best, at 95%: {few(map(_short, document['may_be_best']), 8) or 'nothing that finished'}.",
        _advice(document, number),
        _power(document, number, many),
        _seeds(document, number),
    ]


class _Format:
    """Numbers with as many places as the smallest size that is told has two digits in."""

    def __init__(self, *sizes: float | None) -> None:
        least = min(filter(None, sizes), default=1.0)
        self.places = max(0, 1 - math.floor(math.log10(least)))

    def __call__(self, value: float | None, sign: str = "") -> str:
        if value is None:
            return "none"
        rounded = round(value, self.places) + 0.0  # no minus before a zero
        return f"{rounded:{sign}.{self.places}f}" if self.places < 9 and abs(value) < 1e9 else f"{value:{sign}.4g}"


def _short(label: str) -> str:
    return label if len(label) <= 40 else f"{label[:26]}…{label[-13:]}"


def _head(document: Document, many: str) -> str:
    columns = document["columns"]
    took = "; ".join(f"{role}: {', '.join(names)}" for role in ("label", "seed", "fold") if (names := columns[role]))
    how = "paired" if document["paired"] else "unpaired"
    count, base = len(document["labels"]), document["baseline"]
    took += f"; baseline: {_short(base['label'])}, {base['why']}"
    return f"{document['metric']} ({document['better']} is better) of {count} labels, {many} each, {how} ({took})"


def _noise(document: Document, number: _Format) -> str:
    noise, overlap = document["noise"], document["overlap"]
    unit = "fold" if document["columns"]["fold"] else "seed"
    paired = f"; of a difference on the same {unit} {number(noise['of_difference'])}" if document["paired"] else ""
    of = f"data like these, {overlap:.0%} of a part in common" if overlap else "these data with other seeds"
    return f"Noise: standard deviation between {unit}s {number(noise['between_seeds'])}{paired}. Intervals speak of {of}."


def _table(document: Document, number: _Format) -> list[str]:
    rows, baseline = document["labels"], document["baseline"]["label"]
    kept = {baseline, document["recommended"]["label"]}
    shown = [row for place, row in enumerate(rows) if place < ROWS - 2 or row["label"] in kept]
    cells: list[tuple[str, ...]] = [("", "mean", f"minus {_short(baseline)}", "95%, all at once", "verdict", "loses at most")]
    cells += [_cells(row, number) for row in shown]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for name, *numbers, verdict, bound in cells:
        right = [text.rjust(width) for text, width in zip(numbers, widths[1:4], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *right, verdict.ljust(widths[4]), bound]))
    left = len(rows) - len(shown)
    return [*lines, f"and {left} more, which --json has"] if left else lines


def _cells(row: Document, number: _Format) -> tuple[str, ...]:
    away = f"{row['diverged']} of {row['seeds']} diverged" if row["diverged"] else ""
    verdict = away if row["verdict"] == "diverged" else ", ".join(filter(None, (row["verdict"], away)))
    is_compared = row["verdict"] != "baseline" and row["difference"] is not None
    difference = number(row["difference"], "+") if is_compared else ""
    interval = f"{number(row['low'], '+')} to {number(row['high'], '+')}" if is_compared and row["low"] is not None else ""
    return _short(row["label"]), number(row["mean"]), difference, interval, verdict, number(row["bound"])


def _advice(document: Document, number: _Format) -> str:
    chosen, matters = document["recommended"], document["matters"]
    label, bound = chosen["label"], number(chosen["bound"])
    percent = float(f"{100 * (matters['share'] or 0):.3g}")
    share = f", {percent:g}% of the baseline's mean" if percent else ""
    margin = f"{number(matters['difference'])} that matters{share}"
    if chosen["reason"] == "preferred":
        word = "Keep" if label == document["baseline"]["label"] else "Take"
        is_alone = document["may_be_best"] == [label]
        return f"{word} {_short(label)}: {'it is the best' if is_alone else f'it loses {bound} at most, within the {margin}'}."
    if chosen["reason"] == "lowest_bound":
        now = f"If it must be one now, {_short(label)}: it may lose {bound}, more than the {margin}."
        return f"Which is the best is open. {now}"
    if chosen["reason"] == "lowest_loss":
        return f"Nothing bounds what is lost; {_short(label)} has the best mean of those that diverged least often."
    return "Nothing can be recommended: no run finished."


def _power(document: Document, number: _Format, many: str) -> str:
    low, high = document["smallest_found"]
    if high is None:
        return "What so many seeds could find is not known: too few runs finished."
    size = number(low) if number(low) == number(high) else f"{number(low)} to {number(high)}"
    return f"The smallest difference from the baseline that {many} find four times in five: {size}."


def _seeds(document: Document, number: _Format) -> str:
    seeds, effect = document["seeds"], number(document["matters"]["difference"])
    if seeds["add"] == "no":
        return "More seeds? No, nothing that matters is open."
    if seeds["add"] == "unknown":
        return "More seeds? They would tell how often a run diverges; the means cannot answer it."
    if seeds["add"] == "in vain":
        return f"More seeds? No number of them finds {effect}; more data, or a larger --matters, would."
    some = f"{seeds['from']:.0f} or more" if seeds["to"] is None else f"{seeds['from']:.0f} to {seeds['to']:.0f}"
    return f"More seeds? {some} per label in all would detect a difference of {effect} four times in five."
