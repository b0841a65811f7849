"""A first answer for one table or problem, in a folder of its own."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from pipeline.commands import look, quick, tables
from pipeline.comparing.compare import SCHEDULERS
from pipeline.config.errors import PipelineError
from pipeline.stages import dataset
from tests.commands.published import PUBLISHED


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As little as says something."""
    monkeypatch.setattr(quick, "SEEDS", 2)
    monkeypatch.setattr(quick, "TRIALS", 2)
    monkeypatch.setattr(look, "SAMPLES", 200)
    monkeypatch.setattr(quick, "SCHEDULERS", {label: SCHEDULERS[label] for label in ("ConstantLR", "StepLR")})


@pytest.fixture
def table(repository: Path) -> Path:
    """Prices, far from zero, with a gap and a column of words."""
    draw = np.random.default_rng(0)
    size = draw.uniform(20, 200, 120)
    kind = draw.choice(["flat", "house"], 120)
    price = 1000 * size + 5e4 * (kind == "house") + draw.normal(0, 5e3, 120)
    frame = pd.DataFrame({"size": size, "kind": kind, "price": price.round()})
    path = repository / "my houses (2024).csv"
    frame.to_csv(path, index=False)
    return path


@pytest.mark.slow
def test_a_table_has_an_answer_and_the_params_it_came_from(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (table.parent / "params.yaml").read_bytes()
    quick.main([str(table), "--target", "price"])
    said, told = capsys.readouterr()
    assert "quick: works in quick/my_houses_2024; its params.yaml is the one to change\n" in told
    folder = table.parent / "quick/my_houses_2024"
    assert said.startswith("in quick/my_houses_2024, where the commands and files below are:\nmy_houses_2024\n  use ")
    assert "\n  cost " in said
    assert said.endswith("to go on by make repro, copy params.yaml and inputs/ from quick/my_houses_2024 here\n")
    assert (folder / "reports/report.html").is_file()
    assert (folder / "reports/best/my_houses_2024.py").is_file()
    asked = YAML(typ="safe").load(folder / "params.yaml")
    assert asked["problems"]["my_houses_2024"]["dataset"] == {"name": "file", "path": table.name, "target": "price"}
    assert asked["problems"]["my_houses_2024"]["epochs"] == 3
    assert (table.parent / "params.yaml").read_bytes() == before
    assert not list(table.parent.rglob("mlflow.db"))


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_tables_as_they_are_published_have_an_answer(
    name: str, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, write, entry = PUBLISHED[name]
    (tmp_path / file).write_bytes(write(np.random.default_rng(0)))
    quick.main([str(tmp_path / file), "--folder", "tried"])
    problem = tables.name_for(file)
    said = capsys.readouterr().out
    assert f" below are:\n{problem}\n  use " in said
    assert "\n  cost " in said
    asked = YAML(typ="safe").load(Path("tried/params.yaml"))
    assert asked["problems"][problem]["dataset"] == {"name": "file", "path": file, **entry}
    assert Path("tried/reports/report.html").is_file()


@pytest.mark.parametrize(("words", "order"), [([], "day"), (["--unordered"], None)])
def test_a_series_is_taken_in_order_unless_it_is_asked_not_to(
    words: list[str], order: str | None, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    days = pd.date_range("2024-01-01", periods=120).strftime("%Y-%m-%d")
    pd.read_csv(table).assign(day=days).to_csv(table, index=False)

    def enough(name: str) -> None:
        raise PipelineError(name)

    monkeypatch.setattr(dataset, "main", enough)
    with pytest.raises(PipelineError, match="my_houses_2024"):
        quick.main([str(table), "--target", "price", *words])
    asked = YAML(typ="safe").load(Path("quick/my_houses_2024/params.yaml"))
    assert asked["problems"]["my_houses_2024"]["dataset"].get("order") == order
    said = capsys.readouterr().err
    assert ("quick: took order: day" in said) == ("--unordered) to draw the parts at random" in said) == bool(order)
    assert ("quick: yours to decide: order: day  # if the rows are a series" in said) == (not order)


def test_a_problem_of_params_is_taken_as_it_is(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (repository / "params.yaml").read_text("utf-8").replace("epochs: 40", "epochs: 2")
    (repository / "params.yaml").write_text(text, encoding="utf-8")
    quick.main(["--problem", "diabetes", "--folder", "tried"])
    asked = YAML(typ="safe").load(repository / "tried/params.yaml")
    assert list(asked["problems"]) == ["diabetes"]
    assert asked["problems"]["diabetes"]["epochs"] == 2
    assert " below are:\ndiabetes\n  use " in capsys.readouterr().out
    assert not (repository / "results").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], r"quick needs a table, perhaps with --target COLUMN, or --problem NAME"),
        (["gone.csv", "--target", "price"], r"gone\.csv is not there"),
        (
            ["my houses (2024).csv", "--target", "prize"],
            r"\.csv: target: there is no column 'prize'; did you mean price",
        ),
        (["--problem", "digit"], r"there is no problem 'digit' in params\.yaml; did you mean digits"),
    ],
)
def test_what_is_missing_is_told(words: list[str], said: str, table: Path) -> None:
    with pytest.raises(PipelineError, match=said):
        quick.main(words)
    assert Path.cwd() == table.parent
