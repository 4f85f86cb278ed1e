"""Runs somebody else's query without letting it write, see the future or take for ever. Knows no journey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, text

from retention.errors import QueryFailed, StoreError
from retention.store.queries import look_as_of

READER_ROLE = "retention_reader"


@contextmanager
def reading(
    engine: Engine,
    *,
    as_of: datetime,
    window_start: datetime,
    zone: str,
    time_limit_s: int,
    known_at: datetime | None = None,
) -> Iterator[Connection]:
    """A connection that sees the views of schema `as_of` and nothing else, and rolls back at the end.

    Facts as known at `known_at` (default: as_of). Read-only transaction, role `retention_reader`, statements of at most `time_limit_s` seconds.
    Raises StoreError when this account may not become that role.
    """
    with engine.connect() as conn:
        try:
            conn.execute(text("set transaction isolation level repeatable read, read only"))
            look_as_of(conn, as_of, known_at=known_at, window_start=window_start, zone=zone)
            conn.execute(text(f"set local statement_timeout = {int(time_limit_s * 1000)}"))
            conn.execute(text("set local search_path = as_of"))
            _become_reader(conn)
            yield conn
        finally:
            conn.rollback()


def _become_reader(conn: Connection) -> None:
    try:
        conn.connection.cursor().execute(f"set local role {READER_ROLE}")
    except psycopg.Error as error:
        raise StoreError(
            f"database: audiences run as the role {READER_ROLE}, and this account can't become it "
            f"({error.diag.message_primary}). docs/decisions/0004-audiences-read-only.md has the four lines that make it."
        ) from error


def fetch_columns(conn: Connection, query: str) -> tuple[str, ...]:
    """The names of the columns that `query` returns. Raises QueryFailed."""
    wrapped = f"select * from (\n{query}\n) as audience limit 0"
    with conn.connection.cursor() as cursor, _telling_where(wrapped):
        cursor.execute(wrapped.encode())
        return tuple(column.name for column in cursor.description)


def copy_rows(conn: Connection, query: str, columns: tuple[str, ...], writer: Connection, table: str) -> int:
    """Stream `columns` of `query`, as text, into `table` of the writer's transaction; the number of rows.

    COPY takes exactly one query, so nothing else can ride along; no row passes through Python objects.
    """
    listed = ", ".join(f"{column}::text" for column in columns)
    out = f"copy (select {listed} from (\n{query}\n) as audience) to stdout (format binary)"
    with conn.connection.cursor() as source, writer.connection.cursor() as target, _telling_where(out):
        with source.copy(out.encode()) as rows, target.copy(f"copy {table} ({', '.join(columns)}) from stdin (format binary)") as sink:
            for block in rows:
                sink.write(block)
        return target.rowcount


def count_rows(conn: Connection, query: str) -> tuple[int, int, int]:
    """How many rows `query` returns, how many customers these name, and how many rows lack a value. Raises QueryFailed."""
    wrapped = (
        f"select count(*), count(distinct customer_id), count(*) filter (where customer_id is null or occurrence is null)"
        f" from (\n{query}\n) as audience"
    )
    with conn.connection.cursor() as cursor, _telling_where(wrapped):
        return cursor.execute(wrapped.encode()).fetchone()


def fetch_occurrences(conn: Connection, query: str, customer_id: str) -> list[str]:
    """The occurrences for which `query` names this customer. Raises QueryFailed."""
    # Parameters of the driver would make every % of the author's text special.
    whom = sql.Literal(customer_id).as_string(conn.connection.driver_connection)
    wrapped = f"select occurrence::text from (\n{query}\n) as audience where customer_id::text = {whom} order by 1"
    with conn.connection.cursor() as cursor, _telling_where(wrapped):
        return [row[0] for row in cursor.execute(wrapped.encode())]


@contextmanager
def _telling_where(sent: str) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        position = int(error.diag.statement_position or 0)
        # The author's text begins on the second line of what was sent.
        line = max(1, sent[:position].count("\n"))
        raise QueryFailed(error.diag.message_primary or type(error).__name__, line, error.sqlstate or "") from error
