"""A table's columns as features: what each becomes, and the troubles of all of them at once."""

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.data.mistakes import DatasetError
from pipeline.data.tables import dataset_of, described
from tests.data.helpers import ROWS, Written, a_table, in_days

TITANIC = """PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked
1,0,3,"Moor, Mr. Adam",male,22,1,0,A/5 21171,7.25,,S
2,1,1,"Hill, Mrs. John (Ann Bell)",female,38,1,0,PC 17599,71.2833,C85,C
3,1,3,"Lind, Miss. Eva",female,26,0,0,STON/O2. 3101282,7.925,,S
4,1,1,"Grey, Mrs. Jack (Lil May)",female,35,1,0,113803,53.1,C123,S
5,0,3,"Cole, Mr. Will",male,35,0,0,373450,8.05,,S
6,0,3,"Ward, Mr. Jim",male,,0,0,330877,8.4583,,Q
7,0,1,"Hart, Mr. Tim J",male,54,0,0,17463,51.8625,E46,S
8,0,3,"Holm, Master. Leo",male,2,3,1,349909,21.075,,S
9,1,3,"Berg, Mrs. Oscar W",female,27,0,2,347742,11.1333,,S
10,1,2,"Nash, Mrs. Nick (Adele)",female,14,1,0,237736,30.0708,,C
11,1,3,"Sand, Miss. Rut",female,4,1,1,PP 9549,16.7,G6,S
12,1,1,"Bond, Miss. Liz",female,58,0,0,113783,26.55,C103,
"""
STRANGE = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="`"), min_size=1, max_size=9).filter(
    lambda name: name not in ("price", "size", "colour", "rooms")
)


def feature(values: Any, **given: Any) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """What the column c becomes."""
    data = dataset_of(a_table()[["price"]].assign(c=values), "price", **given)
    return data.attrs["columns"], data.filter(regex=r"^x\d")


def pasted(error: DatasetError) -> dict[str, Any]:
    """The first remedy that each line of the error prints, and what it says to write with it."""
    found: dict[str, Any] = {}
    for each in error.all:
        remedies = re.findall(r"(?:write|with|first two) `([^`]*: [^`]*)`", each.right)
        for remedy in remedies:
            found = YAML(typ="safe", pure=True).load(f"{{{remedy}}}") | found
    return found


# What a column becomes


@pytest.mark.parametrize("cells", [["<5", "7", "30"], ["12%", "0.12", "3"], ["$12", "€14", "£9"], ["87 kg", "9 st", "92 kg"]])
def test_categories_that_look_like_numbers_are_told(cells: list[str]) -> None:
    data = dataset_of(a_table(c=cells * 20), "price")
    assert next(said for said in data.attrs["remarks"] if "though most look like numbers" in said).endswith(" of c")


@pytest.mark.parametrize("missing", ["impute", "indicate"])
def test_a_missing_category_is_one_of_its_own(missing: str) -> None:
    columns, x = feature([None, "b", "a"] * 20, missing=missing)
    assert columns == [{"name": "c", "categories": ["a", "b", "(missing)"]}]
    assert x["x0"][:3].tolist() == [2, 1, 0]


def test_where_a_number_is_missing_can_be_learnt_from() -> None:
    values = [None, 2.0, 3.0] * 20
    assert len(feature(values, missing="impute")[0]) == 1
    columns, x = feature(values, missing="indicate")
    assert [column["name"] for column in columns] == ["c", "c (missing)"]
    assert x["x1"][:3].tolist() == [1, 0, 0]
    assert len(feature([1.0, 2.0, 3.0] * 20, missing="indicate")[0]) == 1


@given(most=st.integers(1, 12), cells=st.lists(st.sampled_from("abcdefghij"), min_size=ROWS, max_size=ROWS))
@settings(max_examples=12)
def test_the_most_frequent_categories_are_kept_and_the_others_pooled(most: int, cells: list[str]) -> None:
    counts = pd.Series(cells).value_counts()
    columns, x = feature(cells, most_categories=most, categorical=["c"])
    kept = [category for category in columns[0]["categories"] if category != "(other)"]
    assert len(kept) == min(most, len(counts))
    assert counts[kept].min() >= max(counts.drop(kept), default=0)
    assert ("(other)" in columns[0]["categories"]) == (len(counts) > most)
    names = np.array(columns[0]["categories"])[x["x0"].astype(int)]
    np.testing.assert_array_equal(names, [cell if cell in kept else "(other)" for cell in cells])


def test_that_they_were_pooled_is_said() -> None:
    data = dataset_of(a_table(shop=np.arange(ROWS) % 30), "price", categorical=["shop"], most_categories=20)
    assert "rarer than the first 20 (`most_categories`) and pooled as (other): 10 of 30 texts of shop" in described(data)


def test_many_categories_need_no_insisting_while_they_repeat() -> None:
    cells = [f"A{number % 150}" for number in range(600)]
    data = dataset_of(a_table(600, airport=cells), "price")
    assert len(data.attrs["columns"][3]["categories"]) == 101


def test_an_identifier_is_a_category_for_who_insists() -> None:
    columns, _ = feature([f"id{number}" for number in range(ROWS)], categorical=["c"])
    assert len(columns[0]["categories"]) == ROWS


def test_parts_of_dates_are_features() -> None:
    columns, x = feature(in_days(pd.Series(range(ROWS))).dt.strftime("%d/%m/%Y"), dates={"c": ["month", "weekday"]})
    assert [column["name"] for column in columns] == ["c (month)", "c (weekday)"]
    assert x.iloc[0].tolist() == [12, 1]


@pytest.mark.parametrize("as_text", [True, False])
def test_parts_of_dates_are_those_of_the_clock_where_they_were_written(as_text: bool) -> None:
    """Midnight of a Monday in Berlin is a Sunday in UTC, at 22 or 23 o'clock, as summer time has it."""
    mondays = pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="7D", tz="Europe/Berlin"))
    _, x = feature(mondays.map(pd.Timestamp.isoformat) if as_text else mondays, dates={"c": ["weekday", "hour", "days"]})
    assert (x[["x0", "x1"]] == 0).all(axis=None)
    assert (x["x2"].diff().dropna() == 7).all()
    with pytest.raises(DatasetError, match=r"dates: {c: \[year, month, weekday\]}"):
        feature(mondays.astype("string") if as_text else mondays)


def test_missing_dates_are_missing_numbers() -> None:
    columns, x = feature(["2024-03-01", None, "2024-05-01"] * 20, dates={"c": ["month"]}, missing="indicate")
    assert [column["name"] for column in columns] == ["c (month)", "c (missing)"]
    np.testing.assert_array_equal(x.iloc[:3], [[3, 0], [np.nan, 1], [5, 0]])


@pytest.mark.parametrize("open_ended", ["3+", ">= 3", "3-5"])
def test_the_last_of_a_few_numbers_may_be_open(open_ended: str) -> None:
    """As the number of dependants is: it is known, and not to be imputed."""
    (column,), x = feature([*["0", "1", "2"] * 19, open_ended, open_ended, "0"])
    assert open_ended in column["categories"]
    assert x["x0"].nunique() == 4


@pytest.mark.parametrize("mark", ["\\N", "NULL", "n/a"])
def test_databases_and_people_mark_missing_numbers(mark: str) -> None:
    _, x = feature([mark, *map(str, range(ROWS - 1))], missing="impute")
    assert np.isnan(x["x0"].iloc[0])


# Trouble

TROUBLE: dict[str, tuple[list[Any], str]] = {
    "an identifier": ([f"id{number}" for number in range(ROWS)], "drop: the column c has 60 different texts in 60 rows"),
    "a ticket": ([f"PC {n}" if n % 4 else str(n) for n in range(ROWS)], "drop: the column c has 60 different numbers among"),
    "nothing": ([None] * ROWS, "drop: the column c is empty; write `drop: "),
    "an empty cell": ([None, *range(ROWS - 1)], "missing: the column c is empty in row 1; complete these rows"),
    "a mark": (["?", *map(str, range(ROWS - 1))], "missing: the column c is empty or holds '.' in row 1; complete"),
    "slips": (
        ["oh", "oh, no", *map(str, range(ROWS - 2))],
        "missing_values: the column c holds numbers, but 'oh', 'oh, no'",
    ),
    "bounds": (
        ["<0.5", *map(str, range(ROWS - 1))],
        r"drop: the column c holds numbers and something beside them, not all the same .*, or write plain numbers",
    ),
    "one comma that parts no thousands": (
        ["12,34", "1,000", *["1,000", "2,450"] * 29],
        "path: the column c holds '12,34' in row 1, and thousands with a comma, '1,000', '2,450'; correct these cells",
    ),
    "infinite": ([np.inf, -np.inf, *range(ROWS - 2)], "path: the column c is infinite in rows 1, 2; correct these rows"),
    "dates": (
        [f"2024-01-{1 + number % 28:02}" for number in range(ROWS)],
        "dates: the column c holds dates; write `dates: {c: ",
    ),
    "few dates": (["2024-01-01", "2024-02-01"] * 30, "dates: the column c holds dates"),
    "ambiguous dates": (
        ["1/2/2024", "3/4/2024"] * 30,
        "dates: the column c holds dates; .* first two `read: {day",
    ),
    "codes": (
        [f"{number:05}" for number in range(ROWS)],
        "drop: the column c has 60 different codes in 60 rows, .*`categorical: .c.` if they are categories, or `numeric: .c.`",
    ),
    "many currencies": (
        [f"{'$€'[number % 2]}{number}" for number in range(ROWS)],
        "drop: the column c holds numbers and something beside them, not all the same .*, or write plain numbers",
    ),
    "dates in two forms": (
        ["2024-01-26", "22/06/2023", "3 May 2023"] * 20,
        "drop: the column c holds dates in more than one form .*'2024-01-26', '22/06/2023', '3 May 2023'",
    ),
    "decimal commas": (["1,5", "2,25"] * 30, "read: the column c holds numbers with decimal commas .*`read: {decimal: "),
}


@pytest.mark.parametrize("kind", TROUBLE)
def test_a_column_that_is_no_feature_is_told_and_its_remedy_works(written: Written, kind: str) -> None:
    cells, message = TROUBLE[kind]
    table = a_table().assign(c=cells)
    with pytest.raises(DatasetError, match=message) as told:
        written.dataset(table, "price")
    assert len(written.dataset(table, "price", **pasted(told.value))) == ROWS


def test_the_troubles_of_all_columns_are_told_at_once_and_their_remedies_work_together(written: Written) -> None:
    with pytest.raises(DatasetError) as told:
        written.dataset(TITANIC, "Survived")
    assert [error.key for error in told.value.all] == ["drop", "missing"]
    assert "write `drop: [Name, Ticket, Cabin]`, or `categorical: [Name, Ticket, Cabin]`" in told.value.all[0].right
    assert "the column Age is empty in row 6, the column Embarked is empty in row 12" in told.value.all[1].wrong
    data = written.dataset(TITANIC, "Survived", shares=["34%", "33%", "33%"], **pasted(told.value))
    assert len(data.attrs["columns"]) == 8


def test_trouble_with_the_target_is_told_beside_that_with_features() -> None:
    with pytest.raises(DatasetError) as told:
        dataset_of(a_table(c=[None] * ROWS), "colour", task="regression")
    assert [error.key for error in told.value.all] == ["target", "drop"]


def test_unknown_names_are_told_at_once() -> None:
    with pytest.raises(DatasetError) as told:
        dataset_of(a_table(), "prise", drop=["rooms", "rom"], dates={"day": ["year"]})
    assert [error.key for error in told.value.all] == ["target", "drop", "dates"]


@given(names=st.lists(STRANGE, min_size=1, max_size=4, unique=True), dropped=st.booleans())
@settings(max_examples=12)
def test_a_remedy_can_be_pasted_whatever_columns_are_called_and_keeps_what_is_there(names: list[str], dropped: bool) -> None:
    table = a_table().assign(**{name: [f"id{number}" for number in range(ROWS)] for name in names})
    drop = ["size"] * dropped
    with pytest.raises(DatasetError) as told:
        dataset_of(table, "price", drop=drop)
    assert pasted(told.value) == {"drop": drop + names}
    assert len(dataset_of(table, "price", **pasted(told.value)).attrs["columns"]) == 3 - dropped


@pytest.mark.slow
def test_of_many_columns_the_first_are_shown_and_all_are_mended() -> None:
    names = [f"id{number}" for number in range(30)]
    table = a_table().assign(**{name: [f"{name}{number}" for number in range(ROWS)] for name in names})
    with pytest.raises(DatasetError, match=r"the column id4 .*, and so on with 25 more columns") as told:
        dataset_of(table, "price")
    assert pasted(told.value) == {"drop": names}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["soon"] * ROWS,
            r"dates: the column c holds no dates, or none in a form that is known \('soon'\); write them",
        ),
        (
            ["1/2/2024"] * ROWS,
            "read: the column c holds dates that begin with the day or with the month; write `read: {day",
        ),
    ],
)
def test_asked_dates_that_cannot_be_read_are_told(cells: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        feature(cells, dates={"c": ["month"]})


# Decimal points and commas in one column


@pytest.mark.parametrize("cells", [["1,5", "2.5", "3"], ["-1,25", "2.5", "?"]])
def test_both_decimal_marks_in_a_column_are_told_with_the_rows_of_each(cells: list[str]) -> None:
    rows = r"decimal commas in rows 1, 4, 7, 10, 13 and 15 more and with decimal points in rows 2, .* and 15 more"
    with pytest.raises(DatasetError, match=f"path: the column c holds numbers with {rows}; write one decimal mark") as caught:
        feature(cells * 20, missing="impute")
    assert caught.value.mending is None


@pytest.mark.parametrize("cells", [["1,459", "2.5", "3"], ["1.234,5", "2", "3,5"], ["1.5", "2.5", "3"]])
def test_other_numbers_have_no_two_decimal_marks(cells: list[str]) -> None:
    assert feature(cells * 20)[0] == [{"name": "c", "categories": []}]


def test_a_file_with_decimal_commas_has_no_commas_between_thousands(written: Written) -> None:
    rows = [f"{1 + row / 7:.3f}".replace(".", "." if row == 4 else ",") + f";{row},5;{row % 2}" for row in range(30)]
    with pytest.raises(DatasetError, match=r"column fuel .* decimal points in row 5 and with decimal commas in rows 1, 2"):
        written.dataset("\n".join(["fuel;km;y", *rows]))
    with pytest.raises(DatasetError, match=r"target: the column fuel .* points in row 5 and .* write one decimal mark in all"):
        written.dataset("\n".join(["fuel;km;y", *rows]), target="fuel")
