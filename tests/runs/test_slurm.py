"""Jobs of Slurm's train what is trained here: of a real Slurm, where Debian's is installed, and of submitit's own executor."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runs.executor import ExecutorError
from tests.runs import clusters, slurm
from tests.runs.clusters import held, interrupted, of_few, results, stage, study, told, trained, waiting
from tests.runs.slurm import Slurm
from tests.waiting import until

REAL = pytest.mark.skipif(not slurm.IS_THERE, reason="needs Debian's slurmctld, slurmd, slurm-client and munge")
HERE = "slurm:cluster=local,jobs=6,time=5,partition=none"
THERE = "slurm:partition=main,time=30,jobs=2"


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm.slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@REAL
@pytest.mark.slow
def test_whatever_becomes_of_jobs_their_bytes_are_those_of_here(tmp_path: Path, cluster: Slurm) -> None:
    """All processes of one are killed, as for their memory; one is queued again; the controller ends and comes back."""
    here, there = study(tmp_path / "here", "tensors", "script"), tmp_path / "there"
    of_few(here)
    hold = held(here)
    shutil.copytree(here, there)
    told(stage(there, "train", "tensors", THERE, **cluster.environment))
    process = stage(there, "train", "script", THERE, **cluster.environment)
    until(lambda: len(cluster.at_work()) == 2, "two jobs are at it")
    first, second = cluster.at_work()
    cluster.kill(first)
    assert cluster("scontrol", "requeue", second) == ""
    until(lambda: not {first, second} & {*cluster.jobs()}, "both are gone")
    cluster.controller.terminate()
    cluster.controller.wait()
    cluster.begin_controller()
    hold.unlink()
    said = told(process)
    assert all(line.startswith("train@script: 4 runs, ") for line in said.splitlines()), said
    until(lambda: not cluster.jobs("pending,running"), "none is queued again")
    for name in ("tensors", "script"):
        told(stage(here, "train", name, "local:2"))
    assert results(there) == results(here)


@REAL
@pytest.mark.slow
def test_what_ran_on_a_lost_node_is_done_on_another(tmp_path: Path, cluster: Slurm) -> None:
    here, there = study(tmp_path / "here", "script"), tmp_path / "there"
    of_few(here)
    hold = held(here)
    shutil.copytree(here, there)
    process = stage(there, "train", "script", THERE, **cluster.environment)
    until(lambda: len(cluster.at_work()) == 2, "a job is at it on either node")
    cluster.lose("two")
    hold.unlink()
    said = told(process)
    assert all(line.startswith("train@script: 4 runs, ") for line in said.splitlines()), said
    until(lambda: not cluster.jobs("pending,running"), "none is queued again")
    told(stage(here, "train", "script", "local:2"))
    assert results(there) == results(here)


@REAL
@pytest.mark.slow
def test_jobs_end_with_whoever_asked(tmp_path: Path, cluster: Slurm) -> None:
    folder = study(tmp_path / "study", "script")
    waiting(folder, 3600)
    process = stage(folder, "train", "script", THERE, **cluster.environment)
    until(cluster.jobs, "jobs are at it")
    interrupted(process)
    assert told(process, 130).splitlines()[-1] == "train: interrupted; the last results stay"
    until(lambda: not cluster.jobs("all"), "nothing is left")


@REAL
@pytest.mark.slow
def test_why_a_job_waits_is_told_where_it_is_not_for_its_turn(tmp_path: Path, cluster: Slurm) -> None:
    """The partition gives an hour."""
    process = stage(study(tmp_path / "study", "tensors"), "train", "tensors", "slurm:time=90", **cluster.environment)
    assert process.stdout
    told_first = process.stdout.readline()
    assert re.fullmatch(r"a job of Slurm waits: Partition\w+ \(`scontrol show job \d+` says more\)\n", told_first), told_first
    interrupted(process)
    told(process, 130)
    until(lambda: not cluster.jobs("all"), "nothing is left")


@REAL
@pytest.mark.slow
def test_what_a_cluster_refuses_is_told_in_a_line(tmp_path: Path, cluster: Slurm) -> None:
    folder = study(tmp_path / "study", "tensors")

    def refused(words: str) -> str:
        said = told(stage(folder, "train", "tensors", f"slurm:{words}", **cluster.environment), 1)
        assert len(said.splitlines()) == 1, said
        assert not list((folder / ".state/cluster").iterdir())
        begin, _, why = said.partition(f"PIPELINE_EXECUTOR=slurm:{words} is refused by sbatch: ")
        assert not begin, said
        return why

    assert refused("partition=other,time=30").startswith("invalid partition specified: other ")
    assert refused("gpus=1").startswith("Invalid generic resource (gres) specification")
    cluster.controller.kill()
    assert "Unable to contact slurm controller" in refused("partition=main")


@clusters.BY_HAND
@pytest.mark.slow
def test_jobs_of_submitit_give_the_same_bytes_and_end_with_whoever_asked(tmp_path: Path) -> None:
    here = study(tmp_path / "here", "tensors", "script")
    of_few(here)
    there = tmp_path / "there"
    shutil.copytree(here, there)
    for name in ("tensors", "script"):
        told(stage(there, "train", name, HERE))
        told(stage(here, "train", name, "local:2"))
    assert results(there) == results(here)
    waiting(there, 3600)
    process = stage(there, "train", "script", HERE)
    until(lambda: clusters.scripts(process.pid), "jobs are at it")
    interrupted(process)
    family = clusters.family(process.pid)
    told(process, 130)
    until(lambda: not any(clusters.is_alive(each) for each in family), "nothing is left")


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ("partition", "has 'partition'; write name=value"),
        ("time=soon", "has 'time=soon'; write name=value"),
        ("partition=main,time=0", "has 'time=0'; write name=value"),
        ("partition=main,jobs=0", "has 'jobs=0'; write name=value"),
        pytest.param("cluster=local,nonsense=1,time=5", "does not do: ", marks=pytest.mark.slow),
        ("time=5", "does not do: "),
    ],
)
def test_what_slurm_does_not_take_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, wrong: str) -> None:
    """The last of them on a machine that has none."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    folder = study(tmp_path / "study", "tensors")
    with pytest.raises(ExecutorError, match=re.escape(f"PIPELINE_EXECUTOR=slurm:{words} {wrong}")):
        trained(folder, f"slurm:{words}", "tensors")
