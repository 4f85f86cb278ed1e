"""Who an audience names: runs an analyst's SQL file as of an instant. Decides nothing and changes no fact."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import Connection, text

from retention.errors import AudienceError, QueryFailed
from retention.store.queries import read_audience_sql
from retention.store.readonly import copy_rows, fetch_columns, reading

TIME_LIMIT_S = 120
COLUMNS = ("customer_id", "occurrence")

_VISIBLE = (
    "An audience sees customers, orders, order_items, order_status, events, consents, suppressions, tiers, "
    "tier_changes, lunar_months, "
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
    place = f"include/sql/audiences/{name}.sql"
    query = read_audience_sql(sql)
    try:
        with reading(
            writer.engine,
            as_of=as_of,
            known_at=known_at,
            window_start=window_start,
            zone=zone,
            time_limit_s=time_limit_s,
        ) as conn:
            returned = fetch_columns(conn, query)
            if returned != COLUMNS:
                raise AudienceError(
                    f"{place}:1: it returns the columns {', '.join(returned)}. Return exactly customer_id, occurrence."
                )
            count = copy_rows(conn, query, COLUMNS, writer, into)
    except QueryFailed as error:
        if error.sqlstate == "57014":
            raise AudienceError(
                f"{place}:1: it ran longer than {time_limit_s} s. Narrow it to what lies after :window_start."
            ) from error
        remedy = _REMEDIES.get(error.sqlstate, "Correct the SQL and try `retention plan`.")
        # Class 22 complains about a value, and quotes it: that may be somebody's data.
        message = re.sub(r'"[^"]*"', '"…"', error.message) if error.sqlstate.startswith("22") else error.message
        raise AudienceError(f"{place}:{error.line}: {message}. {remedy}") from error
    if writer.scalar(text(f"select exists (select from {into} where customer_id is null or occurrence is null)")):
        raise AudienceError(f"{place}:1: it returns a row without customer_id or occurrence. Filter such rows out.")
    return count
