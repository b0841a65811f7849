"""A params.yaml for one's own table, and whether it is right."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.catalogue import CATALOGUE
from pipeline.cli import UsageError
from pipeline.commands import check, init
from pipeline.config.errors import ParamsError, PipelineError
from pipeline.config.params import load_params
from pipeline.schedulers.replay import Budget
from pipeline.search.space import study_space


@pytest.fixture
def table(here: Path) -> Path:
    draw = np.random.default_rng(0)
    size = draw.normal(size=90)
    rows = {"size": size, "rooms": draw.integers(1, 9, 90), "asking: price": 2 * size + draw.normal(size=90)}
    pd.DataFrame(rows).to_csv("houses 2024.csv", index=False)
    return Path("houses 2024.csv")


def test_what_it_writes_is_right_and_says_what_to_do_next(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init.main([str(table), "--target", "asking: price"])
    written, *following = capsys.readouterr().out.splitlines()
    assert written == "params.yaml is written: 1 problem, 5 schedulers, 5 seeds, 16 trials, 8 stages"
    assert "`python -m pipeline plan` says what it costs, `make repro` does it" in following[-1]
    problem = load_params(CATALOGUE).problem("houses_2024")
    assert problem.dataset.args["path"] == table.name
    assert (Path("inputs") / table.name).read_bytes() == table.read_bytes()
    assert problem.epochs == 60  # so few samples
    text = Path("params.yaml").read_text(encoding="utf-8")
    keys = [line for line in text.splitlines() if line and not line.startswith("  ") and not line.startswith("#")]
    assert all("#" in line for line in keys if not line.startswith("problems"))
    check.main([])
    right, kept = capsys.readouterr().out.splitlines()
    assert right == "params.yaml is right: 1 problem, 5 schedulers, 5 seeds, 16 trials, 8 stages"
    assert kept.startswith("not searched, but as written: epochs, batch_size, model, loss, the optimizer's other arguments, ")
    assert kept.endswith(", some arguments of 3 schedulers (`python -m pipeline check --all` names them)")
    check.main(["--all"])
    _, kept = capsys.readouterr().out.splitlines()
    assert kept.startswith("not searched, but as written: epochs, batch_size, model, loss, the optimizer's betas, ")
    assert kept.endswith("CosineWarmup: warmup; OneCycleLR: max_lr, three_phase")


def test_nothing_is_overwritten_unless_it_is_asked_for(table: Path) -> None:
    Path("params.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"params\.yaml is there already, and stays as it is; `--replace` writes a new one"):
        init.main([str(table), "--target", "size"])
    assert Path("params.yaml").read_text(encoding="utf-8") == "mine"
    assert not Path("inputs").exists()
    init.main([str(table), "--target", "size", "--replace"])
    assert Path("params.yaml.old").read_text(encoding="utf-8") == "mine"
    Path("inputs", table.name).write_text("size\n1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is there already, with other contents"):
        init.main([str(table), "--target", "size", "--replace"])


def test_a_mistake_is_told_with_its_place(table: Path) -> None:
    with pytest.raises(PipelineError, match=r"houses 2024\.csv: .*price"):
        init.main([str(table), "--target", "price"])
    Path("params.yaml").write_text("seeds: 1\n", encoding="utf-8")
    with pytest.raises(ParamsError, match=r"params\.yaml:1:8: seeds"):
        check.main([])


def test_a_table_that_is_not_there(here: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.csv is not there; name a CSV or Parquet file, or a training script"):
        init.main(["none.csv", "--target", "x"])


@pytest.mark.parametrize("words", [["north.csv", "inputs/south.csv"], ["*th.csv", "inputs/*.csv"]])
def test_several_tables_or_a_pattern_are_one(table: Path, words: list[str]) -> None:
    whole = pd.read_csv(table)
    Path("inputs").mkdir()
    whole[:40].to_csv("north.csv", index=False)
    whole[40:].to_csv("inputs/south.csv", index=False)
    init.main([*words, "--target", "size"])
    assert load_params(CATALOGUE).problem("north").dataset.args["path"] == ["north.csv", "south.csv"]
    assert Path("inputs/north.csv").read_bytes() == Path("north.csv").read_bytes()


def test_files_that_make_no_table_together_are_told(table: Path) -> None:
    Path("train.py").write_text("print()\n", encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"houses 2024\.csv, train\.py: give one training script, or tables of the same columns"
    ):
        init.main([str(table), "train.py"])
    Path("old").mkdir()
    Path("old", table.name).write_bytes(table.read_bytes())
    with pytest.raises(UsageError, match=r"two files are called houses 2024\.csv; rename one"):
        init.main([str(table), f"old/{table.name}"])
    with pytest.raises(UsageError, match=r"sales-\*\.csv is not there"):
        init.main(["sales-*.csv"])


def test_a_table_without_a_target_has_one_proposed(table: Path) -> None:
    init.main([str(table)])
    assert load_params(CATALOGUE).problem("houses_2024").dataset.args["target"] == "asking: price"


def test_what_only_the_owner_knows_is_said(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That the rows are a series, and how that is undone; or that they may be one."""
    hours = pd.date_range("2024-01-01", periods=90, freq="h").strftime("%Y-%m-%d %H:%M")
    pd.read_csv(table).assign(hour=hours).to_csv("series.csv", index=False)
    pd.read_csv(table).assign(hour=np.resize(hours, 30).repeat(3)).to_csv("perhaps.csv", index=False)
    init.main(["series.csv", "--target", "size"])
    assert load_params(CATALOGUE).problem("series").dataset.args["order"] == "hour"
    assert "init: yours to decide: the rows are a series, 1 hour apart by hour: the earliest train" in capsys.readouterr().err
    init.main(["perhaps.csv", "--target", "size", "--replace"])
    assert load_params(CATALOGUE).problem("perhaps").dataset.args["order"] is None
    assert "init: yours to decide: order: hour  # if the rows are a series" in capsys.readouterr().err


def test_a_script(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.py").write_text("print()\n", encoding="utf-8")
    init.main(["train.py"])
    out = capsys.readouterr().out
    assert out.startswith("params.yaml is written: 1 problem, 5 schedulers, 3 to 10 seeds, 4 trials, 8 stages\n")
    assert "fill in what says TODO" in out
    params = load_params(CATALOGUE)
    assert params.problem("train").dataset.args["path"] == "train.py"
    assert (params.seed_range.least, params.seed_range.most) == (3, 10)
    budget = Budget(epochs=10, steps_per_epoch=10)
    for label, schedule in params.schedules("train").items():
        assert [d.argument for d in study_space(schedule, params.tune.lr, 0.1, budget).dimensions] == ["lr"], (
            f"{label}: the trials are for the peak rate alone"
        )
    assert Path("inputs/train.py").exists()


def test_what_does_not_fit_the_data_is_told_before_anything_runs(table: Path) -> None:
    init.main([str(table), "--target", "asking: price"])
    params = Path("params.yaml")
    text = params.read_text(encoding="utf-8")
    params.write_text(
        f"{text}\n".replace("schedulers:", "schedulers:\n  Late: {name: LinearDecay, warmup: 100000}", 1), encoding="utf-8"
    )
    with pytest.raises(ParamsError, match=r"schedulers\.Late\.warmup: leaves nothing of the run's \d+ steps"):
        check.main([])
