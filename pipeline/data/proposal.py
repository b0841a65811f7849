"""What to write under ``dataset`` for a file: the remedies of its own errors, pasted until it loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.config.registry import folded
from pipeline.config.wording import counted, few
from pipeline.data.cells import Remarks, understood
from pipeline.data.datasets import datasets
from pipeline.data.dates import apart, as_dates, in_words
from pipeline.data.leaks import leaks
from pipeline.data.mistakes import DatasetError, all_of
from pipeline.data.options import Options, Reading
from pipeline.data.reading import Paths, read_table
from pipeline.data.targets import labelled, target_of

MOST = 12
"""Remedies after which something is wrong with them."""
MOST_CLASSES = 0.1
"""Of a table's rows: of more classes not each can have a few samples in each part."""
USUAL = (
    "target", "label", "labels", "class", "y", "outcome", "output", "response", "price", "saleprice", "survived", "churn",
    "click", "fraud", "isfraud", "exited", "medv", "medhouseval", "medianhousevalue", "species", "diagnosis",
)  # fmt: skip
"""What people call a target, folded."""


@dataclass
class Proposal:
    """A dataset's entry that loads, and what led to it.

    ``table`` is the file as it is read; ``data`` the dataset. ``why`` tells of each column what is odd about it, and
    ``reasons`` of each argument why it is there.
    """

    entry: dict[str, Any]
    table: pd.DataFrame
    data: pd.DataFrame
    why: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    chosen: str = ""
    """Why this target; empty where it was asked for."""
    apart: str = ""
    """How far the rows of a series lie apart, such as ``1 day``; empty where they are none."""


def proposed(path: Paths, target: str | None = None) -> Proposal:
    """The entry for the file or files below ``inputs/``; a :class:`DatasetError` where the file itself has to be mended."""
    read, chosen = _reading(path, target), ""
    table = read_table(path, Reading.model_validate(read), target)
    if target is None:
        target, chosen = _target_in(table, are_own_names=read.get("header", 0) is not None)
    proposal = Proposal({"path": path, "target": target} | ({"read": read} if read else {}), table, table, chosen=chosen)
    for _ in range(MOST):
        try:
            data = _loaded(proposal.entry)
        except DatasetError as error:
            _mend(proposal, error)
            continue
        if not _without_leaks(proposal, data):
            proposal.data = data
            if (found := proposal.entry.get("read", {})) != read:  # its own columns said more
                proposal.table = read_table(path, Reading.model_validate(found), target)
            _put_in_order(proposal)
            return proposal
    raise AssertionError(f"{proposal.entry} is mended again and again")


def _loaded(entry: Mapping[str, Any]) -> pd.DataFrame:
    data: pd.DataFrame = datasets["file"].function(**datasets["file"].complete(dict(entry)))
    return data


def _put_in_order(proposal: Proposal) -> None:
    """Where the rows are plainly a series the earliest train: drawn at random, each would be told by those around it."""
    entry, table = proposal.entry, proposal.table
    decimal, marks = table.attrs.get("decimal", "."), entry.get("missing_values", ())
    options = Options(entry["target"], unlabelled="drop", missing_values=marks, decimal=decimal)
    rows = labelled(table, options, Remarks()) if entry.get("dates") else None
    for name in entry.get("dates", ()):
        cells = understood(table[name][rows], name, marks, decimal, "auto", Remarks())
        dates = as_dates(cells, entry.get("read", {}).get("dayfirst"))
        if dates is None or (step := apart(dates)) is None:
            continue
        try:
            proposal.data = _loaded(entry | {"order": name})
        except DatasetError:  # too few rows, say
            continue
        entry["order"], proposal.apart = name, in_words(step)
        return


def _reading(path: Paths, target: str | None) -> Mapping[str, Any]:
    """How the file is to be read.

    Asked for before the target, which only its columns show.
    """
    given: Mapping[str, Any] = {}
    for _ in range(MOST):
        try:
            read_table(path, Reading.model_validate(given), target)
            return given
        except DatasetError as error:
            if error.mending is None or error.mending.get("read") == given:
                raise
            given = error.mending["read"]
    raise AssertionError(f"{given} is mended again and again")


def _mend(proposal: Proposal, error: DatasetError) -> None:
    """Paste the remedies; raises those errors that have none."""
    if stuck := [each for each in error.all if each.mending is None or each.mending.items() <= proposal.entry.items()]:
        raise DatasetError.together(stuck)
    of_rows = [each for each in error.all if "unlabelled" in (each.mending or {})]
    for each in of_rows or error.all:  # what is wrong in rows that are left out is not wrong
        proposal.entry |= each.mending or {}
        proposal.why |= each.columns
        for key in {"missing", "missing_values", "unlabelled", "task"} & (each.mending or {}).keys():
            proposal.reasons.setdefault(key, f"{len(each.columns)} columns" if len(each.columns) > 1 else each.wrong)


def _without_leaks(proposal: Proposal, data: pd.DataFrame) -> bool:
    """Leave out what gives the target or the row away; whether there was such a column. The last feature stays, trusted."""
    trusted = proposal.entry.get("trusted", [])
    found = {leak.column: leak.wrong for leak in leaks(data, trusted) if leak.severity != "hint"}  # those are told as such
    own = {name: wrong for name, wrong in found.items() if name in proposal.table}
    dropped = list(own) if len(own) < len(data.attrs["columns"]) else []
    made = [name for name in found if name not in dropped]  # parts of dates
    for key, names in (("drop", dropped), ("trusted", made)):
        if names:
            proposal.entry[key] = all_of(proposal.entry.get(key, []), names)
    proposal.why |= own
    return bool(found)


def candidates(table: pd.DataFrame) -> dict[str, str]:
    """The columns that can be a target, from the last to the first, and what of them would be predicted."""
    found = {}
    for name in reversed(table.columns):
        try:
            options = Options(str(name), unlabelled="drop", decimal=table.attrs.get("decimal", "."))
            values = table[name][labelled(table, options, Remarks())]
            classes = target_of(values.reset_index(drop=True), options, Remarks())[1] if len(values) else None
        except DatasetError as error:  # a number, but for some cells
            classes = [] if "missing_values" in (error.mending or {}) else None
        are_few = classes is not None and len(classes) <= max(MOST_CLASSES * len(table), 2)
        if classes is not None and are_few and not str(name).startswith("Unnamed: "):
            found[str(name)] = f"{len(classes)} classes" if classes else "a number"
    return found


def _target_in(table: pd.DataFrame, *, are_own_names: bool) -> tuple[str, str]:
    """The column to be predicted, and why it is thought so; names that were made up say nothing."""
    able = candidates(table)
    if not able:
        rows = counted(len(table), "row")
        raise DatasetError("target", f"no column can be predicted in {rows}", "add rows, or a column of numbers or classes")
    named = [name for name in able if are_own_names and folded(name) in USUAL]
    name, why = (named[0], "by its name") if named else (next(iter(able)), "the last column that can be predicted")
    others = [f"{other} ({what})" for other, what in able.items() if other != name]
    return name, f"{why}; {f'`--target` names another: {few(others)}' if others else 'no other can be'}"
