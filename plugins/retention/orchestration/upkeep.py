"""What the DAG maintenance does: opens months ahead, lets go of what was kept long enough. Safe at any time, and to repeat.

How long is `keep` of include/policy.yaml. Months of messages and outcomes are dropped whole, once they can't be asked any more; their
counts stay in month_counts. All else goes in pieces, each a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from retention.store.audit import note
from retention.store.months import drop_month, first_id, list_months, next_month, open_months
from retention.store.queries import run
from retention.store.staging import LOAD_LOCK

AFTER_MONTHS = timedelta(days=62)
"""A month goes so long after the period: the last of its messages may have been decided, and answered, two months later."""

SLOTS = timedelta(days=60)
"""Claimed contacts are asked back a month at most."""

AT_ONCE = 10_000

_OLD = {
    "inbox": ("raw_events", "privacy/old_inbox"),
    "replies": ("raw_events", "privacy/old_replies"),
    "odd_events": ("raw_events", "privacy/old_odd_events"),
    "outbox": ("outbox", "privacy/old_outbox"),
    "rejected_rows": ("rejected_rows", "privacy/old_rejected_rows"),
}


@dataclass
class Kept:
    """What maintenance did, or would do. `months`: dropped ones; `waiting`: why some had to stay; `rows`: table -> rows that went."""

    opened: list[str] = field(default_factory=list)
    months: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    files: int = 0

    def as_dict(self) -> dict:
        return asdict(self)

    def lines(self) -> list[str]:
        """The same in words."""
        said = [f"opened {', '.join(self.opened)}"] if self.opened else []
        said += [f"month {month}: its messages are counted and gone" for month in self.months]
        said += self.waiting
        said += [f"{table}: {count:,} rows" for table, count in self.rows.items() if count]
        said += [f"files of rejected rows: {self.files}"] if self.files else []
        return said or ["nothing was kept too long"]


def maintain(
    engine: Engine,
    periods: Mapping[str, timedelta | None],
    *,
    now: datetime,
    home: Path,
    actor: str,
    is_dry: bool = False,
    on_progress: Callable[[str], None] = lambda line: None,
) -> Kept:
    """Let go of what is older than its period (None: for ever). `is_dry`: only count."""
    done = Kept()
    if not is_dry:
        with engine.begin() as conn:
            done.opened = open_months(conn, now)
    if periods["messages"]:
        _drop_months(engine, done, now - periods["messages"] - AFTER_MONTHS, now, is_dry, on_progress)
        done.rows["enrollments"] = _let_go(engine, "privacy/old_addresses", now - periods["messages"], is_dry)
    for table, (kind, statement) in _OLD.items():
        if periods[kind]:
            done.rows[table] = _let_go(engine, statement, now - periods[kind], is_dry)
            on_progress(f"{table}: {done.rows[table]} rows")
    done.rows["contact_slots"] = _let_go(engine, "privacy/old_slots", now - SLOTS, is_dry)
    if periods["rejected_rows"]:
        done.files = _remove_files(home, now - periods["rejected_rows"], is_dry)
    if not is_dry and (done.months or done.files or any(done.rows.values())):
        with engine.begin() as conn:
            note(conn, now, actor, "maintain", None, done.as_dict())
    return done


def _drop_months(
    engine: Engine, done: Kept, before: datetime, now: datetime, is_dry: bool, on_progress: Callable[[str], None]
) -> None:
    with engine.connect() as conn:
        months = sorted({*list_months(conn, "messages"), *list_months(conn, "outcomes")})
    for month in months:
        if datetime(*next_month(month).timetuple()[:3], tzinfo=UTC) > before:
            break
        with engine.begin() as conn:
            # None is decided, and no report is counted, in a month that is just going.
            conn.execute(text("select pg_advisory_xact_lock(hashtext(:key))"), {"key": LOAD_LOCK})
            ids = {"first": first_id(month), "last": first_id(next_month(month))}
            if under_way := run(conn, "privacy/find_open_cohorts", **ids).all():
                named = ", ".join(f"{it.journey} of {it.cohort_at:%Y-%m-%d}" for it in under_way[:3])
                done.waiting.append(
                    f"month {month:%Y-%m} stays: {len(under_way)} of its cohorts have open books ({named}). Settle them."
                )
                break  # those after it stay, too: they go in order
            done.months.append(f"{month:%Y-%m}")
            if is_dry:
                continue
            _drop(conn, month, ids)
        on_progress(f"month {month:%Y-%m}: dropped")


def _drop(conn: Connection, month: date, ids: dict[str, int]) -> None:
    if month in list_months(conn, "messages"):
        run(conn, "privacy/count_month", month=month, **ids)
        drop_month(conn, "messages", month)
    if month in list_months(conn, "outcomes"):
        drop_month(conn, "outcomes", month)


def _let_go(engine: Engine, statement: str, before: datetime, is_dry: bool) -> int:
    """Rows that went, in pieces; or, dry, that would."""
    total = 0
    while True:
        with engine.connect() as conn:
            count = run(conn, statement, before=before, most=10**9 if is_dry else AT_ONCE).rowcount
            conn.rollback() if is_dry else conn.commit()
        total += count
        if is_dry or count < AT_ONCE:
            return total


def _remove_files(home: Path, before: datetime, is_dry: bool) -> int:
    """Files of rejected rows: `retention loads` makes them anew from what the database still has."""
    old = [
        path
        for path in sorted((home / "imports").glob("*"))
        if path.is_file() and path.stat().st_mtime < before.timestamp()
    ]
    for path in [] if is_dry else old:
        path.unlink(missing_ok=True)
    return len(old)


__all__ = ["Kept", "maintain"]
