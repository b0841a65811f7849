"""``python -m pipeline`` without words, or with ``answer``: the last report's answer, or what to do."""

import json
from pathlib import Path

import pytest

from pipeline import __main__
from pipeline.commands import answer

FOUND = {
    "problems": [
        {"problem": "digits", "titled": [
            ("use", "StepLR with SGD, peak learning rate 0.85"), ("cost", "at most 5.2% more loss"), ("rate", "any " * 60),
            ("instead", "on these data, at 95%: base (the baseline) at most 9% more than the best")]},
        {"problem": "houses", "titled": [("use", "No run finished"), ("cost", "lower the rates"), ("rate", "-")]},
    ],
    "together": "REX does for all 2 problems",
    "next": ["try it: python reports/best/digits.py"],
}  # fmt: skip


@pytest.mark.parametrize("words", [[], ["answer"]])
def test_it_prints_each_answer_and_what_holds_for_all(
    words: list[str], here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "reports").mkdir()
    (here / "reports/answer.json").write_text(json.dumps(FOUND))
    (here / "reports/report.html").touch()
    monkeypatch.setattr("sys.argv", ["pipeline", *words])
    __main__.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "digits",
        "  use     StepLR with SGD, peak learning rate 0.85",
        "  cost    at most 5.2% more loss",
    ]
    assert lines[3].startswith("  rate    any any")
    assert lines[4].startswith("          any any")
    assert "  instead on these data, at 95%: base (the baseline) at most 9% more than the best" in lines
    assert max(map(len, lines)) <= 120
    assert lines[-3] == "all:    REX does for all 2 problems"
    assert lines[-2:] == ["report: reports/report.html", "next:   try it: python reports/best/digits.py"]


def test_without_results_it_says_what_to_do(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer.main()
    assert "make repro" in capsys.readouterr().out


def test_a_broken_file_is_told_with_the_remedy(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "reports").mkdir()
    (here / "reports/answer.json").write_text("{")
    monkeypatch.setattr("sys.argv", ["pipeline"])
    with pytest.raises(SystemExit):
        __main__.main()
    assert "reports/answer.json cannot be read" in capsys.readouterr().err
