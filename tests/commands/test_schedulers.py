"""``python -m pipeline.schedulers``: every configured schedule with its traps, without training; and the table of all."""

import re
from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import main
from pipeline.catalogue import CATALOGUE
from pipeline.commands import schedulers as gallery
from tests.conftest import ROOT
from tests.fixtures import Edited


def printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.setattr("sys.argv", ["pipeline", "schedulers", *words])
    main()
    return capsys.readouterr().out


def test_every_configured_schedule_is_drawn(
    edited: Edited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    params = edited()
    text = printed(capsys, monkeypatch)
    for name, problem in params.problems.items():
        assert f"{name}: {problem.epochs} epochs of" in text
    for label in params.schedulers:
        assert len(re.findall(rf"^{label}\b", text, re.MULTILINE)) == len(params.problems)
    assert "  ! " not in text  # the default file has no trap
    assert not Path("data").exists()


def test_one_problem_with_its_findings(
    edited: Edited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(("T_max: 100%", "T_max: 50%"), ("max_lr: 100%, step_size_up: 10%, ", "max_lr: 0.5%, step_size_up: 10%, "))
    text = printed(capsys, monkeypatch, "synthetic")
    assert "digits" not in text
    assert "  ! CosineAnnealingLR, epoch 51: the rate rises again" in text
    assert "  ! CyclicLR, epoch 1: it cannot be built: base_lr (0.01) lies above max_lr (0.005)" in text


def test_what_is_averaged_is_shown(edited: Edited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    edited(("  StepLR: {", "  StepLR: {average: {swa: 100%}, "))
    text = printed(capsys, monkeypatch, "synthetic")
    assert "StepLR  step_size: 30%, gamma: 0.1, average: {swa: 100%}\n" in text
    assert "  ! StepLR, epoch 100: the average begins after epoch 100, and the run has 100;" in text


@pytest.mark.parametrize(
    ("piece", "line"),
    [
        (("{name: SGD, lr: 0.1}", "{name: SGD, lr: 0.1, nesterov: true}"),
         "problems.digits.optimizer: cannot train the model mlp: Nesterov momentum requires a momentum"),
        (("{name: Adam, lr: 0.01}", "{name: Adam, lr: 0.01}\n    metric: {name: Accuracy}"),
         "problems.diabetes.metric.name: is for classification"),
        (("{name: cnn, channels: [8, 16]}", "{name: cnn, channels: [8, 16], groups: 3}"),
         "problems.images.model: cannot be built for samples of shape (1, 8, 8)"),
    ],
    ids=["an optimizer", "a metric", "a model"],
)  # fmt: skip
def test_a_problem_that_cannot_be_put_together_is_told_as_by_the_stages(
    piece: tuple[str, str], line: str, edited: Edited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(piece)
    with pytest.raises(SystemExit) as end:
        printed(capsys, monkeypatch, line.split(".")[1])
    assert end.value.code == 2
    told = capsys.readouterr()
    assert re.match(r"params\.yaml:\d+:\d+: ", told.err)
    assert line in told.err
    assert not told.out


def test_a_misspelt_problem_is_told(
    repository: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as end:
        printed(capsys, monkeypatch, "digit")
    assert end.value.code == 2
    assert "there is no problem 'digit' in params.yaml; did you mean digits?" in capsys.readouterr().err


def test_data_that_cannot_be_read_are_told_with_their_place(
    edited: Edited, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edited(("{name: digits, seed: 0}", "{path: my.csv, target: price}"))
    with pytest.raises(SystemExit) as end:
        printed(capsys, monkeypatch, "digits")
    assert end.value.code == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"params\.yaml:16:21: problems\.digits\.dataset\.path: there is no file inputs/my\.csv .*\n", told), (
        told
    )


def test_a_drawing_is_as_high_as_its_peak_and_shows_what_is_little() -> None:
    assert gallery.drawn(np.array([1.0, 0.5, 0.001, 0.0])) == [f"{row:<72}" for row in ("█", "█▄", "██▁")]
    assert gallery.drawn(np.zeros(5)) == [" " * 72] * 3
    assert {len(row) for row in gallery.drawn(np.linspace(0, 1, 1000))} == {72}


def test_the_document_has_the_table_of_all(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    table = printed(capsys, monkeypatch, "--table")
    assert table in (ROOT / "docs/schedulers.md").read_text(encoding="utf-8"), "`python -m tests.schedulers.known` writes it"
    assert all(f"| `{entry.name}` |" in table for entry in CATALOGUE.schedulers)
