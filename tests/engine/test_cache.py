"""What is found out once on a machine is not looked for again."""

from pathlib import Path

import pytest

from pipeline.engine.cache import folder, remembered


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def refused() -> str:
    raise AssertionError("asked again")


@pytest.mark.parametrize("found", ["", "no: é"])
def test_what_was_found_is_remembered_under_its_key(found: str) -> None:
    assert remembered("a", lambda: found) == found
    assert remembered("a", refused) == found
    assert remembered("b", lambda: "other") == "other"
    assert len(list(folder().iterdir())) == 2  # and nothing else is left


def test_what_cannot_be_kept_is_found_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # where no folder can be made
    assert remembered("a", lambda: "one") == "one"
    assert remembered("a", lambda: "two") == "two"


def test_a_broken_memory_is_none() -> None:
    remembered("a", lambda: "one")
    next(folder().iterdir()).write_bytes(b"\xff")
    assert remembered("a", lambda: "two") == "two"
    assert remembered("a", refused) == "two"


def test_nothing_is_remembered_of_what_raises() -> None:
    with pytest.raises(AssertionError, match="asked again"):
        remembered("a", refused)
    assert not folder().exists()
