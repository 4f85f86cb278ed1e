"""Where the database is and how to reach it. Owns the connection; knows no table and no rule."""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path
from typing import Any

from psycopg import Error as DriverError
from psycopg import sql
from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from retention.errors import StoreError

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: `include/`, `dags/` and `plugins/` are below it."""


def home() -> Path:
    """The data folder: `RETENTION_HOME`, else `.retention` at the root of the checkout. Not created here."""
    return Path(os.environ.get("RETENTION_HOME") or ROOT / ".retention").resolve()


def database_url() -> str:
    """The address of our database, for SQLAlchemy with psycopg 3.

    `RETENTION_DATABASE_URL` if set, in any of the spellings `postgres://`, `postgresql://`, `postgresql+psycopg://`;
    else the embedded server's database `retention`, which is started if it does not run and is held by this process
    until it ends. Raises StoreError for an address that is no Postgres.
    """
    given = os.environ.get("RETENTION_DATABASE_URL")
    if not given:
        return _embedded_url("retention")
    scheme, _, rest = given.partition("://")
    if scheme.split("+")[0] not in ("postgres", "postgresql"):
        raise StoreError(
            f"RETENTION_DATABASE_URL: {scheme}:// is no Postgres. Write it as postgresql://USER@HOST/DATABASE."
        )
    return f"postgresql+psycopg://{rest}"


def is_at_hand() -> bool:
    """Whether a database is named, or the embedded one runs already: what only looks on should not start a server."""
    running = home() / "postgres" / "data" / "postmaster.pid"
    return bool(os.environ.get("RETENTION_DATABASE_URL")) or running.exists()


@cache
def _embedded_url(database: str) -> str:
    from retention.store.embedded import hold

    return hold(home()).url(database)


@cache
def _engine(url: str) -> Engine:
    return create_engine(
        url,
        pool_size=4,
        max_overflow=8,
        pool_pre_ping=True,
        hide_parameters=True,  # they are people's data, and errors end in logs
        connect_args={"options": "-c timezone=UTC", "connect_timeout": 10},  # a DAG file is given up after 30 s
    )


def connect(url: str | URL | None = None) -> Engine:
    """The engine for `url` (default: `database_url()`), one per address and process. Sessions run in UTC."""
    text = make_url(url).render_as_string(hide_password=False) if url else database_url()
    return _engine(text)


class Listener:
    """Hears what the database tells on a channel (NOTIFY), on a connection of its own. `hear` never waits.

    What can't be heard is no error: a connection that is gone is opened anew at the next `hear`, and whoever has to know
    for certain looks for themselves now and then. `close` it."""

    def __init__(self, engine: Engine, channel: str):
        self._engine, self._channel = engine, channel
        self._conn: Any = None
        self._tried_at = float("-inf")
        self._open()

    def hear(self) -> list[str]:
        """What was told since the last time."""
        if self._conn is None:
            self._open()
            return []
        try:
            return [it.payload for it in self._conn.notifies(timeout=0)]
        except DriverError:
            self.close()
            return []

    def close(self) -> None:
        """Give the connection back to nobody: it ends."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _open(self) -> None:
        if time.monotonic() - self._tried_at < 1.0:
            return
        self._tried_at = time.monotonic()
        try:
            pooled = self._engine.raw_connection()
            conn = pooled.driver_connection
            pooled.detach()
            conn.rollback()
            conn.autocommit = True
            conn.execute(sql.SQL("listen {}").format(sql.Identifier(self._channel)))
        except (DBAPIError, DriverError):
            return
        self._conn = conn

    def __del__(self) -> None:
        self.close()
