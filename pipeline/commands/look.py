"""``python -m pipeline look``: show what is in a table, column by column, and the entry of params.yaml to load it with.

Nothing is written.
"""

import argparse
import re
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import digits
from typing import Any

import numpy as np
import pandas as pd

from pipeline.commands import arguments, tables
from pipeline.config.errors import PipelineError
from pipeline.config.params import working_in
from pipeline.config.registry import folded
from pipeline.config.terminal import tell
from pipeline.config.wording import as_yaml, counted, few
from pipeline.data.cells import Kind, Remarks, are_codes, is_text, understood
from pipeline.data.leaks import leaks, same_samples
from pipeline.data.mistakes import DatasetError, all_of, names_of
from pipeline.data.proposal import USUAL, Proposal, proposed
from pipeline.data.reading import INPUTS
from pipeline.data.tables import described
from pipeline.problems.dataset import PARTS, bare
from pipeline.problems.encoding import Column, category_texts

WIDTH = 100
CODES = range(3, 21)
"""So many different whole numbers may be codes."""
MOST_CODES, OFTEN = 10, 5
"""Of fewer different numbers none but nines stands out; one that is met so often is no outlier."""
WIDE = 50
"""So many categories are better embedded."""
EMBEDDED = "`model: {name: tabular, hidden: [32, 32]}`"
UNEVEN = 0.8
"""The share of the most frequent class from which on accuracy says little."""
SAMPLES = 300_000
"""Samples times epochs of a run, about: the 700 runs of `quick` are to take half a minute on two cores."""
LONGEST = 60
"""Epochs at most."""
HEADINGS = ("column", "taken as", "missing", "different", "values")
WIDTHS = (20, 10, 7, 9)
START = sum(WIDTHS) + 2 * len(WIDTHS)
"""Where the last column begins."""


def main(words: Sequence[str]) -> None:
    """Carry out the command; :class:`PipelineError` where the file itself has to be mended."""
    asked = _parser().parse_args(words)
    files = tables.named(asked.files)
    proposal = looked_at(files, asked.target)
    to_copy = "the file" if len(files) == 1 else "the files"
    where = "Paste into params.yaml" if tables.are_inside(files) else f"Copy {to_copy} to {INPUTS}/, and paste into params.yaml"
    said = ["", f"{where}, in place of the problems there:", ""]
    print("\n".join([*seen(proposal, few([file.name for file in files])), *said, *pasteable(proposal)]))


def _parser() -> argparse.ArgumentParser:
    parser = arguments("look", __doc__)
    parser.add_argument(
        "files", nargs="+", metavar="TABLE", help="CSV or Parquet, a row per sample; several files or a pattern make one table"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the column to predict; left out, one is proposed")
    return parser


def looked_at(files: Sequence[Path], target: str | None) -> Proposal:
    """The entry for files anywhere; :class:`PipelineError` where a file itself has to be mended."""
    if arrays := [file for file in files if file.suffix == ".npz"]:
        raise PipelineError(f"{arrays[0]} holds arrays, and look is for tables; docs/data.md says how arrays are taken")
    try:
        if tables.are_inside(files):
            return proposed(tables.path_of(files), target)
        with tempfile.TemporaryDirectory() as folder:
            for file in files:
                link = Path(folder) / INPUTS / tables.below(file)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.resolve())
            path = tables.path_of(files)
            with working_in(Path(folder)):
                return proposed(path, target)
    except DatasetError as error:
        said = str(error).replace(f"{INPUTS}/", f"{INPUTS}/" * tables.are_inside(files))  # another may have its name there
        raise PipelineError("\n".join(f"{few(files)}: {line}" for line in said.splitlines())) from None


# What is in the table


def seen(proposal: Proposal, file: str) -> Iterator[str]:
    """The table of columns, and what else is to be known."""
    table, target = proposal.table, proposal.entry["target"]
    yield f"{file}: {counted(len(table), 'row')}, {counted(len(table.columns), 'column')}"
    yield from _wrapped(f"target: {target}, {proposal.chosen or 'as asked'}")
    yield ""
    yield _row(*HEADINGS)
    features = {column["name"]: Column.from_dict(column) for column in proposal.data.attrs["columns"]}
    for name in table.columns:
        yield _of_column(proposal, str(name), features)
    yield ""
    for name in proposal.entry.get("drop", ()):
        if len(why := proposal.why.get(name, "")) > WIDTH - START:
            yield from _wrapped(f"{name} {why}")
    yield from _wrapped(described(proposal.data))
    if "order" not in proposal.entry and (number := same_samples(proposal.data)) is not None:
        repeated = len(number) - len(set(number.tolist()))
        yield f"{counted(repeated, 'row')} with the features of an earlier one; they stay in one part with it"


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _row(*cells: Any) -> str:
    name, kind, missing, different, values = (" ".join(str(cell).split()) for cell in cells)
    wide = [_cut(name, WIDTHS[0]).ljust(WIDTHS[0]), _cut(kind, WIDTHS[1]).ljust(WIDTHS[1])]
    line = "  ".join([*wide, missing.rjust(WIDTHS[2]), different.rjust(WIDTHS[3]), ""])
    return (line + _cut(values, WIDTH - len(line))).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _of_column(proposal: Proposal, name: str, features: Mapping[str, Column]) -> str:
    entry, raw = proposal.entry, proposal.table[name]
    is_category = name in features and bool(features[name].categories)
    as_kind: Kind = "category" if is_category else "number" if name in features else "auto"
    decimal = proposal.table.attrs.get("decimal", ".")
    cells = understood(raw, name, entry.get("missing_values", ()), decimal, as_kind, Remarks())
    is_nested = raw.dtype == object and raw.map(pd.api.types.is_list_like).any()
    different = "" if is_nested else cells.nunique()
    if name == entry["target"]:
        kind, values = "the target", _values(cells)
    elif name in entry.get("drop", ()):
        kind, values = "left out", proposal.why.get(name, "")
    elif name in entry.get("dates", {}):
        kind, values = "date", f"{', '.join(entry['dates'][name])} of {cells.dropna().iloc[0]}"
    elif is_category:
        kind, values = "category", _values(cells)
    elif name in features:
        kind = "number"
        values = _values(cells) + "; codes? see below" * _may_be_codes(cells)
    else:
        kind, values = "left out", "no name, and nothing to say"
    return _row(name, kind, int(cells.isna().sum()), different, values)


def _values(cells: "pd.Series[Any]") -> str:
    """The ends of numbers; the most frequent of anything else."""
    if pd.api.types.is_float_dtype(cells) or (pd.api.types.is_numeric_dtype(cells) and cells.nunique() > CODES.stop):
        return f"{cells.min():.6g} to {cells.max():.6g}"
    shares = category_texts(cells.dropna()).value_counts(normalize=True)
    more = f" and {len(shares) - 4} more" if len(shares) > 4 else ""
    return ", ".join(f"{_cut(str(name), 16)} {share:.0%}" for name, share in shares.head(4).items()) + more


def _may_be_codes(cells: "pd.Series[Any]") -> bool:
    known = cells.dropna()
    return bool((known == known.round()).all()) and known.nunique() in CODES


def _marks_in(cells: "pd.Series[Any]") -> list[float]:
    """Numbers that may stand for missing: an end that is met often, and is farther from all others than these lie apart."""
    known = np.unique(cells.dropna())
    if len(known) < 3:
        return []
    ends = ((known[0], known[1], known[-1]), (known[-1], known[-2], known[0]))
    far = [end for end, near, other in ends if abs(end - near) > abs(near - other) and end != 0]
    usual = far if len(known) >= MOST_CODES else [end for end in far if re.fullmatch("-9|-?99+", f"{end:g}")]
    return [float(end) for end in usual if (cells == end).sum() >= OFTEN]


def _may_be_days(cells: "pd.Series[Any]") -> bool:
    """Whether all are dates without a mark between year, month and day."""
    known = cells.dropna()
    if not known.between(1900_01_01, 2100_12_31).all():
        return False
    return bool(pd.to_datetime(known.astype("int64").astype("string"), format="%Y%m%d", errors="coerce").notna().all())


def _are_codes(cells: "pd.Series[Any]") -> bool:
    known = cells.dropna()
    return is_text(known) and are_codes(known.astype("string").str.strip())


# What to paste


def pasteable(proposal: Proposal) -> Iterator[str]:
    """The problem as params.yaml has it, with a comment on what was decided and what only its owner knows."""
    entry = proposal.entry
    yield "problems:"
    yield f"  {tables.name_for(entry['path'])}:"
    yield "    dataset:"
    for key, value in entry.items():
        yield from _flow(f"      {key}: ", value, proposal.reasons.get(key, ""))
    for line in hints(proposal):
        yield from _comment(line)
    yield "    model: {name: mlp, hidden: [32, 32]}"
    yield "    optimizer: {name: AdamW, lr: 0.01}"
    yield from (f"    {key}: {value}" for key, value in size_for(proposal.data).items())


def size_for(data: pd.DataFrame) -> dict[str, int]:
    """Epochs and batches for so many training samples as a dataset has."""
    samples = int((data["split"] == "train").sum())
    return {"epochs": max(3, min(LONGEST, SAMPLES // samples)), "batch_size": min(32, samples) if samples < 3_000 else 128}


def tell_hints(proposal: Proposal, command: str) -> None:
    """What only the table's owner knows, where nobody sees the comments in what is pasted."""
    for line in hints(proposal):
        tell(f"{command}: yours to decide: {line}")


def hints(proposal: Proposal) -> Iterator[str]:
    """What could be written besides, if it is so."""
    entry, data = proposal.entry, proposal.data
    columns, classes = [Column.from_dict(column) for column in data.attrs["columns"]], data.attrs.get("classes", ())
    data = bare(data)
    numbers = {f"x{place}": c.name for place, c in enumerate(columns) if not c.categories and c.name in proposal.table}
    if days := [name for place, name in numbers.items() if _may_be_days(data[place])]:
        yield _cut(
            f"dates: {{{as_yaml(days[0])}: [year, month, weekday]}}  # where its numbers are dates, as 20241231 is", WIDTH - 8
        )
    if codes := [name for place, name in numbers.items() if _may_be_codes(data[place])]:
        yield _cut(f"categorical: {as_yaml(codes)}  # where their numbers are codes", WIDTH - 8)
    told: dict[str, str] = numbers if classes else {**numbers, "y": entry["target"]}
    if marks := {name: some for place, name in told.items() if (some := _marks_in(data[place]))}:
        texts = sorted({f"{mark:g}" for found in marks.values() for mark in found})
        yield _cut(f"missing_values: [{', '.join(texts)}]  # where it stands for missing, as in {few(marks)}", WIDTH - 8)
    if amounts := [c.name for c in columns if c.categories and c.name in proposal.table and _are_codes(proposal.table[c.name])]:
        yield _cut(f"numeric: {as_yaml(amounts)}  # where their leading zeros mean nothing", WIDTH - 8)
    if wide := [c.name for c in columns if len(c.categories) > WIDE]:
        yield _cut(f"many categories in {names_of(wide)}: {EMBEDDED} embeds them", WIDTH - 8)
    yield from _of_rows(proposal)
    yield from _of_a_series(proposal)
    for leak in (each for each in leaks(proposal.data, entry.get("trusted", ())) if each.severity == "hint"):
        drop = as_yaml(all_of(entry.get("drop", ()), [leak.column]))
        yield f"drop: {drop}  # where {leak.column} is known no earlier than the target: it {leak.wrong}"
    yield from _of_target(entry["target"], data["y"], classes, list(numbers.values()))


def _of_target(target: str, y: "pd.Series[Any]", classes: Sequence[str], numbers: Sequence[str]) -> Iterator[str]:
    """How else it could be predicted, or judged."""
    if not classes and (more := [n for n in numbers if folded(n).rstrip(digits) == folded(target).rstrip(digits) in USUAL]):
        yield _cut(f"target: {as_yaml([*more, target])}  # if all are to be predicted, and none learnt from", WIDTH - 8)
    if len(classes) > 2 and all(name.isdecimal() for name in classes):
        yield f"task: regression  # where {target} is an amount: {classes[0]} < {classes[1]} < {classes[2]}"
    if len(classes) == 2 and y.mean() > UNEVEN:
        yield f"positive: {as_yaml(classes[0])}  # the class that F1Score and AUROC are to look at; else it is {classes[1]}"
    if pd.api.types.is_integer_dtype(y) and (most := y.value_counts(normalize=True).max()) > UNEVEN:
        yield f"{100 * most:.3g}% are of one class; beside `dataset:` write `metric: {{name: BalancedAccuracy}}`"


def _of_rows(proposal: Proposal) -> Iterator[str]:
    """Columns that may say something of a row, and are learnt from: its owner, its weight, its part."""
    features = [column["name"] for column in proposal.data.attrs["columns"] if column["name"] in proposal.table]
    for name in features:
        words = set(re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", name).lower()))
        different = (cells := proposal.table[name].dropna()).nunique()
        names = set(cells.astype("string").str.lower()) if different <= 5 else {""}
        if names and names <= {*PARTS, "val", "valid"} and "order" not in proposal.entry:
            yield f"split: {as_yaml(name)}  # if it says which part a row is in: train, validation or test"
        elif words & OWNERS and WIDE <= different <= len(cells) / 2 and "order" not in proposal.entry:
            yield f"group: {as_yaml(name)}  # if rows of one {name} belong together: they are kept in one part, not torn apart"
        elif words & WEIGHTS and pd.api.types.is_numeric_dtype(cells) and different > WIDE and cells.min() > 0:
            yield f"weight: {as_yaml(name)}  # if it says how much a row counts"


_OWNERS = "id ids uid uuid customer client user patient subject participant person household family session device account"
OWNERS = set(_OWNERS.split())
"""Words in the names of what several rows may be of."""
WEIGHTS = {"weight", "weights", "wt", "wgt", "fnlwgt", "pweight"}


def _of_a_series(proposal: Proposal) -> Iterator[str]:
    """How the parts are drawn where there are dates, and how they could be."""
    order, dates = proposal.entry.get("order"), proposal.entry.get("dates")
    if order:
        undo = "take `order` out (quick: --unordered) to draw the parts at random"
        yield f"the rows are a series, {proposal.apart} apart by {order}: the earliest train, the latest test; {undo}"
    elif dates:
        first = as_yaml(next(iter(dates)))
        yield f"order: {first}  # if the rows are a series: the earliest train, the latest test; else at random"


def _flow(key: str, value: Any, reason: str) -> Iterator[str]:
    """An argument on one line, or a list or mapping over several; the reason behind it, or where there is no room, below."""
    line = key + as_yaml(value)
    if len(line) <= WIDTH or not isinstance(value, list | dict):
        said = f"{line}  # {reason}" if reason else line
        yield from [said] if len(said) <= WIDTH else [line, *_comment(reason)]
        return
    yield key.rstrip()
    for item in value:
        yield f"        - {as_yaml(item)}" if isinstance(value, list) else f"        {as_yaml(item)}: {as_yaml(value[item])}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="      # ", subsequent_indent="      # ", break_on_hyphens=False)
