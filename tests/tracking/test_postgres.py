"""Both stores in PostgreSQL: Debian's server, started here; skipped where it is not installed."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runs import results
from pipeline.tracking import optuna_tracker, trackers
from pipeline.tracking.messages import TrackerError
from tests.search import helpers as tuned
from tests.tracking.helpers import contents, describe, rebuild, train, train_live, without_origin

BINARIES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
    pytest.mark.skipif(BINARIES is None, reason="PostgreSQL's server is not installed"),
]
PASSWORD = "s:e@c/ret"


class Server:
    """A server with a folder of its own, run by a user who is not root, which it refuses."""

    def __init__(self, folder: Path) -> None:
        names = [name for name in ("postgres", "nobody") if name in {user.pw_name for user in pwd.getpwall()}]
        self._as_user = ["runuser", "-u", names[0], "--"] if os.geteuid() == 0 else []
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD, encoding="utf-8")
        if self._as_user:
            shutil.chown(folder, names[0])
            shutil.chown(folder / "password", names[0])
        how = ("-U", "tester", "--auth=scram-sha-256", f"--pwfile={folder}/password", "-N")
        self._call("initdb", "-D", f"{folder}/data", *how)
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder} -F"
        self._call("pg_ctl", "-D", f"{self._folder}/data", "-o", options, "-l", f"{self._folder}/log", "-w", "start")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", f"{self._folder}/data", "-m", "immediate", "-w", "stop")

    def database(self, name: str) -> str:
        """The URL of a new database."""
        from sqlalchemy import create_engine, text

        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        return self.url(name)

    def url(self, name: str, password: str = "s%3Ae%40c%2Fret") -> str:
        return f"postgresql://tester:{password}@127.0.0.1:{self._port}/{name}"

    def _call(self, program: str, *words: str) -> None:
        assert BINARIES
        command = [*self._as_user, str(BINARIES / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    pytest.importorskip("psycopg")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    running = Server(folder)
    yield running
    running.stop()
    shutil.rmtree(folder)


def told(caplog: pytest.LogCaptureFixture) -> str:
    (record,) = caplog.records
    caplog.clear()
    line: str = record.getMessage()
    assert len(line.splitlines()) == 1
    assert "ret@" not in line
    return line


@pytest.mark.slow
def test_mlflow_in_postgresql(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in SQLite; a server that is gone, a wrong password and Optuna's database are told at once, and it comes back."""
    train_live()
    expected = without_origin(contents())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.database("mlflow"))
    train_live()
    assert without_origin(contents()) == expected
    server.stop()
    begun = time.monotonic()
    train_live("other")
    assert "Connection refused" in told(caplog)
    server.start()
    with trackers.trackers() as shown:
        shown.begin("midway", "train", describe("midway"))
        shown.log(list(range(4)), train("midway")[0][0])
        server.stop()
        server.start()
        shown.tell("finish", train("midway")[1])
    rebuild()
    assert len(contents("other")) == len(contents("digits")) == len(describe())
    caplog.clear()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url("mlflow", "wrong"))
    train_live("third")
    assert "password authentication failed" in told(caplog)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url("nowhere"))
    train_live("third")
    assert 'database "nowhere" does not exist' in told(caplog)
    assert time.monotonic() - begun < 40
    assert len(results.read_runs("third", "train")[0]) == len(describe())


def test_optuna_in_postgresql(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As in the journal; not in one database with MLflow, whichever was there first."""
    import optuna

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    tuned.run_tune()
    mine = server.database("optuna")
    monkeypatch.setenv("OPTUNA_STORAGE", mine)
    list(optuna_tracker.OptunaTracker().rebuild())
    storage = optuna.storages.RDBStorage(mine)
    assert tuned.shown(storage).keys() == tuned.journal(tmp_path).keys()
    storage.engine.dispose()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mine)
    with pytest.raises(TrackerError, match=r"is MLflow's database, .*another and name it in OPTUNA_STORAGE"):
        list(optuna_tracker.OptunaTracker().rebuild())
    results.write_runs("digits", "train", *train()[1:])
    with pytest.raises(TrackerError, match=r"is Optuna's database, .*another and name it in MLFLOW_TRACKING_URI"):
        rebuild()
