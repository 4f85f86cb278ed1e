"""Who an audience names: runs an analyst's SQL file as of an instant. Decides nothing and changes no fact."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from retention.errors import AudienceError, QueryFailed
from retention.store.queries import read_audience_sql
from retention.store.readonly import copy_rows, count_rows, fetch_columns, fetch_occurrences, reading

TIME_LIMIT_S = 120
COLUMNS = ("customer_id", "occurrence")

_VISIBLE = (
    "An audience sees customers, orders, order_items, order_status, products, events, consents, choices, suppressions, "
    "tiers, tier_changes, customer_values, customer_preferences, next_purchases, churn, churn_changes, customer_points, strata, strata_changes, lunar_months, "
    "and of them only what had happened and was known at :as_of."
)
_REMEDIES = {"25006": "An audience only reads.", "42501": _VISIBLE, "42P01": _VISIBLE}


def fetch_audience(
    writer: Connection,
    name: str,
    sql: str,
    *,
    as_of: datetime,
    window_start: datetime,
    zone: str,
    into: str,
    known_at: datetime | None = None,
    time_limit_s: int = TIME_LIMIT_S,
) -> int:
    """Copy what the audience returns into the writer's temporary table `into`; the number of rows.

    Facts are those known at `known_at` (default: as_of). `sql` may use :as_of, :window_start (instants) and :timezone (the journey's zone by name). It runs on a connection
    of its own, read-only and for at most `time_limit_s` seconds. `into` gets (customer_id text, occurrence text).
    Raises AudienceError: other columns, a null in one of them, an SQL error, a time-out.
    """
    query = read_audience_sql(sql)
    with _reading(writer.engine, name, query, as_of, window_start, zone, known_at, time_limit_s) as conn:
        count = copy_rows(conn, query, COLUMNS, writer, into)
    if writer.scalar(text(f"select exists (select from {into} where customer_id is null or occurrence is null)")):
        raise AudienceError(_say_empty(name))
    return count


def count_audience(
    engine: Engine,
    name: str,
    sql: str,
    *,
    as_of: datetime,
    window_start: datetime,
    zone: str,
    time_limit_s: int = TIME_LIMIT_S,
) -> tuple[int, int]:
    """How many occurrences the audience returns, and of how many customers. Raises AudienceError as fetch_audience does."""
    query = read_audience_sql(sql)
    with _reading(engine, name, query, as_of, window_start, zone, None, time_limit_s) as conn:
        rows, customers, empty = count_rows(conn, query)
    if empty:
        raise AudienceError(_say_empty(name))
    return rows, customers


def ask_audience(
    engine: Engine,
    name: str,
    sql: str,
    customer_id: str,
    *,
    as_of: datetime,
    window_start: datetime,
    zone: str,
    time_limit_s: int = TIME_LIMIT_S,
) -> list[str]:
    """The occurrences for which the audience names this customer; none: she is not in it. Raises AudienceError."""
    query = read_audience_sql(sql)
    with _reading(engine, name, query, as_of, window_start, zone, None, time_limit_s) as conn:
        return fetch_occurrences(conn, query, customer_id)


@contextmanager
def _reading(
    engine: Engine,
    name: str,
    query: str,
    as_of: datetime,
    window_start: datetime,
    zone: str,
    known_at: datetime | None,
    time_limit_s: int,
) -> Iterator[Connection]:
    """The audience's own connection, once it is sure that it returns the right columns; what fails names file and line."""
    place = f"include/sql/audiences/{name}.sql"
    try:
        with reading(
            engine, as_of=as_of, known_at=known_at, window_start=window_start, zone=zone, time_limit_s=time_limit_s
        ) as conn:
            returned = fetch_columns(conn, query)
            if returned != COLUMNS:
                raise AudienceError(
                    f"{place}:1: it returns the columns {', '.join(returned)}. Return exactly customer_id, occurrence."
                )
            yield conn
    except QueryFailed as error:
        if error.sqlstate == "57014":
            raise AudienceError(
                f"{place}:1: it ran longer than {time_limit_s} s. Narrow it to what lies after :window_start."
            ) from error
        remedy = _REMEDIES.get(error.sqlstate, "Correct the SQL and try `retention plan`.")
        # Class 22 complains about a value, and quotes it: that may be somebody's data.
        message = re.sub(r'"[^"]*"', '"…"', error.message) if error.sqlstate.startswith("22") else error.message
        raise AudienceError(f"{place}:{error.line}: {message}. {remedy}") from error


def _say_empty(name: str) -> str:
    place = f"include/sql/audiences/{name}.sql"
    return f"{place}:1: it returns a row without customer_id or occurrence. Filter such rows out."
