"""Loads a sample into the store by COPY."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sqlalchemy import Connection, Engine, text

from retention.errors import StoreError
from retention.store.sample.sample import Sample

ROWS_A_PIECE = 20_000

Progress = Callable[[str, int, int], None]
"""Called with the table, the rows of it loaded so far, and all its rows."""


def write(connection: Connection | Engine, sample: Sample, progress: Progress | None = None) -> None:
    """Load the sample, all or nothing: an Engine gets a transaction of its own, committed at the end; with a Connection
    it is part of the caller's transaction, which the caller commits.

    For a store without customers: raises StoreError for any other, so a second call changes nothing.
    """
    if isinstance(connection, Engine):
        with connection.begin() as own:
            return write(own, sample, progress)
    # two at once would both find the store empty
    connection.execute(text("lock table customers in share row exclusive mode"))
    if connection.scalar(text("select exists (select from customers)")):
        raise StoreError("sample store: the store has customers already. Load it into an empty database.")
    with connection.connection.driver_connection.cursor() as cursor:
        for table, columns in sample.tables.items():
            total = sample.counts[table]
            with cursor.copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy:
                for begin in range(0, total, ROWS_A_PIECE):
                    end = min(begin + ROWS_A_PIECE, total)
                    copy.write(copy_text({name: values[begin:end] for name, values in columns.items()}))
                    if progress:
                        progress(table, end, total)
        # without figures of its own the planner guesses, and the first cohorts would be slow
        for table in sample.tables:
            cursor.execute(f"analyze {table}")


def copy_text(columns: dict[str, np.ndarray]) -> str:
    """The rows in COPY's text format."""
    rows = zip(*(_texts(values) for values in columns.values()), strict=True)
    return "".join(f"{row}\n" for row in map("\t".join, rows))


def _texts(values: np.ndarray) -> list[str]:
    if values.dtype.kind == "M":
        return np.datetime_as_string(values, timezone="UTC").tolist()
    if values.dtype.kind == "O":
        return [_escape(v) if isinstance(v, str) else r"\N" if v is None else str(v) for v in values]
    return [str(v) for v in values.tolist()]


def _escape(value: str) -> str:
    if "\\" in value or "\t" in value or "\n" in value or "\r" in value:
        return value.replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")
    return value
