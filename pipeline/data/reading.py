"""Files under ``inputs/`` as people have them: their packing, encoding, delimiter and header, recognised where that is safe."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Mapping, Sequence
from glob import has_magic
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute  # type: ignore[import-untyped]
import pyarrow.parquet  # type: ignore[import-untyped]

from pipeline.config.wording import few, suggestion
from pipeline.data.cells import DECIMAL_COMMA, THOUSANDS, are_codes, shows_decimal_commas
from pipeline.data.layout import Cells, clean_names, delimiter_of, header_of
from pipeline.data.mistakes import SHOWN, DatasetError, entries, names_of
from pipeline.data.options import WHITESPACE, Reading

INPUTS = Path("inputs")
"""Where the user's files lie; DVC watches it."""
UNREADABLE = (ValueError, OSError, EOFError, csv.Error, lzma.LZMAError, BadZipFile)
"""What comes of files that are no tables; pandas' and pyarrow's errors are ValueErrors."""
READ = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".npz", ".gz", ".bz2", ".xz", ".zip")
"""What the names of files end in that are read."""
FOREIGN = {
    ".xlsx": "read_excel({})",
    ".xls": "read_excel({})",
    ".ods": "read_excel({})",
    ".json": "read_json({}, dtype=False)",
    ".jsonl": "read_json({}, dtype=False, lines=True)",
    ".feather": "read_feather({})",
    ".orc": "read_orc({})",
    ".dta": "read_stata({})",
    ".sav": "read_spss({})",
    ".sas7bdat": "read_sas({})",
    ".h5": "read_hdf({})",
    ".pkl": "read_pickle({})",
}
"""What other tables end in, and the call of pandas that reads them."""
BEGINNINGS = {
    b"PK\x03\x04": ("a workbook or a zip archive", "save its sheet as CSV, or name it .zip"),
    b"\xd0\xcf\x11\xe0": ("a workbook of Excel", "save its sheet as CSV"),
    b"PAR1": ("a Parquet file", "name it .parquet"),
    b"\x1f\x8b": ("packed by gzip", "name it .csv.gz"),
    b"<!doctype html": ("a web page", "download the file itself: its raw contents, or after logging in"),
    b"<html": ("a web page", "download the file itself: its raw contents, or after logging in"),
    b"version https://git-lfs": ("what git-lfs leaves in place of a file", "fetch it by `git lfs pull`"),
}
"""How files begin that are no text of rows, what they are, and the remedy."""
IN_WORDS = {"\t": "tabs", WHITESPACE: "blanks"}


Paths = str | Sequence[str]
"""A file below ``inputs/``, a pattern such as ``sales-*.csv``, or several of them."""


def files_of(path: Paths) -> list[Path]:
    """The files that there are, each once: those of a pattern in the order of their names."""
    return list(dict.fromkeys(file for each in _each(path) for file in _matching(each)))


def is_table(file: Path) -> bool:
    """Whether its name says that it holds a table or arrays, of whatever kind."""
    return file.suffix.lower() in {*READ, *FOREIGN}


def is_of_arrays(path: Paths) -> bool:
    """Whether it is no table but a file of arrays."""
    return any(PurePosixPath(each).suffix == ".npz" for each in _each(path))


def read_table(path: Paths, reading: Reading | None = None, target: str | None = None) -> pd.DataFrame:
    """The table in ``inputs/path``, of several files one below the other; ``attrs["remarks"]`` says what was recognised.

    ``target`` is the name of a column that the header must have, to tell a file without one.
    """
    files = _found(path)
    tables = [_read(file, reading or Reading(), target) for file in files]
    return tables[0] if len(tables) == 1 else _together(files, tables)


def _read(file: Path, reading: Reading, target: str | None) -> pd.DataFrame:
    is_parquet = file.suffix in (".parquet", ".pq")
    if is_parquet and (useless := [key for key in reading.given if key != "dayfirst"]):
        raise DatasetError("read", f"is for text files, and {file} is none", f"leave `{useless[0]}` out")
    try:
        table = _read_parquet(file) if is_parquet else _read_text(file, reading, target)
    except UNREADABLE as error:
        raise _unreadable(file, error, "write it anew as CSV or Parquet") from None
    if table.empty:
        raise DatasetError("path", f"{file} has no rows", "give it a header and one line per sample")
    return table


def _unreadable(file: Path, error: Exception, right: str) -> DatasetError:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return DatasetError("path", f"{file} cannot be read ({line})", right)


def _together(files: Sequence[Path], tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows, in the order of the files; ``attrs["rows"]`` says which are whose."""
    first = tables[0].columns
    wrong = [f"{file} {what}" for file, table in zip(files, tables, strict=True) if (what := _other(table.columns, first))]
    if wrong:
        left = f", and so on with {len(wrong) - SHOWN} more files" if len(wrong) > SHOWN else ""
        what = f"not all files have the columns of {files[0]}: {'; '.join(wrong[:SHOWN])}{left}"
        raise DatasetError("path", what, "give all files the same columns, or leave these files out")
    ends = np.cumsum([len(table) for table in tables])
    parts = [
        f"{file.relative_to(INPUTS).as_posix()} {end - len(table) + 1} to {end}"
        for file, table, end in zip(files, tables, ends, strict=True)
    ]
    rows = f"rows of {len(files)} files: {', '.join(parts[:SHOWN])}{', …' if len(parts) > SHOWN else ''}"
    said = dict.fromkeys(remark for table in tables for remark in table.attrs.get("remarks", ()))
    marks = {table.attrs.get("decimal", ".") for table in tables}
    for table in tables:
        table.attrs = {}
    whole = pd.concat([table[list(first)] for table in tables], ignore_index=True)
    whole.attrs = {"remarks": [rows, *said], "rows": rows, "decimal": "," if "," in marks else "."}
    return whole


def _other(columns: "pd.Index[str]", first: "pd.Index[str]") -> str:
    """How a file's columns differ from those of the first; their order is of no matter."""
    lacking, more = first.difference(columns, sort=False), columns.difference(first, sort=False)
    said = [f"lacks {names_of(lacking)}"] * bool(len(lacking)) + [f"has {names_of(more)} besides"] * bool(len(more))
    return " and ".join(said)


def read_arrays(path: Paths) -> dict[str, npt.NDArray[Any]]:
    """The arrays in ``inputs/path``, a file of ``numpy.savez``: all of one length, the number of samples."""
    file, *others = _found(path)
    if others:
        raise DatasetError("path", f"{file} holds arrays, and only tables may be several files", "save all arrays in one file")
    try:
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, OSError, BadZipFile) as error:
        raise _unreadable(file, error, "write it with numpy.savez, without objects") from None
    lengths = {name: len(values) if values.ndim else 0 for name, values in arrays.items()}
    if not arrays or len(set(lengths.values())) > 1 or 0 in lengths.values():
        what = ", ".join(f"{name}: {length}" for name, length in lengths.items()) or "nothing"
        raise DatasetError("path", f"{file} holds arrays of {what} samples", "give all arrays one length, a sample each")
    return arrays


def _each(path: Paths) -> Sequence[str]:
    return [path] if isinstance(path, str) else path


def _matching(path: str) -> list[Path]:
    """The file of that very name, or those that it is a pattern of."""
    file = INPUTS / path
    if file.is_file() or not has_magic(path):
        return [file] if file.is_file() else []
    return sorted(each for each in INPUTS.glob(path) if each.is_file())


def _found(path: Paths) -> list[Path]:
    for each in _each(path):
        if not _matching(each):
            there = sorted(p.relative_to(INPUTS).as_posix() for p in INPUTS.rglob("*") if p.is_file())
            near = suggestion(each, there, most=SHOWN) if there else "the folder is empty"
            raise DatasetError("path", f"there is no file {(INPUTS / each).as_posix()}", f"put it there; {near}")
    return files_of(path)


def _read_parquet(file: Path) -> pd.DataFrame:
    """Every column of the file, also those that were the frame's index; decimals as plain numbers."""
    table, remarks = with_index(pd.read_parquet(file))
    table.columns = pd.Index(clean_names([str(name) for name in table.columns], file))
    decimals = [name for name in table if pd.api.types.infer_dtype(table[name]) == "decimal"]
    table = table.astype(dict.fromkeys(decimals, float))
    has_gaps = table.select_dtypes(np.floating).isna().any(axis=None)
    table.attrs = {"remarks": [*remarks, *(_nan_in(file) if has_gaps else ())]}
    return table


def _nan_in(file: Path) -> list[str]:
    """A remark where cells hold NaN, which is a number to Parquet, and an empty cell to pandas and to us."""
    schema = pyarrow.parquet.read_schema(file)
    floats = [name for name, kind in zip(schema.names, schema.types, strict=True) if pyarrow.types.is_floating(kind)]
    cells = pyarrow.parquet.read_table(file, columns=floats)
    counts = [pyarrow.compute.sum(pyarrow.compute.is_nan(column)).as_py() for column in cells.columns]
    held = [f"{count} of {name}" for name, count in zip(cells.column_names, counts, strict=True) if count]
    return [f"NaN taken for empty cells: {few(held)}"] * bool(held)


def with_index(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The frame with its index as columns, nameless ones called as in a CSV file, and a remark where row numbers are left out.

    Numbers without a name are what pandas keeps of rows that were filtered or shuffled.
    """
    index = table.index
    if index.names == [None] and pd.api.types.is_integer_dtype(index.dtype):
        said = [] if isinstance(index, pd.RangeIndex) else [f"left out: row numbers ({', '.join(map(str, index[:3]))}, …)"]
        return table.reset_index(drop=True), said
    levels = {f"Unnamed: {n}" if name is None else str(name): index.get_level_values(n) for n, name in enumerate(index.names)}
    new = {name: cells for name, cells in levels.items() if name not in table}  # set_index(…, drop=False) leaves a column
    return pd.concat([pd.DataFrame(new), table.reset_index(drop=True)], axis=1), []


def _read_text(file: Path, reading: Reading, target: str | None) -> pd.DataFrame:
    text, remarks = text_of(file, reading)
    cells = Cells(text.split("\n", reading.skiprows)[-1], reading)
    sep = reading.sep or delimiter_of(cells)
    if reading.sep is None and sep != ",":
        remarks.append(f"cells parted by {IN_WORDS.get(sep, repr(sep))}")
    names, above = header_of(cells, sep, file, target)
    body = cells.text.split("\n", above)[above:]  # nothing where the header is all there is
    decimal = reading.decimal or "."
    table = _parsed("".join(body), sep, names, decimal, reading)
    if reading.decimal is reading.thousands is None and sep != "," and _has_decimal_commas(table, sep, reading):
        remarks.append("decimal commas")
        table = _parsed("".join(body), sep, names, decimal := ",", reading)
    if empty := int(table.isna().all(axis=1).sum()):
        remarks.append(f"{empty} empty rows left out")
        table = table.dropna(how="all").reset_index(drop=True)
    table.attrs = {"remarks": remarks, "decimal": decimal}
    return table


def _parsed(body: str, sep: str, names: Sequence[str], decimal: str, reading: Reading) -> pd.DataFrame:
    """The rows: columns of numbers where all cells are such and no codes, else texts just as they are written."""
    if not body.strip():
        return pd.DataFrame(columns=list(names))
    table = _by_pandas(body, sep, names, decimal, reading)
    numbers = [name for name in names if pd.api.types.is_numeric_dtype(table[name]) and table[name].notna().any()]
    if numbers and _may_hold_codes(body, sep, reading):
        for name, texts in _by_pandas(body, sep, names, decimal, reading, as_texts=numbers).items():
            if are_codes(texts.dropna().str.strip()):
                table[name] = texts
    return table


def _may_hold_codes(body: str, sep: str, reading: Reading) -> bool:
    """Whether some cell begins as a code does that pandas takes for a number: a look at all cells that takes no time."""
    begins = "^|" + (sep if sep == WHITESPACE else re.escape(sep))
    blanks = rf"[\s{re.escape(reading.quotechar)}]*"
    return re.search(rf"(?:{begins}){blanks}(?:0\d|\+\d|\d+[eE]\d)", body, re.MULTILINE) is not None


def _by_pandas(
    body: str, sep: str, names: Sequence[str], decimal: str, reading: Reading, as_texts: Sequence[str] = ()
) -> pd.DataFrame:
    """All columns, or some of them ``as_texts``."""
    table: pd.DataFrame = pd.read_csv(
        io.StringIO(body),
        sep=sep,
        names=list(names),
        header=None,
        usecols=list(as_texts or names),
        dtype="str" if as_texts else None,
        decimal=decimal,
        thousands=reading.thousands,
        comment=reading.comment,
        quotechar=reading.quotechar,
        skipinitialspace=True,
        index_col=False,
        keep_default_na=False,
        na_values=[""],
        low_memory=False,
    )
    return table


def _has_decimal_commas(table: pd.DataFrame, sep: str, reading: Reading) -> bool:
    """Whether a column shows them: one of plain numbers, or one of amounts where no other column has decimal points."""
    texts = {name: table[name].dropna().str.strip() for name in table if pd.api.types.is_string_dtype(table[name])}
    written = {name: some for name, some in texts.items() if len(some) and some.str.fullmatch(DECIMAL_COMMA).all()}
    unclear = [name for name, some in written.items() if some.str.fullmatch(THOUSANDS).all()]
    if len(unclear) < len(written):
        return True
    if any(map(shows_decimal_commas, texts.values())) and not any(_has_decimal_points(table[name]) for name in table):
        return True
    if sep == ";" and unclear:  # where commas are rarely between thousands
        shown = names_of(written[unclear[0]].unique())
        decimal, thousands = ({"read": {**reading.given, key: ","}} for key in ("decimal", "thousands"))
        what = f"the column {unclear[0]} holds {shown}, and a comma may part decimals or thousands"
        raise DatasetError("read", what, f"write {entries(decimal)} or {entries(thousands)}", decimal)
    return False


def _has_decimal_points(values: "pd.Series[Any]") -> bool:
    """Whether some are no thousands parted by a point, as 1.234 may be."""
    known = values.dropna()
    return values.dtype.kind == "f" and not ((known == known.round(3)) & ((known.abs() >= 1) | (known == 0))).all()


# What a file is packed and encoded in


def _zipped(content: bytes) -> bytes:
    with ZipFile(io.BytesIO(content)) as archive:
        inside = [entry for entry in archive.infolist() if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")]
        if len(inside) != 1:
            raise ValueError(f"it holds {len(inside)} files, and one was expected")
        return archive.read(inside[0])


UNPACKED: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zip": _zipped,
}


def text_of(file: Path, reading: Reading) -> tuple[str, list[str]]:
    """The file's text, unpacked, and a remark where its encoding is no UTF-8."""
    if call := FOREIGN.get(file.suffix.lower()):
        read = call.format(repr(file.name))
        right = f"save it as CSV, or by `pandas.{read}.to_parquet({file.with_suffix('.parquet').name!r})`"
        raise DatasetError("path", f"{file} is neither CSV nor Parquet", right)
    content = file.read_bytes()
    content = UNPACKED[file.suffix](content) if file.suffix in UNPACKED else content
    for beginning, (what, right) in BEGINNINGS.items():
        if content.lstrip()[: len(beginning)].lower() == beginning.lower():
            raise DatasetError("path", f"{file} is {what}", right)
    recognised = ["utf-16"] if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else ["utf-8", "cp1252"]
    tried = [reading.encoding] if reading.encoding else recognised
    for encoding in tried:
        try:
            text = content.decode(encoding).removeprefix("\ufeff")
        except UnicodeError:
            continue
        if "\0" in text:
            break
        is_usual = reading.encoding or encoding == "utf-8"
        return text.replace("\r\n", "\n").replace("\r", "\n"), [] if is_usual else [f"text in {encoding}, not UTF-8"]
    mending = {"read": {**reading.given, "encoding": "utf-16-le" if b"\0" in content else "cp1252"}}
    what = f"{file} is no text in {tried[0]}" if reading.encoding else f"{file} is no UTF-8 text"
    if mending["read"]["encoding"] == reading.encoding:
        raise DatasetError("path", what, "save it as CSV in UTF-8, if it is a table at all")
    raise DatasetError("path", what, f"save it as UTF-8, or write its encoding, such as {entries(mending)}", mending)
