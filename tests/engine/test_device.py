import re

import pytest
import torch

from pipeline.engine.device import DeviceError, available, find_device


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
def test_what_is_not_there_is_named_with_what_is(name: str) -> None:
    message = f"params.yaml: device: there is no {name} on this machine; write auto or one of cpu"
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}$"):
        find_device(name)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("name", "found"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")])
def test_gpus(name: str, found: str) -> None:
    assert available() == ["cpu", "cuda:0", "cuda:1"]
    assert find_device(name) == torch.device(found)


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_too_many() -> None:
    with pytest.raises(DeviceError, match=r"no cuda:2 on this machine; write auto or one of cpu, cuda:0, cuda:1$"):
        find_device("cuda:2")
