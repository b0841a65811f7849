"""A study on a cluster is the study on one machine, whatever happens to the cluster.

Its workers have what requirements.txt names and Dask, and neither the pipeline nor the study's folder to work in.
"""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.runs import dealing
from pipeline.runs.executor import ExecutorError
from pipeline.stages import dataset
from tests.runs import clusters
from tests.runs.clusters import BY_HAND, Dask, interrupted, of_few, results, stage, study, told, trained, waiting
from tests.waiting import until

ALL = ("tensors", "compiled", "loop", "script")


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    with clusters.dask(tmp_path_factory.mktemp("dask")) as found:
        yield found


@pytest.mark.slow
def test_every_way_of_training_gives_the_bytes_that_it_gives_here(
    tmp_path: Path, dask: Dask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "WORTH_SENDING", 0)
    assert_same_bytes(tmp_path, dask, ALL)


def test_a_worker_gives_the_bytes_that_are_given_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dealing, "WORTH_SENDING", 0)
    with clusters.dask(tmp_path, workers=1) as one:
        assert_same_bytes(tmp_path, one, ("tensors",))


def assert_same_bytes(folder: Path, dask: Dask, ways: tuple[str, ...]) -> None:
    here = study(folder / "here", *ways)
    there = folder / "there"
    shutil.copytree(here, there)
    trained(here, "local:1", *ways)
    trained(there, f"dask:{dask.address}", *ways)
    assert results(there) == results(here)
    assert len(results(here)) == 4 * len(ways)


@pytest.mark.parametrize("is_there", [False, True])
def test_a_cluster_that_is_not_there_is_told_in_a_line(tmp_path: Path, is_there: bool) -> None:
    with clusters.dask(tmp_path, workers=0) as empty:
        folder, address = study(tmp_path / "study", "tensors"), empty.address if is_there else "tcp://127.0.0.1:9"
        with pytest.raises(ExecutorError) as error:
            trained(folder, f"dask:{address}", "tensors")
    wrong = f"the Dask scheduler at {address} has no workers" if is_there else f"no Dask scheduler answers at {address}"
    assert wrong in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((folder / ".state/cluster").iterdir())


def test_what_is_trained_sooner_than_sent_is_trained_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = study(tmp_path / "study", "compiled")
    trained(folder, "dask:tcp://127.0.0.1:9", "compiled")
    assert len(results(folder)) == 4
    shutil.rmtree(folder / ".state")
    monkeypatch.setattr(dealing, "WORTH_SENDING", 0)
    with pytest.raises(ExecutorError, match="no Dask scheduler answers"):
        trained(folder, "dask:tcp://127.0.0.1:9", "compiled")


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


def module(folder: Path, bias: str) -> None:
    """Code of the user's own that params.yaml names, or another version of it."""
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf-8").replace("model: {name: linear}", "model: {name: own}")
    params.write_text(text if "code:" in text else f"code: own\n{text}", encoding="utf-8")
    body = f"    def __init__(self, inputs, outputs):\n        super().__init__(inputs, outputs, bias={bias})\n"
    head = (
        "from torch import nn\n\nfrom pipeline.problems.models import register\n\n\n@register('own')\nclass Own(nn.Linear):\n"
    )
    (folder / "own.py").write_text(head + body, encoding="utf-8")


@pytest.mark.slow
def test_two_studies_share_a_cluster_and_an_edit_of_their_code_counts_at_once(tmp_path: Path, dask: Dask) -> None:
    """The model of one has a bias and that of the other has none; then the first loses its own."""
    folders = {bias: study(tmp_path / bias, "loop") for bias in ("True", "False")}
    for bias, folder in folders.items():
        module(folder, bias)
    at_once = [stage(folder, "train", "loop", f"dask:{dask.address}") for folder in folders.values()]
    for process in at_once:
        told(process)
    first = {bias: results(folder) for bias, folder in folders.items()}
    assert first["True"] != first["False"]
    module(folders["True"], "False")
    told(stage(folders["True"], "train", "loop", f"dask:{dask.address}"))
    assert results(folders["True"]) == first["False"]
    shutil.rmtree(folders["False"] / ".state")
    told(stage(folders["False"], "train", "loop", "local:1"))
    assert results(folders["False"]) == first["False"]


def needing(folder: Path, resources: str) -> None:
    """Each run needs so much."""
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf-8")
    params.write_text(text.replace("    engine:", f"    resources: {resources}\n    engine:"), encoding="utf-8")


def test_resources_that_no_worker_offers_are_told(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "loop")
    needing(folder, "{gpus: 1, cpus: 2}")
    wrong = r'no worker offers cpus=2 gpus=1; .* --resources "cpus=2 gpus=1"`'
    with clusters.dask(tmp_path, workers=1) as one, pytest.raises(ExecutorError, match=wrong):
        trained(folder, f"dask:{one.address}", "loop")


@pytest.mark.slow
def test_runs_go_where_their_resources_are_with_the_same_bytes(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "loop")
    told(stage(folder, "train", "loop", "local:1"))
    here = results(folder)
    shutil.rmtree(folder / ".state")
    needing(folder, "{gpus: 1, cpus: 2, memory: 1G}")
    with clusters.dask(tmp_path, workers=1) as dask:
        offers = dask.add("--resources", "gpus=1 cpus=2 memory=2e9")
        process = stage(folder, "train", "loop", f"dask:{dask.address}")
        until(lambda: clusters.agents(offers.pid), "the worker that offers enough is at it")
        (agent,) = clusters.agents(offers.pid)
        assert agent.environ()["PIPELINE_CORES"] == "2"
        assert "by 1 slots" in told(process)
        assert not clusters.agents(dask.workers[0].pid)
    assert results(folder) == here


@BY_HAND
@pytest.mark.slow
def test_workers_that_are_killed_at_random_and_a_scheduler_that_is_started_anew_cost_no_result(tmp_path: Path) -> None:
    """20 kills of workers or of their processes, and the scheduler; all runs are there, and their bytes are those of calm."""
    here, there = tmp_path / "here", tmp_path / "there"
    study(here, "script")
    waiting(here, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        dataset.main("script")
    shutil.copytree(here, there)
    chance = random.Random(0)
    with clusters.dask(tmp_path) as dask:
        process = stage(there, "train", "script", f"dask:{dask.address}")
        kills = 0
        while process.poll() is None and kills < 20:
            time.sleep(chance.uniform(0.5, 2.5))
            victim = chance.choice(dask.workers)
            agents = clusters.agents(victim.pid)
            if agents and chance.random() < 0.5:
                agents[0].kill()
            else:
                dask.workers.remove(victim)
                clusters.end(victim)
                dask.add()
            kills += 1
            if kills == 10:
                clusters.end(dask.scheduler)
                time.sleep(1)
                dask.begin(port=int(dask.address.rpartition(":")[2]))
                for worker in dask.workers:
                    clusters.end(worker)
                dask.workers = [dask.add(), dask.add()]
        said = told(process)
    print(f"{kills} kills and a new scheduler: {said}")
    assert kills >= 10
    told(stage(here, "train", "script", "local:2"))
    assert results(there) == results(here)


@pytest.mark.slow
def test_a_worker_that_stands_still_costs_no_result(tmp_path: Path) -> None:
    """As a node does that is lost, or swaps: the scheduler gives it up, and another worker does what it was at."""
    folder = study(tmp_path / "study", "script")
    of_few(folder)
    waiting(folder, 0.3, more="timeout: 3")
    told(stage(folder, "dataset", "script", "local:1"))
    with clusters.dask(tmp_path, DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL="3s") as dask:
        process = stage(folder, "train", "script", f"dask:{dask.address}")
        until(lambda: len(clusters.scripts(dask)) == 2, "both workers are at it")
        for each in [*clusters.family(dask.workers[0].pid), psutil.Process(dask.workers[0].pid)]:
            each.suspend()
        told(process)
    there = results(folder)
    shutil.rmtree(folder / ".state")
    told(stage(folder, "train", "script", "local:2"))
    assert results(folder) == there


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_on_another_worker(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "script")
    of_few(folder)
    (folder / "inputs/train.py").write_text(GOES_ON, encoding="utf-8")
    told(stage(folder, "dataset", "script", "local:1"))
    with clusters.dask(tmp_path, workers=1) as dask:
        process = stage(folder, "train", "script", f"dask:{dask.address}")
        until(lambda: len(epochs_of(folder)) == 3, "a run has begun its third epoch, where it waits")
        clusters.end(dask.workers[0])
        dask.add()
        told(process)
    assert epochs_of(folder) == [0, 1, 2, 1, 2], "its second epoch, which it repeats, is the first that the other worker began"
    there = results(folder)
    shutil.rmtree(folder / ".state")
    told(stage(folder, "train", "script", "local:1"))
    assert results(folder) == there


def epochs_of(folder: Path) -> list[int]:
    """The epochs of the run that waits, as they were begun, in order."""
    file = folder / "inputs/epochs.txt"
    lines = [line.split() for line in (file.read_text("utf-8") if file.exists() else "").splitlines()]
    waits = [run for run, epoch in lines if epoch == "2"][:1]
    return [int(epoch) for run, epoch in lines if [run] == waits]


GOES_ON = """\
import time
from pathlib import Path

import torch

from pipeline.trial import trial

torch.manual_seed(trial.seed)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=trial.lr)
scheduler = trial.scheduler(optimizer, steps_per_epoch=4)
begun = Path(__file__).with_name("epochs.txt")
for epoch in trial.epochs(model=model, optimizer=optimizer, scheduler=scheduler):
    with begun.open("a") as file:
        print(trial.folder.name, epoch, file=file)
    waits = begun.with_name("waits")
    if epoch == 2 and not waits.exists():
        waits.touch()
        time.sleep(3600)  # until its worker is killed
    for _ in range(4):
        loss = (model(torch.randn(8, 2)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    trial.report(train_loss=loss.item(), validation_loss=loss.item())
trial.finish(test_loss=loss.item())
"""


@pytest.mark.slow
def test_an_interrupt_leaves_nothing_at_work_and_what_always_fails_is_told(tmp_path: Path) -> None:
    folder = study(tmp_path / "study", "script")
    waiting(folder, 3600)
    with clusters.dask(tmp_path) as dask:
        process = stage(folder, "train", "script", f"dask:{dask.address}")
        until(lambda: len(clusters.scripts(dask)) == 2, "both workers are at it")
        interrupted(process)
        said = told(process, 130)
        assert said.splitlines()[-1] == "train: interrupted; the last results stay"
        until(lambda: not clusters.scripts(dask), "nothing is left")
        assert not list((folder / ".state/cluster").iterdir())
        process = stage(folder, "train", "script", f"dask:{dask.address}")
        until(lambda: len(clusters.scripts(dask)) == 2, "both workers are at it")
        process.kill()
        told(process, -signal.SIGKILL)
        until(lambda: not clusters.scripts(dask), "nothing is left of one that was killed either")
        (folder / "own.py").write_text(ALWAYS_KILLED, encoding="utf-8")
        params = clusters.problems("loop").replace("{name: linear}", "{name: own}")
        (folder / "params.yaml").write_text(f"code: own\n{params}", encoding="utf-8")
        told(stage(folder, "dataset", "loop", "local:1"))
        said = told(stage(folder, "train", "loop", f"dask:{dask.address}"), 1)
    assert "begun 4 times on the cluster and lost each time" in said
    assert "its process ended (-9); its last words: too much" in said


ALWAYS_KILLED = """\
import os
import signal
import sys

from torch import nn

from pipeline.problems.models import register


@register("own")
class Own(nn.Linear):
    def forward(self, x):
        if os.environ.get("PIPELINE_CORES"):
            print("too much", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""
"""A model that is killed on a cluster, as for its memory."""
