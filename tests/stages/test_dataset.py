"""Stage dataset: the file of a problem's samples, as params.yaml asks for them."""

from pathlib import Path

import pytest

from pipeline.config import files
from pipeline.config.errors import ParamsError
from pipeline.stages import dataset


def test_it_writes_the_samples_of_its_problem(repository: Path) -> None:
    dataset.main("digits")
    assert len(files.read_dataset("digits")) == 1797
    assert [path.name for path in (repository / "data").iterdir()] == ["digits.parquet"]


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
