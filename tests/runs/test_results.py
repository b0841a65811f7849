"""The files the stages hand on: whole or not at all, and the same bytes for the same values."""

import errno
import json
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.config import files
from pipeline.config.arrays import Floats
from pipeline.config.files import ResultsError
from pipeline.config.schedules import Schedule
from pipeline.problems.run import CURVES, Block, History, Outcome, Run
from pipeline.runs import results
from pipeline.runs.results import CURVE_COLUMNS, RUN_COLUMNS

FRAME = pd.DataFrame({"split": ["train", "test"], "y": [0, 1], "x0": np.array([0.1, np.nan], dtype=np.float32)})
SPLITS = pd.DataFrame({"part": ["train", "test"], "0": [1, 0]})


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_are_written_with_their_folders(tmp_path: Path) -> None:
    files.write_files([(tmp_path / "a/b/c", b"1"), (tmp_path / "d", b"2")])
    assert contents(tmp_path) == {"a/b/c": b"1", "d": b"2"}


def test_written_files_are_readable_by_all(tmp_path: Path) -> None:
    files.write_files([(tmp_path / "a", b"1")])
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_leaves_all_old_files_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [(tmp_path / name, b"old") for name in "abc"]
    files.write_files(old)
    written: list[int] = []

    def full(file: int) -> None:
        written.append(file)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_files([(path, b"new") for path, _ in old])
    assert contents(tmp_path) == dict.fromkeys("abc", b"old")


def test_a_folder_in_the_way_leaves_all_old_files_and_no_others(tmp_path: Path) -> None:
    files.write_files([(tmp_path / "a", b"old")])
    (tmp_path / "b").mkdir()
    with pytest.raises(ResultsError, match="b is a folder"):
        files.write_files([(tmp_path / "a", b"new"), (tmp_path / "b", b"new")])
    assert contents(tmp_path) == {"a": b"old"}


def test_a_file_in_place_of_a_folder_leaves_all_old_files_and_no_others(tmp_path: Path) -> None:
    files.write_files([(tmp_path / "a", b"old")])
    with pytest.raises(OSError, match="a"):
        files.write_files([(tmp_path / "c", b"new"), (tmp_path / "a" / "b", b"new")])
    assert contents(tmp_path) == {"a": b"old"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_leaves_all_old_files_and_no_others(tmp_path: Path) -> None:
    files.write_files([(tmp_path / "a", b"old"), (tmp_path / "closed/b", b"old")])
    (tmp_path / "closed").chmod(0o500)
    with pytest.raises(PermissionError):
        files.write_files([(tmp_path / "a", b"new"), (tmp_path / "closed/b", b"new")])
    (tmp_path / "closed").chmod(0o700)
    assert contents(tmp_path) == {"a": b"old", "closed/b": b"old"}


def test_contents_that_fail_while_they_are_made_leave_all_old_files(tmp_path: Path) -> None:
    files.write_files([(tmp_path / "a", b"old")])
    with pytest.raises(ZeroDivisionError):
        files.write_files((tmp_path / name, bytes(1 // divisor)) for name, divisor in (("a", 1), ("b", 0)))
    assert contents(tmp_path) == {"a": b"old"}


def test_parquet_is_the_same_for_the_same_values() -> None:
    again = FRAME.copy()
    again.index = pd.Index([5, 6])
    path = Path("data/synthetic.parquet")
    assert files.parquet(FRAME, path) == files.parquet(again, path)
    assert files.parquet(FRAME, path) != files.parquet(FRAME.assign(y=[1, 1]), path)


def test_a_dataset_comes_back_as_it_was(repository: Path) -> None:
    files.write_dataset("synthetic", FRAME, SPLITS)
    pd.testing.assert_frame_equal(files.read_splits("synthetic"), SPLITS)
    pd.testing.assert_frame_equal(files.read_dataset("synthetic"), FRAME, check_dtype=False)
    assert files.read_dataset("synthetic")["x0"].dtype == np.float32


def test_a_result_that_is_not_there_names_its_stage(repository: Path) -> None:
    with pytest.raises(ResultsError) as raised:
        files.read_dataset("synthetic")
    assert str(raised.value) == "data/synthetic.parquet is not there; `dvc repro dataset@synthetic` writes it"


@pytest.mark.parametrize("content", [b"", b"not parquet", files.parquet(FRAME, Path())[:-20]])
def test_a_result_that_is_broken_names_its_stage(content: bytes, repository: Path) -> None:
    files.write_files([(files.dataset_path("synthetic"), content)])
    with pytest.raises(ResultsError, match=r"^data/synthetic\.parquet cannot be read \(.+\); .*`dvc repro dataset@synthetic`"):
        files.read_dataset("synthetic")


RUNS = pd.DataFrame({name: [1.0, 2.0] for name in RUN_COLUMNS}).assign(run=["a", "b"], diverged=[False, True])
CURVES_OF_BOTH = pd.DataFrame({name: [1.0, 2.0] for name in CURVE_COLUMNS}).assign(run=["a", "b"])


@pytest.mark.parametrize("missing", ["runs.parquet", "curves.parquet"])
def test_runs_and_curves_are_read_together(missing: str, repository: Path) -> None:
    results.write_runs("synthetic", "train", RUNS, CURVES_OF_BOTH)
    assert [len(frame) for frame in results.read_runs("synthetic", "train")] == [2, 2]
    files.stage_path("synthetic", "train", missing).unlink()
    with pytest.raises(ResultsError, match=f"results/synthetic/train/{missing} is not there; `dvc repro train@synthetic`"):
        results.read_runs("synthetic", "train")


@pytest.mark.parametrize(
    ("runs", "curves", "wrong"),
    [
        (RUNS.drop(columns="stream"), CURVES_OF_BOTH, r"runs\.parquet has other columns than this version writes \(stream\)"),
        (RUNS, CURVES_OF_BOTH.assign(more=1), r"curves\.parquet has other columns than this version writes \(more\)"),
        (
            RUNS[list(RUN_COLUMNS[::-1])],
            CURVES_OF_BOTH,
            r"runs\.parquet has other columns than .* \(their order\)",
        ),
        (
            RUNS.assign(validation_loss=[np.nan, 1.0]),
            CURVES_OF_BOTH,
            r"runs\.parquet has no finite loss",
        ),
        (RUNS.assign(run=["a", "c"]), CURVES_OF_BOTH, r"curves\.parquet has other runs than runs\.parquet"),
        (RUNS.assign(run=["a", "a"]), CURVES_OF_BOTH.assign(run="a"), r"curves\.parquet has other runs than runs\.parquet"),
    ],
)
def test_what_a_stage_did_not_write_is_not_believed(
    runs: pd.DataFrame, curves: pd.DataFrame, wrong: str, repository: Path
) -> None:
    results.write_runs("synthetic", "train", runs, curves)
    with pytest.raises(ResultsError, match=rf"^results/synthetic/train/{wrong}.*; `dvc repro -f -s train@synthetic` writes it"):
        results.read_runs("synthetic", "train")


def moved(source: str, target: str) -> None:
    for path in Path("results", source).rglob("*.*"):
        to = Path("results", target, *path.parts[2:])
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


def test_another_problems_files_of_the_same_shape_are_not_believed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor another stage's, an earlier version's, or one of which a single bit has changed."""
    results.write_runs("digits", "train", RUNS, CURVES_OF_BOTH, {"findings.json": results.findings_file("digits", [])})
    files.write_files([(files.stage_path("digits", "tune", "best.yaml"), results.best_file("digits", "{}"))])
    assert (results.read_findings("digits"), results.read_best("digits")) == ([], {})
    moved("digits", "synthetic")
    for read in (results.read_findings, results.read_best, lambda name: results.read_runs(name, "train")):
        with pytest.raises(ResultsError, match=r"^results/synthetic/.* says that it is results/digits/.*`dvc repro -f -s t"):
            read("synthetic")
    path = files.stage_path("digits", "train", "runs.parquet")
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(files, "SCHEMA", 2)
        with pytest.raises(
            ResultsError, match=r"says that it is .*, schema 1, not .*, schema 2; `dvc repro -f -s train@digits`"
        ):
            results.read_runs("digits", "train")
    path.write_bytes(pd.DataFrame(RUNS).to_parquet(index=False))
    with pytest.raises(ResultsError, match="does not say what it is, as those of an earlier version"):
        results.read_runs("digits", "train")
    (place,) = (m.start() for m in list(re.finditer(struct.pack("<d", 2.0), content))[:1])
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(ResultsError, match=r"runs\.parquet cannot be read \(.*CRC"):
        results.read_runs("digits", "train")


def test_a_run_that_diverged_needs_no_figures(repository: Path) -> None:
    results.write_runs("synthetic", "train", RUNS.assign(validation_loss=[1.0, np.nan]), CURVES_OF_BOTH)
    assert len(results.read_runs("synthetic", "train")[0]) == 2


@pytest.mark.parametrize("content", ["- 1\n", "text\n", ""])
def test_a_best_yaml_of_another_shape_is_not_believed(content: str, repository: Path) -> None:
    files.write_files([(files.stage_path("synthetic", "tune", "best.yaml"), results.best_file("synthetic", content))])
    with pytest.raises(ResultsError, match=r"best\.yaml holds no configurations by label; `dvc repro -f -s tune@synthetic`"):
        results.read_best("synthetic")


def history() -> tuple[History, list[dict[str, object]]]:
    """Two runs of three epochs; every figure tells its curve, epoch and run: 10 × epoch + run + 1000 × curve."""
    figures: Floats = 10.0 * np.arange(1, 4, dtype=np.float64)[:, None] + np.arange(2)
    curves = Block(1, **{name: figures + 1000 * i for i, name in enumerate(CURVES)})
    schedule, ones = Schedule(name="ConstantLR"), np.ones(2)
    outcome = Outcome(
        np.array([1e6, 0.0]), ones / 10, ones, np.array([True, True]), np.array([7.0, 8.0]), np.array([0.7, 0.8]), {}
    )
    runs = tuple(Run("ConstantLR", schedule, seed, epochs=3) for seed in range(2))
    described = [{**dict.fromkeys(RUN_COLUMNS, "?"), "run": f"r{seed}", "seed": seed} for seed in range(2)]
    return History(runs, curves, outcome), described


def test_the_run_table_holds_the_last_epoch_of_each_run() -> None:
    table = results.run_table(*history())
    assert tuple(table.columns) == RUN_COLUMNS
    assert table["train_loss"].tolist() == [2030.0, 2031.0]
    assert table["validation_metric"].tolist() == [4030.0, 4031.0]
    assert table["test_loss"].tolist() == [7.0, 8.0]
    assert table["diverged"].tolist() == [False, True]


def test_the_curve_table_has_a_row_for_each_run_and_epoch() -> None:
    table = results.curve_table(*history())
    assert tuple(table.columns) == CURVE_COLUMNS
    assert table["run"].tolist() == ["r0"] * 3 + ["r1"] * 3
    assert table["epoch"].tolist() == [1, 2, 3] * 2
    assert table["lr"].tolist() == [10.0, 20.0, 30.0, 11.0, 21.0, 31.0]
    assert table["validation_loss"].tolist() == [3010.0, 3020.0, 3030.0, 3011.0, 3021.0, 3031.0]


def test_json_is_sorted_and_valid_whatever_the_numbers() -> None:
    content = files.json_file({"b": {"y": float("nan"), "x": float("-inf")}, "a": 0.1})
    assert json.loads(content) == {"a": 0.1, "b": {"x": None, "y": None}}
    assert content.index(b'"a"') < content.index(b'"b"')
    assert content.endswith(b"}\n")
