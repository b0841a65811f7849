import pytest
import torch

from pipeline import cli
from pipeline.config.errors import ParamsError
from pipeline.engine.device import available, find_device
from pipeline.stages import train
from tests.fixtures import Edited


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_cpu(name: str) -> None:
    assert find_device(name) == torch.device("cpu")


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:1", "mps"])
def test_what_is_not_there_is_named_with_what_is(name: str, edited: Edited) -> None:
    params = edited(("device: auto", f"device: {name}"))
    with pytest.raises(ParamsError) as raised:
        find_device(params.device)
    assert str(raised.value) == f"params.yaml:3:9: device: is not on this machine (given: {name}); write auto or one of cpu"


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("name", "found"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")])
def test_gpus(name: str, found: str) -> None:
    assert available() == ["cpu", "cuda:0", "cuda:1"]
    assert find_device(name) == torch.device(found)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_too_many(edited: Edited) -> None:
    with pytest.raises(ParamsError, match=r"\(given: cuda:2\); write auto or one of cpu, cuda:0, cuda:1$"):
        find_device(edited(("device: auto", "device: cuda:2")).device)


def test_a_stage_ends_as_for_every_mistake_in_params(
    edited: Edited, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(("device: auto", "device: cuda:999"))
    monkeypatch.setattr("sys.argv", ["train.py", "synthetic"])
    with pytest.raises(SystemExit) as ended:
        cli.run(train.main)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("params.yaml:3:9: device: is not on this machine (given: cuda:999); ")
