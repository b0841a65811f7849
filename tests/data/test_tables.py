"""The user's own tables: what becomes of them, and every kind of trouble in one clear sentence."""

import io
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import cli
from pipeline.config import files
from pipeline.data import splits
from pipeline.data.datasets import datasets
from pipeline.data.mistakes import DatasetError
from pipeline.data.reading import read_table
from pipeline.data.tables import dataset_of, described
from pipeline.problems.dataset import PARTS, Dataset
from pipeline.problems.encoding import Column
from pipeline.problems.problem import Problem
from pipeline.stages.dataset import main
from tests.data.helpers import ROWS, Written, a_table, in_days
from tests.engine.helpers import Builder, run_of, train
from tests.problems.helpers import from_frame
from tests.repeated import few

# What becomes of a table


@pytest.mark.parametrize("name", ["my.csv", "my.parquet"])
def test_a_file_becomes_a_dataset(written: Written, name: str) -> None:
    data = dataset_of(read_table(written(a_table(), name)), "price")
    assert list(data.columns) == ["split", "y", "x0", "x1", "x2"]
    assert data["split"].value_counts().to_dict() == {"train": 36, "validation": 12, "test": 12}
    assert data["y"].dtype == np.float64
    columns = [Column.from_dict(column) for column in data.attrs["columns"]]
    assert columns == [Column("size"), Column("colour", ("blue", "green", "red")), Column("rooms")]
    np.testing.assert_array_equal(data["x1"][:3], [2, 1, 0])
    assert described(data).startswith("60 samples (36 train, 12 validation, 12 test), 3 features (1 of them categories)")


def test_parts_of_a_few_samples_are_warned_of() -> None:
    assert "warning: only 2 samples in a part" in described(dataset_of(a_table(rows=11), "price"))
    assert "warning" not in described(dataset_of(a_table(), "price"))


def test_features_are_chosen_and_dropped() -> None:
    def names(**how: Any) -> list[str]:
        return [column["name"] for column in dataset_of(a_table(), "price", **how).attrs["columns"]]

    assert names(features=["rooms", "size"]) == ["rooms", "size"]
    assert names(drop=["colour"]) == ["size", "rooms"]
    data = dataset_of(a_table(), "price", categorical=["rooms"])
    assert data.attrs["columns"][2]["categories"] == ["0", "1", "2", "3"]


def test_a_column_may_say_the_parts() -> None:
    parts = np.resize(["train", "train", "test", "validation"], ROWS)
    data = dataset_of(a_table(part=parts), "price", split="part")
    assert (data["split"] == parts).all()
    assert "part" not in [column["name"] for column in data.attrs["columns"]]


def test_a_constant_column_is_no_harm() -> None:
    data = dataset_of(a_table(same=7.0), "price")
    assert described(data).endswith("; the same in every row and of no use: same")


def of_file(new_problem: Builder, dataset: str, batch_size: int = 9) -> Problem:
    """A problem with that dataset, and nothing else said of its data."""
    return new_problem.from_text(f"""
seeds: 2
problems:
  own: {{dataset: {dataset}, model: {{name: linear}}, optimizer: {{name: SGD, lr: 0.1}}, epochs: 1, batch_size: {batch_size}}}
schedulers: {{ConstantLR: {{args: {{factor: 1.0}}}}}}
report: {{baseline: ConstantLR}}
""")


def a_problem(new_problem: Builder, data: pd.DataFrame) -> Problem:
    other = new_problem({"StepLR": {"args": {"step_size": "50%"}}})
    params = new_problem.params((new_problem.folder / "params.yaml").read_text())
    return from_frame(params, other.name, data)


def test_every_seed_is_encoded_by_its_own_training_part(new_problem: Builder) -> None:
    problem = a_problem(new_problem, dataset_of(a_table(), "price"))
    samples = problem.data.samples([3, 5, 3])
    assert problem.data.inputs == 5
    assert problem.data.task == "regression"
    for number in range(3):
        train_x, train_y = (values[samples.parts["train"][number]] for values in (samples.x, samples.y))
        np.testing.assert_allclose(train_x[:, [0, -1]].mean(axis=0), 0, atol=1e-6)
        np.testing.assert_allclose(train_y.std(), 1, rtol=1e-5)
    raw = problem.data.y[problem.data.split(3).test]
    scaled = samples.y[samples.parts["test"][0]] * samples.scales[0].deviation
    np.testing.assert_allclose(np.diff(scaled), np.diff(raw), rtol=1e-3)
    assert samples.scales[0] == samples.scales[2] != samples.scales[1]
    assert train(problem, [run_of(problem, "StepLR")]).outcome.finite.all()


# Splits never leak


@given(
    houses=st.lists(st.sampled_from("abcdef"), min_size=17, max_size=17),
    moved=st.dictionaries(st.integers(0, 16), st.sampled_from(PARTS), max_size=2),
)
def test_a_split_column_tears_no_group_or_is_refused(houses: list[str], moved: dict[int, str]) -> None:
    own = dict(zip("abcdef", PARTS * 2, strict=True))
    parts = [moved.get(row, own[house]) for row, house in enumerate(houses)] + list(PARTS)
    houses = [*houses, "x", "y", "z"]
    torn = {house for house, part in zip(houses, parts, strict=True) if part != parts[houses.index(house)]}
    table = a_table(20, house=houses, part=parts)
    if torn:
        with pytest.raises(DatasetError, match=f"the group '[{''.join(torn)}]' of the column house is in two parts or more"):
            dataset_of(table, "price", split="part", group="house")
    else:
        data = dataset_of(table, "price", split="part", group="house")
        assert data.groupby("group")["split"].nunique().max() == 1


WRITTEN: dict[str, Callable[[pd.Series], Any]] = {
    "numbers": lambda steps: steps - 7.5,
    "days": lambda steps: in_days(steps).dt.strftime("%Y-%m-%d"),
    "moments of another zone": lambda steps: in_days(steps).dt.strftime("%Y-%m-%dT%H:%M+02:00"),
    "datetimes": in_days,
    "dates": lambda steps: in_days(steps).dt.date,
    "day first": lambda steps: in_days(steps).dt.strftime("%d.%m.%Y"),
    "day first with a time": lambda steps: in_days(steps).dt.strftime("%d.%m.%y %H:%M"),
    "names of months": lambda steps: in_days(steps).dt.strftime("%d %b %Y"),
    "thousands": lambda steps: (steps * 997).map("{:,}".format),
}


@pytest.mark.parametrize("kind", few(WRITTEN, "numbers", "datetimes", "day first with a time"))
@given(steps=st.lists(st.integers(0, 60), min_size=20, max_size=20).filter(lambda steps: len(set(steps)) > 2))
@settings(max_examples=8)
def test_a_series_is_in_order_however_its_time_is_written(kind: str, steps: list[int]) -> None:
    when = pd.Series(steps)
    data = dataset_of(a_table(20, when=WRITTEN[kind](when)), "price", order="when")
    first, last = (when.groupby(data["split"]).agg(which) for which in ("min", "max"))
    assert last["train"] < first["validation"] <= last["validation"] < first["test"]


@given(
    groups=st.lists(st.integers(0, 8), min_size=12, max_size=ROWS).filter(lambda groups: len(set(groups)) > 2),
    shares=st.sampled_from([(0.6, 0.2, 0.2), (0.4, 0.3, 0.3), (0.9, 0.05, 0.05)]),
    seed=st.integers(0, 2**16),
)
def test_no_group_is_in_two_parts_of_any_seeds_split(groups: list[int], shares: tuple[float, ...], seed: int) -> None:
    """Though every seed's parts have the same sizes: samples of a part are left out or drawn twice, and none is moved."""
    house, sizes = np.array(groups), splits.sizes_of(len(groups), dict(zip(PARTS, shares, strict=True)))
    named = np.repeat(list(sizes), list(sizes.values()))
    data = pd.DataFrame({"split": named, "y": np.arange(len(groups)) / 7, "group": house})
    split = splits.draw_splits("own", data, [seed], resample=True)[seed]
    drawn = {part: getattr(split, part) for part in PARTS}
    assert {part: len(rows) for part, rows in drawn.items()} == sizes
    held = [set(house[rows]) for rows in drawn.values()]
    assert sum(map(len, held)) == len(set.union(*held))
    for part, rows in drawn.items():
        if len(set(rows)) < sizes[part]:  # some are there twice, since all that there are did not suffice
            assert set(rows) == set(np.flatnonzero(np.isin(house, list(set(house[rows])))))


# Trouble


TROUBLE: list[tuple[pd.DataFrame, dict[str, Any], str]] = [
    (a_table(), {"target": "prize"}, r"target: there is no column 'prize'; did you mean price\?"),
    (a_table(), {"drop": ["colr"]}, r"drop: there is no column 'colr'; did you mean colour\?"),
    (a_table(), {"group": "house"}, "group: there is no column 'house'"),
    (a_table(), {"split": "rooms"}, "split: the column rooms holds '0', '1', '2', '3'; write train, validation, test"),
    (a_table(part="train"), {"split": "part"}, "split: the column part never says 'validation', 'test'"),
    (a_table(), {"features": ["size"], "group": "size"}, "features: leaves no feature"),
    (a_table(), {"features": ["size", "price"]}, "features: names 'price', which is the target or left out; take"),
    (a_table(), {"features": ["size", "rooms"], "drop": ["rooms"]}, "features: names 'rooms', which is the target or left out"),
    (a_table(), {"shares": [0.8, 0.2, 0.0]}, "shares: leave a part without samples; write three above 0%"),
    (a_table(price=[None] * 7 + [1.5] * (ROWS - 7)), {}, "target: the column price is empty in rows 1, 2, 3, 4, 5 and 2 "),
    (a_table(house=[None, *"ab" * 29, "a"]), {"group": "house"}, "group: the column house is empty in row 1; complete"),
    (a_table(house="a", when=1), {"group": "house", "order": "when"}, "order: cannot deal out the rows together with `gr"),
    (a_table(part="a", when=1), {"split": "part", "order": "when"}, "order: cannot deal out the rows together with `spl"),
    (a_table(part=[*"abc" * 19, "a", None, "b"]), {"split": "part"}, "split: the column part is empty in row 59; complete"),
    (a_table(when=["31/1/2024", *["2024-02-01"] * 58, "1/2/24"]), {"order": "when"},
     "order: the column when holds '31/1/2024', '1/2/24' in rows 1, 60, neither numbers nor dates; write dates as 2"),
    (a_table(when=["2024-01-31", None] * 30), {"order": "when"}, "order: the column when is empty in rows 2, 4, 6, 8, 10 "),
    (a_table(when=[1.5, None] * 30), {"order": "when"}, "order: the column when is empty in rows 2, 4, 6, 8, 10 and 25"),
    (a_table(when=[1, 2] * 30), {"order": "when"}, "shares: there are only 2 time steps for the three parts; give the"),
    (a_table(house=["a", "b"] * 30, part=np.repeat(PARTS, 20)), {"split": "part", "group": "house"},
     r"group: the group 'a' of the column house is in two parts or more \(train: rows 1, 3, 5, 7, 9 and 5 more; valid"),
    (a_table(size=[1.0, None] + [2.0] * (ROWS - 2)), {}, "missing: the column size is empty in row 2; complete"),
    (a_table(size=[None] * ROWS), {"missing": "impute"}, r"drop: the column size is empty; write `drop: \[size\]`"),
    (a_table(size=[np.inf] + [2.0] * (ROWS - 1)), {}, "path: the column size is infinite in row 1"),
    (a_table(size=["n/a?", *map(str, range(ROWS - 1))]), {}, "missing_values: the column size holds numbers, but 'n/a.' in"),
    (a_table(key=[f"id{i}" for i in range(ROWS)]), {}, r"drop: the column key has 60 .*'id0', .*; write `drop: \[key\]`"),
    (a_table(when=in_days(pd.Series(range(ROWS)))), {}, "dates: the column when holds dates; write `dates: {when: "),
    (a_table(when=in_days(pd.Series(range(ROWS)))), {"target": "when"}, "target: when holds dates; name a column of numbers"),
    (a_table(price=["1,5", *map(str, range(ROWS - 1))]), {}, "read: the column price holds numbers with decimal commas"),
    (a_table(price=["1", "?"] * 30), {"task": "regression"}, "target: the column price is empty or holds '.' in rows 2, 4, "),
    (a_table(price="dear"), {}, r"target: price has one class only \(dear\)"),
    (a_table(price=3.5), {}, "target: price is the same in every row"),
    (a_table(), {"task": "classification"}, "target: price has 60 classes in 60 rows; write `task: regression`"),
    (a_table(), {"target": "colour", "task": "regression"}, "target: colour is no number"),
    (a_table(price=["a"] * (ROWS - 1) + ["b"]), {}, "shares: no stratified .*; leave out row 60, rare classes of price"),
    (a_table(price=[1, 2] * (ROWS // 2 - 1) + [3, 4]), {}, "shares: no .*write `task: regression` if .* rows 59, 60, rare"),
    (a_table(), {"shares": [0.5, 0.2, 0.2]}, "shares: are 3 that add up to 90%; write three"),
    (a_table(2, price=[1.5, 2.5]), {"features": ["size"]}, "shares: 2 samples are too few for three parts"),
    (a_table(house="one"), {"group": "house"}, "shares: there are only 1 groups for the three parts"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["my.csv", "my.parquet"])
@pytest.mark.parametrize(("table", "given", "message"), TROUBLE)
def test_trouble_is_named(written: Written, table: pd.DataFrame, given: dict[str, Any], message: str, name: str) -> None:
    read = read_table(written(table, name))
    with pytest.raises(DatasetError, match=message):
        dataset_of(read, **{"target": "price", **given})


NESTED = {"lists": [["a", "b"], ["c"]] * 30, "mappings": [{"a": 1}] * ROWS}


@pytest.mark.parametrize("kind", NESTED)
@pytest.mark.parametrize(
    ("given", "key", "right"),
    [
        ({}, "drop", r"write `drop: \[odd\]`, or save arrays in an \.npz file"),
        ({"target": "odd"}, "target", "name another column"),
        ({"group": "odd"}, "group", "name another column"),
        ({"order": "odd"}, "order", "name another column"),
    ],
)
def test_cells_of_several_values_are_told(written: Written, kind: str, given: dict[str, Any], key: str, right: str) -> None:
    read = read_table(written(a_table(odd=NESTED[kind]), "my.parquet"))
    message = rf"{key}: the column odd holds lists, mappings or arrays in rows 1, 2, 3, 4, 5 and 55 more; {right}"
    with pytest.raises(DatasetError, match=message):
        dataset_of(read, **{"target": "price", **given})


def test_decimals_are_numbers_and_an_index_is_a_column(written: Written) -> None:
    paid = [Decimal("1.50"), None, *[Decimal(7)] * (ROWS - 2)]
    indexed = a_table(paid=paid).set_index(in_days(pd.Series(range(ROWS))).rename("when"))
    data = dataset_of(read_table(written(indexed, "my.parquet")), "price", order="when", missing="impute")
    assert data.attrs["columns"][-1] == {"name": "paid", "categories": []}
    np.testing.assert_array_equal(data["x3"][:3], [1.5, np.nan, 7])
    assert (data["split"][:36] == "train").all()


def test_missing_values_are_imputed_when_asked() -> None:
    data = dataset_of(a_table(size=[1.0, None] + [2.0] * (ROWS - 2)), "price", missing="impute")
    assert data["x0"].isna().sum() == 1


@pytest.mark.parametrize("unit", ["", "{} kg"])
def test_a_total_below_a_table_is_no_sample(written: Written, unit: str) -> None:
    table = pd.DataFrame({"price": range(1, 41), "rooms": [2, 3] * 20, "area": [31.7, 52.9] * 20, "town": list("ab") * 20})
    total = table[["rooms", "area"]].sum().to_dict() | {"price": 20, "town": "Total"}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True)
    if unit:
        table["area"] = table["area"].map(unit.format)
    with pytest.raises(DatasetError, match=r"the last row adds up those above it \('rooms', 'area'\); take it out"):
        dataset_of(read_table(written(table, "my.csv")), "price", missing="impute")
    table.loc[40, "rooms"] = 3
    assert len(dataset_of(read_table(written(table, "my.csv")), "price")) == 41


@pytest.mark.slow
def test_a_hundred_thousand_rows(written: Written, new_problem: Builder) -> None:
    written(a_table(100_000))
    problem = of_file(new_problem, "{path: my.csv, target: price}", batch_size=30_000)
    samples = problem.data.samples([1])
    assert {part: rows.shape for part, rows in samples.parts.items()} == {
        "train": (1, 60_000), "validation": (1, 20_000), "test": (1, 20_000)
    }  # fmt: skip
    assert samples.x.shape == (100_000, 5)
    inputs = samples.x[samples.parts["train"][0]]
    np.testing.assert_allclose(inputs[:, [0, 4]].std(axis=0), 1, rtol=1e-4)
    np.testing.assert_array_equal(inputs[:, 1:4].sum(axis=1), 1)
    assert train(problem, [run_of(problem, "ConstantLR")]).outcome.finite.all()


DIGITS = "{name: digits, seed: 0}\n    resample: true"
FILE = "path: my.csv, target: price"
TOLD = {
    "no such file": ("{path: ¦no.csv, target: price}", r"path: there is no file inputs/no\.csv .*did you mean my\.csv"),
    "no path": ("{path: ¦[], target: price}", r"path: is no path \(given: \[\]\); write one below inputs/, a pattern"),
    "no paths": ("{path: ¦[my.csv, 3], target: price}", r"path: is no path \(given: \["),
    "one outside": ("{path: ¦[my.csv, ../my.csv], target: price}", r"path: leads out of the folder inputs/"),
    "too long": (f"{{path: ¦{'x' * 256}, target: price}}", r"path: has a name of more than 255 bytes"),
    "outside": ("{path: ¦../my.csv, target: price}", r"path: leads out of the folder inputs/"),
    "no target": ("¦{path: my.csv}", r"target: is missing \(given: nothing\); add `target:`"),
    "a misspelt target": ("{path: my.csv, target: ¦prise}", r"target: there is no column 'prise' .*did you mean price\?"),
    "a misspelt column to drop": (f"{{{FILE}, drop: ¦[roms]}}", r"drop: there is no column 'roms' .*did you mean rooms\?"),
    "empty cells": (f"¦{{{FILE}, features: [gaps]}}", r"missing: the column gaps is empty in row 3 \(given: error\); complete"),
    "slips": (f"{{{FILE}, features: [slips], missing_values: ¦[b]}}", r"missing_values: the column slips holds numbers"),
    "an identifier": (f"{{{FILE}, drop: ¦[gaps, slips]}}", r"drop: the column key has 60 different texts in 60 rows"),
    "no numbers": ("{path: my.csv, target: ¦colour, features: [size], task: regression}", r"target: colour is no number"),
    "an unknown key": (f"{{{FILE}, read: {{¦sepp: ','}}}}", r"read\.sepp: is not known here .* did you mean sep\?"),
    "two wrong keys": (f"{{{FILE}, features: [size], read: {{sep: ¦none}}}}", r"read\.sep: is no delimiter .*"),
    "a torn group": (f"{{{FILE}, features: [size], split: part, group: ¦colour}}", r"group: the group 'red' of .* is in two"),
    "no dates": (f"{{{FILE}, features: [size], order: ¦colour}}", r"order: the column colour holds 'red', 'green', 'blue' in"),
    "shares": (f"{{{FILE}, features: [size], shares: ¦[50%, 20%, 20%]}}", r"shares: are 3 that add up to 90% \(given: \[50%,"),
}  # fmt: skip


def told_by_the_stage(text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What the stage says of a params.yaml, and the place in it that is marked."""
    line, column = next((n, line.index("¦")) for n, line in enumerate(text.splitlines(), 1) if "¦" in line)
    Path("params.yaml").write_text(text.replace("¦", ""), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["pipeline/stages/dataset.py", "digits"])
    with pytest.raises(SystemExit) as end:
        cli.run(main)
    assert end.value.code == 2
    assert not files.dataset_path("digits").exists()
    return capsys.readouterr().err, f"params.yaml:{line}:{column + 1}: problems.digits."


@pytest.mark.parametrize("name", TOLD)
def test_the_stage_tells_the_place(
    repository: Path, written: Written, monkeypatch: pytest.MonkeyPatch, capsys: Any, name: str
) -> None:
    columns = {"gaps": [1, 2, None, *range(57)], "slips": ["a", *range(59)], "key": [f"id{i}" for i in range(ROWS)]}
    written(a_table(part=np.repeat(PARTS, 20)).assign(**columns))
    dataset, message = TOLD[name]
    text = (repository / "params.yaml").read_text(encoding="utf-8").replace(DIGITS, dataset, 1)
    told, place = told_by_the_stage(text, monkeypatch, capsys)
    assert re.fullmatch(re.escape(place) + r"dataset\." + message + r".*\n", told), told


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("order: size", "would draw samples of a series at random"),
        ("split: colour", "would draw samples at random, those of the"),
    ],
)
def test_fixed_parts_are_not_drawn_anew(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, argument: str, message: str
) -> None:
    text = (repository / "params.yaml").read_text(encoding="utf-8")
    told, place = told_by_the_stage(
        text.replace(DIGITS, f"{{{FILE}, {argument}}}\n    resample: ¦true", 1), monkeypatch, capsys
    )
    assert told.startswith(f"{place}resample: {message}")
    assert told.endswith("(given: true); leave `resample` out, or write `resample: false`\n")


@pytest.mark.parametrize("fixed", ["split: part", "order: when", ""])
def test_parts_that_the_table_fixes_are_every_seeds(written: Written, new_problem: Builder, fixed: str) -> None:
    parts = np.resize(["train", "train", "test", "validation"], ROWS)
    written(a_table(part=parts, when=np.arange(ROWS)))
    problem = of_file(new_problem, f"{{path: my.csv, target: price, {fixed}}}")
    tests = [problem.data.split(seed).test for seed in range(2)]
    expected = {"split: part": np.flatnonzero(parts == "test"), "order: when": np.arange(48, ROWS)}
    if fixed:
        np.testing.assert_array_equal(tests, [expected[fixed]] * 2)
    else:
        assert set(tests[0]) != set(tests[1])


@pytest.mark.parametrize(("name", "task"), [("iris", "classification"), ("wine", "classification"),
                                            ("breast_cancer", "classification"), ("diabetes", "regression"),
                                            ("linnerud", "regression")])  # fmt: skip
def test_datasets_bundled_with_scikit_learn(name: str, task: str) -> None:
    data = datasets[name].function(**datasets[name].complete({}))
    assert data["y"].dtype == (np.int64 if task == "classification" else np.float32)
    assert set(data["split"]) == set(PARTS)


# Arrays


def saved(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_images_in_an_npz_file(written: Written) -> None:
    x = np.random.default_rng(0).integers(0, 256, size=(50, 3, 4, 4), dtype=np.uint8)
    data = datasets["file"].function(written(saved(x=x, label=np.arange(50) % 2), "my.npz"), "label")
    assert data.attrs["shape"] == [3, 4, 4]
    np.testing.assert_array_equal(data.filter(like="x").to_numpy(np.float32), x.reshape(50, -1))
    assert data["split"].value_counts().to_dict() == {"train": 30, "validation": 10, "test": 10}
    said = "inputs of shape (3, 4, 4), to predict 2 classes ('0', '1'; '1' is the positive one)"
    said += "; inputs taken as they are, from 0 to 255"
    assert described(data) == f"50 samples (30 train, 10 validation, 10 test), {said}"


def test_token_ids_in_an_npz_file(written: Written, new_problem: Builder) -> None:
    x, group = np.random.default_rng(0).integers(0, 9, size=(60, 5)), np.arange(60) // 6
    data = datasets["file"].function(written(saved(x=x, y=np.arange(60) / 7, who=group), "my.npz"), "y", group="who")
    assert data["x0"].dtype == np.int64
    assert data.groupby("group")["split"].nunique().max() == 1
    assert data["y"].dtype == np.float64


def test_several_targets_in_an_npz_file(written: Written, new_problem: Builder) -> None:
    """The next token at every place; with inputs that are numbers, these stay as they are, which is told."""
    tokens = np.random.default_rng(0).integers(0, 9, size=(60, 6))
    y = np.where(tokens[:, 1:] == 8, -100, tokens[:, 1:])
    for x, said in ((tokens[:, :-1], "(5,)"), (tokens[:, :-1] / 8, "(5,)")):
        data = datasets["file"].function(written(saved(x=x, y=y), "my.npz"), "y")
        assert f"inputs of shape {said}, to predict targets of shape (5,), classes up to 7" in described(data)
        split = splits.draw_splits("p", data, [0], resample=True)
        kept = Dataset.of("p", data, split)
        np.testing.assert_array_equal(kept.y, y)
        np.testing.assert_array_equal(kept.x, x.astype(kept.x.dtype))
        assert (kept.task, kept.classes, kept.is_tokens) == ("classification", 8, x.dtype.kind == "i")
        assert ("inputs taken as they are, from 0 to 1" in described(data)) == (not kept.is_tokens)
    with pytest.raises(DatasetError, match=r"the array y is not finite in rows 2, 3"):
        datasets["file"].function(written(saved(x=tokens, y=np.where(np.eye(60, 6, -1) > 0, np.nan, 1.0)), "my.npz"), "y")


def test_plain_rows_in_an_npz_file_are_a_table(written: Written) -> None:
    x = np.random.default_rng(0).normal(5, 3, size=(50, 2))
    path = written(saved(inputs=x, y=np.arange(50) % 3, when=np.arange(50)[::-1]), "my.npz")
    data = datasets["file"].function(path, "y", order="when")
    assert [column["name"] for column in data.attrs["columns"]] == ["inputs[0]", "inputs[1]"]
    assert data["split"].tolist()[-30:] == ["train"] * 30


@pytest.mark.parametrize("targets", [1, 2])
def test_numbers_of_shape_samples_and_targets_leave_plain_rows_a_table(written: Written, targets: int) -> None:
    """A target of shape (samples, 1), as losses of torch's take it, is the plain one."""
    draw = np.random.default_rng(0)
    x, y, z = draw.normal(500, 30, size=(50, 2)), draw.normal(7, 2, size=(50, targets)), np.arange(50) % 2 / 7
    data = datasets["file"].function(written(saved(x=x, y=y, z=z), "my.npz"), ["y", "z"], features=["x"])
    kept = Dataset.of("p", data, splits.draw_splits("p", data, [0], resample=False))
    assert [column["name"] for column in data.attrs["columns"]] == ["x[0]", "x[1]"]
    assert data.attrs["targets"] == [*(["y"] if targets == 1 else ["y[0]", "y[1]"]), "z"]
    np.testing.assert_array_equal(kept.y, np.column_stack([y, z]))
    samples = kept.samples([0])
    train = samples.x[samples.parts["train"][0]].astype(np.float64)
    np.testing.assert_allclose([train.mean(axis=0), train.std(axis=0)], [[0, 0], [1, 1]], atol=1e-6)


def test_classes_of_shape_samples_and_one_are_plain_ones(written: Written) -> None:
    data = datasets["file"].function(written(saved(x=np.ones((60, 5, 2)), y=np.resize(["a", "b"], (60, 1))), "my.npz"), "y")
    assert (data.attrs["classes"], data["y"].tolist()[:2]) == (["a", "b"], [0, 1])


X, Y = np.ones((50, 2, 2)), np.arange(50) % 2
ARRAYS: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "no archive": (b"hello", {}, r"path: inputs/my\.npz cannot be read .*; write it with numpy\.savez"),
    "objects": (saved(x=X, y=np.array([{}] * 50)), {}, r"path: inputs/my\.npz cannot be read \(Object arrays"),
    "nothing": (saved(), {}, r"path: inputs/my\.npz holds arrays of nothing samples"),
    "lengths": (saved(x=X, y=Y[:9]), {}, r"path: inputs/my\.npz holds arrays of x: 50, y: 9 samples; give all arrays one"),
    "no target": (saved(x=X, y=Y), {"target": "z"}, r"target: there is no array 'z'; "),
    "a wide target of texts": (saved(x=X, y=np.full((50, 2), "a")), {}, r"target: the array y of shape \(50, 2\) holds <U1"),
    "a wide group": (saved(x=X, y=Y, g=X), {"group": "g"}, r"target: the array g has the shape \(50, 2, 2\); give it one"),
    "two inputs": (saved(x=X, other=X, y=Y), {}, r"features: the inputs may be any of 'x', 'other'; name the array"),
    "no numbers": (saved(x=np.full((50, 2, 2), "a"), y=Y), {}, r"features: the array x holds <U1, no numbers"),
    "not finite": (saved(x=np.where(np.arange(50)[:, None, None] == 6, np.nan, X), y=Y), {},
                   r"missing: the array x is not finite in row 7; complete"),
    "an empty cell": (saved(x=np.where(np.arange(50)[:, None] == 6, np.nan, 1.0), y=Y), {},
                      r"missing: the column x\[0\] is empty in row 7"),
    "a table's argument": (saved(x=X, y=Y), {"drop": ["a"]}, r"drop: is for tables, and this is a file of arrays"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "given", "message"), ARRAYS.values(), ids=ARRAYS)
def test_trouble_with_arrays_is_named(written: Written, content: bytes, given: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        datasets["file"].function(written(content, "my.npz"), **{"target": "y", **given})
