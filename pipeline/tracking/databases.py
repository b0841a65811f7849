"""Databases that trackers keep their tables in: whether they can be reached, and are nobody else's."""

import contextlib
from collections.abc import Iterator

from pipeline.tracking.messages import TrackerError, masked

SECONDS = 10
"""How long a server may take to answer at all; MLflow would go on asking for more than a minute."""
OF = {"MLflow": "experiments", "Optuna": "studies"}
"""A table that each has."""
_LOCK = 20241209
"""The number of the lock that all pipelines take on a server while they make tables."""


def is_database(url: str) -> bool:
    """Whether that is a database, which SQLAlchemy connects to."""
    return url.partition(":")[0].partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")


@contextlib.contextmanager
def reached(url: str, owner: str, other: str = "") -> Iterator[None]:
    """In the block, the database answers and is not the other tool's, and no other pipeline makes tables there.

    Both keep the version of their tables in one called ``alembic_version``. ``other`` is where the other tool's are said to be.
    """
    from sqlalchemy import create_engine, inspect, text
    from sqlalchemy.pool import NullPool

    name = masked(url)
    if is_database(other) and _place(url) == _place(other):
        raise TrackerError(_taken(name, owner))
    server = "" if url.startswith("sqlite") else url.partition(":")[0].partition("+")[0]
    limits = {"connect_timeout": SECONDS} if server in ("postgresql", "mysql") else {}
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=limits)
    except ModuleNotFoundError as error:
        install = "pip install -r requirements-postgres.txt" if server == "postgresql" else f"pip install {error.name}"
        raise TrackerError(f"{name}: its driver {error.name} is not installed; `{install}`") from error
    with engine.connect() as connection:
        foreign = [table for tool, table in OF.items() if tool != owner]
        if not set(foreign).isdisjoint(inspect(connection).get_table_names()):
            raise TrackerError(_taken(name, owner))
        if server == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
        yield


def _place(url: str) -> tuple[object, ...]:
    from sqlalchemy import make_url

    made = make_url(url)
    return made.get_backend_name(), made.host, made.port, made.database


def _taken(name: str, owner: str) -> str:
    (other,) = {*OF} - {owner}
    variable = {"MLflow": "MLFLOW_TRACKING_URI", "Optuna": "OPTUNA_STORAGE"}[owner]
    return f"{name} is {other}'s database, and the two cannot share one; make another and name it in {variable}"
