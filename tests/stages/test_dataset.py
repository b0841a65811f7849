"""Stage dataset: params.yaml is checked whole, and what was found right is not checked again."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import custom
from pipeline.cache import folder
from pipeline.catalogue import CATALOGUE
from pipeline.errors import ParamsError
from pipeline.params import Params, load_params
from pipeline.stages import dataset
from tests.conftest import ROOT

STAGE = "import sys; from pipeline.stages import dataset; dataset.main(sys.argv[1]); print('torch' in sys.modules)"


@pytest.fixture(autouse=True)
def own_cache(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(repository / "cache"))


def refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, nothing is checked."""

    def refused(catalogue: object) -> Params:
        raise AssertionError("checked again")

    monkeypatch.setattr(dataset, "load_params", refused)


def takes_torch(problem: str) -> bool:
    command = [sys.executable, "-c", STAGE, problem]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout == "True\n"


def test_torch_is_for_the_first_process_alone(repository: Path) -> None:
    assert takes_torch("synthetic")
    first = (repository / "data" / "synthetic.parquet").read_bytes()
    assert not takes_torch("synthetic")
    assert not takes_torch("digits")
    assert (repository / "data" / "synthetic.parquet").read_bytes() == first


def test_what_was_found_right_is_what_params_yaml_says(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.checked_params()
    refuse(monkeypatch)
    assert dataset.checked_params() == load_params(CATALOGUE)


def test_a_changed_file_is_checked_again(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.checked_params()
    path = repository / "params.yaml"
    path.write_text(path.read_text("utf-8").replace("seeds: 10", "seeds: ten"), encoding="utf-8")
    load_params.cache_clear()
    with pytest.raises(ParamsError, match="seeds: is not a whole number"):
        dataset.checked_params()


def test_a_file_with_a_mistake_is_never_right(repository: Path) -> None:
    test = (repository / "params.yaml").read_text("utf-8").replace("seeds: 10", "seeds: ten")
    (repository / "params.yaml").write_text(test, encoding="utf-8")
    for _ in range(2):
        load_params.cache_clear()
        with pytest.raises(ParamsError):
            dataset.checked_params()
    assert not folder().exists()


def test_code_of_the_users_own_is_checked_every_time(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may follow from files that no fingerprint names."""
    dataset.checked_params()
    monkeypatch.setattr(custom, "own", None, raising=False)
    refuse(monkeypatch)
    with pytest.raises(AssertionError, match="checked again"):
        dataset.checked_params()


def test_changed_code_of_the_package_is_checked_again(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset.checked_params()
    monkeypatch.setattr(dataset, "package_fingerprint", lambda: "changed")
    refuse(monkeypatch)
    with pytest.raises(AssertionError, match="checked again"):
        dataset.checked_params()


@pytest.mark.parametrize("text", ["", "{", "{}", '{"seeds": 10}'])
def test_a_memory_without_sense_is_none(text: str, repository: Path) -> None:
    dataset.checked_params()
    (path,) = folder().iterdir()
    path.write_text(text, encoding="utf-8")
    assert dataset.checked_params() == load_params(CATALOGUE)


def test_a_file_that_cannot_be_read_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refused)
    load_params.cache_clear()
    with pytest.raises(ParamsError, match="cannot be read: Permission denied"):
        dataset.checked_params()


def test_without_a_file_it_is_told(repository: Path) -> None:
    (repository / "params.yaml").unlink()
    load_params.cache_clear()
    with pytest.raises(ParamsError, match=r"params\.yaml"):
        dataset.checked_params()
