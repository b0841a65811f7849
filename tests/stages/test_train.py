"""The stage train: what is wrong with a schedule is told before anything is trained."""

from pathlib import Path
from unittest import mock

import pytest

from pipeline import record
from pipeline.stages import train
from tests.search import helpers

TRAPPED = ("step_size: 30%, gamma: 0.1", "step_size: 100%, gamma: 0.1")


def test_each_trap_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    helpers.problem(TRAPPED)
    with mock.patch.object(record, "mirror", helpers.silent):
        train.main("tiny")
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line.split(", epoch")[0] for line in told] == ["train@tiny: warning: StepLR"]
