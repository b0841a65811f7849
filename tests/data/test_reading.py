"""Files as people have them: read rightly and told, or refused with a remedy that works."""

import bz2
import csv
import gzip
import io
import lzma
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pandas as pd
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.data.leaks import leaks
from pipeline.data.mistakes import DatasetError
from pipeline.data.options import Reading
from pipeline.data.reading import read_table
from pipeline.data.tables import described
from tests.data.helpers import ROWS, Written, a_table

ODD = a_table(größe="große, und weite").round(2)


def remedied(written: Written, content: Any, error: DatasetError, **given: Any) -> pd.DataFrame:
    """The dataset with the first remedy pasted that each line of the error prints."""
    for each in error.all:
        (pasted,) = re.findall(r"`([^`]*: [^`]*)`", each.right)[:1]
        given |= YAML(typ="safe", pure=True).load(f"{{{pasted}}}")
    return written.dataset(content, **given)


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return file.getvalue()


# What is recognised


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, ""),
        ({"sep": ";"}, "cells parted by ';'"),
        ({"sep": ";", "decimal": ","}, "cells parted by ';'; decimal commas"),
        ({"sep": "\t"}, "cells parted by tabs"),
        ({"sep": "\t", "decimal": ","}, "cells parted by tabs; decimal commas"),
        ({"sep": "|"}, "cells parted by '|'"),
        ({"sep": " "}, "cells parted by blanks"),
        ({"quoting": 1}, ""),
    ],
)
@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", ""), ("utf-8-sig", ""), ("cp1252", "text in cp1252, not UTF-8"), ("utf-16", "text in utf-16, not UTF-8")],
)
def test_however_it_is_parted_and_encoded_it_is_the_same_table(
    written: Written, how: dict[str, Any], told: str, encoding: str, said: str
) -> None:
    table = read_table(written(ODD.to_csv(index=False, **how).encode(encoding)))
    assert "; ".join(table.attrs.pop("remarks")) == "; ".join(filter(None, [said, told]))
    pd.testing.assert_frame_equal(table, ODD, check_dtype=False, check_flags=False)


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("my.csv.gz", gzip.compress),
        ("my.csv.bz2", bz2.compress),
        ("my.tsv.xz", lzma.compress),
        ("my.zip", lambda content: zipped(content, "a/b.csv")),
        ("my.txt", bytes),
    ],
)
def test_packed_files_are_unpacked(written: Written, name: str, packed: Any) -> None:
    assert len(read_table(written(packed(ODD.to_csv(index=False).encode()), name))) == ROWS


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a, b, y\n1, 2, 3\n", ["a", "b", "y"]),
        ('"a\nb" ,\u200bb,y\n1,2,3\n', ["a b", "b", "y"]),
        ("a,b,\n1,2,\n", ["a", "b", "Unnamed: 2"]),
        ("a,b\n1,2,\n3,4,,\n", ["a", "b", "Unnamed: 2", "Unnamed: 3"]),
        ("0,1,2\n5,6,7\n", ["0", "1", "2"]),
        ("a,A\n1,2\n", ["a", "A"]),
        ("id,2019,2020\nx,1,2\n", ["id", "2019", "2020"]),
    ],
)
def test_names_are_those_that_can_be_seen(written: Written, content: str, names: list[str]) -> None:
    assert list(read_table(written(content))) == names


@given(
    cells=st.lists(st.lists(st.integers(-99, 99), min_size=3, max_size=3), min_size=2, max_size=9),
    sep=st.sampled_from(",;|\t "),
)
@settings(max_examples=12)
def test_numbers_come_out_as_they_were_written(written: Written, cells: list[list[int]], sep: str) -> None:
    lines: list[list[Any]] = [["a", "b", "y"], *cells]
    table = read_table(written("\n".join(f"{sep} ".join(map(str, line)) for line in lines)))
    assert table.to_numpy().tolist() == cells


def test_texts_that_look_empty_stay_texts(written: Written) -> None:
    table = read_table(written("a,b\nNA,1\nNone,2\n,3\nnull,4\n"))
    assert table["a"].fillna("nothing").tolist() == ["NA", "None", "nothing", "null"]


def test_an_index_and_an_empty_column_are_left_out_with_a_word(written: Written) -> None:
    data = written.dataset(a_table().assign(**{"": ""}).to_csv(), "price")
    assert [column["name"] for column in data.attrs["columns"]] == ["size", "colour", "rooms"]
    told = "left out: Unnamed: 0 (no name, and the rows' numbers), Unnamed: 5 (no name and nothing in it)"
    assert told in described(data)


def test_a_nameless_column_that_says_something_is_kept(written: Written) -> None:
    data = written.dataset(a_table().assign(**{"": range(7, 7 + ROWS)}), "price")
    assert data.attrs["columns"][-1]["name"] == "Unnamed: 4"


# What ``read`` says


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("made by me, on a day\n\na,b,y\n1,2,3\n", {"skiprows": 2}),
        ("1,2,3\n", {"header": None, "names": ["a", "b", "y"]}),
        ("x,y,z\n1,2,3\n", {"header": 0, "names": ["a", "b", "y"]}),
        ("x,y,z\na,b,y\n1,2,3\n", {"header": 1}),
        ("# by me\na,b,y # names\n1,2,3\n", {"comment": "#"}),
        ("a~b~y\n1~2~3\n", {"sep": "~"}),
        ("a\tb\ty\n1\t2\t3\n", {"sep": r"\t"}),
        ("a   b y\n 1 2\t3\n", {"sep": r"\s+"}),
        ("a,b,y\n'1','2','3'\n", {"quotechar": "'"}),
        ("a;b;y\n1,0;2,0;3,0\n", {"sep": ";", "decimal": ","}),
        ("a;b;y\n1;2;3\n", {"thousands": "."}),
    ],
)
def test_what_is_told_of_a_file_is_heeded(written: Written, content: str, read: dict[str, Any]) -> None:
    table = read_table(written(content), Reading(**read), "y")
    assert table.to_dict("list") == {"a": [1], "b": [2], "y": [3]}


def test_a_point_can_part_thousands(written: Written) -> None:
    data = written.dataset("a;y\n" + "".join(f"{i};1.{i:03}\n" for i in range(30)), read={"thousands": ".", "decimal": ","})
    assert data["y"].tolist() == list(range(1000, 1030))


def test_a_slip_among_thousands_makes_no_decimals_of_them(written: Written) -> None:
    """Neither of a feature nor of a target; where the user says so it does."""
    cells = [f"{n:,}" for n in range(900, 900 + 20 * ROWS, 20)]
    slip = "12,34"
    table = pd.DataFrame({"a": [*cells[:-1], slip], "b": range(ROWS), "y": [0.5, 1.5] * (ROWS // 2)})
    for target in ("y", "a"):
        with pytest.raises(
            DatasetError, match=rf"the column a holds '12,34' in row {ROWS}, and thousands with a comma, '1,000', "
        ):
            written.dataset(table.to_csv(index=False), target=target)
    assert written.dataset(table.to_csv(index=False), target="y", read={"decimal": ","}, drop=["b"])["x0"].max() == 980


@pytest.mark.parametrize("shown", ["1.713.318", "4.377,70 €", "12,5 %", "3,14"])
def test_amounts_show_the_decimal_commas_of_a_file(written: Written, shown: str) -> None:
    """Where they do, 83.510 is no 83.51 in any column; where others have decimal points, they do not."""
    rows = [f"{shown};{20 + row}.510;{row % 2}" for row in range(30)]
    assert written.dataset("\n".join(["a;people;y", *rows]))["x1"].tolist() == [20510 + 1000 * row for row in range(30)]
    if shown != "3,14":
        assert written.dataset("\n".join(["a;people;y", *rows, f"{shown};0.25;1"]))["x1"].iloc[0] == 20.51


NAMES = {
    "one year": ("region,size,2023", "N,1.5,2.5"),
    "years": ("region,2000,2005,2010", "N,1.5,2.5,0.5"),
    "numbers": ("id,1,2,10", "7,1.5,2.5,0.5"),
    "names that read as numbers": ("a,nan,inf", "0.5,1.5,2.5"),
    "a missing name": ("a,,2", "0.5,1.5,2.5"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_above_numbers_makes_a_header(written: Written, kind: str) -> None:
    """Also where other names are numbers, and whatever target is asked for: a slip in its name is told as one."""
    header, row = NAMES[kind]
    path = written("\n".join([header, row, row]))
    for target in (None, "y"):
        table = read_table(path, target=target)
        assert len(table) == 2
        assert table.columns[0] == header.split(",")[0]


@pytest.mark.parametrize("first", ["red,round,yes", "red,?,yes"])
def test_a_first_line_that_is_met_again_is_no_header(written: Written, first: str) -> None:
    content = f"{first}\nblue,round,no\nred,flat,yes\n"
    if "?" in first:
        assert list(read_table(written(content))) == first.split(",")
        return
    with pytest.raises(DatasetError, match="seems to have no header, for its first line is 'red', 'round', 'yes'"):
        read_table(written(content))


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "path: inputs/my.csv is empty; give it a header"),
        ("size,price\n", "path: inputs/my.csv has no rows"),
        ("size,price\n1,2,5\n3,4,6\n", "path: inputs/my.csv has 3 cells in row 1 under the 2 names of its header; name ev"),
        ("size,price\n\n1,2\n3,a, b\n", "path: inputs/my.csv has 3 cells in row 2 under the 2 names of its header; name"),
        (f"size,price\n1,{'2' * 200_000}\n", r"path: inputs/my.csv cannot be read \(field larger than field limit"),
        ("size,price,size\n1,2,3\n", "path: inputs/my.csv has 'size' more than once in its header"),
        ("size,price,size \n1,2,3\n", "path: inputs/my.csv has 'size' more than once in its header"),
        ("size,price\n1,2\n".encode("utf-16-le"), "path: inputs/my.csv is no UTF-8 text; .*`read: {encoding: utf-16-le}`"),
        (b"size,price\n\x81,2\n", "path: inputs/my.csv is no UTF-8 text; save it as UTF-8, or write its encoding"),
        ('size,price\n1,"2\n', r"path: inputs/my.csv cannot be read \(.*EOF inside string"),
        ("a;y\n1;1,250\n2;2,000\n", r'read: the column y holds .* write `read: {decimal: ","}` or `read: {thousands: ","}`'),
        ("1.5,2\n3,4\n", r"read: inputs/my.csv seems to have no header, for its first line is '1.5', '2'; name its columns"),
    ],
)
def test_a_file_that_is_no_table_is_told(written: Written, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_table(written(content))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("my.parquet", b"size,price", r"path: inputs/my.parquet cannot be read \(.*; write it anew as CSV or Parquet"),
        ("my.parquet", a_table().head(0), "path: inputs/my.parquet has no rows; give it a header"),
        (
            "my.xlsx",
            b"PK",
            r"path: .* is neither CSV nor Parquet; .* `pandas.read_excel\('my.xlsx'\).to_parquet\('my.parquet'\)`",
        ),
        ("my.jsonl", b"{}", r"by `pandas.read_json\('my.jsonl', dtype=False, lines=True\).to_parquet\('my.parquet'\)`"),
        ("my.csv", b"PK\3\4\0", "path: inputs/my.csv is a workbook or a zip archive; save its sheet as CSV"),
        ("my.csv", b"PAR1\0", "path: inputs/my.csv is a Parquet file; name it .parquet"),
        ("my.csv", b"\n<!DOCTYPE html>\n<p>1,2", "path: inputs/my.csv is a web page; download the file itself"),
        ("my.csv", b"version https://git-lfs.github.com/spec/v1\n", "path: .* in place of a file; fetch it by `git lfs pull`"),
        ("my.csv.gz", b"size,price", r"path: inputs/my.csv.gz cannot be read \(Not a gzipped file"),
        ("my.zip", b"size,price", r"path: inputs/my.zip cannot be read \(File is not a zip file"),
        ("my.zip", zipped(b"a", "a.csv", "b.csv"), r"path: inputs/my.zip cannot be read \(it holds 2 files, and one"),
    ],
)
def test_a_packed_file_that_is_no_table_is_told(written: Written, name: str, content: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_table(written(content, name))


NO_HEADER = a_table().drop(columns="colour").round(2)
REMEDIED: dict[str, tuple[str, dict[str, Any]]] = {
    "no header": (NO_HEADER.to_csv(index=False, header=False), {}),
    "no header, and texts": (a_table().to_csv(index=False, header=False), {}),
    "names of rows": ("size,y\n" + NO_HEADER[["size", "price"]].to_csv(header=False), {"read": {"quotechar": "'"}}),
    "lines above": ("Sales of 2024\n\n" + NO_HEADER.rename(columns={"price": "y"}).to_csv(index=False), {}),
    "lines above, with commas in them and below": (
        "Sales, of 2024\n\n" + NO_HEADER.rename(columns={"price": "y"}).to_csv(index=False, sep=";", decimal=","),
        {},
    ),
    "decimal commas": (NO_HEADER.rename(columns={"price": "y"}).to_csv(index=False, decimal=","), {"read": {"sep": ","}}),
}


@pytest.mark.parametrize("kind", REMEDIED)
def test_a_remedy_works_when_it_is_pasted(written: Written, kind: str) -> None:
    content, said = REMEDIED[kind]
    with pytest.raises(DatasetError) as told:
        written.dataset(content, **said)
    assert len(remedied(written, content, told.value, **said)) == ROWS


@pytest.mark.parametrize(
    ("content", "name", "given", "message"),
    [
        (
            a_table(),
            "my.parquet",
            {"read": {"sep": ";"}},
            "read: is for text files, and inputs/my.parquet is none",
        ),
        (a_table(), "my.csv", {"inputs": "tokens"}, "inputs: is for arrays, and this is a table; leave `inputs` out"),
    ],
)
def test_arguments_for_other_files_are_refused(
    written: Written, content: pd.DataFrame, name: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        written.dataset(content, "price", name=name, **given)


def test_rows_with_names_of_their_own_have_one_cell_more_than_the_header(written: Written) -> None:
    reading = Reading(index_col=0)
    assert list(read_table(written("a,b\nr1,1,2\nr2,3,4\n"), reading)) == ["row", "a", "b"]
    with pytest.raises(DatasetError, match=r"^read: .*no more cells than its header has names; leave `index_col` out"):
        read_table(written("a,b\n1,2\n"), reading)


def test_nan_is_a_number_to_parquet_and_is_told_apart_from_an_empty_cell(written: Written) -> None:
    cells = pyarrow.table({"a": [1.0, float("nan"), None], "b": [1.0, None, 2.0], "c": ["x", "y", None]})
    pyarrow.parquet.write_table(cells, written(b"", "my.parquet") and "inputs/my.parquet")
    assert read_table("my.parquet").attrs["remarks"] == ["NaN taken for empty cells: 1 of a"]


# Several files


@pytest.mark.parametrize(
    ("index", "columns"),
    [
        (pd.date_range("2024-01-01", periods=4), ["Unnamed: 0", "x"]),
        (pd.date_range("2024-01-01", periods=4, name="day"), ["day", "x"]),
        (pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["station", None]), ["station", "Unnamed: 1", "x"]),
        (pd.Index([3, 5, 1, 0]), ["x"]),
        (pd.Index([4, 5, 6, 7], name="x"), ["x"]),
    ],
)
def test_an_index_of_a_parquet_file_is_no_less_than_its_columns(
    index: "pd.Index[Any]", columns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it has a name or not; row numbers of what was shuffled are left out with a word."""
    monkeypatch.chdir(tmp_path)
    Path("inputs").mkdir()
    pd.DataFrame({"x": [4, 5, 6, 7]}, index=index).to_parquet("inputs/t.parquet")
    table = read_table("t.parquet")
    assert list(table.columns) == columns
    assert table["x"].tolist() == [4, 5, 6, 7]
    is_of_rows = index.name is None and index.dtype.kind == "i"
    assert table.attrs["remarks"] == (["left out: row numbers (3, 5, 1, …)"] if is_of_rows else [])


def test_several_files_are_one_table(written: Written) -> None:
    whole = a_table()
    written(whole[:25], "sales-1.csv")
    written(whole[25:40].rename(columns=str), "sales-2.parquet")
    (written.folder / "sales-3.csv.gz").write_bytes(
        gzip.compress(whole[40:][whole.columns[::-1]].to_csv(index=False, sep=";").encode())
    )
    together = written.dataset(whole, "price", path=["sales-1.csv", "sales-2.parquet", "sales-3.csv.gz"])
    assert together.equals(written.dataset(whole, "price"))
    rows = "rows of 3 files: sales-1.csv 1 to 25, sales-2.parquet 26 to 40, sales-3.csv.gz 41 to 60"
    assert together.attrs["remarks"] == [rows, "cells parted by ';'"]
    assert written.dataset(whole, "price", path="sales-*").equals(together)
    assert written.dataset(whole, "price", path=["sales-*", "sales-1.csv"]).equals(together)


def test_a_name_with_brackets_is_first_of_all_a_name(written: Written) -> None:
    written(a_table()[:50], "[1].csv")
    written(a_table(), "1.csv")
    assert len(written.dataset(a_table(), "price", path="[1].csv")) == 50


def test_files_of_other_columns_are_told_in_one_line(written: Written) -> None:
    written(a_table().drop(columns="rooms"), "b.csv")
    written(a_table(note=1), "c.csv")
    what = r"not all files have the columns of inputs/a\.csv: inputs/b\.csv lacks 'rooms'; inputs/c\.csv has 'note' besides"
    with pytest.raises(DatasetError, match=f"path: {what}; give all files the same columns"):
        written.dataset(a_table(), "price", "a.csv", path=["a.csv", "b.csv", "c.csv"])


def test_rows_of_several_files_say_through_which_they_are_counted(written: Written) -> None:
    table = a_table()
    table.loc[3, "size"] = None
    written(table, "b.csv")
    with pytest.raises(DatasetError, match=r"size is empty in row 64 \(rows of 2 files: a\.csv 1 to 60, b\.csv 61 to 120\);"):
        written.dataset(a_table(), "price", "a.csv", path=["a.csv", "b.csv"])


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (["a.csv", "gone.csv"], r"path: there is no file inputs/gone\.csv; put it there; did you mean"),
        ("gone-*.csv", r"path: there is no file inputs/gone-\*\.csv"),
        (["a.npz", "b.npz"], r"path: inputs/a\.npz holds arrays, and only tables may be several files"),
    ],
)
def test_files_that_are_not_there_or_no_tables(path: str | list[str], said: str, written: Written) -> None:
    for name in ("a.npz", "b.npz"):
        written(b"", name)
    with pytest.raises(DatasetError, match=said):
        written.dataset(a_table(), "price", "a.csv", path=path)


def test_of_many_files_the_nearest_are_named(written: Written) -> None:
    for number in range(20):
        written(b"", f"part-{number}.bin")
    with pytest.raises(DatasetError, match=r"did you mean houses\.csv\? \(one of houses\.csv(, part-\S+){4} and 16 more\)$"):
        written.dataset(a_table(), "price", "houses.csv", path="house.csv")


PLACES = ["00501", "02139", "10001", None] * (ROWS // 4)


@pytest.mark.parametrize("form", ["csv", "blanks", "parquet", "two files", "semicolons"])
def test_leading_zeros_are_kept_in_every_kind_of_file(form: str, written: Written) -> None:
    table = a_table(zip=PLACES)
    content: str | bytes | pd.DataFrame = table
    name, given = "my.csv", {}
    match form:
        case "blanks":
            content = table.to_csv(index=False, sep="\t")
        case "semicolons":
            content = table.to_csv(index=False, sep=";", decimal=",", quoting=csv.QUOTE_ALL)
        case "parquet":
            name = "my.parquet"
        case "two files":  # pandas reads the places of the second as numbers
            written(table[table["zip"] == "10001"], "b.csv")
            content, given = table[table["zip"] != "10001"], {"path": ["my.csv", "b.csv"]}
    data = written.dataset(content, "price", name, missing="impute", **given)
    columns = {column["name"]: column["categories"] for column in data.attrs["columns"]}
    assert columns["zip"] == ["00501", "02139", "10001", "(missing)"]
    assert "taken as codes, not numbers: '00501' of zip" in data.attrs["remarks"]
    numeric = written.dataset(content, "price", name, missing="impute", numeric=["zip"], **given)
    assert not any(column["categories"] for column in numeric.attrs["columns"] if column["name"] == "zip")
    assert sorted(numeric["x3"].dropna().unique()) == [501, 2139, 10001]


def test_codes_are_classes_groups_and_steps(written: Written) -> None:
    table = a_table(zip=["00501", "02139", "10001"] * (ROWS // 3), step=[f"{row:03}" for row in range(ROWS)])
    assert written.dataset(table, "zip", drop=["step"]).attrs["classes"] == ["00501", "02139", "10001"]
    assert written.dataset(table, "zip", task="regression", drop=["step"])["y"].max() == 10001
    assert written.dataset(table, "price", group="zip", drop=["step"])["group"].nunique() == 3
    in_order = written.dataset(table, "price", order="step", weight="zip")
    assert in_order["split"].tolist() == ["train"] * 36 + ["validation"] * 12 + ["test"] * 12
    assert in_order["weight"].max() == 10001
    with pytest.raises(DatasetError, match=r"step has 60 classes in 60 rows \('000', .*or write `task: regression`"):
        written.dataset(table, "step")


def test_amounts_that_all_differ_are_no_identifiers(written: Written) -> None:
    table = a_table(income=[f"${1000 + 37 * (row * 7 % ROWS):,}" for row in range(ROWS)])
    assert not list(leaks(written.dataset(table, "price")))
    plain = a_table(income=[1000 + 37 * (row * 7 % ROWS) for row in range(ROWS)])
    assert [leak.column for leak in leaks(written.dataset(plain, "price"))] == ["income"]
