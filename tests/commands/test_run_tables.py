"""Tables of runs in files: as they are written by programs, and as people title, paste and draw them."""

from pathlib import Path

import pytest

from pipeline.commands.run_tables import TableError, read_table

ROWS = [["cosine", "0", "0.23"], ["cosine", "1", "0.24"], ["step", "0", "0.26"], ["step", "1", "0.25"]]
NAMES = ["scheduler", "seed", "val_loss"]


def table_of(form: str, before: str = "", after: str = "") -> str:
    """The runs with a line of ``form`` for each, and a title."""
    lines = [form.format(*row) for row in [NAMES, *ROWS]]
    return "\n".join(["Table 3, on CIFAR-10", "", lines[0], *filter(None, [before]), *lines[1:], after])


@pytest.mark.parametrize(
    ("text", "first_line"),
    [
        (table_of("{},{},{}"), 4),
        (table_of("{},{},{},").replace("CIFAR-10", "CIFAR-10,,,,"), 4),
        (table_of("{};{};{}"), 4),
        (table_of("{} {} {}").partition("\n\n")[2], 2),
        (table_of("| {} | **{}** | `{}` |", "|:--|--:|:-:|", "\nA note. "), 5),
        (table_of("{} | {} | {}", "--- | --- | ---"), 5),
        (table_of("| {} | {} | {} |", "+-----+----+----+", "+-----+----+----+"), 5),
        (table_of(r"{} & \textbf{{{}}} & ${}$ \\ \hline", r"\midrule", r"\bottomrule").replace("val_loss", r"val\_loss"), 5),
    ],
)
def test_titles_and_what_draws_a_table_are_left_out(text: str, first_line: int, tmp_path: Path) -> None:
    (tmp_path / "runs.txt").write_text(text, encoding="utf-8")
    table = read_table(tmp_path / "runs.txt")
    assert [*table.columns[:3]] == NAMES
    assert table[NAMES].to_numpy().tolist() == ROWS
    assert table.index[0] + 2 == first_line


@pytest.mark.parametrize("header", ["scheduler seed val_loss", " scheduler seed val_loss"])
def test_names_of_rows_have_no_name(header: str, tmp_path: Path) -> None:
    """R writes them so, and a printed frame."""
    rows = [f"{number} {' '.join(row)}" for number, row in enumerate(ROWS)]
    (tmp_path / "runs.txt").write_text("\n".join([header, *rows]), encoding="utf-8")
    assert [*read_table(tmp_path / "runs.txt").columns] == ["Unnamed: 0", *NAMES]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "holds nothing"),
        ("a.parquet", b"PAR1", "cannot be read"),
        ("a.csv", b"\xff\xfe\x00a,b\n", "is no UTF-8 text; save it as UTF-8"),
        ("b.csv", b'x,y\n"1,2\n3', "cannot be read"),
        ("a.csv", b"x,y\n1,2,3\n", "more cells than the header"),
        ("a.csv.gz", b"x,y\n1,2\n", "cannot be read"),
        ("a.csv", b"PK\x03\x04", "is a workbook or a zip archive; save its sheet as CSV"),
        ("a.xlsx", b"PK\x03\x04", "is neither CSV nor Parquet; save it as CSV"),
        ("a.json", b'{"a": [1', "cannot be read"),
        ("a.json", b"[1, 2]", "a run is no object"),
        ("a.json", b'{\n"cosine": [1, 2]\n}', "it is one object, in place of an array of them"),
    ],
)
def test_what_is_no_table_is_told_in_a_line(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=said) as told:
        read_table(tmp_path / name)
    assert "\n" not in str(told.value)
    with pytest.raises(TableError, match="there is no such file"):
        read_table(tmp_path / "none.csv")
