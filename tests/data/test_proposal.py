"""Files like those that people publish: each loads, loads with what is proposed for it, or is refused in one line."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.data.datasets import datasets
from pipeline.data.mistakes import DatasetError
from pipeline.data.proposal import candidates, proposed
from tests.data.helpers import Written

N = 60
draw = np.random.default_rng(1)
A, B = draw.normal(50, 9, N).round(2), draw.integers(10, 99, N)
KIND, Y = draw.choice(["red", "green", "blue"], N), draw.normal(5, 2, N).round(3)
LABEL = draw.choice(["yes", "no"], N)
BASE = pd.DataFrame({"size": A, "rooms": B, "kind": KIND, "price": Y})
DAYS = pd.Series(pd.date_range("2021-01-10", periods=N))
Content = str | bytes


def csv(table: pd.DataFrame = BASE, **how: Any) -> str:
    text: str = table.to_csv(index=False, **how)
    return text


def put(**columns: Any) -> pd.DataFrame:
    """The table with more columns before its target."""
    return BASE.assign(**columns)[[*BASE.columns[:-1], *columns, "price"]]


def with_cells(column: str, *cells: object) -> pd.DataFrame:
    return BASE.assign(**{column: [*cells, *BASE[column].astype(object)[len(cells) :]]})


LOADS: dict[str, Content] = {
    "plain": csv(),
    "winequality: semicolons, quoted names": csv(sep=";", quoting=2),
    "airquality: decimal commas, empty columns behind": re.sub("$", ";;", csv(sep=";", decimal=",").rstrip(), flags=re.M),
    "excel: BOM": b"\xef\xbb\xbf" + csv().encode(),
    "germany: latin-1": csv(BASE.rename(columns={"size": "größe"})).encode("latin-1"),
    "excel: utf-16, tabs": csv(sep="\t").encode("utf-16"),
    "tsv": csv(sep="\t"),
    "tsv, decimal commas": csv(sep="\t", decimal=","),
    "auto-mpg: blanks": csv(sep=" "),
    "pipes": csv(sep="|"),
    "windows: CRLF": csv().replace("\n", "\r\n"),
    "pandas: index beside it": BASE.to_csv(),
    "usa: thousands in quotes": csv(put(income=[f"{n * 1000:,}" for n in B])),
    "sales: $ and thousands": csv(put(cost=[f"${n * 1000:,}" for n in B])),
    "percent signs": csv(put(share=[f"{n}%" for n in B])),
    "reviews: quoted newlines": csv(put(text=np.resize(["good\nvery", "bad, really"], N))),
    "blank lines between": csv().replace("\n", "\n\n"),
    "all cells quoted": csv(quoting=1),
    "padded cells": csv().replace(",", " , "),
    "booleans": csv(put(new=np.resize([True, False, False], N))),
    "churn: yes and no": csv(BASE.drop(columns="price").assign(churn=LABEL)),
}
PROPOSED: dict[str, tuple[Content, set[str]]] = {
    "iris: no header": (csv(header=False), {"read"}),
    "airports: title above the header": ("Flights of 2021\n\n" + csv(), {"read"}),
    "spectrometer: several lines above the header": (
        f"# by X\n# on\ta day\nhere\n\n{csv(sep=chr(9))}",
        {"read"},
    ),
    "excel: a title, filled up": (f"Prices 2024;;;\n;;;\n{csv(sep=';')}", {"read"}),
    "R: row names without a heading": (BASE.to_csv().lstrip(","), {"read", "drop"}),
    "export: names twice": (csv(put(x=A, z=B).rename(columns={"x": "size"})), {"read"}),
    "titanic: names, tickets, gaps": (csv(put(name=[f"Mr. {n}" for n in range(N)], age=[np.nan, *A[1:]])), {"drop", "missing"}),
    "census: ? for missing": (csv(with_cells("rooms", "?", "?")), {"missing"}),
    "weather: dates": (csv(put(day=DAYS.dt.strftime("%Y-%m-%d"))), {"dates", "order"}),
    "usa: month first, ambiguous": (csv(put(day=np.resize(["01/02/2021", "03/04/2021"], N))), {"dates", "read"}),
    "taxi: timestamps": (csv(put(at=DAYS.dt.strftime("%Y-%m-%d 13:30:00"))), {"dates", "order"}),
    "sensor: an error among numbers": (csv(with_cells("rooms", "ERR", "ERR")), {"missing_values", "missing"}),
    "survey: an empty column": (csv(put(note=np.nan)), {"drop"}),
    "customers: counted from 1000": (csv(put(customer=np.arange(N) + 1000)), {"drop"}),
    "prices: the target in another currency": (csv(put(euros=(Y * 0.9).round(9))), {"drop"}),
    "kaggle: unlabelled rows": (csv(with_cells("price", np.nan, np.nan)), {"unlabelled"}),
    "statistics office: a footer": (csv() + "Source: statistics office\n", {"unlabelled"}),
    "inf from a division": (csv(with_cells("size", np.inf)), {"missing_values", "missing"}),
    "units in few cells": (csv(with_cells("rooms", "12 m")), {"missing_values", "missing"}),
}
REFUSED: dict[str, tuple[Content, str]] = {
    "nothing in it": ("", "is empty; give it a header"),
    "a header alone": ("size,price\n", "has no rows"),
    "imdb: commas escaped by backslashes": (csv().replace("red", "red\\, dark"), r"has 5 cells in row \d+ .*in quotes"),
    "one row": ("size,price\n1,2\n", "no column can be predicted in 1 row; add rows"),
    "a picture": (b"\x89PNG\0\0\0", "is no text in utf-16-le; save it as CSV"),
    "notes": (
        csv(BASE[["price"]].assign(note=[f"text {n}" for n in range(N)])),
        "no feature, for 'note' stands under .*token ids",
    ),
}


def loads(name: str, **given: Any) -> pd.DataFrame:
    entry = datasets["file"]
    data: pd.DataFrame = entry.function(**entry.complete({"path": name, **given}))
    return data


@pytest.mark.parametrize("kind", LOADS)
def test_it_loads_at_the_first_try_and_nothing_is_proposed_but_path_and_target(written: Written, kind: str) -> None:
    name = written(LOADS[kind])
    proposal = proposed(name)
    assert set(proposal.entry) == {"path", "target"}
    assert len(proposal.data) == N


@pytest.mark.parametrize("kind", PROPOSED)
def test_it_loads_with_what_is_proposed(written: Written, kind: str) -> None:
    content, keys = PROPOSED[kind]
    name = written(content)
    proposal = proposed(name)
    assert set(proposal.entry) - {"path", "target"} == keys
    pd.testing.assert_frame_equal(loads(name, **{k: v for k, v in proposal.entry.items() if k != "path"}), proposal.data)


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_a_line(written: Written, kind: str) -> None:
    content, said = REFUSED[kind]
    with pytest.raises(DatasetError, match=said) as error:
        proposed(written(content))
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("table", "target"),
    [
        (BASE[["price", "size", "rooms"]], "price"),
        (BASE[["rooms", "kind"]].assign(who=[f"n{n}" for n in range(N)]), "kind"),
        (BASE[["size", "rooms"]].assign(none=np.nan), "rooms"),
    ],
)
def test_the_target_is_named_or_the_last_that_can_be(written: Written, table: pd.DataFrame, target: str) -> None:
    proposal = proposed(written(table))
    assert proposal.entry["target"] == target
    assert target in candidates(proposal.table)
    assert proposal.chosen


def test_counts_of_which_some_are_rare_are_amounts(written: Written) -> None:
    """They were taken for classes, of which not each can be in every part, and the file was refused."""
    proposal = proposed(written(put(visits=[*np.resize([0, 1, 2, 3], N - 2), 5, 7])[["size", "visits"]]))
    assert proposal.entry["task"] == "regression"
    assert proposal.data["y"].max() == 7


def test_a_number_with_slips_is_the_target_without_their_rows(written: Written) -> None:
    """It was 31 classes, without a word."""
    points = [*map(str, np.arange(N - 3) % 30), "n.a.", "n.a.", "withdrawn"]
    proposal = proposed(written(put(points=points)[["size", "points"]]))
    assert proposal.entry["target"] == "points"
    assert proposal.entry["missing_values"] == ["n.a.", "withdrawn"]
    assert proposal.data["y"].tolist() == [float(point) for point in points[:-3]]


def test_rows_that_r_has_named_are_read(written: Written) -> None:
    rows = [f'"s{n}" {n % 7}.5 "{"ab"[n % 2]}" {n * n}' for n in range(N)]
    proposal = proposed(written("\n".join(['"g1" "type" "price"', *rows]), "table.txt"))
    assert proposal.table.columns.tolist() == ["row", "g1", "type", "price"]
    assert proposal.data["y"].tolist() == [n * n for n in range(N)]


def test_a_single_feature_that_tells_the_target_stays(written: Written) -> None:
    proposal = proposed(written(pd.DataFrame({"a": Y, "price": Y * 2 + 1})))
    assert proposal.entry["trusted"] == ["a"]


def of_dates(dates: Any) -> pd.DataFrame:
    return put(day=pd.Series(dates).dt.strftime("%Y-%m-%d %H:%M"))


SERIES: dict[str, tuple[Any, str]] = {
    "hours": (pd.date_range("2021-01-10", periods=N, freq="h"), "1 hour"),
    "working days, some of them off": (pd.bdate_range("2021-01-10", periods=N + 4).delete([7, 20, 21, 50]), "1 day"),
    "ends of months": (pd.date_range("2001-01-31", periods=N, freq="ME"), "31 days"),
    "quarters": (pd.date_range("2001-01-01", periods=N, freq="QS"), "91 days"),
    "quarters of an hour, the last first": (pd.date_range("2021-01-10", periods=N, freq="15min")[::-1], "15 minutes"),
}
NO_SERIES = {
    "births": pd.Timestamp("1950-01-01") + pd.to_timedelta(draw.choice(20_000, N, replace=False), unit="D"),
    "several rows a day": pd.date_range("2021-01-10", periods=N // 2).repeat(2),
    "days, and one of them missing": pd.date_range("2021-01-10", periods=N).where(np.arange(N) != 5),
}


@pytest.mark.parametrize("kind", SERIES)
def test_rows_that_are_plainly_a_series_are_put_in_order(written: Written, kind: str) -> None:
    """The earliest train, the latest test; and from the parts of the dates is learnt, too."""
    dates, apart = SERIES[kind]
    proposal = proposed(written(of_dates(dates)))
    assert (proposal.entry["order"], proposal.apart) == ("day", apart)
    assert "day (month)" in [column["name"] for column in proposal.data.attrs["columns"]]
    parts = proposal.data["split"].to_numpy()[np.argsort(dates)]
    assert parts.tolist() == ["train"] * 36 + ["validation"] * 12 + ["test"] * 12


@pytest.mark.parametrize("kind", NO_SERIES)
def test_rows_that_may_be_no_series_are_drawn_at_random(written: Written, kind: str) -> None:
    proposal = proposed(written(of_dates(NO_SERIES[kind])))
    assert "order" not in proposal.entry
    assert not proposal.apart
    assert proposal.entry["dates"]


WIDE = pd.DataFrame(np.random.default_rng(0).normal(size=(N, 60))).add_prefix("gene").assign(y=Y).round(3)


@pytest.mark.parametrize(
    ("content", "read", "target"),
    [
        (WIDE.to_csv().lstrip(","), {"header": 0, "index_col": 0}, "y"),
        (WIDE.to_csv(index=False, header=False), {"header": None}, "60"),
    ],
)
def test_how_a_wide_file_is_read_takes_no_list_of_its_columns(
    written: Written, content: str, read: dict[str, Any], target: str
) -> None:
    proposal = proposed(written(content))
    assert proposal.entry["read"] == read
    assert proposal.entry["target"] == target
    assert len(proposal.data.attrs["columns"]) == 60
    assert list(proposal.data["y"]) == list(WIDE["y"])
