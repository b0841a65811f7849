"""``python -m pipeline mirror``: every tracker, each whether or not the others can be rebuilt."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands import mirror
from pipeline.tracking.tracker import Tracker


class Rebuilt(Tracker):
    def __init__(self, is_broken: bool) -> None:
        self._is_broken = is_broken

    def rebuild(self) -> Iterator[str]:
        """Two things, or one and an error."""
        yield "one"
        if self._is_broken:
            raise OSError("no\nroom")
        yield "two"


@pytest.mark.parametrize("broken", ["", "A", "B", "AB"])
def test_both_are_rebuilt_whichever_fails(
    broken: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mirror, "TRACKERS", {"A": "A", "B": "B"})
    monkeypatch.setattr(mirror, "made", lambda name: Rebuilt(name in broken))
    with pytest.raises(SystemExit) as end:
        mirror.main([])
    assert end.value.code == bool(broken)
    out, err = capsys.readouterr()
    told = [line for name in "AB" for line in (f"{name}: one", *(() if name in broken else (f"{name}: two",)))]
    assert [line for line in out.splitlines() if ": " in line] == told
    assert err.splitlines() == [f"{name} could not be rebuilt: OSError: no" for name in sorted(broken)]


def test_without_results_it_says_what_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mirror, "TRACKERS", {})
    with pytest.raises(SystemExit):
        mirror.main([])
    assert capsys.readouterr().out == "there are no results to show; `dvc repro` writes them\n"
