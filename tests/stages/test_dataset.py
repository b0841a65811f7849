"""Stage dataset: the file of a problem's samples, as params.yaml asks for them."""

from pathlib import Path

import pytest

from pipeline.config import files
from pipeline.config.errors import ParamsError
from pipeline.problems.dataset import ProblemError
from pipeline.stages import dataset
from tests.fixtures import Edited


def test_it_writes_the_samples_of_its_problem_and_every_seeds_split(repository: Path) -> None:
    dataset.main("digits")
    data, splits = files.read_dataset("digits"), files.read_splits("digits")
    assert len(data) == 1797
    assert list(splits) == ["part", *map(str, range(10)), *map(str, range(1000, 1010))]
    assert splits["part"].value_counts().to_dict() == {"train": 1077, "validation": 360, "test": 360}
    assert all(sorted(splits[seed]) == list(range(1797)) for seed in splits.columns.drop("part"))
    assert sorted(path.name for path in (repository / "data").iterdir()) == ["digits.parquet", "digits.splits.parquet"]


def test_more_seeds_change_no_earlier_one(edited: Edited) -> None:
    edited(("seeds: 10", "seeds: 2"))
    dataset.main("diabetes")
    few = files.read_splits("diabetes")
    edited(("seeds: 10", "seeds: 5"))
    dataset.main("diabetes")
    assert files.read_splits("diabetes")[list(few)].equals(few)


def test_without_resampling_all_seeds_have_the_datasets_own_split(edited: Edited) -> None:
    of_diabetes = "dataset: {name: diabetes, seed: 0}\n    resample: "
    edited((of_diabetes + "true", of_diabetes + "false"))
    dataset.main("diabetes")
    data, splits = files.read_dataset("diabetes"), files.read_splits("diabetes")
    for seed in splits.columns.drop("part"):
        assert (data["split"].to_numpy()[splits[seed]] == splits["part"]).all()


def test_a_split_that_cannot_be_drawn_leaves_the_last_files(repository: Path, edited: Edited) -> None:
    dataset.main("synthetic")
    before = {path: path.read_bytes() for path in (repository / "data").iterdir()}
    edited(("validation: 1000, test: 4000", "validation: 1, test: 4000"))
    with pytest.raises(
        ProblemError, match=r"problems\.synthetic: no stratified split can be drawn .* or write `resample: false`"
    ):
        dataset.main("synthetic")
    assert {path: path.read_bytes() for path in (repository / "data").iterdir()} == before


def test_a_mistake_anywhere_in_params_yaml_is_told_first(repository: Path) -> None:
    path = repository / "params.yaml"
    path.write_text(path.read_text("utf-8").replace("seeds: 10", "seeds: ten"), encoding="utf-8")
    with pytest.raises(ParamsError, match="seeds: is not a whole number"):
        dataset.main("digits")
    assert not (repository / "data").exists()


def test_without_a_params_yaml_it_is_told(repository: Path) -> None:
    (repository / "params.yaml").unlink()
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        dataset.main("digits")
