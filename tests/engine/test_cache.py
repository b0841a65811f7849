"""What is found out once on a machine is not looked for again, and nothing that was damaged or is not one's own is believed."""

import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.engine import cache
from pipeline.engine.cache import entries, folder, keep, outdated, read, remembered, remove, user_folder
from tests.conftest import ROOT

NAME = f"{'0a' * 16}.so"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cache, "_chosen", {})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "lr-pipeline"


def refused() -> str:
    raise AssertionError("asked again")


@pytest.mark.parametrize("found", ["", "no: é"])
def test_what_was_found_is_remembered_under_its_key(found: str, place: Path) -> None:
    assert remembered("a", lambda: found) == found
    assert remembered("a", refused) == found
    assert remembered("b", lambda: "other") == "other"
    assert len(list(place.iterdir())) == 2  # and nothing else is left


def test_nothing_is_remembered_of_what_raises() -> None:
    with pytest.raises(AssertionError, match="asked again"):
        remembered("a", refused)
    assert not list(folder().iterdir())


def flipped(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"", lambda _: b"garbage", lambda _: b"\xff" * 100, lambda whole: whole[:-1], lambda whole: whole[1:],
     lambda whole: whole + b"\n", flipped, lambda whole: b"one"],
    ids=["empty", "garbage", "no text", "cut off", "without its beginning", "longer", "another bit", "without a checksum"],
)  # fmt: skip
def test_a_damaged_entry_is_none_and_is_made_anew(damage: Callable[[bytes], bytes]) -> None:
    remembered("a", lambda: "one")
    (entry,) = folder().iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    assert read(entry.name) is None
    assert remembered("a", lambda: "two") == "two"
    assert remembered("a", refused) == "two"


def test_an_entry_under_another_name_is_none() -> None:
    remembered("a", lambda: "one")
    (entry,) = folder().iterdir()
    content = entry.read_bytes()
    remembered("b", lambda: "two")
    (other,) = set(folder().iterdir()) - {entry}
    other.write_bytes(content)
    assert remembered("b", lambda: "three") == "three"


def test_what_stands_in_an_entrys_place_costs_the_memory_alone() -> None:
    remembered("a", lambda: "one")
    (entry,) = folder().iterdir()
    entry.unlink()
    entry.mkdir()
    assert remembered("a", lambda: "two") == "two"


def test_an_entry_that_others_may_change_is_none() -> None:
    keep(NAME, b"content").chmod(0o666)
    assert read(NAME) is None
    keep(NAME, b"content")
    assert read(NAME) == b"content"


def test_folder_and_entries_are_the_users_alone(place: Path) -> None:
    before = os.umask(0)
    try:
        path = keep(NAME, b"content")
    finally:
        os.umask(before)
    assert path == place / NAME
    assert [stat.S_IMODE(each.stat().st_mode) & 0o022 for each in (place, path)] == [0, 0]


def a_file(place: Path) -> None:
    place.touch()


def below_a_file(place: Path) -> None:
    place.parent.rmdir()
    place.parent.touch()


def open_to_others(place: Path) -> None:
    place.mkdir()
    place.chmod(0o777)


def a_loop(place: Path) -> None:
    place.symlink_to(place)


@pytest.mark.parametrize("spoilt", [a_file, below_a_file, open_to_others, a_loop])
def test_a_folder_that_cannot_be_used_is_told_in_a_line_and_a_temporary_one_stands_in(
    spoilt: Callable[[Path], None], place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt(place)
    assert remembered("a", lambda: "one") == "one"
    assert remembered("a", refused) == "one"
    assert keep(NAME, b"content").parent == folder() != place
    assert read(NAME) == b"content"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(f"{place} is not used (")
    assert "\n" not in record.getMessage()
    assert not place.is_dir() or not list(place.iterdir())


@pytest.mark.parametrize("why", ["owner", "read-only"])
def test_a_folder_of_somebody_else_or_a_read_only_one(
    why: str, monkeypatch: pytest.MonkeyPatch, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(NAME, b"of somebody else")
    cache._chosen.clear()
    own = os.geteuid()
    with monkeypatch.context() as patch:
        if why == "owner":
            patch.setattr(os, "geteuid", lambda: own + 1)
        else:
            patch.setattr(os, "access", lambda *_: False)
        assert folder() != place
        assert read(NAME) is None
    (record,) = caplog.records
    assert ("belongs to somebody else" if why == "owner" else "cannot be written to") in record.getMessage()


def test_without_a_home_folder(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative paths are to be ignored")
    monkeypatch.setattr(Path, "home", nowhere)
    assert user_folder() is None
    assert remembered("a", lambda: "one") == "one"
    assert remembered("a", refused) == "one"
    assert len(caplog.records) == 1


def test_a_full_disk_is_told_once_and_a_temporary_folder_stands_in(
    monkeypatch: pytest.MonkeyPatch, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(NAME, b"old")

    def full(file: int) -> None:
        if Path(f"/proc/self/fd/{file}").readlink().parent == place:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    other = NAME.replace("0a", "0b")
    assert keep(other, b"new").parent != place
    assert read(other) == b"new"
    assert [path.name for path in place.iterdir()] == [NAME]  # nothing unfinished is left
    (record,) = caplog.records
    assert "No space left" in record.getMessage()


def test_where_nothing_at_all_can_be_written_it_is_found_out_again(
    monkeypatch: pytest.MonkeyPatch, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere(**_: str) -> str:
        raise FileNotFoundError("No usable temporary directory found")

    place.touch()
    monkeypatch.setattr("tempfile.mkdtemp", nowhere)
    assert remembered("a", lambda: "one") == "one"
    assert remembered("a", lambda: "two") == "two"
    with pytest.raises(OSError, match="lr-pipeline"):
        keep(NAME, b"content")
    assert len(caplog.records) == 1


def test_the_temporary_folder_is_gone_after_the_process(place: Path) -> None:
    place.touch()
    code = "from pipeline.engine.cache import folder; print(folder())"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).name.startswith("lr-pipeline-")
    assert not Path(done.stdout.strip()).exists()
    assert len(done.stderr.splitlines()) == 1


def aged(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * 86_400,) * 2)


def test_what_was_not_used_for_long_goes_when_something_is_written(place: Path) -> None:
    for number in range(4):
        aged(keep(f"{number:032x}.so", b"content"), days=31 if number < 2 else 29)
    read(f"{2:032x}.so")  # and is as if new
    assert time.time() - (place / f"{2:032x}.so").stat().st_mtime < 86_400
    keep(f"{9:032x}.so", b"content")
    assert sorted(path.name[:32].lstrip("0") for path in place.iterdir()) == ["2", "3", "9"]


def test_beyond_a_size_what_was_not_used_longest_goes(place: Path) -> None:
    for number in range(4):
        aged(keep(f"{number:032x}.so", bytes(10_000)), days=number)
    size = next(entries(place)).size
    assert size >= 10_000
    remove(outdated(place, largest=2 * size))
    assert sorted(path.name[:32].lstrip("0") for path in place.iterdir()) == ["", "1"]


def test_what_killed_processes_left_goes_and_what_is_not_of_this_pipeline_stays(place: Path, tmp_path: Path) -> None:
    keep(NAME, b"content")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    for name in (".abc_12.tmp", ".new12345.tmp", "tmpabcd1234", "notes.txt"):
        (place / name).touch()
        aged(place / name, days=0 if "new" in name else 100)
    (place / "tmpfolder12").mkdir()
    (place / "tmpfolder12" / "lanes.c").touch()
    (place / "tmpfolder12" / "link").symlink_to(precious)
    aged(place / "tmpfolder12", days=1)
    (place / "tmplinked12").symlink_to(precious)
    os.utime(place / "tmplinked12", (0, 0), follow_symlinks=False)
    remove(outdated(place))
    assert {path.name for path in place.iterdir()} == {NAME, ".new12345.tmp", "notes.txt"}
    assert (precious / "file").exists()


def test_two_processes_write_at_once(place: Path) -> None:
    code = """
from pipeline.engine.cache import keep, read
for number in range(30):
    name = f"{number % 3:032x}.so"
    keep(name, bytes([number % 3]) * 50_000)
    assert read(name) == bytes([number % 3]) * 50_000
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    both = [subprocess.Popen([sys.executable, "-c", code], env=environment) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len(list(place.iterdir())) == 3
