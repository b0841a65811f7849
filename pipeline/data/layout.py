"""How a text file is laid out as a table: what parts its cells, and what its columns are called."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from pipeline.config.wording import MOST_NAMED
from pipeline.data.cells import MARKS
from pipeline.data.mistakes import DatasetError, entries, names_of, with_entries
from pipeline.data.options import WHITESPACE, Reading

SAMPLE = 20
"""Rows that a delimiter is recognised by."""
BELOW = 500
"""Rows that a header is told by."""
NEARLY_ALL = 0.9
"""The share of the rows below a header that are as wide as it."""
YEARS = range(1900, 2101)


class Cells:
    """The cells of a text, line by line, however they are parted; blank lines and comments left out, as pandas does."""

    def __init__(self, text: str, reading: Reading) -> None:
        self.text, self.reading = text, reading

    def by(self, sep: str) -> Iterator[tuple[int, list[str]]]:
        """The cells of each line, stripped of the blanks around them, and how many lines have been read with it."""
        lines: Iterator[str] = io.StringIO(self.text)
        if mark := self.reading.comment:
            lines = (line.split(mark)[0] for line in lines)
        if sep == WHITESPACE:
            lines, sep = (" ".join(line.split()) for line in lines), " "
        rows = csv.reader(lines, delimiter=sep, quotechar=self.reading.quotechar, skipinitialspace=True)
        return ((rows.line_num, cells) for row in rows if row and (cells := [cell.strip() for cell in row]) != [""])

    def widths(self, sep: str) -> list[int]:
        """How many cells the first lines have."""
        return [len(row) for _, row in islice(self.by(sep), SAMPLE)]


def delimiter_of(cells: Cells) -> str:
    """A comma, or what parts the first lines into more cells than commas do, all in as many.

    Where there is no title above what commas part, there may be one above what another mark parts.
    """
    by_comma = cells.widths(",")
    header = next(iter(by_comma), 0)
    for mark in ";\t|":
        own = cells.widths(mark)
        if len(own) > 1 and own[0] > header and own[1] >= own[0] and not (mark == "\t" and _holds_rows(cells)):
            return mark
    blanks = cells.widths(WHITESPACE)
    if header == 1 < blanks[0] and len(set(blanks[1:])) == 1 and blanks[1] - blanks[0] in (0, 1):  # R names its rows
        return WHITESPACE
    if not lines_above(cells, ","):
        for mark in ";\t|":
            if lines_above(cells, mark):
                return mark
    return ","


def lines_above(cells: Cells, sep: str) -> int:
    """Lines above the header: the first with as many cells as the rows below, and no number above their numbers."""
    rows = list(islice(cells.by(sep), BELOW)) or [(0, [""])]
    widths = [_filled(row) for _, row in rows]
    width = Counter(widths).most_common(1)[0][0]
    place = widths.index(width)
    first, below = rows[place][1], [row for _, row in rows[place + 1 :]]
    alike = [row for row in below if len(row) == len(first)]
    if width == 1 or not place or len(alike) < max(1, NEARLY_ALL * len(below)) or _is_data(first, alike):
        return 0
    columns = ([cell for cell in column if _says(cell)] for column in zip(*alike, strict=True))
    return rows[place - 1][0] if any(column and all(map(_is_number, column)) for column in columns) else 0


def _filled(row: Sequence[str]) -> int:
    """Cells up to the last that is not empty: a spreadsheet fills its lines up with empty ones."""
    return max((place for place, cell in enumerate(row, 1) if cell), default=0)


def _holds_rows(cells: Cells) -> bool:
    """Whether what tabs part has cells of several numbers in every line, as columns of a fixed width have."""
    lines = [row for _, row in islice(cells.by("\t"), SAMPLE)]
    return all(any(len(parts := cell.split()) > 1 and all(map(_is_number, parts[:2])) for cell in row) for row in lines)


def header_of(cells: Cells, sep: str, file: Path, target: str | None) -> tuple[list[str], int]:
    """The columns' names, and how many lines lie above the first row."""
    reading, rows = cells.reading, cells.by(sep)
    place = (None if reading.names else 0) if reading.header == "infer" else reading.header
    line, first = next(islice(rows, place or 0, None), (0, []))
    if not first:
        raise DatasetError("path", f"{file} is empty", "give it a header and one line per sample")
    if (
        reading.header == "infer"
        and not reading.names
        and _filled(first) == 1 < len(first)
        and (above := lines_above(cells, sep))
    ):
        raise DatasetError("read", f"{file} has {first[0]!r} above its header", *_without_title(reading, above))
    names = reading.names or (first if place is not None else [str(number) for number in range(len(first))])
    if place is None:
        line, rows = 0, cells.by(sep)
    elif (
        reading.header == "infer"
        and target not in first
        and _is_data(first, [row for _, row in islice(cells.by(sep), 1, BELOW)])
    ):
        raise _no_header(first, reading, file, target)
    if reading.index_col is not None:
        if max(cells.widths(sep)) <= len(names):
            what = f"has `index_col: 0`, and the rows of {file} have no more cells than its header has names"
            raise DatasetError("read", what, "leave `index_col` out")
        names = ["row", *names]
    return _wide_enough(clean_names(names, file, reading), (row for _, row in rows), file, cells, sep), line


def clean_names(names: Sequence[str], file: Path, reading: Reading | None = None) -> list[str]:
    """Names without blanks around them, line breaks and what cannot be seen; what has none is called as pandas calls it."""
    seen = (" ".join("".join(c for c in name if c.isprintable() or c.isspace()).split()) for name in names)
    clean = [name or f"Unnamed: {place}" for place, name in enumerate(seen)]
    if twice := [name for name in dict.fromkeys(clean) if clean.count(name) > 1]:
        what = f"{file} has {names_of(twice)} more than once in its header"
        if reading is None:
            raise DatasetError("path", what, "give every column a name of its own")
        header = 0 if reading.header == "infer" else reading.header
        mending = {"read": {**reading.given, "header": header, "names": _each_once(clean)}}
        raise DatasetError("path", what, f"give every column a name of its own, as in {entries(mending)}", mending)
    return clean


def _each_once(names: Sequence[str]) -> list[str]:
    """As pandas calls them: a, a.1, a.2."""
    found: list[str] = []
    for name in names:
        free = (each for number in count() if (each := f"{name}.{number}" if number else name) not in found)
        found.append(next(free))
    return found


def _is_data(first: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first line is a row like those below it: it has numbers above numbers, or texts that are met again there."""
    columns = [
        (cell, [row[place] for row in rows if len(row) > place and _says(row[place])]) for place, cell in enumerate(first)
    ]
    above_numbers = [cell for cell, below in columns if _says(cell) and below and all(map(_is_number, below))]
    if not all(map(_is_number, above_numbers)):
        return False
    if numbers := [cell for cell in first if _is_number(cell)]:
        return not _are_names(numbers, [*first], [below for cell, below in columns if _is_number(cell)])
    return len(first) > 1 and all(cell in below for cell, below in columns)


def _says(cell: str) -> bool:
    return cell != "" and cell.lower() not in MARKS


def _are_names(numbers: Sequence[str], first: Sequence[str], below: Sequence[Sequence[str]]) -> bool:
    """Whether numbers in a first line are such as columns are called: pandas' own, or years and weeks beside a text."""
    if list(numbers) == [str(number) for number in range(len(first))]:
        return True
    if len(numbers) == len([cell for cell in first if cell]) or not all(number.isdigit() for number in numbers):
        return False
    whole = [int(number) for number in numbers]
    count_on = len(whole) > 1 and whole == list(range(whole[0], whole[0] + len(whole)))
    have_decimals = all(not all(cell.isdigit() for cell in cells) for cells in below)
    return count_on or (all(year in YEARS for year in whole) and have_decimals)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return any(map(str.isdigit, text))  # `inf` and `nan` are names


def _no_header(first: Sequence[str], reading: Reading, file: Path, target: str | None) -> DatasetError:
    """The error about a file whose first line is a row of data; the last column is taken for the target.

    So many columns that nobody would name them are called by their numbers.
    """
    what = f"{file} seems to have no header, for its first line is {names_of(first)}"
    mending: dict[str, Any] = {"read": {**reading.given, "header": None}}
    right = f"call its columns 0 to {len(first) - 1} by {entries(mending)}"
    if len(first) <= MOST_NAMED or target not in (None, *map(str, range(len(first)))):
        names = [f"x{place}" for place in range(len(first))]
        if target not in names:
            names[-1] = target or "y"
        mending["read"]["names"] = names
        right = f"name its columns, as in {entries(mending)}"
    right += f"; if that is the header, {with_entries('read', reading.given, header=0)}"
    return DatasetError("read", what, right, mending)


def _without_title(reading: Reading, above: int) -> tuple[str, dict[str, Any]]:
    """The remedy for lines above a header, in words and as what mends it."""
    mending = {"read": {**reading.given, "skiprows": reading.skiprows + above}}
    return f"leave out the lines above the header: {entries(mending)}", mending


def _wide_enough(names: list[str], rows: Iterator[list[str]], file: Path, text: Cells, sep: str) -> list[str]:
    """A name for each cell of the widest row: cells beyond the header's must be empty."""
    widest = len(names)
    for number, cells in enumerate(rows, 1):
        if len(cells) > len(names):  # pandas would take the first for the row's name, and move all others by one column
            if any(cells[len(names) :]):
                may_be_a_name = cells[0] in ("0", "1") or not _is_number(cells[0])  # where counting begins, or a text
                are_named = may_be_a_name and all(len(others) == len(cells) for others in rows)
                raise _too_wide(names, number, len(cells), file, text, are_named, lines_above(text, sep))
            widest = max(widest, len(cells))
    return [*names, *(f"Unnamed: {place}" for place in range(len(names), widest))]


def _too_wide(names: list[str], row: int, cells: int, file: Path, text: Cells, are_named: bool, above: int) -> DatasetError:
    reading = text.reading
    what = f"{file} has {cells} cells in row {row} under the {len(names)} names of its header"
    right, mending = "name every column, and put a text that holds a comma in quotes", None
    if len(names) == 1 and not above:
        above = next((n for n, line in enumerate(text.text.split("\n")) if any(c in line for c in ",;\t|")), 0)
    if above and not (len(names) > 1 and are_named):
        right, mending = _without_title(reading, above)
    elif row == 1 and cells == len(names) + 1 and are_named:
        mending = {"read": {**reading.given, "header": 0, "index_col": 0}}
        right = f"{right}; if each row begins with its own name, as R writes it, {entries(mending)}"
    return DatasetError("path", what, right, mending)
