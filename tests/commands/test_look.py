"""What is told of a table, and that what is printed to be pasted loads."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.catalogue import CATALOGUE
from pipeline.commands import look
from pipeline.config.errors import PipelineError
from pipeline.config.params import load_params
from pipeline.stages import dataset
from tests.commands.published import PUBLISHED

ROWS = 200


@pytest.fixture
def table(repository: Path) -> Path:
    """Something of each: an identifier, a name, dates, codes, gaps, nothing, the target twice, and many columns of texts."""
    draw = np.random.default_rng(0)
    columns = {
        "id": np.arange(ROWS) + 1,
        "name": [f"n{i}" for i in range(ROWS)],
        "when": pd.date_range("2020-01-01", periods=ROWS).strftime("%d/%m/%Y"),
        "size": draw.normal(50, 9, ROWS).round(2),
        "kind": draw.choice(list("abc"), ROWS),
        "code": draw.integers(1, 9, ROWS),
        "empty": np.nan,
        **{f"a note with a long name, {number}": [f"{number} {row}" for row in range(ROWS)] for number in range(5)},
        "price": draw.normal(50, 9, ROWS).round(2),
    }
    frame = pd.DataFrame(columns)
    frame["in pounds"] = frame["price"] * 2
    frame.loc[3, "size"] = frame.loc[5, "price"] = np.nan
    (repository / "inputs").mkdir(exist_ok=True)
    path = repository / "inputs" / "my houses.csv"
    frame.to_csv(path, index=False, sep=";", decimal=",")
    return path


def test_a_look_tells_all_columns_and_what_to_paste(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    look.main([str(table)])
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= look.WIDTH
    seen, pasted = said.split("Paste into params.yaml, in place of the problems there:\n\n")
    for name, told in {
        "id": "left out          0        200  has another whole number in every row",
        "name": "left out          0        200  has 199 different texts",
        "when": "date              0        200  year, month, weekday of 01/01/2020",
        "size": "number            1 ",
        "kind": "category          0          3  ",
        "empty": "left out        200          0  is empty",
        "price": "the target        1 ",
        "in pounds": "left out          0        19",
    }.items():
        assert f"\n{name.ljust(20)}  {told}" in seen
    assert "target: price, by its name; `--target` names another: in pounds (a number)," in seen
    assert "follows the target in every row" in seen
    assert "\nname has 199 different texts in 199 rows, as an identifier has ('n0', 'n1', " in seen  # more than the row holds
    assert "# categorical: [code]  # where their numbers are codes" in pasted
    assert "      order: when\n" in pasted
    assert "# the rows are a series, 1 day apart by when: the earliest train, the latest test; take" in pasted

    params = YAML(typ="safe").load(Path("params.yaml"))
    params["problems"] = YAML(typ="safe").load(pasted)["problems"]
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        YAML().dump(params, file)
    assert load_params(CATALOGUE).problem("my_houses").dataset.args["unlabelled"] == "drop"
    dataset.main("my_houses")
    assert "199 samples" in capsys.readouterr().err


@pytest.mark.parametrize("name", PUBLISHED)
def test_tables_as_they_are_published(name: str, tmp_path: Path, repository: Path) -> None:
    file, write, entry = PUBLISHED[name]
    (tmp_path / file).write_bytes(write(np.random.default_rng(0)))
    proposal = look.looked_at([tmp_path / file], None)
    assert proposal.entry == {"path": file, **entry}
    hints = " ".join(look.hints(proposal))
    assert ("positive: ja" in hints) == (name == "customers")
    assert ("{name: tabular" in hints) == (name in ("clicks", "cars"))
    assert ("# if the rows are a series: the earliest train" in hints) == ("dates" in entry)


@pytest.mark.slow
def test_a_wide_table_takes_a_time_that_grows_with_its_columns(repository: Path) -> None:
    """Of genes there are thousands: pandas would copy what is said of all columns with each that is taken."""
    columns = {f"G{n}": np.random.default_rng(n).normal(size=60) for n in range(600)}
    (repository / "inputs").mkdir(exist_ok=True)
    pd.DataFrame(columns | {"type": np.resize(["ALL", "AML"], 60)}).to_csv("inputs/genes.csv", index=False)
    proposal = look.looked_at([Path("inputs/genes.csv")], None)
    begun = time.process_time()
    assert len([*look.seen(proposal, "genes.csv"), *look.hints(proposal)]) > len(columns)
    assert time.process_time() - begun < 15  # about 2 s; 100 s when it grew with the square


def test_a_number_that_may_stand_for_missing_is_hinted_at(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As -200 does in the air quality of UCI; a rare outlier, a zero and a code are none."""
    draw = np.random.default_rng(0)
    level, gain = draw.normal(5, 1, ROWS).round(2), draw.integers(3_000, 4_000, ROWS)
    level[::20], gain[::2] = -200, 0
    rare = np.where(np.arange(ROWS) == 3, 9_999, draw.normal(size=ROWS).round(2))
    table = pd.DataFrame(
        {"CO(GT)": level, "gain": gain, "rare": rare, "code": np.resize([1, 2, 9], ROWS), "y": draw.normal(size=ROWS)}
    )
    (repository / "inputs").mkdir(exist_ok=True)
    table.to_csv(repository / "inputs" / "air.csv", index=False)
    look.main(["inputs/air.csv"])
    assert "# missing_values: [-200]  # where it stands for missing, as in CO(GT)\n" in capsys.readouterr().out


def test_nines_among_few_answers_and_marks_in_the_target_are_hinted_at(repository: Path) -> None:
    """As surveys have them, and UCI's air quality where its CO is to be predicted; a second target, too."""
    draw = np.random.default_rng(0)
    answers = np.resize([1, 2, 3, 4, 5, 99], ROWS)
    target = np.where(np.arange(ROWS) % 20 == 0, -200, draw.normal(5, 1, ROWS).round(2))
    table = pd.DataFrame({"answer": answers, "y1": draw.normal(size=ROWS), "y2": target})
    (repository / "inputs").mkdir(exist_ok=True)
    table.to_csv(repository / "inputs" / "air.csv", index=False)
    hints = list(look.hints(look.looked_at([Path("inputs/air.csv")], None)))
    assert "missing_values: [-200, 99]  # where it stands for missing, as in answer, y2" in hints
    assert "target: [y1, y2]  # if all are to be predicted, and none learnt from" in hints


def test_what_a_column_may_say_of_a_row_is_asked(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose it is, how much it counts, its part; and whether a near copy of the target is known before it."""
    draw = np.random.default_rng(0)
    y = draw.normal(size=300)
    table = {
        "patientId": np.repeat(np.arange(100), 3),
        "fnlwgt": draw.gamma(5, 9, 300),
        "set": np.resize(["train", "test"], 300),
    }
    (repository / "inputs").mkdir(exist_ok=True)
    pd.DataFrame({**table, "forecast": y + 0.02 * draw.normal(size=300), "y": y}).to_csv("inputs/visits.csv", index=False)
    look.main(["inputs/visits.csv"])
    said = " ".join(capsys.readouterr().out.replace("#", "").split())
    assert "group: patientId if rows of one patientId belong together" in said
    assert "weight: fnlwgt if it says how much a row counts" in said
    assert "split: set if it says which part a row is in" in said
    assert "drop: [forecast] where forecast is known no earlier than the target: it explains" in said


def test_whole_numbers_that_are_classes_may_be_amounts(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "inputs").mkdir(exist_ok=True)
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=100), "quality": np.resize([5, 6, 7], 100)})
    frame.to_csv("inputs/wine.csv", index=False, sep=";")
    look.main(["inputs/wine.csv"])
    assert "# task: regression  # where quality is an amount: 5 < 6 < 7" in capsys.readouterr().out


def test_a_file_from_elsewhere_is_to_be_copied(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = table.rename(tmp_path / "other.csv")
    look.main([str(other), "--target", "kind"])
    said = capsys.readouterr().out
    assert "target: kind, as asked" in said
    assert "Copy the file to inputs/, and paste" in said
    assert "      path: other.csv\n      target: kind\n" in said


def test_several_files_are_looked_at_as_one(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = table.read_text("utf-8").splitlines(keepends=True)
    for name, rows in {"north.csv": lines[1:90], "south.csv": lines[90:]}.items():
        (tmp_path / name).write_text("".join([lines[0], *rows]), encoding="utf-8")
    look.main([str(tmp_path / "*th.csv")])
    said = capsys.readouterr().out
    assert said.startswith("north.csv, south.csv: 200 rows, 14 columns\n")
    assert "rows of 2 files: north.csv 1 to 89, south.csv 90 to 200" in " ".join(said.split())
    assert "Copy the files to inputs/" in said
    assert "  north:\n    dataset:\n      path: [north.csv, south.csv]\n" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gone.csv"], "gone.csv is not there"),
        (
            ["inputs/my houses.csv", "--target", "prize"],
            r"my houses.csv: target: there is no column 'prize'; did you mean price",
        ),
        (["inputs/my.npz"], "holds arrays, and look is for tables"),
        (["uneven.csv"], "^uneven.csv: path: uneven.csv has 4 cells in row 2"),
    ],
)
def test_what_cannot_be_looked_at_is_told(table: Path, words: list[str], said: str) -> None:
    (table.parent / "my.npz").write_bytes(b"")
    (table.parents[1] / "uneven.csv").write_text("a,b\n1,2\n1,2,3,4\n", "utf-8")
    with pytest.raises(PipelineError, match=said):
        look.main(words)


def test_uneven_classes_ask_for_another_metric(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repository / "inputs").mkdir(exist_ok=True)
    frame = pd.DataFrame({"a": np.random.default_rng(0).normal(size=100), "fraud": np.repeat([0, 1], [90, 10])})
    frame.to_csv("inputs/cards.csv", index=False)
    look.main(["inputs/cards.csv"])
    said = capsys.readouterr().out
    assert "0 90%, 1 10%" in said
    assert "# 90% are of one class; beside `dataset:` write `metric: {name: BalancedAccuracy}`" in said
