"""Rows on their way in: temporary tables, COPY, and the fast way into a table that is still empty. Knows tables, no rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from sqlalchemy import Connection, Engine, Table, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import AddConstraint, CreateIndex, DropIndex

from retention.errors import StoreError
from retention.store.tables import metadata

LOAD_LOCK = "retention.import"
"""Loads, merges and whatever else rewrites facts take this lock, one at a time."""


@contextmanager
def load_turn(engine: Engine, on_wait=lambda: None) -> Iterator[Connection]:
    """A connection that holds the lock of loads from now on until the block ends, or its process dies.

    Waits for its turn; `on_wait` is called once if that is necessary. The connection may hold several transactions.
    """
    with engine.connect() as conn:
        key = {"key": LOAD_LOCK}
        if not conn.scalar(text("select pg_try_advisory_lock(hashtext(:key))"), key):
            on_wait()
            conn.execute(text("select pg_advisory_lock(hashtext(:key))"), key)
        conn.commit()
        try:
            yield conn
        finally:
            conn.rollback()
            conn.execute(text("select pg_advisory_unlock(hashtext(:key))"), key)
            conn.commit()


def prepare_for_load(conn: Connection) -> None:
    """Room for sorting and building indexes, for this transaction alone.

    Indexes are built in little memory on purpose: sorts that fit the processor's cache and are merged took 5.0 s for ten
    million orders, where one big sort took 8.3 s."""
    for setting in ("work_mem = '128MB'", "maintenance_work_mem = '64MB'", "jit = off", "temp_buffers = '64MB'"):
        conn.execute(text(f"set local {setting}"))


def make_staging(conn: Connection, name: str, extra: dict[str, str]) -> str:
    """A temporary table `staged_<name>` with the columns of the table, none of them required, and `extra` ones
    (name -> type and default). Returns its name."""
    columns = {
        column.name: str(column.type.compile(dialect=conn.dialect))
        for column in metadata.tables[name].columns
        if column.identity is None
    }
    listed = ", ".join(f'"{column}" {kind}' for column, kind in {**extra, **columns}.items())
    conn.execute(text(f"create temporary table staged_{name} ({listed}) on commit drop"))
    return f"staged_{name}"


def make_present(conn: Connection, table: str, key: str) -> str:
    """A temporary table `present_<table>` for the keys that a source still has. Returns its name."""
    conn.execute(text(f"create temporary table present_{table} ({key} text) on commit drop"))
    return f"present_{table}"


def copy_csv(conn: Connection, table: str, columns: Sequence[str], payload: bytes) -> None:
    """Append rows of CSV (no header; an unquoted nothing is null) to a table of this transaction.

    Raises StoreError if the database refuses them: then the payload was not made of what it says."""
    listed = ", ".join(f'"{column}"' for column in columns)
    with conn.connection.cursor() as cursor:
        try:
            with cursor.copy(f"copy {table} ({listed}) from stdin (format csv)") as sink:
                sink.write(payload)
        except psycopg.Error as error:
            # Its context quotes the row: never repeat it.
            reason = error.diag.message_primary or type(error).__name__
            raise StoreError(f"database: {table} took no rows ({type(error).__name__} {error.sqlstate or ''})") from (
                StoreError(reason.split(":")[0])
            )


def analyze(conn: Connection, table: str) -> None:
    """Fresh figures for the planner."""
    conn.execute(text(f"analyze {table}"))


def is_empty(conn: Connection, table: str) -> bool:
    """Whether the table has no row at all."""
    return not conn.scalar(text(f"select exists (select from {table})"))


class Landing:
    """The fast way into a table without rows: no index while rows arrive, built when all are there.

    The table is locked against everybody until the transaction ends. `defaults` (column -> SQL literal as text) are what
    columns hold that no row brings.
    """

    def __init__(self, conn: Connection, name: str, defaults: dict[str, str]):
        self._conn, self._table = conn, metadata.tables[name]
        self._defaults = defaults
        # Rows that go into a table emptied in the same transaction need not be logged twice.
        self._run(f"truncate {name}")
        self._run(f"alter table {name} drop constraint {self._primary_key()}")
        for index in self._table.indexes:
            self._conn.execute(DropIndex(index))
        for column, value in defaults.items():
            self._run(f"alter table {name} alter {column} set default '{value}'")

    def _primary_key(self) -> str:
        return f"pk_{self._table.name}"

    def _run(self, statement: str) -> None:
        self._conn.execute(text(statement))

    def finish(self) -> bool:
        """Build the indexes; False if two rows have the same key: then the transaction must go back to before."""
        table: Table = self._table
        for column in self._defaults:
            had = table.columns[column].server_default
            end = f"set default {had.arg.text}" if had is not None else "drop default"
            self._run(f"alter table {table.name} alter {column} {end}")
        try:
            with self._conn.begin_nested():
                self._conn.execute(AddConstraint(table.primary_key, isolate_from_table=False))
        except IntegrityError:
            return False
        for index in table.indexes:
            self._conn.execute(CreateIndex(index))
        return True


__all__ = [
    "LOAD_LOCK", "Landing", "analyze", "copy_csv", "is_empty", "load_turn", "make_present", "make_staging",
    "prepare_for_load",
]  # fmt: skip
