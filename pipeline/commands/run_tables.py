"""The tables of runs that people have in files: CSV with or without a title, as pasted from Markdown or LaTeX; Parquet; JSON.

Cells are texts and numbers; nothing in a file is ever run.
"""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.errors import PipelineError
from pipeline.config.wording import few
from pipeline.data.layout import Cells, delimiter_of, lines_above
from pipeline.data.mistakes import DatasetError
from pipeline.data.options import WHITESPACE, Reading
from pipeline.data.reading import UNREADABLE, text_of, with_index

_RULE = re.compile(r"[\s|:+=-]*--[\s|:+=-]*")
"""The line below a header, in Markdown and what draws tables in letters."""
_LATEX_ROW = re.compile(r"(.*&.*?)\\\\.*")
_DRESS = re.compile(r"\*\*|`|\$|\\(?:text|math)(?:bf|it|rm|tt)|\\(?:underline|emph)|[{}]|\\(?=[%_&#])")
"""What makes cells bold and the like."""


class TableError(PipelineError):
    """A table, or what is asked of it, from which no verdict follows."""

    exit_code = 2


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a CSV, Parquet or JSON file; TableError where it is none of them.

    The index counts from 0 where a file's rows begin right below its header, two lines behind their own number.
    """
    if not path.is_file():
        raise TableError(f"{path}: there is no such file; give the path of a CSV or Parquet file")
    try:
        if path.suffix in {".parquet", ".pq"}:
            table = pd.read_parquet(path)
            table.columns = pd.Index(["_".join(filter(None, n)) if isinstance(n, tuple) else n for n in table.columns])
            return with_index(table)[0]
        if path.suffix in {".json", ".jsonl"}:
            return pd.json_normalize(_records(path.read_text("utf-8-sig")))
        return _of_text(text_of(path, Reading())[0])
    except DatasetError as error:
        right = "save it as UTF-8" if error.mending else error.right  # params.yaml could say how it is written
        raise TableError(f"{error.wrong}; {right}") from None
    except UNREADABLE as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        right = "take out what is no part of the table, or write it anew as CSV or Parquet"
        raise TableError(f"{path}: cannot be read ({first}); {right}") from None


def _of_text(text: str) -> pd.DataFrame:
    if text.count('"') % 2:
        raise ValueError("a quotation mark is not closed")
    cells = Cells("\n".join(_undressed(text.split("\n"))), Reading())
    sep = delimiter_of(cells)
    above = lines_above(cells, sep)
    rows = [row for row in cells.by(sep) if row[0] > above]
    if not rows:
        raise ValueError("it holds nothing")
    (_, header), *rows = rows
    if twice := [name for name in dict.fromkeys(header) if name and header.count(name) > 1]:
        remedy = "; export without multi_index" * ("params" in twice)
        raise ValueError(f"its header has {few(twice)} more than once{remedy}")
    if sep == WHITESPACE and {len(row) for _, row in rows} == {len(header) + 1}:  # as R and a printed frame name their rows
        header = ["", *header]
    names = [name or f"Unnamed: {place}" for place, name in enumerate(header)]
    if wide := [line for line, row in rows if any(row[len(names) :])]:
        raise ValueError(f"line {wide[0]} has more cells than the header")
    padded = [[*row[: len(names)], *[""] * (len(names) - len(row))] for _, row in rows]
    return pd.DataFrame(padded, [line - 2 for line, _ in rows], names, dtype=str)


def _undressed(lines: list[str]) -> Iterator[str]:
    """The lines; of a table in Markdown, LaTeX or letters, its rows as CSV and blank lines for all others."""
    if any(map(_RULE.fullmatch, lines)) and any("|" in line for line in lines):
        rows = [line.strip().removeprefix("|").removesuffix("|").split("|") if "|" in line else [] for line in lines]
        rows = [[] if _RULE.fullmatch(line) else row for line, row in zip(lines, rows, strict=True)]
    elif any(map(_LATEX_ROW.fullmatch, lines)):
        found = map(_LATEX_ROW.fullmatch, lines)
        rows = [re.split(r"(?<!\\)&", row[1]) if row else [] for row in found]
    else:
        yield from lines
        return
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_DRESS.sub("", cell).strip() for cell in row])
        yield line.getvalue()


def _records(text: str) -> list[dict[str, Any]]:
    """The objects of a JSON array, or of one JSON value a line."""
    is_array = text.lstrip().startswith("[")
    with contextlib.suppress(json.JSONDecodeError):  # of several lines, each of which is a run
        if isinstance(json.loads(text), dict):
            raise ValueError("it is one object, in place of an array of them, a run each: pandas' to_json(orient='records')")
    whole = text if is_array else f"[{','.join(filter(str.strip, text.splitlines()))}]"
    found = json.loads(whole, parse_constant=str)  # NaN is no empty cell
    if not all(isinstance(row, dict) for row in found):
        raise ValueError("a run is no object with names and values")
    return list(found)
