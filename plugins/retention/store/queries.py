"""Runs the statements of `include/sql`, by name. The one place that reads SQL files; it holds no SQL itself."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult, TextClause, text

from retention.store.database import ROOT

SQL_FOLDER = ROOT / "include" / "sql"


@cache
def statement(name: str) -> TextClause:
    """The statement in `include/sql/<name>.sql`, e.g. `plan/decide_step`; parameters are written `:name`."""
    return text((SQL_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))


def run(conn: Connection, name: str, /, **parameters: Any) -> CursorResult:
    """Run the statement `name` inside the caller's transaction."""
    return conn.execute(statement(name), parameters)


def look_as_of(
    conn: Connection,
    moment: datetime,
    *,
    known_at: datetime | None = None,
    window_start: datetime | None = None,
    zone: str = "UTC",
) -> None:
    """Set what the views of schema `as_of` show for the rest of this transaction.

    They hold facts that had occurred by `moment` and were recorded by `known_at` (default: `moment`, "as known
    then"). `window_start` and `zone` are what an audience looks back to and the journey's time zone.
    """
    conn.execute(
        text(
            "select set_config('retention.as_of', :moment, true), set_config('retention.known_at', :known, true),"
            " set_config('retention.window_start', :start, true), set_config('retention.zone', :zone, true)"
        ),
        {
            "moment": moment.isoformat(),
            "known": (known_at or moment).isoformat(),
            "start": (window_start or moment).isoformat(),
            "zone": zone,
        },
    )


_PARAMETER = re.compile(r"(?<![:\w]):(as_of|window_start|timezone)\b")
_SPOKEN = {"as_of": "as_of.moment()", "window_start": "as_of.window_start()", "timezone": "as_of.zone()"}


def read_audience_sql(sql: str) -> str:
    """An audience's text as one query: its `:as_of`, `:window_start`, `:timezone` become calls that `look_as_of`
    answers, and a closing semicolon goes."""
    return _PARAMETER.sub(lambda m: _SPOKEN[m[1]], sql).rstrip().rstrip(";").rstrip()
