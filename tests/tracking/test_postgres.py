"""Both stores in PostgreSQL: Debian's server, started here; skipped where it is not installed."""

import shutil
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
from tests.tracking.postgres import BINARIES, Server

# SQLAlchemy 2.1 says so of a query inside MLflow.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
    pytest.mark.skipif(BINARIES is None, reason="PostgreSQL's server is not installed"),
]


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
    assert time.monotonic() - begun < 400  # ten times what it takes where all else is at work, too
    assert len(results.read_runs("third", "train")[0]) == len(describe())


@pytest.mark.slow
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
