"""How rows come to MLflow: in its documented way, or straight into its tables where those are a file of SQLite."""

import contextlib
import math
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Run

LOCK_SECONDS = 20.0
"""How long a write waits for another process's; MLflow's own value."""
MAX_BATCH = 1000
"""Metrics in one ``log_batch``; MLflow's own limit."""
COMMIT_EVERY = 100
"""Runs; no other process has to wait for long."""
REVISION = "dc11669786a5"
"""Of MLflow's tables (``alembic_version``), those of mlflow 3.17: another version's may have what nobody here knows of."""
Tags = dict[str, str]
Points = Iterable[tuple[str, list[tuple[str, float, int]]]]
"""MLflow's run id and its (metric, value, step)."""
Known = dict[str, tuple[str, bool]]
"""Fingerprint → MLflow's run id, and whether the run is finished."""


class NewRun(NamedTuple):
    """A run that MLflow does not know yet."""

    name: str
    tags: Tags
    params: dict[str, str]
    dataset: "DatasetInput"


class Store:
    """How runs are written to MLflow: in the documented way, at 15 ms a run and 0.24 ms a point."""

    def __init__(self, client: "MlflowClient") -> None:
        self._client = client

    def known(self, experiment: str, stage: str) -> Known:
        """The stage's runs that MLflow has; of two with the same fingerprint, the finished one."""
        found = runs_in(self._client, experiment, f"tags.stage = '{stage}'")
        return _finished_first((run.data.tags.get("fingerprint"), run.info.run_id, run.info.status) for run in found)

    def create(self, experiment: str, runs: Sequence[NewRun]) -> list[str]:
        """Write runs that are about to be trained; their ids."""
        return [self._created(experiment, run) for run in runs]

    def _created(self, experiment: str, run: NewRun) -> str:
        run_id = str(self._client.create_run(experiment, run_name=run.name, tags=run.tags).info.run_id)
        describe(self._client, run_id, run.params, run.dataset)
        return run_id

    def log(self, points: Points) -> None:
        """Write metrics; a point that is there already is the same."""
        from mlflow.entities import Metric

        for run_id, of_run in points:
            metrics = [Metric(name, _shown(value), milliseconds(step), step) for name, value, step in of_run]
            for start in range(0, len(metrics), MAX_BATCH):
                self._client.log_batch(run_id, metrics[start : start + MAX_BATCH])

    def finish(self, diverged: Mapping[str, bool]) -> None:
        """Mark runs FINISHED, by id, and those that have diverged as such."""
        for run_id, has_diverged in diverged.items():
            if has_diverged:
                self._client.set_tag(run_id, "diverged", "true")
            self._client.set_terminated(run_id, "FINISHED")


_KNOWN = """
    SELECT named.value, runs.run_uuid, runs.status FROM runs
    JOIN tags AS staged ON staged.run_uuid = runs.run_uuid AND staged.key = 'stage' AND staged.value = ?
    JOIN tags AS named ON named.run_uuid = runs.run_uuid AND named.key = 'fingerprint'
    WHERE runs.experiment_id = ? AND runs.lifecycle_stage = 'active'
"""
# The rows that `log_batch` would write (NaN is a zero with a mark); a point that is there already stays.
_INSERT_POINT = """
    INSERT INTO metrics (run_uuid, key, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (key, timestamp, step, run_uuid, value, is_nan) DO NOTHING
"""
_UPDATE_LATEST = """
    INSERT INTO latest_metrics (run_uuid, key, value, is_nan, timestamp, step) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (run_uuid, key) DO UPDATE SET value = excluded.value, is_nan = excluded.is_nan,
    timestamp = excluded.timestamp, step = excluded.step WHERE excluded.step > latest_metrics.step
"""


class SqliteStore(Store):
    """The same rows put straight into MLflow's tables, as they are in ``REVISION``: 130 runs of 100 epochs in 1 s, not 20 s."""

    def __init__(self, client: "MlflowClient", database: Path) -> None:
        super().__init__(client)
        self._database = database

    def known(self, experiment: str, stage: str) -> Known:
        """The same without their curves, which MLflow takes 2 ms a run for."""
        with self._connected() as connection:
            return _finished_first(connection.execute(_KNOWN, (stage, int(experiment))))

    def create(self, experiment: str, runs: Sequence[NewRun]) -> list[str]:
        """The first is MLflow's own work, and the others are copies of its rows with what is theirs."""
        first = super().create(experiment, runs[:1])
        with self._connected() as connection:
            return [*first, *(_copied(connection, first[0], run) for run in runs[1:])]

    def log(self, points: Points) -> None:
        """Write metrics at 0.01 ms each."""
        with self._connected() as connection:
            for number, (run_id, of_run) in enumerate(points, 1):
                rows = [(run_id, name, *_stored(value), milliseconds(step), step) for name, value, step in of_run]
                latest = {name: row for row, (name, _, _) in zip(rows, of_run, strict=True)}  # steps ascend
                connection.executemany(_INSERT_POINT, rows)
                connection.executemany(_UPDATE_LATEST, latest.values())
                if number % COMMIT_EVERY == 0:
                    connection.commit()

    def finish(self, diverged: Mapping[str, bool]) -> None:
        """Mark all at once."""
        ends = [(int(1000 * time.time()), run_id) for run_id in diverged]
        with self._connected() as connection:
            marked = [(run_id,) for run_id, has_diverged in diverged.items() if has_diverged]
            connection.executemany("UPDATE tags SET value = 'true' WHERE key = 'diverged' AND run_uuid = ?", marked)
            connection.executemany("UPDATE runs SET status = 'FINISHED', end_time = ? WHERE run_uuid = ?", ends)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection; what is written is there when the block ends well."""
        with contextlib.closing(sqlite3.connect(self._database, timeout=LOCK_SECONDS)) as connection:
            yield connection
            connection.commit()


def runs_in(client: "MlflowClient", experiment: str, condition: str = "") -> "Iterator[Run]":
    """All runs of an experiment that meet the condition; MLflow tells a thousand at a time."""
    page = client.search_runs([experiment], condition, max_results=1000)
    yield from page
    while page.token:
        page = client.search_runs([experiment], condition, max_results=1000, page_token=page.token)
        yield from page


def _finished_first(found: Iterable[tuple[str | None, str, str]]) -> Known:
    """Of runs (fingerprint, id, status) with the same fingerprint, the finished one."""
    in_order = sorted(((name, run_id, status == "FINISHED") for name, run_id, status in found), key=lambda run: run[2])
    return {name: (run_id, is_finished) for name, run_id, is_finished in in_order if name is not None}


def _copied(connection: sqlite3.Connection, template: str, run: NewRun) -> str:
    """The id of a run whose rows are those of another of the same stage, with a name, tags and params of its own."""
    run_id = uuid.uuid4().hex
    (place,) = connection.execute("SELECT artifact_uri FROM runs WHERE run_uuid = ?", (template,)).fetchone()
    own = {"run_uuid": run_id, "name": run.name, "artifact_uri": place.replace(template, run_id)}
    _copy(connection, "runs", "run_uuid", template, own)
    tags = dict(connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (template,)).fetchall())
    for table, entries in (("tags", tags | run.tags | {"mlflow.runName": run.name}), ("params", run.params)):
        rows = [(run_id, key, value) for key, value in entries.items()]
        connection.executemany(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)", rows)  # noqa: S608  # constants
    inputs = connection.execute("SELECT input_uuid FROM inputs WHERE destination_id = ?", (template,)).fetchall()
    for (given,) in inputs:
        own = {"input_uuid": uuid.uuid4().hex}
        _copy(connection, "inputs", "input_uuid", given, own | {"destination_id": run_id})
        _copy(connection, "input_tags", "input_uuid", given, own)
    return run_id


def _copy(connection: sqlite3.Connection, table: str, key: str, value: str, own: dict[str, str]) -> None:
    """Copy the rows that have a value in a column, with other values in some columns."""
    found = connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (value,))  # noqa: S608  # constants
    columns = [column for column, *_ in found.description]
    rows = [[own.get(column, old) for column, old in zip(columns, row, strict=True)] for row in found.fetchall()]
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' for _ in columns)})", rows)  # noqa: S608  # MLflow's columns


def describe(client: "MlflowClient", run_id: str, params: dict[str, str], dataset: "DatasetInput") -> None:
    """Write what a run is trained with, and on which data, by MLflow itself."""
    from mlflow.entities import Param

    client.log_batch(run_id, params=[Param(name, value) for name, value in params.items()])
    client.log_inputs(run_id, [dataset])


def _shown(value: float) -> float:
    """MLflow turns infinity into 1.8e308, beside which no chart shows anything else; NaN is a gap."""
    return value if math.isfinite(value) else math.nan


def milliseconds(step: int) -> int:
    """A metric's time: one second a step, from the step alone, so that the same point logged again is the same point."""
    return 1000 * step


def _stored(value: float) -> tuple[float, bool]:
    """A value and its NaN mark, as MLflow stores them."""
    return (value, False) if math.isfinite(value) else (0.0, True)
