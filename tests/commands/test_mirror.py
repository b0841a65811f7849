"""``python -m pipeline mirror``: both stores, each whether or not the other can be rebuilt."""

import pytest

from pipeline.commands import mirror
from pipeline.search import storage
from pipeline.tracking import rebuilding


@pytest.mark.parametrize("failed", [[], ["MLflow"], ["Optuna"], ["MLflow", "Optuna"]])
def test_both_are_rebuilt_whichever_fails(
    failed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[str] = []

    def rebuilt(name: str) -> str:
        begun.append(name)
        return f"{name} fails" if name in failed else ""

    monkeypatch.setattr(rebuilding, "rebuilt", lambda: rebuilt("MLflow"))
    monkeypatch.setattr(storage, "rebuilt", lambda: rebuilt("Optuna"))
    with pytest.raises(SystemExit) as end:
        mirror.main([])
    assert begun == ["MLflow", "Optuna"]
    assert end.value.code == bool(failed)
    assert capsys.readouterr().err.splitlines() == [f"{name} fails" for name in failed]
