"""A study on a cluster is the study on one machine, whatever happens to the cluster.

Its workers have what requirements.txt names and Dask, and neither the pipeline nor the study's folder to work in.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config.params import load_params
from pipeline.runs.executor import ExecutorError
from pipeline.stages import dataset, train
from tests.runs import clusters
from tests.runs.clusters import Dask, results, stage, told
from tests.search import helpers

ALL = ("tensors", "compiled", "loop", "script")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with clusters.dask(tmp_path_factory.mktemp("dask")) as found:
        yield found


def study(folder: Path, *names: str, epochs: int = 5) -> Path:
    """A new study with its data."""
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs/train.py").write_text(clusters.TRAIN, encoding="utf-8")
    engines = [name for name in names if name != "script"]
    (folder / "params.yaml").write_text(clusters.problems(*engines, epochs=epochs, script="script" in names), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        load_params.cache_clear()
        for name in names:
            dataset.main(name)
    load_params.cache_clear()
    return folder


def trained(folder: Path, executor: str, *names: str) -> None:
    """The stage ``train`` of these problems, in the tests' process."""
    with pytest.MonkeyPatch.context() as patch, helpers.shown_here():
        patch.chdir(folder)
        patch.setenv("PIPELINE_EXECUTOR", executor)
        load_params.cache_clear()
        for name in names:
            train.main(name)


def test_every_way_of_training_gives_the_bytes_that_it_gives_here(
    tmp_path: Path, dask: Dask, capfd: pytest.CaptureFixture[str]
) -> None:
    here = study(tmp_path / "here", *ALL)
    there = tmp_path / "there"
    shutil.copytree(here, there)
    trained(here, "local:1", *ALL)
    capfd.readouterr()
    trained(there, f"dask:{dask.address}", *ALL)
    assert results(there) == results(here)
    assert len(results(here)) == 4 * len(ALL)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_cluster_that_is_not_there_is_told_in_a_line(tmp_path: Path, is_there: bool) -> None:
    with clusters.dask(tmp_path, workers=0) as empty:
        folder, address = study(tmp_path / "study", "tensors"), empty.address if is_there else "tcp://127.0.0.1:9"
        begun = time.monotonic()
        with pytest.raises(ExecutorError) as error:
            trained(folder, f"dask:{address}", "tensors")
        assert time.monotonic() - begun < 10
    wrong = f"the Dask scheduler at {address} has no workers" if is_there else f"no Dask scheduler answers at {address}"
    assert wrong in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((folder / ".state/cluster").iterdir())


def test_who_has_nothing_to_train_needs_no_cluster(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "tensors")
    trained(folder, "local:1", "tensors")
    first = results(folder)
    trained(folder, "dask:tcp://127.0.0.1:9", "tensors")
    assert results(folder) == first


def compiler(folder: Path) -> str:
    """One that calls itself by another name."""
    path = folder / "bin/other"
    path.parent.mkdir()
    path.write_text('#!/bin/sh\n[ "$1" = --version ] && echo other 1.0 && exit\nexec cc "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.slow
def test_a_worker_of_another_kind_is_refused_unless_it_is_allowed(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "tensors")
    with clusters.dask(tmp_path, workers=0) as dask:
        dask.add(CC=compiler(tmp_path))
        said = told(stage(folder, "train", "tensors", f"dask:{dask.address}"), 1)
        assert "is of another kind, and may train other numbers: compiler and instruction set" in said
        assert said.strip().endswith("PIPELINE_EXECUTOR_MIXED=yes")
        assert len(said.splitlines()) == 1
        told(stage(folder, "train", "tensors", f"dask:{dask.address}", PIPELINE_EXECUTOR_MIXED="yes"))
        mixed = results(folder)
    told(stage(folder, "train", "tensors", "local:1"))
    assert results(folder) != mixed, "their names tell the runs apart"


@pytest.mark.slow
def test_a_worker_without_a_package_is_told(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without/torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\")\n", encoding="utf-8")
    folder = study(tmp_path / "study", "tensors")
    with clusters.dask(tmp_path, workers=0) as dask:
        dask.add(first=str(tmp_path / "without"))
        said = told(stage(folder, "train", "tensors", f"dask:{dask.address}"), 1)
    assert "a worker cannot run it: on" in said
    assert "No module named 'torch'; install requirements.txt on every machine" in said
    assert len(said.splitlines()) == 1
