"""Months of messages and outcomes: partitions that are dropped whole when they have been kept long enough.

Ids tell the month: those given in a month begin at its number times 2^32. messages is cut by enrollment_id, outcomes by
message_id, so that everything that must be unique is so within one part: a person's messages of a cohort lie together, and
so do a message's outcomes. What was there before months had parts lies in `<table>_before`. All times are UTC.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import Connection, text

SCHEMA = "months"
TABLES = {"messages": ("enrollments", "enrollment_id"), "outcomes": ("messages", "message_id")}
"""Each table that is cut, with the table and column whose numbers cut it."""

FIRST_YEAR = 2020
_BITS = 32


def number_of(month: date) -> int:
    """The month's number: January 2020 is 1."""
    return (month.year - FIRST_YEAR) * 12 + month.month


def first_id(month: date) -> int:
    """The first id that is given in a month."""
    return number_of(month) << _BITS


def month_of(moment: datetime) -> date:
    """The first day of the month of a moment, in UTC."""
    day = moment.astimezone(UTC).date()
    return day.replace(day=1)


def next_month(month: date) -> date:
    """The first day of the month after."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def name_of(table: str, month: date) -> str:
    """The part's name: months.messages_2026_11."""
    return f"{SCHEMA}.{table}_{month:%Y_%m}"


def open_months(conn: Connection, now: datetime) -> list[str]:
    """Make the parts of this month and the next where they are missing, and give ids of this month from now on.

    The names of the parts that were made. Safe to repeat and at the same time; nearly free where there is nothing to do. Ids go
    on in the last month's part for as long as nobody calls this.
    """
    this = month_of(now)
    if this.year < FIRST_YEAR:  # history that is played again: the part that was there before months takes it
        return []
    wanted = [(table, month) for month in (this, next_month(this)) for table in TABLES]
    names = [name_of(table, month) for table, month in wanted]
    newest = f"select to_regclass(:part) is not null and (select last_value >= :least from {_sequence('messages')})"
    if conn.scalar(text(newest), {"part": names[-1], "least": first_id(this)}):
        return []
    conn.execute(text("select pg_advisory_xact_lock(hashtext('retention.months'))"))
    made = []
    for (table, month), name in zip(wanted, names, strict=True):
        if not conn.scalar(text("select to_regclass(:part) is not null"), {"part": name}):
            _make(conn, table, month, name)
            made.append(name)
    for sequence in (_sequence("enrollments"), _sequence("messages")):
        conn.execute(
            text(f"select setval('{sequence}', :first) from {sequence} where last_value < :first"),
            {"first": first_id(this)},
        )
    return made


def list_months(conn: Connection, table: str) -> list[date]:
    """The months that have a part of a table, oldest first."""
    found = conn.execute(
        text(
            "select substr(c.relname, length(:table) + 2) from pg_inherits i join pg_class c on c.oid = i.inhrelid"
            " where i.inhparent = cast(:table as regclass) and c.relname ~ '_[0-9]{4}_[0-9]{2}$' order by 1"
        ),
        {"table": table},
    )
    return [date(*map(int, name.split("_")), 1) for (name,) in found]


def drop_month(conn: Connection, table: str, month: date) -> None:
    """Let go of a month's part with all that is in it."""
    name = name_of(table, month)
    conn.execute(text(f"alter table {table} detach partition {name}"))
    conn.execute(text(f"drop table {name}"))


def _make(conn: Connection, table: str, month: date, name: str) -> None:
    # Made by itself and attached: readers and writers of the other parts are not kept waiting.
    conn.execute(text(f"create table {name} (like {table} including defaults including constraints)"))
    conn.execute(
        text(
            f"alter table {table} attach partition {name}"
            f" for values from ({first_id(month)}) to ({first_id(next_month(month))})"
        )
    )


def _sequence(table: str) -> str:
    column = {"enrollments": "enrollment_id", "messages": "message_id"}[table]
    return f"{table}_{column}_seq"
