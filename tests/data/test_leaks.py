"""What gives a target away is found before anything is trained, and samples that are there twice are in one part."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.config.errors import ParamsError
from pipeline.config.params import load_params
from pipeline.data.datasets import frame, register
from pipeline.data.leaks import leaks, same_samples
from pipeline.data.tables import dataset_of
from pipeline.problems.problem import Problem
from pipeline.stages import dataset
from tests.problems.helpers import from_files

ROWS = 60
DRAW = np.random.default_rng(0)
NOISE, OTHER = DRAW.normal(size=(2, ROWS))
MORE = np.random.default_rng(1).normal(size=ROWS)
KIND = np.resize(["a", "b", "c"], ROWS)
LABEL = np.repeat([0, 1, 2], ROWS // 3)


def found(target: Any, column: Any, name: str = "c", **how: Any) -> list[tuple[str, bool]]:
    """What is said of that column beside a harmless one."""
    data = dataset_of(pd.DataFrame({name: column, "other": OTHER, "y": target}), "y", missing="impute")
    return [(leak.wrong, leak.severity == "error") for leak in leaks(data, **how)]


@pytest.mark.parametrize(
    ("target", "column", "wrong", "is_error"),
    [
        (LABEL, np.arange(ROWS), r"counts the rows \(0, 1, 2, …\)", True),
        (LABEL, 1 + np.arange(ROWS), r"counts the rows \(1, 2, 3, …\)", True),
        (NOISE, 500.0 - 7 * np.arange(ROWS), r"counts the rows \(500, 493, 486, …\)", True),
        (NOISE, DRAW.permutation(10**6)[:ROWS], "has another whole number in every row", False),
        (LABEL, LABEL * 3.5, "has a value of its own for each value of the target", True),
        (LABEL, np.array(["x", "y", "z"])[LABEL], "has a value of its own for each value of the target", True),
        (LABEL, LABEL + DRAW.random(ROWS) / 2, "tells the classes apart without a mistake", False),
        (NOISE, 1.7e9 - 3 * NOISE, "follows the target in every row", False),
        (NOISE, (1e3 * NOISE).round(5), "follows the target in every row", False),
        (NOISE, np.exp(NOISE), "follows the target in every row", False),
        (NOISE, np.where(np.arange(ROWS) == 7, np.nan, 2 * NOISE), "follows the target in every row", False),
        (
            LABEL,
            np.where(np.arange(ROWS) == 7, np.nan, LABEL * 3.5),
            "has a value of its own for each value of the target",
            True,
        ),
    ],
)
def test_what_gives_the_target_away_is_found(target: Any, column: Any, wrong: str, is_error: bool) -> None:
    ((told, is_serious),) = found(target, column)
    assert re.match(wrong, told)
    assert is_serious is is_error
    assert not found(target, column, trusted=["c"])


@pytest.mark.parametrize(
    ("target", "how"),
    [
        (NOISE + OTHER, "it is their sum"),
        (NOISE - OTHER, "it is their difference"),
        (OTHER - NOISE, "it is their difference, the other way round"),
        (NOISE * OTHER, "it is their product"),
    ],
)
def test_two_columns_that_give_the_target_together_are_told(target: Any, how: str) -> None:
    """As casual and registered riders are all riders."""
    assert found(target, NOISE) == [(f"gives the target with {two}: {how}", False) for two in ("other", "c")]
    assert not found(target, NOISE, trusted=["c"])
    assert not found(np.where(np.arange(ROWS) == 50, target + 1, target), NOISE)


def test_a_noisy_copy_of_the_target_is_near_it() -> None:
    """Told as what may be meant: with noise of a fiftieth of its deviation 0.04% of it is left unexplained."""
    ((told, is_serious),) = found(NOISE, 3 * NOISE + 0.06 * MORE)
    assert re.match(r"explains 99\.\d% of the target by a straight line, as a noisy copy does", told) or "100.0%" in told
    assert not is_serious
    assert not found(NOISE, NOISE + 0.3 * MORE)


def test_a_part_of_a_date_without_a_name_is_no_row_number() -> None:
    days = pd.date_range("2024-01-01", periods=ROWS).astype(str)
    data = dataset_of(pd.DataFrame({"Unnamed: 0": days, "y": NOISE}), "y", dates={"Unnamed: 0": ["month", "weekday"]})
    assert not list(leaks(data))


def test_a_column_without_a_name_that_counts_all_rows_is_left_out_already() -> None:
    assert not found(NOISE, np.arange(ROWS), "Unnamed: 0")


@pytest.mark.parametrize("column", [np.arange(ROWS)[::-1], np.arange(ROWS) // 2 * 2, np.tile(np.arange(ROWS // 2), 2)])
def test_a_column_without_a_name_counts_rows_whatever_is_left_of_them(column: Any) -> None:
    ((told, is_serious),) = found(NOISE, column, "Unnamed: 0")
    assert is_serious
    assert told.startswith("has no name")


@pytest.mark.parametrize(
    ("target", "column"),
    [
        (LABEL, OTHER**2),
        (LABEL, np.linspace(0, 1, ROWS)[::-1] % 0.7),
        (LABEL, KIND),
        (LABEL, np.arange(ROWS) % 7),
        (LABEL, np.full(ROWS, 4)),
        (NOISE, NOISE + MORE),
        (NOISE, np.linspace(0, 1, ROWS)),
        (NOISE, np.where(np.arange(ROWS) == 3, -NOISE, NOISE) + OTHER),
    ],
)
def test_what_gives_nothing_away_is_let_pass(target: Any, column: Any) -> None:
    assert not found(target, column)


def test_a_series_in_order_may_count_its_steps() -> None:
    assert not found(NOISE, np.arange(ROWS), is_in_order=True)


@given(copies=st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_equal_inputs_have_one_number(copies: list[int]) -> None:
    data = frame(
        np.array(copies, dtype=float)[:, None] * [1.0, -0.0], np.zeros(len(copies), int), np.repeat("train", len(copies))
    )
    number = same_samples(data)
    if len(set(copies)) == len(copies):
        assert number is None
    else:
        assert number is not None
        equal = np.equal.outer(copies, copies)
        np.testing.assert_array_equal(np.equal.outer(number, number), equal)


# Through the stage


PARAMS = """
seeds: 3
problems:
  own:
    dataset: {{{dataset}}}
    model: {{name: linear}}
    optimizer: {{name: SGD, lr: 0.1}}
    epochs: 1
    batch_size: 8
schedulers: {{ConstantLR: {{args: {{factor: 1.0}}}}}}
report: {{baseline: ConstantLR}}
"""
Run = Callable[..., Problem]


@pytest.fixture
def run(repository: Path) -> Run:
    """Writes table and params.yaml, runs the stage, and gives the problem as training has it."""

    def stage(table: pd.DataFrame | None, more: str = "", start: str = "path: my.csv, target: y") -> Problem:
        Path("inputs").mkdir(exist_ok=True)
        if table is not None:
            table.to_csv("inputs/my.csv", index=False)
        text = PARAMS.format(dataset=f"{start}{', ' if more else ''}{more}")
        Path("params.yaml").write_text(text, encoding="utf-8")
        dataset.main("own")
        return from_files(load_params(CATALOGUE), "own")

    return stage


def test_every_column_is_told_at_once_and_the_remedy_keeps_what_is_written(run: Run) -> None:
    table = pd.DataFrame({"": range(0, 2 * ROWS, 2), "no": range(3, 3 + ROWS), "n": NOISE, "o": OTHER, "y": KIND})
    with pytest.raises(ParamsError) as told:
        run(table, "drop: [o]")
    first, second = str(told.value).splitlines()
    assert "problems.own.dataset.drop: the column Unnamed: 0 has no name" in first
    assert "problems.own.dataset.drop: the column no counts the rows" in second
    for remedy in re.findall(r"`(\w+: \[.*?\])`", first):
        key, names = next(iter(YAML(typ="safe").load(remedy).items()))
        more = "drop: [o], " if key == "trusted" else ""
        assert names == (["o"] if key == "drop" else []) + ["Unnamed: 0", "no"]
        run(table, f"{more}{remedy}")


def test_a_part_of_a_date_is_left_out_of_the_dates(run: Run) -> None:
    dates = [f"{2010 + 'abc'.index(kind)}-{1 + row % 9:02}-{1 + row % 28:02}" for row, kind in enumerate(KIND)]
    table = pd.DataFrame({"d": dates, "n": OTHER, "y": KIND})
    wrong = r"column d \(year\) has a value of its own.*write `dates` without 'd \(year\)', or `trusted: \[\"d \(year\)\"\]`"
    with pytest.raises(ParamsError, match=wrong):
        run(table, "dates: {d: [year, month]}")
    run(table, "dates: {d: [month]}")
    run(table, 'dates: {d: [year, month]}, trusted: ["d (year)"]')


def test_where_a_number_is_missing_goes_with_the_number(run: Run) -> None:
    table = pd.DataFrame({"gap": np.where(KIND == "a", NOISE, np.nan), "n": OTHER, "y": KIND == "a"})
    with pytest.raises(ParamsError, match=r"column gap \(missing\) has a value of its own.*write `drop: \[gap\]`, or `trusted"):
        run(table, "missing: indicate")
    run(table, "drop: [gap]")
    run(table, 'missing: indicate, trusted: ["gap (missing)"]')


def test_what_is_trusted_must_be_a_feature(run: Run) -> None:
    with pytest.raises(ParamsError, match=r"dataset\.trusted: there is no feature 'np'.*did you mean n\?"):
        run(pd.DataFrame({"n": NOISE, "o": OTHER, "y": KIND}), "trusted: [np]")


def test_what_may_be_meant_is_a_warning(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run(pd.DataFrame({"n": NOISE, "o": OTHER, "y": 5 + NOISE}))
    said = "dataset@own: warning: the column n follows the target in every row, up or down, as the target in another unit does"
    assert f"{said}; write `drop: [n]`, or `trusted: [n]` if it is known before the target is" in capsys.readouterr().err


TRIPLES = pd.DataFrame({"a": np.repeat(NOISE, 3), "b": np.repeat(OTHER, 3), "y": np.resize(["u", "v"], 3 * ROWS)})


def torn(problem: Problem, seed: int) -> int:
    """Inputs that are in two parts of the seed or more."""
    split = problem.data.split(seed)
    held = [{row.tobytes() for row in problem.data.x[rows]} for rows in (split.train, split.validation, split.test)]
    return sum(map(len, held)) - len(set.union(*held))


def test_equal_samples_are_in_one_part_of_every_split(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    problem = run(TRIPLES)
    assert "dataset@own: 180 of 180 samples have the inputs of another one (60 are different)" in capsys.readouterr().err
    assert [torn(problem, seed) for seed in range(3)] == [0, 0, 0]
    assert len({problem.data.split(seed).test.tobytes() for seed in range(3)}) == 3
    data = pd.read_parquet("data/own.parquet")
    assert data.groupby(["x0", "x1"])["split"].nunique().max() == 1
    assert data["split"].value_counts().to_dict() == {"train": 108, "validation": 36, "test": 36}
    assert torn(run(TRIPLES, "duplicates: keep"), 0) > 0


def test_equal_samples_in_given_parts_are_told(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    part = np.resize(["train", "train", "validation", "train", "train", "test"], 3 * ROWS)
    run(TRIPLES.assign(part=part), "split: part")
    said = "dataset@own: warning: samples with the inputs of a training sample: 30 of the validation part, 30 of the test part"
    assert said in capsys.readouterr().err


def test_too_few_different_samples_are_told_with_the_way_out(run: Run) -> None:
    table = pd.DataFrame({"a": np.arange(40) % 2, "y": np.resize(["u", "v", "v"], 40)})
    with pytest.raises(ParamsError, match=r"duplicates: 40 of 40 .* only 2 different ones .*write `duplicates: keep`"):
        run(table)
    run(table, "duplicates: keep")


@pytest.mark.usefixtures("own_registries")
def test_a_dataset_of_ones_own_is_told_of_and_never_refused(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    @register("mine")
    def mine() -> pd.DataFrame:
        return dataset_of(pd.DataFrame({"id": np.arange(ROWS) // 2 * 2, "n": range(ROWS), "y": KIND}), "y")

    @register("few")
    def few() -> pd.DataFrame:
        return frame(np.arange(40.0)[:, None] % 2, np.arange(40) % 3, np.resize(["train", "train", "validation", "test"], 40))

    run(None, start="name: mine")
    assert "warning: the column n counts the rows (0, 1, 2, …); leave it out if it is known no" in capsys.readouterr().err
    run(None, start="name: few")
    assert "warning: 40 of 40 samples have the inputs of another one, and there are only 2" in capsys.readouterr().err


@given(
    copies=st.lists(st.integers(0, 25), min_size=30, max_size=90).filter(lambda copies: len(set(copies)) > 12),
    classes=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=20)
def test_no_seed_tears_equal_samples_and_all_seeds_have_the_same_sizes(copies: list[int], classes: int, seed: int) -> None:
    from pipeline.data import splits

    number = np.array(copies)
    y = number * 7 % 5 % classes if classes > 1 else number / 3
    sizes = splits.sizes_of(len(number), {"validation": 0.2, "test": 0.2})
    counts = np.bincount(y) if classes > 1 else np.array([len(y)])
    if classes > 1 and (counts.min() < 2 or min(sizes.values()) < classes):
        return
    parts = splits.together(number, y, sizes, seed)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(number)))
    held = [set(number[rows]) for rows in parts.values()]
    assert all(held)
    assert sum(map(len, held)) == len(set.union(*held))
